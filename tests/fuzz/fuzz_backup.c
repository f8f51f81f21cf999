/*
 * A backup file from outside, behind the key that opens it: the header is read, and the
 * rest where the header is good. Nothing but a file that was written here opens, so
 * what matters is that every other one is refused, with its own id, and leaves no copy.
 */
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lifecycle/backup/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void read_header(struct kv_bytes file)
{
    struct kv_backup_header header;
    struct kv_buf again;
    struct kv_err err = KV_ERR_INIT;
    int rc = kv_backup_header_get(file, &header, &err);
    KV_ASSERT(rc == err.code);
    KV_ASSERT(rc == 0 || strncmp(err.id, "backup.", 7) == 0);
    if (rc != 0)
        return;
    kv_buf_init(&again, KV_BACKUP_HEADER_MAX);
    KV_ASSERT(kv_backup_header_put(&header, &again) == 0);
    KV_ASSERT(again.len <= file.len && memcmp(again.data, file.data, again.len) == 0);
    kv_buf_free(&again);
}

static void read_body(const uint8_t *data, size_t len)
{
    static const uint8_t key[KV_BACKUP_KEY_LEN] = {1};
    char from[64];
    char to[64];
    uint8_t digest[KV_BACKUP_DIGEST_LEN];
    struct kv_copy_counts counts;
    struct kv_err err = KV_ERR_INIT;
    int fd = memfd_create("backup", MFD_CLOEXEC);
    KV_ASSERT(fd >= 0 && write(fd, data, len) == (ssize_t)len);
    (void)snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
    (void)snprintf(to, sizeof(to), "/tmp/kv-fuzz-backup-%ld", (long)getpid());
    const struct kv_backup_job job = {.from = from, .to = to, .file_key = key};
    int rc = kv_backup_read(&job, &counts, digest, &err);
    KV_ASSERT(rc == err.code);
    KV_ASSERT(rc == 0 || strncmp(err.id, "backup.", 7) == 0);
    KV_ASSERT((access(to, F_OK) == 0) == (rc == 0));
    (void)unlink(to); /* may not be there */
    (void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > 1 << 20)
        return 0;
    read_header((struct kv_bytes){data, len});
    read_body(data, len);
    KV_ASSERT(ERR_peek_error() == 0);
    return 0;
}
