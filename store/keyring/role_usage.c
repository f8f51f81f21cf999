/*
 * Messages between service and keyring about what was done with keys.
 */
#include "store/keyring/codec.h"
#include "store/keyring/role.h"

void kv_role_usage_ask_put(struct kv_buf *out, const struct kv_role_usage_ask *msg)
{
    kv_wire_put_raw(out, msg->vault, KV_ID_LEN);
    kv_wire_put_str(out, msg->name);
    kv_wire_put_u32(out, msg->from);
}

int kv_role_usage_ask_get(struct kv_bytes payload, struct kv_role_usage_ask *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_wire_raw(&wire, msg->vault, KV_ID_LEN);
    kv_wire_str(&wire, msg->name, sizeof(msg->name));
    msg->from = kv_wire_u32(&wire);
    return kv_wire_end(&wire);
}

static void counts_put(struct kv_buf *out, const struct kv_usage_counts *counts)
{
    for (size_t i = 0; i < KV_USES_N; i++)
        kv_wire_put_u64(out, counts->uses[i]);
    kv_wire_put_u64(out, counts->errors);
    kv_wire_put_u64(out, counts->prepared);
    for (size_t i = 0; i < KV_USAGE_BUCKETS; i++)
        kv_wire_put_u64(out, counts->bucket[i]);
}

static void counts_read(struct kv_wire *wire, struct kv_usage_counts *counts)
{
    for (size_t i = 0; i < KV_USES_N; i++)
        counts->uses[i] = kv_wire_u64(wire);
    counts->errors = kv_wire_u64(wire);
    counts->prepared = kv_wire_u64(wire);
    for (size_t i = 0; i < KV_USAGE_BUCKETS; i++)
        counts->bucket[i] = kv_wire_u64(wire);
}

void kv_role_usage_put(struct kv_buf *out, const struct kv_role_usage *msg)
{
    KV_ASSERT(msg->n <= KV_BATCH_MAX);
    kv_wire_put_u32(out, msg->next);
    kv_wire_put_u16(out, msg->n);
    for (uint16_t i = 0; i < msg->n; i++) {
        const struct kv_role_usage_row *row = &msg->row[i];
        kv_wire_put_str(out, row->name);
        kv_wire_put_raw(out, row->version, KV_ID_LEN);
        kv_wire_put_u8(out, row->kty);
        kv_wire_put_u8(out, row->curve);
        kv_wire_put_u16(out, row->bits);
        kv_wire_put_i64(out, row->since_s);
        counts_put(out, &row->counts);
    }
}

int kv_role_usage_get(struct kv_bytes payload, struct kv_role_usage *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    msg->next = kv_wire_u32(&wire);
    msg->n = kv_codec_u16(&wire, 0, KV_BATCH_MAX);
    for (uint16_t i = 0; i < msg->n; i++) {
        struct kv_role_usage_row *row = &msg->row[i];
        kv_wire_str(&wire, row->name, sizeof(row->name));
        kv_wire_raw(&wire, row->version, KV_ID_LEN);
        kv_codec_shape(&wire, &row->kty, &row->curve, &row->bits);
        row->since_s = kv_wire_i64(&wire);
        counts_read(&wire, &row->counts);
    }
    return kv_wire_end(&wire);
}
