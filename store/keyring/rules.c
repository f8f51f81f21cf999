/*
 * The rules of use. The order matters to whoever reads the message: a disabled key
 * says so first, then what the key itself cannot do, then what the caller may not.
 */
#include "store/keyring/rules.h"

#define DECRYPTING ((uint32_t)KV_OP_DECRYPT | KV_OP_UNWRAP)
#define TIME_BOUND                                                                     \
    ((uint32_t)KV_OP_SIGN | KV_OP_ENCRYPT | KV_OP_WRAP | KV_OP_DERIVE |                \
     KV_OP_CA_SIGN | KV_OP_TLS_UNPAD)

static bool is_early(const struct kv_key_attrs *attrs, int64_t now_s)
{
    return attrs->nbf_s != KV_TIME_NONE && now_s < attrs->nbf_s;
}

static bool is_late(const struct kv_key_attrs *attrs, int64_t now_s)
{
    return attrs->exp_s != KV_TIME_NONE && now_s >= attrs->exp_s;
}

static int check_enabled(const struct kv_key_attrs *attrs, struct kv_err *err)
{
    if (attrs->is_enabled)
        return 0;
    return kv_err_set(err, KV_E_STATE, "key.disabled", "the key is disabled");
}

static int check_time(const struct kv_key_attrs *attrs, int64_t now_s,
                      struct kv_err *err)
{
    if (is_early(attrs, now_s))
        return kv_err_set(err, KV_E_STATE, "key.not-yet-valid",
                          "the key is not valid yet");
    if (is_late(attrs, now_s))
        return kv_err_set(err, KV_E_STATE, "key.expired", "the key has expired");
    return 0;
}

static int refuse_op(struct kv_err *err)
{
    return kv_err_set(err, KV_E_DENIED, "key.op-not-permitted",
                      "the key's permitted operations do not include this one");
}

static int refuse_grant(struct kv_err *err)
{
    return kv_err_set(err, KV_E_DENIED, "grant.denied",
                      "the caller may not use the key for this operation");
}

int kv_rules_check(const struct kv_key_attrs *attrs, uint32_t granted, uint32_t any_of,
                   int64_t now_s, struct kv_err *err)
{
    int rc = 0;
    KV_TRY(check_enabled(attrs, err));
    if ((attrs->ops & any_of) == 0)
        return refuse_op(err);
    if ((attrs->ops & any_of & granted) == 0)
        return refuse_grant(err);
    if ((any_of & TIME_BOUND) != 0)
        rc = check_time(attrs, now_s, err);
out:
    return rc;
}

int kv_rules_check_tls(const struct kv_key_attrs *attrs, uint32_t granted,
                       int64_t now_s, struct kv_err *err)
{
    int rc = 0;
    KV_TRY(check_enabled(attrs, err));
    if ((attrs->ops & DECRYPTING) == 0)
        return refuse_op(err);
    if ((granted & KV_OP_TLS_UNPAD) == 0 && (granted & attrs->ops & DECRYPTING) == 0)
        return refuse_grant(err);
    rc = check_time(attrs, now_s, err);
out:
    return rc;
}

uint32_t kv_rules_ops_now(const struct kv_key_attrs *attrs, uint32_t granted,
                          int64_t now_s)
{
    if (!attrs->is_enabled)
        return 0;
    uint32_t ops = attrs->ops & granted;
    if ((attrs->ops & DECRYPTING) != 0)
        ops |= granted & KV_OP_TLS_UNPAD;
    if (is_early(attrs, now_s) || is_late(attrs, now_s))
        ops &= ~TIME_BOUND;
    return ops;
}

int kv_rules_update(const struct kv_key_attrs *old_attrs,
                    const struct kv_key_attrs *attrs, struct kv_err *err)
{
    if (attrs->is_exportable && !old_attrs->is_exportable)
        return kv_err_set(err, KV_E_DENIED, "key.exportable",
                          "a key that was made not exportable stays so");
    if ((attrs->ops & KV_OP_CA_SIGN) != (old_attrs->ops & KV_OP_CA_SIGN))
        return kv_err_set(err, KV_E_DENIED, "key.op-not-permitted",
                          "a key is made for signing certificates, or it is not");
    return 0;
}
