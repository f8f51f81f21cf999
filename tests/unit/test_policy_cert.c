/* The policy that an imported certificate stands for. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "store/keyring/protocol.h"
#include "tests/support/chain_maker.h"
#include "tests/support/policy_check.h"

#define DAY_S 86400

TestSuite(policy_cert, .timeout = 20);

/* A certificate of chain_maker with more extensions; the DER is appended. */
struct extra {
    int nid;
    const char *value;
};

static void make(const struct chain_maker *maker, const struct extra *extras, size_t n,
                 struct kv_buf *der)
{
    struct chain_made made = chain_make(maker, NULL);
    uint8_t *bytes = NULL;
    for (size_t i = 0; i < n; i++) {
        X509_EXTENSION *ext =
            X509V3_EXT_conf_nid(NULL, NULL, extras[i].nid, extras[i].value);
        cr_assert_not_null(ext, "%s", extras[i].value);
        cr_assert_eq(X509_add_ext(made.cert, ext, -1), 1);
        X509_EXTENSION_free(ext);
    }
    const EVP_MD *md = strcmp(maker->type, "ED25519") == 0 ? NULL : EVP_sha256();
    cr_assert_gt(X509_sign(made.cert, made.key, md), 0);
    int len = i2d_X509(made.cert, &bytes);
    kv_buf_init(der, KV_CERT_DER_MAX);
    cr_assert_eq(kv_buf_append(der, bytes, (size_t)len), 0);
    OPENSSL_free(bytes);
    chain_made_free(&made);
}

/* The policy of the certificate; `given` is JSON or NULL. The document reads back. */
static struct kv_policy read_cert(const struct kv_buf *der, const char *given)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_policy policy;
    struct kv_policy again;
    json_t *json = given != NULL ? policy_json(given) : NULL;
    json_t *before = json_deep_copy(json);
    struct kv_bytes bytes = {der->data, der->len};
    cr_assert_eq(kv_policy_of_cert(bytes, json, &policy, &err), 0, "%s", err.message);
    cr_assert_eq(kv_policy_read(policy.doc, &again, &err), 0, "%s", err.message);
    cr_expect(json_equal(policy.doc, again.doc));
    cr_expect(json == NULL || json_equal(json, before), "the given policy was changed");
    cr_expect_eq(ERR_peek_error(), 0);
    kv_policy_free(&again);
    json_decref(before);
    json_decref(json);
    return policy;
}

static void expect_doc(const struct kv_policy *policy, const char *doc)
{
    json_t *want = policy_json(doc);
    char *is = json_dumps(policy->doc, 0);
    cr_expect(json_equal(policy->doc, want), "is   %s\nwant %s", is, doc);
    free(is);
    json_decref(want);
}

static void expect_refused(const struct kv_buf *der, const char *given, const char *id,
                           const char *says)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_policy policy;
    json_t *json = given != NULL ? policy_json(given) : NULL;
    struct kv_bytes bytes = {der->data, der->len};
    cr_expect_lt(kv_policy_of_cert(bytes, json, &policy, &err), 0, "%s", given);
    cr_expect_str_eq(err.id, id, "%s", err.message);
    cr_expect_not_null(strstr(err.message, says), "%s", err.message);
    cr_expect_eq(ERR_peek_error(), 0);
    json_decref(json);
}

static const struct chain_maker plain = {.type = "P-256", .subject = "a"};

Test(policy_cert, says_what_the_certificate_says)
{
    static const struct extra extras[] = {
        {NID_key_usage, "critical,digitalSignature,keyAgreement,keyEncipherment"},
        {NID_ext_key_usage, "clientAuth,1.2.3.4"},
        {NID_basic_constraints, "critical,CA:TRUE"},
    };
    const struct chain_maker maker = {
        .type = "P-384",
        .subject = "Org, Inc.",
        .sans = "DNS:WWW.example.com,DNS:bad_name.example,email:a@Example.com,"
                "URI:urn:x:1,IP:192.0.2.1,IP:2001:db8::1,RID:1.2.3,"
                "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:joe@corp,"
                "otherName:1.2.3.4;UTF8:joe@corp,"
                "otherName:1.3.6.1.4.1.311.20.2.3;IA5:joe@corp",
    };
    struct kv_buf der;
    make(&maker, extras, 3, &der);
    struct kv_policy policy = read_cert(&der, NULL);
    expect_doc(&policy,
               "{\"key_props\":{\"exportable\":true,\"kty\":\"EC\",\"key_size\":384,"
               "\"crv\":\"P-384\",\"reuse_key\":false},"
               "\"secret_props\":{\"contentType\":\"application/x-pkcs12\"},"
               "\"x509_props\":{\"subject\":\"CN=\\\"Org, Inc.\\\"\",\"sans\":{"
               "\"emails\":[\"a@example.com\"],\"dns_names\":[\"www.example.com\"],"
               "\"upns\":[\"joe@corp\"],\"uris\":[\"urn:x:1\"],"
               "\"ipAddresses\":[\"192.0.2.1\",\"2001:db8::1\"]},"
               "\"ekus\":[\"1.3.6.1.5.5.7.3.2\",\"1.2.3.4\"],"
               "\"key_usage\":[\"digitalSignature\",\"keyAgreement\"],"
               "\"validity_months\":3,\"basic_constraints\":{\"ca\":true}},"
               "\"issuer\":{\"name\":\"Unknown\"},"
               "\"lifetime_actions\":[{\"trigger\":{\"lifetime_percentage\":80},"
               "\"action\":{\"action_type\":\"EmailContacts\"}}]}");
    cr_expect_eq(policy.key_ops, KV_OP_SIGN | KV_OP_VERIFY | KV_OP_DERIVE);
    kv_policy_free(&policy);
    kv_buf_free(&der);
}

Test(policy_cert, given_members_replace)
{
    const struct chain_maker maker = {
        .type = "RSA", .subject = "a", .sans = "DNS:a,email:a@a"};
    static const struct extra extras[] = {{NID_basic_constraints, "CA:TRUE"}};
    struct kv_buf der;
    make(&maker, extras, 1, &der);
    struct kv_policy policy = read_cert(
        &der, "{\"key_props\":{\"exportable\":false,\"kty\":\"RSA\",\"key_size\":4096},"
              "\"secret_props\":{\"contentType\":\"application/x-pem-file\"},"
              "\"x509_props\":{\"sans\":{\"dns_names\":[\"b\"]},\"ekus\":[],"
              "\"validity_months\":24},"
              "\"lifetime_actions\":[{\"trigger\":{\"days_before_expiry\":30},"
              "\"action\":{\"action_type\":\"AutoRenew\"}}],"
              "\"issuer\":{\"name\":\"Self\"},\"attributes\":{}}");
    expect_doc(&policy,
               "{\"key_props\":{\"exportable\":false,\"kty\":\"RSA\",\"key_size\":4096,"
               "\"reuse_key\":false},"
               "\"secret_props\":{\"contentType\":\"application/x-pem-file\"},"
               "\"x509_props\":{\"subject\":\"CN=a\",\"sans\":{\"dns_names\":[\"b\"]},"
               "\"ekus\":[\"1.3.6.1.5.5.7.3.1\",\"1.3.6.1.5.5.7.3.2\"],"
               "\"key_usage\":[\"digitalSignature\",\"keyEncipherment\"],"
               "\"validity_months\":24,\"basic_constraints\":{\"ca\":false}},"
               "\"issuer\":{\"name\":\"Self\"},"
               "\"lifetime_actions\":[{\"trigger\":{\"days_before_expiry\":30},"
               "\"action\":{\"action_type\":\"AutoRenew\"}}]}");
    kv_policy_free(&policy);
    kv_buf_free(&der);
}

Test(policy_cert, empty_objects_replace_nothing)
{
    const struct chain_maker maker = {.type = "P-256", .subject = "a", .sans = "DNS:a"};
    struct kv_buf der;
    make(&maker, NULL, 0, &der);
    struct kv_policy policy = read_cert(&der, NULL);
    struct kv_policy same = read_cert(
        &der, "{\"key_props\":{},\"secret_props\":{},\"x509_props\":{\"sans\":{},"
              "\"subject\":null},\"issuer\":{},\"lifetime_actions\":[],\"attributes\":"
              "{}}");
    cr_expect(json_equal(policy.doc, same.doc));
    kv_policy_free(&same);
    kv_policy_free(&policy);
    kv_buf_free(&der);
}

Test(policy_cert, subject_may_be_empty_beside_names)
{
    struct chain_maker maker = {.type = "P-256", .sans = "DNS:a"};
    struct kv_buf der;
    make(&maker, NULL, 0, &der);
    struct kv_policy policy = read_cert(&der, NULL);
    cr_expect_str_eq(policy.subject, "");
    kv_policy_free(&policy);
    kv_buf_free(&der);
    maker.sans = NULL;
    make(&maker, NULL, 0, &der);
    expect_refused(&der, NULL, "policy.bad-field", "'x509_props.subject'");
    kv_buf_free(&der);
}

Test(policy_cert, each_type_of_key_is_told)
{
    static const struct {
        const char *type;
        uint8_t kty;
        uint8_t curve;
        uint16_t bits;
    } rows[] = {
        {"RSA", KV_KTY_RSA, KV_CURVE_NONE, 2048},
        {"P-256", KV_KTY_EC, KV_CURVE_P256, 0},
        {"P-384", KV_KTY_EC, KV_CURVE_P384, 0},
        {"P-521", KV_KTY_EC, KV_CURVE_P521, 0},
        {"secp256k1", KV_KTY_EC, KV_CURVE_P256K, 0},
        {"ED25519", KV_KTY_OKP, KV_CURVE_ED25519, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct chain_maker maker = {.type = rows[i].type, .subject = "a"};
        struct kv_buf der;
        make(&maker, NULL, 0, &der);
        struct kv_policy policy = read_cert(&der, NULL);
        cr_expect_eq(policy.kty, rows[i].kty, "%s", rows[i].type);
        cr_expect_eq(policy.curve, rows[i].curve, "%s", rows[i].type);
        cr_expect_eq(policy.bits, rows[i].bits, "%s", rows[i].type);
        kv_policy_free(&policy);
        kv_buf_free(&der);
    }
    const struct chain_maker other = {.type = "P-224", .subject = "a"};
    struct kv_buf der;
    make(&other, NULL, 0, &der);
    expect_refused(&der, NULL, "policy.not-offered", "'key_props.kty'");
    kv_buf_free(&der);
}

Test(policy_cert, length_of_life_is_rounded)
{
    static const struct {
        int64_t seconds;
        int64_t months;
        int64_t hours;
    } rows[] = {
        {0, 1, 1},
        {1, 1, 1},
        {3600, 1, 1},
        {3601, 1, 2},
        {DAY_S * 7, 1, 168},
        {DAY_S * 28 - 1, 1, 672},
        {DAY_S * 28, 1, 0},
        {DAY_S * 47, 2, 0},
        {DAY_S * 90 - 1, 3, 0},
        {DAY_S * 90, 3, 0},
        {DAY_S * 365, 12, 0},
        {DAY_S * 398, 13, 0},
        {DAY_S * 3650, 120, 0},
        {DAY_S * INT64_C(200000), 1200, 0},
        {-DAY_S, 12, 0}, /* says nothing: the default */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct chain_maker maker = plain;
        struct kv_buf der;
        maker.nbf_s = CHAIN_MAKER_NOW_S;
        maker.exp_s = CHAIN_MAKER_NOW_S + rows[i].seconds;
        make(&maker, NULL, 0, &der);
        struct kv_policy policy = read_cert(&der, NULL);
        cr_expect_eq(policy.validity_months, rows[i].months, "row %zu: %lld", i,
                     (long long)policy.validity_months);
        cr_expect_eq(policy.validity_hours, rows[i].hours, "row %zu: %lld", i,
                     (long long)policy.validity_hours);
        kv_policy_free(&policy);
        kv_buf_free(&der);
    }
}

Test(policy_cert, months_replace_hours)
{
    struct chain_maker maker = plain;
    struct kv_buf der;
    maker.exp_s = CHAIN_MAKER_NOW_S + DAY_S;
    make(&maker, NULL, 0, &der);
    struct kv_policy policy =
        read_cert(&der, "{\"x509_props\":{\"validity_months\":6}}");
    cr_expect_eq(policy.validity_months, 6);
    cr_expect_eq(policy.validity_hours, 0);
    kv_policy_free(&policy);
    kv_buf_free(&der);
}

Test(policy_cert, key_members_go_together)
{
    struct kv_buf der;
    make(&plain, NULL, 0, &der);
    struct kv_policy policy = read_cert(&der, "{\"key_props\":{\"crv\":\"P-521\"}}");
    cr_expect_eq(policy.curve, KV_CURVE_P521);
    kv_policy_free(&policy);
    policy = read_cert(&der, "{\"key_props\":{\"key_size\":384}}");
    cr_expect_eq(policy.curve, KV_CURVE_P384);
    kv_policy_free(&policy);
    expect_refused(&der, "{\"key_props\":{\"kty\":\"RSA\",\"key_size\":2048}}",
                   "policy.bad-field", "'key_props.kty'");
    expect_refused(&der, "{\"key_props\":{\"kty\":\"RSA\"}}", "policy.bad-field",
                   "'key_props.kty'");
    expect_refused(&der, "{\"key_props\":{\"kty\":\"RSA-HSM\"}}", "policy.not-offered",
                   "'key_props.kty'");
    kv_buf_free(&der);
}

Test(policy_cert, given_members_are_checked)
{
    struct kv_buf der;
    make(&plain, NULL, 0, &der);
    expect_refused(&der, "[]", "policy.bad-field", "must be an object");
    expect_refused(&der, "{\"key_props\":7}", "policy.bad-field", "'key_props'");
    expect_refused(&der, "{\"x509_props\":{\"sans\":{\"dns_names\":[\"a b\"]}}}",
                   "policy.bad-field", "'x509_props.sans.dns_names[0]'");
    expect_refused(&der, "{\"x509_props\":{\"subject\":\"a\"}}", "policy.bad-subject",
                   "has no =");
    expect_refused(&der, "{\"issuer\":{\"name\":\"a b\"}}", "policy.bad-field",
                   "'issuer.name'");
    kv_buf_free(&der);
}

Test(policy_cert, what_is_no_certificate_is_refused)
{
    struct kv_buf der;
    make(&plain, NULL, 0, &der);
    size_t len = der.len;
    for (size_t cut = 0; cut < len; cut += 7) {
        struct kv_buf part = der;
        part.len = cut;
        expect_refused(&part, NULL, "policy.bad-certificate", "cannot be read");
    }
    cr_assert_eq(kv_buf_append(&der, "", 1), 0);
    expect_refused(&der, NULL, "policy.bad-certificate", "cannot be read");
    kv_buf_free(&der);
}
