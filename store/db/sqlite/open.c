/*
 * Opening and closing, and the loop's side of the work.
 *
 * Opening is one straight line: directory, lock, file, settings, schema, quick
 * check, readers, threads. Closing runs the other way without blocking the loop:
 * when the last callback has been made the readers are told to end, then the
 * writer, and each tells the loop; joining them then takes no time.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/db/sqlite/internal.h"
#include "store/db/sqlite/schema.h"

#define READERS_DEFAULT 2

static void store_free(struct kv_sqlite *store)
{
    for (unsigned i = 0; i < KV_SQLITE_READERS_MAX; i++)
        kv_conn_close(&store->reader[i].conn);
    kv_conn_close(&store->writer);
    if (store->lock_fd >= 0)
        (void)close(store->lock_fd); /* ends the lock */
    uv_cond_destroy(&store->has_writes);
    uv_cond_destroy(&store->has_reads);
    uv_mutex_destroy(&store->mutex);
    free(store->path);
    free(store);
}

static void on_closed(uv_handle_t *handle)
{
    struct kv_sqlite *store = handle->data;
    kv_store_closed_cb cb = store->closed_cb;
    void *arg = store->closed_arg;
    store_free(store);
    if (cb != NULL)
        cb(arg);
}

static void join_threads(struct kv_sqlite *store)
{
    for (unsigned i = 0; i < store->n_readers; i++) {
        if (store->reader[i].is_running)
            (void)uv_thread_join(&store->reader[i].thread); /* it has ended */
        store->reader[i].is_running = false;
    }
    if (store->writer_is_running)
        (void)uv_thread_join(&store->writer_thread);
    store->writer_is_running = false;
}

/* One step of closing, each time something has ended. */
static void close_on(struct kv_sqlite *store)
{
    uv_mutex_lock(&store->mutex);
    store->stop_readers = true;
    uv_cond_broadcast(&store->has_reads);
    if (store->n_readers_left == 0) {
        store->stop_writer = true;
        uv_cond_signal(&store->has_writes);
    }
    bool is_over = store->n_readers_left == 0 && !store->writer_is_left;
    uv_mutex_unlock(&store->mutex);
    if (!is_over || uv_is_closing((uv_handle_t *)&store->async))
        return;
    join_threads(store);
    uv_close((uv_handle_t *)&store->async, on_closed);
}

static void on_async(uv_async_t *async)
{
    struct kv_sqlite *store = async->data;
    uv_mutex_lock(&store->mutex);
    struct kv_job_queue done = store->done;
    store->done.head = NULL;
    bool has_failed = store->has_failed;
    uv_mutex_unlock(&store->mutex);
    if (has_failed && !store->fatal_is_told) {
        store->fatal_is_told = true;
        store->on_fatal(store->on_fatal_arg, &store->fatal);
    }
    struct kv_job *job = NULL;
    while ((job = kv_job_queue_pop(&done)) != NULL)
        kv_job_finish(&store->base, job);
    if (store->base.is_closing && store->base.n_pending == 0)
        close_on(store);
}

void kv_sqlite_done(struct kv_sqlite *store, struct kv_job *job)
{
    uv_mutex_lock(&store->mutex);
    kv_job_queue_push(&store->done, job);
    uv_mutex_unlock(&store->mutex);
    (void)uv_async_send(&store->async); /* fails only on a closed handle */
}

void kv_sqlite_fatal(struct kv_sqlite *store, const struct kv_err *err)
{
    kv_log_err(store->log, KV_LOG_ERROR, "db.fatal", err);
    if (store->on_fatal == NULL)
        abort();
    uv_mutex_lock(&store->mutex);
    if (!store->has_failed) {
        store->has_failed = true;
        store->fatal = *err;
    }
    if (store->has_async)
        (void)uv_async_send(&store->async); /* fails only on a closed handle */
    uv_mutex_unlock(&store->mutex);
}

static void sqlite_submit(struct kv_store_base *base, struct kv_job *job)
{
    struct kv_sqlite *store = (struct kv_sqlite *)base;
    uv_mutex_lock(&store->mutex);
    if (job->kind == KV_JOB_APPLY) {
        kv_job_queue_push(&store->writes, job);
        uv_cond_signal(&store->has_writes);
    } else {
        kv_job_queue_push(&store->reads, job);
        uv_cond_signal(&store->has_reads);
    }
    uv_mutex_unlock(&store->mutex);
}

static void sqlite_close(struct kv_store *base, kv_store_closed_cb cb, void *arg)
{
    struct kv_sqlite *store = (struct kv_sqlite *)base;
    KV_ASSERT(!store->base.is_closing);
    store->base.is_closing = true;
    store->closed_cb = cb;
    store->closed_arg = arg;
    (void)uv_async_send(&store->async); /* fails only on a closed handle */
}

static const struct kv_store_ops sqlite_ops = {
    .name = "sqlite",
    .close = sqlite_close,
    .get = kv_base_get,
    .get_live = kv_base_get_live,
    .list = kv_base_list,
    .apply = kv_base_apply,
    .op_status = kv_base_op_status,
    .stats = kv_base_stats,
    .check = kv_base_check,
    .snapshot = kv_base_snapshot,
};

static int quick_check(struct kv_sqlite_conn *conn, struct kv_err *err)
{
    char answer[256];
    int rc = kv_conn_text(conn, "PRAGMA quick_check(1)", answer, sizeof(answer));
    if (rc != SQLITE_OK)
        return kv_sqlite_fail(err, rc, "check the store");
    if (strcmp(answer, "ok") == 0)
        return 0;
    (void)kv_err_set(err, KV_E_INTEGRITY, "db.corrupt", "the store is damaged: %s",
                     answer);
    kv_err_hint(err, "keep a copy of the file and restore the last backup");
    return KV_E_INTEGRITY;
}

static int check_content(struct kv_sqlite_conn *conn, struct kv_err *err)
{
    int rc = kv_schema_verify(conn, err);
    return rc != 0 ? rc : quick_check(conn, err);
}

static int open_writer(struct kv_sqlite *store, struct kv_err *err)
{
    struct kv_sqlite_conn *conn = &store->writer;
    bool is_fresh = false;
    int rc = 0;
    KV_TRY(kv_conn_open(conn, store->path, err));
    KV_TRY(kv_schema_look(conn, &is_fresh, err));
    KV_TRY(kv_conn_configure(conn, is_fresh, true, err));
    KV_TRY(kv_schema_migrate(conn, KV_STORE_SCHEMA, store->log, err));
    KV_TRY(check_content(conn, err));
    kv_conn_restrict(conn, true);
    KV_TRY(kv_sql_prepare(conn, true, err));
    kv_checkpoint_start(store);
out:
    return rc;
}

static int open_reader(struct kv_sqlite *store, struct kv_sqlite_reader *reader,
                       struct kv_err *err)
{
    int rc = 0;
    reader->store = store;
    KV_TRY(kv_conn_open(&reader->conn, store->path, err));
    KV_TRY(kv_conn_configure(&reader->conn, false, false, err));
    kv_conn_restrict(&reader->conn, false);
    KV_TRY(kv_sql_prepare(&reader->conn, false, err));
out:
    return rc;
}

static int open_readers(struct kv_sqlite *store, struct kv_err *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < store->n_readers; i++)
        rc = open_reader(store, &store->reader[i], err);
    return rc;
}

/* `dir` is resolved and checked. */
static int open_files(struct kv_sqlite *store, const char *dir, struct kv_err *err)
{
    int rc = 0;
    if (asprintf(&store->path, "%s/%s", dir, KV_SQLITE_FILE) < 0) {
        store->path = NULL;
        return kv_err_set(err, KV_E_NOMEM, "db.no-memory", "no memory for a path");
    }
    KV_TRY(kv_sqlite_dir_lock(dir, &store->lock_fd, err));
    KV_TRY(kv_sqlite_file_make(dir, store->path, err));
    KV_TRY(open_writer(store, err));
    KV_TRY(open_readers(store, err));
out:
    return rc;
}

static int open_dir(struct kv_sqlite *store, const char *dir, struct kv_err *err)
{
    int rc = kv_sqlite_dir_check(dir, err);
    if (rc != 0)
        return rc;
    char *real = realpath(dir, NULL);
    if (real == NULL)
        return kv_err_errno(err, errno, "db.no-dir", dir);
    rc = open_files(store, real, err);
    free(real);
    return rc;
}

static int start_one(uv_thread_t *thread, void (*body)(void *), void *arg,
                     struct kv_err *err)
{
    int failed = uv_thread_create(thread, body, arg);
    return failed != 0 ? kv_err_errno(err, -failed, "db.no-thread", "start a thread")
                       : 0;
}

/* End the threads of a store whose opening failed. */
static void stop_threads(struct kv_sqlite *store)
{
    uv_mutex_lock(&store->mutex);
    store->stop_readers = true;
    store->stop_writer = true;
    uv_cond_broadcast(&store->has_reads);
    uv_cond_broadcast(&store->has_writes);
    uv_mutex_unlock(&store->mutex);
    join_threads(store);
}

/* Start the threads with all signals blocked: signals belong to the loop's. */
static int start_threads(struct kv_sqlite *store, struct kv_err *err)
{
    sigset_t all;
    sigset_t old;
    int rc = 0;
    (void)sigfillset(&all); /* cannot fail */
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    store->n_readers_left = store->n_readers;
    store->writer_is_left = true;
    for (unsigned i = 0; i < store->n_readers; i++) {
        struct kv_sqlite_reader *reader = &store->reader[i];
        KV_TRY(start_one(&reader->thread, kv_sqlite_reader_main, reader, err));
        reader->is_running = true;
    }
    KV_TRY(start_one(&store->writer_thread, kv_sqlite_writer_main, store, err));
    store->writer_is_running = true;
out:
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

static struct kv_sqlite *store_new(const struct kv_store_config *config)
{
    struct kv_sqlite *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return NULL;
    /* These three fail only without memory for what glibc keeps inline. */
    KV_ASSERT(uv_mutex_init(&store->mutex) == 0);
    KV_ASSERT(uv_cond_init(&store->has_writes) == 0);
    KV_ASSERT(uv_cond_init(&store->has_reads) == 0);
    store->base.store.ops = &sqlite_ops;
    store->base.submit = sqlite_submit;
    store->lock_fd = -1;
    store->clock = config->clock != NULL ? config->clock : kv_clock_system();
    store->log = config->log;
    store->on_fatal = config->on_fatal;
    store->on_fatal_arg = config->on_fatal_arg;
    store->n_readers = config->n_readers != 0 ? config->n_readers : READERS_DEFAULT;
    store->pruned_at_s = KV_TIME_NONE;
    return store;
}

int kv_sqlite_open(struct kv_store **out, const struct kv_store_config *config,
                   struct kv_err *err)
{
    struct kv_sqlite *store = NULL;
    int rc = 0;
    if (config->loop == NULL || config->dir == NULL ||
        config->n_readers > KV_SQLITE_READERS_MAX)
        return kv_err_set(err, KV_E_INVALID, "db.bad-config",
                          "the store needs a loop, a directory and at most %d readers",
                          KV_SQLITE_READERS_MAX);
    store = store_new(config);
    if (store == NULL)
        return kv_err_set(err, KV_E_NOMEM, "db.no-memory", "no memory for the store");
    KV_TRY(open_dir(store, config->dir, err));
    KV_TRY(start_threads(store, err));
    int failed = uv_async_init(config->loop, &store->async, on_async);
    if (failed != 0)
        KV_TRY(kv_err_errno(err, -failed, "db.no-thread", "start the store"));
    store->async.data = store;
    uv_mutex_lock(&store->mutex);
    store->has_async = true;
    uv_mutex_unlock(&store->mutex);
    kv_log(store->log, KV_LOG_INFO, "db.opened", KV_S("path", store->path),
           KV_I("schema", KV_STORE_SCHEMA));
    *out = &store->base.store;
    store = NULL;
out:
    if (store != NULL) {
        stop_threads(store);
        store_free(store);
    }
    return rc;
}
