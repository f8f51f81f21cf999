/*
 * A hash table of fixed capacity with least-recently-used order, for keys of fixed
 * length. It maps a key to an index below its capacity; the owner keeps the values in
 * an array of its own under that index. All memory is taken at birth. No locks.
 */
#ifndef KV_STORE_KEYRING_TABLE_H
#define KV_STORE_KEYRING_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/core/err.h"

#define KV_TABLE_NONE UINT32_MAX

struct kv_table;

/* Make a table for `capacity` keys of `key_len` bytes (1 to 64); `seed` makes its
 * order unpredictable. NULL when memory is short. */
struct kv_table *kv_table_new(uint32_t capacity, size_t key_len, uint64_t seed);
void kv_table_free(struct kv_table *table);

uint32_t kv_table_count(const struct kv_table *table);

/* The index of `key`, which becomes the most recently used, or KV_TABLE_NONE. */
uint32_t kv_table_find(struct kv_table *table, const void *key);

/* The index of `key`, added if it is new. When the table is full the entry used
 * longest ago gives way: `on_evict` (may be NULL) is called with its index before
 * that index is used again. `is_new` tells whether the value must be filled. */
uint32_t kv_table_put(struct kv_table *table, const void *key,
                      void (*on_evict)(void *arg, uint32_t index), void *arg,
                      bool *is_new);

void kv_table_remove(struct kv_table *table, uint32_t index);

/* Walk: the most recently used entry, then each older one; KV_TABLE_NONE ends. */
uint32_t kv_table_first(const struct kv_table *table);
uint32_t kv_table_next(const struct kv_table *table, uint32_t index);

/* The key at an index in use; borrowed. */
const void *kv_table_key(const struct kv_table *table, uint32_t index);

#endif
