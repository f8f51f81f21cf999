/*
 * The certificate request of a policy.
 *
 * libcrypto writes the DER; the public key goes in as the bytes that the keyring gave,
 * and must come out as the same, for the keyring signs nothing else.
 */
#include "lifecycle/certs/csr.h"

#include <arpa/inet.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "lifecycle/certs/policy_read.h"
#include "lifecycle/certs/x500.h"
#include "store/core/str.h"

/* --- extensions --------------------------------------------------------------------
 */

static int add(X509_EXTENSIONS **extensions, int nid, bool is_critical, void *value)
{
    if (value == NULL)
        return KV_E_NOMEM;
    return X509V3_add1_i2d(extensions, nid, value, is_critical ? 1 : 0,
                           X509V3_ADD_DEFAULT) == 1
               ? 0
               : KV_E_NOMEM;
}

static int add_usage(X509_EXTENSIONS **extensions, uint32_t usage)
{
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
    int rc = bits != NULL ? 0 : KV_E_NOMEM;
    for (int i = 0; rc == 0 && i < KV_KEY_USAGES_N; i++)
        if ((usage & (uint32_t)1 << i) != 0 && ASN1_BIT_STRING_set_bit(bits, i, 1) != 1)
            rc = KV_E_NOMEM;
    if (rc == 0)
        rc = add(extensions, NID_key_usage, true, bits);
    ASN1_BIT_STRING_free(bits);
    return rc;
}

static int add_ekus(X509_EXTENSIONS **extensions, const json_t *ekus)
{
    EXTENDED_KEY_USAGE *usages = sk_ASN1_OBJECT_new_null();
    int rc = usages != NULL ? 0 : KV_E_NOMEM;
    for (size_t i = 0; rc == 0 && i < json_array_size(ekus); i++) {
        ASN1_OBJECT *oid = OBJ_txt2obj(json_string_value(json_array_get(ekus, i)), 1);
        if (oid == NULL || sk_ASN1_OBJECT_push(usages, oid) <= 0) {
            ASN1_OBJECT_free(oid);
            rc = KV_E_NOMEM;
        }
    }
    if (rc == 0)
        rc = add(extensions, NID_ext_key_usage, false, usages);
    sk_ASN1_OBJECT_pop_free(usages, ASN1_OBJECT_free);
    return rc;
}

static int add_constraints(X509_EXTENSIONS **extensions, bool is_ca)
{
    BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
    if (constraints == NULL)
        return KV_E_NOMEM;
    constraints->ca = is_ca ? 0xff : 0;
    int rc = add(extensions, NID_basic_constraints, true, constraints);
    BASIC_CONSTRAINTS_free(constraints);
    return rc;
}

/* --- names -------------------------------------------------------------------------
 */

static ASN1_STRING *string_of(int type, const void *data, size_t len)
{
    ASN1_STRING *string = ASN1_STRING_type_new(type);
    if (string == NULL || ASN1_STRING_set(string, data, (int)len) != 1) {
        ASN1_STRING_free(string);
        return NULL;
    }
    return string;
}

static GENERAL_NAME *simple_name(int kind, int type, const void *data, size_t len)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *string = string_of(type, data, len);
    if (name == NULL || string == NULL) {
        GENERAL_NAME_free(name);
        ASN1_STRING_free(string);
        return NULL;
    }
    GENERAL_NAME_set0_value(name, kind, string);
    return name;
}

static GENERAL_NAME *upn_name(const char *text)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_OBJECT *oid = OBJ_txt2obj(KV_UPN_OID, 1);
    ASN1_TYPE *value = ASN1_TYPE_new();
    ASN1_STRING *string = string_of(V_ASN1_UTF8STRING, text, strlen(text));
    if (value != NULL && string != NULL) {
        ASN1_TYPE_set(value, V_ASN1_UTF8STRING, string);
        string = NULL;
        if (name != NULL && oid != NULL &&
            GENERAL_NAME_set0_othername(name, oid, value) == 1)
            return name;
    }
    ASN1_STRING_free(string);
    ASN1_TYPE_free(value);
    ASN1_OBJECT_free(oid);
    GENERAL_NAME_free(name);
    return NULL;
}

static GENERAL_NAME *name_of(enum kv_san kind, const char *text)
{
    uint8_t address[16];
    bool is_v6 = strchr(text, ':') != NULL;
    switch (kind) {
    case KV_SAN_EMAIL:
        return simple_name(GEN_EMAIL, V_ASN1_IA5STRING, text, strlen(text));
    case KV_SAN_DNS:
        return simple_name(GEN_DNS, V_ASN1_IA5STRING, text, strlen(text));
    case KV_SAN_URI:
        return simple_name(GEN_URI, V_ASN1_IA5STRING, text, strlen(text));
    case KV_SAN_IP:
        if (inet_pton(is_v6 ? AF_INET6 : AF_INET, text, address) != 1)
            return NULL;
        return simple_name(GEN_IPADD, V_ASN1_OCTET_STRING, address, is_v6 ? 16 : 4);
    default:
        return upn_name(text);
    }
}

static int add_names(X509_EXTENSIONS **extensions, const json_t *sans, bool is_critical)
{
    GENERAL_NAMES *names = NULL;
    int rc = 0;
    if (json_object_size(sans) == 0)
        return 0;
    names = sk_GENERAL_NAME_new_null();
    for (enum kv_san kind = 0; rc == 0 && kind < KV_SAN_N; kind++) {
        const json_t *array = json_object_get(sans, kv_san_member(kind));
        for (size_t i = 0; rc == 0 && i < json_array_size(array); i++) {
            GENERAL_NAME *name =
                name_of(kind, json_string_value(json_array_get(array, i)));
            if (name == NULL || sk_GENERAL_NAME_push(names, name) <= 0) {
                GENERAL_NAME_free(name);
                rc = KV_E_NOMEM;
            }
        }
    }
    if (rc == 0)
        rc = add(extensions, NID_subject_alt_name, is_critical, names);
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
    return rc;
}

static int add_extensions(X509_REQ *req, const struct kv_policy *policy)
{
    X509_EXTENSIONS *extensions = NULL;
    int rc = 0;
    KV_TRY(add_usage(&extensions, policy->usage));
    KV_TRY(add_ekus(&extensions, policy->ekus));
    KV_TRY(add_names(&extensions, policy->sans, policy->subject[0] == '\0'));
    KV_TRY(add_constraints(&extensions, policy->is_ca));
    if (X509_REQ_add_extensions(req, extensions) != 1)
        rc = KV_E_NOMEM;
out:
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    return rc;
}

/* --- the request -------------------------------------------------------------------
 */

static int set_subject(X509_REQ *req, const char *subject, struct kv_err *err)
{
    struct kv_buf der;
    X509_NAME *name = NULL;
    int rc = 0;
    kv_buf_init(&der, KV_CSR_MAX);
    if (subject[0] != '\0') {
        KV_TRY(kv_x500_parse(subject, &der, err));
        const uint8_t *at = der.data;
        name = d2i_X509_NAME(NULL, &at, (long)der.len);
    } else {
        name = X509_NAME_new();
    }
    if (name == NULL || X509_REQ_set_subject_name(req, name) != 1)
        rc = KV_E_NOMEM;
out:
    X509_NAME_free(name);
    kv_buf_free(&der);
    return rc;
}

static int set_key(X509_REQ *req, struct kv_bytes spki)
{
    const uint8_t *at = spki.data;
    uint8_t *again = NULL;
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &at, (long)spki.len);
    int rc = KV_E_INVALID;
    if (pkey != NULL && X509_REQ_set_pubkey(req, pkey) == 1) {
        int len = i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(req), &again);
        if (len > 0 && (size_t)len == spki.len &&
            memcmp(again, spki.data, spki.len) == 0)
            rc = 0;
    }
    OPENSSL_free(again);
    EVP_PKEY_free(pkey);
    return rc;
}

int kv_csr_info(const struct kv_policy *policy, struct kv_bytes spki,
                struct kv_buf *out, struct kv_err *err)
{
    X509_REQ *req = X509_REQ_new();
    uint8_t *der = NULL;
    int len = 0;
    int rc = req != NULL ? 0 : KV_E_NOMEM;
    if (rc != 0)
        return rc;
    KV_TRY(X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 ? 0 : KV_E_NOMEM);
    KV_TRY(set_subject(req, policy->subject, err));
    KV_TRY(set_key(req, spki));
    KV_TRY(add_extensions(req, policy));
    len = i2d_re_X509_REQ_tbs(req, &der);
    rc = len > 0 ? kv_buf_append(out, der, (size_t)len) : KV_E_NOMEM;
out:
    OPENSSL_free(der);
    X509_REQ_free(req);
    ERR_clear_error();
    return rc;
}
