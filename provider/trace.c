/*
 * One write() with O_APPEND per line, so that lines of many processes do not mix.
 *
 * Hosts close descriptors that they do not know, and others get the number: before each
 * line the descriptor is checked to be the file still; if not, the file is opened
 * again. Nothing of libc that takes a lock is called, for a forked child may find it
 * taken. A file at the limit of RLIMIT_FSIZE is left alone: the signal would end the
 * host.
 */
#include "provider/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 512
#define RETRY_US 1000000
#define LIMIT_MARGIN 65536 /* what others may append meanwhile */

struct kv_trace {
    char *path; /* NULL: relative, and not to be found again */
    _Atomic int fd;
    _Atomic uint64_t dev; /* what fd was */
    _Atomic uint64_t ino;
    _Atomic int64_t opener;      /* the process one of whose threads opens it again */
    _Atomic int64_t retry_at_us; /* not before */
};

int64_t kv_trace_begin_us(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static bool open_file(struct kv_trace *trace, const char *path)
{
    struct stat st;
    int fd = open(path,
                  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY |
                      O_NONBLOCK,
                  0600);
    if (fd >= 0 &&
        fd <= STDERR_FILENO) { /* what the host prints does not belong here */
        const int low = fd;
        fd = fcntl(low, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        (void)close(low); /* nothing to do about a failed close */
    }
    if (fd < 0)
        return false;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid()) {
        (void)close(fd); /* nothing to do about a failed close */
        return false;
    }
    atomic_store(&trace->dev, (uint64_t)st.st_dev);
    atomic_store(&trace->ino, (uint64_t)st.st_ino);
    atomic_store(&trace->fd, fd);
    return true;
}

struct kv_trace *kv_trace_new(const char *path)
{
    if (path == NULL || path[0] == '\0')
        return NULL;
    struct kv_trace *trace = OPENSSL_zalloc(sizeof(*trace));
    if (trace == NULL)
        return NULL;
    if (path[0] == '/')
        trace->path = OPENSSL_strdup(path);
    if (open_file(trace, path))
        return trace;
    OPENSSL_free(trace->path);
    OPENSSL_free(trace);
    return NULL;
}

/* Whether the descriptor still is the file, and how long that is. */
static bool is_ours(const struct kv_trace *trace, int fd, off_t *size)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || (uint64_t)st.st_dev != atomic_load(&trace->dev) ||
        (uint64_t)st.st_ino != atomic_load(&trace->ino))
        return false;
    *size = st.st_size;
    return true;
}

void kv_trace_free(struct kv_trace *trace)
{
    off_t size = 0;
    if (trace == NULL)
        return;
    if (is_ours(trace, atomic_load(&trace->fd), &size))
        (void)close(atomic_load(&trace->fd)); /* nothing to do about a failed close */
    OPENSSL_free(trace->path);
    OPENSSL_free(trace);
}

/* The descriptor was closed by the host: open the file again, one thread at a time and
 * at most once a second. */
static bool open_again(struct kv_trace *trace)
{
    const int64_t now_us = kv_trace_begin_us();
    int64_t other = atomic_load(&trace->opener);
    if (trace->path == NULL || now_us < atomic_load(&trace->retry_at_us) ||
        other == (int64_t)getpid() ||
        !atomic_compare_exchange_strong(&trace->opener, &other, (int64_t)getpid()))
        return false;
    atomic_store(&trace->retry_at_us, now_us + RETRY_US);
    const bool is_open = open_file(trace, trace->path);
    atomic_store(&trace->opener, 0);
    return is_open;
}

static bool has_room(off_t size)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
           (limit.rlim_cur == RLIM_INFINITY ||
            (uint64_t)size + LIMIT_MARGIN < (uint64_t)limit.rlim_cur);
}

/* "2026-11-24T08:00:00.123456Z". Days to a date as in H. Hinnant's civil_from_days:
 * years begin in March, so that the leap day is their last. */
static void put_time(char *out, size_t out_size)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    const int64_t second = now.tv_sec % 86400;
    const int64_t days = now.tv_sec / 86400 + 719468; /* since 0000-03-01 */
    const int64_t era = days / 146097;
    const int64_t of_era = days % 146097;
    const int64_t year =
        (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    const int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    const int64_t month = (5 * of_year + 2) / 153; /* 0: March */
    const int64_t day = of_year - (153 * month + 2) / 5 + 1;
    (void)BIO_snprintf(out, out_size, "%04lld-%02d-%02dT%02d:%02d:%02d.%06ldZ",
                       (long long)year + (long long)era * 400 + (month >= 10 ? 1 : 0),
                       (int)(month < 10 ? month + 3 : month - 9), (int)day,
                       (int)(second / 3600), (int)(second / 60 % 60),
                       (int)(second % 60), now.tv_nsec / 1000);
}

/* What others wrote must not make two lines of one. */
static void put_words(char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || (unsigned char)line[i] >= 0x7f)
            line[i] = '?';
}

void kv_trace_write(struct kv_trace *trace, const struct kv_trace_entry *entry)
{
    const int saved_errno = errno;
    const int64_t took_us = kv_trace_begin_us() - entry->begin_us;
    char time[40];
    char line[LINE_MAX_BYTES];
    off_t size = 0;
    if (!is_ours(trace, atomic_load(&trace->fd), &size) && !open_again(trace))
        goto out;
    put_time(time, sizeof(time));
    (void)BIO_snprintf(line, sizeof(line) - 1, "%s %ld %ld %s %.300s %lld %.47s", time,
                       (long)getpid(), (long)gettid(), entry->verb, entry->uri,
                       (long long)took_us,
                       entry->result != NULL ? entry->result : "ok");
    const size_t len = strlen(line);
    put_words(line, len);
    line[len] = '\n';
    ssize_t n = 0;
    if (has_room(size))
        n = write(atomic_load(&trace->fd), line, len + 1);
    (void)n; /* a full disk is not the request's failure */
out:
    errno = saved_errno;
}
