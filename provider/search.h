/*
 * What a program asks of OSSL_STORE_find(): which of the objects that a URI names it
 * wants. One criterion at a time; each call takes the place of the one before.
 *
 * A fingerprint is the digest of an object's SubjectPublicKeyInfo or of a whole
 * certificate (DER), as `openssl x509 -fingerprint` prints it. Without the name of a
 * digest, its length tells. An alias is the name in the vault.
 */
#ifndef KV_PROVIDER_SEARCH_H
#define KV_PROVIDER_SEARCH_H

#include <openssl/x509.h>

#include "provider/provider.h"

enum kv_search_by {
    KV_SEARCH_ALL = 0, /* nothing was asked */
    KV_SEARCH_SUBJECT,
    KV_SEARCH_ISSUER_SERIAL,
    KV_SEARCH_FINGERPRINT,
    KV_SEARCH_ALIAS,
};

struct kv_search {
    enum kv_search_by by;
    X509_NAME *name; /* subject or issuer */
    BIGNUM *serial;
    const EVP_MD *md; /* borrowed from the provider context */
    uint8_t fingerprint[EVP_MAX_MD_SIZE];
    size_t fingerprint_len;
    char alias[KV_NAME_MAX + 1];
};

/* Parameters that a search can have, for OSSL_FUNC_STORE_SETTABLE_CTX_PARAMS. */
#define KV_SEARCH_SETTABLE                                                             \
    OSSL_PARAM_octet_string(OSSL_STORE_PARAM_SUBJECT, NULL, 0),                        \
        OSSL_PARAM_octet_string(OSSL_STORE_PARAM_ISSUER, NULL, 0),                     \
        OSSL_PARAM_BN(OSSL_STORE_PARAM_SERIAL, NULL, 0),                               \
        OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_DIGEST, NULL, 0),                      \
        OSSL_PARAM_octet_string(OSSL_STORE_PARAM_FINGERPRINT, NULL, 0),                \
        OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_ALIAS, NULL, 0)

/* Take a criterion from parameters; those of others are left alone. False with a reason
 * on the queue when it cannot be used; then the criterion before still holds. */
bool kv_search_set(struct kv_prov *prov, struct kv_search *search,
                   const OSSL_PARAM params[]);

/* Whether a certificate (DER) or a public key (DER SubjectPublicKeyInfo) is wanted. The
 * alias is not looked at: the caller compares names. Never true for a key whose
 * certificate would have to be known. */
bool kv_search_wants_cert(struct kv_prov *prov, const struct kv_search *search,
                          const uint8_t *der, size_t len);
bool kv_search_wants_key(const struct kv_search *search, const uint8_t *spki,
                         size_t len);

/* Whether keys can be searched so: they have no subject, issuer or serial number. */
bool kv_search_fits_keys(const struct kv_search *search);

void kv_search_fini(struct kv_search *search);

#endif
