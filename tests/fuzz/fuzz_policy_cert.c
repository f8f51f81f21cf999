/*
 * Policies of imported certificates: what is accepted has a document that reads back
 * as itself; what is refused says why.
 */
#include <string.h>

#include <openssl/err.h>

#include "lifecycle/certs/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct kv_policy policy;
    struct kv_policy again;
    struct kv_err err = KV_ERR_INIT;
    int rc = kv_policy_of_cert((struct kv_bytes){data, len}, NULL, &policy, &err);
    KV_ASSERT(ERR_peek_error() == 0);
    if (rc == 0) {
        KV_ASSERT(err.code == 0 && strcmp(policy.issuer, "Unknown") == 0);
        rc = kv_policy_read(policy.doc, &again, NULL);
        KV_ASSERT(rc == 0 && json_equal(policy.doc, again.doc) == 1);
        kv_policy_free(&again);
        kv_policy_free(&policy);
    } else {
        KV_ASSERT(rc == KV_E_INVALID || rc == KV_E_UNSUPPORTED);
        KV_ASSERT(err.code == rc && strncmp(err.id, "policy.", 7) == 0);
    }
    return 0;
}
