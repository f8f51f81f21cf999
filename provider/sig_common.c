/*
 * Signing, shared by RSA, ECDSA and Ed25519.
 *
 *   *_INIT -> begin: key, parameters      UPDATE: hash locally
 *   SIGN / FINAL / DIGEST_SIGN -> kind fills the request -> daemon -> signature
 *
 * Parameters may arrive with INIT, later, or never, and EVP re-initialises contexts;
 * so nothing is sent before the signature itself is wanted. The size of a signature
 * is known locally and costs no round trip.
 */
#include "provider/sig_common.h"

#include <openssl/rsa.h>
#include <string.h>

struct kv_sigctx *kv_sig_new(void *provctx, const struct kv_sig_kind *kind)
{
    struct kv_sigctx *ctx = OPENSSL_zalloc(sizeof(*ctx));
    if (ctx == NULL)
        return NULL;
    ctx->prov = provctx;
    ctx->kind = kind;
    return ctx;
}

void kv_sig_free(void *vctx)
{
    struct kv_sigctx *ctx = vctx;
    if (ctx == NULL)
        return;
    kv_pkey_unref(ctx->key);
    EVP_MD_CTX_free(ctx->md_ctx);
    kv_delegate_free(ctx->delegate);
    OPENSSL_free(ctx);
}

/* dgst and cms finish on a copy of the context. */
void *kv_sig_dup(void *vctx)
{
    const struct kv_sigctx *ctx = vctx;
    struct kv_sigctx *copy = kv_sig_new(ctx->prov, ctx->kind);
    if (copy == NULL)
        return NULL;
    *copy = *ctx;
    copy->md_ctx = NULL;
    copy->delegate = NULL;
    if (copy->key != NULL)
        (void)kv_pkey_ref(copy->key);
    bool ok = true;
    if (ctx->md_ctx != NULL) {
        copy->md_ctx = EVP_MD_CTX_new();
        ok = copy->md_ctx != NULL && EVP_MD_CTX_copy_ex(copy->md_ctx, ctx->md_ctx) > 0;
    }
    if (ok && ctx->delegate != NULL) {
        copy->delegate = kv_delegate_dup(ctx->delegate);
        ok = copy->delegate != NULL;
    }
    if (ok)
        return copy;
    kv_sig_free(copy);
    return NULL;
}

int kv_sig_begin(struct kv_sigctx *ctx, void *vkey, bool is_digest_op,
                 const OSSL_PARAM params[])
{
    struct kv_pkey *key = vkey;
    if (key == NULL && ctx->key == NULL)
        return 0;
    if (key != NULL) {
        if (key->type != ctx->kind->type)
            return 0;
        (void)kv_pkey_ref(key);
        kv_pkey_unref(ctx->key);
        ctx->key = key;
    }
    kv_delegate_free(ctx->delegate);
    ctx->delegate = NULL;
    ctx->pad_mode = RSA_PKCS1_PADDING;
    ctx->salt_len = RSA_PSS_SALTLEN_AUTO;
    ctx->mgf1_md = KV_MD_NONE;
    ctx->is_digest_op = false; /* INIT itself may name the digest */
    if (params != NULL && !ctx->kind->set_params(ctx, params))
        return 0;
    ctx->is_digest_op = is_digest_op;
    return 1;
}

int kv_sig_set_md(struct kv_sigctx *ctx, const char *name, uint8_t *md)
{
    uint8_t found = kv_prov_md_by_name(ctx->prov, name);
    if (found == KV_MD_NONE) {
        kv_reason_raise(
            &ctx->prov->core, KV_REASON_UNSUPPORTED,
            "keyvault: the digest %.40s is not offered; take SHA256, SHA384 "
            "or SHA512",
            name);
        return 0;
    }
    *md = found;
    return 1;
}

int kv_sig_request(struct kv_sigctx *ctx, unsigned char *sig, size_t *sig_len,
                   size_t sig_size, const unsigned char *input, size_t input_len)
{
    size_t max_size = kv_pkey_max_size(ctx->key);
    if (sig == NULL) {
        *sig_len = max_size;
        return max_size > 0;
    }
    if (sig_size < max_size) { /* though an ECDSA signature might happen to fit */
        kv_reason_raise(&ctx->prov->core, KV_REASON_BUFFER_TOO_SMALL,
                        "keyvault: a signature by this key has up to %zu bytes, the "
                        "buffer has %zu",
                        max_size, sig_size);
        return 0;
    }
    struct kv_msg_sign msg = {.input = {.data = input, .len = input_len}};
    if (!ctx->kind->fill(ctx, &msg))
        return 0;
    const bool is_ecdsa = ctx->kind->type == KV_PKEY_EC; /* others have one length */
    struct kv_pkey_op op = {.verb = KV_VERB_SIGN,
                            .msg = &msg,
                            .out = sig,
                            .out_size = sig_size,
                            .exact_len = is_ecdsa ? 0 : max_size,
                            .is_der = is_ecdsa};
    if (!kv_pkey_perform(ctx->key, &op))
        return 0;
    *sig_len = op.out_len;
    return 1;
}

int kv_sig_sign_init(void *vctx, void *key, const OSSL_PARAM params[])
{
    return kv_sig_begin(vctx, key, false, params);
}

int kv_sig_sign(void *vctx, unsigned char *sig, size_t *sig_len, size_t sig_size,
                const unsigned char *tbs, size_t tbs_len)
{
    struct kv_sigctx *ctx = vctx;
    if (ctx->key == NULL)
        return 0;
    return kv_sig_request(ctx, sig, sig_len, sig_size, tbs, tbs_len);
}

int kv_sig_verify_init(void *vctx, void *key, const OSSL_PARAM params[])
{
    struct kv_sigctx *ctx = vctx;
    if (!kv_sig_begin(ctx, key, false, NULL))
        return 0;
    ctx->delegate = kv_delegate_new(ctx->key, KV_DELEGATE_VERIFY, NULL, params);
    return ctx->delegate != NULL;
}

int kv_sig_verify(void *vctx, const unsigned char *sig, size_t sig_len,
                  const unsigned char *tbs, size_t tbs_len)
{
    struct kv_sigctx *ctx = vctx;
    return ctx->delegate != NULL &&
           kv_delegate_verify(ctx->delegate, sig, sig_len, tbs, tbs_len) == 1;
}

int kv_sig_digest_sign_init(void *vctx, const char *md_name, void *key,
                            const OSSL_PARAM params[])
{
    struct kv_sigctx *ctx = vctx;
    uint8_t md = KV_MD_SHA256; /* a NULL name means the default digest */
    if (md_name != NULL && md_name[0] != '\0' && !kv_sig_set_md(ctx, md_name, &md))
        return 0;
    ctx->md = md;
    if (!kv_sig_begin(ctx, key, true, params))
        return 0;
    if (ctx->md_ctx == NULL)
        ctx->md_ctx = EVP_MD_CTX_new();
    const EVP_MD *digest = kv_prov_md(ctx->prov, ctx->md);
    return ctx->md_ctx != NULL && digest != NULL &&
           EVP_DigestInit_ex2(ctx->md_ctx, digest, NULL) == 1;
}

int kv_sig_digest_sign_update(void *vctx, const unsigned char *data, size_t len)
{
    struct kv_sigctx *ctx = vctx;
    return ctx->md_ctx != NULL && EVP_DigestUpdate(ctx->md_ctx, data, len) == 1;
}

int kv_sig_digest_sign_final(void *vctx, unsigned char *sig, size_t *sig_len,
                             size_t sig_size)
{
    struct kv_sigctx *ctx = vctx;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    if (ctx->md_ctx == NULL || ctx->key == NULL)
        return 0;
    if (sig == NULL)
        return kv_sig_request(ctx, NULL, sig_len, 0, NULL, 0);
    if (EVP_DigestFinal_ex(ctx->md_ctx, digest, &len) != 1)
        return 0;
    return kv_sig_request(ctx, sig, sig_len, sig_size, digest, len);
}

int kv_sig_digest_sign(void *vctx, unsigned char *sig, size_t *sig_len, size_t sig_size,
                       const unsigned char *tbs, size_t tbs_len)
{
    if (sig != NULL && !kv_sig_digest_sign_update(vctx, tbs, tbs_len))
        return 0;
    return kv_sig_digest_sign_final(vctx, sig, sig_len, sig_size);
}

int kv_sig_digest_verify_init(void *vctx, const char *md_name, void *key,
                              const OSSL_PARAM params[])
{
    struct kv_sigctx *ctx = vctx;
    if (!kv_sig_begin(ctx, key, true, NULL))
        return 0;
    ctx->delegate =
        kv_delegate_new(ctx->key, KV_DELEGATE_DIGEST_VERIFY, md_name, params);
    return ctx->delegate != NULL;
}

int kv_sig_digest_verify_update(void *vctx, const unsigned char *data, size_t len)
{
    struct kv_sigctx *ctx = vctx;
    return ctx->delegate != NULL && kv_delegate_update(ctx->delegate, data, len) == 1;
}

int kv_sig_digest_verify_final(void *vctx, const unsigned char *sig, size_t sig_len)
{
    struct kv_sigctx *ctx = vctx;
    return ctx->delegate != NULL && kv_delegate_final(ctx->delegate, sig, sig_len) == 1;
}

int kv_sig_digest_verify(void *vctx, const unsigned char *sig, size_t sig_len,
                         const unsigned char *tbs, size_t tbs_len)
{
    struct kv_sigctx *ctx = vctx;
    return ctx->delegate != NULL &&
           kv_delegate_digest_verify(ctx->delegate, sig, sig_len, tbs, tbs_len) == 1;
}

int kv_sig_get_algorithm_id(struct kv_sigctx *ctx, OSSL_PARAM params[])
{
    OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_ALGORITHM_ID);
    if (p == NULL)
        return 1;
    unsigned char *der = NULL;
    X509_ALGOR *algorithm = ctx->kind->algorithm(ctx);
    int len = algorithm == NULL ? -1 : i2d_X509_ALGOR(algorithm, &der);
    int ok = len > 0 && OSSL_PARAM_set_octet_string(p, der, (size_t)len);
    X509_ALGOR_free(algorithm);
    OPENSSL_free(der);
    return ok;
}

int kv_sig_get_ctx_params(void *vctx, OSSL_PARAM params[])
{
    struct kv_sigctx *ctx = vctx;
    if (params == NULL)
        return 1;
    if (ctx->delegate != NULL)
        return kv_delegate_get_params(ctx->delegate, params);
    return kv_sig_get_algorithm_id(ctx, params) && ctx->kind->get_params(ctx, params);
}

int kv_sig_set_ctx_params(void *vctx, const OSSL_PARAM params[])
{
    struct kv_sigctx *ctx = vctx;
    if (params == NULL)
        return 1;
    if (ctx->delegate != NULL)
        return kv_delegate_set_params(ctx->delegate, params);
    return ctx->kind->set_params(ctx, params);
}

int kv_sig_get_ctx_md_params(void *vctx, OSSL_PARAM params[])
{
    struct kv_sigctx *ctx = vctx;
    return ctx->md_ctx != NULL && EVP_MD_CTX_get_params(ctx->md_ctx, params);
}

const OSSL_PARAM *kv_sig_gettable_ctx_md_params(void *vctx)
{
    struct kv_sigctx *ctx = vctx;
    return ctx->md_ctx == NULL ? NULL : EVP_MD_CTX_gettable_params(ctx->md_ctx);
}

int kv_sig_set_ctx_md_params(void *vctx, const OSSL_PARAM params[])
{
    struct kv_sigctx *ctx = vctx;
    return ctx->md_ctx != NULL && EVP_MD_CTX_set_params(ctx->md_ctx, params);
}

const OSSL_PARAM *kv_sig_settable_ctx_md_params(void *vctx)
{
    struct kv_sigctx *ctx = vctx;
    return ctx->md_ctx == NULL ? NULL : EVP_MD_CTX_settable_params(ctx->md_ctx);
}
