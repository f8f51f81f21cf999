/*
 * The audit log on its loop, over a real directory, with a keyring in the same program:
 * records become durable, segments turn over, damage between two lives is told.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lifecycle/audit/audit.h"
#include "lifecycle/audit/files.h"
#include "tests/support/fake_link.h"

TestSuite(audit_log, .timeout = 60);

#define WAIT_MS 10000

static uv_loop_t loop;
static struct kv_room room;
static struct kv_keyring keyring;
static struct kv_audit *audit;
static struct kv_audit_config config;
static char dir[] = "/tmp/kv-audit-log-XXXXXX";
static unsigned n_durable;
static unsigned n_failed;
static unsigned n_started;
static int start_rc;
static bool is_closed;

static void turn(void)
{
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    (void)poll(NULL, 0, 1);
}

static void until(const unsigned *counter, unsigned at_least)
{
    for (int i = 0; *counter < at_least; i++) {
        cr_assert_lt(i, WAIT_MS, "it does not come");
        turn();
    }
}

static void on_started(void *arg, int rc, const struct kv_err *err)
{
    (void)arg;
    (void)err;
    start_rc = rc;
    n_started++;
}

static void on_durable(void *arg, int rc, const struct kv_err *err)
{
    (void)arg;
    cr_assert_eq(rc != 0, err != NULL);
    if (rc == 0)
        n_durable++;
    else
        n_failed++;
}

static void on_closed(void *arg)
{
    (void)arg;
    is_closed = true;
}

static void open_log(void)
{
    struct kv_err err = KV_ERR_INIT;
    n_durable = n_failed = n_started = 0;
    cr_assert_eq(kv_audit_open(&audit, &config, &err), 0, "%s", err.message);
    kv_audit_start(audit, on_started, NULL);
    until(&n_started, 1);
}

static void close_log(void)
{
    is_closed = false;
    kv_audit_close(audit, on_closed, NULL);
    for (int i = 0; !is_closed; i++) {
        cr_assert_lt(i, WAIT_MS, "it does not close");
        turn();
    }
}

static void setup(void)
{
    kv_room_init(&room);
    cr_assert_eq(uv_loop_init(&loop), 0);
    fake_link_open(&keyring, &loop, &room);
    cr_assert_not_null(mkdtemp(dir));
    config = (struct kv_audit_config){.loop = &loop,
                                      .keyring = &keyring,
                                      .dir = dir,
                                      .clock = &room.clock.clock,
                                      .segment_bytes = KV_AUDIT_SEGMENT_BYTES,
                                      .segment_s = KV_AUDIT_SEGMENT_S,
                                      .keep = KV_AUDIT_KEEP};
}

static void teardown(void)
{
    char path[512];
    struct dirent *entry = NULL;
    DIR *stream = opendir(dir);
    while (stream != NULL && (entry = readdir(stream)) != NULL) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        if (entry->d_name[0] != '.')
            (void)unlink(path);
    }
    (void)closedir(stream);
    cr_assert_eq(rmdir(dir), 0);
    fake_link_close(&keyring);
    turn();
    cr_assert_eq(uv_loop_close(&loop), 0);
    kv_room_fini(&room);
}

static int add(const char *op)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf *body = kv_audit_begin(audit, "req");
    kv_audit_put_text(body, "op", op, 64);
    return kv_audit_end(audit, on_durable, NULL, &err);
}

static void add_many(unsigned n)
{
    unsigned before = n_durable;
    for (unsigned i = 0; i < n; i++)
        cr_assert_eq(add("sign"), 0);
    until(&n_durable, before + n);
}

static void verify(struct kv_audit_report *report)
{
    struct kv_audit_keys keys;
    struct kv_audit_mark anchor;
    struct kv_err err = KV_ERR_INIT;
    kv_audit_keys_of(&keys, kv_seal_audit_key(room.seal));
    kv_anchor_last(room.anchor, &anchor);
    cr_assert_eq(kv_audit_verify_dir(dir, &keys, &anchor, NULL, report, &err), 0, "%s",
                 err.message);
}

static void expect_whole(uint64_t n_segments)
{
    static struct kv_audit_report report;
    verify(&report);
    cr_expect_eq(report.n_findings, 0, "%s:%lu %s", report.findings[0].file,
                 (unsigned long)report.findings[0].line, report.findings[0].text);
    cr_expect_eq(report.n_segments, n_segments, "%lu segments",
                 (unsigned long)report.n_segments);
}

static void segment_path(uint64_t segment, char path[512])
{
    char name[KV_AUDIT_FILE_MAX];
    kv_audit_file_name(segment, name);
    (void)snprintf(path, 512, "%s/%s", dir, name);
}

Test(audit_log, records_are_durable_and_the_log_is_whole, .init = setup,
     .fini = teardown)
{
    open_log();
    cr_assert_eq(start_rc, 0);
    add_many(100);
    close_log();
    expect_whole(1);
}

Test(audit_log, each_life_begins_a_segment_that_continues_the_one_before, .init = setup,
     .fini = teardown)
{
    for (unsigned i = 0; i < 3; i++) {
        open_log();
        add_many(5);
        close_log();
    }
    expect_whole(3);
}

Test(audit_log, checkpoints_are_sealed_by_number_and_by_time, .init = setup,
     .fini = teardown)
{
    struct kv_audit_state state;
    open_log();
    add_many(KV_AUDIT_CHECKPOINT_RECORDS);
    for (int i = 0; i < 200; i++)
        turn();
    kv_audit_state(audit, &state);
    uint64_t by_number = state.sealed.seq;
    cr_expect_geq(by_number, KV_AUDIT_CHECKPOINT_RECORDS);
    add_many(1);
    kv_clock_manual_advance(&room.clock, KV_AUDIT_CHECKPOINT_S + 1);
    for (int i = 0; i < WAIT_MS && state.sealed.seq == by_number; i++) {
        turn();
        kv_audit_state(audit, &state);
    }
    cr_expect_gt(state.sealed.seq, by_number);
    close_log();
    expect_whole(1);
}

Test(audit_log, a_full_segment_gives_way_without_losing_a_record, .init = setup,
     .fini = teardown)
{
    struct kv_audit_state state;
    config.segment_bytes = 20000;
    open_log();
    for (unsigned i = 0; i < 4; i++) {
        kv_audit_state(audit, &state);
        uint64_t segment = state.last.segment;
        for (int j = 0; j < WAIT_MS && state.last.segment == segment; j++) {
            cr_assert_eq(add("sign"), 0);
            turn();
            kv_audit_state(audit, &state);
        }
    }
    close_log();
    cr_expect_eq(n_failed, 0);
    expect_whole(5);
}

Test(audit_log, old_segments_are_deleted_and_that_is_a_record, .init = setup,
     .fini = teardown)
{
    config.segment_bytes = 3000;
    config.keep = 2;
    for (unsigned i = 0; i < 5; i++) {
        open_log();
        add_many(10);
        for (int j = 0; j < 100; j++)
            turn();
        close_log();
    }
    char path[512];
    segment_path(1, path);
    cr_expect_neq(access(path, F_OK), 0);
    static struct kv_audit_report report;
    verify(&report);
    cr_expect_eq(report.n_findings, 0, "%s", report.findings[0].text);
    cr_expect_lt(report.n_segments, 5);
    /* But not if somebody else has deleted one more. */
    segment_path(4, path);
    cr_assert_eq(unlink(path), 0);
    verify(&report);
    cr_expect_geq(report.n_findings, 1);
    cr_expect_eq(report.findings[0].damage, KV_AUDIT_DROP);
}

Test(audit_log, a_record_that_a_crash_has_cut_is_taken_off, .init = setup,
     .fini = teardown)
{
    char path[512];
    open_log();
    add_many(3);
    close_log();
    segment_path(1, path);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    cr_assert_eq(write(fd, "{\"v\":1,\"seq\":", 13), 13);
    (void)close(fd);
    open_log();
    close_log();
    expect_whole(2);
}

Test(audit_log, what_was_cut_between_two_lives_is_told_for_ever, .init = setup,
     .fini = teardown)
{
    char path[512];
    struct stat info;
    static struct kv_audit_report report;
    open_log();
    segment_path(1, path);
    cr_assert_eq(stat(path, &info), 0);
    add_many(3);
    close_log();
    cr_assert_eq(truncate(path, info.st_size), 0);
    verify(&report);
    cr_assert_eq(report.n_findings, 1);
    cr_expect_eq(report.findings[0].damage, KV_AUDIT_TRUNCATE);
    open_log();
    add_many(3);
    close_log();
    verify(&report);
    cr_assert_eq(report.n_findings, 1, "%s", report.findings[1].text);
    cr_expect_eq(report.findings[0].damage, KV_AUDIT_DROP, "%s",
                 report.findings[0].text);
}

Test(audit_log, without_the_keyring_it_does_not_begin, .init = setup, .fini = teardown)
{
    keyring.is_unreachable = true;
    open_log();
    cr_expect_eq(start_rc, KV_E_UNAVAILABLE);
    cr_expect_not(kv_audit_is_running(audit));
    cr_expect_eq(add("sign"), KV_E_UNAVAILABLE);
    keyring.is_unreachable = false;
    for (int i = 0; i < WAIT_MS && !kv_audit_is_running(audit); i++)
        turn();
    add_many(1);
    close_log();
    expect_whole(1);
}

Test(audit_log, a_log_that_cannot_be_written_stops_and_begins_again, .init = setup,
     .fini = teardown)
{
    char path[512];
    open_log();
    add_many(2);
    /* A directory in the way of the next segment, and no room in this one. */
    config.segment_bytes = 1;
    close_log();
    (void)snprintf(path, sizeof(path), "%s/new", dir);
    cr_assert_eq(mkdir(path, 0700), 0);
    open_log();
    cr_expect_neq(start_rc, 0);
    cr_expect_eq(add("sign"), KV_E_UNAVAILABLE);
    cr_assert_eq(rmdir(path), 0);
    for (int i = 0; i < WAIT_MS && !kv_audit_is_running(audit); i++)
        turn();
    cr_assert(kv_audit_is_running(audit));
    add_many(2);
    close_log();
    static struct kv_audit_report report;
    verify(&report);
    cr_expect_eq(report.n_findings, 0, "%s", report.findings[0].text);
}

Test(audit_log, refusals_beyond_a_rate_are_told_in_sum, .init = setup, .fini = teardown)
{
    unsigned n_own = 0;
    open_log();
    for (unsigned i = 0; i < 100; i++)
        n_own += kv_audit_may_refuse(audit) ? 1 : 0;
    cr_expect_eq(n_own, 20);
    for (int i = 0; i < 700; i++)
        turn();
    cr_expect(kv_audit_may_refuse(audit));
    close_log();
    char path[512];
    char text[8192] = "";
    segment_path(1, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_gt(read(fd, text, sizeof(text) - 1), 0);
    (void)close(fd);
    cr_expect_not_null(
        strstr(text, "\"type\":\"count\",\"what\":\"refused\",\"n\":80"));
}
