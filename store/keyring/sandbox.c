/*
 * The sandbox of the key process.
 *
 * The list below is what libc, libuv and libcrypto need while frames are served and
 * the process ends: reading and writing open descriptors, epoll, futexes, memory that
 * is never executable, clocks and random bytes; and how much memory there is (sysinfo),
 * which libc's qsort asks for. Opening a file answers EACCES instead of ending the
 * process, because libc tries to (time zones, locales) and copes.
 */
#include "store/keyring/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define CAP_IPC_LOCK_BIT 14

int kv_sandbox_harden(struct kv_err *err)
{
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
    if (prctl(PR_SET_DUMPABLE, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return kv_err_errno(err, errno, "sandbox.failed", "hardening the process");
    return 0;
}

void kv_sandbox_close_inherited(int keep_fd)
{
    if (keep_fd <= STDERR_FILENO) {
        (void)close_range(STDERR_FILENO + 1, ~0U, 0); /* nothing to do if it fails */
        return;
    }
    if (keep_fd > STDERR_FILENO + 1)
        (void)close_range(STDERR_FILENO + 1, (unsigned)keep_fd - 1, 0);
    (void)close_range((unsigned)keep_fd + 1, ~0U, 0); /* as above */
}

/* Whether this process has CAP_IPC_LOCK: then RLIMIT_MEMLOCK does not count. */
static bool may_lock_any(void)
{
    char line[256];
    unsigned long long caps = 0;
    FILE *status = fopen("/proc/self/status", "re");
    if (status == NULL)
        return false;
    while (fgets(line, sizeof(line), status) != NULL) {
        if (strncmp(line, "CapEff:", 7) == 0)
            caps = strtoull(line + 7, NULL, 16);
    }
    (void)fclose(status); /* only read */
    return ((caps >> CAP_IPC_LOCK_BIT) & 1u) != 0;
}

int kv_sandbox_lock_memory(struct kv_err *err)
{
    struct rlimit limit = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    (void)setrlimit(RLIMIT_MEMLOCK, &limit); /* without the right, the limit stays */
    const bool is_unlimited =
        getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY;
    /* Under a finite limit mlockall succeeds now and later allocations fail. */
    if ((is_unlimited || may_lock_any()) &&
        mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0)
        return 0;
    (void)kv_err_set(err, KV_E_DENIED, "sandbox.no-mlock",
                     "memory cannot be locked, keys could reach swap");
    kv_err_hint(err, "set LimitMEMLOCK=infinity, or accept it with --allow-swap");
    return KV_E_DENIED;
}

static const int allowed[] = {
    SCMP_SYS(read),          SCMP_SYS(write),           SCMP_SYS(readv),
    SCMP_SYS(writev),        SCMP_SYS(recvfrom),        SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),        SCMP_SYS(sendmsg),         SCMP_SYS(accept4),
    SCMP_SYS(getsockopt),    SCMP_SYS(close),           SCMP_SYS(shutdown),
    SCMP_SYS(epoll_ctl),     SCMP_SYS(epoll_wait),      SCMP_SYS(epoll_pwait),
    SCMP_SYS(poll),          SCMP_SYS(ppoll),           SCMP_SYS(futex),
    SCMP_SYS(munmap),        SCMP_SYS(mremap),          SCMP_SYS(madvise),
    SCMP_SYS(brk),           SCMP_SYS(mlock),           SCMP_SYS(mlock2),
    SCMP_SYS(munlock),       SCMP_SYS(sysinfo),         SCMP_SYS(getrandom),
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres),    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),          SCMP_SYS(nanosleep),       SCMP_SYS(clock_nanosleep),
    SCMP_SYS(getpid),        SCMP_SYS(gettid),          SCMP_SYS(geteuid),
    SCMP_SYS(getuid),        SCMP_SYS(getegid),         SCMP_SYS(getgid),
    SCMP_SYS(sched_yield),   SCMP_SYS(getcpu),          SCMP_SYS(sched_getaffinity),
    SCMP_SYS(rt_sigaction),  SCMP_SYS(rt_sigprocmask),  SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),   SCMP_SYS(restart_syscall), SCMP_SYS(exit),
    SCMP_SYS(exit_group),    SCMP_SYS(fstat),           SCMP_SYS(newfstatat),
    SCMP_SYS(lseek),         SCMP_SYS(membarrier),      SCMP_SYS(rseq),
    SCMP_SYS(fdatasync), /* of the audit log's anchor */
};

/* Tried by libc for comfort; told no. */
static const int refused[] = {
    SCMP_SYS(open),       SCMP_SYS(openat),   SCMP_SYS(access),     SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(statx),
};

static int add_rules(scmp_filter_ctx ctx)
{
    int failed = 0;
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
        failed |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        failed |= seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), refused[i], 0);
    /* Memory is never executable, new or changed. */
    failed |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    failed |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    /* A signal only to ourselves: abort() after a failed assertion. */
    failed |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                               SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
    failed |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                               SCMP_A1(SCMP_CMP_EQ, F_GETFL, 0));
    failed |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                               SCMP_A1(SCMP_CMP_EQ, F_SETFL, 0));
    failed |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                               SCMP_A1(SCMP_CMP_EQ, FIONBIO, 0));
    return failed;
}

int kv_sandbox_enter(struct kv_err *err)
{
    int rc = KV_E_IO;
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (ctx != NULL && seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1) == 0 &&
        add_rules(ctx) == 0 && seccomp_load(ctx) == 0)
        rc = 0;
    else
        (void)kv_err_set(err, rc, "sandbox.failed",
                         "the system call filter could not be installed");
    if (ctx != NULL)
        seccomp_release(ctx);
    return rc;
}
