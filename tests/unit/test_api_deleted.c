/*
 * Soft delete over the REST API: what a deleted name still answers, what leaves and
 * returns with a certificate, and purging, by hand and when the time has come.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/service/name.h"
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

TestSuite(api_deleted, .timeout = 60, .init = setup, .fini = teardown);

static const char *text(const json_t *json, const char *field)
{
    const char *value = json_string_value(json_object_get(json, field));
    return value != NULL ? value : "";
}

static bool ends_with(const char *value, const char *end)
{
    size_t len = strlen(value);
    return len >= strlen(end) && strcmp(value + len - strlen(end), end) == 0;
}

static size_t count(const char *path)
{
    json_t *json = desk_must(&desk, 200, "GET", path, NULL);
    size_t n = json_array_size(json_object_get(json, "value"));
    json_decref(json);
    return n;
}

static void expect_dates(const json_t *json, const char *recovery_id)
{
    json_int_t deleted = json_integer_value(json_object_get(json, "deletedDate"));
    json_int_t purge = json_integer_value(json_object_get(json, "scheduledPurgeDate"));
    cr_expect_eq(deleted, kv_now_s(desk.service.clock));
    cr_expect_eq(purge - deleted, 90 * 86400);
    cr_expect(ends_with(text(json, "recoveryId"), recovery_id), "%s",
              text(json, "recoveryId"));
}

Test(api_deleted, a_secret_goes_with_its_versions_and_comes_back_with_them)
{
    for (int i = 0; i < 3; i++)
        json_decref(desk_must(
            &desk, 200, "PUT", "/secrets/Pass",
            "{\"value\":\"v\",\"contentType\":\"t\",\"tags\":{\"a\":\"b\"}}"));
    json_t *before = desk_must(&desk, 200, "GET", "/secrets/pass", NULL);
    char version[128];
    (void)snprintf(version, sizeof(version), "/secrets/pass/%s",
                   strrchr(text(before, "id"), '/') + 1);
    json_t *deleted = desk_must(&desk, 200, "DELETE", "/secrets/PASS", NULL);
    expect_dates(deleted, "/deletedsecrets/Pass");
    cr_expect_null(json_object_get(deleted, "value"), "never the value");
    cr_expect_str_eq(text(deleted, "id"), text(before, "id"));

    desk_fails(&desk, 404, "object.not-found", "GET", "/secrets/pass", NULL);
    desk_fails(&desk, 404, "object.not-found", "GET", version, NULL);
    desk_fails(&desk, 404, "object.not-found", "DELETE", "/secrets/pass", NULL);
    desk_fails(&desk, 409, "api.deleted", "PUT", "/secrets/pass", "{\"value\":\"w\"}");
    cr_expect_eq(count("/secrets"), 0);
    cr_expect_eq(count("/secrets/pass/versions"), 0);

    json_t *got = desk_must(&desk, 200, "GET", "/deletedsecrets/pass", NULL);
    cr_expect(json_equal(got, deleted));
    json_t *listed = desk_must(&desk, 200, "GET", "/deletedsecrets", NULL);
    const json_t *item = json_array_get(json_object_get(listed, "value"), 0);
    expect_dates(item, "/deletedsecrets/Pass");
    cr_expect(ends_with(text(item, "id"), "/secrets/Pass"), "%s", text(item, "id"));
    cr_expect_str_eq(text(item, "contentType"), "t");
    cr_expect_str_eq(text(json_object_get(item, "tags"), "a"), "b");

    json_t *recovered =
        desk_must(&desk, 200, "POST", "/deletedsecrets/pass/recover", "{}");
    cr_expect_str_eq(text(recovered, "id"), text(before, "id"));
    json_t *after = desk_must(&desk, 200, "GET", "/secrets/pass", NULL);
    cr_expect(json_equal(after, before));
    cr_expect_eq(count("/secrets/pass/versions"), 3);
    cr_expect_eq(count("/deletedsecrets"), 0);
    desk_fails(&desk, 404, "object.not-deleted", "GET", "/deletedsecrets/pass", NULL);
    desk_fails(&desk, 404, "object.not-deleted", "POST", "/deletedsecrets/pass/recover",
               NULL);
    desk_fails(&desk, 404, "object.not-deleted", "DELETE", "/deletedsecrets/pass",
               NULL);
    json_decref(before);
    json_decref(deleted);
    json_decref(got);
    json_decref(listed);
    json_decref(recovered);
    json_decref(after);
}

Test(api_deleted, a_key_is_of_no_use_and_a_purged_one_is_gone)
{
    const char sign[] = "{\"alg\":\"ES256\",\"value\":"
                        "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}";
    json_decref(desk_must(&desk, 200, "POST", "/keys/k/create", "{\"kty\":\"EC\"}"));
    json_decref(desk_must(&desk, 200, "POST", "/keys/k/create", "{\"kty\":\"EC\"}"));
    json_decref(desk_must(&desk, 200, "POST", "/keys/k//sign", sign));
    uint64_t epoch = desk.vault->epoch;
    json_t *deleted = desk_must(&desk, 200, "DELETE", "/keys/k", NULL);
    cr_expect_gt(desk.vault->epoch, epoch, "no grant outlives it");
    expect_dates(deleted, "/deletedkeys/k");
    cr_expect_not_null(json_object_get(deleted, "key"));
    json_decref(deleted);
    desk_fails(&desk, 404, "object.not-found", "POST", "/keys/k//sign", sign);
    desk_fails(&desk, 409, "api.deleted", "POST", "/keys/k/create", "{\"kty\":\"EC\"}");
    cr_expect_eq(count("/deletedkeys"), 1);
    cr_expect_null(desk_must(&desk, 204, "DELETE", "/deletedkeys/k", NULL));
    cr_expect_eq(count("/deletedkeys"), 0);
    json_decref(desk_must(&desk, 200, "POST", "/keys/k/create", "{\"kty\":\"EC\"}"));
    cr_expect_eq(count("/keys/k/versions"), 1, "the old versions are gone");
}

Test(api_deleted, a_certificate_takes_key_and_secret_along)
{
    static const char *const own[] = {"/keys/web", "/secrets/web", "/certificates/web"};
    desk_import(&desk, "web");
    desk_fails(&desk, 403, "api.managed", "DELETE", "/keys/web", NULL);
    desk_fails(&desk, 403, "api.managed", "DELETE", "/secrets/web", NULL);
    json_t *before = desk_must(&desk, 200, "GET", "/certificates/web", NULL);
    json_t *deleted = desk_must(&desk, 200, "DELETE", "/certificates/web", NULL);
    expect_dates(deleted, "/deletedcertificates/web");
    cr_expect_str_eq(text(deleted, "sid"), text(before, "sid"));
    for (size_t i = 0; i < 3; i++)
        desk_fails(&desk, 404, "object.not-found", "GET", own[i], NULL);
    cr_expect_eq(count("/certificates"), 0);
    cr_expect_eq(count("/keys"), 0);
    cr_expect_eq(count("/deletedkeys"), 1);
    cr_expect_eq(count("/deletedcertificates"), 1);
    desk_fails(&desk, 403, "api.managed", "POST", "/deletedkeys/web/recover", NULL);
    desk_fails(&desk, 403, "api.managed", "DELETE", "/deletedsecrets/web", NULL);
    desk_fails(&desk, 409, "api.deleted", "PUT", "/secrets/web", "{\"value\":\"w\"}");
    desk_fails(&desk, 404, "object.not-found", "GET", "/certificates/web/policy", NULL);
    desk_fails(&desk, 404, "cert.no-operation", "GET", "/certificates/web/pending",
               NULL);

    json_decref(
        desk_must(&desk, 200, "POST", "/deletedcertificates/web/recover", NULL));
    json_t *after = desk_must(&desk, 200, "GET", "/certificates/web", NULL);
    cr_expect(json_equal(after, before));
    for (size_t i = 0; i < 3; i++)
        json_decref(desk_must(&desk, 200, "GET", own[i], NULL));

    json_decref(desk_must(&desk, 200, "DELETE", "/certificates/web", NULL));
    cr_expect_null(desk_must(&desk, 204, "DELETE", "/deletedcertificates/web", NULL));
    cr_expect_eq(count("/deletedkeys"), 0);
    cr_expect_eq(count("/deletedsecrets"), 0);
    desk_import(&desk, "web");
    json_decref(before);
    json_decref(deleted);
    json_decref(after);
}

Test(api_deleted, a_key_of_the_same_name_stays_when_a_pending_certificate_goes)
{
    json_decref(desk_must(&desk, 202, "POST", "/certificates/c/create",
                          "{\"policy\":{\"issuer\":{\"name\":\"Self\"},"
                          "\"x509_props\":{\"subject\":\"CN=c\"}}}"));
    json_decref(desk_must(&desk, 200, "POST", "/keys/c/create", "{\"kty\":\"EC\"}"));
    json_decref(desk_must(&desk, 200, "DELETE", "/certificates/c", NULL));
    json_decref(desk_must(&desk, 200, "GET", "/keys/c", NULL));
    json_t *gone = desk_must(&desk, 200, "GET", "/deletedcertificates/c", NULL);
    cr_expect(ends_with(text(json_object_get(gone, "pending"), "id"), "/c/pending"));
    json_decref(gone);
    json_decref(desk_must(&desk, 200, "POST", "/deletedcertificates/c/recover", NULL));
    json_t *operation = desk_must(&desk, 200, "GET", "/certificates/c/pending", NULL);
    cr_expect_str_eq(text(operation, "status"), "cancelled");
    json_decref(operation);
}

Test(api_deleted, lists_go_on_page_by_page)
{
    char path[64];
    for (int i = 0; i < 5; i++) {
        (void)snprintf(path, sizeof(path), "/secrets/s%d", i);
        json_decref(desk_must(&desk, 200, "PUT", path, "{\"value\":\"v\"}"));
        if (i != 2)
            json_decref(desk_must(&desk, 200, "DELETE", path, NULL));
    }
    json_t *page = desk_must(&desk, 200, "GET", "/deletedsecrets?maxresults=3", NULL);
    cr_assert_eq(json_array_size(json_object_get(page, "value")), 3);
    const char *next = text(page, "nextLink");
    cr_assert_not_null(strstr(next, "/deletedsecrets?"), "%s", next);
    char rest[512];
    (void)snprintf(rest, sizeof(rest), "%s", strstr(next, "/deletedsecrets?"));
    json_decref(page);
    page = desk_must(&desk, 200, "GET", rest, NULL);
    cr_assert_eq(json_array_size(json_object_get(page, "value")), 1);
    cr_expect(json_is_null(json_object_get(page, "nextLink")));
    json_decref(page);
}

static unsigned n_purged;
static int purge_rc;

static void on_purged(void *arg, int rc, const struct kv_err *err)
{
    (void)arg;
    (void)err;
    purge_rc = rc;
    n_purged++;
}

static void purge_due(uint8_t kind, const char *name)
{
    struct kv_row_key key = {.kind = kind};
    (void)snprintf(key.name, sizeof(key.name), "%s", name);
    unsigned before = n_purged;
    cr_assert_eq(kv_name_purge_due(&desk.service, desk.vault, &key, on_purged, NULL),
                 0);
    desk_wait(&desk, &n_purged, before + 1);
    cr_assert_eq(purge_rc, 0);
}

Test(api_deleted, purge_protection_leaves_it_to_the_time)
{
    desk.vault->is_purge_protected = true;
    desk.vault->retention_days = 7;
    json_decref(desk_must(&desk, 200, "PUT", "/secrets/s", "{\"value\":\"v\"}"));
    desk_fails(&desk, 404, "object.not-deleted", "DELETE", "/deletedsecrets/s", NULL);
    json_t *deleted = desk_must(&desk, 200, "DELETE", "/secrets/s", NULL);
    json_int_t deleted_s = json_integer_value(json_object_get(deleted, "deletedDate"));
    cr_expect_eq(json_integer_value(json_object_get(deleted, "scheduledPurgeDate")),
                 deleted_s + 7 * 86400);
    json_decref(deleted);
    desk_fails(&desk, 403, "vault.purge-protected", "DELETE", "/deletedsecrets/s",
               NULL);
    cr_expect_eq(count("/deletedsecrets"), 1);
    kv_clock_manual_advance(&desk.room.clock, 7 * 86400 - 1);
    purge_due(KV_KIND_SECRET, "s");
    cr_expect_eq(count("/deletedsecrets"), 1, "not yet");
    kv_clock_manual_advance(&desk.room.clock, 1);
    purge_due(KV_KIND_SECRET, "s");
    cr_expect_eq(count("/deletedsecrets"), 0);
}

Test(api_deleted, the_time_purges_what_is_deleted_long_enough)
{
    desk_import(&desk, "web");
    json_decref(desk_must(&desk, 200, "PUT", "/secrets/live", "{\"value\":\"v\"}"));
    json_decref(desk_must(&desk, 200, "DELETE", "/certificates/web", NULL));
    purge_due(KV_KIND_CERTIFICATE, "web");
    purge_due(KV_KIND_SECRET, "live");
    cr_expect_eq(count("/deletedcertificates"), 1, "not yet");
    kv_clock_manual_advance(&desk.room.clock, 90 * 86400 - 1);
    purge_due(KV_KIND_CERTIFICATE, "web");
    cr_expect_eq(count("/deletedcertificates"), 1, "not yet");
    kv_clock_manual_advance(&desk.room.clock, 1);
    purge_due(KV_KIND_KEY, "web");
    cr_expect_eq(count("/deletedkeys"), 1, "its key goes with the certificate");
    purge_due(KV_KIND_CERTIFICATE, "web");
    cr_expect_eq(count("/deletedcertificates"), 0);
    cr_expect_eq(count("/deletedkeys"), 0);
    purge_due(KV_KIND_CERTIFICATE, "web");
    purge_due(KV_KIND_SECRET, "live");
    json_decref(desk_must(&desk, 200, "GET", "/secrets/live", NULL));
}
