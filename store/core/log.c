/*
 * Log sinks: where a record goes once log_format.c has spelled it.
 *
 * A record is made in memory and leaves in one write or one datagram, so threads
 * and processes that share a sink do not mix lines, and no lock is needed. A sink
 * that fails loses the record: logging never stops the work it tells about.
 */
#include "store/core/log.h"

#include "store/core/log_format.h"
#include "store/core/log_sink.h"
#include "store/core/str.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RECORD_MAX ((size_t)64 * 1024)
#define PROGRAM_MAX 64
#define JOURNAL_SOCKET "/run/systemd/journal/socket"

struct kv_log {
    enum kv_log_format format;
    enum kv_log_level level;
    int fd;
    bool owns_fd;
    const struct kv_clock *clock;
    char program[PROGRAM_MAX];
};

/* A datagram socket that sends to `path`; -1 on failure. */
static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (kv_str_copy(address.sun_path, sizeof(address.sun_path), path) != 0)
        return -1;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 &&
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

int kv_log_open_sink(struct kv_log **out, const struct kv_log_sink *sink)
{
    int rc = 0;
    struct kv_log *log = calloc(1, sizeof(*log));
    if (log == NULL)
        return KV_E_NOMEM;
    log->format = sink->format;
    log->level = sink->level;
    log->fd = sink->fd;
    log->clock = sink->clock;
    kv_str_cut(log->program, sizeof(log->program), sink->program,
               strlen(sink->program));
    if (sink->format == KV_LOG_JOURNALD) {
        log->fd = connect_to(sink->journal_path);
        log->owns_fd = true;
        if (log->fd < 0) {
            rc = KV_E_IO;
            goto out;
        }
    }
    *out = log;
    log = NULL;
out:
    kv_log_close(log);
    return rc;
}

int kv_log_open(struct kv_log **out, enum kv_log_format format, enum kv_log_level level,
                int fd, const char *program, const struct kv_clock *clock)
{
    const struct kv_log_sink sink = {.format = format,
                                     .level = level,
                                     .fd = fd,
                                     .program = program,
                                     .clock = clock,
                                     .journal_path = JOURNAL_SOCKET};
    return kv_log_open_sink(out, &sink);
}

enum kv_log_format kv_log_format_auto(int fd)
{
    struct stat st;
    const char *stream = getenv("JOURNAL_STREAM");
    if (stream != NULL && fstat(fd, &st) == 0) {
        char here[64];
        (void)snprintf(here, sizeof(here), "%" PRIuMAX ":%" PRIuMAX,
                       (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
        if (strcmp(stream, here) == 0)
            return KV_LOG_JOURNALD;
    }
    return isatty(fd) == 1 ? KV_LOG_TEXT : KV_LOG_JSON;
}

void kv_log_close(struct kv_log *log)
{
    if (log == NULL)
        return;
    if (log->owns_fd && log->fd >= 0)
        close(log->fd);
    free(log);
}

/* One system call in the ordinary case; the rest of a short write follows. */
static void send_record(const struct kv_log *log, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = log->format == KV_LOG_JOURNALD
                        ? send(log->fd, data, len, MSG_NOSIGNAL)
                        : write(log->fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || log->format == KV_LOG_JOURNALD)
            return;
        data += n;
        len -= (size_t)n;
    }
}

static void write_record(const struct kv_log *log, const struct kv_log_record *record)
{
    int saved_errno = errno;
    struct kv_buf text;
    kv_buf_init(&text, RECORD_MAX);
    int rc = kv_log_format(log->format, record, &text);
    if (rc != 0) {
        /* Tell at least that it happened. */
        struct kv_log_record bare = *record;
        const struct kv_log_field dropped[] = {
            KV_I("fields_dropped", record->n_fields)};
        bare.fields = dropped;
        bare.n_fields = 1;
        kv_buf_reset(&text);
        rc = kv_log_format(log->format, &bare, &text);
    }
    if (rc == 0)
        send_record(log, text.data, text.len);
    kv_buf_free(&text);
    errno = saved_errno;
}

static struct kv_log_record make_record(const struct kv_log *log,
                                        enum kv_log_level level, const char *event)
{
    return (struct kv_log_record){.level = level,
                                  .program = log->program,
                                  .event = event,
                                  .time_s = kv_now_s(log->clock),
                                  .text_max = KV_LOG_TEXT_MAX};
}

void kv_log_write(struct kv_log *log, enum kv_log_level level, const char *event,
                  const struct kv_log_field *fields, size_t n_fields)
{
    if (log == NULL || level > log->level)
        return;
    struct kv_log_record record = make_record(log, level, event);
    record.fields = fields;
    record.n_fields = n_fields;
    write_record(log, &record);
}

void kv_log_err(struct kv_log *log, enum kv_log_level level, const char *event,
                const struct kv_err *err)
{
    static const char *const cause_names[KV_ERR_MAX_CAUSES][2] = {
        {"cause_1", "cause_1_message"},
        {"cause_2", "cause_2_message"},
        {"cause_3", "cause_3_message"},
        {"cause_4", "cause_4_message"},
    };
    if (log == NULL || level > log->level)
        return;
    struct kv_log_field fields[4 + 2 * KV_ERR_MAX_CAUSES];
    size_t n = 0;
    fields[n++] = KV_S("error", err->id);
    fields[n++] = KV_S("code", kv_code_name(err->code));
    fields[n++] = KV_S("message", err->message);
    if (err->hint[0] != '\0')
        fields[n++] = KV_S("hint", err->hint);
    for (unsigned i = 0; i < err->n_causes && i < KV_ERR_MAX_CAUSES; i++) {
        fields[n++] = KV_S(cause_names[i][0], err->causes[i].id);
        fields[n++] = KV_S(cause_names[i][1], err->causes[i].message);
    }
    struct kv_log_record record = make_record(log, level, event);
    record.fields = fields;
    record.n_fields = n;
    record.text_max = KV_ERR_TEXT_MAX; /* our own texts need no shorter cut */
    write_record(log, &record);
}
