/*
 * What the two ways to start (--dev DIR, and for real) prepare before the roles run.
 * The caller keeps the object until the supervisor has stopped.
 */
#ifndef KV_LIFECYCLE_SUPERVISOR_SETUP_H
#define KV_LIFECYCLE_SUPERVISOR_SETUP_H

#include "lifecycle/supervisor/config.h"
#include "lifecycle/supervisor/dev_files.h"
#include "lifecycle/supervisor/paths.h"
#include "lifecycle/supervisor/supervise.h"

struct kv_setup {
    const char *dev_dir;     /* as given; NULL outside --dev */
    const char *config_file; /* NULL: the usual one */
    const char *listen;      /* of the command line; NULL: the configuration counts */
    struct kv_config config;
    struct kv_paths paths;
    struct kv_user keyring_user; /* outside --dev, as root */
    struct kv_user service_user;
    char state_dir[PATH_MAX];
    char run_dir[PATH_MAX];
    int lock_fd; /* -1: not locked */
    struct kv_dev_facts facts;
    struct kv_supervisor supervisor;
};

/* Take the lock file of a state directory for the life of this process and write our
 * pid into it. KV_E_BUSY (supervisor.already-running) names who holds it. Sets
 * setup->lock_fd. */
int kv_setup_lock(struct kv_setup *setup, const char *dir,
                  struct kv_err *err) KV_MUST_CHECK;

/* Make `dir` (and nothing above it) or accept it: a directory of the starting uid
 * that no one else may write, which every user may pass through. */
int kv_setup_dir(const char *dir, mode_t mode, struct kv_err *err) KV_MUST_CHECK;

/* Fill in the two children for state and run directory: what --dev and a real start
 * have in common. */
void kv_setup_children(struct kv_setup *setup);

/* keyvaultd --dev DIR: directory, lock, configuration, roles; kv_dev_on_ready writes
 * the files for clients and says so. */
int kv_dev_open(struct kv_setup *setup, struct kv_err *err) KV_MUST_CHECK;
int kv_dev_on_ready(void *arg, struct kv_err *err);

/* keyvaultd without --dev: as root, roles drop to their users. */
int kv_real_open(struct kv_setup *setup, struct kv_err *err) KV_MUST_CHECK;
int kv_real_on_ready(void *arg, struct kv_err *err);

#endif
