/*
 * Growing buffers: doubled on demand, never beyond the ceiling given at birth.
 *
 * One byte above the ceiling is allowed to the allocation (not to the content), so
 * that kv_buf_cstr can always put its NUL. Growth never uses realloc: a secret's
 * old block must be wiped before the allocator gets it back.
 */
#include "store/core/buf.h"

#include "store/core/secret.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIN_CAP 64U

void kv_buf_init(struct kv_buf *buf, size_t max_len)
{
    *buf = (struct kv_buf){.max_len = max_len};
}

void kv_buf_init_secret(struct kv_buf *buf, size_t max_len)
{
    *buf = (struct kv_buf){.max_len = max_len, .is_secret = true};
}

void kv_buf_free(struct kv_buf *buf)
{
    if (buf == NULL)
        return;
    if (buf->is_secret && buf->data != NULL)
        kv_wipe(buf->data, buf->cap);
    free(buf->data);
    buf->data = NULL;
    buf->len = 0;
    buf->cap = 0;
    buf->failed = 0;
}

void kv_buf_reset(struct kv_buf *buf)
{
    kv_buf_truncate(buf, 0);
    buf->failed = 0;
}

static int fail(struct kv_buf *buf, int code)
{
    buf->failed = code;
    return code;
}

/* Move the content to a block of `cap` bytes. */
static int move_to(struct kv_buf *buf, size_t cap)
{
    uint8_t *data = malloc(cap);
    if (data == NULL)
        return fail(buf, KV_E_NOMEM);
    if (buf->len > 0)
        memcpy(data, buf->data, buf->len);
    if (buf->is_secret && buf->data != NULL)
        kv_wipe(buf->data, buf->cap);
    free(buf->data);
    buf->data = data;
    buf->cap = cap;
    return 0;
}

/* Make room for `len` more bytes of content plus one for a NUL. */
static int reserve(struct kv_buf *buf, size_t len)
{
    if (buf->failed != 0)
        return buf->failed;
    if (len > buf->max_len - buf->len)
        return fail(buf, KV_E_TOO_BIG);
    size_t need;
    if (__builtin_add_overflow(buf->len + len, (size_t)1, &need))
        return fail(buf, KV_E_TOO_BIG);
    if (need <= buf->cap)
        return 0;
    size_t cap = buf->cap < MIN_CAP ? MIN_CAP : buf->cap;
    while (cap < need) {
        if (__builtin_mul_overflow(cap, (size_t)2, &cap))
            cap = need;
    }
    if (cap > buf->max_len && buf->max_len < SIZE_MAX)
        cap = buf->max_len + 1;
    return move_to(buf, cap);
}

int kv_buf_append(struct kv_buf *buf, const void *data, size_t len)
{
    int rc = reserve(buf, len);
    if (rc != 0)
        return rc;
    if (len > 0)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    return 0;
}

int kv_buf_append_str(struct kv_buf *buf, const char *text)
{
    return kv_buf_append(buf, text, strlen(text));
}

int kv_buf_appendf(struct kv_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0)
        return fail(buf, KV_E_TOO_BIG);
    size_t len = (size_t)n;
    int rc = reserve(buf, len);
    if (rc != 0)
        return rc;
    va_start(args, format);
    (void)vsnprintf((char *)buf->data + buf->len, len + 1, format, args);
    va_end(args);
    buf->len += len;
    return 0;
}

uint8_t *kv_buf_extend(struct kv_buf *buf, size_t len)
{
    if (reserve(buf, len) != 0)
        return NULL;
    uint8_t *start = buf->data + buf->len;
    memset(start, 0, len);
    buf->len += len;
    return start;
}

void kv_buf_consume(struct kv_buf *buf, size_t len)
{
    KV_ASSERT(len <= buf->len);
    size_t rest = buf->len - len;
    if (rest > 0 && len > 0)
        memmove(buf->data, buf->data + len, rest);
    kv_buf_truncate(buf, rest);
}

void kv_buf_truncate(struct kv_buf *buf, size_t len)
{
    KV_ASSERT(len <= buf->len);
    if (buf->is_secret && len < buf->len)
        kv_wipe(buf->data + len, buf->len - len);
    buf->len = len;
}

int kv_buf_status(const struct kv_buf *buf)
{
    return buf->failed;
}

const char *kv_buf_cstr(struct kv_buf *buf)
{
    if (reserve(buf, 0) != 0)
        return NULL;
    buf->data[buf->len] = '\0';
    return (const char *)buf->data;
}

uint8_t *kv_buf_take(struct kv_buf *buf, size_t *len)
{
    uint8_t *data = NULL;
    *len = 0;
    if (buf->failed == 0 && buf->len > 0) {
        data = buf->data;
        *len = buf->len;
        buf->data = NULL;
    }
    kv_buf_free(buf);
    return data;
}
