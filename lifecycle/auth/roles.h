/*
 * The roles: closed sets of data actions and of management actions. Azure's built-in
 * ones keep their names and ids; `tls-server` is ours. Pure.
 */
#ifndef KV_LIFECYCLE_AUTH_ROLES_H
#define KV_LIFECYCLE_AUTH_ROLES_H

#include "lifecycle/auth/actions.h"

#define KV_ROLE_GLOBS_MAX 12

struct kv_role {
    const char *name;  /* short form, the one that is stored: "crypto-user" */
    const char *azure; /* "Key Vault Crypto User" */
    const char *id;    /* UUID of the role definition; ours has one of its own */
    kv_management manages;
    const char *data_actions[KV_ROLE_GLOBS_MAX]; /* globs, ended by NULL */
};

/* A role by its short form, its Azure name or its id, without case; NULL: none. */
const struct kv_role *kv_role_find(const char *name);

/* The i-th role; NULL behind the last. */
const struct kv_role *kv_role_at(size_t i);

/* Its data actions: the globs against the closed list of names. Costs some
 * microseconds: done once for each assignment. */
kv_actions kv_role_actions(const struct kv_role *role);

#endif
