/*
 * The checkpointer: when the log is copied into the file.
 *
 * SQLite's own checkpoint runs inside whichever commit crosses a limit and makes
 * that caller wait. Here it runs on the writer thread after the callers have their
 * answers: PASSIVE at 1,000 pages, which waits for nobody; TRUNCATE when the log is
 * longer than 64 MiB or the store has nothing to do, so that an idle store is one
 * file. A sync that fails here is as bad as one in a commit.
 */
#include "store/db/sqlite/internal.h"

#define PASSIVE_PAGES 1000
#define TRUNCATE_PAGES 16384 /* 64 MiB */
#define BUSY_MS 100          /* how long TRUNCATE waits for readers */
#define BUSY_DEFAULT_MS 5000

static int on_commit(void *arg, sqlite3 *db, const char *schema, int n_pages)
{
    struct kv_sqlite *store = arg;
    (void)db;
    (void)schema;
    store->wal_pages = n_pages;
    return SQLITE_OK;
}

void kv_checkpoint_start(struct kv_sqlite *store)
{
    (void)sqlite3_wal_hook(store->writer.db, on_commit, store); /* the old hook */
    store->wal_pages = PASSIVE_PAGES; /* what an earlier run left: look when idle */
    store->wal_pages_tried = PASSIVE_PAGES;
}

static void run(struct kv_sqlite *store, int mode)
{
    bool is_truncate = mode == SQLITE_CHECKPOINT_TRUNCATE;
    if (is_truncate)
        (void)sqlite3_busy_timeout(store->writer.db, BUSY_MS);
    int rc = sqlite3_wal_checkpoint_v2(store->writer.db, NULL, mode, NULL, NULL);
    if (is_truncate)
        (void)sqlite3_busy_timeout(store->writer.db, BUSY_DEFAULT_MS);
    store->wal_pages_tried = store->wal_pages;
    if (rc == SQLITE_OK) {
        if (is_truncate)
            store->wal_pages = store->wal_pages_tried = 0;
        return;
    }
    if ((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED)
        return;
    struct kv_err err = KV_ERR_INIT;
    (void)kv_sqlite_fail(&err, rc, "copy the log into the store");
    if ((rc & 0xff) == SQLITE_IOERR)
        kv_sqlite_fatal(store, &err);
    else
        kv_log_err(store->log, KV_LOG_WARN, "db.checkpoint-failed", &err);
}

void kv_checkpoint_after_commit(struct kv_sqlite *store)
{
    /* A log that was copied whole starts again at its beginning. */
    if (store->wal_pages < store->wal_pages_tried)
        store->wal_pages_tried = 0;
    if (store->wal_pages - store->wal_pages_tried < PASSIVE_PAGES)
        return;
    run(store, store->wal_pages >= TRUNCATE_PAGES ? SQLITE_CHECKPOINT_TRUNCATE
                                                  : SQLITE_CHECKPOINT_PASSIVE);
}

void kv_checkpoint_when_idle(struct kv_sqlite *store)
{
    if (store->wal_pages > 0)
        run(store, SQLITE_CHECKPOINT_TRUNCATE);
}
