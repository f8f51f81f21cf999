/*
 * Base64 by arithmetic: every symbol is computed with masks, never looked up, so
 * that neither the cache nor a branch tells what is encoded or decoded. Only
 * lengths (and with them the padding) show in the time.
 *
 * Errors of a text are gathered in one mask and judged at its end.
 */
#include "store/core/b64.h"

/* The same value, of which the compiler knows nothing: it cannot turn a mask back
 * into the branch that the mask avoids (clang 14 does). */
static uint32_t opaque(uint32_t value)
{
    __asm__("" : "+r"(value));
    return value;
}

/* All ones when a < b; both below 2^31. */
static uint32_t mask_lt(uint32_t a, uint32_t b)
{
    return 0U - opaque((a - b) >> 31);
}

static uint32_t mask_in(uint32_t x, uint32_t low, uint32_t high)
{
    return ~mask_lt(x, low) & ~mask_lt(high, x);
}

static uint32_t symbol_62(enum kv_b64_kind kind)
{
    return kind == KV_B64_URL ? '-' : '+';
}

static uint32_t symbol_63(enum kv_b64_kind kind)
{
    return kind == KV_B64_URL ? '_' : '/';
}

/* The symbol of a value 0..63. */
static uint8_t encode_6(enum kv_b64_kind kind, uint32_t value)
{
    uint32_t symbol = 0;
    symbol |= mask_in(value, 0, 25) & (value + 'A');
    symbol |= mask_in(value, 26, 51) & (value - 26 + 'a');
    symbol |= mask_in(value, 52, 61) & (value - 52 + '0');
    symbol |= mask_in(value, 62, 62) & symbol_62(kind);
    symbol |= mask_in(value, 63, 63) & symbol_63(kind);
    return (uint8_t)symbol;
}

/* The value of a symbol; sets bits in `bad` for a foreign one. */
static uint32_t decode_6(enum kv_b64_kind kind, uint8_t byte, uint32_t *bad)
{
    uint32_t c = byte;
    uint32_t upper = mask_in(c, 'A', 'Z');
    uint32_t lower = mask_in(c, 'a', 'z');
    uint32_t digit = mask_in(c, '0', '9');
    uint32_t is_62 = mask_in(c, symbol_62(kind), symbol_62(kind));
    uint32_t is_63 = mask_in(c, symbol_63(kind), symbol_63(kind));
    *bad |= ~(upper | lower | digit | is_62 | is_63);
    return (upper & (c - 'A')) | (lower & (c - 'a' + 26)) | (digit & (c - '0' + 52)) |
           (is_62 & 62) | (is_63 & 63);
}

size_t kv_b64_encoded_len(enum kv_b64_kind kind, size_t len)
{
    size_t rest = len % 3;
    size_t tail = rest == 0 ? 0 : (kind == KV_B64_URL ? rest + 1 : 4);
    size_t total;
    if (__builtin_mul_overflow(len / 3, (size_t)4, &total) ||
        __builtin_add_overflow(total, tail, &total))
        return SIZE_MAX;
    return total;
}

int kv_b64_encode(enum kv_b64_kind kind, const void *data, size_t len,
                  struct kv_buf *out)
{
    const uint8_t *in = data;
    uint8_t *to = kv_buf_extend(out, kv_b64_encoded_len(kind, len));
    if (to == NULL)
        return kv_buf_status(out);

    size_t i = 0;
    for (; len - i >= 3; i += 3) {
        uint32_t bits =
            (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | (uint32_t)in[i + 2];
        *to++ = encode_6(kind, bits >> 18);
        *to++ = encode_6(kind, (bits >> 12) & 63);
        *to++ = encode_6(kind, (bits >> 6) & 63);
        *to++ = encode_6(kind, bits & 63);
    }
    size_t rest = len - i;
    if (rest > 0) {
        uint32_t bits = (uint32_t)in[i] << 16;
        if (rest == 2)
            bits |= (uint32_t)in[i + 1] << 8;
        *to++ = encode_6(kind, bits >> 18);
        *to++ = encode_6(kind, (bits >> 12) & 63);
        if (rest == 2)
            *to++ = encode_6(kind, (bits >> 6) & 63);
        for (size_t pad = rest; kind == KV_B64_STD && pad < 3; pad++)
            *to++ = '=';
    }
    return 0;
}

/* Take the padding off a standard text; false when its length cannot be right. */
static bool strip_padding(enum kv_b64_kind kind, const char *text, size_t *len)
{
    if (kind == KV_B64_STD) {
        if (*len % 4 != 0)
            return false;
        for (int i = 0; i < 2 && *len > 0 && text[*len - 1] == '='; i++)
            (*len)--;
    }
    return *len % 4 != 1;
}

/* Decode the last 2 or 3 symbols, whose unused low bits must be zero. */
static void decode_tail(enum kv_b64_kind kind, const uint8_t *in, size_t n_symbols,
                        uint8_t *to, uint32_t *bad)
{
    uint32_t bits = decode_6(kind, in[0], bad) << 18 | decode_6(kind, in[1], bad) << 12;
    if (n_symbols == 3)
        bits |= decode_6(kind, in[2], bad) << 6;
    *to++ = (uint8_t)(bits >> 16);
    if (n_symbols == 3)
        *to++ = (uint8_t)(bits >> 8);
    *bad |= n_symbols == 3 ? bits & 0xFF : bits & 0xFFFF;
}

int kv_b64_decode(enum kv_b64_kind kind, const char *text, size_t len,
                  struct kv_buf *out)
{
    if (!strip_padding(kind, text, &len))
        return KV_E_INVALID;
    size_t rest = len % 4;
    size_t n_bytes = len / 4 * 3 + (rest == 0 ? 0 : rest - 1);
    size_t start = out->len;
    uint8_t *to = kv_buf_extend(out, n_bytes);
    if (to == NULL)
        return kv_buf_status(out);

    const uint8_t *in = (const uint8_t *)text;
    uint32_t bad = 0;
    for (size_t left = len; left >= 4; left -= 4, in += 4) {
        uint32_t bits = decode_6(kind, in[0], &bad) << 18 |
                        decode_6(kind, in[1], &bad) << 12 |
                        decode_6(kind, in[2], &bad) << 6 | decode_6(kind, in[3], &bad);
        *to++ = (uint8_t)(bits >> 16);
        *to++ = (uint8_t)(bits >> 8);
        *to++ = (uint8_t)bits;
    }
    if (rest > 0)
        decode_tail(kind, in, rest, to, &bad);
    if (bad != 0) {
        kv_buf_truncate(out, start);
        return KV_E_INVALID;
    }
    return 0;
}
