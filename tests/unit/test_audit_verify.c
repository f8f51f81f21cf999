/* The check of audit logs: each way to damage one is found, and told by name. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/audit/files.h"
#include "tests/support/audit_maker.h"

TestSuite(audit_verify, .timeout = 60);

static struct audit_maker maker;
static struct kv_audit_report report;

static void setup(void)
{
    audit_maker_two(&maker);
}

static void teardown(void)
{
    audit_maker_fini(&maker);
}

static void expect_whole(void)
{
    audit_maker_verify(&maker, true, &report);
    cr_assert_eq(report.n_findings, 0, "%s: %s", report.findings[0].file,
                 report.findings[0].text);
}

/* One finding, of this kind and place. */
static void expect(enum kv_audit_damage damage, const char *file, uint64_t line)
{
    audit_maker_verify(&maker, true, &report);
    const struct kv_audit_finding *finding = &report.findings[0];
    cr_assert_geq(report.n_findings, 1);
    cr_expect_str_eq(kv_audit_damage_name(finding->damage),
                     kv_audit_damage_name(damage), "%s", finding->text);
    cr_expect_str_eq(finding->file, file);
    cr_expect_eq(finding->line, line, "line %lu: %s", (unsigned long)finding->line,
                 finding->text);
}

/* Take bytes out of a segment. */
static void cut(size_t segment, const char *at, size_t len)
{
    struct kv_buf *bytes = &maker.segments[segment];
    size_t offset = (size_t)(at - (const char *)bytes->data);
    memmove(bytes->data + offset, bytes->data + offset + len,
            bytes->len - offset - len);
    kv_buf_truncate(bytes, bytes->len - len);
}

Test(audit_verify, a_whole_log_is_whole, .init = setup, .fini = teardown)
{
    expect_whole();
    cr_expect_eq(report.n_segments, 2);
    cr_expect_eq(report.n_records, 25);
    cr_expect_eq(report.last.seq, 25);
    cr_expect_eq(report.last.segment, 2);
}

Test(audit_verify, a_log_can_be_checked_without_what_the_keyring_remembers,
     .init = setup, .fini = teardown)
{
    audit_maker_verify(&maker, false, &report);
    cr_expect_eq(report.n_findings, 0);
}

Test(audit_verify, every_bit_of_a_segment_counts, .init = setup, .fini = teardown)
{
    struct kv_buf *bytes = &maker.segments[0];
    for (size_t i = 0; i < bytes->len; i++) {
        bytes->data[i] ^= 1;
        audit_maker_verify(&maker, true, &report);
        cr_expect_geq(report.n_findings, 1, "byte %zu", i);
        bytes->data[i] ^= 1;
    }
    expect_whole();
}

Test(audit_verify, a_flip_is_found, .init = setup, .fini = teardown)
{
    size_t len = 0;
    char *line = audit_maker_line(&maker, 1, 3, &len);
    char *name = memmem(line, len, "alice", 5);
    cr_assert_not_null(name);
    memcpy(name, "malus", 5);
    expect(KV_AUDIT_FLIP, "audit-0000000002.log", 4);
}

Test(audit_verify, a_dropped_record_is_found, .init = setup, .fini = teardown)
{
    size_t len = 0;
    char *line = audit_maker_line(&maker, 0, 3, &len);
    cut(0, line, len);
    expect(KV_AUDIT_DROP, "audit-0000000001.log", 4);
}

Test(audit_verify, a_dropped_first_record_is_found, .init = setup, .fini = teardown)
{
    size_t len = 0;
    char *line = audit_maker_line(&maker, 1, 0, &len);
    cut(1, line, len);
    expect(KV_AUDIT_DROP, "audit-0000000002.log", 1);
}

Test(audit_verify, records_that_changed_places_are_found, .init = setup,
     .fini = teardown)
{
    char copy[KV_AUDIT_LINE_MAX];
    size_t first_len = 0;
    size_t second_len = 0;
    char *first = audit_maker_line(&maker, 0, 2, &first_len);
    char *second = audit_maker_line(&maker, 0, 3, &second_len);
    memcpy(copy, first, first_len);
    memmove(first, second, second_len);
    memcpy(first + second_len, copy, first_len);
    expect(KV_AUDIT_REORDER, "audit-0000000001.log", 3);
}

Test(audit_verify, a_record_that_stands_twice_is_found, .init = setup, .fini = teardown)
{
    char copy[KV_AUDIT_LINE_MAX];
    size_t len = 0;
    char *line = audit_maker_line(&maker, 1, 11, &len);
    memcpy(copy, line, len);
    cr_assert_eq(kv_buf_append(&maker.segments[1], copy, len), 0);
    expect(KV_AUDIT_REORDER, "audit-0000000002.log", 14);
}

Test(audit_verify, a_cut_end_is_found, .init = setup, .fini = teardown)
{
    kv_buf_truncate(&maker.segments[1], maker.segments[1].len - 7);
    expect(KV_AUDIT_TRUNCATE, "audit-0000000002.log", 13);
}

Test(audit_verify, records_missing_at_the_end_are_found, .init = setup,
     .fini = teardown)
{
    size_t len = 0;
    char *line = audit_maker_line(&maker, 1, 9, &len);
    kv_buf_truncate(&maker.segments[1],
                    (size_t)(line - (char *)maker.segments[1].data));
    expect(KV_AUDIT_TRUNCATE, "audit-0000000002.log", 9);
}

Test(audit_verify, records_missing_at_the_end_of_an_older_segment_are_found,
     .init = setup, .fini = teardown)
{
    size_t len = 0;
    char *line = audit_maker_line(&maker, 0, 9, &len);
    kv_buf_truncate(&maker.segments[0],
                    (size_t)(line - (char *)maker.segments[0].data));
    expect(KV_AUDIT_TRUNCATE, "audit-0000000002.log", 0);
}

Test(audit_verify, a_missing_last_segment_is_found, .init = setup, .fini = teardown)
{
    kv_buf_reset(&maker.segments[1]);
    expect(KV_AUDIT_TRUNCATE, "audit-0000000001.log", 12);
}

Test(audit_verify, a_missing_log_is_found, .init = setup, .fini = teardown)
{
    kv_buf_reset(&maker.segments[0]);
    kv_buf_reset(&maker.segments[1]);
    expect(KV_AUDIT_TRUNCATE, "", 0);
}

Test(audit_verify, a_missing_segment_in_between_is_found, .init = setup,
     .fini = teardown)
{
    audit_maker_open(&maker, 0);
    audit_maker_add(&maker, 2);
    expect_whole();
    kv_buf_reset(&maker.segments[1]);
    expect(KV_AUDIT_DROP, "audit-0000000003.log", 0);
}

Test(audit_verify, a_missing_first_segment_needs_a_record_of_its_end, .init = setup,
     .fini = teardown)
{
    struct kv_audit_mark end = {.segment = 1};
    struct kv_audit_line line;
    size_t len = 0;
    char *text = audit_maker_line(&maker, 0, 11, &len);
    cr_assert_eq(kv_audit_line_parse(text, len - 1, &line), 0);
    end.seq = line.seq;
    memcpy(end.mac, line.mac, sizeof(end.mac));
    kv_buf_reset(&maker.segments[0]);
    expect(KV_AUDIT_DROP, "", 0);
    audit_maker_retire(&maker, &end);
    expect_whole();
}

Test(audit_verify, a_spliced_segment_is_found, .init = setup, .fini = teardown)
{
    struct audit_maker other;
    audit_maker_init(&other);
    audit_maker_open(&other, 0);
    audit_maker_add(&other, 11);
    audit_maker_open(&other, 0);
    audit_maker_add(&other, 12);
    kv_buf_reset(&maker.segments[1]);
    cr_assert_eq(kv_buf_append(&maker.segments[1], other.segments[1].data,
                               other.segments[1].len),
                 0);
    expect(KV_AUDIT_SPLICE, "audit-0000000002.log", 1);
    audit_maker_fini(&other);
}

Test(audit_verify, segments_that_changed_places_are_found, .init = setup,
     .fini = teardown)
{
    struct kv_buf first = maker.segments[0];
    maker.segments[0] = maker.segments[1];
    maker.segments[1] = first;
    expect(KV_AUDIT_REORDER, "audit-0000000001.log", 1);
}

Test(audit_verify, a_rewritten_segment_lacks_the_seals_of_the_keyring)
{
    /* Who has a segment's key can write it anew, but not seal it. */
    audit_maker_init(&maker);
    audit_maker_open(&maker, 0);
    audit_maker_add(&maker, 4);
    audit_maker_checkpoint(&maker, true);
    expect(KV_AUDIT_SPLICE, "audit-0000000001.log", 6);
    audit_maker_fini(&maker);
}

Test(audit_verify, another_record_than_the_keyring_has_seen_is_found, .init = setup,
     .fini = teardown)
{
    maker.anchor.mac[5] ^= 1;
    expect(KV_AUDIT_SPLICE, "audit-0000000002.log", 12);
}

Test(audit_verify, what_was_lost_before_a_start_stays_on_record)
{
    audit_maker_init(&maker);
    audit_maker_open(&maker, 0);
    audit_maker_add(&maker, 4);
    audit_maker_open(&maker, 9);
    audit_maker_add(&maker, 4);
    expect(KV_AUDIT_DROP, "audit-0000000002.log", 1);
    cr_expect_eq(report.n_findings, 1);
    cr_expect_eq(report.last.seq, 14);
    audit_maker_fini(&maker);
}

Test(audit_verify, what_was_lost_cannot_be_left_out)
{
    audit_maker_init(&maker);
    audit_maker_open(&maker, 0);
    audit_maker_add(&maker, 4);
    maker.hides_lost = true;
    audit_maker_open(&maker, 9);
    audit_maker_add(&maker, 9);
    expect(KV_AUDIT_SPLICE, "audit-0000000002.log", 1);
    audit_maker_fini(&maker);
}

Test(audit_verify, a_checkpoint_that_is_left_out_hides_nothing)
{
    /* The keyring has sealed another record 3 than stands here. */
    audit_maker_init(&maker);
    audit_maker_open(&maker, 0);
    audit_maker_add(&maker, 4);
    maker.anchor = (struct kv_audit_mark){.segment = 1, .seq = 3, .mac = {9}};
    audit_maker_checkpoint(&maker, false);
    expect(KV_AUDIT_SPLICE, "audit-0000000001.log", 6);
    audit_maker_fini(&maker);
    audit_maker_init(&maker);
    audit_maker_open(&maker, 0);
    audit_maker_add(&maker, 4);
    maker.anchor = (struct kv_audit_mark){.segment = 1, .seq = 3, .mac = {9}};
    audit_maker_open(&maker, 0);
    expect(KV_AUDIT_SPLICE, "audit-0000000002.log", 1);
    audit_maker_fini(&maker);
}

Test(audit_verify, a_seal_that_was_never_written_is_no_damage)
{
    size_t len = 0;
    struct kv_audit_line line;
    audit_maker_init(&maker);
    audit_maker_open(&maker, 0);
    audit_maker_add(&maker, 4);
    const char *text = audit_maker_line(&maker, 0, 2, &len);
    cr_assert_eq(kv_audit_line_parse(text, len - 1, &line), 0);
    maker.anchor = (struct kv_audit_mark){.segment = 1, .seq = line.seq};
    memcpy(maker.anchor.mac, line.mac, KV_AUDIT_MAC_LEN);
    audit_maker_open(&maker, 0);
    audit_maker_add(&maker, 2);
    audit_maker_checkpoint(&maker, false);
    expect_whole();
    audit_maker_fini(&maker);
}

Test(audit_verify, a_log_that_goes_on_behind_nothing_is_found)
{
    audit_maker_init(&maker);
    maker.last = maker.anchor =
        (struct kv_audit_mark){.segment = 0, .seq = 9, .mac = {3}};
    audit_maker_open(&maker, 0);
    audit_maker_add(&maker, 2);
    expect(KV_AUDIT_DROP, "audit-0000000001.log", 0);
    audit_maker_fini(&maker);
}

Test(audit_verify, a_segment_that_was_never_written_is_no_damage, .init = setup,
     .fini = teardown)
{
    /* The keyring gave its key, then the machine stopped. */
    maker.anchor = maker.last;
    maker.anchor.segment = 3;
    maker.n_segments = 3;
    expect_whole();
    audit_maker_open(&maker, 0);
    expect_whole();
}

Test(audit_verify, lines_without_end_are_no_records, .init = setup, .fini = teardown)
{
    char junk[KV_AUDIT_LINE_MAX];
    memset(junk, 'x', sizeof(junk));
    cr_assert_eq(kv_buf_append(&maker.segments[1], junk, sizeof(junk)), 0);
    expect(KV_AUDIT_FLIP, "audit-0000000002.log", 14);
}

/* --- directories -------------------------------------------------------------------
 */

static void write_segment(const char *dir, size_t segment)
{
    char path[128];
    char name[KV_AUDIT_FILE_MAX];
    kv_audit_file_name(segment + 1, name);
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    const struct kv_buf *bytes = &maker.segments[segment];
    cr_assert_eq(write(fd, bytes->data, bytes->len), (ssize_t)bytes->len);
    (void)close(fd);
}

static void remove_segment(const char *dir, size_t segment)
{
    char path[128];
    char name[KV_AUDIT_FILE_MAX];
    kv_audit_file_name(segment + 1, name);
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    cr_assert_eq(unlink(path), 0);
}

Test(audit_verify, a_directory_is_read_in_order_of_its_numbers, .init = setup,
     .fini = teardown)
{
    char dir[] = "/tmp/kv-audit-XXXXXX";
    struct kv_err err = KV_ERR_INIT;
    struct kv_audit_keys keys;
    kv_audit_keys_of(&keys, audit_maker_key);
    cr_assert_not_null(mkdtemp(dir));
    write_segment(dir, 1);
    write_segment(dir, 0);
    cr_assert_eq(kv_audit_verify_dir(dir, &keys, &maker.anchor, NULL, &report, &err), 0,
                 "%s", err.message);
    cr_expect_eq(report.n_findings, 0);
    cr_expect_eq(report.n_records, 25);
    /* Half a record behind what counts is being written. */
    const struct kv_audit_until until = {.segment = 2,
                                         .n_bytes = maker.segments[1].len};
    cr_assert_eq(kv_buf_append_str(&maker.segments[1], "{\"v\":1,"), 0);
    write_segment(dir, 1);
    cr_assert_eq(kv_audit_verify_dir(dir, &keys, &maker.anchor, &until, &report, &err),
                 0);
    cr_expect_eq(report.n_findings, 0);
    remove_segment(dir, 0);
    remove_segment(dir, 1);
    cr_assert_eq(rmdir(dir), 0);
    cr_expect_eq(kv_audit_verify_dir(dir, &keys, NULL, NULL, &report, &err),
                 KV_E_NOT_FOUND);
    cr_expect_str_eq(err.id, "audit.no-directory");
}
