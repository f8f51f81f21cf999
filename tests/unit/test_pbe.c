/* The budget of password-based work. */
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "store/keyring/key_internal.h"
#include "store/keyring/pbe.h"

static void setup(void)
{
    cr_assert_eq(kv_keys_init(NULL), 0);
}

TestSuite(pbe, .timeout = 20, .init = setup, .fini = kv_keys_fini);

static int spend(struct kv_pbe *pbe, int64_t n, struct kv_err *err)
{
    ASN1_INTEGER *count = ASN1_INTEGER_new();
    cr_assert_eq(ASN1_INTEGER_set_int64(count, n), 1);
    int rc = kv_pbe_spend(pbe, count, err);
    ASN1_INTEGER_free(count);
    return rc;
}

Test(pbe, one_count_has_a_ceiling)
{
    static const struct {
        int64_t n;
        bool ok;
    } rows[] = {{1, true},         {KV_PBE_BUDGET, true},
                {0, false},        {KV_PBE_BUDGET + 1, false},
                {-1, false},       {INT64_MAX, false},
                {INT64_MIN, false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_pbe pbe = {.budget = KV_PBE_BUDGET};
        struct kv_err err = KV_ERR_INIT;
        cr_expect_eq(spend(&pbe, rows[i].n, &err) == 0, rows[i].ok, "row %zu", i);
        if (rows[i].ok)
            cr_expect_eq(pbe.budget, KV_PBE_BUDGET - (uint64_t)rows[i].n);
        else
            cr_expect_str_eq(err.id, "key.import-work-factor");
    }
    struct kv_pbe pbe = {.budget = KV_PBE_BUDGET};
    cr_expect_eq(kv_pbe_spend(&pbe, NULL, NULL), KV_E_INVALID);
}

Test(pbe, the_sum_has_a_ceiling_too)
{
    struct kv_pbe pbe = {.budget = KV_PBE_BUDGET};
    for (int i = 0; i < 4; i++)
        cr_expect_eq(spend(&pbe, KV_PBE_BUDGET / 4, NULL), 0);
    cr_expect_eq(spend(&pbe, 1, NULL), KV_E_INVALID);
    cr_expect_eq(ERR_peek_error(), 0);
}

/* PBES2 with scrypt and AES-256-CBC over one block: costs what `n` and `p` say. */
static X509_ALGOR *scrypt_algorithm(uint64_t n, uint64_t p)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(kv_keys_libctx(), "AES-256-CBC", NULL);
    static const uint8_t salt[8];
    static uint8_t iv[16];
    X509_ALGOR *algorithm =
        PKCS5_pbe2_set_scrypt(cipher, salt, sizeof(salt), iv, n, 8, p);
    EVP_CIPHER_free(cipher);
    cr_assert_not_null(algorithm);
    return algorithm;
}

Test(pbe, scrypt_spends_the_same_budget)
{
    static const uint8_t password[] = "secret";
    X509_ALGOR *algorithm = scrypt_algorithm(1 << 14, 4);
    ASN1_OCTET_STRING *in = ASN1_OCTET_STRING_new();
    struct kv_buf plain;
    kv_buf_init_secret(&plain, 1000);
    cr_assert_eq(ASN1_OCTET_STRING_set(in, (const uint8_t[16]){0}, 16), 1);
    struct kv_pbe pbe = {.password = {password, 6}, .budget = KV_PBE_BUDGET};
    int n_paid = 0;
    struct kv_err err = KV_ERR_INIT;
    for (int i = 0; i < 8 && strcmp(err.id, "key.import-work-factor") != 0; i++) {
        err = KV_ERR_INIT;
        n_paid++;
        cr_expect_lt(kv_pbe_decrypt(&pbe, algorithm, in, &plain, &err),
                     0); /* garbage */
    }
    cr_expect_str_eq(err.id, "key.import-work-factor");
    cr_expect_leq(n_paid, 4, "%d", n_paid);
    kv_buf_free(&plain);
    ASN1_OCTET_STRING_free(in);
    X509_ALGOR_free(algorithm);
}
