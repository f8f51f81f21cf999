/* RSA encryption: OAEP against plain EVP calls in both directions, RSA1_5 both
 * ways, and one answer for everything that goes wrong with a ciphertext. */
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "store/keyring/keys.h"

#define K 256

static struct kv_key *rsa;
static struct kv_key *ec;
static const uint8_t text[] = "attack at dawn";
static const uint8_t label[] = "label";

static void setup(void)
{
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_keys_init(&err), 0, "%s", err.message);
    cr_assert_eq(kv_key_generate(KV_KTY_RSA, 0, 2048, &rsa, &err), 0);
    cr_assert_eq(kv_key_generate(KV_KTY_EC, KV_CURVE_P256, 0, &ec, &err), 0);
}

static void teardown(void)
{
    kv_key_unref(rsa);
    kv_key_unref(ec);
    kv_keys_fini();
}

TestSuite(key_crypt, .timeout = 20, .init = setup, .fini = teardown);

static const struct {
    uint8_t md;
    uint8_t mgf1_md;
    const char *md_name;
    const char *mgf1_name;
    bool has_label;
} oaep[] = {
    {KV_MD_SHA1, KV_MD_SHA1, "SHA1", "SHA1", false},
    {KV_MD_SHA256, KV_MD_SHA256, "SHA256", "SHA256", true},
    {KV_MD_SHA256, KV_MD_SHA1, "SHA256", "SHA1", false},
    {KV_MD_SHA384, KV_MD_SHA384, "SHA384", "SHA384", false},
    {KV_MD_SHA512, KV_MD_SHA256, "SHA512", "SHA256", true},
    {KV_MD_SHA256, KV_MD_SHA256, "SHA256", "SHA256", false},
};
#define N_OAEP (sizeof(oaep) / sizeof(oaep[0]))

static struct kv_msg_decrypt oaep_message(size_t row, struct kv_bytes input)
{
    struct kv_msg_decrypt msg = {.enc = KV_ENC_OAEP,
                                 .md = oaep[row].md,
                                 .mgf1_md = oaep[row].mgf1_md,
                                 .input = input};
    if (oaep[row].has_label)
        msg.label = (struct kv_bytes){label, sizeof(label)};
    return msg;
}

static void evp_encrypt_oaep(size_t row, uint8_t ciphertext[K])
{
    struct kv_bytes spki = kv_key_spki(rsa);
    const uint8_t *at = spki.data;
    size_t len = K;
    EVP_PKEY *pub = d2i_PUBKEY(NULL, &at, (long)spki.len);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pub, NULL);
    cr_assert_eq(EVP_PKEY_encrypt_init(ctx), 1);
    cr_assert_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    cr_assert_eq(EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, oaep[row].md_name, NULL), 1);
    cr_assert_eq(EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, oaep[row].mgf1_name, NULL), 1);
    if (oaep[row].has_label)
        cr_assert_eq(EVP_PKEY_CTX_set0_rsa_oaep_label(
                         ctx, OPENSSL_memdup(label, sizeof(label)), sizeof(label)),
                     1);
    cr_assert_eq(EVP_PKEY_encrypt(ctx, ciphertext, &len, text, sizeof(text)), 1);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(pub);
}

Test(key_crypt, oaep_opens_what_plain_evp_sealed)
{
    /* Twice over all rows: the second round uses contexts of the first, and a
     * row without label follows one with. */
    for (size_t i = 0; i < 2 * N_OAEP; i++) {
        uint8_t ciphertext[K];
        struct kv_buf out;
        struct kv_err err = KV_ERR_INIT;
        kv_buf_init_secret(&out, K);
        evp_encrypt_oaep(i % N_OAEP, ciphertext);
        struct kv_msg_decrypt msg =
            oaep_message(i % N_OAEP, (struct kv_bytes){ciphertext, K});
        cr_assert_eq(kv_key_decrypt(rsa, 0, &msg, &out, &err), 0, "row %zu: %s", i,
                     err.message);
        cr_assert_eq(out.len, sizeof(text));
        cr_expect_eq(memcmp(out.data, text, sizeof(text)), 0);
        kv_buf_free(&out);
    }
}

Test(key_crypt, oaep_and_rsa1_5_round_trips)
{
    for (size_t i = 0; i <= N_OAEP; i++) {
        struct kv_buf sealed;
        struct kv_buf out;
        kv_buf_init(&sealed, K);
        kv_buf_init_secret(&out, K);
        struct kv_msg_decrypt msg = {.enc = KV_ENC_RSA1_5};
        if (i < N_OAEP)
            msg = oaep_message(i, (struct kv_bytes){NULL, 0});
        msg.input = (struct kv_bytes){text, sizeof(text)};
        cr_assert_eq(kv_key_encrypt(rsa, 2, &msg, &sealed, NULL), 0, "row %zu", i);
        cr_assert_eq(sealed.len, K);
        msg.input = (struct kv_bytes){sealed.data, sealed.len};
        cr_assert_eq(kv_key_decrypt(rsa, 2, &msg, &out, NULL), 0, "row %zu", i);
        cr_assert_eq(out.len, sizeof(text), "row %zu: %zu", i, out.len);
        cr_expect_eq(memcmp(out.data, text, sizeof(text)), 0);
        kv_buf_free(&sealed);
        kv_buf_free(&out);
    }
}

Test(key_crypt, label_of_the_last_call_does_not_stick)
{
    uint8_t with[K];
    uint8_t without[K];
    struct kv_buf out;
    evp_encrypt_oaep(1, with);
    evp_encrypt_oaep(5, without);
    kv_buf_init_secret(&out, 4 * K);
    struct kv_msg_decrypt msg = oaep_message(1, (struct kv_bytes){with, K});
    cr_assert_eq(kv_key_decrypt(rsa, 0, &msg, &out, NULL), 0);
    msg = oaep_message(5, (struct kv_bytes){without, K});
    cr_expect_eq(kv_key_decrypt(rsa, 0, &msg, &out, NULL), 0);
    msg = oaep_message(5, (struct kv_bytes){with, K});
    cr_expect_eq(kv_key_decrypt(rsa, 0, &msg, &out, NULL), KV_E_CRYPTO);
    kv_buf_free(&out);
}

Test(key_crypt, empty_plaintext_is_served)
{
    static const uint8_t encs[] = {KV_ENC_OAEP, KV_ENC_RSA1_5};
    for (size_t i = 0; i < 2; i++) {
        struct kv_buf sealed;
        struct kv_buf out;
        kv_buf_init(&sealed, K);
        kv_buf_init_secret(&out, K);
        struct kv_msg_decrypt msg = {.enc = encs[i]};
        if (encs[i] == KV_ENC_OAEP)
            msg.md = msg.mgf1_md = KV_MD_SHA256;
        cr_assert_eq(kv_key_encrypt(rsa, 0, &msg, &sealed, NULL), 0);
        msg.input = (struct kv_bytes){sealed.data, sealed.len};
        cr_assert_eq(kv_key_decrypt(rsa, 0, &msg, &out, NULL), 0);
        cr_expect_eq(out.len, 0);
        kv_buf_free(&sealed);
        kv_buf_free(&out);
    }
}

Test(key_crypt, every_damaged_ciphertext_gets_the_same_answer)
{
    static const size_t lens[] = {0, 1, K - 1, K, K + 1};
    char message[KV_ERR_TEXT_MAX] = "";
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        uint8_t ciphertext[K + 1] = {0};
        struct kv_buf out;
        struct kv_err err = KV_ERR_INIT;
        evp_encrypt_oaep(0, ciphertext);
        ciphertext[100] ^= 1;
        kv_buf_init_secret(&out, K);
        struct kv_msg_decrypt msg = oaep_message(
            0, (struct kv_bytes){lens[i] > 0 ? ciphertext : NULL, lens[i]});
        cr_expect_eq(kv_key_decrypt(rsa, 0, &msg, &out, &err), KV_E_CRYPTO);
        cr_expect_str_eq(err.id, "key.decrypt-failed");
        if (i == 0)
            memcpy(message, err.message, sizeof(message));
        cr_expect_str_eq(err.message, message);
        cr_expect_eq(out.len, 0);
        kv_buf_free(&out);
    }
}

Test(key_crypt, refuses_what_does_not_fit_the_key)
{
    static const uint8_t big[K] = {1};
    static const struct {
        const char *why;
        bool is_ec;
        struct kv_msg_decrypt msg;
        const char *id;
    } bad[] = {
        {"EC key", true, {.enc = KV_ENC_OAEP, .md = 3, .mgf1_md = 3}, "key.bad-scheme"},
        {"no scheme", false, {.enc = 0}, "key.bad-scheme"},
        {"unknown scheme", false, {.enc = 9}, "key.bad-scheme"},
        {"OAEP without digest", false, {.enc = KV_ENC_OAEP}, "key.bad-digest"},
        {"OAEP without MGF1", false, {.enc = KV_ENC_OAEP, .md = 3}, "key.bad-digest"},
        {"RSA1_5 with digest",
         false,
         {.enc = KV_ENC_RSA1_5, .md = 3},
         "key.bad-scheme"},
        {"TLS with label",
         false,
         {.enc = KV_ENC_TLS, .label = {label, 3}},
         "key.bad-scheme"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct kv_buf out;
        struct kv_err err = KV_ERR_INIT;
        struct kv_msg_decrypt msg = bad[i].msg;
        msg.input = (struct kv_bytes){big, K};
        kv_buf_init_secret(&out, K);
        cr_expect_eq(kv_key_decrypt(bad[i].is_ec ? ec : rsa, 0, &msg, &out, &err),
                     KV_E_INVALID, "%s", bad[i].why);
        cr_expect_str_eq(err.id, bad[i].id, "%s", bad[i].why);
        err = KV_ERR_INIT;
        msg.input.len = 8;
        cr_expect_eq(kv_key_encrypt(bad[i].is_ec ? ec : rsa, 0, &msg, &out, &err),
                     KV_E_INVALID, "%s", bad[i].why);
        cr_expect_str_eq(err.id, bad[i].id, "%s", bad[i].why);
        cr_expect_eq(out.len, 0);
        kv_buf_free(&out);
    }
}

Test(key_crypt, plaintext_limits_are_exact)
{
    static const uint8_t big[K] = {1};
    static const struct {
        uint8_t enc;
        uint8_t md;
        size_t max;
    } limits[] = {
        {KV_ENC_RSA1_5, 0, K - 11},
        {KV_ENC_OAEP, KV_MD_SHA1, K - 42},
        {KV_ENC_OAEP, KV_MD_SHA256, K - 66},
        {KV_ENC_OAEP, KV_MD_SHA512, K - 130},
    };
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct kv_buf out;
        struct kv_err err = KV_ERR_INIT;
        kv_buf_init(&out, 2 * K);
        struct kv_msg_decrypt msg = {.enc = limits[i].enc,
                                     .md = limits[i].md,
                                     .mgf1_md = limits[i].md,
                                     .input = {big, limits[i].max}};
        cr_expect_eq(kv_key_encrypt(rsa, 0, &msg, &out, &err), 0, "row %zu", i);
        msg.input.len++;
        cr_expect_eq(kv_key_encrypt(rsa, 0, &msg, &out, &err), KV_E_TOO_BIG);
        cr_expect_str_eq(err.id, "key.input-too-big");
        cr_expect_eq(out.len, K);
        kv_buf_free(&out);
    }
}

Test(key_crypt, tls_is_for_decryption_only)
{
    struct kv_buf out;
    struct kv_err err = KV_ERR_INIT;
    kv_buf_init(&out, K);
    struct kv_msg_decrypt msg = {.enc = KV_ENC_TLS, .input = {text, sizeof(text)}};
    cr_expect_eq(kv_key_encrypt(rsa, 0, &msg, &out, &err), KV_E_INVALID);
    cr_expect_str_eq(err.id, "key.bad-scheme");
    kv_buf_free(&out);
}
