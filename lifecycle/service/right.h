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

/* The actions of `principal` on an object. */
kv_actions kv_right_actions(const struct kv_service *service,
                            const struct kv_principal *principal,
                            const struct kv_access_object *object);

#endif
