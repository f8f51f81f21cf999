/*
 * Base64: the first byte chooses the kind. Whatever decodes has one spelling, so it
 * encodes to the very same text; and every byte string survives the way there and
 * back.
 */
#include "store/core/b64.h"

#include <string.h>

#define MAX_LEN ((size_t)1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_text(enum kv_b64_kind kind, const uint8_t *text, size_t len)
{
    struct kv_buf bytes;
    struct kv_buf again;
    kv_buf_init_secret(&bytes, MAX_LEN);
    kv_buf_init(&again, MAX_LEN);
    int rc = kv_b64_decode(kind, (const char *)text, len, &bytes);
    KV_ASSERT(rc == 0 || rc == KV_E_INVALID);
    KV_ASSERT(rc == 0 || bytes.len == 0);
    if (rc == 0) {
        rc = kv_b64_encode(kind, bytes.data, bytes.len, &again);
        KV_ASSERT(rc == 0);
        KV_ASSERT(again.len == len && (len == 0 || memcmp(again.data, text, len) == 0));
    }
    kv_buf_free(&bytes);
    kv_buf_free(&again);
}

static void check_bytes(enum kv_b64_kind kind, const uint8_t *bytes, size_t len)
{
    struct kv_buf text;
    struct kv_buf again;
    kv_buf_init(&text, MAX_LEN);
    kv_buf_init(&again, MAX_LEN);
    int rc = kv_b64_encode(kind, bytes, len, &text);
    KV_ASSERT(rc == 0);
    rc = kv_b64_decode(kind, (const char *)text.data, text.len, &again);
    KV_ASSERT(rc == 0);
    KV_ASSERT(again.len == len && (len == 0 || memcmp(again.data, bytes, len) == 0));
    kv_buf_free(&text);
    kv_buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0 || len > MAX_LEN / 2)
        return 0;
    enum kv_b64_kind kind = data[0] % 2 == 0 ? KV_B64_STD : KV_B64_URL;
    check_text(kind, data + 1, len - 1);
    check_bytes(kind, data + 1, len - 1);
    return 0;
}
