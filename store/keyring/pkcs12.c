/*
 * PFX (PKCS#12, RFC 7292): the MAC first, then the bags, all of it bounded.
 *
 *   PFX
 *    +- MAC (digest, salt, iterations) over the authenticated safe
 *    +- authenticated safe: contents, plain or encrypted
 *        +- bags: private key (plain or shrouded), certificate, others
 *
 * libcrypto parses the ASN.1, which costs no more than the input; every iteration
 * count goes through kv_pbe_spend before anything is derived from the password. A
 * PFX without a password exists in two spellings (none and empty); the MAC tells.
 * Bags within bags are refused: nobody writes them, and they would want recursion.
 */
#include <string.h>

#include <openssl/err.h>
#include <openssl/pkcs12.h>

#include "store/core/secret.h"
#include "store/keyring/key_internal.h"
#include "store/keyring/pbe.h"

#define BAGS_MAX 64
#define SAFE_MAX KV_IMPORT_MAX

struct reader {
    struct kv_pbe pbe;
    unsigned n_bags;
    unsigned n_keys;
    struct kv_buf pkcs8; /* secret */
    struct kv_key_certs *certs;
    struct kv_err *err;
};

static int bad_pfx(struct kv_err *err, const char *text)
{
    return kv_err_set(err, KV_E_INVALID, "key.import-bad-pfx", "%s", text);
}

static int read_key_der(struct reader *reader, const PKCS8_PRIV_KEY_INFO *info)
{
    int len = i2d_PKCS8_PRIV_KEY_INFO(info, NULL);
    uint8_t *at = len > 0 ? kv_buf_extend(&reader->pkcs8, (size_t)len) : NULL;
    if (at == NULL || i2d_PKCS8_PRIV_KEY_INFO(info, &at) != len)
        return bad_pfx(reader->err, "the key of the PFX is malformed");
    return 0;
}

static int read_key_bag(struct reader *reader, const PKCS12_SAFEBAG *bag)
{
    if (++reader->n_keys > 1)
        return kv_err_set(reader->err, KV_E_INVALID, "key.import-many-keys",
                          "the PFX holds more than one private key");
    if (PKCS12_SAFEBAG_get_nid(bag) == NID_keyBag)
        return read_key_der(reader, PKCS12_SAFEBAG_get0_p8inf(bag));
    const X509_ALGOR *algorithm = NULL;
    const ASN1_OCTET_STRING *sealed = NULL;
    X509_SIG_get0(PKCS12_SAFEBAG_get0_pkcs8(bag), &algorithm, &sealed);
    return kv_pbe_decrypt(&reader->pbe, algorithm, sealed, &reader->pkcs8, reader->err);
}

static int read_cert_bag(struct reader *reader, const PKCS12_SAFEBAG *bag)
{
    if (PKCS12_SAFEBAG_get_bag_nid(bag) != NID_x509Certificate)
        return 0;
    uint8_t *der = NULL;
    X509 *cert = PKCS12_SAFEBAG_get1_cert(bag);
    int len = cert != NULL ? i2d_X509(cert, &der) : 0;
    struct kv_bytes bytes = {.data = der, .len = len > 0 ? (size_t)len : 0};
    int rc = kv_key_certs_add(reader->certs, bytes, reader->err);
    OPENSSL_free(der);
    X509_free(cert);
    return rc;
}

static int read_bag(struct reader *reader, const PKCS12_SAFEBAG *bag)
{
    if (++reader->n_bags > BAGS_MAX)
        return kv_err_set(reader->err, KV_E_INVALID, "key.import-many-bags",
                          "the PFX holds more than %d bags", BAGS_MAX);
    switch (PKCS12_SAFEBAG_get_nid(bag)) {
    case NID_keyBag:
    case NID_pkcs8ShroudedKeyBag:
        return read_key_bag(reader, bag);
    case NID_certBag:
        return read_cert_bag(reader, bag);
    case NID_safeContentsBag:
        return bad_pfx(reader->err, "the PFX nests bags within bags");
    default:
        return 0; /* CRLs, secrets and what others invent */
    }
}

static int read_bags(struct reader *reader, const STACK_OF(PKCS12_SAFEBAG) * bags)
{
    for (int i = 0; i < sk_PKCS12_SAFEBAG_num(bags); i++) {
        int rc = read_bag(reader, sk_PKCS12_SAFEBAG_value(bags, i));
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Open encrypted contents; NULL with the failure in `rc`. */
static STACK_OF(PKCS12_SAFEBAG) *
    open_encrypted(struct reader *reader, const PKCS7 *content, int *rc)
{
    struct kv_buf plain;
    STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
    const PKCS7_ENCRYPT *encrypted = content->d.encrypted;
    const PKCS7_ENC_CONTENT *inner = encrypted != NULL ? encrypted->enc_data : NULL;
    kv_buf_init_secret(&plain, SAFE_MAX);
    if (inner == NULL || inner->enc_data == NULL || inner->algorithm == NULL) {
        *rc = bad_pfx(reader->err, "encrypted contents of the PFX are missing");
    } else {
        *rc = kv_pbe_decrypt(&reader->pbe, inner->algorithm, inner->enc_data, &plain,
                             reader->err);
    }
    if (*rc == 0) {
        const uint8_t *at = plain.data;
        bags = (STACK_OF(PKCS12_SAFEBAG) *)ASN1_item_d2i(
            NULL, &at, (long)plain.len, ASN1_ITEM_rptr(PKCS12_SAFEBAGS));
        if (bags == NULL)
            *rc = bad_pfx(reader->err, "encrypted contents of the PFX are malformed");
    }
    kv_buf_free(&plain);
    return bags;
}

static int read_content(struct reader *reader, PKCS7 *content)
{
    int rc = 0;
    STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
    if (PKCS7_type_is_data(content)) {
        bags = PKCS12_unpack_p7data(content);
        if (bags == NULL)
            rc = bad_pfx(reader->err, "plain contents of the PFX are malformed");
    } else if (PKCS7_type_is_encrypted(content)) {
        bags = open_encrypted(reader, content, &rc);
    } else {
        rc = kv_err_set(reader->err, KV_E_UNSUPPORTED, "key.import-unsupported",
                        "contents of the PFX are encrypted for a certificate");
    }
    if (rc == 0)
        rc = read_bags(reader, bags);
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    return rc;
}

static bool is_mac_digest(const X509_ALGOR *algorithm)
{
    const ASN1_OBJECT *oid = NULL;
    X509_ALGOR_get0(&oid, NULL, NULL, algorithm);
    switch (OBJ_obj2nid(oid)) {
    case NID_sha1:
    case NID_sha224:
    case NID_sha256:
    case NID_sha384:
    case NID_sha512:
        return true;
    default:
        return false;
    }
}

static int bad_password(struct kv_err *err)
{
    return kv_err_set(err, KV_E_INVALID, "key.import-bad-password",
                      "the password does not open the file, or it is damaged");
}

/* Verify the MAC with the present password, which costs its iterations each time.
 * Returns 0, 1 when it does not verify, or a failure. */
static int try_mac(struct reader *reader, PKCS12 *pfx, const ASN1_INTEGER *iterations)
{
    const struct kv_bytes *password = &reader->pbe.password;
    if (iterations != NULL) { /* absent means 1 */
        int rc = kv_pbe_spend(&reader->pbe, iterations, reader->err);
        if (rc != 0)
            return rc;
    }
    int ok = PKCS12_verify_mac(pfx, (const char *)password->data, (int)password->len);
    return ok == 1 ? 0 : 1;
}

/* Verify the MAC and settle which spelling of "no password" the file uses. */
static int check_mac(struct reader *reader, PKCS12 *pfx)
{
    static const uint8_t empty[1] = "";
    const X509_ALGOR *algorithm = NULL;
    const ASN1_INTEGER *iterations = NULL;
    if (PKCS12_mac_present(pfx) != 1)
        return kv_err_set(reader->err, KV_E_INVALID, "key.import-pfx-no-mac",
                          "the PFX has no MAC, so nobody knows who changed it");
    PKCS12_get0_mac(NULL, &algorithm, NULL, &iterations, pfx);
    if (!is_mac_digest(algorithm))
        return kv_err_set(reader->err, KV_E_UNSUPPORTED, "key.import-unsupported",
                          "the MAC of the PFX uses no SHA-1 or SHA-2 digest");
    struct kv_bytes *password = &reader->pbe.password;
    if (password->len == 0)
        *password = (struct kv_bytes){.data = empty, .len = 0};
    int rc = try_mac(reader, pfx, iterations);
    if (rc != 1 || password->len > 0)
        return rc == 1 ? bad_password(reader->err) : rc;
    *password = (struct kv_bytes){.data = NULL, .len = 0};
    rc = try_mac(reader, pfx, iterations);
    return rc == 1 ? bad_password(reader->err) : rc;
}

static int read_safe(struct reader *reader, PKCS12 *pfx)
{
    int rc = 0;
    STACK_OF(PKCS7) *contents = PKCS12_unpack_authsafes(pfx);
    if (contents == NULL)
        return bad_pfx(reader->err, "the authenticated safe of the PFX is malformed");
    if (sk_PKCS7_num(contents) > BAGS_MAX)
        rc = kv_err_set(reader->err, KV_E_INVALID, "key.import-many-bags",
                        "the PFX holds more than %d contents", BAGS_MAX);
    for (int i = 0; rc == 0 && i < sk_PKCS7_num(contents); i++)
        rc = read_content(reader, sk_PKCS7_value(contents, i));
    sk_PKCS7_pop_free(contents, PKCS7_free);
    if (rc == 0 && reader->n_keys == 0)
        rc = kv_err_set(reader->err, KV_E_INVALID, "key.import-no-key",
                        "the PFX holds no private key");
    return rc;
}

int kv_key_read_pfx(struct kv_bytes pfx, struct kv_bytes password, struct kv_key **out,
                    struct kv_key_certs *certs, struct kv_err *err)
{
    int rc = 0;
    const uint8_t *at = pfx.data;
    struct reader reader = {.pbe = {.password = password, .budget = KV_PBE_BUDGET},
                            .certs = certs,
                            .err = err};
    kv_buf_init_secret(&reader.pkcs8, KV_IMPORT_MAX);
    PKCS12 *p12 = PKCS12_init_ex(NID_pkcs7_data, kv_keys_libctx(), NULL);
    if (p12 == NULL) {
        rc = KV_E_NOMEM;
        goto out;
    }
    if (d2i_PKCS12(&p12, &at, (long)pfx.len) == NULL || at != pfx.data + pfx.len) {
        rc = bad_pfx(err, "the bytes are no PFX (PKCS#12), or something follows it");
        goto out;
    }
    KV_TRY(check_mac(&reader, p12));
    KV_TRY(read_safe(&reader, p12));
    rc = kv_key_from_pkcs8(
        (struct kv_bytes){.data = reader.pkcs8.data, .len = reader.pkcs8.len}, out,
        err);
out:
    PKCS12_free(p12);
    kv_buf_free(&reader.pkcs8);
    ERR_clear_error();
    return rc;
}
