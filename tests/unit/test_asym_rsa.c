/* RSA decryption by the vault: every padding and parameter as a host may set them, and
 * what the local side encrypts the vault opens. */
#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

#include "tests/support/provider_fixture.h"

static struct provider_fixture fixture;
static EVP_PKEY *key;

static void setup(void)
{
    provider_fixture_open(&fixture, NULL);
    key = provider_fixture_key(&fixture, "keyvault:///keys/rsa");
    cr_assert_not_null(key);
}

static void teardown(void)
{
    EVP_PKEY_free(key);
    provider_fixture_close(&fixture);
}

TestSuite(asym_rsa, .timeout = 20, .init = setup, .fini = teardown);

static const char text[] = "a secret";

struct scheme {
    int padding;
    const char *md; /* OAEP */
    const char *mgf1;
    const char *label;
};

static const struct scheme schemes[] = {
    {RSA_PKCS1_PADDING, NULL, NULL, NULL},
    {RSA_PKCS1_OAEP_PADDING, NULL, NULL, NULL},
    {RSA_PKCS1_OAEP_PADDING, "SHA256", NULL, NULL},
    {RSA_PKCS1_OAEP_PADDING, "SHA256", "SHA1", "a label"},
    {RSA_PKCS1_OAEP_PADDING, "SHA2-512", "SHA2-384", NULL},
};

static void set(EVP_PKEY_CTX *ctx, const struct scheme *s)
{
    cr_assert_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, s->padding), 1);
    if (s->md != NULL)
        cr_assert_eq(EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, s->md, NULL), 1);
    if (s->mgf1 != NULL)
        cr_assert_eq(EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, s->mgf1, NULL), 1);
    if (s->label != NULL)
        cr_assert_eq(EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, OPENSSL_strdup(s->label),
                                                      (int)strlen(s->label)),
                     1);
}

static EVP_PKEY_CTX *context(void)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(fixture.libctx, key, NULL);
    cr_assert_not_null(ctx);
    return ctx;
}

/* Encrypt `text` with the local public part. */
static size_t encrypt(const struct scheme *s, unsigned char out[512])
{
    size_t len = 512;
    EVP_PKEY_CTX *ctx = context();
    cr_assert_eq(EVP_PKEY_encrypt_init(ctx), 1);
    set(ctx, s);
    cr_assert_eq(
        EVP_PKEY_encrypt(ctx, out, &len, (const unsigned char *)text, sizeof(text)), 1);
    EVP_PKEY_CTX_free(ctx);
    return len;
}

static void expect_text(EVP_PKEY_CTX *ctx, const unsigned char *sealed, size_t len)
{
    unsigned char plain[512];
    size_t plain_len = sizeof(plain);
    cr_assert_eq(EVP_PKEY_decrypt(ctx, plain, &plain_len, sealed, len), 1);
    cr_expect_eq(plain_len, sizeof(text));
    cr_expect_eq(memcmp(plain, text, sizeof(text)), 0);
}

Test(asym_rsa, every_scheme_opens_what_it_sealed)
{
    unsigned char sealed[512];
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        const unsigned before = fake_keyring_counts(fixture.keyring)->requests;
        const size_t len = encrypt(&schemes[i], sealed);
        cr_expect_eq(len, 256);
        cr_expect_eq(fake_keyring_counts(fixture.keyring)->requests, before,
                     "encryption asks nobody");
        EVP_PKEY_CTX *ctx = context();
        cr_assert_eq(EVP_PKEY_decrypt_init(ctx), 1);
        set(ctx, &schemes[i]);
        size_t size = 0;
        cr_expect_eq(EVP_PKEY_decrypt(ctx, NULL, &size, sealed, len), 1);
        cr_expect_eq(size, 256, "the size is known without asking");
        expect_text(ctx, sealed, len);
        EVP_PKEY_CTX *copy = EVP_PKEY_CTX_dup(ctx);
        cr_assert_not_null(copy);
        EVP_PKEY_CTX_free(ctx);
        expect_text(copy, sealed, len);
        EVP_PKEY_CTX_free(copy);
    }
}

Test(asym_rsa, parameters_read_back)
{
    const struct scheme *s = &schemes[3];
    char md[32] = "";
    char mgf1[32] = "";
    int padding = 0;
    unsigned char *label = NULL;
    EVP_PKEY_CTX *ctx = context();
    cr_assert_eq(EVP_PKEY_decrypt_init(ctx), 1);
    set(ctx, s);
    cr_expect_gt(EVP_PKEY_CTX_get_rsa_padding(ctx, &padding), 0);
    cr_expect_eq(padding, RSA_PKCS1_OAEP_PADDING);
    cr_expect_eq(EVP_PKEY_CTX_get_rsa_oaep_md_name(ctx, md, sizeof(md)), 1);
    cr_expect_str_eq(md, "SHA256");
    cr_expect_eq(EVP_PKEY_CTX_get_rsa_mgf1_md_name(ctx, mgf1, sizeof(mgf1)), 1);
    cr_expect_str_eq(mgf1, "SHA1");
    const int len = EVP_PKEY_CTX_get0_rsa_oaep_label(ctx, &label);
    cr_assert_eq(len, (int)strlen(s->label));
    cr_expect_eq(memcmp(label, s->label, strlen(s->label)), 0);
    cr_assert_eq(EVP_PKEY_decrypt_init(ctx), 1);
    cr_expect_gt(EVP_PKEY_CTX_get_rsa_padding(ctx, &padding), 0);
    cr_expect_eq(padding, RSA_PKCS1_PADDING, "a new operation begins anew");
    EVP_PKEY_CTX_free(ctx);
}

Test(asym_rsa, padding_by_name)
{
    static const struct {
        const char *name;
        bool ok;
    } rows[] = {{"pkcs1", true}, {"oaep", true}, {"none", false}, {"x931", false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char name[16] = "";
        char back[16] = "";
        OSSL_PARAM params[] = {
            OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, name, 0),
            OSSL_PARAM_END};
        OSSL_PARAM get[] = {
            OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, back, sizeof(back)),
            OSSL_PARAM_END};
        (void)strcpy(name, rows[i].name);
        params[0].data_size = strlen(name);
        EVP_PKEY_CTX *ctx = context();
        cr_assert_eq(EVP_PKEY_decrypt_init(ctx), 1);
        cr_expect_eq(EVP_PKEY_CTX_set_params(ctx, params) == 1, rows[i].ok, "%s", name);
        cr_expect_eq(EVP_PKEY_CTX_get_params(ctx, get), 1);
        cr_expect_str_eq(back, rows[i].ok ? rows[i].name : "pkcs1");
        EVP_PKEY_CTX_free(ctx);
        ERR_clear_error();
    }
}

Test(asym_rsa, what_cannot_be_is_refused)
{
    static unsigned char label[5000];
    unsigned char sealed[512];
    unsigned char plain[4];
    size_t plain_len = sizeof(plain);
    const size_t len = encrypt(&schemes[0], sealed);
    OSSL_PARAM long_label[] = {
        OSSL_PARAM_octet_string(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, label,
                                sizeof(label)),
        OSSL_PARAM_END};
    EVP_PKEY_CTX *ctx = context();
    cr_assert_eq(EVP_PKEY_decrypt_init(ctx), 1);
    cr_assert_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    cr_expect_leq(EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, "MD5", NULL), 0);
    cr_expect_leq(EVP_PKEY_CTX_set_params(ctx, long_label), 0);
    cr_assert_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING), 1);
    cr_expect_leq(EVP_PKEY_decrypt(ctx, plain, &plain_len, sealed, len), 0,
                  "the plaintext does not fit");
    expect_text(ctx, sealed, len);
    cr_expect_leq(EVP_PKEY_decrypt(ctx, sealed, &plain_len, sealed, 3), 0,
                  "no ciphertext of this key");
    EVP_PKEY_CTX_free(ctx);
    cr_expect_neq(ERR_peek_error(), 0, "each refusal has its reason");
    ERR_clear_error();
}
