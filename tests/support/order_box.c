/*
 * Certificate orders in a box: see order_box.h.
 */
#include "tests/support/order_box.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "store/core/b64.h"
#include "store/core/str.h"

/* --- calls -------------------------------------------------------------------------
 */

static json_t *json_of(const char *text)
{
    json_error_t error;
    json_t *json = text != NULL ? json_loads(text, 0, &error) : NULL;
    cr_assert(text == NULL || json != NULL, "%s: %s", error.text, text);
    return json;
}

static int ask_for(struct service_box *box, const struct order_ask *ask, bool is_import)
{
    json_t *policy = json_of(ask->policy);
    json_t *before = json_deep_copy(policy);
    struct kv_order_request request = {
        .name = ask->name,
        .policy = policy,
        .is_enabled = !ask->is_disabled,
        .tags = json_of(ask->tags),
        .preserves_order = ask->preserves_order,
        .format = ask->is_pfx ? KV_IMPORT_PFX : KV_IMPORT_PEM,
        .material = ask->material,
    };
    if (ask->password != NULL)
        request.password =
            (struct kv_bytes){(const uint8_t *)ask->password, strlen(ask->password)};
    int rc = is_import ? kv_order_import(&box->service, box->vault, &request,
                                         service_box_done, box)
                       : kv_order_create(&box->service, box->vault, &request,
                                         service_box_done, box);
    rc = service_box_wait(box, rc);
    cr_expect(json_equal(policy, before) || policy == NULL, "the policy was changed");
    json_decref(before);
    json_decref(policy);
    json_decref(request.tags);
    return rc;
}

int order_create(struct service_box *box, const struct order_ask *ask)
{
    return ask_for(box, ask, false);
}

int order_import(struct service_box *box, const struct order_ask *ask)
{
    return ask_for(box, ask, true);
}

int order_create_ec(struct service_box *box, const char *name)
{
    const struct order_ask ask = {.name = name, .policy = ORDER_EC};
    return order_create(box, &ask);
}

int order_run(struct service_box *box, const char *name)
{
    return service_box_wait(
        box, kv_run_start(&box->service, box->vault, name, service_box_done, box));
}

/* --- operations --------------------------------------------------------------------
 */

json_t *order_operation(struct service_box *box, const char *name, struct kv_row *row)
{
    struct kv_object object;
    cr_assert_eq(service_box_find(box, KV_KIND_OPERATION, name, NULL, &object), 0, "%s",
                 box->err.message);
    json_t *doc = json_incref(object.doc);
    if (row != NULL)
        *row = object.row;
    kv_object_free(&object);
    return doc;
}

void order_put_operation(struct service_box *box, const char *name, json_t *doc)
{
    struct kv_row row;
    json_decref(order_operation(box, name, &row));
    row.next_at_s = box->room.clock.now_s;
    service_box_put(box, &row, doc);
}

const char *order_status(struct service_box *box, const char *name)
{
    static char status[32];
    json_t *doc = order_operation(box, name, NULL);
    const char *text = json_string_value(json_object_get(doc, "status"));
    (void)snprintf(status, sizeof(status), "%s", text != NULL ? text : "");
    json_decref(doc);
    return status;
}

void order_version(const json_t *operation, uint8_t version[KV_ID_LEN])
{
    const char *text = json_string_value(json_object_get(operation, "version"));
    cr_assert_not_null(text);
    cr_assert_eq(strlen(text), KV_VERSION_TEXT_LEN);
    cr_assert_eq(kv_hex_decode(version, KV_ID_LEN, text), 0);
}

X509 *order_leaf(const struct kv_object *certificate)
{
    struct kv_chain chain;
    struct kv_buf bytes;
    kv_buf_init(&bytes, KV_ORDER_CHAIN_BYTES_MAX);
    cr_assert_eq(
        kv_chain_read(json_object_get(certificate->doc, "chain"), &bytes, &chain), 0);
    const uint8_t *at = chain.der[0].data;
    X509 *leaf = d2i_X509(NULL, &at, (long)chain.der[0].len);
    cr_assert_not_null(leaf);
    kv_buf_free(&bytes);
    return leaf;
}

/* --- what must hold ----------------------------------------------------------------
 */

static void expect_shared(const struct kv_row *row, const struct kv_row *certificate)
{
    const char *kind = kv_kind_name(row->key.kind);
    cr_assert_eq(memcmp(row->key.version, certificate->key.version, KV_ID_LEN), 0,
                 "%s: another version", kind);
    cr_assert_eq(row->flags, certificate->flags | KV_ROW_MANAGED, "%s", kind);
    cr_assert_eq(row->created_s, certificate->created_s, "%s", kind);
    cr_assert_eq(row->updated_s, certificate->updated_s, "%s", kind);
    cr_assert_eq(row->nbf_s, certificate->nbf_s, "%s", kind);
    cr_assert_eq(row->exp_s, certificate->exp_s, "%s", kind);
    cr_assert_eq(row->next_at_s, KV_TIME_NONE, "%s", kind);
}

static void expect_heads(struct service_box *box, const char *name,
                         const struct kv_row *certificate)
{
    static const uint8_t kinds[] = {KV_KIND_CERTIFICATE, KV_KIND_KEY, KV_KIND_SECRET};
    for (size_t i = 0; i < sizeof(kinds); i++) {
        struct kv_row head = service_box_head(box, kinds[i], name);
        cr_assert_neq(head.row_version, 0);
        cr_assert_eq(memcmp(head.current, certificate->key.version, KV_ID_LEN), 0);
        cr_assert_eq(head.flags,
                     i == 0 ? KV_ROW_ENABLED : KV_ROW_ENABLED | KV_ROW_MANAGED);
    }
}

static void expect_leaf(const struct kv_object *certificate,
                        const struct kv_object *key)
{
    struct kv_cert_facts facts;
    X509 *leaf = order_leaf(certificate);
    uint8_t *der = NULL;
    uint8_t *spki = NULL;
    int len = i2d_X509(leaf, &der);
    int spki_len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(leaf), &spki);
    cr_assert(len > 0 && spki_len > 0);
    cr_assert_eq(kv_cert_facts((struct kv_bytes){der, (size_t)len}, &facts, NULL), 0);
    cr_assert_eq(facts.nbf_s, certificate->row.nbf_s);
    cr_assert_eq(facts.exp_s, certificate->row.exp_s);
    cr_assert_eq((size_t)spki_len, key->info.spki.len);
    cr_assert_eq(memcmp(spki, key->info.spki.data, key->info.spki.len), 0);
    OPENSSL_free(der);
    OPENSSL_free(spki);
    X509_free(leaf);
}

static void expect_no_work(struct service_box *box, const char *name)
{
    static const char *const members[] = {"key",   "keyTerm",    "spki",
                                          "state", "effectKind", "effect"};
    struct kv_row row;
    json_t *doc = order_operation(box, name, &row);
    for (size_t i = 0; doc != NULL && i < sizeof(members) / sizeof(members[0]); i++)
        cr_assert_null(json_object_get(doc, members[i]), "%s is left", members[i]);
    cr_assert_eq(row.next_at_s, KV_TIME_NONE, "the operation is still due");
    json_decref(doc);
}

static void hand_out(struct kv_object *object, struct kv_object *out)
{
    if (out != NULL)
        *out = *object;
    else
        kv_object_free(object);
}

void order_expect_complete(struct service_box *box, const char *name,
                           struct kv_object *certificate, struct kv_object *key)
{
    struct kv_object objects[KV_HEADS];
    static const uint8_t kinds[KV_HEADS] = {KV_KIND_CERTIFICATE, KV_KIND_KEY,
                                            KV_KIND_SECRET};
    for (size_t i = 0; i < KV_HEADS; i++) {
        cr_assert_eq(service_box_find(box, kinds[i], name, NULL, &objects[i]), 0, "%s",
                     box->err.message);
        cr_assert_neq(objects[i].row.row_version, 0, "no %s", kv_kind_name(kinds[i]));
    }
    const struct kv_row *row = &objects[KV_HEAD_CERTIFICATE].row;
    cr_assert_eq(row->flags & ~(uint32_t)KV_ROW_ENABLED, 0);
    expect_shared(&objects[KV_HEAD_KEY].row, row);
    expect_shared(&objects[KV_HEAD_SECRET].row, row);
    expect_heads(box, name, row);
    expect_leaf(&objects[KV_HEAD_CERTIFICATE], &objects[KV_HEAD_KEY]);
    expect_no_work(box, name);
    cr_assert(
        json_equal(json_object_get(objects[KV_HEAD_SECRET].doc, "contentType"),
                   json_object_get(objects[KV_HEAD_CERTIFICATE].doc, "contentType")));
    cr_assert_null(json_object_get(objects[KV_HEAD_SECRET].doc, "value"));
    kv_object_free(&objects[KV_HEAD_SECRET]);
    hand_out(&objects[KV_HEAD_KEY], key);
    hand_out(&objects[KV_HEAD_CERTIFICATE], certificate);
}

void order_expect_pending(struct service_box *box, const char *name, size_t n_complete)
{
    struct kv_row row;
    struct kv_object version;
    uint8_t id[KV_ID_LEN];
    json_t *doc = order_operation(box, name, &row);
    cr_assert_not_null(doc);
    cr_assert_str_eq(json_string_value(json_object_get(doc, "status")), "inProgress");
    cr_assert_neq(row.next_at_s, KV_TIME_NONE, "the engine would not find it");
    order_version(doc, id);
    cr_assert_eq(service_box_find(box, KV_KIND_CERTIFICATE, name, id, &version), 0);
    cr_assert_eq(version.row.flags, KV_ROW_PENDING);
    cr_assert_eq(json_array_size(json_object_get(version.doc, "chain")), 0);
    cr_assert_eq(service_box_versions(box, KV_KIND_CERTIFICATE, name), n_complete + 1);
    cr_assert_eq(service_box_versions(box, KV_KIND_KEY, name), n_complete);
    cr_assert_eq(service_box_versions(box, KV_KIND_SECRET, name), n_complete);
    kv_object_free(&version);
    json_decref(doc);
}
