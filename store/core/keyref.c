/*
 * DER of a key reference, written and read with libcrypto's ASN.1 primitives.
 *
 * The structure is one sequence of at most four fields, so it is taken apart by hand
 * with ASN1_get_object; each field's length is checked against what is left, and
 * indefinite lengths are refused.
 */
#include "store/core/keyref.h"

#include "store/core/str.h"

#include <openssl/asn1.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#define FORMAT_VERSION 1
#define PEM_MAX 8192

static const char *const key_types[] = {"RSA", "EC", "ED25519"};

static bool is_key_type(const char *text)
{
    for (size_t i = 0; i < sizeof(key_types) / sizeof(key_types[0]); i++) {
        if (strcmp(text, key_types[i]) == 0)
            return true;
    }
    return false;
}

bool kv_keyref_is_pinned(const struct kv_keyref *ref)
{
    return ref->uri.has_version && ref->spki_len > 0;
}

static int check(const struct kv_keyref *ref, struct kv_err *err)
{
    if (ref->uri.name[0] == '\0' || ref->uri.collection == KV_URI_CERTIFICATES)
        return kv_err_set(err, KV_E_INVALID, "keyref.not-a-key",
                          "a key file must name one key");
    if (ref->key_type[0] != '\0' && !is_key_type(ref->key_type))
        return kv_err_set(err, KV_E_INVALID, "keyref.bad-type",
                          "the key type of a key file is RSA, EC or ED25519");
    if (ref->spki_len > sizeof(ref->spki) ||
        (ref->spki_len > 0 && ref->key_type[0] == '\0'))
        return kv_err_set(err, KV_E_INVALID, "keyref.bad-type",
                          "a key file with a public key says its type");
    return 0;
}

/* Append tag, length and content. */
static void put(struct kv_buf *out, int tag, bool is_constructed, const void *data,
                size_t len)
{
    int total = ASN1_object_size(is_constructed, (int)len, tag);
    uint8_t *at = kv_buf_extend(out, total > 0 ? (size_t)total - len : 0);
    if (at == NULL || total <= 0)
        return;
    ASN1_put_object(&at, is_constructed, (int)len, tag, V_ASN1_UNIVERSAL);
    (void)kv_buf_append(out, data, len); /* the buffer's failure sticks */
}

int kv_keyref_encode(const struct kv_keyref *ref, struct kv_buf *out,
                     struct kv_err *err)
{
    static const uint8_t version = FORMAT_VERSION;
    char uri[KV_URI_MAX + 1];
    struct kv_buf body;
    int rc = 0;
    kv_buf_init(&body, KV_KEYREF_DER_MAX);
    KV_TRY(check(ref, err));
    if (kv_uri_format(&ref->uri, uri, sizeof(uri)) != 0) {
        rc = kv_err_set(err, KV_E_INVALID, "keyref.not-a-key",
                        "the URI of the key file cannot be written");
        goto out;
    }
    put(&body, V_ASN1_INTEGER, false, &version, 1);
    put(&body, V_ASN1_UTF8STRING, false, uri, strlen(uri));
    if (ref->key_type[0] != '\0')
        put(&body, V_ASN1_UTF8STRING, false, ref->key_type, strlen(ref->key_type));
    (void)kv_buf_append(&body, ref->spki, ref->spki_len); /* its failure sticks */
    rc = kv_buf_status(&body);
    if (rc == 0) {
        put(out, V_ASN1_SEQUENCE, true, body.data, body.len);
        rc = kv_buf_status(out);
    }
    if (rc != 0)
        rc = kv_err_set(err, rc, "keyref.too-big", "the key file grows too big");
out:
    kv_buf_free(&body);
    return rc;
}

int kv_keyref_encode_pem(const struct kv_keyref *ref, struct kv_buf *out,
                         struct kv_err *err)
{
    struct kv_buf der;
    BIO *mem = NULL;
    int rc = 0;
    kv_buf_init(&der, KV_KEYREF_DER_MAX);
    KV_TRY(kv_keyref_encode(ref, &der, err));
    mem = BIO_new(BIO_s_mem());
    char *text = NULL;
    if (mem == NULL ||
        PEM_write_bio(mem, KV_KEYREF_PEM_LABEL, "", der.data, (long)der.len) <= 0) {
        rc = kv_err_set(err, KV_E_NOMEM, "keyref.no-memory", "out of memory");
        goto out;
    }
    long len = BIO_get_mem_data(mem, &text);
    rc = len > PEM_MAX ? KV_E_TOO_BIG : kv_buf_append(out, text, (size_t)len);
    if (rc != 0)
        rc = kv_err_set(err, rc, "keyref.too-big", "the key file grows too big");
out:
    BIO_free(mem);
    kv_buf_free(&der);
    return rc;
}

/* What is left to read. */
struct rest {
    const uint8_t *at;
    size_t len;
};

/* Step over one element of that tag; `content` gets its value. False (and no step) if
 * the next element is another one or does not fit. */
static bool take(struct rest *in, int tag, struct rest *content)
{
    const uint8_t *at = in->at;
    long len = 0;
    int found_tag = 0;
    int found_class = 0;
    if (in->len == 0 || in->len > KV_KEYREF_DER_MAX)
        return false;
    int flags = ASN1_get_object(&at, &len, &found_tag, &found_class, (long)in->len);
    if ((flags & 0x80) != 0 || (flags & 1) != 0 || found_tag != tag ||
        found_class != V_ASN1_UNIVERSAL || len < 0)
        return false;
    size_t header_len = (size_t)(at - in->at);
    if ((size_t)len > in->len - header_len)
        return false;
    *content = (struct rest){.at = at, .len = (size_t)len};
    in->at = at + len;
    in->len -= header_len + (size_t)len;
    return true;
}

static bool take_type(struct rest *body, char *out, size_t out_size)
{
    struct rest text;
    if (!take(body, V_ASN1_UTF8STRING, &text))
        return true; /* optional */
    if (text.len == 0 || text.len >= out_size)
        return false;
    memcpy(out, text.at, text.len);
    out[text.len] = '\0';
    return true;
}

static bool take_spki(struct rest *body, struct kv_keyref *ref)
{
    const struct rest whole = *body;
    struct rest inner;
    if (!take(body, V_ASN1_SEQUENCE, &inner))
        return true; /* optional */
    size_t len = whole.len - body->len;
    if (len > sizeof(ref->spki))
        return false;
    memcpy(ref->spki, whole.at, len);
    ref->spki_len = len;
    return true;
}

/* Fill `ref` from the body of the outer sequence. */
static int parse_body(struct rest body, struct kv_keyref *ref, struct kv_err *err)
{
    struct rest field;
    if (!take(&body, V_ASN1_INTEGER, &field) || field.len < 1)
        return KV_E_INVALID;
    if (field.len != 1 || field.at[0] != FORMAT_VERSION)
        return kv_err_set(err, KV_E_INVALID, "keyref.version",
                          "the key file is of a format that this version cannot read");
    if (!take(&body, V_ASN1_UTF8STRING, &field))
        return KV_E_INVALID;
    int rc = kv_uri_parse((const char *)field.at, field.len, &ref->uri, err);
    if (rc != 0)
        return rc;
    if (!take_type(&body, ref->key_type, sizeof(ref->key_type)) ||
        !take_spki(&body, ref) || body.len != 0)
        return KV_E_INVALID;
    return check(ref, err);
}

int kv_keyref_decode(const uint8_t *der, size_t len, struct kv_keyref *out,
                     struct kv_err *err)
{
    struct kv_keyref ref = {0};
    struct rest in = {.at = der, .len = len};
    struct rest body;
    int rc = KV_E_INVALID;
    (void)ERR_set_mark(); /* a failed attempt leaves nothing in the caller's queue */
    if (take(&in, V_ASN1_SEQUENCE, &body) && in.len == 0)
        rc = parse_body(body, &ref, err);
    (void)ERR_pop_to_mark(); /* the mark is there */
    if (rc != 0)
        return kv_err_set(err, rc, "keyref.malformed",
                          "the key file is not a key reference");
    *out = ref;
    return 0;
}
