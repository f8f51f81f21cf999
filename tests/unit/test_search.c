/* Which certificates and keys a search wants: provider/search.c. */
#include "provider/search.h"

#include <criterion/criterion.h>
#include <openssl/store.h>
#include <string.h>

static struct kv_prov prov;
static struct kv_search search;
static EVP_PKEY *key;
static uint8_t *der; /* a certificate of `key`: subject "Web  Server", serial 0x0102 */
static size_t der_len;
static uint8_t *spki;
static size_t spki_len;

static X509_NAME *name_of(const char *cn)
{
    X509_NAME *name = X509_NAME_new();
    cr_assert_eq(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                            (const unsigned char *)cn, -1, -1, 0),
                 1);
    return name;
}

static void make_cert(void)
{
    X509 *cert = X509_new();
    X509_NAME *subject = name_of("Web  Server");
    X509_NAME *issuer = name_of("CA");
    cr_assert(X509_set_version(cert, X509_VERSION_3) &&
              ASN1_INTEGER_set(X509_get_serialNumber(cert), 0x0102) &&
              X509_gmtime_adj(X509_getm_notBefore(cert), 0) != NULL &&
              X509_gmtime_adj(X509_getm_notAfter(cert), 60) != NULL &&
              X509_set_subject_name(cert, subject) &&
              X509_set_issuer_name(cert, issuer) && X509_set_pubkey(cert, key) &&
              X509_sign(cert, key, EVP_sha256()) > 0);
    der_len = (size_t)i2d_X509(cert, &der);
    spki_len = (size_t)i2d_PUBKEY(key, &spki);
    X509_NAME_free(subject);
    X509_NAME_free(issuer);
    X509_free(cert);
}

static void setup(void)
{
    prov.libctx = OSSL_LIB_CTX_new();
    key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    make_cert();
}

static void teardown(void)
{
    kv_search_fini(&search);
    for (size_t i = 0; i < KV_PROV_N_MD; i++)
        EVP_MD_free(atomic_load(&prov.md[i]));
    OPENSSL_free(der);
    OPENSSL_free(spki);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(prov.libctx);
}

TestSuite(search, .timeout = 20, .init = setup, .fini = teardown);

static bool by_name(const char *param, const char *cn, int64_t serial)
{
    unsigned char *name_der = NULL;
    uint64_t number = (uint64_t)serial;
    X509_NAME *name = name_of(cn);
    int len = i2d_X509_NAME(name, &name_der);
    OSSL_PARAM params[] = {OSSL_PARAM_octet_string(param, name_der, (size_t)len),
                           OSSL_PARAM_uint64(OSSL_STORE_PARAM_SERIAL, &number),
                           OSSL_PARAM_END};
    if (serial < 0)
        params[1] = (OSSL_PARAM)OSSL_PARAM_END;
    bool ok = kv_search_set(&prov, &search, params);
    OPENSSL_free(name_der);
    X509_NAME_free(name);
    return ok;
}

static bool by_digest(const char *digest, const uint8_t *data, size_t len, size_t cut)
{
    uint8_t value[EVP_MAX_MD_SIZE];
    size_t value_len = 0;
    cr_assert_eq(EVP_Q_digest(NULL, digest == NULL ? "SHA256" : digest, NULL, data, len,
                              value, &value_len),
                 1);
    OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_STORE_PARAM_FINGERPRINT, value, value_len - cut),
        OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_DIGEST, (char *)(uintptr_t)digest,
                               digest == NULL ? 0 : strlen(digest)),
        OSSL_PARAM_END};
    return kv_search_set(&prov, &search, params);
}

static bool by_alias(const char *alias)
{
    OSSL_PARAM params[] = {OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_ALIAS,
                                                  (char *)(uintptr_t)alias,
                                                  strlen(alias)),
                           OSSL_PARAM_END};
    return kv_search_set(&prov, &search, params);
}

static bool wants_cert(void)
{
    return kv_search_wants_cert(&prov, &search, der, der_len);
}

static bool wants_key(void)
{
    return kv_search_wants_key(&search, spki, spki_len);
}

Test(search, without_a_criterion_everything_is_wanted)
{
    OSSL_PARAM params[] = {OSSL_PARAM_END};
    cr_expect(kv_search_set(&prov, &search, params));
    cr_expect(wants_cert());
    cr_expect(wants_key());
    cr_expect(kv_search_fits_keys(&search));
}

Test(search, a_subject_compares_as_openssl_compares_names)
{
    cr_assert(by_name(OSSL_STORE_PARAM_SUBJECT, "web server", -1));
    cr_expect(wants_cert(), "case and runs of spaces do not count");
    cr_assert(by_name(OSSL_STORE_PARAM_SUBJECT, "CA", -1));
    cr_expect_not(wants_cert(), "that is the issuer");
    cr_expect_not(wants_key(), "a key has no subject");
    cr_expect_not(kv_search_fits_keys(&search));
}

Test(search, issuer_and_serial_number_count_together)
{
    cr_assert(by_name(OSSL_STORE_PARAM_ISSUER, "CA", 0x0102));
    cr_expect(wants_cert());
    cr_expect_not(kv_search_fits_keys(&search));
    cr_assert(by_name(OSSL_STORE_PARAM_ISSUER, "CA", 0x0103));
    cr_expect_not(wants_cert());
    cr_assert(by_name(OSSL_STORE_PARAM_ISSUER, "Web Server", 0x0102));
    cr_expect_not(wants_cert());
}

Test(search, an_issuer_alone_is_refused_and_the_search_before_stays)
{
    cr_assert(by_name(OSSL_STORE_PARAM_SUBJECT, "Web Server", -1));
    cr_expect_not(by_name(OSSL_STORE_PARAM_ISSUER, "CA", -1));
    cr_expect_eq(search.by, KV_SEARCH_SUBJECT);
    cr_expect(wants_cert());
}

Test(search, a_fingerprint_is_of_the_certificate_or_of_its_key)
{
    static const char *const digests[] = {"SHA1", "SHA256", "SHA512", "SHA3-256"};
    for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
        cr_assert(by_digest(digests[i], der, der_len, 0), "%s", digests[i]);
        cr_expect(wants_cert());
        cr_expect_not(wants_key());
        cr_assert(by_digest(digests[i], spki, spki_len, 0), "%s", digests[i]);
        cr_expect(wants_cert());
        cr_expect(wants_key());
    }
    cr_assert(by_digest("SHA256", der, der_len - 1, 0));
    cr_expect_not(wants_cert());
    cr_expect_not(wants_key());
}

Test(search, the_length_tells_the_digest_where_no_name_does)
{
    cr_assert(by_digest(NULL, spki, spki_len, 0));
    cr_expect(wants_key());
    cr_expect_not(by_digest(NULL, spki, spki_len, 1), "31 bytes are no digest");
    cr_expect_not(by_digest("SHA256", spki, spki_len, 12), "20 bytes are no SHA-256");
    cr_expect_not(by_digest("MD5", spki, spki_len, 0));
}

Test(search, an_alias_is_a_name_of_the_vault)
{
    cr_assert(by_alias("web"));
    cr_expect_str_eq(search.alias, "web");
    cr_expect(wants_cert(), "the caller compares names");
    cr_expect(kv_search_fits_keys(&search));
    cr_expect_not(by_alias("no name"));
    cr_expect_not(by_alias(""));
    cr_expect_str_eq(search.alias, "web");
}

Test(search, what_is_no_name_and_no_certificate_is_refused)
{
    uint8_t junk[] = {0x30, 0x03, 0x02, 0x01, 0x05};
    OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_STORE_PARAM_SUBJECT, junk, sizeof(junk)),
        OSSL_PARAM_END};
    cr_expect_not(kv_search_set(&prov, &search, params));
    cr_assert(by_name(OSSL_STORE_PARAM_SUBJECT, "Web Server", -1));
    cr_expect_not(kv_search_wants_cert(&prov, &search, junk, sizeof(junk)));
    cr_expect_not(kv_search_wants_cert(&prov, &search, der, der_len - 1));
}
