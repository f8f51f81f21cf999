/* What goes into our keys and what comes out of them: public parts both ways, private
 * parts neither; no key is made here. */
/* Older programs call what OpenSSL 3 deprecates. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <string.h>

#include "tests/support/evp_check.h"

TestSuite(evp_data, .timeout = 60, .init = evp_check_open, .fini = evp_check_close);

static struct criterion_test_params every_name(void)
{
    static size_t rows[EVP_CHECK_N_NAMES];
    for (size_t i = 0; i < EVP_CHECK_N_NAMES; i++)
        rows[i] = i;
    return cr_make_param_array(size_t, rows, EVP_CHECK_N_NAMES);
}

static const char *type_of(EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "RSA")  ? "RSA"
           : EVP_PKEY_is_a(key, "EC") ? "EC"
                                      : "ED25519";
}

static const char *const private_params[] = {
    OSSL_PKEY_PARAM_PRIV_KEY,      OSSL_PKEY_PARAM_RSA_D,
    OSSL_PKEY_PARAM_RSA_FACTOR1,   OSSL_PKEY_PARAM_RSA_FACTOR2,
    OSSL_PKEY_PARAM_RSA_EXPONENT1, OSSL_PKEY_PARAM_RSA_COEFFICIENT1};
#define N_PRIVATE_PARAMS (sizeof(private_params) / sizeof(private_params[0]))

static unsigned count_private(const OSSL_PARAM *params)
{
    unsigned n = 0;
    for (size_t i = 0; i < N_PRIVATE_PARAMS; i++)
        n += OSSL_PARAM_locate_const(params, private_params[i]) != NULL;
    return n;
}

/* --- EVP_PKEY_fromdata --- */

/* A key of our own from `params`; NULL if refused. */
static EVP_PKEY *from_data(const char *type, int selection, const OSSL_PARAM *params)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx =
        EVP_PKEY_CTX_new_from_name(evp_fixture.libctx, type, EVP_CHECK_PROPQ);
    cr_assert_eq(EVP_PKEY_fromdata_init(ctx), 1, "%s", type);
    if (EVP_PKEY_fromdata(ctx, &key, selection, (OSSL_PARAM *)(uintptr_t)params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static void expect_verifies(EVP_PKEY *key, const char *name, unsigned char *sig,
                            size_t len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    cr_assert_eq(EVP_DigestVerifyInit_ex(ctx, NULL, evp_check_digest(name),
                                         evp_fixture.libctx, EVP_CHECK_PROPQ, key,
                                         NULL),
                 1, "%s", name);
    cr_expect_eq(EVP_DigestVerify(ctx, sig, len, (const unsigned char *)"hello", 5), 1,
                 "%s", name);
    EVP_MD_CTX_free(ctx);
}

/* Neither asked for by name, nor by export, nor by use. */
static void expect_no_private_part(EVP_PKEY *key, const char *name)
{
    unsigned char sig[600];
    size_t len = sizeof(sig);
    OSSL_PARAM *params = NULL;
    for (size_t i = 0; i < N_PRIVATE_PARAMS; i++) {
        BIGNUM *number = NULL;
        cr_expect_eq(EVP_PKEY_get_bn_param(key, private_params[i], &number), 0, "%s",
                     name);
        cr_expect_eq(
            EVP_PKEY_get_octet_string_param(key, private_params[i], sig, len, NULL), 0,
            "%s", name);
        BN_free(number);
    }
    if (EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &params) == 1)
        cr_expect_eq(count_private(params), 0u, "%s", name);
    OSSL_PARAM_free(params);
    cr_expect_eq(provider_fixture_sign(key, sig, &len), 0, "%s", name);
    ERR_clear_error();
}

ParameterizedTestParameters(evp_data, a_private_part_is_refused_or_left_aside)
{
    return every_name();
}

/* With the selection of a key pair it is refused, so that libcrypto gives the key to
 * the default provider; with that of a public key the rest of the data is nobody's
 * business. */
ParameterizedTest(size_t *row, evp_data, a_private_part_is_refused_or_left_aside,
                  .timeout = 60)
{
    const char *name = evp_check_names[*row];
    unsigned char sig[600];
    size_t len = sizeof(sig);
    OSSL_PARAM *params = NULL;
    EVP_PKEY *file = evp_check_software(name);
    cr_assert_eq(provider_fixture_sign(file, sig, &len), 1);
    cr_assert_eq(EVP_PKEY_todata(file, EVP_PKEY_KEYPAIR, &params), 1);
    cr_expect_gt(count_private(params), 0u, "the test offers one");
    cr_expect_null(from_data(type_of(file), EVP_PKEY_KEYPAIR, params), "%s", name);
    evp_check_refused(name, "not in the vault", "list the default provider before");
    EVP_PKEY *key = from_data(type_of(file), EVP_PKEY_PUBLIC_KEY, params);
    cr_assert_not_null(key, "%s", name);
    evp_check_clean("an import");
    cr_expect_str_eq(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(key)), "keyvault");
    cr_expect_eq(EVP_PKEY_eq(key, file), 1, "%s", name);
    expect_verifies(key, name, sig, len);
    evp_check_clean("a verification");
    expect_no_private_part(key, name);
    EVP_PKEY_free(key);
    OSSL_PARAM_free(params);
    EVP_PKEY_free(file);
}

/* Only what stands in `wanted` of a key's data. */
static OSSL_PARAM *part_of(const OSSL_PARAM *params, const char *const *wanted)
{
    static OSSL_PARAM some[4];
    size_t n = 0;
    for (; *wanted != NULL; wanted++) {
        const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, *wanted);
        cr_assert_not_null(p, "%s", *wanted);
        some[n++] = *p;
    }
    some[n] = OSSL_PARAM_construct_end();
    return some;
}

Test(evp_data, a_key_without_public_part_is_not_made)
{
    static const struct {
        const char *name;
        const char *only[4];
    } rows[] = {
        {"rsa", {OSSL_PKEY_PARAM_RSA_D, NULL}},
        {"rsa", {OSSL_PKEY_PARAM_RSA_N, NULL}},
        {"rsa", {OSSL_PKEY_PARAM_RSA_E, OSSL_PKEY_PARAM_RSA_D, NULL}},
        {"p256", {OSSL_PKEY_PARAM_PRIV_KEY, NULL}},
        {"p256", {OSSL_PKEY_PARAM_GROUP_NAME, OSSL_PKEY_PARAM_PRIV_KEY, NULL}},
        {"p256", {OSSL_PKEY_PARAM_PUB_KEY, NULL}},
        {"ed25519", {OSSL_PKEY_PARAM_PRIV_KEY, NULL}},
        {"rsa", {NULL}},
        {"p256", {NULL}},
        {"ed25519", {NULL}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        OSSL_PARAM *params = NULL;
        EVP_PKEY *file = evp_check_software(rows[i].name);
        cr_assert_eq(EVP_PKEY_todata(file, EVP_PKEY_KEYPAIR, &params), 1);
        EVP_PKEY *key =
            from_data(type_of(file), EVP_PKEY_KEYPAIR, part_of(params, rows[i].only));
        cr_expect_null(key, "row %zu", i);
        OSSL_PARAM_free(params);
        EVP_PKEY_free(key);
        EVP_PKEY_free(file);
        ERR_clear_error();
    }
}

Test(evp_data, bad_public_parts_are_refused)
{
    char group[] = "P-256";
    char no_group[] = "P-255";
    unsigned char point[65] = {4, 1, 2, 3};
    unsigned char short_key[31] = {1};
    OSSL_PARAM off_curve[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group) - 1),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
        OSSL_PARAM_END};
    OSSL_PARAM unknown[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, no_group,
                               sizeof(no_group) - 1),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
        OSSL_PARAM_END};
    OSSL_PARAM too_short[] = {
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, short_key, sizeof(short_key)),
        OSSL_PARAM_END};
    cr_expect_null(from_data("EC", EVP_PKEY_PUBLIC_KEY, off_curve));
    cr_expect_null(from_data("EC", EVP_PKEY_PUBLIC_KEY, unknown));
    cr_expect_null(from_data("ED25519", EVP_PKEY_PUBLIC_KEY, too_short));
    ERR_clear_error();
}

Test(evp_data, bare_parameters_become_a_key_without_public_part)
{
    char group[] = "P-384";
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group) - 1),
        OSSL_PARAM_END};
    EVP_PKEY *key = from_data("EC", EVP_PKEY_KEY_PARAMETERS, params);
    EVP_PKEY *vault = evp_check_private("p384");
    cr_assert_not_null(key);
    cr_expect_eq(EVP_PKEY_parameters_eq(key, vault), 1);
    cr_expect_neq(EVP_PKEY_eq(key, vault), 1);
    cr_expect_eq(EVP_PKEY_missing_parameters(key), 0);
    ERR_clear_error();
    EVP_PKEY_free(vault);
    EVP_PKEY_free(key);
}

Test(evp_data, importable_parameters_are_listed_public_ones_only)
{
    static const char *const types[] = {"RSA", "EC", "ED25519"};
    for (size_t i = 0; i < 3; i++) {
        EVP_PKEY_CTX *ctx =
            EVP_PKEY_CTX_new_from_name(evp_fixture.libctx, types[i], EVP_CHECK_PROPQ);
        cr_assert_eq(EVP_PKEY_fromdata_init(ctx), 1);
        const OSSL_PARAM *settable = EVP_PKEY_fromdata_settable(ctx, EVP_PKEY_KEYPAIR);
        cr_assert_not_null(settable, "%s", types[i]);
        cr_expect_eq(count_private(settable), 0u, "%s", types[i]);
        EVP_PKEY_CTX_free(ctx);
    }
}

/* --- EVP_PKEY_todata, EVP_PKEY_export --- */

ParameterizedTestParameters(evp_data, the_private_part_never_leaves)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_data, the_private_part_never_leaves, .timeout = 60)
{
    static const int refused[] = {OSSL_KEYMGMT_SELECT_PRIVATE_KEY, EVP_PKEY_KEYPAIR,
                                  OSSL_KEYMGMT_SELECT_KEYPAIR, OSSL_KEYMGMT_SELECT_ALL};
    const char *name = evp_check_names[*row];
    EVP_PKEY *key = evp_check_private(name);
    EVP_PKEY *file = evp_check_software(name);
    OSSL_PARAM *params = NULL;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        cr_expect_eq(EVP_PKEY_todata(key, refused[i], &params), 0, "%s, %x", name,
                     (unsigned)refused[i]);
        cr_expect_null(params);
        evp_check_clean("a refused export");
    }
    cr_assert_eq(EVP_PKEY_todata(key, EVP_PKEY_PUBLIC_KEY, &params), 1, "%s", name);
    evp_check_clean("an export");
    cr_expect_eq(count_private(params), 0u, "%s", name);
    EVP_PKEY *again = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type_of(key), NULL);
    cr_assert_eq(EVP_PKEY_fromdata_init(ctx), 1);
    cr_expect_eq(EVP_PKEY_fromdata(ctx, &again, EVP_PKEY_PUBLIC_KEY, params), 1);
    cr_expect_eq(EVP_PKEY_eq(again, file), 1, "%s: what came out is the public key",
                 name);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(again);
    OSSL_PARAM_free(params);
    EVP_PKEY_free(file);
    EVP_PKEY_free(key);
}

/* A public key has nothing to hide, so it may be asked for everything, as from a file.
 */
ParameterizedTestParameters(evp_data, a_public_key_is_exported_whole)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_data, a_public_key_is_exported_whole, .timeout = 60)
{
    static const int selections[] = {EVP_PKEY_PUBLIC_KEY, EVP_PKEY_KEYPAIR,
                                     OSSL_KEYMGMT_SELECT_ALL};
    const char *name = evp_check_names[*row];
    EVP_PKEY *key = evp_check_public(name);
    for (size_t i = 0; i < sizeof(selections) / sizeof(selections[0]); i++) {
        OSSL_PARAM *params = NULL;
        cr_expect_eq(EVP_PKEY_todata(key, selections[i], &params), 1, "%s, %x", name,
                     (unsigned)selections[i]);
        evp_check_clean("an export");
        if (params != NULL)
            cr_expect_eq(count_private(params), 0u, "%s", name);
        OSSL_PARAM_free(params);
    }
    EVP_PKEY_free(key);
}

Test(evp_data, parameters_are_exported_alone)
{
    static const char *const names[] = {"p256", "p384", "p521", "p256k"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        EVP_PKEY *key = evp_check_private(names[i]);
        OSSL_PARAM *params = NULL;
        cr_assert_eq(EVP_PKEY_todata(key, EVP_PKEY_KEY_PARAMETERS, &params), 1);
        cr_expect_not_null(OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_GROUP_NAME));
        cr_expect_null(OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_PUB_KEY));
        cr_expect_eq(count_private(params), 0u);
        OSSL_PARAM_free(params);
        EVP_PKEY_free(key);
    }
    evp_check_clean("exports of parameters");
}

/* --- the older ways to get at a key --- */

ParameterizedTestParameters(evp_data, older_interfaces_get_nothing_private)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_data, older_interfaces_get_nothing_private,
                  .timeout = 60)
{
    EVP_PKEY *key = evp_check_private(evp_check_names[*row]);
    unsigned char raw[64];
    unsigned char *der = NULL;
    size_t len = sizeof(raw);
    BIO *sink = BIO_new(BIO_s_mem());
    cr_expect_null(EVP_PKEY_get0_RSA(key));
    cr_expect_null(EVP_PKEY_get0_EC_KEY(key));
    cr_expect_eq(EVP_PKEY_get_raw_private_key(key, raw, &len), 0);
    cr_expect_null(EVP_PKEY2PKCS8(key));
    cr_expect_leq(i2d_PrivateKey(key, &der), 0);
    cr_expect_leq(i2d_PKCS8PrivateKey_bio(sink, key, NULL, NULL, 0, NULL, NULL), 0);
    cr_expect_eq(
        PEM_write_bio_PrivateKey_traditional(sink, key, NULL, NULL, 0, NULL, NULL), 0);
    ERR_clear_error();
    cr_expect_eq(PEM_write_bio_PKCS8PrivateKey(sink, key, NULL, NULL, 0, NULL, NULL),
                 0);
    evp_check_refused("PEM_write_bio_PKCS8PrivateKey", "stays in the vault", NULL);
    cr_expect_eq(PEM_write_bio_PrivateKey(sink, key, NULL, NULL, 0, NULL, NULL), 0);
    evp_check_refused("PEM_write_bio_PrivateKey", "stays in the vault", NULL);
    cr_expect_eq(BIO_ctrl_pending(sink), 0u, "nothing was written");
    cr_expect_null(der);
    BIO_free(sink);
    EVP_PKEY_free(key);
}

Test(evp_data, public_keys_are_written_as_from_a_file)
{
    for (size_t i = 0; i < EVP_CHECK_N_NAMES; i++) {
        const char *name = evp_check_names[i];
        unsigned char *ours = NULL;
        unsigned char *theirs = NULL;
        EVP_PKEY *key = evp_check_private(name);
        EVP_PKEY *file = evp_check_software(name);
        const int ours_len = i2d_PUBKEY(key, &ours);
        const int theirs_len = i2d_PUBKEY(file, &theirs);
        cr_assert_gt(ours_len, 0, "%s", name);
        cr_expect_eq(ours_len, theirs_len, "%s", name);
        cr_expect_eq(memcmp(ours, theirs, (size_t)ours_len), 0, "%s", name);
        evp_check_clean("writing a public key");
        OPENSSL_free(ours);
        OPENSSL_free(theirs);
        EVP_PKEY_free(key);
        EVP_PKEY_free(file);
    }
}

Test(evp_data, the_raw_public_key_is_there)
{
    unsigned char ours[32];
    unsigned char theirs[32];
    size_t ours_len = sizeof(ours);
    size_t theirs_len = sizeof(theirs);
    EVP_PKEY *key = evp_check_private("ed25519");
    EVP_PKEY *file = evp_check_software("ed25519");
    cr_assert_eq(EVP_PKEY_get_raw_public_key(key, ours, &ours_len), 1);
    cr_assert_eq(EVP_PKEY_get_raw_public_key(file, theirs, &theirs_len), 1);
    cr_expect(ours_len == theirs_len && memcmp(ours, theirs, ours_len) == 0);
    evp_check_clean("reading a raw public key");
    EVP_PKEY_free(file);
    EVP_PKEY_free(key);
}

/* --- no keys are made here --- */

Test(evp_data, keys_and_parameters_are_not_generated)
{
    static const char *const types[] = {"RSA", "ED25519"};
    EVP_PKEY *made = NULL;
    for (size_t i = 0; i < 2; i++) {
        EVP_PKEY_CTX *ctx =
            EVP_PKEY_CTX_new_from_name(evp_fixture.libctx, types[i], EVP_CHECK_PROPQ);
        cr_assert_not_null(ctx);
        cr_expect_leq(EVP_PKEY_keygen_init(ctx), 0, "%s", types[i]);
        evp_check_refused(types[i], "made by the vault", "keyvault key create");
        cr_expect_leq(EVP_PKEY_paramgen_init(ctx), 0, "%s", types[i]);
        evp_check_refused(types[i], "made by the vault", "keyvault key create");
        EVP_PKEY_CTX_free(ctx);
    }
    EVP_PKEY_CTX *ctx =
        EVP_PKEY_CTX_new_from_name(evp_fixture.libctx, "EC", EVP_CHECK_PROPQ);
    cr_assert_eq(EVP_PKEY_keygen_init(ctx), 1);
    cr_expect_leq(EVP_PKEY_CTX_set_group_name(ctx, "P-256"), 0);
    evp_check_refused("EC", "made by the vault", "keyvault key create");
    cr_assert_eq(EVP_PKEY_paramgen_init(ctx), 1);
    cr_expect_leq(EVP_PKEY_CTX_set_group_name(ctx, "P-256"), 0);
    evp_check_refused("EC parameters", "made by the vault", "keyvault key create");
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY *like = evp_check_private("p256");
    ctx = EVP_PKEY_CTX_new_from_pkey(evp_fixture.libctx, like, NULL);
    cr_expect_eq(EVP_PKEY_keygen_init(ctx), 1);
    cr_expect_leq(EVP_PKEY_generate(ctx, &made), 0, "nor one like a vault key");
    evp_check_refused("a key like another", "made by the vault", "keyvault key create");
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(like);
}
