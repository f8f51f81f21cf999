/* Implicit rejection: answers equal those of an independent implementation
 * (tests/fixtures/keys/implicit_rejection.py), bad padding looks like good, TLS
 * always gets 48 bytes. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>

#include "store/core/str.h"
#include "store/keyring/key_internal.h"
#include "store/keyring/rsa_unpad.h"
#include "tests/support/fixture.h"

#define K 256

static struct kv_key *key;

static void setup(void)
{
    struct kv_buf pem;
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_keys_init(&err), 0, "%s", err.message);
    fixture_read("keys/rsa2048.pem", &pem);
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    EVP_PKEY *pkey =
        PEM_read_bio_PrivateKey_ex(bio, NULL, NULL, NULL, kv_keys_libctx(), NULL);
    cr_assert_not_null(pkey);
    cr_assert_eq(kv_key_take(pkey, &key, &err), 0, "%s", err.message);
    BIO_free(bio);
    kv_buf_free(&pem);
}

static void teardown(void)
{
    kv_key_unref(key);
    kv_keys_fini();
}

TestSuite(rsa_unpad, .timeout = 20, .init = setup, .fini = teardown);

/* RSA encryption of a whole block by the public half. */
static void encrypt_block(const uint8_t block[K], uint8_t ciphertext[K])
{
    size_t len = K;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(kv_keys_libctx(), key->pkey, NULL);
    cr_assert_eq(EVP_PKEY_encrypt_init(ctx), 1);
    cr_assert_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING), 1);
    cr_assert_eq(EVP_PKEY_encrypt(ctx, ciphertext, &len, block, K), 1);
    cr_assert_eq(len, K);
    EVP_PKEY_CTX_free(ctx);
}

static void check_line(const char *line, size_t number)
{
    char cipher_hex[2 * K + 1];
    char plain_hex[2 * K + 1];
    uint8_t ciphertext[K];
    uint8_t expected[K] = {0};
    int is_good = -1;
    cr_assert_eq(sscanf(line, "%512s %d %512s", cipher_hex, &is_good, plain_hex), 3);
    cr_assert_eq(kv_hex_decode(ciphertext, K, cipher_hex), 0);
    size_t len = strcmp(plain_hex, "-") == 0 ? 0 : strlen(plain_hex) / 2;
    cr_assert_eq(kv_hex_decode(expected, len, len > 0 ? plain_hex : ""), 0);
    for (int round = 0; round < 2; round++) {
        struct kv_buf out;
        struct kv_err err = KV_ERR_INIT;
        kv_buf_init_secret(&out, K);
        struct kv_bytes in = {.data = ciphertext, .len = K};
        cr_assert_eq(kv_rsa_decrypt_pkcs1(key, 0, in, &out, &err), 0, "line %zu: %s",
                     number, err.message);
        cr_assert_eq(out.len, len, "line %zu: %zu bytes, not %zu", number, out.len,
                     len);
        cr_expect_eq(memcmp(out.data, expected, len), 0, "line %zu", number);
        kv_buf_free(&out);
    }
}

Test(rsa_unpad, equals_an_independent_implementation)
{
    struct kv_buf text;
    fixture_read("keys/implicit_rejection.txt", &text);
    size_t number = 0;
    const char *line = kv_buf_cstr(&text);
    while (line != NULL && *line != '\0') {
        check_line(line, ++number);
        const char *end = strchr(line, '\n');
        line = end != NULL ? end + 1 : NULL;
    }
    cr_expect_geq(number, 50);
    kv_buf_free(&text);
}

Test(rsa_unpad, message_of_every_length_survives)
{
    uint8_t kdk[KV_RSA_KDK_LEN] = {1};
    for (size_t len = 0; len <= K - 11; len++) {
        uint8_t em[K];
        size_t got = 0;
        memset(em, 0x5a, sizeof(em));
        em[0] = 0;
        em[1] = 2;
        em[K - len - 1] = 0;
        for (size_t i = K - len; i < K; i++)
            em[i] = (uint8_t)i;
        cr_assert_eq(kv_rsa_unpad_implicit(em, K, kdk, &got), 0);
        cr_assert_eq(got, len);
        for (size_t i = 0; i < len; i++)
            cr_assert_eq(em[i], (uint8_t)(K - len + i), "length %zu", len);
    }
}

Test(rsa_unpad, every_single_bad_byte_leads_to_the_synthetic_message)
{
    uint8_t kdk[KV_RSA_KDK_LEN] = {7};
    uint8_t synthetic[K] = {0};
    size_t synthetic_len = 0;
    cr_assert_eq(kv_rsa_unpad_implicit(synthetic, K, kdk, &synthetic_len), 0);
    cr_assert_leq(synthetic_len, K - 11);
    for (size_t at = 0; at < 10; at++) {
        uint8_t em[K];
        size_t len = 0;
        memset(em, 0x5a, sizeof(em));
        em[0] = 0;
        em[1] = 2;
        em[K - 49] = 0;
        em[at] = at == 0 ? 1 : 0;
        cr_assert_eq(kv_rsa_unpad_implicit(em, K, kdk, &len), 0);
        cr_expect_eq(len, synthetic_len, "byte %zu", at);
        cr_expect_eq(memcmp(em, synthetic, len), 0, "byte %zu", at);
    }
}

Test(rsa_unpad, another_ciphertext_another_answer)
{
    uint8_t block[K] = {0};
    uint8_t ciphertext[2][K];
    struct kv_buf out[2];
    for (size_t i = 0; i < 2; i++) {
        block[1] = (uint8_t)(3 + i);
        encrypt_block(block, ciphertext[i]);
        kv_buf_init_secret(&out[i], K);
        struct kv_bytes in = {.data = ciphertext[i], .len = K};
        cr_assert_eq(kv_rsa_decrypt_pkcs1(key, 0, in, &out[i], NULL), 0);
    }
    cr_expect(out[0].len != out[1].len ||
              memcmp(out[0].data, out[1].data, out[0].len) != 0);
    kv_buf_free(&out[0]);
    kv_buf_free(&out[1]);
}

Test(rsa_unpad, only_what_anyone_sees_is_an_error)
{
    static const uint8_t big[K + 1] = {[0 ... K] = 0xff};
    static const size_t lens[] = {0, 1, K - 1, K, K + 1};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct kv_buf out;
        struct kv_err err = KV_ERR_INIT;
        kv_buf_init_secret(&out, K);
        struct kv_bytes in = {.data = lens[i] > 0 ? big : NULL, .len = lens[i]};
        cr_expect_eq(kv_rsa_decrypt_pkcs1(key, 0, in, &out, &err), KV_E_CRYPTO);
        cr_expect_str_eq(err.id, "key.decrypt-failed");
        cr_expect_eq(out.len, 0);
        kv_buf_free(&out);
    }
}

/* A block with a premaster secret of this version, and what changed in it. */
static void tls_block(uint8_t em[K], uint16_t version)
{
    memset(em, 0x5a, K);
    em[0] = 0;
    em[1] = 2;
    em[K - 49] = 0;
    for (size_t i = 0; i < 48; i++)
        em[K - 48 + i] = (uint8_t)(100 + i);
    em[K - 48] = (uint8_t)(version >> 8);
    em[K - 47] = (uint8_t)version;
}

static const struct {
    const char *why;
    uint16_t inside;
    uint16_t client;
    uint16_t negotiated;
    size_t change_at;
    uint8_t change_to;
    bool is_good;
} tls_cases[] = {
    {"sound", 0x0303, 0x0303, 0, 0, 0, true},
    {"old client, negotiated accepted", 0x0302, 0x0303, 0x0302, 0, 0, true},
    {"other version", 0x0302, 0x0303, 0, 0, 0, false},
    {"version 0 is not accepted as none", 0x0000, 0x0303, 0, 0, 0, false},
    {"neither version", 0x0301, 0x0303, 0x0302, 0, 0, false},
    {"first byte", 0x0303, 0x0303, 0, 0, 1, false},
    {"block type", 0x0303, 0x0303, 0, 1, 1, false},
    {"zero in the padding", 0x0303, 0x0303, 0, 2, 0, false},
    {"zero before the separator", 0x0303, 0x0303, 0, K - 50, 0, false},
    {"no separator", 0x0303, 0x0303, 0, K - 49, 9, false},
};

Test(rsa_unpad, tls_always_answers_48_bytes)
{
    for (size_t i = 0; i < sizeof(tls_cases) / sizeof(tls_cases[0]); i++) {
        uint8_t em[K];
        uint8_t ciphertext[K];
        struct kv_buf out[2];
        tls_block(em, tls_cases[i].inside);
        if (tls_cases[i].change_at != 0 || tls_cases[i].change_to != 0)
            em[tls_cases[i].change_at] = tls_cases[i].change_to;
        encrypt_block(em, ciphertext);
        struct kv_msg_decrypt msg = {.enc = KV_ENC_TLS,
                                     .tls_client_version = tls_cases[i].client,
                                     .tls_negotiated_version = tls_cases[i].negotiated,
                                     .input = {ciphertext, K}};
        for (size_t j = 0; j < 2; j++) {
            kv_buf_init_secret(&out[j], K);
            cr_assert_eq(kv_rsa_decrypt_tls(key, 1, &msg, &out[j], NULL), 0);
            cr_assert_eq(out[j].len, 48, "%s", tls_cases[i].why);
        }
        bool is_secret = memcmp(out[0].data, em + K - 48, 48) == 0;
        cr_expect_eq(is_secret, tls_cases[i].is_good, "%s", tls_cases[i].why);
        bool is_same = memcmp(out[0].data, out[1].data, 48) == 0;
        cr_expect_eq(is_same, tls_cases[i].is_good, "%s", tls_cases[i].why);
        kv_buf_free(&out[0]);
        kv_buf_free(&out[1]);
    }
}

Test(rsa_unpad, tls_answers_48_bytes_to_ciphertexts_of_any_shape)
{
    static const uint8_t big[600] = {[0 ... 599] = 0xff};
    static const size_t lens[] = {0, 1, 48, K - 1, K, K + 1, 600};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct kv_buf out;
        struct kv_msg_decrypt msg = {.enc = KV_ENC_TLS,
                                     .tls_client_version = 0x0303,
                                     .input = {lens[i] > 0 ? big : NULL, lens[i]}};
        kv_buf_init_secret(&out, K);
        cr_assert_eq(kv_rsa_decrypt_tls(key, 0, &msg, &out, NULL), 0);
        cr_expect_eq(out.len, 48);
        kv_buf_free(&out);
    }
}
