/*
 * Backup blobs. The first byte chooses: the reader of a whole blob, whose chunks then
 * go to the keyring (which must refuse all that it did not make), or the columns of one
 * row. Whatever is read must be written again as it was.
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle/service/blob.h"
#include "store/keyring/role_serve.h"
#include "tests/support/room.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const struct kv_buf *out, struct kv_bytes in)
{
    if (out->len != in.len || (in.len > 0 && memcmp(out->data, in.data, in.len) != 0))
        abort();
}

static void columns(struct kv_bytes in)
{
    struct kv_row row;
    struct kv_role_blob_row from = {.ident = {.kind = KV_KIND_KEY}, .meta = in};
    struct kv_wire wire;
    kv_wire_init(&wire, in.data, in.len);
    kv_wire_str(&wire, from.ident.name, sizeof(from.ident.name));
    if (kv_blob_row(&from, &row) != 0)
        return;
    struct kv_buf out;
    kv_buf_init(&out, KV_BLOB_META_MAX);
    kv_blob_columns_put(&out, &row);
    same(&out, in);
    kv_buf_free(&out);
}

static void open_chunk(struct kv_room *room, const struct kv_blob *blob, size_t i)
{
    struct kv_buf payload;
    struct kv_buf reply;
    struct kv_err err = KV_ERR_INIT;
    struct kv_role_blob_open open = {
        .blob = blob->of, .term = KV_ROOM_TERM, .chunk = blob->chunk[i]};
    memcpy(open.vault, kv_room_vault, KV_ID_LEN);
    kv_buf_init(&payload, KV_FRAME_MAX_ROLE);
    kv_buf_init_secret(&reply, KV_FRAME_MAX_ROLE);
    kv_role_blob_open_put(&payload, &open);
    if (kv_room_serve(room, KV_ROLE_BLOB_OPEN, &payload, &reply, &err) !=
        KV_E_INTEGRITY)
        abort();
    kv_buf_free(&payload);
    kv_buf_free(&reply);
}

static void whole(struct kv_room *room, struct kv_bytes in)
{
    struct kv_blob blob;
    struct kv_buf out;
    if (kv_blob_read(in, &blob) != 0)
        return;
    kv_buf_init(&out, KV_BLOB_MAX);
    kv_blob_front_put(&out, blob.installation, &blob.of);
    for (size_t i = 0; i < blob.n_chunks; i++)
        kv_blob_chunk_put(&out, blob.chunk[i]);
    same(&out, in);
    kv_buf_free(&out);
    for (size_t i = 0; i < blob.n_chunks; i++)
        open_chunk(room, &blob, i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kv_room room;
    if (room.ring == NULL)
        kv_room_init(&room);
    if (size < 1)
        return 0;
    const struct kv_bytes in = {size > 1 ? data + 1 : NULL, size - 1};
    if (data[0] == 0)
        whole(&room, in);
    else
        columns(in);
    return 0;
}
