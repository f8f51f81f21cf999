/*
 * What the chain_*.c files share: certificates as libcrypto reads them.
 */
#ifndef KV_LIFECYCLE_CERTS_CHAIN_INTERNAL_H
#define KV_LIFECYCLE_CERTS_CHAIN_INTERNAL_H

#include <openssl/x509.h>
#include <stdbool.h>

#include "lifecycle/certs/chain.h"

/* Certificates of one chain in the same places; {0} is empty. */
struct kv_chain_certs {
    size_t n;
    X509 *cert[KV_CHAIN_MAX];
};

/* One certificate from exactly these bytes, at most KV_CERT_DER_MAX of them; the
 * caller frees it. NULL when it is none. */
X509 *kv_chain_cert(struct kv_bytes der) KV_MUST_CHECK;

/* Read all certificates. KV_E_INVALID (chain.bad-certificate) when the chain is empty
 * or too long or one is malformed. kv_chain_certs_free in every case. */
int kv_chain_certs(const struct kv_chain *chain, struct kv_chain_certs *out,
                   struct kv_err *err) KV_MUST_CHECK;
void kv_chain_certs_free(struct kv_chain_certs *certs);

/* Whether a certificate carries the key `spki` (DER), byte for byte: what the keyring
 * asks before it writes the two into one file. */
bool kv_chain_has_key(const X509 *cert, struct kv_bytes spki);

/* Whether `cert` names the subject of `issuer` and carries its signature. */
bool kv_chain_is_issuer(X509 *issuer, X509 *cert);

/* KV_E_INVALID and chain.bad-dates unless both dates can be read. */
int kv_chain_dates(const X509 *cert, int64_t *nbf_s, int64_t *exp_s,
                   struct kv_err *err) KV_MUST_CHECK;

#endif
