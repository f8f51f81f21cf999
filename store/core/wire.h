/*
 * Little-endian fields in and out of byte strings: the one place where bounds of
 * frames and sealed bodies are checked.
 *
 * A reader is sticky: after the first field that does not fit every read returns
 * zero or an empty string, and kv_wire_end reports KV_E_INVALID. So a parser reads
 * all its fields straight down and checks once. Writers append to a kv_buf.
 */
#ifndef KV_STORE_CORE_WIRE_H
#define KV_STORE_CORE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/core/buf.h"

struct kv_bytes {
    const uint8_t *data; /* borrowed; NULL when len is 0 */
    size_t len;
};

struct kv_wire {
    const uint8_t *at;
    size_t left;
    bool failed;
};

void kv_wire_init(struct kv_wire *wire, const void *data, size_t len);
uint8_t kv_wire_u8(struct kv_wire *wire);
uint16_t kv_wire_u16(struct kv_wire *wire);
uint32_t kv_wire_u32(struct kv_wire *wire);
uint64_t kv_wire_u64(struct kv_wire *wire);
int64_t kv_wire_i64(struct kv_wire *wire);

/* Copy `len` bytes to `out` (zeros on failure). */
void kv_wire_raw(struct kv_wire *wire, void *out, size_t len);

/* Bytes with a u32 length in front, at most `max_len`; borrowed from the input. */
struct kv_bytes kv_wire_bytes(struct kv_wire *wire, size_t max_len);

/* Text with a u32 length in front, copied with a NUL into `out`; fails on an
 * embedded NUL, on bad UTF-8 and when it does not fit. */
void kv_wire_str(struct kv_wire *wire, char *out, size_t out_size);

/* Mark the reader failed: a value was read but is out of range. */
void kv_wire_fail(struct kv_wire *wire);

/* 0 when every field was there and nothing is left over, else KV_E_INVALID. */
int kv_wire_end(const struct kv_wire *wire) KV_MUST_CHECK;

void kv_wire_put_u8(struct kv_buf *out, uint8_t value);
void kv_wire_put_u16(struct kv_buf *out, uint16_t value);
void kv_wire_put_u32(struct kv_buf *out, uint32_t value);
void kv_wire_put_u64(struct kv_buf *out, uint64_t value);
void kv_wire_put_i64(struct kv_buf *out, int64_t value);
void kv_wire_put_raw(struct kv_buf *out, const void *data, size_t len);
void kv_wire_put_bytes(struct kv_buf *out, const void *data, size_t len);
void kv_wire_put_str(struct kv_buf *out, const char *text);

#endif
