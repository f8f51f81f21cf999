/* Requests of policies: signed as the keyring does it, then read by libcrypto. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "lifecycle/certs/csr.h"
#include "store/keyring/keys.h"
#include "store/keyring/role.h"
#include "tests/support/policy_check.h"

static void setup(void)
{
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_keys_init(&err), 0, "%s", err.message);
}

TestSuite(csr, .timeout = 20, .init = setup, .fini = kv_keys_fini);

/* The request of the policy for a new key of its kind; the signature is right. */
static X509_REQ *request_of(const struct kv_policy *policy)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_key *key = NULL;
    struct kv_buf info;
    struct kv_buf der;
    kv_buf_init(&info, KV_CSR_MAX);
    kv_buf_init(&der, KV_CSR_MAX);
    cr_assert_eq(kv_key_generate(policy->kty, policy->curve, policy->bits, &key, &err),
                 0);
    cr_assert_eq(kv_csr_info(policy, kv_key_spki(key), &info, &err), 0, "%s",
                 err.message);
    struct kv_role_tbs msg = {.tbs = KV_TBS_CSR,
                              .md =
                                  policy->kty == KV_KTY_OKP ? KV_MD_NONE : KV_MD_SHA256,
                              .der = {info.data, info.len}};
    cr_assert_eq(kv_key_sign_tbs(key, &msg, &der, &err), 0, "%s", err.message);
    const uint8_t *at = der.data;
    X509_REQ *req = d2i_X509_REQ(NULL, &at, (long)der.len);
    cr_assert_not_null(req);
    cr_assert_eq(at, der.data + der.len);
    cr_expect_eq(X509_REQ_verify(req, X509_REQ_get0_pubkey(req)), 1);
    cr_expect_eq(X509_REQ_get_version(req), X509_REQ_VERSION_1);
    kv_key_unref(key);
    kv_buf_free(&der);
    kv_buf_free(&info);
    return req;
}

/* libcrypto's text of a requested extension, "critical: " in front; "" for none. */
static void extension_text(X509_REQ *req, int nid, char *out, size_t out_size)
{
    STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(req);
    int i = X509v3_get_ext_by_NID(extensions, nid, -1);
    out[0] = '\0';
    if (i >= 0) {
        X509_EXTENSION *extension = sk_X509_EXTENSION_value(extensions, i);
        BIO *bio = BIO_new(BIO_s_mem());
        char *text = NULL;
        if (X509_EXTENSION_get_critical(extension))
            (void)BIO_puts(bio, "critical: ");
        cr_assert_eq(X509V3_EXT_print(bio, extension, 0, 0), 1);
        long len = BIO_get_mem_data(bio, &text);
        (void)snprintf(out, out_size, "%.*s", (int)len, text);
        BIO_free(bio);
        cr_expect_eq(X509v3_get_ext_by_NID(extensions, nid, i), -1, "twice");
    }
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
}

static void expect_extension(X509_REQ *req, int nid, const char *want)
{
    char text[1024];
    extension_text(req, nid, text, sizeof(text));
    cr_expect_str_eq(text, want, "%s: %s", OBJ_nid2sn(nid), text);
}

Test(csr, each_kind_of_key_signs_its_request)
{
    static const char *const keys[] = {
        "{\"kty\":\"RSA\"}",   "{\"crv\":\"P-256\"}",  "{\"crv\":\"P-384\"}",
        "{\"crv\":\"P-521\"}", "{\"crv\":\"P-256K\"}", "{\"kty\":\"OKP\"}",
    };
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char top[128];
        (void)snprintf(top, sizeof(top), "\"key_props\":%s", keys[i]);
        struct kv_policy policy = policy_read_with("", top);
        X509_REQ *req = request_of(&policy);
        expect_extension(req, NID_key_usage,
                         i == 0 ? "critical: Digital Signature, Key Encipherment"
                                : "critical: Digital Signature");
        X509_REQ_free(req);
        kv_policy_free(&policy);
    }
}

Test(csr, subject_and_each_extension_are_those_of_the_policy)
{
    struct kv_policy policy = policy_read_with(
        "\"subject\":\"CN=www.example.com, O=\\\"Org, Inc.\\\", C=DE\","
        "\"ekus\":[\"1.3.6.1.5.5.7.3.1\",\"1.2.3.4\"],"
        "\"key_usage\":[\"digitalSignature\",\"nonRepudiation\",\"keyAgreement\","
        "\"keyCertSign\",\"cRLSign\"],"
        "\"sans\":{\"dns_names\":[\"www.example.com\",\"*.example.com\"],"
        "\"emails\":[\"a@example.com\"],\"upns\":[\"j\xc3\xb6@corp\"],"
        "\"uris\":[\"urn:x:1\"],\"ipAddresses\":[\"192.0.2.1\",\"2001:db8::1\"]}",
        "\"key_props\":{\"kty\":\"EC\"}");
    X509_REQ *req = request_of(&policy);
    char subject[256];
    cr_expect_str_eq(
        X509_NAME_oneline(X509_REQ_get_subject_name(req), subject, sizeof(subject)),
        "/CN=www.example.com/O=Org, Inc./C=DE");
    expect_extension(req, NID_key_usage,
                     "critical: Digital Signature, Non Repudiation, Key Agreement, "
                     "Certificate Sign, CRL Sign");
    expect_extension(req, NID_ext_key_usage, "TLS Web Server Authentication, 1.2.3.4");
    expect_extension(req, NID_subject_alt_name,
                     "email:a@example.com, DNS:www.example.com, DNS:*.example.com, "
                     "othername: UPN::j\xc3\xb6@corp, URI:urn:x:1, "
                     "IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1");
    expect_extension(req, NID_basic_constraints, "critical: CA:FALSE");
    X509_REQ_free(req);
    kv_policy_free(&policy);
}

Test(csr, names_are_critical_without_a_subject)
{
    struct kv_policy policy =
        policy_read_with("\"subject\":\"\",\"sans\":{\"dns_names\":[\"a\"]}",
                         "\"key_props\":{\"kty\":\"EC\"}");
    X509_REQ *req = request_of(&policy);
    cr_expect_eq(X509_NAME_entry_count(X509_REQ_get_subject_name(req)), 0);
    expect_extension(req, NID_subject_alt_name, "critical: DNS:a");
    X509_REQ_free(req);
    kv_policy_free(&policy);
}

Test(csr, without_names_there_is_no_such_extension)
{
    struct kv_policy policy = policy_read_with(
        "\"basic_constraints\":{\"ca\":true}",
        "\"key_props\":{\"kty\":\"EC\"},\"issuer\":{\"name\":\"Unknown\"}");
    X509_REQ *req = request_of(&policy);
    expect_extension(req, NID_subject_alt_name, "");
    expect_extension(req, NID_basic_constraints, "critical: CA:TRUE");
    X509_REQ_free(req);
    kv_policy_free(&policy);
}

Test(csr, encipher_only_needs_the_ninth_bit)
{
    struct kv_policy policy =
        policy_read_with("\"key_usage\":[\"encipherOnly\",\"decipherOnly\"]", "");
    X509_REQ *req = request_of(&policy);
    expect_extension(req, NID_key_usage, "critical: Encipher Only, Decipher Only");
    X509_REQ_free(req);
    kv_policy_free(&policy);
}

Test(csr, a_damaged_public_key_is_refused)
{
    struct kv_policy policy = policy_read_with("", "\"key_props\":{\"kty\":\"EC\"}");
    struct kv_key *key = NULL;
    struct kv_buf out;
    uint8_t spki[KV_SPKI_MAX + 1];
    kv_buf_init(&out, KV_CSR_MAX);
    cr_assert_eq(kv_key_generate(KV_KTY_EC, KV_CURVE_P256, 0, &key, NULL), 0);
    struct kv_bytes good = kv_key_spki(key);
    memcpy(spki, good.data, good.len);
    spki[good.len] = 0;
    for (size_t len = 0; len <= good.len + 1; len++) {
        struct kv_err err = KV_ERR_INIT;
        struct kv_bytes cut = {spki, len};
        int rc = kv_csr_info(&policy, cut, &out, &err);
        cr_expect_eq(rc, len == good.len ? 0 : KV_E_INVALID, "%zu bytes: %d", len, rc);
        cr_expect_eq(ERR_peek_error(), 0);
        kv_buf_reset(&out);
    }
    kv_key_unref(key);
    kv_buf_free(&out);
    kv_policy_free(&policy);
}
