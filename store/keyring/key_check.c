/*
 * Do the parts of a foreign key fit together?
 *
 * A key that libcrypto loads may still be inconsistent: a wrong d or dp signs
 * garbage that reveals a factor, a point off its curve leaks the private scalar. So
 * the relations are checked one by one, each with its own message, and libcrypto's
 * whole-key check (primes, ranges, pairwise) has the last word.
 */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>

#include "store/keyring/key_internal.h"

enum { N, E, D, P, Q, DP, DQ, QI, N_PARTS };

static const struct {
    const char *param;
    const char *name;
} parts[N_PARTS] = {
    [N] = {OSSL_PKEY_PARAM_RSA_N, "n"},
    [E] = {OSSL_PKEY_PARAM_RSA_E, "e"},
    [D] = {OSSL_PKEY_PARAM_RSA_D, "d"},
    [P] = {OSSL_PKEY_PARAM_RSA_FACTOR1, "p"},
    [Q] = {OSSL_PKEY_PARAM_RSA_FACTOR2, "q"},
    [DP] = {OSSL_PKEY_PARAM_RSA_EXPONENT1, "dp"},
    [DQ] = {OSSL_PKEY_PARAM_RSA_EXPONENT2, "dq"},
    [QI] = {OSSL_PKEY_PARAM_RSA_COEFFICIENT1, "qi"},
};

static int inconsistent(struct kv_err *err, const char *text)
{
    return kv_err_set(err, KV_E_INVALID, "key.import-inconsistent",
                      "the RSA key does not fit together: %s", text);
}

/* e odd in 3..2^32; p and q of half the size of n and different. */
static int check_rsa_ranges(BIGNUM *const part[N_PARTS], int bits, struct kv_err *err)
{
    if (!BN_is_odd(part[E]) || BN_num_bits(part[E]) > 32 || BN_is_one(part[E]) ||
        BN_is_negative(part[E]))
        return kv_err_set(err, KV_E_INVALID, "key.import-bad-exponent",
                          "RSA public exponent e must be odd and from 3 to 2^32");
    if (BN_num_bits(part[P]) != bits / 2 || BN_num_bits(part[Q]) != bits / 2)
        return kv_err_set(err, KV_E_INVALID, "key.import-bad-field",
                          "RSA factors p and q have %d and %d bits; expected %d each",
                          BN_num_bits(part[P]), BN_num_bits(part[Q]), bits / 2);
    if (BN_cmp(part[P], part[Q]) == 0)
        return inconsistent(err, "p equals q");
    if (BN_cmp(part[D], part[N]) >= 0)
        return inconsistent(err, "d is not below n");
    return 0;
}

/* Whether a*b = 1 modulo m. */
static bool is_inverse(const BIGNUM *a, const BIGNUM *b, const BIGNUM *m, BN_CTX *ctx)
{
    BIGNUM *r = BN_CTX_get(ctx);
    return r != NULL && BN_mod_mul(r, a, b, m, ctx) == 1 && BN_is_one(r);
}

/* Whether b = a modulo m. */
static bool is_residue(const BIGNUM *a, const BIGNUM *b, const BIGNUM *m, BN_CTX *ctx)
{
    BIGNUM *r = BN_CTX_get(ctx);
    return r != NULL && BN_mod(r, a, m, ctx) == 1 && BN_cmp(r, b) == 0;
}

static int check_rsa_relations(BIGNUM *const part[N_PARTS], struct kv_err *err)
{
    int rc = 0;
    BN_CTX *ctx = BN_CTX_secure_new_ex(kv_keys_libctx());
    if (ctx == NULL)
        return KV_E_NOMEM;
    BN_CTX_start(ctx);
    BIGNUM *product = BN_CTX_get(ctx);
    BIGNUM *p_1 = BN_CTX_get(ctx);
    BIGNUM *q_1 = BN_CTX_get(ctx);
    if (q_1 == NULL || BN_copy(p_1, part[P]) == NULL || BN_sub_word(p_1, 1) != 1 ||
        BN_copy(q_1, part[Q]) == NULL || BN_sub_word(q_1, 1) != 1 ||
        BN_mul(product, part[P], part[Q], ctx) != 1)
        rc = KV_E_NOMEM;
    else if (BN_cmp(product, part[N]) != 0)
        rc = inconsistent(err, "n is not p times q");
    else if (!is_inverse(part[D], part[E], p_1, ctx) ||
             !is_inverse(part[D], part[E], q_1, ctx))
        rc = inconsistent(err, "d is not the inverse of e");
    else if (!is_residue(part[D], part[DP], p_1, ctx))
        rc = inconsistent(err, "dp is not d modulo p-1");
    else if (!is_residue(part[D], part[DQ], q_1, ctx))
        rc = inconsistent(err, "dq is not d modulo q-1");
    else if (!is_inverse(part[QI], part[Q], part[P], ctx))
        rc = inconsistent(err, "qi is not the inverse of q modulo p");
    BN_CTX_end(ctx);
    BN_CTX_free(ctx);
    return rc;
}

static int check_rsa(const struct kv_key *key, struct kv_err *err)
{
    int rc = 0;
    BIGNUM *part[N_PARTS] = {NULL};
    BIGNUM *third = NULL;
    for (size_t i = 0; i < N_PARTS; i++)
        if (EVP_PKEY_get_bn_param(key->pkey, parts[i].param, &part[i]) != 1) {
            rc = kv_err_set(err, KV_E_INVALID, "key.import-missing-field",
                            "the RSA key has no %s; all of n e d p q dp dq qi are "
                            "required",
                            parts[i].name);
            goto out;
        }
    if (EVP_PKEY_get_bn_param(key->pkey, OSSL_PKEY_PARAM_RSA_FACTOR3, &third) == 1) {
        rc = kv_err_set(err, KV_E_UNSUPPORTED, "key.import-unsupported",
                        "RSA keys of more than two primes are not served");
        goto out;
    }
    KV_TRY(check_rsa_ranges(part, key->bits, err));
    KV_TRY(check_rsa_relations(part, err));
out:
    for (size_t i = 0; i < N_PARTS; i++)
        BN_clear_free(part[i]);
    BN_clear_free(third);
    return rc;
}

/* Say what is wrong with a key that failed libcrypto's check. */
static int explain(const struct kv_key *key, EVP_PKEY_CTX *pctx, struct kv_err *err)
{
    if (key->kty == KV_KTY_RSA)
        return inconsistent(err, "p or q is no prime, or a part is out of range");
    if (key->kty == KV_KTY_EC && EVP_PKEY_public_check(pctx) != 1)
        return kv_err_set(err, KV_E_INVALID, "key.import-off-curve",
                          "the public point does not lie on its curve");
    if (key->kty == KV_KTY_EC && EVP_PKEY_private_check(pctx) != 1)
        return kv_err_set(err, KV_E_INVALID, "key.import-bad-field",
                          "the private scalar d is not between 1 and the order of "
                          "the curve");
    return kv_err_set(err, KV_E_INVALID, "key.import-mismatch",
                      "the public part does not belong to the private part");
}

int kv_key_check(const struct kv_key *key, struct kv_err *err)
{
    int rc = key->kty == KV_KTY_RSA ? check_rsa(key, err) : 0;
    if (rc == 0) {
        EVP_PKEY_CTX *pctx =
            EVP_PKEY_CTX_new_from_pkey(kv_keys_libctx(), key->pkey, NULL);
        if (pctx == NULL)
            rc = KV_E_NOMEM;
        else if (EVP_PKEY_check(pctx) != 1)
            rc = explain(key, pctx, err);
        EVP_PKEY_CTX_free(pctx);
    }
    ERR_clear_error();
    return rc;
}
