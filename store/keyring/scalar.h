/*
 * Numbers modulo the order n of a curve: the last step of an ECDSA signature whose
 * nonce was prepared, s = a m + b (nonce.h).
 *
 * Constant time: branches and addresses depend on the order alone, never on a number.
 * All numbers are little-endian words; bytes are big-endian and as long as the order
 * (SEC 1, 2.3.7). No memory is allocated.
 */
#ifndef KV_STORE_KEYRING_SCALAR_H
#define KV_STORE_KEYRING_SCALAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/core/err.h"

#define KV_SCALAR_WORDS 17 /* P-521 */
#define KV_SCALAR_MAX_LEN 66

struct kv_scalar {
    uint32_t word[KV_SCALAR_WORDS];
};

/* The modulus. R, below, is 2^(32 n_words). */
struct kv_scalar_order {
    unsigned n_words;
    unsigned len; /* bytes of a number */
    struct kv_scalar n;
    uint32_t n_neg_inv; /* -1/n modulo 2^32 */
};

/* Set the modulus: odd, without zeros in front, 16 to KV_SCALAR_MAX_LEN bytes. */
int kv_scalar_order_init(struct kv_scalar_order *order, const uint8_t *bytes,
                         size_t len) KV_MUST_CHECK;

/* Read at most order->len bytes; the number may be as large as the bytes say. */
void kv_scalar_read(struct kv_scalar *out, const struct kv_scalar_order *order,
                    const uint8_t *bytes, size_t len);

/* Write order->len bytes. */
void kv_scalar_put(const struct kv_scalar *scalar, const struct kv_scalar_order *order,
                   uint8_t *bytes);

/* out = a m + b modulo n, where `a_r` is a R modulo n and b is less than n. `m` may be
 * any number that was read. */
void kv_scalar_mul_add(struct kv_scalar *out, const struct kv_scalar_order *order,
                       const struct kv_scalar *a_r, const struct kv_scalar *m,
                       const struct kv_scalar *b);

bool kv_scalar_is_zero(const struct kv_scalar *scalar,
                       const struct kv_scalar_order *order);

#endif
