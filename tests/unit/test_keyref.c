#include "store/core/keyref.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>

TestSuite(keyref, .timeout = 20);

#define URI "keyvault:///keys/web/00112233445566778899aabbccddeeff"

static void fill(struct kv_keyref *ref, const char *uri, const char *type)
{
    *ref = (struct kv_keyref){.spki_len = 0};
    cr_assert_eq(kv_uri_parse(uri, strlen(uri), &ref->uri, NULL), 0);
    strcpy(ref->key_type, type);
}

static void add_spki(struct kv_keyref *ref)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    unsigned char *at = ref->spki;
    int len = i2d_PUBKEY(pkey, &at);
    cr_assert_gt(len, 0);
    ref->spki_len = (size_t)len;
    EVP_PKEY_free(pkey);
}

static void encode(const struct kv_keyref *ref, struct kv_buf *der)
{
    kv_buf_init(der, KV_KEYREF_DER_MAX);
    cr_assert_eq(kv_keyref_encode(ref, der, NULL), 0);
}

Test(keyref, pinned_reference_comes_back)
{
    struct kv_keyref ref;
    struct kv_keyref back;
    struct kv_buf der;
    fill(&ref, URI, "EC");
    add_spki(&ref);
    encode(&ref, &der);
    cr_assert_eq(kv_keyref_decode(der.data, der.len, &back, NULL), 0);
    cr_assert(kv_keyref_is_pinned(&back));
    cr_assert_str_eq(back.uri.name, "web");
    cr_assert_str_eq(back.key_type, "EC");
    cr_assert_eq(back.spki_len, ref.spki_len);
    cr_assert_arr_eq(back.spki, ref.spki, ref.spki_len);
    cr_assert_arr_eq(back.uri.version, ref.uri.version, KV_ID_LEN);
    kv_buf_free(&der);
}

Test(keyref, following_reference_is_not_pinned)
{
    static const char *const uris[] = {"keyvault:///keys/web", "keyvault:web"};
    for (size_t i = 0; i < 2; i++) {
        struct kv_keyref ref;
        struct kv_keyref back;
        struct kv_buf der;
        fill(&ref, uris[i], "");
        encode(&ref, &der);
        cr_assert_eq(kv_keyref_decode(der.data, der.len, &back, NULL), 0);
        cr_assert_not(kv_keyref_is_pinned(&back));
        cr_assert_eq(back.spki_len, 0);
        cr_assert_str_eq(back.key_type, "");
        kv_buf_free(&der);
    }
}

Test(keyref, bytes_are_stable)
{
    static const uint8_t expected[] = {0x30, 0x1a, 0x02, 0x01, 0x01, 0x0c, 0x0f, 'k',
                                       'e',  'y',  'v',  'a',  'u',  'l',  't',  ':',
                                       'w',  'e',  'b',  '-',  'a',  'b',  0x0c, 0x04};
    struct kv_keyref ref;
    struct kv_buf der;
    fill(&ref, "keyvault:web-ab", "RSA");
    encode(&ref, &der);
    cr_assert_eq(der.len, 2 + 3 + 2 + 15 + 2 + 3);
    cr_assert_arr_eq(der.data + 2, expected + 2, 20);
    cr_assert_eq(der.data[1], der.len - 2);
    kv_buf_free(&der);
}

Test(keyref, every_truncation_and_extension_is_refused)
{
    struct kv_keyref ref;
    struct kv_keyref back = {.spki_len = 77};
    struct kv_buf der;
    fill(&ref, URI, "EC");
    add_spki(&ref);
    encode(&ref, &der);
    for (size_t len = 0; len < der.len; len++)
        cr_assert_eq(kv_keyref_decode(der.data, len, &back, NULL), KV_E_INVALID);
    cr_assert_eq(kv_buf_append(&der, "\0", 1), 0);
    cr_assert_eq(kv_keyref_decode(der.data, der.len, &back, NULL), KV_E_INVALID);
    cr_assert_eq(back.spki_len, 77, "out is untouched on failure");
    kv_buf_free(&der);
}

static const struct refused {
    const char *why;
    const char *hex;
    const char *id;
} refused[] = {
    {"empty", "", "keyref.malformed"},
    {"not a sequence", "0400", "keyref.malformed"},
    {"indefinite length", "3080020101", "keyref.malformed"},
    {"version 2", "30110201020c0c6b65797661756c743a776562", "keyref.version"},
    {"version of two bytes", "3012020200010c0c6b65797661756c743a776562",
     "keyref.version"},
    {"no URI", "3003020101", "keyref.malformed"},
    {"URI of another scheme", "300e0201010c09706b637331313a6162", "uri.bad-scheme"},
    {"key type unknown", "30150201010c0c6b65797661756c743a7765620c024448",
     "keyref.bad-type"},
    {"key type empty", "30130201010c0c6b65797661756c743a7765620c00",
     "keyref.malformed"},
    {"public key without type", "30130201010c0c6b65797661756c743a7765623000",
     "keyref.bad-type"},
    {"a certificate", NULL, "keyref.not-a-key"},
    {"a listing", "300e0201010c096b65797661756c743a", "keyref.not-a-key"},
};

static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned value = 0;
        cr_assert_eq(sscanf(hex + 2 * i, "%2x", &value), 1);
        out[i] = (uint8_t)value;
    }
    return n;
}

ParameterizedTestParameters(keyref, refuses)
{
    static size_t rows[sizeof(refused) / sizeof(refused[0])];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        rows[i] = i;
    return cr_make_param_array(size_t, rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(size_t *row, keyref, refuses, .timeout = 20)
{
    const struct refused *r = &refused[*row];
    struct kv_keyref back;
    struct kv_err err = KV_ERR_INIT;
    uint8_t der[128];
    size_t len = 0;
    if (r->hex == NULL) {
        static const char uri[] = "keyvault:certificates/web";
        der[0] = 0x30;
        der[1] = (uint8_t)(5 + sizeof(uri) - 1);
        memcpy(der + 2, "\x02\x01\x01\x0c", 4);
        der[6] = (uint8_t)(sizeof(uri) - 1);
        memcpy(der + 7, uri, sizeof(uri) - 1);
        len = 7 + sizeof(uri) - 1;
    } else {
        len = from_hex(r->hex, der);
    }
    cr_assert_eq(kv_keyref_decode(der, len, &back, &err), KV_E_INVALID, "%s", r->why);
    cr_assert_str_eq(err.id, r->id, "%s: %s", r->why, err.id);
}

Test(keyref, pem_has_the_label_and_parses)
{
    struct kv_keyref ref;
    struct kv_buf pem;
    fill(&ref, URI, "EC");
    add_spki(&ref);
    kv_buf_init(&pem, 8192);
    cr_assert_eq(kv_keyref_encode_pem(&ref, &pem, NULL), 0);
    const char *text = kv_buf_cstr(&pem);
    cr_assert_eq(strncmp(text, "-----BEGIN KEYVAULT KEY URI-----\n", 33), 0);
    cr_assert_not_null(strstr(text, "\n-----END KEYVAULT KEY URI-----\n"));
    kv_buf_free(&pem);
}

Test(keyref, refuses_to_write_what_it_would_not_read)
{
    struct kv_keyref ref;
    struct kv_buf der;
    kv_buf_init(&der, KV_KEYREF_DER_MAX);
    fill(&ref, "keyvault:///keys/", "");
    cr_assert_eq(kv_keyref_encode(&ref, &der, NULL), KV_E_INVALID);
    fill(&ref, URI, "DSA");
    cr_assert_eq(kv_keyref_encode(&ref, &der, NULL), KV_E_INVALID);
    fill(&ref, URI, "");
    add_spki(&ref);
    cr_assert_eq(kv_keyref_encode(&ref, &der, NULL), KV_E_INVALID);
    cr_assert_eq(der.len, 0);
    kv_buf_free(&der);
}

Test(keyref, malformed_bytes_leave_no_libcrypto_error)
{
    static const uint8_t cut[] = {0x30, 0x82, 0x40, 0x00, 0x02};
    struct kv_keyref ref;
    ERR_clear_error();
    ERR_raise(ERR_LIB_USER, 1);
    cr_expect_eq(kv_keyref_decode(cut, sizeof(cut), &ref, NULL), KV_E_INVALID);
    cr_expect_eq(ERR_GET_LIB(ERR_peek_last_error()), ERR_LIB_USER);
    ERR_clear_error();
}
