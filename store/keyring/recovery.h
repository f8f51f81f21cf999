/*
 * The recovery key as people write it down: 8 groups of 5 letters and digits,
 *
 *   0A1B2-C3D4E-...     176 random bits and a 24-bit checksum, Crockford's base32
 *
 * The secret of the recovery slot is the 22 random bytes. Reading forgives case,
 * spaces, missing hyphens, and O, I, L for 0 and 1.
 */
#ifndef KV_STORE_KEYRING_RECOVERY_H
#define KV_STORE_KEYRING_RECOVERY_H

#include "store/core/buf.h"
#include "store/core/clock.h"

#define KV_RECOVERY_LEN 22
#define KV_RECOVERY_TEXT_LEN 47 /* without NUL */

/* Append the text of a recovery key to `out`, a secret buffer. */
int kv_recovery_format(const uint8_t key[KV_RECOVERY_LEN],
                       struct kv_buf *out) KV_MUST_CHECK;

/* Read a recovery key. KV_E_INVALID: recovery.bad-form (length or characters) or
 * recovery.bad-checksum (a typing mistake). */
int kv_recovery_parse(const char *text, size_t len, uint8_t key[KV_RECOVERY_LEN],
                      struct kv_err *err) KV_MUST_CHECK;

#endif
