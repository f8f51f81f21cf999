/*
 * Messages between service and keyring about backup blobs.
 */
#include "store/keyring/codec.h"
#include "store/keyring/role.h"

void kv_role_blob_put(struct kv_buf *out, const struct kv_role_blob *blob)
{
    kv_wire_put_raw(out, blob->id, KV_ID_LEN);
    kv_wire_put_raw(out, blob->vault, KV_ID_LEN);
    kv_wire_put_str(out, blob->subscription);
    kv_wire_put_u8(out, blob->kind);
    kv_wire_put_str(out, blob->name);
    kv_wire_put_u32(out, blob->n_rows);
    kv_wire_put_u32(out, blob->at);
}

void kv_role_blob_read(struct kv_wire *wire, struct kv_role_blob *blob)
{
    kv_wire_raw(wire, blob->id, KV_ID_LEN);
    kv_wire_raw(wire, blob->vault, KV_ID_LEN);
    kv_wire_str(wire, blob->subscription, sizeof(blob->subscription));
    blob->kind = kv_codec_u8(wire, KV_KIND_KEY, KV_KIND_CERTIFICATE);
    kv_wire_str(wire, blob->name, sizeof(blob->name));
    blob->n_rows = kv_wire_u32(wire);
    blob->at = kv_wire_u32(wire);
    if (blob->name[0] == '\0' || blob->n_rows < 1 || blob->n_rows > KV_BLOB_ROWS_MAX ||
        blob->at >= blob->n_rows)
        kv_wire_fail(wire);
}

void kv_role_blob_row_put(struct kv_buf *out, const struct kv_role_blob_row *row)
{
    kv_ident_put(out, &row->ident);
    kv_codec_bytes_put(out, row->meta);
    kv_codec_bytes_put(out, row->body);
}

void kv_role_blob_row_read(struct kv_wire *wire, struct kv_role_blob_row *row)
{
    kv_ident_read(wire, &row->ident);
    row->meta = kv_wire_bytes(wire, KV_BLOB_META_MAX);
    row->body = kv_wire_bytes(wire, KV_ROW_MAX);
}

void kv_role_blob_rows_put(struct kv_buf *out, const struct kv_role_blob_rows *msg)
{
    KV_ASSERT(msg->n <= KV_BATCH_MAX);
    kv_role_blob_put(out, &msg->blob);
    kv_wire_put_u16(out, msg->n);
    for (uint16_t i = 0; i < msg->n; i++)
        kv_role_blob_row_put(out, &msg->row[i]);
}

int kv_role_blob_rows_get(struct kv_bytes payload, struct kv_role_blob_rows *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_role_blob_read(&wire, &msg->blob);
    msg->n = kv_codec_u16(&wire, 1, KV_BATCH_MAX);
    if (!wire.failed && msg->n > msg->blob.n_rows - msg->blob.at)
        kv_wire_fail(&wire);
    for (uint16_t i = 0; i < msg->n; i++)
        kv_role_blob_row_read(&wire, &msg->row[i]);
    return kv_wire_end(&wire);
}

void kv_role_blob_open_put(struct kv_buf *out, const struct kv_role_blob_open *msg)
{
    kv_role_blob_put(out, &msg->blob);
    kv_wire_put_raw(out, msg->vault, KV_ID_LEN);
    kv_wire_put_u32(out, msg->term);
    kv_codec_bytes_put(out, msg->chunk);
}

int kv_role_blob_open_get(struct kv_bytes payload, struct kv_role_blob_open *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_role_blob_read(&wire, &msg->blob);
    kv_wire_raw(&wire, msg->vault, KV_ID_LEN);
    msg->term = kv_wire_u32(&wire);
    msg->chunk = kv_wire_bytes(&wire, KV_BLOB_CHUNK_MAX);
    return kv_wire_end(&wire);
}
