/*
 * Uses of keys by grants, counted until the service has recorded them.
 *
 * They are counted where the grant is looked up, under the lock that is held there
 * anyway. A page shows what waits and takes nothing away: only what the service says
 * it has recorded is taken off, so that nothing is lost when it ends in between.
 */
#include <string.h>

#include "store/keyring/ring_internal.h"

static const enum kv_audit_use use_of[] = {
    [KV_NEED_SIGN] = KV_AUDIT_USE_SIGN,
    [KV_NEED_DECRYPT] = KV_AUDIT_USE_DECRYPT,
    [KV_NEED_TLS] = KV_AUDIT_USE_DECRYPT,
    [KV_NEED_DERIVE] = KV_AUDIT_USE_DERIVE,
};

static uint32_t sum(const struct kv_audit_use_counts *counts)
{
    uint32_t n = 0;
    for (size_t i = 0; i < KV_AUDIT_USES_N; i++)
        n += counts->n[i];
    return n;
}

int kv_ring_count_use(struct kv_ring_grant *grant, enum kv_need need,
                      struct kv_err *err)
{
    if (sum(&grant->uses) >= KV_RING_USES_MAX)
        return kv_err_set(err, KV_E_UNAVAILABLE, "audit.uses-waiting",
                          "%d uses of the key '%s' wait to be recorded",
                          KV_RING_USES_MAX, grant->name);
    grant->uses.n[use_of[need]]++;
    return 0;
}

/* Caller holds the lock. */
static struct kv_ring_grant *find(struct kv_ring *ring, uint32_t uid,
                                  const uint8_t version[KV_ID_LEN])
{
    uint8_t key[KV_GRANT_KEY_LEN];
    kv_ring_grant_key(key, uid, version);
    const uint32_t at = kv_table_find(ring->grants, key);
    return at != KV_TABLE_NONE ? &ring->grant_rows[at] : NULL;
}

void kv_ring_uncount_use(struct kv_ring *ring, uid_t uid,
                         const uint8_t version[KV_ID_LEN], enum kv_need need)
{
    kv_ring_lock(ring);
    struct kv_ring_grant *grant = find(ring, (uint32_t)uid, version);
    if (grant != NULL && grant->uses.n[use_of[need]] > 0)
        grant->uses.n[use_of[need]]--;
    kv_ring_unlock(ring);
}

void kv_ring_evict_grant(void *arg, uint32_t index)
{
    struct kv_ring *ring = arg;
    const struct kv_ring_grant *grant = &ring->grant_rows[index];
    if (sum(&grant->uses) == 0)
        return;
    const size_t at =
        ring->n_left < KV_RING_LEFT_MAX ? ring->n_left++ : KV_RING_LEFT_MAX - 1;
    if (at == KV_RING_LEFT_MAX - 1 && sum(&ring->left[at].uses) > 0) {
        /* No room for another one: its uses go to the last row. */
        for (size_t i = 0; i < KV_AUDIT_USES_N; i++)
            ring->left[at].uses.n[i] += grant->uses.n[i];
        return;
    }
    ring->left[at] = *grant;
}

/* Take from `counts` what is taken off. */
static void take_off(struct kv_ring_grant *grant, struct kv_audit_use_counts *counts)
{
    for (size_t i = 0; i < KV_AUDIT_USES_N; i++) {
        const uint32_t n =
            counts->n[i] < grant->uses.n[i] ? counts->n[i] : grant->uses.n[i];
        grant->uses.n[i] -= n;
        counts->n[i] -= n;
    }
}

/* Uses of one key by one program may stand in several rows: a grant that gave way can
 * have come back, and have given way again. Caller holds the lock. */
static void take_off_done(struct kv_ring *ring,
                          const struct kv_role_audit_uses_ask *ask)
{
    for (uint16_t i = 0; i < ask->n_done; i++) {
        struct kv_audit_use_counts counts = ask->done[i].counts;
        for (size_t j = 0; j < ring->n_left; j++)
            if (ring->left[j].uid == ask->done[i].uid &&
                memcmp(ring->left[j].version, ask->done[i].version, KV_ID_LEN) == 0)
                take_off(&ring->left[j], &counts);
        struct kv_ring_grant *grant =
            find(ring, ask->done[i].uid, ask->done[i].version);
        if (grant != NULL)
            take_off(grant, &counts);
    }
    size_t n = 0;
    for (size_t j = 0; j < ring->n_left; j++)
        if (sum(&ring->left[j].uses) > 0)
            ring->left[n++] = ring->left[j];
    ring->n_left = n;
}

static void put(const struct kv_ring_grant *grant, struct kv_role_audit_uses *out)
{
    struct kv_role_audit_use *row = &out->row[out->n];
    if (sum(&grant->uses) == 0)
        return;
    row->uid = grant->uid;
    memcpy(row->vault, grant->vault, KV_ID_LEN);
    memcpy(row->name, grant->name, sizeof(row->name));
    memcpy(row->version, grant->version, KV_ID_LEN);
    row->counts = grant->uses;
    out->n++;
}

void kv_ring_uses(struct kv_ring *ring, const struct kv_role_audit_uses_ask *ask,
                  struct kv_role_audit_uses *out)
{
    uint32_t at = ask->from;
    out->n = 0;
    kv_ring_lock(ring);
    take_off_done(ring, ask);
    for (size_t i = 0; at == 0 && i < ring->n_left && out->n < KV_AUDIT_BATCH_MAX; i++)
        put(&ring->left[i], out);
    kv_ring_unlock(ring);
    /* The lock is held for no longer than a signature holds it. */
    while (at < KV_RING_GRANTS_MAX && out->n < KV_AUDIT_BATCH_MAX) {
        const uint32_t end =
            at + 256 < KV_RING_GRANTS_MAX ? at + 256 : KV_RING_GRANTS_MAX;
        kv_ring_lock(ring);
        for (; at < end && out->n < KV_AUDIT_BATCH_MAX; at++)
            put(&ring->grant_rows[at], out);
        kv_ring_unlock(ring);
    }
    out->next = at < KV_RING_GRANTS_MAX ? at : 0;
}
