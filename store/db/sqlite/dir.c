/*
 * The directory of the store: whose it is, where it is, and who has it open.
 *
 * SQLite's locks and fsync cannot be relied on over a network, so such file systems
 * are refused. One daemon owns a directory: the lock is flock(2) on a file of its
 * own, which ends with the process however that ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "store/core/lock.h"
#include "store/core/str.h"
#include "store/db/sqlite/internal.h"

static const struct {
    uint32_t magic;
    const char *name;
} network_systems[] = {
    {0x6969, "NFS"},       {0x517b, "SMB"},        {0xff534d42, "CIFS"},
    {0xfe534d42, "SMB2"},  {0x00c36400, "Ceph"},   {0x5346414f, "AFS"},
    {0x6b414653, "AFS"},   {0x73757245, "Coda"},   {0x564c, "NCP"},
    {0x01021997, "9P"},    {0x0bd00bd0, "Lustre"}, {0x01161970, "GFS2"},
    {0x7461636f, "OCFS2"}, {0x47504653, "GPFS"},   {0x65735546, "FUSE"},
};

static int check_system(const char *dir, struct kv_err *err)
{
    struct statfs info;
    if (statfs(dir, &info) != 0)
        return kv_err_errno(err, errno, "db.no-dir", dir);
    for (size_t i = 0; i < sizeof(network_systems) / sizeof(network_systems[0]); i++) {
        if (network_systems[i].magic != (uint32_t)info.f_type)
            continue;
        (void)kv_err_set(err, KV_E_UNSUPPORTED, "db.network-file-system",
                         "%s is on %s, where a commit may be lost", dir,
                         network_systems[i].name);
        kv_err_hint(err, "keep the state directory on a local disk");
        return KV_E_UNSUPPORTED;
    }
    return 0;
}

int kv_sqlite_dir_check(const char *dir, struct kv_err *err)
{
    struct stat info;
    if (lstat(dir, &info) != 0 && errno == ENOENT)
        return kv_err_set(err, KV_E_NOT_FOUND, "db.no-dir", "there is no directory %s",
                          dir);
    if (lstat(dir, &info) != 0)
        return kv_err_errno(err, errno, "db.no-dir", dir);
    if (!S_ISDIR(info.st_mode))
        return kv_err_set(err, KV_E_NOT_FOUND, "db.no-dir", "%s is not a directory",
                          dir);
    if (info.st_uid != geteuid()) {
        (void)kv_err_set(err, KV_E_DENIED, "db.bad-owner",
                         "%s belongs to uid %u, the daemon runs as uid %u", dir,
                         info.st_uid, geteuid());
        kv_err_hint(err, "chown %u %s", geteuid(), dir);
        return KV_E_DENIED;
    }
    if ((info.st_mode & 077) != 0 || (info.st_mode & 0700) != 0700) {
        (void)kv_err_set(err, KV_E_DENIED, "db.bad-mode",
                         "%s has mode %04o, others could read or change the store", dir,
                         info.st_mode & 07777U);
        kv_err_hint(err, "chmod 0700 %s", dir);
        return KV_E_DENIED;
    }
    return check_system(dir, err);
}

/* The pid that the present owner left in the lock file, 0 when there is none. */
static long owner_pid(int fd)
{
    char text[24] = "";
    int64_t pid = 0;
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return kv_str_to_i64(text, 1, INT32_MAX, &pid) == 0 ? (long)pid : 0;
}

int kv_sqlite_dir_lock(const char *dir, int *lock_fd, struct kv_err *err)
{
    char path[4096];
    int fd = -1;
    int rc = 0;
    int n = snprintf(path, sizeof(path), "%s/%s", dir, KV_SQLITE_LOCK);
    if (n < 0 || (size_t)n >= sizeof(path))
        return kv_err_set(err, KV_E_INVALID, "db.no-dir", "the path is too long");
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return kv_err_errno(err, errno, "db.no-access", path);
    rc = kv_lock_file(fd, KV_LOCK_WAIT_MS);
    if (rc != 0) {
        if (rc != KV_E_BUSY)
            KV_TRY(kv_err_errno(err, errno, "db.no-access", path));
        (void)kv_err_set(err, KV_E_BUSY, "db.locked",
                         "the store in %s is in use by process %ld", dir,
                         owner_pid(fd));
        kv_err_hint(err, "stop that daemon first; it must not be two");
        KV_TRY(KV_E_BUSY);
    }
    char text[24];
    n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n)
        KV_TRY(kv_err_errno(err, errno, "db.no-access", path));
    *lock_fd = fd;
    fd = -1;
out:
    if (fd >= 0)
        (void)close(fd); /* nothing was written that matters */
    return rc;
}

static int sync_dir(const char *dir, struct kv_err *err)
{
    int rc = 0;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return kv_err_errno(err, errno, "db.no-access", dir);
    if (fsync(fd) != 0)
        rc = kv_err_errno(err, errno, "db.io", dir);
    (void)close(fd); /* opened for reading */
    return rc;
}

static int check_file(int fd, const char *path, struct kv_err *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return kv_err_errno(err, errno, "db.no-access", path);
    if (!S_ISREG(info.st_mode))
        return kv_err_set(err, KV_E_DENIED, "db.no-access", "%s is no regular file",
                          path);
    if (info.st_uid != geteuid() || (info.st_mode & 077) != 0) {
        (void)kv_err_set(err, KV_E_DENIED, "db.bad-mode",
                         "%s has mode %04o and owner %u; it must be 0600 and ours",
                         path, info.st_mode & 07777U, info.st_uid);
        kv_err_hint(err, "chmod 0600 %s", path);
        return KV_E_DENIED;
    }
    if (info.st_size == 0 && fsync(fd) != 0)
        return kv_err_errno(err, errno, "db.io", path);
    return 0;
}

int kv_sqlite_file_make(const char *dir, const char *path, struct kv_err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return kv_err_errno(err, errno, "db.no-access", path);
    int rc = check_file(fd, path, err);
    (void)close(fd); /* what was written has been synced */
    return rc != 0 ? rc : sync_dir(dir, err);
}
