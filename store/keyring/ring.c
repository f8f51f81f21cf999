/*
 * Birth and death of the state, vault keys, and sealing under them. A vault key is
 * dropped with `in_use` held for writing and used with it held for reading, so a
 * pointer to it stays good after the lock is released.
 */
#include "store/keyring/ring.h"

#include <stdlib.h>
#include <string.h>

#include "store/keyring/ring_internal.h"

#define TERM_KEY_LEN (KV_ID_LEN + 4)

void kv_ring_lock(struct kv_ring *ring)
{
    const int rc = pthread_mutex_lock(&ring->lock);
    KV_ASSERT(rc == 0);
}

void kv_ring_unlock(struct kv_ring *ring)
{
    const int rc = pthread_mutex_unlock(&ring->lock);
    KV_ASSERT(rc == 0);
}

static void begin_use(struct kv_ring *ring)
{
    const int rc = pthread_rwlock_rdlock(&ring->in_use);
    KV_ASSERT(rc == 0);
}

static void end_use(struct kv_ring *ring)
{
    const int rc = pthread_rwlock_unlock(&ring->in_use);
    KV_ASSERT(rc == 0);
}

static int take_memory(struct kv_ring *ring)
{
    uint64_t seed = 0;
    const int rc = kv_rand_fill(kv_rand_system(), &seed, sizeof(seed));
    if (rc != 0)
        return rc;
    ring->terms = kv_table_new(KV_RING_TERMS_MAX, TERM_KEY_LEN, seed);
    ring->live = kv_table_new(KV_RING_LIVE_MAX, KV_ID_LEN, seed);
    ring->grants = kv_table_new(KV_RING_GRANTS_MAX, KV_GRANT_KEY_LEN, seed);
    ring->beats = kv_table_new(KV_RING_VAULTS_MAX, KV_ID_LEN, seed);
    ring->vault_keys = calloc(KV_RING_TERMS_MAX, sizeof(*ring->vault_keys));
    ring->live_rows = calloc(KV_RING_LIVE_MAX, sizeof(*ring->live_rows));
    ring->grant_rows = calloc(KV_RING_GRANTS_MAX, sizeof(*ring->grant_rows));
    ring->beat_rows = calloc(KV_RING_VAULTS_MAX, sizeof(*ring->beat_rows));
    const bool has_tables = ring->terms != NULL && ring->live != NULL &&
                            ring->grants != NULL && ring->beats != NULL;
    const bool has_rows = ring->vault_keys != NULL && ring->live_rows != NULL &&
                          ring->grant_rows != NULL && ring->beat_rows != NULL;
    return has_tables && has_rows ? 0 : KV_E_NOMEM;
}

int kv_ring_new(struct kv_ring **out, const struct kv_seal *seal,
                struct kv_anchor *anchor, const struct kv_clock *clock)
{
    struct kv_ring *ring = calloc(1, sizeof(*ring));
    if (ring == NULL)
        return KV_E_NOMEM;
    ring->seal = seal;
    ring->anchor = anchor;
    ring->clock = clock;
    KV_ASSERT(pthread_mutex_init(&ring->lock, NULL) == 0);
    KV_ASSERT(pthread_rwlock_init(&ring->in_use, NULL) == 0);
    const int rc = take_memory(ring);
    if (rc == 0)
        *out = ring;
    else
        kv_ring_free(ring);
    return rc;
}

void kv_ring_free(struct kv_ring *ring)
{
    if (ring == NULL)
        return;
    for (size_t i = 0; ring->vault_keys != NULL && i < KV_RING_TERMS_MAX; i++)
        kv_secret_free(&ring->vault_keys[i]);
    for (size_t i = 0; ring->live_rows != NULL && i < KV_RING_LIVE_MAX; i++)
        kv_live_release(&ring->live_rows[i].live);
    kv_table_free(ring->terms);
    kv_table_free(ring->live);
    kv_table_free(ring->grants);
    kv_table_free(ring->beats);
    free(ring->vault_keys);
    free(ring->live_rows);
    free(ring->grant_rows);
    free(ring->beat_rows);
    (void)pthread_mutex_destroy(&ring->lock); /* nobody holds them any more */
    (void)pthread_rwlock_destroy(&ring->in_use);
    free(ring);
}

struct kv_anchor *kv_ring_anchor(const struct kv_ring *ring)
{
    return ring->anchor;
}

const uint8_t *kv_ring_installation(const struct kv_ring *ring)
{
    return kv_seal_installation(ring->seal);
}

int kv_ring_backup_key_new(struct kv_ring *ring, uint8_t *key, struct kv_buf *wrapped,
                           struct kv_bytes *slots)
{
    *slots = kv_seal_slots(ring->seal);
    return kv_seal_backup_key_new(ring->seal, key, wrapped);
}

int kv_ring_backup_key_open(struct kv_ring *ring, struct kv_bytes wrapped, uint8_t *key,
                            struct kv_err *err)
{
    return kv_seal_backup_key_open(ring->seal, wrapped, key, err);
}

int64_t kv_ring_now_s(const struct kv_ring *ring)
{
    return kv_now_s(ring->clock);
}

int64_t kv_ring_now_us(const struct kv_ring *ring)
{
    return kv_monotonic_us(ring->clock);
}

void kv_ring_set_service(struct kv_ring *ring, bool is_there)
{
    atomic_store(&ring->has_service, is_there);
}

bool kv_ring_has_service(const struct kv_ring *ring)
{
    return atomic_load(&ring->has_service);
}

static void term_key(uint8_t key[TERM_KEY_LEN], const uint8_t *vault, uint32_t term)
{
    memcpy(key, vault, KV_ID_LEN);
    memcpy(key + KV_ID_LEN, &term, sizeof(term));
}

bool kv_ring_has_term(struct kv_ring *ring, const uint8_t *vault, uint32_t term)
{
    uint8_t key[TERM_KEY_LEN];
    term_key(key, vault, term);
    return kv_table_find(ring->terms, key) != KV_TABLE_NONE;
}

/* While the key is in use. */
static const struct kv_secret *find_vault_key(struct kv_ring *ring,
                                              const uint8_t *vault, uint32_t term)
{
    uint8_t key[TERM_KEY_LEN];
    term_key(key, vault, term);
    kv_ring_lock(ring);
    const uint32_t at = kv_table_find(ring->terms, key);
    kv_ring_unlock(ring);
    return at != KV_TABLE_NONE ? &ring->vault_keys[at] : NULL;
}

/* Take over `vault_key`. A key that stands there already must be the same one. */
static int keep_vault_key(struct kv_ring *ring, const uint8_t *vault, uint32_t term,
                          struct kv_secret *vault_key, struct kv_err *err)
{
    int rc = 0;
    bool is_new = false;
    uint8_t key[TERM_KEY_LEN];
    term_key(key, vault, term);
    kv_ring_lock(ring);
    uint32_t at = kv_table_find(ring->terms, key);
    if (at != KV_TABLE_NONE) {
        if (!kv_equal_ct(ring->vault_keys[at].data, vault_key->data, vault_key->len))
            rc = kv_err_set(err, KV_E_EXISTS, "seal.vault-key-exists",
                            "this vault has another key of term %u", term);
    } else if (kv_table_count(ring->terms) == KV_RING_TERMS_MAX) {
        rc = kv_err_set(err, KV_E_FULL, "seal.too-many-vault-keys",
                        "at most %d vault keys can be open", KV_RING_TERMS_MAX);
    } else {
        at = kv_table_put(ring->terms, key, NULL, NULL, &is_new);
        ring->vault_keys[at] = *vault_key;
        *vault_key = (struct kv_secret){0};
    }
    kv_ring_unlock(ring);
    kv_secret_free(vault_key);
    return rc;
}

int kv_ring_vault_key_new(struct kv_ring *ring, const uint8_t vault[KV_ID_LEN],
                          uint32_t term, struct kv_buf *wrapped, struct kv_err *err)
{
    struct kv_secret fresh = {0};
    int rc = 0;
    begin_use(ring);
    const struct kv_secret *present = find_vault_key(ring, vault, term);
    if (present != NULL)
        rc = kv_seal_vault_key_wrap(ring->seal, vault, term, present, wrapped);
    end_use(ring);
    if (present != NULL)
        return rc;
    rc = kv_seal_vault_key_new(ring->seal, vault, term, &fresh, wrapped);
    if (rc != 0)
        return rc;
    return keep_vault_key(ring, vault, term, &fresh, err);
}

int kv_ring_vault_key_open(struct kv_ring *ring, const struct kv_role_vault_key *msg,
                           struct kv_err *err)
{
    struct kv_secret opened = {0};
    const int rc = kv_seal_vault_key_open(ring->seal, msg, &opened, err);
    if (rc != 0)
        return rc;
    return keep_vault_key(ring, msg->vault, msg->term, &opened, err);
}

static int no_vault_key(const struct kv_ident *ident, struct kv_err *err)
{
    return kv_err_set(err, KV_E_SEALED, "seal.no-vault-key",
                      "the vault key of term %u that '%s' needs is not open",
                      ident->term, ident->name);
}

int kv_ring_seal(struct kv_ring *ring, const struct kv_ident *ident,
                 struct kv_bytes body, struct kv_buf *out, struct kv_err *err)
{
    begin_use(ring);
    const struct kv_secret *key = find_vault_key(ring, ident->vault, ident->term);
    const int rc = key != NULL ? kv_seal_row(ring->seal, key, ident, body, out)
                               : no_vault_key(ident, err);
    end_use(ring);
    return rc;
}

int kv_ring_unseal(struct kv_ring *ring, const struct kv_ident *ident,
                   struct kv_bytes row, struct kv_buf *out, struct kv_err *err)
{
    begin_use(ring);
    const struct kv_secret *key = find_vault_key(ring, ident->vault, ident->term);
    const int rc = key != NULL ? kv_seal_row_open(ring->seal, key, ident, row, out, err)
                               : no_vault_key(ident, err);
    end_use(ring);
    return rc;
}

/* --- forgetting ---------------------------------------------------------------------
 */

static void forget_terms(struct kv_ring *ring, const uint8_t *vault)
{
    uint32_t next = KV_TABLE_NONE;
    for (uint32_t at = kv_table_first(ring->terms); at != KV_TABLE_NONE; at = next) {
        next = kv_table_next(ring->terms, at);
        if (memcmp(kv_table_key(ring->terms, at), vault, KV_ID_LEN) != 0)
            continue;
        kv_secret_free(&ring->vault_keys[at]);
        kv_table_remove(ring->terms, at);
    }
}

static void forget_live(struct kv_ring *ring, const uint8_t *vault)
{
    uint32_t next = KV_TABLE_NONE;
    for (uint32_t at = kv_table_first(ring->live); at != KV_TABLE_NONE; at = next) {
        next = kv_table_next(ring->live, at);
        if (memcmp(ring->live_rows[at].live.ident.vault, vault, KV_ID_LEN) == 0)
            kv_ring_drop_live(ring, at);
    }
    for (uint32_t at = kv_table_first(ring->grants); at != KV_TABLE_NONE; at = next) {
        next = kv_table_next(ring->grants, at);
        if (memcmp(ring->grant_rows[at].vault, vault, KV_ID_LEN) != 0)
            continue;
        kv_ring_evict_grant(ring, at); /* its uses are still to be recorded */
        memset(&ring->grant_rows[at], 0, sizeof(ring->grant_rows[at]));
        kv_table_remove(ring->grants, at);
    }
    const uint32_t beat = kv_table_find(ring->beats, vault);
    if (beat != KV_TABLE_NONE)
        kv_table_remove(ring->beats, beat);
}

void kv_ring_forget(struct kv_ring *ring, const uint8_t vault[KV_ID_LEN])
{
    const int rc = pthread_rwlock_wrlock(&ring->in_use);
    KV_ASSERT(rc == 0);
    kv_ring_lock(ring);
    forget_terms(ring, vault);
    forget_live(ring, vault);
    kv_ring_unlock(ring);
    end_use(ring);
}

int kv_ring_blob_seal(struct kv_ring *ring, const uint8_t id[KV_ID_LEN],
                      struct kv_bytes aad, struct kv_bytes body, struct kv_buf *out)
{
    return kv_seal_blob(ring->seal, id, aad, body, out);
}

int kv_ring_blob_open(struct kv_ring *ring, const uint8_t id[KV_ID_LEN],
                      struct kv_bytes aad, struct kv_bytes chunk, struct kv_buf *out,
                      struct kv_err *err)
{
    return kv_seal_blob_open(ring->seal, id, aad, chunk, out, err);
}
