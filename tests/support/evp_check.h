/*
 * What the tests of EVP's rules share: one fixture, the same key in each of its forms,
 * and what holds after every call. Fails the running Criterion test by itself.
 */
#ifndef KV_TESTS_SUPPORT_EVP_CHECK_H
#define KV_TESTS_SUPPORT_EVP_CHECK_H

#include <openssl/x509.h>

#include "tests/support/provider_fixture.h"

#define EVP_CHECK_PROPQ "provider=keyvault"

extern struct provider_fixture evp_fixture;

/* For TestSuite's .init and .fini. */
void evp_check_open(void);
void evp_check_close(void);

/* The types of key, one name each. */
#define EVP_CHECK_N_NAMES 6
extern const char *const evp_check_names[EVP_CHECK_N_NAMES];

/* The key NAME of the vault: with its private part, its public part alone, as the
 * private key in software, and its certificate (parsed in `libctx`). */
EVP_PKEY *evp_check_private(const char *name);
EVP_PKEY *evp_check_public(const char *name);
EVP_PKEY *evp_check_software(const char *name);
X509 *evp_check_certificate(const char *name, OSSL_LIB_CTX *libctx);

/* The key file of NAME, its public part being that of `key` (of any form), pinned to
 * the version that the keyring has; with `key` NULL one that follows the newest
 * version. */
void evp_check_keyref(const char *name, EVP_PKEY *key, struct kv_keyref *ref);
size_t evp_check_pem(const struct kv_keyref *ref, char *out, size_t size);

/* "SHA256", or NULL for the keys that take none. */
const char *evp_check_digest(const char *name);

/* How many frames the keyring has seen, those of connecting aside. */
unsigned evp_check_frames(void);

/* The error queue is empty; `what` came before. */
void evp_check_clean(const char *what);

/* An entry of the queue is ours, and its reason and data contain the texts (NULL: any);
 * then the queue is emptied. */
void evp_check_refused(const char *what, const char *reason, const char *data);

#endif
