/*
 * Key references: whatever is accepted is written to bytes that read back as the same
 * reference; whatever is refused says why and leaves the result alone.
 */
#include "store/core/keyref.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct kv_keyref ref = {.spki_len = 4711};
    struct kv_keyref again;
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf der;
    int rc = kv_keyref_decode(data, len, &ref, &err);
    if (rc != 0) {
        KV_ASSERT(rc == KV_E_INVALID || rc == KV_E_TOO_BIG);
        KV_ASSERT(err.code == rc && err.id[0] != '\0');
        KV_ASSERT(ref.spki_len == 4711);
        return 0;
    }
    kv_buf_init(&der, KV_KEYREF_DER_MAX);
    KV_ASSERT(kv_keyref_encode(&ref, &der, &err) == 0);
    KV_ASSERT(kv_keyref_decode(der.data, der.len, &again, &err) == 0);
    KV_ASSERT(ref.spki_len == again.spki_len);
    KV_ASSERT(memcmp(ref.spki, again.spki, ref.spki_len) == 0);
    KV_ASSERT(strcmp(ref.key_type, again.key_type) == 0);
    KV_ASSERT(strcmp(ref.uri.name, again.uri.name) == 0);
    KV_ASSERT(kv_keyref_is_pinned(&ref) == kv_keyref_is_pinned(&again));
    kv_buf_free(&der);
    return 0;
}
