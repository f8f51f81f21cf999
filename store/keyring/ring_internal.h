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
    uint32_t uid;
    uint8_t version[KV_ID_LEN];
    uint8_t vault[KV_ID_LEN];
    char name[KV_NAME_MAX + 1];
    struct kv_audit_use_counts uses; /* not recorded yet */
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

#define KV_GRANT_KEY_LEN (4 + KV_ID_LEN)
#define KV_RING_LEFT_MAX 256

struct kv_ring {
    const struct kv_seal *seal;
    struct kv_anchor *anchor;
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
    size_t n_left; /* grants that gave way with uses that are not recorded */
    struct kv_ring_grant left[KV_RING_LEFT_MAX];
    struct kv_table *beats; /* vault id */
    struct kv_ring_beats *beat_rows;
};

/* Whether the vault key that sealed a row is known; with the lock. */
bool kv_ring_has_term(struct kv_ring *ring, const uint8_t *vault, uint32_t term);

/* Take a live key out of the table; with the lock. */
void kv_ring_drop_live(struct kv_ring *ring, uint32_t at);

void kv_ring_lock(struct kv_ring *ring);
void kv_ring_unlock(struct kv_ring *ring);

void kv_ring_grant_key(uint8_t key[KV_GRANT_KEY_LEN], uid_t uid,
                       const uint8_t *version);

/* Count a use, or refuse it (audit.uses-waiting); caller holds the lock. */
int kv_ring_count_use(struct kv_ring_grant *grant, enum kv_need need,
                      struct kv_err *err) KV_MUST_CHECK;

/* The on_evict of the table of grants: what is not recorded is kept. */
void kv_ring_evict_grant(void *arg, uint32_t index);

#endif
