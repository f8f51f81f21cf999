/*
 * Objects: each column of a row is vouched for by the sealed body.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/service/internal.h"

TestSuite(object, .timeout = 20);

static struct kv_row secret_row(void)
{
    struct kv_row row = {.flags = KV_ROW_ENABLED,
                         .created_s = 10,
                         .updated_s = 20,
                         .nbf_s = KV_TIME_NONE,
                         .exp_s = 40,
                         .next_at_s = KV_TIME_NONE,
                         .row_version = 1,
                         .term = 1};
    row.key.kind = KV_KIND_SECRET;
    memcpy(row.key.name, "s", 2);
    row.key.version[0] = 1;
    return row;
}

/* The sealed plaintext of a document under a row. */
static void write_doc(const struct kv_row *row, struct kv_buf *out)
{
    json_t *doc = json_pack("{s:s}", "value", "v");
    kv_buf_init_secret(out, KV_BODY_MAX);
    cr_assert_eq(kv_object_write_doc(row, doc, out), 0);
    json_decref(doc);
}

static int read_doc(const struct kv_row *row, const struct kv_buf *body,
                    struct kv_err *err)
{
    struct kv_object object = {.row = *row};
    int rc = kv_object_read_doc(&object, (struct kv_bytes){body->data, body->len}, err);
    cr_assert_eq(object.doc != NULL, rc == 0);
    kv_object_free(&object);
    return rc;
}

Test(object, a_document_comes_back_under_its_own_row)
{
    struct kv_buf body;
    struct kv_row row = secret_row();
    write_doc(&row, &body);
    cr_assert_eq(read_doc(&row, &body, NULL), 0);
    kv_buf_free(&body);
}

Test(object, one_changed_column_refuses_it)
{
    struct kv_buf body;
    const struct kv_row row = secret_row();
    struct kv_row changed[10];
    for (size_t i = 0; i < 10; i++)
        changed[i] = row;
    changed[0].flags = 0;
    changed[1].flags |= KV_ROW_MANAGED;
    changed[2].flags |= KV_ROW_PENDING;
    changed[3].created_s++;
    changed[4].updated_s--;
    changed[5].nbf_s = 0;
    changed[6].exp_s = KV_TIME_NONE;
    changed[7].exp_s = 41;
    changed[8].next_at_s = 5;
    changed[9].current[15] = 1;
    write_doc(&row, &body);
    for (size_t i = 0; i < 10; i++) {
        struct kv_err err = KV_ERR_INIT;
        cr_assert_eq(read_doc(&changed[i], &body, &err), KV_E_INTEGRITY, "row %zu", i);
        cr_assert_str_eq(err.id, "object.index-mismatch");
        cr_assert_not_null(strstr(err.message, "'s'"), "it names the object");
    }
    kv_buf_free(&body);
}

Test(object, a_body_that_is_no_document_is_damage)
{
    static const char *const bodies[] = {"",
                                         "{",
                                         "[]",
                                         "{}",
                                         "{\"index\":{}}",
                                         "{\"doc\":[],\"index\":{}}",
                                         "{\"doc\":{},\"doc\":{}}",
                                         "{\"doc\":{}} x"};
    const struct kv_row row = secret_row();
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct kv_buf body;
        struct kv_err err = KV_ERR_INIT;
        kv_buf_init(&body, 256);
        cr_assert_eq(kv_buf_append_str(&body, bodies[i]), 0);
        cr_assert_eq(read_doc(&row, &body, &err), KV_E_INTEGRITY, "%s", bodies[i]);
        cr_assert_str_eq(err.id, "object.bad-body", "%s", bodies[i]);
        kv_buf_free(&body);
    }
    struct kv_buf body;
    struct kv_err err = KV_ERR_INIT;
    kv_buf_init(&body, 256);
    cr_assert_eq(kv_buf_append_str(&body, "{\"doc\":{}}"), 0);
    cr_assert_eq(read_doc(&row, &body, &err), KV_E_INTEGRITY);
    cr_assert_str_eq(err.id, "object.index-mismatch", "no index is another index");
    kv_buf_free(&body);
}

static struct kv_key_info key_info(void)
{
    static const uint8_t spki[] = {1, 2, 3};
    static const uint8_t app[] = {4, 5};
    struct kv_key_info info = {.kty = KV_KTY_EC, .curve = KV_CURVE_P256};
    info.spki = (struct kv_bytes){spki, sizeof(spki)};
    info.attrs = (struct kv_key_attrs){.ops = KV_OP_SIGN,
                                       .is_enabled = 1,
                                       .nbf_s = 30,
                                       .exp_s = KV_TIME_NONE,
                                       .created_s = 10,
                                       .updated_s = 20};
    info.attrs.app = (struct kv_bytes){app, sizeof(app)};
    return info;
}

Test(object, the_columns_of_a_key_are_compared_with_what_the_keyring_says)
{
    const struct kv_key_info info = key_info();
    struct kv_row row = {.next_at_s = KV_TIME_NONE};
    kv_row_set_key(&row, &info);
    struct kv_object object = {.row = row};
    cr_assert_eq(kv_object_read_info(&object, &info, NULL), 0);
    cr_assert_eq(object.info.spki.len, 3);
    cr_assert_eq(object.info.spki.data[2], 3);
    cr_assert_neq(object.info.spki.data, info.spki.data, "its own copy");
    cr_assert_eq(object.info.attrs.app.data[1], 5);
    kv_object_free(&object);
    cr_assert_null(object.info_bytes);

    struct kv_row changed[6];
    for (size_t i = 0; i < 6; i++)
        changed[i] = row;
    changed[0].flags ^= KV_ROW_ENABLED;
    changed[1].flags ^= KV_ROW_MANAGED;
    changed[2].nbf_s = KV_TIME_NONE;
    changed[3].exp_s = 99;
    changed[4].created_s++;
    changed[5].updated_s++;
    for (size_t i = 0; i < 6; i++) {
        struct kv_err err = KV_ERR_INIT;
        object = (struct kv_object){.row = changed[i]};
        cr_assert_eq(kv_object_read_info(&object, &info, &err), KV_E_INTEGRITY);
        cr_assert_str_eq(err.id, "object.index-mismatch");
        kv_object_free(&object);
    }
}

Test(object, the_row_of_a_key_keeps_the_flags_that_are_not_the_keyrings)
{
    const struct kv_key_info info = key_info();
    struct kv_row row = {.flags = KV_ROW_PENDING | KV_ROW_MANAGED};
    kv_row_set_key(&row, &info);
    cr_assert_eq(row.flags, (uint32_t)KV_ROW_PENDING | KV_ROW_ENABLED);
    cr_assert_eq(row.nbf_s, 30);
    cr_assert_eq(row.exp_s, KV_TIME_NONE);
}

Test(object, the_identity_of_a_row_has_a_folded_name)
{
    struct kv_row row = secret_row();
    struct kv_ident ident;
    memcpy(row.key.name, "Web-1", 6);
    row.row_version = 7;
    kv_row_ident(&row, &ident);
    cr_assert_str_eq(ident.name, "web-1");
    cr_assert_eq(ident.kind, KV_KIND_SECRET);
    cr_assert_eq(ident.row_version, 7);
    cr_assert_eq(ident.term, 1);
    cr_assert_eq(ident.version[0], 1);
}

Test(object, a_copied_row_owns_its_body)
{
    uint8_t sealed[] = {1, 2, 3};
    struct kv_row row = secret_row();
    struct kv_object object = {.doc = NULL};
    row.sealed = sealed;
    row.sealed_len = sizeof(sealed);
    cr_assert_eq(kv_object_set_row(&object, &row), 0);
    sealed[0] = 9;
    cr_assert_eq(object.row.sealed[0], 1);
    kv_object_free(&object);
    row.sealed = NULL;
    row.sealed_len = 0;
    cr_assert_eq(kv_object_set_row(&object, &row), 0);
    cr_assert_null(object.row.sealed);
    kv_object_free(&object);
}
