/*
 * Every SQL statement of the store, written once, and the only way to run one.
 *
 * Parameters are named $1, $2, ... and the queries keep to what PostgreSQL runs as
 * well; transaction commands are SQLite's. Private to store/db/sqlite and its tests.
 * A connection and what hangs on it belong to one thread at a time.
 */
#ifndef KV_STORE_DB_SQLITE_STATEMENTS_H
#define KV_STORE_DB_SQLITE_STATEMENTS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/core/err.h"

#define KV_SQL_PARAMS_MAX 16

/* The columns of a row of `obj o`, in the order that kv_sqlite_row_add reads. */
#define KV_SQL_ROW                                                                     \
    "o.vault, o.kind, o.display, o.version, o.row_version, o.term, o.flags, "          \
    "o.current_version, o.created_s, o.updated_s, o.nbf_s, o.exp_s, o.next_at_s, "     \
    "o.sealed"

enum kv_sql {
    /* readers */
    KV_SQL_READ_BEGIN,
    KV_SQL_READ_END,
    KV_SQL_GET,
    KV_SQL_GET_LIVE,
    KV_SQL_LIST_CURRENT,
    KV_SQL_LIST_ROWS,
    KV_SQL_LIST_DELETED,
    KV_SQL_LIST_VERSIONS,
    KV_SQL_PAGE_START,
    KV_SQL_LIST_DUE,
    KV_SQL_LIST_ID,
    KV_SQL_LIST_VAULT,
    KV_SQL_TALLY_GET,
    KV_SQL_COUNT,
    /* both */
    KV_SQL_OP_FIND,
    /* writer */
    KV_SQL_BEGIN,
    KV_SQL_COMMIT,
    KV_SQL_ROLLBACK,
    KV_SQL_SAVEPOINT,
    KV_SQL_SAVEPOINT_UNDO,
    KV_SQL_SAVEPOINT_END,
    KV_SQL_INSERT,
    KV_SQL_UPDATE,
    KV_SQL_DELETE,
    KV_SQL_PURGE,
    KV_SQL_OP_ADD,
    KV_SQL_OP_PRUNE,
    KV_SQL_TALLY_ADD,
};
#define KV_SQL_N (KV_SQL_TALLY_ADD + 1)

enum kv_sqlite_mode {
    KV_SQLITE_SETUP, /* the schema may be changed */
    KV_SQLITE_READ,
    KV_SQLITE_WRITE,
};

struct kv_sqlite_conn {
    sqlite3 *db;
    enum kv_sqlite_mode mode; /* what the authorizer lets through */
    int64_t deadline_ms;      /* of the running query; 0 = none */
    sqlite3_stmt *stmt[KV_SQL_N];
    uint8_t slot[KV_SQL_N][KV_SQL_PARAMS_MAX + 1]; /* $n -> SQLite's index */
};

/* The text of a statement. */
const char *kv_sql_text(enum kv_sql sql);

/* Whether it is one of the reading queries, which run outside the writer too. */
bool kv_sql_is_query(enum kv_sql sql);

/* Prepare the statements that the connection's role runs. Returns 0 or KV_E_*. */
int kv_sql_prepare(struct kv_sqlite_conn *conn, bool is_writer,
                   struct kv_err *err) KV_MUST_CHECK;
void kv_sql_finalize(struct kv_sqlite_conn *conn);

/* One run of a statement. Binding is sticky: the first failure is what step
 * returns. What is bound must stay until kv_query_end. */
struct kv_query {
    sqlite3_stmt *stmt;
    const uint8_t *slot;
    int rc; /* SQLite's */
};
struct kv_query kv_query_begin(struct kv_sqlite_conn *conn, enum kv_sql sql);
void kv_query_i64(struct kv_query *query, int n, int64_t value);
/* NULL for KV_TIME_NONE. */
void kv_query_time(struct kv_query *query, int n, int64_t time_s);
void kv_query_blob(struct kv_query *query, int n, const void *data, size_t len);
void kv_query_text(struct kv_query *query, int n, const char *value);
/* SQLITE_ROW, SQLITE_DONE or an extended result code. */
int kv_query_step(struct kv_query *query);
void kv_query_end(struct kv_query *query);

/* Run a statement without parameters and rows; SQLite's result code, SQLITE_OK when
 * it is done. */
int kv_sql_run(struct kv_sqlite_conn *conn, enum kv_sql sql);

#endif
