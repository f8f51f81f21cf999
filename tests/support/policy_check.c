#include "tests/support/policy_check.h"

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

json_t *policy_json(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(value, "%s: %s", error.text, text);
    return value;
}

struct kv_policy policy_read_ok(const char *text)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_policy policy;
    struct kv_policy again;
    json_t *given = policy_json(text);
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

void policy_expect_doc(const char *text, const char *doc)
{
    struct kv_policy policy = policy_read_ok(text);
    json_t *want = policy_json(doc);
    char *is = json_dumps(policy.doc, 0);
    cr_expect(json_equal(policy.doc, want), "%s\nis      %s\nwant to %s", text, is,
              doc);
    free(is);
    json_decref(want);
    kv_policy_free(&policy);
}

json_t *policy_with(const char *x509, const char *top)
{
    char text[8192];
    int n = snprintf(text, sizeof(text),
                     "{\"x509_props\":{\"subject\":\"CN=a\"%s%s},"
                     "\"issuer\":{\"name\":\"Self\"}%s%s}",
                     x509[0] != '\0' ? "," : "", x509, top[0] != '\0' ? "," : "", top);
    cr_assert(n > 0 && (size_t)n < sizeof(text));
    json_error_t error;
    json_t *value = json_loads(text, 0, &error); /* the last of two members counts */
    cr_assert_not_null(value, "%s: %s", error.text, text);
    return value;
}

struct kv_policy policy_read_with(const char *x509, const char *top)
{
    json_t *given = policy_with(x509, top);
    char *text = json_dumps(given, 0);
    struct kv_policy policy = policy_read_ok(text);
    free(text);
    json_decref(given);
    return policy;
}

void policy_expect_bad_json(const json_t *given, const char *id, const char *says)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_policy policy;
    char *text = json_dumps(given, JSON_ENCODE_ANY);
    int rc = kv_policy_read(given, &policy, &err);
    cr_expect_lt(rc, 0, "accepted: %s", text);
    cr_expect_str_eq(err.id, id, "%s: %s", text, err.message);
    cr_expect_not_null(strstr(err.message, says), "'%s' does not say '%s'", err.message,
                       says);
    free(text);
}

void policy_expect_bad(const char *x509, const char *top, const char *says)
{
    json_t *given = policy_with(x509, top);
    policy_expect_bad_json(given, "policy.bad-field", says);
    json_decref(given);
}

void policy_expect_not_offered(const char *x509, const char *top, const char *says)
{
    json_t *given = policy_with(x509, top);
    policy_expect_bad_json(given, "policy.not-offered", says);
    json_decref(given);
}
