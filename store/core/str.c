/*
 * Text helpers that libc has only with a locale, with wrap-around or with a
 * silent truncation.
 */
#include "store/core/str.h"

#include <string.h>

int kv_str_copy(char *out, size_t out_size, const char *text)
{
    size_t len = strlen(text);
    if (len >= out_size) {
        if (out_size > 0)
            out[0] = '\0';
        return KV_E_TOO_BIG;
    }
    memcpy(out, text, len + 1);
    return 0;
}

void kv_str_cut(char *out, size_t out_size, const char *text, size_t len)
{
    if (out_size == 0)
        return;
    size_t n = len;
    if (n >= out_size) {
        n = out_size - 1;
        while (n > 0 && ((uint8_t)text[n] & 0xC0U) == 0x80U)
            n--;
    }
    if (n > 0)
        memcpy(out, text, n);
    out[n] = '\0';
}

static char fold(char c)
{
    if (c >= 'A' && c <= 'Z')
        c = (char)(c - 'A' + 'a');
    return c;
}

void kv_str_fold(char *text)
{
    for (; *text != '\0'; text++)
        *text = fold(*text);
}

bool kv_str_equal_nocase(const char *a, const char *b)
{
    while (*a != '\0' && fold(*a) == fold(*b)) {
        a++;
        b++;
    }
    return fold(*a) == fold(*b);
}

bool kv_str_has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

int kv_str_to_i64(const char *text, int64_t min, int64_t max, int64_t *out)
{
    bool is_negative = text[0] == '-' && min < 0;
    const char *digits = is_negative ? text + 1 : text;
    if (digits[0] == '\0' || (digits[0] == '0' && (digits[1] != '\0' || is_negative)))
        return KV_E_INVALID;
    int64_t value = 0;
    for (const char *p = digits; *p != '\0'; p++) {
        if (*p < '0' || *p > '9')
            return KV_E_INVALID;
        int64_t digit = is_negative ? -(*p - '0') : *p - '0';
        if (__builtin_mul_overflow(value, (int64_t)10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return KV_E_INVALID;
    }
    if (value < min || value > max)
        return KV_E_INVALID;
    *out = value;
    return 0;
}

void kv_hex_encode(char *out, const void *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *in = data;
    for (size_t i = 0; i < len; i++) {
        *out++ = digits[in[i] >> 4];
        *out++ = digits[in[i] & 15];
    }
    *out = '\0';
}

/* 0 to 15, or -1. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int kv_hex_decode(uint8_t *out, size_t len, const char *text)
{
    for (size_t i = 0; i < len; i++) {
        int high = hex_value(text[2 * i]);
        int low = high < 0 ? -1 : hex_value(text[2 * i + 1]);
        if (low < 0)
            return KV_E_INVALID;
        out[i] = (uint8_t)(high * 16 + low);
    }
    return 0;
}

/* RFC 3629 §4: the lead byte decides the length and the range of the second byte
 * (which excludes overlong forms, surrogates and values above U+10FFFF). */
struct utf8_row {
    uint8_t lead_low;
    uint8_t lead_high;
    uint8_t second_low;
    uint8_t second_high;
    uint8_t len;
};

static const struct utf8_row utf8_rows[] = {
    {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
    {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3},
    {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
    {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
};

static size_t multibyte_len(const uint8_t *in, size_t len)
{
    for (size_t i = 0; i < sizeof(utf8_rows) / sizeof(utf8_rows[0]); i++) {
        const struct utf8_row *row = &utf8_rows[i];
        if (in[0] < row->lead_low || in[0] > row->lead_high)
            continue;
        if (len < row->len || in[1] < row->second_low || in[1] > row->second_high)
            return 0;
        for (size_t k = 2; k < row->len; k++) {
            if ((in[k] & 0xC0U) != 0x80U)
                return 0;
        }
        return row->len;
    }
    return 0;
}

size_t kv_utf8_char_len(const char *text, size_t len)
{
    const uint8_t *in = (const uint8_t *)text;
    if (len == 0 || in[0] == 0)
        return 0;
    return in[0] < 0x80 ? 1 : multibyte_len(in, len);
}

bool kv_utf8_is_valid(const char *text, size_t len)
{
    size_t at = 0;
    while (at < len) {
        size_t n = kv_utf8_char_len(text + at, len - at);
        if (n == 0)
            return false;
        at += n;
    }
    return true;
}
