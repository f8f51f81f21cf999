/*
 * Frame fields: what is written is read back, every cut is noticed, nothing is read
 * behind the end.
 */
#include "store/core/wire.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(wire, .timeout = 20);

static void write_all(struct kv_buf *out)
{
    kv_wire_put_u8(out, 0xA1);
    kv_wire_put_u16(out, 0xB1B2);
    kv_wire_put_u32(out, 0xC1C2C3C4U);
    kv_wire_put_u64(out, 0xD1D2D3D4D5D6D7D8U);
    kv_wire_put_i64(out, INT64_MIN);
    kv_wire_put_raw(out, "raw", 3);
    kv_wire_put_bytes(out, "\0\xFF", 2);
    kv_wire_put_bytes(out, NULL, 0);
    kv_wire_put_str(out, "caf\xC3\xA9");
}

Test(wire, reads_back_what_it_wrote)
{
    struct kv_buf frame;
    kv_buf_init(&frame, 200);
    write_all(&frame);
    cr_assert_eq(kv_buf_status(&frame), 0);
    cr_expect_arr_eq(frame.data, "\xA1\xB2\xB1\xC4\xC3\xC2\xC1\xD8", 8,
                     "little-endian");

    char raw[3];
    char text[8];
    struct kv_wire wire;
    kv_wire_init(&wire, frame.data, frame.len);
    cr_expect_eq(kv_wire_u8(&wire), 0xA1);
    cr_expect_eq(kv_wire_u16(&wire), 0xB1B2);
    cr_expect_eq(kv_wire_u32(&wire), 0xC1C2C3C4U);
    cr_expect_eq(kv_wire_u64(&wire), 0xD1D2D3D4D5D6D7D8U);
    cr_expect_eq(kv_wire_i64(&wire), INT64_MIN);
    kv_wire_raw(&wire, raw, 3);
    cr_expect_arr_eq(raw, "raw", 3);
    struct kv_bytes bytes = kv_wire_bytes(&wire, 2);
    cr_expect_eq(bytes.len, 2);
    cr_expect_arr_eq(bytes.data, "\0\xFF", 2);
    bytes = kv_wire_bytes(&wire, 0);
    cr_expect_eq(bytes.len, 0);
    cr_expect_null(bytes.data);
    kv_wire_str(&wire, text, 6);
    cr_expect_str_eq(text, "caf\xC3\xA9");
    cr_expect_eq(kv_wire_end(&wire), 0);
    kv_buf_free(&frame);
}

static int read_all(const void *data, size_t len)
{
    char raw[3];
    char text[8];
    struct kv_wire wire;
    kv_wire_init(&wire, data, len);
    (void)kv_wire_u8(&wire);
    (void)kv_wire_u16(&wire);
    (void)kv_wire_u32(&wire);
    (void)kv_wire_u64(&wire);
    (void)kv_wire_i64(&wire);
    kv_wire_raw(&wire, raw, sizeof(raw));
    (void)kv_wire_bytes(&wire, 100);
    (void)kv_wire_bytes(&wire, 100);
    kv_wire_str(&wire, text, sizeof(text));
    return kv_wire_end(&wire);
}

/* Each prefix stands alone on the heap, so that ASan sees one byte too many. */
Test(wire, notices_every_cut_and_every_extra_byte)
{
    struct kv_buf frame;
    kv_buf_init(&frame, 200);
    write_all(&frame);
    for (size_t len = 0; len <= frame.len + 1; len++) {
        uint8_t *copy = calloc(1, len == 0 ? 1 : len);
        cr_assert_not_null(copy);
        memcpy(copy, frame.data, len < frame.len ? len : frame.len);
        cr_expect_eq(read_all(copy, len), len == frame.len ? 0 : KV_E_INVALID, "%zu",
                     len);
        free(copy);
    }
    kv_buf_free(&frame);
    cr_expect_eq(read_all(NULL, 0), KV_E_INVALID);
}

Test(wire, stays_failed_and_reads_zeros)
{
    struct kv_wire wire;
    uint8_t raw[2] = {1, 1};
    char text[4] = "abc";
    kv_wire_init(&wire, "\1\2\3", 3);
    cr_expect_eq(kv_wire_u32(&wire), 0, "four of three");
    cr_expect_eq(kv_wire_u8(&wire), 0, "would fit, still refused");
    kv_wire_raw(&wire, raw, 2);
    cr_expect_arr_eq(raw, "\0\0", 2);
    kv_wire_str(&wire, text, sizeof(text));
    cr_expect_str_eq(text, "");
    cr_expect_null(kv_wire_bytes(&wire, 10).data);
    cr_expect_eq(kv_wire_end(&wire), KV_E_INVALID);
    kv_wire_init(&wire, "\1", 1);
    kv_wire_fail(&wire);
    cr_expect_eq(kv_wire_u8(&wire), 0);
    cr_expect_eq(kv_wire_end(&wire), KV_E_INVALID);
}

static const struct bad_text {
    const char *bytes;
    size_t len;
    const char *why;
} bad_texts[] = {
    {"\4\0\0\0abcd", 8, "does not fit with its NUL"},
    {"\3\0\0\0a\0b", 7, "embedded NUL"},
    {"\2\0\0\0\xC3(", 6, "bad UTF-8"},
    {"\1\0\0\0\xC3", 5, "half a character"},
    {"\3\0\0\0ab", 6, "length behind the end"},
    {"\xFF\xFF\xFF\xFF", 4, "largest length"},
};

Test(wire, refuses_bad_texts)
{
    for (size_t i = 0; i < sizeof(bad_texts) / sizeof(bad_texts[0]); i++) {
        char text[4] = "xyz";
        struct kv_wire wire;
        kv_wire_init(&wire, bad_texts[i].bytes, bad_texts[i].len);
        kv_wire_str(&wire, text, sizeof(text));
        cr_expect_str_eq(text, "", "%s", bad_texts[i].why);
        cr_expect_eq(kv_wire_end(&wire), KV_E_INVALID, "%s", bad_texts[i].why);
    }
}

Test(wire, refuses_bytes_above_their_limit)
{
    struct kv_wire wire;
    kv_wire_init(&wire, "\3\0\0\0abc", 7);
    cr_expect_eq(kv_wire_bytes(&wire, 2).len, 0);
    cr_expect_eq(kv_wire_end(&wire), KV_E_INVALID);
}

Test(wire, writer_keeps_to_the_ceiling)
{
    struct kv_buf frame;
    kv_buf_init(&frame, 5);
    kv_wire_put_u32(&frame, 1);
    kv_wire_put_u16(&frame, 1);
    kv_wire_put_u8(&frame, 1);
    cr_expect_eq(kv_buf_status(&frame), KV_E_TOO_BIG);
    cr_expect_eq(frame.len, 4);
    kv_buf_reset(&frame);
    kv_wire_put_bytes(&frame, "", (size_t)UINT32_MAX + 1);
    cr_expect_eq(kv_buf_status(&frame), KV_E_TOO_BIG);
    kv_buf_free(&frame);
}
