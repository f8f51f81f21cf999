/*
 * Base64 and base64url (RFC 4648 §4 and §5), strict.
 *
 * Decoders refuse white space, a foreign alphabet, wrong padding and non-zero
 * trailing bits (so every byte string has one spelling). Both directions use no
 * table look-up and no branch on the data: safe for secrets.
 */
#ifndef KV_STORE_CORE_B64_H
#define KV_STORE_CORE_B64_H

#include <stddef.h>
#include <stdint.h>

#include "store/core/buf.h"

enum kv_b64_kind {
    KV_B64_STD, /* alphabet + /, padded */
    KV_B64_URL, /* alphabet - _, no padding */
};

/* Length of the text for `len` bytes, without a NUL. */
size_t kv_b64_encoded_len(enum kv_b64_kind kind, size_t len);

/* Append the text of `len` bytes to `out`. Returns 0 or the buffer's failure. */
int kv_b64_encode(enum kv_b64_kind kind, const void *data, size_t len,
                  struct kv_buf *out) KV_MUST_CHECK;

/* Append the bytes of `text` to `out`. Returns 0, KV_E_INVALID (out unchanged) or
 * the buffer's failure. */
int kv_b64_decode(enum kv_b64_kind kind, const char *text, size_t len,
                  struct kv_buf *out) KV_MUST_CHECK;

#endif
