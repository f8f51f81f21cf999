/*
 * Password-based decryption with a bounded cost (PKCS#12 appendix B, RFC 8018).
 *
 * A file names its own work factors, so each is read and judged before any work is
 * done: at most 10^6 iterations in one import, all its parts and attempts together,
 * scrypt within 32 MiB (each 256 bytes that it fills count as an iteration).
 * Private to this folder: keys in PKCS#8 and PFX come through here.
 */
#ifndef KV_STORE_KEYRING_PBE_H
#define KV_STORE_KEYRING_PBE_H

#include <openssl/x509.h>

#include "store/core/buf.h"
#include "store/core/wire.h"

#define KV_PBE_BUDGET 1000000 /* iterations of one import */

struct kv_pbe {
    struct kv_bytes password; /* data NULL: none at all, which PKCS#12 tells from "" */
    uint64_t budget;          /* starts at KV_PBE_BUDGET */
};

/* Take `iterations` from what is left. Returns 0, or KV_E_INVALID with
 * key.import-work-factor when they are none, or more than are left. */
int kv_pbe_spend(struct kv_pbe *pbe, const ASN1_INTEGER *iterations,
                 struct kv_err *err) KV_MUST_CHECK;

/* Decrypt `in` and append the result to `out` (secret). Returns 0; KV_E_UNSUPPORTED
 * key.import-unsupported; KV_E_INVALID key.import-work-factor, key.import-bad-der or
 * key.import-bad-password. */
int kv_pbe_decrypt(struct kv_pbe *pbe, const X509_ALGOR *algorithm,
                   const ASN1_OCTET_STRING *in, struct kv_buf *out,
                   struct kv_err *err) KV_MUST_CHECK;

#endif
