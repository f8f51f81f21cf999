/*
 * Chains as files, for secrets without a private key: PEM, and PKCS#12 (RFC 7292)
 * with certificate bags only.
 *
 * The PFX is written as the keyring writes one with a key and an empty password, so
 * that whoever opens the one opens the other.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>

#include "lifecycle/certs/chain_internal.h"

#define ITERATIONS 2048 /* an empty password has nothing to protect */

int kv_chain_pem(const struct kv_chain *chain, struct kv_buf *out)
{
    size_t before = out->len;
    char *text = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    int rc = bio != NULL ? 0 : KV_E_NOMEM;

    for (size_t i = 0; rc == 0 && i < chain->n; i++)
        if (PEM_write_bio(bio, PEM_STRING_X509, "", chain->der[i].data,
                          (long)chain->der[i].len) <= 0)
            rc = KV_E_NOMEM;
    if (rc == 0) {
        long len = BIO_get_mem_data(bio, &text);
        rc = kv_buf_append(out, text, len > 0 ? (size_t)len : 0);
    }
    if (rc != 0)
        kv_buf_truncate(out, before);
    BIO_free(bio);
    ERR_clear_error();
    return rc;
}

static int put_pfx(PKCS12 *pfx, struct kv_buf *out)
{
    int len = i2d_PKCS12(pfx, NULL);
    uint8_t *at = NULL;

    if (len <= 0)
        return KV_E_CRYPTO;
    at = kv_buf_extend(out, (size_t)len);
    if (at == NULL)
        return kv_buf_status(out);
    (void)i2d_PKCS12(pfx, &at); /* its length is known */
    return 0;
}

int kv_chain_pfx(const struct kv_chain *chain, struct kv_buf *out)
{
    struct kv_chain_certs certs;
    STACK_OF(X509) *stack = sk_X509_new_null();
    PKCS12 *pfx = NULL;
    int rc = 0;

    KV_TRY(kv_chain_certs(chain, &certs, NULL));
    for (size_t i = 0; i < certs.n; i++)
        if (stack == NULL || sk_X509_push(stack, certs.cert[i]) <= 0) {
            rc = KV_E_NOMEM;
            goto out;
        }
    pfx = PKCS12_create("", NULL, NULL, NULL, stack, NID_undef, NID_aes_256_cbc,
                        ITERATIONS, -1, 0);
    if (pfx == NULL ||
        PKCS12_set_mac(pfx, "", -1, NULL, 0, ITERATIONS, EVP_sha256()) != 1) {
        rc = KV_E_CRYPTO;
        goto out;
    }
    rc = put_pfx(pfx, out);
out:
    PKCS12_free(pfx);
    sk_X509_free(stack); /* the certificates belong to `certs` */
    kv_chain_certs_free(&certs);
    ERR_clear_error();
    return rc;
}
