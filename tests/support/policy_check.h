/*
 * What the tests of certificate policies share; each fails the test that calls it.
 * Texts are JSON.
 */
#ifndef KV_TESTS_SUPPORT_POLICY_CHECK_H
#define KV_TESTS_SUPPORT_POLICY_CHECK_H

#include "lifecycle/certs/policy.h"

/* The value of a text. The caller owns it. */
json_t *policy_json(const char *text);

/* The policy of a text; asserts that its document reads back as itself. */
struct kv_policy policy_read_ok(const char *text);

/* The same, and the document is `doc`. */
void policy_expect_doc(const char *text, const char *doc);

/* A policy of the subject CN=a and the issuer Self with more members of x509_props
 * (`x509`) and beside it (`top`); a member given again replaces. */
json_t *policy_with(const char *x509, const char *top);
struct kv_policy policy_read_with(const char *x509, const char *top);

/* The policy is refused with this id and a message that has `says`. */
void policy_expect_bad_json(const json_t *given, const char *id, const char *says);
void policy_expect_bad(const char *x509, const char *top, const char *says);
void policy_expect_not_offered(const char *x509, const char *top, const char *says);

#endif
