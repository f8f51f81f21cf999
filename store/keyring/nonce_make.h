/*
 * One prepared ECDSA nonce: what costs time is done before the digest is known, what is
 * left takes a fraction of a microsecond (private to this folder).
 *
 *   before   k, r = x(kG) mod n, a = 1/k, b = r d / k       (SEC 1, 4.1.3)
 *   then     s = a m + b mod n
 *
 * k comes from 32 fresh random bytes, the private key d and libcrypto's generator, by
 * BN_generate_dsa_nonce: any one of them is enough to keep it secret. A maker serves
 * one thread and shares nothing with others: it has a library context and generators of
 * its own. Whoever finishes a signature needs the order alone, on any thread.
 *
 * A nonce that signs twice gives the private key away: nonce.h sees to that.
 */
#ifndef KV_STORE_KEYRING_NONCE_MAKE_H
#define KV_STORE_KEYRING_NONCE_MAKE_H

#include "store/core/clock.h"
#include "store/core/wire.h"
#include "store/keyring/scalar.h"

#define KV_ECDSA_DER_MAX 139 /* P-521 */

struct kv_nonce {
    struct kv_scalar a_r; /* secret; as kv_scalar_mul_add wants it */
    struct kv_scalar b;   /* secret */
    uint8_t r[KV_SCALAR_MAX_LEN];
};

struct kv_nonce_maker;

/* `rand` gives the fresh bytes; borrowed. KV_E_CRYPTO or KV_E_NOMEM. */
int kv_nonce_maker_new(struct kv_nonce_maker **out,
                       const struct kv_rand *rand) KV_MUST_CHECK;
void kv_nonce_maker_free(struct kv_nonce_maker *maker);

/* The order of a curve, good as long as the maker; NULL for curves without ECDSA. */
const struct kv_scalar_order *kv_nonce_order(const struct kv_nonce_maker *maker,
                                             uint8_t curve);

/* Make one for the private key `d` (big-endian, as long as the order). KV_E_CRYPTO. */
int kv_nonce_make(const struct kv_nonce_maker *maker, uint8_t curve, const uint8_t *d,
                  struct kv_nonce *out) KV_MUST_CHECK;

/* Sign a digest: writes ECDSA-Sig-Value in DER (RFC 3279 §2.2.3), at most
 * KV_ECDSA_DER_MAX bytes. KV_E_CRYPTO for the digest with which s would be zero. */
int kv_nonce_finish(const struct kv_nonce *nonce, const struct kv_scalar_order *order,
                    struct kv_bytes digest, uint8_t *sig,
                    size_t *sig_len) KV_MUST_CHECK;

#endif
