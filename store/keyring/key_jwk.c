/*
 * Keys from the numbers of a JWK (RFC 7518 §6), as binary fields.
 *
 * The service decodes JSON and base64url; here arrive big-endian numbers. Lengths
 * and ranges are judged field by field, so that the answer names the field.
 */
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/param_build.h>

#include "store/core/secret.h"
#include "store/keyring/key_internal.h"

#define N_RSA 8
#define COORDINATE_MAX 66
#define ED25519_LEN 32

static const struct {
    const char *name;
    const char *param;
} rsa_fields[N_RSA] = {
    {"n", OSSL_PKEY_PARAM_RSA_N},          {"e", OSSL_PKEY_PARAM_RSA_E},
    {"d", OSSL_PKEY_PARAM_RSA_D},          {"p", OSSL_PKEY_PARAM_RSA_FACTOR1},
    {"q", OSSL_PKEY_PARAM_RSA_FACTOR2},    {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
    {"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2}, {"qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1},
};

static int missing(struct kv_err *err, const char *field)
{
    return kv_err_set(err, KV_E_INVALID, "key.import-missing-field",
                      "field %s of the key is missing or empty", field);
}

/* Split the material into `n` fields of at most `max` bytes. */
static int split(struct kv_bytes material, struct kv_bytes *field, size_t n, size_t max,
                 struct kv_err *err)
{
    struct kv_wire wire;
    kv_wire_init(&wire, material.data, material.len);
    for (size_t i = 0; i < n; i++)
        field[i] = kv_wire_bytes(&wire, max);
    if (kv_wire_end(&wire) == 0)
        return 0;
    return kv_err_set(err, KV_E_INVALID, "key.import-bad-field",
                      "expected %zu fields of at most %zu bytes and nothing else", n,
                      max);
}

static BIGNUM *number(struct kv_bytes field)
{
    BIGNUM *bn = BN_secure_new();
    if (bn != NULL && BN_bin2bn(field.data, (int)field.len, bn) == NULL) {
        BN_clear_free(bn);
        bn = NULL;
    }
    return bn;
}

/* Make a key pair from parameters, which are wiped and freed; NULL on failure. */
static EVP_PKEY *from_params(const char *type, OSSL_PARAM_BLD *bld)
{
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(kv_keys_libctx(), type, NULL);
    if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEYPAIR, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return pkey;
}

static int read_rsa(struct kv_bytes material, struct kv_key **out, struct kv_err *err)
{
    int rc = 0;
    struct kv_bytes field[N_RSA];
    BIGNUM *bn[N_RSA] = {NULL};
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM_BLD *bld = NULL;
    KV_TRY(split(material, field, N_RSA, KV_RSA_MAX_BYTES + 1, err));
    bld = OSSL_PARAM_BLD_new();
    for (size_t i = 0; i < N_RSA; i++) {
        bn[i] = number(field[i]);
        if (bld == NULL || bn[i] == NULL) {
            rc = KV_E_NOMEM;
            goto out;
        }
        if (BN_is_zero(bn[i])) {
            rc = missing(err, rsa_fields[i].name);
            goto out;
        }
        if (OSSL_PARAM_BLD_push_BN(bld, rsa_fields[i].param, bn[i]) != 1) {
            rc = KV_E_NOMEM;
            goto out;
        }
    }
    pkey = from_params("RSA", bld);
    if (pkey == NULL)
        rc = kv_err_set(err, KV_E_INVALID, "key.import-inconsistent",
                        "the RSA key does not fit together: libcrypto refuses it");
    else
        rc = kv_key_take(pkey, out, err);
out:
    for (size_t i = 0; i < N_RSA; i++)
        BN_clear_free(bn[i]);
    OSSL_PARAM_BLD_free(bld);
    return rc;
}

/* Check that d is in 1..order-1 (FIPS 186-4 §B.4.2). */
static int check_scalar(uint8_t curve, const BIGNUM *d, struct kv_err *err)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name_ex(
        kv_keys_libctx(), NULL, OBJ_sn2nid(kv_key_group_name(curve)));
    if (group == NULL)
        return KV_E_NOMEM;
    bool is_in_range = !BN_is_zero(d) && BN_cmp(d, EC_GROUP_get0_order(group)) < 0;
    EC_GROUP_free(group);
    if (is_in_range)
        return 0;
    return kv_err_set(err, KV_E_INVALID, "key.import-bad-field",
                      "field d is not between 1 and the order of the curve");
}

static int check_lengths(const struct kv_bytes *field, const char *const *name,
                         size_t n, size_t len, struct kv_err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (field[i].len == 0)
            return missing(err, name[i]);
        if (field[i].len != len)
            return kv_err_set(err, KV_E_INVALID, "key.import-bad-field",
                              "field %s has %zu bytes; expected %zu", name[i],
                              field[i].len, len);
    }
    return 0;
}

static int read_ec(uint8_t curve, struct kv_bytes material, struct kv_key **out,
                   struct kv_err *err)
{
    static const char *const names[] = {"x", "y", "d"};
    int rc = 0;
    struct kv_bytes field[3];
    uint8_t point[1 + 2 * COORDINATE_MAX];
    size_t len = (kv_key_curve_bits(curve) + 7U) / 8;
    BIGNUM *d = NULL;
    OSSL_PARAM_BLD *bld = NULL;
    EVP_PKEY *pkey = NULL;
    if (curve < KV_CURVE_P256 || curve > KV_CURVE_P256K)
        return kv_err_set(err, KV_E_INVALID, "key.import-bad-curve",
                          "%u is no EC curve", curve);
    KV_TRY(split(material, field, 3, COORDINATE_MAX + 1, err));
    KV_TRY(check_lengths(field, names, 3, len, err));
    point[0] = POINT_CONVERSION_UNCOMPRESSED;
    memcpy(point + 1, field[0].data, len);
    memcpy(point + 1 + len, field[1].data, len);
    d = number(field[2]);
    bld = OSSL_PARAM_BLD_new();
    if (d == NULL || bld == NULL) {
        rc = KV_E_NOMEM;
        goto out;
    }
    KV_TRY(check_scalar(curve, d, err));
    if (OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME,
                                        kv_key_group_name(curve), 0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point,
                                         1 + 2 * len) != 1 ||
        OSSL_PARAM_BLD_push_BN_pad(bld, OSSL_PKEY_PARAM_PRIV_KEY, d, len) != 1) {
        rc = KV_E_NOMEM;
        goto out;
    }
    pkey = from_params("EC", bld);
    if (pkey == NULL)
        rc = kv_err_set(err, KV_E_INVALID, "key.import-off-curve",
                        "the public point (x, y) does not lie on its curve");
    else
        rc = kv_key_take(pkey, out, err);
out:
    BN_clear_free(d);
    OSSL_PARAM_BLD_free(bld);
    return rc;
}

static int read_okp(struct kv_bytes material, struct kv_key **out, struct kv_err *err)
{
    static const char *const names[] = {"x", "d"};
    struct kv_bytes field[2];
    uint8_t x[ED25519_LEN];
    size_t len = sizeof(x);
    int rc = split(material, field, 2, ED25519_LEN + 1, err);
    if (rc == 0)
        rc = check_lengths(field, names, 2, ED25519_LEN, err);
    if (rc != 0)
        return rc;
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key_ex(kv_keys_libctx(), "ED25519", NULL,
                                                     field[1].data, ED25519_LEN);
    if (pkey == NULL || EVP_PKEY_get_raw_public_key(pkey, x, &len) != 1) {
        EVP_PKEY_free(pkey);
        return KV_E_NOMEM;
    }
    if (!kv_equal_ct(x, field[0].data, ED25519_LEN)) {
        EVP_PKEY_free(pkey);
        return kv_err_set(err, KV_E_INVALID, "key.import-mismatch",
                          "field x is not the public key of d");
    }
    return kv_key_take(pkey, out, err);
}

int kv_key_read_jwk(const struct kv_role_key_new *request, struct kv_key **out,
                    struct kv_err *err)
{
    int rc = 0;
    if (request->import == KV_IMPORT_RSA)
        rc = read_rsa(request->material, out, err);
    else if (request->import == KV_IMPORT_EC)
        rc = read_ec(request->curve, request->material, out, err);
    else
        rc = read_okp(request->material, out, err);
    ERR_clear_error();
    return rc;
}
