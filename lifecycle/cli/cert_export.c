/*
 * keyvault cert export: certificate and private key for a program that cannot use the
 * vault.
 *
 * The API hands out the secret of the certificate: in PEM the private key and then the
 * chain, without a password. The password of --password-file is put on here, so that it
 * never travels. All memory on the way is wiped.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/cli/io.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "store/core/str.h"

#define PASSWORD_MAX 1024
#define PEM_QUERY "?outContentType=application/x-pem-file"

struct export
{
    const char *name;
    const char *password; /* NULL: none */
    bool is_pfx;
    EVP_PKEY *key;
    X509 *leaf;
    STACK_OF(X509) * chain; /* without the leaf */
};

static void export_fini(struct export *export)
{
    EVP_PKEY_free(export->key);
    X509_free(export->leaf);
    sk_X509_pop_free(export->chain, X509_free);
}

/* --- what the API has
 * ----------------------------------------------------------------- */

static int get_secret(struct kv_cli *cli, const char *name, json_t **out,
                      struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    const char *version = NULL;
    int rc = kv_cli_version(cli, &version, err);
    if (rc != 0)
        return rc;
    int n = snprintf(path, sizeof(path), "/secrets/%s/%s" PEM_QUERY, name, version);
    if (n < 0 || (size_t)n >= sizeof(path))
        return KV_E_TOO_BIG;
    return kv_rest_call(cli, "GET", path, NULL, out, err);
}

static int refuse_kept(const char *name, struct kv_err *err)
{
    (void)kv_err_set(err, KV_E_STATE, "cli.not-exportable",
                     "the private key of certificate %s does not leave the vault",
                     name);
    kv_err_hint(err,
                "keyvault cert show %s --pem prints the certificates, keyvault key "
                "uri-pem %s lets programs use the key where it is",
                name, name);
    return KV_E_STATE;
}

static int read_pem(struct export *export, const char *text, size_t len,
                    struct kv_err *err)
{
    BIO *bio = BIO_new_mem_buf(text, (int)len);
    export->chain = sk_X509_new_null();
    int rc = bio != NULL && export->chain != NULL ? 0 : KV_E_NOMEM;
    if (rc == 0)
        export->leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    for (X509 *cert = export->leaf; rc == 0 && cert != NULL;) {
        cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (cert != NULL && sk_X509_push(export->chain, cert) <= 0) {
            X509_free(cert);
            rc = KV_E_NOMEM;
        }
    }
    if (rc == 0 && export->leaf == NULL)
        rc = kv_err_set(err, KV_E_INVALID, "cli.bad-reply",
                        "the API's secret holds no certificate in PEM");
    if (rc == 0 && BIO_reset(bio) > 0)
        export->key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    if (rc == 0 && export->key == NULL)
        rc = refuse_kept(export->name, err);
    ERR_clear_error();
    BIO_free(bio);
    return rc;
}

/* --- what is written
 * -------------------------------------------------------------------- */

static int put_pfx(const struct export *export, BIO *bio)
{
    PKCS12 *pfx =
        PKCS12_create(export->password != NULL ? export->password : "", export->name,
                      export->key, export->leaf, export->chain, 0, 0, 0, 0, 0);
    bool is_good = pfx != NULL && i2d_PKCS12_bio(bio, pfx) == 1;
    PKCS12_free(pfx);
    return is_good ? 0 : KV_E_CRYPTO;
}

static int put_pem(const struct export *export, BIO *bio)
{
    const EVP_CIPHER *cipher = export->password != NULL ? EVP_aes_256_cbc() : NULL;
    int len = export->password != NULL ? (int)strlen(export->password) : 0;
    bool is_good =
        PEM_write_bio_PKCS8PrivateKey(bio, export->key, cipher, export->password, len,
                                      NULL, NULL) == 1;
    is_good = is_good && PEM_write_bio_X509(bio, export->leaf) == 1;
    for (int i = 0; is_good && i < sk_X509_num(export->chain); i++)
        is_good = PEM_write_bio_X509(bio, sk_X509_value(export->chain, i)) == 1;
    return is_good ? 0 : KV_E_CRYPTO;
}

static int write_out(const struct kv_cli *cli, const struct export *export,
                     struct kv_err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL;
    int rc = KV_E_NOMEM;
    if (bio != NULL)
        rc = export->is_pfx ? put_pfx(export, bio) : put_pem(export, bio);
    if (rc == 0) {
        long len = BIO_get_mem_data(bio, &data);
        rc = kv_io_write(kv_cli_flag(cli, "out"), data, (size_t)len, err);
    }
    ERR_clear_error();
    BIO_free(bio);
    return rc;
}

/* --- the command
 * ------------------------------------------------------------------------ */

static int read_format(const struct kv_cli *cli, struct export *export,
                       struct kv_err *err)
{
    const char *format = kv_cli_flag(cli, "format");
    export->is_pfx = format != NULL && kv_str_equal_nocase(format, "pfx");
    if (!export->is_pfx && (format == NULL || !kv_str_equal_nocase(format, "pem")))
        return kv_cli_bad(err, "--format is needed: pem or pfx");
    if (export->is_pfx && kv_cli_flag(cli, "out") == NULL && isatty(STDOUT_FILENO) == 1)
        return kv_cli_bad(err, "--out is needed: PFX is nothing for a terminal");
    return 0;
}

static int read_password(const struct kv_cli *cli, struct kv_buf *password,
                         struct export *export, struct kv_err *err)
{
    const char *file = kv_cli_flag(cli, "password-file");
    int rc = 0;
    if (file == NULL)
        return 0;
    KV_TRY(kv_io_read_line(file, password, err));
    export->password = kv_buf_cstr(password);
    if (password->len == 0 || export->password == NULL ||
        strlen(export->password) != password->len)
        rc = kv_cli_bad(err, "the file of --password-file holds no password");
out:
    return rc;
}

int kv_cert_export_run(struct kv_cli *cli, struct kv_err *err)
{
    struct export export = {0};
    struct kv_buf password;
    json_t *secret = NULL;
    int rc = 0;
    kv_buf_init_secret(&password, PASSWORD_MAX);
    KV_TRY(kv_cli_name(cli, &export.name, err));
    KV_TRY(read_format(cli, &export, err));
    KV_TRY(read_password(cli, &password, &export, err));
    KV_TRY(get_secret(cli, export.name, &secret, err));
    if (cli->invocation.as_json) {
        KV_TRY(kv_cli_print_json(secret, err));
        goto out;
    }
    KV_TRY(read_pem(&export, kv_json_text(secret, "value"),
                    json_string_length(json_object_get(secret, "value")), err));
    KV_TRY(write_out(cli, &export, err));
out:
    json_decref(secret);
    export_fini(&export);
    kv_buf_free(&password);
    return rc;
}
