/*
 * The pool: a few threads of lower priority, so that a 4096-bit signature or a
 * password-based import never delays a P-256 handshake. Each has its own key slot.
 */
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "store/keyring/role_serve.h"
#include "store/keyring/work.h"

#define THREADS_MAX 4
#define WAITING_MAX 1024
#define NICE 10
#define STACK_BYTES ((size_t)512 * 1024)

struct pool_thread {
    struct kv_pool *pool;
    unsigned slot;
    pthread_t thread;
};

struct kv_pool {
    struct kv_ring *ring;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct kv_work *head;
    struct kv_work *tail;
    unsigned n_waiting;
    bool is_stopping;
    unsigned n_threads;
    struct pool_thread threads[THREADS_MAX];
    pthread_barrier_t started;
};

static struct kv_work *take(struct kv_pool *pool)
{
    KV_ASSERT(pthread_mutex_lock(&pool->lock) == 0);
    while (pool->head == NULL && !pool->is_stopping)
        KV_ASSERT(pthread_cond_wait(&pool->wake, &pool->lock) == 0);
    struct kv_work *work = pool->is_stopping ? NULL : pool->head;
    if (work != NULL) {
        pool->head = work->next;
        if (pool->head == NULL)
            pool->tail = NULL;
        pool->n_waiting--;
    }
    KV_ASSERT(pthread_mutex_unlock(&pool->lock) == 0);
    return work;
}

static void run(const struct pool_thread *self, struct kv_work *work)
{
    struct kv_ring *ring = self->pool->ring;
    const struct kv_serve serve = {
        .ring = ring, .slot = self->slot, .is_pool = true, .peer = work->peer};
    if (work->kind == KV_WORK_ROLE)
        work->rc =
            kv_role_serve(ring, self->slot, &work->frame, &work->out, &work->err);
    else
        work->rc = kv_serve(&serve, &work->frame, &work->out, &work->ask, &work->err);
    kv_queue_push(work->home, work);
}

static void *pool_main(void *arg)
{
    const struct pool_thread *self = arg;
    /* Priority is per thread on Linux; without the right to lower it again nothing is
     * lost, and a refusal only costs fairness. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    (void)pthread_barrier_wait(&self->pool->started); /* one of them gets a mark */
    struct kv_work *work = NULL;
    while ((work = take(self->pool)) != NULL)
        run(self, work);
    return NULL;
}

int kv_pool_start(struct kv_pool **out, struct kv_ring *ring, unsigned n_threads,
                  unsigned first_slot)
{
    KV_ASSERT(n_threads > 0 && n_threads <= THREADS_MAX);
    struct kv_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return KV_E_NOMEM;
    pool->ring = ring;
    KV_ASSERT(pthread_mutex_init(&pool->lock, NULL) == 0);
    KV_ASSERT(pthread_cond_init(&pool->wake, NULL) == 0);
    KV_ASSERT(pthread_barrier_init(&pool->started, NULL, n_threads + 1) == 0);
    pthread_attr_t attr;
    KV_ASSERT(pthread_attr_init(&attr) == 0);
    KV_ASSERT(pthread_attr_setstacksize(&attr, STACK_BYTES) == 0);
    for (unsigned i = 0; i < n_threads; i++) {
        struct pool_thread *thread = &pool->threads[i];
        *thread = (struct pool_thread){.pool = pool, .slot = first_slot + i};
        /* At start only: a machine that cannot start two threads serves nobody. */
        KV_ASSERT(pthread_create(&thread->thread, &attr, pool_main, thread) == 0);
        pool->n_threads++;
    }
    (void)pthread_attr_destroy(&attr);
    (void)pthread_barrier_wait(&pool->started); /* all have their priority */
    *out = pool;
    return 0;
}

bool kv_pool_push(struct kv_pool *pool, struct kv_work *work)
{
    work->next = NULL;
    KV_ASSERT(pthread_mutex_lock(&pool->lock) == 0);
    const bool has_room = pool->n_waiting < WAITING_MAX && !pool->is_stopping;
    if (has_room) {
        if (pool->tail != NULL)
            pool->tail->next = work;
        else
            pool->head = work;
        pool->tail = work;
        pool->n_waiting++;
        KV_ASSERT(pthread_cond_signal(&pool->wake) == 0);
    }
    KV_ASSERT(pthread_mutex_unlock(&pool->lock) == 0);
    return has_room;
}

void kv_pool_stop(struct kv_pool *pool)
{
    if (pool == NULL)
        return;
    KV_ASSERT(pthread_mutex_lock(&pool->lock) == 0);
    pool->is_stopping = true;
    KV_ASSERT(pthread_cond_broadcast(&pool->wake) == 0);
    KV_ASSERT(pthread_mutex_unlock(&pool->lock) == 0);
    for (unsigned i = 0; i < pool->n_threads; i++)
        KV_ASSERT(pthread_join(pool->threads[i].thread, NULL) == 0);
    while (pool->head != NULL) {
        struct kv_work *work = pool->head;
        pool->head = work->next;
        work->rc = kv_err_set(&work->err, KV_E_UNAVAILABLE, "channel.stopping",
                              "the keyring is stopping");
        kv_queue_push(work->home, work);
    }
    (void)pthread_barrier_destroy(&pool->started);
    (void)pthread_cond_destroy(&pool->wake);
    (void)pthread_mutex_destroy(&pool->lock);
    free(pool);
}
