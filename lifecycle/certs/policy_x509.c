/*
 * x509_props of a policy: subject, usages, validity.
 *
 * The key usage decides what the managed key may do, so it is checked against the type
 * of the key. A usage that RSA cannot serve (keyAgreement) is let through, as common
 * templates name it with RSA keys; for the others what they cannot do is refused.
 */
#include <string.h>

#include "lifecycle/certs/policy_read.h"
#include "lifecycle/certs/x500.h"
#include "store/core/str.h"
#include "store/keyring/protocol.h"

#define VALIDITY_MONTHS 12
#define HOURS_PER_MONTH 730

const char *const kv_key_usage_names[KV_KEY_USAGES_N] = {
    "digitalSignature", "nonRepudiation", "keyEncipherment",
    "dataEncipherment", "keyAgreement",   "keyCertSign",
    "cRLSign",          "encipherOnly",   "decipherOnly",
};

static int bad(struct kv_err *err, const char *path, const char *must)
{
    return kv_policy_bad(err, path, KV_POLICY_NO_INDEX, must);
}

uint32_t kv_key_usage_possible(uint8_t kty)
{
    const uint32_t sign = KV_KU_DIGITAL_SIGNATURE | KV_KU_NON_REPUDIATION |
                          KV_KU_KEY_CERT_SIGN | KV_KU_CRL_SIGN;
    if (kty == KV_KTY_RSA)
        return (1 << KV_KEY_USAGES_N) - 1;
    return kty == KV_KTY_EC ? sign | KV_KU_KEY_AGREEMENT : sign;
}

/* --- key usage ---------------------------------------------------------------------
 */

static uint32_t usage_by_name(const char *name)
{
    for (size_t i = 0; name != NULL && i < KV_KEY_USAGES_N; i++)
        if (kv_str_equal_nocase(name, kv_key_usage_names[i]))
            return (uint32_t)1 << i;
    return 0;
}

static int read_usage(const json_t *x509, uint8_t kty, uint32_t *out,
                      struct kv_err *err)
{
    static const char path[] = "x509_props.key_usage";
    const json_t *array = NULL;
    int rc = kv_policy_array(x509, path, KV_POLICY_EKUS_MAX, &array, err);
    if (rc != 0)
        return rc;
    *out = 0;
    for (size_t i = 0; i < json_array_size(array); i++) {
        uint32_t usage = usage_by_name(json_string_value(json_array_get(array, i)));
        if (usage == 0)
            return kv_policy_bad(err, path, i,
                                 "must be digitalSignature, nonRepudiation, "
                                 "keyEncipherment, dataEncipherment, keyAgreement, "
                                 "keyCertSign, cRLSign, encipherOnly or decipherOnly");
        if ((usage & kv_key_usage_possible(kty)) == 0)
            return kv_policy_bad(err, path, i,
                                 kty == KV_KTY_EC
                                     ? "is not supported with a key of type EC: "
                                       "supported are digitalSignature, "
                                       "nonRepudiation, keyAgreement, keyCertSign and "
                                       "cRLSign"
                                     : "is not supported with a key of type OKP: "
                                       "supported are digitalSignature, "
                                       "nonRepudiation, keyCertSign and cRLSign");
        *out |= usage;
    }
    if (*out == 0)
        *out =
            KV_KU_DIGITAL_SIGNATURE | (kty == KV_KTY_RSA ? KV_KU_KEY_ENCIPHERMENT : 0);
    return 0;
}

static uint32_t ops_of(uint8_t kty, uint32_t usage)
{
    uint32_t ops = 0;
    if ((usage & (KV_KU_DIGITAL_SIGNATURE | KV_KU_NON_REPUDIATION |
                  KV_KU_KEY_CERT_SIGN | KV_KU_CRL_SIGN)) != 0)
        ops |= KV_OP_SIGN | KV_OP_VERIFY;
    if ((usage & KV_KU_KEY_ENCIPHERMENT) != 0)
        ops |= KV_OP_WRAP | KV_OP_UNWRAP;
    if ((usage & (KV_KU_DATA_ENCIPHERMENT | KV_KU_ENCIPHER_ONLY)) != 0)
        ops |= KV_OP_ENCRYPT;
    if ((usage & (KV_KU_DATA_ENCIPHERMENT | KV_KU_DECIPHER_ONLY)) != 0)
        ops |= KV_OP_DECRYPT;
    if ((usage & KV_KU_KEY_AGREEMENT) != 0 && kty == KV_KTY_EC)
        ops |= KV_OP_DERIVE;
    return ops;
}

static int put_usage(json_t *section, uint32_t usage)
{
    json_t *names = json_array();
    int rc = kv_policy_put(section, "key_usage", names);
    for (size_t i = 0; rc == 0 && i < KV_KEY_USAGES_N; i++)
        if ((usage & (uint32_t)1 << i) != 0 &&
            json_array_append_new(names, json_string(kv_key_usage_names[i])) != 0)
            rc = KV_E_NOMEM;
    return rc;
}

static int read_ekus(const json_t *x509, json_t *section, struct kv_err *err)
{
    static const char path[] = "x509_props.ekus";
    const json_t *array = NULL;
    json_t *ekus = json_array();
    int rc = kv_policy_put(section, "ekus", ekus);
    if (rc != 0)
        return rc;
    rc = kv_policy_array(x509, path, KV_POLICY_EKUS_MAX, &array, err);
    for (size_t i = 0; rc == 0 && i < json_array_size(array); i++) {
        const char *oid = json_string_value(json_array_get(array, i));
        if (oid == NULL || !kv_oid_is_dotted(oid, strlen(oid)))
            return kv_policy_bad(err, path, i,
                                 "must be a dotted object identifier, for example "
                                 "1.3.6.1.5.5.7.3.1");
        rc = json_array_append_new(ekus, json_string(oid)) == 0 ? 0 : KV_E_NOMEM;
    }
    if (rc == 0 && array == NULL)
        rc =
            kv_policy_put(section, "ekus",
                          json_pack("[s,s]", "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"));
    return rc;
}

/* --- subject and names -------------------------------------------------------------
 */

static int check_subject(const char *subject, struct kv_err *err)
{
    struct kv_buf der;
    kv_buf_init(&der, 4 * (size_t)KV_X500_TEXT_MAX);
    int rc = kv_x500_parse(subject, &der, err);
    kv_buf_free(&der);
    return rc;
}

static int read_subject(const json_t *x509, json_t *section, struct kv_err *err)
{
    const char *subject = "";
    json_t *sans = NULL;
    int rc = kv_policy_string(x509, "x509_props.subject", &subject, err);
    if (rc == 0 && subject[0] != '\0')
        rc = check_subject(subject, err);
    if (rc == 0)
        rc = kv_policy_put(section, "subject", json_string(subject));
    if (rc == 0)
        rc = kv_policy_read_sans(x509, &sans, err);
    if (rc != 0)
        return rc;
    bool has_names = json_object_size(sans) > 0;
    rc = kv_policy_put(section, "sans", sans);
    if (rc == 0 && subject[0] == '\0' && !has_names)
        rc = bad(err, "x509_props.subject", "or a name in sans is required");
    return rc;
}

/* --- the rest ----------------------------------------------------------------------
 */

static int read_validity(const json_t *x509, struct kv_policy *policy, json_t *section,
                         struct kv_err *err)
{
    int64_t hours = 0;
    int64_t months = VALIDITY_MONTHS;
    int rc = 0;
    KV_TRY(kv_policy_integer(x509, "x509_props.validity_hours", KV_POLICY_HOURS_MAX,
                             &hours, err));
    if (hours != 0)
        months = (hours + HOURS_PER_MONTH - 1) / HOURS_PER_MONTH;
    KV_TRY(kv_policy_integer(x509, "x509_props.validity_months", KV_POLICY_MONTHS_MAX,
                             &months, err));
    policy->validity_hours = hours;
    policy->validity_months = months;
    KV_TRY(kv_policy_put(section, "validity_months", json_integer(months)));
    if (hours != 0)
        KV_TRY(kv_policy_put(section, "validity_hours", json_integer(hours)));
out:
    return rc;
}

static int read_constraints(const json_t *x509, struct kv_policy *policy,
                            json_t *section, struct kv_err *err)
{
    const json_t *constraints = NULL;
    int rc = 0;
    KV_TRY(kv_policy_object(x509, "x509_props.basic_constraints", &constraints, err));
    KV_TRY(kv_policy_bool(constraints, "x509_props.basic_constraints.ca",
                          &policy->is_ca, err));
    rc = kv_policy_put(section, "basic_constraints",
                       json_pack("{s:b}", "ca", (int)policy->is_ca));
out:
    return rc;
}

int kv_policy_read_x509(const json_t *given, struct kv_policy *policy,
                        struct kv_err *err)
{
    const json_t *x509 = NULL;
    json_t *section = json_object();
    int rc = kv_policy_put(policy->doc, "x509_props", section);
    if (rc != 0)
        return rc;
    KV_TRY(kv_policy_object(given, "x509_props", &x509, err));
    KV_TRY(read_subject(x509, section, err));
    KV_TRY(read_ekus(x509, section, err));
    KV_TRY(read_usage(x509, policy->kty, &policy->usage, err));
    KV_TRY(put_usage(section, policy->usage));
    KV_TRY(read_validity(x509, policy, section, err));
    KV_TRY(read_constraints(x509, policy, section, err));
    policy->key_ops = ops_of(policy->kty, policy->usage);
    policy->subject = json_string_value(json_object_get(section, "subject"));
    policy->sans = json_object_get(section, "sans");
    policy->ekus = json_object_get(section, "ekus");
out:
    return rc;
}
