/*
 * Hosts with little: without standard files, without descriptors, without their
 * connection, without rights, in a chroot, under a storm of signals, in a sandbox.
 *
 *   scarcity CASE URI-OR-FILE...
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/provider/host.h"

#define N_THREADS 8
#define NOBODY 65534

static int sign_without_standard_files(void *arg)
{
    (void)arg;
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        (void)close(fd);
    if (host_sign_all(2) != 0)
        return -1;
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (write(fd, "x", 1) >= 0 || errno != EBADF)
            return -1;
    }
    return 0;
}

static int no_standard_files(void)
{
    return host_wait(host_fork(sign_without_standard_files, NULL));
}

/* Take every descriptor there is; returns how many. */
static int exhaust(int fds[256])
{
    const struct rlimit limit = {.rlim_cur = 128, .rlim_max = 128};
    int n = 0;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return host_fail("setrlimit");
    while (n < 256 && (fds[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        n++;
    return n;
}

/* Take away the connections that loading has made, as a host that closes everything. */
static void close_sockets(void)
{
    struct stat st;
    for (int fd = 3; fd < 64; fd++) {
        if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
            (void)close(fd);
    }
}

/* Without a connection: an error that says why; with one descriptor all is well, and
 * goes on without another. */
static int no_descriptors(void)
{
    int fds[256];
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one); /* one CPU, one connection */
    if (sched_setaffinity(0, sizeof(one), &one) != 0)
        return host_fail("sched_setaffinity");
    close_sockets();
    int n = exhaust(fds);
    for (int i = 0; i < 3; i++) {
        if (host_sign_refused(0, "Too many open files", "limit of open files") != 0)
            return -1;
    }
    (void)close(fds[--n]);
    if (host_sign_all(2) != 0)
        return -1;
    while (n > 0)
        (void)close(fds[--n]);
    (void)exhaust(fds);
    return host_sign_all(2);
}

/* End every connection under the module, as a daemon that dies does. */
static int break_sockets(void)
{
    int n = 0;
    struct stat st;
    for (int fd = 3; fd < 64; fd++) {
        if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) && shutdown(fd, SHUT_RDWR) == 0)
            n++;
    }
    return n;
}

/* SIGPIPE keeps its default action, which would end this process. */
static int broken_pipe(void)
{
    (void)signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < 20; i++) {
        if (host_sign_all(1) != 0)
            return -1;
        if (break_sockets() == 0)
            return host_fail("there is no connection");
        if (host_sign_all(1) != 0)
            return -1;
    }
    return 0;
}

static _Atomic unsigned n_signals;

static void on_signal(int number)
{
    (void)number;
    atomic_fetch_add(&n_signals, 1);
}

static void *sign_some(void *arg)
{
    (void)host_sign_all(*(unsigned *)arg);
    return NULL;
}

static int sign_in_threads(unsigned n)
{
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        if (pthread_create(&threads[i], NULL, sign_some, &n) != 0)
            abort();
    }
    for (int i = 0; i < N_THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    return 0;
}

/* Every 0.2 ms, without SA_RESTART, in whichever thread. */
static int signals(void)
{
    const struct sigaction action = {.sa_handler = on_signal};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    const struct itimerspec often = {.it_interval.tv_nsec = 200000,
                                     .it_value.tv_nsec = 200000};
    timer_t timer;
    if (sigaction(SIGUSR1, &action, NULL) != 0 ||
        timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
        timer_settime(timer, 0, &often, NULL) != 0)
        return host_fail("timer");
    (void)host_sign_all(50);
    (void)sign_in_threads(50);
    (void)timer_delete(timer);
    return n_signals > 50 ? 0 : host_fail("there were few signals");
}

/* stunnel, nginx's workers: the uid changes after the keys were loaded and used. */
static int setuid_after_load(void)
{
    if (host_sign_all(1) != 0)
        return -1;
    if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
        return host_fail("setuid");
    (void)host_sign_all(3);
    return sign_in_threads(3);
}

/* HAProxy: an empty root directory and no rights. Only abstract sockets are left. */
static int jail(void)
{
    if (chroot("/proc/self/fdinfo") != 0 || chdir("/") != 0 || setgid(NOBODY) != 0 ||
        setuid(NOBODY) != 0)
        return host_fail("chroot");
    if (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
        return host_fail("there are files left");
    (void)host_sign_all(3);
    return sign_in_threads(3);
}

/* The calls of a quiet server; all else fails. */
static int enter_sandbox(void)
{
    static const int calls[] = {
        SCMP_SYS(read),       SCMP_SYS(write),        SCMP_SYS(close),
        SCMP_SYS(fstat),      SCMP_SYS(newfstatat),   SCMP_SYS(poll),
        SCMP_SYS(recvfrom),   SCMP_SYS(sendto),       SCMP_SYS(socket),
        SCMP_SYS(connect),    SCMP_SYS(getsockopt),   SCMP_SYS(setsockopt),
        SCMP_SYS(futex),      SCMP_SYS(brk),          SCMP_SYS(mmap),
        SCMP_SYS(munmap),     SCMP_SYS(mprotect),     SCMP_SYS(madvise),
        SCMP_SYS(getpid),     SCMP_SYS(geteuid),      SCMP_SYS(clock_gettime),
        SCMP_SYS(exit_group), SCMP_SYS(rt_sigreturn), SCMP_SYS(fcntl),
        SCMP_SYS(getrandom),
    };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (filter == NULL)
        return -1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(calls) / sizeof(calls[0]); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc;
}

static int sandbox(void)
{
    if (enter_sandbox() != 0)
        return host_fail("seccomp");
    return host_sign_all(3);
}

int main(int argc, char **argv)
{
    static const struct host_case cases[] = {
        {"no-standard-files", no_standard_files},
        {"no-descriptors", no_descriptors},
        {"broken-pipe", broken_pipe},
        {"signals", signals},
        {"setuid", setuid_after_load},
        {"jail", jail},
        {"sandbox", sandbox},
    };
    return host_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
