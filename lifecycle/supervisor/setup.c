/*
 * Directories, the lock, and the command lines of the roles.
 *
 * The lock is flock(2) on a file that stays: it ends with the process whatever ends
 * it, and the pid inside is for the message only.
 */
#include "lifecycle/supervisor/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_FILE "keyvaultd.lock"

int kv_setup_lock(struct kv_setup *setup, const char *dir, struct kv_err *err)
{
    char path[PATH_MAX];
    int rc = kv_path_join(path, dir, LOCK_FILE, err);
    if (rc != 0)
        return rc;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return kv_err_errno(err, errno, "supervisor.no-lock", path);
    char pid[24] = "";
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = read(fd, pid, sizeof(pid) - 1);
        pid[n > 0 ? strcspn(pid, "\n") : 0] = '\0';
        (void)close(fd);
        (void)kv_err_set(err, KV_E_BUSY, "supervisor.already-running",
                         "another keyvaultd (pid %s) runs in %s",
                         pid[0] != '\0' ? pid : "unknown", dir);
        kv_err_hint(err, "stop it first, or use another directory");
        return KV_E_BUSY;
    }
    int n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)n, 0) != n) {
        rc = kv_err_errno(err, errno, "supervisor.no-lock", path);
        (void)close(fd);
        return rc;
    }
    setup->lock_fd = fd;
    return 0;
}

int kv_setup_dir(const char *dir, mode_t mode, struct kv_err *err)
{
    struct stat info;
    if (mkdir(dir, mode) == 0) {
        /* The umask may have taken bits away. */
        if (chmod(dir, mode) != 0)
            return kv_err_errno(err, errno, "supervisor.bad-directory", dir);
        return 0;
    }
    if (errno != EEXIST || stat(dir, &info) != 0)
        return kv_err_errno(err, errno, "supervisor.bad-directory", dir);
    if (!S_ISDIR(info.st_mode))
        return kv_err_set(err, KV_E_INVALID, "supervisor.bad-directory",
                          "%s is not a directory", dir);
    if (info.st_uid != geteuid() || (info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        (void)kv_err_set(err, KV_E_DENIED, "supervisor.unsafe-directory",
                         "%s belongs to uid %u and has mode %04o: others could put "
                         "their files in it",
                         dir, (unsigned)info.st_uid, (unsigned)(info.st_mode & 07777));
        kv_err_hint(err, "use a directory of your own that only you may write (chmod "
                         "go-w)");
        return KV_E_DENIED;
    }
    /* Clients of other uids must reach the sockets inside. */
    mode_t pass = info.st_mode | (mode & (S_IXGRP | S_IXOTH));
    if (pass != info.st_mode && chmod(dir, pass & 07777) != 0)
        return kv_err_errno(err, errno, "supervisor.bad-directory", dir);
    return 0;
}

static const char *log_format(const struct kv_setup *setup)
{
    const char *format = setup->config.log_format;
    if (strcmp(format, "auto") != 0)
        return format;
    switch (kv_log_format_auto(STDERR_FILENO)) {
    case KV_LOG_TEXT:
        return "text";
    case KV_LOG_JSON:
        return "json";
    case KV_LOG_JOURNALD:
        return "journald";
    }
    return "json";
}

static void add_common(struct kv_args *args, const struct kv_setup *setup)
{
    kv_args_set(args, "--dir", setup->state_dir);
    kv_args_set(args, "--run", setup->run_dir);
    kv_args_set(args, "--log", log_format(setup));
}

static void add_audit(struct kv_args *args, const struct kv_config *config)
{
    int64_t bytes = 0;
    if (config->is_audit_off)
        kv_args_add(args, "--no-audit");
    if (config->audit_dir[0] != '\0')
        kv_args_set(args, "--audit-dir", config->audit_dir);
    if (kv_config_size(config->audit_size, &bytes) == 0) {
        kv_args_add(args, "--audit-bytes");
        kv_args_addf(args, "%lld", (long long)bytes);
    }
    if (config->audit_keep[0] != '\0')
        kv_args_set(args, "--audit-keep", config->audit_keep);
}

/* What is not set is unlimited in --dev, and the service's default elsewhere. */
static void add_quota(struct kv_args *args, const struct kv_setup *setup)
{
    static const char *const defaults[] = {"20", "4000", "300", "4000"};
    const char *values[4];
    bool is_set = false;
    for (size_t i = 0; i < 4; i++) {
        values[i] = setup->dev_dir != NULL ? "0" : defaults[i];
        if (setup->config.quota[i][0] == '\0')
            continue;
        values[i] = setup->config.quota[i];
        is_set = true;
    }
    if (!is_set)
        return;
    kv_args_add(args, "--quota");
    kv_args_addf(args, "%s,%s,%s,%s", values[0], values[1], values[2], values[3]);
}

void kv_setup_children(struct kv_setup *setup)
{
    struct kv_child *keyring = &setup->supervisor.children[0];
    struct kv_child *service = &setup->supervisor.children[1];
    setup->supervisor.n_children = 2;
    kv_child_init(keyring, "keyring", setup->paths.keyring);
    kv_child_init(service, "service", setup->paths.service);

    add_common(&keyring->args, setup);
    kv_args_add(&keyring->args, "--service-uid");
    kv_args_addf(&keyring->args, "%u", (unsigned)setup->service_user.uid);
    if (setup->config.allow_swap)
        kv_args_add(&keyring->args, "--allow-swap");
    kv_args_set(&keyring->args, "--prepared-nonces", setup->config.prepared_nonces);

    add_common(&service->args, setup);
    kv_args_add(&service->args, "--keyring-uid");
    kv_args_addf(&service->args, "%u", (unsigned)setup->keyring_user.uid);
    const char *listen = setup->listen != NULL ? setup->listen : setup->config.listen;
    if (listen[0] != '\0')
        kv_args_set(&service->args, "--listen", listen);
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    kv_args_set(&service->args, "--log-level", levels[setup->config.log_level]);
    if (setup->config.domain[0] != '\0')
        kv_args_set(&service->args, "--domain", setup->config.domain);
    for (size_t i = 0; i < setup->config.n_oidc_issuers; i++) {
        kv_args_add(&service->args, "--oidc-issuer");
        kv_args_add(&service->args, setup->config.oidc_issuers[i]);
    }
    add_audit(&service->args, &setup->config);
    add_quota(&service->args, setup);
}
