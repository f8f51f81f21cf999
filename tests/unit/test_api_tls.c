/*
 * The API's own CA and leaf: what they vouch for and what not, and the way to the
 * store and back.
 */
#include <criterion/criterion.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "lifecycle/service/api_tls.h"

TestSuite(api_tls, .timeout = 60);

#define NOW 1800000000
#define DAY 86400

static void names_of(const char *domain, const char *host, char out[512])
{
    cr_assert_eq(kv_api_tls_names(domain, host, out, 512), 0);
}

Test(api_tls, names_are_those_of_the_vaults_the_loopback_and_the_address)
{
    static const char *const wildcards[] = {NULL, "",          "0.0.0.0",
                                            "::", "127.0.0.1", "::1"};
    char names[512];
    for (size_t i = 0; i < sizeof(wildcards) / sizeof(wildcards[0]); i++) {
        names_of("vault.localhost", wildcards[i], names);
        cr_assert_str_eq(names, "DNS:*.vault.localhost,DNS:vault.localhost,"
                                "DNS:default.vault.localhost,DNS:localhost,"
                                "IP:127.0.0.1,IP:::1");
    }
    names_of("v.example", "192.0.2.7", names);
    cr_assert_not_null(strstr(names, ",IP:192.0.2.7"));
    names_of("v.example", "2001:db8::1", names);
    cr_assert_not_null(strstr(names, ",IP:2001:db8::1"));
    cr_assert_eq(kv_api_tls_names("v.example", NULL, names, 40), KV_E_TOO_BIG);
}

/* X509_V_OK or why the leaf is no good at `now_s` for this host or address. */
static int verify(const struct kv_api_identity *ca, const struct kv_api_identity *leaf,
                  const char *host, const char *address, int64_t now_s)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    cr_assert_eq(X509_STORE_add_cert(store, ca->certificate), 1);
    cr_assert_eq(X509_STORE_CTX_init(ctx, store, leaf->certificate, NULL), 1);
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
    if (host != NULL)
        cr_assert_eq(X509_VERIFY_PARAM_set1_host(param, host, 0), 1);
    if (address != NULL)
        cr_assert_eq(X509_VERIFY_PARAM_set1_ip_asc(param, address), 1);
    int result = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return result;
}

static void make(const char *host, struct kv_api_identity *ca,
                 struct kv_api_identity *leaf)
{
    char names[512];
    struct kv_err err = KV_ERR_INIT;
    names_of("vault.localhost", host, names);
    cr_assert_eq(kv_api_ca_make("vault.localhost", names, NOW, ca, &err), 0, "%s",
                 err.message);
    cr_assert_eq(kv_api_leaf_make(ca, names, NOW, leaf, &err), 0, "%s", err.message);
}

Test(api_tls, a_leaf_is_good_for_its_names_and_time)
{
    static const struct {
        const char *host;
        const char *address;
        int64_t now_s;
        int result;
    } rows[] = {
        {"default.vault.localhost", NULL, NOW, X509_V_OK},
        {"other.vault.localhost", NULL, NOW, X509_V_OK},
        {"vault.localhost", NULL, NOW, X509_V_OK},
        {"localhost", NULL, NOW, X509_V_OK},
        {NULL, "127.0.0.1", NOW, X509_V_OK},
        {NULL, "::1", NOW, X509_V_OK},
        {NULL, "192.0.2.7", NOW, X509_V_OK},
        {"a.b.vault.localhost", NULL, NOW, X509_V_ERR_HOSTNAME_MISMATCH},
        {"example.com", NULL, NOW, X509_V_ERR_HOSTNAME_MISMATCH},
        {NULL, "192.0.2.8", NOW, X509_V_ERR_IP_ADDRESS_MISMATCH},
        {"localhost", NULL, NOW - 500, X509_V_OK},
        {"localhost", NULL, NOW - 700, X509_V_ERR_CERT_NOT_YET_VALID},
        {"localhost", NULL, NOW + (int64_t)(KV_API_LEAF_DAYS + 1) * DAY,
         X509_V_ERR_CERT_HAS_EXPIRED},
    };
    struct kv_api_identity ca;
    struct kv_api_identity leaf;
    make("192.0.2.7", &ca, &leaf);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int result = verify(&ca, &leaf, rows[i].host, rows[i].address, rows[i].now_s);
        cr_assert_eq(result, rows[i].result, "%s%s: %s",
                     rows[i].host != NULL ? rows[i].host : "",
                     rows[i].address != NULL ? rows[i].address : "",
                     X509_verify_cert_error_string(result));
    }
    kv_api_identity_free(&leaf);
    kv_api_identity_free(&ca);
}

Test(api_tls, the_ca_vouches_for_nothing_else)
{
    static const char *const foreign[] = {
        "DNS:example.com", "DNS:*.example.com", "IP:192.0.2.7",
        "IP:10.0.0.1",     "IP:2001:db8::1",    "DNS:localhost,IP:8.8.8.8",
    };
    struct kv_api_identity ca;
    struct kv_api_identity leaf;
    make(NULL, &ca, &leaf);
    cr_assert_eq(verify(&ca, &leaf, "localhost", NULL, NOW), X509_V_OK);
    kv_api_identity_free(&leaf);
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        cr_assert_eq(kv_api_leaf_make(&ca, foreign[i], NOW, &leaf, NULL), 0);
        cr_assert_eq(verify(&ca, &leaf, NULL, NULL, NOW),
                     X509_V_ERR_PERMITTED_VIOLATION, "%s", foreign[i]);
        kv_api_identity_free(&leaf);
    }
    kv_api_identity_free(&ca);
}

Test(api_tls, a_leaf_is_due_for_other_names_or_near_its_end)
{
    struct kv_api_identity ca;
    struct kv_api_identity leaf;
    make(NULL, &ca, &leaf);
    const int64_t end_s = NOW + (int64_t)KV_API_LEAF_DAYS * DAY;
    const int64_t due_s = end_s - (int64_t)KV_API_LEAF_RENEW_DAYS * DAY;
    cr_assert(!kv_api_leaf_is_due(&leaf, leaf.names, NOW));
    cr_assert(!kv_api_leaf_is_due(&leaf, leaf.names, due_s - 1));
    cr_assert(kv_api_leaf_is_due(&leaf, leaf.names, due_s + 1));
    cr_assert(kv_api_leaf_is_due(&leaf, "DNS:localhost", NOW));
    kv_api_identity_free(&leaf);
    kv_api_identity_free(&ca);
}

Test(api_tls, identities_go_to_the_store_and_back)
{
    struct kv_api_identity ca;
    struct kv_api_identity leaf;
    struct kv_api_identity read;
    make(NULL, &ca, &leaf);
    json_t *doc = kv_api_identity_doc(&leaf);
    cr_assert_eq(kv_api_identity_read(doc, &read, NULL), 0);
    cr_assert_eq(EVP_PKEY_eq(read.key, leaf.key), 1);
    cr_assert_eq(X509_cmp(read.certificate, leaf.certificate), 0);
    cr_assert_eq(X509_cmp(read.ca, ca.certificate), 0);
    cr_assert_str_eq(read.names, leaf.names);
    kv_api_identity_free(&read);
    json_decref(doc);
    doc = kv_api_identity_doc(&ca);
    cr_assert_eq(kv_api_identity_read(doc, &read, NULL), 0);
    cr_assert_null(read.ca, "a CA has no CA");
    kv_api_identity_free(&read);
    json_decref(doc);
    kv_api_identity_free(&leaf);
    kv_api_identity_free(&ca);
}

Test(api_tls, a_stored_identity_that_is_not_whole_is_damage)
{
    static const char *const members[] = {"key", "certificate", "names"};
    struct kv_api_identity ca;
    struct kv_api_identity leaf;
    struct kv_api_identity read;
    make(NULL, &ca, &leaf);
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        struct kv_err err = KV_ERR_INIT;
        json_t *doc = kv_api_identity_doc(&leaf);
        cr_assert_eq(json_object_del(doc, members[i]), 0);
        cr_assert_eq(kv_api_identity_read(doc, &read, &err), KV_E_INTEGRITY, "%s",
                     members[i]);
        cr_assert_str_eq(err.id, "service.bad-identity");
        cr_assert_null(read.key, "nothing is left to free");
        json_decref(doc);
    }
    json_t *doc = kv_api_identity_doc(&leaf);
    json_t *other = kv_api_identity_doc(&ca);
    cr_assert_eq(json_object_set(doc, "key", json_object_get(other, "key")), 0);
    cr_assert_eq(kv_api_identity_read(doc, &read, NULL), KV_E_INTEGRITY,
                 "another certificate's key");
    json_decref(other);
    json_decref(doc);
    kv_api_identity_free(&leaf);
    kv_api_identity_free(&ca);
}
