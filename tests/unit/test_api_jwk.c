/*
 * JSON Web Keys: public ones of real keys against what libcrypto says of them, and
 * private ones as good and bad clients send them.
 */
#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/api/keys.h"
#include "store/core/b64.h"

TestSuite(api_jwk, .timeout = 60);

static json_t *parse(const char *text)
{
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(json, "%s", text);
    return json;
}

/* --- operations --------------------------------------------------------------------
 */

Test(api_jwk, operations_have_the_names_of_the_contract)
{
    static const char *const names[] = {"encrypt", "decrypt",   "sign",   "verify",
                                        "wrapKey", "unwrapKey", "import", "export"};
    uint32_t all = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        uint32_t op = kv_jwk_op(names[i]);
        cr_assert(op != 0 && (all & op) == 0, "%s", names[i]);
        all |= op;
    }
    cr_assert_eq(kv_jwk_op("Sign"), 0, "names have case");
    cr_assert_eq(kv_jwk_op(""), 0);
    cr_assert_eq(kv_jwk_op("deriveKey"), 0);
    cr_assert_eq(kv_jwk_op("caSign"), 0, "nobody asks for a CA's right over HTTP");
    cr_assert_eq(kv_jwk_op("tlsUnpad"), 0);

    json_t *array = kv_jwk_ops(all);
    cr_assert_eq(json_array_size(array), sizeof(names) / sizeof(names[0]));
    for (size_t i = 0; i < json_array_size(array); i++)
        cr_assert_str_eq(json_string_value(json_array_get(array, i)), names[i],
                         "in the contract's order");
    json_decref(array);
    array = kv_jwk_ops(0);
    cr_assert_eq(json_array_size(array), 0);
    json_decref(array);
}

static const struct {
    uint8_t kty;
    const char *body;
    uint32_t ops; /* 0: refused */
    const char *id;
} ops_rows[] = {
    {KV_KTY_RSA, "{}",
     KV_OP_ENCRYPT | KV_OP_DECRYPT | KV_OP_SIGN | KV_OP_VERIFY | KV_OP_WRAP |
         KV_OP_UNWRAP,
     NULL},
    {KV_KTY_RSA, "{\"key_ops\":null}",
     KV_OP_ENCRYPT | KV_OP_DECRYPT | KV_OP_SIGN | KV_OP_VERIFY | KV_OP_WRAP |
         KV_OP_UNWRAP,
     NULL},
    {KV_KTY_EC, "{\"key_ops\":[]}", KV_OP_SIGN | KV_OP_VERIFY, NULL},
    {KV_KTY_OKP, "{}", KV_OP_SIGN | KV_OP_VERIFY, NULL},
    {KV_KTY_RSA, "{\"key_ops\":[\"sign\"]}", KV_OP_SIGN, NULL},
    {KV_KTY_RSA, "{\"key_ops\":[\"sign\",\"sign\",\"verify\"]}",
     KV_OP_SIGN | KV_OP_VERIFY, NULL},
    {KV_KTY_EC, "{\"key_ops\":[\"deriveBits\"]}", KV_OP_DERIVE, NULL},
    {KV_KTY_EC, "{\"key_ops\":[\"sign\",\"encrypt\"]}", 0, "api.bad-key-ops"},
    {KV_KTY_EC, "{\"key_ops\":[\"wrapKey\"]}", 0, "api.bad-key-ops"},
    {KV_KTY_OKP, "{\"key_ops\":[\"deriveBits\"]}", 0, "api.bad-key-ops"},
    {KV_KTY_RSA, "{\"key_ops\":[\"deriveBits\"]}", 0, "api.bad-key-ops"},
    {KV_KTY_RSA, "{\"key_ops\":[\"SIGN\"]}", 0, "api.bad-key-ops"},
    {KV_KTY_RSA, "{\"key_ops\":[\"\"]}", 0, "api.bad-key-ops"},
    {KV_KTY_RSA, "{\"key_ops\":[1]}", 0, "api.bad-key-ops"},
    {KV_KTY_RSA, "{\"key_ops\":[null]}", 0, "api.bad-key-ops"},
    {KV_KTY_RSA, "{\"key_ops\":[[\"sign\"]]}", 0, "api.bad-key-ops"},
    {KV_KTY_RSA, "{\"key_ops\":\"sign\"}", 0, "api.bad-field"},
    {KV_KTY_RSA, "{\"key_ops\":{\"sign\":true}}", 0, "api.bad-field"},
};

Test(api_jwk, key_ops_fit_the_type_of_the_key)
{
    for (size_t i = 0; i < sizeof(ops_rows) / sizeof(ops_rows[0]); i++) {
        json_t *body = parse(ops_rows[i].body);
        uint32_t ops = 0;
        struct kv_err err = KV_ERR_INIT;
        int rc = kv_jwk_read_ops(body, ops_rows[i].kty, &ops, &err);
        cr_assert_eq(rc, ops_rows[i].ops != 0 ? 0 : KV_E_INVALID, "%s",
                     ops_rows[i].body);
        cr_assert_eq(ops, ops_rows[i].ops, "%s", ops_rows[i].body);
        if (rc != 0)
            cr_assert_str_eq(err.id, ops_rows[i].id, "%s", ops_rows[i].body);
        json_decref(body);
    }
}

Test(api_jwk, a_wrong_operation_is_told_with_the_right_ones)
{
    json_t *body = parse("{\"key_ops\":[\"encrypt\"]}");
    uint32_t ops = 0;
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_jwk_read_ops(body, KV_KTY_EC, &ops, &err), KV_E_INVALID);
    cr_assert_not_null(strstr(err.message, "'encrypt'"), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "sign, verify"), "%s", err.message);
    json_decref(body);
}

/* --- public ------------------------------------------------------------------------
 */

struct made {
    EVP_PKEY *pkey;
    uint8_t *spki;
    struct kv_key_info info;
};

static void make(struct made *made, uint8_t kty, uint8_t curve)
{
    static const char *const groups[] = {NULL, "P-256", "P-384", "P-521", "secp256k1"};
    memset(made, 0, sizeof(*made));
    if (kty == KV_KTY_RSA)
        made->pkey = EVP_RSA_gen(2048);
    else if (kty == KV_KTY_EC)
        made->pkey = EVP_EC_gen(groups[curve]);
    else
        made->pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    cr_assert_not_null(made->pkey);
    int len = i2d_PUBKEY(made->pkey, &made->spki);
    cr_assert_gt(len, 0);
    made->info = (struct kv_key_info){.kty = kty, .curve = curve};
    made->info.attrs.ops = KV_OP_SIGN | KV_OP_VERIFY;
    made->info.spki = (struct kv_bytes){made->spki, (size_t)len};
}

static void unmake(struct made *made)
{
    EVP_PKEY_free(made->pkey);
    OPENSSL_free(made->spki);
}

static size_t member_bytes(const json_t *jwk, const char *name, uint8_t out[1024])
{
    const char *text = json_string_value(json_object_get(jwk, name));
    struct kv_buf bytes;
    kv_buf_init(&bytes, 1024);
    cr_assert_not_null(text, "%s", name);
    cr_assert_eq(kv_b64_decode(KV_B64_URL, text, strlen(text), &bytes), 0, "%s", name);
    size_t len = bytes.len;
    memcpy(out, bytes.data, len);
    kv_buf_free(&bytes);
    return len;
}

static void check_number(const json_t *jwk, const char *name, const EVP_PKEY *pkey,
                         const char *param, size_t len)
{
    uint8_t bytes[1024];
    BIGNUM *want = NULL;
    cr_assert_eq(EVP_PKEY_get_bn_param(pkey, param, &want), 1);
    size_t n = member_bytes(jwk, name, bytes);
    BIGNUM *got = BN_bin2bn(bytes, (int)n, NULL);
    cr_assert_eq(BN_cmp(got, want), 0, "%s", name);
    if (len != 0)
        cr_assert_eq(n, len, "%s has its fixed length", name);
    else
        cr_assert_neq(bytes[0], 0, "%s is as short as it is", name);
    BN_free(got);
    BN_free(want);
}

Test(api_jwk, public_rsa)
{
    struct made made;
    make(&made, KV_KTY_RSA, 0);
    json_t *jwk = kv_jwk_public(&made.info);
    cr_assert_eq(json_object_size(jwk), 4, "kty, key_ops, n, e and nothing private");
    cr_assert_str_eq(json_string_value(json_object_get(jwk, "kty")), "RSA");
    cr_assert_eq(json_array_size(json_object_get(jwk, "key_ops")), 2);
    check_number(jwk, "n", made.pkey, OSSL_PKEY_PARAM_RSA_N, 0);
    cr_assert_str_eq(json_string_value(json_object_get(jwk, "e")), "AQAB");
    json_decref(jwk);
    unmake(&made);
}

Test(api_jwk, public_ec_numbers_have_the_length_of_the_curve)
{
    static const struct {
        uint8_t curve;
        const char *crv;
        size_t len;
    } curves[] = {{KV_CURVE_P256, "P-256", 32},
                  {KV_CURVE_P384, "P-384", 48},
                  {KV_CURVE_P521, "P-521", 66},
                  {KV_CURVE_P256K, "P-256K", 32}};
    for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++) {
        /* P-521 begins with a zero byte in half of the keys, the others in 1 of 256 */
        for (int round = 0; round < 4; round++) {
            struct made made;
            make(&made, KV_KTY_EC, curves[i].curve);
            json_t *jwk = kv_jwk_public(&made.info);
            cr_assert_eq(json_object_size(jwk), 5, "kty, key_ops, crv, x, y");
            cr_assert_str_eq(json_string_value(json_object_get(jwk, "crv")),
                             curves[i].crv);
            check_number(jwk, "x", made.pkey, OSSL_PKEY_PARAM_EC_PUB_X, curves[i].len);
            check_number(jwk, "y", made.pkey, OSSL_PKEY_PARAM_EC_PUB_Y, curves[i].len);
            json_decref(jwk);
            unmake(&made);
        }
    }
}

Test(api_jwk, public_ed25519)
{
    struct made made;
    uint8_t raw[32];
    uint8_t bytes[1024];
    size_t raw_len = sizeof(raw);
    make(&made, KV_KTY_OKP, KV_CURVE_ED25519);
    json_t *jwk = kv_jwk_public(&made.info);
    cr_assert_eq(json_object_size(jwk), 4);
    cr_assert_str_eq(json_string_value(json_object_get(jwk, "kty")), "OKP");
    cr_assert_str_eq(json_string_value(json_object_get(jwk, "crv")), "Ed25519");
    cr_assert_eq(EVP_PKEY_get_raw_public_key(made.pkey, raw, &raw_len), 1);
    cr_assert_eq(member_bytes(jwk, "x", bytes), 32);
    cr_assert_arr_eq(bytes, raw, 32);
    json_decref(jwk);
    unmake(&made);
}

Test(api_jwk, what_is_no_public_key_gives_none)
{
    struct made made;
    make(&made, KV_KTY_EC, KV_CURVE_P256);
    struct kv_key_info cut = made.info;
    cut.spki.len--;
    cr_assert_null(kv_jwk_public(&cut));
    struct kv_key_info none = {.kty = KV_KTY_RSA};
    cr_assert_null(kv_jwk_public(&none));
    struct kv_key_info other = made.info;
    other.kty = KV_KTY_RSA;
    cr_assert_null(kv_jwk_public(&other), "an EC key has no modulus");
    other = made.info;
    other.curve = KV_CURVE_ED25519;
    cr_assert_null(kv_jwk_public(&other));
    other = made.info;
    other.curve = 200;
    cr_assert_null(kv_jwk_public(&other), "no such curve");
    unmake(&made);
}

/* --- private -----------------------------------------------------------------------
 */

#define A32 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define RSA_JWK                                                                        \
    "\"n\":\"AQ\",\"e\":\"AQAB\",\"d\":\"Ag\",\"p\":\"Aw\",\"q\":\"BA\",\"dp\":"       \
    "\"BQ\","                                                                          \
    "\"dq\":\"Bg\",\"qi\":\"Bw\""

static int read_private(const char *text, struct kv_role_key_new *request,
                        struct kv_buf *material, struct kv_err *err)
{
    json_t *jwk = parse(text);
    memset(request, 0, sizeof(*request));
    kv_buf_init_secret(material, KV_IMPORT_MAX);
    int rc = kv_jwk_read_private(jwk, request, material, err);
    json_decref(jwk);
    return rc;
}

static struct kv_bytes next_number(struct kv_wire *wire)
{
    return kv_wire_bytes(wire, 1024);
}

Test(api_jwk, private_numbers_arrive_in_the_order_of_the_protocol)
{
    static const uint8_t first[] = {1, 1, 2, 3, 4, 5, 6, 7};
    struct kv_role_key_new request;
    struct kv_buf material;
    struct kv_err err = KV_ERR_INIT;
    struct kv_wire wire;
    cr_assert_eq(
        read_private("{\"kty\":\"RSA\"," RSA_JWK "}", &request, &material, &err), 0,
        "%s", err.message);
    cr_assert_eq(request.kty, KV_KTY_RSA);
    cr_assert_eq(request.import, KV_IMPORT_RSA);
    kv_wire_init(&wire, material.data, material.len);
    for (size_t i = 0; i < sizeof(first); i++)
        cr_assert_eq(next_number(&wire).data[0], first[i], "number %zu", i);
    cr_assert_eq(kv_wire_end(&wire), 0, "and no more");
    kv_buf_free(&material);

    cr_assert_eq(read_private("{\"kty\":\"EC\",\"crv\":\"P-256K\",\"x\":\"" A32
                              "\",\"y\":\"" A32 "\",\"d\":\"" A32 "\"}",
                              &request, &material, &err),
                 0);
    cr_assert_eq(request.kty, KV_KTY_EC);
    cr_assert_eq(request.curve, KV_CURVE_P256K);
    cr_assert_eq(request.import, KV_IMPORT_EC);
    kv_wire_init(&wire, material.data, material.len);
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(next_number(&wire).len, 32);
    cr_assert_eq(kv_wire_end(&wire), 0);
    kv_buf_free(&material);

    cr_assert_eq(read_private("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" A32
                              "\",\"d\":\"" A32 "\",\"y\":\"\",\"p\":7}",
                              &request, &material, &err),
                 0, "members of other types of key are passed over");
    cr_assert_eq(request.import, KV_IMPORT_OKP);
    kv_wire_init(&wire, material.data, material.len);
    cr_assert_eq(next_number(&wire).len, 32);
    cr_assert_eq(next_number(&wire).len, 32);
    cr_assert_eq(kv_wire_end(&wire), 0);
    kv_buf_free(&material);
}

static const struct {
    const char *why;
    const char *jwk;
    const char *id;
} bad_private[] = {
    {"no type", "{" RSA_JWK "}", "api.missing-field"},
    {"type is null", "{\"kty\":null," RSA_JWK "}", "api.missing-field"},
    {"type is a number", "{\"kty\":1," RSA_JWK "}", "api.bad-field"},
    {"unknown type", "{\"kty\":\"DSA\"}", "api.bad-field"},
    {"symmetric", "{\"kty\":\"oct\",\"k\":\"AQ\"}", "api.bad-field"},
    {"in hardware", "{\"kty\":\"RSA-HSM\"," RSA_JWK "}", "api.bad-field"},
    {"types have case", "{\"kty\":\"rsa\"," RSA_JWK "}", "api.bad-field"},
    {"public RSA", "{\"kty\":\"RSA\",\"n\":\"AQ\",\"e\":\"AQAB\"}",
     "api.missing-field"},
    {"RSA without primes", "{\"kty\":\"RSA\",\"n\":\"AQ\",\"e\":\"AQAB\",\"d\":\"AQ\"}",
     "api.missing-field"},
    {"empty number", "{\"kty\":\"RSA\",\"n\":\"\"}", "api.bad-field"},
    {"number that is one", "{\"kty\":\"RSA\",\"n\":1}", "api.bad-field"},
    {"padding", "{\"kty\":\"RSA\",\"n\":\"AQ==\"}", "api.bad-field"},
    {"no curve", "{\"kty\":\"EC\",\"x\":\"" A32 "\"}", "api.missing-field"},
    {"unknown curve", "{\"kty\":\"EC\",\"crv\":\"P-224\"}", "api.bad-field"},
    {"curve of another type", "{\"kty\":\"EC\",\"crv\":\"Ed25519\"}", "api.bad-field"},
    {"and the other way", "{\"kty\":\"OKP\",\"crv\":\"P-256\"}", "api.bad-field"},
    {"not offered", "{\"kty\":\"OKP\",\"crv\":\"X25519\"}", "api.bad-field"},
    {"short coordinate", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQ\"}",
     "api.bad-field"},
    {"coordinate of a larger curve",
     "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" A32 "\"}", "api.bad-field"},
    {"public EC",
     "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" A32 "\",\"y\":\"" A32 "\"}",
     "api.missing-field"},
    {"no point", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"d\":\"" A32 "\"}",
     "api.missing-field"},
};

Test(api_jwk, private_keys_are_whole_or_refused)
{
    for (size_t i = 0; i < sizeof(bad_private) / sizeof(bad_private[0]); i++) {
        struct kv_role_key_new request;
        struct kv_buf material;
        struct kv_err err = KV_ERR_INIT;
        cr_assert_eq(read_private(bad_private[i].jwk, &request, &material, &err),
                     KV_E_INVALID, "%s", bad_private[i].why);
        cr_assert_str_eq(err.id, bad_private[i].id, "%s", bad_private[i].why);
        kv_buf_free(&material);
    }
}

Test(api_jwk, numbers_have_a_ceiling)
{
    static char text[4096];
    struct kv_role_key_new request;
    struct kv_buf material;
    struct kv_err err = KV_ERR_INIT;
    char digits[1400];
    memset(digits, 'A', sizeof(digits) - 1);
    digits[1366] = '\0'; /* 1024 bytes */
    (void)snprintf(text, sizeof(text), "{\"kty\":\"RSA\",\"n\":\"%s\"}", digits);
    cr_assert_eq(read_private(text, &request, &material, &err), KV_E_INVALID);
    cr_assert_str_eq(err.id, "api.missing-field", "the number itself was taken");
    kv_buf_free(&material);
    digits[1366] = 'A';
    digits[1367] = '\0';
    err = KV_ERR_INIT;
    (void)snprintf(text, sizeof(text), "{\"kty\":\"RSA\",\"n\":\"%s\"}", digits);
    cr_assert_eq(read_private(text, &request, &material, &err), KV_E_TOO_BIG);
    cr_assert_str_eq(err.id, "api.bad-field");
    kv_buf_free(&material);
}
