/*
 * Who a Unix peer is: uid to user name and groups.
 *
 * Name services may block (LDAP, files), so they are asked on the pool; answers are
 * kept for a minute. Loop thread only; kv_principals_free after the loop has ended.
 */
#ifndef KV_LIFECYCLE_AUTH_PRINCIPAL_H
#define KV_LIFECYCLE_AUTH_PRINCIPAL_H

#include <sys/types.h>
#include <uv.h>

#include "lifecycle/auth/access.h"
#include "store/core/clock.h"

struct kv_principals;

int kv_principals_new(struct kv_principals **out, uv_loop_t *loop,
                      const struct kv_clock *clock) KV_MUST_CHECK;
void kv_principals_free(struct kv_principals *principals);

/* `principal` is borrowed; NULL when rc is not 0 (KV_E_NOMEM). A uid without a name
 * is "unix:#1234", with no groups; one whose name kv_principal_parse does not take is
 * written so, too, and such groups are left out. */
typedef void (*kv_principal_cb)(void *arg, int rc,
                                const struct kv_principal *principal);

/* The answer if it is known already, else NULL; borrowed until the next call. */
const struct kv_principal *kv_principals_find(struct kv_principals *principals,
                                              uid_t uid);

/* Find out and call back, never before this has returned. */
int kv_principals_resolve(struct kv_principals *principals, uid_t uid,
                          kv_principal_cb cb, void *arg) KV_MUST_CHECK;

/* Look a user up at once (blocks); fills `out`. */
void kv_principal_lookup(uid_t uid, struct kv_principal *out);

#endif
