/*
 * Rotation of keys: policies, new versions on request and by themselves.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lifecycle/certs/engine.h"
#include "lifecycle/service/rotation.h"
#include "store/core/str.h"
#include "tests/support/desk.h"

#define DAY_S INT64_C(86400)

static struct desk desk;
static struct kv_engine *engine;

static void setup(void)
{
    desk_init(&desk);
    cr_assert_eq(kv_engine_new(&engine, &desk.service), 0);
    desk.service.engine = engine;
}

static void teardown(void)
{
    kv_engine_stop(engine);
    desk_settle(&desk);
    desk.service.engine = NULL;
    desk_fini(&desk);
    kv_engine_free(engine);
}

TestSuite(api_rotation, .timeout = 60, .init = setup, .fini = teardown);

static const json_t *action(const json_t *policy, size_t i)
{
    return json_array_get(json_object_get(policy, "lifetimeActions"), i);
}

static size_t n_versions(const char *name)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/keys/%s/versions", name);
    json_t *list = desk_must(&desk, 200, "GET", path, NULL);
    size_t n = json_array_size(json_object_get(list, "value"));
    json_decref(list);
    return n;
}

/* When the engine will look at the policy again. */
static int64_t next_at_s(const char *name)
{
    struct kv_row row;
    struct kv_buf sealed;
    struct kv_row_key key = {.kind = KV_KIND_ROTATION};
    memcpy(key.vault, desk.vault->id, KV_ID_LEN);
    cr_assert_eq(kv_str_copy(key.name, sizeof(key.name), name), 0);
    kv_buf_init(&sealed, KV_STORE_SEALED_MAX);
    int rc = desk_get(&desk, &key, false, &row, &sealed);
    kv_buf_free(&sealed);
    return rc == 0 ? row.next_at_s : -1;
}

/* Let the engine do what is due, now and after days. */
static void pass(int64_t days)
{
    kv_clock_manual_advance(&desk.room.clock, days * DAY_S);
    for (int i = 0; i < 5; i++) {
        kv_engine_kick(engine);
        desk_settle(&desk);
    }
}

static void make(const char *body)
{
    json_decref(desk_must(&desk, 200, "POST", "/keys/k/create", body));
}

static void set_policy(const char *body)
{
    json_decref(desk_must(&desk, 200, "PUT", "/keys/k/rotationpolicy", body));
    pass(0);
}

#define EVERY_90_DAYS                                                                  \
    "{\"lifetimeActions\":[{\"trigger\":{\"timeAfterCreate\":\"P90D\"},"               \
    "\"action\":{\"type\":\"rotate\"}}]}"

Test(api_rotation, a_key_without_policy_has_the_default)
{
    make("{\"kty\":\"EC\"}");
    json_t *policy = desk_must(&desk, 200, "GET", "/keys/k/rotationpolicy", NULL);
    cr_expect_eq(json_array_size(json_object_get(policy, "lifetimeActions")), 1);
    cr_expect_str_eq(desk_text(action(policy, 0), "trigger.timeBeforeExpiry"), "P30D");
    cr_expect_str_eq(desk_text(action(policy, 0), "action.type"), "Notify");
    cr_expect_not_null(strstr(desk_text(policy, "id"), "/keys/k/rotationpolicy"));
    cr_expect_null(desk_at(policy, "attributes.expiryTime"));
    desk_fails(&desk, 404, "object.not-found", "GET", "/keys/none/rotationpolicy",
               NULL);
    json_decref(policy);
}

Test(api_rotation, a_policy_is_kept_and_replaced)
{
    make("{\"kty\":\"EC\"}");
    set_policy(EVERY_90_DAYS);
    json_t *policy = desk_must(
        &desk, 200, "PUT", "/keys/k/rotationpolicy",
        "{\"lifetimeActions\":[{\"trigger\":{\"timeBeforeExpiry\":\"P2M\"},"
        "\"action\":{\"type\":\"Rotate\"}},{\"trigger\":{\"timeBeforeExpiry\":\"P20D\"}"
        ","
        "\"action\":{\"type\":\"Notify\"}}],\"attributes\":{\"expiryTime\":\"P1Y\"}}");
    json_t *got = desk_must(&desk, 200, "GET", "/keys/k/rotationpolicy", NULL);
    cr_expect(json_equal(policy, got));
    cr_expect_str_eq(desk_text(action(got, 0), "trigger.timeBeforeExpiry"), "P2M");
    cr_expect_str_eq(desk_text(action(got, 0), "action.type"), "Rotate");
    cr_expect_str_eq(desk_text(action(got, 1), "trigger.timeBeforeExpiry"), "P20D");
    cr_expect_str_eq(desk_text(got, "attributes.expiryTime"), "P1Y");
    cr_expect(json_is_integer(desk_at(got, "attributes.created")));
    json_decref(policy);
    json_decref(got);
}

#define ACTION(trigger, type)                                                          \
    "{\"trigger\":{" trigger "},\"action\":{\"type\":\"" type "\"}}"
#define POLICY(actions, expiry)                                                        \
    "{\"lifetimeActions\":[" actions "],\"attributes\":{\"expiryTime\":" expiry "}}"

Test(api_rotation, policies_that_cannot_be_are_refused_and_change_nothing)
{
    static const char *const bad[] = {
        "{\"lifetimeActions\":1}",
        "{\"lifetimeActions\":[1]}",
        "{\"lifetimeActions\":[{}]}",
        "{\"lifetimeActions\":[{\"trigger\":{\"timeAfterCreate\":\"P90D\"}}]}",
        "{\"attributes\":1}",
        POLICY("", "1"),
        POLICY("", "\"P27D\""),
        POLICY("", "\"1 year\""),
        POLICY(ACTION("", "Rotate"), "null"),
        POLICY(ACTION("\"timeAfterCreate\":\"P90D\"", "Burn"), "null"),
        POLICY(ACTION("\"timeAfterCreate\":\"P6D\"", "Rotate"), "null"),
        POLICY(ACTION("\"timeAfterCreate\":\"PT90H\"", "Rotate"), "null"),
        POLICY(ACTION("\"timeBeforeExpiry\":\"P30D\"", "Rotate"), "null"),
        POLICY(ACTION("\"timeAfterCreate\":\"P25D\"", "Rotate"), "\"P28D\""),
        POLICY(ACTION("\"timeBeforeExpiry\":\"P25D\"", "Rotate"), "\"P28D\""),
        POLICY(ACTION("\"timeBeforeExpiry\":\"P5D\"", "Rotate"), "\"P28D\""),
        POLICY(ACTION("\"timeAfterCreate\":\"P9D\",\"timeBeforeExpiry\":\"P9D\"",
                      "Rotate"),
               "\"P90D\""),
        POLICY(ACTION("\"timeAfterCreate\":\"P90D\"",
                      "Rotate") "," ACTION("\"timeAfterCreate\":\"P80D\"", "Rotate"),
               "null"),
    };
    make("{\"kty\":\"EC\"}");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *json = NULL;
        cr_expect_eq(desk_call(&desk, "PUT", "/keys/k/rotationpolicy", bad[i], &json),
                     400, "%s", bad[i]);
        json_decref(json);
    }
    cr_expect_eq(next_at_s("k"), -1, "there is no policy");
}

Test(api_rotation, a_new_version_is_like_the_old_one)
{
    make("{\"kty\":\"EC\",\"crv\":\"P-384\",\"key_ops\":[\"sign\"],\"tags\":{\"x\":"
         "\"1\"}"
         ",\"attributes\":{\"enabled\":false,\"nbf\":1000}}");
    set_policy("{\"attributes\":{\"expiryTime\":\"P1Y\"}}");
    json_t *old = desk_must(&desk, 200, "GET", "/keys/k", NULL);
    json_t *new = desk_must(&desk, 200, "POST", "/keys/k/rotate", NULL);
    json_t *got = desk_must(&desk, 200, "GET", "/keys/k", NULL);
    cr_expect(json_equal(new, got), "it is the current one");
    cr_expect_str_neq(desk_text(new, "key.kid"), desk_text(old, "key.kid"));
    cr_expect_str_neq(desk_text(new, "key.x"), desk_text(old, "key.x"), "another key");
    cr_expect_str_eq(desk_text(new, "key.crv"), "P-384");
    cr_expect(json_equal(desk_at(new, "key.key_ops"), desk_at(old, "key.key_ops")));
    cr_expect_str_eq(desk_text(new, "tags.x"), "1");
    cr_expect(json_is_true(desk_at(new, "attributes.enabled")));
    cr_expect_null(desk_at(new, "attributes.nbf"));
    cr_expect_eq(json_integer_value(desk_at(new, "attributes.exp")),
                 kv_duration_from(&(struct kv_duration){.months = 12},
                                  desk.room.clock.now_s, false));
    cr_expect_eq(n_versions("k"), 2);
    desk_fails(&desk, 404, "object.not-found", "POST", "/keys/none/rotate", NULL);
    json_decref(old);
    json_decref(new);
    json_decref(got);
}

Test(api_rotation, the_key_of_a_certificate_is_renewed_with_it)
{
    desk_import(&desk, "web");
    desk_fails(&desk, 403, "api.managed", "POST", "/keys/web/rotate", NULL);
    desk_fails(&desk, 403, "api.managed", "PUT", "/keys/web/rotationpolicy",
               EVERY_90_DAYS);
}

Test(api_rotation, a_key_is_rotated_when_its_time_has_come)
{
    make("{\"kty\":\"EC\"}");
    set_policy(EVERY_90_DAYS);
    cr_expect_eq(next_at_s("k"), desk.room.clock.now_s + 90 * DAY_S);
    pass(89);
    cr_expect_eq(n_versions("k"), 1);
    pass(1);
    cr_expect_eq(n_versions("k"), 2);
    cr_expect_eq(next_at_s("k"), desk.room.clock.now_s + 90 * DAY_S);
    pass(45);
    json_decref(desk_must(&desk, 200, "POST", "/keys/k/rotate", NULL));
    pass(45);
    cr_expect_eq(n_versions("k"), 3, "the request has put it off");
    pass(45);
    cr_expect_eq(n_versions("k"), 4);
}

Test(api_rotation, a_key_that_expires_is_rotated_before)
{
    make("{\"kty\":\"EC\"}");
    set_policy(POLICY(ACTION("\"timeBeforeExpiry\":\"P10D\"", "Rotate"), "\"P40D\""));
    pass(100);
    cr_expect_eq(n_versions("k"), 1, "it does not expire");
    char body[128];
    (void)snprintf(body, sizeof(body), "{\"attributes\":{\"exp\":%lld}}",
                   (long long)(desk.room.clock.now_s + 20 * DAY_S));
    json_decref(desk_must(&desk, 200, "PATCH", "/keys/k", body));
    pass(0);
    cr_expect_eq(next_at_s("k"), desk.room.clock.now_s + 0 * DAY_S + 10 * DAY_S);
    pass(10);
    cr_expect_eq(n_versions("k"), 2);
    pass(29);
    cr_expect_eq(n_versions("k"), 2);
    pass(1);
    cr_expect_eq(n_versions("k"), 3);
}

Test(api_rotation, a_notice_is_given_once_for_each_version)
{
    char body[128];
    (void)snprintf(body, sizeof(body), "{\"kty\":\"EC\",\"attributes\":{\"exp\":%lld}}",
                   (long long)(desk.room.clock.now_s + 100 * DAY_S));
    make(body);
    set_policy("{}");
    cr_expect_eq(next_at_s("k"), desk.room.clock.now_s + 70 * DAY_S);
    pass(70);
    cr_expect_eq(next_at_s("k"), KV_TIME_NONE, "told");
    make(body);
    pass(0);
    cr_expect_eq(next_at_s("k"), KV_TIME_NONE, "told of the new version as well");
}

Test(api_rotation, a_deleted_key_rests_and_a_purged_one_leaves_no_policy)
{
    make("{\"kty\":\"EC\"}");
    set_policy(EVERY_90_DAYS);
    json_decref(desk_must(&desk, 200, "DELETE", "/keys/k", NULL));
    kv_clock_manual_advance(&desk.room.clock, 89 * DAY_S);
    pass(0);
    cr_expect_eq(next_at_s("k"), desk.room.clock.now_s + DAY_S);
    json_decref(desk_must(&desk, 200, "POST", "/deletedkeys/k/recover", NULL));
    pass(1);
    cr_expect_eq(n_versions("k"), 2, "it goes on");
    json_decref(desk_must(&desk, 200, "DELETE", "/keys/k", NULL));
    json_decref(desk_must(&desk, 204, "DELETE", "/deletedkeys/k", NULL));
    cr_expect_eq(next_at_s("k"), -1);
    make("{\"kty\":\"EC\"}");
    json_t *policy = desk_must(&desk, 200, "GET", "/keys/k/rotationpolicy", NULL);
    cr_expect_eq(json_array_size(json_object_get(policy, "lifetimeActions")), 1);
    json_decref(policy);
}

Test(api_rotation, random_bytes_come_in_the_length_that_was_asked_for)
{
    json_t *a = desk_must(&desk, 200, "POST", "/rng", "{\"count\":32}");
    json_t *b = desk_must(&desk, 200, "POST", "/rng", "{\"count\":32}");
    cr_expect_eq(strlen(desk_text(a, "value")), 43);
    cr_expect_str_neq(desk_text(a, "value"), desk_text(b, "value"));
    json_decref(desk_must(&desk, 200, "POST", "/rng", "{\"count\":128}"));
    desk_fails(&desk, 400, "api.bad-field", "POST", "/rng", "{\"count\":129}");
    desk_fails(&desk, 400, "api.bad-field", "POST", "/rng", "{\"count\":0}");
    desk_fails(&desk, 400, "api.bad-field", "POST", "/rng", "{\"count\":\"1\"}");
    desk_fails(&desk, 400, "api.bad-field", "POST", "/rng", "{}");
    json_decref(a);
    json_decref(b);
}
