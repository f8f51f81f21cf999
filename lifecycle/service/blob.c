/*
 * The bytes of backup blobs: front, chunks, and the columns of rows inside them.
 */
#include "lifecycle/service/blob.h"

#include <string.h>

#include "store/core/str.h"

#define FORMAT 1

static const uint8_t magic[4] = {'k', 'v', 'b', FORMAT};

void kv_blob_front_put(struct kv_buf *out, const uint8_t installation[KV_ID_LEN],
                       const struct kv_role_blob *of)
{
    kv_wire_put_raw(out, magic, sizeof(magic));
    kv_wire_put_raw(out, installation, KV_ID_LEN);
    kv_role_blob_put(out, of);
}

void kv_blob_chunk_put(struct kv_buf *out, struct kv_bytes chunk)
{
    kv_wire_put_bytes(out, chunk.data, chunk.len);
}

int kv_blob_read(struct kv_bytes bytes, struct kv_blob *out)
{
    uint8_t front[sizeof(magic)];
    struct kv_wire wire;
    kv_wire_init(&wire, bytes.data, bytes.len);
    kv_wire_raw(&wire, front, sizeof(front));
    if (memcmp(front, magic, sizeof(magic)) != 0)
        return KV_E_INVALID;
    kv_wire_raw(&wire, out->installation, KV_ID_LEN);
    kv_role_blob_read(&wire, &out->of);
    if (out->of.at != 0)
        kv_wire_fail(&wire);
    out->n_chunks = 0;
    while (!wire.failed && wire.left > 0 && out->n_chunks < KV_BLOB_CHUNKS_MAX)
        out->chunk[out->n_chunks++] = kv_wire_bytes(&wire, KV_BLOB_CHUNK_MAX);
    if (out->n_chunks == 0)
        kv_wire_fail(&wire);
    return kv_wire_end(&wire);
}

void kv_blob_columns_put(struct kv_buf *out, const struct kv_row *row)
{
    kv_wire_put_str(out, row->key.name);
    kv_wire_put_u32(out, row->flags);
    kv_wire_put_raw(out, row->current, KV_ID_LEN);
    kv_wire_put_i64(out, row->created_s);
    kv_wire_put_i64(out, row->updated_s);
    kv_wire_put_i64(out, row->nbf_s);
    kv_wire_put_i64(out, row->exp_s);
    kv_wire_put_i64(out, row->next_at_s);
}

int kv_blob_row(const struct kv_role_blob_row *in, struct kv_row *out)
{
    struct kv_wire wire;
    memset(out, 0, sizeof(*out));
    kv_wire_init(&wire, in->meta.data, in->meta.len);
    kv_wire_str(&wire, out->key.name, sizeof(out->key.name));
    out->flags = kv_wire_u32(&wire);
    kv_wire_raw(&wire, out->current, KV_ID_LEN);
    out->created_s = kv_wire_i64(&wire);
    out->updated_s = kv_wire_i64(&wire);
    out->nbf_s = kv_wire_i64(&wire);
    out->exp_s = kv_wire_i64(&wire);
    out->next_at_s = kv_wire_i64(&wire);
    if (!kv_str_equal_nocase(out->key.name, in->ident.name))
        kv_wire_fail(&wire);
    memcpy(out->key.vault, in->ident.vault, KV_ID_LEN);
    out->key.kind = in->ident.kind;
    memcpy(out->key.version, in->ident.version, KV_ID_LEN);
    out->row_version = in->ident.row_version;
    out->term = in->ident.term;
    out->sealed = in->body.data;
    out->sealed_len = in->body.len;
    return kv_wire_end(&wire);
}
