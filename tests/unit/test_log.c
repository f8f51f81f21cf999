/*
 * Log records in their three spellings, and the sinks.
 */
#include "store/core/log.h"
#include "store/core/log_format.h"
#include "store/core/log_sink.h"
#include "store/core/str.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

TestSuite(log, .timeout = 20);

#define NOON 1764072000 /* 2025-11-25T12:00:00Z */

/* Format one record; the caller frees `out`. */
static void format(enum kv_log_format kind, const struct kv_log_field *fields,
                   size_t n_fields, struct kv_buf *out)
{
    struct kv_log_record record = {.level = KV_LOG_WARN,
                                   .program = "prog",
                                   .event = "cert.late",
                                   .time_s = NOON,
                                   .fields = fields,
                                   .n_fields = n_fields,
                                   .text_max = KV_LOG_TEXT_MAX};
    kv_buf_init(out, 10000);
    cr_assert_eq(kv_log_format(kind, &record, out), 0);
}

static void expect_value(const char *value, const char *quoted)
{
    struct kv_buf out;
    char want[2000];
    const struct kv_log_field fields[] = {KV_S("v", value)};
    format(KV_LOG_JSON, fields, 1, &out);
    (void)snprintf(want, sizeof(want),
                   "{\"time\":\"2025-11-25T12:00:00Z\",\"level\":\"warn\","
                   "\"program\":\"prog\",\"event\":\"cert.late\",\"v\":%s}\n",
                   quoted);
    cr_expect_str_eq(kv_buf_cstr(&out), want);
    kv_buf_free(&out);
}

Test(log, json_escapes_what_json_must)
{
    expect_value("plain", "\"plain\"");
    expect_value("", "\"\"");
    expect_value(NULL, "\"\"");
    expect_value("a\"b\\c", "\"a\\\"b\\\\c\"");
    expect_value("a\nb\tc\x1B[31m", "\"a\\nb\\u0009c\\u001b[31m\"");
    expect_value("\x7F\xC2\x9B", "\"\\u007f\\u009b\"");
    expect_value("\xE2\x80\xAE", "\"\\u202e\"");
    expect_value("caf\xC3\xA9 \xF0\x9F\x98\x80", "\"caf\xC3\xA9 \xF0\x9F\x98\x80\"");
    expect_value("a\xFFz\xC3", "\"a\xEF\xBF\xBDz\xEF\xBF\xBD\"");
}

Test(log, cuts_long_values_between_characters)
{
    char value[400];
    char want[500];
    memset(value, 'x', sizeof(value));
    value[256] = '\0';
    (void)snprintf(want, sizeof(want), "\"%s\"", value);
    expect_value(value, want);

    memset(value, 'x', sizeof(value));
    memcpy(value + 255, "\xC3\xA9", 3);
    (void)snprintf(want, sizeof(want), "\"%.255s...\"", value);
    expect_value(value, want);
}

Test(log, text_is_one_line)
{
    struct kv_buf out;
    const struct kv_log_field fields[] = {KV_S("name", "a\nb"), KV_I("days", -3)};
    format(KV_LOG_TEXT, fields, 2, &out);
    cr_expect_str_eq(kv_buf_cstr(&out), "2025-11-25T12:00:00Z warn  prog cert.late "
                                        "name=\"a\\nb\" days=-3\n");
    kv_buf_free(&out);
}

Test(log, journal_fields_are_prefixed_and_framed)
{
    struct kv_buf out;
    const struct kv_log_field fields[] = {KV_S("name", "web"), KV_I("days_left", 3),
                                          KV_S("why", "a\nPRIORITY=0")};
    static const char want[] =
        "PRIORITY=4\nSYSLOG_IDENTIFIER=prog\nKEYVAULT_EVENT=cert.late\n"
        "KEYVAULT_NAME=web\nKEYVAULT_DAYS_LEFT=3\n"
        "KEYVAULT_WHY\n\x0C\0\0\0\0\0\0\0"
        "a\nPRIORITY=0\n"
        "MESSAGE=cert.late name=\"web\" days_left=3 why=\"a\\nPRIORITY=0\"\n";
    format(KV_LOG_JOURNALD, fields, 3, &out);
    cr_assert_eq(out.len, sizeof(want) - 1);
    cr_expect_arr_eq(out.data, want, sizeof(want) - 1);
    kv_buf_free(&out);
}

static void read_pipe(int fd, char *out, size_t out_size)
{
    ssize_t n = read(fd, out, out_size - 1);
    cr_assert_geq(n, 0);
    out[n] = '\0';
}

Test(log, writes_what_its_level_lets_through)
{
    int fds[2];
    char text[4096];
    struct kv_clock_manual manual;
    struct kv_log *log = NULL;
    kv_clock_manual_init(&manual, NOON);
    cr_assert_eq(pipe(fds), 0);
    cr_assert_eq(
        kv_log_open(&log, KV_LOG_TEXT, KV_LOG_WARN, fds[1], "prog", &manual.clock), 0);
    kv_log(log, KV_LOG_INFO, "not.seen", KV_I("n", 1));
    kv_log(log, KV_LOG_ERROR, "seen", KV_I("n", 2));
    kv_log_write(log, KV_LOG_WARN, "bare", NULL, 0);
    kv_log(NULL, KV_LOG_ERROR, "silent", KV_I("n", 3));
    kv_log_close(log);
    kv_log_close(NULL);
    close(fds[1]);
    read_pipe(fds[0], text, sizeof(text));
    cr_expect_str_eq(text, "2025-11-25T12:00:00Z error prog seen n=2\n"
                           "2025-11-25T12:00:00Z warn  prog bare\n");
    close(fds[0]);
}

Test(log, failure_shows_id_message_hint_and_causes)
{
    int fds[2];
    char text[8192];
    struct kv_clock_manual manual;
    struct kv_log *log = NULL;
    kv_clock_manual_init(&manual, NOON);
    struct kv_err err = KV_ERR_INIT;
    kv_err_set(&err, KV_E_IO, "a.b", "%0300d", 0);
    kv_err_hint(&err, "look");
    kv_err_cause_add(&err, "a.c", "below");
    cr_assert_eq(pipe(fds), 0);
    cr_assert_eq(
        kv_log_open(&log, KV_LOG_JSON, KV_LOG_DEBUG, fds[1], "prog", &manual.clock), 0);
    kv_log_err(log, KV_LOG_ERROR, "job.failed", &err);
    kv_log_err(NULL, KV_LOG_ERROR, "job.failed", &err);
    kv_log_close(log);
    close(fds[1]);
    read_pipe(fds[0], text, sizeof(text));
    cr_expect_not_null(strstr(text, "\"event\":\"job.failed\",\"error\":\"a.b\","
                                    "\"code\":\"io\",\"message\":\"000"));
    cr_expect_not_null(strstr(text, "0000\",\"hint\":\"look\",\"cause_1\":\"a.c\","
                                    "\"cause_1_message\":\"below\"}\n"));
    close(fds[0]);
}

Test(log, tells_when_a_record_was_too_big)
{
    int fds[2];
    char text[4096];
    char big[400];
    struct kv_log_field fields[400];
    struct kv_clock_manual manual;
    struct kv_log *log = NULL;
    kv_clock_manual_init(&manual, NOON);
    memset(big, 1, sizeof(big));
    big[sizeof(big) - 1] = '\0';
    for (size_t i = 0; i < 400; i++)
        fields[i] = KV_S("v", big);
    cr_assert_eq(pipe(fds), 0);
    cr_assert_eq(
        kv_log_open(&log, KV_LOG_TEXT, KV_LOG_INFO, fds[1], "prog", &manual.clock), 0);
    kv_log_write(log, KV_LOG_INFO, "big", fields, 400);
    kv_log_close(log);
    close(fds[1]);
    read_pipe(fds[0], text, sizeof(text));
    cr_expect_str_eq(text, "2025-11-25T12:00:00Z info  prog big fields_dropped=400\n");
    close(fds[0]);
}

Test(log, survives_a_sink_that_fails)
{
    struct kv_clock_manual manual;
    struct kv_log *log = NULL;
    kv_clock_manual_init(&manual, NOON);
    cr_assert_eq(kv_log_open(&log, KV_LOG_JSON, KV_LOG_INFO, -1, "prog", &manual.clock),
                 0);
    kv_log(log, KV_LOG_INFO, "lost", KV_I("n", 1));
    kv_log_close(log);
}

Test(log, chooses_the_format_by_the_descriptor)
{
    int fds[2];
    struct stat st;
    char stream[64];
    cr_assert_eq(pipe(fds), 0);
    cr_expect_eq(unsetenv("JOURNAL_STREAM"), 0);
    cr_expect_eq(kv_log_format_auto(fds[1]), KV_LOG_JSON);
    cr_assert_eq(fstat(fds[1], &st), 0);
    (void)snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
                   (uintmax_t)st.st_ino);
    cr_expect_eq(setenv("JOURNAL_STREAM", stream, 1), 0);
    cr_expect_eq(kv_log_format_auto(fds[1]), KV_LOG_JOURNALD);
    cr_expect_eq(setenv("JOURNAL_STREAM", "1:1", 1), 0);
    cr_expect_eq(kv_log_format_auto(fds[1]), KV_LOG_JSON);
    cr_expect_eq(kv_log_format_auto(-1), KV_LOG_JSON);
    close(fds[0]);
    close(fds[1]);
}

/* A datagram socket in a new folder below `dir`, as the journal would listen. */
static int listen_in(char *dir, struct sockaddr_un *address)
{
    cr_assert_not_null(mkdtemp(dir));
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(address->sun_path, sizeof(address->sun_path), "%s/socket", dir);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)address, sizeof(*address)), 0);
    return fd;
}

Test(log, sends_one_datagram_per_record_to_the_journal)
{
    char dir[] = "/tmp/kv-test-log-XXXXXX";
    struct sockaddr_un address;
    struct kv_clock_manual manual;
    struct kv_log *log = NULL;
    int fd = listen_in(dir, &address);
    kv_clock_manual_init(&manual, NOON);
    struct kv_log_sink sink = {.format = KV_LOG_JOURNALD,
                               .level = KV_LOG_INFO,
                               .fd = -1,
                               .program = "prog",
                               .clock = &manual.clock,
                               .journal_path = address.sun_path};
    cr_assert_eq(kv_log_open_sink(&log, &sink), 0);
    kv_log(log, KV_LOG_INFO, "one", KV_I("n", 1));
    kv_log(log, KV_LOG_ERROR, "two", KV_S("v", "x"));
    char text[4096];
    ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    cr_assert_gt(n, 0);
    text[n] = '\0';
    cr_expect_str_eq(text, "PRIORITY=6\nSYSLOG_IDENTIFIER=prog\nKEYVAULT_EVENT=one\n"
                           "KEYVAULT_N=1\nMESSAGE=one n=1\n");
    n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    cr_assert_gt(n, 0);
    text[n] = '\0';
    cr_expect_str_eq(text, "PRIORITY=3\nSYSLOG_IDENTIFIER=prog\nKEYVAULT_EVENT=two\n"
                           "KEYVAULT_V=x\nMESSAGE=two v=\"x\"\n");
    close(fd);
    kv_log(log, KV_LOG_INFO, "lost", KV_I("n", 1)); /* nobody listens: no signal */
    kv_log_close(log);
    log = NULL;
    cr_expect_eq(kv_log_open_sink(&log, &sink), KV_E_IO, "nobody listens");
    cr_expect_eq(unlink(address.sun_path), 0);
    cr_expect_eq(kv_log_open_sink(&log, &sink), KV_E_IO, "no socket");
    cr_expect_null(log);
    cr_expect_eq(rmdir(dir), 0);
}
