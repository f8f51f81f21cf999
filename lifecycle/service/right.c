/*
 * From role assignments and access policies to operations of a key.
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

static struct kv_access_rules rules_of(const struct kv_service *service,
                                       const struct kv_access_object *object)
{
    struct kv_access_rules rules = {.tenant = service->tenant};
    const struct kv_vault *vault =
        object->vault != NULL
            ? kv_service_vault_of_name((struct kv_service *)service, object->vault)
            : NULL;
    if (vault != NULL) {
        rules.uses_policies = vault->uses_policies;
        rules.policies = vault->policies;
        if (vault->tenant[0] != '\0')
            rules.vault_tenant = vault->tenant;
    }
    rules.assignments = kv_assignments_all(service->assignments, &rules.n_assignments);
    return rules;
}

/* Access policies call everybody by an object id, also those who bring none. */
static void decide_by_policies(const struct kv_service *service,
                               const struct kv_principal *principal,
                               const struct kv_access_object *object,
                               const struct kv_access_rules *rules, kv_actions wanted,
                               struct kv_access_decision *out)
{
    struct kv_principal named = *principal;
    if (kv_principal_set_oid(&named, service->installation) != 0)
        named.kind = KV_PRINCIPAL_NONE;
    kv_access_decide(&named, object, rules, wanted, out);
}

void kv_right_decide(const struct kv_service *service,
                     const struct kv_principal *principal,
                     const struct kv_access_object *object, kv_actions wanted,
                     struct kv_access_decision *out)
{
    const struct kv_access_rules rules = rules_of(service, object);
    if (rules.uses_policies && principal->oid[0] == '\0')
        decide_by_policies(service, principal, object, &rules, wanted, out);
    else
        kv_access_decide(principal, object, &rules, wanted, out);
}

kv_actions kv_right_actions(const struct kv_service *service,
                            const struct kv_principal *principal,
                            const struct kv_access_object *object)
{
    struct kv_access_decision decision;
    kv_right_decide(service, principal, object, 0, &decision);
    return decision.allowed;
}

bool kv_right_touches(const struct kv_service *service,
                      const struct kv_principal *principal,
                      const struct kv_access_object *collection, kv_actions actions)
{
    const struct kv_access_rules rules = rules_of(service, collection);
    if (rules.uses_policies)
        return (kv_right_actions(service, principal, collection) & actions) != 0;
    return kv_access_touches(principal, collection, &rules, actions);
}

void kv_right_decide_management(const struct kv_service *service,
                                const struct kv_principal *principal,
                                const struct kv_access_object *object,
                                kv_management wanted, struct kv_access_decision *out)
{
    const struct kv_access_rules rules = rules_of(service, object);
    kv_access_decide_management(principal, object, &rules, wanted, out);
}

bool kv_right_manages(const struct kv_service *service,
                      const struct kv_principal *principal,
                      const struct kv_access_object *object, kv_management wanted)
{
    struct kv_access_decision decision;
    kv_right_decide_management(service, principal, object, wanted, &decision);
    return decision.is_allowed;
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
