/*
 * Names that are taken (deleted, or a certificate's), and the secret of a certificate
 * in each of its forms.
 */
#include <criterion/criterion.h>
#include <openssl/pkcs12.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/core/b64.h"
#include "tests/support/desk.h"
#include "tests/support/fixture.h"

static struct desk desk;

static void setup(void)
{
    desk_init(&desk);
}

static void teardown(void)
{
    desk_fini(&desk);
}

TestSuite(api_secrets, .timeout = 60, .init = setup, .fini = teardown);

#define PEM_TYPE "application/x-pem-file"
#define PFX_TYPE "application/x-pkcs12"

static const char *text(const json_t *json, const char *field)
{
    const char *value = json_string_value(json_object_get(json, field));
    return value != NULL ? value : "";
}

/* Import a certificate with its key under a policy. */
static void import(const char *name, const char *type, bool is_exportable)
{
    char path[64];
    struct kv_buf file;
    struct kv_buf key;
    json_t *json = NULL;
    fixture_read("keys/prime256v1-cert.pem", &file);
    fixture_read("keys/prime256v1.pem", &key);
    cr_assert_eq(kv_buf_append(&file, key.data, key.len), 0);
    json_t *body =
        json_pack("{s:s#,s:{s:{s:b},s:{s:s}}}", "value", file.data, (int)file.len,
                  "policy", "key_props", "exportable", is_exportable ? 1 : 0,
                  "secret_props", "contentType", type);
    char *sent = json_dumps(body, JSON_COMPACT);
    (void)snprintf(path, sizeof(path), "/certificates/%s/import", name);
    cr_assert_eq(desk_call(&desk, "POST", path, sent, &json), 200, "%s",
                 desk_error(json, "message"));
    json_decref(json);
    json_decref(body);
    free(sent);
    kv_buf_free(&key);
    kv_buf_free(&file);
}

static json_t *get(const char *path)
{
    json_t *json = NULL;
    cr_assert_eq(desk_call(&desk, "GET", path, NULL, &json), 200, "%s: %s", path,
                 desk_error(json, "message"));
    return json;
}

static size_t count(const char *where, const char *what)
{
    size_t n = 0;
    for (; (where = strstr(where, what)) != NULL; where += strlen(what))
        n++;
    return n;
}

Test(api_secrets, a_certificates_secret_as_pem)
{
    import("pem", PEM_TYPE, true);
    json_t *json = get("/secrets/pem");
    cr_assert_str_eq(text(json, "contentType"), PEM_TYPE);
    cr_assert(json_is_true(json_object_get(json, "managed")));
    cr_assert_not_null(strstr(text(json, "kid"), "/keys/pem/"));
    cr_assert_eq(count(text(json, "value"), "-----BEGIN PRIVATE KEY-----"), 1);
    cr_assert_eq(count(text(json, "value"), "-----BEGIN CERTIFICATE-----"), 1);
    json_decref(json);
    import("public", PEM_TYPE, false);
    json = get("/secrets/public");
    cr_assert_eq(count(text(json, "value"), "PRIVATE KEY"), 0, "the key stays");
    cr_assert_eq(count(text(json, "value"), "-----BEGIN CERTIFICATE-----"), 1);
    json_decref(json);
    json = get("/secrets");
    const json_t *item = json_array_get(json_object_get(json, "value"), 0);
    cr_assert(json_is_true(json_object_get(item, "managed")));
    cr_assert_null(json_object_get(item, "value"));
    cr_assert_null(json_object_get(item, "kid"), "lists have none");
    json_decref(json);
}

/* Whether a value is a PKCS#12 file with an empty password, and has a key in it. */
static bool pfx_has_key(const char *value)
{
    struct kv_buf der;
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    kv_buf_init(&der, 65536);
    cr_assert_eq(kv_b64_decode(KV_B64_STD, value, strlen(value), &der), 0);
    const uint8_t *at = der.data;
    PKCS12 *pfx = d2i_PKCS12(NULL, &at, (long)der.len);
    cr_assert_not_null(pfx);
    cr_assert_eq(PKCS12_parse(pfx, "", &key, &cert, NULL), 1);
    bool has_key = key != NULL;
    PKCS12_free(pfx);
    X509_free(cert);
    EVP_PKEY_free(key);
    kv_buf_free(&der);
    return has_key;
}

Test(api_secrets, a_certificates_secret_as_pfx_or_turned_into_pem)
{
    import("pfx", PFX_TYPE, true);
    json_t *json = get("/secrets/pfx");
    cr_assert_str_eq(text(json, "contentType"), PFX_TYPE);
    cr_assert(pfx_has_key(text(json, "value")));
    json_decref(json);
    json = get("/secrets/pfx?outContentType=" PFX_TYPE);
    cr_assert(pfx_has_key(text(json, "value")));
    json_decref(json);
    json = get("/secrets/pfx?outContentType=application%2Fx-pem-file");
    cr_assert_str_eq(text(json, "contentType"), PEM_TYPE);
    cr_assert_eq(count(text(json, "value"), "-----BEGIN PRIVATE KEY-----"), 1);
    json_decref(json);
    import("public", PFX_TYPE, false);
    json = get("/secrets/public");
    cr_assert_str_eq(text(json, "contentType"), PFX_TYPE);
    cr_assert_not(pfx_has_key(text(json, "value")));
    json_decref(json);
}

Test(api_secrets, another_type_than_those_is_refused)
{
    static const char *const types[] = {"", "text/plain", "APPLICATION/X-PEM-FILE",
                                        "application/x-pem-file%20"};
    import("pfx", PFX_TYPE, true);
    import("pem", PEM_TYPE, true);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        char path[128];
        json_t *json = NULL;
        (void)snprintf(path, sizeof(path), "/secrets/pfx?outContentType=%s", types[i]);
        cr_assert_eq(desk_call(&desk, "GET", path, NULL, &json), 400, "%s", types[i]);
        cr_assert_str_eq(desk_error(json, "code"), "BadParameter");
        json_decref(json);
    }
    cr_assert_eq(
        desk_call(&desk, "GET", "/secrets/pem?outContentType=" PFX_TYPE, NULL, NULL),
        400, "PEM is not turned into PKCS#12");
}

Test(api_secrets, what_a_certificate_owns_is_not_written_to)
{
    static const struct {
        const char *method;
        const char *path;
        const char *body;
    } writes[] = {
        {"PUT", "/secrets/c", "{\"value\":\"v\"}"},
        {"PUT", "/secrets/C", "{\"value\":\"v\"}"},
        {"POST", "/keys/c/create", "{\"kty\":\"EC\"}"},
    };
    import("c", PEM_TYPE, true);
    for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
        json_t *json = NULL;
        cr_assert_eq(
            desk_call(&desk, writes[i].method, writes[i].path, writes[i].body, &json),
            403, "%s", writes[i].path);
        cr_assert_str_eq(desk_error(json, "code"), "Forbidden");
        cr_assert_str_eq(desk_error(json, "id"), "api.managed");
        json_decref(json);
    }
}

/* Mark the head of a name as deleted, as a delete does. */
static void mark_deleted(uint8_t kind, const char *name)
{
    struct kv_row row;
    struct kv_buf sealed;
    struct kv_row_key key = {.kind = kind};
    memcpy(key.vault, desk.vault->id, KV_ID_LEN);
    (void)snprintf(key.name, sizeof(key.name), "%s", name);
    kv_buf_init(&sealed, 1024);
    cr_assert_eq(desk_get(&desk, &key, false, &row, &sealed), 0);
    struct kv_mutation mutation = {.kind = KV_MUTATION_PUT, .expect = row.row_version};
    mutation.row = row;
    mutation.row.row_version++;
    mutation.row.flags |= KV_ROW_DELETED;
    desk_apply(&desk, &mutation, 1);
    kv_buf_free(&sealed);
}

Test(api_secrets, a_deleted_name_is_neither_there_nor_free)
{
    json_t *json = NULL;
    cr_assert_eq(desk_call(&desk, "PUT", "/secrets/s", "{\"value\":\"v\"}", NULL), 200);
    cr_assert_eq(desk_call(&desk, "POST", "/keys/k/create", "{\"kty\":\"EC\"}", NULL),
                 200);
    mark_deleted(KV_KIND_SECRET, "s");
    mark_deleted(KV_KIND_KEY, "k");
    cr_assert_eq(desk_call(&desk, "GET", "/secrets/s", NULL, NULL), 404);
    cr_assert_eq(desk_call(&desk, "GET", "/keys/k", NULL, NULL), 404);
    json = get("/secrets");
    cr_assert_eq(json_array_size(json_object_get(json, "value")), 0);
    json_decref(json);
    static const char *const writes[][3] = {
        {"PUT", "/secrets/S", "{\"value\":\"v\"}"},
        {"POST", "/keys/k/create", "{\"kty\":\"EC\"}"},
    };
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(desk_call(&desk, writes[i][0], writes[i][1], writes[i][2], &json),
                     409, "%s", writes[i][1]);
        cr_assert_str_eq(desk_error(json, "code"), "Conflict");
        cr_assert_str_eq(desk_error(json, "id"), "api.deleted");
        const json_t *inner =
            json_object_get(json_object_get(json, "error"), "innererror");
        cr_assert_str_eq(text(inner, "code"), "ObjectIsDeletedButRecoverable");
        json_decref(json);
    }
}
