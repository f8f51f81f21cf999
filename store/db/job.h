/*
 * One request to a store on its way through a back end: checked and copied when it
 * is made, carried to whatever does the work, finished on the loop.
 *
 * Private to store/db and its back ends. A job belongs to one thread at a time: the
 * loop makes it, hands it over in submit(), gets it back, and kv_job_finish calls the
 * user back and frees it. Names inside a job are folded; the spelling that the
 * caller used stands in `row.key.name` of a change only.
 */
#ifndef KV_STORE_DB_JOB_H
#define KV_STORE_DB_JOB_H

#include "store/db/store.h"

enum kv_job_kind {
    KV_JOB_GET,
    KV_JOB_GET_LIVE,
    KV_JOB_LIST,
    KV_JOB_APPLY,
    KV_JOB_OP_STATUS,
    KV_JOB_STATS,
    KV_JOB_CHECK,
    KV_JOB_SNAPSHOT,
};

/* One mutation of a batch; `row.sealed` is the job's own copy. */
struct kv_job_change {
    enum kv_mutation_kind kind;
    uint64_t n_purged; /* rows that a PURGE has removed */
    uint64_t expect;
    char folded[KV_NAME_MAX + 1];
    struct kv_row row;
};

/* Whether a change leaves a row behind, rather than taking one away. */
bool kv_job_change_stores(const struct kv_job_change *change);

struct kv_job {
    struct kv_job *next;
    enum kv_job_kind kind;
    union {
        kv_store_rows_cb rows;
        kv_store_apply_cb apply;
        kv_store_stats_cb stats;
    } cb;
    void *arg;

    struct kv_row_key key;
    struct kv_list_query query;
    uint8_t op_id[KV_ID_LEN];
    struct kv_job_change *changes;
    size_t n_changes;
    char *path; /* SNAPSHOT */

    int rc;
    struct kv_err err;
    struct kv_row *rows; /* their sealed bytes belong to the job */
    size_t n_rows;
    bool has_more;
    size_t failed_index;
    struct kv_store_stats stats;
};

/* First-in first-out; `tail` is meaningless while `head` is NULL. */
struct kv_job_queue {
    struct kv_job *head;
    struct kv_job *tail;
};
void kv_job_queue_push(struct kv_job_queue *queue, struct kv_job *job);
struct kv_job *kv_job_queue_pop(struct kv_job_queue *queue);

/* What every back end begins with. The operations below check, copy and count, then
 * call submit(), which takes the job and cannot fail. */
struct kv_store_base {
    struct kv_store store;
    void (*submit)(struct kv_store_base *base, struct kv_job *job);
    size_t n_pending; /* jobs whose callback has not been called yet */
    bool is_closing;
};

int kv_base_get(struct kv_store *store, const struct kv_row_key *key,
                kv_store_rows_cb cb, void *arg);
int kv_base_get_live(struct kv_store *store, const struct kv_row_key *key,
                     kv_store_rows_cb cb, void *arg);
int kv_base_list(struct kv_store *store, const struct kv_list_query *query,
                 kv_store_rows_cb cb, void *arg);
int kv_base_apply(struct kv_store *store, const uint8_t op_id[KV_ID_LEN],
                  const struct kv_mutation *mutations, size_t n_mutations,
                  kv_store_apply_cb cb, void *arg);
int kv_base_op_status(struct kv_store *store, const uint8_t op_id[KV_ID_LEN],
                      kv_store_apply_cb cb, void *arg);
int kv_base_stats(struct kv_store *store, kv_store_stats_cb cb, void *arg);
int kv_base_check(struct kv_store *store, kv_store_apply_cb cb, void *arg);
int kv_base_snapshot(struct kv_store *store, const char *path, kv_store_apply_cb cb,
                     void *arg);

/* Append a copy of `row` to the result; room for query.limit + 1 rows (or one, where
 * the job is no list). Returns 0 or KV_E_NOMEM (recorded in the job's error). */
int kv_job_add_row(struct kv_job *job, const struct kv_row *row) KV_MUST_CHECK;

/* Turn one row above the limit into has_more. */
void kv_job_cut(struct kv_job *job);

/* Forget the result, so that the job can run again. */
void kv_job_reset(struct kv_job *job);

/* Record KV_E_NOT_FOUND for the job's row or operation, KV_E_CONFLICT for change
 * `index`; both return the code. */
int kv_job_not_found(struct kv_job *job);
int kv_job_conflict(struct kv_job *job, size_t index);

/* Call the user back and free the job. On the loop. */
void kv_job_finish(struct kv_store_base *base, struct kv_job *job);

#endif
