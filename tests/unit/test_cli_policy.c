/* lifecycle/cli/policy.c: flags of cert create as a certificate policy. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/cli/policy.h"

TestSuite(cli_policy, .timeout = 20);

#define WORDS_MAX 24

/* The policy of "keyvault cert create n LINE"; NULL after a failure, with its code. */
static json_t *policy_of(const char *line, int *rc, struct kv_err *err)
{
    static char text[512];
    char *argv[WORDS_MAX + 1] = {"keyvault", "cert", "create", "n"};
    int argc = 4;
    struct kv_cli cli = {0};
    json_t *policy = NULL;
    cr_assert_lt(strlen(line), sizeof(text));
    strcpy(text, line);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
        cr_assert_lt(argc, WORDS_MAX);
        argv[argc++] = word;
    }
    cr_assert_eq(kv_command_parse(argc, argv, &cli.invocation, err), 0, "%s",
                 err->message);
    *rc = kv_policy_from_flags(&cli, NULL, &policy, err);
    return policy;
}

static const struct good {
    const char *line;
    const char *json;
} good[] = {
    {"--subject CN=a --issuer Self",
     "{\"key_props\":{\"exportable\":false},\"x509_props\":{\"subject\":\"CN=a\"},"
     "\"issuer\":{\"name\":\"Self\"}}"},
    {"--dns a,b --ip 10.0.0.1 --email x@a --key-type RSA --size 3072 --exportable",
     "{\"key_props\":{\"kty\":\"RSA\",\"key_size\":3072,\"exportable\":true},"
     "\"x509_props\":{\"sans\":{\"dns_names\":[\"a\",\"b\"],\"ipAddresses\":"
     "[\"10.0.0.1\"],\"emails\":[\"x@a\"]}}}"},
    {"--subject CN=a --key-type EC --validity-months 3 --renew-days 20",
     "{\"key_props\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"exportable\":false},"
     "\"x509_props\":{\"subject\":\"CN=a\",\"validity_months\":3,\"key_usage\":"
     "[\"digitalSignature\"]},\"lifetime_actions\":[{\"trigger\":"
     "{\"days_before_expiry\":20},\"action\":{\"action_type\":\"AutoRenew\"}}]}"},
    {"--subject CN=a --curve P-384 --validity-hours 6 --renew-percent 50",
     "{\"key_props\":{\"kty\":\"EC\",\"crv\":\"P-384\",\"exportable\":false},"
     "\"x509_props\":{\"subject\":\"CN=a\",\"validity_hours\":6,\"key_usage\":"
     "[\"digitalSignature\"]},\"lifetime_actions\":[{\"trigger\":"
     "{\"lifetime_percentage\":50},\"action\":{\"action_type\":\"AutoRenew\"}}]}"},
    {"--subject CN=a --key-type Ed25519",
     "{\"key_props\":{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"exportable\":false},"
     "\"x509_props\":{\"subject\":\"CN=a\",\"key_usage\":[\"digitalSignature\"]}}"},
    {"--subject CN=a --curve Ed25519",
     "{\"key_props\":{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"exportable\":false},"
     "\"x509_props\":{\"subject\":\"CN=a\",\"key_usage\":[\"digitalSignature\"]}}"},
};

Test(cli_policy, flags_become_members)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct kv_err err = KV_ERR_INIT;
        int rc = -1;
        json_t *policy = policy_of(good[i].line, &rc, &err);
        json_t *expected = json_loads(good[i].json, 0, NULL);
        cr_assert_eq(rc, 0, "%s: %s", good[i].line, err.message);
        cr_assert_not_null(expected);
        char *shown = json_dumps(policy, 0);
        cr_expect(json_equal(policy, expected), "%s: %s", good[i].line, shown);
        free(shown);
        json_decref(expected);
        json_decref(policy);
    }
}

static const char *const bad[] = {
    "--key-type DSA",
    "--key-type RSA --curve P-256",
    "--key-type EC --size 2048",
    "--key-type EC --curve Ed25519",
    "--key-type Ed25519 --curve P-256",
    "--key-type Ed25519 --size 2048",
    "--size many",
    "--validity-months 0",
    "--validity-months 1201",
    "--validity-months 1 --validity-hours 1",
    "--renew-percent 100",
    "--renew-days 0",
    "--renew-days 1 --renew-percent 1",
    "--dns a,,b",
};

Test(cli_policy, refuses_what_no_policy_may_say)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct kv_err err = KV_ERR_INIT;
        int rc = 0;
        json_t *policy = policy_of(bad[i], &rc, &err);
        cr_expect_eq(rc, KV_E_INVALID, "%s", bad[i]);
        cr_expect_str_eq(err.id, "cli.bad-flag", "%s", bad[i]);
        cr_expect_null(policy, "%s", bad[i]);
    }
}

static void with_file(const char *content, const char *flags, const char *expected_id,
                      const char *expected_json)
{
    char path[] = "/tmp/keyvault-policy.XXXXXX";
    char line[256];
    int fd = mkstemp(path);
    struct kv_err err = KV_ERR_INIT;
    int rc = 0;
    cr_assert_eq(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    (void)close(fd);
    (void)snprintf(line, sizeof(line), "--policy %s %s", path, flags);
    json_t *policy = policy_of(line, &rc, &err);
    (void)unlink(path);
    if (expected_json != NULL) {
        json_t *expected = json_loads(expected_json, 0, NULL);
        cr_expect_eq(rc, 0, "%s", err.message);
        cr_expect(json_equal(policy, expected));
        json_decref(expected);
    } else {
        cr_expect_str_eq(err.id, expected_id);
        cr_expect_null(policy);
    }
    json_decref(policy);
}

Test(cli_policy, flags_replace_members_of_a_file)
{
    with_file("{\"key_props\":{\"kty\":\"RSA\",\"key_size\":2048,\"exportable\":true},"
              "\"issuer\":{\"name\":\"Self\"}}",
              "--size 4096 --issuer ca", NULL,
              "{\"key_props\":{\"kty\":\"RSA\",\"key_size\":4096,\"exportable\":true},"
              "\"x509_props\":{},\"issuer\":{\"name\":\"ca\"}}");
}

Test(cli_policy, another_type_of_key_takes_what_it_cannot_do_along)
{
    with_file("{\"key_props\":{\"kty\":\"RSA\",\"key_size\":2048,\"exportable\":false},"
              "\"x509_props\":{\"key_usage\":[\"digitalSignature\",\"keyEncipherment\","
              "\"dataEncipherment\"]}}",
              "--curve P-384", NULL,
              "{\"key_props\":{\"kty\":\"EC\",\"crv\":\"P-384\",\"exportable\":false},"
              "\"x509_props\":{\"key_usage\":[\"digitalSignature\"]}}");
    with_file(
        "{\"x509_props\":{\"key_usage\":[\"keyEncipherment\"]}}", "--key-type Ed25519",
        NULL,
        "{\"key_props\":{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"exportable\":false},"
        "\"x509_props\":{\"key_usage\":[\"digitalSignature\"]}}");
}

Test(cli_policy, refuses_files_that_are_no_policy)
{
    with_file("", "", "cli.bad-json", NULL);
    with_file("[1]", "", "cli.bad-json", NULL);
    with_file("{\"a\":1,\"a\":2}", "", "cli.bad-json", NULL);
    with_file("{\n\"a\":}", "", "cli.bad-json", NULL);
}

Test(cli_policy, the_default_is_a_whole_policy)
{
    json_t *policy = kv_policy_default();
    cr_assert_not_null(policy);
    cr_expect_eq(json_object_size(policy), 5);
    json_decref(policy);
}
