/*
 * The loop threads: one per CPU, pinned, with small stacks. Each owns its connections
 * outright; other threads reach it only through its queue.
 */
#include <sched.h>
#include <string.h>

#include "store/keyring/channel_internal.h"

#define STACK_BYTES ((size_t)256 * 1024)
#define STALL_CHECK_MS 1000

static void maybe_end(struct kv_loop *loop)
{
    if (!loop->is_stopping)
        return;
    while (loop->conns != NULL)
        kv_conn_close(loop->conns);
    if (uv_is_closing((uv_handle_t *)&loop->timer))
        return;
    uv_close((uv_handle_t *)&loop->timer, NULL);
    kv_queue_close(&loop->queue);
}

static void on_stall_timer(uv_timer_t *timer)
{
    struct kv_loop *loop = timer->data;
    const uint64_t now_ms = uv_now(&loop->loop);
    struct kv_conn *conn = loop->conns;
    while (conn != NULL) {
        struct kv_conn *next = conn->next;
        kv_conn_check_stall(conn, now_ms);
        conn = next;
    }
}

static void on_work(void *arg, struct kv_work *work)
{
    struct kv_loop *loop = arg;
    switch (work->kind) {
    case KV_WORK_CONN:
        kv_conn_start(loop, work);
        if (loop->n_conns > 0 && !uv_is_active((uv_handle_t *)&loop->timer))
            (void)uv_timer_start(&loop->timer, on_stall_timer, STALL_CHECK_MS,
                                 STALL_CHECK_MS); /* cannot fail with a callback */
        break;
    case KV_WORK_ASK:
    case KV_WORK_POOL:
        kv_conn_resume(work);
        break;
    case KV_WORK_STOP:
        kv_work_free(work);
        loop->is_stopping = true;
        maybe_end(loop);
        break;
    case KV_WORK_ROLE:
        kv_assert_failed("role work on a channel loop", __FILE__, __LINE__);
    }
}

static void *loop_main(void *arg)
{
    struct kv_loop *loop = arg;
    if (loop->cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((unsigned)loop->cpu, &set);
        /* Without pinning it works as well, only slower. */
        (void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
    }
    (void)pthread_barrier_wait(&loop->channel->started); /* one gets a mark */
    (void)uv_run(&loop->loop, UV_RUN_DEFAULT);           /* ends without handles */
    return NULL;
}

int kv_loop_start(struct kv_loop *loop)
{
    kv_buf_init_secret(&loop->out, KV_LOOP_OUT_MAX);
    if (uv_loop_init(&loop->loop) != 0 ||
        kv_queue_init(&loop->queue, &loop->loop, on_work, loop) != 0 ||
        uv_timer_init(&loop->loop, &loop->timer) != 0)
        return KV_E_NOMEM;
    loop->timer.data = loop;
    pthread_attr_t attr;
    KV_ASSERT(pthread_attr_init(&attr) == 0);
    KV_ASSERT(pthread_attr_setstacksize(&attr, STACK_BYTES) == 0);
    const int failed = pthread_create(&loop->thread, &attr, loop_main, loop);
    (void)pthread_attr_destroy(&attr);
    return failed == 0 ? 0 : KV_E_NOMEM;
}
