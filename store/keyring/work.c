/*
 * Works and queues. A push takes the lock, links, and wakes the loop; the owner takes
 * the whole chain at once, so a burst costs one wake-up.
 */
#include "store/keyring/work.h"

#include <stdlib.h>

struct kv_work *kv_work_new(enum kv_work_kind kind, const struct kv_frame *frame,
                            size_t out_max)
{
    struct kv_work *work = calloc(1, sizeof(*work));
    if (work == NULL)
        return NULL;
    work->kind = kind;
    work->fd = -1;
    kv_buf_init_secret(&work->bytes, KV_FRAME_MAX_ROLE);
    kv_buf_init_secret(&work->out, out_max);
    if (frame == NULL)
        return work;
    work->frame = *frame;
    if (kv_buf_append(&work->bytes, frame->payload.data, frame->payload.len) != 0) {
        kv_work_free(work);
        return NULL;
    }
    work->frame.payload = (struct kv_bytes){work->bytes.data, work->bytes.len};
    return work;
}

void kv_work_free(struct kv_work *work)
{
    if (work == NULL)
        return;
    kv_buf_free(&work->bytes);
    kv_buf_free(&work->out);
    free(work);
}

static struct kv_work *take_all(struct kv_queue *queue)
{
    KV_ASSERT(pthread_mutex_lock(&queue->lock) == 0);
    struct kv_work *work = queue->head;
    queue->head = NULL;
    queue->tail = NULL;
    KV_ASSERT(pthread_mutex_unlock(&queue->lock) == 0);
    return work;
}

static void on_async(uv_async_t *async)
{
    struct kv_queue *queue = async->data;
    struct kv_work *work = take_all(queue);
    while (work != NULL) {
        struct kv_work *next = work->next;
        work->next = NULL;
        queue->on_work(queue->arg, work);
        work = next;
    }
}

int kv_queue_init(struct kv_queue *queue, uv_loop_t *loop, kv_queue_fn on_work,
                  void *arg)
{
    *queue = (struct kv_queue){.on_work = on_work, .arg = arg};
    KV_ASSERT(pthread_mutex_init(&queue->lock, NULL) == 0);
    if (uv_async_init(loop, &queue->async, on_async) != 0)
        return KV_E_NOMEM;
    queue->async.data = queue;
    return 0;
}

void kv_queue_push(struct kv_queue *queue, struct kv_work *work)
{
    work->next = NULL;
    KV_ASSERT(pthread_mutex_lock(&queue->lock) == 0);
    if (queue->tail != NULL)
        queue->tail->next = work;
    else
        queue->head = work;
    queue->tail = work;
    KV_ASSERT(pthread_mutex_unlock(&queue->lock) == 0);
    KV_ASSERT(uv_async_send(&queue->async) == 0);
}

void kv_queue_close(struct kv_queue *queue)
{
    struct kv_work *work = take_all(queue);
    while (work != NULL) {
        struct kv_work *next = work->next;
        kv_work_free(work);
        work = next;
    }
    uv_close((uv_handle_t *)&queue->async, NULL);
}
