/*
 * Writing: one thread, one transaction for whatever waits.
 *
 * While a commit waits for the disk, changes queue up; the next transaction takes
 * them together, each batch in a savepoint of its own, so that a conflict undoes
 * only that batch. Nobody is answered before the commit is durable.
 *
 *   begin ─ savepoint ─ changes ─ release ─ ... ─ commit ─ answers ─ checkpoint
 *
 * A failure before the commit undoes the transaction; its batches are then tried
 * one by one, so that only the guilty one fails. A commit that fails for another
 * reason than a full disk has an unknown outcome: the log may or may not have
 * reached the disk, and nothing this process reads can tell. It stops.
 */
#include <string.h>

#include "store/core/clock.h"
#include "store/db/sqlite/internal.h"

#define GROUP_JOBS 64
#define GROUP_BYTES (16U << 20)
#define IDLE_NS 1000000000ULL
#define PRUNE_EVERY_S 60

struct group {
    struct kv_job *job[GROUP_JOBS];
    size_t n;
    int64_t n_rows_more; /* inserted minus deleted */
    uint64_t n_mutations;
};

static int bind_row(struct kv_query *query, const struct kv_job_change *change)
{
    const struct kv_row *row = &change->row;
    kv_query_blob(query, 1, row->key.vault, KV_ID_LEN);
    kv_query_i64(query, 2, row->key.kind);
    kv_query_text(query, 3, change->folded);
    kv_query_blob(query, 4, row->key.version, KV_ID_LEN);
    if (!kv_job_change_stores(change)) {
        kv_query_i64(query, 5, (int64_t)change->expect);
        return query->rc;
    }
    kv_query_i64(query, 5, (int64_t)row->row_version);
    kv_query_i64(query, 6, row->term);
    kv_query_i64(query, 7, row->flags);
    kv_query_blob(query, 8, row->current, KV_ID_LEN);
    kv_query_i64(query, 9, row->created_s);
    kv_query_i64(query, 10, row->updated_s);
    kv_query_time(query, 11, row->nbf_s);
    kv_query_time(query, 12, row->exp_s);
    kv_query_time(query, 13, row->next_at_s);
    kv_query_blob(query, 14, row->sealed, row->sealed_len);
    if (change->expect == 0) {
        kv_query_i64(query, 15, kv_id_is_zero(row->key.version) ? 0 : 1);
        kv_query_text(query, 16, row->key.name);
    } else {
        kv_query_i64(query, 15, (int64_t)change->expect);
    }
    return query->rc;
}

/* Remove the versions of a name whose head is gone already. */
static int purge_versions(struct kv_sqlite_conn *conn, struct kv_job_change *change)
{
    struct kv_query query = kv_query_begin(conn, KV_SQL_PURGE);
    kv_query_blob(&query, 1, change->row.key.vault, KV_ID_LEN);
    kv_query_i64(&query, 2, change->row.key.kind);
    kv_query_text(&query, 3, change->folded);
    int rc = kv_query_step(&query);
    kv_query_end(&query);
    if (rc != SQLITE_DONE)
        return rc;
    change->n_purged = 1 + (uint64_t)sqlite3_changes64(conn->db);
    return SQLITE_OK;
}

static enum kv_sql sql_of(const struct kv_job_change *change)
{
    if (!kv_job_change_stores(change))
        return KV_SQL_DELETE;
    return change->expect == 0 ? KV_SQL_INSERT : KV_SQL_UPDATE;
}

/* SQLite's code; SQLITE_CONSTRAINT when the expectation does not hold. */
static int change_apply(struct kv_sqlite_conn *conn, struct kv_job_change *change)
{
    enum kv_sql sql = sql_of(change);
    struct kv_query query = kv_query_begin(conn, sql);
    (void)bind_row(&query, change); /* step reports it */
    int rc = kv_query_step(&query);
    kv_query_end(&query);
    if (rc != SQLITE_DONE)
        return rc;
    if (sqlite3_changes(conn->db) != 1)
        return SQLITE_CONSTRAINT;
    return change->kind == KV_MUTATION_PURGE ? purge_versions(conn, change) : SQLITE_OK;
}

static int op_add(struct kv_sqlite *store, const struct kv_job *job)
{
    struct kv_query query = kv_query_begin(&store->writer, KV_SQL_OP_ADD);
    kv_query_blob(&query, 1, job->op_id, KV_ID_LEN);
    kv_query_i64(&query, 2, kv_now_s(store->clock));
    int rc = kv_query_step(&query);
    kv_query_end(&query);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int run_with_number(struct kv_sqlite_conn *conn, enum kv_sql sql, int64_t number)
{
    struct kv_query query = kv_query_begin(conn, sql);
    kv_query_i64(&query, 1, number);
    int rc = kv_query_step(&query);
    kv_query_end(&query);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Inside the savepoint: SQLITE_OK, SQLITE_CONSTRAINT (the job's error is set), or
 * what ends the whole transaction. */
static int batch_changes(struct kv_sqlite *store, struct kv_job *job)
{
    for (size_t i = 0; i < job->n_changes; i++) {
        int rc = change_apply(&store->writer, &job->changes[i]);
        if (rc == SQLITE_CONSTRAINT)
            (void)kv_job_conflict(job, i); /* kept in the job */
        if (rc != SQLITE_OK)
            return rc;
    }
    return op_add(store, job);
}

static void count_changes(struct group *group, const struct kv_job *job)
{
    group->n_mutations += job->n_changes;
    for (size_t i = 0; i < job->n_changes; i++) {
        if (job->changes[i].kind == KV_MUTATION_DELETE)
            group->n_rows_more--;
        else if (job->changes[i].kind == KV_MUTATION_PURGE)
            group->n_rows_more -= (int64_t)job->changes[i].n_purged;
        else if (job->changes[i].expect == 0)
            group->n_rows_more++;
    }
}

static int batch_apply(struct kv_sqlite *store, struct group *group, struct kv_job *job)
{
    struct kv_sqlite_conn *conn = &store->writer;
    int rc = kv_sqlite_op_find(store, conn, job);
    if (rc == SQLITE_ROW)
        return SQLITE_OK; /* done before: its result is success */
    if (rc == SQLITE_DONE)
        rc = kv_sql_run(conn, KV_SQL_SAVEPOINT);
    if (rc != SQLITE_OK)
        return rc;
    rc = batch_changes(store, job);
    if (rc == SQLITE_OK)
        count_changes(group, job);
    else if (rc == SQLITE_CONSTRAINT)
        rc = kv_sql_run(conn, KV_SQL_SAVEPOINT_UNDO);
    return rc == SQLITE_OK ? kv_sql_run(conn, KV_SQL_SAVEPOINT_END) : rc;
}

static void rollback(struct kv_sqlite *store)
{
    /* Some failures have undone the transaction already. */
    if (!sqlite3_get_autocommit(store->writer.db))
        (void)kv_sql_run(&store->writer, KV_SQL_ROLLBACK);
}

static int prune(struct kv_sqlite *store)
{
    int64_t now_s = kv_now_s(store->clock);
    if (store->pruned_at_s != KV_TIME_NONE && now_s >= store->pruned_at_s &&
        now_s - store->pruned_at_s < PRUNE_EVERY_S)
        return SQLITE_OK;
    store->pruned_at_s = now_s;
    return run_with_number(&store->writer, KV_SQL_OP_PRUNE,
                           now_s - KV_SQLITE_OP_KEEP_S);
}

/* Everything of a transaction but its commit. */
static int group_changes(struct kv_sqlite *store, struct group *group)
{
    int rc = kv_sql_run(&store->writer, KV_SQL_BEGIN);
    for (size_t i = 0; rc == SQLITE_OK && i < group->n; i++)
        rc = batch_apply(store, group, group->job[i]);
    if (rc == SQLITE_OK && group->n_rows_more != 0)
        rc = run_with_number(&store->writer, KV_SQL_TALLY_ADD, group->n_rows_more);
    if (rc == SQLITE_OK)
        rc = prune(store);
    return rc;
}

static void group_fail(struct group *group, const struct kv_err *err, int code)
{
    for (size_t i = 0; i < group->n; i++) {
        struct kv_job *job = group->job[i];
        kv_job_reset(job);
        job->err = *err;
        job->err.code = code;
        job->rc = code;
    }
}

/* Stop: the commit may or may not be on the disk. */
static void outcome_unknown(struct kv_sqlite *store, struct group *group, int sqlite_rc)
{
    struct kv_err err = KV_ERR_INIT;
    (void)kv_err_set(
        &err, KV_E_UNKNOWN, "db.outcome-unknown",
        "a commit ended with \"%s\" (SQLite %d); whether it is on the disk "
        "is known after a restart only",
        sqlite3_errstr(sqlite_rc), sqlite_rc);
    kv_err_hint(&err, "look for disk errors in the kernel log; the daemon restarts and "
                      "clients ask again");
    kv_sqlite_fatal(store, &err);
    group_fail(group, &err, KV_E_UNKNOWN);
}

static void group_run(struct kv_sqlite *store, struct group *group);

/* Try each batch of a failed transaction alone. */
static void group_split(struct kv_sqlite *store, struct group *group)
{
    for (size_t i = 0; i < group->n; i++) {
        struct group one = {.job = {group->job[i]}, .n = 1};
        kv_job_reset(group->job[i]);
        group_run(store, &one);
    }
}

static void group_run(struct kv_sqlite *store, struct group *group)
{
    if (store->has_failed) {
        group_fail(group, &store->fatal, KV_E_UNAVAILABLE);
        return;
    }
    int rc = group_changes(store, group);
    bool is_commit = rc == SQLITE_OK;
    if (is_commit)
        rc = kv_sql_run(&store->writer, KV_SQL_COMMIT);
    if (rc == SQLITE_OK) {
        atomic_fetch_add(&store->n_commits, 1);
        atomic_fetch_add(&store->n_mutations, group->n_mutations);
        return;
    }
    if (is_commit && (rc & 0xff) != SQLITE_FULL) {
        outcome_unknown(store, group, rc);
        return;
    }
    rollback(store);
    if (group->n > 1) {
        group_split(store, group);
        return;
    }
    struct kv_err err = KV_ERR_INIT;
    int code = kv_sqlite_fail(&err, rc, "write to the store");
    kv_log_err(store->log, KV_LOG_ERROR, "db.write-failed", &err);
    group_fail(group, &err, code);
}

static size_t job_bytes(const struct kv_job *job)
{
    size_t n = 0;
    for (size_t i = 0; i < job->n_changes; i++)
        n += job->changes[i].row.sealed_len;
    return n;
}

/* With the mutex: take what waits, within the limits of one transaction. */
static void group_take(struct kv_sqlite *store, struct group *group)
{
    size_t n_bytes = 0;
    while (group->n < GROUP_JOBS && n_bytes < GROUP_BYTES) {
        struct kv_job *job = kv_job_queue_pop(&store->writes);
        if (job == NULL)
            return;
        n_bytes += job_bytes(job);
        group->job[group->n++] = job;
    }
}

static void group_process(struct kv_sqlite *store, struct group *group)
{
    group_run(store, group);
    for (size_t i = 0; i < group->n; i++)
        kv_sqlite_done(store, group->job[i]);
    if (!store->has_failed)
        kv_checkpoint_after_commit(store);
}

/* With the mutex, which is let go while the log is emptied. */
static void wait_for_work(struct kv_sqlite *store)
{
    if (store->wal_pages == 0 || store->has_failed) {
        uv_cond_wait(&store->has_writes, &store->mutex);
        return;
    }
    if (uv_cond_timedwait(&store->has_writes, &store->mutex, IDLE_NS) == 0)
        return;
    uv_mutex_unlock(&store->mutex);
    kv_checkpoint_when_idle(store);
    uv_mutex_lock(&store->mutex);
}

void kv_sqlite_writer_main(void *arg)
{
    struct kv_sqlite *store = arg;
    uv_mutex_lock(&store->mutex);
    for (;;) {
        struct group group = {.n = 0};
        group_take(store, &group);
        if (group.n == 0 && store->stop_writer)
            break;
        if (group.n == 0) {
            wait_for_work(store);
            continue;
        }
        uv_mutex_unlock(&store->mutex);
        group_process(store, &group);
        uv_mutex_lock(&store->mutex);
    }
    uv_mutex_unlock(&store->mutex);
    if (!store->has_failed)
        kv_checkpoint_when_idle(store);
    kv_conn_close(&store->writer);
    uv_mutex_lock(&store->mutex);
    store->writer_is_left = false;
    if (store->has_async)
        (void)uv_async_send(&store->async); /* fails only on a closed handle */
    uv_mutex_unlock(&store->mutex);
}
