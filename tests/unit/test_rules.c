#include <criterion/criterion.h>
#include <string.h>

#include "store/keyring/rules.h"

TestSuite(rules, .timeout = 20);

#define ALL UINT32_MAX
#define NOW 1000

static struct kv_live live_of(uint32_t ops, int64_t nbf_s, int64_t exp_s)
{
    return (struct kv_live){
        .ident = {.name = "web"},
        .attrs = {.ops = ops, .is_enabled = 1, .nbf_s = nbf_s, .exp_s = exp_s}};
}

Test(rules, outside_its_dates_a_key_decrypts_and_verifies_but_does_not_sign)
{
    static const uint32_t bound[] = {KV_OP_SIGN, KV_OP_ENCRYPT, KV_OP_WRAP,
                                     KV_OP_DERIVE};
    static const uint32_t unbound[] = {KV_OP_DECRYPT, KV_OP_UNWRAP, KV_OP_VERIFY};
    const struct kv_live early = live_of(0x7f, NOW + 1, KV_TIME_NONE);
    const struct kv_live late = live_of(0x7f, KV_TIME_NONE, NOW);
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
    cr_assert_eq(kv_rules_ops_now(&late.attrs, ALL, NOW),
                 (uint32_t)KV_OP_DECRYPT | KV_OP_UNWRAP | KV_OP_VERIFY);
}

Test(rules, disabled_key_does_nothing)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_live live = live_of(0x7f, KV_TIME_NONE, KV_TIME_NONE);
    live.attrs.is_enabled = 0;
    cr_assert_eq(kv_rules_check(&live, ALL, KV_OP_VERIFY, NOW, &err), KV_E_STATE);
    cr_assert_str_eq(err.id, "key.disabled");
    cr_assert_str_eq(err.hint, "keyvault key update web --version "
                               "00000000000000000000000000000000 --enabled");
    cr_assert_eq(kv_rules_check_tls(&live, ALL, NOW, NULL), KV_E_STATE);
    cr_assert_eq(kv_rules_ops_now(&live.attrs, ALL, NOW), 0);
}

Test(rules, both_the_key_and_the_grant_must_have_the_operation)
{
    struct kv_err err = KV_ERR_INIT;
    const struct kv_live live = live_of(KV_OP_SIGN, KV_TIME_NONE, KV_TIME_NONE);
    cr_assert_eq(kv_rules_check(&live, KV_OP_SIGN, KV_OP_SIGN, NOW, NULL), 0);
    cr_assert_eq(kv_rules_check(&live, KV_OP_VERIFY, KV_OP_SIGN, NOW, &err),
                 KV_E_DENIED);
    cr_assert_str_eq(err.id, "grant.denied");
    err = KV_ERR_INIT;
    cr_assert_eq(kv_rules_check(&live, ALL, KV_OP_DERIVE, NOW, &err), KV_E_DENIED);
    cr_assert_str_eq(err.id, "key.op-not-permitted");
    cr_assert_eq(kv_rules_check(&live, 0, KV_OP_SIGN, NOW, NULL), KV_E_DENIED);
}

Test(rules, tls_unpadding_needs_a_key_that_decrypts_and_a_right)
{
    const struct kv_live sign = live_of(KV_OP_SIGN, KV_TIME_NONE, KV_TIME_NONE);
    const struct kv_live wrap = live_of(KV_OP_UNWRAP, KV_TIME_NONE, KV_TIME_NONE);
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
    struct kv_key_attrs plain = live_of(KV_OP_SIGN, KV_TIME_NONE, KV_TIME_NONE).attrs;
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

static struct kv_err refusal(const struct kv_live *live, uint32_t granted, uint32_t op)
{
    struct kv_err err = KV_ERR_INIT;
    cr_assert_neq(kv_rules_check(live, granted, op, 1795507200, &err), 0);
    return err;
}

Test(rules, a_refusal_names_the_key_or_its_certificate_and_what_is_wrong)
{
    struct kv_live live = live_of(KV_OP_SIGN | KV_OP_VERIFY, KV_TIME_NONE, 1795507200);
    cr_expect_str_eq(refusal(&live, ALL, KV_OP_SIGN).message,
                     "key web expired on 2026-11-24 08:00:00 UTC");
    cr_expect_str_eq(refusal(&live, ALL, KV_OP_DECRYPT | KV_OP_UNWRAP).message,
                     "the operations of key web (sign, verify) do not include decrypt "
                     "or unwrapKey");
    cr_expect_str_eq(refusal(&live, KV_OP_VERIFY, KV_OP_SIGN).message,
                     "the caller's roles for key web do not allow sign");
    live.attrs.is_managed = 1;
    const struct kv_err expired = refusal(&live, ALL, KV_OP_SIGN);
    cr_expect_str_eq(expired.message,
                     "certificate web expired on 2026-11-24 08:00:00 UTC");
    cr_expect_str_eq(expired.hint,
                     "make a new version, keyvault cert create web, and load it");
    live.attrs.exp_s = KV_TIME_NONE;
    live.attrs.nbf_s = 1795507201;
    cr_expect_str_eq(refusal(&live, ALL, KV_OP_SIGN).message,
                     "certificate web is not valid before 2026-11-24 08:00:01 UTC");
    live.attrs.is_enabled = 0;
    cr_expect_str_eq(refusal(&live, ALL, KV_OP_SIGN).message,
                     "certificate web is disabled");
    live.attrs.is_enabled = 1;
    live.attrs.ops = 0;
    cr_expect_str_eq(refusal(&live, ALL, KV_OP_DERIVE).message,
                     "the operations of key web (none) do not include deriveBits");
}

Test(rules, the_key_of_an_expired_certificate_does_nothing)
{
    static const uint32_t ops[] = {KV_OP_SIGN,    KV_OP_VERIFY, KV_OP_ENCRYPT,
                                   KV_OP_DECRYPT, KV_OP_WRAP,   KV_OP_UNWRAP,
                                   KV_OP_DERIVE};
    struct kv_live late = live_of(KV_OP_SIGN | KV_OP_DECRYPT, NOW + 1, NOW);
    late.attrs.is_managed = 1;
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        struct kv_err err = KV_ERR_INIT;
        cr_expect_eq(kv_rules_check(&late, ALL, ops[i], NOW, &err), KV_E_STATE);
        cr_expect_str_eq(err.id, "key.expired", "before what the key cannot do: %u",
                         ops[i]);
    }
    struct kv_err err = KV_ERR_INIT;
    cr_expect_eq(kv_rules_check_tls(&late, ALL, NOW, &err), KV_E_STATE);
    cr_expect_str_eq(err.id, "key.expired");
    cr_expect_eq(kv_rules_ops_now(&late.attrs, ALL, NOW), 0);
    cr_expect_eq(kv_rules_check_alive(&late, NOW, NULL), KV_E_STATE);
    cr_expect_eq(kv_rules_check_alive(&late, NOW - 1, NULL), 0, "one second before");
    cr_expect_eq(kv_rules_check(&late, ALL, KV_OP_DECRYPT, NOW - 1, NULL), 0,
                 "before its time it decrypts as others do");
    late.attrs.is_enabled = 0;
    err = KV_ERR_INIT;
    cr_expect_eq(kv_rules_check_alive(&late, NOW, &err), KV_E_STATE);
    cr_expect_str_eq(err.id, "key.disabled");
}

static const char *reuse(const struct kv_live *old, const struct kv_ident *to,
                         const struct kv_key_attrs *attrs)
{
    static struct kv_err err;
    err = KV_ERR_INIT;
    return kv_rules_reuse(old, to, attrs, &err) == 0 ? "" : err.id;
}

Test(rules, a_key_goes_on_only_into_a_pending_version_of_its_certificate)
{
    static const struct kv_ident none;
    struct kv_live old = live_of(KV_OP_SIGN, KV_TIME_NONE, NOW);
    old.attrs.is_managed = 1;
    old.ident = (struct kv_ident){.vault = {1},
                                  .kind = KV_KIND_KEY,
                                  .name = "web",
                                  .version = {1},
                                  .term = 3,
                                  .row_version = 4};
    struct kv_key_attrs attrs = old.attrs;
    struct kv_ident next = old.ident;
    next.version[0] = 2;
    next.row_version = 0;
    cr_expect_str_eq(reuse(&old, &next, &attrs), "", "an expired one is renewed, too");
    struct kv_ident to = next;
    to.name[0] = 'x';
    cr_expect_str_eq(reuse(&old, &to, &attrs), "key.other-identity", "another name");
    to = next;
    to.vault[0] = 2;
    cr_expect_str_eq(reuse(&old, &to, &attrs), "key.other-identity", "another vault");
    to = next;
    to.kind = KV_KIND_SECRET;
    cr_expect_str_eq(reuse(&old, &to, &attrs), "key.other-identity", "another kind");
    to = next;
    to.row_version = 1;
    cr_expect_str_eq(reuse(&old, &to, &attrs), "key.other-identity", "not pending");
    to = next;
    to.version[0] = 1;
    cr_expect_str_eq(reuse(&old, &to, &attrs), "key.other-identity", "its own version");
    memcpy(to.version, none.version, KV_ID_LEN);
    cr_expect_str_eq(reuse(&old, &to, &attrs), "key.other-identity", "a head");
    to = next;
    to.term = 2;
    cr_expect_str_eq(reuse(&old, &to, &attrs), "key.row-version", "an older vault key");
    attrs.is_managed = 0;
    cr_expect_str_eq(reuse(&old, &next, &attrs), "key.other-identity", "out of it");
    attrs.is_managed = 1;
    attrs.is_exportable = 1;
    cr_expect_str_eq(reuse(&old, &next, &attrs), "key.exportable");
    attrs.is_exportable = 0;
    struct kv_live other = old;
    other.attrs.is_managed = 0;
    cr_expect_str_eq(reuse(&other, &next, &attrs), "key.other-identity", "a plain key");
    other = old;
    other.ident.row_version = 0;
    cr_expect_str_eq(reuse(&other, &next, &attrs), "key.other-identity", "of an order");
    other = old;
    other.attrs.is_enabled = 0;
    cr_expect_str_eq(reuse(&other, &next, &attrs), "key.disabled");
}
