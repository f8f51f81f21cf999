/*
 * Key files into the form that the API imports: JWK (RFC 7517).
 */
#ifndef KV_LIFECYCLE_CLI_PEM_H
#define KV_LIFECYCLE_CLI_PEM_H

#include <jansson.h>
#include <openssl/evp.h>

#include "store/core/buf.h"
#include "store/core/err.h"

/* Read a private key from PEM (the first key in it) or DER: PKCS#8, PKCS#1, SEC 1,
 * encrypted or not. `password` may be NULL. Returns 0 and a key to free, or
 * KV_E_INVALID: pem.no-key, pem.wrong-password, pem.needs-password. */
int kv_pem_load_key(const struct kv_buf *file, const struct kv_buf *password,
                    EVP_PKEY **out, struct kv_err *err) KV_MUST_CHECK;

/* Make the private JWK. KV_E_UNSUPPORTED (pem.unsupported-key) for other types than
 * RSA, EC on P-256, P-384, P-521, secp256k1, and Ed25519. The JSON is the caller's. */
int kv_pem_to_jwk(EVP_PKEY *key, json_t **out, struct kv_err *err) KV_MUST_CHECK;

/* DER SubjectPublicKeyInfo of a public JWK, as the API returns it, appended to `out`.
 * KV_E_INVALID (pem.bad-jwk). */
int kv_pem_jwk_spki(const json_t *jwk, struct kv_buf *out,
                    struct kv_err *err) KV_MUST_CHECK;

#endif
