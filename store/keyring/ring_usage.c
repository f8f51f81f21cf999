/*
 * Pages of usage. The table is read row by row, so that the lock is held for no longer
 * than a signature holds it; keys that come and go meanwhile may be missed.
 */
#include <string.h>

#include "store/keyring/ring_internal.h"
#include "store/keyring/usage.h"

/* The key in this place of the table if it is asked for. */
static bool take_row(struct kv_ring *ring, uint32_t at,
                     const struct kv_role_usage_ask *ask, struct kv_live *out)
{
    kv_ring_lock(ring);
    const struct kv_live *live = &ring->live_rows[at].live;
    const bool is_asked =
        live->key != NULL && memcmp(live->ident.vault, ask->vault, KV_ID_LEN) == 0 &&
        (ask->name[0] == '\0' || strcmp(live->ident.name, ask->name) == 0);
    if (is_asked) {
        *out = *live;
        (void)kv_key_ref(out->key); /* for the holder of `out` */
    }
    kv_ring_unlock(ring);
    return is_asked;
}

static void put_row(const struct kv_live *live, struct kv_role_usage_row *row)
{
    const struct kv_usage *usage = kv_key_usage(live->key);
    memcpy(row->name, live->ident.name, sizeof(row->name));
    memcpy(row->version, live->ident.version, KV_ID_LEN);
    row->kty = kv_key_kty(live->key);
    row->curve = kv_key_curve(live->key);
    row->bits = kv_key_bits(live->key);
    row->since_s = kv_usage_since_s(usage);
    kv_usage_sum(usage, &row->counts);
}

void kv_ring_usage(struct kv_ring *ring, const struct kv_role_usage_ask *ask,
                   struct kv_role_usage *out)
{
    uint32_t at = ask->from;
    out->n = 0;
    while (at < KV_RING_LIVE_MAX && out->n < KV_BATCH_MAX) {
        struct kv_live live = {.key = NULL};
        if (take_row(ring, at++, ask, &live))
            put_row(&live, &out->row[out->n++]);
        kv_live_release(&live);
    }
    out->next = at < KV_RING_LIVE_MAX ? at : 0;
}
