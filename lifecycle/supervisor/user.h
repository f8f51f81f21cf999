/*
 * The Unix users that roles run as. The supervisor looks them up before it forks; the
 * child becomes one of them between fork and exec. Only a supervisor that runs as root
 * can do that.
 */
#ifndef KV_LIFECYCLE_SUPERVISOR_USER_H
#define KV_LIFECYCLE_SUPERVISOR_USER_H

#include <stdbool.h>
#include <sys/types.h>

#include "store/core/err.h"

#define KV_USER_NAME_MAX 64

struct kv_user {
    char name[KV_USER_NAME_MAX];
    uid_t uid;
    gid_t gid;
    bool may_bind_low_ports; /* keeps CAP_NET_BIND_SERVICE and nothing else */
};

/* Look up a user. KV_E_NOT_FOUND (supervisor.no-user) when there is none, KV_E_INVALID
 * (supervisor.user-is-root) for uid 0: a role never runs as root. */
int kv_user_find(const char *name, struct kv_user *out,
                 struct kv_err *err) KV_MUST_CHECK;

/* Become `user` for good: supplementary groups, gid, uid, capabilities. Call in a
 * child of a single-threaded process that runs as root. Returns 0 or a negative errno;
 * after a failure the child must exit. */
int kv_user_become(const struct kv_user *user) KV_MUST_CHECK;

/* Let this process and its children lock any amount of memory, as far as that is
 * permitted (the keyring locks its pages; the limit cannot be raised after setuid). */
void kv_user_raise_memlock(void);

#endif
