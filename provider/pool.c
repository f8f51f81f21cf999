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
 */
#include "provider/pool.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

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

struct kv_pool_slot *kv_pool_claim(struct kv_pool *pool)
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

void kv_pool_release(struct kv_pool_slot *slot)
{
    uint64_t word = atomic_load_explicit(&slot->owner, memory_order_relaxed);
    atomic_store_explicit(&slot->owner, word & ~(uint64_t)BUSY, memory_order_release);
}
