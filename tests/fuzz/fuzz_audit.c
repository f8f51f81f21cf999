/*
 * Audit logs: the check of any bytes ends without a crash, finds no fault in a line
 * that it cannot read back, and is the same in whatever pieces the bytes come. The
 * seeds are segments under the key below.
 */
#include <stdio.h>
#include <string.h>

#include "lifecycle/audit/verify.h"

static const uint8_t audit_key[KV_AUDIT_KEY_LEN] = {1, 2, 3, 4, 5, 6, 7, 8};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(const uint8_t *data, size_t len, size_t step,
                  struct kv_audit_report *report)
{
    struct kv_audit_keys keys;
    kv_audit_keys_of(&keys, audit_key);
    struct kv_audit_verifier *verifier = kv_audit_verifier_new(&keys, NULL, report);
    KV_ASSERT(verifier != NULL);
    KV_ASSERT(kv_audit_verifier_begin(verifier, "audit-0000000001.log", 1) == 0);
    for (size_t at = 0; at < len; at += step) {
        size_t n = len - at < step ? len - at : step;
        KV_ASSERT(kv_audit_verifier_feed(verifier, data + at, n) == 0);
    }
    kv_audit_verifier_end(verifier);
    kv_audit_verifier_finish(verifier);
    kv_audit_verifier_free(verifier);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct kv_audit_report whole;
    static struct kv_audit_report pieces;
    struct kv_audit_line line;
    if (len > 0 && kv_audit_line_parse((const char *)data, len, &line) == 0)
        KV_ASSERT(line.body_len + KV_AUDIT_TAIL_LEN == len && line.type[0] != '\0');
    check(data, len, len > 0 ? len : 1, &whole);
    check(data, len, 7, &pieces);
    KV_ASSERT(memcmp(&whole, &pieces, sizeof(whole)) == 0);
    return 0;
}
