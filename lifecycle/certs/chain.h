/*
 * Certificate chains as they arrive: from an issuer, or with an imported key. Pure.
 */
#ifndef KV_LIFECYCLE_CERTS_CHAIN_H
#define KV_LIFECYCLE_CERTS_CHAIN_H

#include "lifecycle/certs/policy.h"
#include "store/core/buf.h"
#include "store/keyring/protocol.h"

struct kv_chain {
    size_t n; /* leaf first; 1 to KV_CHAIN_MAX */
    struct kv_bytes der[KV_CHAIN_MAX];
};

/* What a leaf says of itself. */
struct kv_cert_facts {
    int64_t nbf_s; /* Unix seconds */
    int64_t exp_s;
    uint8_t sha1[20]; /* of the DER: x5t */
};
int kv_cert_facts(struct kv_bytes der, struct kv_cert_facts *out,
                  struct kv_err *err) KV_MUST_CHECK;

/* Append the text of a certificate's subject (x500.h). */
int kv_cert_subject(struct kv_bytes der, struct kv_buf *text) KV_MUST_CHECK;

/* Put the certificates in order: the one of the public key `spki` first, then each
 * one's issuer; what is left keeps its place behind them. chain.no-leaf when no
 * certificate has this key, chain.bad-certificate when one cannot be read. */
int kv_chain_order(struct kv_chain *chain, struct kv_bytes spki,
                   struct kv_err *err) KV_MUST_CHECK;

/* Check what an issuer delivered against the order: the leaf has the key `spki`, every
 * name of the policy and no other (`policy` NULL: whatever names), begins before
 * `now_s` (with a day's tolerance) and ends after it, and each certificate is signed by
 * the next. Ids chain.key-mismatch, chain.name-mismatch, chain.bad-dates, chain.broken,
 * chain.bad-certificate. */
int kv_chain_check(const struct kv_chain *chain, struct kv_bytes spki,
                   const struct kv_policy *policy, int64_t now_s,
                   struct kv_err *err) KV_MUST_CHECK;

/* The chain as an array of standard base64, and back (the bytes are appended to
 * `store`, which must not be touched while `chain` is in use; KV_E_INTEGRITY). */
json_t *kv_chain_write(const struct kv_chain *chain);
int kv_chain_read(const json_t *array, struct kv_buf *store,
                  struct kv_chain *chain) KV_MUST_CHECK;

/* Append the chain alone, without a private key: as PEM, or as a PKCS#12 file with an
 * empty password (RFC 7292). */
int kv_chain_pem(const struct kv_chain *chain, struct kv_buf *out) KV_MUST_CHECK;
int kv_chain_pfx(const struct kv_chain *chain, struct kv_buf *out) KV_MUST_CHECK;

#endif
