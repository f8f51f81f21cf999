/*
 * From root to the user of a role.
 *
 * The order matters: groups while still root, then gid, then uid. A role that must
 * bind ports below 1024 keeps exactly one capability: kept across setuid by
 * PR_SET_KEEPCAPS, then put into the permitted, inheritable and ambient sets, so that
 * it survives exec of a program without file capabilities.
 */
#include "lifecycle/supervisor/user.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "store/core/str.h"

int kv_user_find(const char *name, struct kv_user *out, struct kv_err *err)
{
    struct passwd entry;
    struct passwd *found = NULL;
    char text[4096];
    int failed = getpwnam_r(name, &entry, text, sizeof(text), &found);
    if (failed != 0)
        return kv_err_errno(err, failed, "supervisor.no-user", name);
    if (found == NULL) {
        (void)kv_err_set(err, KV_E_NOT_FOUND, "supervisor.no-user",
                         "there is no user %s", name);
        kv_err_hint(err,
                    "create it (adduser --system --group %s), or name another user "
                    "in keyvault.conf",
                    name);
        return KV_E_NOT_FOUND;
    }
    if (entry.pw_uid == 0)
        return kv_err_set(err, KV_E_INVALID, "supervisor.user-is-root",
                          "user %s is root; a role never runs as root", name);
    struct kv_user user = {.uid = entry.pw_uid, .gid = entry.pw_gid};
    int rc = kv_str_copy(user.name, sizeof(user.name), name);
    if (rc == 0)
        *out = user;
    return rc;
}

static int keep_one_capability(unsigned capability)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    data[0].permitted = 1U << capability;
    data[0].effective = 1U << capability;
    data[0].inheritable = 1U << capability;
    if (syscall(SYS_capset, &header, data) != 0)
        return -errno;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0)
        return -errno;
    return 0;
}

int kv_user_become(const struct kv_user *user)
{
    if (initgroups(user->name, user->gid) != 0 ||
        setresgid(user->gid, user->gid, user->gid) != 0)
        return -errno;
    if (user->may_bind_low_ports && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0)
        return -errno;
    if (setresuid(user->uid, user->uid, user->uid) != 0)
        return -errno;
    return user->may_bind_low_ports ? keep_one_capability(CAP_NET_BIND_SERVICE) : 0;
}

void kv_user_raise_memlock(void)
{
    struct rlimit limit = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    if (setrlimit(RLIMIT_MEMLOCK, &limit) == 0)
        return;
    /* Without the privilege: at least as far as the hard limit allows. */
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_MEMLOCK, &limit);
    }
}
