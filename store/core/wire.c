/*
 * Little-endian readers and writers. Every read goes through take(), which alone
 * compares a length with what is left; after a failure nothing is left, so later
 * reads fail by themselves.
 */
#include "store/core/wire.h"

#include "store/core/str.h"

#include <string.h>

void kv_wire_init(struct kv_wire *wire, const void *data, size_t len)
{
    *wire = (struct kv_wire){.at = data, .left = len};
}

void kv_wire_fail(struct kv_wire *wire)
{
    wire->failed = true;
    wire->left = 0;
}

/* The next `len` bytes (`len` > 0), or NULL and the reader failed. */
static const uint8_t *take(struct kv_wire *wire, size_t len)
{
    if (wire->failed || len > wire->left) {
        kv_wire_fail(wire);
        return NULL;
    }
    const uint8_t *start = wire->at;
    wire->at += len;
    wire->left -= len;
    return start;
}

static uint64_t take_uint(struct kv_wire *wire, size_t len)
{
    const uint8_t *in = take(wire, len);
    uint64_t value = 0;
    for (size_t i = len; in != NULL && i > 0; i--)
        value = value << 8 | in[i - 1];
    return value;
}

uint8_t kv_wire_u8(struct kv_wire *wire)
{
    return (uint8_t)take_uint(wire, 1);
}

uint16_t kv_wire_u16(struct kv_wire *wire)
{
    return (uint16_t)take_uint(wire, 2);
}

uint32_t kv_wire_u32(struct kv_wire *wire)
{
    return (uint32_t)take_uint(wire, 4);
}

uint64_t kv_wire_u64(struct kv_wire *wire)
{
    return take_uint(wire, 8);
}

int64_t kv_wire_i64(struct kv_wire *wire)
{
    return (int64_t)take_uint(wire, 8);
}

void kv_wire_raw(struct kv_wire *wire, void *out, size_t len)
{
    if (len == 0)
        return;
    const uint8_t *in = take(wire, len);
    if (in != NULL)
        memcpy(out, in, len);
    else
        memset(out, 0, len);
}

struct kv_bytes kv_wire_bytes(struct kv_wire *wire, size_t max_len)
{
    size_t len = kv_wire_u32(wire);
    if (len > max_len)
        kv_wire_fail(wire);
    if (wire->failed || len == 0)
        return (struct kv_bytes){0};
    const uint8_t *data = take(wire, len);
    return (struct kv_bytes){.data = data, .len = data == NULL ? 0 : len};
}

void kv_wire_str(struct kv_wire *wire, char *out, size_t out_size)
{
    KV_ASSERT(out_size > 0);
    struct kv_bytes text = kv_wire_bytes(wire, out_size - 1);
    if (text.len > 0 && !kv_utf8_is_valid((const char *)text.data, text.len)) {
        kv_wire_fail(wire);
        text.len = 0;
    }
    if (text.len > 0)
        memcpy(out, text.data, text.len);
    out[text.len] = '\0';
}

int kv_wire_end(const struct kv_wire *wire)
{
    return wire->failed || wire->left > 0 ? KV_E_INVALID : 0;
}

static void put_uint(struct kv_buf *out, uint64_t value, size_t len)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    (void)kv_buf_append(out, bytes, len); /* the buffer's status is sticky */
}

void kv_wire_put_u8(struct kv_buf *out, uint8_t value)
{
    put_uint(out, value, 1);
}

void kv_wire_put_u16(struct kv_buf *out, uint16_t value)
{
    put_uint(out, value, 2);
}

void kv_wire_put_u32(struct kv_buf *out, uint32_t value)
{
    put_uint(out, value, 4);
}

void kv_wire_put_u64(struct kv_buf *out, uint64_t value)
{
    put_uint(out, value, 8);
}

void kv_wire_put_i64(struct kv_buf *out, int64_t value)
{
    put_uint(out, (uint64_t)value, 8);
}

void kv_wire_put_raw(struct kv_buf *out, const void *data, size_t len)
{
    (void)kv_buf_append(out, data, len); /* the buffer's status is sticky */
}

void kv_wire_put_bytes(struct kv_buf *out, const void *data, size_t len)
{
    if (len > UINT32_MAX) {
        if (out->failed == 0)
            out->failed = KV_E_TOO_BIG;
        return;
    }
    kv_wire_put_u32(out, (uint32_t)len);
    kv_wire_put_raw(out, data, len);
}

void kv_wire_put_str(struct kv_buf *out, const char *text)
{
    kv_wire_put_bytes(out, text, strlen(text));
}
