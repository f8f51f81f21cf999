/*
 * For whom the doctor looks. The kernel tells the key daemon who connects, so a right
 * is tried out as the user himself; only root can do that for somebody else.
 */
#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lifecycle/cli/doctor.h"
#include "store/core/str.h"

#define LOAD_SECONDS 10

static void take_entry(struct kv_doctor *doctor, const struct passwd *entry)
{
    doctor->uid = entry->pw_uid;
    doctor->gid = entry->pw_gid;
    kv_str_cut(doctor->user, sizeof(doctor->user), entry->pw_name,
               strlen(entry->pw_name));
}

int kv_doctor_set_user(struct kv_doctor *doctor, const char *as, struct kv_err *err)
{
    int64_t number = (int64_t)geteuid();
    const struct passwd *entry = NULL;
    doctor->may_become = geteuid() == 0;
    if (as == NULL || kv_str_to_i64(as, 0, UINT32_MAX - 1, &number) == 0)
        entry = getpwuid((uid_t)number);
    else if ((entry = getpwnam(as)) == NULL)
        return kv_cli_bad(err, "--as: there is no user '%s'", as);
    if (entry != NULL) {
        take_entry(doctor, entry);
    } else {
        doctor->uid = (uid_t)number;
        doctor->gid = (gid_t)number;
        (void)snprintf(doctor->user, sizeof(doctor->user), "%lld", (long long)number);
    }
    doctor->is_other = doctor->uid != geteuid();
    return 0;
}

int kv_doctor_become(const struct kv_doctor *doctor, struct kv_err *err)
{
    if (!doctor->is_other)
        return 0;
    if (initgroups(doctor->user, doctor->gid) == 0 && setegid(doctor->gid) == 0 &&
        seteuid(doctor->uid) == 0)
        return 0;
    (void)kv_err_errno(err, errno, "cli.cannot-become", doctor->user);
    kv_err_hint(err, "--as needs root");
    kv_doctor_return(doctor);
    return KV_E_DENIED;
}

void kv_doctor_return(const struct kv_doctor *doctor)
{
    if (!doctor->is_other || !doctor->may_become)
        return;
    if (seteuid(0) != 0 || setegid(getgid()) != 0 || setgroups(0, NULL) != 0)
        abort(); /* root's own identity cannot be refused */
}

static void load_in_child(const struct kv_doctor *doctor, const char *module, int fd)
{
    (void)alarm(LOAD_SECONDS);
    const char *why = NULL;
    if (doctor->may_become && kv_doctor_become(doctor, NULL) != 0)
        why = "the user's identity cannot be taken";
    else if (dlopen(module, RTLD_NOW | RTLD_LOCAL) == NULL)
        why = dlerror();
    if (why != NULL)
        (void)dprintf(fd, "%s", why);
    _exit(why == NULL ? 0 : 1);
}

int kv_doctor_try_load(const struct kv_doctor *doctor, const char *module,
                       struct kv_err *err)
{
    int ends[2];
    int status = -1;
    char why[KV_ERR_TEXT_MAX] = "";
    size_t len = 0;
    if (pipe(ends) != 0)
        return kv_err_errno(err, errno, "cli.failed", "pipe");
    const pid_t child = fork();
    if (child == 0) {
        (void)close(ends[0]);
        load_in_child(doctor, module, ends[1]);
    }
    (void)close(ends[1]);
    ssize_t n = 0;
    while (child > 0 && len < sizeof(why) - 1 &&
           ((n = read(ends[0], why + len, sizeof(why) - 1 - len)) > 0 ||
            (n < 0 && errno == EINTR)))
        len += n > 0 ? (size_t)n : 0;
    (void)close(ends[0]);
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
        /* a signal: wait on */
    }
    if (status == 0)
        return 0;
    return kv_err_set(err, KV_E_IO, "cli.failed", "%s",
                      why[0] != '\0' ? why : "loading it ends the process");
}
