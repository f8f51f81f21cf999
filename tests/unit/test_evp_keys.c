/* A vault key beside the same key in a file: what compares equal, what is copied, what
 * is told about it. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <string.h>

#include "tests/support/evp_check.h"

TestSuite(evp_keys, .timeout = 60, .init = evp_check_open, .fini = evp_check_close);

static struct criterion_test_params every_name(void)
{
    static size_t rows[EVP_CHECK_N_NAMES];
    for (size_t i = 0; i < EVP_CHECK_N_NAMES; i++)
        rows[i] = i;
    return cr_make_param_array(size_t, rows, EVP_CHECK_N_NAMES);
}

/* --- EVP_PKEY_eq --- */

enum form {
    VAULT_PRIVATE,
    VAULT_PUBLIC,
    FILE_PRIVATE,
    FILE_PUBLIC,
    CERTIFICATE,
    N_FORMS
};

static const char *const form_names[N_FORMS] = {
    "vault's private key", "vault's public key", "private key file", "public key file",
    "certificate's key"};

static EVP_PKEY *certificates_key(const char *name, OSSL_LIB_CTX *libctx)
{
    X509 *cert = evp_check_certificate(name, libctx);
    EVP_PKEY *key = X509_get_pubkey(cert);
    X509_free(cert);
    return key;
}

static void make_forms(const char *name, EVP_PKEY *forms[N_FORMS])
{
    forms[VAULT_PRIVATE] = evp_check_private(name);
    forms[VAULT_PUBLIC] = evp_check_public(name);
    forms[FILE_PRIVATE] = evp_check_software(name);
    forms[FILE_PUBLIC] = provider_fixture_public(forms[FILE_PRIVATE]);
    forms[CERTIFICATE] = certificates_key(name, evp_fixture.libctx);
}

static void free_forms(EVP_PKEY *forms[N_FORMS])
{
    for (int i = 0; i < N_FORMS; i++)
        EVP_PKEY_free(forms[i]);
}

ParameterizedTestParameters(evp_keys, every_form_is_the_same_key)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_keys, every_form_is_the_same_key, .timeout = 60)
{
    const char *name = evp_check_names[*row];
    const char *other_name = strcmp(name, "p256") == 0 ? "web" : "p256";
    EVP_PKEY *forms[N_FORMS];
    EVP_PKEY *others[N_FORMS];
    const unsigned before = evp_check_frames();
    make_forms(name, forms);
    make_forms(other_name, others);
    cr_expect_eq(evp_check_frames() - before, 6u, "two keys and a certificate, twice");
    for (int a = 0; a < N_FORMS; a++) {
        for (int b = 0; b < N_FORMS; b++) {
            cr_expect_eq(EVP_PKEY_eq(forms[a], forms[b]), 1, "%s: %s, %s", name,
                         form_names[a], form_names[b]);
            evp_check_clean("a comparison");
            cr_expect_neq(EVP_PKEY_eq(forms[a], others[b]), 1, "%s: %s, another %s",
                          name, form_names[a], form_names[b]);
            cr_expect_neq(EVP_PKEY_eq(others[a], forms[b]), 1, "%s: another %s, %s",
                          name, form_names[a], form_names[b]);
            ERR_clear_error();
        }
    }
    cr_expect_eq(evp_check_frames() - before, 6u, "comparisons ask nobody");
    free_forms(forms);
    free_forms(others);
}

Test(evp_keys, keys_of_one_curve_differ_and_have_equal_parameters)
{
    EVP_PKEY *p256[N_FORMS];
    EVP_PKEY *web[N_FORMS];
    EVP_PKEY *p384[N_FORMS];
    make_forms("p256", p256);
    make_forms("web", web);
    make_forms("p384", p384);
    for (int a = 0; a < N_FORMS; a++) {
        for (int b = 0; b < N_FORMS; b++) {
            cr_expect_eq(EVP_PKEY_eq(p256[a], web[b]), 0, "%s, %s", form_names[a],
                         form_names[b]);
            cr_expect_eq(EVP_PKEY_parameters_eq(p256[a], web[b]), 1, "%s, %s",
                         form_names[a], form_names[b]);
            cr_expect_eq(EVP_PKEY_parameters_eq(p256[a], p384[b]), 0, "%s, %s",
                         form_names[a], form_names[b]);
            evp_check_clean("a comparison");
        }
    }
    free_forms(p256);
    free_forms(web);
    free_forms(p384);
}

/* --- what is told --- */

static void expect_same_text(const char *name, const char *param, EVP_PKEY *a,
                             EVP_PKEY *b)
{
    char x[80] = "";
    char y[80] = "";
    const int got_x = EVP_PKEY_get_utf8_string_param(a, param, x, sizeof(x), NULL);
    const int got_y = EVP_PKEY_get_utf8_string_param(b, param, y, sizeof(y), NULL);
    cr_expect_eq(got_x, got_y, "%s: %s", name, param);
    cr_expect_str_eq(x, y, "%s: %s", name, param);
    ERR_clear_error();
}

static void expect_same_octets(const char *name, const char *param, EVP_PKEY *a,
                               EVP_PKEY *b)
{
    unsigned char x[256];
    unsigned char y[256];
    size_t x_len = 0;
    size_t y_len = 0;
    const int got_x = EVP_PKEY_get_octet_string_param(a, param, x, sizeof(x), &x_len);
    const int got_y = EVP_PKEY_get_octet_string_param(b, param, y, sizeof(y), &y_len);
    cr_expect_eq(got_x, got_y, "%s: %s", name, param);
    cr_expect(x_len == y_len && memcmp(x, y, x_len) == 0, "%s: %s", name, param);
    ERR_clear_error();
}

static void expect_same_number(const char *name, const char *param, EVP_PKEY *a,
                               EVP_PKEY *b)
{
    BIGNUM *x = NULL;
    BIGNUM *y = NULL;
    const int got_x = EVP_PKEY_get_bn_param(a, param, &x);
    const int got_y = EVP_PKEY_get_bn_param(b, param, &y);
    cr_expect_eq(got_x, got_y, "%s: %s", name, param);
    if (got_x == 1 && got_y == 1)
        cr_expect_eq(BN_cmp(x, y), 0, "%s: %s", name, param);
    BN_free(x);
    BN_free(y);
    ERR_clear_error();
}

static void expect_same_digest(const char *name, EVP_PKEY *a, EVP_PKEY *b)
{
    char x[80] = "";
    char y[80] = "";
    const int got = EVP_PKEY_get_default_digest_name(b, y, sizeof(y));
    cr_expect_eq(EVP_PKEY_get_default_digest_name(a, x, sizeof(x)), got, "%s", name);
    cr_expect_str_eq(x, y, "%s", name);
    cr_expect_eq(got, strcmp(name, "ed25519") == 0 ? 2 : 1,
                 "%s: 2 says that the digest is mandatory", name);
}

ParameterizedTestParameters(evp_keys, says_what_a_key_file_says)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_keys, says_what_a_key_file_says, .timeout = 60)
{
    static const char *const texts[] = {
        OSSL_PKEY_PARAM_GROUP_NAME, OSSL_PKEY_PARAM_EC_ENCODING,
        OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, OSSL_PKEY_PARAM_DEFAULT_DIGEST};
    static const char *const octets[] = {OSSL_PKEY_PARAM_PUB_KEY,
                                         OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY};
    static const char *const numbers[] = {OSSL_PKEY_PARAM_RSA_N, OSSL_PKEY_PARAM_RSA_E,
                                          OSSL_PKEY_PARAM_EC_PUB_X,
                                          OSSL_PKEY_PARAM_EC_PUB_Y};
    const char *name = evp_check_names[*row];
    EVP_PKEY *forms[N_FORMS];
    make_forms(name, forms);
    const unsigned before = evp_check_frames();
    for (int a = VAULT_PRIVATE; a <= VAULT_PUBLIC; a++) {
        EVP_PKEY *vault = forms[a];
        EVP_PKEY *file = forms[FILE_PUBLIC];
        cr_expect_eq(EVP_PKEY_get_bits(vault), EVP_PKEY_get_bits(file));
        cr_expect_eq(EVP_PKEY_get_security_bits(vault),
                     EVP_PKEY_get_security_bits(file));
        cr_expect_eq(EVP_PKEY_get_size(vault), EVP_PKEY_get_size(file));
        cr_expect_eq(EVP_PKEY_get_base_id(vault), EVP_PKEY_get_base_id(file),
                     "%s: programs switch on it", name);
        cr_expect_eq(EVP_PKEY_get_id(vault), EVP_PKEY_get_id(file));
        cr_expect_eq(EVP_PKEY_missing_parameters(vault), 0);
        cr_expect_eq(EVP_PKEY_can_sign(vault), 1);
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
            expect_same_text(name, texts[i], vault, file);
        for (size_t i = 0; i < sizeof(octets) / sizeof(octets[0]); i++)
            expect_same_octets(name, octets[i], vault, file);
        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
            expect_same_number(name, numbers[i], vault, file);
        expect_same_digest(name, vault, file);
        evp_check_clean("a question about a key");
    }
    cr_expect_eq(evp_check_frames(), before, "questions about a key ask nobody");
    free_forms(forms);
}

static bool is_listed(const OSSL_PARAM *list, const char *key)
{
    for (; list != NULL && list->key != NULL; list++) {
        if (strcmp(list->key, key) == 0)
            return true;
    }
    return false;
}

ParameterizedTestParameters(evp_keys, lists_what_it_tells)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_keys, lists_what_it_tells, .timeout = 60)
{
    static const char *const always[] = {
        OSSL_PKEY_PARAM_BITS, OSSL_PKEY_PARAM_SECURITY_BITS, OSSL_PKEY_PARAM_MAX_SIZE};
    static const char *const never[] = {OSSL_PKEY_PARAM_PRIV_KEY, OSSL_PKEY_PARAM_RSA_D,
                                        OSSL_PKEY_PARAM_RSA_FACTOR1,
                                        OSSL_PKEY_PARAM_RSA_EXPONENT1};
    const char *name = evp_check_names[*row];
    EVP_PKEY *key = evp_check_private(name);
    const OSSL_PARAM *gettable = EVP_PKEY_gettable_params(key);
    for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
        cr_expect(is_listed(gettable, always[i]), "%s: %s", name, always[i]);
    cr_expect(is_listed(gettable, strcmp(name, "rsa") == 0 ? OSSL_PKEY_PARAM_RSA_N
                                                           : OSSL_PKEY_PARAM_PUB_KEY));
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        BIGNUM *number = NULL;
        unsigned char bytes[512];
        cr_expect_not(is_listed(gettable, never[i]), "%s: %s", name, never[i]);
        cr_expect_eq(EVP_PKEY_get_bn_param(key, never[i], &number), 0, "%s: %s", name,
                     never[i]);
        cr_expect_eq(
            EVP_PKEY_get_octet_string_param(key, never[i], bytes, sizeof(bytes), NULL),
            0, "%s: %s", name, never[i]);
        BN_free(number);
    }
    ERR_clear_error();
    EVP_PKEY_free(key);
}

ParameterizedTestParameters(evp_keys, checks_of_the_public_part_are_local)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_keys, checks_of_the_public_part_are_local,
                  .timeout = 60)
{
    EVP_PKEY *key = evp_check_private(evp_check_names[*row]);
    const unsigned before = evp_check_frames();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(evp_fixture.libctx, key, NULL);
    cr_expect_eq(EVP_PKEY_public_check(ctx), 1);
    cr_expect_eq(EVP_PKEY_private_check(ctx), 1, "the vault keeps both parts together");
    cr_expect_eq(EVP_PKEY_pairwise_check(ctx), 1);
    cr_expect_eq(EVP_PKEY_check(ctx), 1);
    evp_check_clean("a check");
    cr_expect_eq(evp_check_frames(), before);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
}

/* --- copies --- */

ParameterizedTestParameters(evp_keys, a_copy_outlives_its_original)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_keys, a_copy_outlives_its_original, .timeout = 60)
{
    const char *name = evp_check_names[*row];
    unsigned char sig[600];
    size_t len = sizeof(sig);
    EVP_PKEY *key = evp_check_private(name);
    EVP_PKEY *copy = EVP_PKEY_dup(key);
    cr_assert_not_null(copy, "%s", name);
    EVP_PKEY_free(key);
    cr_expect_eq(provider_fixture_sign(copy, sig, &len), 1, "%s", name);
    cr_expect_eq(provider_fixture_verify(copy, sig, len), 1, "%s", name);
    evp_check_clean("signing with a copy");
    EVP_PKEY_free(copy);

    EVP_PKEY *public_key = evp_check_public(name);
    copy = EVP_PKEY_dup(public_key);
    cr_assert_not_null(copy, "%s", name);
    cr_expect_eq(EVP_PKEY_eq(copy, public_key), 1, "%s", name);
    EVP_PKEY_free(public_key);
    len = sizeof(sig);
    cr_expect_eq(provider_fixture_sign(copy, sig, &len), 0, "%s: only public", name);
    ERR_clear_error();
    EVP_PKEY_free(copy);
}

Test(evp_keys, a_changed_copy_of_a_public_key_leaves_the_original)
{
    unsigned char *point = NULL;
    EVP_PKEY *key = evp_check_public("p256");
    EVP_PKEY *copy = EVP_PKEY_dup(key);
    EVP_PKEY *file = evp_check_software("web");
    const size_t len = EVP_PKEY_get1_encoded_public_key(file, &point);
    cr_assert_eq(EVP_PKEY_set1_encoded_public_key(copy, point, len), 1);
    cr_expect_eq(EVP_PKEY_eq(copy, file), 1);
    cr_expect_eq(EVP_PKEY_eq(copy, key), 0);
    OPENSSL_free(point);
    EVP_PKEY_free(file);
    EVP_PKEY_free(copy);
    EVP_PKEY_free(key);
}
