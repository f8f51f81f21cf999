/*
 * The store on SQLite: one file, one writer thread, a few readers.
 *
 * The back end owns `keyvault.db` (with its -wal and -shm) and `keyvault.lock` in
 * the directory that kv_store_config names. Work runs on its own threads; the caller
 * sees only its loop. Settings and their reasons: docs/adr/0005-sqlite-settings.md.
 */
#ifndef KV_STORE_DB_SQLITE_SQLITE_H
#define KV_STORE_DB_SQLITE_SQLITE_H

#include "store/db/store.h"

#define KV_SQLITE_FILE "keyvault.db"
#define KV_SQLITE_LOCK "keyvault.lock"
#define KV_SQLITE_READERS_MAX 8

/* Open the store in config->dir, creating or migrating the file where needed. Blocks
 * for the whole of it, a quick check of the file included. The directory must exist,
 * belong to the caller and be closed to everybody else. At most
 * KV_SQLITE_READERS_MAX readers. Returns 0 or, with `err` filled:
 *   KV_E_NOT_FOUND no directory; KV_E_DENIED wrong mode or owner;
 *   KV_E_UNSUPPORTED network file system, newer schema, foreign file;
 *   KV_E_BUSY another process has the store; KV_E_INTEGRITY the file is damaged;
 *   KV_E_FULL, KV_E_IO, KV_E_NOMEM, KV_E_INVALID. */
int kv_sqlite_open(struct kv_store **out, const struct kv_store_config *config,
                   struct kv_err *err) KV_MUST_CHECK;

#endif
