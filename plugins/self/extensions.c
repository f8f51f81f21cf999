/*
 * From the extensions that a request asks for to those of an end entity's certificate.
 *
 * Four are taken over: keyUsage, extendedKeyUsage, subjectAltName, basicConstraints.
 * Each is decoded and encoded again, so that nothing hides in it. All others are left
 * out. `Self` makes no CA:
 *
 *   basicConstraints  CA:TRUE is refused; a path length without CA is left out
 *   keyUsage          keyCertSign is left out, because without CA it means nothing and
 *                     RFC 5280 §4.2.1.9 forbids it, yet templates for clients of Azure
 *                     name it; refused when no other usage remains
 *
 * subjectKeyIdentifier is added (RFC 5280 §4.2.1.2, method 1). authorityKeyIdentifier
 * is not: a self-signed certificate may omit it (§4.2.1.1).
 */
#include "plugins/self/extensions.h"

#include <openssl/x509v3.h>

#define USAGE_KEY_CERT_SIGN 5 /* RFC 5280 §4.2.1.3 */
#define USAGE_LAST 8

static int bad_csr(struct kv_err *err, const char *what)
{
    return kv_err_set(err, KV_E_INVALID, "self.bad-csr", "the certificate request %s",
                      what);
}

static int add(X509 *cert, int nid, void *value, bool is_critical, struct kv_err *err)
{
    if (X509_add1_ext_i2d(cert, nid, value, is_critical, X509V3_ADD_APPEND) == 1)
        return 0;
    return bad_csr(err, "has an extension that cannot be encoded");
}

static int add_usage(X509 *cert, ASN1_BIT_STRING *usage, struct kv_err *err)
{
    bool has_usage = false;

    if (ASN1_BIT_STRING_set_bit(usage, USAGE_KEY_CERT_SIGN, 0) != 1)
        return KV_E_NOMEM;
    for (int bit = 0; bit <= USAGE_LAST; bit++)
        has_usage = has_usage || ASN1_BIT_STRING_get_bit(usage, bit) == 1;
    if (!has_usage)
        return bad_csr(err, "asks for no key usage but keyCertSign, which is a CA's");
    return add(cert, NID_key_usage, usage, true, err);
}

static int add_constraints(X509 *cert, const BASIC_CONSTRAINTS *wanted,
                           bool is_critical, struct kv_err *err)
{
    int rc = 0;

    if (wanted->ca)
        return bad_csr(err, "asks for a CA certificate, which the issuer Self does "
                            "not make");
    BASIC_CONSTRAINTS *own = BASIC_CONSTRAINTS_new(); /* not a CA */
    rc = own != NULL ? add(cert, NID_basic_constraints, own, is_critical, err)
                     : KV_E_NOMEM;
    BASIC_CONSTRAINTS_free(own);
    return rc;
}

static int add_wanted(X509 *cert, X509_EXTENSION *wanted, struct kv_err *err)
{
    int nid = OBJ_obj2nid(X509_EXTENSION_get_object(wanted));
    bool is_critical = X509_EXTENSION_get_critical(wanted) == 1;
    bool is_nameless = X509_NAME_entry_count(X509_get_subject_name(cert)) == 0;
    int rc = 0;

    if (nid != NID_key_usage && nid != NID_ext_key_usage &&
        nid != NID_subject_alt_name && nid != NID_basic_constraints)
        return 0;
    void *value = X509V3_EXT_d2i(wanted);
    if (value == NULL)
        return bad_csr(err, "has an extension that cannot be read");
    if (nid == NID_key_usage)
        rc = add_usage(cert, value, err);
    else if (nid == NID_basic_constraints)
        rc = add_constraints(cert, value, is_critical, err);
    else if (nid == NID_subject_alt_name) /* critical: RFC 5280 §4.2.1.6 */
        rc = add(cert, nid, value, is_nameless, err);
    else
        rc = add(cert, nid, value, is_critical, err);
    ASN1_item_free(value, ASN1_ITEM_ptr(X509V3_EXT_get_nid(nid)->it));
    return rc;
}

/* RFC 5280 §4.2: each extension at most once. */
static int check_once(const STACK_OF(X509_EXTENSION) * wanted, struct kv_err *err)
{
    int n = sk_X509_EXTENSION_num(wanted);

    if (n > KV_SELF_EXTENSIONS_MAX)
        return bad_csr(err, "asks for more than 32 extensions");
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            if (OBJ_cmp(
                    X509_EXTENSION_get_object(sk_X509_EXTENSION_value(wanted, i)),
                    X509_EXTENSION_get_object(sk_X509_EXTENSION_value(wanted, j))) == 0)
                return bad_csr(err, "asks for an extension twice");
    return 0;
}

static bool asks_for_extensions(const X509_REQ *req)
{
    return X509_REQ_get_attr_by_NID(req, NID_ext_req, -1) >= 0 ||
           X509_REQ_get_attr_by_NID(req, NID_ms_ext_req, -1) >= 0;
}

static int add_key_identifier(X509 *cert, struct kv_err *err)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
    int rc = KV_E_NOMEM;

    if (id != NULL && X509_pubkey_digest(cert, EVP_sha1(), hash, &len) == 1 &&
        ASN1_OCTET_STRING_set(id, hash, (int)len) == 1)
        rc = add(cert, NID_subject_key_identifier, id, false, err);
    ASN1_OCTET_STRING_free(id);
    return rc;
}

int kv_self_extensions(X509_REQ *req, X509 *cert, struct kv_err *err)
{
    STACK_OF(X509_EXTENSION) *wanted = X509_REQ_get_extensions(req);
    int rc = 0;

    if (wanted == NULL && asks_for_extensions(req)) {
        rc = bad_csr(err, "has extensions that cannot be read");
        goto out;
    }
    KV_TRY(check_once(wanted, err));
    for (int i = 0; i < sk_X509_EXTENSION_num(wanted); i++)
        KV_TRY(add_wanted(cert, sk_X509_EXTENSION_value(wanted, i), err));
    if (X509_NAME_entry_count(X509_get_subject_name(cert)) == 0 &&
        X509_get_ext_by_NID(cert, NID_subject_alt_name, -1) < 0) {
        rc = bad_csr(err, "has neither a subject nor alternative names");
        goto out;
    }
    rc = add_key_identifier(cert, err);
out:
    sk_X509_EXTENSION_pop_free(wanted, X509_EXTENSION_free);
    return rc;
}
