/*
 * Reading the keyfile is strict on purpose: a keyfile that another account may read,
 * or that a link leads to, is an installation mistake the operator must hear of, so
 * each refusal says which command cures it.
 */
#include "store/keyring/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int kv_file_read(int fd, size_t max_len, struct kv_buf *out)
{
    uint8_t chunk[4096];
    size_t total = 0;
    for (;;) {
        const ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return KV_E_IO;
        if (n == 0)
            break;
        total += (size_t)n;
        const int rc =
            total > max_len ? KV_E_TOO_BIG : kv_buf_append(out, chunk, (size_t)n);
        kv_wipe(chunk, (size_t)n);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int write_all(int fd, struct kv_bytes content)
{
    size_t done = 0;
    while (done < content.len) {
        const ssize_t n = write(fd, content.data + done, content.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        done += (size_t)n;
    }
    return 0;
}

int kv_file_write_new(const struct kv_file_new *file, struct kv_bytes content,
                      struct kv_err *err)
{
    const int fd = openat(file->dir_fd, file->name,
                          O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                          file->mode | S_IWUSR);
    if (fd < 0 && errno == EEXIST)
        return kv_err_set(err, KV_E_EXISTS, "file.exists", "'%s' exists already",
                          file->name);
    if (fd < 0)
        return kv_err_errno(err, errno, file->id, file->name);
    int rc = 0;
    if (write_all(fd, content) != 0 || fchmod(fd, file->mode) != 0 || fsync(fd) != 0)
        rc = kv_err_errno(err, errno, file->id, file->name);
    if (close(fd) != 0 && rc == 0)
        rc = kv_err_errno(err, errno, file->id, file->name);
    if (rc != 0)
        (void)unlinkat(file->dir_fd, file->name, 0); /* the first error counts */
    return rc;
}

static int check_stat(const struct stat *st, struct kv_err *err)
{
    if (!S_ISREG(st->st_mode))
        return kv_err_set(err, KV_E_INVALID, "keyfile.not-regular",
                          "the keyfile '%s' is not a regular file", KV_KEYFILE);
    if (st->st_uid != geteuid()) {
        kv_err_set(err, KV_E_DENIED, "keyfile.wrong-owner",
                   "the keyfile '%s' belongs to uid %u, the keyring runs as uid %u",
                   KV_KEYFILE, st->st_uid, geteuid());
        kv_err_hint(err, "chown %u %s", geteuid(), KV_KEYFILE);
        return KV_E_DENIED;
    }
    if ((st->st_mode & 07777) != 0400) {
        kv_err_set(err, KV_E_DENIED, "keyfile.wrong-mode",
                   "the keyfile '%s' has mode %04o, it must have 0400", KV_KEYFILE,
                   (unsigned)st->st_mode & 07777);
        kv_err_hint(err, "chmod 0400 %s (in the keyring directory)", KV_KEYFILE);
        return KV_E_DENIED;
    }
    if (st->st_size != KV_KEYFILE_LEN)
        return kv_err_set(err, KV_E_INVALID, "keyfile.wrong-size",
                          "the keyfile '%s' has %lld bytes, it must have %d",
                          KV_KEYFILE, (long long)st->st_size, KV_KEYFILE_LEN);
    return 0;
}

int kv_keyfile_load(int dir_fd, struct kv_secret *out, struct kv_err *err)
{
    int rc = 0;
    struct stat st;
    struct kv_buf content;
    kv_buf_init_secret(&content, KV_KEYFILE_LEN);
    const int fd =
        openat(dir_fd, KV_KEYFILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ELOOP) {
        rc = kv_err_set(err, KV_E_INVALID, "keyfile.not-regular",
                        "the keyfile '%s' is a symbolic link", KV_KEYFILE);
        goto out;
    }
    if (fd < 0 || fstat(fd, &st) != 0) {
        rc = kv_err_errno(err, errno, "keyfile.read-failed", KV_KEYFILE);
        goto out;
    }
    KV_TRY(check_stat(&st, err));
    rc = kv_file_read(fd, KV_KEYFILE_LEN, &content);
    if (rc == KV_E_IO)
        (void)kv_err_errno(err, errno, "keyfile.read-failed", KV_KEYFILE);
    KV_TRY(rc);
    if (content.len != KV_KEYFILE_LEN) {
        rc = kv_err_set(err, KV_E_INVALID, "keyfile.wrong-size",
                        "the keyfile '%s' changed while it was read", KV_KEYFILE);
        goto out;
    }
    rc = kv_secret_init_from(out, content.data, content.len);
out:
    if (fd >= 0)
        close(fd);
    kv_buf_free(&content);
    return rc;
}

int kv_keyfile_create(int dir_fd, const struct kv_rand *rand, struct kv_err *err)
{
    uint8_t bytes[KV_KEYFILE_LEN];
    const struct kv_file_new file = {.dir_fd = dir_fd,
                                     .name = KV_KEYFILE,
                                     .mode = S_IRUSR,
                                     .id = "keyfile.write-failed"};
    int rc = kv_rand_fill(rand, bytes, sizeof(bytes));
    if (rc == 0)
        rc = kv_file_write_new(&file, (struct kv_bytes){bytes, sizeof(bytes)}, err);
    kv_wipe(bytes, sizeof(bytes));
    return rc;
}
