/*
 * What the keyring does with backup blobs, and what it never does: let a body out.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "store/keyring/role_serve.h"
#include "tests/support/room.h"

static struct kv_room room;
static struct kv_buf row;
static struct kv_buf in;
static struct kv_buf out;
static struct kv_buf chunk;
static struct kv_err err;
static struct kv_role_blob_rows rows;
static struct kv_role_blob_rows back;

static struct kv_bytes bytes_of(const struct kv_buf *buf)
{
    return (struct kv_bytes){buf->data, buf->len};
}

static void setup(void)
{
    kv_room_init(&room);
    kv_buf_init(&row, KV_ROW_MAX);
    kv_buf_init(&in, KV_FRAME_MAX_ROLE);
    kv_buf_init_secret(&out, KV_FRAME_MAX_ROLE);
    kv_buf_init(&chunk, KV_FRAME_MAX_ROLE);
    const struct kv_ident ident = kv_room_ident("web", 1);
    const struct kv_key_attrs attrs = kv_room_attrs(KV_OP_SIGN);
    kv_room_key(&room, &ident, &attrs, &row);
    rows = (struct kv_role_blob_rows){
        .blob = {.id = {7}, .kind = KV_KIND_KEY, .name = "web", .n_rows = 2},
        .n = 2,
        .row = {{.ident = ident}, {.ident = ident, .body = bytes_of(&row)}},
    };
    memset(rows.row[0].ident.version, 0, KV_ID_LEN);
    rows.row[0].ident.term = 0;
    memcpy(rows.blob.vault, kv_room_vault, KV_ID_LEN);
    rows.row[1].meta = (struct kv_bytes){(const uint8_t *)"columns", 7};
}

static void teardown(void)
{
    kv_buf_free(&row);
    kv_buf_free(&in);
    kv_buf_free(&out);
    kv_buf_free(&chunk);
    kv_room_fini(&room);
}

TestSuite(role_serve_blob, .timeout = 20, .init = setup, .fini = teardown);

static int serve(uint16_t verb)
{
    kv_buf_reset(&out);
    err = KV_ERR_INIT;
    return kv_room_serve(&room, verb, &in, &out, &err);
}

static int seal(void)
{
    kv_buf_reset(&in);
    kv_role_blob_rows_put(&in, &rows);
    const int rc = serve(KV_ROLE_BLOB_SEAL);
    if (rc == 0) {
        kv_buf_reset(&chunk);
        cr_assert_eq(kv_buf_append(&chunk, out.data, out.len), 0);
    }
    return rc;
}

static int open_as(const struct kv_role_blob *blob)
{
    struct kv_role_blob_open msg = {
        .blob = *blob, .term = KV_ROOM_TERM, .chunk = bytes_of(&chunk)};
    memcpy(msg.vault, kv_room_vault, KV_ID_LEN);
    kv_buf_reset(&in);
    kv_role_blob_open_put(&in, &msg);
    const int rc = serve(KV_ROLE_BLOB_OPEN);
    if (rc == 0)
        cr_assert_eq(kv_role_blob_rows_get(bytes_of(&out), &back), 0);
    return rc;
}

Test(role_serve_blob, a_row_comes_back_sealed_again)
{
    cr_assert_eq(seal(), 0, "%s", err.message);
    cr_assert_eq(open_as(&rows.blob), 0, "%s", err.message);
    cr_assert_eq(back.n, 2);
    cr_expect_eq(back.row[0].body.len, 0);
    cr_expect_eq(back.row[0].ident.term, 0);
    cr_expect_eq(back.row[1].meta.len, 7);
    cr_expect_arr_eq(back.row[1].meta.data, "columns", 7);
    cr_assert_eq(back.row[1].body.len, row.len);
    cr_expect_neq(memcmp(back.row[1].body.data, row.data, row.len), 0);
    struct kv_live live;
    cr_assert_eq(
        kv_ring_load(room.ring, &back.row[1].ident, back.row[1].body, &live, &err), 0,
        "%s", err.message);
    kv_live_release(&live);
}

Test(role_serve_blob, a_live_key_comes_back_newer_and_is_granted)
{
    struct kv_live live;
    cr_assert_eq(seal(), 0);
    struct kv_role_key_update update = {.old_ident = rows.row[1].ident,
                                        .old_row = bytes_of(&row),
                                        .ident = rows.row[1].ident,
                                        .attrs = kv_room_attrs(KV_OP_SIGN)};
    struct kv_role_key_made made;
    update.ident.row_version = 5;
    kv_buf_reset(&in);
    kv_role_key_update_put(&in, &update);
    cr_assert_eq(serve(KV_ROLE_KEY_UPDATE), 0);
    cr_assert_eq(kv_role_key_made_get(bytes_of(&out), &made), 0);
    cr_assert_eq(kv_ring_load(room.ring, &update.ident, made.row, &live, &err), 0);
    kv_live_release(&live);
    cr_assert_eq(open_as(&rows.blob), 0);
    cr_assert_eq(back.row[1].ident.row_version, 6);
    struct kv_role_granted granted = {.ident = back.row[1].ident,
                                      .ops = KV_OP_SIGN,
                                      .lease_ms = 1000,
                                      .row = back.row[1].body};
    cr_expect_eq(kv_ring_grant(room.ring, 5, &granted, &live, &err), 0, "%s",
                 err.message);
    kv_live_release(&live);
}

Test(role_serve_blob, a_chunk_opens_only_as_what_it_was_made)
{
    cr_assert_eq(seal(), 0);
    for (int i = 0; i < 7; i++) {
        struct kv_role_blob other = rows.blob;
        if (i == 0)
            other.id[15] ^= 1;
        else if (i == 1)
            other.vault[0] ^= 1;
        else if (i == 2)
            (void)snprintf(other.subscription, sizeof(other.subscription), "s");
        else if (i == 3)
            other.kind = KV_KIND_CERTIFICATE;
        else if (i == 4)
            (void)snprintf(other.name, sizeof(other.name), "wed");
        else if (i == 5)
            other.n_rows = 3;
        else
            other.at = 1;
        cr_expect_eq(open_as(&other), KV_E_INTEGRITY, "change %d", i);
        cr_expect_str_eq(err.id, "seal.blob-damaged");
    }
    for (size_t i = 0; i < chunk.len; i++) {
        chunk.data[i] ^= 1;
        cr_expect_eq(open_as(&rows.blob), KV_E_INTEGRITY, "byte %zu", i);
        chunk.data[i] ^= 1;
    }
    for (size_t len = chunk.len; len-- > 0;) {
        chunk.len = len;
        cr_expect_eq(open_as(&rows.blob), KV_E_INTEGRITY, "%zu bytes", len);
    }
}

Test(role_serve_blob, only_rows_of_the_object_go_in)
{
    const struct kv_role_blob_rows good = rows;
    rows.row[0].ident.kind = KV_KIND_SECRET;
    cr_expect_eq(seal(), KV_E_DENIED, "another kind");
    cr_expect_str_eq(err.id, "blob.foreign-row");
    rows = good;
    (void)snprintf(rows.row[0].ident.name, sizeof(rows.row[0].ident.name), "wed");
    cr_expect_eq(seal(), KV_E_DENIED, "another name");
    rows = good;
    rows.row[0].ident.vault[0] ^= 1;
    cr_expect_eq(seal(), KV_E_DENIED, "another vault");
    rows = good;
    rows.row[0].body = bytes_of(&row);
    cr_expect_eq(seal(), KV_E_DENIED, "a head with a body");
    rows = good;
    rows.row[1].body.len = 0;
    cr_expect_eq(seal(), KV_E_DENIED, "a version without one");
    rows = good;
    rows.row[1].ident.row_version = 0;
    cr_expect_eq(seal(), KV_E_DENIED, "a key of an order");
    rows = good;
    rows.blob.kind = KV_KIND_CERTIFICATE;
    cr_expect_eq(seal(), 0, "a certificate has a key");
    rows.row[0].ident.kind = KV_KIND_ISSUER;
    cr_expect_eq(seal(), KV_E_DENIED, "but no issuer");
    rows = good;
    rows.row[1].ident.row_version = 2;
    cr_expect_eq(seal(), KV_E_INTEGRITY, "not as it is stored");
}
