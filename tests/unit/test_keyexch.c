/* ECDH by the vault: the secret that the peer computes, bare or through X9.63 KDF as
 * CMS wants it; parameters as a host may set and read them. */
#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <string.h>

#include "tests/support/provider_fixture.h"

static struct provider_fixture fixture;

static void setup(void)
{
    provider_fixture_open(&fixture, NULL);
}

static void teardown(void)
{
    provider_fixture_close(&fixture);
}

TestSuite(keyexch, .timeout = 20, .init = setup, .fini = teardown);

static EVP_PKEY *load(const char *name)
{
    char uri[64];
    (void)snprintf(uri, sizeof(uri), "keyvault:///keys/%s", name);
    EVP_PKEY *key = provider_fixture_key(&fixture, uri);
    cr_assert_not_null(key);
    return key;
}

static EVP_PKEY_CTX *begin(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    cr_assert_not_null(ctx);
    cr_assert_eq(EVP_PKEY_derive_init(ctx), 1);
    return ctx;
}

static void set_kdf(EVP_PKEY_CTX *ctx)
{
    cr_assert_eq(EVP_PKEY_CTX_set_ecdh_kdf_type(ctx, EVP_PKEY_ECDH_KDF_X9_63), 1);
    cr_assert_eq(EVP_PKEY_CTX_set_ecdh_kdf_md(ctx, EVP_sha256()), 1);
    cr_assert_eq(EVP_PKEY_CTX_set_ecdh_kdf_outlen(ctx, 40), 1);
    cr_assert_eq(EVP_PKEY_CTX_set0_ecdh_kdf_ukm(ctx, OPENSSL_memdup("info", 4), 4), 1);
}

/* Both sides; the peer's is libcrypto's own. Returns the length. */
static size_t agree(const char *name, const char *curve, bool has_kdf)
{
    unsigned char ours[80];
    unsigned char theirs[80];
    size_t ours_len = 0;
    size_t theirs_len = sizeof(theirs);
    EVP_PKEY *key = load(name);
    EVP_PKEY *public_key = provider_fixture_public(key);
    EVP_PKEY *peer = EVP_PKEY_Q_keygen(NULL, NULL, "EC", curve);
    EVP_PKEY *peer_public = provider_fixture_public(peer);
    EVP_PKEY_CTX *vault = begin(fixture.libctx, key);
    EVP_PKEY_CTX *soft = begin(NULL, peer);
    if (has_kdf) {
        set_kdf(vault);
        set_kdf(soft);
    }
    cr_assert_eq(EVP_PKEY_derive_set_peer(vault, peer_public), 1);
    cr_assert_eq(EVP_PKEY_derive_set_peer(soft, public_key), 1);
    cr_assert_eq(EVP_PKEY_derive(vault, NULL, &ours_len), 1);
    EVP_PKEY_CTX *copy = EVP_PKEY_CTX_dup(vault);
    cr_assert_not_null(copy);
    cr_assert_eq(EVP_PKEY_derive(soft, theirs, &theirs_len), 1);
    for (int i = 0; i < 2; i++) {
        ours_len = sizeof(ours);
        memset(ours, 0, sizeof(ours));
        cr_assert_eq(EVP_PKEY_derive(i == 0 ? vault : copy, ours, &ours_len), 1);
        cr_expect_eq(ours_len, theirs_len);
        cr_expect_eq(memcmp(ours, theirs, theirs_len), 0, "%s, round %d", curve, i);
    }
    EVP_PKEY_CTX_free(vault);
    EVP_PKEY_CTX_free(copy);
    EVP_PKEY_CTX_free(soft);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(peer_public);
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(key);
    return ours_len;
}

Test(keyexch, agrees_with_libcrypto_on_every_curve)
{
    cr_expect_eq(agree("p256", "P-256", false), 32);
    cr_expect_eq(agree("p384", "P-384", false), 48);
    cr_expect_eq(agree("p521", "P-521", false), 66);
    cr_expect_eq(agree("p256k", "secp256k1", false), 32);
}

Test(keyexch, derives_keys_for_cms)
{
    cr_expect_eq(agree("p256", "P-256", true), 40);
    cr_expect_eq(agree("p521", "P-521", true), 40);
}

Test(keyexch, parameters_read_back)
{
    const EVP_MD *md = NULL;
    int out_len = 0;
    unsigned char *ukm = NULL;
    OSSL_PARAM get_ukm[] = {
        OSSL_PARAM_octet_ptr(OSSL_EXCHANGE_PARAM_KDF_UKM, (void **)&ukm, 0),
        OSSL_PARAM_END};
    EVP_PKEY *key = load("p256");
    EVP_PKEY_CTX *ctx = begin(fixture.libctx, key);
    cr_expect_eq(EVP_PKEY_CTX_get_ecdh_kdf_type(ctx), EVP_PKEY_ECDH_KDF_NONE);
    cr_expect_eq(EVP_PKEY_CTX_get_ecdh_cofactor_mode(ctx), 0);
    set_kdf(ctx);
    cr_expect_eq(EVP_PKEY_CTX_set_ecdh_cofactor_mode(ctx, 1), 1);
    cr_expect_eq(EVP_PKEY_CTX_get_ecdh_cofactor_mode(ctx), 1);
    cr_expect_eq(EVP_PKEY_CTX_get_ecdh_kdf_type(ctx), EVP_PKEY_ECDH_KDF_X9_63);
    cr_expect_eq(EVP_PKEY_CTX_get_ecdh_kdf_md(ctx, &md), 1);
    cr_expect(md != NULL && EVP_MD_is_a(md, "SHA256"));
    cr_expect_eq(EVP_PKEY_CTX_get_ecdh_kdf_outlen(ctx, &out_len), 1);
    cr_expect_eq(out_len, 40);
    cr_assert_eq(EVP_PKEY_CTX_get_params(ctx, get_ukm), 1);
    cr_assert_eq(get_ukm[0].return_size, 4u);
    cr_expect_eq(memcmp(ukm, "info", 4), 0);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
}

Test(keyexch, what_cannot_be_is_refused)
{
    static unsigned char ukm[2000];
    unsigned char secret[16];
    size_t len = sizeof(secret);
    int mode = 7;
    char kdf[] = "HKDF";
    OSSL_PARAM bad_kdf[] = {
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE, kdf, sizeof(kdf) - 1),
        OSSL_PARAM_END};
    OSSL_PARAM bad_mode[] = {
        OSSL_PARAM_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE, &mode),
        OSSL_PARAM_END};
    OSSL_PARAM bad_ukm[] = {
        OSSL_PARAM_octet_string(OSSL_EXCHANGE_PARAM_KDF_UKM, ukm, sizeof(ukm)),
        OSSL_PARAM_END};
    EVP_PKEY *key = load("p256");
    EVP_PKEY *p384 = load("p384");
    EVP_PKEY *other = provider_fixture_public(p384);
    EVP_PKEY *pair = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    EVP_PKEY *peer = provider_fixture_public(pair);
    EVP_PKEY_CTX *ctx = begin(fixture.libctx, key);
    cr_expect_leq(EVP_PKEY_CTX_set_params(ctx, bad_kdf), 0);
    cr_expect_leq(EVP_PKEY_CTX_set_params(ctx, bad_mode), 0);
    cr_expect_leq(EVP_PKEY_CTX_set_params(ctx, bad_ukm), 0);
    cr_expect_leq(EVP_PKEY_derive(ctx, secret, &len), 0, "no peer");
    cr_expect_leq(EVP_PKEY_derive_set_peer(ctx, other), 0, "another curve");
    cr_expect_leq(EVP_PKEY_derive_set_peer(ctx, pair), 0, "a peer's private part");
    cr_assert_eq(EVP_PKEY_derive_set_peer(ctx, peer), 1);
    len = sizeof(secret);
    cr_expect_leq(EVP_PKEY_derive(ctx, secret, &len), 0, "no room");
    cr_assert_eq(EVP_PKEY_CTX_set_ecdh_kdf_type(ctx, EVP_PKEY_ECDH_KDF_X9_63), 1);
    len = sizeof(secret);
    cr_expect_leq(EVP_PKEY_derive(ctx, secret, &len), 0, "no length");
    cr_assert_eq(EVP_PKEY_CTX_set_ecdh_kdf_outlen(ctx, 16), 1);
    len = sizeof(secret);
    cr_expect_leq(EVP_PKEY_derive(ctx, secret, &len), 0, "no digest");
    cr_expect_neq(ERR_peek_error(), 0, "each refusal has its reason");
    ERR_clear_error();
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(pair);
    EVP_PKEY_free(other);
    EVP_PKEY_free(p384);
    EVP_PKEY_free(key);
}
