/* Lines of the audit log and the chain of MACs through them. */
#include <criterion/criterion.h>
#include <string.h>

#include "lifecycle/audit/record.h"

TestSuite(audit_chain, .timeout = 20);

static const uint8_t key[KV_AUDIT_KEY_LEN] = {9};
static const uint8_t none[KV_AUDIT_MAC_LEN];

static void make_line(struct kv_audit_chain *chain, struct kv_buf *out)
{
    struct kv_buf body;
    kv_buf_init(&body, KV_AUDIT_BODY_MAX);
    kv_audit_body_begin(&body, 7, 1764000000000001, "req");
    kv_audit_put_text(&body, "op", "sign", 16);
    kv_audit_put_number(&body, "status", 200);
    cr_assert_eq(kv_audit_chain_add(chain, body.data, body.len), 0);
    cr_assert_eq(kv_audit_line_put(chain, body.data, body.len, out), 0);
    kv_buf_free(&body);
}

Test(audit_chain, a_line_reads_back)
{
    struct kv_audit_chain *chain = NULL;
    struct kv_audit_line line;
    struct kv_buf out;
    uint64_t status = 0;
    kv_buf_init(&out, KV_AUDIT_LINE_MAX);
    cr_assert_eq(kv_audit_chain_new(&chain, key, none), 0);
    make_line(chain, &out);
    const char *text = (const char *)out.data;
    cr_assert_eq(kv_audit_line_parse(text, out.len - 1, &line), 0);
    cr_expect_eq(line.seq, 7);
    cr_expect_eq(line.time_us, 1764000000000001);
    cr_expect_str_eq(line.type, "req");
    cr_expect_eq(memcmp(line.mac, kv_audit_chain_mac(chain), KV_AUDIT_MAC_LEN), 0);
    cr_expect(kv_audit_line_u64(text, line.body_len, "status", &status));
    cr_expect_eq(status, 200);
    cr_expect_not(kv_audit_line_u64(text, line.body_len, "absent", &status));
    cr_expect_not(kv_audit_line_u64(text, line.body_len, "op", &status));
    kv_audit_chain_free(chain);
    kv_buf_free(&out);
}

Test(audit_chain, a_line_that_is_cut_or_changed_in_form_is_none)
{
    struct kv_audit_chain *chain = NULL;
    struct kv_audit_line line;
    struct kv_buf out;
    kv_buf_init(&out, KV_AUDIT_LINE_MAX);
    cr_assert_eq(kv_audit_chain_new(&chain, key, none), 0);
    make_line(chain, &out);
    for (size_t len = 0; len < out.len - 1; len++)
        cr_expect_eq(kv_audit_line_parse((const char *)out.data, len, &line),
                     KV_E_INVALID, "%zu bytes", len);
    out.data[20] = '\t';
    cr_expect_eq(kv_audit_line_parse((const char *)out.data, out.len - 1, &line),
                 KV_E_INVALID);
    kv_audit_chain_free(chain);
    kv_buf_free(&out);
}

/* HMAC-SHA256 by Python's hmac, so that the format is not what this code makes of it:
 * hmac(b"\x09" + 31 * b"\0", 32 * b"\0" + (4).to_bytes(4, "little") + b"body"). */
Test(audit_chain, macs_are_those_of_another_implementation)
{
    static const uint8_t expected[KV_AUDIT_MAC_LEN] = {
        0xa7, 0x7b, 0x46, 0x36, 0x8e, 0x4a, 0x85, 0xbe, 0x49, 0x69, 0xf6,
        0xcb, 0x28, 0x78, 0xa6, 0xb5, 0x75, 0x2f, 0x38, 0x86, 0x7c, 0xb3,
        0xc5, 0xec, 0xaf, 0xf6, 0x7f, 0x99, 0x18, 0x9d, 0xf7, 0x36};
    static const uint8_t second[KV_AUDIT_MAC_LEN] = {
        0xb8, 0xb6, 0xd7, 0xb1, 0x11, 0xea, 0x5d, 0x4d, 0xb1, 0x37, 0xa6,
        0x2a, 0x3d, 0x88, 0x2f, 0xb4, 0xd9, 0x89, 0xfd, 0xf8, 0x59, 0x90,
        0xad, 0xdd, 0x4d, 0x47, 0x24, 0xec, 0x84, 0x20, 0xc8, 0x5f};
    struct kv_audit_chain *chain = NULL;
    cr_assert_eq(kv_audit_chain_new(&chain, key, none), 0);
    cr_assert_eq(kv_audit_chain_add(chain, "body", 4), 0);
    cr_expect_eq(memcmp(kv_audit_chain_mac(chain), expected, sizeof(expected)), 0);
    cr_assert_eq(kv_audit_chain_add(chain, "", 0), 0);
    cr_expect_eq(memcmp(kv_audit_chain_mac(chain), second, sizeof(second)), 0);
    kv_audit_chain_set(chain, none);
    cr_assert_eq(kv_audit_chain_add(chain, "body", 4), 0);
    cr_expect_eq(memcmp(kv_audit_chain_mac(chain), expected, sizeof(expected)), 0);
    kv_audit_chain_free(chain);
}

Test(audit_chain, text_is_escaped_and_cut)
{
    struct kv_buf body;
    kv_buf_init(&body, KV_AUDIT_BODY_MAX);
    kv_audit_body_begin(&body, 1, 2, "req");
    kv_audit_put_text(&body, "a", "x\",\"op\":1\\\n\xc3\xa9", 64);
    kv_audit_put_text(&body, "b", "abcdef", 3);
    kv_audit_put_text(&body, "c", "", 3);
    kv_audit_put_text(&body, "d", NULL, 3);
    cr_expect_str_eq(kv_buf_cstr(&body),
                     "{\"v\":1,\"seq\":1,\"t\":2,\"type\":\"req\",\"a\":\"x\\u0022,"
                     "\\u0022op\\u0022:1\\u005c\\u000a\\u00c3\\u00a9\",\"b\":\"abc\"");
    kv_buf_free(&body);
}

Test(audit_chain, digests_are_of_their_segment_and_purpose)
{
    static const uint8_t other[KV_AUDIT_KEY_LEN] = {8};
    uint8_t a[KV_AUDIT_DIGEST_LEN];
    uint8_t b[KV_AUDIT_DIGEST_LEN];
    cr_assert_eq(kv_audit_digest(key, "token", "x", 1, a), 0);
    cr_assert_eq(kv_audit_digest(key, "token", "x", 1, b), 0);
    cr_expect_eq(memcmp(a, b, sizeof(a)), 0);
    cr_assert_eq(kv_audit_digest(key, "input", "x", 1, b), 0);
    cr_expect_neq(memcmp(a, b, sizeof(a)), 0);
    cr_assert_eq(kv_audit_digest(other, "token", "x", 1, b), 0);
    cr_expect_neq(memcmp(a, b, sizeof(a)), 0);
}

Test(audit_chain, keys_and_seals_are_all_different)
{
    uint8_t made[8][KV_AUDIT_KEY_LEN];
    struct kv_audit_mark mark = {.segment = 1, .seq = 5};
    struct kv_audit_mark after = {.segment = 1, .seq = 4};
    cr_assert_eq(kv_audit_segment_key(key, 1, made[0]), 0);
    cr_assert_eq(kv_audit_segment_key(key, 2, made[1]), 0);
    cr_assert_eq(kv_audit_seal(key, KV_AUDIT_SEAL_OPEN, &mark, &after, made[2]), 0);
    cr_assert_eq(kv_audit_seal(key, KV_AUDIT_SEAL_CHECKPOINT, &mark, &after, made[3]),
                 0);
    mark.seq = 6;
    cr_assert_eq(kv_audit_seal(key, KV_AUDIT_SEAL_CHECKPOINT, &mark, &after, made[4]),
                 0);
    mark.mac[31] = 1;
    cr_assert_eq(kv_audit_seal(key, KV_AUDIT_SEAL_CHECKPOINT, &mark, &after, made[5]),
                 0);
    after.seq = 3;
    cr_assert_eq(kv_audit_seal(key, KV_AUDIT_SEAL_CHECKPOINT, &mark, &after, made[6]),
                 0);
    after.mac[0] = 1;
    cr_assert_eq(kv_audit_seal(key, KV_AUDIT_SEAL_CHECKPOINT, &mark, &after, made[7]),
                 0);
    for (size_t i = 0; i < 8; i++)
        for (size_t j = 0; j < i; j++)
            cr_expect_neq(memcmp(made[i], made[j], KV_AUDIT_KEY_LEN), 0);
}
