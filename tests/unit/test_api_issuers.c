/*
 * Contacts and issuers of a vault: what is kept, what is returned, what is refused.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/desk.h"

static struct desk desk;

static void setup(void)
{
    desk_init(&desk);
}

static void teardown(void)
{
    desk_fini(&desk);
}

TestSuite(api_issuers, .timeout = 60, .init = setup, .fini = teardown);

static void fails(int status, const char *code, const char *method, const char *path,
                  const char *body)
{
    json_t *json = desk_must(&desk, status, method, path, body);
    cr_expect_str_eq(desk_error(json, "code"), code, "%s %s %s", method, path, body);
    json_decref(json);
}

/* Whether a reply has exactly these members beside its id and dates. */
static void expect_json(json_t *json, const char *wanted)
{
    json_t *want = json_loads(wanted, 0, NULL);
    json_t *attributes = json_object_get(json, "attributes");
    (void)json_object_del(json, "id");
    (void)json_object_del(attributes, "created");
    (void)json_object_del(attributes, "updated");
    char *text = json_dumps(json, JSON_COMPACT);
    cr_expect(json_equal(json, want), "%s", text);
    free(text);
    json_decref(want);
    json_decref(json);
}

#define CONTACTS "/certificates/contacts"

Test(api_issuers, contacts_are_replaced_whole)
{
    fails(404, "ContactsNotFound", "GET", CONTACTS, NULL);
    fails(404, "ContactsNotFound", "DELETE", CONTACTS, NULL);
    json_decref(desk_must(
        &desk, 200, "PUT", CONTACTS,
        "{\"contacts\":[{\"email\":\"a@example.com\"},{\"email\":\"b@x.y\"}]}"));
    expect_json(
        desk_must(&desk, 200, "PUT", CONTACTS,
                  "{\"contacts\":[{\"email\":\"c@example.com\",\"name\":\"Zoë\","
                  "\"phone\":\"+49 1\",\"other\":1}]}"),
        "{\"contacts\":[{\"email\":\"c@example.com\",\"name\":\"Zoë\","
        "\"phone\":\"+49 1\"}]}");
    expect_json(desk_must(&desk, 200, "GET", CONTACTS, NULL),
                "{\"contacts\":[{\"email\":\"c@example.com\",\"name\":\"Zoë\","
                "\"phone\":\"+49 1\"}]}");
    json_decref(desk_must(&desk, 200, "DELETE", CONTACTS, NULL));
    fails(404, "ContactsNotFound", "GET", CONTACTS, NULL);
}

Test(api_issuers, a_contact_needs_an_address)
{
    static const char *const bad[] = {
        "{}",
        "{\"contacts\":{}}",
        "{\"contacts\":[1]}",
        "{\"contacts\":[{}]}",
        "{\"contacts\":[{\"email\":\"\"}]}",
        "{\"contacts\":[{\"email\":\"nobody\"}]}",
        "{\"contacts\":[{\"email\":\"@x\"}]}",
        "{\"contacts\":[{\"email\":\"x@\"}]}",
        "{\"contacts\":[{\"email\":\"a@b@c\"}]}",
        "{\"contacts\":[{\"email\":\"a@b\\r\\nBcc: c@d\"}]}",
        "{\"contacts\":[{\"email\":\"<a@b>\"}]}",
        "{\"contacts\":[{\"email\":\"a@b\",\"name\":1}]}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        fails(400, "BadParameter", "PUT", CONTACTS, bad[i]);
    fails(404, "ContactsNotFound", "GET", CONTACTS, NULL);
}

#define ISSUER "/certificates/issuers/Main"
#define MADE                                                                           \
    "{\"provider\":\"DigiCert\",\"credentials\":{\"account_id\":\"42\"},"              \
    "\"org_details\":{\"zip\":0,\"id\":\"o\",\"admin_details\":"                       \
    "[{\"first_name\":\"A\",\"email\":\"a@b.c\"}]},\"attributes\":{\"enabled\":true}}"

static void make(void)
{
    expect_json(
        desk_must(&desk, 200, "PUT", ISSUER,
                  "{\"provider\":\"digicert\",\"credentials\":{\"account_id\":\"42\","
                  "\"pwd\":\"s3cret\"},\"org_details\":{\"id\":\"o\",\"admin_details\":"
                  "[{\"first_name\":\"A\",\"email\":\"a@b.c\"}]}}"),
        MADE);
}

Test(api_issuers, a_password_is_kept_and_never_told)
{
    fails(404, "CertificateIssuerNotFound", "GET", ISSUER, NULL);
    fails(404, "CertificateIssuerNotFound", "PATCH", ISSUER, "{}");
    make();
    expect_json(desk_must(&desk, 200, "GET", "/certificates/issuers/MAIN", NULL), MADE);
    struct kv_row_key key = {.kind = KV_KIND_ISSUER, .name = "main"};
    struct kv_row row;
    struct kv_buf sealed;
    kv_buf_init(&sealed, KV_STORE_SEALED_MAX);
    memcpy(key.vault, desk.vault->id, KV_ID_LEN);
    cr_assert_eq(desk_get(&desk, &key, false, &row, &sealed), 0);
    cr_expect_null(memmem(sealed.data, sealed.len, "s3cret", 6), "sealed");
    kv_buf_free(&sealed);
    expect_json(desk_must(&desk, 200, "DELETE", ISSUER, NULL), MADE);
    fails(404, "CertificateIssuerNotFound", "DELETE", ISSUER, NULL);
}

Test(api_issuers, a_change_keeps_what_it_does_not_name)
{
    make();
    expect_json(
        desk_must(&desk, 200, "PATCH", ISSUER, "{\"attributes\":{\"enabled\":false}}"),
        "{\"provider\":\"DigiCert\",\"credentials\":{\"account_id\":\"42\"},"
        "\"org_details\":{\"zip\":0,\"id\":\"o\",\"admin_details\":"
        "[{\"first_name\":\"A\",\"email\":\"a@b.c\"}]},"
        "\"attributes\":{\"enabled\":false}}");
    expect_json(
        desk_must(&desk, 200, "PATCH", ISSUER,
                  "{\"provider\":\"Test\",\"credentials\":{\"account_id\":\"43\"},"
                  "\"org_details\":{\"admin_details\":[]}}"),
        "{\"provider\":\"Test\",\"credentials\":{\"account_id\":\"43\"},"
        "\"org_details\":{\"zip\":0,\"id\":\"o\",\"admin_details\":[]},"
        "\"attributes\":{\"enabled\":false}}");
    expect_json(desk_must(&desk, 200, "PUT", ISSUER, "{\"provider\":\"Test\"}"),
                "{\"provider\":\"Test\",\"credentials\":{},"
                "\"attributes\":{\"enabled\":true}}");
}

Test(api_issuers, issuers_are_listed_by_name)
{
    make();
    json_decref(desk_must(&desk, 200, "PUT", "/certificates/issuers/Alt",
                          "{\"provider\":\"Test\"}"));
    json_t *page = desk_must(&desk, 200, "GET", "/certificates/issuers", NULL);
    const json_t *items = json_object_get(page, "value");
    cr_assert_eq(json_array_size(items), 2);
    const char *id = json_string_value(json_object_get(json_array_get(items, 0), "id"));
    cr_expect_not_null(strstr(id, "/certificates/issuers/Alt"));
    cr_expect_null(json_object_get(json_array_get(items, 1), "credentials"));
    json_decref(page);
}

Test(api_issuers, bad_issuers_are_refused_whole)
{
    static const char *const bad[] = {
        "{}",
        "{\"provider\":\"Acme Corp\"}",
        "{\"provider\":1}",
        "{\"provider\":\"Test\",\"credentials\":[]}",
        "{\"provider\":\"Test\",\"credentials\":{\"pwd\":1}}",
        "{\"provider\":\"Test\",\"org_details\":{\"admin_details\":{}}}",
        "{\"provider\":\"Test\",\"org_details\":{\"admin_details\":[1]}}",
        "{\"provider\":\"Test\",\"attributes\":{\"enabled\":1}}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        fails(400, "BadParameter", "PUT", ISSUER, bad[i]);
    fails(404, "CertificateIssuerNotFound", "GET", ISSUER, NULL);
    fails(400, "BadParameter", "PUT", "/certificates/issuers/self",
          "{\"provider\":\"Test\"}");
    fails(400, "BadParameter", "PUT", "/certificates/issuers/policy",
          "{\"provider\":\"Test\"}");
    fails(400, "BadParameter", "POST", "/certificates/contacts/create",
          "{\"policy\":{\"issuer\":{\"name\":\"Self\"},"
          "\"x509_props\":{\"subject\":\"CN=c\"}}}");
    fails(400, "BadParameter", "PUT", "/certificates/issuers/a_b",
          "{\"provider\":\"Test\"}");
}
