/* The inside of struct kv_ring, shared by ring*.c only. */
#ifndef KV_STORE_KEYRING_RING_INTERNAL_H
#define KV_STORE_KEYRING_RING_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/keyring/ring.h"
#include "store/keyring/table.h"

#define KV_LIVE_DIGEST_LEN 32

struct kv_ring_live {
    struct kv_live live;
    uint8_t digest[KV_LIVE_DIGEST_LEN]; /* SHA-256 of identity and sealed row */
};

struct kv_ring_grant {
    uint8_t vault[KV_ID_LEN];
    uint32_t ops;
    uint32_t lease_ms;
    uint64_t row_version; /* of the key, at least */
    uint64_t epoch;
    int64_t granted_ms;
    uint64_t order; /* of grants and beats, to tell which came first */
};

struct kv_ring_beats {
    uint64_t epoch;
    int64_t at_ms;
    uint64_t order;
};

struct kv_ring {
    const struct kv_seal *seal;
    const struct kv_clock *clock;
    atomic_bool has_service;
    pthread_rwlock_t in_use; /* read: a vault key is being used; taken before `lock` */
    pthread_mutex_t lock;    /* everything below */
    uint64_t order;
    struct kv_table *terms; /* vault id, term */
    struct kv_secret *vault_keys;
    struct kv_table *live; /* version id */
    struct kv_ring_live *live_rows;
    struct kv_table *grants; /* uid, version id */
    struct kv_ring_grant *grant_rows;
    struct kv_table *beats; /* vault id */
    struct kv_ring_beats *beat_rows;
};

/* Whether the vault key that sealed a row is known; with the lock. */
bool kv_ring_has_term(struct kv_ring *ring, const uint8_t *vault, uint32_t term);

/* Take a live key out of the table; with the lock. */
void kv_ring_drop_live(struct kv_ring *ring, uint32_t at);

void kv_ring_lock(struct kv_ring *ring);
void kv_ring_unlock(struct kv_ring *ring);

#endif
