/*
 * Codes of devices: each is answered once, to its own device, in time.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lifecycle/auth/device_codes.h"

static struct kv_device_codes *codes;
static char device[KV_TOKEN_TEXT_LEN + 1];
static char user[KV_USER_CODE_LEN + 1];

static void setup(void)
{
    cr_assert_eq(kv_device_codes_new(&codes), 0);
}

static void teardown(void)
{
    kv_device_codes_free(codes);
}

TestSuite(device_codes, .timeout = 60, .init = setup, .fini = teardown);

#define CLIENT "11111111-2222-4333-8444-555555555555"
#define OID "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"

static struct kv_device_request answered;

static int add(const char *source, int64_t now_ms)
{
    struct kv_device_request request = {.client_id = CLIENT, .audience = "https://v"};
    (void)snprintf(request.source, sizeof(request.source), "%s", source);
    return kv_device_codes_add(codes, kv_rand_system(), &request, now_ms, device, user);
}

static enum kv_device_answer poll(const char *the_device, const char *client,
                                  int64_t now_ms, char oid[37])
{
    return kv_device_codes_poll(codes, the_device, client, now_ms, &answered, oid);
}

Test(device_codes, a_code_waits_is_approved_and_answered_once)
{
    char oid[37] = "";
    cr_assert_eq(add("192.0.2.1", 1000), 0);
    cr_assert_eq(strlen(device), KV_TOKEN_TEXT_LEN);
    cr_assert_eq(strlen(user), KV_USER_CODE_LEN);
    cr_assert_eq(user[4], '-');
    cr_assert_eq(strspn(user, "BCDFGHJKLMNPQRSTVWXZ-"), KV_USER_CODE_LEN);
    cr_assert_eq(poll(device, CLIENT, 1000, oid), KV_DEVICE_PENDING);
    cr_assert_eq(poll(device, CLIENT, 1001, oid), KV_DEVICE_HASTY);
    cr_assert_eq(poll(device, CLIENT, 3000, oid), KV_DEVICE_PENDING);
    cr_assert_str_eq(kv_device_codes_find(codes, user, 3000)->client_id, CLIENT);
    cr_assert(kv_device_codes_approve(codes, user, OID, 7, 3000));
    cr_assert_null(kv_device_codes_find(codes, user, 3000), "answered");
    cr_assert_not(kv_device_codes_approve(codes, user, OID, 7, 3000), "once");
    cr_assert_eq(poll(device, "other", 4000, oid), KV_DEVICE_GONE, "of another client");
    cr_assert_eq(poll(device, CLIENT, 4000, oid), KV_DEVICE_READY);
    cr_assert_str_eq(oid, OID);
    cr_assert_eq(answered.generation, 7, "of the secret that was used");
    cr_assert_eq(poll(device, CLIENT, 5000, oid), KV_DEVICE_GONE, "used");
}

Test(device_codes, user_codes_are_typed_as_people_type)
{
    char typed[32];
    cr_assert_eq(add("192.0.2.1", 1000), 0);
    (void)snprintf(typed, sizeof(typed), " %.4s %s ", user, user + 5);
    for (char *c = typed; *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    cr_assert_not_null(kv_device_codes_find(codes, typed, 1000), "%s", typed);
    cr_assert_null(kv_device_codes_find(codes, "", 1000));
    cr_assert_null(kv_device_codes_find(codes, "-", 1000));
    (void)snprintf(typed, sizeof(typed), "%.8s", user);
    cr_assert_null(kv_device_codes_find(codes, typed, 1000), "cut");
    (void)snprintf(typed, sizeof(typed), "%sB", user);
    cr_assert_null(kv_device_codes_find(codes, typed, 1000), "longer");
}

Test(device_codes, they_expire)
{
    char oid[37];
    const int64_t end = 1000 + (int64_t)KV_DEVICE_LIFETIME_S * 1000;
    cr_assert_eq(add("192.0.2.1", 1000), 0);
    cr_assert_not_null(kv_device_codes_find(codes, user, end - 1));
    cr_assert_null(kv_device_codes_find(codes, user, end));
    cr_assert_not(kv_device_codes_approve(codes, user, OID, 7, end));
    cr_assert_eq(poll(device, CLIENT, end, oid), KV_DEVICE_GONE);
    cr_assert_eq(poll("x", CLIENT, 1000, oid), KV_DEVICE_GONE);
}

Test(device_codes, a_source_has_its_share_and_time_makes_room)
{
    char source[32];
    for (int i = 0; i < KV_DEVICE_PER_SOURCE; i++)
        cr_assert_eq(add("192.0.2.1", 1000), 0);
    cr_assert_eq(add("192.0.2.1", 1000), KV_E_FULL);
    for (int i = KV_DEVICE_PER_SOURCE; i < KV_DEVICE_PLACES; i++) {
        (void)snprintf(source, sizeof(source), "10.0.%d.%d", i / 256, i % 256);
        cr_assert_eq(add(source, 1000), 0);
    }
    cr_assert_eq(add("10.9.9.9", 1000), KV_E_FULL);
    cr_assert_eq(add("192.0.2.1", 1000 + (int64_t)KV_DEVICE_LIFETIME_S * 1000), 0);
}

Test(device_codes, sources_of_ipv6_share_by_their_network)
{
    char source[32];
    for (int i = 0; i < KV_DEVICE_PER_SOURCE; i++) {
        (void)snprintf(source, sizeof(source), "2001:db8::%x", (unsigned)i + 1);
        cr_assert_eq(add(source, 1000), 0);
    }
    cr_assert_eq(add("2001:db8::ffff", 1000), KV_E_FULL);
    cr_assert_eq(add("2001:db8:0:1::1", 1000), 0, "another network");
}
