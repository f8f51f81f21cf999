/*
 * The certificate request of a policy (PKCS#10, RFC 2986). Pure.
 */
#ifndef KV_LIFECYCLE_CERTS_CSR_H
#define KV_LIFECYCLE_CERTS_CSR_H

#include "lifecycle/certs/policy.h"
#include "store/core/buf.h"

#define KV_CSR_MAX 65536

/* Append the DER CertificationRequestInfo of a policy for the public key `spki`
 * (DER): subject, and as requested extensions keyUsage (critical), extendedKeyUsage,
 * subjectAltName (critical when the subject is empty) and basicConstraints. The
 * keyring signs it (KV_TBS_CSR). Ids policy.bad-subject, policy.bad-field. */
int kv_csr_info(const struct kv_policy *policy, struct kv_bytes spki,
                struct kv_buf *out, struct kv_err *err) KV_MUST_CHECK;

#endif
