/*
 * The pool: a few threads of lower priority, so that a 4096-bit signature or a
 * password-based import never delays a P-256 handshake. Each has its own key slot.
 *
 *   clients   slow keys     \
 *   service   uses of keys   > one of each lane in turn
 *   long      making keys   /  (and never on all threads at once)
 *
 * Within a lane works go by rounds: a new one joins the round behind the last of the
 * same uid, or the present one. So a client with a thousand signatures waiting delays
 * another's first by one.
 */
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "store/keyring/role_serve.h"
#include "store/keyring/work.h"

#define THREADS_MAX 4
#define WAITING_MAX 1024 /* of each lane */
#define NICE 10
#define STACK_BYTES ((size_t)512 * 1024)

struct pool_thread {
    struct kv_pool *pool;
    unsigned slot;
    pthread_t thread;
};

enum lane_name { LANE_CLIENTS, LANE_SERVICE, LANE_LONG, LANES_N };

struct lane {
    struct kv_work *head; /* by round */
    unsigned n;
    uint64_t round; /* of the work taken last */
};

struct kv_pool {
    struct kv_ring *ring;
    pthread_mutex_t lock; /* everything below */
    pthread_cond_t wake;
    struct lane lanes[LANES_N];
    unsigned last_lane; /* that a work was taken from */
    unsigned n_long;    /* threads busy with works of LANE_LONG */
    bool is_stopping;
    unsigned n_threads;
    struct pool_thread threads[THREADS_MAX];
    pthread_barrier_t started;
};

static enum lane_name lane_of(const struct kv_work *work)
{
    if (work->kind != KV_WORK_ROLE)
        return LANE_CLIENTS;
    switch (work->frame.verb) {
    case KV_ROLE_KEY_GENERATE: /* primes */
    case KV_ROLE_KEY_IMPORT:   /* a password, primality */
    case KV_ROLE_KEY_EXPORT:   /* a password */
        return LANE_LONG;
    default: /* the verb is a number from outside */
        return LANE_SERVICE;
    }
}

static void lane_put(struct lane *lane, struct kv_work *work)
{
    work->round = lane->round;
    for (const struct kv_work *w = lane->head; w != NULL; w = w->next) {
        if (w->peer.uid == work->peer.uid && w->round >= work->round)
            work->round = w->round + 1;
    }
    struct kv_work **link = &lane->head;
    while (*link != NULL && (*link)->round <= work->round)
        link = &(*link)->next;
    work->next = *link;
    *link = work;
    lane->n++;
}

static struct kv_work *lane_take(struct lane *lane)
{
    struct kv_work *work = lane->head;
    lane->head = work->next;
    lane->round = work->round;
    lane->n--;
    return work;
}

/* The lane whose turn it is; LANES_N when there is nothing to do. */
static unsigned next_lane(const struct kv_pool *pool)
{
    for (unsigned i = 1; i <= LANES_N; i++) {
        const unsigned at = (pool->last_lane + i) % LANES_N;
        const bool is_full =
            at == LANE_LONG && pool->n_long > 0 && pool->n_long + 1 >= pool->n_threads;
        if (pool->lanes[at].head != NULL && !is_full)
            return at;
    }
    return LANES_N;
}

static struct kv_work *take(struct kv_pool *pool)
{
    struct kv_work *work = NULL;
    unsigned at = LANES_N;
    KV_ASSERT(pthread_mutex_lock(&pool->lock) == 0);
    while (!pool->is_stopping && (at = next_lane(pool)) == LANES_N)
        KV_ASSERT(pthread_cond_wait(&pool->wake, &pool->lock) == 0);
    if (!pool->is_stopping) {
        work = lane_take(&pool->lanes[at]);
        pool->last_lane = at;
        pool->n_long += at == LANE_LONG;
    }
    KV_ASSERT(pthread_mutex_unlock(&pool->lock) == 0);
    return work;
}

/* A long work is done: another may begin. */
static void end_long(struct kv_pool *pool)
{
    KV_ASSERT(pthread_mutex_lock(&pool->lock) == 0);
    pool->n_long--;
    KV_ASSERT(pthread_cond_signal(&pool->wake) == 0);
    KV_ASSERT(pthread_mutex_unlock(&pool->lock) == 0);
}

static void run(const struct pool_thread *self, struct kv_work *work)
{
    struct kv_ring *ring = self->pool->ring;
    const bool is_long = lane_of(work) == LANE_LONG;
    const struct kv_serve serve = {.ring = ring,
                                   .slot = self->slot,
                                   .is_pool = true,
                                   .begun_us = work->begun_us,
                                   .peer = work->peer};
    if (work->kind == KV_WORK_ROLE)
        work->rc = kv_role_serve(&serve, &work->frame, &work->out, &work->err);
    else
        work->rc = kv_serve(&serve, &work->frame, &work->out, &work->ask, &work->err);
    kv_queue_push(work->home, work);
    if (is_long)
        end_long(self->pool);
}

static void *pool_main(void *arg)
{
    const struct pool_thread *self = arg;
    /* Priority is per thread on Linux; without the right to lower it again nothing is
     * lost, and a refusal only costs fairness. */
    const int nice_now =
        getpriority(PRIO_PROCESS, (id_t)gettid()); /* may be negative */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), nice_now + NICE);
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
    struct lane *lane = &pool->lanes[lane_of(work)];
    KV_ASSERT(pthread_mutex_lock(&pool->lock) == 0);
    const bool has_room = lane->n < WAITING_MAX && !pool->is_stopping;
    if (has_room) {
        lane_put(lane, work);
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
    for (unsigned i = 0; i < LANES_N; i++) {
        while (pool->lanes[i].head != NULL) {
            struct kv_work *work = lane_take(&pool->lanes[i]);
            work->rc = kv_err_set(&work->err, KV_E_UNAVAILABLE, "channel.stopping",
                                  "the keyring is stopping");
            kv_queue_push(work->home, work);
        }
    }
    (void)pthread_barrier_destroy(&pool->started);
    (void)pthread_cond_destroy(&pool->wake);
    (void)pthread_mutex_destroy(&pool->lock);
    free(pool);
}
