/*
 * RSA PKCS#1 v1.5 decryption that never tells good padding from bad.
 *
 * A ciphertext with bad padding decrypts to a synthetic message that depends on the
 * key and the ciphertext only (implicit rejection, as OpenSSL 3.2 and later do it,
 * bit for bit), or in TLS key exchange to 48 random bytes. No branch, memory index
 * or error depends on the padding; only the length of the answer does, which the
 * caller learns anyway.
 */
#ifndef KV_STORE_KEYRING_RSA_UNPAD_H
#define KV_STORE_KEYRING_RSA_UNPAD_H

#include <stddef.h>
#include <stdint.h>

#include "store/keyring/keys.h"

#define KV_TLS_PREMASTER_LEN 48
#define KV_RSA_KDK_LEN 32

/* Decrypt with implicit rejection and append the message to `out` (secret). Returns
 * 0; KV_E_CRYPTO key.decrypt-failed only for what anyone can see: a ciphertext of
 * another length than the modulus, or not below it. */
int kv_rsa_decrypt_pkcs1(struct kv_key *key, unsigned slot, struct kv_bytes ciphertext,
                         struct kv_buf *out, struct kv_err *err) KV_MUST_CHECK;

/* Decrypt a TLS premaster secret and append 48 bytes, always: random ones when the
 * padding, the length or the version inside is wrong (RFC 5246 §7.4.7.1). */
int kv_rsa_decrypt_tls(struct kv_key *key, unsigned slot,
                       const struct kv_msg_decrypt *msg, struct kv_buf *out,
                       struct kv_err *err) KV_MUST_CHECK;

/* HMAC-SHA256(d_hash, ciphertext padded to `k` bytes): seeds what follows. Returns
 * 0 or KV_E_CRYPTO. */
int kv_rsa_kdk(const uint8_t d_hash[32], struct kv_bytes ciphertext, size_t k,
               uint8_t kdk[KV_RSA_KDK_LEN]) KV_MUST_CHECK;

/* Strip the padding of the block `em` (`k` bytes, changed), or put the synthetic
 * message in its place: either way the first `*len` bytes of `em` are the answer.
 * Returns 0 or KV_E_CRYPTO. */
int kv_rsa_unpad_implicit(uint8_t *em, size_t k, const uint8_t kdk[KV_RSA_KDK_LEN],
                          size_t *len) KV_MUST_CHECK;

/* Put the premaster secret of the block `em` (`k` bytes) or, when anything is wrong,
 * leave `random` in `premaster`, which holds 48 random bytes on entry. `negotiated`
 * is a version accepted instead of `version`; 0 for none. */
void kv_rsa_unpad_tls(const uint8_t *em, size_t k, uint16_t version,
                      uint16_t negotiated, uint8_t premaster[KV_TLS_PREMASTER_LEN]);

#endif
