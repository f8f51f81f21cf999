/*
 * Build the TBSCertificate that the order's own key will sign.
 *
 * libcrypto has no call for "a certificate body without a signature", so an X509 is
 * filled in, the inner signature algorithm is set by hand from the key type, and only
 * the body is encoded. The signer (the keyring) checks the body again and adds the
 * outer algorithm and the signature.
 */
#include "plugins/self/tbs.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>
#include <time.h>

#include "plugins/self/extensions.h"

#define KV_SELF_SKEW_S 600
#define KV_SELF_MONTHS_MAX 1200
#define KV_SELF_HOURS_MAX 876000
#define KV_SELF_MAX_S                                                                  \
    INT64_C(253402300799) /* 9999-12-31T23:59:59Z, RFC 5280 §4.1.2.5 */
#define KV_SELF_CSR_MAX 65536

static int add_months(int64_t from_s, int64_t months, int64_t *out)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    time_t from = (time_t)from_s;
    struct tm tm;

    if (gmtime_r(&from, &tm) == NULL)
        return KV_E_INVALID;
    int total = tm.tm_mon + (int)months;
    tm.tm_year += total / 12;
    tm.tm_mon = total % 12;
    int year = tm.tm_year + 1900;
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    int last = days[tm.tm_mon] + (tm.tm_mon == 1 && is_leap ? 1 : 0);
    if (tm.tm_mday > last)
        tm.tm_mday = last;
    *out = (int64_t)timegm(&tm);
    return 0;
}

int kv_self_life(int64_t now_s, int64_t months, int64_t hours, struct kv_self_life *out,
                 struct kv_err *err)
{
    struct kv_self_life life = {0};
    int rc = 0;
    bool is_given = hours != 0 ? hours >= 1 && hours <= KV_SELF_HOURS_MAX
                               : months >= 1 && months <= KV_SELF_MONTHS_MAX;

    if (now_s < 0 || now_s > KV_SELF_MAX_S || !is_given)
        rc = KV_E_INVALID;
    else if (hours != 0)
        life.not_after_s = now_s + hours * 3600;
    else
        rc = add_months(now_s, months, &life.not_after_s);
    if (rc != 0 || life.not_after_s > KV_SELF_MAX_S)
        return kv_err_set(err, KV_E_INVALID, "self.bad-validity",
                          "the validity must be 1 to %d months or 1 to %d hours and "
                          "end before the year 10000",
                          KV_SELF_MONTHS_MAX, KV_SELF_HOURS_MAX);
    life.not_before_s = now_s - KV_SELF_SKEW_S;
    *out = life;
    return 0;
}

bool kv_self_life_is_sound(const struct kv_self_life *life)
{
    return life->not_before_s >= -KV_SELF_SKEW_S &&
           life->not_before_s < life->not_after_s && life->not_after_s <= KV_SELF_MAX_S;
}

/* The signature algorithm that goes with a key; its digest is the curve's size. */
static int signature_nid(EVP_PKEY *key)
{
    int bits = EVP_PKEY_get_bits(key);

    if (EVP_PKEY_is_a(key, "RSA"))
        return NID_sha256WithRSAEncryption;
    if (EVP_PKEY_is_a(key, "ED25519"))
        return NID_ED25519;
    if (!EVP_PKEY_is_a(key, "EC"))
        return NID_undef;
    if (bits > 384)
        return NID_ecdsa_with_SHA512;
    return bits > 256 ? NID_ecdsa_with_SHA384 : NID_ecdsa_with_SHA256;
}

static int set_algorithm(X509 *cert, EVP_PKEY *key)
{
    int nid = signature_nid(key);
    /* RFC 4055 §5: RSA has NULL parameters; RFC 5758 §3.2, RFC 8410 §3: absent. */
    int type = nid == NID_sha256WithRSAEncryption ? V_ASN1_NULL : V_ASN1_UNDEF;
    X509_ALGOR *inner = (X509_ALGOR *)(uintptr_t)X509_get0_tbs_sigalg(cert);

    if (nid == NID_undef)
        return -1;
    return X509_ALGOR_set0(inner, OBJ_nid2obj(nid), type, NULL) == 1 ? 0 : -1;
}

static int set_serial(X509 *cert, const uint8_t serial[16])
{
    uint8_t bytes[16];

    memcpy(bytes, serial, sizeof(bytes));
    bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40); /* positive, always 16 octets */
    BIGNUM *bn = BN_bin2bn(bytes, sizeof(bytes), NULL);
    int ok = bn != NULL && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert)) != NULL;
    BN_free(bn);
    return ok ? 0 : -1;
}

static int fill(X509 *cert, X509_REQ *req, EVP_PKEY *key,
                const struct kv_self_life *life)
{
    X509_NAME *subject = X509_REQ_get_subject_name(req);

    if (X509_set_version(cert, X509_VERSION_3) != 1 ||
        X509_set_subject_name(cert, subject) != 1 ||
        X509_set_issuer_name(cert, subject) != 1 || X509_set_pubkey(cert, key) != 1 ||
        ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)life->not_before_s) == NULL ||
        ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)life->not_after_s) == NULL)
        return -1;
    return 0;
}

static int put_body(X509 *cert, struct kv_buf *out, struct kv_err *err)
{
    uint8_t *der = NULL;
    int len = i2d_re_X509_tbs(cert, &der);
    int rc = 0;

    if (len <= 0)
        rc = kv_err_set(err, KV_E_INVALID, "self.bad-csr",
                        "the certificate request has names that cannot be encoded");
    else if (len > KV_SELF_TBS_MAX)
        rc = kv_err_set(err, KV_E_TOO_BIG, "self.too-big",
                        "the certificate would have %d bytes before its signature; at "
                        "most %d are signed",
                        len, KV_SELF_TBS_MAX);
    else
        rc = kv_buf_append(out, der, (size_t)len);
    OPENSSL_free(der);
    return rc;
}

/* The request, when it is one and is signed by its own key. */
static X509_REQ *read_csr(const uint8_t *csr, size_t csr_len)
{
    const uint8_t *at = csr;
    X509_REQ *req =
        csr_len > KV_SELF_CSR_MAX ? NULL : d2i_X509_REQ(NULL, &at, (long)csr_len);
    EVP_PKEY *key = req != NULL ? X509_REQ_get0_pubkey(req) : NULL;

    if (key != NULL && at == csr + csr_len && X509_REQ_verify(req, key) == 1)
        return req;
    X509_REQ_free(req);
    return NULL;
}

/* Empties libcrypto's error queue; whether it says that memory ran out. */
static bool take_out_of_memory(void)
{
    bool is_out = false;

    for (unsigned long e = ERR_get_error(); e != 0; e = ERR_get_error())
        is_out = is_out || ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE;
    return is_out;
}

int kv_self_tbs(const uint8_t *csr, size_t csr_len, const struct kv_self_life *life,
                const uint8_t serial[16], struct kv_buf *out, struct kv_err *err)
{
    struct kv_err why = KV_ERR_INIT;
    X509_REQ *req = read_csr(csr, csr_len);
    EVP_PKEY *key = req != NULL ? X509_REQ_get0_pubkey(req) : NULL;
    X509 *cert = X509_new();
    int rc = 0;

    if (req == NULL) {
        rc = kv_err_set(&why, KV_E_INVALID, "self.bad-csr",
                        "the certificate request is not PKCS#10 signed by its own key");
        goto out;
    }
    if (cert == NULL || set_algorithm(cert, key) != 0) {
        rc = kv_err_set(&why, KV_E_UNSUPPORTED, "self.bad-key",
                        "no signature algorithm for a key of type %s",
                        EVP_PKEY_get0_type_name(key));
        goto out;
    }
    if (fill(cert, req, key, life) != 0 || set_serial(cert, serial) != 0) {
        rc = kv_err_set(&why, KV_E_INVALID, "self.bad-csr",
                        "the certificate request has names that cannot be encoded");
        goto out;
    }
    KV_TRY(kv_self_extensions(req, cert, &why));
    rc = put_body(cert, out, &why);
out:
    X509_free(cert);
    X509_REQ_free(req);
    if (take_out_of_memory() && rc != 0)
        return KV_E_NOMEM;
    if (err != NULL && err->code == 0)
        *err = why;
    return rc;
}
