/*
 * The shape of the file: creation, migration, and the proof that it is what this
 * program made. Private to store/db/sqlite and its tests.
 */
#ifndef KV_STORE_DB_SQLITE_SCHEMA_H
#define KV_STORE_DB_SQLITE_SCHEMA_H

#include "store/core/err.h"
#include "store/core/log.h"
#include "store/db/sqlite/conn.h"

#define KV_SQLITE_APPLICATION_ID 0x4b564c54 /* "KVLT" */

/* Tell a file without content from a store; refuse a newer schema
 * (db.newer-schema) and a file that is none of ours (db.foreign-file). */
int kv_schema_look(struct kv_sqlite_conn *conn, bool *is_fresh,
                   struct kv_err *err) KV_MUST_CHECK;

/* Bring the schema to `target` (KV_STORE_SCHEMA; tests stop earlier), one
 * transaction for each step. */
int kv_schema_migrate(struct kv_sqlite_conn *conn, int target, struct kv_log *log,
                      struct kv_err *err) KV_MUST_CHECK;

/* Compare every table and index with what the migrations make; db.altered-schema
 * names the first difference. */
int kv_schema_verify(struct kv_sqlite_conn *conn, struct kv_err *err) KV_MUST_CHECK;

#endif
