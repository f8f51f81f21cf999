#include "lifecycle/backup/room.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "store/db/sqlite/sqlite.h"

#define MIB (1ull << 20)

/* Bytes of a file of the store, 0 when it is not there. */
static uint64_t size_of(const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct stat info;
    const int n = snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (n < 0 || (size_t)n >= sizeof(path) || stat(path, &info) != 0)
        return 0;
    return (uint64_t)info.st_size;
}

int kv_backup_check_room(const char *dir, struct kv_err *err)
{
    struct statvfs space;
    if (statvfs(dir, &space) != 0)
        return kv_err_errno(err, errno, "backup.no-room", dir);
    const uint64_t there = (uint64_t)space.f_bavail * space.f_frsize;
    const uint64_t wanted =
        2 * (size_of(dir, KV_SQLITE_FILE) + size_of(dir, KV_SQLITE_FILE "-wal")) +
        KV_BACKUP_SPARE;
    if (there >= wanted)
        return 0;
    (void)kv_err_set(err, KV_E_FULL, "backup.no-room",
                     "a backup needs %llu MiB beside the store, %llu MiB are free",
                     (unsigned long long)(wanted / MIB + 1),
                     (unsigned long long)(there / MIB));
    kv_err_hint(err, "make room in the file system of %s", dir);
    return KV_E_FULL;
}
