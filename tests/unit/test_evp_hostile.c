/* Key files made to harm: damaged, nested, huge, contradictory. Each is refused with a
 * reason, in bounded memory, and nobody is asked about it. */
#include <criterion/criterion.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/support/evp_check.h"

TestSuite(evp_hostile, .timeout = 200, .init = evp_check_open, .fini = evp_check_close);

#define BEGIN "-----BEGIN KEYVAULT KEY URI-----\n"
#define END "-----END KEYVAULT KEY URI-----\n"

static EVP_PKEY *load(const char *text, size_t len)
{
    return provider_fixture_pem(&evp_fixture, text, len);
}

static void pinned(const char *name, char *pem, size_t size)
{
    struct kv_keyref ref;
    EVP_PKEY *file = evp_check_software(name);
    evp_check_keyref(name, file, &ref);
    (void)evp_check_pem(&ref, pem, size);
    EVP_PKEY_free(file);
}

static void expect_refused(const char *what, const char *text, size_t len)
{
    const unsigned before = evp_check_frames();
    cr_expect_null(load(text, len), "%s", what);
    evp_check_refused(what, "malformed KEYVAULT KEY URI file", "keyref.");
    cr_expect_eq(evp_check_frames(), before, "%s", what);
}

Test(evp_hostile, damaged_blocks_are_named)
{
    static const char *const texts[] = {
        BEGIN,
        BEGIN END,
        BEGIN "AAAA\n" END,
        BEGIN "AAAA\n-----END CERTIFICATE-----\n",
        BEGIN "not base64!\n" END,
        BEGIN "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n" END,
        BEGIN BEGIN "AAAA\n" END END,
        BEGIN "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" END,
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        expect_refused(texts[i], texts[i], strlen(texts[i]));
}

Test(evp_hostile, every_cut_of_a_good_file_is_refused)
{
    char pem[4096];
    pinned("p256", pem, sizeof(pem));
    const size_t end = (size_t)(strstr(pem, END) - pem);
    for (size_t len = strlen(BEGIN); len < end + strlen(END) - 1; len += 7)
        expect_refused("a cut", pem, len);
}

static void expect_bad_der(const char *what, const uint8_t *der, size_t len)
{
    char *text = NULL;
    BIO *out = BIO_new(BIO_s_mem());
    cr_assert_gt(PEM_write_bio(out, KV_KEYREF_PEM_LABEL, "", der, (long)len), 0);
    const long text_len = BIO_get_mem_data(out, &text);
    expect_refused(what, text, (size_t)text_len);
    BIO_free(out);
}

Test(evp_hostile, bad_der_in_a_good_block)
{
    struct kv_keyref ref;
    struct kv_buf der;
    EVP_PKEY *file = evp_check_software("p256");
    evp_check_keyref("p256", file, &ref);
    kv_buf_init(&der, KV_KEYREF_DER_MAX);
    cr_assert_eq(kv_keyref_encode(&ref, &der, NULL), 0);
    for (size_t len = 1; len < der.len; len += 11)
        expect_bad_der("cut", der.data, len);
    cr_assert_eq(kv_buf_append(&der, "\0", 1), 0);
    expect_bad_der("a byte too many", der.data, der.len);
    kv_buf_truncate(&der, der.len - 1);
    const size_t header = (der.data[1] & 0x80) != 0 ? 3 : 2;
    uint8_t kept = der.data[header + 2];
    der.data[header + 2] = 2;
    expect_bad_der("a later format", der.data, der.len);
    der.data[header + 2] = kept;
    der.data[1] = 0x80;
    expect_bad_der("no definite length", der.data, der.len);
    kv_buf_free(&der);
    EVP_PKEY_free(file);
}

Test(evp_hostile, what_is_named_must_be_one_key)
{
    static const char *const uris[] = {
        "keyvault:///certificates/p256",
        "keyvault:///keys/",
        "keyvault:",
        "file:/x",
        "keyvault:///keys/../p256",
        "keyvault:///keys/p%32",
        "keyvault:///keys/p256?x=1",
        "",
    };
    for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
        const size_t len = strlen(uris[i]);
        uint8_t der[64] = {0x30, (uint8_t)(5 + len), 2, 1, 1, 0x0c, (uint8_t)len};
        char *text = NULL;
        BIO *out = BIO_new(BIO_s_mem());
        const unsigned before = evp_check_frames();
        memcpy(der + 7, uris[i], len);
        cr_assert_gt(PEM_write_bio(out, KV_KEYREF_PEM_LABEL, "", der, (long)(7 + len)),
                     0);
        const long text_len = BIO_get_mem_data(out, &text);
        cr_expect_null(load(text, (size_t)text_len), "%s", uris[i]);
        evp_check_refused(uris[i], "malformed", NULL);
        cr_expect_eq(evp_check_frames(), before, "%s", uris[i]);
        BIO_free(out);
    }
}

Test(evp_hostile, the_first_block_of_ours_counts)
{
    char good[4096];
    char other[4096];
    char text[10000];
    pinned("p256", good, sizeof(good));
    pinned("ed25519", other, sizeof(other));
    EVP_PKEY *file = evp_check_software("p256");
    (void)snprintf(text, sizeof(text), "%s%s", good, other);
    EVP_PKEY *key = load(text, strlen(text));
    cr_expect_eq(EVP_PKEY_eq(key, file), 1);
    EVP_PKEY_free(key);
    (void)snprintf(text, sizeof(text), "%s%s", BEGIN "AAAA\n" END, good);
    expect_refused("a damaged block in front of a good one", text, strlen(text));
    EVP_PKEY_free(file);
}

Test(evp_hostile, a_block_inside_of_another_is_not_taken)
{
    char good[4096];
    char text[10000];
    const unsigned before = evp_check_frames();
    pinned("p256", good, sizeof(good));
    (void)snprintf(text, sizeof(text),
                   "-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n", good);
    cr_expect_null(load(text, strlen(text)));
    cr_expect_eq(evp_check_frames(), before);
    ERR_clear_error();
}

/* --- size --- */

/* head, then `unit` until there are `len` bytes, then tail. */
static char *fill(const char *head, const char *unit, size_t len, const char *tail,
                  size_t *out_len)
{
    const size_t unit_len = strlen(unit);
    char *text = malloc(strlen(head) + len + unit_len + strlen(tail) + 1);
    cr_assert_not_null(text);
    char *at = stpcpy(text, head);
    for (const char *end = at + len; at < end;)
        at = stpcpy(at, unit);
    at = stpcpy(at, tail);
    *out_len = (size_t)(at - text);
    return text;
}

static long peak_kib(void)
{
    struct rusage usage;
    cr_assert_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

#define MANY_BYTES (256u << 20)

/* Our decoder alone: libcrypto's own keeps every block in memory, whatever its label.
 */
static void read_huge(const char *head, const char *unit, const char *tail)
{
    size_t len = 0;
    char *text = fill(head, unit, MANY_BYTES, tail, &len);
    OSSL_DECODER_CTX *ctx = OSSL_DECODER_CTX_new();
    OSSL_DECODER *pem =
        OSSL_DECODER_fetch(evp_fixture.libctx, "DER", EVP_CHECK_PROPQ ",input=pem");
    cr_assert_eq(OSSL_DECODER_CTX_add_decoder(ctx, pem), 1);
    BIO *bio = BIO_new_mem_buf(text, (int)len);
    const long before = peak_kib();
    cr_expect_eq(OSSL_DECODER_from_bio(ctx, bio), 0);
    cr_expect_lt(peak_kib() - before, 2048, "%s", head);
    BIO_free(bio);
    OSSL_DECODER_free(pem);
    OSSL_DECODER_CTX_free(ctx);
    free(text);
}

#define LINE "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"

Test(evp_hostile, hundreds_of_megabytes_under_our_label)
{
    read_huge(BEGIN, LINE "\n", "\n" END);
    evp_check_refused("many lines", "malformed", "keyref.too-big");
}

Test(evp_hostile, one_line_of_hundreds_of_megabytes_under_our_label)
{
    read_huge(BEGIN, LINE, "\n" END);
    evp_check_refused("one line", "malformed", "keyref.too-big");
}

Test(evp_hostile, a_header_of_hundreds_of_megabytes)
{
    read_huge(BEGIN "A: ", LINE, "\n\nAAAA\n" END);
    evp_check_refused("a header", "malformed", "keyref.");
}

Test(evp_hostile, hundreds_of_megabytes_of_a_foreign_block)
{
    read_huge("-----BEGIN X-----\n", LINE "\n", "-----END X-----\n");
    ERR_clear_error();
}

Test(evp_hostile, hundreds_of_megabytes_without_a_block)
{
    read_huge("", "\n\n\n\n\n\n\n\n", "");
    ERR_clear_error();
}

Test(evp_hostile, large_files_through_every_decoder)
{
    static const struct {
        const char *head;
        const char *unit;
        const char *tail;
    } rows[] = {{BEGIN, LINE "\n", END},
                {BEGIN, LINE, "\n" END},
                {"-----BEGIN X-----\n", LINE "\n", "-----END X-----\n"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = 0;
        char *text = fill(rows[i].head, rows[i].unit, 4 << 20, rows[i].tail, &len);
        cr_expect_null(load(text, len), "%zu", i);
        ERR_clear_error();
        free(text);
    }
    cr_expect_eq(evp_check_frames(), 0u);
}

Test(evp_hostile, a_key_behind_thousands_of_blocks_is_found)
{
    char good[4096];
    size_t len = 0;
    pinned("p256", good, sizeof(good));
    char *text =
        fill("", "-----BEGIN X-----\nAAAA\n-----END X-----\n", 5000 * 39, good, &len);
    const unsigned before = evp_check_frames();
    EVP_PKEY *key = load(text, len);
    cr_expect_not_null(key);
    evp_check_clean("loading behind many blocks");
    cr_expect_eq(evp_check_frames() - before, 1u);
    EVP_PKEY_free(key);
    free(text);
}
