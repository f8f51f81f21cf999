/*
 * keyvault.so's code inside the test program: a fake keyring, and a library context
 * with the default provider and then ours, configured as openssl.cnf would.
 */
#ifndef KV_TESTS_SUPPORT_PROVIDER_FIXTURE_H
#define KV_TESTS_SUPPORT_PROVIDER_FIXTURE_H

#include <openssl/evp.h>

#include "store/core/keyref.h"
#include "tests/support/fake_keyring.h"

struct provider_fixture {
    char dir[64];
    char socket[96];
    struct fake_keyring *keyring;
    OSSL_LIB_CTX *libctx;
};

/* Start everything; aborts the test on failure. `extra` lines are added to the
 * provider's section of the configuration, may be NULL. */
void provider_fixture_open(struct provider_fixture *fixture, const char *extra);
void provider_fixture_close(struct provider_fixture *fixture);

/* Load the private key that a URI names; NULL on failure. */
EVP_PKEY *provider_fixture_key(struct provider_fixture *fixture, const char *uri);

/* The same from the PEM text of a key file. */
EVP_PKEY *provider_fixture_pem(struct provider_fixture *fixture, const char *pem,
                               size_t len);

/* A software copy of a vault key's public part, in the default library context. */
EVP_PKEY *provider_fixture_public(EVP_PKEY *key);

/* Sign "hello" (SHA-256, or none for Ed25519), as EVP_DigestSign; and check it with the
 * key's public part in software. */
int provider_fixture_sign(EVP_PKEY *key, unsigned char *sig, size_t *len);
int provider_fixture_verify(EVP_PKEY *key, const unsigned char *sig, size_t len);

#endif
