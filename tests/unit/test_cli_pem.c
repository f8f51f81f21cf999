/* lifecycle/cli/pem.c: key files to JWK, JWK to public keys. */
#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

#include "lifecycle/cli/pem.h"
#include "store/core/b64.h"

TestSuite(cli_pem, .timeout = 60);

static const struct type {
    const char *name; /* of EVP_PKEY_Q_keygen */
    const char *group;
    const char *kty;
    const char *crv;
    size_t x_len; /* bytes of "x"; 0: RSA */
} types[] = {
    {"RSA", NULL, "RSA", NULL, 0},           {"EC", "P-256", "EC", "P-256", 32},
    {"EC", "P-384", "EC", "P-384", 48},      {"EC", "P-521", "EC", "P-521", 66},
    {"EC", "secp256k1", "EC", "P-256K", 32}, {"ED25519", NULL, "OKP", "Ed25519", 32},
};
#define N_TYPES (sizeof(types) / sizeof(types[0]))

static EVP_PKEY *make_key(const struct type *type)
{
    EVP_PKEY *key = NULL;
    if (strcmp(type->name, "RSA") == 0)
        key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    else if (type->group != NULL)
        key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", type->group);
    else
        key = EVP_PKEY_Q_keygen(NULL, NULL, type->name);
    cr_assert_not_null(key);
    return key;
}

/* The key as a file: PKCS#8 in PEM or DER, encrypted if there is a password. */
static void write_file(EVP_PKEY *key, bool is_pem, const char *password,
                       struct kv_buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    const EVP_CIPHER *cipher = password != NULL ? EVP_aes_256_cbc() : NULL;
    int len = password != NULL ? (int)strlen(password) : 0;
    int ok =
        is_pem
            ? PEM_write_bio_PKCS8PrivateKey(bio, key, cipher, password, len, NULL, NULL)
            : i2d_PKCS8PrivateKey_bio(bio, key, cipher, password, len, NULL, NULL);
    cr_assert_eq(ok, 1);
    char *data = NULL;
    long n = BIO_get_mem_data(bio, &data);
    cr_assert_eq(kv_buf_append(out, data, (size_t)n), 0);
    BIO_free(bio);
}

static size_t decoded_len(const json_t *jwk, const char *member)
{
    const char *text = json_string_value(json_object_get(jwk, member));
    struct kv_buf bytes;
    kv_buf_init(&bytes, 2048);
    cr_assert_not_null(text, "no %s", member);
    cr_assert_eq(kv_b64_decode(KV_B64_URL, text, strlen(text), &bytes), 0);
    size_t len = bytes.len;
    kv_buf_free(&bytes);
    return len;
}

Test(cli_pem, reads_pem_and_der_of_every_type)
{
    for (size_t i = 0; i < 2 * N_TYPES; i++) {
        const struct type *type = &types[i / 2];
        EVP_PKEY *key = make_key(type);
        EVP_PKEY *read = NULL;
        struct kv_err err = KV_ERR_INIT;
        struct kv_buf file;
        kv_buf_init_secret(&file, 65536);
        write_file(key, i % 2 == 0, NULL, &file);
        cr_expect_eq(kv_pem_load_key(&file, NULL, &read, &err), 0, "%s: %s", type->name,
                     err.message);
        cr_expect_eq(EVP_PKEY_eq(key, read), 1, "%s", type->name);
        EVP_PKEY_free(read);
        EVP_PKEY_free(key);
        kv_buf_free(&file);
    }
}

Test(cli_pem, makes_a_jwk_whose_public_part_reads_back)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        const struct type *type = &types[i];
        EVP_PKEY *key = make_key(type);
        json_t *jwk = NULL;
        struct kv_err err = KV_ERR_INIT;
        cr_assert_eq(kv_pem_to_jwk(key, &jwk, &err), 0, "%s", err.message);
        cr_expect_str_eq(json_string_value(json_object_get(jwk, "kty")), type->kty);
        if (type->crv != NULL)
            cr_expect_str_eq(json_string_value(json_object_get(jwk, "crv")), type->crv);
        if (type->x_len > 0) {
            cr_expect_eq(decoded_len(jwk, "x"), type->x_len);
            cr_expect_eq(decoded_len(jwk, "d"), type->x_len);
        } else {
            cr_expect_eq(decoded_len(jwk, "n"), 256);
            cr_expect_eq(decoded_len(jwk, "e"), 3);
            cr_expect_leq(decoded_len(jwk, "qi"), 128);
        }
        struct kv_buf spki;
        kv_buf_init(&spki, 4096);
        cr_assert_eq(kv_pem_jwk_spki(jwk, &spki, &err), 0, "%s", err.message);
        uint8_t *expected = NULL;
        int len = i2d_PUBKEY(key, &expected);
        cr_assert_eq((size_t)len, spki.len, "%s", type->name);
        cr_expect_arr_eq(expected, spki.data, spki.len, "%s", type->name);
        OPENSSL_free(expected);
        kv_buf_free(&spki);
        json_decref(jwk);
        EVP_PKEY_free(key);
    }
}

Test(cli_pem, asks_for_the_password_it_needs)
{
    EVP_PKEY *key = make_key(&types[1]);
    for (int is_pem = 0; is_pem < 2; is_pem++) {
        struct kv_buf file;
        struct kv_buf password;
        EVP_PKEY *read = NULL;
        struct kv_err err = KV_ERR_INIT;
        kv_buf_init_secret(&file, 65536);
        kv_buf_init_secret(&password, 64);
        write_file(key, is_pem == 1, "correct", &file);
        cr_expect_eq(kv_pem_load_key(&file, NULL, &read, &err), KV_E_INVALID);
        cr_expect_str_eq(err.id, "pem.needs-password");
        err = KV_ERR_INIT;
        cr_assert_eq(kv_buf_append_str(&password, "wrong"), 0);
        cr_expect_eq(kv_pem_load_key(&file, &password, &read, &err), KV_E_INVALID);
        cr_expect_str_eq(err.id, "pem.wrong-password");
        kv_buf_reset(&password);
        cr_assert_eq(kv_buf_append_str(&password, "correct"), 0);
        err = KV_ERR_INIT;
        cr_expect_eq(kv_pem_load_key(&file, &password, &read, &err), 0, "%s",
                     err.message);
        EVP_PKEY_free(read);
        kv_buf_free(&password);
        kv_buf_free(&file);
    }
    EVP_PKEY_free(key);
}

Test(cli_pem, finds_the_key_behind_a_certificate)
{
    EVP_PKEY *key = make_key(&types[1]);
    EVP_PKEY *read = NULL;
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf file;
    kv_buf_init_secret(&file, 65536);
    (void)kv_buf_append_str(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n"
                                   "-----END CERTIFICATE-----\n");
    write_file(key, true, NULL, &file);
    cr_expect_eq(kv_pem_load_key(&file, NULL, &read, &err), 0, "%s", err.message);
    EVP_PKEY_free(read);
    EVP_PKEY_free(key);
    kv_buf_free(&file);
}

static const char *const no_keys[] = {
    "",
    "hello",
    "-----BEGIN PRIVATE KEY-----\n",
    "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "\x30\x82\xff\xff\x02\x01\x00",
};

Test(cli_pem, refuses_what_is_no_key)
{
    for (size_t i = 0; i < sizeof(no_keys) / sizeof(no_keys[0]); i++) {
        struct kv_buf file;
        EVP_PKEY *read = NULL;
        struct kv_err err = KV_ERR_INIT;
        kv_buf_init_secret(&file, 65536);
        cr_assert_eq(kv_buf_append_str(&file, no_keys[i]), 0);
        cr_expect_eq(kv_pem_load_key(&file, NULL, &read, &err), KV_E_INVALID);
        cr_expect_str_eq(err.id, "pem.no-key", "row %zu", i);
        kv_buf_free(&file);
    }
}

Test(cli_pem, refuses_types_that_a_vault_does_not_keep)
{
    static const char *const names[] = {"X25519", "ED448"};
    for (size_t i = 0; i < 3; i++) {
        EVP_PKEY *key = i < 2 ? EVP_PKEY_Q_keygen(NULL, NULL, names[i])
                              : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "secp224r1");
        json_t *jwk = NULL;
        struct kv_err err = KV_ERR_INIT;
        cr_assert_not_null(key);
        cr_expect_eq(kv_pem_to_jwk(key, &jwk, &err), KV_E_UNSUPPORTED);
        cr_expect_str_eq(err.id, "pem.unsupported-key");
        cr_expect_null(jwk);
        EVP_PKEY_free(key);
    }
}

static const char *const bad_jwks[] = {
    "{}",
    "{\"kty\":\"RSA\",\"n\":\"AQ\"}",
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQ\",\"y\":\"AQ\"}",
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AQ\"}",
    "{\"kty\":\"EC\",\"crv\":\"P-999\",\"x\":\"AQ\",\"y\":\"AQ\"}",
    "{\"kty\":\"RSA\",\"n\":\"*\",\"e\":\"AQAB\"}",
};

Test(cli_pem, refuses_public_keys_that_are_none)
{
    for (size_t i = 0; i < sizeof(bad_jwks) / sizeof(bad_jwks[0]); i++) {
        json_t *jwk = json_loads(bad_jwks[i], 0, NULL);
        struct kv_err err = KV_ERR_INIT;
        struct kv_buf spki;
        kv_buf_init(&spki, 4096);
        cr_assert_not_null(jwk);
        cr_expect_eq(kv_pem_jwk_spki(jwk, &spki, &err), KV_E_INVALID, "row %zu", i);
        cr_expect_str_eq(err.id, "pem.bad-jwk");
        cr_expect_eq(spki.len, 0);
        kv_buf_free(&spki);
        json_decref(jwk);
    }
}
