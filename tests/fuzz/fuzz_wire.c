/*
 * Frame fields: the input is a script, a count of operations, one byte for each,
 * then the bytes they read. No sequence of reads leaves the input, a failed reader
 * stays failed, and texts come out terminated.
 */
#include "store/core/str.h"
#include "store/core/wire.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Add up borrowed bytes, so that a sanitizer sees them read. */
static unsigned touch(struct kv_bytes bytes)
{
    unsigned sum = 0;
    for (size_t i = 0; i < bytes.len; i++)
        sum += bytes.data[i];
    return sum;
}

static void read_text(struct kv_wire *wire)
{
    char text[32];
    memset(text, 'x', sizeof(text));
    kv_wire_str(wire, text, sizeof(text));
    size_t n = strnlen(text, sizeof(text));
    KV_ASSERT(n < sizeof(text));
    KV_ASSERT(kv_utf8_is_valid(text, n));
    KV_ASSERT(!wire->failed || n == 0);
}

static uint64_t read_one(struct kv_wire *wire, uint8_t op)
{
    uint8_t raw[16];
    switch (op % 8) {
    case 0:
        return kv_wire_u8(wire);
    case 1:
        return kv_wire_u16(wire);
    case 2:
        return kv_wire_u32(wire);
    case 3:
        return kv_wire_u64(wire);
    case 4:
        return (uint64_t)kv_wire_i64(wire);
    case 5:
        kv_wire_raw(wire, raw, op / 16U);
        return op < 16 ? 0 : raw[0];
    case 6:
        return touch(kv_wire_bytes(wire, (size_t)op * 4));
    default:
        read_text(wire);
        return 0;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0 || data[0] > len - 1)
        return 0;
    size_t n_ops = data[0];
    const uint8_t *ops = data + 1;
    struct kv_wire wire;
    kv_wire_init(&wire, ops + n_ops, len - 1 - n_ops);
    for (size_t i = 0; i < n_ops; i++) {
        size_t before = wire.left;
        bool was_failed = wire.failed;
        uint64_t value = read_one(&wire, ops[i]);
        KV_ASSERT(wire.left <= before);
        KV_ASSERT(!was_failed || (wire.failed && value == 0));
    }
    KV_ASSERT((kv_wire_end(&wire) == 0) == (!wire.failed && wire.left == 0));
    return 0;
}
