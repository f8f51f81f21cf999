/*
 * Our own routes of vaults: /keyvault/v1/vaults and /keyvault/v1/deletedvaults. The
 * rules are in service/vaults.h; here are JSON and who may.
 *
 * They are about the installation: the host of the request may name any vault, or none.
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/certs/engine.h"
#include "lifecycle/service/right.h"
#include "lifecycle/service/vaults.h"
#include "store/core/str.h"

/* --- JSON --------------------------------------------------------------------------
 */

static const char *state_name(enum kv_vault_state state)
{
    switch (state) {
    case KV_VAULT_LIVE:
        return "live";
    case KV_VAULT_DELETED:
        return "deleted";
    case KV_VAULT_CREATING:
        return "creating";
    case KV_VAULT_PURGING:
        return "purging";
    }
    return "";
}

/* As the vault resource has them; NULL: none. */
static json_t *policies_json(const json_t *stored)
{
    struct kv_access_policies *policies = NULL;
    if (stored == NULL || kv_access_policies_read(stored, &policies) != 0)
        return NULL;
    json_t *array = kv_access_policies_write(policies);
    kv_access_policies_free(policies);
    return array;
}

static json_t *vault_json(const struct kv_service *service,
                          const struct kv_vault_view *view)
{
    char url[300];
    const struct kv_vault *vault = &view->vault;
    const struct kv_row *row = view->row;
    bool is_deleted = vault->state != KV_VAULT_LIVE;
    kv_service_vault_url(service, vault, url, sizeof(url));
    return json_pack(
        "{s:s,s:s,s:s,s:b,s:s,s:s,s:s,s:i,s:b,s:b,s:I,s:I,s:o*,s:o*,s:O*,s:o*}", "name",
        vault->name, "url", url, "state", state_name(vault->state), "isDefault",
        vault->is_default, "tenantId", vault->tenant, "subscriptionId",
        vault->subscription, "sku", vault->is_premium ? "premium" : "standard",
        "softDeleteRetentionInDays", (int)vault->retention_days,
        "enablePurgeProtection", vault->is_purge_protected, "enableRbacAuthorization",
        !vault->uses_policies, "created", (json_int_t)row->created_s, "updated",
        (json_int_t)row->updated_s, "deletedDate",
        is_deleted ? json_integer(row->updated_s) : NULL, "scheduledPurgeDate",
        is_deleted ? json_integer(kv_vault_purge_s(view)) : NULL, "tags", view->tags,
        "accessPolicies", policies_json(view->policies));
}

static int read_wish_bool(const json_t *body, const char *field, enum kv_wish *out,
                          struct kv_err *err)
{
    bool value = false;
    const json_t *member = json_object_get(body, field);
    int rc = kv_json_bool(body, field, &value, err);
    if (rc == 0 && member != NULL && !json_is_null(member))
        *out = value ? KV_WISH_YES : KV_WISH_NO;
    return rc;
}

static int read_retention(const json_t *body, int64_t *out, struct kv_err *err)
{
    const char *field = "softDeleteRetentionInDays";
    const json_t *member = json_object_get(body, field);
    int rc = kv_json_integer(body, field, out, err);
    if (rc == 0 && *out == 0 && member != NULL && !json_is_null(member))
        rc = kv_err_set(err, KV_E_INVALID, "vault.bad-retention",
                        "deleted objects are kept for %d to %d days",
                        KV_RETENTION_DAYS_MIN, KV_RETENTION_DAYS_MAX);
    return rc;
}

/* Roles decide unless the caller wants access policies to. */
static int read_model(const json_t *body, struct kv_vault_wish *wish,
                      struct kv_err *err)
{
    enum kv_wish uses_roles = KV_WISH_NONE;
    int rc = read_wish_bool(body, "enableRbacAuthorization", &uses_roles, err);
    const json_t *policies = json_object_get(body, "accessPolicies");
    if (rc == 0 && uses_roles != KV_WISH_NONE)
        wish->uses_policies = uses_roles == KV_WISH_NO ? KV_WISH_YES : KV_WISH_NO;
    wish->policies = json_is_null(policies) ? NULL : policies;
    return rc;
}

static int read_wish(const json_t *body, struct kv_vault_wish *wish, struct kv_err *err)
{
    struct kv_call_attrs attrs = {.tags = NULL};
    int rc = 0;
    KV_TRY(kv_json_string(body, "sku", KV_OPTIONAL, &wish->sku, err));
    KV_TRY(kv_json_string(body, "tenantId", KV_OPTIONAL, &wish->tenant, err));
    KV_TRY(
        kv_json_string(body, "subscriptionId", KV_OPTIONAL, &wish->subscription, err));
    KV_TRY(read_retention(body, &wish->retention_days, err));
    KV_TRY(
        read_wish_bool(body, "enablePurgeProtection", &wish->is_purge_protected, err));
    KV_TRY(read_model(body, wish, err));
    KV_TRY(kv_json_attrs(body, &attrs, err));
    wish->tags = attrs.tags;
out:
    return rc;
}

/* --- who may -------------------------------------------------------------------------
 */

static bool may(const struct kv_call *call, const char *vault, kv_management wanted)
{
    const struct kv_access_object object = {.vault = vault};
    return kv_right_manages(call->task.service, &call->principal, &object, wanted);
}

/* False: the call has failed. */
static bool may_manage(struct kv_call *call, const char *vault, kv_management wanted)
{
    const struct kv_access_object object = {.vault = vault};
    struct kv_err err = KV_ERR_INIT;
    int rc = kv_call_check_management(call, &object, wanted, &err);
    if (rc != 0)
        kv_task_fail(&call->task, rc, &err);
    return rc == 0;
}

/* --- one vault -----------------------------------------------------------------------
 */

static void reply_view(void *arg, int rc, const struct kv_vault_view *view,
                       const struct kv_err *err)
{
    struct kv_call *call = arg;
    if (rc != 0)
        kv_call_fail(&call->task, rc, err);
    else
        kv_call_reply(call, 200, vault_json(call->task.service, view));
}

static void change(struct kv_call *call, const char *scope,
                   void (*start)(struct kv_service *, const char *,
                                 const struct kv_vault_wish *, kv_vault_cb, void *))
{
    struct kv_err err = KV_ERR_INIT;
    if (!may_manage(call, scope, KV_MANAGE_VAULT_WRITE))
        return;
    struct kv_vault_wish *wish = calloc(1, sizeof(*wish));
    call->data = wish;
    call->data_free = free;
    int rc = wish != NULL ? read_wish(call->body, wish, &err) : KV_E_NOMEM;
    if (rc != 0)
        kv_task_fail(&call->task, rc, &err);
    else
        start(call->task.service, call->name, wish, reply_view, call);
}

static void create(struct kv_call *call)
{
    change(call, NULL, kv_vault_create); /* there is no vault to have a role in */
}

/* Who says which model decides, or fills the list that one goes by, gives access. */
static void update_vault(struct kv_service *service, const char *name,
                         const struct kv_vault_wish *wish, kv_vault_cb cb, void *arg)
{
    bool gives_access = wish->uses_policies != KV_WISH_NONE || wish->policies != NULL;
    if (!gives_access || may_manage(arg, name, KV_MANAGE_ACCESS_WRITE))
        kv_vault_update(service, name, wish, cb, arg);
}

static void update(struct kv_call *call)
{
    change(call, call->name, update_vault);
}

static void show(struct kv_call *call)
{
    if (may_manage(call, call->name, KV_MANAGE_VAULT_READ))
        kv_vault_show(call->task.service, call->name, false, reply_view, call);
}

static void show_deleted(struct kv_call *call)
{
    if (may_manage(call, call->name, KV_MANAGE_VAULT_READ))
        kv_vault_show(call->task.service, call->name, true, reply_view, call);
}

static void delete_vault(struct kv_call *call)
{
    if (may_manage(call, call->name, KV_MANAGE_VAULT_DELETE))
        kv_vault_delete(call->task.service, call->name, reply_view, call);
}

static void recover(struct kv_call *call)
{
    if (may_manage(call, call->name, KV_MANAGE_VAULT_RECOVER))
        kv_vault_recover(call->task.service, call->name, reply_view, call);
}

static void purged(void *arg, int rc, const struct kv_vault_view *view,
                   const struct kv_err *err)
{
    struct kv_call *call = arg;
    (void)view;
    if (rc == 0) {
        kv_call_reply(call, 204, NULL);
        return;
    }
    kv_engine_kick(call->task.service->engine); /* which goes on with what has begun */
    kv_call_fail(&call->task, rc, err);
}

static void purge(struct kv_call *call)
{
    if (may_manage(call, call->name, KV_MANAGE_VAULT_PURGE))
        kv_vault_purge(call->task.service, call->name, purged, call);
}

/* --- lists ---------------------------------------------------------------------------
 */

static void reply_list(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    json_t *items = json_array();
    for (size_t i = 0; i < task->n_objects; i++) {
        struct kv_vault_view view;
        if (kv_vault_read(task->service, &task->objects[i], &view) == 0 &&
            may(call, view.vault.name, KV_MANAGE_VAULT_READ)) {
            view.policies = NULL; /* long, and asked for one vault at a time */
            items = kv_json_append(items, vault_json(task->service, &view));
        }
    }
    kv_call_reply_list(call, items, false);
}

static void list_rows(struct kv_call *call, enum kv_list_what what)
{
    struct kv_list_query query = {.what = what, .kind = KV_KIND_VAULT};
    if (kv_call_page(call, &query.limit, query.after_name) == 0)
        kv_task_list(&call->task, &query, reply_list);
}

static void list(struct kv_call *call)
{
    list_rows(call, KV_LIST_CURRENT);
}

static void list_deleted(struct kv_call *call)
{
    list_rows(call, KV_LIST_DELETED);
}

const struct kv_route kv_routes_vaults[] = {
    {"GET", "/keyvault/v1/vaults", "listVaults", 0, false, list},
    {"GET", "/keyvault/v1/vaults/{name}", "getVault", 0, false, show},
    {"PUT", "/keyvault/v1/vaults/{name}", "createVault", 0, true, create},
    {"PATCH", "/keyvault/v1/vaults/{name}", "updateVault", 0, true, update},
    {"DELETE", "/keyvault/v1/vaults/{name}", "deleteVault", 0, false, delete_vault},
    {"GET", "/keyvault/v1/deletedvaults", "listDeletedVaults", 0, false, list_deleted},
    {"GET", "/keyvault/v1/deletedvaults/{name}", "getDeletedVault", 0, false,
     show_deleted},
    {"POST", "/keyvault/v1/deletedvaults/{name}/recover", "recoverVault", 0, false,
     recover},
    {"DELETE", "/keyvault/v1/deletedvaults/{name}", "purgeVault", 0, false, purge},
    {NULL, NULL, NULL, 0, false, NULL},
};
