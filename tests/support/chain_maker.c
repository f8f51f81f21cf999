#include "tests/support/chain_maker.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509v3.h>
#include <string.h>

#define DAY_S 86400
#define CHAIN_FILE_MAX 262144

EVP_PKEY *chain_make_key(const char *type)
{
    EVP_PKEY *key = NULL;

    if (strcmp(type, "RSA") == 0)
        key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    else if (strcmp(type, "ED25519") == 0)
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    else
        key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", type);
    KV_ASSERT(key != NULL);
    return key;
}

static X509_EXTENSION *extension(int nid, const char *value)
{
    char text[512];

    KV_ASSERT(strlen(value) < sizeof(text)); /* libcrypto takes it writable */
    strcpy(text, value);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, text);
    KV_ASSERT(ext != NULL);
    return ext;
}

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *ext = extension(nid, value);

    KV_ASSERT(X509_add_ext(cert, ext, -1) == 1);
    X509_EXTENSION_free(ext);
}

static void add_name(X509_NAME *name, const char *type, const char *value)
{
    KV_ASSERT(X509_NAME_add_entry_by_txt(name, type, MBSTRING_UTF8,
                                         (const uint8_t *)value, -1, -1, 0) == 1);
}

static void fill(X509 *cert, const struct chain_maker *maker, EVP_PKEY *key)
{
    static long serial;
    int64_t nbf_s = maker->nbf_s != 0 ? maker->nbf_s : CHAIN_MAKER_NOW_S - DAY_S;
    int64_t exp_s = maker->exp_s != 0 ? maker->exp_s : CHAIN_MAKER_NOW_S + 90 * DAY_S;

    KV_ASSERT(X509_set_version(cert, X509_VERSION_3) == 1 &&
              ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial) == 1 &&
              ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)nbf_s) != NULL &&
              ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)exp_s) != NULL &&
              X509_set_pubkey(cert, key) == 1);
    if (maker->subject != NULL)
        add_name(X509_get_subject_name(cert), "CN", maker->subject);
    if (maker->org != NULL)
        add_name(X509_get_subject_name(cert), "O", maker->org);
    if (maker->sans != NULL)
        add_extension(cert, NID_subject_alt_name, maker->sans);
    if (maker->has_sans_twice)
        add_extension(cert, NID_subject_alt_name, maker->sans);
}

static const EVP_MD *md_of(const EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
}

struct chain_made chain_make(const struct chain_maker *maker,
                             const struct chain_made *issuer)
{
    struct chain_made made = {.key = chain_make_key(maker->type), .cert = X509_new()};
    const struct chain_made *by = issuer != NULL ? issuer : &made;

    KV_ASSERT(made.cert != NULL);
    fill(made.cert, maker, made.key);
    KV_ASSERT(X509_set_issuer_name(made.cert, X509_get_subject_name(by->cert)) == 1 &&
              X509_sign(made.cert, by->key, md_of(by->key)) > 0);
    int len = i2d_X509(made.cert, &made.der);
    int spki_len = i2d_PUBKEY(made.key, &made.spki);
    KV_ASSERT(len > 0 && spki_len > 0);
    made.der_len = (size_t)len;
    made.spki_len = (size_t)spki_len;
    return made;
}

void chain_made_free(struct chain_made *made)
{
    EVP_PKEY_free(made->key);
    X509_free(made->cert);
    OPENSSL_free(made->der);
    OPENSSL_free(made->spki);
    *made = (struct chain_made){.key = NULL};
}

struct kv_bytes chain_made_der(const struct chain_made *made)
{
    return (struct kv_bytes){.data = made->der, .len = made->der_len};
}

struct kv_bytes chain_made_spki(const struct chain_made *made)
{
    return (struct kv_bytes){.data = made->spki, .len = made->spki_len};
}

struct csr_made csr_make(const struct csr_maker *maker)
{
    struct csr_made made = {.key = chain_make_key(maker->type)};
    X509_REQ *req = X509_REQ_new();
    STACK_OF(X509_EXTENSION) *stack = sk_X509_EXTENSION_new_null();

    KV_ASSERT(req != NULL && stack != NULL && X509_REQ_set_pubkey(req, made.key) == 1 &&
              X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1);
    if (maker->subject != NULL)
        add_name(X509_REQ_get_subject_name(req), "CN", maker->subject);
    for (const struct csr_extension *at = maker->extensions; at != NULL && at->nid != 0;
         at++)
        KV_ASSERT(sk_X509_EXTENSION_push(stack, extension(at->nid, at->value)) > 0);
    if (maker->extensions != NULL)
        KV_ASSERT(X509_REQ_add_extensions(req, stack) == 1);
    KV_ASSERT(X509_REQ_sign(req, made.key, md_of(made.key)) > 0);
    int len = i2d_X509_REQ(req, &made.der);
    KV_ASSERT(len > 0);
    made.der_len = (size_t)len;
    sk_X509_EXTENSION_pop_free(stack, X509_EXTENSION_free);
    X509_REQ_free(req);
    return made;
}

void csr_made_free(struct csr_made *made)
{
    EVP_PKEY_free(made->key);
    OPENSSL_free(made->der);
    *made = (struct csr_made){.key = NULL};
}

static void take_bio(BIO *bio, struct kv_buf *out)
{
    char *data = NULL;
    long len = BIO_get_mem_data(bio, &data);
    kv_buf_init(out, CHAIN_FILE_MAX);
    KV_ASSERT(kv_buf_append(out, data, (size_t)len) == 0);
    BIO_free(bio);
}

void chain_made_pem(const struct chain_made *made, const struct chain_made *issuer,
                    struct kv_buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    KV_ASSERT(
        PEM_write_bio_PKCS8PrivateKey(bio, made->key, NULL, NULL, 0, NULL, NULL) == 1);
    if (issuer != NULL)
        KV_ASSERT(PEM_write_bio_X509(bio, issuer->cert) == 1);
    KV_ASSERT(PEM_write_bio_X509(bio, made->cert) == 1);
    take_bio(bio, out);
}

void chain_made_pfx(const struct chain_made *made, const struct chain_made *issuer,
                    const char *password, struct kv_buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    STACK_OF(X509) *others = sk_X509_new_null();
    if (issuer != NULL)
        KV_ASSERT(sk_X509_push(others, issuer->cert) > 0);
    PKCS12 *pfx =
        PKCS12_create(password, NULL, made->key, made->cert, others, 0, 0, 0, 0, 0);
    KV_ASSERT(pfx != NULL);
    KV_ASSERT(i2d_PKCS12_bio(bio, pfx) == 1);
    PKCS12_free(pfx);
    sk_X509_free(others);
    take_bio(bio, out);
}
