/*
 * URI parser: whatever is accepted prints to a text that reads back as the same
 * object; whatever is refused says why and leaves the result alone.
 */
#include "store/core/uri.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool is_same(const struct kv_uri *a, const struct kv_uri *b)
{
    return strcmp(a->vault, b->vault) == 0 && a->collection == b->collection &&
           strcmp(a->name, b->name) == 0 && a->has_version == b->has_version &&
           memcmp(a->version, b->version, KV_ID_LEN) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct kv_uri uri;
    struct kv_uri again;
    struct kv_err err = KV_ERR_INIT;
    char text[KV_URI_MAX + 1];
    int rc = kv_uri_parse((const char *)data, len, &uri, &err);
    if (rc != 0) {
        KV_ASSERT(rc == KV_E_INVALID || rc == KV_E_TOO_BIG);
        KV_ASSERT(err.code == rc && strncmp(err.id, "uri.", 4) == 0);
        return 0;
    }
    KV_ASSERT(err.code == 0);
    rc = kv_uri_format(&uri, text, sizeof(text));
    KV_ASSERT(rc == 0);
    rc = kv_uri_parse(text, strlen(text), &again, NULL);
    KV_ASSERT(rc == 0);
    KV_ASSERT(is_same(&uri, &again));
    return 0;
}
