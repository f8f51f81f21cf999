/*
 * Ed25519 signs the message itself, in one shot; the key channel carries up to 32 KiB.
 */
#include "provider/sig_common.h"

static int eddsa_set_params(struct kv_sigctx *ctx, const OSSL_PARAM params[])
{
    (void)ctx;
    (void)params; /* plain Ed25519 has none */
    return 1;
}

static int eddsa_get_params(struct kv_sigctx *ctx, OSSL_PARAM params[])
{
    (void)ctx;
    (void)params;
    return 1;
}

static int eddsa_fill(struct kv_sigctx *ctx, struct kv_msg_sign *msg)
{
    msg->sig = KV_SIG_EDDSA;
    if (msg->input.len <= KV_SIGN_INPUT_MAX)
        return 1;
    kv_reason_raise(
        &ctx->prov->core, KV_REASON_BAD_PARAMETER,
        "keyvault: Ed25519 signs messages of at most %d bytes, this one has "
        "%zu",
        KV_SIGN_INPUT_MAX, msg->input.len);
    return 0;
}

static X509_ALGOR *eddsa_algorithm(struct kv_sigctx *ctx)
{
    (void)ctx;
    X509_ALGOR *algorithm = X509_ALGOR_new();
    if (algorithm != NULL &&
        X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_ED25519), V_ASN1_UNDEF, NULL))
        return algorithm;
    X509_ALGOR_free(algorithm);
    return NULL;
}

static const struct kv_sig_kind eddsa_kind = {
    .type = KV_PKEY_ED25519,
    .set_params = eddsa_set_params,
    .get_params = eddsa_get_params,
    .fill = eddsa_fill,
    .algorithm = eddsa_algorithm,
};

static void *eddsa_new(void *provctx, const char *propq)
{
    (void)propq;
    return kv_sig_new(provctx, &eddsa_kind);
}

static int refuse_digest(const struct kv_sigctx *ctx, const char *md_name)
{
    if (md_name == NULL || md_name[0] == '\0')
        return 1;
    kv_reason_raise(&ctx->prov->core, KV_REASON_BAD_PARAMETER,
                    "keyvault: Ed25519 takes no digest, but %.40s was given", md_name);
    return 0;
}

static int digest_sign_init(void *vctx, const char *md_name, void *key,
                            const OSSL_PARAM params[])
{
    struct kv_sigctx *ctx = vctx;
    return refuse_digest(ctx, md_name) && kv_sig_begin(ctx, key, true, params);
}

static int digest_sign(void *vctx, unsigned char *sig, size_t *sig_len, size_t sig_size,
                       const unsigned char *tbs, size_t tbs_len)
{
    struct kv_sigctx *ctx = vctx;
    if (ctx->key == NULL)
        return 0;
    return kv_sig_request(ctx, sig, sig_len, sig_size, tbs, tbs_len);
}

static int digest_verify_init(void *vctx, const char *md_name, void *key,
                              const OSSL_PARAM params[])
{
    return refuse_digest(vctx, md_name) &&
           kv_sig_digest_verify_init(vctx, NULL, key, params);
}

static const OSSL_PARAM *eddsa_gettable(void *ctx, void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, NULL, 0),
        OSSL_PARAM_END};
    (void)ctx;
    (void)provctx;
    return gettable;
}

const OSSL_DISPATCH kv_sig_eddsa[] = {
    KV_DISPATCH(OSSL_FUNC_SIGNATURE_NEWCTX, OSSL_FUNC_signature_newctx, eddsa_new),
    KV_DISPATCH(OSSL_FUNC_SIGNATURE_FREECTX, OSSL_FUNC_signature_freectx, kv_sig_free),
    KV_DISPATCH(OSSL_FUNC_SIGNATURE_DUPCTX, OSSL_FUNC_signature_dupctx, kv_sig_dup),
    KV_DISPATCH(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT,
                OSSL_FUNC_signature_digest_sign_init, digest_sign_init),
    KV_DISPATCH(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, OSSL_FUNC_signature_digest_sign,
                digest_sign),
    KV_DISPATCH(OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_INIT,
                OSSL_FUNC_signature_digest_verify_init, digest_verify_init),
    KV_DISPATCH(OSSL_FUNC_SIGNATURE_DIGEST_VERIFY, OSSL_FUNC_signature_digest_verify,
                kv_sig_digest_verify),
    KV_DISPATCH(OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, OSSL_FUNC_signature_get_ctx_params,
                kv_sig_get_ctx_params),
    KV_DISPATCH(OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS,
                OSSL_FUNC_signature_gettable_ctx_params, eddsa_gettable),
    KV_DISPATCH_END};
