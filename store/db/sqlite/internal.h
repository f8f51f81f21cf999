/*
 * The parts of the SQLite back end and which thread touches what. Private to
 * store/db/sqlite and its tests.
 *
 *   loop ──submit──► writes ──► writer thread ──┐
 *     ▲         └──► reads  ──► reader threads ─┤
 *     └──────── uv_async ◄── done ◄─────────────┘
 */
#ifndef KV_STORE_DB_SQLITE_INTERNAL_H
#define KV_STORE_DB_SQLITE_INTERNAL_H

#include <stdatomic.h>

#include "store/db/job.h"
#include "store/db/sqlite/conn.h"
#include "store/db/sqlite/sqlite.h"

#define KV_SQLITE_OP_KEEP_S 86400

struct kv_sqlite;

struct kv_sqlite_reader {
    struct kv_sqlite *store;
    uv_thread_t thread;
    bool is_running; /* loop: started, not joined */
    struct kv_sqlite_conn conn;
};

struct kv_sqlite {
    struct kv_store_base base;

    /* set by open, read-only afterwards */
    char *path;
    int lock_fd;
    const struct kv_clock *clock;
    struct kv_log *log;
    void (*on_fatal)(void *arg, const struct kv_err *err);
    void *on_fatal_arg;
    unsigned n_readers;

    /* loop thread */
    uv_async_t async;
    bool has_async;
    uv_thread_t writer_thread;
    bool writer_is_running;
    bool fatal_is_told;
    kv_store_closed_cb closed_cb;
    void *closed_arg;

    /* guarded by mutex */
    uv_mutex_t mutex;
    uv_cond_t has_writes;
    uv_cond_t has_reads;
    struct kv_job_queue writes;
    struct kv_job_queue reads;
    struct kv_job_queue done;
    bool stop_readers;
    bool stop_writer;
    unsigned n_readers_left; /* threads that have not ended */
    bool writer_is_left;
    bool has_failed; /* a commit's outcome is unknown: nothing is written any more */
    struct kv_err fatal;

    /* writer thread */
    struct kv_sqlite_conn writer;
    int wal_pages;       /* in the log since it was last restarted */
    int wal_pages_tried; /* at the last attempt of a checkpoint */
    int64_t pruned_at_s; /* KV_TIME_NONE: not yet */

    /* any thread */
    atomic_uint_fast64_t n_commits;
    atomic_uint_fast64_t n_mutations;

    /* each reader thread has its own */
    struct kv_sqlite_reader reader[KV_SQLITE_READERS_MAX];
};

/* dir.c: refuse a directory that others can enter or that is on a network; take the
 * lock; make the file. `dir` is resolved. The lock is held until `*lock_fd` closes. */
int kv_sqlite_dir_check(const char *dir, struct kv_err *err) KV_MUST_CHECK;
int kv_sqlite_dir_lock(const char *dir, int *lock_fd, struct kv_err *err) KV_MUST_CHECK;
int kv_sqlite_file_make(const char *dir, const char *path,
                        struct kv_err *err) KV_MUST_CHECK;

/* Thread bodies; `arg` is the store and the reader. */
void kv_sqlite_writer_main(void *arg);
void kv_sqlite_reader_main(void *arg);

/* Hand a finished job back to the loop. Any thread, without the mutex. */
void kv_sqlite_done(struct kv_sqlite *store, struct kv_job *job);

/* Stop everything: the outcome of a commit is unknown. Aborts the process unless the
 * store has on_fatal. Writer thread. */
void kv_sqlite_fatal(struct kv_sqlite *store, const struct kv_err *err);

/* checkpoint.c: count the log's pages (installs a hook); copy it into the file when
 * it is long; empty it when there is nothing else to do. Writer thread. */
void kv_checkpoint_start(struct kv_sqlite *store);
void kv_checkpoint_after_commit(struct kv_sqlite *store);
void kv_checkpoint_when_idle(struct kv_sqlite *store);

/* reader.c: read the row that the statement stands on into the job's result. */
int kv_sqlite_row_add(struct kv_job *job, sqlite3_stmt *stmt) KV_MUST_CHECK;

/* copy.c: write the store as it is now to the new file job->path. */
int kv_sqlite_copy_run(struct kv_sqlite_conn *conn, struct kv_job *job) KV_MUST_CHECK;

/* Look the job's operation up among those of the last 24 hours: SQLITE_ROW when it
 * is committed, SQLITE_DONE when it is not, or another result code. */
int kv_sqlite_op_find(struct kv_sqlite *store, struct kv_sqlite_conn *conn,
                      const struct kv_job *job) KV_MUST_CHECK;

#endif
