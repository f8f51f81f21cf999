/*
 * RSA signatures: PKCS#1 v1.5 and PSS.
 *
 * The daemon signs digests only, never a raw block. A caller that brings a block of
 * its own (no digest set) is served when the block is a DigestInfo of a known digest,
 * which is what PKCS#1 signing of a ready block means in practice.
 */
#include "provider/sig_common.h"

#include <openssl/rsa.h>
#include <string.h>

#include "store/core/str.h"

#define SALTLEN_AUTO_DIGEST_MAX (-4) /* RSA_PSS_SALTLEN_AUTO_DIGEST_MAX of 3.1 */
#define MAX_SALT 2048                /* more than any key has room for */

static const struct {
    const char *name;
    int mode;
} pad_names[] = {
    {OSSL_PKEY_RSA_PAD_MODE_PKCSV15, RSA_PKCS1_PADDING},
    {OSSL_PKEY_RSA_PAD_MODE_PSS, RSA_PKCS1_PSS_PADDING},
    {OSSL_PKEY_RSA_PAD_MODE_NONE, RSA_NO_PADDING},
    {OSSL_PKEY_RSA_PAD_MODE_X931, RSA_X931_PADDING},
};
static const struct {
    const char *name;
    int len;
} salt_names[] = {
    {OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST, RSA_PSS_SALTLEN_DIGEST},
    {OSSL_PKEY_RSA_PSS_SALT_LEN_MAX, RSA_PSS_SALTLEN_MAX},
    {OSSL_PKEY_RSA_PSS_SALT_LEN_AUTO, RSA_PSS_SALTLEN_AUTO},
    {"auto-digestmax", SALTLEN_AUTO_DIGEST_MAX},
};

static int bad(const struct kv_sigctx *ctx, const char *what)
{
    kv_reason_raise(&ctx->prov->core, KV_REASON_UNSUPPORTED, "keyvault: %s", what);
    return 0;
}

static int set_pad_mode(struct kv_sigctx *ctx, const OSSL_PARAM *p)
{
    int mode = 0;
    if (p->data_type == OSSL_PARAM_UTF8_STRING) {
        for (size_t i = 0; i < sizeof(pad_names) / sizeof(pad_names[0]); i++) {
            if (p->data != NULL && strcmp(pad_names[i].name, p->data) == 0)
                mode = pad_names[i].mode;
        }
    } else if (!OSSL_PARAM_get_int(p, &mode)) {
        return 0;
    }
    if (mode != RSA_PKCS1_PADDING && mode != RSA_PKCS1_PSS_PADDING)
        return bad(ctx, "vault keys sign with PKCS#1 v1.5 or PSS padding only");
    ctx->pad_mode = mode;
    return 1;
}

static int set_salt_len(struct kv_sigctx *ctx, const OSSL_PARAM *p)
{
    int len = -100;
    if (p->data_type == OSSL_PARAM_UTF8_STRING) {
        for (size_t i = 0; i < sizeof(salt_names) / sizeof(salt_names[0]); i++) {
            if (p->data != NULL && strcmp(salt_names[i].name, p->data) == 0)
                len = salt_names[i].len;
        }
        int64_t number = 0;
        if (len == -100 && p->data != NULL &&
            kv_str_to_i64(p->data, SALTLEN_AUTO_DIGEST_MAX, MAX_SALT, &number) == 0)
            len = (int)number;
    } else if (!OSSL_PARAM_get_int(p, &len)) {
        return 0;
    }
    if (len < SALTLEN_AUTO_DIGEST_MAX || len > MAX_SALT)
        return bad(ctx, "the PSS salt length is out of range");
    ctx->salt_len = len;
    return 1;
}

/* Read a digest name; in a DigestSign operation the digest itself is fixed. */
static int set_digest(struct kv_sigctx *ctx, const OSSL_PARAM *p, uint8_t *target)
{
    char name[64];
    char *at = name;
    uint8_t md = KV_MD_NONE;
    if (!OSSL_PARAM_get_utf8_string(p, &at, sizeof(name)) ||
        !kv_sig_set_md(ctx, name, &md))
        return 0;
    if (target == &ctx->md && ctx->is_digest_op && md != ctx->md)
        return bad(ctx, "the digest of a running operation cannot be changed");
    *target = md;
    return 1;
}

static int rsa_set_params(struct kv_sigctx *ctx, const OSSL_PARAM params[])
{
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_DIGEST);
    if (p != NULL && !set_digest(ctx, p, &ctx->md))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
    if (p != NULL && !set_pad_mode(ctx, p))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN);
    if (p != NULL && !set_salt_len(ctx, p))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_MGF1_DIGEST);
    return p == NULL || set_digest(ctx, p, &ctx->mgf1_md);
}

static uint8_t mgf1_of(const struct kv_sigctx *ctx)
{
    return ctx->mgf1_md != KV_MD_NONE ? ctx->mgf1_md : ctx->md;
}

/* The salt length in bytes; -1 if the key is too small for it. */
static int effective_salt_len(const struct kv_sigctx *ctx)
{
    int digest_len = (int)kv_md_len(ctx->md);
    int max_len = (kv_pkey_bits(ctx->key) - 1 + 7) / 8 - digest_len - 2;
    int len = ctx->salt_len;
    if (len == RSA_PSS_SALTLEN_DIGEST)
        len = digest_len;
    else if (len == RSA_PSS_SALTLEN_AUTO || len == RSA_PSS_SALTLEN_MAX)
        len = max_len;
    else if (len == SALTLEN_AUTO_DIGEST_MAX)
        len = digest_len < max_len ? digest_len : max_len;
    return len > max_len ? -1 : len;
}

/* The one encoding of a DigestInfo that PKCS#1 signing makes of a digest. */
static bool is_digest_info_of(const X509_SIG *info, struct kv_bytes block)
{
    unsigned char *der = NULL;
    const X509_ALGOR *algorithm = NULL;
    int parameter_type = V_ASN1_UNDEF;
    X509_SIG_get0(info, &algorithm, NULL);
    X509_ALGOR_get0(NULL, &parameter_type, NULL, algorithm);
    int len = i2d_X509_SIG(info, &der);
    bool is_it = parameter_type == V_ASN1_NULL && len > 0 && (size_t)len == block.len &&
                 memcmp(der, block.data, block.len) == 0;
    OPENSSL_free(der);
    return is_it;
}

/* Take a ready DigestInfo apart. A block that the daemon would write in another way is
 * refused: the signature would be of other bytes than the caller's. */
static int fill_from_block(struct kv_sigctx *ctx, struct kv_msg_sign *msg,
                           uint8_t *digest)
{
    const unsigned char *at = msg->input.data;
    const X509_ALGOR *algorithm = NULL;
    const ASN1_OCTET_STRING *value = NULL;
    const ASN1_OBJECT *oid = NULL;
    kv_reason_mark(&ctx->prov->core);
    X509_SIG *info = d2i_X509_SIG(NULL, &at, (long)msg->input.len);
    kv_reason_drop(&ctx->prov->core);
    if (info != NULL && is_digest_info_of(info, msg->input)) {
        X509_SIG_get0(info, &algorithm, &value);
        X509_ALGOR_get0(&oid, NULL, NULL, algorithm);
        const char *name = OBJ_nid2sn(OBJ_obj2nid(oid));
        uint8_t md = name == NULL ? KV_MD_NONE : kv_prov_md_by_name(ctx->prov, name);
        size_t len = (size_t)ASN1_STRING_length(value);
        if (md != KV_MD_NONE && len == kv_md_len(md)) {
            msg->md = md;
            memcpy(digest, ASN1_STRING_get0_data(value), len);
            msg->input = (struct kv_bytes){.data = digest, .len = len};
        }
    }
    X509_SIG_free(info);
    if (msg->md != KV_MD_NONE)
        return 1;
    return bad(ctx, "say which digest the input is, as in -pkeyopt digest:sha256");
}

static int rsa_fill(struct kv_sigctx *ctx, struct kv_msg_sign *msg)
{
    msg->md = ctx->md;
    if (ctx->md != KV_MD_NONE && msg->input.len != kv_md_len(ctx->md))
        return bad(ctx, "the input is not as long as its digest");
    if (ctx->pad_mode == RSA_PKCS1_PADDING) {
        msg->sig = KV_SIG_PKCS1;
        if (ctx->md != KV_MD_NONE)
            return 1;
        /* Kept in the context: the request borrows it. */
        return fill_from_block(ctx, msg, ctx->block);
    }
    if (ctx->md == KV_MD_NONE)
        return bad(ctx, "PSS needs a digest, as in -pkeyopt digest:sha256");
    int salt_len = effective_salt_len(ctx);
    if (salt_len < 0)
        return bad(ctx, "the key is too small for this digest and salt length");
    msg->sig = KV_SIG_PSS;
    msg->mgf1_md = mgf1_of(ctx);
    msg->salt_len = (uint16_t)salt_len;
    return 1;
}

static int get_pad_mode(const struct kv_sigctx *ctx, OSSL_PARAM *p)
{
    if (p->data_type != OSSL_PARAM_UTF8_STRING)
        return OSSL_PARAM_set_int(p, ctx->pad_mode);
    return OSSL_PARAM_set_utf8_string(p, ctx->pad_mode == RSA_PKCS1_PSS_PADDING
                                             ? OSSL_PKEY_RSA_PAD_MODE_PSS
                                             : OSSL_PKEY_RSA_PAD_MODE_PKCSV15);
}

static int get_salt_len(const struct kv_sigctx *ctx, OSSL_PARAM *p)
{
    if (p->data_type != OSSL_PARAM_UTF8_STRING)
        return OSSL_PARAM_set_int(p, ctx->salt_len);
    for (size_t i = 0; i < sizeof(salt_names) / sizeof(salt_names[0]); i++) {
        if (salt_names[i].len == ctx->salt_len)
            return OSSL_PARAM_set_utf8_string(p, salt_names[i].name);
    }
    char text[16];
    (void)BIO_snprintf(text, sizeof(text), "%d", ctx->salt_len);
    return OSSL_PARAM_set_utf8_string(p, text);
}

static int get_md(OSSL_PARAM *p, uint8_t md)
{
    const char *name = kv_md_name(md);
    return OSSL_PARAM_set_utf8_string(p, md == KV_MD_NONE || !name ? "" : name);
}

static int rsa_get_params(struct kv_sigctx *ctx, OSSL_PARAM params[])
{
    OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
    if (p != NULL && !get_pad_mode(ctx, p))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_DIGEST);
    if (p != NULL && !get_md(p, ctx->md))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_MGF1_DIGEST);
    if (p != NULL && !get_md(p, mgf1_of(ctx)))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN);
    return p == NULL || get_salt_len(ctx, p);
}

static X509_ALGOR *hash_algorithm(struct kv_prov *prov, uint8_t md)
{
    const EVP_MD *digest = kv_prov_md(prov, md);
    X509_ALGOR *algorithm = X509_ALGOR_new();
    if (digest != NULL && algorithm != NULL &&
        X509_ALGOR_set0(algorithm, OBJ_nid2obj(EVP_MD_get_type(digest)), V_ASN1_NULL,
                        NULL))
        return algorithm;
    X509_ALGOR_free(algorithm);
    return NULL;
}

/* MGF1's parameter is itself an AlgorithmIdentifier (RFC 8017 appendix A.2.3). */
static X509_ALGOR *mgf1_algorithm(struct kv_prov *prov, uint8_t md)
{
    X509_ALGOR *hash = hash_algorithm(prov, md);
    ASN1_STRING *packed =
        hash == NULL ? NULL : ASN1_item_pack(hash, ASN1_ITEM_rptr(X509_ALGOR), NULL);
    X509_ALGOR *algorithm = X509_ALGOR_new();
    X509_ALGOR_free(hash);
    if (packed != NULL && algorithm != NULL &&
        X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_mgf1), V_ASN1_SEQUENCE, packed))
        return algorithm;
    ASN1_STRING_free(packed);
    X509_ALGOR_free(algorithm);
    return NULL;
}

/* DER leaves out what equals the defaults SHA-1, MGF1 with SHA-1 and 20 bytes. */
static RSA_PSS_PARAMS *pss_parameters(struct kv_sigctx *ctx)
{
    int salt_len = effective_salt_len(ctx);
    RSA_PSS_PARAMS *pss = RSA_PSS_PARAMS_new();
    bool ok = pss != NULL && salt_len >= 0;
    if (ok && ctx->md != KV_MD_SHA1) {
        pss->hashAlgorithm = hash_algorithm(ctx->prov, ctx->md);
        ok = pss->hashAlgorithm != NULL;
    }
    if (ok && mgf1_of(ctx) != KV_MD_SHA1) {
        pss->maskGenAlgorithm = mgf1_algorithm(ctx->prov, mgf1_of(ctx));
        ok = pss->maskGenAlgorithm != NULL;
    }
    if (ok && salt_len != 20) {
        pss->saltLength = ASN1_INTEGER_new();
        ok = pss->saltLength != NULL && ASN1_INTEGER_set(pss->saltLength, salt_len);
    }
    if (ok)
        return pss;
    RSA_PSS_PARAMS_free(pss);
    return NULL;
}

static X509_ALGOR *rsa_algorithm(struct kv_sigctx *ctx)
{
    const EVP_MD *digest = kv_prov_md(ctx->prov, ctx->md);
    X509_ALGOR *algorithm = X509_ALGOR_new();
    RSA_PSS_PARAMS *pss = NULL;
    ASN1_STRING *packed = NULL;
    int nid = NID_undef;
    int ok = 0;
    if (digest == NULL || algorithm == NULL) {
        ok = 0;
    } else if (ctx->pad_mode == RSA_PKCS1_PADDING) {
        ok = OBJ_find_sigid_by_algs(&nid, EVP_MD_get_type(digest), NID_rsaEncryption) &&
             X509_ALGOR_set0(algorithm, OBJ_nid2obj(nid), V_ASN1_NULL, NULL);
    } else {
        pss = pss_parameters(ctx);
        if (pss != NULL)
            packed = ASN1_item_pack(pss, ASN1_ITEM_rptr(RSA_PSS_PARAMS), NULL);
        ok = packed != NULL && X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_rsassaPss),
                                               V_ASN1_SEQUENCE, packed);
        RSA_PSS_PARAMS_free(pss);
    }
    if (ok)
        return algorithm;
    ASN1_STRING_free(packed);
    X509_ALGOR_free(algorithm);
    return NULL;
}

static const struct kv_sig_kind rsa_kind = {
    .type = KV_PKEY_RSA,
    .set_params = rsa_set_params,
    .get_params = rsa_get_params,
    .fill = rsa_fill,
    .algorithm = rsa_algorithm,
};

static void *rsa_new(void *provctx, const char *propq)
{
    (void)propq; /* our digests come from our own library context */
    return kv_sig_new(provctx, &rsa_kind);
}

static int verify_recover_init(void *vctx, void *key, const OSSL_PARAM params[])
{
    struct kv_sigctx *ctx = vctx;
    if (!kv_sig_begin(ctx, key, false, NULL))
        return 0;
    ctx->delegate = kv_delegate_new(ctx->key, KV_DELEGATE_VERIFY_RECOVER, NULL, params);
    return ctx->delegate != NULL;
}

static int verify_recover(void *vctx, unsigned char *out, size_t *out_len,
                          size_t out_size, const unsigned char *sig, size_t sig_len)
{
    struct kv_sigctx *ctx = vctx;
    if (ctx->delegate == NULL)
        return 0;
    *out_len = out_size;
    return kv_delegate_verify_recover(ctx->delegate, out, out_len, sig, sig_len) == 1;
}

static const OSSL_PARAM *rsa_gettable(void *ctx, void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
        OSSL_PARAM_END};
    (void)ctx;
    (void)provctx;
    return gettable;
}

static const OSSL_PARAM *rsa_settable(void *ctx, void *provctx)
{
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PROPERTIES, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_PROPERTIES, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
        OSSL_PARAM_END};
    (void)ctx;
    (void)provctx;
    return settable;
}

const OSSL_DISPATCH kv_sig_rsa[] = {
    KV_DISPATCH(OSSL_FUNC_SIGNATURE_NEWCTX, OSSL_FUNC_signature_newctx, rsa_new),
    KV_DISPATCH(OSSL_FUNC_SIGNATURE_VERIFY_RECOVER_INIT,
                OSSL_FUNC_signature_verify_recover_init, verify_recover_init),
    KV_DISPATCH(OSSL_FUNC_SIGNATURE_VERIFY_RECOVER, OSSL_FUNC_signature_verify_recover,
                verify_recover),
    KV_SIG_DIGEST_ROWS(rsa_gettable, rsa_settable), KV_DISPATCH_END};
