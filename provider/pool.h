/*
 * The connections of one client: a few per CPU, claimed without locks.
 *
 * A caller takes a connection of the CPU that it runs on, because the daemon serves
 * that connection on the same CPU and the answer then costs no cross-CPU wake-up; it
 * takes another one rather than wait. Only when all are busy it waits for one: more of
 * them would keep the same few CPUs no busier, but cost a new connection each time.
 * Each entry carries the process and the fork generation that own it, so that a child
 * never speaks on its parent's socket.
 */
#ifndef KV_PROVIDER_POOL_H
#define KV_PROVIDER_POOL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "provider/conn.h"

struct kv_pool_slot {
    _Atomic uint64_t owner; /* process, generation, busy bit; 0: never used */
    struct kv_conn conn;
};

struct kv_pool {
    size_t n_cpus;
    struct kv_pool_slot *slots;
    _Atomic uint64_t waiting;    /* generation and number of threads that wait */
    _Atomic uint32_t n_releases; /* while some wait: the futex that they wait on */
};

/* Allocate the entries; connects nothing. Returns 0 or KV_E_NOMEM. */
int kv_pool_init(struct kv_pool *pool) KV_MUST_CHECK;

/* Close every connection. No other thread may use the pool any more. */
void kv_pool_fini(struct kv_pool *pool);

/* Claim an entry; its connection may be unconnected (fd -1). NULL when all are busy
 * until `deadline_ms` (of the monotonic clock; 0: do not wait). */
struct kv_pool_slot *kv_pool_claim(struct kv_pool *pool, int64_t deadline_ms);

/* Give the entry back. */
void kv_pool_release(struct kv_pool *pool, struct kv_pool_slot *slot);

/* Changes in every child process; never 0. */
uint32_t kv_pool_generation(void);

#endif
