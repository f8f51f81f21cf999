/*
 * Text helpers at their limits.
 */
#include "store/core/str.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(str, .timeout = 20);

Test(str, copies_what_fits_and_empties_what_does_not)
{
    char out[4] = "xyz";
    cr_expect_eq(kv_str_copy(out, sizeof(out), "abc"), 0);
    cr_expect_str_eq(out, "abc");
    cr_expect_eq(kv_str_copy(out, sizeof(out), "abcd"), KV_E_TOO_BIG);
    cr_expect_str_eq(out, "");
    cr_expect_eq(kv_str_copy(out, 0, ""), KV_E_TOO_BIG);
}

Test(str, cuts_between_characters)
{
    char out[4];
    kv_str_cut(out, sizeof(out), "abcdef", 6);
    cr_expect_str_eq(out, "abc");
    kv_str_cut(out, sizeof(out), "ab\xC3\xA9", 4);
    cr_expect_str_eq(out, "ab");
    kv_str_cut(out, sizeof(out), "a\xC3\xA9z", 4);
    cr_expect_str_eq(out, "a\xC3\xA9");
    kv_str_cut(out, sizeof(out), "abcdef", 2);
    cr_expect_str_eq(out, "ab");
    kv_str_cut(out, sizeof(out), NULL, 0);
    cr_expect_str_eq(out, "");
    kv_str_cut(out, 0, "a", 1);
}

Test(str, folds_ascii_only)
{
    char text[] = "AbZ[\xC3\x89@";
    kv_str_fold(text);
    cr_expect_str_eq(text, "abz[\xC3\x89@");
    cr_expect(kv_str_equal_nocase("Web-1", "wEB-1"));
    cr_expect(kv_str_equal_nocase("", ""));
    cr_expect_not(kv_str_equal_nocase("web", "web1"));
    cr_expect_not(kv_str_equal_nocase("web1", "web"));
    cr_expect_not(kv_str_equal_nocase("[", "{"));
    cr_expect(kv_str_has_prefix("keyvault:", "key"));
    cr_expect(kv_str_has_prefix("key", ""));
    cr_expect_not(kv_str_has_prefix("ke", "key"));
}

static const struct number_row {
    const char *text;
    int64_t min;
    int64_t max;
    int rc;
    int64_t value;
} number_rows[] = {
    {"0", 0, 10, 0, 0},
    {"10", 0, 10, 0, 10},
    {"11", 0, 10, KV_E_INVALID, 0},
    {"4", 5, 10, KV_E_INVALID, 0},
    {"", 0, 10, KV_E_INVALID, 0},
    {"01", 0, 10, KV_E_INVALID, 0},
    {"00", 0, 10, KV_E_INVALID, 0},
    {"+1", 0, 10, KV_E_INVALID, 0},
    {" 1", 0, 10, KV_E_INVALID, 0},
    {"1 ", 0, 10, KV_E_INVALID, 0},
    {"0x1", 0, 10, KV_E_INVALID, 0},
    {"-1", 0, 10, KV_E_INVALID, 0},
    {"-1", -1, 10, 0, -1},
    {"-0", -1, 10, KV_E_INVALID, 0},
    {"-", -1, 10, KV_E_INVALID, 0},
    {"--1", -1, 10, KV_E_INVALID, 0},
    {"-2", -1, 10, KV_E_INVALID, 0},
    {"9223372036854775807", INT64_MIN, INT64_MAX, 0, INT64_MAX},
    {"9223372036854775808", INT64_MIN, INT64_MAX, KV_E_INVALID, 0},
    {"-9223372036854775808", INT64_MIN, INT64_MAX, 0, INT64_MIN},
    {"-9223372036854775809", INT64_MIN, INT64_MAX, KV_E_INVALID, 0},
    {"99999999999999999999999", 0, INT64_MAX, KV_E_INVALID, 0},
};

Test(str, reads_whole_decimal_numbers_only)
{
    for (size_t i = 0; i < sizeof(number_rows) / sizeof(number_rows[0]); i++) {
        const struct number_row *row = &number_rows[i];
        int64_t value = 4711;
        cr_expect_eq(kv_str_to_i64(row->text, row->min, row->max, &value), row->rc,
                     "\"%s\"", row->text);
        cr_expect_eq(value, row->rc == 0 ? row->value : 4711, "\"%s\"", row->text);
    }
}

Test(str, hexadecimal_both_ways)
{
    const uint8_t bytes[] = {0x00, 0x9A, 0xBC, 0xFF};
    char text[9];
    uint8_t back[4];
    kv_hex_encode(text, bytes, 4);
    cr_expect_str_eq(text, "009abcff");
    cr_expect_eq(kv_hex_decode(back, 4, text), 0);
    cr_expect_arr_eq(back, bytes, 4);
    cr_expect_eq(kv_hex_decode(back, 4, "009ABCff"), KV_E_INVALID, "upper case");
    cr_expect_eq(kv_hex_decode(back, 4, "009abcf"), KV_E_INVALID, "odd");
    cr_expect_eq(kv_hex_decode(back, 4, ""), KV_E_INVALID, "empty");
    cr_expect_eq(kv_hex_decode(back, 1, "g0"), KV_E_INVALID, "not a digit");
    kv_hex_encode(text, NULL, 0);
    cr_expect_str_eq(text, "");
}

static const struct utf8_row {
    const char *text;
    bool is_valid;
    const char *why;
} utf8_rows[] = {
    {"", true, "empty"},
    {"abc", true, "ASCII"},
    {"\x7F", true, "last of one byte"},
    {"\xC2\x80", true, "first of two bytes"},
    {"\xDF\xBF", true, "last of two bytes"},
    {"\xE0\xA0\x80", true, "first of three bytes"},
    {"\xED\x9F\xBF", true, "below the surrogates"},
    {"\xEE\x80\x80", true, "above the surrogates"},
    {"\xEF\xBF\xBF", true, "last of three bytes"},
    {"\xF0\x90\x80\x80", true, "first of four bytes"},
    {"\xF4\x8F\xBF\xBF", true, "U+10FFFF"},
    {"\x80", false, "continuation alone"},
    {"\xC0\x80", false, "overlong NUL"},
    {"\xC1\xBF", false, "overlong two"},
    {"\xE0\x9F\xBF", false, "overlong three"},
    {"\xF0\x8F\xBF\xBF", false, "overlong four"},
    {"\xED\xA0\x80", false, "surrogate"},
    {"\xF4\x90\x80\x80", false, "above U+10FFFF"},
    {"\xF5\x80\x80\x80", false, "lead F5"},
    {"\xFF", false, "lead FF"},
    {"\xC3", false, "cut two"},
    {"\xE2\x82", false, "cut three"},
    {"\xF0\x9F\x98", false, "cut four"},
    {"\xC3(", false, "bad second"},
    {"\xE2\x82(", false, "bad third"},
    {"\xF0\x9F\x98(", false, "bad fourth"},
};

Test(str, knows_utf8)
{
    for (size_t i = 0; i < sizeof(utf8_rows) / sizeof(utf8_rows[0]); i++) {
        const struct utf8_row *row = &utf8_rows[i];
        cr_expect_eq(kv_utf8_is_valid(row->text, strlen(row->text)), row->is_valid,
                     "%s", row->why);
    }
    cr_expect_not(kv_utf8_is_valid("a\0b", 3), "NUL");
    cr_expect_eq(kv_utf8_char_len("\xF0\x9F\x98\x80", 4), 4);
    cr_expect_eq(kv_utf8_char_len("\xF0\x9F\x98\x80", 3), 0);
    cr_expect_eq(kv_utf8_char_len("", 1), 0);
    cr_expect_eq(kv_utf8_char_len("a", 0), 0);
}
