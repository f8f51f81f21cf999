/*
 * RSA decryption: OAEP, PKCS#1 v1.5 and the key exchange of TLS 1.2. All padding is
 * taken off by the daemon, in constant time and with implicit rejection; a raw block
 * never comes back, or every client would be a padding oracle. Encryption needs the
 * public key only and stays local.
 */
#include "provider/delegate.h"

#include <openssl/rsa.h>
#include <string.h>

#include "store/core/secret.h"

#define TLS_PREMASTER_LEN 48 /* RFC 5246 §7.4.7.1 */
#define MAX_PLAINTEXT 1024   /* of the largest RSA key */
#define MAX_LABEL 4096

struct asym {
    struct kv_prov *prov;
    struct kv_pkey *key;
    int pad_mode;
    uint8_t md;      /* OAEP */
    uint8_t mgf1_md; /* NONE = as md */
    unsigned char *label;
    size_t label_len;
    unsigned int client_version;
    unsigned int negotiated_version;
    struct kv_delegate *delegate; /* encryption in progress */
};

static int bad(const struct asym *ctx, const char *what)
{
    kv_reason_raise(&ctx->prov->core, KV_REASON_UNSUPPORTED, "keyvault: %s", what);
    return 0;
}

static void set_defaults(struct asym *ctx)
{
    ctx->pad_mode = RSA_PKCS1_PADDING;
    ctx->md = KV_MD_SHA1; /* of OAEP (RFC 8017 appendix A.2.1) */
    ctx->mgf1_md = KV_MD_NONE;
    ctx->client_version = 0;
    ctx->negotiated_version = 0;
}

static void *asym_new(void *provctx)
{
    struct asym *ctx = OPENSSL_zalloc(sizeof(*ctx));
    if (ctx == NULL)
        return NULL;
    ctx->prov = provctx;
    set_defaults(ctx);
    return ctx;
}

static void asym_free(void *vctx)
{
    struct asym *ctx = vctx;
    if (ctx == NULL)
        return;
    kv_pkey_unref(ctx->key);
    OPENSSL_free(ctx->label);
    kv_delegate_free(ctx->delegate);
    OPENSSL_free(ctx);
}

static void *asym_dup(void *vctx)
{
    const struct asym *ctx = vctx;
    struct asym *copy = asym_new(ctx->prov);
    if (copy == NULL)
        return NULL;
    *copy = *ctx;
    copy->label = NULL;
    copy->delegate = NULL;
    if (copy->key != NULL)
        (void)kv_pkey_ref(copy->key);
    bool ok = true;
    if (ctx->label != NULL) {
        copy->label = OPENSSL_memdup(ctx->label, ctx->label_len);
        ok = copy->label != NULL;
    }
    if (ok && ctx->delegate != NULL) {
        copy->delegate = kv_delegate_dup(ctx->delegate);
        ok = copy->delegate != NULL;
    }
    if (ok)
        return copy;
    asym_free(copy);
    return NULL;
}

static int set_pad_mode(struct asym *ctx, const OSSL_PARAM *p)
{
    int mode = 0;
    if (p->data_type == OSSL_PARAM_UTF8_STRING) {
        const char *name = p->data != NULL ? p->data : "";
        if (strcmp(name, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) == 0)
            mode = RSA_PKCS1_PADDING;
        else if (strcmp(name, OSSL_PKEY_RSA_PAD_MODE_OAEP) == 0)
            mode = RSA_PKCS1_OAEP_PADDING;
    } else if (!OSSL_PARAM_get_int(p, &mode)) {
        return 0;
    }
    if (mode != RSA_PKCS1_PADDING && mode != RSA_PKCS1_OAEP_PADDING &&
        mode != RSA_PKCS1_WITH_TLS_PADDING)
        return bad(ctx, "vault keys decrypt OAEP, PKCS#1 v1.5 and TLS padding only; "
                        "a raw block is never returned");
    ctx->pad_mode = mode;
    return 1;
}

static int set_md(struct asym *ctx, const OSSL_PARAM *p, uint8_t *md)
{
    char name[64];
    char *at = name;
    if (!OSSL_PARAM_get_utf8_string(p, &at, sizeof(name)))
        return 0;
    uint8_t found = kv_prov_md_by_name(ctx->prov, name);
    if (found == KV_MD_NONE)
        return bad(ctx, "this OAEP digest is not offered");
    *md = found;
    return 1;
}

static int set_label(struct asym *ctx, const OSSL_PARAM *p)
{
    if (p->data_type != OSSL_PARAM_OCTET_STRING || p->data_size > MAX_LABEL)
        return bad(ctx, "the OAEP label is too long");
    unsigned char *label = NULL;
    if (p->data_size > 0) {
        label = OPENSSL_memdup(p->data, p->data_size);
        if (label == NULL)
            return 0;
    }
    OPENSSL_free(ctx->label);
    ctx->label = label;
    ctx->label_len = p->data_size;
    return 1;
}

static int set_version(const OSSL_PARAM params[], const char *name, unsigned int *out)
{
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, name);
    return p == NULL || OSSL_PARAM_get_uint(p, out);
}

static int asym_set_params(void *vctx, const OSSL_PARAM params[])
{
    struct asym *ctx = vctx;
    if (params == NULL)
        return 1;
    if (ctx->delegate != NULL)
        return kv_delegate_set_params(ctx->delegate, params);
    const OSSL_PARAM *p =
        OSSL_PARAM_locate_const(params, OSSL_ASYM_CIPHER_PARAM_PAD_MODE);
    if (p != NULL && !set_pad_mode(ctx, p))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST);
    if (p != NULL && !set_md(ctx, p, &ctx->md))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST);
    if (p != NULL && !set_md(ctx, p, &ctx->mgf1_md))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL);
    if (p != NULL && !set_label(ctx, p))
        return 0;
    return set_version(params, OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION,
                       &ctx->client_version) &&
           set_version(params, OSSL_ASYM_CIPHER_PARAM_TLS_NEGOTIATED_VERSION,
                       &ctx->negotiated_version);
}

static int get_md(OSSL_PARAM *p, uint8_t md)
{
    const char *name = kv_md_name(md);
    return name != NULL && OSSL_PARAM_set_utf8_string(p, name);
}

static int asym_get_params(void *vctx, OSSL_PARAM params[])
{
    struct asym *ctx = vctx;
    if (params == NULL)
        return 1;
    if (ctx->delegate != NULL)
        return kv_delegate_get_params(ctx->delegate, params);
    OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_ASYM_CIPHER_PARAM_PAD_MODE);
    if (p != NULL && p->data_type == OSSL_PARAM_UTF8_STRING) {
        if (!OSSL_PARAM_set_utf8_string(p, ctx->pad_mode == RSA_PKCS1_OAEP_PADDING
                                               ? OSSL_PKEY_RSA_PAD_MODE_OAEP
                                               : OSSL_PKEY_RSA_PAD_MODE_PKCSV15))
            return 0;
    } else if (p != NULL && !OSSL_PARAM_set_int(p, ctx->pad_mode)) {
        return 0;
    }
    p = OSSL_PARAM_locate(params, OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST);
    if (p != NULL && !get_md(p, ctx->md))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST);
    if (p != NULL && !get_md(p, ctx->mgf1_md != KV_MD_NONE ? ctx->mgf1_md : ctx->md))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL);
    return p == NULL || OSSL_PARAM_set_octet_ptr(p, ctx->label, ctx->label_len);
}

/* A former operation is forgotten, its parameters too. */
static int begin(struct asym *ctx, void *vkey)
{
    struct kv_pkey *key = vkey;
    if (key == NULL || key->type != KV_PKEY_RSA)
        return 0;
    (void)kv_pkey_ref(key);
    kv_pkey_unref(ctx->key);
    ctx->key = key;
    kv_delegate_free(ctx->delegate);
    ctx->delegate = NULL;
    OPENSSL_free(ctx->label);
    ctx->label = NULL;
    ctx->label_len = 0;
    set_defaults(ctx);
    return 1;
}

static int decrypt_init(void *vctx, void *key, const OSSL_PARAM params[])
{
    return begin(vctx, key) && asym_set_params(vctx, params);
}

static int encrypt_init(void *vctx, void *key, const OSSL_PARAM params[])
{
    struct asym *ctx = vctx;
    if (!begin(ctx, key))
        return 0;
    ctx->delegate = kv_delegate_new(ctx->key, KV_DELEGATE_ENCRYPT, NULL, params);
    return ctx->delegate != NULL;
}

static int encrypt(void *vctx, unsigned char *out, size_t *out_len, size_t out_size,
                   const unsigned char *in, size_t in_len)
{
    struct asym *ctx = vctx;
    if (ctx->delegate == NULL)
        return 0;
    *out_len = out_size;
    return kv_delegate_encrypt(ctx->delegate, out, out_len, in, in_len) == 1;
}

static void fill(const struct asym *ctx, struct kv_msg_decrypt *msg)
{
    if (ctx->pad_mode == RSA_PKCS1_WITH_TLS_PADDING) {
        msg->enc = KV_ENC_TLS;
        msg->tls_client_version = (uint16_t)ctx->client_version;
        msg->tls_negotiated_version = (uint16_t)ctx->negotiated_version;
    } else if (ctx->pad_mode == RSA_PKCS1_OAEP_PADDING) {
        msg->enc = KV_ENC_OAEP;
        msg->md = ctx->md;
        msg->mgf1_md = ctx->mgf1_md != KV_MD_NONE ? ctx->mgf1_md : ctx->md;
        msg->label = (struct kv_bytes){.data = ctx->label, .len = ctx->label_len};
    } else {
        msg->enc = KV_ENC_RSA1_5;
    }
}

static int decrypt(void *vctx, unsigned char *out, size_t *out_len, size_t out_size,
                   const unsigned char *in, size_t in_len)
{
    struct asym *ctx = vctx;
    unsigned char plain[MAX_PLAINTEXT];
    if (ctx->key == NULL)
        return 0;
    bool is_tls = ctx->pad_mode == RSA_PKCS1_WITH_TLS_PADDING;
    if (out == NULL) {
        *out_len = is_tls ? TLS_PREMASTER_LEN : kv_pkey_max_size(ctx->key);
        return 1;
    }
    struct kv_msg_decrypt msg = {.input = {.data = in, .len = in_len}};
    fill(ctx, &msg);
    struct kv_pkey_op op = {.verb = KV_VERB_DECRYPT,
                            .msg = &msg,
                            .out = plain,
                            .out_size = sizeof(plain),
                            .exact_len = is_tls ? TLS_PREMASTER_LEN : 0,
                            .may_be_empty = true};
    int ok = kv_pkey_perform(ctx->key, &op);
    if (ok && op.out_len > out_size) {
        kv_reason_raise(&ctx->prov->core, KV_REASON_BUFFER_TOO_SMALL,
                        "keyvault: %zu bytes do not hold the plaintext", out_size);
        ok = 0;
    }
    if (ok) {
        memcpy(out, plain, op.out_len);
        *out_len = op.out_len;
    }
    kv_wipe(plain, sizeof(plain));
    return ok;
}

static const OSSL_PARAM *asym_gettable(void *ctx, void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_octet_ptr(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, NULL, 0),
        OSSL_PARAM_END};
    (void)ctx;
    (void)provctx;
    return gettable;
}

static const OSSL_PARAM *asym_settable(void *ctx, void *provctx)
{
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST_PROPS, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST_PROPS, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, NULL, 0),
        OSSL_PARAM_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, NULL),
        OSSL_PARAM_uint(OSSL_ASYM_CIPHER_PARAM_TLS_NEGOTIATED_VERSION, NULL),
        OSSL_PARAM_uint("implicit-rejection", NULL), /* always on */
        OSSL_PARAM_END};
    (void)ctx;
    (void)provctx;
    return settable;
}

#define ROW(NAME, name, fn)                                                            \
    KV_DISPATCH(OSSL_FUNC_ASYM_CIPHER_##NAME, OSSL_FUNC_asym_cipher_##name, fn)
const OSSL_DISPATCH kv_asym_rsa[] = {
    ROW(NEWCTX, newctx, asym_new),
    ROW(FREECTX, freectx, asym_free),
    ROW(DUPCTX, dupctx, asym_dup),
    ROW(DECRYPT_INIT, decrypt_init, decrypt_init),
    ROW(DECRYPT, decrypt, decrypt),
    ROW(ENCRYPT_INIT, encrypt_init, encrypt_init),
    ROW(ENCRYPT, encrypt, encrypt),
    ROW(GET_CTX_PARAMS, get_ctx_params, asym_get_params),
    ROW(GETTABLE_CTX_PARAMS, gettable_ctx_params, asym_gettable),
    ROW(SET_CTX_PARAMS, set_ctx_params, asym_set_params),
    ROW(SETTABLE_CTX_PARAMS, settable_ctx_params, asym_settable),
    KV_DISPATCH_END};
