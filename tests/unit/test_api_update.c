/*
 * Changing what is said of objects: keys, secrets, certificates with what belongs to
 * them, policies, and operations that end before their time.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

TestSuite(api_update, .timeout = 60, .init = setup, .fini = teardown);

static json_t *call(int status, const char *method, const char *path, const char *body)
{
    json_t *json = NULL;
    cr_assert_eq(desk_call(&desk, method, path, body, &json), status, "%s %s: %s %s",
                 method, path, desk_error(json, "id"), desk_error(json, "message"));
    return json;
}

static void drop(json_t *json)
{
    json_decref(json);
}

static void fails(int status, const char *id, const char *method, const char *path,
                  const char *body)
{
    json_t *json = call(status, method, path, body);
    cr_expect_str_eq(desk_error(json, "id"), id, "%s %s %s", method, path, body);
    json_decref(json);
}

/* A member by its path: "attributes.enabled". Borrowed. */
static const json_t *at(const json_t *json, const char *path)
{
    char part[64];
    size_t len = strcspn(path, ".");
    (void)snprintf(part, sizeof(part), "%.*s", (int)len, path);
    const json_t *value = json_object_get(json, part);
    return path[len] == '\0' ? value : at(value, path + len + 1);
}

static const char *text(const json_t *json, const char *path)
{
    const char *value = json_string_value(at(json, path));
    return value != NULL ? value : "";
}

Test(api_update, a_secret_keeps_its_value)
{
    drop(call(200, "PUT", "/secrets/s",
              "{\"value\":\"v\",\"contentType\":\"a\",\"tags\":{\"x\":\"1\"}}"));
    json_t *updated =
        call(200, "PATCH", "/secrets/s/",
             "{\"contentType\":\"b\",\"attributes\":{\"exp\":4000000000}}");
    cr_expect_null(json_object_get(updated, "value"));
    cr_expect_str_eq(text(updated, "contentType"), "b");
    cr_expect_str_eq(text(updated, "tags.x"), "1", "what is not named stays");
    cr_expect_eq(json_integer_value(at(updated, "attributes.exp")), 4000000000);
    json_t *got = call(200, "GET", "/secrets/s", NULL);
    cr_expect_str_eq(text(got, "value"), "v");
    cr_expect_str_eq(text(got, "id"), text(updated, "id"));
    drop(call(200, "PATCH", "/secrets/s",
              "{\"tags\":{},\"attributes\":{\"enabled\":false}}"));
    fails(403, "api.secret-disabled", "GET", "/secrets/s", NULL);
    json_t *again =
        call(200, "PATCH", "/secrets/s", "{\"attributes\":{\"enabled\":true}}");
    cr_expect_eq(json_object_size(at(again, "tags")), 0);
    fails(400, "api.bad-field", "PATCH", "/secrets/s",
          "{\"attributes\":{\"nbf\":4000000001}}");
    fails(400, "api.bad-field", "PATCH", "/secrets/s", "{\"contentType\":1}");
    fails(404, "object.not-found", "PATCH", "/secrets/none", "{}");
    drop(updated);
    drop(got);
    drop(again);
}

Test(api_update, a_key_changes_its_operations_and_dates_and_signs_with_the_same_key)
{
    const char sign[] = "{\"alg\":\"ES256\",\"value\":"
                        "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}";
    json_t *made =
        call(200, "POST", "/keys/k/create", "{\"kty\":\"EC\",\"tags\":{\"x\":\"1\"}}");
    json_t *updated = call(200, "PATCH", "/keys/k/", "{\"key_ops\":[\"verify\"]}");
    cr_expect_eq(json_array_size(at(updated, "key.key_ops")), 1);
    cr_expect_str_eq(text(updated, "key.x"), text(made, "key.x"));
    cr_expect_str_eq(text(updated, "tags.x"), "1");
    fails(403, "key.op-not-permitted", "POST", "/keys/k//sign", sign);
    uint64_t epoch = desk.vault->epoch;
    drop(call(200, "PATCH", "/keys/k",
              "{\"key_ops\":[\"sign\",\"verify\"],\"tags\":{\"y\":\"2\"}}"));
    cr_expect_gt(desk.vault->epoch, epoch, "grants are asked for again");
    drop(call(200, "POST", "/keys/k//sign", sign));
    drop(call(200, "PATCH", "/keys/k", "{\"attributes\":{\"enabled\":false}}"));
    fails(403, "key.disabled", "POST", "/keys/k//sign", sign);
    json_t *got = call(200, "GET", "/keys/k", NULL);
    cr_expect(json_is_false(at(got, "attributes.enabled")));
    cr_expect_str_eq(text(got, "tags.y"), "2");
    cr_expect_null(at(got, "tags.x"));
    fails(400, "api.bad-key-ops", "PATCH", "/keys/k", "{\"key_ops\":[\"encrypt\"]}");
    fails(400, "api.not-offered", "PATCH", "/keys/k", "{\"release_policy\":{}}");
    drop(made);
    drop(updated);
    drop(got);
}

static void import(const char *name)
{
    char path[64];
    struct kv_buf file;
    struct kv_buf key;
    fixture_read("keys/prime256v1-cert.pem", &file);
    fixture_read("keys/prime256v1.pem", &key);
    cr_assert_eq(kv_buf_append(&file, key.data, key.len), 0);
    json_t *body = json_pack("{s:s#}", "value", file.data, (int)file.len);
    char *sent = json_dumps(body, JSON_COMPACT);
    (void)snprintf(path, sizeof(path), "/certificates/%s/import", name);
    drop(call(200, "POST", path, sent));
    json_decref(body);
    free(sent);
    kv_buf_free(&key);
    kv_buf_free(&file);
}

Test(api_update, a_certificate_changes_with_its_key_and_secret)
{
    static const char *const own[] = {"/certificates/web", "/keys/web", "/secrets/web"};
    import("web");
    fails(403, "api.managed", "PATCH", "/keys/web", "{}");
    fails(403, "api.managed", "PATCH", "/secrets/web", "{}");
    json_t *before = call(200, "GET", "/certificates/web", NULL);
    json_t *updated = call(200, "PATCH", "/certificates/web",
                           "{\"tags\":{\"team\":\"web\"},"
                           "\"policy\":{\"key_props\":{\"exportable\":false}}}");
    cr_expect_str_eq(text(updated, "cer"), text(before, "cer"));
    cr_expect(json_is_false(at(updated, "policy.key_props.exportable")));
    cr_expect_str_eq(text(updated, "policy.key_props.kty"), "EC");
    for (size_t i = 0; i < 3; i++) {
        json_t *got = call(200, "GET", own[i], NULL);
        cr_expect_str_eq(text(got, "tags.team"), "web", "%s", own[i]);
        cr_expect(json_is_true(at(got, "attributes.enabled")));
        drop(got);
    }
    drop(call(200, "PATCH", "/certificates/web/",
              "{\"attributes\":{\"enabled\":false}}"));
    fails(403, "api.secret-disabled", "GET", "/secrets/web", NULL);
    json_t *key = call(200, "GET", "/keys/web", NULL);
    cr_expect(json_is_false(at(key, "attributes.enabled")));
    drop(
        call(200, "PATCH", "/certificates/web", "{\"attributes\":{\"enabled\":true}}"));
    drop(call(200, "GET", "/secrets/web", NULL));
    fails(404, "object.not-found", "PATCH", "/certificates/none", "{}");
    fails(400, "api.bad-field", "PATCH", "/certificates/web", "{\"policy\":[]}");
    drop(before);
    drop(updated);
    drop(key);
}

Test(api_update, a_policy_takes_what_is_given_and_keeps_the_rest)
{
    import("web");
    json_t *before = call(200, "GET", "/certificates/web/policy", NULL);
    json_t *after =
        call(200, "PATCH", "/certificates/web/policy",
             "{\"x509_props\":{\"subject\":\"CN=other\",\"validity_months\":3},"
             "\"secret_props\":null}");
    cr_expect_str_eq(text(after, "x509_props.subject"), "CN=other");
    cr_expect_eq(json_integer_value(at(after, "x509_props.validity_months")), 3);
    cr_expect(json_equal(at(after, "key_props"), at(before, "key_props")));
    cr_expect(json_equal(at(after, "secret_props"), at(before, "secret_props")));
    fails(400, "policy.bad-field", "PATCH", "/certificates/web/policy",
          "{\"x509_props\":{\"validity_months\":-1}}");
    json_t *again = call(200, "GET", "/certificates/web/policy", NULL);
    cr_expect(json_equal(again, after), "a refused change changes nothing");
    fails(404, "object.not-found", "PATCH", "/certificates/none/policy", "{}");
    drop(before);
    drop(after);
    drop(again);
}

#define CREATE                                                                         \
    "{\"policy\":{\"issuer\":{\"name\":\"Self\"},\"x509_props\":{\"subject\":\"CN="    \
    "c\"}}}"

Test(api_update, an_operation_is_cancelled_once)
{
    json_t *created = call(202, "POST", "/certificates/c/create", CREATE);
    cr_expect(json_is_false(at(created, "cancellation_requested")));
    fails(400, "api.bad-field", "PATCH", "/certificates/c/pending", "{}");
    fails(409, "cert.in-progress", "PATCH", "/certificates/c",
          "{\"attributes\":{\"enabled\":true}}");
    fails(404, "cert.no-operation", "PATCH",
          "/certificates/c/pending?request_id=00000000000000000000000000000000",
          "{\"cancellation_requested\":true}");
    json_t *cancelled = call(200, "PATCH", "/certificates/c/pending",
                             "{\"cancellation_requested\":true}");
    cr_expect(json_is_true(at(cancelled, "cancellation_requested")));
    cr_expect_str_eq(text(cancelled, "status"), "cancelled");
    fails(400, "cert.not-in-progress", "PATCH", "/certificates/c/pending",
          "{\"cancellation_requested\":true}");
    drop(call(200, "GET", "/certificates/c", NULL));
    drop(call(202, "POST", "/certificates/c/create", CREATE));
    drop(created);
    drop(cancelled);
}

Test(api_update, an_operation_is_deleted_once)
{
    fails(404, "cert.no-operation", "DELETE", "/certificates/c/pending", NULL);
    json_t *created = call(202, "POST", "/certificates/c/create", CREATE);
    json_t *dropped = call(200, "DELETE", "/certificates/c/pending", NULL);
    cr_expect_str_eq(text(dropped, "request_id"), text(created, "request_id"));
    fails(404, "cert.no-operation", "DELETE", "/certificates/c/pending", NULL);
    fails(404, "cert.no-operation", "GET", "/certificates/c/pending", NULL);
    drop(call(200, "GET", "/certificates/c", NULL));
    drop(created);
    drop(dropped);
}
