#include <criterion/criterion.h>
#include <string.h>

#include "lifecycle/service/blob.h"

TestSuite(blob, .timeout = 20);

static const uint8_t installation[KV_ID_LEN] = {9, 8};
static const struct kv_role_blob of = {
    .id = {1}, .vault = {2}, .kind = KV_KIND_SECRET, .name = "pass", .n_rows = 3};

static struct kv_bytes bytes_of(const struct kv_buf *buf)
{
    return (struct kv_bytes){buf->data, buf->len};
}

Test(blob, is_read_as_it_was_written)
{
    struct kv_buf out;
    struct kv_blob blob;
    kv_buf_init(&out, KV_BLOB_MAX);
    kv_blob_front_put(&out, installation, &of);
    kv_blob_chunk_put(&out, (struct kv_bytes){(const uint8_t *)"one", 3});
    kv_blob_chunk_put(&out, (struct kv_bytes){(const uint8_t *)"", 0});
    cr_assert_eq(kv_blob_read(bytes_of(&out), &blob), 0);
    cr_expect_arr_eq(blob.installation, installation, KV_ID_LEN);
    cr_expect_arr_eq(blob.of.id, of.id, KV_ID_LEN);
    cr_expect_str_eq(blob.of.name, "pass");
    cr_expect_eq(blob.of.n_rows, 3);
    cr_assert_eq(blob.n_chunks, 2);
    cr_expect_eq(blob.chunk[0].len, 3);
    cr_expect_arr_eq(blob.chunk[0].data, "one", 3);
    cr_expect_eq(blob.chunk[1].len, 0);
    kv_buf_free(&out);
}

Test(blob, is_whole_or_none)
{
    struct kv_buf out;
    struct kv_blob blob;
    kv_buf_init(&out, KV_BLOB_MAX);
    kv_blob_front_put(&out, installation, &of);
    cr_expect_eq(kv_blob_read(bytes_of(&out), &blob), KV_E_INVALID, "no chunk");
    kv_blob_chunk_put(&out, (struct kv_bytes){(const uint8_t *)"one", 3});
    for (size_t len = 0; len < out.len; len++)
        cr_expect_eq(kv_blob_read((struct kv_bytes){out.data, len}, &blob),
                     KV_E_INVALID, "%zu bytes", len);
    out.data[3] = 2;
    cr_expect_eq(kv_blob_read(bytes_of(&out), &blob), KV_E_INVALID, "another format");
    out.data[3] = 1;
    for (size_t i = 1; i < KV_BLOB_CHUNKS_MAX; i++)
        kv_blob_chunk_put(&out, (struct kv_bytes){NULL, 0});
    cr_expect_eq(kv_blob_read(bytes_of(&out), &blob), 0);
    kv_blob_chunk_put(&out, (struct kv_bytes){NULL, 0});
    cr_expect_eq(kv_blob_read(bytes_of(&out), &blob), KV_E_INVALID, "too many chunks");
    kv_buf_reset(&out);
    struct kv_role_blob middle = of;
    middle.at = 1;
    kv_blob_front_put(&out, installation, &middle);
    kv_blob_chunk_put(&out, (struct kv_bytes){(const uint8_t *)"one", 3});
    cr_expect_eq(kv_blob_read(bytes_of(&out), &blob), KV_E_INVALID,
                 "not from the start");
    kv_buf_free(&out);
}

Test(blob, columns_come_back)
{
    struct kv_row row = {.key = {.kind = KV_KIND_SECRET, .name = "Pass"},
                         .row_version = 7,
                         .term = 2,
                         .flags = KV_ROW_ENABLED | KV_ROW_MANAGED,
                         .current = {5},
                         .created_s = -1,
                         .updated_s = INT64_MAX,
                         .nbf_s = KV_TIME_NONE,
                         .exp_s = 4,
                         .next_at_s = 5};
    struct kv_role_blob_row in = {.ident = {.vault = {3},
                                            .kind = KV_KIND_SECRET,
                                            .name = "pass",
                                            .version = {6},
                                            .term = 2,
                                            .row_version = 7},
                                  .body = {(const uint8_t *)"body", 4}};
    struct kv_row back;
    struct kv_buf out;
    kv_buf_init(&out, KV_BLOB_META_MAX);
    kv_blob_columns_put(&out, &row);
    cr_assert_eq(kv_buf_status(&out), 0);
    in.meta = bytes_of(&out);
    cr_assert_eq(kv_blob_row(&in, &back), 0);
    cr_expect_str_eq(back.key.name, "Pass");
    cr_expect_eq(back.key.vault[0], 3);
    cr_expect_eq(back.key.version[0], 6);
    cr_expect_eq(back.row_version, 7);
    cr_expect_eq(back.term, 2);
    cr_expect_eq(back.flags, row.flags);
    cr_expect_eq(back.current[0], 5);
    cr_expect_eq(back.created_s, -1);
    cr_expect_eq(back.updated_s, INT64_MAX);
    cr_expect_eq(back.nbf_s, KV_TIME_NONE);
    cr_expect_eq(back.exp_s, 4);
    cr_expect_eq(back.next_at_s, 5);
    cr_expect_eq(back.sealed_len, 4);
    in.meta.len--;
    cr_expect_eq(kv_blob_row(&in, &back), KV_E_INVALID, "cut");
    in.meta.len++;
    (void)strcpy(in.ident.name, "other");
    cr_expect_eq(kv_blob_row(&in, &back), KV_E_INVALID, "of another name");
    kv_buf_free(&out);
}
