/*
 * Live keys. A row that comes in again with the same identity and bytes (told by
 * SHA-256) needs no unsealing; any other bytes are unsealed and must authenticate
 * before they replace anything.
 */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "store/keyring/nonce.h"
#include "store/keyring/ring_internal.h"
#include "store/keyring/usage.h"

void kv_live_release(struct kv_live *live)
{
    if (live->key != NULL)
        kv_key_unref(live->key);
    *live = (struct kv_live){.key = NULL};
}

static int digest_of(const struct kv_ident *ident, struct kv_bytes row,
                     uint8_t digest[KV_LIVE_DIGEST_LEN])
{
    struct kv_buf id;
    kv_buf_init(&id, 512);
    kv_ident_put(&id, ident);
    int rc = kv_buf_status(&id);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (rc == 0 && (ctx == NULL || EVP_DigestInit_ex2(ctx, EVP_sha256(), NULL) != 1 ||
                    EVP_DigestUpdate(ctx, id.data, id.len) != 1 ||
                    EVP_DigestUpdate(ctx, row.data, row.len) != 1 ||
                    EVP_DigestFinal_ex(ctx, digest, NULL) != 1))
        rc = KV_E_CRYPTO;
    ERR_clear_error();
    EVP_MD_CTX_free(ctx);
    kv_buf_free(&id);
    return rc;
}

static bool find_live(struct kv_ring *ring, const uint8_t *version,
                      const uint8_t *digest, struct kv_live *out)
{
    bool is_found = false;
    kv_ring_lock(ring);
    const uint32_t at = kv_table_find(ring->live, version);
    if (at != KV_TABLE_NONE &&
        memcmp(ring->live_rows[at].digest, digest, KV_LIVE_DIGEST_LEN) == 0) {
        *out = ring->live_rows[at].live;
        (void)kv_key_ref(out->key); /* for the holder of `out` */
        is_found = true;
    }
    kv_ring_unlock(ring);
    return is_found;
}

/* A key leaves the table: who holds it may end what was begun. */
static void dismiss(struct kv_live *live)
{
    kv_nonce_retire(live->key);
    kv_live_release(live);
}

static void on_evict(void *arg, uint32_t index)
{
    struct kv_ring *ring = arg;
    dismiss(&ring->live_rows[index].live);
}

void kv_ring_drop_live(struct kv_ring *ring, uint32_t at)
{
    dismiss(&ring->live_rows[at].live);
    kv_table_remove(ring->live, at);
}

/* A row that is newer than what stands there replaces it; an older one does not.
 * Nothing of a vault that was forgotten meanwhile comes in. */
static void keep_live(struct kv_ring *ring, const struct kv_live *live,
                      const uint8_t *digest)
{
    bool is_new = false;
    kv_ring_lock(ring);
    if (!kv_ring_has_term(ring, live->ident.vault, live->ident.term)) {
        kv_ring_unlock(ring);
        return;
    }
    const uint32_t at =
        kv_table_put(ring->live, live->ident.version, on_evict, ring, &is_new);
    struct kv_ring_live *row = &ring->live_rows[at];
    if (is_new || row->live.ident.row_version <= live->ident.row_version) {
        if (!is_new) {
            struct kv_usage *usage = kv_key_usage(row->live.key);
            kv_key_set_usage(live->key, kv_usage_ref(usage)); /* goes on counting */
            dismiss(&row->live);
        }
        row->live = *live;
        (void)kv_key_ref(row->live.key); /* for the table */
        memcpy(row->digest, digest, KV_LIVE_DIGEST_LEN);
    }
    kv_ring_unlock(ring);
}

static int open_key(struct kv_ring *ring, const struct kv_ident *ident,
                    struct kv_bytes row, struct kv_live *out, struct kv_err *err)
{
    int rc = 0;
    struct kv_body body;
    struct kv_buf plain;
    kv_buf_init_secret(&plain, KV_BODY_MAX);
    KV_TRY(kv_ring_unseal(ring, ident, row, &plain, err));
    KV_TRY(kv_body_get((struct kv_bytes){plain.data, plain.len}, &body, err));
    *out = (struct kv_live){.ident = *ident, .attrs = body.info.attrs};
    out->attrs.app = (struct kv_bytes){NULL, 0};
    KV_TRY(kv_key_from_pkcs8(body.pkcs8, &out->key, err));
    struct kv_usage *usage = kv_usage_new(kv_now_s(ring->clock));
    if (usage == NULL) {
        kv_live_release(out);
        rc = KV_E_NOMEM;
        goto out;
    }
    kv_key_set_usage(out->key, usage);
out:
    kv_buf_free(&plain);
    return rc;
}

int kv_ring_load(struct kv_ring *ring, const struct kv_ident *ident,
                 struct kv_bytes row, struct kv_live *out, struct kv_err *err)
{
    int rc = 0;
    uint8_t digest[KV_LIVE_DIGEST_LEN];
    struct kv_live live = {.key = NULL};
    if (ident->kind != KV_KIND_KEY)
        return kv_err_set(err, KV_E_DENIED, "seal.not-a-key", "the row '%s' is no key",
                          ident->name);
    KV_TRY(digest_of(ident, row, digest));
    if (find_live(ring, ident->version, digest, out))
        return 0;
    KV_TRY(open_key(ring, ident, row, &live, err));
    keep_live(ring, &live, digest);
    *out = live;
out:
    return rc;
}

uint64_t kv_ring_row_version(struct kv_ring *ring, const uint8_t version[KV_ID_LEN],
                             uint64_t row_version)
{
    kv_ring_lock(ring);
    const uint32_t at = kv_table_find(ring->live, version);
    if (at != KV_TABLE_NONE &&
        ring->live_rows[at].live.ident.row_version >= row_version)
        row_version = ring->live_rows[at].live.ident.row_version + 1;
    kv_ring_unlock(ring);
    return row_version;
}
