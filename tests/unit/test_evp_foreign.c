/* A program whose openssl.cnf activates keyvault loads its ordinary keys as it did
 * before: the same result and the same errors as without the module, for every form of
 * key, and for what is no key at all. */
#include <criterion/criterion.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <string.h>

#include "tests/support/evp_check.h"

static OSSL_LIB_CTX *plain;

static void setup(void)
{
    evp_check_open();
    plain = OSSL_LIB_CTX_new();
}

static void teardown(void)
{
    OSSL_LIB_CTX_free(plain);
    evp_check_close();
}

TestSuite(evp_foreign, .timeout = 60, .init = setup, .fini = teardown);

/* What became of an attempt. */
struct outcome {
    EVP_PKEY *key;
    unsigned long errors[8];
    unsigned n_errors;
    int64_t position; /* where the reader stopped */
};

static int password(char *buf, int size, int rwflag, void *arg)
{
    (void)rwflag;
    (void)arg;
    (void)snprintf(buf, (size_t)size, "secret");
    return 6;
}

static void finish(struct outcome *outcome, BIO *bio)
{
    unsigned long code = 0;
    outcome->position = BIO_tell(bio);
    while ((code = ERR_get_error()) != 0) {
        if (outcome->n_errors < 8)
            outcome->errors[outcome->n_errors] = code;
        outcome->n_errors++;
    }
    BIO_free(bio);
}

static struct outcome read_pem(OSSL_LIB_CTX *libctx, const void *data, size_t len)
{
    struct outcome outcome = {.n_errors = 0};
    BIO *bio = BIO_new_mem_buf(data, (int)len);
    outcome.key = PEM_read_bio_PrivateKey_ex(bio, NULL, password, NULL, libctx, NULL);
    finish(&outcome, bio);
    return outcome;
}

static struct outcome read_pubkey(OSSL_LIB_CTX *libctx, const void *data, size_t len)
{
    struct outcome outcome = {.n_errors = 0};
    BIO *bio = BIO_new_mem_buf(data, (int)len);
    outcome.key = PEM_read_bio_PUBKEY_ex(bio, NULL, password, NULL, libctx, NULL);
    finish(&outcome, bio);
    return outcome;
}

/* Whatever it is, as openssl(1) and many programs read keys. */
static struct outcome read_any(OSSL_LIB_CTX *libctx, const void *data, size_t len)
{
    struct outcome outcome = {.n_errors = 0};
    BIO *bio = BIO_new_mem_buf(data, (int)len);
    OSSL_DECODER_CTX *ctx =
        OSSL_DECODER_CTX_new_for_pkey(&outcome.key, NULL, NULL, NULL, 0, libctx, NULL);
    (void)OSSL_DECODER_CTX_set_pem_password_cb(ctx, password, NULL);
    (void)OSSL_DECODER_from_bio(ctx, bio);
    OSSL_DECODER_CTX_free(ctx);
    finish(&outcome, bio);
    return outcome;
}

static struct outcome read_der(OSSL_LIB_CTX *libctx, const void *data, size_t len)
{
    struct outcome outcome = {.n_errors = 0};
    BIO *bio = BIO_new_mem_buf(data, (int)len);
    outcome.key = d2i_PrivateKey_ex_bio(bio, NULL, libctx, NULL);
    finish(&outcome, bio);
    return outcome;
}

typedef struct outcome reader(OSSL_LIB_CTX *libctx, const void *data, size_t len);
static reader *const readers[] = {read_pem, read_pubkey, read_any, read_der};
static const char *const reader_names[] = {
    "PEM_read_bio_PrivateKey", "PEM_read_bio_PUBKEY", "OSSL_DECODER", "d2i_PrivateKey"};
#define N_READERS (sizeof(readers) / sizeof(readers[0]))

/* Returns how many of the readers got a key. */
static unsigned expect_same(const char *what, const void *data, size_t len)
{
    unsigned n = 0;
    for (size_t i = 0; i < N_READERS; i++) {
        struct outcome without = readers[i](plain, data, len);
        struct outcome with = readers[i](evp_fixture.libctx, data, len);
        cr_expect_eq(with.key != NULL, without.key != NULL, "%s by %s", what,
                     reader_names[i]);
        if (with.key != NULL && without.key != NULL) {
            n++;
            cr_expect(EVP_PKEY_eq(with.key, without.key) == 1 ||
                          EVP_PKEY_parameters_eq(with.key, without.key) == 1,
                      "%s by %s: the key, or bare parameters", what, reader_names[i]);
            cr_expect_str_eq(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(with.key)),
                             "default");
        }
        cr_expect_eq(with.n_errors, without.n_errors, "%s by %s: %u, not %u errors",
                     what, reader_names[i], with.n_errors, without.n_errors);
        for (unsigned e = 0; e < with.n_errors && e < 8; e++)
            cr_expect_eq(with.errors[e], without.errors[e], "%s by %s: %s", what,
                         reader_names[i], ERR_reason_error_string(with.errors[e]));
        cr_expect_eq(with.position, without.position, "%s by %s", what,
                     reader_names[i]);
        EVP_PKEY_free(with.key);
        EVP_PKEY_free(without.key);
        ERR_clear_error();
    }
    return n;
}

static EVP_PKEY *make(const char *type)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM group[] = {OSSL_PARAM_utf8_string("group", NULL, 0), OSSL_PARAM_END};
    char name[] = "P-384";
    if (strcmp(type, "EC") == 0)
        return EVP_PKEY_Q_keygen(plain, NULL, "EC", name);
    if (strcmp(type, "RSA") == 0)
        return EVP_PKEY_Q_keygen(plain, NULL, "RSA", (size_t)2048);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(plain, type, NULL);
    char dh[] = "ffdhe2048";
    group[0].data = dh;
    group[0].data_size = sizeof(dh) - 1;
    if (EVP_PKEY_keygen_init(ctx) != 1 ||
        (strcmp(type, "DH") == 0 && EVP_PKEY_CTX_set_params(ctx, group) != 1) ||
        EVP_PKEY_generate(ctx, &key) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    return key;
}

typedef int writer(BIO *out, EVP_PKEY *key);

static int pkcs8_pem(BIO *out, EVP_PKEY *key)
{
    return PEM_write_bio_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL);
}

static int encrypted_pem(BIO *out, EVP_PKEY *key)
{
    return PEM_write_bio_PKCS8PrivateKey(out, key, EVP_aes_128_cbc(), "secret", 6, NULL,
                                         NULL);
}

static int traditional_pem(BIO *out, EVP_PKEY *key)
{
    return PEM_write_bio_PrivateKey_traditional(out, key, NULL, NULL, 0, NULL, NULL);
}

static int public_pem(BIO *out, EVP_PKEY *key)
{
    return PEM_write_bio_PUBKEY(out, key);
}

static int pkcs8_der(BIO *out, EVP_PKEY *key)
{
    return i2d_PKCS8PrivateKey_bio(out, key, NULL, NULL, 0, NULL, NULL);
}

static int encrypted_der(BIO *out, EVP_PKEY *key)
{
    return i2d_PKCS8PrivateKey_bio(out, key, EVP_aes_128_cbc(), "secret", 6, NULL,
                                   NULL);
}

static int traditional_der(BIO *out, EVP_PKEY *key)
{
    return i2d_PrivateKey_bio(out, key);
}

static int public_der(BIO *out, EVP_PKEY *key)
{
    return i2d_PUBKEY_bio(out, key);
}

static int pem_behind_parameters(BIO *out, EVP_PKEY *key)
{
    return PEM_write_bio_Parameters(out, key) && pkcs8_pem(out, key);
}

static int pem_behind_certificate(BIO *out, EVP_PKEY *key)
{
    X509 *cert = evp_check_certificate("web", evp_fixture.libctx);
    int ok = PEM_write_bio_X509(out, cert) && pkcs8_pem(out, key) &&
             PEM_write_bio_X509(out, cert);
    X509_free(cert);
    return ok;
}

Test(evp_foreign, ordinary_keys_load_as_without_the_module)
{
    static const char *const types[] = {"RSA",   "RSA-PSS", "EC", "ED25519",
                                        "ED448", "X25519",  "DH"};
    static const struct {
        const char *name;
        writer *write;
    } forms[] = {{"PKCS#8 PEM", pkcs8_pem},
                 {"encrypted PEM", encrypted_pem},
                 {"traditional PEM", traditional_pem},
                 {"public PEM", public_pem},
                 {"PKCS#8 DER", pkcs8_der},
                 {"encrypted DER", encrypted_der},
                 {"traditional DER", traditional_der},
                 {"public DER", public_der},
                 {"PEM behind parameters", pem_behind_parameters},
                 {"PEM behind a certificate", pem_behind_certificate}};
    for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
        EVP_PKEY *key = make(types[t]);
        cr_assert_not_null(key, "%s", types[t]);
        for (size_t f = 0; f < sizeof(forms) / sizeof(forms[0]); f++) {
            char what[64];
            char *data = NULL;
            BIO *out = BIO_new(BIO_s_mem());
            (void)snprintf(what, sizeof(what), "%s, %s", types[t], forms[f].name);
            int ok = forms[f].write(out, key);
            ERR_clear_error(); /* not every type has every form */
            const long len = BIO_get_mem_data(out, &data);
            if (ok == 1)
                cr_expect_gt(expect_same(what, data, (size_t)len), 0u, "%s", what);
            BIO_free(out);
        }
        EVP_PKEY_free(key);
    }
    cr_expect_eq(fake_keyring_counts(evp_fixture.keyring)->signs, 0u);
}

Test(evp_foreign, what_is_no_key_fails_as_without_the_module)
{
    static const char *const texts[] = {
        "",
        "\n",
        "no key",
        "-----BEGIN PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\n!!\n-----END RSA PRIVATE KEY-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN -----\n-----END -----\n",
        "-----BEGIN A-----\n-----BEGIN B-----\n-----END B-----\n-----END A-----\n",
        "\x30\x82\x01",
        "\x30\x80\x02\x01\x01",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        (void)expect_same(texts[i], texts[i], strlen(texts[i]));
    unsigned char noise[6000];
    uint32_t state = 1;
    for (size_t n = 0; n < 40; n++) {
        for (size_t i = 0; i < sizeof(noise); i++) {
            state = state * 1664525u + 1013904223u;
            noise[i] = (unsigned char)(state >> 24);
        }
        noise[0] = n % 2 == 0 ? 0x30 : noise[0];
        (void)expect_same("noise", noise, n % 4 < 2 ? 100 : sizeof(noise));
    }
    cr_expect_eq(evp_check_frames(), 0u, "nobody is asked about foreign files");
}
