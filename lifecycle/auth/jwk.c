/*
 * Public keys of issuers: JWK and sets of them into libcrypto's keys.
 *
 * What a key says of itself (use, key_ops, alg) only ever narrows what it verifies.
 */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <string.h>

#include "lifecycle/auth/jose.h"
#include "store/core/b64.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define RSA_ALGS                                                                       \
    (KV_JOSE_BIT(KV_JOSE_RS256) | KV_JOSE_BIT(KV_JOSE_RS384) |                         \
     KV_JOSE_BIT(KV_JOSE_RS512) | KV_JOSE_BIT(KV_JOSE_PS256) |                         \
     KV_JOSE_BIT(KV_JOSE_PS384) | KV_JOSE_BIT(KV_JOSE_PS512))
#define NUMBER_MAX (KV_JOSE_RSA_BITS_MAX / 8)

static const struct curve {
    const char *crv;
    const char *group;
    size_t len;
    enum kv_jose_alg alg;
} curves[] = {
    {"P-256", "prime256v1", 32, KV_JOSE_ES256},
    {"P-384", "secp384r1", 48, KV_JOSE_ES384},
    {"P-521", "secp521r1", 66, KV_JOSE_ES512},
};
#define N_CURVES (sizeof(curves) / sizeof(curves[0]))

static int bad(struct kv_err *err, const char *what)
{
    return kv_err_set(err, KV_E_INVALID, "jose.bad-key", "the key %s", what);
}

static const char *text_of(const json_t *jwk, const char *member)
{
    return json_string_value(json_object_get(jwk, member));
}

/* A number as bytes without leading zeros; `len` not 0: of exactly this length. */
static int read_number(const json_t *jwk, const char *member, size_t len,
                       struct kv_buf *out, struct kv_err *err)
{
    const char *text = text_of(jwk, member);
    size_t before = out->len;
    int rc = text != NULL ? kv_b64_decode(KV_B64_URL, text, strlen(text), out)
                          : KV_E_INVALID;
    if (rc == KV_E_NOMEM)
        return rc;
    size_t n = out->len - before;
    bool is_good = rc == 0 && n > 0 && (len != 0 ? n == len : out->data[before] != 0);
    return is_good ? 0 : bad(err, "has a number that is missing or not well written");
}

static EVP_PKEY *from_params(const char *type, OSSL_PARAM *params)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (ctx == NULL || params == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static int read_rsa(const json_t *jwk, struct kv_jwk *out, struct kv_err *err)
{
    struct kv_buf n;
    struct kv_buf e;
    BIGNUM *bn_n = NULL;
    BIGNUM *bn_e = NULL;
    OSSL_PARAM *params = NULL;
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    kv_buf_init(&n, NUMBER_MAX);
    kv_buf_init(&e, 8);
    int rc = 0;
    KV_TRY(read_number(jwk, "n", 0, &n, err));
    KV_TRY(read_number(jwk, "e", 0, &e, err));
    bn_n = BN_bin2bn(n.data, (int)n.len, NULL);
    bn_e = BN_bin2bn(e.data, (int)e.len, NULL);
    if (bld == NULL || bn_n == NULL || bn_e == NULL) {
        rc = KV_E_NOMEM;
        goto out;
    }
    if (BN_num_bits(bn_n) < KV_JOSE_RSA_BITS_MIN || !BN_is_odd(bn_n) ||
        !BN_is_odd(bn_e) || BN_is_one(bn_e)) {
        rc = bad(err, "is no RSA key of 2048 to 8192 bits with an odd exponent from 3");
        goto out;
    }
    if (OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, bn_n) == 1 &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, bn_e) == 1)
        params = OSSL_PARAM_BLD_to_param(bld);
    out->key = from_params("RSA", params);
    out->algs = RSA_ALGS;
out:
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    BN_free(bn_n);
    BN_free(bn_e);
    kv_buf_free(&n);
    kv_buf_free(&e);
    return rc;
}

static bool is_point(EVP_PKEY *key)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    bool is_good = ctx != NULL && EVP_PKEY_public_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    return is_good;
}

static int read_ec(const json_t *jwk, struct kv_jwk *out, struct kv_err *err)
{
    const char *crv = text_of(jwk, "crv");
    const struct curve *curve = NULL;
    struct kv_buf point;
    int rc = 0;
    for (size_t i = 0; crv != NULL && i < N_CURVES; i++)
        if (strcmp(crv, curves[i].crv) == 0)
            curve = &curves[i];
    if (curve == NULL)
        return bad(err, "is on no curve that is accepted");
    kv_buf_init(&point, 1 + 2 * 66);
    KV_TRY(kv_buf_append(&point, "\x04", 1));
    KV_TRY(read_number(jwk, "x", curve->len, &point, err));
    KV_TRY(read_number(jwk, "y", curve->len, &point, err));
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
                                         (char *)(uintptr_t)curve->group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point.data,
                                          point.len),
        OSSL_PARAM_construct_end()};
    out->key = from_params("EC", params);
    out->algs = KV_JOSE_BIT(curve->alg);
    if (out->key != NULL && !is_point(out->key))
        rc = bad(err, "is no point of its curve");
out:
    kv_buf_free(&point);
    return rc;
}

static int read_okp(const json_t *jwk, struct kv_jwk *out, struct kv_err *err)
{
    const char *crv = text_of(jwk, "crv");
    struct kv_buf raw;
    if (crv == NULL || strcmp(crv, "Ed25519") != 0)
        return bad(err, "is on no curve that is accepted");
    kv_buf_init(&raw, 32);
    int rc = read_number(jwk, "x", 32, &raw, err);
    if (rc == 0)
        out->key =
            EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, raw.data, raw.len);
    out->algs = KV_JOSE_BIT(KV_JOSE_EDDSA);
    kv_buf_free(&raw);
    return rc;
}

/* use, key_ops and alg of a key: whether it may verify, and with what. */
static int read_purpose(const json_t *jwk, struct kv_jwk *out, struct kv_err *err)
{
    const json_t *use = json_object_get(jwk, "use");
    const json_t *ops = json_object_get(jwk, "key_ops");
    const json_t *alg = json_object_get(jwk, "alg");
    bool may_verify = ops == NULL;
    for (size_t i = 0; i < json_array_size(ops); i++) {
        const char *op = json_string_value(json_array_get(ops, i));
        may_verify = may_verify || (op != NULL && strcmp(op, "verify") == 0);
    }
    const char *use_text = json_string_value(use);
    if (!may_verify ||
        (use != NULL && (use_text == NULL || strcmp(use_text, "sig") != 0)))
        return bad(err, "is not for signatures");
    if (alg == NULL)
        return 0;
    const char *name = json_string_value(alg);
    enum kv_jose_alg found = name != NULL ? kv_jose_alg_find(name) : KV_JOSE_NONE;
    out->algs &= found != KV_JOSE_NONE ? KV_JOSE_BIT(found) : 0;
    return out->algs != 0 ? 0 : bad(err, "has an algorithm that does not fit it");
}

static int read_members(const json_t *jwk, struct kv_jwk *out, struct kv_err *err)
{
    const char *kty = text_of(jwk, "kty");
    const json_t *kid = json_object_get(jwk, "kid");
    int rc = 0;
    if (kty == NULL || json_object_get(jwk, "d") != NULL)
        return bad(err, "has no type, or is a private one");
    if (kid != NULL &&
        (!json_is_string(kid) ||
         kv_str_copy(out->kid, sizeof(out->kid), json_string_value(kid)) != 0))
        return bad(err, "has a kid that is no text of at most 255 bytes");
    if (strcmp(kty, "RSA") == 0)
        rc = read_rsa(jwk, out, err);
    else if (strcmp(kty, "EC") == 0)
        rc = read_ec(jwk, out, err);
    else if (strcmp(kty, "OKP") == 0)
        rc = read_okp(jwk, out, err);
    else
        rc = bad(err, "is of a type that is not accepted");
    if (rc == 0 && out->key == NULL)
        rc = bad(err, "is not a valid one of its type");
    return rc != 0 ? rc : read_purpose(jwk, out, err);
}

int kv_jwk_parse(const json_t *jwk, struct kv_jwk *out, struct kv_err *err)
{
    memset(out, 0, sizeof(*out));
    int rc = json_is_object(jwk) ? read_members(jwk, out, err)
                                 : bad(err, "is no JSON object");
    if (rc != 0)
        kv_jwk_free(out);
    ERR_clear_error();
    return rc;
}

int kv_jwk_from_key(EVP_PKEY *key, struct kv_jwk *out, struct kv_err *err)
{
    char group[32] = "";
    memset(out, 0, sizeof(*out));
    int type = EVP_PKEY_get_base_id(key);
    if (type == EVP_PKEY_RSA && EVP_PKEY_get_bits(key) >= KV_JOSE_RSA_BITS_MIN &&
        EVP_PKEY_get_bits(key) <= KV_JOSE_RSA_BITS_MAX)
        out->algs = RSA_ALGS;
    else if (type == EVP_PKEY_ED25519)
        out->algs = KV_JOSE_BIT(KV_JOSE_EDDSA);
    else if (type == EVP_PKEY_EC &&
             EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1)
        for (size_t i = 0; i < N_CURVES; i++)
            if (strcmp(group, curves[i].group) == 0)
                out->algs = KV_JOSE_BIT(curves[i].alg);
    ERR_clear_error();
    if (out->algs == 0)
        return bad(err, "is neither RSA of 2048 to 8192 bits nor on P-256, P-384, "
                        "P-521 or Ed25519");
    if (EVP_PKEY_up_ref(key) != 1)
        return KV_E_NOMEM;
    out->key = key;
    return 0;
}

void kv_jwk_free(struct kv_jwk *jwk)
{
    EVP_PKEY_free(jwk->key);
    memset(jwk, 0, sizeof(*jwk));
}

/* --- sets ------------------------------------------------------------------------ */

static int bad_set(struct kv_err *err, const char *what)
{
    return kv_err_set(err, KV_E_INVALID, "jose.bad-keys", "the key set %s", what);
}

static int read_set(const json_t *set, struct kv_jwks *out, struct kv_err *err)
{
    const json_t *keys = json_object_get(set, "keys");
    if (!json_is_array(keys) || json_array_size(keys) > KV_JWKS_KEYS_MAX)
        return bad_set(err, "has no member 'keys' with at most 64 of them");
    for (size_t i = 0; i < json_array_size(keys); i++) {
        struct kv_jwk *jwk = &out->keys[out->n];
        int rc = kv_jwk_parse(json_array_get(keys, i), jwk, NULL);
        if (rc == KV_E_NOMEM)
            return rc;
        if (rc != 0 || jwk->kid[0] == '\0') {
            kv_jwk_free(jwk);
            continue;
        }
        if (kv_jwks_find(out, jwk->kid) != NULL) {
            kv_jwk_free(jwk);
            return bad_set(err, "has two keys of one kid");
        }
        out->n++;
    }
    return 0;
}

int kv_jwks_parse(const void *text, size_t len, struct kv_jwks *out, struct kv_err *err)
{
    memset(out, 0, sizeof(*out));
    if (len > KV_JWKS_BYTES_MAX || kv_json_depth(text, len) > KV_JOSE_DEPTH_MAX)
        return bad_set(err, "is larger than 256 KiB or nests too deep");
    size_t n_failures = kv_wiping_failures();
    json_t *set = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    int rc = kv_wiping_failures() != n_failures ? KV_E_NOMEM
             : json_is_object(set)              ? read_set(set, out, err)
                                                : bad_set(err, "is no JSON object");
    json_decref(set);
    if (rc != 0)
        kv_jwks_free(out);
    return rc;
}

void kv_jwks_free(struct kv_jwks *jwks)
{
    for (size_t i = 0; i < jwks->n; i++)
        kv_jwk_free(&jwks->keys[i]);
    jwks->n = 0;
}

const struct kv_jwk *kv_jwks_find(const struct kv_jwks *jwks, const char *kid)
{
    for (size_t i = 0; i < jwks->n; i++)
        if (strcmp(jwks->keys[i].kid, kid) == 0)
            return &jwks->keys[i];
    return NULL;
}

/* --- our own --------------------------------------------------------------------- */

static int write_coordinate(EVP_PKEY *key, const char *param, struct kv_buf *out)
{
    uint8_t bytes[32];
    BIGNUM *number = NULL;
    int rc = KV_E_CRYPTO;
    if (EVP_PKEY_get_bn_param(key, param, &number) == 1 &&
        BN_bn2binpad(number, bytes, sizeof(bytes)) == sizeof(bytes))
        rc = kv_b64_encode(KV_B64_URL, bytes, sizeof(bytes), out);
    BN_free(number);
    return rc;
}

int kv_jwk_write_es256(EVP_PKEY *key, char kid[KV_JOSE_KID_MAX + 1], json_t **out)
{
    struct kv_buf x;
    struct kv_buf y;
    struct kv_buf text;
    uint8_t hash[32];
    size_t hash_len = 0;
    int rc = 0;
    kv_buf_init(&x, 64);
    kv_buf_init(&y, 64);
    kv_buf_init(&text, 256);
    KV_TRY(write_coordinate(key, OSSL_PKEY_PARAM_EC_PUB_X, &x));
    KV_TRY(write_coordinate(key, OSSL_PKEY_PARAM_EC_PUB_Y, &y));
    KV_TRY(kv_buf_appendf(
        &text, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%.*s\",\"y\":\"%.*s\"}",
        (int)x.len, (const char *)x.data, (int)y.len, (const char *)y.data));
    if (EVP_Q_digest(NULL, "SHA256", NULL, text.data, text.len, hash, &hash_len) != 1) {
        rc = KV_E_CRYPTO;
        goto out;
    }
    kv_buf_reset(&text);
    KV_TRY(kv_b64_encode(KV_B64_URL, hash, sizeof(hash), &text));
    kv_str_cut(kid, KV_JOSE_KID_MAX + 1, (const char *)text.data, text.len);
    *out = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s#,s:s#}", "kty", "EC", "crv", "P-256",
                     "use", "sig", "alg", "ES256", "kid", kid, "x", x.data, (int)x.len,
                     "y", y.data, (int)y.len);
    rc = *out != NULL ? 0 : KV_E_NOMEM;
out:
    kv_buf_free(&x);
    kv_buf_free(&y);
    kv_buf_free(&text);
    ERR_clear_error();
    return rc;
}
