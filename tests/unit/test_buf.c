/*
 * Buffers: ceilings, sticky failures, and what secret ones leave behind.
 */
#include "store/core/buf.h"

#include <criterion/criterion.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

TestSuite(buf, .timeout = 20);

Test(buf, appends_across_growth)
{
    struct kv_buf buf;
    kv_buf_init(&buf, 100000);
    for (int i = 0; i < 10000; i++) {
        uint8_t byte = (uint8_t)i;
        cr_assert_eq(kv_buf_append(&buf, &byte, 1), 0);
    }
    cr_assert_eq(buf.len, 10000);
    for (size_t i = 0; i < buf.len; i++)
        cr_assert_eq(buf.data[i], (uint8_t)i);
    kv_buf_free(&buf);
    cr_expect_null(buf.data);
    cr_expect_eq(buf.len, 0);
}

Test(buf, holds_exactly_its_ceiling)
{
    struct kv_buf buf;
    kv_buf_init(&buf, 5);
    cr_expect_eq(kv_buf_append_str(&buf, "abcde"), 0);
    cr_expect_str_eq(kv_buf_cstr(&buf), "abcde");
    cr_expect_eq(kv_buf_append(&buf, "f", 1), KV_E_TOO_BIG);
    cr_expect_eq(buf.len, 5);
    cr_expect_arr_eq(buf.data, "abcde", 5);
    kv_buf_free(&buf);
}

Test(buf, failure_is_sticky_until_reset)
{
    struct kv_buf buf;
    kv_buf_init(&buf, 3);
    cr_expect_eq(kv_buf_append_str(&buf, "ab"), 0);
    cr_expect_eq(kv_buf_append_str(&buf, "cd"), KV_E_TOO_BIG);
    cr_expect_eq(kv_buf_append_str(&buf, "c"), KV_E_TOO_BIG,
                 "would fit, still refused");
    cr_expect_eq(kv_buf_status(&buf), KV_E_TOO_BIG);
    cr_expect_null(kv_buf_extend(&buf, 1));
    cr_expect_null(kv_buf_cstr(&buf));
    cr_expect_eq(kv_buf_appendf(&buf, "x"), KV_E_TOO_BIG);
    cr_expect_eq(buf.len, 2);
    kv_buf_reset(&buf);
    cr_expect_eq(kv_buf_status(&buf), 0);
    cr_expect_eq(buf.len, 0);
    cr_expect_eq(kv_buf_append_str(&buf, "xyz"), 0);
    kv_buf_free(&buf);
}

Test(buf, length_arithmetic_does_not_wrap)
{
    struct kv_buf buf;
    kv_buf_init(&buf, SIZE_MAX);
    cr_expect_eq(kv_buf_append_str(&buf, "a"), 0);
    cr_expect_eq(kv_buf_append(&buf, "", SIZE_MAX), KV_E_TOO_BIG);
    kv_buf_reset(&buf);
    cr_expect_null(kv_buf_extend(&buf, SIZE_MAX), "content plus NUL does not exist");
    kv_buf_free(&buf);
}

Test(buf, formats)
{
    struct kv_buf buf;
    kv_buf_init(&buf, 200);
    cr_expect_eq(kv_buf_appendf(&buf, "%s=%d;", "a", 1), 0);
    cr_expect_eq(kv_buf_appendf(&buf, "%0100d", 7), 0);
    cr_expect_eq(buf.len, 104);
    cr_expect_arr_eq(buf.data, "a=1;000", 7);
    cr_expect_eq(kv_buf_appendf(&buf, "%0100d", 7), KV_E_TOO_BIG);
    cr_expect_eq(buf.len, 104);
    kv_buf_free(&buf);
}

Test(buf, extends_with_zeros_even_after_use)
{
    struct kv_buf buf;
    kv_buf_init(&buf, 64);
    cr_expect_eq(kv_buf_append(&buf, "\xFF\xFF\xFF\xFF", 4), 0);
    kv_buf_truncate(&buf, 1);
    const uint8_t *start = kv_buf_extend(&buf, 3);
    cr_assert_not_null(start);
    cr_expect_arr_eq(start, "\0\0\0", 3);
    cr_expect_eq(buf.len, 4);
    kv_buf_free(&buf);
    cr_expect_not_null(kv_buf_extend(&buf, 0), "nothing is not a failure");
    kv_buf_free(&buf);
}

Test(buf, consumes_from_the_front)
{
    struct kv_buf buf;
    kv_buf_init(&buf, 64);
    cr_expect_eq(kv_buf_append_str(&buf, "headtail"), 0);
    kv_buf_consume(&buf, 0);
    kv_buf_consume(&buf, 4);
    cr_expect_str_eq(kv_buf_cstr(&buf), "tail");
    kv_buf_consume(&buf, 4);
    cr_expect_eq(buf.len, 0);
    kv_buf_free(&buf);
    kv_buf_consume(&buf, 0);
}

Test(buf, gives_its_content_away)
{
    struct kv_buf buf;
    size_t len = 99;
    kv_buf_init(&buf, 64);
    cr_expect_null(kv_buf_take(&buf, &len));
    cr_expect_eq(len, 0);
    cr_expect_eq(kv_buf_append_str(&buf, "mine"), 0);
    uint8_t *data = kv_buf_take(&buf, &len);
    cr_assert_not_null(data);
    cr_expect_eq(len, 4);
    cr_expect_arr_eq(data, "mine", 4);
    cr_expect_null(buf.data);
    free(data);
    cr_expect_eq(kv_buf_append_str(&buf, "again"), 0);
    kv_buf_free(&buf);
}

Test(buf, does_not_give_half_a_content_away)
{
    struct kv_buf buf;
    size_t len = 99;
    kv_buf_init(&buf, 2);
    cr_expect_eq(kv_buf_append_str(&buf, "ab"), 0);
    cr_expect_eq(kv_buf_append_str(&buf, "c"), KV_E_TOO_BIG);
    cr_expect_null(kv_buf_take(&buf, &len));
    cr_expect_eq(len, 0);
    cr_expect_null(buf.data);
}

static bool is_zero(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] != 0)
            return false;
    }
    return true;
}

Test(buf, secret_wipes_what_is_cut_off)
{
    struct kv_buf buf;
    kv_buf_init_secret(&buf, 64);
    cr_expect_eq(kv_buf_append_str(&buf, "abcdefgh"), 0);
    kv_buf_truncate(&buf, 3);
    cr_expect(is_zero(buf.data + 3, 5), "truncate");
    kv_buf_consume(&buf, 2);
    cr_expect_eq(buf.data[0], 'c');
    cr_expect(is_zero(buf.data + 1, 7), "consume");
    kv_buf_reset(&buf);
    cr_expect(is_zero(buf.data, 8), "reset");
    kv_buf_free(&buf);
}

#ifndef KV_SANITIZED
/* Looks at freed memory on purpose: what the allocator gets back must be clean. Its
 * own bookkeeping overwrites the first 16 bytes. */
Test(buf, secret_wipes_what_it_outgrows_and_frees)
{
    mallopt(M_PERTURB, 0); /* or libc would do the wiping */
    struct kv_buf buf;
    kv_buf_init_secret(&buf, 4096);
    memset(kv_buf_extend(&buf, 60), 0x5A, 60);
    uintptr_t old = (uintptr_t)buf.data;
    memset(kv_buf_extend(&buf, 1000), 0x5A, 1000);
    cr_assert_neq((uintptr_t)buf.data, old);
    cr_expect(is_zero((const uint8_t *)old + 16, 44), "outgrown block");
    uintptr_t last = (uintptr_t)buf.data;
    void *volatile guard = malloc(32); /* keeps the block from joining the top */
    kv_buf_free(&buf);
    cr_expect(is_zero((const uint8_t *)last + 32, 1000), "freed block");
    free(guard);
}
#endif
