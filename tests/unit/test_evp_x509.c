/* Certificates, requests and revocation lists signed by a vault key, and the ways in
 * which programs put a certificate and its key together. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <string.h>

#include "tests/support/evp_check.h"

TestSuite(evp_x509, .timeout = 60, .init = evp_check_open, .fini = evp_check_close);

static struct criterion_test_params every_name(void)
{
    static size_t rows[EVP_CHECK_N_NAMES];
    for (size_t i = 0; i < EVP_CHECK_N_NAMES; i++)
        rows[i] = i;
    return cr_make_param_array(size_t, rows, EVP_CHECK_N_NAMES);
}

static const char *const digests[] = {"SHA1", "SHA224", "SHA256", "SHA384", "SHA512"};
#define N_DIGESTS (sizeof(digests) / sizeof(digests[0]))

/* --- the AlgorithmIdentifier --- */

static size_t algorithm_id(EVP_PKEY *key, OSSL_LIB_CTX *libctx, const char *digest,
                           unsigned char out[128])
{
    EVP_PKEY_CTX *pctx = NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, out, 128),
        OSSL_PARAM_END};
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    cr_assert_eq(EVP_DigestSignInit_ex(ctx, &pctx, digest, libctx, NULL, key, NULL), 1);
    cr_assert_eq(EVP_PKEY_CTX_get_params(pctx, params), 1);
    EVP_MD_CTX_free(ctx);
    return params[0].return_size;
}

ParameterizedTestParameters(evp_x509, algorithm_identifiers_are_as_from_a_key_file)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_x509, algorithm_identifiers_are_as_from_a_key_file,
                  .timeout = 60)
{
    const char *name = evp_check_names[*row];
    EVP_PKEY *key = evp_check_private(name);
    EVP_PKEY *file = evp_check_software(name);
    const unsigned before = evp_check_frames();
    for (size_t i = 0; i < (evp_check_digest(name) == NULL ? 1 : N_DIGESTS); i++) {
        const char *digest = evp_check_digest(name) == NULL ? NULL : digests[i];
        unsigned char ours[128];
        unsigned char theirs[128];
        const size_t len = algorithm_id(key, evp_fixture.libctx, digest, ours);
        cr_assert_gt(len, 0u, "%s", name);
        cr_expect_eq(algorithm_id(file, NULL, digest, theirs), len, "%s", name);
        cr_expect_eq(memcmp(ours, theirs, len), 0, "%s %s", name, digest);
    }
    evp_check_clean("an AlgorithmIdentifier");
    cr_expect_eq(evp_check_frames(), before);
    EVP_PKEY_free(file);
    EVP_PKEY_free(key);
}

/* --- signing ASN.1 --- */

static void name_it(X509_NAME *name, const char *cn)
{
    cr_assert_eq(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                            (const unsigned char *)cn, -1, -1, 0),
                 1);
}

static EVP_MD_CTX *begin(EVP_PKEY *key, const char *digest, bool is_pss)
{
    EVP_PKEY_CTX *pctx = NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    cr_assert_eq(
        EVP_DigestSignInit_ex(ctx, &pctx, digest, evp_fixture.libctx, NULL, key, NULL),
        1);
    if (is_pss) {
        cr_assert_eq(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING), 1);
        cr_assert_eq(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST), 1);
    }
    return ctx;
}

static void sign_request(EVP_PKEY *key, EVP_PKEY *file, const char *digest, bool is_pss)
{
    X509_REQ *request = X509_REQ_new_ex(evp_fixture.libctx, NULL);
    name_it(X509_REQ_get_subject_name(request), "subject");
    cr_assert_eq(X509_REQ_set_pubkey(request, key), 1);
    EVP_MD_CTX *ctx = begin(key, digest, is_pss);
    cr_assert_gt(X509_REQ_sign_ctx(request, ctx), 0, "%s", digest);
    evp_check_clean("signing a request");
    cr_expect_eq(X509_REQ_verify(request, file), 1, "%s", digest);
    cr_expect_eq(X509_REQ_check_private_key(request, key), 1);
    EVP_PKEY *inside = X509_REQ_get_pubkey(request);
    cr_expect_eq(EVP_PKEY_eq(inside, file), 1);
    evp_check_clean("reading a request");
    EVP_PKEY_free(inside);
    EVP_MD_CTX_free(ctx);
    X509_REQ_free(request);
}

static void sign_certificate(EVP_PKEY *key, EVP_PKEY *file, const char *digest,
                             bool is_pss)
{
    X509 *cert = X509_new_ex(evp_fixture.libctx, NULL);
    cr_assert_eq(X509_set_version(cert, X509_VERSION_3), 1);
    cr_assert_eq(ASN1_INTEGER_set(X509_get_serialNumber(cert), 7), 1);
    cr_assert_not_null(X509_gmtime_adj(X509_getm_notBefore(cert), 0));
    cr_assert_not_null(X509_gmtime_adj(X509_getm_notAfter(cert), 3600));
    X509_NAME *name = X509_NAME_new();
    name_it(name, "issuer");
    cr_assert_eq(X509_set_issuer_name(cert, name), 1);
    cr_assert_eq(X509_set_subject_name(cert, name), 1);
    cr_assert_eq(X509_set_pubkey(cert, key), 1);
    EVP_MD_CTX *ctx = begin(key, digest, is_pss);
    cr_assert_gt(X509_sign_ctx(cert, ctx), 0, "%s", digest);
    evp_check_clean("signing a certificate");
    cr_expect_eq(X509_verify(cert, file), 1, "%s", digest);
    cr_expect_eq(X509_check_private_key(cert, key), 1);
    evp_check_clean("checking a certificate");
    EVP_MD_CTX_free(ctx);
    X509_NAME_free(name);
    X509_free(cert);
}

ParameterizedTestParameters(evp_x509, requests_and_certificates_are_signed)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_x509, requests_and_certificates_are_signed,
                  .timeout = 60)
{
    const char *name = evp_check_names[*row];
    EVP_PKEY *key = evp_check_private(name);
    EVP_PKEY *file = evp_check_software(name);
    for (size_t i = 0; i < (evp_check_digest(name) == NULL ? 1 : N_DIGESTS); i++) {
        const char *digest = evp_check_digest(name) == NULL ? NULL : digests[i];
        sign_request(key, file, digest, false);
        sign_certificate(key, file, digest, false);
        if (strcmp(name, "rsa") == 0) {
            sign_request(key, file, digest, true);
            sign_certificate(key, file, digest, true);
        }
    }
    EVP_PKEY_free(file);
    EVP_PKEY_free(key);
}

ParameterizedTestParameters(evp_x509, revocation_lists_are_signed)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_x509, revocation_lists_are_signed, .timeout = 60)
{
    const char *name = evp_check_names[*row];
    EVP_PKEY *key = evp_check_private(name);
    EVP_PKEY *file = evp_check_software(name);
    X509_CRL *crl = X509_CRL_new_ex(evp_fixture.libctx, NULL);
    X509_NAME *issuer = X509_NAME_new();
    ASN1_TIME *now = ASN1_TIME_set(NULL, 1700000000);
    name_it(issuer, "issuer");
    cr_assert_eq(X509_CRL_set_issuer_name(crl, issuer), 1);
    cr_assert_eq(X509_CRL_set1_lastUpdate(crl, now), 1);
    cr_assert_gt(
        X509_CRL_sign(crl, key, evp_check_digest(name) == NULL ? NULL : EVP_sha256()),
        0, "%s", name);
    evp_check_clean("signing a revocation list");
    cr_expect_eq(X509_CRL_verify(crl, file), 1, "%s", name);
    ASN1_TIME_free(now);
    X509_NAME_free(issuer);
    X509_CRL_free(crl);
    EVP_PKEY_free(file);
    EVP_PKEY_free(key);
}

/* --- a certificate and its key --- */

ParameterizedTestParameters(evp_x509, a_certificate_knows_its_key)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_x509, a_certificate_knows_its_key, .timeout = 60)
{
    const char *name = evp_check_names[*row];
    EVP_PKEY *key = evp_check_private(name);
    EVP_PKEY *same_type = evp_check_private(strcmp(name, "p256") == 0 ? "web" : "p256");
    EVP_PKEY *other_type = evp_check_private(strcmp(name, "rsa") == 0 ? "web" : "rsa");
    OSSL_LIB_CTX *const contexts[] = {NULL, evp_fixture.libctx};
    for (size_t i = 0; i < 2; i++) {
        X509 *cert = evp_check_certificate(name, contexts[i]);
        const unsigned before = evp_check_frames();
        cr_expect_eq(X509_check_private_key(cert, key), 1, "%s", name);
        evp_check_clean("X509_check_private_key");
        cr_expect_eq(X509_check_private_key(cert, same_type), 0, "%s", name);
        ERR_clear_error();
        cr_expect_eq(X509_check_private_key(cert, other_type), 0, "%s", name);
        ERR_clear_error();
        cr_expect_eq(evp_check_frames(), before, "%s: it asks nobody", name);
        X509_free(cert);
    }
    EVP_PKEY_free(other_type);
    EVP_PKEY_free(same_type);
    EVP_PKEY_free(key);
}

ParameterizedTestParameters(evp_x509, tls_contexts_take_certificate_and_key)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_x509, tls_contexts_take_certificate_and_key,
                  .timeout = 60)
{
    const char *name = evp_check_names[*row];
    EVP_PKEY *key = evp_check_private(name);
    X509 *cert = evp_check_certificate(name, evp_fixture.libctx);
    for (int key_first = 0; key_first < 2; key_first++) {
        SSL_CTX *ctx = SSL_CTX_new_ex(evp_fixture.libctx, NULL, TLS_method());
        cr_assert_not_null(ctx);
        if (key_first)
            cr_assert_eq(SSL_CTX_use_PrivateKey(ctx, key), 1, "%s", name);
        cr_assert_eq(SSL_CTX_use_certificate(ctx, cert), 1, "%s", name);
        if (!key_first)
            cr_assert_eq(SSL_CTX_use_PrivateKey(ctx, key), 1, "%s", name);
        cr_expect_eq(SSL_CTX_check_private_key(ctx), 1, "%s", name);
        evp_check_clean("SSL_CTX_check_private_key");
        SSL *ssl = SSL_new(ctx);
        cr_expect_eq(SSL_check_private_key(ssl), 1, "%s", name);
        SSL_free(ssl);
        SSL_CTX_free(ctx);
    }
    X509_free(cert);
    EVP_PKEY_free(key);
}

Test(evp_x509, tls_contexts_refuse_a_key_of_another_certificate)
{
    static const char *const names[] = {"rsa", "p384", "ed25519"};
    EVP_PKEY *p256 = evp_check_private("p256");
    X509 *web = evp_check_certificate("web", evp_fixture.libctx);
    SSL_CTX *ctx = SSL_CTX_new_ex(evp_fixture.libctx, NULL, TLS_method());
    cr_assert_eq(SSL_CTX_use_certificate(ctx, web), 1);
    cr_expect_eq(SSL_CTX_use_PrivateKey(ctx, p256), 0);
    cr_expect_eq(ERR_GET_REASON(ERR_peek_last_error()), X509_R_KEY_VALUES_MISMATCH,
                 "the words that programs look for");
    ERR_clear_error();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        EVP_PKEY *key = evp_check_private(names[i]);
        cr_expect_eq(SSL_CTX_use_certificate(ctx, web), 1);
        if (SSL_CTX_use_PrivateKey(ctx, key) == 1)
            cr_expect_eq(SSL_CTX_check_private_key(ctx), 0, "%s", names[i]);
        ERR_clear_error();
        EVP_PKEY_free(key);
    }
    SSL_CTX_free(ctx);
    X509_free(web);
    EVP_PKEY_free(p256);
}
