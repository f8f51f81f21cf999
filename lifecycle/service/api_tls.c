/*
 * Certificates of the API itself, made with libcrypto: P-256, SHA-256.
 *
 * People put ca.pem into trust stores, so the CA is bound by name constraints: it can
 * vouch for this vault's hosts and addresses and for localhost, and for nothing else.
 */
#include "lifecycle/service/api_tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "store/core/b64.h"
#include "store/core/str.h"

#define DAY_S 86400
#define BACKDATE_S 600 /* clocks of clients may be a little behind */

void kv_api_identity_free(struct kv_api_identity *identity)
{
    EVP_PKEY_free(identity->key);
    X509_free(identity->certificate);
    X509_free(identity->ca);
    memset(identity, 0, sizeof(*identity));
}

static bool is_plain_address(const char *host)
{
    return host != NULL && host[0] != '\0' && strcmp(host, "0.0.0.0") != 0 &&
           strcmp(host, "::") != 0 && strcmp(host, "127.0.0.1") != 0 &&
           strcmp(host, "::1") != 0;
}

int kv_api_tls_names(const char *domain, const char *host, char *out, size_t out_size)
{
    bool has_host = is_plain_address(host);
    int n =
        snprintf(out, out_size,
                 "DNS:*.%s,DNS:%s,DNS:default.%s,DNS:localhost,IP:127.0.0.1,"
                 "IP:::1%s%s",
                 domain, domain, domain, has_host ? ",IP:" : "", has_host ? host : "");
    return n > 0 && (size_t)n < out_size ? 0 : KV_E_TOO_BIG;
}

static int add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
    X509V3_set_ctx_nodb(&ctx);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    int ok = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok ? 0 : KV_E_CRYPTO;
}

static int set_serial(X509 *certificate)
{
    uint8_t bytes[16];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return KV_E_CRYPTO;
    bytes[0] = (uint8_t)((bytes[0] & 0x7F) | 0x40); /* positive, full length */
    BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    int ok = number != NULL &&
             BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return ok ? 0 : KV_E_CRYPTO;
}

static int set_name(X509_NAME *name, const char *text)
{
    return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                                      (const uint8_t *)text, -1, -1, 0) == 1
               ? 0
               : KV_E_CRYPTO;
}

/* Everything but extensions and signature. */
static int begin(struct kv_api_identity *out, const char *common_name, int64_t now_s,
                 int days)
{
    int rc = KV_E_CRYPTO;
    out->key = EVP_EC_gen("P-256");
    out->certificate = X509_new();
    X509 *certificate = out->certificate;
    if (out->key == NULL || certificate == NULL ||
        X509_set_version(certificate, X509_VERSION_3) != 1 ||
        X509_set_pubkey(certificate, out->key) != 1 ||
        ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)(now_s - BACKDATE_S)) ==
            NULL ||
        ASN1_TIME_set(X509_getm_notAfter(certificate),
                      (time_t)(now_s + (int64_t)days * DAY_S)) == NULL)
        goto out;
    KV_TRY(set_serial(certificate));
    KV_TRY(set_name(X509_get_subject_name(certificate), common_name));
out:
    return rc;
}

static int failed(struct kv_api_identity *out, struct kv_err *err, const char *what)
{
    kv_api_identity_free(out);
    ERR_clear_error();
    return kv_err_set(err, KV_E_CRYPTO, "service.tls-failed",
                      "the API's own %s could not be made", what);
}

/* "critical,permitted;DNS:..." for the domain, localhost and each address in `names`:
 * a kind of name that no constraint mentions would be free. */
static int write_constraint(const char *domain, const char *names, struct kv_buf *out)
{
    (void)kv_buf_appendf(out, "critical,permitted;DNS:%s,permitted;DNS:localhost",
                         domain);
    for (const char *at = names; (at = strstr(at, "IP:")) != NULL;) {
        at += strlen("IP:");
        size_t len = strcspn(at, ",");
        bool is_v6 = memchr(at, ':', len) != NULL;
        (void)kv_buf_append_str(out, ",permitted;IP:");
        (void)kv_buf_append(out, at, len);
        (void)kv_buf_append_str(out, is_v6 ? "/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
                                           : "/255.255.255.255");
        at += len;
    }
    return kv_buf_status(out);
}

int kv_api_ca_make(const char *domain, const char *names, int64_t now_s,
                   struct kv_api_identity *out, struct kv_err *err)
{
    struct kv_buf constraint;
    int rc = 0;
    memset(out, 0, sizeof(*out));
    kv_buf_init(&constraint, 2048);
    KV_TRY(kv_str_copy(out->names, sizeof(out->names), names));
    KV_TRY(write_constraint(domain, names, &constraint));
    KV_TRY(begin(out, "keyvault API CA", now_s, KV_API_CA_DAYS));
    X509 *ca = out->certificate;
    if (X509_set_issuer_name(ca, X509_get_subject_name(ca)) != 1) {
        rc = KV_E_CRYPTO;
        goto out;
    }
    KV_TRY(add_extension(ca, ca, NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
    KV_TRY(add_extension(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign"));
    KV_TRY(add_extension(ca, ca, NID_subject_key_identifier, "hash"));
    const char *text = kv_buf_cstr(&constraint);
    if (text == NULL) {
        rc = KV_E_NOMEM;
        goto out;
    }
    KV_TRY(add_extension(ca, ca, NID_name_constraints, text));
    if (X509_sign(ca, out->key, EVP_sha256()) <= 0)
        rc = KV_E_CRYPTO;
out:
    kv_buf_free(&constraint);
    return rc != 0 ? failed(out, err, "CA") : 0;
}

int kv_api_leaf_make(const struct kv_api_identity *ca, const char *names, int64_t now_s,
                     struct kv_api_identity *out, struct kv_err *err)
{
    int rc = 0;
    memset(out, 0, sizeof(*out));
    KV_TRY(kv_str_copy(out->names, sizeof(out->names), names));
    KV_TRY(begin(out, "keyvault API", now_s, KV_API_LEAF_DAYS));
    X509 *leaf = out->certificate;
    if (X509_set_issuer_name(leaf, X509_get_subject_name(ca->certificate)) != 1)
        return failed(out, err, "certificate");
    KV_TRY(add_extension(leaf, ca->certificate, NID_basic_constraints,
                         "critical,CA:FALSE"));
    KV_TRY(add_extension(leaf, ca->certificate, NID_key_usage,
                         "critical,digitalSignature"));
    KV_TRY(add_extension(leaf, ca->certificate, NID_ext_key_usage, "serverAuth"));
    KV_TRY(add_extension(leaf, ca->certificate, NID_subject_key_identifier, "hash"));
    KV_TRY(add_extension(leaf, ca->certificate, NID_authority_key_identifier,
                         "keyid:always"));
    KV_TRY(add_extension(leaf, ca->certificate, NID_subject_alt_name, names));
    if (X509_sign(leaf, ca->key, EVP_sha256()) <= 0 ||
        X509_up_ref(ca->certificate) != 1)
        rc = KV_E_CRYPTO;
    else
        out->ca = ca->certificate;
out:
    return rc != 0 ? failed(out, err, "certificate") : 0;
}

bool kv_api_leaf_is_due(const struct kv_api_identity *leaf, const char *names,
                        int64_t now_s)
{
    time_t limit = (time_t)(now_s + (int64_t)KV_API_LEAF_RENEW_DAYS * DAY_S);
    return strcmp(leaf->names, names) != 0 ||
           X509_cmp_time(X509_get0_notAfter(leaf->certificate), &limit) <= 0;
}

/* --- documents
 * ------------------------------------------------------------------------ */

static json_t *der_json(uint8_t *der, int len)
{
    struct kv_buf text;
    kv_buf_init_secret(&text, 32768);
    json_t *json = NULL;
    if (len > 0 && kv_b64_encode(KV_B64_STD, der, (size_t)len, &text) == 0)
        json = json_stringn((const char *)text.data, text.len);
    if (len > 0)
        OPENSSL_clear_free(der, (size_t)len);
    kv_buf_free(&text);
    return json;
}

static json_t *certificate_json(X509 *certificate)
{
    uint8_t *der = NULL;
    if (certificate == NULL)
        return json_null();
    int len = i2d_X509(certificate, &der);
    return der_json(der, len);
}

json_t *kv_api_identity_doc(const struct kv_api_identity *identity)
{
    uint8_t *der = NULL;
    int len = i2d_PrivateKey(identity->key, &der);
    return json_pack("{s:o,s:o,s:o,s:s}", "key", der_json(der, len), "certificate",
                     certificate_json(identity->certificate), "ca",
                     certificate_json(identity->ca), "names", identity->names);
}

static int read_der(const json_t *doc, const char *field, struct kv_buf *out)
{
    const char *text = json_string_value(json_object_get(doc, field));
    kv_buf_reset(out);
    return text != NULL ? kv_b64_decode(KV_B64_STD, text, strlen(text), out)
                        : KV_E_INVALID;
}

static X509 *read_certificate(const json_t *doc, const char *field, struct kv_buf *der)
{
    if (read_der(doc, field, der) != 0)
        return NULL;
    const uint8_t *at = der->data;
    return d2i_X509(NULL, &at, (long)der->len);
}

int kv_api_identity_read(const json_t *doc, struct kv_api_identity *out,
                         struct kv_err *err)
{
    struct kv_buf der;
    const char *names = json_string_value(json_object_get(doc, "names"));
    memset(out, 0, sizeof(*out));
    kv_buf_init_secret(&der, 32768);
    if (read_der(doc, "key", &der) == 0) {
        const uint8_t *at = der.data;
        out->key = d2i_AutoPrivateKey(NULL, &at, (long)der.len);
    }
    out->certificate = read_certificate(doc, "certificate", &der);
    out->ca = read_certificate(doc, "ca", &der);
    kv_buf_free(&der);
    ERR_clear_error();
    if (out->key != NULL && out->certificate != NULL && names != NULL &&
        X509_check_private_key(out->certificate, out->key) == 1 &&
        kv_str_copy(out->names, sizeof(out->names), names) == 0)
        return 0;
    kv_api_identity_free(out);
    ERR_clear_error();
    return kv_err_set(err, KV_E_INTEGRITY, "service.bad-identity",
                      "the API's own certificate in the store cannot be read");
}

int kv_api_pem(X509 *certificate, struct kv_buf *out)
{
    char *text = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    int rc = KV_E_NOMEM;
    if (bio != NULL && PEM_write_bio_X509(bio, certificate) == 1) {
        long len = BIO_get_mem_data(bio, &text);
        rc = kv_buf_append(out, text, (size_t)len);
    }
    BIO_free(bio);
    return rc;
}
