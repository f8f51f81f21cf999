/*
 * A fixed table of entries, KV_WAYS per CPU, each with one atomic owner word:
 *
 *   63        32 31          1 0
 *   +-----------+-------------+------+
 *   | pid       | generation  | busy |
 *   +-----------+-------------+------+
 *
 * Claiming is one compare-and-swap, so there is no lock that a fork could find held.
 * An entry whose word names another process was inherited: its descriptor is closed,
 * and if the parent was using it at the moment of the fork its buffers are abandoned
 * rather than freed, because another thread may have been changing them.
 *
 * Who finds every entry busy says so in `waiting` and sleeps on a futex, which a
 * release only touches when somebody waits. The word carries the generation as well:
 * threads of the parent do not wait in the child.
 */
#include "provider/pool.h"

#include <linux/futex.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "store/core/clock.h"

#define KV_WAYS 4
#define KV_MAX_CPUS 256
#define BUSY 1U

/* Counts fork() along our own line of descent. A process-wide fact, so a static. */
static _Atomic uint32_t generation = 1;
static pthread_once_t fork_hook_once = PTHREAD_ONCE_INIT;

static void on_child(void)
{
    atomic_fetch_add_explicit(&generation, 1, memory_order_relaxed);
}

static void install_fork_hook(void)
{
    (void)pthread_atfork(NULL, NULL, on_child); /* without it the pid still differs */
}

uint32_t kv_pool_generation(void)
{
    return atomic_load_explicit(&generation, memory_order_relaxed) & 0x7fffffffU;
}

static uint64_t self_word(void)
{
    return (uint64_t)(uint32_t)getpid() << 32 | (uint64_t)kv_pool_generation() << 1;
}

int kv_pool_init(struct kv_pool *pool)
{
    (void)pthread_once(&fork_hook_once, install_fork_hook);
    long n = sysconf(_SC_NPROCESSORS_CONF);
    pool->n_cpus = n < 1 ? 1 : n > KV_MAX_CPUS ? KV_MAX_CPUS : (size_t)n;
    size_t n_slots = pool->n_cpus * KV_WAYS;
    pool->slots = OPENSSL_zalloc(n_slots * sizeof(struct kv_pool_slot));
    if (pool->slots == NULL)
        return KV_E_NOMEM;
    atomic_init(&pool->waiting, 0);
    atomic_init(&pool->n_releases, 0);
    for (size_t i = 0; i < n_slots; i++) {
        atomic_init(&pool->slots[i].owner, 0);
        kv_conn_init(&pool->slots[i].conn);
    }
    return 0;
}

void kv_pool_fini(struct kv_pool *pool)
{
    if (pool->slots == NULL)
        return;
    for (size_t i = 0; i < pool->n_cpus * KV_WAYS; i++)
        kv_conn_close(&pool->slots[i].conn);
    OPENSSL_free(pool->slots);
    pool->slots = NULL;
}

static bool claim(struct kv_pool_slot *slot, uint64_t self)
{
    uint64_t seen = atomic_load_explicit(&slot->owner, memory_order_relaxed);
    if (seen == (self | BUSY))
        return false;
    if (!atomic_compare_exchange_strong_explicit(&slot->owner, &seen, self | BUSY,
                                                 memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    if (seen == 0 || seen == self)
        return true;
    if ((seen & BUSY) != 0) {
        struct kv_conn inherited = slot->conn;
        kv_conn_init(&slot->conn);
        if (kv_conn_is_ours(&inherited))
            (void)close(inherited.fd); /* our copy of the parent's descriptor */
    } else {
        kv_conn_close(&slot->conn);
    }
    return true;
}

static struct kv_pool_slot *find_free(struct kv_pool *pool)
{
    uint64_t self = self_word();
    int cpu = sched_getcpu();
    size_t home = cpu < 0 ? 0 : (size_t)cpu % pool->n_cpus;
    for (size_t i = 0; i < KV_WAYS; i++) {
        struct kv_pool_slot *slot = &pool->slots[home * KV_WAYS + i];
        if (claim(slot, self))
            return slot;
    }
    for (size_t i = 0; i < pool->n_cpus * KV_WAYS; i++) {
        if (claim(&pool->slots[i], self))
            return &pool->slots[i];
    }
    return NULL;
}

/* How many threads of this very process wait. */
static uint32_t n_waiting(uint64_t word)
{
    return word >> 32 == kv_pool_generation() ? (uint32_t)word : 0;
}

static void count_waiting(struct kv_pool *pool, uint32_t change)
{
    uint64_t seen = atomic_load(&pool->waiting);
    uint64_t next = 0;
    do {
        next =
            (uint64_t)kv_pool_generation() << 32 | (uint32_t)(n_waiting(seen) + change);
    } while (!atomic_compare_exchange_weak(&pool->waiting, &seen, next));
}

static void futex_wait(_Atomic uint32_t *word, uint32_t seen, int64_t timeout_ms)
{
    const struct timespec timeout = {.tv_sec = timeout_ms / 1000,
                                     .tv_nsec = timeout_ms % 1000 * 1000000};
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, &timeout, NULL, 0);
}

static struct kv_pool_slot *wait_for_free(struct kv_pool *pool, int64_t deadline_ms)
{
    struct kv_pool_slot *slot = NULL;
    count_waiting(pool, 1);
    for (;;) {
        /* Read before the search: a release after it changes the number. */
        uint32_t seen = atomic_load(&pool->n_releases);
        atomic_thread_fence(memory_order_seq_cst); /* the search reads relaxed */
        slot = find_free(pool);
        int64_t left_ms = deadline_ms - kv_monotonic_ms(kv_clock_system());
        if (slot != NULL || left_ms <= 0)
            break;
        futex_wait(&pool->n_releases, seen, left_ms);
    }
    count_waiting(pool, UINT32_MAX);
    return slot;
}

struct kv_pool_slot *kv_pool_claim(struct kv_pool *pool, int64_t deadline_ms)
{
    struct kv_pool_slot *slot = find_free(pool);
    if (slot != NULL || deadline_ms == 0)
        return slot;
    return wait_for_free(pool, deadline_ms);
}

void kv_pool_release(struct kv_pool *pool, struct kv_pool_slot *slot)
{
    uint64_t word = atomic_load_explicit(&slot->owner, memory_order_relaxed);
    /* In one order with the load behind it: either we see who waits, or it sees this.
     */
    atomic_store(&slot->owner, word & ~(uint64_t)BUSY);
    if (n_waiting(atomic_load(&pool->waiting)) == 0)
        return;
    (void)atomic_fetch_add(&pool->n_releases, 1);
    (void)syscall(SYS_futex, &pool->n_releases, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
