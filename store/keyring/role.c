/*
 * Messages between service and keyring about rows, grants and beats.
 * The messages that carry a key and its attributes are in role_key.c.
 */
#include "store/keyring/role.h"

#include "store/keyring/codec.h"

#define WRAPPED_MAX 128

void kv_ident_put(struct kv_buf *out, const struct kv_ident *ident)
{
    kv_wire_put_raw(out, ident->vault, KV_ID_LEN);
    kv_wire_put_u8(out, ident->kind);
    kv_wire_put_str(out, ident->name);
    kv_wire_put_raw(out, ident->version, KV_ID_LEN);
    kv_wire_put_u32(out, ident->term);
    kv_wire_put_u64(out, ident->row_version);
}

void kv_ident_read(struct kv_wire *wire, struct kv_ident *ident)
{
    kv_wire_raw(wire, ident->vault, KV_ID_LEN);
    ident->kind = kv_codec_u8(wire, KV_KIND_KEY, KV_KIND_LAST);
    kv_wire_str(wire, ident->name, sizeof(ident->name));
    kv_wire_raw(wire, ident->version, KV_ID_LEN);
    ident->term = kv_wire_u32(wire);
    ident->row_version = kv_wire_u64(wire);
}

void kv_role_vault_key_put(struct kv_buf *out, const struct kv_role_vault_key *msg)
{
    kv_wire_put_raw(out, msg->vault, KV_ID_LEN);
    kv_wire_put_u32(out, msg->term);
    kv_codec_bytes_put(out, msg->wrapped);
}

int kv_role_vault_key_get(struct kv_bytes payload, struct kv_role_vault_key *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_wire_raw(&wire, msg->vault, KV_ID_LEN);
    msg->term = kv_wire_u32(&wire);
    msg->wrapped = kv_wire_bytes(&wire, WRAPPED_MAX);
    return kv_wire_end(&wire);
}

void kv_role_rows_put(struct kv_buf *out, const struct kv_role_rows *msg)
{
    KV_ASSERT(msg->n <= KV_BATCH_MAX);
    kv_wire_put_u16(out, msg->n);
    for (uint16_t i = 0; i < msg->n; i++) {
        kv_ident_put(out, &msg->row[i].ident);
        kv_wire_put_u32(out, (uint32_t)msg->row[i].status);
        kv_codec_bytes_put(out, msg->row[i].body);
    }
}

int kv_role_rows_get(struct kv_bytes payload, struct kv_role_rows *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    msg->n = kv_codec_u16(&wire, 0, KV_BATCH_MAX);
    for (uint16_t i = 0; i < msg->n; i++) {
        kv_ident_read(&wire, &msg->row[i].ident);
        msg->row[i].status = kv_codec_status(&wire);
        msg->row[i].body = kv_wire_bytes(&wire, KV_ROW_MAX);
    }
    return kv_wire_end(&wire);
}

void kv_role_beat_put(struct kv_buf *out, const struct kv_role_beat *msg)
{
    kv_wire_put_raw(out, msg->vault, KV_ID_LEN);
    kv_wire_put_u64(out, msg->epoch);
}

int kv_role_beat_get(struct kv_bytes payload, struct kv_role_beat *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_wire_raw(&wire, msg->vault, KV_ID_LEN);
    msg->epoch = kv_wire_u64(&wire);
    return kv_wire_end(&wire);
}

void kv_role_grant_put(struct kv_buf *out, const struct kv_role_grant *msg)
{
    kv_wire_put_u32(out, msg->uid);
    kv_wire_put_u32(out, msg->gid);
    kv_wire_put_u32(out, msg->pid);
    kv_wire_put_u8(out, msg->is_info);
    kv_wire_put_u8(out, msg->has_version);
    kv_wire_put_raw(out, msg->version, KV_ID_LEN);
    kv_wire_put_str(out, msg->uri);
    kv_wire_put_u32(out, msg->ops);
}

int kv_role_grant_get(struct kv_bytes payload, struct kv_role_grant *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    msg->uid = kv_wire_u32(&wire);
    msg->gid = kv_wire_u32(&wire);
    msg->pid = kv_wire_u32(&wire);
    msg->is_info = kv_codec_u8(&wire, 0, 1);
    msg->has_version = kv_codec_u8(&wire, 0, 1);
    kv_wire_raw(&wire, msg->version, KV_ID_LEN);
    kv_wire_str(&wire, msg->uri, sizeof(msg->uri));
    msg->ops = kv_codec_ops(&wire);
    if (msg->has_version == 0 && msg->uri[0] == '\0')
        kv_wire_fail(&wire);
    return kv_wire_end(&wire);
}

void kv_role_granted_put(struct kv_buf *out, const struct kv_role_granted *msg)
{
    kv_ident_put(out, &msg->ident);
    kv_wire_put_u32(out, msg->ops);
    kv_wire_put_u32(out, msg->lease_ms);
    kv_wire_put_u64(out, msg->epoch);
    kv_wire_put_str(out, msg->uri);
    kv_codec_bytes_put(out, msg->row);
}

int kv_role_granted_get(struct kv_bytes payload, struct kv_role_granted *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_ident_read(&wire, &msg->ident);
    msg->ops = kv_codec_ops(&wire);
    msg->lease_ms = kv_wire_u32(&wire);
    msg->epoch = kv_wire_u64(&wire);
    kv_wire_str(&wire, msg->uri, sizeof(msg->uri));
    msg->row = kv_wire_bytes(&wire, KV_ROW_MAX);
    return kv_wire_end(&wire);
}

void kv_role_list_put(struct kv_buf *out, const struct kv_role_list *msg)
{
    kv_wire_put_u32(out, msg->uid);
    kv_wire_put_u32(out, msg->gid);
    kv_msg_list_put(out, &msg->list);
}

int kv_role_list_get(struct kv_bytes payload, struct kv_role_list *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    msg->uid = kv_wire_u32(&wire);
    msg->gid = kv_wire_u32(&wire);
    if (wire.failed)
        return KV_E_INVALID;
    return kv_msg_list_get((struct kv_bytes){wire.at, wire.left}, &msg->list);
}
