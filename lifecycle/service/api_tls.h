/*
 * The API's own TLS identity: a small CA of the installation and a leaf for the API's
 * names. Neither is a vault key: they are made here, sealed at rest, and the CA's key
 * is unsealed only while it signs a new leaf. Pure; the caller frees with _free.
 */
#ifndef KV_LIFECYCLE_SERVICE_API_TLS_H
#define KV_LIFECYCLE_SERVICE_API_TLS_H

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/core/buf.h"
#include "store/core/err.h"

#define KV_API_CA_DAYS 3650
#define KV_API_LEAF_DAYS 365
#define KV_API_LEAF_RENEW_DAYS 30

/* One certificate with its key. */
struct kv_api_identity {
    EVP_PKEY *key;
    X509 *certificate;
    X509 *ca; /* leaf: the CA that signed it */
    char
        names[512]; /* all names of the leaf, or that a CA was made for: "DNS:a,IP:b" */
};

void kv_api_identity_free(struct kv_api_identity *identity);

/* The names of a leaf for vaults below `domain`; `host` is the numeric address that
 * is listened on (NULL or a wildcard: only the loopback ones). */
int kv_api_tls_names(const char *domain, const char *host, char *out,
                     size_t out_size) KV_MUST_CHECK;

/* A new CA, allowed to name only hosts below `domain`, localhost, and the addresses in
 * `names` (kv_api_tls_names). */
int kv_api_ca_make(const char *domain, const char *names, int64_t now_s,
                   struct kv_api_identity *out, struct kv_err *err) KV_MUST_CHECK;

/* A new leaf with these names, signed by `ca`. */
int kv_api_leaf_make(const struct kv_api_identity *ca, const char *names, int64_t now_s,
                     struct kv_api_identity *out, struct kv_err *err) KV_MUST_CHECK;

/* Whether a leaf must be made anew: other names, or little time left. */
bool kv_api_leaf_is_due(const struct kv_api_identity *leaf, const char *names,
                        int64_t now_s);

/* As a document for sealing, and back (KV_E_INTEGRITY, service.bad-identity). */
json_t *kv_api_identity_doc(const struct kv_api_identity *identity);
int kv_api_identity_read(const json_t *doc, struct kv_api_identity *out,
                         struct kv_err *err) KV_MUST_CHECK;

/* Append a certificate as PEM. */
int kv_api_pem(X509 *certificate, struct kv_buf *out) KV_MUST_CHECK;

#endif
