/*
 * Changing what is said of objects: keys, secrets, certificates with what belongs to
 * them, policies, and operations that end before their time.
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

TestSuite(api_update, .timeout = 60, .init = setup, .fini = teardown);

Test(api_update, a_secret_keeps_its_value)
{
    json_decref(
        desk_must(&desk, 200, "PUT", "/secrets/s",
                  "{\"value\":\"v\",\"contentType\":\"a\",\"tags\":{\"x\":\"1\"}}"));
    json_t *updated =
        desk_must(&desk, 200, "PATCH", "/secrets/s/",
                  "{\"contentType\":\"b\",\"attributes\":{\"exp\":4000000000}}");
    cr_expect_null(json_object_get(updated, "value"));
    cr_expect_str_eq(desk_text(updated, "contentType"), "b");
    cr_expect_str_eq(desk_text(updated, "tags.x"), "1", "what is not named stays");
    cr_expect_eq(json_integer_value(desk_at(updated, "attributes.exp")), 4000000000);
    json_t *got = desk_must(&desk, 200, "GET", "/secrets/s", NULL);
    cr_expect_str_eq(desk_text(got, "value"), "v");
    cr_expect_str_eq(desk_text(got, "id"), desk_text(updated, "id"));
    json_decref(desk_must(&desk, 200, "PATCH", "/secrets/s",
                          "{\"tags\":{},\"attributes\":{\"enabled\":false}}"));
    desk_fails(&desk, 403, "api.secret-disabled", "GET", "/secrets/s", NULL);
    json_t *again = desk_must(&desk, 200, "PATCH", "/secrets/s",
                              "{\"attributes\":{\"enabled\":true}}");
    cr_expect_eq(json_object_size(desk_at(again, "tags")), 0);
    desk_fails(&desk, 400, "api.bad-field", "PATCH", "/secrets/s",
               "{\"attributes\":{\"nbf\":4000000001}}");
    desk_fails(&desk, 400, "api.bad-field", "PATCH", "/secrets/s",
               "{\"contentType\":1}");
    desk_fails(&desk, 404, "object.not-found", "PATCH", "/secrets/none", "{}");
    json_decref(updated);
    json_decref(got);
    json_decref(again);
}

Test(api_update, a_key_changes_its_operations_and_dates_and_signs_with_the_same_key)
{
    const char sign[] = "{\"alg\":\"ES256\",\"value\":"
                        "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}";
    json_t *made = desk_must(&desk, 200, "POST", "/keys/k/create",
                             "{\"kty\":\"EC\",\"tags\":{\"x\":\"1\"}}");
    json_t *updated =
        desk_must(&desk, 200, "PATCH", "/keys/k/", "{\"key_ops\":[\"verify\"]}");
    cr_expect_eq(json_array_size(desk_at(updated, "key.key_ops")), 1);
    cr_expect_str_eq(desk_text(updated, "key.x"), desk_text(made, "key.x"));
    cr_expect_str_eq(desk_text(updated, "tags.x"), "1");
    desk_fails(&desk, 403, "key.op-not-permitted", "POST", "/keys/k//sign", sign);
    uint64_t epoch = desk.vault->epoch;
    json_decref(
        desk_must(&desk, 200, "PATCH", "/keys/k",
                  "{\"key_ops\":[\"sign\",\"verify\"],\"tags\":{\"y\":\"2\"}}"));
    cr_expect_gt(desk.vault->epoch, epoch, "grants are asked for again");
    json_decref(desk_must(&desk, 200, "POST", "/keys/k//sign", sign));
    json_decref(desk_must(&desk, 200, "PATCH", "/keys/k",
                          "{\"attributes\":{\"enabled\":false}}"));
    desk_fails(&desk, 403, "key.disabled", "POST", "/keys/k//sign", sign);
    json_t *got = desk_must(&desk, 200, "GET", "/keys/k", NULL);
    cr_expect(json_is_false(desk_at(got, "attributes.enabled")));
    cr_expect_str_eq(desk_text(got, "tags.y"), "2");
    cr_expect_null(desk_at(got, "tags.x"));
    desk_fails(&desk, 400, "api.bad-key-ops", "PATCH", "/keys/k",
               "{\"key_ops\":[\"encrypt\"]}");
    desk_fails(&desk, 400, "api.not-offered", "PATCH", "/keys/k",
               "{\"release_policy\":{}}");
    json_decref(made);
    json_decref(updated);
    json_decref(got);
}

Test(api_update, a_certificate_changes_with_its_key_and_secret)
{
    static const char *const own[] = {"/certificates/web", "/keys/web", "/secrets/web"};
    desk_import(&desk, "web");
    desk_fails(&desk, 403, "api.managed", "PATCH", "/keys/web", "{}");
    desk_fails(&desk, 403, "api.managed", "PATCH", "/secrets/web", "{}");
    json_t *before = desk_must(&desk, 200, "GET", "/certificates/web", NULL);
    json_t *updated = desk_must(&desk, 200, "PATCH", "/certificates/web",
                                "{\"tags\":{\"team\":\"web\"},"
                                "\"policy\":{\"key_props\":{\"exportable\":false}}}");
    cr_expect_str_eq(desk_text(updated, "cer"), desk_text(before, "cer"));
    cr_expect(json_is_false(desk_at(updated, "policy.key_props.exportable")));
    cr_expect_str_eq(desk_text(updated, "policy.key_props.kty"), "EC");
    for (size_t i = 0; i < 3; i++) {
        json_t *got = desk_must(&desk, 200, "GET", own[i], NULL);
        cr_expect_str_eq(desk_text(got, "tags.team"), "web", "%s", own[i]);
        cr_expect(json_is_true(desk_at(got, "attributes.enabled")));
        json_decref(got);
    }
    json_decref(desk_must(&desk, 200, "PATCH", "/certificates/web/",
                          "{\"attributes\":{\"enabled\":false}}"));
    desk_fails(&desk, 403, "api.secret-disabled", "GET", "/secrets/web", NULL);
    json_t *key = desk_must(&desk, 200, "GET", "/keys/web", NULL);
    cr_expect(json_is_false(desk_at(key, "attributes.enabled")));
    json_decref(desk_must(&desk, 200, "PATCH", "/certificates/web",
                          "{\"attributes\":{\"enabled\":true}}"));
    json_decref(desk_must(&desk, 200, "GET", "/secrets/web", NULL));
    desk_fails(&desk, 404, "object.not-found", "PATCH", "/certificates/none", "{}");
    desk_fails(&desk, 400, "api.bad-field", "PATCH", "/certificates/web",
               "{\"policy\":[]}");
    json_decref(before);
    json_decref(updated);
    json_decref(key);
}

Test(api_update, a_policy_takes_what_is_given_and_keeps_the_rest)
{
    desk_import(&desk, "web");
    json_t *before = desk_must(&desk, 200, "GET", "/certificates/web/policy", NULL);
    json_t *after =
        desk_must(&desk, 200, "PATCH", "/certificates/web/policy",
                  "{\"x509_props\":{\"subject\":\"CN=other\",\"validity_months\":3},"
                  "\"secret_props\":null}");
    cr_expect_str_eq(desk_text(after, "x509_props.subject"), "CN=other");
    cr_expect_eq(json_integer_value(desk_at(after, "x509_props.validity_months")), 3);
    cr_expect(json_equal(desk_at(after, "key_props"), desk_at(before, "key_props")));
    cr_expect(
        json_equal(desk_at(after, "secret_props"), desk_at(before, "secret_props")));
    desk_fails(&desk, 400, "policy.bad-field", "PATCH", "/certificates/web/policy",
               "{\"x509_props\":{\"validity_months\":-1}}");
    json_t *again = desk_must(&desk, 200, "GET", "/certificates/web/policy", NULL);
    cr_expect(json_equal(again, after), "a refused change changes nothing");
    desk_fails(&desk, 404, "object.not-found", "PATCH", "/certificates/none/policy",
               "{}");
    json_decref(before);
    json_decref(after);
    json_decref(again);
}

Test(api_update, another_type_of_key_voids_size_and_curve_of_the_old)
{
    desk_import(&desk, "web"); /* with a key on P-256 */
    json_t *rsa = desk_must(&desk, 200, "PATCH", "/certificates/web/policy",
                            "{\"key_props\":{\"kty\":\"RSA\"}}");
    cr_expect_eq(json_integer_value(desk_at(rsa, "key_props.key_size")), 2048);
    cr_expect_null(desk_at(rsa, "key_props.crv"));
    json_t *ec =
        desk_must(&desk, 200, "PATCH", "/certificates/web/policy",
                  "{\"key_props\":{\"kty\":\"EC\",\"crv\":\"P-384\"},\"x509_props\":"
                  "{\"key_usage\":[\"digitalSignature\"]}}");
    cr_expect_str_eq(desk_text(ec, "key_props.crv"), "P-384");
    json_t *kept = desk_must(&desk, 200, "PATCH", "/certificates/web/policy",
                             "{\"key_props\":{\"kty\":\"EC\",\"exportable\":true}}");
    cr_expect_str_eq(desk_text(kept, "key_props.crv"), "P-384");
    json_decref(rsa);
    json_decref(ec);
    json_decref(kept);
}

#define CREATE                                                                         \
    "{\"policy\":{\"issuer\":{\"name\":\"Self\"},\"x509_props\":{\"subject\":\"CN="    \
    "c\"}}}"

Test(api_update, an_operation_is_cancelled_once)
{
    json_t *created = desk_must(&desk, 202, "POST", "/certificates/c/create", CREATE);
    cr_expect(json_is_false(desk_at(created, "cancellation_requested")));
    desk_fails(&desk, 400, "api.bad-field", "PATCH", "/certificates/c/pending", "{}");
    desk_fails(&desk, 409, "cert.in-progress", "PATCH", "/certificates/c",
               "{\"attributes\":{\"enabled\":true}}");
    desk_fails(&desk, 404, "cert.no-operation", "PATCH",
               "/certificates/c/pending?request_id=00000000000000000000000000000000",
               "{\"cancellation_requested\":true}");
    json_t *cancelled = desk_must(&desk, 200, "PATCH", "/certificates/c/pending",
                                  "{\"cancellation_requested\":true}");
    cr_expect(json_is_true(desk_at(cancelled, "cancellation_requested")));
    cr_expect_str_eq(desk_text(cancelled, "status"), "cancelled");
    desk_fails(&desk, 400, "cert.not-in-progress", "PATCH", "/certificates/c/pending",
               "{\"cancellation_requested\":true}");
    json_decref(desk_must(&desk, 200, "GET", "/certificates/c", NULL));
    json_decref(desk_must(&desk, 202, "POST", "/certificates/c/create", CREATE));
    json_decref(created);
    json_decref(cancelled);
}

Test(api_update, an_operation_is_deleted_once)
{
    desk_fails(&desk, 404, "cert.no-operation", "DELETE", "/certificates/c/pending",
               NULL);
    json_t *created = desk_must(&desk, 202, "POST", "/certificates/c/create", CREATE);
    json_t *dropped = desk_must(&desk, 200, "DELETE", "/certificates/c/pending", NULL);
    cr_expect_str_eq(desk_text(dropped, "request_id"),
                     desk_text(created, "request_id"));
    desk_fails(&desk, 404, "cert.no-operation", "DELETE", "/certificates/c/pending",
               NULL);
    desk_fails(&desk, 404, "cert.no-operation", "GET", "/certificates/c/pending", NULL);
    json_decref(desk_must(&desk, 200, "GET", "/certificates/c", NULL));
    json_decref(created);
    json_decref(dropped);
}

Test(api_update, what_a_disabled_key_refuses_does_not_hang_on_the_signature)
{
    const char short_one[] = "{\"alg\":\"ES256\",\"digest\":"
                             "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
                             "\"value\":\"AAAA\"}";
    json_decref(desk_must(&desk, 200, "POST", "/keys/k/create", "{\"kty\":\"EC\"}"));
    json_t *json = desk_must(&desk, 200, "POST", "/keys/k//verify", short_one);
    cr_expect(json_is_false(json_object_get(json, "value")));
    json_decref(json);
    json_decref(desk_must(&desk, 200, "PATCH", "/keys/k",
                          "{\"attributes\":{\"enabled\":false}}"));
    desk_fails(&desk, 403, "key.disabled", "POST", "/keys/k//verify", short_one);
}
