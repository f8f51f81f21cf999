/*
 * Signing of certificate requests and self-issued certificates.
 *
 * The service builds the body, the keyring decides whether the key signs it: the
 * bytes must be exactly one CertificationRequestInfo (RFC 2986 §4.1) or one
 * TBSCertificate (RFC 5280 §4.1) whose public key is this key's own, byte for byte.
 * A self-issued body must name itself as issuer and carry the very signature
 * algorithm that is used. So no other certificate and no other message can be
 * smuggled under a signature of the key.
 */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "store/keyring/der.h"
#include "store/keyring/key_internal.h"

#define ALGORITHM_MAX 128
#define SIGNATURE_MAX KV_RSA_MAX_BYTES
#define TBS_MAX (KV_CERT_DER_MAX - 1024) /* room for the signature */

struct signer {
    EVP_MD_CTX *ctx;
    uint8_t algorithm[ALGORITHM_MAX]; /* DER AlgorithmIdentifier */
    size_t algorithm_len;
};

static bool is_same(struct kv_bytes a, struct kv_bytes b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static int bad_der(struct kv_err *err, const char *what)
{
    return kv_err_set(err, KV_E_INVALID, "key.tbs-bad-der", "the bytes are no %s",
                      what);
}

static int check_spki(const struct kv_key *key, struct kv_bytes spki,
                      struct kv_err *err)
{
    if (is_same(spki, kv_key_spki(key)))
        return 0;
    return kv_err_set(err, KV_E_DENIED, "key.tbs-wrong-key",
                      "the body carries another public key than the key that is asked "
                      "to sign it");
}

static int check_request(const struct kv_key *key, struct kv_der *at,
                         struct kv_err *err)
{
    struct kv_der_item version;
    struct kv_der_item subject;
    struct kv_der_item spki;
    struct kv_der_item attributes;
    if (!kv_der_take(at, KV_DER_INTEGER, &version) ||
        !kv_der_take(at, KV_DER_SEQUENCE, &subject) ||
        !kv_der_take(at, KV_DER_SEQUENCE, &spki) ||
        !kv_der_take(at, KV_DER_CONTEXT_0, &attributes) || kv_der_end(at) != 0 ||
        version.body.len != 1 || version.body.data[0] != 0)
        return bad_der(err, "CertificationRequestInfo");
    return check_spki(key, spki.whole, err);
}

static int check_self_signed(const struct kv_key *key, const struct signer *signer,
                             struct kv_der *at, struct kv_err *err)
{
    struct kv_der_item version;
    struct kv_der_item serial;
    struct kv_der_item algorithm;
    struct kv_der_item issuer;
    struct kv_der_item validity;
    struct kv_der_item subject;
    struct kv_der_item spki;
    struct kv_der_item extensions;
    static const uint8_t v3[] = {0x02, 0x01, 0x02};
    if (!kv_der_take(at, KV_DER_CONTEXT_0, &version) ||
        !is_same(version.body, (struct kv_bytes){v3, sizeof(v3)}) ||
        !kv_der_take(at, KV_DER_INTEGER, &serial) ||
        !kv_der_take(at, KV_DER_SEQUENCE, &algorithm) ||
        !kv_der_take(at, KV_DER_SEQUENCE, &issuer) ||
        !kv_der_take(at, KV_DER_SEQUENCE, &validity) ||
        !kv_der_take(at, KV_DER_SEQUENCE, &subject) ||
        !kv_der_take(at, KV_DER_SEQUENCE, &spki) ||
        !kv_der_take(at, KV_DER_CONTEXT_0 + 3, &extensions) || kv_der_end(at) != 0)
        return bad_der(err, "TBSCertificate of version 3 with extensions");
    if (!is_same(issuer.whole, subject.whole))
        return kv_err_set(err, KV_E_DENIED, "key.tbs-not-self-issued",
                          "issuer and subject of the certificate differ");
    struct kv_bytes ours = {.data = signer->algorithm, .len = signer->algorithm_len};
    if (!is_same(algorithm.whole, ours))
        return kv_err_set(err, KV_E_INVALID, "key.tbs-bad-algorithm",
                          "the signature algorithm inside the certificate is not the "
                          "one that is asked for");
    return check_spki(key, spki.whole, err);
}

/* Prepare the signature and learn the AlgorithmIdentifier that goes with it. */
static int prepare(struct kv_key *key, const struct kv_role_tbs *msg,
                   struct signer *signer, struct kv_err *err)
{
    bool has_md = kv_keys_md(msg->md) != NULL;
    bool needs_md = key->kty != KV_KTY_OKP;
    if (has_md != needs_md || msg->md == KV_MD_SHA1 ||
        (msg->is_pss != 0 && key->kty != KV_KTY_RSA))
        return kv_err_set(err, KV_E_INVALID, "key.tbs-bad-algorithm",
                          "digest %u%s does not fit this key", msg->md,
                          msg->is_pss != 0 ? " with PSS" : "");
    const char *name = has_md ? EVP_MD_get0_name(kv_keys_md(msg->md)) : NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID,
                                          signer->algorithm, ALGORITHM_MAX),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *pctx = NULL; /* belongs to signer->ctx */
    signer->ctx = EVP_MD_CTX_new();
    bool ok = signer->ctx != NULL &&
              EVP_DigestSignInit_ex(signer->ctx, &pctx, name, kv_keys_libctx(), NULL,
                                    key->pkey, NULL) == 1;
    if (ok && msg->is_pss != 0)
        ok = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1;
    ok = ok && EVP_PKEY_CTX_get_params(pctx, params) == 1 &&
         OSSL_PARAM_modified(&params[0]) == 1;
    signer->algorithm_len = params[0].return_size;
    if (ok && signer->algorithm_len > 0 && signer->algorithm_len <= ALGORITHM_MAX)
        return 0;
    return kv_err_set(err, KV_E_CRYPTO, "key.sign-failed",
                      "libcrypto could not prepare the signature");
}

/* Append tag and length. */
static void put_header(struct kv_buf *out, uint8_t tag, size_t len)
{
    uint8_t head[4] = {tag, (uint8_t)len, 0, 0};
    size_t head_len = 2;
    if (len >= 0x100) {
        head[1] = 0x82;
        head[2] = (uint8_t)(len >> 8);
        head[3] = (uint8_t)len;
        head_len = 4;
    } else if (len >= 0x80) {
        head[1] = 0x81;
        head[2] = (uint8_t)len;
        head_len = 3;
    }
    (void)kv_buf_append(out, head, head_len); /* sticky, checked at the end */
}

static size_t header_len(size_t len)
{
    return len >= 0x100 ? 4 : len >= 0x80 ? 3 : 2;
}

/* SEQUENCE { tbs, algorithm, BIT STRING signature } */
static int put_signed(const struct signer *signer, struct kv_bytes tbs,
                      struct kv_bytes signature, struct kv_buf *out)
{
    const uint8_t no_unused_bits = 0;
    size_t before = out->len;
    size_t bits_len = signature.len + 1;
    put_header(out, KV_DER_SEQUENCE,
               tbs.len + signer->algorithm_len + header_len(bits_len) + bits_len);
    (void)kv_buf_append(out, tbs.data, tbs.len);                        /* sticky */
    (void)kv_buf_append(out, signer->algorithm, signer->algorithm_len); /* sticky */
    put_header(out, 0x03, bits_len);
    (void)kv_buf_append(out, &no_unused_bits, 1);            /* sticky */
    (void)kv_buf_append(out, signature.data, signature.len); /* sticky */
    int rc = kv_buf_status(out);
    if (rc != 0)
        kv_buf_truncate(out, before);
    return rc;
}

/* libcrypto's own parser has a say, too: what it cannot read is not handed out. */
static bool is_readable(const struct kv_role_tbs *msg, struct kv_bytes der)
{
    const uint8_t *at = der.data;
    bool ok = false;
    if (msg->tbs == KV_TBS_CSR) {
        X509_REQ *req = d2i_X509_REQ(NULL, &at, (long)der.len);
        ok = req != NULL && at == der.data + der.len;
        X509_REQ_free(req);
    } else {
        X509 *cert = kv_key_read_cert(der);
        ok = cert != NULL;
        X509_free(cert);
    }
    return ok;
}

static int check_body(const struct kv_key *key, const struct signer *signer,
                      const struct kv_role_tbs *msg, struct kv_err *err)
{
    struct kv_der outer;
    struct kv_der inner;
    struct kv_der_item body;
    if (msg->der.len > TBS_MAX)
        return kv_err_set(err, KV_E_TOO_BIG, "key.tbs-too-big",
                          "the body has %zu bytes; at most %d are signed", msg->der.len,
                          TBS_MAX);
    kv_der_init(&outer, msg->der);
    if (!kv_der_take(&outer, KV_DER_SEQUENCE, &body) || kv_der_end(&outer) != 0)
        return bad_der(err, "DER sequence");
    kv_der_init(&inner, body.body);
    if (msg->tbs == KV_TBS_CSR)
        return check_request(key, &inner, err);
    if (msg->tbs == KV_TBS_SELF_SIGNED)
        return check_self_signed(key, signer, &inner, err);
    return kv_err_set(err, KV_E_INVALID, "key.tbs-bad-kind",
                      "%u is neither a request nor a self-issued certificate",
                      msg->tbs);
}

int kv_key_sign_tbs(struct kv_key *key, const struct kv_role_tbs *msg,
                    struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    struct signer signer = {.ctx = NULL};
    uint8_t signature[SIGNATURE_MAX];
    size_t signature_len = sizeof(signature);
    size_t before = out->len;
    KV_TRY(prepare(key, msg, &signer, err));
    KV_TRY(check_body(key, &signer, msg, err));
    if (EVP_DigestSign(signer.ctx, signature, &signature_len, msg->der.data,
                       msg->der.len) != 1) {
        rc = kv_err_set(err, KV_E_CRYPTO, "key.sign-failed",
                        "libcrypto could not make the signature");
        goto out;
    }
    KV_TRY(put_signed(&signer, msg->der,
                      (struct kv_bytes){.data = signature, .len = signature_len}, out));
    if (!is_readable(msg, (struct kv_bytes){.data = out->data + before,
                                            .len = out->len - before})) {
        kv_buf_truncate(out, before);
        rc = bad_der(err, "body that libcrypto can read");
    }
out:
    EVP_MD_CTX_free(signer.ctx);
    ERR_clear_error();
    return rc;
}
