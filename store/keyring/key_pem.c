/*
 * PEM: exactly one private key, and whatever certificates lie beside it.
 *
 * Text around the blocks and blocks of other kinds (DH parameters, EC parameters)
 * are passed over, as every server does with such files. The old encryption inside
 * PEM headers hashes the password once with MD5 and is refused.
 */
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "store/core/str.h"
#include "store/keyring/key_internal.h"

#define BLOCKS_MAX 64

struct reader {
    struct kv_bytes password;
    struct kv_key *key;
    struct kv_key_certs *certs;
    struct kv_err *err;
};

static const char *const key_labels[] = {
    PEM_STRING_PKCS8INF,
    PEM_STRING_PKCS8,
    PEM_STRING_RSA,
    PEM_STRING_ECPRIVATEKEY,
};

static int read_key(struct reader *reader, const char *header, struct kv_bytes der)
{
    if (reader->key != NULL)
        return kv_err_set(reader->err, KV_E_INVALID, "key.import-many-keys",
                          "the file holds more than one private key");
    if (strstr(header, "ENCRYPTED") != NULL) {
        int rc = kv_err_set(reader->err, KV_E_UNSUPPORTED, "key.import-unsupported",
                            "the key is encrypted in the old PEM style");
        kv_err_hint(reader->err, "convert it with openssl pkcs8 -topk8");
        return rc;
    }
    return kv_key_read_der(der, reader->password, &reader->key, reader->err);
}

static int read_block(struct reader *reader, const char *label, const char *header,
                      struct kv_bytes der)
{
    static const char tail[] = "PRIVATE KEY";
    for (size_t i = 0; i < sizeof(key_labels) / sizeof(key_labels[0]); i++)
        if (strcmp(label, key_labels[i]) == 0)
            return read_key(reader, header, der);
    size_t len = strlen(label);
    if (len >= strlen(tail) && strcmp(label + len - strlen(tail), tail) == 0)
        return kv_err_set(reader->err, KV_E_UNSUPPORTED, "key.import-unsupported",
                          "PEM blocks \"%s\" are not served; expected PRIVATE KEY, "
                          "RSA PRIVATE KEY or EC PRIVATE KEY",
                          label);
    if (strcmp(label, PEM_STRING_X509) == 0 || strcmp(label, PEM_STRING_X509_OLD) == 0)
        return kv_key_certs_add(reader->certs, der, reader->err);
    return 0;
}

/* Read the next block. Returns 1 for one, 0 at the end, or a failure. */
static int next_block(struct reader *reader, BIO *bio)
{
    char *label = NULL;
    char *header = NULL;
    uint8_t *der = NULL;
    long len = 0;
    int rc = 0;
    if (PEM_read_bio_ex(bio, &label, &header, &der, &len, PEM_FLAG_SECURE) == 1) {
        rc = read_block(reader, label, header,
                        (struct kv_bytes){.data = der, .len = (size_t)len});
        rc = rc != 0 ? rc : 1;
    } else if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
        rc = kv_err_set(reader->err, KV_E_INVALID, "key.import-bad-pem",
                        "a PEM block is malformed or not finished");
    }
    OPENSSL_secure_free(label);
    OPENSSL_secure_free(header);
    OPENSSL_secure_clear_free(der, (size_t)len);
    ERR_clear_error();
    return rc;
}

int kv_key_read_pem(struct kv_bytes pem, struct kv_bytes password, struct kv_key **out,
                    struct kv_key_certs *certs, struct kv_err *err)
{
    int rc = 0;
    struct reader reader = {.password = password, .certs = certs, .err = err};
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    if (bio == NULL) {
        ERR_clear_error();
        return KV_E_NOMEM;
    }
    for (unsigned n = 0; n < BLOCKS_MAX; n++) {
        rc = next_block(&reader, bio);
        if (rc != 1)
            break;
    }
    BIO_free(bio);
    if (rc == 1)
        rc = kv_err_set(err, KV_E_INVALID, "key.import-bad-pem",
                        "the file holds more than %d PEM blocks", BLOCKS_MAX - 1);
    else if (rc == 0 && reader.key == NULL)
        rc = kv_err_set(err, KV_E_INVALID, "key.import-no-key",
                        "the file holds no PEM block with a private key");
    if (rc == 0)
        *out = reader.key;
    else
        kv_key_unref(reader.key);
    return rc;
}
