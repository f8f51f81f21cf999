/*
 * Access policies of a vault, entry by entry: /keyvault/v1/vaults/NAME/accesspolicies.
 * The list itself is part of the vault, and changes with its row.
 */
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/service/vaults.h"
#include "store/core/secret.h"
#include "store/core/str.h"

/* What a handler keeps until its change is done. */
struct change {
    struct kv_vault_wish wish;
    json_t *entries; /* owned */
};

static void change_free(void *data)
{
    struct change *change = data;
    json_decref(change->entries);
    kv_wiping_free(change);
}

static int check(const struct kv_call *call, kv_management wanted, struct kv_err *err)
{
    const struct kv_access_object vault = {.vault = call->name};
    return kv_call_check_management(call, &vault, wanted, err);
}

static void reply_policies(struct kv_call *call)
{
    const struct kv_vault *vault =
        kv_service_vault_by_name(call->task.service, call->name);
    const struct kv_access_policies *policies = vault != NULL ? vault->policies : NULL;
    kv_call_reply(call, 200,
                  json_pack("{s:o,s:n}", "value", kv_access_policies_write(policies),
                            "nextLink"));
}

static void list(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    int rc = 0;
    KV_TRY(check(call, KV_MANAGE_VAULT_READ, &err));
    if (kv_service_vault_by_name(call->task.service, call->name) == NULL)
        rc = kv_err_set(&err, KV_E_NOT_FOUND, "vault.not-found",
                        "there is no vault '%s'", call->name);
out:
    if (rc != 0)
        kv_call_fail(&call->task, rc, &err);
    else
        reply_policies(call);
}

static void changed(void *arg, int rc, const struct kv_vault_view *view,
                    const struct kv_err *err)
{
    struct kv_call *call = arg;
    (void)view;
    if (rc != 0) {
        kv_call_fail(&call->task, rc, err);
        return;
    }
    kv_log(call->task.service->log, KV_LOG_INFO, "access.policies-changed",
           KV_S("by", call->principal.id), KV_S("vault", call->name));
    reply_policies(call);
}

/* An entry may name a principal as the command line does; the contract's has its tenant
 * and object id. */
static int name_object(struct kv_call *call, json_t *entry, struct kv_err *err)
{
    const struct kv_service *service = call->task.service;
    struct kv_principal who = {.tenant = ""};
    const char *text = NULL;
    int rc = 0;
    if (!json_is_object(entry))
        return 0; /* what is no entry is refused with the others */
    KV_TRY(kv_json_string(entry, "principal", KV_OPTIONAL, &text, err));
    if (text != NULL)
        KV_TRY(kv_call_read_who(call, text, "", &who, err));
    if (kv_str_has_prefix(who.id, "unixgroup:"))
        return kv_err_set(err, KV_E_INVALID, "access.bad-principal",
                          "access policies name no groups of the machine");
    const char *tenant = who.tenant[0] != '\0' ? who.tenant : service->tenant;
    if (text != NULL)
        KV_TRY(kv_principal_set_oid(&who, service->installation));
    if ((text != NULL &&
         json_object_set_new(entry, "objectId", json_string(who.oid)) != 0) ||
        (json_object_get(entry, "tenantId") == NULL &&
         json_object_set_new(entry, "tenantId", json_string(tenant)) != 0))
        rc = KV_E_NOMEM;
out:
    return rc;
}

static int read_change(struct kv_call *call, struct change *change, struct kv_err *err)
{
    size_t i = 0;
    json_t *entry = NULL;
    const json_t *given = json_object_get(call->body, "accessPolicies");
    if (!json_is_array(given))
        return kv_err_set(err, KV_E_INVALID, "api.missing-field",
                          "the array 'accessPolicies' is required");
    change->entries = json_deep_copy(given);
    if (change->entries == NULL)
        return KV_E_NOMEM;
    json_array_foreach(change->entries, i, entry)
    {
        int rc = name_object(call, entry, err);
        if (rc != 0)
            return rc;
    }
    change->wish.policies = change->entries;
    return 0;
}

static void change_policies(struct kv_call *call, enum kv_policy_change how)
{
    struct kv_err err = KV_ERR_INIT;
    int rc = 0;
    KV_TRY(check(call, KV_MANAGE_VAULT_WRITE, &err));
    KV_TRY(check(call, KV_MANAGE_ACCESS_WRITE, &err)); /* it gives access */
    struct change *change = kv_wiping_calloc(1, sizeof(*change));
    call->data = change;
    call->data_free = change_free;
    KV_TRY(change != NULL ? 0 : KV_E_NOMEM);
    change->wish.policy_change = how;
    KV_TRY(read_change(call, change, &err));
    kv_vault_update(call->task.service, call->name, &change->wish, changed, call);
    return;
out:
    kv_call_fail(&call->task, rc, &err);
}

static void add(struct kv_call *call)
{
    change_policies(call, KV_POLICY_ADD);
}

static void replace(struct kv_call *call)
{
    change_policies(call, KV_POLICY_REPLACE);
}

static void take_away(struct kv_call *call)
{
    change_policies(call, KV_POLICY_REMOVE);
}

static void drop(struct kv_call *call)
{
    change_policies(call, KV_POLICY_DROP);
}

#define BASE "/keyvault/v1/vaults/{name}/accesspolicies"
const struct kv_route kv_routes_access[] = {
    {"POST", "/keyvault/v1/access/check", "checkAccess", 0, true, kv_admin_check},
    {"GET", BASE, "listAccessPolicies", 0, false, list},
    {"PUT", BASE "/add", "addAccessPolicies", 0, true, add},
    {"PUT", BASE "/replace", "replaceAccessPolicies", 0, true, replace},
    {"PUT", BASE "/remove", "removeAccessPolicies", 0, true, take_away},
    {"DELETE", BASE, "dropAccessPolicies", 0, true, drop},
    {NULL, NULL, NULL, 0, false, NULL},
};
