/*
 * The key channel in the audit log: each grant of a key to a local user before it is
 * given, each refusal, and once a minute what was done under the grants. Loop thread
 * only.
 */
#ifndef KV_LIFECYCLE_SERVICE_KEY_AUDIT_H
#define KV_LIFECYCLE_SERVICE_KEY_AUDIT_H

#include "lifecycle/audit/audit.h"
#include "lifecycle/service/service.h"
#include "store/keyring/role.h"

#define KV_KEY_AUDIT_S 60

/* Who asked for which key. */
struct kv_key_audit {
    const char *principal;
    const struct kv_role_grant *asked;
    const struct kv_vault *vault; /* NULL: not known */
    const char *name;             /* "": not known */
    const uint8_t *version;       /* NULL: not known */
    uint32_t ops;                 /* granted */
    const char *error;            /* id of a refusal */
};

/* Record a grant; it may be given once `cb` says so. Failures as kv_audit_end. */
int kv_key_audit_grant(struct kv_service *service, const struct kv_key_audit *facts,
                       kv_audit_cb cb, void *arg, struct kv_err *err) KV_MUST_CHECK;

/* Record or count a refusal. */
void kv_key_audit_refuse(struct kv_service *service, const struct kv_key_audit *facts);

/* Record what the keyring has counted since. `cb` (may be NULL) comes once, maybe
 * before this returns; without log or keyring nothing happens: the counts wait there.
 */
void kv_key_audit_uses(struct kv_service *service, void (*cb)(void *arg), void *arg);

#endif
