/*
 * The rules of use. The order matters to whoever reads the message: a disabled key
 * says so first, then one whose certificate has expired, then what the key itself
 * cannot do, then what the caller may not.
 */
#include "store/keyring/rules.h"

#include <stdio.h>
#include <string.h>

#include "store/core/str.h"
#include "store/core/uri.h"

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

/* People know the key of a certificate by the certificate. */
static const char *kind_of(const struct kv_live *live)
{
    return live->attrs.is_managed ? "certificate" : "key";
}

/* "cert" or "key": the noun of the command line. */
static const char *noun_of(const struct kv_live *live)
{
    return live->attrs.is_managed ? "cert" : "key";
}

/* "verify, encrypt"; "none". */
struct op_list {
    char text[128];
};

static struct op_list list_ops(uint32_t ops, const char *separator)
{
    struct op_list list = {""};
    for (uint32_t op = 1; op != 0; op <<= 1) {
        const char *name = (ops & op) != 0 ? kv_op_name(op) : NULL;
        const size_t len = strlen(list.text);
        if (name != NULL)
            (void)snprintf(list.text + len, sizeof(list.text) - len, "%s%s",
                           len > 0 ? separator : "", name);
    }
    if (list.text[0] == '\0')
        (void)strcpy(list.text, "none");
    return list;
}

int kv_rules_check_enabled(const struct kv_live *live, struct kv_err *err)
{
    char version[KV_VERSION_TEXT_LEN + 1];
    if (live->attrs.is_enabled)
        return 0;
    (void)kv_err_set(err, KV_E_STATE, "key.disabled", "%s %s is disabled",
                     kind_of(live), live->ident.name);
    kv_hex_encode(version, live->ident.version, KV_ID_LEN);
    kv_err_hint(err, "keyvault %s update %s --version %s --enabled", noun_of(live),
                live->ident.name, version);
    return KV_E_STATE;
}

static int refuse_late(const struct kv_live *live, struct kv_err *err)
{
    char date[KV_TIME_TEXT_MAX];
    const char *name = live->ident.name;
    kv_time_format(live->attrs.exp_s, date);
    (void)kv_err_set(err, KV_E_STATE, "key.expired", "%s %s expired on %s",
                     kind_of(live), name, date);
    kv_err_hint(err, "make a new version, keyvault %s create %s, and load it",
                noun_of(live), name);
    return KV_E_STATE;
}

/* With its certificate a key ends for good. */
static bool is_over(const struct kv_key_attrs *attrs, int64_t now_s)
{
    return attrs->is_managed && is_late(attrs, now_s);
}

int kv_rules_check_alive(const struct kv_live *live, int64_t now_s, struct kv_err *err)
{
    int rc = kv_rules_check_enabled(live, err);
    if (rc == 0 && is_over(&live->attrs, now_s))
        rc = refuse_late(live, err);
    return rc;
}

static int check_time(const struct kv_live *live, int64_t now_s, struct kv_err *err)
{
    char date[KV_TIME_TEXT_MAX];
    if (is_early(&live->attrs, now_s)) {
        kv_time_format(live->attrs.nbf_s, date);
        (void)kv_err_set(err, KV_E_STATE, "key.not-yet-valid",
                         "%s %s is not valid before %s", kind_of(live),
                         live->ident.name, date);
        kv_err_hint(err, "wait, or correct the clock of this machine");
        return KV_E_STATE;
    }
    return is_late(&live->attrs, now_s) ? refuse_late(live, err) : 0;
}

static int refuse_op(const struct kv_live *live, uint32_t any_of, struct kv_err *err)
{
    const struct op_list has = list_ops(live->attrs.ops, ", ");
    const struct op_list wanted = list_ops(any_of, " or ");
    (void)kv_err_set(err, KV_E_DENIED, "key.op-not-permitted",
                     "the operations of key %s (%s) do not include %s",
                     live->ident.name, has.text, wanted.text);
    kv_err_hint(err, "use a key that was made for it");
    return KV_E_DENIED;
}

static int refuse_grant(const struct kv_live *live, uint32_t any_of, struct kv_err *err)
{
    const struct op_list wanted = list_ops(any_of, " or ");
    return kv_err_set(err, KV_E_DENIED, "grant.denied",
                      "the caller's roles for key %s do not allow %s", live->ident.name,
                      wanted.text);
}

int kv_rules_check(const struct kv_live *live, uint32_t granted, uint32_t any_of,
                   int64_t now_s, struct kv_err *err)
{
    int rc = 0;
    const uint32_t ops = live->attrs.ops;
    KV_TRY(kv_rules_check_alive(live, now_s, err));
    if ((ops & any_of) == 0)
        return refuse_op(live, any_of, err);
    if ((ops & any_of & granted) == 0)
        return refuse_grant(live, any_of, err);
    if ((any_of & TIME_BOUND) != 0)
        rc = check_time(live, now_s, err);
out:
    return rc;
}

int kv_rules_check_tls(const struct kv_live *live, uint32_t granted, int64_t now_s,
                       struct kv_err *err)
{
    int rc = 0;
    const uint32_t ops = live->attrs.ops & DECRYPTING;
    KV_TRY(kv_rules_check_alive(live, now_s, err));
    if (ops == 0)
        return refuse_op(live, DECRYPTING, err);
    if ((granted & KV_OP_TLS_UNPAD) == 0 && (granted & ops) == 0)
        return refuse_grant(live, DECRYPTING, err);
    rc = check_time(live, now_s, err);
out:
    return rc;
}

uint32_t kv_rules_ops_now(const struct kv_key_attrs *attrs, uint32_t granted,
                          int64_t now_s)
{
    if (!attrs->is_enabled || is_over(attrs, now_s))
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

/* Versions differ; all else that tells one object from another is the same. */
static bool is_next_version(const struct kv_ident *old_ident,
                            const struct kv_ident *ident)
{
    static const uint8_t none[KV_ID_LEN]; /* stands for heads */
    return old_ident->kind == KV_KIND_KEY && ident->kind == KV_KIND_KEY &&
           memcmp(old_ident->vault, ident->vault, KV_ID_LEN) == 0 &&
           strcmp(old_ident->name, ident->name) == 0 &&
           memcmp(old_ident->version, ident->version, KV_ID_LEN) != 0 &&
           memcmp(ident->version, none, KV_ID_LEN) != 0;
}

int kv_rules_reuse(const struct kv_live *old, const struct kv_ident *ident,
                   const struct kv_key_attrs *attrs, struct kv_err *err)
{
    const struct kv_ident *old_ident = &old->ident;
    const bool is_pending = old_ident->row_version > 0 && ident->row_version == 0;
    const bool is_managed = old->attrs.is_managed && attrs->is_managed;
    if (!is_next_version(old_ident, ident) || !is_pending || !is_managed)
        return kv_err_set(err, KV_E_DENIED, "key.other-identity",
                          "only a pending version of the same certificate may take the "
                          "key of '%s'",
                          old_ident->name);
    if (ident->term < old_ident->term)
        return kv_err_set(err, KV_E_CONFLICT, "key.row-version",
                          "the vault key of '%s' must not go back", old_ident->name);
    int rc = kv_rules_check_enabled(old, err);
    return rc != 0 ? rc : kv_rules_update(&old->attrs, attrs, err);
}
