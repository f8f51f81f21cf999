/*
 * Chains as data: read, put in order, kept as JSON.
 *
 * An imported file lists its certificates in any order. The leaf is the one with the
 * order's key; each next one is found by name and by signature, because certificates
 * of one CA under an old and a new key have the same name.
 */
#include "lifecycle/certs/chain.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>
#include <time.h>

#include "lifecycle/certs/chain_internal.h"
#include "lifecycle/certs/x500.h"
#include "store/core/b64.h"

X509 *kv_chain_cert(struct kv_bytes der)
{
    const uint8_t *at = der.data;

    if (der.len == 0 || der.len > KV_CERT_DER_MAX)
        return NULL;
    X509 *cert = d2i_X509(NULL, &at, (long)der.len);
    if (cert != NULL && at != der.data + der.len) {
        X509_free(cert);
        cert = NULL;
    }
    ERR_clear_error();
    return cert;
}

static int bad_certificate(struct kv_err *err, size_t place)
{
    return kv_err_set(err, KV_E_INVALID, "chain.bad-certificate",
                      "certificate %zu of the chain is malformed or longer than %d "
                      "bytes",
                      place + 1, KV_CERT_DER_MAX);
}

int kv_chain_certs(const struct kv_chain *chain, struct kv_chain_certs *out,
                   struct kv_err *err)
{
    *out = (struct kv_chain_certs){.n = 0};
    if (chain->n == 0 || chain->n > KV_CHAIN_MAX)
        return kv_err_set(err, KV_E_INVALID, "chain.bad-certificate",
                          "a chain has 1 to %d certificates, this one has %zu",
                          KV_CHAIN_MAX, chain->n);
    for (; out->n < chain->n; out->n++) {
        out->cert[out->n] = kv_chain_cert(chain->der[out->n]);
        if (out->cert[out->n] == NULL)
            return bad_certificate(err, out->n);
    }
    return 0;
}

void kv_chain_certs_free(struct kv_chain_certs *certs)
{
    for (size_t i = 0; i < certs->n; i++)
        X509_free(certs->cert[i]);
    certs->n = 0;
}

bool kv_chain_has_key(const X509 *cert, struct kv_bytes spki)
{
    uint8_t *own = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &own);
    bool has =
        len > 0 && (size_t)len == spki.len && memcmp(own, spki.data, spki.len) == 0;

    OPENSSL_free(own);
    ERR_clear_error();
    return has;
}

bool kv_chain_is_issuer(X509 *issuer, X509 *cert)
{
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    bool is =
        key != NULL &&
        X509_NAME_cmp(X509_get_subject_name(issuer), X509_get_issuer_name(cert)) == 0 &&
        X509_verify(cert, key) == 1;

    ERR_clear_error();
    return is;
}

static int read_time(const ASN1_TIME *from, int64_t *out_s)
{
    struct tm tm = {0};

    if (ASN1_TIME_to_tm(from, &tm) != 1)
        return KV_E_INVALID;
    *out_s = (int64_t)timegm(&tm);
    return 0;
}

int kv_chain_dates(const X509 *cert, int64_t *nbf_s, int64_t *exp_s, struct kv_err *err)
{
    int rc = read_time(X509_get0_notBefore(cert), nbf_s);

    if (rc == 0)
        rc = read_time(X509_get0_notAfter(cert), exp_s);
    ERR_clear_error();
    return rc == 0 ? 0
                   : kv_err_set(err, rc, "chain.bad-dates",
                                "the dates of the certificate cannot be read");
}

int kv_cert_facts(struct kv_bytes der, struct kv_cert_facts *out, struct kv_err *err)
{
    struct kv_cert_facts facts = {0};
    X509 *cert = kv_chain_cert(der);
    int rc = 0;

    if (cert == NULL)
        return bad_certificate(err, 0);
    KV_TRY(kv_chain_dates(cert, &facts.nbf_s, &facts.exp_s, err));
    if (EVP_Digest(der.data, der.len, facts.sha1, NULL, EVP_sha1(), NULL) != 1) {
        rc = KV_E_CRYPTO;
        goto out;
    }
    *out = facts;
out:
    X509_free(cert);
    ERR_clear_error();
    return rc;
}

int kv_cert_subject(struct kv_bytes der, struct kv_buf *text)
{
    uint8_t *name = NULL;
    X509 *cert = kv_chain_cert(der);
    int len = cert != NULL ? i2d_X509_NAME(X509_get_subject_name(cert), &name) : -1;
    int rc = len > 0 ? kv_x500_print((struct kv_bytes){name, (size_t)len}, text)
                     : KV_E_INVALID;

    OPENSSL_free(name);
    X509_free(cert);
    ERR_clear_error();
    return rc;
}

/* Move place `from` forward to place `to`; those between them move back by one. */
static void move(struct kv_chain *chain, struct kv_chain_certs *certs, size_t from,
                 size_t to)
{
    struct kv_bytes der = chain->der[from];
    X509 *cert = certs->cert[from];

    for (size_t i = from; i > to; i--) {
        chain->der[i] = chain->der[i - 1];
        certs->cert[i] = certs->cert[i - 1];
    }
    chain->der[to] = der;
    certs->cert[to] = cert;
}

int kv_chain_order(struct kv_chain *chain, struct kv_bytes spki, struct kv_err *err)
{
    struct kv_chain_certs certs;
    size_t found = 0;
    int rc = 0;

    KV_TRY(kv_chain_certs(chain, &certs, err));
    while (found < certs.n && !kv_chain_has_key(certs.cert[found], spki))
        found++;
    if (found == certs.n) {
        rc = kv_err_set(err, KV_E_INVALID, "chain.no-leaf",
                        "none of the %zu certificates carries the key", certs.n);
        goto out;
    }
    for (size_t place = 0; found < certs.n; place++) {
        move(chain, &certs, found, place);
        found = place + 1;
        while (found < certs.n &&
               !kv_chain_is_issuer(certs.cert[found], certs.cert[place]))
            found++;
    }
out:
    kv_chain_certs_free(&certs);
    return rc;
}

json_t *kv_chain_write(const struct kv_chain *chain)
{
    json_t *array = json_array();
    struct kv_buf text;

    kv_buf_init(&text, kv_b64_encoded_len(KV_B64_STD, KV_CERT_DER_MAX));
    for (size_t i = 0; array != NULL && i < chain->n; i++) {
        kv_buf_reset(&text);
        if (kv_b64_encode(KV_B64_STD, chain->der[i].data, chain->der[i].len, &text) !=
                0 ||
            json_array_append_new(
                array, json_stringn((const char *)text.data, text.len)) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    kv_buf_free(&text);
    return array;
}

int kv_chain_read(const json_t *array, struct kv_buf *store, struct kv_chain *chain)
{
    size_t start = store->len;
    size_t n = json_array_size(array);
    int rc = 0;

    *chain = (struct kv_chain){.n = 0};
    if (n == 0 || n > KV_CHAIN_MAX)
        return KV_E_INTEGRITY;
    for (size_t i = 0; i < n; i++) {
        const json_t *text = json_array_get(array, i);
        size_t before = store->len;
        rc = json_is_string(text) ? kv_b64_decode(KV_B64_STD, json_string_value(text),
                                                  json_string_length(text), store)
                                  : KV_E_INVALID;
        chain->der[i].len = store->len - before;
        if (rc == 0 && (chain->der[i].len == 0 || chain->der[i].len > KV_CERT_DER_MAX))
            rc = KV_E_INVALID;
        if (rc != 0) {
            *chain = (struct kv_chain){.n = 0};
            kv_buf_truncate(store, start);
            return rc == KV_E_INVALID ? KV_E_INTEGRITY : rc;
        }
    }
    /* The buffer has moved while it grew; from here on it stays. */
    for (size_t at = start; chain->n < n; at += chain->der[chain->n++].len)
        chain->der[chain->n].data = store->data + at;
    return 0;
}
