/*
 * Keys and tokens for tests: made with libcrypto directly, not with what is tested.
 */
#include "tests/support/jws_maker.h"

#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/core/b64.h"

static EVP_PKEY *make(const char *type)
{
    if (strcmp(type, "RSA") == 0)
        return EVP_RSA_gen(2048);
    if (strcmp(type, "RSA1024") == 0)
        return EVP_RSA_gen(1024);
    if (strcmp(type, "Ed25519") == 0)
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    return EVP_EC_gen(strcmp(type, "P-256K") == 0 ? "secp256k1" : type);
}

static EVP_PKEY *kept(const char *type, size_t which)
{
    static struct {
        char type[16];
        EVP_PKEY *key;
    } keys[2][8];
    for (size_t i = 0; i < 8; i++) {
        if (keys[which][i].key == NULL) {
            (void)snprintf(keys[which][i].type, sizeof(keys[which][i].type), "%s",
                           type);
            keys[which][i].key = make(type);
            cr_assert_not_null(keys[which][i].key);
        }
        if (strcmp(keys[which][i].type, type) == 0)
            return keys[which][i].key;
    }
    return NULL;
}

EVP_PKEY *jws_maker_key(const char *type)
{
    return kept(type, 0);
}

EVP_PKEY *jws_maker_other_key(const char *type)
{
    return kept(type, 1);
}

char *jws_maker_b64(const char *text, size_t len)
{
    struct kv_buf out;
    kv_buf_init(&out, 65536);
    cr_assert_eq(kv_b64_encode(KV_B64_URL, text, len, &out), 0);
    char *copy = strndup(out.len > 0 ? (const char *)out.data : "", out.len);
    kv_buf_free(&out);
    return copy;
}

static void set_number(json_t *jwk, const char *member, EVP_PKEY *key,
                       const char *param, int len)
{
    uint8_t bytes[1024];
    BIGNUM *number = NULL;
    cr_assert_eq(EVP_PKEY_get_bn_param(key, param, &number), 1);
    if (len == 0)
        len = BN_num_bytes(number);
    cr_assert_eq(BN_bn2binpad(number, bytes, len), len);
    BN_free(number);
    char *text = jws_maker_b64((char *)bytes, (size_t)len);
    json_object_set_new(jwk, member, json_string(text));
    free(text);
}

json_t *jws_maker_jwk(EVP_PKEY *key, const char *kid)
{
    json_t *jwk = json_object();
    int type = EVP_PKEY_get_base_id(key);
    if (kid != NULL)
        json_object_set_new(jwk, "kid", json_string(kid));
    if (type == EVP_PKEY_RSA) {
        json_object_set_new(jwk, "kty", json_string("RSA"));
        set_number(jwk, "n", key, OSSL_PKEY_PARAM_RSA_N, 0);
        set_number(jwk, "e", key, OSSL_PKEY_PARAM_RSA_E, 0);
    } else if (type == EVP_PKEY_EC) {
        int bits = EVP_PKEY_get_bits(key);
        int len = (bits + 7) / 8;
        json_object_set_new(jwk, "kty", json_string("EC"));
        json_object_set_new(jwk, "crv",
                            json_string(bits == 256   ? "P-256"
                                        : bits == 384 ? "P-384"
                                                      : "P-521"));
        set_number(jwk, "x", key, OSSL_PKEY_PARAM_EC_PUB_X, len);
        set_number(jwk, "y", key, OSSL_PKEY_PARAM_EC_PUB_Y, len);
    } else {
        uint8_t raw[32];
        size_t len = sizeof(raw);
        cr_assert_eq(EVP_PKEY_get_raw_public_key(key, raw, &len), 1);
        char *text = jws_maker_b64((char *)raw, len);
        json_object_set_new(jwk, "kty", json_string("OKP"));
        json_object_set_new(jwk, "crv", json_string("Ed25519"));
        json_object_set_new(jwk, "x", json_string(text));
        free(text);
    }
    return jwk;
}

static size_t sign_raw(EVP_PKEY *key, const char *alg, const char *text, uint8_t *out,
                       size_t size)
{
    static const char *const mds[] = {"SHA256", "SHA384", "SHA512"};
    const char *md = alg[2] == '2' ? mds[0] : alg[2] == '3' ? mds[1] : mds[2];
    bool is_ed = strcmp(alg, "EdDSA") == 0;
    EVP_PKEY_CTX *pctx = NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = size;
    cr_assert_eq(
        EVP_DigestSignInit_ex(ctx, &pctx, is_ed ? NULL : md, NULL, NULL, key, NULL), 1);
    if (alg[0] == 'P') {
        cr_assert_eq(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING), 1);
        cr_assert_eq(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST), 1);
    }
    cr_assert_eq(EVP_DigestSign(ctx, out, &len, (const uint8_t *)text, strlen(text)),
                 1);
    EVP_MD_CTX_free(ctx);
    return len;
}

static size_t to_raw(const uint8_t *der, size_t der_len, uint8_t *out, int half)
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)der_len);
    cr_assert_not_null(sig);
    (void)BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, half);
    (void)BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + half, half);
    ECDSA_SIG_free(sig);
    return 2 * (size_t)half;
}

char *jws_maker_sign(EVP_PKEY *key, const char *alg, const char *header,
                     const char *payload)
{
    uint8_t signature[1024];
    uint8_t raw[1024];
    char *head = jws_maker_b64(header, strlen(header));
    char *body = jws_maker_b64(payload, strlen(payload));
    size_t size = strlen(head) + strlen(body) + 2 + 2048;
    char *text = malloc(size);
    cr_assert_not_null(text);
    (void)snprintf(text, size, "%s.%s", head, body);
    size_t len = sign_raw(key, alg, text, signature, sizeof(signature));
    const uint8_t *made = signature;
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC) {
        len = to_raw(signature, len, raw, (EVP_PKEY_get_bits(key) + 7) / 8);
        made = raw;
    }
    char *tail = jws_maker_b64((const char *)made, len);
    (void)snprintf(text + strlen(text), 2048, ".%s", tail);
    free(head);
    free(body);
    free(tail);
    return text;
}
