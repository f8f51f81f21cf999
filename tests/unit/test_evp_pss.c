/* RSA-PSS with every parameter that a program can set: what the vault signs verifies in
 * software with the very same parameters and with no others, and its
 * AlgorithmIdentifier is that of a key file. There are no keys restricted to PSS
 * (id-RSASSA-PSS): a vault key of type RSA signs both ways. */
#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

#include "tests/support/evp_check.h"

static EVP_PKEY *key;
static EVP_PKEY *file;

static void setup(void)
{
    evp_check_open();
    key = evp_check_private("rsa");
    file = evp_check_software("rsa");
}

static void teardown(void)
{
    EVP_PKEY_free(key);
    EVP_PKEY_free(file);
    evp_check_close();
}

TestSuite(evp_pss, .timeout = 60, .init = setup, .fini = teardown);

#define MAX_SALT(digest_len) (256 - (digest_len)-2) /* RFC 8017 §9.1.1, 2048 bits */

struct scheme {
    const char *digest;
    const char *mgf1; /* NULL: not set */
    const char *salt; /* as in -pkeyopt rsa_pss_saltlen */
    int salt_len;     /* that results, in bytes */
};

static const struct scheme schemes[] = {
    {"SHA256", NULL, NULL, MAX_SALT(32)},
    {"SHA256", NULL, "digest", 32},
    {"SHA256", NULL, "max", MAX_SALT(32)},
    {"SHA256", NULL, "auto", MAX_SALT(32)},
    {"SHA256", NULL, "0", 0},
    {"SHA256", NULL, "17", 17},
    {"SHA256", NULL, "222", 222},
    {"SHA1", NULL, "digest", 20},
    {"SHA1", NULL, "20", 20},
    {"SHA384", NULL, "digest", 48},
    {"SHA512", NULL, "max", MAX_SALT(64)},
    {"SHA512", "SHA1", "digest", 64},
    {"SHA256", "SHA512", "8", 8},
    {"SHA256", "SHA256", "digest", 32},
    {"SHA1", "SHA256", "20", 20},
    {"SHA3-256", "SHA3-256", "digest", 32},
};
#define N_SCHEMES (sizeof(schemes) / sizeof(schemes[0]))

static void set(EVP_PKEY_CTX *ctx, const struct scheme *s)
{
    cr_assert_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING), 1);
    if (s->mgf1 != NULL)
        cr_assert_eq(EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, s->mgf1, NULL), 1);
    if (s->salt != NULL)
        cr_assert_eq(EVP_PKEY_CTX_ctrl_str(ctx, "rsa_pss_saltlen", s->salt), 1, "%s",
                     s->salt);
}

static EVP_MD_CTX *begin(EVP_PKEY *with, const struct scheme *s, EVP_PKEY_CTX **pctx)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    OSSL_LIB_CTX *libctx = with == key ? evp_fixture.libctx : NULL;
    cr_assert_eq(EVP_DigestSignInit_ex(ctx, pctx, s->digest, libctx, NULL, with, NULL),
                 1);
    set(*pctx, s);
    return ctx;
}

static int verify(const char *digest, const char *mgf1, int salt_len,
                  const unsigned char *sig, size_t len)
{
    EVP_PKEY_CTX *pctx = NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    cr_assert_eq(EVP_DigestVerifyInit_ex(ctx, &pctx, digest, NULL, NULL, file, NULL),
                 1);
    cr_assert_eq(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING), 1);
    cr_assert_eq(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, salt_len), 1);
    cr_assert_eq(EVP_PKEY_CTX_set_rsa_mgf1_md_name(pctx, mgf1, NULL), 1);
    int ok = EVP_DigestVerify(ctx, sig, len, (const unsigned char *)"text", 4) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

Test(evp_pss, every_scheme_verifies_with_its_parameters_only)
{
    for (size_t i = 0; i < N_SCHEMES; i++) {
        const struct scheme *s = &schemes[i];
        const char *mgf1 = s->mgf1 != NULL ? s->mgf1 : s->digest;
        unsigned char sig[256];
        size_t len = sizeof(sig);
        EVP_PKEY_CTX *pctx = NULL;
        EVP_MD_CTX *ctx = begin(key, s, &pctx);
        cr_assert_eq(EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"text", 4),
                     1, "scheme %zu", i);
        evp_check_clean("a signature");
        cr_expect_eq(len, 256u);
        cr_expect_eq(verify(s->digest, mgf1, s->salt_len, sig, len), 1, "scheme %zu",
                     i);
        cr_expect_eq(verify(s->digest, mgf1, s->salt_len + 1, sig, len), 0,
                     "scheme %zu: another salt length", i);
        cr_expect_eq(verify(s->digest, strcmp(mgf1, "SHA224") == 0 ? "SHA1" : "SHA224",
                            s->salt_len, sig, len),
                     0, "scheme %zu: another mask", i);
        EVP_MD_CTX_free(ctx);
    }
}

static size_t algorithm_id(EVP_PKEY_CTX *ctx, size_t scheme, unsigned char *out,
                           size_t size)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, out, size),
        OSSL_PARAM_END};
    cr_assert_eq(EVP_PKEY_CTX_get_params(ctx, params), 1, "scheme %zu", scheme);
    return params[0].return_size;
}

Test(evp_pss, every_scheme_is_named_as_by_a_key_file)
{
    for (size_t i = 0; i < N_SCHEMES - 1; i++) { /* libcrypto writes none with SHA-3 */
        unsigned char ours[128];
        unsigned char theirs[128];
        EVP_PKEY_CTX *ours_pctx = NULL;
        EVP_PKEY_CTX *theirs_pctx = NULL;
        EVP_MD_CTX *ours_ctx = begin(key, &schemes[i], &ours_pctx);
        EVP_MD_CTX *theirs_ctx = begin(file, &schemes[i], &theirs_pctx);
        const size_t len = algorithm_id(ours_pctx, i, ours, sizeof(ours));
        cr_assert_gt(len, 0u);
        cr_expect_eq(algorithm_id(theirs_pctx, i, theirs, sizeof(theirs)), len,
                     "scheme %zu", i);
        cr_expect_eq(memcmp(ours, theirs, len), 0, "scheme %zu", i);
        evp_check_clean("an AlgorithmIdentifier");
        EVP_MD_CTX_free(ours_ctx);
        EVP_MD_CTX_free(theirs_ctx);
    }
}

Test(evp_pss, a_copied_context_keeps_the_parameters)
{
    const struct scheme s = {"SHA256", "SHA512", "8", 8};
    unsigned char sig[256];
    size_t len = sizeof(sig);
    EVP_PKEY_CTX *pctx = NULL;
    EVP_MD_CTX *ctx = begin(key, &s, &pctx);
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    cr_assert_eq(EVP_DigestSignUpdate(ctx, "te", 2), 1);
    cr_assert_eq(EVP_MD_CTX_copy_ex(copy, ctx), 1);
    EVP_MD_CTX_free(ctx);
    cr_assert_eq(EVP_DigestSignUpdate(copy, "xt", 2), 1);
    cr_assert_eq(EVP_DigestSignFinal(copy, sig, &len), 1);
    cr_expect_eq(verify("SHA256", "SHA512", 8, sig, len), 1);
    EVP_MD_CTX_free(copy);

    unsigned char digest[32];
    EVP_PKEY_CTX *sign = EVP_PKEY_CTX_new_from_pkey(evp_fixture.libctx, key, NULL);
    cr_assert_eq(EVP_Q_digest(NULL, "SHA256", NULL, "text", 4, digest, NULL), 1);
    cr_assert_eq(EVP_PKEY_sign_init(sign), 1);
    cr_assert_eq(EVP_PKEY_CTX_set_signature_md(sign, EVP_sha256()), 1);
    set(sign, &s);
    EVP_PKEY_CTX *twin = EVP_PKEY_CTX_dup(sign);
    cr_assert_not_null(twin);
    EVP_PKEY_CTX_free(sign);
    len = sizeof(sig);
    cr_assert_eq(EVP_PKEY_sign(twin, sig, &len, digest, sizeof(digest)), 1);
    cr_expect_eq(verify("SHA256", "SHA512", 8, sig, len), 1);
    EVP_PKEY_CTX_free(twin);
    evp_check_clean("signing with copies");
}

Test(evp_pss, parameters_given_with_init_count)
{
    unsigned char sig[256];
    size_t len = sizeof(sig);
    char pad[] = OSSL_PKEY_RSA_PAD_MODE_PSS;
    char salt[] = OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST;
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, pad, sizeof(pad) - 1),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, salt,
                               sizeof(salt) - 1),
        OSSL_PARAM_END};
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    cr_assert_eq(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", evp_fixture.libctx, NULL,
                                       key, params),
                 1);
    cr_assert_eq(EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"text", 4), 1);
    cr_expect_eq(verify("SHA256", "SHA256", 32, sig, len), 1);
    evp_check_clean("a signature");
    EVP_MD_CTX_free(ctx);
}

Test(evp_pss, parameters_read_back_as_from_a_key_file)
{
    for (size_t i = 0; i < N_SCHEMES; i++) {
        char text[2][4][48] = {{""}};
        int number[2][2] = {{0}};
        for (int who = 0; who < 2; who++) {
            EVP_PKEY_CTX *pctx = NULL;
            EVP_MD_CTX *ctx = begin(who == 0 ? key : file, &schemes[i], &pctx);
            OSSL_PARAM params[] = {
                OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, text[who][0], 48),
                OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, text[who][1],
                                       48),
                OSSL_PARAM_END};
            cr_assert_eq(EVP_PKEY_CTX_get_params(pctx, params), 1);
            cr_assert_gt(EVP_PKEY_CTX_get_rsa_padding(pctx, &number[who][0]), 0);
            cr_assert_gt(EVP_PKEY_CTX_get_rsa_pss_saltlen(pctx, &number[who][1]), 0);
            const EVP_MD *mgf1 = NULL;
            const EVP_MD *md = NULL;
            cr_assert_eq(EVP_PKEY_CTX_get_signature_md(pctx, &md), 1, "scheme %zu", i);
            cr_assert_eq(EVP_PKEY_CTX_get_rsa_mgf1_md(pctx, &mgf1), 1, "scheme %zu", i);
            (void)strncpy(text[who][2], EVP_MD_get0_name(md), 47);
            (void)strncpy(text[who][3], EVP_MD_get0_name(mgf1), 47);
            evp_check_clean("reading parameters");
            EVP_MD_CTX_free(ctx);
        }
        for (int t = 0; t < 4; t++)
            cr_expect_str_eq(text[0][t], text[1][t], "scheme %zu", i);
        cr_expect_eq(number[0][0], number[1][0], "scheme %zu", i);
        cr_expect_eq(number[0][1], number[1][1], "scheme %zu", i);
    }
}

Test(evp_pss, what_cannot_be_is_refused_before_asking)
{
    static const char *const bad_salts[] = {"-5",  "9999", "x",
                                            "12x", "",     "99999999999"};
    unsigned char sig[256];
    size_t len = sizeof(sig);
    EVP_PKEY_CTX *pctx = NULL;
    struct scheme s = {"SHA256", NULL, NULL, 0};
    const unsigned before = evp_check_frames();
    EVP_MD_CTX *ctx = begin(key, &s, &pctx);
    for (size_t i = 0; i < sizeof(bad_salts) / sizeof(bad_salts[0]); i++) {
        char salt[16] = "";
        OSSL_PARAM params[] = {
            OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, salt, 0),
            OSSL_PARAM_END};
        (void)strncpy(salt, bad_salts[i], sizeof(salt) - 1);
        params[0].data_size = strlen(salt);
        cr_expect_neq(EVP_PKEY_CTX_set_params(pctx, params), 1, "%s", salt);
        evp_check_refused(salt, NULL, "salt length");
    }
    cr_expect_leq(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_NO_PADDING), 0);
    evp_check_refused("no padding", "not offered", "PKCS#1 v1.5 or PSS");
    cr_expect_leq(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_X931_PADDING), 0);
    evp_check_refused("X9.31", "not offered", "PKCS#1 v1.5 or PSS");
    cr_expect_leq(EVP_PKEY_CTX_set_rsa_mgf1_md_name(pctx, "MD5", NULL), 0);
    evp_check_refused("MD5", "not offered", "MD5");
    cr_expect_leq(EVP_PKEY_CTX_set_signature_md(pctx, EVP_sha512()), 0,
                  "the digest of a DigestSign operation is fixed");
    ERR_clear_error();
    cr_assert_eq(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, MAX_SALT(32) + 1), 1);
    cr_expect_eq(EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"text", 4), 0);
    evp_check_refused("a long salt", NULL, "too small for this digest and salt");
    cr_expect_eq(evp_check_frames(), before);
    EVP_MD_CTX_free(ctx);
}

Test(evp_pss, a_ready_digest_needs_its_name)
{
    unsigned char digest[32] = {1};
    unsigned char sig[256];
    size_t len = sizeof(sig);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(evp_fixture.libctx, key, NULL);
    cr_assert_eq(EVP_PKEY_sign_init(ctx), 1);
    cr_assert_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING), 1);
    cr_expect_neq(EVP_PKEY_sign(ctx, sig, &len, digest, sizeof(digest)), 1);
    evp_check_refused("no digest", NULL, "PSS needs a digest");
    EVP_PKEY_CTX_free(ctx);
}
