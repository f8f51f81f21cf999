/*
 * The sandbox of sanitizer and coverage builds: the sanitizers read /proc, map shadow
 * memory, and at exit look at the process from a thread of their own; coverage counts
 * are written at exit. So everything is allowed but what would be a breach: running
 * programs, networks, new listeners.
 */
#include <errno.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "store/keyring/sandbox.h"

int kv_sandbox_harden(struct kv_err *err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return kv_err_errno(err, errno, "sandbox.failed", "hardening the process");
    return 0;
}

void kv_sandbox_close_inherited(int keep_fd)
{
    (void)keep_fd; /* the sanitizers' log is one of them */
}

int kv_sandbox_lock_memory(struct kv_err *err)
{
    (void)err; /* shadow memory is larger than any machine */
    return 0;
}

int kv_sandbox_enter(struct kv_err *err)
{
    static const int refused[] = {
        SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork),   SCMP_SYS(vfork),
        SCMP_SYS(bind),   SCMP_SYS(listen),   SCMP_SYS(connect)};
    static const struct scmp_arg_cmp is_inet = {
        .arg = 0, .op = SCMP_CMP_EQ, .datum_a = AF_INET};
    int rc = KV_E_IO;
    int failed = 0;
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    if (ctx != NULL) {
        for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
            failed |= seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, refused[i], 0);
        failed |= seccomp_rule_add_array(ctx, SCMP_ACT_KILL_PROCESS, SCMP_SYS(socket),
                                         1, &is_inet);
        failed |= seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
        rc = failed == 0 && seccomp_load(ctx) == 0 ? 0 : KV_E_IO;
        seccomp_release(ctx);
    }
    if (rc != 0)
        (void)kv_err_set(err, rc, "sandbox.failed",
                         "the system call filter could not be installed");
    return rc;
}
