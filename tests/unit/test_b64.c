/*
 * Base64 against RFC 4648 §10, every remainder, and every spelling that a strict
 * decoder must refuse.
 */
#include "store/core/b64.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(b64, .timeout = 20);

static const struct vector {
    const char *bytes;
    const char *std;
    const char *url;
} vectors[] = {
    {"", "", ""},
    {"f", "Zg==", "Zg"},
    {"fo", "Zm8=", "Zm8"},
    {"foo", "Zm9v", "Zm9v"},
    {"foob", "Zm9vYg==", "Zm9vYg"},
    {"fooba", "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
    {"\xFB\xFF\xFE", "+//+", "-__-"},
};

static void check(enum kv_b64_kind kind, const char *bytes, const char *text)
{
    struct kv_buf out;
    kv_buf_init(&out, 100);
    cr_expect_eq(kv_b64_encoded_len(kind, strlen(bytes)), strlen(text));
    cr_expect_eq(kv_b64_encode(kind, bytes, strlen(bytes), &out), 0);
    cr_expect_str_eq(kv_buf_cstr(&out), text);
    kv_buf_reset(&out);
    cr_expect_eq(kv_b64_decode(kind, text, strlen(text), &out), 0, "%s", text);
    cr_expect_str_eq(kv_buf_cstr(&out), bytes);
    kv_buf_free(&out);
}

Test(b64, matches_the_vectors_both_ways)
{
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        check(KV_B64_STD, vectors[i].bytes, vectors[i].std);
        check(KV_B64_URL, vectors[i].bytes, vectors[i].url);
    }
}

/* An independent encoder with a table, to compare every 6-bit group. */
static char slow_symbol(enum kv_b64_kind kind, unsigned value)
{
    const char *alphabet =
        kind == KV_B64_STD
            ? "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
            : "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    return alphabet[value];
}

static void check_all_groups(enum kv_b64_kind kind)
{
    struct kv_buf text;
    struct kv_buf bytes;
    kv_buf_init(&text, 4);
    kv_buf_init(&bytes, 3);
    for (unsigned value = 0; value < 64; value++) {
        uint8_t in[3] = {(uint8_t)(value << 2 | value >> 4),
                         (uint8_t)(value << 4 | value >> 2),
                         (uint8_t)(value << 6 | value)};
        kv_buf_reset(&text);
        kv_buf_reset(&bytes);
        cr_assert_eq(kv_b64_encode(kind, in, 3, &text), 0);
        for (size_t i = 0; i < 4; i++)
            cr_expect_eq(text.data[i], slow_symbol(kind, value));
        cr_assert_eq(kv_b64_decode(kind, (char *)text.data, 4, &bytes), 0);
        cr_expect_arr_eq(bytes.data, in, 3);
    }
    kv_buf_free(&text);
    kv_buf_free(&bytes);
}

Test(b64, knows_all_64_symbols_in_every_place)
{
    check_all_groups(KV_B64_STD);
    check_all_groups(KV_B64_URL);
}

static size_t count_accepted_bytes(enum kv_b64_kind kind, size_t place)
{
    size_t n = 0;
    struct kv_buf out;
    kv_buf_init(&out, 3);
    for (int c = 0; c < 256; c++) {
        char text[4] = {'A', 'A', 'A', 'A'};
        text[place] = (char)c;
        kv_buf_reset(&out);
        if (c != '=' && kv_b64_decode(kind, text, 4, &out) == 0)
            n++;
    }
    kv_buf_free(&out);
    return n;
}

Test(b64, refuses_every_foreign_byte_in_every_place)
{
    for (size_t place = 0; place < 4; place++) {
        cr_expect_eq(count_accepted_bytes(KV_B64_STD, place), 64);
        cr_expect_eq(count_accepted_bytes(KV_B64_URL, place), 64);
    }
}

static const struct bad_row {
    enum kv_b64_kind kind;
    const char *text;
    const char *why;
} bad_rows[] = {
    {KV_B64_STD, "Zg", "padding missing"},
    {KV_B64_STD, "Zg=", "padding too short"},
    {KV_B64_STD, "Zg===", "padding too long"},
    {KV_B64_STD, "Z===", "one symbol"},
    {KV_B64_STD, "====", "padding alone"},
    {KV_B64_STD, "Zg==Zg==", "padding inside"},
    {KV_B64_STD, "Z=g=", "padding between symbols"},
    {KV_B64_STD, "Zm9v\n", "line feed"},
    {KV_B64_STD, "Zm9 ", "space"},
    {KV_B64_STD, "Zh==", "trailing bits of two symbols"},
    {KV_B64_STD, "Zm9=", "trailing bits of three symbols"},
    {KV_B64_STD, "-__-", "the other alphabet"},
    {KV_B64_URL, "+//+", "the other alphabet"},
    {KV_B64_URL, "Zg==", "padding where there is none"},
    {KV_B64_URL, "Z", "one symbol"},
    {KV_B64_URL, "Zm9vY", "five symbols"},
    {KV_B64_URL, "Zh", "trailing bits of two symbols"},
    {KV_B64_URL, "Zm9", "trailing bits of three symbols"},
};

Test(b64, refuses_other_spellings_and_leaves_out_alone)
{
    for (size_t i = 0; i < sizeof(bad_rows) / sizeof(bad_rows[0]); i++) {
        const struct bad_row *row = &bad_rows[i];
        struct kv_buf out;
        kv_buf_init(&out, 100);
        cr_assert_eq(kv_buf_append_str(&out, "kept"), 0);
        cr_expect_eq(kv_b64_decode(row->kind, row->text, strlen(row->text), &out),
                     KV_E_INVALID, "%s", row->why);
        cr_expect_eq(kv_buf_status(&out), 0, "%s", row->why);
        cr_expect_str_eq(kv_buf_cstr(&out), "kept", "%s", row->why);
        kv_buf_free(&out);
    }
}

Test(b64, keeps_to_the_ceiling_of_the_buffer)
{
    struct kv_buf out;
    kv_buf_init(&out, 3);
    cr_expect_eq(kv_b64_encode(KV_B64_STD, "foo", 3, &out), KV_E_TOO_BIG);
    kv_buf_reset(&out);
    cr_expect_eq(kv_b64_decode(KV_B64_STD, "Zm9vYg==", 8, &out), KV_E_TOO_BIG);
    kv_buf_free(&out);
}

Test(b64, encoded_length_saturates)
{
    cr_expect_eq(kv_b64_encoded_len(KV_B64_STD, SIZE_MAX), SIZE_MAX);
    cr_expect_eq(kv_b64_encoded_len(KV_B64_URL, 1000), 1334);
}
