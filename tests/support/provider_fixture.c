#include "tests/support/provider_fixture.h"

#include <openssl/core.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern OSSL_provider_init_fn OSSL_provider_init;

static void give_up(const char *what)
{
    (void)fprintf(stderr, "provider_fixture: %s\n", what);
    abort();
}

void provider_fixture_open(struct provider_fixture *fixture, const char *extra)
{
    char path[128];
    (void)snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/kv-provider.XXXXXX");
    if (mkdtemp(fixture->dir) == NULL)
        give_up("mkdtemp");
    (void)snprintf(fixture->socket, sizeof(fixture->socket), "%s/keys.sock",
                   fixture->dir);
    fixture->keyring = fake_keyring_start(fixture->socket, NULL, FAKE_GOOD);
    if (fixture->keyring == NULL)
        give_up("fake keyring");
    (void)snprintf(path, sizeof(path), "%s/openssl.cnf", fixture->dir);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        give_up("openssl.cnf");
    (void)fprintf(file,
                  "openssl_conf = init\n[init]\nproviders = list\n[list]\n"
                  "default = d\nkeyvault = k\n[d]\nactivate = 1\n[k]\nactivate = 1\n"
                  "socket = %s\nserver-uid = %lu\nconnect-timeout-ms = 500\n"
                  "reply-timeout-ms = 800\n%s\n",
                  fixture->socket, (unsigned long)getuid(), extra != NULL ? extra : "");
    (void)fclose(file);
    fixture->libctx = OSSL_LIB_CTX_new();
    if (!OSSL_PROVIDER_add_builtin(fixture->libctx, "keyvault", OSSL_provider_init) ||
        !OSSL_LIB_CTX_load_config(fixture->libctx, path) ||
        !OSSL_PROVIDER_available(fixture->libctx, "keyvault"))
        give_up("the provider does not load");
    (void)unlink(path);
}

void provider_fixture_close(struct provider_fixture *fixture)
{
    OSSL_LIB_CTX_free(fixture->libctx);
    fake_keyring_stop(fixture->keyring);
    (void)rmdir(fixture->dir);
}

EVP_PKEY *provider_fixture_key(struct provider_fixture *fixture, const char *uri)
{
    EVP_PKEY *pkey = NULL;
    fake_keyring_prepare(fixture->keyring, uri);
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(uri, fixture->libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    if (store == NULL)
        return NULL;
    if (OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY) == 1) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        pkey = info == NULL ? NULL : OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    (void)OSSL_STORE_close(store);
    return pkey;
}

EVP_PKEY *provider_fixture_pem(struct provider_fixture *fixture, const char *pem,
                               size_t len)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    EVP_PKEY *pkey =
        PEM_read_bio_PrivateKey_ex(bio, NULL, NULL, NULL, fixture->libctx, NULL);
    BIO_free(bio);
    return pkey;
}

EVP_PKEY *provider_fixture_public(EVP_PKEY *key)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    const unsigned char *at = der;
    EVP_PKEY *pkey = len > 0 ? d2i_PUBKEY(NULL, &at, len) : NULL;
    OPENSSL_free(der);
    return pkey;
}

static const char *digest_of(EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "ED25519") ? NULL : "SHA256";
}

int provider_fixture_sign(EVP_PKEY *key, unsigned char *sig, size_t *len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int ok =
        EVP_DigestSignInit_ex(ctx, NULL, digest_of(key), NULL, NULL, key, NULL) == 1 &&
        EVP_DigestSign(ctx, sig, len, (const unsigned char *)"hello", 5) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

int provider_fixture_verify(EVP_PKEY *key, const unsigned char *sig, size_t len)
{
    EVP_PKEY *public_key = provider_fixture_public(key);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int ok = EVP_DigestVerifyInit_ex(ctx, NULL, digest_of(key), NULL, NULL, public_key,
                                     NULL) == 1 &&
             EVP_DigestVerify(ctx, sig, len, (const unsigned char *)"hello", 5) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(public_key);
    return ok;
}
