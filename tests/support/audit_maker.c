/*
 * Audit logs in memory: see audit_maker.h.
 */
#include "tests/support/audit_maker.h"

#include <criterion/criterion.h>
#include <string.h>

#include "lifecycle/audit/files.h"
#include "lifecycle/audit/record.h"

#define SEGMENT_MAX (1U << 20)

const uint8_t audit_maker_key[KV_AUDIT_KEY_LEN] = {1, 2, 3, 4, 5, 6, 7, 8};

void audit_maker_init(struct audit_maker *maker)
{
    memset(maker, 0, sizeof(*maker));
    for (size_t i = 0; i < AUDIT_MAKER_SEGMENTS_MAX; i++)
        kv_buf_init(&maker->segments[i], SEGMENT_MAX);
}

void audit_maker_fini(struct audit_maker *maker)
{
    for (size_t i = 0; i < AUDIT_MAKER_SEGMENTS_MAX; i++)
        kv_buf_free(&maker->segments[i]);
    kv_audit_chain_free(maker->chain);
}

static void begin(struct audit_maker *maker, struct kv_buf *body, const char *type,
                  uint64_t seq)
{
    kv_buf_init(body, KV_AUDIT_BODY_MAX);
    kv_audit_body_begin(body, seq, 1764000000000000 + (int64_t)seq, type);
    maker->last.seq = seq;
    maker->last.segment = maker->n_segments;
}

static void end(struct audit_maker *maker, struct kv_buf *body)
{
    cr_assert_eq(kv_buf_status(body), 0);
    cr_assert_eq(kv_audit_chain_add(maker->chain, body->data, body->len), 0);
    cr_assert_eq(kv_audit_line_put(maker->chain, body->data, body->len,
                                   &maker->segments[maker->n_segments - 1]),
                 0);
    memcpy(maker->last.mac, kv_audit_chain_mac(maker->chain), KV_AUDIT_MAC_LEN);
    kv_buf_free(body);
}

void audit_maker_open(struct audit_maker *maker, uint64_t lost_to)
{
    uint8_t key[KV_AUDIT_KEY_LEN];
    struct kv_buf body;
    struct kv_audit_opening opening = {.prev_segment = maker->last.segment,
                                       .mark = maker->last,
                                       .after = maker->anchor,
                                       .lost_to = lost_to};
    if (lost_to != 0) /* the keyring has seen it */
        opening.after = (struct kv_audit_mark){.seq = lost_to, .mac = {7}};
    opening.mark.segment = ++maker->n_segments;
    cr_assert_leq(maker->n_segments, AUDIT_MAKER_SEGMENTS_MAX);
    cr_assert_eq(kv_audit_seal(audit_maker_key, KV_AUDIT_SEAL_OPEN, &opening.mark,
                               &opening.after, opening.seal),
                 0);
    cr_assert_eq(kv_audit_segment_key(audit_maker_key, maker->n_segments, key), 0);
    kv_audit_chain_free(maker->chain);
    cr_assert_eq(kv_audit_chain_new(&maker->chain, key, opening.mark.mac), 0);
    if (maker->hides_lost)
        opening.lost_to = lost_to = 0;
    maker->anchor = lost_to != 0 ? opening.after : opening.mark;
    maker->anchor.segment = maker->n_segments;
    begin(maker, &body, "open", (lost_to != 0 ? lost_to : maker->last.seq) + 1);
    kv_audit_put_opening(&body, &opening);
    end(maker, &body);
}

void audit_maker_add(struct audit_maker *maker, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct kv_buf body;
        begin(maker, &body, "req", maker->last.seq + 1);
        kv_audit_put_text(&body, "principal", "unix:alice", 64);
        kv_audit_put_text(&body, "op", "sign", 64);
        end(maker, &body);
    }
}

void audit_maker_checkpoint(struct audit_maker *maker, bool is_forged)
{
    uint8_t seal[KV_AUDIT_MAC_LEN];
    struct kv_buf body;
    struct kv_audit_mark mark = maker->last;
    const struct kv_audit_mark after = maker->anchor;
    cr_assert_eq(
        kv_audit_seal(audit_maker_key, KV_AUDIT_SEAL_CHECKPOINT, &mark, &after, seal),
        0);
    if (is_forged)
        seal[0] ^= 1;
    maker->anchor = mark;
    begin(maker, &body, "checkpoint", maker->last.seq + 1);
    kv_audit_put_checkpoint(&body, &mark, &after, seal);
    end(maker, &body);
}

void audit_maker_retire(struct audit_maker *maker, const struct kv_audit_mark *last)
{
    struct kv_buf body;
    begin(maker, &body, "retire", maker->last.seq + 1);
    kv_audit_put_retire(&body, last);
    end(maker, &body);
}

void audit_maker_two(struct audit_maker *maker)
{
    audit_maker_init(maker);
    for (unsigned i = 0; i < 2; i++) {
        audit_maker_open(maker, 0);
        audit_maker_add(maker, 5);
        audit_maker_checkpoint(maker, false);
        audit_maker_add(maker, 5);
    }
    audit_maker_checkpoint(maker, false);
}

void audit_maker_verify(const struct audit_maker *maker, bool has_anchor,
                        struct kv_audit_report *report)
{
    struct kv_audit_keys keys;
    kv_audit_keys_of(&keys, audit_maker_key);
    struct kv_audit_verifier *verifier =
        kv_audit_verifier_new(&keys, has_anchor ? &maker->anchor : NULL, report);
    cr_assert_not_null(verifier);
    for (size_t i = 0; i < maker->n_segments; i++) {
        char name[KV_AUDIT_FILE_MAX];
        const struct kv_buf *segment = &maker->segments[i];
        if (segment->len == 0)
            continue;
        kv_audit_file_name(i + 1, name);
        cr_assert_eq(kv_audit_verifier_begin(verifier, name, i + 1), 0);
        for (size_t at = 0; at < segment->len; at += 1000) {
            size_t n = segment->len - at < 1000 ? segment->len - at : 1000;
            cr_assert_eq(kv_audit_verifier_feed(verifier, segment->data + at, n), 0);
        }
        kv_audit_verifier_end(verifier);
    }
    kv_audit_verifier_finish(verifier);
    kv_audit_verifier_free(verifier);
}

char *audit_maker_line(struct audit_maker *maker, size_t segment, unsigned n,
                       size_t *len)
{
    struct kv_buf *bytes = &maker->segments[segment];
    char *at = (char *)bytes->data;
    char *end = at + bytes->len;
    char *next = NULL;
    for (unsigned i = 0;; i++, at = next) {
        cr_assert_lt((const void *)at, (const void *)end);
        next = (char *)memchr(at, '\n', (size_t)(end - at)) + 1;
        if (i == n)
            break;
    }
    *len = (size_t)(next - at);
    return at;
}
