/* The DER reader: what it walks, and every malformed length it refuses. */
#include <string.h>

#include <criterion/criterion.h>

#include "store/keyring/der.h"

TestSuite(der, .timeout = 20);

Test(der, walks_elements_to_the_end)
{
    static const uint8_t in[] = {0x02, 0x01, 0x05, 0x04, 0x00, 0x30, 0x02, 0x05, 0x00};
    struct kv_der der;
    struct kv_der_item item;
    kv_der_init(&der, (struct kv_bytes){in, sizeof(in)});
    cr_expect_eq(kv_der_peek(&der), KV_DER_INTEGER);
    cr_expect(kv_der_take(&der, KV_DER_INTEGER, &item));
    cr_expect_eq(item.body.len, 1);
    cr_expect_eq(item.whole.len, 3);
    cr_expect(kv_der_take(&der, KV_DER_OCTETS, &item));
    cr_expect_eq(item.body.len, 0);
    cr_expect_eq(kv_der_end(&der), KV_E_INVALID, "something is left");
    cr_expect(kv_der_next(&der, &item));
    cr_expect_eq(item.tag, KV_DER_SEQUENCE);
    cr_expect_eq(kv_der_end(&der), 0);
    cr_expect_eq(kv_der_peek(&der), 0);
    cr_expect_not(kv_der_next(&der, &item));
    cr_expect_eq(kv_der_end(&der), KV_E_INVALID);
}

Test(der, long_lengths)
{
    static uint8_t in[4 + 300] = {0x04, 0x82, 0x01, 0x2c};
    struct kv_der der;
    struct kv_der_item item;
    kv_der_init(&der, (struct kv_bytes){in, sizeof(in)});
    cr_expect(kv_der_take(&der, KV_DER_OCTETS, &item));
    cr_expect_eq(item.body.len, 300);
    cr_expect_eq(item.body.data, in + 4);
    cr_expect_eq(kv_der_end(&der), 0);
}

Test(der, a_wrong_tag_sticks)
{
    static const uint8_t in[] = {0x02, 0x01, 0x05};
    struct kv_der der;
    struct kv_der_item item;
    kv_der_init(&der, (struct kv_bytes){in, sizeof(in)});
    cr_expect_not(kv_der_take(&der, KV_DER_OCTETS, &item));
    cr_expect_eq(item.whole.len, 0);
    cr_expect_not(kv_der_take(&der, KV_DER_INTEGER, &item));
    cr_expect_eq(kv_der_end(&der), KV_E_INVALID);
}

static const struct {
    const char *why;
    size_t len;
    uint8_t in[8];
} bad[] = {
    {"empty", 0, {0}},
    {"tag only", 1, {0x02}},
    {"contents missing", 2, {0x02, 0x01}},
    {"contents short", 4, {0x02, 0x03, 1, 2}},
    {"indefinite length", 4, {0x30, 0x80, 0, 0}},
    {"length of length cut", 2, {0x04, 0x81}},
    {"length not minimal", 4, {0x04, 0x81, 0x01, 0xff}},
    {"leading zero in length", 5, {0x04, 0x82, 0x00, 0x80, 0}},
    {"length of five bytes", 8, {0x04, 0x85, 1, 0, 0, 0, 0, 0}},
    {"length near 2^32", 6, {0x04, 0x84, 0xff, 0xff, 0xff, 0xff}},
    {"high tag number", 4, {0x1f, 0x02, 1, 2}},
};

Test(der, refuses_malformed_elements)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct kv_der der;
        struct kv_der_item item;
        kv_der_init(&der, (struct kv_bytes){bad[i].in, bad[i].len});
        cr_expect_not(kv_der_next(&der, &item), "%s", bad[i].why);
        cr_expect_eq(kv_der_end(&der), KV_E_INVALID, "%s", bad[i].why);
    }
}
