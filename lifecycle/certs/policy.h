/*
 * A certificate policy: the JSON of the REST API, checked and completed.
 *
 * Reading fills in every default, so that the stored document says all that was
 * decided. Pure: no I/O, any thread.
 */
#ifndef KV_LIFECYCLE_CERTS_POLICY_H
#define KV_LIFECYCLE_CERTS_POLICY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/core/err.h"
#include "store/core/wire.h"

#define KV_POLICY_NAMES_MAX 100 /* subject alternative names of all kinds together */
#define KV_POLICY_EKUS_MAX 32

/* Key usage, bit n = bit n of RFC 5280 §4.2.1.3. */
enum kv_key_usage {
    KV_KU_DIGITAL_SIGNATURE = 1 << 0,
    KV_KU_NON_REPUDIATION = 1 << 1,
    KV_KU_KEY_ENCIPHERMENT = 1 << 2,
    KV_KU_DATA_ENCIPHERMENT = 1 << 3,
    KV_KU_KEY_AGREEMENT = 1 << 4,
    KV_KU_KEY_CERT_SIGN = 1 << 5,
    KV_KU_CRL_SIGN = 1 << 6,
    KV_KU_ENCIPHER_ONLY = 1 << 7,
    KV_KU_DECIPHER_ONLY = 1 << 8,
};

struct kv_policy {
    json_t *doc; /* complete and canonical; owned. The pointers below borrow from it */
    uint8_t kty; /* enum kv_kty */
    uint8_t curve; /* enum kv_curve; NONE for RSA */
    uint16_t bits; /* RSA modulus; 0 for the others */
    bool is_exportable;
    bool reuses_key;  /* the next version keeps the key of the present one */
    bool is_pem;      /* secret_props.contentType: PEM, else PKCS#12 */
    uint32_t key_ops; /* enum kv_op that the key usage stands for */
    uint32_t usage;   /* enum kv_key_usage */
    bool is_ca;
    const char *content_type;
    const char *subject; /* X.500 text; "" when only alternative names are given */
    const json_t *sans;  /* object: emails, dns_names, upns, uris, ipAddresses */
    const json_t *ekus;  /* array of dotted object identifiers */
    int64_t validity_months;
    int64_t validity_hours; /* not 0: counts instead of the months (our extension) */
    const char *issuer;     /* issuer.name */
};

/* Read the policy that a request gives: members that are absent, null or empty get
 * the contract's defaults, but for issuer.name, which is required; unknown members are
 * passed over and not kept. `given` is not changed. Reading `doc` again gives the same.
 * Ids policy.bad-field (the message names the member by its path),
 * policy.bad-subject, policy.not-offered. Whether the issuer exists is not asked. */
int kv_policy_read(const json_t *given, struct kv_policy *out,
                   struct kv_err *err) KV_MUST_CHECK;

/* Release the document; the struct is empty afterwards. */
void kv_policy_free(struct kv_policy *policy);

/* The policy that an imported certificate (DER) stands for: subject, names, usages and
 * length of life of the certificate, issuer Unknown, key type of its public key; the
 * members that `given` (may be NULL) has replace these, and are checked as above. Names
 * that a policy cannot hold are left out. Id policy.bad-certificate, too. */
int kv_policy_of_cert(struct kv_bytes der, const json_t *given, struct kv_policy *out,
                      struct kv_err *err) KV_MUST_CHECK;

#endif
