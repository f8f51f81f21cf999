/*
 * Exhaustive check of one encoded payload: all prefixes, one more byte, and every
 * byte replaced by a few telling values. The copy lives in its own allocation of
 * exact size, so that the address sanitizer sees a read past the end.
 */
#include "tests/support/codec_check.h"

#include <stdlib.h>
#include <string.h>

static int again_exact(const uint8_t *data, size_t len, kv_codec_again_fn again,
                       struct kv_buf *out)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    if (copy == NULL)
        return KV_E_NOMEM;
    if (len > 0)
        memcpy(copy, data, len);
    kv_buf_reset(out);
    const int rc = again((struct kv_bytes){copy, len}, out);
    free(copy);
    return rc;
}

static bool is_same(const struct kv_buf *out, const uint8_t *data, size_t len)
{
    return kv_buf_status(out) == 0 && out->len == len &&
           (len == 0 || memcmp(out->data, data, len) == 0);
}

static const char *check_changed(uint8_t *data, size_t len, kv_codec_again_fn again,
                                 struct kv_buf *out)
{
    static const uint8_t values[] = {0x00, 0x01, 0x0c, 0x20, 0x7f, 0x80, 0xff};
    for (size_t i = 0; i < len; i++) {
        const uint8_t old = data[i];
        for (size_t k = 0; k < sizeof(values); k++) {
            data[i] = values[k];
            if (again_exact(data, len, again, out) == 0 && !is_same(out, data, len))
                return "a changed payload was read as something else";
        }
        data[i] = old;
    }
    return NULL;
}

const char *kv_codec_check(struct kv_bytes payload, kv_codec_again_fn again)
{
    const char *problem = NULL;
    struct kv_buf out;
    kv_buf_init(&out, payload.len + 4096);
    uint8_t *data = calloc(1, payload.len + 1);
    if (data == NULL) {
        problem = "no memory";
        goto out;
    }
    if (payload.len > 0)
        memcpy(data, payload.data, payload.len);
    if (again_exact(data, payload.len, again, &out) != 0 ||
        !is_same(&out, data, payload.len)) {
        problem = "a good payload did not come back the same";
        goto out;
    }
    for (size_t len = 0; len < payload.len; len++) {
        if (again_exact(data, len, again, &out) == 0) {
            problem = "a short payload was accepted";
            goto out;
        }
    }
    if (again_exact(data, payload.len + 1, again, &out) == 0) {
        problem = "a long payload was accepted";
        goto out;
    }
    problem = check_changed(data, payload.len, again, &out);
out:
    free(data);
    kv_buf_free(&out);
    return problem;
}
