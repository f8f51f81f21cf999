/* The policy as a whole, its key, secret, issuer and actions: defaults, each member
 * checked by name, one canonical document. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "store/keyring/protocol.h"
#include "tests/support/policy_check.h"

TestSuite(policy, .timeout = 20);

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
    policy_expect_doc(
        "{\"x509_props\":{\"subject\":\"CN=a\"},\"issuer\":{\"name\":\"Self\"}}", doc);
    policy_expect_doc(
        "{\"id\":\"https://v/certificates/a/policy\",\"key_props\":{},"
        "\"secret_props\":{},\"x509_props\":{\"subject\":\"CN=a\",\"sans\":{},"
        "\"ekus\":[],\"key_usage\":null},\"lifetime_actions\":null,"
        "\"issuer\":{\"name\":\"self\",\"new\":1},"
        "\"attributes\":{\"enabled\":true,\"created\":1,\"updated\":2},"
        "\"of_a_newer_version\":[1]}",
        doc);
}

/* --- keys ---------------------------------------------------------------------------
 */

Test(policy, each_offered_key_type_is_read)
{
    static const struct {
        const char *props;
        uint8_t kty;
        uint8_t curve;
        uint16_t bits;
        const char *doc;
    } rows[] = {
        {"{}", KV_KTY_RSA, 0, 2048, "{\"kty\":\"RSA\",\"key_size\":2048}"},
        {"{\"kty\":\"RSA\"}", KV_KTY_RSA, 0, 2048,
         "{\"kty\":\"RSA\",\"key_size\":2048}"},
        {"{\"key_size\":3072}", KV_KTY_RSA, 0, 3072,
         "{\"kty\":\"RSA\",\"key_size\":3072}"},
        {"{\"kty\":\"RSA\",\"key_size\":4096,\"crv\":null}", KV_KTY_RSA, 0, 4096,
         "{\"kty\":\"RSA\",\"key_size\":4096}"},
        {"{\"kty\":\"EC\"}", KV_KTY_EC, KV_CURVE_P256, 0,
         "{\"kty\":\"EC\",\"key_size\":256,\"crv\":\"P-256\"}"},
        {"{\"crv\":\"P-384\"}", KV_KTY_EC, KV_CURVE_P384, 0,
         "{\"kty\":\"EC\",\"key_size\":384,\"crv\":\"P-384\"}"},
        {"{\"kty\":\"EC\",\"key_size\":384}", KV_KTY_EC, KV_CURVE_P384, 0,
         "{\"kty\":\"EC\",\"key_size\":384,\"crv\":\"P-384\"}"},
        {"{\"kty\":\"EC\",\"key_size\":521,\"crv\":\"P-521\"}", KV_KTY_EC,
         KV_CURVE_P521, 0, "{\"kty\":\"EC\",\"key_size\":521,\"crv\":\"P-521\"}"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256K\"}", KV_KTY_EC, KV_CURVE_P256K, 0,
         "{\"kty\":\"EC\",\"key_size\":256,\"crv\":\"P-256K\"}"},
        {"{\"kty\":\"OKP\"}", KV_KTY_OKP, KV_CURVE_ED25519, 0,
         "{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}"},
        {"{\"crv\":\"Ed25519\"}", KV_KTY_OKP, KV_CURVE_ED25519, 0,
         "{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char top[256];
        (void)snprintf(top, sizeof(top), "\"key_props\":%s", rows[i].props);
        struct kv_policy policy = policy_read_with("", top);
        json_t *want = policy_json(rows[i].doc);
        (void)json_object_set_new(want, "exportable", json_true());
        (void)json_object_set_new(want, "reuse_key", json_false());
        cr_expect_eq(policy.kty, rows[i].kty, "row %zu", i);
        cr_expect_eq(policy.curve, rows[i].curve, "row %zu", i);
        cr_expect_eq(policy.bits, rows[i].bits, "row %zu", i);
        cr_expect(json_equal(json_object_get(policy.doc, "key_props"), want), "row %zu",
                  i);
        cr_expect(policy.is_exportable);
        json_decref(want);
        kv_policy_free(&policy);
    }
}

Test(policy, keys_may_be_kept_from_being_exported)
{
    struct kv_policy policy =
        policy_read_with("", "\"key_props\":{\"exportable\":false}");
    cr_expect_not(policy.is_exportable);
    cr_expect(json_is_false(
        json_object_get(json_object_get(policy.doc, "key_props"), "exportable")));
    kv_policy_free(&policy);
}

Test(policy, the_next_version_may_keep_the_key)
{
    struct kv_policy policy =
        policy_read_with("", "\"key_props\":{\"reuse_key\":true}");
    cr_expect(policy.reuses_key);
    cr_expect(json_is_true(
        json_object_get(json_object_get(policy.doc, "key_props"), "reuse_key")));
    kv_policy_free(&policy);
    policy = policy_read_with("", "\"key_props\":{\"reuse_key\":null}");
    cr_expect_not(policy.reuses_key);
    kv_policy_free(&policy);
}

Test(policy, bad_members_of_the_key_are_named)
{
    static const char *const rows[][2] = {
        {"[]", "'key_props'"},
        {"{\"kty\":1}", "'key_props.kty'"},
        {"{\"kty\":\"DSA\"}", "'key_props.kty'"},
        {"{\"kty\":\"rsa\"}", "'key_props.kty'"},
        {"{\"kty\":\"oct\"}", "'key_props.kty'"},
        {"{\"key_size\":\"2048\"}", "'key_props.key_size'"},
        {"{\"key_size\":1024}", "'key_props.key_size'"},
        {"{\"key_size\":2049}", "'key_props.key_size'"},
        {"{\"key_size\":8192}", "'key_props.key_size'"},
        {"{\"kty\":\"RSA\",\"crv\":\"P-256\"}", "'key_props.crv'"},
        {"{\"kty\":\"EC\",\"crv\":\"P-224\"}", "'key_props.crv'"},
        {"{\"kty\":\"EC\",\"crv\":\"Ed25519\"}", "'key_props.crv'"},
        {"{\"kty\":\"EC\",\"crv\":7}", "'key_props.crv'"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"key_size\":384}", "'key_props.key_size'"},
        {"{\"kty\":\"EC\",\"key_size\":2048}", "'key_props.key_size'"},
        {"{\"kty\":\"EC\",\"key_size\":5}", "'key_props.key_size'"},
        {"{\"kty\":\"OKP\",\"crv\":\"P-256\"}", "'key_props.crv'"},
        {"{\"kty\":\"OKP\",\"key_size\":256}", "'key_props.key_size'"},
        {"{\"exportable\":1}", "'key_props.exportable'"},
        {"{\"reuse_key\":\"no\"}", "'key_props.reuse_key'"},
    };
    char top[256];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        (void)snprintf(top, sizeof(top), "\"key_props\":%s", rows[i][0]);
        policy_expect_bad("", top, rows[i][1]);
    }
    policy_expect_not_offered("", "\"key_props\":{\"kty\":\"RSA-HSM\"}",
                              "'key_props.kty'");
    policy_expect_not_offered("", "\"key_props\":{\"kty\":\"EC-HSM\"}",
                              "'key_props.kty'");
}

/* --- secret, issuer, actions --------------------------------------------------------
 */

Test(policy, content_type_is_one_of_two)
{
    struct kv_policy policy = policy_read_with(
        "", "\"secret_props\":{\"contentType\":\"application/x-PEM-file\"}");
    cr_expect(policy.is_pem);
    cr_expect_str_eq(policy.content_type, "application/x-pem-file");
    kv_policy_free(&policy);
    policy = policy_read_with("", "\"secret_props\":{}");
    cr_expect_not(policy.is_pem);
    cr_expect_str_eq(policy.content_type, "application/x-pkcs12");
    kv_policy_free(&policy);
    policy_expect_bad("", "\"secret_props\":{\"contentType\":\"text/plain\"}",
                      "'secret_props.contentType'");
    policy_expect_bad("", "\"secret_props\":{\"contentType\":3}",
                      "'secret_props.contentType'");
    policy_expect_bad("", "\"secret_props\":\"x\"", "'secret_props'");
}

Test(policy, issuer_is_required_and_kept)
{
    struct kv_policy policy = policy_read_with("", "\"issuer\":{\"name\":\"UNKNOWN\"}");
    cr_expect_str_eq(policy.issuer, "Unknown");
    kv_policy_free(&policy);
    policy = policy_read_with("", "\"issuer\":{\"name\":\"My-CA\",\"cty\":\"OV-SSL\","
                                  "\"cert_transparency\":false}");
    json_t *want = policy_json(
        "{\"name\":\"My-CA\",\"cty\":\"OV-SSL\",\"cert_transparency\":false}");
    cr_expect(json_equal(json_object_get(policy.doc, "issuer"), want));
    cr_expect_str_eq(policy.issuer, "My-CA");
    json_decref(want);
    kv_policy_free(&policy);
    policy_expect_bad("", "\"issuer\":null", "'issuer.name'");
    policy_expect_bad("", "\"issuer\":{}", "'issuer.name'");
    policy_expect_bad("", "\"issuer\":\"Self\"", "'issuer'");
    policy_expect_bad("", "\"issuer\":{\"name\":\"\"}", "'issuer.name'");
    policy_expect_bad("", "\"issuer\":{\"name\":\"a/b\"}", "'issuer.name'");
    policy_expect_bad("", "\"issuer\":{\"name\":1}", "'issuer.name'");
    policy_expect_bad("", "\"issuer\":{\"name\":\"Self\",\"cty\":1}", "'issuer.cty'");
    policy_expect_bad("", "\"issuer\":{\"name\":\"Self\",\"cert_transparency\":1}",
                      "'issuer.cert_transparency'");
}

static void expect_actions(const char *issuer, const char *actions, const char *doc)
{
    char top[512];
    (void)snprintf(top, sizeof(top),
                   "\"issuer\":{\"name\":\"%s\"},\"lifetime_actions\":%s", issuer,
                   actions);
    struct kv_policy policy = policy_read_with("\"validity_months\":2", top);
    json_t *want = policy_json(doc);
    cr_expect(json_equal(json_object_get(policy.doc, "lifetime_actions"), want), "%s",
              actions);
    json_decref(want);
    kv_policy_free(&policy);
}

Test(policy, actions_are_kept_or_defaulted)
{
    static const char renew[] = "[{\"trigger\":{\"lifetime_percentage\":80},\"action\":"
                                "{\"action_type\":\"AutoRenew\"}}]";
    static const char mail[] = "[{\"trigger\":{\"lifetime_percentage\":80},\"action\":"
                               "{\"action_type\":\"EmailContacts\"}}]";
    expect_actions("Self", "[]", renew);
    expect_actions("other", "null", renew);
    expect_actions("Unknown", "[]", mail);
    expect_actions(
        "Self",
        "[{\"trigger\":{\"days_before_expiry\":54,\"lifetime_percentage\":null},"
        "\"action\":{\"action_type\":\"autorenew\",\"x\":1}},"
        "{\"trigger\":{\"lifetime_percentage\":99},"
        "\"action\":{\"action_type\":\"EmailContacts\"}}]",
        "[{\"trigger\":{\"days_before_expiry\":54},"
        "\"action\":{\"action_type\":\"AutoRenew\"}},"
        "{\"trigger\":{\"lifetime_percentage\":99},"
        "\"action\":{\"action_type\":\"EmailContacts\"}}]");
}

Test(policy, bad_actions_are_named)
{
    static const char *const triggers[] = {
        "null",
        "{}",
        "5",
        "{\"lifetime_percentage\":0}",
        "{\"lifetime_percentage\":100}",
        "{\"lifetime_percentage\":\"80\"}",
        "{\"days_before_expiry\":0}",
        "{\"days_before_expiry\":55}",
        "{\"days_before_expiry\":1.5}",
        "{\"days_before_expiry\":5,\"lifetime_percentage\":80}",
    };
    static const char *const actions[] = {"null", "7", "{}", "{\"action_type\":1}",
                                          "{\"action_type\":\"Renew\"}"};
    char top[512];
    for (size_t i = 0; i < sizeof(triggers) / sizeof(triggers[0]); i++) {
        (void)snprintf(top, sizeof(top),
                       "\"lifetime_actions\":[{\"trigger\":{\"lifetime_percentage\":80}"
                       ",\"action\":{\"action_type\":\"AutoRenew\"}},"
                       "{\"trigger\":%s,\"action\":{\"action_type\":\"AutoRenew\"}}]",
                       triggers[i]);
        policy_expect_bad("\"validity_months\":2", top, "'lifetime_actions[1]'");
    }
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        (void)snprintf(top, sizeof(top),
                       "\"lifetime_actions\":[{\"trigger\":{\"lifetime_percentage\":80}"
                       ",\"action\":%s}]",
                       actions[i]);
        policy_expect_bad("", top, "'lifetime_actions[0]'");
    }
    policy_expect_bad("", "\"lifetime_actions\":{}", "'lifetime_actions'");
    policy_expect_bad("", "\"lifetime_actions\":[1]", "'lifetime_actions[0]'");
    policy_expect_bad("", "\"lifetime_actions\":[1,2,3,4,5,6,7,8,9]",
                      "'lifetime_actions'");
}

Test(policy, what_is_no_object_is_refused)
{
    json_t *given = policy_json("[]");
    policy_expect_bad_json(given, "policy.bad-field", "must be an object");
    policy_expect_bad_json(NULL, "policy.bad-field", "must be an object");
    json_decref(given);
}
