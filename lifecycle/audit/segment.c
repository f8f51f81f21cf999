/*
 * Writing a segment. A batch of lines is one write and one fdatasync. When there is no
 * space the file is cut back to what is durable, the reserve is given up, and a record
 * of type stop says why nothing follows.
 *
 * A segment's file gets its name only when its first record is durable, so that a crash
 * leaves no segment without a beginning.
 */
#include "lifecycle/audit/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH_MAX (4U << 20)
#define NEW_FILE "new"

int kv_audit_segment_init(struct kv_audit_segment *segment, const char *dir,
                          const struct kv_clock *clock, struct kv_err *err)
{
    memset(segment, 0, sizeof(*segment));
    segment->dir_fd = -1;
    segment->fd = -1;
    segment->clock = clock;
    kv_buf_init(&segment->out, BATCH_MAX);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return kv_err_errno(err, errno, "audit.unreadable", dir);
    return kv_audit_dir_open(dir, &segment->dir_fd, err);
}

void kv_audit_segment_fini(struct kv_audit_segment *segment)
{
    kv_audit_chain_free(segment->chain);
    kv_buf_free(&segment->out);
    if (segment->fd >= 0)
        (void)close(segment->fd);
    if (segment->dir_fd >= 0)
        (void)close(segment->dir_fd);
}

int kv_audit_segment_add(struct kv_audit_segment *segment, uint64_t seq,
                         const char *body, size_t len)
{
    static const char head[] = "{\"v\":1,\"seq\":0";
    char text[KV_AUDIT_LINE_MAX];
    const size_t head_len = sizeof(head) - 1;
    if (segment->fd < 0)
        return KV_E_UNAVAILABLE;
    KV_ASSERT(len >= head_len && len <= KV_AUDIT_UNNUMBERED_MAX &&
              memcmp(body, head, head_len) == 0);
    int n = snprintf(text, sizeof(text), "%.*s%" PRIu64, (int)head_len - 1, head, seq);
    memcpy(text + n, body + head_len, len - head_len);
    len = (size_t)n + len - head_len;
    int rc = kv_audit_chain_add(segment->chain, text, len);
    return rc != 0 ? rc : kv_audit_line_put(segment->chain, text, len, &segment->out);
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Write and sync `out`: 0 or an errno. */
static int flush(struct kv_audit_segment *segment)
{
    int failed = write_all(segment->fd, segment->out.data, segment->out.len);
    if (failed == 0 && fdatasync(segment->fd) != 0)
        failed = errno;
    if (failed == 0)
        segment->n_bytes += segment->out.len;
    kv_buf_reset(&segment->out);
    return failed;
}

/* Say in the log why it ends here, with the space that was kept for it. */
static void put_stop(struct kv_audit_segment *segment, int failed)
{
    struct kv_buf body;
    kv_buf_init(&body, KV_AUDIT_BODY_MAX);
    kv_audit_chain_set(segment->chain, segment->last.mac);
    kv_audit_body_begin(&body, 0, kv_now_s(segment->clock) * 1000000, "stop");
    kv_audit_put_text(&body, "why", strerrorname_np(failed), 32);
    if (kv_buf_status(&body) == 0 &&
        kv_audit_segment_add(segment, segment->last.seq + 1, (const char *)body.data,
                             body.len) == 0 &&
        flush(segment) == 0) {
        segment->last.seq++;
        memcpy(segment->last.mac, kv_audit_chain_mac(segment->chain), KV_AUDIT_MAC_LEN);
    }
    kv_buf_free(&body);
}

static void stop(struct kv_audit_segment *segment, int failed)
{
    bool is_full = failed == ENOSPC || failed == EDQUOT;
    /* After an I/O error nobody knows what the file holds: leave it as it is. */
    if (is_full && unlinkat(segment->dir_fd, KV_AUDIT_RESERVE_FILE, 0) == 0 &&
        ftruncate(segment->fd, (off_t)segment->n_bytes) == 0)
        put_stop(segment, failed);
    (void)close(segment->fd);
    segment->fd = -1;
}

int kv_audit_segment_sync(struct kv_audit_segment *segment, struct kv_err *reason)
{
    struct kv_audit_line line;
    if (segment->out.len == 0)
        return 0;
    /* The number of the last record stands in its line. */
    const uint8_t *end = segment->out.data + segment->out.len - 1;
    const uint8_t *before = memrchr(segment->out.data, '\n', segment->out.len - 1);
    const uint8_t *begin = before != NULL ? before + 1 : segment->out.data;
    KV_ASSERT(kv_audit_line_parse((const char *)begin, (size_t)(end - begin), &line) ==
              0);
    int failed = flush(segment);
    if (failed != 0) {
        int rc = kv_err_errno(reason, failed, "audit.write-failed", "audit log");
        stop(segment, failed);
        return rc;
    }
    segment->last.seq = line.seq;
    memcpy(segment->last.mac, line.mac, KV_AUDIT_MAC_LEN);
    return 0;
}

/* --- the directory ------------------------------------------------------------------
 */

static int keep_reserve(struct kv_audit_segment *segment, struct kv_err *err)
{
    struct stat info;
    int rc = 0;
    int fd = openat(segment->dir_fd, KV_AUDIT_RESERVE_FILE,
                    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return kv_err_errno(err, errno, "audit.write-failed", KV_AUDIT_RESERVE_FILE);
    if (fstat(fd, &info) == 0 && info.st_size < KV_AUDIT_RESERVE_BYTES) {
        int failed = posix_fallocate(fd, 0, KV_AUDIT_RESERVE_BYTES);
        if (failed != 0) {
            rc = kv_err_errno(err, failed, "audit.write-failed", KV_AUDIT_RESERVE_FILE);
            (void)unlinkat(segment->dir_fd, KV_AUDIT_RESERVE_FILE, 0);
        }
    }
    (void)close(fd);
    return rc;
}

int kv_audit_segment_scan(struct kv_audit_segment *segment, uint64_t *last,
                          struct kv_err *err)
{
    uint64_t *numbers = NULL;
    size_t n = 0;
    int rc = kv_audit_files_list(segment->dir_fd, &numbers, &n, err);
    if (rc != 0)
        return rc;
    *last = n > 0 ? numbers[n - 1] : 0;
    free(numbers);
    return keep_reserve(segment, err);
}

/* The keys of a check that knows one segment; its seals are the keyring's matter. */
static int tail_key(void *arg, uint64_t segment, uint8_t out[KV_AUDIT_KEY_LEN])
{
    const struct kv_audit_tail *tail = arg;
    KV_ASSERT(segment == tail->segment);
    memcpy(out, tail->key, KV_AUDIT_KEY_LEN);
    return 0;
}

static int tail_seal(void *arg, enum kv_audit_seal_kind kind,
                     const struct kv_audit_mark *mark,
                     const struct kv_audit_mark *after,
                     const uint8_t seal[KV_AUDIT_MAC_LEN])
{
    (void)arg;
    (void)kind;
    (void)mark;
    (void)after;
    (void)seal;
    return 0;
}

/* Take off a record that a crash had cut: it was never acknowledged. */
static int cut(struct kv_audit_segment *segment, const struct kv_audit_report *report,
               struct kv_audit_tail *tail, struct kv_err *err)
{
    char name[KV_AUDIT_FILE_MAX];
    struct stat info;
    kv_audit_file_name(tail->segment, name);
    int fd = openat(segment->dir_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    bool is_cut = fd >= 0 && fstat(fd, &info) == 0 &&
                  ftruncate(fd, (off_t)report->n_bytes) == 0 && fdatasync(fd) == 0;
    int rc = is_cut ? 0 : kv_err_errno(err, errno, "audit.write-failed", name);
    if (is_cut)
        tail->torn = (uint64_t)info.st_size - report->n_bytes;
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

int kv_audit_segment_tail(struct kv_audit_segment *segment, struct kv_audit_tail *tail,
                          struct kv_err *err)
{
    const struct kv_audit_keys keys = {
        .segment_key = tail_key, .check_seal = tail_seal, .arg = tail};
    struct kv_audit_report *report = calloc(1, sizeof(*report));
    struct kv_audit_verifier *verifier =
        report != NULL ? kv_audit_verifier_new(&keys, NULL, report) : NULL;
    int rc = KV_E_NOMEM;
    if (verifier == NULL)
        goto out;
    KV_TRY(kv_audit_file_verify(segment->dir_fd, tail->segment, UINT64_MAX, verifier,
                                err));
    tail->last = report->last;
    tail->is_damaged = report->n_findings > 0;
    if (report->n_findings == 1 && report->n_records > 0 && report->is_torn) {
        KV_TRY(cut(segment, report, tail, err));
        tail->is_damaged = false;
    }
out:
    kv_audit_verifier_free(verifier);
    free(report);
    return rc;
}

static int sync_dir(struct kv_audit_segment *segment, struct kv_err *err)
{
    return fsync(segment->dir_fd) == 0
               ? 0
               : kv_err_errno(err, errno, "audit.write-failed", "audit log");
}

/* Make the file with its first record; `segment` is that of the new file then. */
static int begin(struct kv_audit_segment *segment, const struct kv_audit_next *next,
                 const struct kv_audit_opening *opening, struct kv_err *err)
{
    char name[KV_AUDIT_FILE_MAX];
    struct kv_buf body;
    int rc = 0;
    kv_buf_init(&body, KV_AUDIT_BODY_MAX);
    kv_audit_file_name(opening->mark.segment, name);
    segment->fd =
        openat(segment->dir_fd, NEW_FILE,
               O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (segment->fd < 0)
        return kv_err_errno(err, errno, "audit.write-failed", name);
    KV_TRY(kv_audit_chain_new(&segment->chain, next->key, opening->mark.mac));
    kv_audit_body_begin(&body, 0, kv_now_s(segment->clock) * 1000000, "open");
    kv_audit_put_opening(&body, opening);
    KV_TRY(kv_buf_status(&body));
    KV_TRY(kv_audit_segment_add(segment, next->seq, (const char *)body.data, body.len));
    int failed = flush(segment);
    if (failed == 0 &&
        (linkat(segment->dir_fd, NEW_FILE, segment->dir_fd, name, 0) != 0 ||
         unlinkat(segment->dir_fd, NEW_FILE, 0) != 0))
        failed = errno;
    rc = failed == 0 ? sync_dir(segment, err)
                     : kv_err_errno(err, failed, "audit.write-failed", name);
out:
    kv_buf_free(&body);
    return rc;
}

int kv_audit_segment_next(struct kv_audit_segment *segment,
                          const struct kv_audit_next *next, struct kv_err *err)
{
    struct kv_audit_segment old = *segment;
    KV_ASSERT(segment->out.len == 0);
    segment->fd = -1;
    segment->chain = NULL;
    segment->n_bytes = 0;
    int rc = begin(segment, next, &next->opening, err);
    if (rc != 0) { /* what was open stays open */
        kv_audit_chain_free(segment->chain);
        if (segment->fd >= 0)
            (void)close(segment->fd);
        segment->fd = old.fd;
        segment->chain = old.chain;
        segment->n_bytes = old.n_bytes;
        kv_buf_reset(&segment->out);
        return rc;
    }
    kv_audit_chain_free(old.chain);
    if (old.fd >= 0)
        (void)close(old.fd);
    segment->last.segment = next->opening.mark.segment;
    segment->last.seq = next->seq;
    memcpy(segment->last.mac, kv_audit_chain_mac(segment->chain), KV_AUDIT_MAC_LEN);
    return 0;
}

/* What a segment says of the one before: its number and its last record. */
static int read_prev(struct kv_audit_segment *segment, uint64_t number,
                     struct kv_audit_mark *prev)
{
    char name[KV_AUDIT_FILE_MAX];
    char text[KV_AUDIT_LINE_MAX];
    struct kv_audit_line line;
    kv_audit_file_name(number, name);
    int fd = openat(segment->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = fd >= 0 ? pread(fd, text, sizeof(text), 0) : -1;
    if (fd >= 0)
        (void)close(fd);
    const char *end = n > 0 ? memchr(text, '\n', (size_t)n) : NULL;
    if (end == NULL || kv_audit_line_parse(text, (size_t)(end - text), &line) != 0 ||
        !kv_audit_line_u64(text, line.body_len, "prev_segment", &prev->segment) ||
        !kv_audit_line_u64(text, line.body_len, "prev_seq", &prev->seq) ||
        !kv_audit_line_mac(text, line.body_len, "prev_mac", prev->mac))
        return KV_E_INTEGRITY;
    return 0;
}

static uint64_t size_of(const struct kv_audit_segment *segment, uint64_t number)
{
    char name[KV_AUDIT_FILE_MAX];
    struct stat info;
    kv_audit_file_name(number, name);
    return fstatat(segment->dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0
               ? (uint64_t)info.st_size
               : 0;
}

int kv_audit_segment_old(struct kv_audit_segment *segment, struct kv_audit_old *old,
                         struct kv_err *err)
{
    uint64_t *numbers = NULL;
    size_t n = 0;
    uint64_t total = 0;
    int rc = kv_audit_files_list(segment->dir_fd, &numbers, &n, err);
    old->n = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        total += size_of(segment, numbers[i]);
    /* A damaged segment stays, and with it those behind it: somebody should look. */
    for (size_t i = 0;
         rc == 0 && i + 1 < n && total > old->keep_bytes && old->n < KV_AUDIT_OLD_MAX;
         i++) {
        struct kv_audit_mark *end = &old->end[old->n];
        if (read_prev(segment, numbers[i + 1], end) != 0 || end->segment != numbers[i])
            break;
        total -= size_of(segment, numbers[i]);
        old->n++;
    }
    free(numbers);
    return rc;
}

int kv_audit_segment_remove(struct kv_audit_segment *segment, uint64_t number,
                            struct kv_err *err)
{
    char name[KV_AUDIT_FILE_MAX];
    kv_audit_file_name(number, name);
    if (unlinkat(segment->dir_fd, name, 0) != 0 && errno != ENOENT)
        return kv_err_errno(err, errno, "audit.write-failed", name);
    return sync_dir(segment, err);
}
