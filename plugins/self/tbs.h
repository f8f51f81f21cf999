/*
 * The body of a self-issued certificate (TBSCertificate, RFC 5280 §4.1) from a CSR.
 * Pure: time and serial number are arguments.
 */
#ifndef KV_PLUGINS_SELF_TBS_H
#define KV_PLUGINS_SELF_TBS_H

#include <stddef.h>
#include <stdint.h>

#include "store/core/buf.h"
#include "store/core/err.h"

struct kv_self_life {
    int64_t not_before_s; /* Unix seconds, UTC */
    int64_t not_after_s;
};

/* The life that a policy asks for: starts ten minutes before `now_s` (clocks differ)
 * and ends `months` calendar months after it, or `hours` when that is not 0. The
 * day is cut to the month's last. KV_E_INVALID (self.bad-validity) outside 1..1200
 * months or 1..876000 hours, or behind the year 9999. */
int kv_self_life(int64_t now_s, int64_t months, int64_t hours, struct kv_self_life *out,
                 struct kv_err *err) KV_MUST_CHECK;

/* Append the DER TBSCertificate. Subject and requested extensions are the CSR's
 * (PKCS#10 DER, its own signature is checked); a subjectKeyIdentifier is added;
 * `serial` is 16 random bytes, made positive. Ids self.bad-csr, self.bad-key. */
int kv_self_tbs(const uint8_t *csr, size_t csr_len, const struct kv_self_life *life,
                const uint8_t serial[16], struct kv_buf *out,
                struct kv_err *err) KV_MUST_CHECK;

#endif
