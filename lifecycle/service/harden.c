/*
 * Self-restriction of the service: prctl, rlimit, and Landlock by raw system calls
 * (libc has no wrappers).
 *
 * Landlock names what stays allowed; all other files are gone for this process and its
 * threads. Connecting to Unix sockets is not a file access in its terms.
 */
#include "lifecycle/service/harden.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FS_READ                                                                        \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |                       \
     LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_MAKE                                                                        \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |                  \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK)
/* Everything that version 1 of the interface knows. */
#define FS_ALL                                                                         \
    (FS_READ | FS_MAKE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                               \
     LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |                      \
     LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |                    \
     LANDLOCK_ACCESS_FS_MAKE_SYM)
#define FS_OF_FILES                                                                    \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |                       \
     LANDLOCK_ACCESS_FS_WRITE_FILE)

#define FILES_WANTED 8192

int kv_harden_process(struct kv_err *err)
{
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return kv_err_errno(err, errno, "service.harden", "give privileges up");
    return 0;
}

unsigned kv_harden_files(void)
{
    struct rlimit limit = {FILES_WANTED, FILES_WANTED};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return FILES_WANTED;
    const rlim_t wanted = limit.rlim_max < FILES_WANTED ? limit.rlim_max : FILES_WANTED;
    if (limit.rlim_cur < wanted) {
        const rlim_t before = limit.rlim_cur;
        limit.rlim_cur = wanted;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            return (unsigned)before;
    }
    return (unsigned)(limit.rlim_cur < FILES_WANTED ? limit.rlim_cur : FILES_WANTED);
}

static uint64_t access_of(enum kv_allow allow)
{
    switch (allow) {
    case KV_ALLOW_READ:
        return FS_READ;
    case KV_ALLOW_STORE:
        return FS_READ | FS_MAKE;
    case KV_ALLOW_WRITE:
        return FS_MAKE;
    }
    return 0;
}

static int add_path(int ruleset, const struct kv_allowed_path *path)
{
    struct stat info;
    struct landlock_path_beneath_attr rule = {.allowed_access = access_of(path->allow)};
    rule.parent_fd = path->path != NULL ? open(path->path, O_PATH | O_CLOEXEC) : -1;
    if (rule.parent_fd < 0)
        return 0;
    int failed = fstat(rule.parent_fd, &info);
    if (failed == 0 && !S_ISDIR(info.st_mode))
        rule.allowed_access &= FS_OF_FILES;
    if (failed == 0)
        failed = (int)syscall(SYS_landlock_add_rule, ruleset,
                              LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    int error = errno;
    (void)close(rule.parent_fd);
    errno = error;
    return failed;
}

int kv_harden_paths(const struct kv_allowed_path *paths, size_t n, struct kv_log *log,
                    struct kv_err *err)
{
    struct landlock_ruleset_attr attr = {.handled_access_fs = FS_ALL};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
    if (ruleset < 0) {
        kv_log(log, KV_LOG_WARN, "service.no-landlock", KV_I("errno", errno));
        return 0;
    }
    int failed = 0;
    for (size_t i = 0; i < n && failed == 0; i++)
        failed = add_path(ruleset, &paths[i]);
    if (failed == 0)
        failed = (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
    int error = errno;
    (void)close(ruleset);
    return failed == 0 ? 0
                       : kv_err_errno(err, error, "service.harden", "restrict files");
}
