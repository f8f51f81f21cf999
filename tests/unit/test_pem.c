/* The PEM reader: our block among others, damaged in every way, and of any size. */
#include <criterion/criterion.h>
#include <openssl/err.h>
#include <string.h>

#include "provider/pem.h"
#include "store/core/keyref.h"

TestSuite(pem, .timeout = 60);

#define OURS "-----BEGIN KEYVAULT KEY URI-----\n"
#define END "-----END KEYVAULT KEY URI-----\n"
#define OTHER "-----BEGIN X-----\nAAAA\n-----END X-----\n"

/* The result; the content's length goes to `len`, the rest's first byte to `next`. */
static int read_text(const char *text, size_t *len, char *next)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf der;
    BIO *bio = BIO_new_mem_buf(text, -1);
    kv_buf_init(&der, KV_KEYREF_DER_MAX);
    int rc = kv_pem_read(bio, &der, &err);
    if (rc < 0)
        cr_expect(err.code == rc && strncmp(err.id, "keyref.", 7) == 0 &&
                      err.message[0] != '\0',
                  "%s", text);
    *len = der.len;
    *next = '\0';
    (void)BIO_read(bio, next, 1);
    cr_expect_eq(ERR_peek_error(), 0);
    kv_buf_free(&der);
    BIO_free(bio);
    return rc;
}

Test(pem, finds_our_block_and_stops_behind_it)
{
    static const char *const texts[] = {
        OURS "AQID\n" END "rest",
        "text in front\n\n" OURS "AQID\n" END "rest",
        "-----BEGIN KEYVAULT KEY URI-----\r\nAQ\r\nID\r\n-----END KEYVAULT KEY URI-----"
        "\r\nrest",
        OURS "A\nQ\nI\nD\n\n" END "rest",
        OURS " AQID \n"
             "-----END KEYVAULT KEY URI----- \nrest",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        size_t len = 0;
        char next = '\0';
        const bool is_indented = i == 4; /* white space is no part of base64 */
        cr_expect_eq(read_text(texts[i], &len, &next), is_indented ? KV_E_INVALID : 1,
                     "%zu", i);
        cr_expect_eq(len, is_indented ? 0u : 3u, "%zu", i);
        cr_expect_eq(next, 'r', "%zu", i);
    }
}

Test(pem, takes_one_block_at_a_time)
{
    struct kv_buf der;
    struct kv_err err = KV_ERR_INIT;
    BIO *bio = BIO_new_mem_buf(OTHER OURS "AQID\n" END OTHER OURS "AQIDBA==\n" END, -1);
    kv_buf_init(&der, KV_KEYREF_DER_MAX);
    cr_expect_eq(kv_pem_read(bio, &der, &err), 0);
    cr_expect_eq(kv_pem_read(bio, &der, &err), 1);
    cr_expect_eq(der.len, 3u);
    cr_expect_eq(kv_pem_read(bio, &der, &err), 0);
    cr_expect_eq(der.len, 3u);
    kv_buf_reset(&der);
    cr_expect_eq(kv_pem_read(bio, &der, &err), 1);
    cr_expect_eq(der.len, 4u);
    cr_expect_eq(kv_pem_read(bio, &der, &err), 0, "the end");
    kv_buf_free(&der);
    BIO_free(bio);
}

Test(pem, what_is_not_ours_is_passed_over)
{
    static const char *const texts[] = {
        "",
        "\n\n\n",
        "text",
        "-----BEGIN KEYVAULT KEY URI----\nAQID\n" END, /* four dashes */
        " " OURS "AQID\n" END,                         /* not at the line's start */
        "-----BEGIN KEYVAULT KEY URIS-----\nAQID\n-----END KEYVAULT KEY URIS-----\n",
        "-----BEGIN keyvault key uri-----\nAQID\n-----END keyvault key uri-----\n",
        "-----BEGIN X-----\n" OURS "AQID\n" END, /* inside of an open block */
        "-----BEGIN X-----\n",
        "-----BEGIN -----\n-----END -----\n",
        "-----BEGIN ",
        "-----BEGIN -",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        size_t len = 0;
        char next = '\0';
        cr_expect_eq(read_text(texts[i], &len, &next), 0, "%zu", i);
        cr_expect_eq(len, 0u);
    }
}

Test(pem, a_damaged_block_of_ours_is_named)
{
    static const char *const texts[] = {
        OURS,
        OURS "AQID\n",
        OURS "AQID\n-----END X-----\n",
        OURS "AQI\n" END,
        OURS "AQ=D\n" END,
        OURS "A!ID\n" END,
        OURS "AQID" END,
        OURS "Proc-Type: 4,ENCRYPTED\n\nAQID\n" END,
        OURS "AQID\n" OURS "AQID\n" END END,
        OURS "AQID\n" OTHER END,
        OURS "AQID\n-----END KEYVAULT KEY URI\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        size_t len = 0;
        char next = '\0';
        cr_expect_eq(read_text(texts[i], &len, &next), KV_E_INVALID, "%zu", i);
        cr_expect_eq(len, 0u);
    }
}

/* `n` times `unit` between head and tail. */
static char *repeat(const char *head, const char *unit, size_t n, const char *tail)
{
    const size_t unit_len = strlen(unit);
    char *text = malloc(strlen(head) + n * unit_len + strlen(tail) + 1);
    cr_assert_not_null(text);
    char *at = stpcpy(text, head);
    for (size_t i = 0; i < n; i++)
        at = stpcpy(at, unit);
    (void)strcpy(at, tail);
    return text;
}

Test(pem, sizes_are_limited_exactly)
{
    static const struct {
        size_t n_bytes;
        int rc;
    } rows[] = {
        {3, 1}, {4092, 1}, {4095, 1}, {4098, KV_E_TOO_BIG}, {30000, KV_E_TOO_BIG}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = 0;
        char next = '\0';
        char *lines = repeat(OURS, "AQID\n", rows[i].n_bytes / 3, END);
        char *one_line = repeat(OURS, "AQID", rows[i].n_bytes / 3, "\n" END);
        cr_expect_eq(read_text(lines, &len, &next), rows[i].rc, "%zu", rows[i].n_bytes);
        cr_expect_eq(len, rows[i].rc == 1 ? rows[i].n_bytes : 0);
        cr_expect_eq(read_text(one_line, &len, &next), rows[i].rc, "%zu",
                     rows[i].n_bytes);
        cr_expect_eq(len, rows[i].rc == 1 ? rows[i].n_bytes : 0);
        free(lines);
        free(one_line);
    }
}

Test(pem, a_block_behind_millions_of_bytes_is_found)
{
    static const char *const units[] = {
        "AAAA", "AAAA\n", "\n", "-", "A: b\n", "-----BEGIN X-----\n-----END X-----\n"};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        const size_t n = 1000000;
        char *text = repeat("", units[i], n, "\n" OURS "AQID\n" END);
        struct kv_err err = KV_ERR_INIT;
        struct kv_buf der;
        BIO *bio = BIO_new_mem_buf(text, -1);
        size_t rounds = 0;
        int rc = 0;
        kv_buf_init(&der, KV_KEYREF_DER_MAX);
        while ((rc = kv_pem_read(bio, &der, &err)) == 0 && rounds <= n)
            rounds++;
        cr_expect_eq(rc, 1, "%zu", i);
        cr_expect_eq(rounds, i == 5 ? n : 0, "%zu", i);
        kv_buf_free(&der);
        BIO_free(bio);
        free(text);
    }
}
