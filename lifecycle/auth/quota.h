/*
 * How much one principal may ask of one vault: token buckets for each of them and class
 * of operation, with the weights of the contract (section "Throttling").
 *
 * A bucket holds as many tokens as its class allows in ten seconds and fills at that
 * rate, so that a burst passes and the average holds. At most KV_QUOTA_BUCKETS_MAX
 * buckets are kept; the one used longest ago gives way, and its principal begins anew.
 * The clock is an argument. One thread.
 */
#ifndef KV_LIFECYCLE_AUTH_QUOTA_H
#define KV_LIFECYCLE_AUTH_QUOTA_H

#include "store/core/clock.h"
#include "store/core/uri.h"

#define KV_QUOTA_BUCKETS_MAX 100000
#define KV_QUOTA_PER_MAX 1000000

enum kv_quota_class {
    KV_QUOTA_CREATE, /* keys and certificates that are made, with or without HSM */
    KV_QUOTA_USE,    /* sign, verify, encrypt, decrypt, wrap, unwrap */
    KV_QUOTA_WRITE,  /* secrets set, keys and certificates imported */
    KV_QUOTA_OTHER,  /* everything else */
    KV_QUOTA_CLASSES_N,
};

struct kv_quota_limits {
    uint32_t per_10s[KV_QUOTA_CLASSES_N]; /* 0: not limited */
};
#define KV_QUOTA_DEFAULTS ((struct kv_quota_limits){.per_10s = {20, 4000, 300, 4000}})

/* "20,4000,300,4000" (create, use, write, other), or "off". KV_E_INVALID. */
int kv_quota_limits_parse(const char *text, struct kv_quota_limits *out) KV_MUST_CHECK;

struct kv_quota;

/* `clock` is borrowed; `seed` makes the order of the table unpredictable. At most
 * `n_max` buckets. */
int kv_quota_new(struct kv_quota **out, const struct kv_quota_limits *limits,
                 size_t n_max, const struct kv_clock *clock,
                 uint64_t seed) KV_MUST_CHECK;
void kv_quota_free(struct kv_quota *quota); /* NULL does nothing */

/* Take `weight` tokens. 0: taken; else nothing was taken, and it is worth trying again
 * in so many milliseconds. More weight than a bucket holds needs a full one. Without
 * memory for a new bucket everything passes. */
int64_t kv_quota_take(struct kv_quota *quota, const char *principal,
                      const uint8_t vault[KV_ID_LEN], enum kv_quota_class which,
                      uint32_t weight);

/* What one use of a key weighs: RSA of 3072 bits 4, of 4096 bits 8, others 1. */
uint32_t kv_quota_weight(unsigned rsa_bits);

/* How many buckets there are. */
size_t kv_quota_count(const struct kv_quota *quota);

#endif
