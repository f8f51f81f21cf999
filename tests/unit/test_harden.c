/*
 * What the service gives up, and the files that it may open.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lifecycle/service/harden.h"

TestSuite(harden, .timeout = 20); /* each test is a process of its own */

Test(harden, the_soft_limit_of_open_files_rises_to_the_hard_one)
{
    struct rlimit limit = {64, 512};
    struct rlimit now;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(kv_harden_files(), 512);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &now), 0);
    cr_assert_eq(now.rlim_cur, 512);
    cr_assert_eq(now.rlim_max, 512);
    cr_assert_eq(kv_harden_files(), 512, "a second time changes nothing");
}

Test(harden, a_process_dumps_no_core_and_gains_nothing)
{
    struct rlimit now;
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_harden_process(&err), 0, "%s", err.message);
    cr_assert_eq(getrlimit(RLIMIT_CORE, &now), 0);
    cr_assert_eq(now.rlim_max, 0);
    cr_assert_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
}

static int try_open(const char *dir, const char *name, int flags)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, flags, 0600);
    int error = fd < 0 ? errno : 0;
    if (fd >= 0)
        (void)close(fd);
    return error;
}

Test(harden, only_the_paths_that_are_named_stay)
{
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) <
        0)
        cr_skip("this kernel has no Landlock");
    char dirs[3][32] = {"/tmp/kv-read-XXXXXX", "/tmp/kv-write-XXXXXX",
                        "/tmp/kv-other-XXXXXX"};
    for (size_t i = 0; i < 3; i++) {
        cr_assert_not_null(mkdtemp(dirs[i]));
        cr_assert_eq(try_open(dirs[i], "old", O_WRONLY | O_CREAT), 0);
    }
    const struct kv_allowed_path paths[] = {{dirs[0], KV_ALLOW_READ},
                                            {dirs[1], KV_ALLOW_WRITE},
                                            {NULL, KV_ALLOW_STORE},
                                            {"/no/such/path", KV_ALLOW_READ}};
    struct kv_err err = KV_ERR_INIT;
    struct kv_log *log = NULL;
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        int rc =
            kv_harden_process(&err) == 0 && kv_harden_paths(paths, 4, log, &err) == 0
                ? 0
                : 100;
        if (rc == 0 && try_open(dirs[0], "old", O_RDONLY) != 0)
            rc = 1;
        if (rc == 0 && try_open(dirs[0], "new", O_WRONLY | O_CREAT) != EACCES)
            rc = 2;
        if (rc == 0 && try_open(dirs[1], "new", O_WRONLY | O_CREAT) != 0)
            rc = 3;
        if (rc == 0 && try_open(dirs[1], "old", O_RDONLY) != EACCES)
            rc = 4;
        if (rc == 0 && try_open(dirs[2], "old", O_RDONLY) != EACCES)
            rc = 5;
        if (rc == 0 && try_open("/etc", "passwd", O_RDONLY) != EACCES)
            rc = 6;
        _exit(rc);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        static const char *const names[] = {"old", "new"};
        for (size_t k = 0; k < 2; k++) {
            (void)snprintf(path, sizeof(path), "%s/%s", dirs[i], names[k]);
            (void)unlink(path);
        }
        cr_assert_eq(rmdir(dirs[i]), 0);
    }
    cr_assert_eq(status, 0, "step %d", WEXITSTATUS(status));
}
