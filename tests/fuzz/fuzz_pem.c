/*
 * The PEM reader against libcrypto's: what libcrypto takes for a block with our label
 * and without headers we take too, with the same content; the reader always goes on to
 * the end; a refusal says why.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#include "provider/pem.h"
#include "store/core/keyref.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Whether libcrypto finds our block first, and what is in it. */
static bool find_by_libcrypto(const uint8_t *data, size_t len, unsigned char **der,
                              long *der_len)
{
    char *label = NULL;
    char *header = NULL;
    BIO *bio = BIO_new_mem_buf(data, (int)len);
    bool is_ours = PEM_read_bio(bio, &label, &header, der, der_len) == 1 &&
                   strcmp(label, KV_KEYREF_PEM_LABEL) == 0 && header[0] == '\0';
    OPENSSL_free(label);
    OPENSSL_free(header);
    BIO_free(bio);
    ERR_clear_error();
    return is_ours;
}

/* Whether the block is written as libcrypto writes it, and is the only one with our
 * label: when it reads, it passes over much that nobody writes. */
static bool is_plain(const uint8_t *data, size_t len, const unsigned char *der,
                     long der_len)
{
    static const char label[] = KV_KEYREF_PEM_LABEL;
    char *text = NULL;
    unsigned n_labels = 0;
    BIO *out = BIO_new(BIO_s_mem());
    (void)PEM_write_bio(out, label, "", der, der_len);
    const long text_len = BIO_get_mem_data(out, &text);
    const bool is_there =
        text_len > 0 && memmem(data, len, text, (size_t)text_len) != NULL;
    BIO_free(out);
    for (size_t i = 0; i + strlen(label) <= len; i++)
        n_labels += memcmp(data + i, label, strlen(label)) == 0;
    return is_there && n_labels == 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    unsigned char *theirs = NULL;
    long theirs_len = 0;
    struct kv_buf der;
    if (len > 20000)
        return 0;
    kv_buf_init(&der, KV_KEYREF_DER_MAX);
    BIO *bio = BIO_new_mem_buf(data, (int)len);
    bool is_first = true;
    while (is_first || BIO_eof(bio) == 0) {
        struct kv_err err = KV_ERR_INIT;
        const size_t left = BIO_ctrl_pending(bio);
        kv_buf_reset(&der);
        const int rc = kv_pem_read(bio, &der, &err);
        KV_ASSERT(len == 0 || BIO_ctrl_pending(bio) < left);
        KV_ASSERT(rc == 1 || der.len == 0);
        KV_ASSERT(rc >= 0 || (err.code == rc && strncmp(err.id, "keyref.", 7) == 0));
        if (is_first && find_by_libcrypto(data, len, &theirs, &theirs_len) &&
            is_plain(data, len, theirs, theirs_len)) {
            KV_ASSERT(rc == (theirs_len > KV_KEYREF_DER_MAX ? KV_E_TOO_BIG : 1));
            KV_ASSERT(rc != 1 || (der.len == (size_t)theirs_len &&
                                  memcmp(der.data, theirs, der.len) == 0));
        }
        is_first = false;
    }
    KV_ASSERT(ERR_peek_error() == 0);
    OPENSSL_free(theirs);
    kv_buf_free(&der);
    BIO_free(bio);
    return 0;
}
