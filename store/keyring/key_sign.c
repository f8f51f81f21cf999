/*
 * Signatures, made and checked.
 *
 * Parameters are judged against the key before a context exists, so that a bad
 * request is told apart from a failing library. A context is initialised once per
 * slot and parameter set and then only fed: EVP_PKEY_sign on a ready context costs
 * no fetch and no allocation of ours.
 */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "store/keyring/key_internal.h"
#include "store/keyring/nonce.h"

static uint64_t tag_of(enum kv_key_op_kind kind, const struct kv_msg_sign *msg)
{
    return (uint64_t)kind << 48 | (uint64_t)msg->sig << 40 | (uint64_t)msg->md << 32 |
           (uint64_t)msg->mgf1_md << 24 | msg->salt_len;
}

static bool scheme_fits(const struct kv_key *key, uint8_t sig)
{
    switch (key->kty) {
    case KV_KTY_RSA:
        return sig == KV_SIG_PKCS1 || sig == KV_SIG_PSS;
    case KV_KTY_EC:
        return sig == KV_SIG_ECDSA;
    case KV_KTY_OKP:
        return sig == KV_SIG_EDDSA;
    default:
        return false;
    }
}

/* RFC 8017 §9.1.1: emLen >= hLen + sLen + 2. */
static int check_pss(const struct kv_key *key, const struct kv_msg_sign *msg,
                     size_t md_len, struct kv_err *err)
{
    if (kv_keys_md(msg->mgf1_md) == NULL)
        return kv_err_set(err, KV_E_INVALID, "key.bad-digest",
                          "PSS needs an MGF1 digest; %u is none", msg->mgf1_md);
    size_t em_len = ((size_t)key->bits - 1 + 7) / 8;
    if (md_len + msg->salt_len + 2 > em_len)
        return kv_err_set(err, KV_E_INVALID, "key.bad-salt",
                          "PSS salt of %u bytes does not fit an RSA-%u key",
                          msg->salt_len, key->bits);
    return 0;
}

static int check_message(const struct kv_key *key, const struct kv_msg_sign *msg,
                         struct kv_err *err)
{
    if (!scheme_fits(key, msg->sig))
        return kv_err_set(err, KV_E_INVALID, "key.bad-scheme",
                          "signature scheme %u does not fit this key type", msg->sig);
    if (msg->sig != KV_SIG_PSS && (msg->mgf1_md != KV_MD_NONE || msg->salt_len != 0))
        return kv_err_set(err, KV_E_INVALID, "key.bad-scheme",
                          "MGF1 digest and salt belong to PSS only");
    if (msg->sig == KV_SIG_EDDSA) {
        if (msg->md != KV_MD_NONE)
            return kv_err_set(err, KV_E_INVALID, "key.bad-digest",
                              "Ed25519 signs the message itself, without a digest");
        if (msg->input.len > KV_SIGN_INPUT_MAX)
            return kv_err_set(err, KV_E_TOO_BIG, "key.input-too-big",
                              "Ed25519 message has %zu bytes; at most %d are signed",
                              msg->input.len, KV_SIGN_INPUT_MAX);
        return 0;
    }
    const EVP_MD *md = kv_keys_md(msg->md);
    if (md == NULL)
        return kv_err_set(err, KV_E_INVALID, "key.bad-digest",
                          "%u is no digest algorithm", msg->md);
    size_t md_len = (size_t)EVP_MD_get_size(md);
    if (msg->input.len != md_len)
        return kv_err_set(err, KV_E_INVALID, "key.bad-digest",
                          "the digest has %zu bytes; %s makes %zu", msg->input.len,
                          EVP_MD_get0_name(md), md_len);
    return msg->sig == KV_SIG_PSS ? check_pss(key, msg, md_len, err) : 0;
}

static bool set_parameters(EVP_PKEY_CTX *pctx, const struct kv_msg_sign *msg)
{
    if (msg->sig == KV_SIG_PKCS1 &&
        EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PADDING) != 1)
        return false;
    if (msg->sig == KV_SIG_PSS &&
        EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) != 1)
        return false;
    if (EVP_PKEY_CTX_set_signature_md(pctx, kv_keys_md(msg->md)) != 1)
        return false;
    if (msg->sig != KV_SIG_PSS)
        return true;
    return EVP_PKEY_CTX_set_rsa_mgf1_md(pctx, kv_keys_md(msg->mgf1_md)) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, msg->salt_len) == 1;
}

/* A context for signing or verifying with a digest; NULL on failure. */
static struct kv_key_op *prepare(struct kv_key *key, unsigned slot,
                                 enum kv_key_op_kind kind,
                                 const struct kv_msg_sign *msg)
{
    uint64_t tag = tag_of(kind, msg);
    struct kv_key_op *found = kv_key_op_find(key, slot, tag);
    if (found != NULL)
        return found;
    struct kv_key_op op = {.tag = tag};
    op.pctx = EVP_PKEY_CTX_new_from_pkey(kv_keys_libctx(), key->pkey, NULL);
    bool ok = op.pctx != NULL &&
              (kind == KV_KEY_OP_SIGN ? EVP_PKEY_sign_init(op.pctx)
                                      : EVP_PKEY_verify_init(op.pctx)) == 1;
    if (!ok || !set_parameters(op.pctx, msg)) {
        EVP_PKEY_CTX_free(op.pctx);
        return NULL;
    }
    return kv_key_op_put(key, slot, op);
}

/* A context for Ed25519. With `is_fresh` a cached one is initialised again: OpenSSL
 * 3.0 takes one message after the other, later ones want that. */
static struct kv_key_op *prepare_eddsa(struct kv_key *key, unsigned slot,
                                       enum kv_key_op_kind kind, bool is_fresh)
{
    uint64_t tag = tag_of(kind, &(struct kv_msg_sign){.sig = KV_SIG_EDDSA});
    struct kv_key_op *op = kv_key_op_find(key, slot, tag);
    if (op != NULL && !is_fresh)
        return op;
    if (op == NULL) {
        struct kv_key_op made = {.tag = tag, .mctx = EVP_MD_CTX_new()};
        if (made.mctx == NULL)
            return NULL;
        op = kv_key_op_put(key, slot, made);
    }
    if (op == NULL)
        return NULL;
    int ok = EVP_MD_CTX_reset(op->mctx);
    if (ok == 1 && kind == KV_KEY_OP_SIGN)
        ok = EVP_DigestSignInit_ex(op->mctx, NULL, NULL, kv_keys_libctx(), NULL,
                                   key->pkey, NULL);
    else if (ok == 1)
        ok = EVP_DigestVerifyInit_ex(op->mctx, NULL, NULL, kv_keys_libctx(), NULL,
                                     key->pkey, NULL);
    return ok == 1 ? op : NULL;
}

static bool sign_eddsa(struct kv_key *key, unsigned slot, struct kv_bytes input,
                       uint8_t *sig, size_t *sig_len)
{
    size_t room = *sig_len;
    struct kv_key_op *op = prepare_eddsa(key, slot, KV_KEY_OP_SIGN, false);
    if (op != NULL &&
        EVP_DigestSign(op->mctx, sig, sig_len, input.data, input.len) == 1)
        return true;
    *sig_len = room;
    op = prepare_eddsa(key, slot, KV_KEY_OP_SIGN, true);
    return op != NULL &&
           EVP_DigestSign(op->mctx, sig, sig_len, input.data, input.len) == 1;
}

int kv_key_sign(struct kv_key *key, unsigned slot, const struct kv_msg_sign *msg,
                struct kv_buf *out, struct kv_err *err)
{
    int rc = check_message(key, msg, err);
    if (rc != 0)
        return rc;
    size_t before = out->len;
    const size_t room = (size_t)EVP_PKEY_get_size(key->pkey);
    size_t sig_len = room;
    uint8_t *sig = kv_buf_extend(out, room);
    if (sig == NULL)
        return kv_buf_status(out);
    bool ok = false;
    if (msg->sig == KV_SIG_EDDSA) {
        ok = sign_eddsa(key, slot, msg->input, sig, &sig_len);
    } else if (msg->sig == KV_SIG_ECDSA &&
               kv_nonce_sign(key, slot, msg->input, sig, &sig_len)) {
        ok = true;
    } else {
        struct kv_key_op *op = prepare(key, slot, KV_KEY_OP_SIGN, msg);
        ok = op != NULL && EVP_PKEY_sign(op->pctx, sig, &sig_len, msg->input.data,
                                         msg->input.len) == 1;
    }
    /* Out of memory, libcrypto calls an ECDSA signature of length -1 a success. */
    ok = ok && sig_len > 0 && sig_len <= room;
    kv_buf_truncate(out, ok ? before + sig_len : before);
    ERR_clear_error(); /* also after a second attempt that went well */
    if (ok)
        return 0;
    return kv_err_set(err, KV_E_CRYPTO, "key.sign-failed",
                      "libcrypto could not make the signature");
}

int kv_key_verify(struct kv_key *key, unsigned slot, const struct kv_msg_sign *msg,
                  struct kv_bytes signature, bool *is_valid, struct kv_err *err)
{
    int rc = check_message(key, msg, err);
    if (rc != 0)
        return rc;
    struct kv_key_op *op = msg->sig == KV_SIG_EDDSA
                               ? prepare_eddsa(key, slot, KV_KEY_OP_VERIFY, true)
                               : prepare(key, slot, KV_KEY_OP_VERIFY, msg);
    if (op == NULL) {
        ERR_clear_error();
        return kv_err_set(err, KV_E_CRYPTO, "key.verify-failed",
                          "libcrypto could not prepare the verification");
    }
    /* A malformed signature is an invalid one, not an error. */
    if (signature.len == 0)
        *is_valid = false;
    else if (msg->sig == KV_SIG_EDDSA)
        *is_valid = EVP_DigestVerify(op->mctx, signature.data, signature.len,
                                     msg->input.data, msg->input.len) == 1;
    else
        *is_valid = EVP_PKEY_verify(op->pctx, signature.data, signature.len,
                                    msg->input.data, msg->input.len) == 1;
    ERR_clear_error();
    return 0;
}
