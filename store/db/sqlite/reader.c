/*
 * Reading: a few threads, each with its own connection and its own snapshot.
 *
 * A read runs on whichever reader is free. Queries are short by construction (one
 * page by an index); one that takes longer than five seconds is ended, because an
 * open snapshot keeps the log from being emptied. Only the full check may take its
 * time.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "store/core/clock.h"
#include "store/core/str.h"
#include "store/db/sqlite/internal.h"
#include "store/db/sqlite/schema.h"

#define READ_MAX_MS 5000

static bool column_id(sqlite3_stmt *stmt, int column, uint8_t out[KV_ID_LEN])
{
    const void *data = sqlite3_column_blob(stmt, column);
    if (data == NULL || sqlite3_column_bytes(stmt, column) != KV_ID_LEN)
        return false;
    memcpy(out, data, KV_ID_LEN);
    return true;
}

static int64_t column_time(sqlite3_stmt *stmt, int column)
{
    if (sqlite3_column_type(stmt, column) == SQLITE_NULL)
        return KV_TIME_NONE;
    return sqlite3_column_int64(stmt, column);
}

static bool column_range(sqlite3_stmt *stmt, int column, int64_t max, int64_t *out)
{
    *out = sqlite3_column_int64(stmt, column);
    return *out >= 0 && *out <= max;
}

int kv_sqlite_row_add(struct kv_job *job, sqlite3_stmt *stmt)
{
    struct kv_row row = {.row_version = 0};
    int64_t kind = 0;
    int64_t row_version = 0;
    int64_t term = 0;
    int64_t flags = 0;
    const char *name = (const char *)sqlite3_column_text(stmt, 2);
    row.sealed = sqlite3_column_blob(stmt, 13);
    int sealed_len = sqlite3_column_bytes(stmt, 13);
    if (!column_id(stmt, 0, row.key.vault) ||
        !column_range(stmt, 1, UINT8_MAX, &kind) || name == NULL ||
        kv_str_copy(row.key.name, sizeof(row.key.name), name) != 0 ||
        !column_id(stmt, 3, row.key.version) ||
        !column_range(stmt, 4, INT64_MAX, &row_version) ||
        !column_range(stmt, 5, UINT32_MAX, &term) ||
        !column_range(stmt, 6, UINT32_MAX, &flags) ||
        !column_id(stmt, 7, row.current) || sealed_len > KV_STORE_SEALED_MAX)
        return kv_err_set(&job->err, KV_E_INTEGRITY, "db.corrupt",
                          "a row of the store has columns that are out of range");
    row.key.kind = (uint8_t)kind;
    row.row_version = (uint64_t)row_version;
    row.term = (uint32_t)term;
    row.flags = (uint32_t)flags;
    row.created_s = sqlite3_column_int64(stmt, 8);
    row.updated_s = sqlite3_column_int64(stmt, 9);
    row.nbf_s = column_time(stmt, 10);
    row.exp_s = column_time(stmt, 11);
    row.next_at_s = column_time(stmt, 12);
    row.sealed_len = (size_t)sealed_len;
    return kv_job_add_row(job, &row);
}

int kv_sqlite_op_find(struct kv_sqlite *store, struct kv_sqlite_conn *conn,
                      const struct kv_job *job)
{
    struct kv_query query = kv_query_begin(conn, KV_SQL_OP_FIND);
    kv_query_blob(&query, 1, job->op_id, KV_ID_LEN);
    kv_query_i64(&query, 2, kv_now_s(store->clock) - KV_SQLITE_OP_KEEP_S);
    int rc = kv_query_step(&query);
    kv_query_end(&query);
    return rc;
}

static int run_op_status(struct kv_sqlite *store, struct kv_sqlite_conn *conn,
                         struct kv_job *job)
{
    int rc = kv_sqlite_op_find(store, conn, job);
    if (rc == SQLITE_ROW)
        return 0;
    return rc == SQLITE_DONE ? kv_job_not_found(job)
                             : kv_sqlite_fail(&job->err, rc, "look up an operation");
}

/* Take all rows of a query into the job. */
static int take_rows(struct kv_job *job, struct kv_query *query)
{
    int rc = 0;
    while (rc == 0 && kv_query_step(query) == SQLITE_ROW)
        rc = kv_sqlite_row_add(job, query->stmt);
    if (rc == 0 && query->rc != SQLITE_DONE)
        rc = kv_sqlite_fail(&job->err, query->rc, "read the store");
    kv_query_end(query);
    return rc;
}

static int run_get(struct kv_sqlite_conn *conn, struct kv_job *job)
{
    bool is_live = job->kind == KV_JOB_GET_LIVE;
    struct kv_query query =
        kv_query_begin(conn, is_live ? KV_SQL_GET_LIVE : KV_SQL_GET);
    kv_query_blob(&query, 1, job->key.vault, KV_ID_LEN);
    kv_query_i64(&query, 2, job->key.kind);
    kv_query_text(&query, 3, job->key.name);
    if (!is_live || !kv_id_is_zero(job->key.version))
        kv_query_blob(&query, 4, job->key.version, KV_ID_LEN); /* else NULL: current */
    int rc = take_rows(job, &query);
    if (rc == 0 && job->n_rows == 0)
        rc = kv_job_not_found(job);
    return rc;
}

static int list_names(struct kv_sqlite_conn *conn, struct kv_job *job, enum kv_sql sql)
{
    struct kv_query query = kv_query_begin(conn, sql);
    kv_query_blob(&query, 1, job->query.vault, KV_ID_LEN);
    kv_query_i64(&query, 2, job->query.kind);
    kv_query_text(&query, 3, job->query.after_name);
    kv_query_i64(&query, 4, (int64_t)job->query.limit + 1);
    return take_rows(job, &query);
}

/* Where a page of versions starts: behind the version that the last one ended with. */
struct page_start {
    int64_t created_s;
    int64_t seq;
};

static int find_page_start(struct kv_sqlite_conn *conn, struct kv_job *job,
                           struct page_start *start)
{
    *start = (struct page_start){.created_s = INT64_MIN};
    if (kv_id_is_zero(job->query.after_version))
        return 0;
    struct kv_query query = kv_query_begin(conn, KV_SQL_PAGE_START);
    kv_query_blob(&query, 1, job->query.vault, KV_ID_LEN);
    kv_query_i64(&query, 2, job->query.kind);
    kv_query_text(&query, 3, job->query.name);
    kv_query_blob(&query, 4, job->query.after_version, KV_ID_LEN);
    int rc = kv_query_step(&query);
    if (rc == SQLITE_ROW) {
        start->created_s = sqlite3_column_int64(query.stmt, 0);
        start->seq = sqlite3_column_int64(query.stmt, 1);
    }
    kv_query_end(&query);
    if (rc == SQLITE_ROW)
        return 0;
    return rc == SQLITE_DONE ? kv_job_not_found(job)
                             : kv_sqlite_fail(&job->err, rc, "read the store");
}

static int list_versions(struct kv_sqlite_conn *conn, struct kv_job *job)
{
    struct page_start start;
    int sqlite_rc = kv_sql_run(conn, KV_SQL_READ_BEGIN);
    if (sqlite_rc != SQLITE_OK)
        return kv_sqlite_fail(&job->err, sqlite_rc, "read the store");
    int rc = find_page_start(conn, job, &start);
    if (rc == 0) {
        struct kv_query query = kv_query_begin(conn, KV_SQL_LIST_VERSIONS);
        kv_query_blob(&query, 1, job->query.vault, KV_ID_LEN);
        kv_query_i64(&query, 2, job->query.kind);
        kv_query_text(&query, 3, job->query.name);
        kv_query_i64(&query, 4, start.created_s);
        kv_query_i64(&query, 5, start.seq);
        kv_query_blob(&query, 6, job->query.after_version, KV_ID_LEN);
        kv_query_i64(&query, 7, (int64_t)job->query.limit + 1);
        rc = take_rows(job, &query);
    }
    (void)kv_sql_run(conn, KV_SQL_READ_END); /* ends a snapshot, writes nothing */
    return rc;
}

static int list_due(struct kv_sqlite_conn *conn, struct kv_job *job)
{
    struct kv_query query = kv_query_begin(conn, KV_SQL_LIST_DUE);
    kv_query_i64(&query, 1, job->query.due_s);
    kv_query_i64(&query, 2, (int64_t)job->query.limit + 1);
    kv_query_i64(&query, 3, job->query.skip);
    return take_rows(job, &query);
}

static int list_vault(struct kv_sqlite_conn *conn, struct kv_job *job)
{
    struct kv_query query = kv_query_begin(conn, KV_SQL_LIST_VAULT);
    kv_query_blob(&query, 1, job->query.vault, KV_ID_LEN);
    kv_query_i64(&query, 2, (int64_t)job->query.limit + 1);
    return take_rows(job, &query);
}

static int list_id(struct kv_sqlite_conn *conn, struct kv_job *job)
{
    struct kv_query query = kv_query_begin(conn, KV_SQL_LIST_ID);
    kv_query_i64(&query, 1, job->query.kind);
    kv_query_blob(&query, 2, job->query.after_version, KV_ID_LEN);
    kv_query_i64(&query, 3, (int64_t)job->query.limit + 1);
    return take_rows(job, &query);
}

static int run_list(struct kv_sqlite_conn *conn, struct kv_job *job)
{
    int rc = KV_E_INTERNAL;
    switch (job->query.what) {
    case KV_LIST_CURRENT:
        rc = list_names(conn, job, KV_SQL_LIST_CURRENT);
        break;
    case KV_LIST_ROWS:
        rc = list_names(conn, job, KV_SQL_LIST_ROWS);
        break;
    case KV_LIST_DELETED:
        rc = list_names(conn, job, KV_SQL_LIST_DELETED);
        break;
    case KV_LIST_VERSIONS:
        rc = list_versions(conn, job);
        break;
    case KV_LIST_DUE:
        rc = list_due(conn, job);
        break;
    case KV_LIST_VERSION_ID:
        rc = list_id(conn, job);
        break;
    case KV_LIST_VAULT:
        rc = list_vault(conn, job);
        break;
    }
    if (rc == 0)
        kv_job_cut(job);
    return rc;
}

static int read_number(struct kv_sqlite_conn *conn, struct kv_job *job, enum kv_sql sql,
                       uint64_t *out)
{
    struct kv_query query = kv_query_begin(conn, sql);
    int rc = kv_query_step(&query);
    if (rc == SQLITE_ROW)
        *out = (uint64_t)sqlite3_column_int64(query.stmt, 0);
    kv_query_end(&query);
    return rc == SQLITE_ROW ? 0 : kv_sqlite_fail(&job->err, rc, "count the rows");
}

static uint64_t file_size(const char *path, const char *suffix)
{
    char full[4200];
    struct stat info;
    int n = snprintf(full, sizeof(full), "%s%s", path, suffix);
    if (n < 0 || (size_t)n >= sizeof(full) || stat(full, &info) != 0)
        return 0;
    return (uint64_t)info.st_size;
}

static int run_stats(struct kv_sqlite *store, struct kv_sqlite_conn *conn,
                     struct kv_job *job)
{
    job->stats.n_commits = atomic_load(&store->n_commits);
    job->stats.n_mutations = atomic_load(&store->n_mutations);
    job->stats.schema = KV_STORE_SCHEMA;
    job->stats.bytes_on_disk =
        file_size(store->path, "") + file_size(store->path, "-wal");
    return read_number(conn, job, KV_SQL_TALLY_GET, &job->stats.n_rows);
}

static int check_pragma(struct kv_sqlite_conn *conn, struct kv_job *job,
                        const char *sql, const char *good)
{
    char answer[256];
    int rc = kv_conn_text(conn, sql, answer, sizeof(answer));
    if (rc != SQLITE_OK)
        return kv_sqlite_fail(&job->err, rc, "check the store");
    if (strcmp(answer, good) == 0)
        return 0;
    (void)kv_err_set(&job->err, KV_E_INTEGRITY, "db.corrupt",
                     "the store is damaged: %s", answer);
    kv_err_hint(&job->err, "keep a copy of the file and restore the last backup");
    return KV_E_INTEGRITY;
}

static int check_tally(struct kv_sqlite_conn *conn, struct kv_job *job)
{
    uint64_t said = 0;
    uint64_t counted = 0;
    int rc = 0;
    KV_TRY(read_number(conn, job, KV_SQL_TALLY_GET, &said));
    KV_TRY(read_number(conn, job, KV_SQL_COUNT, &counted));
    if (said != counted)
        KV_TRY(kv_err_set(&job->err, KV_E_INTEGRITY, "db.corrupt",
                          "the store says it has %llu rows and has %llu",
                          (unsigned long long)said, (unsigned long long)counted));
out:
    return rc;
}

static int run_check(struct kv_sqlite_conn *conn, struct kv_job *job)
{
    int rc = 0;
    int sqlite_rc = kv_sql_run(conn, KV_SQL_READ_BEGIN);
    if (sqlite_rc != SQLITE_OK)
        return kv_sqlite_fail(&job->err, sqlite_rc, "read the store");
    KV_TRY(check_pragma(conn, job, "PRAGMA integrity_check(1)", "ok"));
    KV_TRY(check_pragma(conn, job, "PRAGMA foreign_key_check", ""));
    KV_TRY(kv_schema_verify(conn, &job->err));
    KV_TRY(check_tally(conn, job));
out:
    (void)kv_sql_run(conn, KV_SQL_READ_END); /* ends a snapshot, writes nothing */
    return rc;
}

static void run(struct kv_sqlite *store, struct kv_sqlite_conn *conn,
                struct kv_job *job)
{
    conn->deadline_ms = kv_monotonic_ms(kv_clock_system()) + READ_MAX_MS;
    switch (job->kind) {
    case KV_JOB_GET:
    case KV_JOB_GET_LIVE:
        job->rc = run_get(conn, job);
        break;
    case KV_JOB_LIST:
        job->rc = run_list(conn, job);
        break;
    case KV_JOB_OP_STATUS:
        job->rc = run_op_status(store, conn, job);
        break;
    case KV_JOB_STATS:
        job->rc = run_stats(store, conn, job);
        break;
    case KV_JOB_CHECK:
        conn->deadline_ms = 0;
        job->rc = run_check(conn, job);
        break;
    case KV_JOB_SNAPSHOT:
        conn->deadline_ms = 0;
        job->rc = kv_sqlite_copy_run(conn, job);
        break;
    case KV_JOB_APPLY:
        KV_ASSERT(job->kind != KV_JOB_APPLY); /* the writer's */
        break;
    }
}

void kv_sqlite_reader_main(void *arg)
{
    struct kv_sqlite_reader *reader = arg;
    struct kv_sqlite *store = reader->store;
    uv_mutex_lock(&store->mutex);
    for (;;) {
        struct kv_job *job = kv_job_queue_pop(&store->reads);
        if (job == NULL && store->stop_readers)
            break;
        if (job == NULL) {
            uv_cond_wait(&store->has_reads, &store->mutex);
            continue;
        }
        uv_mutex_unlock(&store->mutex);
        run(store, &reader->conn, job);
        kv_sqlite_done(store, job);
        uv_mutex_lock(&store->mutex);
    }
    uv_mutex_unlock(&store->mutex);
    kv_conn_close(&reader->conn);
    uv_mutex_lock(&store->mutex);
    store->n_readers_left--;
    if (store->has_async)
        (void)uv_async_send(&store->async); /* fails only on a closed handle */
    uv_mutex_unlock(&store->mutex);
}
