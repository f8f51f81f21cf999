/*
 * keyvaultd outside --dev, for machines without systemd: started as root, state in
 * /var/lib/keyvault, sockets in /run/keyvault, each role on its own user.
 */
#include "lifecycle/supervisor/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* A directory that one role owns. */
static int make_owned_path(const char *path, const struct kv_user *owner,
                           struct kv_err *err)
{
    int rc = 0;
    if (mkdir(path, 0700) == 0) {
        if (chown(path, owner->uid, owner->gid) != 0)
            rc = kv_err_errno(err, errno, "supervisor.bad-directory", path);
    } else if (errno != EEXIST) {
        rc = kv_err_errno(err, errno, "supervisor.bad-directory", path);
    }
    return rc;
}

static int make_owned(const char *parent, const char *name, const struct kv_user *owner,
                      struct kv_err *err)
{
    char path[PATH_MAX];
    int rc = kv_path_join(path, parent, name, err);
    return rc != 0 ? rc : make_owned_path(path, owner, err);
}

/* Both roles bind their sockets in the run directory; the sticky bit keeps each from
 * the other's. */
static int make_run_dir(const struct kv_setup *setup, struct kv_err *err)
{
    const char *dir = setup->run_dir;
    if (mkdir(dir, 0755) != 0 && errno != EEXIST)
        return kv_err_errno(err, errno, "supervisor.bad-directory", dir);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int rc = 0;
    if (fd < 0 || fchown(fd, setup->keyring_user.uid, setup->service_user.gid) != 0 ||
        fchmod(fd, 01775) != 0)
        rc = kv_err_errno(err, errno, "supervisor.bad-directory", dir);
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

/* The room of the keyring's private socket: the service's group may pass and nobody
 * else, so that no other user can fill the queue of connections in front of it. One
 * that is somebody else's is left to the keyring, which refuses it and says why. */
static int make_private_dir(const struct kv_setup *setup, struct kv_err *err)
{
    char path[PATH_MAX];
    struct stat info;
    int rc = kv_path_join(path, setup->run_dir, "private", err);
    if (rc != 0)
        return rc;
    bool is_new = mkdir(path, 0700) == 0;
    if (!is_new && errno != EEXIST)
        return kv_err_errno(err, errno, "supervisor.bad-directory", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool is_seen = fd >= 0 && fstat(fd, &info) == 0;
    bool is_ours = is_seen && (is_new || info.st_uid == setup->keyring_user.uid);
    /* A foreign one is left as it is: the keyring refuses it. */
    if (!is_seen || (is_ours && (fchown(fd, setup->keyring_user.uid,
                                        setup->service_user.gid) != 0 ||
                                 fchmod(fd, 0710) != 0)))
        rc = kv_err_errno(err, errno, "supervisor.bad-directory", path);
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

static int find_users(struct kv_setup *setup, struct kv_err *err)
{
    int rc = kv_user_find(setup->config.keyring_user, &setup->keyring_user, err);
    if (rc == 0)
        rc = kv_user_find(setup->config.service_user, &setup->service_user, err);
    if (rc == 0 && setup->keyring_user.uid == setup->service_user.uid)
        rc =
            kv_err_set(err, KV_E_INVALID, "supervisor.same-user",
                       "keyring and service run as the same user %s; the service could "
                       "read the keyfile",
                       setup->keyring_user.name);
    setup->service_user.may_bind_low_ports = true;
    return rc;
}

static int make_dirs(struct kv_setup *setup, struct kv_err *err)
{
    const char *state = setup->state_dir;
    int rc = kv_setup_dir(state, 0755, err);
    if (rc == 0)
        rc = kv_setup_lock(setup, state, err);
    if (rc == 0)
        rc = make_owned(state, "keyring", &setup->keyring_user, err);
    if (rc == 0)
        rc = make_owned(state, "db", &setup->service_user, err);
    if (rc == 0)
        rc = setup->config.audit_dir[0] != '\0'
                 ? make_owned_path(setup->config.audit_dir, &setup->service_user, err)
                 : make_owned(state, "audit", &setup->service_user, err);
    if (rc == 0)
        rc = make_run_dir(setup, err);
    return rc == 0 ? make_private_dir(setup, err) : rc;
}

int kv_real_open(struct kv_setup *setup, struct kv_err *err)
{
    int rc = 0;
    const char *file = setup->config_file != NULL ? setup->config_file : KV_PATH_CONFIG;
    KV_TRY(kv_config_load(file, &setup->config, err));
    if (geteuid() != 0) {
        rc = kv_err_set(err, KV_E_DENIED, "supervisor.not-root",
                        "keyvaultd must be started as root, its roles drop to their "
                        "users");
        kv_err_hint(err, "to try keyvault out without root: keyvaultd --dev DIR");
        goto out;
    }
    (void)snprintf(setup->state_dir, sizeof(setup->state_dir), "%s", KV_PATH_STATE);
    (void)snprintf(setup->run_dir, sizeof(setup->run_dir), "%s", KV_PATH_RUN);
    KV_TRY(kv_paths_find(&setup->paths, err));
    KV_TRY(find_users(setup, err));
    KV_TRY(make_dirs(setup, err));
    kv_user_raise_memlock();
    kv_setup_children(setup);
    kv_args_set(&setup->supervisor.children[1].args, "--admin-uid", "0");
    setup->supervisor.children[0].user = &setup->keyring_user;
    setup->supervisor.children[1].user = &setup->service_user;
out:
    return rc;
}

int kv_real_on_ready(void *arg, struct kv_err *err)
{
    (void)arg;
    (void)err;
    (void)printf("keyvaultd: ready\n");
    (void)fflush(stdout);
    return 0;
}
