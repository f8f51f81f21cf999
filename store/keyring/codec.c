/*
 * Shared field checks of the codecs. A value out of range marks the sticky reader
 * failed, so every message parser stays a straight list of fields and each get()
 * has one exit.
 */
#include "store/keyring/codec.h"

struct kv_wire kv_codec_reader(struct kv_bytes payload)
{
    struct kv_wire wire;
    kv_wire_init(&wire, payload.data, payload.len);
    return wire;
}

uint8_t kv_codec_u8(struct kv_wire *wire, uint8_t min, uint8_t max)
{
    const uint8_t value = kv_wire_u8(wire);
    if (value < min || value > max)
        kv_wire_fail(wire);
    return value;
}

uint16_t kv_codec_u16(struct kv_wire *wire, uint16_t min, uint16_t max)
{
    const uint16_t value = kv_wire_u16(wire);
    if (value < min || value > max) {
        kv_wire_fail(wire);
        return min;
    }
    return value;
}

int32_t kv_codec_status(struct kv_wire *wire)
{
    const int32_t status = (int32_t)kv_wire_u32(wire);
    if (status > 0)
        kv_wire_fail(wire);
    return status;
}

uint32_t kv_codec_ops(struct kv_wire *wire)
{
    const uint32_t ops = kv_wire_u32(wire);
    if ((ops & ~KV_OP_ALL) != 0)
        kv_wire_fail(wire);
    return ops;
}

static bool shape_is_known(uint8_t kty, uint8_t curve)
{
    switch ((enum kv_kty)kty) {
    case KV_KTY_RSA:
        return curve == KV_CURVE_NONE;
    case KV_KTY_EC:
        return curve >= KV_CURVE_P256 && curve <= KV_CURVE_P256K;
    case KV_KTY_OKP:
        return curve == KV_CURVE_ED25519;
    }
    return false;
}

void kv_codec_shape(struct kv_wire *wire, uint8_t *kty, uint8_t *curve, uint16_t *bits)
{
    *kty = kv_wire_u8(wire);
    *curve = kv_wire_u8(wire);
    *bits = kv_wire_u16(wire);
    if (*bits == 0 || !shape_is_known(*kty, *curve))
        kv_wire_fail(wire);
}

void kv_codec_certs(struct kv_wire *wire, uint16_t min, uint16_t *n,
                    struct kv_bytes der[KV_CHAIN_MAX])
{
    *n = kv_codec_u16(wire, min, KV_CHAIN_MAX);
    for (uint16_t i = 0; i < *n; i++) {
        der[i] = kv_wire_bytes(wire, KV_CERT_DER_MAX);
        if (der[i].len == 0)
            kv_wire_fail(wire);
    }
}

void kv_codec_certs_put(struct kv_buf *out, uint16_t n,
                        const struct kv_bytes der[KV_CHAIN_MAX])
{
    KV_ASSERT(n <= KV_CHAIN_MAX);
    kv_wire_put_u16(out, n);
    for (uint16_t i = 0; i < n; i++)
        kv_codec_bytes_put(out, der[i]);
}

void kv_codec_bytes_put(struct kv_buf *out, struct kv_bytes bytes)
{
    kv_wire_put_bytes(out, bytes.data, bytes.len);
}
