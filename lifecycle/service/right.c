/*
 * From role assignments to operations of a key.
 */
#include "lifecycle/service/right.h"

#include "lifecycle/service/assignments.h"
#include "store/keyring/protocol.h"

#define USE_OPS                                                                        \
    (KV_OP_SIGN | KV_OP_VERIFY | KV_OP_ENCRYPT | KV_OP_DECRYPT | KV_OP_WRAP |          \
     KV_OP_UNWRAP | KV_OP_DERIVE | KV_OP_TLS_UNPAD)

static uint32_t ops_of_actions(kv_actions actions)
{
    static const struct {
        kv_actions action;
        uint32_t op;
    } pairs[] = {
        {KV_ACT_KEY_SIGN, KV_OP_SIGN},       {KV_ACT_KEY_VERIFY, KV_OP_VERIFY},
        {KV_ACT_KEY_ENCRYPT, KV_OP_ENCRYPT}, {KV_ACT_KEY_DECRYPT, KV_OP_DECRYPT},
        {KV_ACT_KEY_WRAP, KV_OP_WRAP},       {KV_ACT_KEY_UNWRAP, KV_OP_UNWRAP},
        {KV_ACT_KEY_DERIVE, KV_OP_DERIVE},   {KV_ACT_KEY_TLS_UNPAD, KV_OP_TLS_UNPAD},
    };
    uint32_t ops = 0;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        if ((actions & pairs[i].action) != 0)
            ops |= pairs[i].op;
    return ops;
}

kv_actions kv_right_actions(const struct kv_service *service,
                            const struct kv_principal *principal,
                            const struct kv_access_object *object)
{
    size_t n = 0;
    const struct kv_assignment *all = kv_assignments_all(service->assignments, &n);
    return kv_access_allowed(principal, object, all, n);
}

struct kv_right kv_right_on_key(const struct kv_service *service,
                                const struct kv_principal *principal, uid_t uid,
                                const struct kv_vault *vault, const char *name)
{
    const struct kv_access_object object = {
        .vault = vault->name, .collection = "keys", .name = name};
    const kv_actions actions = kv_right_actions(service, principal, &object);
    return (struct kv_right){.ops = service->is_dev ? USE_OPS : ops_of_actions(actions),
                             .may_read = service->is_dev || uid == 0 ||
                                         (actions & KV_ACT_KEY_READ) != 0};
}
