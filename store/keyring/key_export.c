/*
 * Keys on their way out, for rows that say exportable: PFX or PEM.
 *
 * PFX: AES-256-CBC under PBKDF2-HMAC-SHA256, MAC with HMAC-SHA256. PEM: PKCS#8 (plain,
 * or encrypted the same way when there is a password), then leaf and chain. The leaf
 * must carry the key: a file whose halves do not belong together is not made.
 */
#include <string.h>

#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

#include "store/core/b64.h"
#include "store/core/secret.h"
#include "store/keyring/key_internal.h"

#define ITERATIONS 100000     /* with a password */
#define ITERATIONS_EMPTY 2048 /* nothing to protect */
#define PEM_LINE 64
#define PKCS8_MAX 8192

struct chain {
    X509 *leaf;
    STACK_OF(X509) * rest;
};

static void chain_free(struct chain *chain)
{
    X509_free(chain->leaf);
    sk_X509_pop_free(chain->rest, X509_free);
}

static int chain_read(const struct kv_key *key, const struct kv_role_export *msg,
                      struct chain *chain, struct kv_err *err)
{
    chain->rest = sk_X509_new_null();
    if (chain->rest == NULL)
        return KV_E_NOMEM;
    for (uint16_t i = 0; i < msg->n_certs; i++) {
        X509 *cert = kv_key_read_cert(msg->cert[i]);
        if (cert == NULL)
            return kv_err_set(err, KV_E_INVALID, "key.export-bad-cert",
                              "certificate %u of the chain is malformed", i + 1U);
        if (i == 0) {
            chain->leaf = cert;
        } else if (sk_X509_push(chain->rest, cert) <= 0) {
            X509_free(cert);
            return KV_E_NOMEM;
        }
    }
    if (msg->n_certs > 0 && !kv_key_fits_cert(key, msg->cert[0]))
        return kv_err_set(err, KV_E_INVALID, "key.export-cert-mismatch",
                          "the first certificate does not carry the key");
    return 0;
}

static int failed(struct kv_err *err)
{
    return kv_err_set(err, KV_E_CRYPTO, "key.export-failed",
                      "libcrypto could not build the file");
}

static int iterations_for(const char *password)
{
    return password[0] != '\0' ? ITERATIONS : ITERATIONS_EMPTY;
}

static int export_pfx(struct kv_key *key, const struct chain *chain,
                      const char *password, struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    int iterations = iterations_for(password);
    int len = 0;
    uint8_t *at = NULL;
    PKCS12 *pfx = PKCS12_create_ex(password, NULL, key->pkey, chain->leaf, chain->rest,
                                   NID_aes_256_cbc, NID_aes_256_cbc, iterations, -1, 0,
                                   kv_keys_libctx(), NULL);
    if (pfx != NULL && PKCS12_set_mac(pfx, password, -1, NULL, 0, iterations,
                                      kv_keys_md(KV_MD_SHA256)) == 1)
        len = i2d_PKCS12(pfx, NULL);
    if (len <= 0) {
        rc = failed(err);
        goto out;
    }
    at = kv_buf_extend(out, (size_t)len);
    if (at == NULL)
        rc = kv_buf_status(out);
    else
        (void)i2d_PKCS12(pfx, &at); /* its length is known */
out:
    PKCS12_free(pfx);
    return rc;
}

/* Append one PEM block, the base64 of it without a look at the data in the timing. */
static int put_pem(struct kv_buf *out, const char *label, struct kv_bytes der)
{
    struct kv_buf text;
    kv_buf_init_secret(&text, kv_b64_encoded_len(KV_B64_STD, der.len));
    int rc = kv_b64_encode(KV_B64_STD, der.data, der.len, &text);
    if (rc != 0) {
        kv_buf_free(&text);
        return rc;
    }
    /* Failures stick to the buffer and are asked for once. */
    (void)kv_buf_append_str(out, "-----BEGIN ");
    (void)kv_buf_append_str(out, label);
    (void)kv_buf_append_str(out, "-----\n");
    for (size_t at = 0; at < text.len; at += PEM_LINE) {
        size_t len = text.len - at < PEM_LINE ? text.len - at : PEM_LINE;
        (void)kv_buf_append(out, text.data + at, len);
        (void)kv_buf_append_str(out, "\n");
    }
    (void)kv_buf_append_str(out, "-----END ");
    (void)kv_buf_append_str(out, label);
    (void)kv_buf_append_str(out, "-----\n");
    kv_buf_free(&text);
    return kv_buf_status(out);
}

/* EncryptedPrivateKeyInfo under PBES2. */
static int encrypt_pkcs8(struct kv_key *key, const char *password, struct kv_buf *out,
                         struct kv_err *err)
{
    X509_SIG *sealed = NULL;
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key->pkey);
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(kv_keys_libctx(), "AES-256-CBC", NULL);
    if (info != NULL && cipher != NULL)
        sealed = PKCS8_encrypt_ex(-1, cipher, password, -1, NULL, 0, ITERATIONS, info,
                                  kv_keys_libctx(), NULL);
    int len = sealed != NULL ? i2d_X509_SIG(sealed, NULL) : 0;
    uint8_t *at = len > 0 ? kv_buf_extend(out, (size_t)len) : NULL;
    if (at != NULL)
        (void)i2d_X509_SIG(sealed, &at); /* its length is known */
    PKCS8_PRIV_KEY_INFO_free(info);
    EVP_CIPHER_free(cipher);
    X509_SIG_free(sealed);
    return at != NULL ? 0 : failed(err);
}

static int export_pem(struct kv_key *key, const struct kv_role_export *msg,
                      const char *password, struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    bool is_encrypted = password[0] != '\0';
    struct kv_buf der;
    kv_buf_init_secret(&der, PKCS8_MAX);
    if (is_encrypted)
        KV_TRY(encrypt_pkcs8(key, password, &der, err));
    else
        KV_TRY(kv_key_to_pkcs8(key, &der));
    KV_TRY(put_pem(out, is_encrypted ? "ENCRYPTED PRIVATE KEY" : "PRIVATE KEY",
                   (struct kv_bytes){.data = der.data, .len = der.len}));
    for (uint16_t i = 0; i < msg->n_certs; i++)
        KV_TRY(put_pem(out, "CERTIFICATE", msg->cert[i]));
out:
    kv_buf_free(&der);
    return rc;
}

int kv_key_export(struct kv_key *key, const struct kv_role_export *msg,
                  struct kv_buf *out, struct kv_err *err)
{
    KV_ASSERT(out->is_secret && msg->n_certs <= KV_CHAIN_MAX);
    int rc = 0;
    size_t before = out->len;
    char password[KV_PASSWORD_MAX + 1] = "";
    struct chain chain = {.leaf = NULL};
    if (msg->password.len > KV_PASSWORD_MAX ||
        (msg->password.len > 0 &&
         memchr(msg->password.data, 0, msg->password.len) != NULL))
        return kv_err_set(err, KV_E_INVALID, "key.export-bad-password",
                          "the password is longer than %d bytes or holds a NUL",
                          KV_PASSWORD_MAX);
    if (msg->password.len > 0)
        memcpy(password, msg->password.data, msg->password.len);
    KV_TRY(chain_read(key, msg, &chain, err));
    if (msg->format == KV_EXPORT_PFX)
        rc = export_pfx(key, &chain, password, out, err);
    else if (msg->format == KV_EXPORT_PEM)
        rc = export_pem(key, msg, password, out, err);
    else
        rc = kv_err_set(err, KV_E_INVALID, "key.export-bad-format",
                        "%u is neither PFX nor PEM", msg->format);
out:
    if (rc != 0 && out->len > before)
        kv_buf_truncate(out, before);
    kv_wipe(password, sizeof(password));
    chain_free(&chain);
    ERR_clear_error();
    return rc;
}
