/*
 * What the service gives up before it starts work. Called once, from main, before any
 * thread exists.
 */
#ifndef KV_LIFECYCLE_SERVICE_HARDEN_H
#define KV_LIFECYCLE_SERVICE_HARDEN_H

#include "store/core/err.h"
#include "store/core/log.h"

/* No core dumps, no ptrace by others, no new privileges. KV_E_IO (service.harden). */
int kv_harden_process(struct kv_err *err) KV_MUST_CHECK;

/* Raise the limit of open files as far as the hard limit allows and anyone needs.
 * Returns how many may be open now. */
unsigned kv_harden_files(void);

/* A directory or file and what may be done below it. */
enum kv_allow {
    KV_ALLOW_READ,  /* read files and directories */
    KV_ALLOW_STORE, /* read, write, make and remove files */
    KV_ALLOW_WRITE, /* make, replace and remove files and sockets; read none */
};
struct kv_allowed_path {
    const char *path; /* NULL or absent: passed over */
    enum kv_allow allow;
};

/* Landlock: from now on the process reaches only these paths, so that it cannot read
 * the keyring's directory even as the same user. A kernel without Landlock is a
 * warning (service.no-landlock), not a failure. */
int kv_harden_paths(const struct kv_allowed_path *paths, size_t n, struct kv_log *log,
                    struct kv_err *err) KV_MUST_CHECK;

#endif
