/*
 * A CA answers in any of four forms, seldom with a file name that tells which: each is
 * tried. Other PEM blocks between certificates are passed over.
 */
#include "lifecycle/cli/chain.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>

#include "store/core/b64.h"

#define CERT_MAX 65536
#define CHAIN_MAX 64

static int append(json_t *x5c, X509 *cert)
{
    struct kv_buf text;
    uint8_t *der = NULL;
    int len = i2d_X509(cert, &der);
    kv_buf_init(&text, 2 * (size_t)CERT_MAX);
    int rc = len > 0 ? kv_b64_encode(KV_B64_STD, der, (size_t)len, &text) : KV_E_NOMEM;
    if (rc == 0 && json_array_append_new(
                       x5c, json_stringn((const char *)text.data, text.len)) != 0)
        rc = KV_E_NOMEM;
    OPENSSL_free(der);
    kv_buf_free(&text);
    return rc;
}

static int append_pkcs7(json_t *x5c, PKCS7 *bag)
{
    int rc = 0;
    if (bag == NULL || !PKCS7_type_is_signed(bag) || bag->d.sign == NULL)
        return 0;
    const STACK_OF(X509) *certs = bag->d.sign->cert;
    for (int i = 0; rc == 0 && i < sk_X509_num(certs) && i < CHAIN_MAX; i++)
        rc = append(x5c, sk_X509_value(certs, i));
    return rc;
}

static int read_pem(json_t *x5c, BIO *bio)
{
    int rc = 0;
    for (int n = 0; rc == 0 && n < CHAIN_MAX; n++) {
        X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (cert == NULL)
            break;
        rc = append(x5c, cert);
        X509_free(cert);
    }
    if (rc != 0 || json_array_size(x5c) > 0)
        return rc;
    (void)BIO_reset(bio);
    PKCS7 *bag = PEM_read_bio_PKCS7(bio, NULL, NULL, NULL);
    rc = append_pkcs7(x5c, bag);
    PKCS7_free(bag);
    return rc;
}

static int read_der(json_t *x5c, const struct kv_buf *file)
{
    const uint8_t *at = file->data;
    X509 *cert = d2i_X509(NULL, &at, (long)file->len);
    int rc = cert != NULL ? append(x5c, cert) : 0;
    X509_free(cert);
    if (cert != NULL)
        return rc;
    at = file->data;
    PKCS7 *bag = d2i_PKCS7(NULL, &at, (long)file->len);
    rc = append_pkcs7(x5c, bag);
    PKCS7_free(bag);
    return rc;
}

int kv_chain_load(const struct kv_buf *file, json_t **x5c, struct kv_err *err)
{
    json_t *all = json_array();
    BIO *bio =
        BIO_new_mem_buf(file->len > 0 ? (const void *)file->data : "", (int)file->len);
    int rc = all != NULL && bio != NULL ? read_pem(all, bio) : KV_E_NOMEM;
    if (rc == 0 && json_array_size(all) == 0 && file->len > 0)
        rc = read_der(all, file);
    if (rc == 0 && json_array_size(all) == 0)
        rc = kv_err_set(err, KV_E_INVALID, "pem.no-certificate",
                        "there is no certificate in the file: PEM, DER and PKCS #7 are "
                        "read");
    ERR_clear_error();
    BIO_free(bio);
    if (rc == 0)
        *x5c = all;
    else
        json_decref(all);
    return rc;
}
