/*
 * Walk DER one element at a time, without copies, allocation or recursion.
 *
 * A reader is sticky like kv_wire: after the first element that is malformed or has
 * another tag than expected every step fails, and kv_der_end reports KV_E_INVALID.
 * Only definite, minimal lengths and low tag numbers are accepted (X.690 §10.1).
 */
#ifndef KV_STORE_KEYRING_DER_H
#define KV_STORE_KEYRING_DER_H

#include <stdbool.h>
#include <stdint.h>

#include "store/core/wire.h"

enum kv_der_tag {
    KV_DER_INTEGER = 0x02,
    KV_DER_OCTETS = 0x04,
    KV_DER_SEQUENCE = 0x30,
    KV_DER_CONTEXT_0 = 0xa0, /* constructed [0]; [n] is KV_DER_CONTEXT_0 + n */
};

struct kv_der {
    const uint8_t *at;
    size_t left;
    bool failed;
};

struct kv_der_item {
    uint8_t tag;
    struct kv_bytes body;  /* contents, borrowed */
    struct kv_bytes whole; /* tag, length and contents, borrowed */
};

void kv_der_init(struct kv_der *der, struct kv_bytes in);

/* Tag of the next element, 0 at the end and after a failure. */
uint8_t kv_der_peek(const struct kv_der *der);

/* Take the next element whatever it is. False (and `item` empty) when none is left
 * or it is malformed; either one marks the reader failed. */
bool kv_der_next(struct kv_der *der, struct kv_der_item *item);

/* Take the next element, which must have this tag. */
bool kv_der_take(struct kv_der *der, uint8_t tag, struct kv_der_item *item);

/* 0 when every element was well-formed and nothing is left over. */
int kv_der_end(const struct kv_der *der) KV_MUST_CHECK;

#endif
