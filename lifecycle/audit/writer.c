/*
 * One queue in, one list out, one lock. The thread takes all that waits: what gathers
 * while it syncs is the next batch, so that a busy log needs few syncs and an idle one
 * waits for nobody.
 */
#include "lifecycle/audit/writer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_RECORDS_MAX 512

struct list {
    struct kv_audit_item *head;
    struct kv_audit_item *tail;
};

struct kv_audit_writer {
    struct kv_audit_segment segment; /* of the thread */
    uv_async_t async;
    pthread_t thread;
    pthread_mutex_t lock; /* everything below */
    pthread_cond_t has_work;
    bool is_ending;
    struct list todo;
    struct list done;
    struct kv_err err; /* why records fail since the log has stopped */
    struct kv_audit_mark last;
    uint64_t n_bytes;
    /* of the loop */
    size_t n_under_way;
    struct kv_audit_mark seen_last;
    uint64_t seen_bytes;
    void (*on_stopped)(void *arg);
    void *on_stopped_arg;
};

static void lock(struct kv_audit_writer *writer)
{
    KV_ASSERT(pthread_mutex_lock(&writer->lock) == 0);
}

static void unlock(struct kv_audit_writer *writer)
{
    KV_ASSERT(pthread_mutex_unlock(&writer->lock) == 0);
}

static void append(struct list *list, struct kv_audit_item *item)
{
    item->next = NULL;
    if (list->head == NULL)
        list->head = item;
    else
        list->tail->next = item;
    list->tail = item;
}

/* --- the thread ------------------------------------------------------------------- */

/* Write the records at the front of a batch; where the next one begins. */
static struct kv_audit_item *write_records(struct kv_audit_writer *writer,
                                           struct kv_audit_item *first,
                                           struct kv_err *err)
{
    struct kv_audit_item *end = first;
    int rc = 0;
    for (size_t n = 0; end != NULL && end->run == NULL && n < BATCH_RECORDS_MAX;
         n++, end = end->next)
        if (rc == 0)
            rc = kv_audit_segment_add(&writer->segment, end->seq, end->body,
                                      end->body_len);
    if (rc == 0)
        rc = kv_audit_segment_sync(&writer->segment, err);
    else
        (void)kv_err_set(err, rc, "audit.stopped",
                         "the audit log is not being written");
    for (struct kv_audit_item *item = first; item != end; item = item->next)
        item->rc = rc;
    return end;
}

static void hand_back(struct kv_audit_writer *writer, struct kv_audit_item *first,
                      const struct kv_audit_item *end, const struct kv_err *err)
{
    lock(writer);
    writer->last = writer->segment.last;
    writer->n_bytes = writer->segment.n_bytes;
    if (err->code != 0)
        writer->err = *err;
    while (first != end) {
        struct kv_audit_item *next = first->next;
        append(&writer->done, first);
        first = next;
    }
    unlock(writer);
    (void)uv_async_send(&writer->async); /* fails only for a closed handle */
}

static void work(struct kv_audit_writer *writer, struct kv_audit_item *item)
{
    while (item != NULL) {
        struct kv_err err = KV_ERR_INIT;
        struct kv_audit_item *end = item->next;
        if (item->run != NULL)
            item->rc = item->run(&writer->segment, item, &err);
        else
            end = write_records(writer, item, &err);
        hand_back(writer, item, end, &err);
        item = end;
    }
}

static void *thread_main(void *arg)
{
    struct kv_audit_writer *writer = arg;
    for (;;) {
        lock(writer);
        while (writer->todo.head == NULL && !writer->is_ending)
            KV_ASSERT(pthread_cond_wait(&writer->has_work, &writer->lock) == 0);
        struct kv_audit_item *first = writer->todo.head;
        writer->todo.head = NULL;
        unlock(writer);
        if (first == NULL)
            return NULL;
        work(writer, first);
    }
}

/* --- the loop --------------------------------------------------------------------- */

static void on_async(uv_async_t *async)
{
    struct kv_audit_writer *writer = async->data;
    lock(writer);
    struct kv_audit_item *item = writer->done.head;
    struct kv_err err = writer->err;
    writer->done.head = NULL;
    writer->seen_last = writer->last;
    writer->seen_bytes = writer->n_bytes;
    unlock(writer);
    while (item != NULL) {
        struct kv_audit_item *next = item->next;
        writer->n_under_way--;
        item->done(item, item->rc, item->rc != 0 ? &err : NULL);
        item = next;
    }
}

int kv_audit_writer_start(struct kv_audit_writer **out, uv_loop_t *loop,
                          const char *dir, const struct kv_clock *clock,
                          struct kv_err *err)
{
    struct kv_audit_writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL)
        return KV_E_NOMEM;
    int rc = kv_audit_segment_init(&writer->segment, dir, clock, err);
    if (rc != 0) {
        kv_audit_segment_fini(&writer->segment);
        free(writer);
        return rc;
    }
    KV_ASSERT(uv_async_init(loop, &writer->async, on_async) == 0);
    writer->async.data = writer;
    KV_ASSERT(pthread_mutex_init(&writer->lock, NULL) == 0);
    KV_ASSERT(pthread_cond_init(&writer->has_work, NULL) == 0);
    /* At start only, and memory is all that can be missing. */
    KV_ASSERT(pthread_create(&writer->thread, NULL, thread_main, writer) == 0);
    *out = writer;
    return 0;
}

void kv_audit_writer_push(struct kv_audit_writer *writer, struct kv_audit_item *item)
{
    writer->n_under_way++;
    lock(writer);
    append(&writer->todo, item);
    KV_ASSERT(pthread_cond_signal(&writer->has_work) == 0);
    unlock(writer);
}

bool kv_audit_writer_is_idle(const struct kv_audit_writer *writer)
{
    return writer->n_under_way == 0;
}

void kv_audit_writer_last(const struct kv_audit_writer *writer,
                          struct kv_audit_mark *last, uint64_t *n_bytes)
{
    *last = writer->seen_last;
    *n_bytes = writer->seen_bytes;
}

static void on_closed(uv_handle_t *handle)
{
    struct kv_audit_writer *writer = handle->data;
    void (*cb)(void *arg) = writer->on_stopped;
    void *arg = writer->on_stopped_arg;
    kv_audit_segment_fini(&writer->segment);
    (void)pthread_cond_destroy(&writer->has_work);
    (void)pthread_mutex_destroy(&writer->lock);
    free(writer);
    cb(arg);
}

void kv_audit_writer_stop(struct kv_audit_writer *writer, void (*cb)(void *arg),
                          void *arg)
{
    KV_ASSERT(writer->n_under_way == 0);
    lock(writer);
    writer->is_ending = true;
    KV_ASSERT(pthread_cond_signal(&writer->has_work) == 0);
    unlock(writer);
    KV_ASSERT(pthread_join(writer->thread, NULL) == 0);
    writer->on_stopped = cb;
    writer->on_stopped_arg = arg;
    uv_close((uv_handle_t *)&writer->async, on_closed);
}
