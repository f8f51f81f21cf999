/*
 * Certificates that come in with their key: what is taken over, what is refused, and
 * that a refusal leaves nothing behind.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/order_box.h"

static struct service_box box;
static struct chain_made ca;
static struct chain_made leaf;
static struct kv_buf file;

static void setup(void)
{
    service_box_init(&box);
    ca = chain_make(&(struct chain_maker){.type = "P-256", .subject = "ca"}, NULL);
    leaf = chain_make(&(struct chain_maker){.type = "P-256",
                                            .subject = "web.example",
                                            .sans = "DNS:web.example"},
                      &ca);
    chain_made_pem(&leaf, &ca, &file);
}

static void teardown(void)
{
    kv_buf_free(&file);
    chain_made_free(&leaf);
    chain_made_free(&ca);
    service_box_fini(&box);
}

TestSuite(import, .timeout = 120, .init = setup, .fini = teardown);

static int import_with(const char *policy)
{
    const struct order_ask ask = {
        .name = "web", .policy = policy, .material = {file.data, file.len}};
    return order_import(&box, &ask);
}

static int import_pfx(const char *name, const char *policy)
{
    struct kv_buf pfx;
    chain_made_pfx(&leaf, &ca, NULL, &pfx);
    const struct order_ask ask = {.name = name,
                                  .policy = policy,
                                  .is_pfx = true,
                                  .material = {pfx.data, pfx.len}};
    int rc = order_import(&box, &ask);
    kv_buf_free(&pfx);
    return rc;
}

static json_t *stored_policy(void)
{
    struct kv_object object;
    cr_assert_eq(service_box_find(&box, KV_KIND_POLICY, "web", NULL, &object), 0);
    cr_assert_neq(object.row.row_version, 0);
    json_t *doc = json_incref(object.doc);
    kv_object_free(&object);
    return doc;
}

static const char *text_at(const json_t *doc, const char *section, const char *member)
{
    const char *text =
        json_string_value(json_object_get(json_object_get(doc, section), member));
    return text != NULL ? text : "";
}

Test(import, a_pem_file_becomes_a_whole_version_at_once)
{
    static const char tags[] = "{\"team\":\"a\"}";
    struct kv_object certificate;
    struct kv_object key;
    const struct order_ask ask = {
        .name = "web", .tags = tags, .material = {file.data, file.len}};
    cr_assert_eq(order_import(&box, &ask), 0, "%s", box.err.message);
    order_expect_complete(&box, "web", &certificate, &key);
    cr_expect_eq(certificate.row.created_s, CHAIN_MAKER_NOW_S);
    cr_expect_eq(key.info.kty, KV_KTY_EC);
    cr_expect_eq(key.info.attrs.is_exportable, 1);
    cr_expect_neq(key.info.attrs.ops & KV_OP_SIGN, 0);
    cr_expect_eq(json_array_size(json_object_get(certificate.doc, "chain")), 2);
    json_t *tags_json = json_loads(tags, 0, NULL);
    cr_expect(json_equal(json_object_get(certificate.doc, "tags"), tags_json));
    json_t *operation = order_operation(&box, "web", NULL);
    cr_expect_null(operation, "an import is no operation");
    json_t *policy = stored_policy();
    cr_expect_str_eq(text_at(policy, "issuer", "name"), "Unknown");
    cr_expect_str_eq(text_at(policy, "x509_props", "subject"), "CN=web.example");
    cr_expect_eq(service_box_rows(&box), 7, "three with heads, and the policy");
    json_decref(policy);
    json_decref(tags_json);
    kv_object_free(&certificate);
    kv_object_free(&key);
}

Test(import, a_pfx_file_needs_its_password)
{
    struct kv_buf pfx;
    struct kv_object key;
    chain_made_pfx(&leaf, &ca, "pass", &pfx);
    struct order_ask ask = {.name = "web",
                            .is_pfx = true,
                            .material = {pfx.data, pfx.len},
                            .password = "wrong"};
    cr_assert_neq(order_import(&box, &ask), 0);
    cr_expect_eq(service_box_rows(&box), 0);
    ask.password = "pass";
    cr_assert_eq(order_import(&box, &ask), 0, "%s", box.err.message);
    order_expect_complete(&box, "web", NULL, &key);
    cr_expect_eq(key.info.attrs.is_exportable, 1);
    kv_object_free(&key);
    kv_buf_free(&pfx);
}

static const char *const types[] = {"RSA", "P-384", "P-521", "secp256k1", "ED25519"};

Test(import, keys_of_every_type)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct chain_made made = chain_make(
            &(struct chain_maker){.type = types[i], .subject = "web.example"}, NULL);
        struct kv_buf pem;
        chain_made_pem(&made, NULL, &pem);
        const struct order_ask ask = {.name = types[i],
                                      .material = {pem.data, pem.len}};
        cr_assert_eq(order_import(&box, &ask), 0, "%s: %s", types[i], box.err.message);
        order_expect_complete(&box, types[i], NULL, NULL);
        kv_buf_free(&pem);
        chain_made_free(&made);
    }
}

Test(import, the_chain_is_put_in_order_unless_it_is_to_be_kept)
{
    struct chain_made root =
        chain_make(&(struct chain_maker){.type = "P-256", .subject = "root"}, NULL);
    struct chain_made sub =
        chain_make(&(struct chain_maker){.type = "P-256", .subject = "sub"}, &root);
    struct chain_made end = chain_make(
        &(struct chain_maker){.type = "P-256", .subject = "web.example"}, &sub);
    for (int keeps = 0; keeps < 2; keeps++) {
        struct kv_buf pem; /* key, leaf; then root and issuer, the wrong way round */
        struct kv_buf rest;
        struct kv_object certificate;
        chain_made_pem(&end, &root, &pem);
        chain_made_pem(&end, &sub, &rest);
        const char *extra = strstr((const char *)rest.data, "-----BEGIN CERT");
        const char *extra_end = strstr(extra, "-----END CERT");
        extra_end = strchr(extra_end, '\n') + 1;
        cr_assert_eq(kv_buf_append(&pem, extra, (size_t)(extra_end - extra)), 0);
        const struct order_ask ask = {.name = keeps ? "kept" : "sorted",
                                      .preserves_order = keeps,
                                      .material = {pem.data, pem.len}};
        cr_assert_eq(order_import(&box, &ask), 0, "%s", box.err.message);
        order_expect_complete(&box, ask.name, &certificate, NULL);
        const json_t *chain = json_object_get(certificate.doc, "chain");
        cr_assert_eq(json_array_size(chain), 3);
        json_t *second = kv_order_b64(keeps ? root.der : sub.der,
                                      keeps ? root.der_len : sub.der_len);
        cr_expect(json_equal(json_array_get(chain, 1), second), "%s", ask.name);
        json_decref(second);
        kv_object_free(&certificate);
        kv_buf_free(&rest);
        kv_buf_free(&pem);
    }
    chain_made_free(&end);
    chain_made_free(&sub);
    chain_made_free(&root);
}

Test(import, an_expired_certificate_comes_in_all_the_same)
{
    struct chain_made old =
        chain_make(&(struct chain_maker){.type = "P-256",
                                         .subject = "web.example",
                                         .nbf_s = CHAIN_MAKER_NOW_S - 200000,
                                         .exp_s = CHAIN_MAKER_NOW_S - 100000},
                   NULL);
    struct kv_buf pem;
    struct kv_object certificate;
    chain_made_pem(&old, NULL, &pem);
    const struct order_ask ask = {
        .name = "old", .is_disabled = true, .material = {pem.data, pem.len}};
    cr_assert_eq(order_import(&box, &ask), 0, "%s", box.err.message);
    order_expect_complete(&box, "old", &certificate, NULL);
    cr_expect_eq(certificate.row.exp_s, CHAIN_MAKER_NOW_S - 100000);
    cr_expect_eq(certificate.row.flags, 0);
    kv_object_free(&certificate);
    kv_buf_free(&pem);
    chain_made_free(&old);
}

/* --- policy ------------------------------------------------------------------------
 */

#define PEM_TYPE "application/x-pem-file"
#define PFX_TYPE "application/x-pkcs12"
#define NOT_EXPORTABLE                                                                 \
    "{\"key_props\":{\"exportable\":false},"                                           \
    "\"secret_props\":{\"contentType\":\"" PFX_TYPE "\"},"                             \
    "\"issuer\":{\"name\":\"Self\"}}"

static void expect_export(const char *name, bool is_exportable, const char *type)
{
    struct kv_object certificate;
    struct kv_object key;
    order_expect_complete(&box, name, &certificate, &key);
    cr_expect_eq(key.info.attrs.is_exportable, is_exportable);
    cr_expect_str_eq(json_string_value(json_object_get(certificate.doc, "contentType")),
                     type);
    kv_object_free(&certificate);
    kv_object_free(&key);
}

Test(import, the_given_policy_replaces_what_the_certificate_says)
{
    cr_assert_eq(import_with(NOT_EXPORTABLE), 0, "%s", box.err.message);
    expect_export("web", false, PFX_TYPE);
    json_t *policy = stored_policy();
    cr_expect_str_eq(text_at(policy, "issuer", "name"), "Self");
    cr_expect_str_eq(text_at(policy, "x509_props", "subject"), "CN=web.example");
    json_decref(policy);
}

Test(import, without_a_policy_the_stored_one_says_whether_the_key_may_leave)
{
    cr_assert_eq(import_with(NOT_EXPORTABLE), 0, "%s", box.err.message);
    json_t *before = stored_policy();
    cr_assert_eq(import_with(NULL), 0, "%s", box.err.message);
    expect_export("web", false, PFX_TYPE);
    json_t *after = stored_policy();
    cr_expect(json_equal(before, after), "the policy stays");
    json_decref(before);
    json_decref(after);
    cr_assert_eq(import_with("{\"key_props\":{\"exportable\":true}}"), 0);
    expect_export("web", true, PEM_TYPE);
    cr_expect_eq(service_box_versions(&box, KV_KIND_CERTIFICATE, "web"), 3);
}

Test(import, the_secret_keeps_the_form_of_the_file)
{
    cr_assert_eq(import_with("{\"secret_props\":null}"), 0, "%s", box.err.message);
    expect_export("web", true, PEM_TYPE);
    cr_assert_eq(import_pfx("pfx", NULL), 0, "%s", box.err.message);
    expect_export("pfx", true, PFX_TYPE);
    cr_assert_eq(import_pfx("web", NULL), 0);
    expect_export("web", true, PEM_TYPE);
    cr_assert_eq(import_pfx("web", "{\"secret_props\":{}}"), 0);
    expect_export("web", true, PFX_TYPE);
}

static const struct {
    const char *policy;
    int code;
    const char *id;
} refusals[] = {
    {"{\"issuer\":{\"name\":\"Other\"}}", KV_E_INVALID, "cert.no-issuer"},
    {"{\"key_props\":{\"exportable\":\"no\"}}", KV_E_INVALID, "policy.bad-field"},
    {"{\"key_props\":[1]}", KV_E_INVALID, "policy.bad-field"},
    {"{\"key_props\":{\"kty\":\"RSA\"}}", KV_E_INVALID, "policy.bad-field"},
    {"{\"key_props\":{\"kty\":\"EC\",\"crv\":\"P-384\"}}", KV_E_INVALID,
     "policy.bad-field"},
    {"{\"x509_props\":{\"subject\":\"web\"}}", KV_E_INVALID, "policy.bad-subject"},
    {"[]", KV_E_INVALID, "policy.bad-field"},
};

Test(import, policies_that_do_not_fit_are_refused_and_nothing_is_left)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        cr_assert_eq(import_with(refusals[i].policy), refusals[i].code, "%s: %s",
                     refusals[i].policy, box.err.message);
        cr_expect_str_eq(box.err.id, refusals[i].id, "%s: %s", refusals[i].policy,
                         box.err.message);
        cr_expect_eq(service_box_rows(&box), 0);
    }
}

/* --- files -------------------------------------------------------------------------
 */

static void expect_file_refused(const void *data, size_t len, const char *id)
{
    const struct order_ask ask = {.name = "web", .material = {data, len}};
    cr_assert_neq(order_import(&box, &ask), 0);
    cr_expect_str_eq(box.err.id, id, "%s", box.err.message);
    cr_expect_eq(service_box_rows(&box), 0);
}

Test(import, files_without_key_or_certificate_or_with_a_foreign_one_are_refused)
{
    struct chain_made other =
        chain_make(&(struct chain_maker){.type = "P-256", .subject = "o"}, NULL);
    const char *certs = strstr((const char *)file.data, "-----BEGIN CERT");
    size_t key_len = (size_t)(certs - (const char *)file.data);
    struct chain_made mixed = {.key = other.key, .cert = leaf.cert};
    struct kv_buf foreign;
    chain_made_pem(&mixed, &ca, &foreign);
    expect_file_refused(file.data, key_len, "cert.no-certificate");
    expect_file_refused(certs, file.len - key_len, "key.import-no-key");
    expect_file_refused(foreign.data, foreign.len, "key.import-cert-mismatch");
    kv_buf_free(&foreign);
    chain_made_free(&other);
}

Test(import, a_keyring_that_answers_nonsense_leaves_nothing)
{
    static const uint16_t verbs[] = {KV_ROLE_KEY_IMPORT, KV_ROLE_KEY_UPDATE,
                                     KV_ROLE_SEAL};
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        box.link.spoil_verb = verbs[i];
        cr_assert_neq(import_with(NULL), 0, "%u", verbs[i]);
        box.link.spoil_verb = 0;
        cr_expect_eq(service_box_rows(&box), 0);
    }
    cr_assert_eq(import_with(NULL), 0);
}
