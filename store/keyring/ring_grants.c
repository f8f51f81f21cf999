/*
 * Grants and beats.
 *
 *   valid = the epoch is the vault's present one
 *           and now < later of (granted, last beat of that epoch) + lease
 *
 * Beats come each second while the service lives, so a grant lives on without being
 * written to; when they stop, it ends one lease after the last. A beat with another
 * epoch that came after the grant ends it at once; so does one that came before and
 * names a newer epoch (the answer was made before the change and overtaken by it). An
 * older state of the key than the one that was granted does not do: after the live key
 * gave way in its table, an old row may have come in by another door.
 */
#include <string.h>

#include "store/keyring/ring_internal.h"
#include "store/keyring/rules.h"

void kv_ring_grant_key(uint8_t key[KV_GRANT_KEY_LEN], uid_t uid, const uint8_t *version)
{
    const uint32_t number = uid;
    memcpy(key, &number, sizeof(number));
    memcpy(key + sizeof(number), version, KV_ID_LEN);
}

int kv_ring_beat(struct kv_ring *ring, const struct kv_role_beat *beat)
{
    int rc = 0;
    bool is_new = false;
    kv_ring_lock(ring);
    uint32_t at = kv_table_find(ring->beats, beat->vault);
    if (at == KV_TABLE_NONE && kv_table_count(ring->beats) == KV_RING_VAULTS_MAX)
        rc = KV_E_FULL;
    else if (at == KV_TABLE_NONE)
        at = kv_table_put(ring->beats, beat->vault, NULL, NULL, &is_new);
    if (rc == 0) {
        struct kv_ring_beats *row = &ring->beat_rows[at];
        if (is_new || row->epoch != beat->epoch)
            row->order = ++ring->order;
        row->epoch = beat->epoch;
        row->at_ms = kv_monotonic_ms(ring->clock);
    }
    kv_ring_unlock(ring);
    return rc;
}

/* Caller holds the lock. `order` of a beat row is when its epoch was first heard. */
static bool grant_is_valid(struct kv_ring *ring, const struct kv_ring_grant *grant)
{
    int64_t since_ms = grant->granted_ms;
    const uint32_t at = kv_table_find(ring->beats, grant->vault);
    if (at != KV_TABLE_NONE) {
        const struct kv_ring_beats *beats = &ring->beat_rows[at];
        const bool is_current = beats->epoch == grant->epoch;
        if (!is_current && (beats->order > grant->order || beats->epoch > grant->epoch))
            return false;
        if (is_current && beats->at_ms > since_ms)
            since_ms = beats->at_ms;
    }
    return kv_monotonic_ms(ring->clock) < since_ms + grant->lease_ms;
}

static int check_answer(struct kv_ring *ring, const struct kv_role_granted *granted,
                        struct kv_err *err)
{
    int rc = 0;
    if (granted->ident.row_version == 0)
        return kv_err_set(
            err, KV_E_STATE, "key.pending",
            "the key '%s' belongs to an order that has not been completed",
            granted->ident.name);
    kv_ring_lock(ring);
    const uint32_t at = kv_table_find(ring->live, granted->ident.version);
    if (at != KV_TABLE_NONE &&
        ring->live_rows[at].live.ident.row_version > granted->ident.row_version)
        rc = kv_err_set(err, KV_E_CONFLICT, "grant.old-row",
                        "the service sent an older state of '%s'", granted->ident.name);
    kv_ring_unlock(ring);
    return rc;
}

int kv_ring_grant(struct kv_ring *ring, uid_t uid,
                  const struct kv_role_granted *granted, struct kv_live *out,
                  struct kv_err *err)
{
    int rc = 0;
    bool is_new = false;
    uint8_t key[KV_GRANT_KEY_LEN];
    KV_TRY(check_answer(ring, granted, err));
    KV_TRY(kv_ring_load(ring, &granted->ident, granted->row, out, err));
    const uint32_t lease =
        granted->lease_ms < KV_LEASE_MS ? granted->lease_ms : KV_LEASE_MS;
    kv_ring_grant_key(key, uid, granted->ident.version);
    kv_ring_lock(ring);
    const uint32_t at =
        kv_table_put(ring->grants, key, kv_ring_evict_grant, ring, &is_new);
    struct kv_ring_grant *row = &ring->grant_rows[at];
    const struct kv_audit_use_counts none = {.n = {0}};
    *row = (struct kv_ring_grant){.uid = (uint32_t)uid,
                                  .uses = is_new ? none : row->uses,
                                  .ops = granted->ops,
                                  .lease_ms = lease,
                                  .row_version = granted->ident.row_version,
                                  .epoch = granted->epoch,
                                  .granted_ms = kv_monotonic_ms(ring->clock),
                                  .order = ++ring->order};
    memcpy(row->vault, granted->ident.vault, KV_ID_LEN);
    memcpy(row->version, granted->ident.version, KV_ID_LEN);
    memcpy(row->name, granted->ident.name, sizeof(row->name));
    kv_ring_unlock(ring);
out:
    return rc;
}

bool kv_ring_had_grant(struct kv_ring *ring, uid_t uid,
                       const uint8_t version[KV_ID_LEN])
{
    uint8_t key[KV_GRANT_KEY_LEN];
    kv_ring_grant_key(key, uid, version);
    kv_ring_lock(ring);
    const bool had = kv_table_find(ring->grants, key) != KV_TABLE_NONE;
    kv_ring_unlock(ring);
    return had;
}

static int check_need(const struct kv_live *live, uint32_t granted, enum kv_need need,
                      int64_t now_s, struct kv_err *err)
{
    switch (need) {
    case KV_NEED_SIGN:
        return kv_rules_check(live, granted, KV_OP_SIGN, now_s, err);
    case KV_NEED_DECRYPT:
        return kv_rules_check(live, granted, KV_OP_DECRYPT | KV_OP_UNWRAP, now_s, err);
    case KV_NEED_TLS:
        return kv_rules_check_tls(live, granted, now_s, err);
    case KV_NEED_DERIVE:
        return kv_rules_check(live, granted, KV_OP_DERIVE, now_s, err);
    }
    return KV_E_INTERNAL;
}

int kv_ring_use(struct kv_ring *ring, uid_t uid, const uint8_t version[KV_ID_LEN],
                enum kv_need need, struct kv_live *out, struct kv_err *err)
{
    int rc = KV_RING_ASK;
    uint8_t key[KV_GRANT_KEY_LEN];
    const int64_t now_s = kv_now_s(ring->clock);
    kv_ring_grant_key(key, uid, version);
    kv_ring_lock(ring);
    const uint32_t at = kv_table_find(ring->grants, key);
    const uint32_t live_at = kv_table_find(ring->live, version);
    if (at != KV_TABLE_NONE && live_at != KV_TABLE_NONE &&
        ring->live_rows[live_at].live.ident.row_version >=
            ring->grant_rows[at].row_version &&
        grant_is_valid(ring, &ring->grant_rows[at])) {
        *out = ring->live_rows[live_at].live;
        (void)kv_key_ref(out->key); /* for the holder of `out` */
        rc = check_need(out, ring->grant_rows[at].ops, need, now_s, err);
        if (rc == 0)
            rc = kv_ring_count_use(&ring->grant_rows[at], need, err);
    }
    kv_ring_unlock(ring);
    return rc;
}
