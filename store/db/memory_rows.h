/*
 * The rows of the store in memory, as its two files share them. Private to memory*.c.
 *
 * One array of entries, sorted by vault, kind, folded name and version, so the head
 * (version zero) stands before the versions of its name.
 */
#ifndef KV_STORE_DB_MEMORY_ROWS_H
#define KV_STORE_DB_MEMORY_ROWS_H

#include "store/db/job.h"
#include "store/db/memory.h"

#define SLOT sizeof(void *) /* one place in an array of entries */

struct entry {
    char folded[KV_NAME_MAX + 1];
    uint64_t seq; /* orders versions of one name that were made in the same second */
    uint64_t id;  /* orders rows that are due at the same time */
    struct kv_row row;
};

struct op {
    uint8_t op_id[KV_ID_LEN];
    int64_t at_s;
};

struct memory {
    struct kv_store_base base;
    uv_idle_t idle;
    const struct kv_clock *clock;
    struct kv_job_queue queue;
    struct entry **entry;
    size_t n_entries;
    size_t cap_entries;
    struct op *op;
    size_t n_ops;
    size_t cap_ops;
    uint64_t next_id;
    uint64_t n_commits;
    uint64_t n_mutations;
    unsigned fail_in; /* 0 = never */
    int fail_code;
    bool fail_takes_effect;
    kv_store_closed_cb closed_cb;
    void *closed_arg;
};

void kv_memory_entry_free(struct entry *entry);

/* Index of the first entry that is not before the key. */
size_t kv_memory_lower_bound(const struct memory *memory, const struct kv_row_key *key,
                             const char *folded);

/* The entry of a key, or NULL. */
struct entry *kv_memory_find(const struct memory *memory, const struct kv_row_key *key,
                             const char *folded);

bool kv_memory_is_same_name(const struct entry *entry, const uint8_t vault[KV_ID_LEN],
                            uint8_t kind, const char *folded);

/* Whether this operation was applied in the last 24 hours. */
bool kv_memory_op_is_known(const struct memory *memory, const uint8_t op_id[KV_ID_LEN]);

/* Apply a job's changes, all or none. 0 or KV_E_* with the job's error set. */
int kv_memory_batch_apply(struct memory *memory, struct kv_job *job);

#endif
