/*
 * RSA encryption and decryption: OAEP here, RSA1_5 and TLS in rsa_unpad.c.
 *
 * Whatever goes wrong with a ciphertext, the answer is one code, one id and one
 * text. Parameters are judged before the ciphertext is looked at.
 */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "store/keyring/key_internal.h"
#include "store/keyring/rsa_unpad.h"

#define LABEL_MAX 1024

static int check_message(const struct kv_key *key, const struct kv_msg_decrypt *msg,
                         struct kv_err *err)
{
    if (key->kty != KV_KTY_RSA || (msg->enc != KV_ENC_OAEP &&
                                   msg->enc != KV_ENC_RSA1_5 && msg->enc != KV_ENC_TLS))
        return kv_err_set(err, KV_E_INVALID, "key.bad-scheme",
                          "encryption scheme %u does not fit this key type", msg->enc);
    if (msg->enc != KV_ENC_OAEP) {
        if (msg->md != KV_MD_NONE || msg->mgf1_md != KV_MD_NONE || msg->label.len > 0)
            return kv_err_set(err, KV_E_INVALID, "key.bad-scheme",
                              "digests and label belong to OAEP only");
        return 0;
    }
    if (kv_keys_md(msg->md) == NULL || kv_keys_md(msg->mgf1_md) == NULL)
        return kv_err_set(err, KV_E_INVALID, "key.bad-digest",
                          "OAEP needs a digest and an MGF1 digest; %u and %u are none",
                          msg->md, msg->mgf1_md);
    if (msg->label.len > LABEL_MAX)
        return kv_err_set(err, KV_E_TOO_BIG, "key.input-too-big",
                          "OAEP label has %zu bytes; at most %d are taken",
                          msg->label.len, LABEL_MAX);
    return 0;
}

static bool set_oaep(EVP_PKEY_CTX *pctx, const struct kv_msg_decrypt *msg)
{
    return EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_oaep_md(pctx, kv_keys_md(msg->md)) == 1 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md(pctx, kv_keys_md(msg->mgf1_md)) == 1;
}

static bool set_label(EVP_PKEY_CTX *pctx, struct kv_bytes label)
{
    void *copy = OPENSSL_memdup(label.data, label.len);
    if (copy == NULL)
        return false;
    if (EVP_PKEY_CTX_set0_rsa_oaep_label(pctx, copy, (int)label.len) == 1)
        return true;
    OPENSSL_free(copy);
    return false;
}

static EVP_PKEY_CTX *make_context(const struct kv_key *key, enum kv_key_op_kind kind,
                                  const struct kv_msg_decrypt *msg)
{
    EVP_PKEY_CTX *pctx = EVP_PKEY_CTX_new_from_pkey(kv_keys_libctx(), key->pkey, NULL);
    bool ok =
        pctx != NULL && (kind == KV_KEY_OP_ENCRYPT ? EVP_PKEY_encrypt_init(pctx)
                                                   : EVP_PKEY_decrypt_init(pctx)) == 1;
    if (ok && msg->enc == KV_ENC_OAEP)
        ok = set_oaep(pctx, msg);
    else if (ok)
        ok = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PADDING) == 1;
    if (ok && msg->label.len > 0)
        ok = set_label(pctx, msg->label);
    if (ok)
        return pctx;
    EVP_PKEY_CTX_free(pctx);
    return NULL;
}

/* A ready context. Labels change from call to call, so a context with one is made
 * for its call and never found again. */
static struct kv_key_op *prepare(struct kv_key *key, unsigned slot,
                                 enum kv_key_op_kind kind,
                                 const struct kv_msg_decrypt *msg)
{
    struct kv_key_op made = {
        .tag = (uint64_t)kind << 48 | (uint64_t)msg->enc << 40 |
               (uint64_t)msg->md << 32 | (uint64_t)msg->mgf1_md << 24 |
               (msg->label.len > 0),
    };
    struct kv_key_op *found =
        msg->label.len > 0 ? NULL : kv_key_op_find(key, slot, made.tag);
    if (found != NULL)
        return found;
    made.pctx = make_context(key, kind, msg);
    return made.pctx != NULL ? kv_key_op_put(key, slot, made) : NULL;
}

/* RFC 8017 §7.1.1 and §7.2.1: what fits under the padding. */
static size_t plaintext_max(const struct kv_key *key, const struct kv_msg_decrypt *msg)
{
    size_t k = key->bits / 8U;
    if (msg->enc == KV_ENC_RSA1_5)
        return k - 11;
    size_t overhead = 2 * (size_t)EVP_MD_get_size(kv_keys_md(msg->md)) + 2;
    return overhead < k ? k - overhead : 0;
}

int kv_key_encrypt(struct kv_key *key, unsigned slot, const struct kv_msg_decrypt *msg,
                   struct kv_buf *out, struct kv_err *err)
{
    int rc = check_message(key, msg, err);
    if (rc != 0)
        return rc;
    if (msg->enc == KV_ENC_TLS)
        return kv_err_set(err, KV_E_INVALID, "key.bad-scheme",
                          "TLS key exchange is for decryption only");
    if (msg->input.len > plaintext_max(key, msg))
        return kv_err_set(err, KV_E_TOO_BIG, "key.input-too-big",
                          "the plaintext has %zu bytes; this key and scheme take %zu",
                          msg->input.len, plaintext_max(key, msg));
    size_t before = out->len;
    size_t len = key->bits / 8U;
    uint8_t *at = kv_buf_extend(out, len);
    if (at == NULL)
        return kv_buf_status(out);
    struct kv_key_op *op = prepare(key, slot, KV_KEY_OP_ENCRYPT, msg);
    static const uint8_t nothing[1];
    const uint8_t *input = msg->input.len > 0 ? msg->input.data : nothing;
    bool ok =
        op != NULL && EVP_PKEY_encrypt(op->pctx, at, &len, input, msg->input.len) == 1;
    kv_buf_truncate(out, ok ? before + len : before);
    ERR_clear_error();
    if (ok)
        return 0;
    return kv_err_set(err, KV_E_CRYPTO, "key.encrypt-failed",
                      "libcrypto could not encrypt");
}

static int decrypt_oaep(struct kv_key *key, unsigned slot,
                        const struct kv_msg_decrypt *msg, struct kv_buf *out,
                        struct kv_err *err)
{
    size_t before = out->len;
    size_t len = key->bits / 8U;
    bool ok = false;
    if (msg->input.len == len) {
        uint8_t *at = kv_buf_extend(out, len);
        if (at == NULL)
            return kv_buf_status(out);
        struct kv_key_op *op = prepare(key, slot, KV_KEY_OP_DECRYPT, msg);
        ok = op != NULL &&
             EVP_PKEY_decrypt(op->pctx, at, &len, msg->input.data, msg->input.len) == 1;
    }
    kv_buf_truncate(out, ok ? before + len : before);
    ERR_clear_error();
    if (ok)
        return 0;
    return kv_err_set(err, KV_E_CRYPTO, "key.decrypt-failed", "decryption failed");
}

int kv_key_decrypt(struct kv_key *key, unsigned slot, const struct kv_msg_decrypt *msg,
                   struct kv_buf *out, struct kv_err *err)
{
    KV_ASSERT(out->is_secret);
    int rc = check_message(key, msg, err);
    if (rc != 0)
        return rc;
    if (msg->enc == KV_ENC_RSA1_5)
        return kv_rsa_decrypt_pkcs1(key, slot, msg->input, out, err);
    if (msg->enc == KV_ENC_TLS)
        return kv_rsa_decrypt_tls(key, slot, msg, out, err);
    return decrypt_oaep(key, slot, msg, out, err);
}
