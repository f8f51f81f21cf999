/*
 * ECDH: the raw x coordinate of the shared point (SEC 1 §3.3.1).
 *
 * The peer's key is foreign: it must be a whole SubjectPublicKeyInfo on the very
 * same named curve, and its point is checked before the private scalar meets it.
 */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "store/core/secret.h"
#include "store/keyring/key_internal.h"

#define SHARED_MAX 66 /* P-521 */

/* The peer's key, or NULL if it is no sound point on our curve. */
static EVP_PKEY *read_peer(const struct kv_key *key, struct kv_bytes spki)
{
    const uint8_t *at = spki.data;
    char group[64] = "";
    size_t len = 0;
    int is_explicit = 0;
    if (spki.len == 0 || spki.len > KV_SPKI_MAX)
        return NULL;
    EVP_PKEY *peer = d2i_PUBKEY_ex(NULL, &at, (long)spki.len, kv_keys_libctx(), NULL);
    if (peer == NULL)
        return NULL;
    (void)EVP_PKEY_get_int_param(peer, /* absent means named */
                                 OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                                 &is_explicit);
    EVP_PKEY_CTX *check = NULL;
    bool ok = at == spki.data + spki.len && EVP_PKEY_is_a(peer, "EC") &&
              is_explicit == 0 &&
              EVP_PKEY_get_group_name(peer, group, sizeof(group), &len) == 1 &&
              strcmp(group, kv_key_group_name(key->curve)) == 0;
    if (ok) {
        check = EVP_PKEY_CTX_new_from_pkey(kv_keys_libctx(), peer, NULL);
        ok = check != NULL && EVP_PKEY_public_check(check) == 1;
    }
    EVP_PKEY_CTX_free(check);
    if (ok)
        return peer;
    EVP_PKEY_free(peer);
    return NULL;
}

static struct kv_key_op *prepare(struct kv_key *key, unsigned slot)
{
    const uint64_t tag = (uint64_t)KV_KEY_OP_DERIVE << 48;
    struct kv_key_op *op = kv_key_op_find(key, slot, tag);
    if (op != NULL)
        return op;
    struct kv_key_op made = {.tag = tag};
    made.pctx = EVP_PKEY_CTX_new_from_pkey(kv_keys_libctx(), key->pkey, NULL);
    if (made.pctx == NULL || EVP_PKEY_derive_init(made.pctx) != 1) {
        EVP_PKEY_CTX_free(made.pctx);
        return NULL;
    }
    return kv_key_op_put(key, slot, made);
}

int kv_key_derive(struct kv_key *key, unsigned slot, const struct kv_msg_derive *msg,
                  struct kv_buf *out, struct kv_err *err)
{
    KV_ASSERT(out->is_secret);
    if (key->kty != KV_KTY_EC)
        return kv_err_set(err, KV_E_INVALID, "key.bad-scheme",
                          "only EC keys derive shared secrets");
    EVP_PKEY *peer = read_peer(key, msg->peer_spki);
    ERR_clear_error();
    if (peer == NULL)
        return kv_err_set(err, KV_E_INVALID, "key.bad-peer",
                          "the peer's public key is not a sound point on curve %s",
                          kv_key_group_name(key->curve));
    uint8_t shared[SHARED_MAX];
    size_t len = sizeof(shared);
    struct kv_key_op *op = prepare(key, slot);
    bool ok = op != NULL && EVP_PKEY_derive_set_peer(op->pctx, peer) == 1 &&
              EVP_PKEY_derive(op->pctx, shared, &len) == 1 &&
              len == (key->bits + 7U) / 8;
    int rc = ok ? kv_buf_append(out, shared, len)
                : kv_err_set(err, KV_E_CRYPTO, "key.derive-failed",
                             "libcrypto could not derive the shared secret");
    kv_wipe(shared, sizeof(shared));
    EVP_PKEY_free(peer);
    ERR_clear_error();
    return rc;
}
