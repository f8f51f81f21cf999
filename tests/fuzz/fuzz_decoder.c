/*
 * Any file, read as programs read keys, once with the module and once without. What is
 * none of our files gives the same key and the same errors both times; one of ours
 * gives a key that never parts with its private half, or an error that says why. The
 * daemon is away.
 */
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "store/core/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

extern OSSL_provider_init_fn OSSL_provider_init;

static int no_password(char *buf, int size, int rwflag, void *arg)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)arg;
    return -1;
}

struct outcome {
    EVP_PKEY *key;
    unsigned long first_error;
};

static struct outcome read_pem(OSSL_LIB_CTX *libctx, BIO *bio)
{
    struct outcome outcome = {
        .key = PEM_read_bio_PrivateKey_ex(bio, NULL, no_password, NULL, libctx, NULL)};
    return outcome;
}

static struct outcome read_any(OSSL_LIB_CTX *libctx, BIO *bio)
{
    struct outcome outcome = {.key = NULL};
    OSSL_DECODER_CTX *ctx =
        OSSL_DECODER_CTX_new_for_pkey(&outcome.key, NULL, NULL, NULL, 0, libctx, NULL);
    (void)OSSL_DECODER_CTX_set_pem_password_cb(ctx, no_password, NULL);
    (void)OSSL_DECODER_from_bio(ctx, bio);
    OSSL_DECODER_CTX_free(ctx);
    return outcome;
}

static struct outcome read_der(OSSL_LIB_CTX *libctx, BIO *bio)
{
    struct outcome outcome = {.key = d2i_PrivateKey_ex_bio(bio, NULL, libctx, NULL)};
    return outcome;
}

typedef struct outcome reader(OSSL_LIB_CTX *libctx, BIO *bio);

static struct outcome try_to(reader *read, OSSL_LIB_CTX *libctx, const uint8_t *data,
                             size_t len)
{
    BIO *bio = BIO_new_mem_buf(data, (int)len);
    struct outcome outcome = read(libctx, bio);
    outcome.first_error = ERR_peek_error();
    ERR_clear_error();
    BIO_free(bio);
    return outcome;
}

static bool is_ours(EVP_PKEY *key)
{
    const OSSL_PROVIDER *prov = EVP_PKEY_get0_provider(key);
    return prov != NULL && strcmp(OSSL_PROVIDER_get0_name(prov), "keyvault") == 0;
}

static void check_ours(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    unsigned char sig[2048];
    size_t sig_len = sizeof(sig);
    OSSL_PARAM *params = NULL;
    KV_ASSERT(EVP_PKEY_get_bits(key) > 0 && i2d_PUBKEY(key, NULL) > 0);
    KV_ASSERT(EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &params) != 1);
    ERR_clear_error();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    KV_ASSERT(EVP_DigestSignInit_ex(ctx, NULL, NULL, libctx, NULL, key, NULL) == 1);
    KV_ASSERT(EVP_DigestSign(ctx, sig, &sig_len, sig, 5) != 1);
    KV_ASSERT(ERR_peek_error() != 0);
    ERR_clear_error();
    EVP_MD_CTX_free(ctx);
}

static bool mentions(const uint8_t *data, size_t len, const char *text)
{
    return memmem(data, len, text, strlen(text)) != NULL;
}

static void check(reader *read, OSSL_LIB_CTX *plain, OSSL_LIB_CTX *with,
                  const uint8_t *data, size_t len)
{
    const bool may_be_ours =
        mentions(data, len, "KEYVAULT KEY URI") || mentions(data, len, "keyvault:");
    struct outcome ours = try_to(read, with, data, len);
    if (ours.key != NULL && is_ours(ours.key)) {
        KV_ASSERT(may_be_ours && ours.first_error == 0);
        check_ours(with, ours.key);
    } else if (!may_be_ours) {
        struct outcome theirs = try_to(read, plain, data, len);
        KV_ASSERT((ours.key != NULL) == (theirs.key != NULL));
        KV_ASSERT(ours.first_error == theirs.first_error);
        EVP_PKEY_free(theirs.key);
    } else if (ours.key == NULL) {
        KV_ASSERT(ours.first_error != 0);
    }
    EVP_PKEY_free(ours.key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static OSSL_LIB_CTX *plain;
    static OSSL_LIB_CTX *with;
    if (len > 20000)
        return 0;
    if (with == NULL) {
        plain = OSSL_LIB_CTX_new();
        with = OSSL_LIB_CTX_new();
        KV_ASSERT(setenv("KEYVAULT_KEYS_SOCKET", "/nonexistent/keys.sock", 1) == 0);
        KV_ASSERT(OSSL_PROVIDER_load(plain, "default") != NULL);
        KV_ASSERT(OSSL_PROVIDER_add_builtin(with, "keyvault", OSSL_provider_init));
        KV_ASSERT(OSSL_PROVIDER_load(with, "default") != NULL);
        KV_ASSERT(OSSL_PROVIDER_load(with, "keyvault") != NULL);
    }
    const bool is_der = len > 0 && data[0] == 0x30;
    check(is_der ? read_der : read_pem, plain, with, data, len);
    if (is_der || len % 4 == 0) /* the slowest */
        check(read_any, plain, with, data, len);
    return 0;
}
