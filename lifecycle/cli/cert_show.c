/*
 * A bundle carries the certificate in `cer` and, from this project's API, the whole
 * chain in `x5c` (both standard base64 of DER). From another server of the contract
 * the chain is only in the certificate's secret, which is asked for as PEM; of that
 * only the certificates are used.
 */
#include "lifecycle/cli/cert_show.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "lifecycle/cli/io.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "store/core/b64.h"

#define CHAIN_MAX 32
#define DER_MAX 65536

static X509 *read_der(const char *text)
{
    struct kv_buf der;
    kv_buf_init(&der, DER_MAX);
    X509 *cert = NULL;
    if (kv_b64_decode(KV_B64_STD, text, strlen(text), &der) == 0 && der.len > 0) {
        const uint8_t *at = der.data;
        cert = d2i_X509(NULL, &at, (long)der.len);
    }
    ERR_clear_error();
    kv_buf_free(&der);
    return cert;
}

static int no_certificate(const json_t *bundle, struct kv_err *err)
{
    bool is_pending = json_object_get(bundle, "pending") != NULL &&
                      kv_json_text(bundle, "cer")[0] == '\0';
    if (!is_pending)
        return kv_err_set(err, KV_E_INVALID, "cli.bad-reply",
                          "the API's answer has no certificate that can be read");
    (void)kv_err_set(err, KV_E_STATE, "cli.cert-pending",
                     "the certificate has not been issued yet");
    kv_err_hint(err, "keyvault cert operation show NAME tells how it stands");
    return KV_E_STATE;
}

/* --- fields -------------------------------------------------------------------------
 */

static void print_name(const char *label, const X509_NAME *name)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    if (bio != NULL && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0 &&
        BIO_write(bio, "", 1) == 1 && BIO_get_mem_data(bio, &text) > 0)
        kv_object_print_field(label, text);
    BIO_free(bio);
}

static void print_names(const X509 *cert)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        BIO *bio = BIO_new(BIO_s_mem());
        char *text = NULL;
        if (bio != NULL &&
            GENERAL_NAME_print(bio, sk_GENERAL_NAME_value(names, i)) > 0 &&
            BIO_write(bio, "", 1) == 1 && BIO_get_mem_data(bio, &text) > 0)
            kv_object_print_field("name", text);
        BIO_free(bio);
    }
    GENERAL_NAMES_free(names);
}

static void print_fingerprint(const X509 *cert)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    char text[3 * EVP_MAX_MD_SIZE + 1] = "";
    if (X509_digest(cert, EVP_sha256(), digest, &len) != 1)
        return;
    for (unsigned i = 0; i < len; i++)
        (void)snprintf(text + 3 * (size_t)i, 4, "%02X%s", digest[i],
                       i + 1 < len ? ":" : "");
    kv_object_print_field("sha-256", text);
}

int kv_cert_print(const json_t *bundle, struct kv_err *err)
{
    const char *cer = kv_json_text(bundle, "cer");
    kv_object_print_common(bundle);
    if (cer[0] == '\0') {
        kv_object_print_field("state", "pending");
        return 0;
    }
    X509 *cert = read_der(cer);
    if (cert == NULL)
        return no_certificate(bundle, err);
    print_name("subject", X509_get_subject_name(cert));
    print_name("issuer", X509_get_issuer_name(cert));
    print_names(cert);
    print_fingerprint(cert);
    X509_free(cert);
    return 0;
}

/* --- PEM ----------------------------------------------------------------------------
 */

static int append_pem(struct kv_buf *out, X509 *cert)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    int rc = KV_E_NOMEM;
    if (bio != NULL && PEM_write_bio_X509(bio, cert) == 1) {
        long len = BIO_get_mem_data(bio, &text);
        rc = kv_buf_append(out, text, (size_t)len);
    }
    BIO_free(bio);
    return rc;
}

static int append_der(struct kv_buf *out, const char *text, const json_t *bundle,
                      struct kv_err *err)
{
    X509 *cert = read_der(text);
    if (cert == NULL)
        return no_certificate(bundle, err);
    int rc = append_pem(out, cert);
    X509_free(cert);
    return rc;
}

/* Append the certificates of PEM text, in their order. */
static int append_certificates(struct kv_buf *out, const char *text, size_t len)
{
    BIO *bio = BIO_new_mem_buf(text, (int)len);
    int rc = bio != NULL ? 0 : KV_E_NOMEM;
    for (int n = 0; rc == 0 && n < CHAIN_MAX; n++) {
        X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (cert == NULL)
            break;
        rc = append_pem(out, cert);
        X509_free(cert);
    }
    ERR_clear_error();
    BIO_free(bio);
    return rc;
}

static bool is_self_issued(const char *cer)
{
    X509 *cert = read_der(cer);
    bool is_self = cert != NULL && X509_NAME_cmp(X509_get_subject_name(cert),
                                                 X509_get_issuer_name(cert)) == 0;
    X509_free(cert);
    return is_self;
}

/* The chain from the secret of the same name and version. */
static int append_from_secret(struct kv_cli *cli, const json_t *bundle,
                              struct kv_buf *out, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    char name[128];
    const char *id = kv_json_text(bundle, "id");
    json_t *secret = NULL;
    kv_rest_id_name(id, name, sizeof(name));
    int n = snprintf(path, sizeof(path),
                     "/secrets/%s/%s?outContentType=application/x-pem-file", name,
                     kv_rest_id_version(id));
    int rc = n > 0 && (size_t)n < sizeof(path) ? 0 : KV_E_TOO_BIG;
    if (rc == 0)
        rc = kv_rest_call(cli, "GET", path, NULL, &secret, err);
    if (rc == 0)
        rc = append_certificates(out, kv_json_text(secret, "value"),
                                 json_string_length(json_object_get(secret, "value")));
    if (rc == 0 && out->len == 0)
        rc = no_certificate(bundle, err);
    json_decref(secret);
    return rc;
}

int kv_cert_print_pem(struct kv_cli *cli, const json_t *bundle, struct kv_err *err)
{
    const json_t *chain = json_object_get(bundle, "x5c");
    const char *cer = kv_json_text(bundle, "cer");
    struct kv_buf text;
    kv_buf_init(&text, 4 * (size_t)DER_MAX);
    int rc = 0;
    if (json_array_size(chain) > 0) {
        for (size_t i = 0; rc == 0 && i < json_array_size(chain); i++) {
            const char *der = json_string_value(json_array_get(chain, i));
            rc = append_der(&text, der != NULL ? der : "", bundle, err);
        }
    } else if (cer[0] == '\0' || is_self_issued(cer)) {
        rc = append_der(&text, cer, bundle, err);
    } else {
        rc = append_from_secret(cli, bundle, &text, err);
    }
    if (rc == 0)
        rc = kv_io_write(kv_cli_flag(cli, "out"), text.data, text.len, err);
    kv_buf_free(&text);
    return rc;
}
