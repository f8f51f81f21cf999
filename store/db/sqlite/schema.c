/*
 * The schema, as a list of steps that only ever grows.
 *
 * Step n takes schema n to n + 1 in one transaction; an interrupted step leaves the
 * file as it was. The proof of the schema runs the same steps on an empty database
 * in memory and compares the two catalogues, so a trigger, view or index that
 * somebody planted is found before any statement touches it.
 *
 *   obj    one row per object version and one head per name; `name` is folded,
 *          `display` the first spelling; `seq` 0 = head or kind without versions
 *   op     operation ids of the last 24 hours
 *   tally  counts that would be slow to count
 */
#include "store/db/sqlite/schema.h"

#include <stdio.h>
#include <string.h>

#include "store/db/store.h"

static const char *const steps[] = {
    "CREATE TABLE obj ("
    " id INTEGER PRIMARY KEY,"
    " vault BLOB NOT NULL CHECK (length(vault) = 16),"
    " kind INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 255),"
    " name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 127),"
    " version BLOB NOT NULL CHECK (length(version) = 16),"
    " seq INTEGER NOT NULL CHECK (seq >= 0),"
    " display TEXT NOT NULL,"
    " row_version INTEGER NOT NULL CHECK (row_version > 0),"
    " term INTEGER NOT NULL CHECK (term BETWEEN 0 AND 4294967295),"
    " flags INTEGER NOT NULL CHECK (flags BETWEEN 0 AND 4294967295),"
    " current_version BLOB NOT NULL CHECK (length(current_version) = 16),"
    " created_s INTEGER NOT NULL,"
    " updated_s INTEGER NOT NULL,"
    " nbf_s INTEGER,"
    " exp_s INTEGER,"
    " next_at_s INTEGER,"
    " sealed BLOB NOT NULL"
    ") STRICT;"
    "CREATE UNIQUE INDEX obj_key ON obj (vault, kind, name, version);"
    "CREATE UNIQUE INDEX obj_head ON obj (vault, kind, name) WHERE seq = 0;"
    "CREATE UNIQUE INDEX obj_live ON obj (vault, kind, name)"
    " WHERE seq = 0 AND (flags & 8) = 0;"
    "CREATE INDEX obj_version ON obj (vault, kind, name, created_s, seq, version)"
    " WHERE seq > 0;"
    "CREATE INDEX obj_id ON obj (kind, version) WHERE seq > 0;"
    "CREATE INDEX obj_due ON obj (next_at_s) WHERE next_at_s IS NOT NULL;"
    "CREATE TABLE op ("
    " op_id BLOB PRIMARY KEY CHECK (length(op_id) = 16),"
    " at_s INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX op_at ON op (at_s);"
    "CREATE TABLE tally ("
    " what TEXT PRIMARY KEY,"
    " n INTEGER NOT NULL CHECK (n >= 0)"
    ") STRICT, WITHOUT ROWID;"
    "INSERT INTO tally (what, n) VALUES ('rows', 0);",
    /* 2: deleted names are listed */
    "CREATE UNIQUE INDEX obj_deleted ON obj (vault, kind, name)"
    " WHERE seq = 0 AND (flags & 8) <> 0;",
};

_Static_assert(sizeof(steps) / sizeof(steps[0]) == KV_STORE_SCHEMA,
               "one step for each schema number");

int kv_schema_look(struct kv_sqlite_conn *conn, bool *is_fresh, struct kv_err *err)
{
    int64_t application = 0;
    int64_t schema = 0;
    int64_t n_things = 0;
    int rc = kv_conn_i64(conn, "PRAGMA application_id", &application);
    if (rc == SQLITE_OK)
        rc = kv_conn_i64(conn, "PRAGMA user_version", &schema);
    if (rc == SQLITE_OK)
        rc = kv_conn_i64(conn, "SELECT COUNT(*) FROM sqlite_schema", &n_things);
    if (rc != SQLITE_OK)
        return kv_sqlite_fail(err, rc, "read the header of the store");
    *is_fresh = application == 0 && schema == 0 && n_things == 0;
    if (*is_fresh)
        return 0;
    if (application != KV_SQLITE_APPLICATION_ID || schema < 1) {
        (void)kv_err_set(err, KV_E_UNSUPPORTED, "db.foreign-file",
                         "the file is an SQLite database of another program "
                         "(application id %lld, schema %lld)",
                         (long long)application, (long long)schema);
        kv_err_hint(err, "move it away, or configure another state directory");
        return KV_E_UNSUPPORTED;
    }
    if (schema > KV_STORE_SCHEMA) {
        (void)kv_err_set(err, KV_E_UNSUPPORTED, "db.newer-schema",
                         "the store has schema %lld, this program knows up to %d",
                         (long long)schema, KV_STORE_SCHEMA);
        kv_err_hint(err, "run the version of keyvault that wrote it, or a newer one");
        return KV_E_UNSUPPORTED;
    }
    return 0;
}

static int run_step(struct kv_sqlite_conn *conn, int64_t from)
{
    char mark[96];
    (void)snprintf(mark, sizeof(mark),
                   "PRAGMA application_id = %d; PRAGMA user_version = %lld",
                   KV_SQLITE_APPLICATION_ID, (long long)(from + 1));
    int rc = kv_conn_exec(conn, "BEGIN IMMEDIATE");
    if (rc == SQLITE_OK)
        rc = kv_conn_exec(conn, steps[from]);
    if (rc == SQLITE_OK)
        rc = kv_conn_exec(conn, mark);
    if (rc == SQLITE_OK)
        rc = kv_conn_exec(conn, "COMMIT");
    if (rc != SQLITE_OK && !sqlite3_get_autocommit(conn->db))
        (void)kv_conn_exec(conn, "ROLLBACK"); /* closing would do the same */
    return rc;
}

int kv_schema_migrate(struct kv_sqlite_conn *conn, int target, struct kv_log *log,
                      struct kv_err *err)
{
    int64_t schema = 0;
    int rc = kv_conn_i64(conn, "PRAGMA user_version", &schema);
    for (int64_t from = schema; rc == SQLITE_OK && from < target; from++) {
        rc = run_step(conn, from);
        if (rc == SQLITE_OK)
            kv_log(log, KV_LOG_INFO, "db.migrated", KV_I("from", from),
                   KV_I("to", from + 1));
    }
    return rc == SQLITE_OK ? 0 : kv_sqlite_fail(err, rc, "migrate the store");
}

static bool is_same_column(sqlite3_stmt *left, sqlite3_stmt *right, int column)
{
    const char *a = (const char *)sqlite3_column_text(left, column);
    const char *b = (const char *)sqlite3_column_text(right, column);
    if (a == NULL || b == NULL)
        return a == b;
    return strcmp(a, b) == 0;
}

static int altered(struct kv_err *err, sqlite3_stmt *found)
{
    const char *name = (const char *)sqlite3_column_text(found, 1);
    (void)kv_err_set(err, KV_E_INTEGRITY, "db.altered-schema",
                     "\"%.64s\" of the store is not as keyvault makes it",
                     name != NULL ? name : "?");
    kv_err_hint(err, "somebody edited the file: restore the last good backup");
    return KV_E_INTEGRITY;
}

/* Walk both catalogues side by side. */
static int compare(sqlite3_stmt *found, sqlite3_stmt *wanted, struct kv_err *err)
{
    for (;;) {
        int rc_found = sqlite3_step(found);
        int rc_wanted = sqlite3_step(wanted);
        if (rc_found != SQLITE_ROW && rc_found != SQLITE_DONE)
            return kv_sqlite_fail(err, rc_found, "read the schema");
        if (rc_wanted != SQLITE_ROW && rc_wanted != SQLITE_DONE)
            return kv_sqlite_fail(err, rc_wanted, "read the schema");
        if (rc_found == SQLITE_DONE && rc_wanted == SQLITE_DONE)
            return 0;
        if (rc_found != rc_wanted)
            return altered(err, rc_found == SQLITE_ROW ? found : wanted);
        for (int column = 0; column < 4; column++) {
            if (!is_same_column(found, wanted, column))
                return altered(err, found);
        }
    }
}

int kv_schema_verify(struct kv_sqlite_conn *conn, struct kv_err *err)
{
    static const char catalogue[] =
        "SELECT type, name, tbl_name, sql FROM sqlite_schema"
        " ORDER BY type, name";
    struct kv_sqlite_conn model = {.mode = KV_SQLITE_SETUP};
    sqlite3_stmt *found = NULL;
    sqlite3_stmt *wanted = NULL;
    int rc = sqlite3_open(":memory:", &model.db);
    for (size_t i = 0; rc == SQLITE_OK && i < sizeof(steps) / sizeof(steps[0]); i++)
        rc = kv_conn_exec(&model, steps[i]);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(model.db, catalogue, -1, &wanted, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(conn->db, catalogue, -1, &found, NULL);
    int result = rc == SQLITE_OK ? compare(found, wanted, err)
                                 : kv_sqlite_fail(err, rc, "read the schema");
    (void)sqlite3_finalize(found); /* repeats what step returned */
    (void)sqlite3_finalize(wanted);
    kv_conn_close(&model);
    return result;
}
