/*
 * Backup blobs: rows of one name out of the store, and back.
 *
 *   SEAL   stored row --vault key--> body --blob key--> chunk
 *   OPEN   chunk --blob key--> body --vault key of the target--> stored row
 *
 * A chunk's additional data is the label, the installation and everything that
 * kv_role_blob says, so a chunk opens only as the part of the blob that it was made as.
 */
#include <stdlib.h>
#include <string.h>

#include "store/keyring/codec.h"
#include "store/keyring/role_serve.h"

#define AAD_MAX 512

static const char label[] = "keyvault blob chunk 1";

static int bad_frame(struct kv_err *err)
{
    return kv_err_set(err, KV_E_INVALID, "role.bad-frame",
                      "the payload of the frame is malformed");
}

static int damaged(struct kv_err *err)
{
    return kv_err_set(err, KV_E_INTEGRITY, "seal.blob-damaged", KV_BLOB_DAMAGED_TEXT);
}

static int aad_of(struct kv_ring *ring, const struct kv_role_blob *blob,
                  struct kv_buf *aad)
{
    kv_buf_init(aad, AAD_MAX);
    kv_wire_put_raw(aad, label, sizeof(label) - 1);
    kv_wire_put_raw(aad, kv_ring_installation(ring), KV_ID_LEN);
    kv_role_blob_put(aad, blob);
    return kv_buf_status(aad);
}

static bool is_zero(const uint8_t id[KV_ID_LEN])
{
    static const uint8_t zeros[KV_ID_LEN];
    return memcmp(id, zeros, KV_ID_LEN) == 0;
}

static bool is_versioned(uint8_t kind)
{
    return kind == KV_KIND_KEY || kind == KV_KIND_SECRET || kind == KV_KIND_CERTIFICATE;
}

static bool is_head(const struct kv_ident *ident)
{
    return is_versioned(ident->kind) && is_zero(ident->version);
}

/* Whether a row is one that this blob may hold. */
static bool row_fits(const struct kv_role_blob *blob,
                     const struct kv_role_blob_row *row)
{
    const struct kv_ident *ident = &row->ident;
    const bool is_kind = ident->kind == blob->kind ||
                         (blob->kind == KV_KIND_CERTIFICATE &&
                          (is_versioned(ident->kind) || ident->kind == KV_KIND_POLICY));
    return is_kind && memcmp(ident->vault, blob->vault, KV_ID_LEN) == 0 &&
           strcmp(ident->name, blob->name) == 0 && ident->row_version > 0 &&
           (is_versioned(ident->kind) || is_zero(ident->version)) &&
           is_head(ident) == (row->body.len == 0);
}

/* --- out of the store --- */

static int put_plain(struct kv_ring *ring, const struct kv_role_blob_row *row,
                     struct kv_buf *work, struct kv_buf *text, struct kv_err *err)
{
    struct kv_role_blob_row plain = *row;
    kv_buf_reset(work);
    if (!is_head(&row->ident)) {
        const int rc = kv_ring_unseal(ring, &row->ident, row->body, work, err);
        if (rc != 0)
            return rc;
    }
    plain.body = (struct kv_bytes){work->data, work->len};
    kv_role_blob_row_put(text, &plain);
    return kv_buf_status(text);
}

static int serve_seal(struct kv_ring *ring, const struct kv_role_blob_rows *msg,
                      struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    struct kv_buf aad;
    struct kv_buf work;
    struct kv_buf text;
    kv_buf_init_secret(&work, KV_BODY_MAX);
    kv_buf_init_secret(&text, KV_BLOB_CHUNK_MAX);
    KV_TRY(aad_of(ring, &msg->blob, &aad));
    for (uint16_t i = 0; i < msg->n; i++) {
        if (!row_fits(&msg->blob, &msg->row[i])) {
            rc = kv_err_set(err, KV_E_DENIED, "blob.foreign-row",
                            "a row of '%s' does not belong to the backup of '%s'",
                            msg->row[i].ident.name, msg->blob.name);
            goto out;
        }
        KV_TRY(put_plain(ring, &msg->row[i], &work, &text, err));
    }
    rc = kv_ring_blob_seal(ring, msg->blob.id, (struct kv_bytes){aad.data, aad.len},
                           (struct kv_bytes){text.data, text.len}, out);
out:
    kv_buf_free(&aad);
    kv_buf_free(&work);
    kv_buf_free(&text);
    return rc;
}

/* --- and back --- */

/* Who the row will be where it comes back. */
static void move(struct kv_ring *ring, const struct kv_role_blob_open *msg,
                 struct kv_ident *ident)
{
    memcpy(ident->vault, msg->vault, KV_ID_LEN);
    ident->term = is_head(ident) ? 0 : msg->term;
    if (ident->kind == KV_KIND_KEY && !is_head(ident))
        ident->row_version =
            kv_ring_row_version(ring, ident->version, ident->row_version);
}

static int put_sealed(struct kv_ring *ring, const struct kv_role_blob_open *msg,
                      struct kv_role_blob_row *row, struct kv_buf *work,
                      struct kv_buf *out, struct kv_err *err)
{
    if (!row_fits(&msg->blob, row))
        return damaged(err);
    kv_buf_reset(work);
    move(ring, msg, &row->ident);
    if (!is_head(&row->ident)) {
        const int rc = kv_ring_seal(ring, &row->ident, row->body, work, err);
        if (rc != 0)
            return rc;
    }
    row->body = (struct kv_bytes){work->data, work->len};
    kv_role_blob_row_put(out, row);
    return kv_buf_status(out);
}

/* Count the rows of a chunk that authenticated. */
static int count_rows(const struct kv_role_blob *blob, struct kv_bytes text,
                      uint16_t *n, struct kv_err *err)
{
    struct kv_role_blob_row row;
    struct kv_wire wire = kv_codec_reader(text);
    for (*n = 0; wire.left > 0 && !wire.failed; (*n)++) {
        kv_role_blob_row_read(&wire, &row);
        if (*n == KV_BATCH_MAX || *n == blob->n_rows - blob->at)
            kv_wire_fail(&wire);
    }
    return kv_wire_end(&wire) == 0 && *n > 0 ? 0 : damaged(err);
}

static int serve_open(struct kv_ring *ring, const struct kv_role_blob_open *msg,
                      struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    uint16_t n = 0;
    struct kv_role_blob_row row;
    struct kv_wire wire;
    struct kv_buf aad;
    struct kv_buf work;
    struct kv_buf text;
    kv_buf_init(&work, KV_ROW_MAX);
    kv_buf_init_secret(&text, KV_BLOB_CHUNK_MAX);
    KV_TRY(aad_of(ring, &msg->blob, &aad));
    KV_TRY(kv_ring_blob_open(ring, msg->blob.id, (struct kv_bytes){aad.data, aad.len},
                             msg->chunk, &text, err));
    KV_TRY(count_rows(&msg->blob, (struct kv_bytes){text.data, text.len}, &n, err));
    kv_role_blob_put(out, &msg->blob);
    kv_wire_put_u16(out, n);
    wire = kv_codec_reader((struct kv_bytes){text.data, text.len});
    for (uint16_t i = 0; i < n; i++) {
        kv_role_blob_row_read(&wire, &row);
        KV_TRY(put_sealed(ring, msg, &row, &work, out, err));
    }
    rc = kv_buf_status(out);
out:
    kv_buf_free(&aad);
    kv_buf_free(&work);
    kv_buf_free(&text);
    return rc;
}

int kv_role_serve_blob(const struct kv_serve *serve, const struct kv_frame *frame,
                       struct kv_buf *out, struct kv_err *err)
{
    if (frame->verb == KV_ROLE_BLOB_OPEN) {
        struct kv_role_blob_open open;
        if (kv_role_blob_open_get(frame->payload, &open) != 0)
            return bad_frame(err);
        return serve_open(serve->ring, &open, out, err);
    }
    struct kv_role_blob_rows *rows = calloc(1, sizeof(*rows));
    if (rows == NULL)
        return KV_E_NOMEM;
    int rc = 0;
    if (kv_role_blob_rows_get(frame->payload, rows) != 0)
        rc = bad_frame(err);
    else
        rc = serve_seal(serve->ring, rows, out, err);
    free(rows);
    return rc;
}
