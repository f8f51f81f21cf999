/*
 * Copying the store while it works, and looking at the copy.
 *
 * SQLite's backup API copies pages out of one read transaction, so the copy is the
 * store of one moment however much is written meanwhile; the transaction is held from
 * the first page to the last, or a commit in between would make it start anew. A
 * reader does this, and the log only grows until it is done. The copy leaves WAL mode:
 * it is one file, without companions.
 */
#include "store/db/sqlite/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/db/sqlite/internal.h"
#include "store/db/sqlite/schema.h"
#include "store/keyring/role.h"

#define STEP_PAGES 1024

struct kv_copy {
    struct kv_sqlite_conn conn;
};

/* --- writing ---------------------------------------------------------------------- */

static int make_file(const char *path, struct kv_err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return kv_err_errno(err, errno, "db.no-access", path);
    (void)close(fd); /* nothing was written */
    return 0;
}

static int copy_pages(struct kv_sqlite_conn *from, struct kv_sqlite_conn *to)
{
    sqlite3_backup *backup = sqlite3_backup_init(to->db, "main", from->db, "main");
    if (backup == NULL)
        return sqlite3_extended_errcode(to->db);
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK)
        rc = sqlite3_backup_step(backup, STEP_PAGES);
    int ended = sqlite3_backup_finish(backup);
    return rc != SQLITE_DONE ? rc : ended;
}

/* The copy is private and made again when anything happens to it: it needs no journal
 * and no sync while it is written. */
static int write_copy(struct kv_sqlite_conn *from, const char *path, struct kv_job *job)
{
    struct kv_sqlite_conn to = {.mode = KV_SQLITE_SETUP};
    char mode[16];
    int rc = kv_conn_open(&to, path, &job->err);
    if (rc != 0)
        return rc;
    int sqlite_rc = kv_conn_exec(&to, "PRAGMA synchronous = OFF");
    if (sqlite_rc == SQLITE_OK)
        sqlite_rc = copy_pages(from, &to);
    if (sqlite_rc == SQLITE_OK)
        sqlite_rc =
            kv_conn_text(&to, "PRAGMA journal_mode = DELETE", mode, sizeof(mode));
    if (sqlite_rc == SQLITE_OK && strcmp(mode, "delete") != 0)
        sqlite_rc = SQLITE_ERROR;
    kv_conn_close(&to);
    return sqlite_rc == SQLITE_OK
               ? 0
               : kv_sqlite_fail(&job->err, sqlite_rc, "copy the store");
}

int kv_sqlite_copy_run(struct kv_sqlite_conn *conn, struct kv_job *job)
{
    int64_t n_rows = 0;
    int rc = make_file(job->path, &job->err);
    if (rc != 0)
        return rc;
    int sqlite_rc = kv_sql_run(conn, KV_SQL_READ_BEGIN);
    /* The first read opens the snapshot. */
    if (sqlite_rc == SQLITE_OK)
        sqlite_rc = kv_conn_i64(conn, kv_sql_text(KV_SQL_TALLY_GET), &n_rows);
    if (sqlite_rc == SQLITE_OK)
        rc = write_copy(conn, job->path, job);
    else
        rc = kv_sqlite_fail(&job->err, sqlite_rc, "read the store");
    (void)kv_sql_run(conn, KV_SQL_READ_END); /* ends a snapshot, writes nothing */
    if (rc != 0)
        (void)unlink(job->path); /* the first error counts */
    return rc;
}

/* --- reading ---------------------------------------------------------------------- */

static int check_pragma(struct kv_sqlite_conn *conn, const char *sql, const char *good,
                        struct kv_err *err)
{
    char answer[256];
    int rc = kv_conn_text(conn, sql, answer, sizeof(answer));
    if (rc != SQLITE_OK)
        return kv_sqlite_fail(err, rc, "check the copy");
    if (strcmp(answer, good) == 0)
        return 0;
    return kv_err_set(err, KV_E_INTEGRITY, "db.corrupt",
                      "the copy of the store is damaged: %s", answer);
}

static int check_all(struct kv_sqlite_conn *conn, struct kv_err *err)
{
    bool is_fresh = false;
    int64_t said = 0;
    int64_t counted = 0;
    int rc = 0;
    KV_TRY(kv_schema_look(conn, &is_fresh, err));
    if (is_fresh)
        return kv_err_set(err, KV_E_INTEGRITY, "db.corrupt",
                          "the copy of the store is empty");
    KV_TRY(kv_schema_migrate(conn, KV_STORE_SCHEMA, NULL, err));
    KV_TRY(kv_schema_verify(conn, err));
    KV_TRY(check_pragma(conn, "PRAGMA integrity_check(1)", "ok", err));
    KV_TRY(check_pragma(conn, "PRAGMA foreign_key_check", "", err));
    int sqlite_rc = kv_conn_i64(conn, kv_sql_text(KV_SQL_TALLY_GET), &said);
    if (sqlite_rc == SQLITE_OK)
        sqlite_rc = kv_conn_i64(conn, kv_sql_text(KV_SQL_COUNT), &counted);
    if (sqlite_rc != SQLITE_OK)
        return kv_sqlite_fail(err, sqlite_rc, "count the rows of the copy");
    if (said != counted)
        rc = kv_err_set(err, KV_E_INTEGRITY, "db.corrupt",
                        "the copy says it has %lld rows and has %lld", (long long)said,
                        (long long)counted);
out:
    return rc;
}

int kv_copy_open(struct kv_copy **out, const char *path, struct kv_err *err)
{
    struct kv_copy *copy = calloc(1, sizeof(*copy));
    if (copy == NULL)
        return kv_err_set(err, KV_E_NOMEM, "db.no-memory", "no memory for a copy");
    int rc = kv_conn_open(&copy->conn, path, err);
    if (rc == 0)
        rc = check_all(&copy->conn, err);
    if (rc == 0)
        *out = copy;
    else
        kv_copy_close(copy);
    return rc;
}

void kv_copy_close(struct kv_copy *copy)
{
    if (copy == NULL)
        return;
    kv_conn_close(&copy->conn);
    free(copy);
}

int kv_copy_count(struct kv_copy *copy, struct kv_copy_counts *out, struct kv_err *err)
{
    sqlite3_stmt *stmt = NULL;
    memset(out, 0, sizeof(*out));
    int rc = sqlite3_prepare_v2(
        copy->conn.db, "SELECT kind, COUNT(*) FROM obj GROUP BY kind", -1, &stmt, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        int kind = sqlite3_column_int(stmt, 0);
        uint64_t n = (uint64_t)sqlite3_column_int64(stmt, 1);
        rc = kind > 0 && kind < KV_COPY_KINDS ? SQLITE_OK : SQLITE_CORRUPT;
        if (rc == SQLITE_OK)
            out->n_kind[kind] = n;
        out->n_rows += n;
    }
    (void)sqlite3_finalize(stmt); /* repeats what step returned */
    return rc == SQLITE_DONE ? 0 : kv_sqlite_fail(err, rc, "count the rows");
}

static int visit(sqlite3_stmt *stmt, kv_copy_fn fn, void *arg, struct kv_err *err)
{
    struct kv_job job = {.kind = KV_JOB_GET, .err = KV_ERR_INIT};
    int rc = kv_sqlite_row_add(&job, stmt);
    if (rc == 0)
        rc = fn(arg, &job.rows[0], err);
    else if (err != NULL)
        *err = job.err;
    kv_job_reset(&job);
    return rc;
}

int kv_copy_each(struct kv_copy *copy, enum kv_copy_what what, uint8_t kind,
                 unsigned limit, kv_copy_fn fn, void *arg, struct kv_err *err)
{
    sqlite3_stmt *stmt = NULL;
    char *sql =
        what == KV_COPY_KIND
            ? sqlite3_mprintf("SELECT %s FROM obj o WHERE o.kind = %d"
                              " AND length(o.sealed) > 0 ORDER BY o.id",
                              KV_SQL_ROW, kind)
            : sqlite3_mprintf("SELECT %s FROM obj o WHERE o.kind NOT IN (%d, %d)"
                              " AND length(o.sealed) > 0 ORDER BY random() LIMIT %u",
                              KV_SQL_ROW, KV_KIND_KEY, KV_KIND_VAULT_KEY, limit);
    if (sql == NULL)
        return kv_err_set(err, KV_E_NOMEM, "db.no-memory", "no memory for a query");
    int rc = 0;
    int sqlite_rc = sqlite3_prepare_v2(copy->conn.db, sql, -1, &stmt, NULL);
    while (rc == 0 && sqlite_rc == SQLITE_OK &&
           (sqlite_rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        rc = visit(stmt, fn, arg, err);
        sqlite_rc = SQLITE_OK;
    }
    (void)sqlite3_finalize(stmt); /* repeats what step returned */
    sqlite3_free(sql);
    if (rc == 0 && sqlite_rc != SQLITE_DONE)
        rc = kv_sqlite_fail(err, sqlite_rc, "read the copy");
    return rc;
}
