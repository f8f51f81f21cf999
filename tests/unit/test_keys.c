/* Soft keys: generation, PKCS#8 both ways, SPKI, and life under references. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "store/keyring/key_internal.h"

static const struct {
    uint8_t kty;
    uint8_t curve;
    uint16_t bits;
    uint16_t expected_bits;
    const char *type;
} types[] = {
    {KV_KTY_RSA, 0, 2048, 2048, "RSA"},
    {KV_KTY_RSA, 0, 3072, 3072, "RSA"},
    {KV_KTY_EC, KV_CURVE_P256, 0, 256, "EC"},
    {KV_KTY_EC, KV_CURVE_P384, 0, 384, "EC"},
    {KV_KTY_EC, KV_CURVE_P521, 0, 521, "EC"},
    {KV_KTY_EC, KV_CURVE_P256K, 0, 256, "EC"},
    {KV_KTY_OKP, KV_CURVE_ED25519, 0, 256, "ED25519"},
};
#define N_TYPES (sizeof(types) / sizeof(types[0]))

static void setup(void)
{
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_keys_init(&err), 0, "%s", err.message);
}

TestSuite(keys, .timeout = 20, .init = setup, .fini = kv_keys_fini);

Test(keys, generates_and_describes_every_type)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        struct kv_err err = KV_ERR_INIT;
        struct kv_key *key = NULL;
        cr_assert_eq(
            kv_key_generate(types[i].kty, types[i].curve, types[i].bits, &key, &err), 0,
            "row %zu: %s", i, err.message);
        cr_expect_eq(kv_key_kty(key), types[i].kty);
        cr_expect_eq(kv_key_curve(key), types[i].curve);
        cr_expect_eq(kv_key_bits(key), types[i].expected_bits);
        cr_expect_eq(kv_key_is_slow(key), types[i].bits > 2048);
        struct kv_bytes spki = kv_key_spki(key);
        const uint8_t *at = spki.data;
        EVP_PKEY *pub = d2i_PUBKEY(NULL, &at, (long)spki.len);
        cr_assert_not_null(pub);
        cr_expect(EVP_PKEY_is_a(pub, types[i].type));
        cr_expect_eq(at, spki.data + spki.len);
        EVP_PKEY_free(pub);
        cr_expect_eq(kv_key_check(key, &err), 0, "row %zu: %s", i, err.message);
        kv_key_unref(key);
    }
}

Test(keys, pkcs8_round_trip_keeps_the_key)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        struct kv_err err = KV_ERR_INIT;
        struct kv_key *key = NULL;
        struct kv_key *again = NULL;
        struct kv_buf der;
        struct kv_buf der_again;
        kv_buf_init_secret(&der, KV_BODY_MAX);
        kv_buf_init_secret(&der_again, KV_BODY_MAX);
        cr_assert_eq(
            kv_key_generate(types[i].kty, types[i].curve, types[i].bits, &key, &err),
            0);
        cr_assert_eq(kv_key_to_pkcs8(key, &der), 0);
        struct kv_bytes bytes = {.data = der.data, .len = der.len};
        cr_assert_eq(kv_key_from_pkcs8(bytes, &again, &err), 0, "row %zu: %s", i,
                     err.message);
        cr_expect_eq(kv_key_bits(again), kv_key_bits(key));
        cr_assert_eq(kv_key_spki(again).len, kv_key_spki(key).len);
        cr_expect_eq(memcmp(kv_key_spki(again).data, kv_key_spki(key).data,
                            kv_key_spki(key).len),
                     0);
        cr_assert_eq(kv_key_to_pkcs8(again, &der_again), 0);
        cr_assert_eq(der_again.len, der.len);
        cr_expect_eq(memcmp(der_again.data, der.data, der.len), 0);
        kv_buf_free(&der);
        kv_buf_free(&der_again);
        kv_key_unref(again);
        kv_key_unref(key);
    }
}

Test(keys, rejects_types_that_are_not_served)
{
    static const struct {
        uint8_t kty;
        uint8_t curve;
        uint16_t bits;
    } bad[] = {
        {0, 0, 0},
        {9, 0, 2048},
        {KV_KTY_RSA, 0, 1024},
        {KV_KTY_RSA, 0, 2049},
        {KV_KTY_RSA, 0, 8192},
        {KV_KTY_EC, 0, 0},
        {KV_KTY_EC, KV_CURVE_ED25519, 0},
        {KV_KTY_EC, 77, 0},
        {KV_KTY_OKP, KV_CURVE_P256, 0},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct kv_err err = KV_ERR_INIT;
        struct kv_key *key = NULL;
        cr_expect_eq(kv_key_generate(bad[i].kty, bad[i].curve, bad[i].bits, &key, &err),
                     KV_E_INVALID, "row %zu", i);
        cr_expect_str_eq(err.id, "key.bad-type");
        cr_expect_null(key);
    }
}

Test(keys, rejects_pkcs8_that_is_cut_or_followed)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_key *key = NULL;
    struct kv_buf der;
    kv_buf_init_secret(&der, KV_BODY_MAX);
    cr_assert_eq(kv_key_generate(KV_KTY_EC, KV_CURVE_P256, 0, &key, &err), 0);
    cr_assert_eq(kv_key_to_pkcs8(key, &der), 0);
    size_t len = der.len;
    cr_assert_eq(kv_buf_append(&der, "x", 1), 0);
    for (size_t n = 0; n <= len + 1; n++) {
        struct kv_key *none = NULL;
        if (n == len)
            continue;
        err = KV_ERR_INIT;
        struct kv_bytes bytes = {.data = der.data, .len = n};
        cr_expect_eq(kv_key_from_pkcs8(bytes, &none, &err), KV_E_INVALID, "%zu", n);
        cr_expect_str_eq(err.id, "key.import-bad-der");
        cr_expect_null(none);
    }
    kv_buf_free(&der);
    kv_key_unref(key);
}

Test(keys, lives_until_the_last_reference)
{
    struct kv_key *key = NULL;
    cr_assert_eq(kv_key_generate(KV_KTY_OKP, KV_CURVE_ED25519, 0, &key, NULL), 0);
    cr_expect_eq(kv_key_ref(key), key);
    kv_key_unref(key);
    cr_expect_eq(kv_key_kty(key), KV_KTY_OKP);
    kv_key_unref(key);
    kv_key_unref(NULL);
}

Test(keys, slot_cache_replaces_the_oldest)
{
    struct kv_key *key = NULL;
    cr_assert_eq(kv_key_generate(KV_KTY_EC, KV_CURVE_P256, 0, &key, NULL), 0);
    cr_expect_null(kv_key_op_find(key, 3, 1));
    for (uint64_t tag = 1; tag <= KV_KEY_OPS + 1; tag++) {
        struct kv_key_op op = {.tag = tag};
        op.pctx = EVP_PKEY_CTX_new_from_pkey(kv_keys_libctx(), key->pkey, NULL);
        cr_assert_not_null(kv_key_op_put(key, 3, op));
    }
    cr_expect_null(kv_key_op_find(key, 3, 1));
    for (uint64_t tag = 2; tag <= KV_KEY_OPS + 1; tag++)
        cr_expect_not_null(kv_key_op_find(key, 3, tag));
    cr_expect_null(kv_key_op_find(key, 4, 2));
    kv_key_unref(key);
}

/* An openssl.cnf that makes every default fetch fail is not even read: one that
 * activates the keyvault provider would make the keyring call itself. */
Test(keys_config, reads_no_configuration, .timeout = 20)
{
    static const char text[] = "openssl_conf = init\n[init]\nalg_section = alg\n"
                               "providers = prov\n[alg]\n"
                               "default_properties = provider=nobody\n"
                               "[prov]\nnobody = nobody_sect\n[nobody_sect]\n"
                               "module = /nonexistent.so\nactivate = 1\n";
    char path[] = "/tmp/test_keys_XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, sizeof(text) - 1), (ssize_t)(sizeof(text) - 1));
    close(fd);
    cr_assert_eq(setenv("OPENSSL_CONF", path, 1), 0);

    struct kv_key *key = NULL;
    struct kv_buf sig;
    struct kv_err err = KV_ERR_INIT;
    static const uint8_t digest[32] = {1};
    struct kv_msg_sign msg = {
        .sig = KV_SIG_ECDSA, .md = KV_MD_SHA256, .input = {digest, sizeof(digest)}};
    kv_buf_init(&sig, 200);
    cr_expect_eq(kv_keys_init(&err), 0, "%s", err.message);
    cr_expect_eq(kv_key_generate(KV_KTY_EC, KV_CURVE_P256, 0, &key, &err), 0, "%s",
                 err.message);
    cr_expect_eq(kv_key_sign(key, 0, &msg, &sig, &err), 0, "%s", err.message);
    cr_expect_gt(sig.len, 60);
    kv_buf_free(&sig);
    kv_key_unref(key);
    kv_keys_fini();
    unlink(path);
}
