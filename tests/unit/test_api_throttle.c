/* Quotas of calls: 429 says how long to wait, and nothing was done. */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/auth/quota.h"
#include "tests/support/desk.h"

static struct desk desk;

static void setup(void)
{
    const struct kv_quota_limits limits = {.per_10s = {2, 3, 4, 30}};
    desk_init(&desk);
    cr_assert_eq(kv_quota_new(&desk.service.quota, &limits, KV_QUOTA_BUCKETS_MAX,
                              desk.service.clock, 1),
                 0);
}

static void teardown(void)
{
    kv_quota_free(desk.service.quota);
    desk_fini(&desk);
}

TestSuite(api_throttle, .timeout = 60, .init = setup, .fini = teardown);

static void set(int status)
{
    json_decref(desk_must(&desk, status, "PUT", "/secrets/a", "{\"value\":\"x\"}"));
}

Test(api_throttle, the_reply_says_how_long_to_wait)
{
    struct desk_reply reply;
    for (int i = 0; i < 4; i++)
        set(200);
    int client = desk_connect(&desk);
    desk_send(&desk, client, "PUT", "/secrets/a", "{\"value\":\"x\"}");
    cr_assert_eq(desk_read(&desk, client, &reply), 429);
    (void)close(client);
    cr_expect_not_null(strstr(reply.head, "Retry-After: 3\r\n"), "%s", reply.head);
    cr_expect_not_null(strstr(reply.head, "x-ms-retry-after-ms: 2500\r\n"), "%s",
                       reply.head);
    cr_expect_str_eq(desk_error(reply.json, "code"), "Throttled");
    cr_expect_str_eq(desk_error(reply.json, "id"), "quota.exceeded");
    desk_reply_free(&reply);
    desk.room.clock.monotonic_ms += 2500;
    set(200);
    set(429);
}

Test(api_throttle, classes_do_not_slow_each_other)
{
    for (int i = 0; i < 4; i++)
        set(200);
    set(429);
    json_decref(desk_must(&desk, 200, "POST", "/keys/k/create", "{\"kty\":\"EC\"}"));
    json_decref(desk_must(&desk, 200, "POST", "/keys/k/create", "{\"kty\":\"EC\"}"));
    desk_fails(&desk, 429, "quota.exceeded", "POST", "/keys/k/create",
               "{\"kty\":\"EC\"}");
    for (int i = 0; i < 20; i++)
        json_decref(desk_must(&desk, 200, "GET", "/secrets/a", NULL));
}

Test(api_throttle, uses_of_keys_count)
{
    static const char body[] =
        "{\"alg\":\"ES256\",\"value\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}";
    json_decref(desk_must(&desk, 200, "POST", "/keys/k/create", "{\"kty\":\"EC\"}"));
    for (int i = 0; i < 3; i++)
        json_decref(desk_must(&desk, 200, "POST", "/keys/k//sign", body));
    desk_fails(&desk, 429, "quota.exceeded", "POST", "/keys/k//sign", body);
}

Test(api_throttle, a_larger_rsa_key_weighs_more)
{
    static const char body[] =
        "{\"alg\":\"RS256\",\"value\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}";
    json_decref(desk_must(&desk, 200, "POST", "/keys/r/create",
                          "{\"kty\":\"RSA\",\"key_size\":3072}"));
    /* One at the door, three more when the key is known: there are three in all. */
    desk_fails(&desk, 429, "quota.exceeded", "POST", "/keys/r//sign", body);
}

Test(api_throttle, health_is_not_limited)
{
    for (int i = 0; i < 4; i++)
        set(200);
    set(429);
    for (int i = 0; i < 20; i++)
        json_decref(desk_must(&desk, 200, "GET", "/keyvault/v1/status", NULL));
}

Test(api_throttle, refused_calls_are_charged)
{
    desk.service.admin_uid = geteuid() + 1;
    for (int i = 0; i < 4; i++)
        desk_fails(&desk, 403, "api.forbidden", "PUT", "/secrets/a",
                   "{\"value\":\"x\"}");
    set(429);
}

Test(api_throttle, calls_of_no_route_are_charged)
{
    const struct kv_quota_limits limits = {.per_10s = {0, 0, 0, 3}};
    kv_quota_free(desk.service.quota);
    cr_assert_eq(kv_quota_new(&desk.service.quota, &limits, KV_QUOTA_BUCKETS_MAX,
                              desk.service.clock, 1),
                 0);
    for (int i = 0; i < 3; i++)
        desk_fails(&desk, 404, "api.no-route", "GET", "/nothing/here", NULL);
    desk_fails(&desk, 429, "quota.exceeded", "GET", "/nothing/here", NULL);
}

Test(api_throttle, backups_are_not_limited)
{
    for (int i = 0; i < 40; i++) {
        json_t *json = NULL;
        cr_expect_neq(desk_call(&desk, "GET", "/keyvault/v1/backups", NULL, &json),
                      429);
        json_decref(json);
    }
}
