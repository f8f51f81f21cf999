/* Alternative names of a policy: canonical forms, each bad one named. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/support/policy_check.h"

TestSuite(policy_names, .timeout = 20);

Test(policy_names, become_canonical)
{
    struct kv_policy policy = policy_read_with(
        "\"sans\":{\"dns_names\":[\"WWW.Example.com\",\"*.example.com\",\"localhost\","
        "\"xn--bcher-kva.example\",\"1.2.3.com\"],"
        "\"emails\":[\"Joe.Doe+x@Example.COM\"],"
        "\"upns\":[\"j\xc3\xb6@corp.example\"],"
        "\"uris\":[\"spiffe://Example/ns/a%20b\",\"urn:uuid:1\"],"
        "\"ipAddresses\":[\"192.0.2.1\",\"2001:DB8:0:0::1\",\"::ffff:192.0.2.1\"],"
        "\"of_a_newer_version\":[1]}",
        "");
    json_t *want = policy_json(
        "{\"emails\":[\"Joe.Doe+x@example.com\"],"
        "\"dns_names\":[\"www.example.com\",\"*.example.com\",\"localhost\","
        "\"xn--bcher-kva.example\",\"1.2.3.com\"],"
        "\"upns\":[\"j\xc3\xb6@corp.example\"],"
        "\"uris\":[\"spiffe://Example/ns/a%20b\",\"urn:uuid:1\"],"
        "\"ipAddresses\":[\"192.0.2.1\",\"2001:db8::1\",\"::ffff:192.0.2.1\"]}");
    cr_expect(json_equal(policy.sans, want));
    json_decref(want);
    kv_policy_free(&policy);
}

#define LABEL_64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

Test(policy_names, bad_ones_are_named)
{
    static const char *const rows[][2] = {
        {"dns_names", "\"\""},
        {"dns_names", "\"a..b\""},
        {"dns_names", "\"a.\""},
        {"dns_names", "\".a\""},
        {"dns_names", "\"-a.b\""},
        {"dns_names", "\"a-.b\""},
        {"dns_names", "\"a_b.c\""},
        {"dns_names", "\"a b\""},
        {"dns_names", "\"a.*.b\""},
        {"dns_names", "\"a*.b\""},
        {"dns_names", "\"*\""},
        {"dns_names", "\"*.\""},
        {"dns_names", "\"192.0.2.1\""},
        {"dns_names", "\"a.123\""},
        {"dns_names", "\"b\xc3\xbc.example\""},
        {"dns_names", "\"" LABEL_64 ".b\""},
        {"dns_names", "null"},
        {"dns_names", "7"},
        {"emails", "\"joe\""},
        {"emails", "\"@a\""},
        {"emails", "\"joe@\""},
        {"emails", "\"joe@a@b\""},
        {"emails", "\".joe@a\""},
        {"emails", "\"joe.@a\""},
        {"emails", "\"j..oe@a\""},
        {"emails", "\"joe doe@a\""},
        {"emails", "\"joe@*.a\""},
        {"emails", "\"j\xc3\xb6@a\""},
        {"emails", "\"" LABEL_64 "a@a\""},
        {"upns", "\"joe\""},
        {"upns", "\"@a\""},
        {"upns", "\"joe@\""},
        {"upns", "\"joe\\n@a\""},
        {"uris", "\"/path\""},
        {"uris", "\"http:\""},
        {"uris", "\"1a:b\""},
        {"uris", "\"http://a b\""},
        {"uris", "\"http://a/\xc3\xb6\""},
        {"ipAddresses", "\"192.0.2\""},
        {"ipAddresses", "\"192.0.2.256\""},
        {"ipAddresses", "\"192.0.2.0/24\""},
        {"ipAddresses", "\"fe80::1%eth0\""},
        {"ipAddresses", "\":::\""},
        {"ipAddresses", "\"a.example\""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char x509[256];
        char path[64];
        (void)snprintf(x509, sizeof(x509), "\"sans\":{\"%s\":[%s]}", rows[i][0],
                       rows[i][1]);
        (void)snprintf(path, sizeof(path), "'x509_props.sans.%s[0]'", rows[i][0]);
        policy_expect_bad(x509, "", path);
    }
    policy_expect_bad("\"sans\":[]", "", "'x509_props.sans'");
    policy_expect_bad("\"sans\":{\"emails\":\"a@b\"}", "", "'x509_props.sans.emails'");
}

/* A DNS name of `len` bytes in labels of up to 63. */
static json_t *long_name(size_t len)
{
    char name[512];
    cr_assert_lt(len, sizeof(name));
    for (size_t i = 0; i < len; i++)
        name[i] = i % 64 == 63 ? '.' : 'a';
    return json_stringn(name, len);
}

Test(policy_names, a_dns_name_has_at_most_253_bytes)
{
    struct kv_policy policy;
    json_t *given = policy_with("\"sans\":{\"dns_names\":[]}", "");
    json_t *names = json_object_get(
        json_object_get(json_object_get(given, "x509_props"), "sans"), "dns_names");
    (void)json_array_append_new(names, long_name(253));
    cr_assert_eq(kv_policy_read(given, &policy, NULL), 0);
    kv_policy_free(&policy);
    (void)json_array_append_new(names, long_name(254));
    policy_expect_bad_json(given, "policy.bad-field", "'x509_props.sans.dns_names[1]'");
    json_decref(given);
}

/* A policy with that many DNS names and addresses. */
static json_t *many_names(size_t n_dns, size_t n_ips)
{
    json_t *given = policy_with("\"sans\":{\"dns_names\":[],\"ipAddresses\":[]}", "");
    json_t *sans = json_object_get(json_object_get(given, "x509_props"), "sans");
    for (size_t i = 0; i < n_dns; i++)
        (void)json_array_append_new(json_object_get(sans, "dns_names"),
                                    json_sprintf("h%zu", i));
    for (size_t i = 0; i < n_ips; i++)
        (void)json_array_append_new(json_object_get(sans, "ipAddresses"),
                                    json_sprintf("10.0.0.%zu", i));
    return given;
}

Test(policy_names, there_are_at_most_100)
{
    struct kv_policy policy;
    json_t *given = many_names(60, 40);
    cr_assert_eq(kv_policy_read(given, &policy, NULL), 0);
    kv_policy_free(&policy);
    json_decref(given);
    given = many_names(60, 41);
    policy_expect_bad_json(given, "policy.bad-field", "'x509_props.sans'");
    json_decref(given);
    given = many_names(101, 0);
    policy_expect_bad_json(given, "policy.bad-field", "'x509_props.sans.dns_names'");
    json_decref(given);
}
