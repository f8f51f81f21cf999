/*
 * Messages between service and keyring about the audit log.
 */
#include "store/keyring/role_audit.h"

#include "store/keyring/codec.h"

static void mark_put(struct kv_buf *out, const struct kv_audit_mark *mark)
{
    kv_wire_put_u64(out, mark->segment);
    kv_wire_put_u64(out, mark->seq);
    kv_wire_put_raw(out, mark->mac, KV_AUDIT_MAC_LEN);
}

static void mark_read(struct kv_wire *wire, struct kv_audit_mark *mark)
{
    mark->segment = kv_wire_u64(wire);
    mark->seq = kv_wire_u64(wire);
    kv_wire_raw(wire, mark->mac, KV_AUDIT_MAC_LEN);
}

static void sealed_put(struct kv_buf *out, const struct kv_audit_sealed *sealed)
{
    mark_put(out, &sealed->after);
    kv_wire_put_raw(out, sealed->seal, KV_AUDIT_MAC_LEN);
}

static void sealed_read(struct kv_wire *wire, struct kv_audit_sealed *sealed)
{
    mark_read(wire, &sealed->after);
    kv_wire_raw(wire, sealed->seal, KV_AUDIT_MAC_LEN);
}

void kv_role_audit_mark_put(struct kv_buf *out, const struct kv_role_audit_mark *msg)
{
    mark_put(out, &msg->mark);
}

int kv_role_audit_mark_get(struct kv_bytes payload, struct kv_role_audit_mark *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    mark_read(&wire, &msg->mark);
    return kv_wire_end(&wire);
}

void kv_role_audit_opened_put(struct kv_buf *out,
                              const struct kv_role_audit_opened *msg)
{
    kv_wire_put_raw(out, msg->key, KV_AUDIT_KEY_LEN);
    sealed_put(out, &msg->sealed);
}

int kv_role_audit_opened_get(struct kv_bytes payload, struct kv_role_audit_opened *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_wire_raw(&wire, msg->key, KV_AUDIT_KEY_LEN);
    sealed_read(&wire, &msg->sealed);
    return kv_wire_end(&wire);
}

void kv_role_audit_sealed_put(struct kv_buf *out,
                              const struct kv_role_audit_sealed *msg)
{
    sealed_put(out, &msg->sealed);
}

int kv_role_audit_sealed_get(struct kv_bytes payload, struct kv_role_audit_sealed *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    sealed_read(&wire, &msg->sealed);
    return kv_wire_end(&wire);
}

void kv_role_audit_range_put(struct kv_buf *out, const struct kv_role_audit_range *msg)
{
    kv_wire_put_u64(out, msg->first);
    kv_wire_put_u16(out, msg->n);
}

int kv_role_audit_range_get(struct kv_bytes payload, struct kv_role_audit_range *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    msg->first = kv_wire_u64(&wire);
    msg->n = kv_codec_u16(&wire, 0, KV_AUDIT_BATCH_MAX);
    return kv_wire_end(&wire);
}

void kv_role_audit_keys_put(struct kv_buf *out, const struct kv_role_audit_keys *msg)
{
    mark_put(out, &msg->last);
    kv_wire_put_u16(out, msg->n);
    for (uint16_t i = 0; i < msg->n; i++)
        kv_wire_put_raw(out, msg->key[i], KV_AUDIT_KEY_LEN);
}

int kv_role_audit_keys_get(struct kv_bytes payload, struct kv_role_audit_keys *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    mark_read(&wire, &msg->last);
    msg->n = kv_codec_u16(&wire, 0, KV_AUDIT_BATCH_MAX);
    for (uint16_t i = 0; i < msg->n; i++)
        kv_wire_raw(&wire, msg->key[i], KV_AUDIT_KEY_LEN);
    return kv_wire_end(&wire);
}

void kv_role_audit_seals_put(struct kv_buf *out, const struct kv_role_audit_seals *msg)
{
    kv_wire_put_u16(out, msg->n);
    for (uint16_t i = 0; i < msg->n; i++) {
        kv_wire_put_u8(out, msg->row[i].kind);
        mark_put(out, &msg->row[i].mark);
        sealed_put(out, &msg->row[i].sealed);
    }
}

int kv_role_audit_seals_get(struct kv_bytes payload, struct kv_role_audit_seals *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    msg->n = kv_codec_u16(&wire, 0, KV_AUDIT_BATCH_MAX);
    for (uint16_t i = 0; i < msg->n; i++) {
        msg->row[i].kind =
            kv_codec_u8(&wire, KV_AUDIT_SEAL_OPEN, KV_AUDIT_SEAL_CHECKPOINT);
        mark_read(&wire, &msg->row[i].mark);
        sealed_read(&wire, &msg->row[i].sealed);
    }
    return kv_wire_end(&wire);
}

void kv_role_audit_checked_put(struct kv_buf *out,
                               const struct kv_role_audit_checked *msg)
{
    kv_wire_put_u16(out, msg->n);
    kv_wire_put_raw(out, msg->is_true, msg->n);
}

int kv_role_audit_checked_get(struct kv_bytes payload,
                              struct kv_role_audit_checked *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    msg->n = kv_codec_u16(&wire, 0, KV_AUDIT_BATCH_MAX);
    for (uint16_t i = 0; i < msg->n; i++)
        msg->is_true[i] = kv_codec_u8(&wire, 0, 1);
    return kv_wire_end(&wire);
}

static void counts_put(struct kv_buf *out, const struct kv_audit_use_counts *counts)
{
    for (size_t i = 0; i < KV_AUDIT_USES_N; i++)
        kv_wire_put_u32(out, counts->n[i]);
}

static void counts_read(struct kv_wire *wire, struct kv_audit_use_counts *counts)
{
    for (size_t i = 0; i < KV_AUDIT_USES_N; i++)
        counts->n[i] = kv_wire_u32(wire);
}

void kv_role_audit_uses_ask_put(struct kv_buf *out,
                                const struct kv_role_audit_uses_ask *msg)
{
    kv_wire_put_u32(out, msg->from);
    kv_wire_put_u16(out, msg->n_done);
    for (uint16_t i = 0; i < msg->n_done; i++) {
        kv_wire_put_u32(out, msg->done[i].uid);
        kv_wire_put_raw(out, msg->done[i].version, KV_ID_LEN);
        counts_put(out, &msg->done[i].counts);
    }
}

int kv_role_audit_uses_ask_get(struct kv_bytes payload,
                               struct kv_role_audit_uses_ask *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    msg->from = kv_wire_u32(&wire);
    msg->n_done = kv_codec_u16(&wire, 0, KV_AUDIT_BATCH_MAX);
    for (uint16_t i = 0; i < msg->n_done; i++) {
        msg->done[i].uid = kv_wire_u32(&wire);
        kv_wire_raw(&wire, msg->done[i].version, KV_ID_LEN);
        counts_read(&wire, &msg->done[i].counts);
    }
    return kv_wire_end(&wire);
}

void kv_role_audit_uses_put(struct kv_buf *out, const struct kv_role_audit_uses *msg)
{
    kv_wire_put_u32(out, msg->next);
    kv_wire_put_u16(out, msg->n);
    for (uint16_t i = 0; i < msg->n; i++) {
        const struct kv_role_audit_use *row = &msg->row[i];
        kv_wire_put_u32(out, row->uid);
        kv_wire_put_raw(out, row->vault, KV_ID_LEN);
        kv_wire_put_str(out, row->name);
        kv_wire_put_raw(out, row->version, KV_ID_LEN);
        counts_put(out, &row->counts);
    }
}

int kv_role_audit_uses_get(struct kv_bytes payload, struct kv_role_audit_uses *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    msg->next = kv_wire_u32(&wire);
    msg->n = kv_codec_u16(&wire, 0, KV_AUDIT_BATCH_MAX);
    for (uint16_t i = 0; i < msg->n; i++) {
        struct kv_role_audit_use *row = &msg->row[i];
        row->uid = kv_wire_u32(&wire);
        kv_wire_raw(&wire, row->vault, KV_ID_LEN);
        kv_wire_str(&wire, row->name, sizeof(row->name));
        kv_wire_raw(&wire, row->version, KV_ID_LEN);
        counts_read(&wire, &row->counts);
    }
    return kv_wire_end(&wire);
}
