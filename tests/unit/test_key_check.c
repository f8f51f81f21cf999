/* Foreign RSA keys that libcrypto loads and that must not be used all the same. */
#include <criterion/criterion.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <string.h>

#include "store/keyring/key_internal.h"

static void setup(void)
{
    cr_assert_eq(kv_keys_init(NULL), 0);
}

TestSuite(key_check, .timeout = 60, .init = setup, .fini = kv_keys_fini);

/* All eight numbers of a key, computed from p, q and e. */
struct numbers {
    BIGNUM *n;
    BIGNUM *e;
    BIGNUM *d;
    BIGNUM *p;
    BIGNUM *q;
    BIGNUM *dp;
    BIGNUM *dq;
    BIGNUM *qi;
};

static void numbers_free(struct numbers *k)
{
    BIGNUM *const all[] = {k->n, k->e, k->d, k->p, k->q, k->dp, k->dq, k->qi};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        BN_free(all[i]);
}

/* A prime of `bits` with its two top bits set, and no e-th roots in its way. */
static BIGNUM *prime(int bits)
{
    BIGNUM *p = BN_new();
    do
        cr_assert_eq(BN_generate_prime_ex(p, bits, 0, NULL, NULL, NULL), 1);
    while (BN_mod_word(p, 65537) == 1);
    return p;
}

/* Takes p and q. */
static struct numbers make(BIGNUM *p, BIGNUM *q)
{
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *p_1 = BN_dup(p);
    BIGNUM *q_1 = BN_dup(q);
    BIGNUM *phi = BN_new();
    struct numbers k = {.n = BN_new(),
                        .e = BN_new(),
                        .d = BN_new(),
                        .p = p,
                        .q = q,
                        .dp = BN_new(),
                        .dq = BN_new(),
                        .qi = BN_new()};
    cr_assert(BN_set_word(k.e, 65537) && BN_sub_word(p_1, 1) && BN_sub_word(q_1, 1));
    cr_assert(BN_mul(k.n, p, q, ctx) && BN_mul(phi, p_1, q_1, ctx));
    cr_assert_not_null(BN_mod_inverse(k.d, k.e, phi, ctx));
    cr_assert(BN_mod(k.dp, k.d, p_1, ctx) && BN_mod(k.dq, k.d, q_1, ctx));
    if (BN_cmp(p, q) == 0)
        cr_assert_eq(BN_one(k.qi), 1); /* there is none */
    else
        cr_assert_not_null(BN_mod_inverse(k.qi, q, p, ctx));
    BN_free(p_1);
    BN_free(q_1);
    BN_free(phi);
    BN_CTX_free(ctx);
    return k;
}

static EVP_PKEY *load(const struct numbers *k)
{
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    cr_assert(OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, k->n) &&
              OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, k->e) &&
              OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_D, k->d) &&
              OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_FACTOR1, k->p) &&
              OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_FACTOR2, k->q) &&
              OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_EXPONENT1, k->dp) &&
              OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_EXPONENT2, k->dq) &&
              OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_COEFFICIENT1, k->qi));
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(kv_keys_libctx(), "RSA", NULL);
    cr_assert_eq(EVP_PKEY_fromdata_init(ctx), 1);
    cr_assert_eq(EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEYPAIR, params), 1);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    return pkey;
}

/* Check a key (taken); returns the id of its refusal, "" when there is none. */
static const char *refusal(EVP_PKEY *pkey)
{
    static struct kv_err err;
    struct kv_key *key = NULL;
    err = KV_ERR_INIT;
    int rc = kv_key_take(pkey, &key, &err);
    if (rc == 0)
        rc = kv_key_check(key, &err);
    cr_expect_eq(rc, err.code);
    kv_key_unref(key);
    cr_expect_eq(ERR_peek_error(), 0);
    return err.id;
}

Test(key_check, numbers_that_fit_are_accepted)
{
    struct numbers k = make(prime(1024), prime(1024));
    cr_expect_str_eq(refusal(load(&k)), "");
    numbers_free(&k);
}

Test(key_check, factors_have_one_size_and_differ)
{
    struct numbers uneven = make(prime(1000), prime(1048));
    cr_expect_str_eq(refusal(load(&uneven)), "key.import-bad-field");
    numbers_free(&uneven);
    BIGNUM *p = prime(1024);
    struct numbers square = make(p, BN_dup(p));
    cr_expect_str_eq(refusal(load(&square)), "key.import-inconsistent");
    numbers_free(&square);
}

Test(key_check, each_number_must_be_its_own)
{
    struct numbers k = make(prime(1024), prime(1024));
    BIGNUM *const wrong[] = {k.d, k.dp, k.dq, k.qi};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        cr_assert_eq(BN_sub_word(wrong[i], 2), 1);
        cr_expect_str_eq(refusal(load(&k)), "key.import-inconsistent", "number %zu", i);
        cr_assert_eq(BN_add_word(wrong[i], 2), 1);
    }
    cr_expect_str_eq(refusal(load(&k)), "");
    numbers_free(&k);
}

Test(key_check, exponent_is_odd_and_short)
{
    static const BN_ULONG bad[] = {1, 2, 65536, 0x100000001};
    struct numbers k = make(prime(1024), prime(1024));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(BN_set_word(k.e, bad[i]), 1);
        cr_expect_str_eq(refusal(load(&k)), "key.import-bad-exponent", "row %zu", i);
    }
    numbers_free(&k);
}

Test(key_check, three_primes_are_not_served)
{
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(kv_keys_libctx(), "RSA", NULL);
    cr_assert_eq(EVP_PKEY_keygen_init(ctx), 1);
    cr_assert_eq(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048), 1);
    cr_assert_eq(EVP_PKEY_CTX_set_rsa_keygen_primes(ctx, 3), 1);
    cr_assert_eq(EVP_PKEY_keygen(ctx, &pkey), 1);
    EVP_PKEY_CTX_free(ctx);
    cr_expect_str_eq(refusal(pkey), "key.import-unsupported");
}

Test(key_check, public_keys_are_no_keys)
{
    struct numbers k = make(prime(1024), prime(1024));
    EVP_PKEY *whole = load(&k);
    EVP_PKEY *half = NULL;
    unsigned char *der = NULL;
    const int len = i2d_PUBKEY(whole, &der);
    const unsigned char *at = der;
    half = d2i_PUBKEY_ex(NULL, &at, len, kv_keys_libctx(), NULL);
    cr_assert_not_null(half);
    cr_expect_str_eq(refusal(half), "key.import-missing-field");
    OPENSSL_free(der);
    EVP_PKEY_free(whole);
    numbers_free(&k);
}
