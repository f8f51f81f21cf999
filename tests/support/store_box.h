/*
 * A store in a box: a loop, a temporary directory and calls that wait, so that a
 * test reads straight down. Each call asserts the rules of store.h on the way: one
 * callback, and none before the starting call has returned.
 */
#ifndef KV_TESTS_SUPPORT_STORE_BOX_H
#define KV_TESTS_SUPPORT_STORE_BOX_H

#include "store/db/store.h"

#define BOX_ROWS_MAX KV_STORE_LIST_MAX

struct box {
    uv_loop_t loop;
    struct kv_clock_manual clock;
    struct kv_store_config config;
    struct kv_store *store;
    char dir[64]; /* "" for a store in memory */

    /* what the last call brought */
    bool is_waiting;
    bool is_started;
    unsigned n_callbacks;
    int rc;
    struct kv_err err;
    struct kv_row row[BOX_ROWS_MAX]; /* `sealed` points into `sealed` below */
    uint8_t *sealed[BOX_ROWS_MAX];
    size_t n_rows;
    bool has_more;
    size_t failed_index;
    struct kv_store_stats stats;
};

enum box_kind { BOX_MEMORY, BOX_SQLITE, BOX_KINDS };
extern const char *const box_names[BOX_KINDS];

/* Open a box with a new store; box_fini closes it, asserts an empty loop and removes
 * the directory. */
void box_init(struct box *box, enum box_kind kind);
void box_fini(struct box *box);

/* Close the store, or open it again on the same directory (SQLite). */
void box_close(struct box *box);
int box_reopen(struct box *box);

/* Make a directory of mode 0700 for a store, and remove it. */
void box_dir_make(char dir[64]);
void box_dir_remove(const char *dir);

/* Calls that wait; the code of the callback, or of the starting call. */
int box_get(struct box *box, const struct kv_row_key *key);
int box_get_live(struct box *box, const struct kv_row_key *key);
int box_list(struct box *box, const struct kv_list_query *query);
int box_apply_as(struct box *box, const uint8_t op_id[KV_ID_LEN],
                 const struct kv_mutation *mutations, size_t n_mutations);
int box_apply(struct box *box, const struct kv_mutation *mutations, size_t n_mutations);
int box_op_status(struct box *box, const uint8_t op_id[KV_ID_LEN]);
int box_stats(struct box *box);
int box_check(struct box *box);

/* A key: `version` 0 = head, else an id made of the number; vault 1. */
struct kv_row_key box_key(uint8_t kind, const char *name, uint32_t version);

/* A change that stores a row with its own text as sealed body. */
struct kv_mutation box_put(uint8_t kind, const char *name, uint32_t version,
                           uint64_t expect);
struct kv_mutation box_delete(uint8_t kind, const char *name, uint32_t version,
                              uint64_t expect);

/* The id that box_key makes of a number. */
void box_id(uint8_t id[KV_ID_LEN], uint32_t number);

#endif
