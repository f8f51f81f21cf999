/* Policies: defaults, each member checked by name, one canonical document. */
#include <string.h>

#include <criterion/criterion.h>

#include "lifecycle/certs/policy.h"
#include "store/core/str.h"
#include "store/keyring/protocol.h"

TestSuite(policy, .timeout = 20);

static json_t *json(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(value, "%s: %s", error.text, text);
    return value;
}

/* The policy of a text; the stored document reads back as itself. */
static struct kv_policy read_ok(const char *text)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_policy policy;
    struct kv_policy again;
    json_t *given = json(text);
    json_t *before = json_deep_copy(given);
    cr_assert_eq(kv_policy_read(given, &policy, &err), 0, "%s: %s", text, err.message);
    cr_assert(json_equal(given, before), "the given policy was changed");
    cr_assert_eq(kv_policy_read(policy.doc, &again, &err), 0, "%s", err.message);
    cr_assert(json_equal(policy.doc, again.doc), "%s reads back as another", text);
    cr_assert_eq(policy.usage, again.usage);
    cr_assert_eq(policy.key_ops, again.key_ops);
    kv_policy_free(&again);
    json_decref(before);
    json_decref(given);
    return policy;
}

static void expect_doc(const char *text, const char *doc)
{
    struct kv_policy policy = read_ok(text);
    json_t *want = json(doc);
    char *is = json_dumps(policy.doc, 0);
    cr_expect(json_equal(policy.doc, want), "%s\nis      %s\nwant to %s", text, is, doc);
    free(is);
    json_decref(want);
    kv_policy_free(&policy);
}

Test(policy, defaults_are_those_of_the_contract)
{
    static const char doc[] =
        "{\"key_props\":{\"exportable\":true,\"kty\":\"RSA\",\"key_size\":2048,"
        "\"reuse_key\":false},"
        "\"secret_props\":{\"contentType\":\"application/x-pkcs12\"},"
        "\"x509_props\":{\"subject\":\"CN=a\",\"sans\":{},"
        "\"ekus\":[\"1.3.6.1.5.5.7.3.1\",\"1.3.6.1.5.5.7.3.2\"],"
        "\"key_usage\":[\"digitalSignature\",\"keyEncipherment\"],"
        "\"validity_months\":12,\"basic_constraints\":{\"ca\":false}},"
        "\"issuer\":{\"name\":\"Self\"},"
        "\"lifetime_actions\":[{\"trigger\":{\"lifetime_percentage\":80},"
        "\"action\":{\"action_type\":\"AutoRenew\"}}]}";
    expect_doc("{\"x509_props\":{\"subject\":\"CN=a\"},\"issuer\":{\"name\":\"Self\"}}",
               doc);
    expect_doc("{\"id\":\"https://v/certificates/a/policy\",\"key_props\":{},"
               "\"secret_props\":{},\"x509_props\":{\"subject\":\"CN=a\",\"sans\":{},"
               "\"ekus\":[],\"key_usage\":null},\"lifetime_actions\":null,"
               "\"issuer\":{\"name\":\"self\",\"new\":1},"
               "\"attributes\":{\"enabled\":true,\"created\":1,\"updated\":2},"
               "\"of_a_newer_version\":[1]}",
               doc);
}
