/* One owner at a time, and a short wait for an owner that is going. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/core/lock.h"

static char path[] = "/tmp/kv-test-lock.XXXXXX";
static int fd;

static void setup(void)
{
    fd = mkstemp(path);
    cr_assert_geq(fd, 0);
}

static void teardown(void)
{
    close(fd);
    unlink(path);
}

TestSuite(lock, .init = setup, .fini = teardown);

/* A process that holds the lock until it is killed; returns once it has it. */
static pid_t start_owner(void)
{
    int ready[2];
    char byte;
    cr_assert_eq(pipe(ready), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        int own = open(path, O_RDWR);
        if (kv_lock_file(own, 0) == 0 && write(ready[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void end_owner(pid_t pid)
{
    kill(pid, SIGKILL);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

Test(lock, a_free_file_is_locked_at_once_and_again)
{
    cr_assert_eq(kv_lock_file(fd, 0), 0);
    cr_assert_eq(kv_lock_file(fd, 0), 0);
}

Test(lock, another_owner_keeps_it)
{
    pid_t owner = start_owner();
    cr_expect_eq(kv_lock_file(fd, 0), KV_E_BUSY);
    cr_expect_eq(kv_lock_file(fd, 50), KV_E_BUSY);
    end_owner(owner);
    cr_expect_eq(kv_lock_file(fd, 1000), 0);
}

Test(lock, an_owner_that_ends_meanwhile_is_waited_for)
{
    pid_t owner = start_owner();
    pid_t killer = fork();
    if (killer == 0) {
        usleep(100000);
        kill(owner, SIGKILL);
        _exit(0);
    }
    cr_expect_eq(kv_lock_file(fd, 10000), 0);
    cr_expect_eq(waitpid(owner, NULL, 0), owner);
    cr_expect_eq(waitpid(killer, NULL, 0), killer);
}

Test(lock, what_is_no_file_fails)
{
    cr_expect_eq(kv_lock_file(-1, 1000), KV_E_IO);
    cr_expect_eq(errno, EBADF);
}
