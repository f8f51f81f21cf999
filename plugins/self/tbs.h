/*
 * The body of a self-issued certificate (TBSCertificate, RFC 5280 §4.1) from a CSR.
 * Pure: time and serial number are arguments.
 */
#ifndef KV_PLUGINS_SELF_TBS_H
#define KV_PLUGINS_SELF_TBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/core/buf.h"
#include "store/core/err.h"

#define KV_SELF_TBS_MAX 15360 /* 15 KiB: what the keyring signs */

struct kv_self_life {
    int64_t not_before_s; /* Unix seconds, UTC */
    int64_t not_after_s;
};

/* The life that a policy asks for: starts ten minutes before `now_s` (clocks differ)
 * and ends `months` calendar months after it, or `hours` when that is not 0. The
 * day is cut to the month's last. KV_E_INVALID (self.bad-validity) outside 1..1200
 * months or 1..876000 hours, before 1970 or behind the year 9999. */
int kv_self_life(int64_t now_s, int64_t months, int64_t hours, struct kv_self_life *out,
                 struct kv_err *err) KV_MUST_CHECK;

/* Whether kv_self_life can have made it: in order, and in the years that it serves. */
bool kv_self_life_is_sound(const struct kv_self_life *life);

/* Append the DER TBSCertificate, at most KV_SELF_TBS_MAX bytes. Subject and extensions
 * are the CSR's (PKCS#10 DER, at most 64 KiB, its own signature is checked), the
 * latter as extensions.c says; `serial` is 16 random bytes, made positive. The same
 * arguments make the same bytes. Ids self.bad-csr, self.bad-key, self.too-big;
 * KV_E_NOMEM has none. */
int kv_self_tbs(const uint8_t *csr, size_t csr_len, const struct kv_self_life *life,
                const uint8_t serial[16], struct kv_buf *out,
                struct kv_err *err) KV_MUST_CHECK;

#endif
