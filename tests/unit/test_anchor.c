/* What the keyring remembers of the audit log: marks go forward, and survive. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/keyring/anchor.h"

TestSuite(anchor, .timeout = 20);

static const uint8_t audit_key[KV_AUDIT_KEY_LEN] = {5};
static char path[] = "/tmp/kv-anchor-XXXXXX";
static struct kv_anchor *anchor;
static uint8_t key[KV_AUDIT_KEY_LEN];
static struct kv_audit_sealed sealed;

static void reopen(void)
{
    struct kv_err err = KV_ERR_INIT;
    kv_anchor_free(anchor);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(kv_anchor_new(&anchor, audit_key, fd, &err), 0, "%s", err.message);
}

static void setup(void)
{
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    (void)close(fd);
    reopen();
}

static void teardown(void)
{
    kv_anchor_free(anchor);
    (void)unlink(path);
}

static int open_segment(uint64_t segment, uint64_t seq)
{
    const struct kv_audit_mark mark = {.segment = segment, .seq = seq, .mac = {1}};
    return kv_anchor_open(anchor, &mark, key, &sealed, NULL);
}

static int seal_mark(uint64_t segment, uint64_t seq)
{
    const struct kv_audit_mark mark = {.segment = segment, .seq = seq, .mac = {2}};
    return kv_anchor_seal(anchor, &mark, &sealed, NULL);
}

Test(anchor, begins_with_nothing, .init = setup, .fini = teardown)
{
    struct kv_audit_mark last;
    kv_anchor_last(anchor, &last);
    cr_expect_eq(last.segment, 0);
    cr_expect_eq(last.seq, 0);
}

Test(anchor, a_segment_is_opened_once, .init = setup, .fini = teardown)
{
    uint8_t expected[KV_AUDIT_KEY_LEN];
    cr_assert_eq(open_segment(1, 0), 0);
    cr_assert_eq(kv_audit_segment_key(audit_key, 1, expected), 0);
    cr_expect_eq(memcmp(key, expected, sizeof(key)), 0);
    cr_expect_eq(open_segment(1, 0), KV_E_CONFLICT);
    cr_expect_eq(open_segment(4, 9), 0);
    cr_expect_eq(open_segment(3, 12), KV_E_CONFLICT);
}

Test(anchor, marks_only_go_forward, .init = setup, .fini = teardown)
{
    cr_assert_eq(open_segment(2, 10), 0);
    cr_expect_eq(seal_mark(2, 20), 0);
    cr_expect_eq(seal_mark(2, 19), KV_E_CONFLICT);
    cr_expect_eq(seal_mark(1, 30), KV_E_CONFLICT);
    cr_expect_eq(seal_mark(3, 30), KV_E_CONFLICT);
    cr_expect_eq(seal_mark(2, 20), 0);
}

Test(anchor, seals_are_told_from_others, .init = setup, .fini = teardown)
{
    struct kv_audit_mark mark = {.segment = 1, .seq = 3, .mac = {2}};
    cr_assert_eq(open_segment(1, 0), 0);
    cr_assert_eq(seal_mark(1, 3), 0);
    cr_expect_eq(kv_anchor_check(anchor, KV_AUDIT_SEAL_CHECKPOINT, &mark, &sealed), 0);
    cr_expect_eq(kv_anchor_check(anchor, KV_AUDIT_SEAL_OPEN, &mark, &sealed),
                 KV_E_INTEGRITY);
    mark.seq = 4;
    cr_expect_eq(kv_anchor_check(anchor, KV_AUDIT_SEAL_CHECKPOINT, &mark, &sealed),
                 KV_E_INTEGRITY);
}

Test(anchor, a_seal_covers_the_mark_before, .init = setup, .fini = teardown)
{
    const struct kv_audit_mark mark = {.segment = 1, .seq = 9, .mac = {2}};
    cr_assert_eq(open_segment(1, 0), 0);
    cr_assert_eq(seal_mark(1, 3), 0);
    cr_assert_eq(seal_mark(1, 9), 0);
    cr_expect_eq(sealed.after.seq, 3);
    cr_expect_eq(sealed.after.mac[0], 2);
    sealed.after.seq = 0;
    cr_expect_eq(kv_anchor_check(anchor, KV_AUDIT_SEAL_CHECKPOINT, &mark, &sealed),
                 KV_E_INTEGRITY);
}

Test(anchor, what_is_lost_stays_lost_until_the_log_is_beyond_it, .init = setup,
     .fini = teardown)
{
    struct kv_audit_mark last;
    cr_assert_eq(open_segment(1, 0), 0);
    cr_assert_eq(seal_mark(1, 9), 0);
    for (uint64_t segment = 2; segment <= 3; segment++) {
        cr_assert_eq(open_segment(segment, 4), 0);
        cr_expect_eq(sealed.after.seq, 9);
    }
    kv_anchor_last(anchor, &last);
    cr_expect_eq(last.segment, 3);
    cr_expect_eq(last.seq, 9);
    cr_expect_eq(last.mac[0], 2);
    cr_expect_eq(seal_mark(3, 8), KV_E_CONFLICT);
}

Test(anchor, numbers_do_not_jump, .init = setup, .fini = teardown)
{
    const uint64_t far = ((uint64_t)1 << 32) + 1;
    cr_expect_eq(open_segment(UINT64_MAX, 0), KV_E_CONFLICT);
    cr_expect_eq(open_segment(65537, 0), KV_E_CONFLICT);
    cr_expect_eq(open_segment(1, far), KV_E_CONFLICT);
    cr_expect_eq(kv_anchor_key(anchor, 65537, key, NULL), KV_E_DENIED);
    cr_assert_eq(open_segment(65536, 0), 0);
    cr_expect_eq(seal_mark(65536, UINT64_MAX), KV_E_CONFLICT);
    cr_expect_eq(seal_mark(65536, far), KV_E_CONFLICT);
    cr_expect_eq(seal_mark(65536, far - 1), 0);
    cr_expect_eq(open_segment(65536 * 2 + 1, far), KV_E_CONFLICT);
    cr_expect_eq(open_segment(65537, far), 0);
}

Test(anchor, keys_of_opened_segments_are_given_again, .init = setup, .fini = teardown)
{
    cr_assert_eq(open_segment(2, 5), 0);
    cr_expect_eq(kv_anchor_key(anchor, 1, key, NULL), 0);
    cr_expect_eq(kv_anchor_key(anchor, 2, key, NULL), 0);
    cr_expect_eq(kv_anchor_key(anchor, 3, key, NULL), KV_E_DENIED);
    cr_expect_eq(kv_anchor_key(anchor, 0, key, NULL), KV_E_DENIED);
}

Test(anchor, survives_the_process, .init = setup, .fini = teardown)
{
    struct kv_audit_mark last;
    cr_assert_eq(open_segment(1, 0), 0);
    for (uint64_t seq = 1; seq <= 5; seq++)
        cr_assert_eq(seal_mark(1, seq), 0);
    reopen();
    kv_anchor_last(anchor, &last);
    cr_expect_eq(last.segment, 1);
    cr_expect_eq(last.seq, 5);
    cr_expect_eq(last.mac[0], 2);
    cr_expect_eq(open_segment(1, 9), KV_E_CONFLICT);
}

Test(anchor, a_half_written_mark_leaves_the_one_before, .init = setup, .fini = teardown)
{
    struct kv_audit_mark last;
    char byte = 0;
    cr_assert_eq(open_segment(1, 0), 0); /* at 256 */
    cr_assert_eq(seal_mark(1, 7), 0);    /* at 0 */
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_eq(pread(fd, &byte, 1, 30), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, 30), 1);
    (void)close(fd);
    reopen();
    kv_anchor_last(anchor, &last);
    cr_expect_eq(last.segment, 1);
    cr_expect_eq(last.seq, 0);
}
