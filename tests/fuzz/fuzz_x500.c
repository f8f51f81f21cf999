/*
 * Distinguished names. Input that begins with 0x30 is DER: what prints reads back as
 * the same Name (RFC 5280 §7.1). All else is text: what is accepted prints to a text
 * that reads back as the same Name, byte for byte from the second time on.
 */
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509.h>

#include "lifecycle/certs/x500.h"

#define DER_MAX 65536
#define TEXT_MAX (4 * KV_X500_TEXT_MAX)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct kv_bytes bytes_of(const struct kv_buf *buf)
{
    return (struct kv_bytes){buf->data, buf->len};
}

static bool is_same(struct kv_bytes a, struct kv_bytes b)
{
    const uint8_t *at_a = a.data;
    const uint8_t *at_b = b.data;
    X509_NAME *name_a = d2i_X509_NAME(NULL, &at_a, (long)a.len);
    X509_NAME *name_b = d2i_X509_NAME(NULL, &at_b, (long)b.len);
    KV_ASSERT(name_a != NULL && name_b != NULL);
    bool is = X509_NAME_cmp(name_a, name_b) == 0;
    X509_NAME_free(name_a);
    X509_NAME_free(name_b);
    return is;
}

/* The text of a Name that must have one; false when it is longer than can be read. */
static bool print(struct kv_bytes der, struct kv_buf *text)
{
    kv_buf_reset(text);
    int rc = kv_x500_print(der, text);
    KV_ASSERT(rc == 0);
    return text->len <= KV_X500_TEXT_MAX;
}

/* DER to text to DER, and once more: from then on byte for byte. */
static void check_der(struct kv_bytes der)
{
    struct kv_buf text;
    struct kv_buf der2;
    struct kv_buf der3;
    kv_buf_init(&text, TEXT_MAX);
    kv_buf_init(&der2, DER_MAX);
    kv_buf_init(&der3, DER_MAX);
    int rc = kv_x500_print(der, &text);
    KV_ASSERT(rc == 0 || text.len == 0);
    if (text.len > 0 && text.len <= KV_X500_TEXT_MAX) {
        rc = kv_x500_parse(kv_buf_cstr(&text), &der2, NULL);
        KV_ASSERT(rc == 0 && is_same(der, bytes_of(&der2)));
        if (print(bytes_of(&der2), &text)) {
            rc = kv_x500_parse(kv_buf_cstr(&text), &der3, NULL);
            KV_ASSERT(rc == 0 && der2.len == der3.len &&
                      memcmp(der2.data, der3.data, der2.len) == 0);
        }
    }
    kv_buf_free(&text);
    kv_buf_free(&der2);
    kv_buf_free(&der3);
}

static void check_text(const char *text)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf der;
    kv_buf_init(&der, DER_MAX);
    int rc = kv_x500_parse(text, &der, &err);
    if (rc == 0) {
        check_der(bytes_of(&der));
    } else {
        KV_ASSERT(rc == KV_E_INVALID && err.code == rc);
        KV_ASSERT(strcmp(err.id, "policy.bad-subject") == 0 && der.len == 0);
    }
    kv_buf_free(&der);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct kv_buf text;
    if (len > TEXT_MAX)
        return 0;
    if (len > 0 && data[0] == 0x30) {
        check_der((struct kv_bytes){data, len});
    } else {
        kv_buf_init(&text, TEXT_MAX + 1);
        KV_ASSERT(kv_buf_append(&text, data, len) == 0);
        check_text(kv_buf_cstr(&text));
        kv_buf_free(&text);
    }
    KV_ASSERT(ERR_peek_error() == 0);
    return 0;
}
