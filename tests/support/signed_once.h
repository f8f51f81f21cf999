/*
 * Whether any two ECDSA signatures of a heap were made with one nonce: they then have
 * the same r, and anybody can compute the private key from them.
 */
#ifndef KV_TESTS_SUPPORT_SIGNED_ONCE_H
#define KV_TESTS_SUPPORT_SIGNED_ONCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KV_SIGNED_R_LEN 32 /* as much of r as is compared */

struct kv_signed_once {
    size_t n;
    size_t max;
    uint8_t (*r)[KV_SIGNED_R_LEN]; /* the last bytes of each r */
};

/* Room for `max` signatures. Dies when memory is short. */
void kv_signed_once_init(struct kv_signed_once *once, size_t max);
void kv_signed_once_free(struct kv_signed_once *once);

/* Keep r of one ECDSA-Sig-Value in DER; false when it is malformed or there is no more
 * room. One thread for each object; kv_signed_once_join puts two together. */
bool kv_signed_once_add(struct kv_signed_once *once, const uint8_t *sig, size_t len);
void kv_signed_once_join(struct kv_signed_once *once,
                         const struct kv_signed_once *other);

/* How many have an r that another one has as well. Sorts. */
size_t kv_signed_once_duplicates(struct kv_signed_once *once);

/* The last KV_SIGNED_R_LEN bytes of r of one signature. */
bool kv_signed_r(uint8_t r[KV_SIGNED_R_LEN], const uint8_t *sig, size_t len);

#endif
