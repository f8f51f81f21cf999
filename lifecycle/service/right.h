/*
 * What a peer on keys.sock may do with the key of a name, whether it exists or not: the
 * decision behind each grant, and what keyvault doctor is told of it.
 */
#ifndef KV_LIFECYCLE_SERVICE_RIGHT_H
#define KV_LIFECYCLE_SERVICE_RIGHT_H

#include "lifecycle/auth/access.h"
#include "lifecycle/service/service.h"

struct kv_right {
    uint32_t ops; /* enum kv_op; before the key's own limits */
    bool may_read;
};

/* `principal` is who has the uid. In --dev every user may use every key. Root may read
 * public parts everywhere, and use keys only with a role, as anybody else. */
struct kv_right kv_right_on_key(const struct kv_service *service,
                                const struct kv_principal *principal, uid_t uid,
                                const struct kv_vault *vault, const char *name);

/* The decision on an object of the vault that it names (of any state; an unknown one
 * goes by roles): the same for REST and for keys.sock. `out` borrows from the rules
 * until they change. */
void kv_right_decide(const struct kv_service *service,
                     const struct kv_principal *principal,
                     const struct kv_access_object *object, kv_actions wanted,
                     struct kv_access_decision *out);

/* The same for management of what `object` names; a vault of NULL: the installation. */
void kv_right_decide_management(const struct kv_service *service,
                                const struct kv_principal *principal,
                                const struct kv_access_object *object,
                                kv_management wanted, struct kv_access_decision *out);

/* The actions of `principal` on an object. */
kv_actions kv_right_actions(const struct kv_service *service,
                            const struct kv_principal *principal,
                            const struct kv_access_object *object);

/* Whether `principal` may perform one of `actions` on any object of a collection. */
bool kv_right_touches(const struct kv_service *service,
                      const struct kv_principal *principal,
                      const struct kv_access_object *collection, kv_actions actions);

/* Whether `principal` may manage what `object` names in all of these ways. */
bool kv_right_manages(const struct kv_service *service,
                      const struct kv_principal *principal,
                      const struct kv_access_object *object, kv_management wanted);

#endif
