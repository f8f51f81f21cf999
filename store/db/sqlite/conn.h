/*
 * One connection to the file, with every protective setting on and proved.
 *
 * Private to store/db/sqlite and its tests. A connection belongs to one thread at a
 * time.
 */
#ifndef KV_STORE_DB_SQLITE_CONN_H
#define KV_STORE_DB_SQLITE_CONN_H

#include "store/core/err.h"
#include "store/db/sqlite/statements.h"

/* Record SQLite's result code as the failure of `what` ("read a row"); returns the
 * KV_E_* code. */
int kv_sqlite_fail(struct kv_err *err, int sqlite_rc, const char *what);

/* Open the file at `path` (which exists) and set the limits and flags that need no
 * look at its content. The authorizer allows everything until kv_conn_restrict. */
int kv_conn_open(struct kv_sqlite_conn *conn, const char *path,
                 struct kv_err *err) KV_MUST_CHECK;

/* Apply the settings and read each one back; db.bad-setting if SQLite did not take
 * one. `is_fresh`: the file has no content yet, the page size may be chosen. */
int kv_conn_configure(struct kv_sqlite_conn *conn, bool is_fresh, bool is_writer,
                      struct kv_err *err) KV_MUST_CHECK;

/* From now on only the store's statements pass. */
void kv_conn_restrict(struct kv_sqlite_conn *conn, bool is_writer);

/* Finalize the statements and close. */
void kv_conn_close(struct kv_sqlite_conn *conn);

/* Execute SQL without results; SQLite's code. Set-up only. */
int kv_conn_exec(struct kv_sqlite_conn *conn, const char *sql);

/* First column of the first row as text, cut to `size`; "" without a row. Returns
 * SQLite's code, SQLITE_OK when it ran. */
int kv_conn_text(struct kv_sqlite_conn *conn, const char *sql, char *out, size_t size);

/* The same as a number, 0 without a row. */
int kv_conn_i64(struct kv_sqlite_conn *conn, const char *sql, int64_t *out);

#endif
