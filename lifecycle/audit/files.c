/*
 * Names, listing, and the check of a directory.
 */
#include "lifecycle/audit/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/core/str.h"

#define PREFIX "audit-"
#define DIGITS 10
#define SUFFIX ".log"
#define READ_BYTES 262144

void kv_audit_file_name(uint64_t segment, char out[KV_AUDIT_FILE_MAX])
{
    (void)snprintf(out, KV_AUDIT_FILE_MAX, PREFIX "%0*" PRIu64 SUFFIX, DIGITS, segment);
}

/* The number in a name; 0 for any other file. */
static uint64_t number_of(const char *name)
{
    char made[KV_AUDIT_FILE_MAX];
    char digits[24];
    const char *at = name + strlen(PREFIX);
    int64_t number = 0;
    if (!kv_str_has_prefix(name, PREFIX))
        return 0;
    while (*at == '0')
        at++;
    kv_str_cut(digits, sizeof(digits), at, strspn(at, "0123456789"));
    if (kv_str_to_i64(digits, 1, INT64_MAX, &number) != 0)
        return 0;
    kv_audit_file_name((uint64_t)number, made);
    return strcmp(made, name) == 0 ? (uint64_t)number : 0;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;
    return *x < *y ? -1 : *x > *y;
}

static int read_names(DIR *stream, uint64_t *numbers, size_t *n, struct kv_err *err)
{
    const struct dirent *entry = NULL;
    while ((errno = 0, entry = readdir(stream)) != NULL) {
        uint64_t number = number_of(entry->d_name);
        if (number == 0)
            continue;
        if (*n == KV_AUDIT_SEGMENTS_MAX)
            return kv_err_set(err, KV_E_TOO_BIG, "audit.unreadable",
                              "the audit log has more than %d segments",
                              KV_AUDIT_SEGMENTS_MAX);
        numbers[(*n)++] = number;
    }
    return errno == 0 ? 0 : kv_err_errno(err, errno, "audit.unreadable", "audit log");
}

int kv_audit_files_list(int dir_fd, uint64_t **out, size_t *n, struct kv_err *err)
{
    *n = 0;
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    uint64_t *numbers = calloc(KV_AUDIT_SEGMENTS_MAX, sizeof(*numbers));
    int rc = numbers == NULL ? KV_E_NOMEM : 0;
    if (stream == NULL)
        rc = kv_err_errno(err, errno, "audit.unreadable", "audit log");
    else if (rc == 0)
        rc = read_names(stream, numbers, n, err);
    if (stream != NULL)
        (void)closedir(stream);
    else if (fd >= 0)
        (void)close(fd);
    if (rc == 0 && numbers != NULL) {
        qsort(numbers, *n, sizeof(*numbers), compare);
        *out = numbers;
    } else {
        free(numbers);
    }
    return rc;
}

int kv_audit_dir_open(const char *dir, int *out, struct kv_err *err)
{
    *out = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*out >= 0)
        return 0;
    if (errno == ENOENT)
        return kv_err_set(err, KV_E_NOT_FOUND, "audit.no-directory",
                          "there is no directory %s", dir);
    return kv_err_errno(err, errno, "audit.unreadable", dir);
}

static int feed(int fd, uint64_t n_bytes, struct kv_audit_verifier *verifier,
                const char *name, struct kv_err *err)
{
    int rc = 0;
    char *bytes = malloc(READ_BYTES);
    if (bytes == NULL)
        return KV_E_NOMEM;
    while (rc == 0 && n_bytes > 0) {
        size_t wanted = n_bytes < READ_BYTES ? (size_t)n_bytes : READ_BYTES;
        ssize_t got = read(fd, bytes, wanted);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            rc = kv_err_errno(err, errno, "audit.unreadable", name);
        if (got <= 0)
            break;
        n_bytes -= (size_t)got;
        rc = kv_audit_verifier_feed(verifier, bytes, (size_t)got);
    }
    free(bytes);
    return rc;
}

int kv_audit_file_verify(int dir_fd, uint64_t segment, uint64_t n_bytes,
                         struct kv_audit_verifier *verifier, struct kv_err *err)
{
    char name[KV_AUDIT_FILE_MAX];
    kv_audit_file_name(segment, name);
    int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return kv_err_errno(err, errno, "audit.unreadable", name);
    int rc = kv_audit_verifier_begin(verifier, name, segment);
    if (rc == 0)
        rc = feed(fd, n_bytes, verifier, name, err);
    if (rc == 0)
        kv_audit_verifier_end(verifier);
    (void)close(fd);
    return rc;
}

int kv_audit_verify_dir(const char *dir, const struct kv_audit_keys *keys,
                        const struct kv_audit_mark *anchor,
                        const struct kv_audit_until *until,
                        struct kv_audit_report *report, struct kv_err *err)
{
    uint64_t *segments = NULL;
    size_t n = 0;
    int dir_fd = -1;
    int rc = 0;
    struct kv_audit_verifier *verifier = kv_audit_verifier_new(keys, anchor, report);
    if (verifier == NULL)
        return KV_E_NOMEM;
    KV_TRY(kv_audit_dir_open(dir, &dir_fd, err));
    KV_TRY(kv_audit_files_list(dir_fd, &segments, &n, err));
    for (size_t i = 0; i < n; i++) {
        uint64_t n_bytes = UINT64_MAX;
        if (until != NULL && segments[i] > until->segment)
            break; /* begun since */
        if (until != NULL && segments[i] == until->segment)
            n_bytes = until->n_bytes;
        KV_TRY(kv_audit_file_verify(dir_fd, segments[i], n_bytes, verifier, err));
    }
    kv_audit_verifier_finish(verifier);
out:
    free(segments);
    if (dir_fd >= 0)
        (void)close(dir_fd);
    kv_audit_verifier_free(verifier);
    return rc;
}
