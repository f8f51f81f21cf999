/* The budget of password-based work. */
#include <criterion/criterion.h>

#include "store/keyring/keys.h"
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
    } rows[] = {{1, true},         {KV_PBE_ITERATIONS_MAX, true},
                {0, false},        {KV_PBE_ITERATIONS_MAX + 1, false},
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
        cr_expect_eq(spend(&pbe, KV_PBE_ITERATIONS_MAX, NULL), 0);
    cr_expect_eq(spend(&pbe, 1, NULL), KV_E_INVALID);
}
