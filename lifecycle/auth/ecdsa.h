/*
 * The two forms of an ECDSA signature: r and s side by side, big-endian and of fixed
 * length, as JOSE has it (RFC 7518 §3.4), and ECDSA-Sig-Value in DER (RFC 3279 §2.2.3),
 * as libcrypto has it. Signatures are public.
 */
#ifndef KV_LIFECYCLE_AUTH_ECDSA_H
#define KV_LIFECYCLE_AUTH_ECDSA_H

#include "store/core/buf.h"
#include "store/core/wire.h"

/* Append the DER of r||s, `half_len` bytes each. 0 or KV_E_NOMEM. */
int kv_ecdsa_to_der(const uint8_t *raw, size_t half_len,
                    struct kv_buf *out) KV_MUST_CHECK;

/* Append r||s of a DER signature; KV_E_INTERNAL when it is none, or does not fit. */
int kv_ecdsa_from_der(struct kv_bytes der, size_t half_len,
                      struct kv_buf *out) KV_MUST_CHECK;

#endif
