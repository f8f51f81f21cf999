#include <criterion/criterion.h>

#include "store/keyring/rules.h"

TestSuite(rules, .timeout = 20);

#define ALL UINT32_MAX
#define NOW 1000

static struct kv_key_attrs attrs_of(uint32_t ops, int64_t nbf_s, int64_t exp_s)
{
    return (struct kv_key_attrs){
        .ops = ops, .is_enabled = 1, .nbf_s = nbf_s, .exp_s = exp_s};
}

Test(rules, outside_its_dates_a_key_decrypts_and_verifies_but_does_not_sign)
{
    static const uint32_t bound[] = {KV_OP_SIGN, KV_OP_ENCRYPT, KV_OP_WRAP,
                                     KV_OP_DERIVE};
    static const uint32_t unbound[] = {KV_OP_DECRYPT, KV_OP_UNWRAP, KV_OP_VERIFY};
    const struct kv_key_attrs early = attrs_of(0x7f, NOW + 1, KV_TIME_NONE);
    const struct kv_key_attrs late = attrs_of(0x7f, KV_TIME_NONE, NOW);
    for (size_t i = 0; i < sizeof(bound) / sizeof(bound[0]); i++) {
        struct kv_err err = KV_ERR_INIT;
        cr_assert_eq(kv_rules_check(&early, ALL, bound[i], NOW, &err), KV_E_STATE);
        cr_assert_str_eq(err.id, "key.not-yet-valid");
        err = KV_ERR_INIT;
        cr_assert_eq(kv_rules_check(&late, ALL, bound[i], NOW, &err), KV_E_STATE);
        cr_assert_str_eq(err.id, "key.expired");
        cr_assert_eq(kv_rules_check(&late, ALL, bound[i], NOW - 1, NULL), 0);
        cr_assert_eq(kv_rules_check(&early, ALL, bound[i], NOW + 1, NULL), 0);
    }
    for (size_t i = 0; i < sizeof(unbound) / sizeof(unbound[0]); i++) {
        cr_assert_eq(kv_rules_check(&early, ALL, unbound[i], NOW, NULL), 0);
        cr_assert_eq(kv_rules_check(&late, ALL, unbound[i], NOW, NULL), 0);
    }
    cr_assert_eq(kv_rules_check_tls(&late, ALL, NOW, NULL), KV_E_STATE);
    cr_assert_eq(kv_rules_ops_now(&late, ALL, NOW),
                 (uint32_t)KV_OP_DECRYPT | KV_OP_UNWRAP | KV_OP_VERIFY);
}

Test(rules, disabled_key_does_nothing)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_key_attrs attrs = attrs_of(0x7f, KV_TIME_NONE, KV_TIME_NONE);
    attrs.is_enabled = 0;
    cr_assert_eq(kv_rules_check(&attrs, ALL, KV_OP_VERIFY, NOW, &err), KV_E_STATE);
    cr_assert_str_eq(err.id, "key.disabled");
    cr_assert_eq(kv_rules_check_tls(&attrs, ALL, NOW, NULL), KV_E_STATE);
    cr_assert_eq(kv_rules_ops_now(&attrs, ALL, NOW), 0);
}

Test(rules, both_the_key_and_the_grant_must_have_the_operation)
{
    struct kv_err err = KV_ERR_INIT;
    const struct kv_key_attrs attrs = attrs_of(KV_OP_SIGN, KV_TIME_NONE, KV_TIME_NONE);
    cr_assert_eq(kv_rules_check(&attrs, KV_OP_SIGN, KV_OP_SIGN, NOW, NULL), 0);
    cr_assert_eq(kv_rules_check(&attrs, KV_OP_VERIFY, KV_OP_SIGN, NOW, &err),
                 KV_E_DENIED);
    cr_assert_str_eq(err.id, "grant.denied");
    err = KV_ERR_INIT;
    cr_assert_eq(kv_rules_check(&attrs, ALL, KV_OP_DERIVE, NOW, &err), KV_E_DENIED);
    cr_assert_str_eq(err.id, "key.op-not-permitted");
    cr_assert_eq(kv_rules_check(&attrs, 0, KV_OP_SIGN, NOW, NULL), KV_E_DENIED);
}

Test(rules, tls_unpadding_needs_a_key_that_decrypts_and_a_right)
{
    const struct kv_key_attrs sign = attrs_of(KV_OP_SIGN, KV_TIME_NONE, KV_TIME_NONE);
    const struct kv_key_attrs wrap = attrs_of(KV_OP_UNWRAP, KV_TIME_NONE, KV_TIME_NONE);
    cr_assert_eq(kv_rules_check_tls(&sign, ALL, NOW, NULL), KV_E_DENIED);
    cr_assert_eq(kv_rules_check_tls(&wrap, KV_OP_TLS_UNPAD, NOW, NULL), 0);
    cr_assert_eq(kv_rules_check_tls(&wrap, KV_OP_UNWRAP, NOW, NULL), 0);
    cr_assert_eq(kv_rules_check_tls(&wrap, KV_OP_DECRYPT, NOW, NULL), KV_E_DENIED);
    cr_assert_eq(kv_rules_check_tls(&wrap, KV_OP_SIGN, NOW, NULL), KV_E_DENIED);
    cr_assert_eq(
        kv_rules_check(&wrap, KV_OP_TLS_UNPAD, KV_OP_DECRYPT | KV_OP_UNWRAP, NOW, NULL),
        KV_E_DENIED, "a web server's right is no right to decrypt");
}

Test(rules, update_never_makes_a_key_exportable_or_a_ca)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_key_attrs plain = attrs_of(KV_OP_SIGN, KV_TIME_NONE, KV_TIME_NONE);
    struct kv_key_attrs open_one = plain;
    open_one.is_exportable = 1;
    cr_assert_eq(kv_rules_update(&plain, &open_one, &err), KV_E_DENIED);
    cr_assert_str_eq(err.id, "key.exportable");
    cr_assert_eq(kv_rules_update(&open_one, &plain, NULL), 0);
    cr_assert_eq(kv_rules_update(&open_one, &open_one, NULL), 0);
    struct kv_key_attrs ca = plain;
    ca.ops |= KV_OP_CA_SIGN;
    cr_assert_eq(kv_rules_update(&plain, &ca, NULL), KV_E_DENIED);
    cr_assert_eq(kv_rules_update(&ca, &plain, NULL), KV_E_DENIED);
}
