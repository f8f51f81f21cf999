/*
 * Connections: settings, what SQL may do, and SQLite's failures in our words.
 *
 * The file is treated as hostile: a schema that somebody planted must not run code
 * (no triggers, views, extensions or trusted functions), no cell may point outside
 * its page, and the authorizer lets through the store's own statements and no more.
 * Each setting is read back, because SQLite ignores a pragma that it does not know.
 */
#include "store/db/sqlite/conn.h"

#include <stdio.h>
#include <string.h>

#include "store/core/clock.h"
#include "store/core/str.h"

#define BUSY_TIMEOUT_MS 5000
#define PROGRESS_STEPS 20000

struct failure {
    int sqlite_rc;
    int code;
    const char *id;
    const char *hint;
};

static const struct failure failures[] = {
    {SQLITE_FULL, KV_E_FULL, "db.disk-full",
     "free space on the file system of the state directory; nothing was changed"},
    {SQLITE_CORRUPT, KV_E_INTEGRITY, "db.corrupt",
     "stop the daemon, keep a copy of the file, and restore the last backup"},
    {SQLITE_NOTADB, KV_E_INTEGRITY, "db.corrupt",
     "stop the daemon, keep a copy of the file, and restore the last backup"},
    {SQLITE_NOMEM, KV_E_NOMEM, "db.no-memory", ""},
    {SQLITE_BUSY, KV_E_BUSY, "db.busy", "end the other program that has the file open"},
    {SQLITE_LOCKED, KV_E_BUSY, "db.busy",
     "end the other program that has the file open"},
    {SQLITE_INTERRUPT, KV_E_TIMEOUT, "db.slow-read",
     "look for a slow or overloaded disk"},
    {SQLITE_IOERR, KV_E_IO, "db.io", "look for disk errors in the kernel log"},
    {SQLITE_CANTOPEN, KV_E_IO, "db.no-access",
     "check owner and mode of the files in the state directory"},
    {SQLITE_READONLY, KV_E_IO, "db.no-access",
     "check owner and mode of the files in the state directory"},
    {SQLITE_PERM, KV_E_IO, "db.no-access",
     "check owner and mode of the files in the state directory"},
};

int kv_sqlite_fail(struct kv_err *err, int sqlite_rc, const char *what)
{
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        const struct failure *failure = &failures[i];
        if (failure->sqlite_rc != (sqlite_rc & 0xff))
            continue;
        (void)kv_err_set(err, failure->code, failure->id, "cannot %s: %s (SQLite %d)",
                         what, sqlite3_errstr(sqlite_rc), sqlite_rc);
        if (failure->hint[0] != '\0')
            kv_err_hint(err, "%s", failure->hint);
        return failure->code;
    }
    return kv_err_set(err, KV_E_INTERNAL, "db.sql", "cannot %s: %s (SQLite %d)", what,
                      sqlite3_errstr(sqlite_rc), sqlite_rc);
}

static bool is_own_table(const char *name)
{
    return strcmp(name, "obj") == 0 || strcmp(name, "op") == 0 ||
           strcmp(name, "tally") == 0;
}

static bool is_in(const char *name, const char *const *list)
{
    for (; name != NULL && *list != NULL; list++) {
        if (strcmp(name, *list) == 0)
            return true;
    }
    return false;
}

/* What a statement may do once the schema stands; everything else is denied. */
static int authorize(void *arg, int action, const char *first, const char *second,
                     const char *schema, const char *trigger)
{
    static const char *const functions[] = {"coalesce", "max", "count", NULL};
    static const char *const pragmas[] = {"integrity_check", "quick_check",
                                          "foreign_key_check", NULL};
    const struct kv_sqlite_conn *conn = arg;
    (void)schema;
    if (conn->mode == KV_SQLITE_SETUP)
        return SQLITE_OK;
    if (trigger != NULL)
        return SQLITE_DENY;
    bool is_writer = conn->mode == KV_SQLITE_WRITE;
    bool is_allowed = false;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_TRANSACTION:
        is_allowed = true;
        break;
    case SQLITE_READ:
        is_allowed = is_own_table(first) || strcmp(first, "sqlite_master") == 0;
        break;
    case SQLITE_FUNCTION:
        is_allowed = is_in(second, functions);
        break;
    case SQLITE_PRAGMA:
        is_allowed = !is_writer && is_in(first, pragmas);
        break;
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
        is_allowed = is_writer && is_own_table(first);
        break;
    case SQLITE_SAVEPOINT:
        is_allowed = is_writer;
        break;
    default:
        break;
    }
    return is_allowed ? SQLITE_OK : SQLITE_DENY;
}

/* Ends a query whose time is up: a reader that never ends keeps the log growing. */
static int on_progress(void *arg)
{
    const struct kv_sqlite_conn *conn = arg;
    return conn->deadline_ms != 0 &&
           kv_monotonic_ms(kv_clock_system()) > conn->deadline_ms;
}

static int set_flags(struct kv_sqlite_conn *conn)
{
    static const struct {
        int flag;
        int value;
    } flags[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
        {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
        {SQLITE_DBCONFIG_ENABLE_FKEY, 1},
        {SQLITE_DBCONFIG_DQS_DML, 0},
        {SQLITE_DBCONFIG_DQS_DDL, 0},
    };
    static const struct {
        int limit;
        int value;
    } limits[] = {
        {SQLITE_LIMIT_ATTACHED, 0},       {SQLITE_LIMIT_SQL_LENGTH, 16384},
        {SQLITE_LIMIT_LENGTH, 1 << 20},   {SQLITE_LIMIT_TRIGGER_DEPTH, 1},
        {SQLITE_LIMIT_WORKER_THREADS, 0},
    };
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        int now = -1;
        int rc = sqlite3_db_config(conn->db, flags[i].flag, flags[i].value, &now);
        if (rc != SQLITE_OK || now != flags[i].value)
            return rc != SQLITE_OK ? rc : SQLITE_ERROR;
    }
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        (void)sqlite3_limit(conn->db, limits[i].limit, limits[i].value);
    return SQLITE_OK;
}

int kv_conn_open(struct kv_sqlite_conn *conn, const char *path, struct kv_err *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW |
                SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
    conn->mode = KV_SQLITE_SETUP;
    int rc = sqlite3_open_v2(path, &conn->db, flags, NULL);
    if (rc == SQLITE_OK)
        rc = set_flags(conn);
    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(conn->db, BUSY_TIMEOUT_MS);
    if (rc == SQLITE_OK)
        rc = sqlite3_set_authorizer(conn->db, authorize, conn);
    if (rc != SQLITE_OK) {
        kv_conn_close(conn);
        return kv_sqlite_fail(err, rc, "open the store");
    }
    sqlite3_progress_handler(conn->db, PROGRESS_STEPS, on_progress, conn);
    return 0;
}

int kv_conn_exec(struct kv_sqlite_conn *conn, const char *sql)
{
    return sqlite3_exec(conn->db, sql, NULL, NULL, NULL);
}

int kv_conn_text(struct kv_sqlite_conn *conn, const char *sql, char *out, size_t size)
{
    sqlite3_stmt *stmt = NULL;
    out[0] = '\0';
    int rc = sqlite3_prepare_v2(conn->db, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        const char *value = (const char *)sqlite3_column_text(stmt, 0);
        kv_str_cut(out, size, value != NULL ? value : "",
                   value != NULL ? strlen(value) : 0);
    }
    (void)sqlite3_finalize(stmt); /* repeats what step returned */
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int kv_conn_i64(struct kv_sqlite_conn *conn, const char *sql, int64_t *out)
{
    sqlite3_stmt *stmt = NULL;
    *out = 0;
    int rc = sqlite3_prepare_v2(conn->db, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt); /* repeats what step returned */
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

struct setting {
    const char *name;
    const char *value;
    const char *reads_as;
};

static int apply_setting(struct kv_sqlite_conn *conn, const struct setting *setting,
                         struct kv_err *err)
{
    char sql[96];
    char now[32];
    (void)snprintf(sql, sizeof(sql), "PRAGMA %s = %s", setting->name, setting->value);
    int rc = kv_conn_exec(conn, sql);
    (void)snprintf(sql, sizeof(sql), "PRAGMA %s", setting->name);
    if (rc == SQLITE_OK)
        rc = kv_conn_text(conn, sql, now, sizeof(now));
    if (rc != SQLITE_OK)
        return kv_sqlite_fail(err, rc, "configure the store");
    if (strcmp(now, setting->reads_as) == 0)
        return 0;
    return kv_err_set(err, KV_E_UNSUPPORTED, "db.bad-setting",
                      "SQLite keeps %s at \"%s\" instead of \"%s\"", setting->name, now,
                      setting->reads_as);
}

static int apply_all(struct kv_sqlite_conn *conn, const struct setting *settings,
                     size_t n_settings, struct kv_err *err)
{
    for (size_t i = 0; i < n_settings; i++) {
        int rc = apply_setting(conn, &settings[i], err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int kv_conn_configure(struct kv_sqlite_conn *conn, bool is_fresh, bool is_writer,
                      struct kv_err *err)
{
    static const struct setting common[] = {
        {"journal_mode", "WAL", "wal"},   {"synchronous", "FULL", "2"},
        {"foreign_keys", "ON", "1"},      {"trusted_schema", "OFF", "0"},
        {"cell_size_check", "ON", "1"},   {"mmap_size", "0", "0"},
        {"secure_delete", "ON", "1"},     {"temp_store", "MEMORY", "2"},
        {"wal_autocheckpoint", "0", "0"}, {"cache_size", "-16384", "-16384"},
    };
    static const struct setting reader = {"query_only", "ON", "1"};
    int rc = 0;
    if (is_fresh) {
        rc = kv_conn_exec(conn, "PRAGMA page_size = 4096");
        if (rc != SQLITE_OK)
            return kv_sqlite_fail(err, rc, "configure the store");
    }
    rc = apply_all(conn, common, sizeof(common) / sizeof(common[0]), err);
    if (rc == 0 && !is_writer)
        rc = apply_all(conn, &reader, 1, err);
    if (rc != 0)
        return rc;
    int64_t page_size = 0;
    rc = kv_conn_i64(conn, "PRAGMA page_size", &page_size);
    if (rc != SQLITE_OK)
        return kv_sqlite_fail(err, rc, "configure the store");
    if (page_size != 4096)
        return kv_err_set(err, KV_E_UNSUPPORTED, "db.bad-setting",
                          "the store has pages of %lld bytes instead of 4096",
                          (long long)page_size);
    return 0;
}

void kv_conn_restrict(struct kv_sqlite_conn *conn, bool is_writer)
{
    conn->mode = is_writer ? KV_SQLITE_WRITE : KV_SQLITE_READ;
}

void kv_conn_close(struct kv_sqlite_conn *conn)
{
    kv_sql_finalize(conn);
    (void)sqlite3_close_v2(conn->db); /* cannot fail */
    conn->db = NULL;
}
