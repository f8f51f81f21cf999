/* Requests and self-issued certificates: signed for the own key with every
 * algorithm, refused for everything else. */
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "store/keyring/key_internal.h"
#include "tests/support/fixture.h"

enum { RSA2048, P256, P384, P521, P256K, ED, OTHER, N_KEYS };

static const struct {
    uint8_t kty;
    uint8_t curve;
    uint16_t bits;
} types[N_KEYS] = {
    [RSA2048] = {KV_KTY_RSA, 0, 2048},        [P256] = {KV_KTY_EC, KV_CURVE_P256, 0},
    [P384] = {KV_KTY_EC, KV_CURVE_P384, 0},   [P521] = {KV_KTY_EC, KV_CURVE_P521, 0},
    [P256K] = {KV_KTY_EC, KV_CURVE_P256K, 0}, [ED] = {KV_KTY_OKP, KV_CURVE_ED25519, 0},
    [OTHER] = {KV_KTY_EC, KV_CURVE_P256, 0},
};

static const struct {
    size_t key;
    uint8_t md;
    uint8_t is_pss;
} algorithms[] = {
    {RSA2048, KV_MD_SHA256, 0}, {RSA2048, KV_MD_SHA384, 0}, {RSA2048, KV_MD_SHA512, 0},
    {RSA2048, KV_MD_SHA256, 1}, {RSA2048, KV_MD_SHA512, 1}, {P256, KV_MD_SHA256, 0},
    {P256, KV_MD_SHA512, 0},    {P384, KV_MD_SHA384, 0},    {P521, KV_MD_SHA512, 0},
    {P256K, KV_MD_SHA256, 0},   {ED, KV_MD_NONE, 0},
};
#define N_ALGORITHMS (sizeof(algorithms) / sizeof(algorithms[0]))

static struct kv_key *key[N_KEYS];

static void setup(void)
{
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_keys_init(&err), 0, "%s", err.message);
    for (size_t i = 0; i < N_KEYS; i++)
        cr_assert_eq(
            kv_key_generate(types[i].kty, types[i].curve, types[i].bits, &key[i], &err),
            0);
}

static void teardown(void)
{
    for (size_t i = 0; i < N_KEYS; i++)
        kv_key_unref(key[i]);
    kv_keys_fini();
}

TestSuite(key_tbs, .timeout = 20, .init = setup, .fini = teardown);

static X509_NAME *name_of(const char *cn)
{
    X509_NAME *name = X509_NAME_new();
    cr_assert_eq(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                            (const unsigned char *)cn, -1, -1, 0),
                 1);
    return name;
}

static EVP_PKEY *public_of(struct kv_key *of)
{
    struct kv_bytes spki = kv_key_spki(of);
    const uint8_t *at = spki.data;
    EVP_PKEY *pub = d2i_PUBKEY(NULL, &at, (long)spki.len);
    cr_assert_not_null(pub);
    return pub;
}

/* The body of a request that carries the public key of `of`. */
static void make_request(struct kv_key *of, struct kv_buf *out)
{
    X509_REQ *req = X509_REQ_new();
    X509_NAME *name = name_of("request");
    EVP_PKEY *pub = public_of(of);
    uint8_t *der = NULL;
    cr_assert_eq(X509_REQ_set_version(req, 0), 1);
    cr_assert_eq(X509_REQ_set_subject_name(req, name), 1);
    cr_assert_eq(X509_REQ_set_pubkey(req, pub), 1);
    int len = i2d_re_X509_REQ_tbs(req, &der);
    cr_assert_gt(len, 0);
    kv_buf_init(out, 8192);
    cr_assert_eq(kv_buf_append(out, der, (size_t)len), 0);
    OPENSSL_free(der);
    X509_NAME_free(name);
    EVP_PKEY_free(pub);
    X509_REQ_free(req);
}

/* The body of a certificate; the algorithm inside is that of `row`. */
static void make_cert(struct kv_key *of, size_t row, const char *issuer,
                      const char *subject, struct kv_buf *out)
{
    X509 *cert = X509_new();
    X509_NAME *issuer_name = name_of(issuer);
    X509_NAME *subject_name = name_of(subject);
    EVP_PKEY *pub = public_of(of);
    uint8_t *der = NULL;
    cr_assert_eq(X509_set_version(cert, 2), 1);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 4711);
    X509_set_issuer_name(cert, issuer_name);
    X509_set_subject_name(cert, subject_name);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_set_pubkey(cert, pub);
    X509_EXTENSION *ext =
        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:example.org");
    X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
    /* A throw-away signature of the same kind puts the algorithm identifier in. */
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    const EVP_MD *md = kv_keys_md(algorithms[row].md);
    cr_assert_eq(EVP_DigestSignInit_ex(
                     ctx, &pctx, md != NULL ? EVP_MD_get0_name(md) : NULL,
                     kv_keys_libctx(), NULL, key[algorithms[row].key]->pkey, NULL),
                 1);
    if (algorithms[row].is_pss) {
        EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST);
    }
    cr_assert_gt(X509_sign_ctx(cert, ctx), 0);
    EVP_MD_CTX_free(ctx);
    int len = i2d_re_X509_tbs(cert, &der);
    cr_assert_gt(len, 0);
    kv_buf_init(out, 8192);
    cr_assert_eq(kv_buf_append(out, der, (size_t)len), 0);
    OPENSSL_free(der);
    X509_NAME_free(issuer_name);
    X509_NAME_free(subject_name);
    EVP_PKEY_free(pub);
    X509_free(cert);
}

static struct kv_role_tbs message(uint8_t tbs, size_t row, const struct kv_buf *body)
{
    return (struct kv_role_tbs){.tbs = tbs,
                                .md = algorithms[row].md,
                                .is_pss = algorithms[row].is_pss,
                                .der = fixture_bytes(body)};
}

Test(key_tbs, signs_requests_with_every_algorithm)
{
    for (size_t i = 0; i < N_ALGORITHMS; i++) {
        struct kv_buf body;
        struct kv_buf out;
        struct kv_err err = KV_ERR_INIT;
        struct kv_key *with = key[algorithms[i].key];
        make_request(with, &body);
        kv_buf_init(&out, 8192);
        cr_assert_eq(kv_buf_append(&out, "head", 4), 0);
        struct kv_role_tbs msg = message(KV_TBS_CSR, i, &body);
        cr_assert_eq(kv_key_sign_tbs(with, &msg, &out, &err), 0, "row %zu: %s", i,
                     err.message);
        const uint8_t *at = out.data + 4;
        X509_REQ *req = d2i_X509_REQ(NULL, &at, (long)out.len - 4);
        cr_assert_not_null(req);
        cr_expect_eq(at, out.data + out.len);
        EVP_PKEY *pub = public_of(with);
        cr_expect_eq(X509_REQ_verify(req, pub), 1, "row %zu", i);
        EVP_PKEY_free(pub);
        X509_REQ_free(req);
        kv_buf_free(&body);
        kv_buf_free(&out);
    }
}

Test(key_tbs, signs_self_issued_certificates_with_every_algorithm)
{
    for (size_t i = 0; i < N_ALGORITHMS; i++) {
        struct kv_buf body;
        struct kv_buf out;
        struct kv_err err = KV_ERR_INIT;
        struct kv_key *with = key[algorithms[i].key];
        make_cert(with, i, "self", "self", &body);
        kv_buf_init(&out, 8192);
        struct kv_role_tbs msg = message(KV_TBS_SELF_SIGNED, i, &body);
        cr_assert_eq(kv_key_sign_tbs(with, &msg, &out, &err), 0, "row %zu: %s", i,
                     err.message);
        const uint8_t *at = out.data;
        X509 *cert = d2i_X509(NULL, &at, (long)out.len);
        cr_assert_not_null(cert);
        EVP_PKEY *pub = public_of(with);
        cr_expect_eq(X509_verify(cert, pub), 1, "row %zu", i);
        cr_expect_eq(X509_self_signed(cert, 1), 1, "row %zu", i);
        EVP_PKEY_free(pub);
        X509_free(cert);
        kv_buf_free(&body);
        kv_buf_free(&out);
    }
}

static void expect_refused(struct kv_key *with, const struct kv_role_tbs *msg,
                           const char *id, const char *why)
{
    struct kv_buf out;
    struct kv_err err = KV_ERR_INIT;
    kv_buf_init(&out, 65536);
    cr_expect_lt(kv_key_sign_tbs(with, msg, &out, &err), 0, "%s", why);
    cr_expect_str_eq(err.id, id, "%s: got %s, %s", why, err.id, err.message);
    cr_expect_eq(out.len, 0);
    kv_buf_free(&out);
}

#define ROW_P256 5
#define ROW_P256_SHA512 6

Test(key_tbs, refuses_other_keys_names_and_algorithms)
{
    struct kv_buf body;
    make_request(key[OTHER], &body);
    struct kv_role_tbs msg = message(KV_TBS_CSR, ROW_P256, &body);
    expect_refused(key[P256], &msg, "key.tbs-wrong-key", "request of another key");
    kv_buf_free(&body);

    make_cert(key[OTHER], ROW_P256, "self", "self", &body);
    msg = message(KV_TBS_SELF_SIGNED, ROW_P256, &body);
    expect_refused(key[P256], &msg, "key.tbs-wrong-key", "certificate of another key");
    kv_buf_free(&body);

    make_cert(key[P256], ROW_P256, "ca", "leaf", &body);
    msg = message(KV_TBS_SELF_SIGNED, ROW_P256, &body);
    expect_refused(key[P256], &msg, "key.tbs-not-self-issued", "other issuer");
    kv_buf_free(&body);

    make_cert(key[P256], ROW_P256_SHA512, "self", "self", &body);
    msg = message(KV_TBS_SELF_SIGNED, ROW_P256, &body);
    expect_refused(key[P256], &msg, "key.tbs-bad-algorithm", "other algorithm inside");
    msg.tbs = KV_TBS_CSR;
    expect_refused(key[P256], &msg, "key.tbs-bad-der", "certificate as request");
    kv_buf_free(&body);

    make_request(key[P256], &body);
    msg = message(KV_TBS_SELF_SIGNED, ROW_P256, &body);
    expect_refused(key[P256], &msg, "key.tbs-bad-der", "request as certificate");
    msg = message(3, ROW_P256, &body);
    expect_refused(key[P256], &msg, "key.tbs-bad-kind", "unknown kind");
    kv_buf_free(&body);
}

Test(key_tbs, refuses_digests_that_do_not_fit)
{
    static const struct {
        const char *why;
        size_t key;
        uint8_t md;
        uint8_t is_pss;
    } rows[] = {
        {"EC without digest", P256, KV_MD_NONE, 0},
        {"RSA without digest", RSA2048, KV_MD_NONE, 0},
        {"SHA-1", RSA2048, KV_MD_SHA1, 0},
        {"Ed25519 with digest", ED, KV_MD_SHA512, 0},
        {"PSS with EC", P256, KV_MD_SHA256, 1},
        {"unknown digest", P256, 99, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_buf body;
        make_request(key[rows[i].key], &body);
        struct kv_role_tbs msg = {.tbs = KV_TBS_CSR,
                                  .md = rows[i].md,
                                  .is_pss = rows[i].is_pss,
                                  .der = fixture_bytes(&body)};
        expect_refused(key[rows[i].key], &msg, "key.tbs-bad-algorithm", rows[i].why);
        kv_buf_free(&body);
    }
}

Test(key_tbs, refuses_every_truncation_and_what_follows)
{
    static const uint8_t kinds[] = {KV_TBS_CSR, KV_TBS_SELF_SIGNED};
    for (size_t k = 0; k < 2; k++) {
        struct kv_buf body;
        if (kinds[k] == KV_TBS_CSR)
            make_request(key[P256], &body);
        else
            make_cert(key[P256], ROW_P256, "self", "self", &body);
        struct kv_role_tbs msg = message(kinds[k], ROW_P256, &body);
        for (size_t n = 0; n < body.len; n++) {
            msg.der.len = n;
            expect_refused(key[P256], &msg, "key.tbs-bad-der", "cut");
        }
        cr_assert_eq(kv_buf_append(&body, "x", 1), 0);
        msg.der = fixture_bytes(&body);
        expect_refused(key[P256], &msg, "key.tbs-bad-der", "followed");
        kv_buf_free(&body);
    }
}

/* Whatever is flipped: either refused, or still a body with the own key that
 * libcrypto reads and whose signature holds. */
Test(key_tbs, flipped_bytes_never_yield_another_public_key)
{
    struct kv_buf body;
    make_cert(key[P256], ROW_P256, "self", "self", &body);
    for (size_t i = 0; i < body.len; i++) {
        struct kv_buf out;
        kv_buf_init(&out, 8192);
        body.data[i] ^= 0x21;
        struct kv_role_tbs msg = message(KV_TBS_SELF_SIGNED, ROW_P256, &body);
        if (kv_key_sign_tbs(key[P256], &msg, &out, NULL) == 0)
            cr_expect(kv_key_fits_cert(key[P256], fixture_bytes(&out)), "byte %zu", i);
        else
            cr_expect_eq(out.len, 0);
        body.data[i] ^= 0x21;
        kv_buf_free(&out);
    }
    kv_buf_free(&body);
}

Test(key_tbs, size_has_a_ceiling)
{
    struct kv_buf big;
    kv_buf_init(&big, 65536);
    cr_assert_not_null(kv_buf_extend(&big, KV_CERT_DER_MAX));
    struct kv_role_tbs msg = message(KV_TBS_CSR, ROW_P256, &big);
    expect_refused(key[P256], &msg, "key.tbs-too-big", "16 KiB");
    kv_buf_free(&big);
}
