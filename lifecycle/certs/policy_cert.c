/*
 * The policy that an imported certificate stands for.
 *
 * The certificate is written down as the JSON that a request for it would have had,
 * the given members are put over it, and kv_policy_read does the rest. What a policy
 * cannot say (names of other kinds, names outside the rules of RFC 5280, usages that
 * this type of key cannot serve) is left out: the import must not fail for it.
 */
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "lifecycle/certs/policy_read.h"
#include "lifecycle/certs/x500.h"
#include "store/core/str.h"
#include "store/keyring/protocol.h"

#define DAYS_OF_100_MONTHS 3044
#define HOURS_BELOW_DAYS 28 /* shorter lives are counted in hours */

/* --- key ---------------------------------------------------------------------------
 */

static uint8_t curve_of(EVP_PKEY *pkey)
{
    static const struct {
        const char *name;
        uint8_t curve;
    } groups[] = {{"prime256v1", KV_CURVE_P256},
                  {"secp384r1", KV_CURVE_P384},
                  {"secp521r1", KV_CURVE_P521},
                  {"secp256k1", KV_CURVE_P256K}};
    char name[32];
    if (EVP_PKEY_get_group_name(pkey, name, sizeof(name), NULL) != 1)
        return KV_CURVE_NONE;
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
        if (strcmp(name, groups[i].name) == 0)
            return groups[i].curve;
    return KV_CURVE_NONE;
}

/* key_props of a public key; an RSA key of an odd size asks for the next smaller. */
static int put_key(const X509 *cert, json_t *doc, uint8_t *kty, struct kv_err *err)
{
    EVP_PKEY *pkey = X509_get0_pubkey(cert);
    int id = pkey != NULL ? EVP_PKEY_get_base_id(pkey) : EVP_PKEY_NONE;
    if (id == EVP_PKEY_RSA) {
        int bits = EVP_PKEY_get_bits(pkey);
        *kty = KV_KTY_RSA;
        return kv_policy_put(doc, "key_props",
                             json_pack("{s:s,s:i}", "kty", "RSA", "key_size",
                                       bits >= 4096   ? 4096
                                       : bits >= 3072 ? 3072
                                                      : 2048));
    }
    uint8_t curve = id == EVP_PKEY_ED25519 ? KV_CURVE_ED25519
                    : id == EVP_PKEY_EC    ? curve_of(pkey)
                                           : KV_CURVE_NONE;
    if (curve == KV_CURVE_NONE)
        return kv_policy_not_offered(err, "key_props.kty",
                                     "the certificate has a key of another type than "
                                     "RSA, EC and OKP");
    *kty = curve == KV_CURVE_ED25519 ? KV_KTY_OKP : KV_KTY_EC;
    return kv_policy_put(
        doc, "key_props",
        json_pack("{s:s,s:s}", "kty", kv_kty_name(*kty), "crv", kv_curve_name(curve)));
}

/* --- names -------------------------------------------------------------------------
 */

/* The text of a name in `out` (NUL inside: none); false for kinds that a policy does
 * not have. */
static bool name_text(const GENERAL_NAME *name, enum kv_san *kind, struct kv_buf *out)
{
    char oid[sizeof(KV_UPN_OID)];
    const ASN1_STRING *string = name->d.ia5;
    kv_buf_reset(out);
    if (name->type == GEN_OTHERNAME) {
        const OTHERNAME *other = name->d.otherName;
        int len = OBJ_obj2txt(oid, sizeof(oid), other->type_id, 1);
        if (len != sizeof(oid) - 1 || strcmp(oid, KV_UPN_OID) != 0 ||
            other->value->type != V_ASN1_UTF8STRING)
            return false;
        string = other->value->value.utf8string;
        *kind = KV_SAN_UPN;
    } else if (name->type == GEN_EMAIL) {
        *kind = KV_SAN_EMAIL;
    } else if (name->type == GEN_DNS) {
        *kind = KV_SAN_DNS;
    } else if (name->type == GEN_URI) {
        *kind = KV_SAN_URI;
    } else {
        return false;
    }
    size_t len = (size_t)ASN1_STRING_length(string);
    const uint8_t *data = ASN1_STRING_get0_data(string);
    return kv_utf8_is_valid((const char *)data, len) &&
           kv_buf_append(out, data, len) == 0;
}

static bool ip_text(const GENERAL_NAME *name, struct kv_buf *out)
{
    kv_buf_reset(out);
    if (name->type != GEN_IPADD)
        return false;
    const uint8_t *a = ASN1_STRING_get0_data(name->d.iPAddress);
    int len = ASN1_STRING_length(name->d.iPAddress);
    if (len == 4)
        (void)kv_buf_appendf(out, "%u.%u.%u.%u", a[0], a[1], a[2], a[3]); /* sticky */
    else if (len == 16)
        for (size_t i = 0; i < 16; i += 2)
            (void)kv_buf_appendf(out, "%s%02x%02x", i > 0 ? ":" : "", a[i],
                                 a[i + 1]); /* sticky */
    return out->len > 0;
}

static int put_name(json_t *sans, const GENERAL_NAME *name, struct kv_buf *text)
{
    enum kv_san kind = KV_SAN_IP;
    const char *must = NULL;
    if (!name_text(name, &kind, text) && !ip_text(name, text))
        return 0;
    const char *cstr = kv_buf_cstr(text);
    json_t *entry = cstr != NULL ? kv_san_canonical(kind, cstr, &must) : NULL;
    if (entry == NULL)
        return must != NULL ? 0 : KV_E_NOMEM;
    json_t *names = json_object_get(sans, kv_san_member(kind));
    if (names == NULL) {
        names = json_array();
        if (json_object_set_new(sans, kv_san_member(kind), names) != 0) {
            json_decref(entry);
            return KV_E_NOMEM;
        }
    }
    return json_array_append_new(names, entry) == 0 ? 0 : KV_E_NOMEM;
}

static int put_names(const X509 *cert, json_t *x509)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    json_t *sans = json_object();
    struct kv_buf text;
    kv_buf_init(&text, KV_CERT_DER_MAX);
    int rc = kv_policy_put(x509, "sans", sans);
    for (int i = 0; rc == 0 && i < sk_GENERAL_NAME_num(names); i++)
        rc = put_name(sans, sk_GENERAL_NAME_value(names, i), &text);
    kv_buf_free(&text);
    GENERAL_NAMES_free(names);
    return rc;
}

static int put_subject(const X509 *cert, json_t *x509, struct kv_err *err)
{
    const uint8_t *der = NULL;
    size_t len = 0;
    struct kv_buf text;
    kv_buf_init(&text, KV_X500_TEXT_MAX);
    int rc = X509_NAME_get0_der(X509_get_subject_name(cert), &der, &len) == 1
                 ? kv_x500_print((struct kv_bytes){der, len}, &text)
                 : KV_E_INVALID;
    if (rc == KV_E_NOMEM)
        goto out;
    if (rc != 0) {
        rc = kv_err_set(err, KV_E_INVALID, "policy.bad-subject",
                        "the subject of the certificate has no text of at most %d "
                        "bytes",
                        KV_X500_TEXT_MAX);
        goto out;
    }
    const char *subject = kv_buf_cstr(&text);
    rc = kv_policy_put(x509, "subject", subject != NULL ? json_string(subject) : NULL);
out:
    kv_buf_free(&text);
    return rc;
}

/* --- usages and validity -----------------------------------------------------------
 */

static int put_usage(const X509 *cert, uint8_t kty, json_t *x509)
{
    ASN1_BIT_STRING *bits = X509_get_ext_d2i(cert, NID_key_usage, NULL, NULL);
    json_t *usages = json_array();
    int rc = kv_policy_put(x509, "key_usage", usages);
    for (int i = 0; rc == 0 && bits != NULL && i < KV_KEY_USAGES_N; i++)
        if (ASN1_BIT_STRING_get_bit(bits, i) == 1 &&
            (kv_key_usage_possible(kty) & (uint32_t)1 << i) != 0 &&
            json_array_append_new(usages, json_string(kv_key_usage_names[i])) != 0)
            rc = KV_E_NOMEM;
    ASN1_BIT_STRING_free(bits);
    return rc;
}

static int put_ekus(const X509 *cert, json_t *x509)
{
    EXTENDED_KEY_USAGE *usages = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
    json_t *ekus = json_array();
    char oid[KV_OID_MAX + 2];
    int rc = kv_policy_put(x509, "ekus", ekus);
    for (int i = 0; rc == 0 && i < sk_ASN1_OBJECT_num(usages); i++) {
        int len = OBJ_obj2txt(oid, sizeof(oid), sk_ASN1_OBJECT_value(usages, i), 1);
        if (len > 0 && kv_oid_is_dotted(oid, (size_t)len) &&
            json_array_append_new(ekus, json_string(oid)) != 0)
            rc = KV_E_NOMEM;
    }
    EXTENDED_KEY_USAGE_free(usages);
    return rc;
}

static int put_validity(const X509 *cert, json_t *x509)
{
    int days = 0;
    int seconds = 0;
    if (ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(cert),
                       X509_get0_notAfter(cert)) != 1 ||
        days < 0 || seconds < 0)
        return 0;
    if (days < HOURS_BELOW_DAYS) {
        int hours = days * 24 + (seconds + 3599) / 3600;
        return kv_policy_put(x509, "validity_hours",
                             json_integer(hours > 0 ? hours : 1));
    }
    int64_t months =
        ((int64_t)days * 100 + DAYS_OF_100_MONTHS / 2) / DAYS_OF_100_MONTHS;
    return kv_policy_put(
        x509, "validity_months",
        json_integer(months < KV_POLICY_MONTHS_MAX ? months : KV_POLICY_MONTHS_MAX));
}

/* --- certificate and given members together ----------------------------------------
 */

static int describe(X509 *cert, json_t *doc, uint8_t *kty, struct kv_err *err)
{
    json_t *x509 = json_object();
    int rc = 0;
    KV_TRY(kv_policy_put(doc, "x509_props", x509));
    KV_TRY(put_key(cert, doc, kty, err));
    KV_TRY(kv_policy_put(doc, "issuer", json_pack("{s:s}", "name", "Unknown")));
    KV_TRY(put_subject(cert, x509, err));
    KV_TRY(put_names(cert, x509));
    KV_TRY(put_ekus(cert, x509));
    KV_TRY(put_usage(cert, *kty, x509));
    KV_TRY(put_validity(cert, x509));
    bool is_ca = (X509_get_extension_flags(cert) & EXFLAG_CA) != 0;
    rc = kv_policy_put(x509, "basic_constraints", json_pack("{s:b}", "ca", (int)is_ca));
out:
    return rc;
}

static bool is_given(const json_t *value)
{
    return !json_is_null(value) &&
           !(json_is_object(value) && json_object_size(value) == 0) &&
           !(json_is_array(value) && json_array_size(value) == 0);
}

/* Members of one section over what the certificate says. */
static int put_over(json_t *section, json_t *given)
{
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(given, name, value)
    {
        if (is_given(value) && json_object_set(section, name, value) != 0)
            return KV_E_NOMEM;
    }
    return 0;
}

/* What depends on each other: a size and a curve belong to a type of key, months
 * replace hours, and only issuers outside make a CA. */
static void drop_replaced(json_t *doc, const json_t *given)
{
    const json_t *key = kv_policy_member(given, "key_props");
    const json_t *x509 = kv_policy_member(given, "x509_props");
    const char *issuer =
        json_string_value(kv_policy_member(kv_policy_member(given, "issuer"), "name"));
    if (kv_policy_member(key, "key_size") != NULL)
        (void)json_object_del(json_object_get(doc, "key_props"), "crv");
    if (kv_policy_member(key, "crv") != NULL)
        (void)json_object_del(json_object_get(doc, "key_props"), "key_size");
    if (kv_policy_member(x509, "validity_months") != NULL)
        (void)json_object_del(json_object_get(doc, "x509_props"), "validity_hours");
    if (kv_policy_member(x509, "validity_hours") != NULL)
        (void)json_object_del(json_object_get(doc, "x509_props"), "validity_months");
    if (issuer != NULL && !kv_str_equal_nocase(issuer, "Unknown"))
        (void)json_object_del(json_object_get(doc, "x509_props"), "basic_constraints");
}

static int merge(json_t *doc, const json_t *given)
{
    const char *name = NULL;
    json_t *value = NULL;
    drop_replaced(doc, given);
    json_object_foreach((json_t *)given, name, value)
    {
        json_t *section = json_object_get(doc, name);
        if (!is_given(value))
            continue;
        bool is_section = json_is_object(section) && json_is_object(value);
        if (is_section ? put_over(section, value) != 0
                       : json_object_set(doc, name, value) != 0)
            return KV_E_NOMEM;
    }
    return 0;
}

/* A policy for keys of another type would say nothing true of this one. */
static int check_type(const json_t *given, uint8_t kty, struct kv_err *err)
{
    const char *name = json_string_value(
        kv_policy_member(kv_policy_member(given, "key_props"), "kty"));
    uint8_t type = name != NULL ? kv_kty_by_name(name) : 0;
    if (type == 0 || type == kty)
        return 0;
    return kv_policy_bad(err, "key_props.kty", KV_POLICY_NO_INDEX,
                         "must be the type of the certificate's key");
}

int kv_policy_of_cert(struct kv_bytes der, const json_t *given, struct kv_policy *out,
                      struct kv_err *err)
{
    const uint8_t *at = der.data;
    X509 *cert = d2i_X509(NULL, &at, (long)der.len);
    json_t *doc = json_object();
    struct kv_policy policy = {.doc = NULL};
    uint8_t kty = 0;
    int rc = doc != NULL ? 0 : KV_E_NOMEM;
    if (cert == NULL || at != der.data + der.len)
        rc = kv_err_set(err, KV_E_INVALID, "policy.bad-certificate",
                        "the certificate cannot be read");
    if (rc == 0 && given != NULL && !json_is_object(given))
        rc = kv_policy_read(given, &policy, err); /* says what is wrong */
    if (rc == 0)
        rc = describe(cert, doc, &kty, err);
    if (rc == 0)
        rc = check_type(given, kty, err);
    if (rc == 0)
        rc = merge(doc, given);
    if (rc == 0)
        rc = kv_policy_read(doc, &policy, err);
    if (rc == 0)
        *out = policy;
    else
        kv_policy_free(&policy);
    json_decref(doc);
    X509_free(cert);
    ERR_clear_error();
    return rc;
}
