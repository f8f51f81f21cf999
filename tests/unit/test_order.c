/*
 * Orders from request to certificate: what is there while one waits and after it is
 * complete, and what is refused.
 */
#include <criterion/criterion.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "store/core/b64.h"
#include "tests/support/order_box.h"

static struct service_box box;

static void setup(void)
{
    service_box_init(&box);
}

static void teardown(void)
{
    service_box_fini(&box);
}

TestSuite(order, .timeout = 120, .init = setup, .fini = teardown);

/* --- create and complete -----------------------------------------------------------
 */

Test(order, a_new_order_leaves_an_operation_and_a_pending_version)
{
    cr_assert_eq(order_create_ec(&box, "web"), 0, "%s", box.err.message);
    order_expect_pending(&box, "web", 0);
    struct kv_row head = service_box_head(&box, KV_KIND_CERTIFICATE, "web");
    json_t *doc = order_operation(&box, "web", NULL);
    uint8_t version[KV_ID_LEN];
    order_version(doc, version);
    cr_assert_eq(memcmp(head.current, version, KV_ID_LEN), 0,
                 "the first version is current at once");
    cr_assert_eq(service_box_head(&box, KV_KIND_KEY, "web").row_version, 0);
    cr_assert_eq(service_box_head(&box, KV_KIND_SECRET, "web").row_version, 0);
    cr_assert_eq(service_box_rows(&box), 4, "operation, policy, version and its head");
    json_decref(doc);
}

/* The request of an operation carries the names of the policy and proves its key. */
static void expect_request(const json_t *operation)
{
    struct kv_buf csr;
    kv_buf_init(&csr, KV_ORDER_CHAIN_BYTES_MAX);
    cr_assert_eq(kv_order_b64_get(operation, "csr", &csr), 0);
    const uint8_t *at = csr.data;
    X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)csr.len);
    cr_assert_not_null(request);
    cr_assert_eq(X509_REQ_verify(request, X509_REQ_get0_pubkey(request)), 1);
    char *subject = X509_NAME_oneline(X509_REQ_get_subject_name(request), NULL, 0);
    cr_assert_str_eq(subject, "/CN=web.example");
    OPENSSL_free(subject);
    X509_REQ_free(request);
    kv_buf_free(&csr);
}

static const struct {
    const char *policy;
    uint8_t kty;
    uint8_t curve;
    uint16_t bits;
} types[] = {
    {ORDER_POLICY("{\"kty\":\"RSA\"}"), KV_KTY_RSA, KV_CURVE_NONE, 2048},
    {ORDER_POLICY("{\"kty\":\"RSA\",\"key_size\":3072}"), KV_KTY_RSA, KV_CURVE_NONE,
     3072},
    {ORDER_POLICY("{\"kty\":\"RSA\",\"key_size\":4096}"), KV_KTY_RSA, KV_CURVE_NONE,
     4096},
    {ORDER_EC, KV_KTY_EC, KV_CURVE_P256, 256},
    {ORDER_POLICY("{\"kty\":\"EC\",\"crv\":\"P-384\"}"), KV_KTY_EC, KV_CURVE_P384, 384},
    {ORDER_POLICY("{\"kty\":\"EC\",\"crv\":\"P-521\"}"), KV_KTY_EC, KV_CURVE_P521, 521},
    {ORDER_POLICY("{\"kty\":\"EC\",\"crv\":\"P-256K\"}"), KV_KTY_EC, KV_CURVE_P256K,
     256},
    {ORDER_POLICY("{\"kty\":\"OKP\"}"), KV_KTY_OKP, KV_CURVE_ED25519, 256},
};

static void order_of_type(size_t i)
{
    char name[16];
    struct kv_object certificate;
    struct kv_object key;
    (void)snprintf(name, sizeof(name), "web%zu", i);
    const struct order_ask ask = {.name = name, .policy = types[i].policy};
    cr_assert_eq(order_create(&box, &ask), 0, "%zu: %s", i, box.err.message);
    json_t *operation = order_operation(&box, name, NULL);
    expect_request(operation);
    json_decref(operation);
    kv_clock_manual_advance(&box.room.clock, 7);
    cr_assert_eq(order_run(&box, name), 0, "%zu: %s", i, box.err.message);
    cr_assert_str_eq(order_status(&box, name), "completed");
    order_expect_complete(&box, name, &certificate, &key);
    cr_expect_eq(certificate.row.created_s, CHAIN_MAKER_NOW_S + 7 * (int64_t)i);
    cr_expect_eq(certificate.row.updated_s, certificate.row.created_s + 7);
    cr_expect_eq(key.info.kty, types[i].kty);
    cr_expect_eq(key.info.curve, types[i].curve);
    cr_expect_eq(key.info.bits, types[i].bits, "%u", key.info.bits);
    cr_expect_eq(key.info.attrs.ops, (uint32_t)KV_OP_SIGN | KV_OP_VERIFY);
    cr_expect_eq(key.info.attrs.is_exportable, 1);
    kv_object_free(&certificate);
    kv_object_free(&key);
}

Test(order, keys_of_every_type_get_their_certificate)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        order_of_type(i);
}

Test(order, the_policy_decides_operations_export_and_type)
{
    static const struct order_ask ask = {
        .name = "web",
        .policy = "{\"key_props\":{\"kty\":\"RSA\",\"exportable\":false},"
                  "\"issuer\":{\"name\":\"Self\"},"
                  "\"secret_props\":{\"contentType\":\"application/x-pem-file\"},"
                  "\"x509_props\":{\"subject\":\"CN=web\",\"validity_hours\":24,"
                  "\"key_usage\":[\"keyEncipherment\",\"dataEncipherment\"]}}",
        .tags = "{\"team\":\"a\"}",
    };
    struct kv_object certificate;
    struct kv_object key;
    cr_assert_eq(order_create(&box, &ask), 0, "%s", box.err.message);
    cr_assert_eq(order_run(&box, "web"), 0, "%s", box.err.message);
    order_expect_complete(&box, "web", &certificate, &key);
    cr_expect_eq(key.info.attrs.ops,
                 (uint32_t)KV_OP_WRAP | KV_OP_UNWRAP | KV_OP_ENCRYPT | KV_OP_DECRYPT);
    cr_expect_eq(key.info.attrs.is_exportable, 0);
    cr_expect_eq(key.info.attrs.is_managed, 1);
    cr_expect_eq(key.row.exp_s - key.row.nbf_s, 24 * 3600 + 600);
    cr_expect_str_eq(json_string_value(json_object_get(certificate.doc, "contentType")),
                     "application/x-pem-file");
    json_t *tags = json_object_get(certificate.doc, "tags");
    cr_expect_str_eq(json_string_value(json_object_get(tags, "team")), "a");
    json_t *app = json_loadb((const char *)key.info.attrs.app.data,
                             key.info.attrs.app.len, 0, NULL);
    cr_expect(json_equal(json_object_get(app, "tags"), tags));
    json_decref(app);
    kv_object_free(&certificate);
    kv_object_free(&key);
}

Test(order, a_disabled_order_is_completed_and_stays_disabled)
{
    static const struct order_ask ask = {
        .name = "web", .policy = ORDER_EC, .is_disabled = true};
    struct kv_object certificate;
    cr_assert_eq(order_create(&box, &ask), 0, "%s", box.err.message);
    cr_assert_eq(order_run(&box, "web"), 0, "%s", box.err.message);
    cr_assert_str_eq(order_status(&box, "web"), "completed");
    order_expect_complete(&box, "web", &certificate, NULL);
    cr_expect_eq(certificate.row.flags, 0);
    kv_object_free(&certificate);
}

Test(order, the_old_version_stays_current_until_the_new_one_is_complete)
{
    static const struct order_ask again = {.name = "WEB"}; /* names have no case */
    struct kv_object first;
    struct kv_object between;
    struct kv_object second;
    cr_assert_eq(order_create_ec(&box, "web"), 0);
    cr_assert_eq(order_run(&box, "web"), 0);
    order_expect_complete(&box, "web", &first, NULL);
    kv_clock_manual_advance(&box.room.clock, 60);
    cr_assert_eq(order_create(&box, &again), 0, "the stored policy is used: %s",
                 box.err.message);
    order_expect_pending(&box, "web", 1);
    cr_assert_eq(service_box_find(&box, KV_KIND_CERTIFICATE, "web", NULL, &between), 0);
    cr_assert_eq(memcmp(&between.row.key, &first.row.key, sizeof(first.row.key)), 0);
    cr_assert(json_equal(between.doc, first.doc));
    cr_assert_eq(order_run(&box, "web"), 0);
    order_expect_complete(&box, "web", &second, NULL);
    cr_assert_neq(memcmp(second.row.key.version, first.row.key.version, KV_ID_LEN), 0);
    cr_assert_str_eq(second.row.key.name, "web");
    cr_assert_eq(service_box_versions(&box, KV_KIND_KEY, "web"), 2);
    kv_object_free(&first);
    kv_object_free(&between);
    kv_object_free(&second);
}

Test(order, a_completed_order_is_not_run_again)
{
    cr_assert_eq(order_create_ec(&box, "web"), 0);
    cr_assert_eq(order_run(&box, "web"), 0);
    uint64_t n_rows = service_box_rows(&box);
    box.link.n_calls = 0;
    cr_assert_eq(order_run(&box, "web"), 0);
    cr_assert_eq(order_run(&box, "absent"), 0);
    cr_assert_eq(box.link.n_calls, 2, "only operation and policy were read");
    cr_assert_eq(service_box_rows(&box), n_rows);
}

/* --- refusals ----------------------------------------------------------------------
 */

static void expect_refused(int rc, int code, const char *id)
{
    cr_assert_eq(rc, code, "%d instead of %d: %s", rc, code, box.err.message);
    cr_assert_str_eq(box.err.id, id, "%s", box.err.message);
    cr_assert_neq(box.err.message[0], '\0');
    cr_assert_eq(box.service.n_running, 0);
}

Test(order, one_order_at_a_time)
{
    struct chain_made made = chain_make(
        &(struct chain_maker){.type = "P-256", .subject = "web.example"}, NULL);
    struct kv_buf file;
    chain_made_pem(&made, NULL, &file);
    const struct order_ask import = {.name = "web", .material = {file.data, file.len}};
    cr_assert_eq(order_create_ec(&box, "web"), 0);
    uint64_t n_rows = service_box_rows(&box);
    expect_refused(order_create_ec(&box, "Web"), KV_E_EXISTS, "cert.in-progress");
    expect_refused(order_import(&box, &import), KV_E_EXISTS, "cert.in-progress");
    cr_assert_eq(service_box_rows(&box), n_rows);
    cr_assert_eq(order_create_ec(&box, "other"), 0);
    kv_buf_free(&file);
    chain_made_free(&made);
}

/* Store the head and one version of a key or secret that belongs to no certificate. */
static void put_own(uint8_t kind, const char *name, uint32_t flags)
{
    struct kv_row row = {.key = {.kind = kind},
                         .flags = flags,
                         .nbf_s = KV_TIME_NONE,
                         .exp_s = KV_TIME_NONE,
                         .next_at_s = KV_TIME_NONE};
    memcpy(row.key.vault, box.vault->id, KV_ID_LEN);
    (void)snprintf(row.key.name, sizeof(row.key.name), "%s", name);
    service_box_put(&box, &row, NULL);
}

Test(order, names_of_other_objects_are_taken)
{
    put_own(KV_KIND_KEY, "a", KV_ROW_ENABLED);
    put_own(KV_KIND_SECRET, "b", KV_ROW_ENABLED);
    put_own(KV_KIND_KEY, "c", KV_ROW_ENABLED | KV_ROW_DELETED);
    put_own(KV_KIND_SECRET, "d", KV_ROW_ENABLED | KV_ROW_MANAGED | KV_ROW_DELETED);
    put_own(KV_KIND_CERTIFICATE, "e", KV_ROW_ENABLED | KV_ROW_DELETED);
    put_own(KV_KIND_KEY, "f", KV_ROW_ENABLED | KV_ROW_MANAGED);
    expect_refused(order_create_ec(&box, "A"), KV_E_EXISTS, "cert.name-taken");
    expect_refused(order_create_ec(&box, "b"), KV_E_EXISTS, "cert.name-taken");
    expect_refused(order_create_ec(&box, "c"), KV_E_EXISTS, "api.deleted");
    expect_refused(order_create_ec(&box, "d"), KV_E_EXISTS, "api.deleted");
    expect_refused(order_create_ec(&box, "e"), KV_E_EXISTS, "api.deleted");
    cr_assert_eq(service_box_rows(&box), 6);
    cr_assert_eq(order_create_ec(&box, "f"), 0, "left by a version that is gone");
}

Test(order, policies_are_checked_before_a_key_is_made)
{
    static const struct {
        const char *policy;
        int code;
        const char *id;
    } rows[] = {
        {NULL, KV_E_INVALID, "cert.no-policy"},
        {"{}", KV_E_INVALID, "policy.bad-field"},
        {"{\"issuer\":{\"name\":\"Self\"}}", KV_E_INVALID, "policy.bad-field"},
        {"{\"issuer\":{\"name\":\"Self\"},\"x509_props\":{\"subject\":\"web\"}}",
         KV_E_INVALID, "policy.bad-subject"},
        {ORDER_POLICY("{\"kty\":\"RSA-HSM\"}"), KV_E_UNSUPPORTED, "policy.not-offered"},
        {"{\"issuer\":{\"name\":\"Other\"},\"x509_props\":{\"subject\":\"CN=a\"}}",
         KV_E_INVALID, "cert.no-issuer"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct order_ask ask = {.name = "web", .policy = rows[i].policy};
        box.link.n_calls = 0;
        expect_refused(order_create(&box, &ask), rows[i].code, rows[i].id);
        cr_assert_eq(box.link.n_calls, 0, "%zu: the keyring was asked", i);
        cr_assert_eq(service_box_rows(&box), 0);
    }
}

Test(order, a_name_that_is_none_is_refused_at_once)
{
    char name[KV_NAME_MAX + 40];
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    cr_assert_eq(order_create_ec(&box, ""), KV_E_INVALID);
    cr_assert_eq(order_create_ec(&box, name), KV_E_TOO_BIG);
    cr_assert_eq(order_run(&box, name), KV_E_TOO_BIG);
    cr_assert_eq(box.service.n_running, 0);
    cr_assert_eq(service_box_rows(&box), 0);
}

Test(order, a_stopping_service_begins_nothing)
{
    cr_assert_eq(order_create_ec(&box, "web"), 0);
    box.service.is_stopping = true;
    cr_assert_eq(order_create_ec(&box, "new"), KV_E_UNAVAILABLE);
    cr_assert_eq(order_run(&box, "web"), KV_E_UNAVAILABLE);
    cr_assert_eq(box.service.n_running, 0);
    box.service.is_stopping = false;
    order_expect_pending(&box, "web", 0);
}

/* --- reuse_key ---------------------------------------------------------------------
 */

/* Order and run; the key of the new version, which the caller frees. */
static struct kv_object next_key(const char *policy)
{
    const struct order_ask ask = {.name = "web", .policy = policy};
    struct kv_object key;
    cr_assert_eq(order_create(&box, &ask), 0, "%s", box.err.message);
    kv_clock_manual_advance(&box.room.clock, 1);
    cr_assert_eq(order_run(&box, "web"), 0, "%s", box.err.message);
    order_expect_complete(&box, "web", NULL, &key);
    return key;
}

static bool is_same_key(const struct kv_object *a, const struct kv_object *b)
{
    const struct kv_bytes x = a->info.spki;
    const struct kv_bytes y = b->info.spki;
    return x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
}

#define KEEP_EC ORDER_POLICY("{\"kty\":\"EC\",\"reuse_key\":true}")
#define KEEP_P384 ORDER_POLICY("{\"kty\":\"EC\",\"crv\":\"P-384\",\"reuse_key\":true}")

Test(order, a_policy_with_reuse_key_keeps_the_key_and_nothing_else_does)
{
    struct kv_object first = next_key(KEEP_EC);
    struct kv_object second = next_key(NULL);
    cr_expect(is_same_key(&first, &second), "the stored policy says so");
    cr_expect(memcmp(first.row.key.version, second.row.key.version, KV_ID_LEN) != 0);
    cr_expect_eq(second.info.attrs.is_managed, 1);
    struct kv_object third = next_key(KEEP_P384);
    cr_expect_not(is_same_key(&second, &third), "another type needs a new key");
    cr_expect_eq(third.info.curve, KV_CURVE_P384);
    struct kv_object fourth = next_key(ORDER_EC);
    struct kv_object fifth = next_key(NULL);
    cr_expect_not(is_same_key(&fourth, &fifth));
    kv_object_free(&first);
    kv_object_free(&second);
    kv_object_free(&third);
    kv_object_free(&fourth);
    kv_object_free(&fifth);
}

Test(order, an_expired_certificate_is_renewed_with_its_key)
{
    struct kv_object first = next_key(KEEP_EC);
    kv_clock_manual_advance(&box.room.clock, 400 * 86400);
    cr_assert_lt(first.row.exp_s, kv_now_s(box.service.clock));
    struct kv_object second = next_key(NULL);
    cr_expect(is_same_key(&first, &second));
    cr_expect_gt(second.row.exp_s, kv_now_s(box.service.clock));
    kv_object_free(&first);
    kv_object_free(&second);
}

Test(order, a_key_that_must_not_leave_is_not_kept_where_it_could)
{
    struct kv_object first = next_key(
        ORDER_POLICY("{\"kty\":\"EC\",\"exportable\":false,\"reuse_key\":true}"));
    const struct order_ask ask = {.name = "web", .policy = KEEP_EC};
    cr_expect_eq(order_create(&box, &ask), KV_E_DENIED);
    cr_expect_str_eq(box.err.id, "key.exportable");
    cr_expect_eq(service_box_versions(&box, KV_KIND_CERTIFICATE, "web"), 1);
    kv_object_free(&first);
}
