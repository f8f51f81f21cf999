#include "lifecycle/auth/ecdsa.h"

#include <criterion/criterion.h>
#include <openssl/err.h>
#include <string.h>

Test(ecdsa, both_ways_give_what_was_there)
{
    static const size_t halves[] = {32, 48, 66};
    for (size_t i = 0; i < sizeof(halves) / sizeof(halves[0]); i++) {
        uint8_t raw[2 * 66];
        struct kv_buf der;
        struct kv_buf back;
        kv_buf_init(&der, 256);
        kv_buf_init(&back, 256);
        memset(raw, 0, sizeof(raw)); /* short numbers, and high bits */
        raw[halves[i] - 1] = 1;
        raw[halves[i]] = 0x80;
        cr_assert_eq(kv_ecdsa_to_der(raw, halves[i], &der), 0);
        cr_assert_eq(
            kv_ecdsa_from_der((struct kv_bytes){der.data, der.len}, halves[i], &back),
            0);
        cr_assert_eq(back.len, 2 * halves[i]);
        cr_expect_eq(memcmp(back.data, raw, back.len), 0);
        kv_buf_free(&der);
        kv_buf_free(&back);
    }
}

Test(ecdsa, what_is_no_signature_or_does_not_fit_is_refused)
{
    static const uint8_t raw[2 * 48] = {0xff};
    struct kv_buf der;
    struct kv_buf out;
    kv_buf_init(&der, 256);
    kv_buf_init(&out, 256);
    cr_assert_eq(kv_ecdsa_to_der(raw, 48, &der), 0);
    cr_expect_eq(kv_ecdsa_from_der((struct kv_bytes){der.data, der.len}, 32, &out),
                 KV_E_INTERNAL);
    cr_expect_eq(kv_ecdsa_from_der((struct kv_bytes){der.data, der.len - 1}, 48, &out),
                 KV_E_INTERNAL);
    cr_expect_eq(kv_ecdsa_from_der((struct kv_bytes){raw, 4}, 48, &out), KV_E_INTERNAL);
    cr_expect_eq(ERR_peek_error(), 0);
    kv_buf_free(&der);
    kv_buf_free(&out);
}
