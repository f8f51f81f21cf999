/*
 * Range checks that the codecs of protocol.h and role.h share. Each reads one field
 * and marks the reader failed when the value is not one that the format knows.
 */
#ifndef KV_STORE_KEYRING_CODEC_H
#define KV_STORE_KEYRING_CODEC_H

#include "store/keyring/protocol.h"

#define KV_OP_ALL 0x7ffu /* every bit of enum kv_op */

/* A reader at the start of `payload`. */
struct kv_wire kv_codec_reader(struct kv_bytes payload);

/* Read a u8 that must lie in [min, max]. */
uint8_t kv_codec_u8(struct kv_wire *wire, uint8_t min, uint8_t max);

/* Read a u16 that must lie in [min, max]. */
uint16_t kv_codec_u16(struct kv_wire *wire, uint16_t min, uint16_t max);

/* Read a status: 0 or a negative code. */
int32_t kv_codec_status(struct kv_wire *wire);

/* Read a set of enum kv_op bits. */
uint32_t kv_codec_ops(struct kv_wire *wire);

/* Read kty, curve and bits of a key that exists; the three must fit together. */
void kv_codec_shape(struct kv_wire *wire, uint8_t *kty, uint8_t *curve, uint16_t *bits);

/* Read a count in [min, KV_CHAIN_MAX] and so many certificates. */
void kv_codec_certs(struct kv_wire *wire, uint16_t min, uint16_t *n,
                    struct kv_bytes der[KV_CHAIN_MAX]);
void kv_codec_certs_put(struct kv_buf *out, uint16_t n,
                        const struct kv_bytes der[KV_CHAIN_MAX]);

void kv_codec_bytes_put(struct kv_buf *out, struct kv_bytes bytes);

#endif
