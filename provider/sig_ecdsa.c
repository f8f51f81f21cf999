/*
 * ECDSA: the digest goes to the daemon, a DER SEQUENCE comes back. A digest that the
 * caller did not name is told by its length, because the signature depends on the
 * bytes alone.
 */
#include "provider/sig_common.h"

static uint8_t md_of_length(size_t len)
{
    static const uint8_t common[] = {KV_MD_SHA1, KV_MD_SHA224, KV_MD_SHA256,
                                     KV_MD_SHA384, KV_MD_SHA512};
    for (size_t i = 0; i < sizeof(common); i++) {
        if (kv_md_len(common[i]) == len)
            return common[i];
    }
    return KV_MD_NONE;
}

static int ecdsa_set_params(struct kv_sigctx *ctx, const OSSL_PARAM params[])
{
    char name[64];
    char *at = name;
    uint8_t md = KV_MD_NONE;
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_DIGEST);
    if (p == NULL)
        return 1;
    if (!OSSL_PARAM_get_utf8_string(p, &at, sizeof(name)) ||
        !kv_sig_set_md(ctx, name, &md) || (ctx->is_digest_op && md != ctx->md))
        return 0;
    ctx->md = md;
    return 1;
}

static int ecdsa_get_params(struct kv_sigctx *ctx, OSSL_PARAM params[])
{
    OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_DIGEST);
    const char *name = kv_md_name(ctx->md);
    if (p != NULL && !OSSL_PARAM_set_utf8_string(
                         p, ctx->md == KV_MD_NONE || name == NULL ? "" : name))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_DIGEST_SIZE);
    return p == NULL || OSSL_PARAM_set_size_t(p, kv_md_len(ctx->md));
}

static int ecdsa_fill(struct kv_sigctx *ctx, struct kv_msg_sign *msg)
{
    msg->sig = KV_SIG_ECDSA;
    msg->md = ctx->md != KV_MD_NONE ? ctx->md : md_of_length(msg->input.len);
    if (msg->md != KV_MD_NONE && kv_md_len(msg->md) == msg->input.len)
        return 1;
    kv_reason_raise(&ctx->prov->core, KV_REASON_BAD_PARAMETER,
                    "keyvault: ECDSA signs a digest of 20, 28, 32, 48 or 64 bytes, not "
                    "%zu",
                    msg->input.len);
    return 0;
}

static X509_ALGOR *ecdsa_algorithm(struct kv_sigctx *ctx)
{
    const EVP_MD *digest = kv_prov_md(ctx->prov, ctx->md);
    X509_ALGOR *algorithm = X509_ALGOR_new();
    int nid = NID_undef;
    if (digest != NULL && algorithm != NULL &&
        OBJ_find_sigid_by_algs(&nid, EVP_MD_get_type(digest),
                               NID_X9_62_id_ecPublicKey) &&
        X509_ALGOR_set0(algorithm, OBJ_nid2obj(nid), V_ASN1_UNDEF, NULL))
        return algorithm;
    X509_ALGOR_free(algorithm);
    return NULL;
}

static const struct kv_sig_kind ecdsa_kind = {
    .type = KV_PKEY_EC,
    .set_params = ecdsa_set_params,
    .get_params = ecdsa_get_params,
    .fill = ecdsa_fill,
    .algorithm = ecdsa_algorithm,
};

static void *ecdsa_new(void *provctx, const char *propq)
{
    (void)propq; /* our digests come from our own library context */
    return kv_sig_new(provctx, &ecdsa_kind);
}

static const OSSL_PARAM *ecdsa_gettable(void *ctx, void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, NULL, 0),
        OSSL_PARAM_size_t(OSSL_SIGNATURE_PARAM_DIGEST_SIZE, NULL),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0), OSSL_PARAM_END};
    (void)ctx;
    (void)provctx;
    return gettable;
}

static const OSSL_PARAM *ecdsa_settable(void *ctx, void *provctx)
{
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PROPERTIES, NULL, 0),
        OSSL_PARAM_END};
    (void)ctx;
    (void)provctx;
    return settable;
}

const OSSL_DISPATCH kv_sig_ecdsa[] = {
    KV_DISPATCH(OSSL_FUNC_SIGNATURE_NEWCTX, OSSL_FUNC_signature_newctx, ecdsa_new),
    KV_SIG_DIGEST_ROWS(ecdsa_gettable, ecdsa_settable), KV_DISPATCH_END};
