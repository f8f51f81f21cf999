/*
 * Keys from outside: one door, several forms.
 *
 * The form only decides who reads; what was read then passes the same gate: sizes
 * and curves (kv_key_take), consistency (kv_key_check), the type that the request
 * expects, and that one certificate, if there are any, carries this very key.
 */
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509.h>

#include "store/keyring/der.h"
#include "store/keyring/key_internal.h"
#include "store/keyring/pbe.h"

#define PKCS8_MAX 8192

static int bad_der(struct kv_err *err)
{
    return kv_err_set(err, KV_E_INVALID, "key.import-bad-der",
                      "the DER bytes are no PKCS#8, PKCS#1 or SEC 1 private key");
}

/* PKCS#1 or SEC 1, whose type is known from the outside. */
static int read_traditional(int type, struct kv_bytes der, struct kv_key **out,
                            struct kv_err *err)
{
    const uint8_t *at = der.data;
    EVP_PKEY *pkey =
        d2i_PrivateKey_ex(type, NULL, &at, (long)der.len, kv_keys_libctx(), NULL);
    ERR_clear_error();
    if (pkey == NULL)
        return bad_der(err);
    return kv_key_take(pkey, out, err);
}

static int read_encrypted(struct kv_bytes der, struct kv_bytes password,
                          struct kv_key **out, struct kv_err *err)
{
    int rc = 0;
    const uint8_t *at = der.data;
    const X509_ALGOR *algorithm = NULL;
    const ASN1_OCTET_STRING *sealed = NULL;
    static const uint8_t empty[1] = "";
    struct kv_pbe pbe = {.password = password, .budget = KV_PBE_BUDGET};
    struct kv_err inner = KV_ERR_INIT;
    struct kv_buf plain;
    kv_buf_init_secret(&plain, PKCS8_MAX);
    if (password.len == 0)
        pbe.password.data = empty;
    X509_SIG *sig = d2i_X509_SIG(NULL, &at, (long)der.len);
    if (sig == NULL) {
        rc = bad_der(err);
        goto out;
    }
    X509_SIG_get0(sig, &algorithm, &sealed);
    KV_TRY(kv_pbe_decrypt(&pbe, algorithm, sealed, &plain, err));
    rc = kv_key_from_pkcs8((struct kv_bytes){.data = plain.data, .len = plain.len}, out,
                           &inner);
    /* One wrong password in 256 leaves padding that looks right. */
    if (rc != 0 && strcmp(inner.id, "key.import-bad-der") == 0)
        rc = kv_err_set(err, KV_E_INVALID, "key.import-bad-password",
                        "the password does not open the file, or it is damaged");
    else if (rc != 0 && inner.code != 0)
        rc = kv_err_set(err, rc, inner.id, "%s", inner.message);
out:
    X509_SIG_free(sig);
    kv_buf_free(&plain);
    ERR_clear_error();
    return rc;
}

int kv_key_read_der(struct kv_bytes der, struct kv_bytes password, struct kv_key **out,
                    struct kv_err *err)
{
    struct kv_der outer;
    struct kv_der inner;
    struct kv_der_item root;
    struct kv_der_item first;
    kv_der_init(&outer, der);
    if (!kv_der_take(&outer, KV_DER_SEQUENCE, &root) || kv_der_end(&outer) != 0)
        return bad_der(err);
    kv_der_init(&inner, root.body);
    if (!kv_der_next(&inner, &first))
        return bad_der(err);
    uint8_t second = kv_der_peek(&inner);
    if (first.tag == KV_DER_SEQUENCE && second == KV_DER_OCTETS)
        return read_encrypted(der, password, out, err);
    if (first.tag != KV_DER_INTEGER || first.body.len != 1)
        return bad_der(err);
    if (second == KV_DER_SEQUENCE && first.body.data[0] == 3) {
        kv_err_hint(err, "import it as PFX");
        return kv_err_set(err, KV_E_INVALID, "key.import-bad-der",
                          "the DER bytes are a PFX (PKCS#12), not a private key");
    }
    if (second == KV_DER_SEQUENCE)
        return kv_key_from_pkcs8(der, out, err);
    if (second == KV_DER_INTEGER)
        return read_traditional(EVP_PKEY_RSA, der, out, err);
    if (second == KV_DER_OCTETS)
        return read_traditional(EVP_PKEY_EC, der, out, err);
    return bad_der(err);
}

X509 *kv_key_read_cert(struct kv_bytes der)
{
    const uint8_t *at = der.data;
    if (der.len == 0 || der.len > KV_CERT_DER_MAX)
        return NULL;
    X509 *cert = X509_new_ex(kv_keys_libctx(), NULL);
    /* d2i_X509 fails for unsound extensions, too, and then leaves `cert` filled. */
    if (cert != NULL &&
        (d2i_X509(&cert, &at, (long)der.len) == NULL || at != der.data + der.len)) {
        X509_free(cert);
        cert = NULL;
    }
    ERR_clear_error();
    return cert;
}

int kv_key_certs_add(struct kv_key_certs *certs, struct kv_bytes der,
                     struct kv_err *err)
{
    if (certs->n == KV_CHAIN_MAX)
        return kv_err_set(err, KV_E_INVALID, "key.import-many-certs",
                          "the file holds more than %d certificates", KV_CHAIN_MAX);
    X509 *cert = kv_key_read_cert(der);
    bool is_whole = cert != NULL;
    X509_free(cert);
    if (!is_whole)
        return kv_err_set(err, KV_E_INVALID, "key.import-bad-cert",
                          "certificate %u of the file is malformed or longer than %d "
                          "bytes",
                          certs->n + 1, KV_CERT_DER_MAX);
    struct kv_buf *place = &certs->der[certs->n];
    kv_buf_init(place, KV_CERT_DER_MAX);
    int rc = kv_buf_append(place, der.data, der.len);
    if (rc == 0)
        certs->n++;
    else
        kv_buf_free(place);
    return rc;
}

void kv_key_certs_free(struct kv_key_certs *certs)
{
    for (unsigned i = 0; i < certs->n; i++)
        kv_buf_free(&certs->der[i]);
    certs->n = 0;
}

bool kv_key_fits_cert(const struct kv_key *key, struct kv_bytes cert_der)
{
    uint8_t *spki = NULL;
    X509 *cert = kv_key_read_cert(cert_der);
    int len = cert != NULL ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki) : -1;
    bool fits = len > 0 && (size_t)len == key->spki.len &&
                memcmp(spki, key->spki.data, key->spki.len) == 0;
    OPENSSL_free(spki);
    X509_free(cert);
    ERR_clear_error();
    return fits;
}

/* Move the certificate that carries the key to the front; the rest keep their order. */
static int put_leaf_first(const struct kv_key *key, struct kv_key_certs *certs,
                          struct kv_err *err)
{
    unsigned leaf = 0;
    while (leaf < certs->n &&
           !kv_key_fits_cert(key, (struct kv_bytes){.data = certs->der[leaf].data,
                                                    .len = certs->der[leaf].len}))
        leaf++;
    if (certs->n > 0 && leaf == certs->n)
        return kv_err_set(err, KV_E_INVALID, "key.import-cert-mismatch",
                          "none of the %u certificates of the file carries its key",
                          certs->n);
    for (; leaf > 0; leaf--) {
        struct kv_buf held = certs->der[leaf];
        certs->der[leaf] = certs->der[leaf - 1];
        certs->der[leaf - 1] = held;
    }
    return 0;
}

static int check_request(const struct kv_role_key_new *request, struct kv_err *err)
{
    if (request->material.len == 0)
        return kv_err_set(err, KV_E_INVALID, "key.import-no-key",
                          "there is nothing to import");
    if (request->material.len > KV_IMPORT_MAX)
        return kv_err_set(err, KV_E_TOO_BIG, "key.import-too-big",
                          "the material has %zu bytes; at most %d are read",
                          request->material.len, KV_IMPORT_MAX);
    if (request->password.len > KV_PASSWORD_MAX ||
        (request->password.len > 0 &&
         memchr(request->password.data, 0, request->password.len) != NULL))
        return kv_err_set(err, KV_E_INVALID, "key.import-bad-password",
                          "the password is longer than %d bytes or holds a NUL",
                          KV_PASSWORD_MAX);
    return 0;
}

/* The request may leave type, curve and size open by 0. */
static int check_expected(const struct kv_key *key,
                          const struct kv_role_key_new *request, struct kv_err *err)
{
    if ((request->kty == 0 || request->kty == key->kty) &&
        (request->curve == 0 || request->curve == key->curve) &&
        (request->bits == 0 || request->bits == key->bits))
        return 0;
    return kv_err_set(err, KV_E_INVALID, "key.import-wrong-type",
                      "the material holds a key of another type than the request says "
                      "(kty %u, curve %u, %u bits)",
                      key->kty, key->curve, key->bits);
}

static int read_any(const struct kv_role_key_new *request, struct kv_key **out,
                    struct kv_key_certs *certs, struct kv_err *err)
{
    switch ((enum kv_import)request->import) {
    case KV_IMPORT_DER:
        return kv_key_read_der(request->material, request->password, out, err);
    case KV_IMPORT_PEM:
        return kv_key_read_pem(request->material, request->password, out, certs, err);
    case KV_IMPORT_PFX:
        return kv_key_read_pfx(request->material, request->password, out, certs, err);
    case KV_IMPORT_RSA:
    case KV_IMPORT_EC:
    case KV_IMPORT_OKP:
        return kv_key_read_jwk(request, out, err);
    case KV_IMPORT_NONE:
        break;
    }
    return kv_err_set(err, KV_E_INVALID, "key.import-bad-form",
                      "%u is no form of key material", request->import);
}

int kv_key_import(const struct kv_role_key_new *request, struct kv_key **out,
                  struct kv_key_certs *certs, struct kv_err *err)
{
    int rc = 0;
    struct kv_key *key = NULL;
    struct kv_key_certs found = {.n = 0};
    KV_TRY(check_request(request, err));
    KV_TRY(read_any(request, &key, &found, err));
    KV_ASSERT(key != NULL);
    KV_TRY(kv_key_check(key, err));
    KV_TRY(check_expected(key, request, err));
    KV_TRY(put_leaf_first(key, &found, err));
    *out = key;
    key = NULL;
    if (certs != NULL) {
        *certs = found;
        found.n = 0;
    }
out:
    kv_key_unref(key);
    kv_key_certs_free(&found);
    return rc;
}
