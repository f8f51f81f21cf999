/*
 * The policy as a whole, its key, its secret, its issuer and its lifetime actions.
 *
 * Reading and writing is one step: each section is read member by member and written
 * into a new document with its defaults, so what is not understood is not stored, and
 * a stored document reads back as itself. Members that the service only gives (id,
 * attributes) and those of newer versions of the API are passed over, so that what GET
 * returned can be sent back.
 */
#include "lifecycle/certs/policy.h"

#include <string.h>

#include "lifecycle/certs/policy_read.h"
#include "store/core/str.h"
#include "store/keyring/protocol.h"

#define ACTIONS_MAX 8
#define ISSUER_MAX 127
#define RENEW_AT_PERCENT 80
#define DAYS_PER_MONTH 27 /* what the service counts for days_before_expiry */

#define PEM_TYPE "application/x-pem-file"
#define PFX_TYPE "application/x-pkcs12"

/* --- members -----------------------------------------------------------------------
 */

int kv_policy_bad(struct kv_err *err, const char *path, size_t i, const char *must)
{
    if (i != KV_POLICY_NO_INDEX)
        return kv_err_set(err, KV_E_INVALID, "policy.bad-field",
                          "the member '%s[%zu]' of the policy %s", path, i, must);
    return kv_err_set(err, KV_E_INVALID, "policy.bad-field",
                      "the member '%s' of the policy %s", path, must);
}

static int bad(struct kv_err *err, const char *path, const char *must)
{
    return kv_policy_bad(err, path, KV_POLICY_NO_INDEX, must);
}

int kv_policy_not_offered(struct kv_err *err, const char *path, const char *what)
{
    return kv_err_set(err, KV_E_UNSUPPORTED, "policy.not-offered",
                      "the member '%s' of the policy asks for something that is not "
                      "offered: %s",
                      path, what);
}

const json_t *kv_policy_member(const json_t *object, const char *path)
{
    const char *dot = strrchr(path, '.');
    const json_t *member = json_object_get(object, dot != NULL ? dot + 1 : path);
    return json_is_null(member) ? NULL : member;
}

int kv_policy_string(const json_t *object, const char *path, const char **out,
                     struct kv_err *err)
{
    const json_t *member = kv_policy_member(object, path);
    if (member == NULL)
        return 0;
    if (!json_is_string(member))
        return bad(err, path, "must be a string");
    *out = json_string_value(member);
    return 0;
}

int kv_policy_bool(const json_t *object, const char *path, bool *out,
                   struct kv_err *err)
{
    const json_t *member = kv_policy_member(object, path);
    if (member == NULL)
        return 0;
    if (!json_is_boolean(member))
        return bad(err, path, "must be true or false");
    *out = json_is_true(member);
    return 0;
}

int kv_policy_integer(const json_t *object, const char *path, int64_t max, int64_t *out,
                      struct kv_err *err)
{
    const json_t *member = kv_policy_member(object, path);
    if (member == NULL)
        return 0;
    int64_t value = json_integer_value(member);
    if (!json_is_integer(member) || value < 1 || value > max)
        return kv_err_set(err, KV_E_INVALID, "policy.bad-field",
                          "the member '%s' of the policy must be a whole number from 1 "
                          "to %lld",
                          path, (long long)max);
    *out = value;
    return 0;
}

int kv_policy_object(const json_t *object, const char *path, const json_t **out,
                     struct kv_err *err)
{
    const json_t *member = kv_policy_member(object, path);
    if (member != NULL && !json_is_object(member))
        return bad(err, path, "must be an object");
    *out = member;
    return 0;
}

int kv_policy_array(const json_t *object, const char *path, size_t max,
                    const json_t **out, struct kv_err *err)
{
    const json_t *member = kv_policy_member(object, path);
    if (member != NULL && !json_is_array(member))
        return bad(err, path, "must be an array");
    if (json_array_size(member) > max)
        return kv_err_set(err, KV_E_INVALID, "policy.bad-field",
                          "the member '%s' of the policy has more than %zu entries",
                          path, max);
    *out = json_array_size(member) > 0 ? member : NULL;
    return 0;
}

int kv_policy_put(json_t *object, const char *member, json_t *value)
{
    return json_object_set_new(object, member, value) == 0 ? 0 : KV_E_NOMEM;
}

/* --- key_props ---------------------------------------------------------------------
 */

static int read_rsa(const json_t *props, const char *crv, struct kv_policy *policy,
                    struct kv_err *err)
{
    int64_t bits = 2048;
    int rc = kv_policy_integer(props, "key_props.key_size", 4096, &bits, err);
    if (rc != 0)
        return rc;
    if (bits != 2048 && bits != 3072 && bits != 4096)
        return bad(err, "key_props.key_size",
                   "must be 2048, 3072 or 4096 with a key of type RSA");
    if (crv != NULL)
        return bad(err, "key_props.crv", "is not for keys of type RSA");
    policy->bits = (uint16_t)bits;
    return 0;
}

static int read_ec(const json_t *props, const char *crv, struct kv_policy *policy,
                   struct kv_err *err)
{
    static const int64_t sizes[] = {[KV_CURVE_P256] = 256,
                                    [KV_CURVE_P384] = 384,
                                    [KV_CURVE_P521] = 521,
                                    [KV_CURVE_P256K] = 256};
    int64_t bits = 0;
    int rc = kv_policy_integer(props, "key_props.key_size", 4096, &bits, err);
    if (rc != 0)
        return rc;
    policy->curve = bits == 384   ? KV_CURVE_P384
                    : bits == 521 ? KV_CURVE_P521
                                  : KV_CURVE_P256;
    if (crv != NULL)
        policy->curve = kv_curve_by_name(crv);
    if (policy->curve == KV_CURVE_NONE || policy->curve == KV_CURVE_ED25519)
        return bad(err, "key_props.crv",
                   "must be P-256, P-384, P-521 or P-256K with a key of type EC");
    if (bits != 0 && bits != sizes[policy->curve])
        return bad(err, "key_props.key_size", "does not fit the curve");
    return 0;
}

static int read_okp(const json_t *props, const char *crv, struct kv_policy *policy,
                    struct kv_err *err)
{
    if (crv != NULL && strcmp(crv, "Ed25519") != 0)
        return bad(err, "key_props.crv", "must be Ed25519 with a key of type OKP");
    if (kv_policy_member(props, "key_props.key_size") != NULL)
        return bad(err, "key_props.key_size", "is not for keys of type OKP");
    policy->curve = KV_CURVE_ED25519;
    return 0;
}

static int read_type(const json_t *props, struct kv_policy *policy, struct kv_err *err)
{
    const char *kty = NULL;
    const char *crv = NULL;
    int rc = 0;
    KV_TRY(kv_policy_string(props, "key_props.crv", &crv, err));
    KV_TRY(kv_policy_string(props, "key_props.kty", &kty, err));
    if (kty == NULL)
        kty = crv == NULL ? "RSA" : strcmp(crv, "Ed25519") == 0 ? "OKP" : "EC";
    if (strcmp(kty, "RSA-HSM") == 0 || strcmp(kty, "EC-HSM") == 0)
        return kv_policy_not_offered(err, "key_props.kty", "keys in hardware");
    policy->kty = kv_kty_by_name(kty);
    if (policy->kty == KV_KTY_RSA)
        return read_rsa(props, crv, policy, err);
    if (policy->kty == KV_KTY_EC)
        return read_ec(props, crv, policy, err);
    if (policy->kty == KV_KTY_OKP)
        return read_okp(props, crv, policy, err);
    rc = bad(err, "key_props.kty", "must be RSA, EC or OKP");
out:
    return rc;
}

static int key_size(const struct kv_policy *policy)
{
    if (policy->kty == KV_KTY_RSA)
        return policy->bits;
    return policy->curve == KV_CURVE_P384   ? 384
           : policy->curve == KV_CURVE_P521 ? 521
                                            : 256;
}

static int read_key(const json_t *given, struct kv_policy *policy, struct kv_err *err)
{
    const json_t *props = NULL;
    int rc = 0;
    policy->is_exportable = true;
    KV_TRY(kv_policy_object(given, "key_props", &props, err));
    KV_TRY(kv_policy_bool(props, "key_props.exportable", &policy->is_exportable, err));
    KV_TRY(kv_policy_bool(props, "key_props.reuse_key", &policy->reuses_key, err));
    KV_TRY(read_type(props, policy, err));
    json_t *section =
        json_pack("{s:b,s:s,s:b}", "exportable", (int)policy->is_exportable, "kty",
                  kv_kty_name(policy->kty), "reuse_key", (int)policy->reuses_key);
    KV_TRY(kv_policy_put(policy->doc, "key_props", section));
    if (policy->kty != KV_KTY_OKP)
        KV_TRY(kv_policy_put(section, "key_size", json_integer(key_size(policy))));
    if (policy->kty != KV_KTY_RSA)
        KV_TRY(
            kv_policy_put(section, "crv", json_string(kv_curve_name(policy->curve))));
out:
    return rc;
}

/* --- secret_props and issuer -------------------------------------------------------
 */

static int read_secret(const json_t *given, struct kv_policy *policy,
                       struct kv_err *err)
{
    const json_t *props = NULL;
    const char *type = PFX_TYPE;
    int rc = 0;
    KV_TRY(kv_policy_object(given, "secret_props", &props, err));
    KV_TRY(kv_policy_string(props, "secret_props.contentType", &type, err));
    policy->is_pem = kv_str_equal_nocase(type, PEM_TYPE);
    if (!policy->is_pem && !kv_str_equal_nocase(type, PFX_TYPE))
        return bad(err, "secret_props.contentType",
                   "must be " PFX_TYPE " or " PEM_TYPE);
    policy->content_type = policy->is_pem ? PEM_TYPE : PFX_TYPE;
    rc = kv_policy_put(policy->doc, "secret_props",
                       json_pack("{s:s}", "contentType", policy->content_type));
out:
    return rc;
}

static bool is_issuer_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
    return len > 0 && len <= ISSUER_MAX && name[len] == '\0';
}

/* The two reserved names are told from each other in any case. */
static const char *issuer_name(const char *name)
{
    if (kv_str_equal_nocase(name, "Self"))
        return "Self";
    return kv_str_equal_nocase(name, "Unknown") ? "Unknown" : name;
}

static int read_issuer(const json_t *given, struct kv_policy *policy,
                       struct kv_err *err)
{
    const json_t *props = NULL;
    const char *name = NULL;
    const char *type = NULL;
    bool wants_log = false;
    int rc = 0;
    KV_TRY(kv_policy_object(given, "issuer", &props, err));
    KV_TRY(kv_policy_string(props, "issuer.name", &name, err));
    KV_TRY(kv_policy_string(props, "issuer.cty", &type, err));
    KV_TRY(kv_policy_bool(props, "issuer.cert_transparency", &wants_log, err));
    if (name == NULL)
        return bad(err, "issuer.name",
                   "is missing: Self, Unknown or the name of an issuer");
    if (!is_issuer_name(name))
        return bad(err, "issuer.name", "must be 1 to 127 letters, digits and hyphens");
    if (type != NULL && strlen(type) > ISSUER_MAX)
        return bad(err, "issuer.cty", "must have at most 127 bytes");
    json_t *section = json_pack("{s:s,s:s*}", "name", issuer_name(name), "cty", type);
    KV_TRY(kv_policy_put(policy->doc, "issuer", section));
    policy->issuer = json_string_value(json_object_get(section, "name"));
    if (kv_policy_member(props, "issuer.cert_transparency") != NULL)
        KV_TRY(kv_policy_put(section, "cert_transparency", json_boolean(wants_log)));
    if (policy->is_ca && strcmp(policy->issuer, "Unknown") != 0)
        return kv_policy_not_offered(err, "x509_props.basic_constraints.ca",
                                     "a CA certificate is signed outside, with the "
                                     "issuer Unknown");
out:
    return rc;
}

/* --- lifetime_actions --------------------------------------------------------------
 */

static int64_t most_days(const struct kv_policy *policy)
{
    return policy->validity_hours != 0 ? policy->validity_hours / 24
                                       : policy->validity_months * DAYS_PER_MONTH;
}

static int read_trigger(const json_t *action, const struct kv_policy *policy, size_t i,
                        json_t **out, struct kv_err *err)
{
    static const char path[] = "lifetime_actions";
    const json_t *trigger = kv_policy_member(action, "trigger");
    const json_t *percent = kv_policy_member(trigger, "lifetime_percentage");
    const json_t *days = kv_policy_member(trigger, "days_before_expiry");
    const json_t *value = percent != NULL ? percent : days;
    if ((percent == NULL) == (days == NULL))
        return kv_policy_bad(err, path, i,
                             "must have a trigger with either lifetime_percentage or "
                             "days_before_expiry");
    if (percent != NULL && (!json_is_integer(value) || json_integer_value(value) < 1 ||
                            json_integer_value(value) > 99))
        return kv_policy_bad(err, path, i,
                             "must have a lifetime_percentage from 1 to 99");
    if (days != NULL && (!json_is_integer(value) || json_integer_value(value) < 1 ||
                         json_integer_value(value) > most_days(policy)))
        return kv_policy_bad(err, path, i,
                             "must have days_before_expiry of at least 1 and within "
                             "the validity, counted as 27 days for each month");
    *out = json_pack("{s:I}",
                     percent != NULL ? "lifetime_percentage" : "days_before_expiry",
                     json_integer_value(value));
    return *out != NULL ? 0 : KV_E_NOMEM;
}

static int read_action(const json_t *given, const struct kv_policy *policy, size_t i,
                       json_t *actions, struct kv_err *err)
{
    const char *type = json_string_value(
        kv_policy_member(kv_policy_member(given, "action"), "action_type"));
    json_t *trigger = NULL;
    if (type != NULL && kv_str_equal_nocase(type, "AutoRenew"))
        type = "AutoRenew";
    else if (type != NULL && kv_str_equal_nocase(type, "EmailContacts"))
        type = "EmailContacts";
    else
        return kv_policy_bad(err, "lifetime_actions", i,
                             "must have an action with action_type AutoRenew or "
                             "EmailContacts");
    int rc = read_trigger(given, policy, i, &trigger, err);
    if (rc != 0)
        return rc;
    json_t *entry =
        json_pack("{s:o,s:{s:s}}", "trigger", trigger, "action", "action_type", type);
    return json_array_append_new(actions, entry) == 0 ? 0 : KV_E_NOMEM;
}

static int read_actions(const json_t *given, struct kv_policy *policy,
                        struct kv_err *err)
{
    const json_t *array = NULL;
    json_t *actions = json_array();
    int rc = kv_policy_put(policy->doc, "lifetime_actions", actions);
    if (rc != 0)
        return rc;
    KV_TRY(kv_policy_array(given, "lifetime_actions", ACTIONS_MAX, &array, err));
    for (size_t i = 0; i < json_array_size(array); i++)
        KV_TRY(read_action(json_array_get(array, i), policy, i, actions, err));
    if (array != NULL)
        return 0;
    bool is_unknown = strcmp(policy->issuer, "Unknown") == 0;
    json_t *entry = json_pack("{s:{s:i},s:{s:s}}", "trigger", "lifetime_percentage",
                              RENEW_AT_PERCENT, "action", "action_type",
                              is_unknown ? "EmailContacts" : "AutoRenew");
    rc = json_array_append_new(actions, entry) == 0 ? 0 : KV_E_NOMEM;
out:
    return rc;
}

int kv_policy_read(const json_t *given, struct kv_policy *out, struct kv_err *err)
{
    struct kv_policy policy = {.doc = json_object()};
    int rc = policy.doc != NULL ? 0 : KV_E_NOMEM;
    if (rc != 0)
        return rc;
    if (!json_is_object(given)) {
        rc = kv_err_set(err, KV_E_INVALID, "policy.bad-field",
                        "the policy must be an object");
        goto out;
    }
    KV_TRY(read_key(given, &policy, err));
    KV_TRY(read_secret(given, &policy, err));
    KV_TRY(kv_policy_read_x509(given, &policy, err));
    KV_TRY(read_issuer(given, &policy, err));
    KV_TRY(read_actions(given, &policy, err));
    *out = policy;
    return 0;
out:
    kv_policy_free(&policy);
    return rc;
}

void kv_policy_free(struct kv_policy *policy)
{
    json_decref(policy->doc);
    *policy = (struct kv_policy){.doc = NULL};
}
