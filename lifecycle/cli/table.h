/*
 * Tables for a terminal: columns as wide as their content, in terminal cells.
 * Control characters in a cell are shown as '?', so that a stored name or tag cannot
 * drive the terminal.
 */
#ifndef KV_LIFECYCLE_CLI_TABLE_H
#define KV_LIFECYCLE_CLI_TABLE_H

#include <stdio.h>

#include "store/core/err.h"

#define KV_TABLE_COLUMNS_MAX 8

struct kv_table;

/* Start a table with these headings. NULL only without memory. */
struct kv_table *kv_table_new(size_t n_columns, const char *const *headings);

/* Append a cell; a row is full after n_columns cells. NULL is an empty cell. */
void kv_table_add(struct kv_table *table, const char *text);
/* Append a cell with a time: "2026-11-24 11:05" in UTC; "" for 0. */
void kv_table_add_time(struct kv_table *table, long long seconds);

/* Print it; the last column is not padded. KV_E_NOMEM when a cell was lost. */
int kv_table_print(const struct kv_table *table, FILE *out) KV_MUST_CHECK;
void kv_table_free(struct kv_table *table);

#endif
