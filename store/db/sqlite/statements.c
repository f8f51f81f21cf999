/*
 * Every SQL statement of the store.
 *
 * The columns of a row are listed once. `seq` is 0 in a head and in rows of kinds
 * without versions; versions count from 1 within the same name and second, so that
 * (created_s, seq) keeps the order in which they were made. No statement returns
 * more than one page, and none scans the table (tests/unit/test_sqlite.c asks the
 * query planner).
 */
#include "store/db/sqlite/statements.h"

#include <stdio.h>

#include "store/core/clock.h"
#include "store/db/sqlite/conn.h"
#include "store/db/store.h"

_Static_assert(KV_ROW_DELETED == 8, "written as a number in SQL and in the schema");

#define ROW KV_SQL_ROW

/* The name of a version is not deleted. */
#define IS_LIVE                                                                        \
    " AND EXISTS (SELECT 1 FROM obj h WHERE h.vault = o.vault AND h.kind = o.kind"     \
    " AND h.name = o.name AND h.seq = 0 AND (h.flags & 8) = 0)"

static const char *const text[KV_SQL_N] = {
    [KV_SQL_READ_BEGIN] = "BEGIN",
    [KV_SQL_READ_END] = "COMMIT",
    [KV_SQL_GET] = "SELECT " ROW " FROM obj o"
                   " WHERE o.vault = $1 AND o.kind = $2 AND o.name = $3"
                   " AND o.version = $4",
    [KV_SQL_GET_LIVE] = "SELECT " ROW " FROM obj h JOIN obj o"
                        " ON o.vault = h.vault AND o.kind = h.kind"
                        " AND o.name = h.name"
                        " AND o.version = COALESCE($4, h.current_version)"
                        " WHERE h.vault = $1 AND h.kind = $2 AND h.name = $3"
                        " AND h.seq = 0 AND (h.flags & 8) = 0 AND o.seq > 0",
    [KV_SQL_LIST_CURRENT] = "SELECT " ROW " FROM obj h JOIN obj o"
                            " ON o.id = COALESCE((SELECT v.id FROM obj v"
                            " WHERE v.vault = h.vault AND v.kind = h.kind"
                            " AND v.name = h.name AND v.version = h.current_version"
                            " AND v.seq > 0), h.id)"
                            " WHERE h.vault = $1 AND h.kind = $2 AND h.name > $3"
                            " AND h.seq = 0 AND (h.flags & 8) = 0"
                            " ORDER BY h.name LIMIT $4",
    [KV_SQL_LIST_ROWS] = "SELECT " ROW " FROM obj o"
                         " WHERE o.vault = $1 AND o.kind = $2 AND o.name > $3"
                         " AND o.seq = 0 ORDER BY o.name LIMIT $4",
    [KV_SQL_LIST_DELETED] = "SELECT " ROW " FROM obj o"
                            " WHERE o.vault = $1 AND o.kind = $2 AND o.name > $3"
                            " AND o.seq = 0 AND (o.flags & 8) <> 0"
                            " ORDER BY o.name LIMIT $4",
    [KV_SQL_LIST_VERSIONS] =
        "SELECT " ROW " FROM obj o"
        " WHERE o.vault = $1 AND o.kind = $2 AND o.name = $3"
        " AND o.seq > 0" IS_LIVE " AND (o.created_s, o.seq, o.version) > ($4, $5, $6)"
        " ORDER BY o.created_s, o.seq, o.version LIMIT $7",
    [KV_SQL_PAGE_START] = "SELECT o.created_s, o.seq FROM obj o"
                          " WHERE o.vault = $1 AND o.kind = $2 AND o.name = $3"
                          " AND o.version = $4 AND o.seq > 0" IS_LIVE,
    [KV_SQL_LIST_DUE] = "SELECT " ROW " FROM obj o WHERE o.next_at_s <= $1"
                        " ORDER BY o.next_at_s, o.id LIMIT $2 OFFSET $3",
    [KV_SQL_LIST_ID] = "SELECT " ROW " FROM obj o"
                       " WHERE o.kind = $1 AND o.version = $2 AND o.seq > 0" IS_LIVE
                       " ORDER BY o.id LIMIT $3",
    [KV_SQL_LIST_VAULT] = "SELECT " ROW " FROM obj o WHERE o.vault = $1 LIMIT $2",
    [KV_SQL_TALLY_GET] = "SELECT n FROM tally WHERE what = 'rows'",
    [KV_SQL_COUNT] = "SELECT COUNT(*) FROM obj",
    [KV_SQL_OP_FIND] = "SELECT 1 FROM op WHERE op_id = $1 AND at_s >= $2",
    [KV_SQL_BEGIN] = "BEGIN IMMEDIATE",
    [KV_SQL_COMMIT] = "COMMIT",
    [KV_SQL_ROLLBACK] = "ROLLBACK",
    [KV_SQL_SAVEPOINT] = "SAVEPOINT batch",
    [KV_SQL_SAVEPOINT_UNDO] = "ROLLBACK TO batch",
    [KV_SQL_SAVEPOINT_END] = "RELEASE batch",
    [KV_SQL_INSERT] =
        "INSERT INTO obj (vault, kind, name, version, row_version, term, flags,"
        " current_version, created_s, updated_s, nbf_s, exp_s, next_at_s, sealed,"
        " seq, display) VALUES"
        " ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,"
        " $15 * (1 + COALESCE((SELECT MAX(seq) FROM obj WHERE vault = $1"
        " AND kind = $2 AND name = $3 AND created_s = $9 AND seq > 0), 0)),"
        " COALESCE((SELECT display FROM obj WHERE vault = $1 AND kind = $2"
        " AND name = $3 LIMIT 1), $16))"
        " ON CONFLICT (vault, kind, name, version) DO NOTHING",
    [KV_SQL_UPDATE] =
        "UPDATE obj SET row_version = $5, term = $6, flags = $7,"
        " current_version = $8, created_s = $9, updated_s = $10, nbf_s = $11,"
        " exp_s = $12, next_at_s = $13, sealed = $14"
        " WHERE vault = $1 AND kind = $2 AND name = $3 AND version = $4"
        " AND row_version = $15",
    [KV_SQL_DELETE] = "DELETE FROM obj WHERE vault = $1 AND kind = $2 AND name = $3"
                      " AND version = $4 AND row_version = $5",
    [KV_SQL_PURGE] = "DELETE FROM obj WHERE vault = $1 AND kind = $2 AND name = $3",
    [KV_SQL_OP_ADD] = "INSERT INTO op (op_id, at_s) VALUES ($1, $2)"
                      " ON CONFLICT (op_id) DO UPDATE SET at_s = excluded.at_s",
    [KV_SQL_OP_PRUNE] = "DELETE FROM op WHERE op_id IN"
                        " (SELECT op_id FROM op WHERE at_s < $1 ORDER BY at_s"
                        " LIMIT 256)",
    [KV_SQL_TALLY_ADD] = "UPDATE tally SET n = n + $1 WHERE what = 'rows'",
};

const char *kv_sql_text(enum kv_sql sql)
{
    return text[sql];
}

bool kv_sql_is_query(enum kv_sql sql)
{
    return sql >= KV_SQL_GET && sql <= KV_SQL_OP_FIND;
}

static int prepare_one(struct kv_sqlite_conn *conn, enum kv_sql sql)
{
    int rc = sqlite3_prepare_v3(conn->db, text[sql], -1, SQLITE_PREPARE_PERSISTENT,
                                &conn->stmt[sql], NULL);
    for (int n = 1; rc == SQLITE_OK && n <= KV_SQL_PARAMS_MAX; n++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "$%d", n);
        conn->slot[sql][n] =
            (uint8_t)sqlite3_bind_parameter_index(conn->stmt[sql], name);
    }
    return rc;
}

int kv_sql_prepare(struct kv_sqlite_conn *conn, bool is_writer, struct kv_err *err)
{
    int first = is_writer ? KV_SQL_OP_FIND : KV_SQL_READ_BEGIN;
    int last = is_writer ? KV_SQL_TALLY_ADD : KV_SQL_OP_FIND;
    for (int sql = first; sql <= last; sql++) {
        int rc = prepare_one(conn, (enum kv_sql)sql);
        if (rc != SQLITE_OK)
            return kv_sqlite_fail(err, rc, "prepare a statement");
    }
    return 0;
}

void kv_sql_finalize(struct kv_sqlite_conn *conn)
{
    for (int sql = 0; sql < KV_SQL_N; sql++) {
        (void)sqlite3_finalize(conn->stmt[sql]); /* repeats the last step's error */
        conn->stmt[sql] = NULL;
    }
}

struct kv_query kv_query_begin(struct kv_sqlite_conn *conn, enum kv_sql sql)
{
    KV_ASSERT(conn->stmt[sql] != NULL);
    return (struct kv_query){.stmt = conn->stmt[sql], .slot = conn->slot[sql]};
}

static bool can_bind(const struct kv_query *query, int n)
{
    KV_ASSERT(n >= 1 && n <= KV_SQL_PARAMS_MAX && query->slot[n] != 0);
    return query->rc == SQLITE_OK;
}

void kv_query_i64(struct kv_query *query, int n, int64_t value)
{
    if (can_bind(query, n))
        query->rc = sqlite3_bind_int64(query->stmt, query->slot[n], value);
}

void kv_query_time(struct kv_query *query, int n, int64_t time_s)
{
    if (time_s != KV_TIME_NONE)
        kv_query_i64(query, n, time_s);
    else if (can_bind(query, n))
        query->rc = sqlite3_bind_null(query->stmt, query->slot[n]);
}

void kv_query_blob(struct kv_query *query, int n, const void *data, size_t len)
{
    if (can_bind(query, n))
        query->rc = sqlite3_bind_blob64(query->stmt, query->slot[n],
                                        data != NULL ? data : "", len, SQLITE_STATIC);
}

void kv_query_text(struct kv_query *query, int n, const char *value)
{
    if (can_bind(query, n))
        query->rc =
            sqlite3_bind_text(query->stmt, query->slot[n], value, -1, SQLITE_STATIC);
}

int kv_query_step(struct kv_query *query)
{
    if (query->rc == SQLITE_OK || query->rc == SQLITE_ROW)
        query->rc = sqlite3_step(query->stmt);
    return query->rc;
}

void kv_query_end(struct kv_query *query)
{
    (void)sqlite3_reset(query->stmt); /* repeats what step returned */
    (void)sqlite3_clear_bindings(query->stmt);
}

int kv_sql_run(struct kv_sqlite_conn *conn, enum kv_sql sql)
{
    struct kv_query query = kv_query_begin(conn, sql);
    int rc = kv_query_step(&query);
    kv_query_end(&query);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}
