/*
 * ECDH: the daemon computes the shared secret, an X9.63 key derivation (CMS) follows
 * here. All curves on offer have cofactor 1, so the cofactor mode changes nothing.
 */
#include "provider/pkey.h"

#include <openssl/kdf.h>
#include <string.h>

#include "store/core/secret.h"

#define MAX_SECRET 66 /* P-521 */
#define MAX_UKM 1024

struct exch {
    struct kv_prov *prov;
    struct kv_pkey *key;
    struct kv_pkey *peer;
    int cofactor_mode;
    bool has_kdf;
    uint8_t kdf_md;
    size_t kdf_out_len;
    unsigned char *ukm;
    size_t ukm_len;
};

static int bad(const struct exch *ctx, const char *what)
{
    kv_reason_raise(&ctx->prov->core, KV_REASON_BAD_PARAMETER, "keyvault: %s", what);
    return 0;
}

static void *exch_new(void *provctx)
{
    struct exch *ctx = OPENSSL_zalloc(sizeof(*ctx));
    if (ctx == NULL)
        return NULL;
    ctx->prov = provctx;
    ctx->cofactor_mode = -1;
    return ctx;
}

static void exch_free(void *vctx)
{
    struct exch *ctx = vctx;
    if (ctx == NULL)
        return;
    kv_pkey_unref(ctx->key);
    kv_pkey_unref(ctx->peer);
    OPENSSL_clear_free(ctx->ukm, ctx->ukm_len);
    OPENSSL_free(ctx);
}

static void *exch_dup(void *vctx)
{
    const struct exch *ctx = vctx;
    struct exch *copy = exch_new(ctx->prov);
    if (copy == NULL)
        return NULL;
    *copy = *ctx;
    copy->ukm = NULL;
    if (copy->key != NULL)
        (void)kv_pkey_ref(copy->key);
    if (copy->peer != NULL)
        (void)kv_pkey_ref(copy->peer);
    if (ctx->ukm != NULL) {
        copy->ukm = OPENSSL_memdup(ctx->ukm, ctx->ukm_len);
        if (copy->ukm == NULL) {
            exch_free(copy);
            return NULL;
        }
    }
    return copy;
}

static int set_kdf_type(struct exch *ctx, const OSSL_PARAM *p)
{
    char name[32];
    char *at = name;
    if (!OSSL_PARAM_get_utf8_string(p, &at, sizeof(name)))
        return 0;
    if (name[0] != '\0' && strcmp(name, OSSL_KDF_NAME_X963KDF) != 0)
        return bad(ctx, "the only key derivation of ECDH is X963KDF");
    ctx->has_kdf = name[0] != '\0';
    return 1;
}

static int set_kdf_md(struct exch *ctx, const OSSL_PARAM *p)
{
    char name[64];
    char *at = name;
    if (!OSSL_PARAM_get_utf8_string(p, &at, sizeof(name)))
        return 0;
    ctx->kdf_md = kv_prov_md_by_name(ctx->prov, name);
    return ctx->kdf_md != KV_MD_NONE ||
           bad(ctx, "this digest is not offered for key derivation");
}

static int set_ukm(struct exch *ctx, const OSSL_PARAM *p)
{
    if (p->data_type != OSSL_PARAM_OCTET_STRING || p->data_size > MAX_UKM)
        return bad(ctx, "the user keying material is too long");
    unsigned char *ukm = NULL;
    if (p->data_size > 0) {
        ukm = OPENSSL_memdup(p->data, p->data_size);
        if (ukm == NULL)
            return 0;
    }
    OPENSSL_clear_free(ctx->ukm, ctx->ukm_len);
    ctx->ukm = ukm;
    ctx->ukm_len = p->data_size;
    return 1;
}

static int exch_set_params(void *vctx, const OSSL_PARAM params[])
{
    struct exch *ctx = vctx;
    if (params == NULL)
        return 1;
    const OSSL_PARAM *p =
        OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE);
    if (p != NULL) {
        int mode = 0;
        if (!OSSL_PARAM_get_int(p, &mode) || mode < -1 || mode > 1)
            return bad(ctx, "the cofactor mode is -1, 0 or 1");
        ctx->cofactor_mode = mode;
    }
    p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_TYPE);
    if (p != NULL && !set_kdf_type(ctx, p))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_DIGEST);
    if (p != NULL && !set_kdf_md(ctx, p))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_OUTLEN);
    if (p != NULL && !OSSL_PARAM_get_size_t(p, &ctx->kdf_out_len))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_UKM);
    return p == NULL || set_ukm(ctx, p);
}

static int exch_get_params(void *vctx, OSSL_PARAM params[])
{
    struct exch *ctx = vctx;
    OSSL_PARAM *p =
        OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE);
    if (p != NULL &&
        !OSSL_PARAM_set_int(p, ctx->cofactor_mode < 0 ? 0 : ctx->cofactor_mode))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_KDF_TYPE);
    if (p != NULL &&
        !OSSL_PARAM_set_utf8_string(p, ctx->has_kdf ? OSSL_KDF_NAME_X963KDF : ""))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_KDF_DIGEST);
    const char *md_name = kv_md_name(ctx->kdf_md);
    if (p != NULL && !OSSL_PARAM_set_utf8_string(
                         p, ctx->kdf_md == KV_MD_NONE || !md_name ? "" : md_name))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_KDF_OUTLEN);
    if (p != NULL && !OSSL_PARAM_set_size_t(p, ctx->kdf_out_len))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_KDF_UKM);
    return p == NULL || OSSL_PARAM_set_octet_ptr(p, ctx->ukm, ctx->ukm_len);
}

static int exch_init(void *vctx, void *vkey, const OSSL_PARAM params[])
{
    struct exch *ctx = vctx;
    struct kv_pkey *key = vkey;
    if (key == NULL || key->type != KV_PKEY_EC)
        return 0;
    (void)kv_pkey_ref(key);
    kv_pkey_unref(ctx->key);
    ctx->key = key;
    ctx->cofactor_mode = -1;
    ctx->has_kdf = false;
    return exch_set_params(ctx, params);
}

static int set_peer(void *vctx, void *vpeer)
{
    struct exch *ctx = vctx;
    struct kv_pkey *peer = vpeer;
    if (ctx->key == NULL || peer == NULL || peer->type != KV_PKEY_EC ||
        peer->pub == NULL || ctx->key->pub == NULL ||
        EVP_PKEY_parameters_eq(ctx->key->pub, peer->pub) != 1)
        return bad(ctx, "the peer's key is on another curve");
    (void)kv_pkey_ref(peer);
    kv_pkey_unref(ctx->peer);
    ctx->peer = peer;
    return 1;
}

/* Temporary keys of TLS: both halves are here. */
static int derive_here(const struct exch *ctx, unsigned char *z, size_t z_len)
{
    size_t len = z_len;
    EVP_PKEY_CTX *here =
        EVP_PKEY_CTX_new_from_pkey(ctx->prov->libctx, ctx->key->pub, NULL);
    int ok = here != NULL && EVP_PKEY_derive_init(here) > 0 &&
             EVP_PKEY_derive_set_peer(here, ctx->peer->pub) > 0 &&
             EVP_PKEY_derive(here, z, &len) > 0 && len == z_len;
    EVP_PKEY_CTX_free(here);
    return ok;
}

/* Fetch Z, exactly as long as a field element. */
static int get_secret(struct exch *ctx, unsigned char *z, size_t z_len)
{
    struct kv_msg_derive msg = {.peer_spki = {.data = NULL}};
    uint8_t *spki = NULL;
    size_t spki_len = 0;
    if (ctx->key->is_temporary)
        return derive_here(ctx, z, z_len);
    if (kv_pkey_spki_dup(ctx->peer, &spki, &spki_len) != 0)
        return bad(ctx, "the peer's key has no public part");
    msg.peer_spki = (struct kv_bytes){.data = spki, .len = spki_len};
    struct kv_pkey_op op = {.verb = KV_VERB_DERIVE,
                            .msg = &msg,
                            .out = z,
                            .out_size = z_len,
                            .exact_len = z_len};
    int ok = kv_pkey_perform(ctx->key, &op);
    OPENSSL_free(spki);
    return ok;
}

static int run_kdf(struct exch *ctx, unsigned char *out, const unsigned char *z,
                   size_t z_len)
{
    const char *md_name = kv_md_name(ctx->kdf_md);
    if (ctx->kdf_md == KV_MD_NONE || md_name == NULL)
        return bad(ctx, "the key derivation needs a digest");
    OSSL_PARAM params[4] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
                                         (char *)(uintptr_t)md_name, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY,
                                          (unsigned char *)(uintptr_t)z, z_len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, ctx->ukm, ctx->ukm_len),
        OSSL_PARAM_construct_end(),
    };
    EVP_KDF *kdf = EVP_KDF_fetch(ctx->prov->libctx, OSSL_KDF_NAME_X963KDF, NULL);
    EVP_KDF_CTX *kdf_ctx = EVP_KDF_CTX_new(kdf);
    int ok =
        kdf_ctx != NULL && EVP_KDF_derive(kdf_ctx, out, ctx->kdf_out_len, params) == 1;
    EVP_KDF_CTX_free(kdf_ctx);
    EVP_KDF_free(kdf);
    return ok;
}

static int derive(void *vctx, unsigned char *secret, size_t *secret_len,
                  size_t out_size)
{
    struct exch *ctx = vctx;
    unsigned char z[MAX_SECRET];
    if (ctx->key == NULL || ctx->peer == NULL)
        return 0;
    size_t z_len = ((size_t)kv_pkey_bits(ctx->key) + 7) / 8;
    size_t want = ctx->has_kdf ? ctx->kdf_out_len : z_len;
    if (z_len > sizeof(z) || want == 0)
        return bad(ctx, "the length of the derived secret is not set");
    if (secret == NULL) {
        *secret_len = want;
        return 1;
    }
    if (out_size < want)
        return bad(ctx, "the buffer does not hold the derived secret");
    int ok = get_secret(ctx, z, z_len);
    if (ok && ctx->has_kdf)
        ok = run_kdf(ctx, secret, z, z_len);
    else if (ok)
        memcpy(secret, z, z_len);
    kv_wipe(z, sizeof(z));
    if (ok)
        *secret_len = want;
    return ok;
}

static const OSSL_PARAM *exch_params(void *ctx, void *provctx)
{
    static const OSSL_PARAM known[] = {
        OSSL_PARAM_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE, NULL),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST_PROPS, NULL, 0),
        OSSL_PARAM_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, NULL),
        OSSL_PARAM_octet_string(OSSL_EXCHANGE_PARAM_KDF_UKM, NULL, 0),
        OSSL_PARAM_END};
    (void)ctx;
    (void)provctx;
    return known;
}

static const OSSL_PARAM *exch_gettable(void *ctx, void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE, NULL),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST, NULL, 0),
        OSSL_PARAM_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, NULL),
        OSSL_PARAM_octet_ptr(OSSL_EXCHANGE_PARAM_KDF_UKM, NULL, 0),
        OSSL_PARAM_END};
    (void)ctx;
    (void)provctx;
    return gettable;
}

#define ROW(NAME, name, fn)                                                            \
    KV_DISPATCH(OSSL_FUNC_KEYEXCH_##NAME, OSSL_FUNC_keyexch_##name, fn)
const OSSL_DISPATCH kv_keyexch_ecdh[] = {
    ROW(NEWCTX, newctx, exch_new),
    ROW(INIT, init, exch_init),
    ROW(SET_PEER, set_peer, set_peer),
    ROW(DERIVE, derive, derive),
    ROW(FREECTX, freectx, exch_free),
    ROW(DUPCTX, dupctx, exch_dup),
    ROW(SET_CTX_PARAMS, set_ctx_params, exch_set_params),
    ROW(SETTABLE_CTX_PARAMS, settable_ctx_params, exch_params),
    ROW(GET_CTX_PARAMS, get_ctx_params, exch_get_params),
    ROW(GETTABLE_CTX_PARAMS, gettable_ctx_params, exch_gettable),
    KV_DISPATCH_END};
