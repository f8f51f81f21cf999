/* Subject, usages and validity of a policy. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "store/keyring/protocol.h"
#include "tests/support/policy_check.h"

TestSuite(policy_x509, .timeout = 20);

Test(policy_x509, a_subject_or_a_name_is_required)
{
    struct kv_policy policy =
        policy_read_with("\"subject\":\"\",\"sans\":{\"dns_names\":[\"a\"]}", "");
    cr_expect_str_eq(policy.subject, "");
    kv_policy_free(&policy);
    policy =
        policy_read_with("\"subject\":null,\"sans\":{\"ipAddresses\":[\"::1\"]}", "");
    cr_expect_str_eq(policy.subject, "");
    kv_policy_free(&policy);
    policy_expect_bad("\"subject\":\"\"", "", "'x509_props.subject'");
    policy_expect_bad("\"subject\":null,\"sans\":{\"dns_names\":[]}", "",
                      "'x509_props.subject'");
    policy_expect_bad("\"subject\":1", "", "'x509_props.subject'");
    json_t *given = policy_with("\"subject\":\"a\"", "");
    policy_expect_bad_json(given, "policy.bad-subject", "has no =");
    json_decref(given);
    given = policy_with("\"subject\":\" \"", "");
    policy_expect_bad_json(given, "policy.bad-subject", "subject");
    json_decref(given);
}

Test(policy_x509, bad_members_are_named)
{
    static const char *const rows[][2] = {
        {"\"ekus\":[\"serverAuth\"]", "'x509_props.ekus[0]'"},
        {"\"ekus\":[\"1.3.6.1.5.5.7.3.1\",\"3.1\"]", "'x509_props.ekus[1]'"},
        {"\"ekus\":[\"1.40.1\"]", "'x509_props.ekus[0]'"},
        {"\"ekus\":[\"1.02\"]", "'x509_props.ekus[0]'"},
        {"\"ekus\":[\"1.2.\"]", "'x509_props.ekus[0]'"},
        {"\"ekus\":[\"1\"]", "'x509_props.ekus[0]'"},
        {"\"ekus\":[null]", "'x509_props.ekus[0]'"},
        {"\"ekus\":{}", "'x509_props.ekus'"},
        {"\"validity_months\":0", "'x509_props.validity_months'"},
        {"\"validity_months\":1201", "'x509_props.validity_months'"},
        {"\"validity_months\":1.5", "'x509_props.validity_months'"},
        {"\"validity_months\":\"12\"", "'x509_props.validity_months'"},
        {"\"validity_hours\":0", "'x509_props.validity_hours'"},
        {"\"validity_hours\":876001", "'x509_props.validity_hours'"},
        {"\"basic_constraints\":true", "'x509_props.basic_constraints'"},
        {"\"basic_constraints\":{\"ca\":\"no\"}", "'x509_props.basic_constraints.ca'"},
        {"\"key_usage\":[\"sign\"]", "'x509_props.key_usage[0]'"},
        {"\"key_usage\":[1]", "'x509_props.key_usage[0]'"},
        {"\"key_usage\":\"digitalSignature\"", "'x509_props.key_usage'"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        policy_expect_bad(rows[i][0], "", rows[i][1]);
    policy_expect_bad("", "\"x509_props\":7", "'x509_props'");
    policy_expect_bad("", "\"x509_props\":null", "'x509_props.subject'");
}

Test(policy_x509, validity_is_months_or_hours)
{
    static const struct {
        const char *x509;
        int64_t months;
        int64_t hours;
    } rows[] = {
        {"\"validity_months\":1200", 1200, 0},
        {"\"validity_hours\":24", 1, 24},
        {"\"validity_hours\":730", 1, 730},
        {"\"validity_hours\":731", 2, 731},
        {"\"validity_hours\":876000", 1200, 876000},
        {"\"validity_hours\":24,\"validity_months\":6", 6, 24},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_policy policy = policy_read_with(rows[i].x509, "");
        cr_expect_eq(policy.validity_months, rows[i].months, "row %zu", i);
        cr_expect_eq(policy.validity_hours, rows[i].hours, "row %zu", i);
        kv_policy_free(&policy);
    }
}

Test(policy_x509, hours_bound_the_days_before_expiry)
{
    char top[256];
    static const char action[] = "\"lifetime_actions\":[{\"trigger\":{\"days_before_"
                                 "expiry\":%d},\"action\":{\"action_type\":"
                                 "\"AutoRenew\"}}]";
    (void)snprintf(top, sizeof(top), action, 2);
    struct kv_policy policy = policy_read_with("\"validity_hours\":71", top);
    kv_policy_free(&policy);
    (void)snprintf(top, sizeof(top), action, 3);
    policy_expect_bad("\"validity_hours\":71", top, "'lifetime_actions[0]'");
}

Test(policy_x509, a_ca_is_only_signed_outside)
{
    struct kv_policy policy = policy_read_with("\"basic_constraints\":{\"ca\":true}",
                                               "\"issuer\":{\"name\":\"Unknown\"}");
    cr_expect(policy.is_ca);
    kv_policy_free(&policy);
    policy_expect_not_offered("\"basic_constraints\":{\"ca\":true}", "",
                              "'x509_props.basic_constraints.ca'");
    policy_expect_not_offered("\"basic_constraints\":{\"ca\":true}",
                              "\"issuer\":{\"name\":\"other\"}",
                              "'x509_props.basic_constraints.ca'");
}

/* --- key usage ----------------------------------------------------------------------
 */

Test(policy_x509, usages_stand_for_operations_of_the_key)
{
    static const uint32_t both = KV_OP_SIGN | KV_OP_VERIFY;
    static const struct {
        const char *kty;
        const char *usage;
        uint32_t bits;
        uint32_t ops;
    } rows[] = {
        {"RSA", "[]", KV_KU_DIGITAL_SIGNATURE | KV_KU_KEY_ENCIPHERMENT,
         both | KV_OP_WRAP | KV_OP_UNWRAP},
        {"EC", "[]", KV_KU_DIGITAL_SIGNATURE, both},
        {"OKP", "[]", KV_KU_DIGITAL_SIGNATURE, both},
        {"RSA", "[\"nonRepudiation\"]", KV_KU_NON_REPUDIATION, both},
        {"RSA", "[\"keyCertSign\"]", KV_KU_KEY_CERT_SIGN, both},
        {"RSA", "[\"cRLSign\"]", KV_KU_CRL_SIGN, both},
        {"RSA", "[\"keyEncipherment\"]", KV_KU_KEY_ENCIPHERMENT,
         KV_OP_WRAP | KV_OP_UNWRAP},
        {"RSA", "[\"dataEncipherment\"]", KV_KU_DATA_ENCIPHERMENT,
         KV_OP_ENCRYPT | KV_OP_DECRYPT},
        {"RSA", "[\"encipherOnly\"]", KV_KU_ENCIPHER_ONLY, KV_OP_ENCRYPT},
        {"RSA", "[\"decipherOnly\"]", KV_KU_DECIPHER_ONLY, KV_OP_DECRYPT},
        {"RSA", "[\"keyAgreement\"]", KV_KU_KEY_AGREEMENT, 0},
        {"EC", "[\"keyAgreement\"]", KV_KU_KEY_AGREEMENT, KV_OP_DERIVE},
        {"EC", "[\"keyAgreement\",\"DigitalSignature\",\"keyAgreement\"]",
         KV_KU_KEY_AGREEMENT | KV_KU_DIGITAL_SIGNATURE, both | KV_OP_DERIVE},
        /* what common templates ask for, with RSA */
        {"RSA",
         "[\"cRLSign\",\"dataEncipherment\",\"digitalSignature\",\"keyEncipherment\","
         "\"keyAgreement\",\"keyCertSign\"]",
         KV_KU_CRL_SIGN | KV_KU_DATA_ENCIPHERMENT | KV_KU_DIGITAL_SIGNATURE |
             KV_KU_KEY_ENCIPHERMENT | KV_KU_KEY_AGREEMENT | KV_KU_KEY_CERT_SIGN,
         both | KV_OP_WRAP | KV_OP_UNWRAP | KV_OP_ENCRYPT | KV_OP_DECRYPT},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char top[64];
        char x509[256];
        (void)snprintf(top, sizeof(top), "\"key_props\":{\"kty\":\"%s\"}", rows[i].kty);
        (void)snprintf(x509, sizeof(x509), "\"key_usage\":%s", rows[i].usage);
        struct kv_policy policy = policy_read_with(x509, top);
        cr_expect_eq(policy.usage, rows[i].bits, "row %zu: %x", i, policy.usage);
        cr_expect_eq(policy.key_ops, rows[i].ops, "row %zu: %x", i, policy.key_ops);
        kv_policy_free(&policy);
    }
}

Test(policy_x509, usages_that_the_key_cannot_serve_are_refused)
{
    static const char ec[] = "\"key_props\":{\"kty\":\"EC\"}";
    static const char okp[] = "\"key_props\":{\"kty\":\"OKP\"}";
    policy_expect_bad("\"key_usage\":[\"digitalSignature\",\"keyEncipherment\"]", ec,
                      "'x509_props.key_usage[1]'");
    policy_expect_bad("\"key_usage\":[\"keyEncipherment\"]", ec,
                      "digitalSignature, nonRepudiation, keyAgreement");
    policy_expect_bad("\"key_usage\":[\"dataEncipherment\"]", ec, "type EC");
    policy_expect_bad("\"key_usage\":[\"encipherOnly\"]", ec, "type EC");
    policy_expect_bad("\"key_usage\":[\"decipherOnly\"]", ec, "type EC");
    policy_expect_bad("\"key_usage\":[\"keyAgreement\"]", okp, "type OKP");
}
