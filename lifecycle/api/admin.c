/*
 * Our own routes: the state of the service, and role assignments.
 *
 * An assignment is granted and revoked only by a principal that may do so on its very
 * scope; a list shows those whose scope the caller may read.
 */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/auth/roles.h"
#include "lifecycle/auth/uuid.h"
#include "lifecycle/service/assignments.h"
#include "lifecycle/service/keyring.h"
#include "lifecycle/service/right.h"
#include "store/core/secret.h"
#include "store/core/str.h"

static const char *state_of(const struct kv_service *service)
{
    if (kv_keyring_is_sealed(service->keyring))
        return "sealed";
    if (!kv_keyring_is_connected(service->keyring))
        return service->is_ready ? "keyring-unreachable" : "starting";
    return service->is_ready ? "ready" : "starting";
}

static void status(struct kv_call *call)
{
    struct kv_service *service = call->task.service;
    json_t *vaults = json_array();
    for (size_t i = 0; i < service->n_vaults; i++) {
        char url[300];
        const struct kv_vault *vault = service->vaults[i];
        if (vault->state != KV_VAULT_LIVE)
            continue;
        kv_service_vault_url(service, vault, url, sizeof(url));
        vaults = kv_json_append(vaults,
                                json_pack("{s:s,s:s,s:b}", "name", vault->name, "url",
                                          url, "isDefault", vault->is_default));
    }
    kv_call_reply(call, 200,
                  json_pack("{s:s,s:s,s:s,s:[s,s],s:b,s:o}", "state", state_of(service),
                            "version", KV_VERSION, "tenant", service->tenant,
                            "apiVersions", "7.0 to 7.6", "2025-07-01", "isDev",
                            service->is_dev, "vaults", vaults));
}

/* --- assignments --------------------------------------------------------------------
 */

static bool may(const struct kv_call *call, const char *scope, kv_management wanted)
{
    struct kv_scope_object parsed;
    kv_scope_object(scope, &parsed);
    return kv_right_manages(call->task.service, &call->principal, &parsed.object,
                            wanted);
}

static json_t *assignment_json(const struct kv_assignment *assignment)
{
    json_t *json = kv_assignment_doc(assignment);
    if (json_object_set_new(json, "id", json_string(assignment->id)) == 0)
        return json;
    json_decref(json);
    return NULL;
}

static void list(struct kv_call *call)
{
    size_t n = 0;
    const struct kv_assignment *const *all =
        kv_assignments_all(call->task.service->assignments, &n);
    json_t *items = json_array();
    for (size_t i = 0; i < n; i++)
        if (may(call, all[i]->scope, KV_MANAGE_ACCESS_READ))
            items = kv_json_append(items, assignment_json(all[i]));
    kv_call_reply(call, 200, json_pack("{s:o,s:n}", "value", items, "nextLink"));
}

static int read_assignment(struct kv_call *call, struct kv_assignment *out,
                           struct kv_err *err)
{
    const char *principal = NULL;
    const char *role = NULL;
    const char *scope = "";
    int rc = 0;
    KV_TRY(kv_json_string(call->body, "principal", KV_REQUIRED, &principal, err));
    KV_TRY(kv_json_string(call->body, "role", KV_REQUIRED, &role, err));
    KV_TRY(kv_json_string(call->body, "scope", KV_OPTIONAL, &scope, err));
    KV_TRY(kv_call_read_principal(call, principal, out->principal, err));
    const struct kv_role *known = kv_role_find(role);
    if (known == NULL) {
        kv_err_hint(err, "for example administrator, crypto-user, tls-server, reader");
        return kv_err_set(err, KV_E_INVALID, "access.bad-role",
                          "the member 'role' names no role");
    }
    KV_TRY(kv_str_copy(out->role, sizeof(out->role), known->name));
    char vault[KV_VAULT_NAME_MAX + 2] = "/";
    kv_str_cut(vault + 1, sizeof(vault) - 1, call->task.vault->name,
               strlen(call->task.vault->name));
    KV_TRY(kv_scope_parse(scope[0] != '\0' ? scope : vault, call->task.vault->name,
                          out->scope, sizeof(out->scope), err));
    /* Who grants roles for data gives away no management that he does not have. */
    if (!may(call, out->scope, KV_MANAGE_ACCESS_WRITE | known->manages))
        rc = kv_err_set(err, KV_E_DENIED, "api.forbidden",
                        "Caller %s may not grant or revoke the role '%s' on '%s'",
                        call->principal.id, known->name, out->scope);
out:
    return rc;
}

static void set_key(struct kv_row_key *key, const char *id)
{
    memset(key, 0, sizeof(*key));
    key->kind = KV_KIND_ASSIGNMENT;
    kv_str_cut(key->name, sizeof(key->name), id, strlen(id));
}

static int keep_copy(struct kv_call *call, const struct kv_assignment *assignment)
{
    call->data = kv_wiping_malloc(sizeof(*assignment));
    if (call->data == NULL)
        return KV_E_NOMEM;
    call->data_free = kv_wiping_free;
    memcpy(call->data, assignment, sizeof(*assignment));
    return 0;
}

/* The id follows from the content, so that two grants of the same at once meet in one
 * row: the second conflicts, runs again and finds the first. */
static int make_id(struct kv_assignment *assignment)
{
    uint8_t hash[32];
    size_t hash_len = 0;
    struct kv_buf text;
    kv_buf_init(&text, 1024);
    (void)kv_buf_appendf(&text, "%s\n%s\n%s", assignment->principal, assignment->role,
                         assignment->scope);
    char *cstr = (char *)kv_buf_cstr(&text);
    int rc = KV_E_NOMEM;
    if (cstr != NULL) {
        kv_str_fold(strrchr(cstr, '\n'));
        rc = EVP_Q_digest(NULL, "SHA256", NULL, cstr, text.len, hash, &hash_len) == 1
                 ? 0
                 : KV_E_CRYPTO;
        ERR_clear_error();
    }
    kv_buf_free(&text);
    if (rc == 0)
        kv_uuid_format(hash, assignment->id);
    return rc;
}

void kv_admin_granted(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    const struct kv_assignment *assignment = call->data;
    struct kv_err err = KV_ERR_INIT;
    int rc = kv_assignments_add(task->service->assignments, assignment, &err);
    if (rc != 0) {
        kv_task_fail(task, rc, &err);
        return;
    }
    kv_service_raise_epoch(task->service, NULL);
    kv_log(task->service->log, KV_LOG_INFO, "access.granted",
           KV_S("by", call->principal.id), KV_S("principal", assignment->principal),
           KV_S("role", assignment->role), KV_S("scope", assignment->scope));
    kv_call_reply(call, 200, assignment_json(assignment));
}

int kv_admin_put_assignment(struct kv_call *call, struct kv_assignment *assignment)
{
    int rc = make_id(assignment);
    if (rc != 0)
        return rc;
    struct kv_row row = {.flags = KV_ROW_ENABLED,
                         .created_s = kv_now_s(call->task.service->clock),
                         .nbf_s = KV_TIME_NONE,
                         .exp_s = KV_TIME_NONE,
                         .next_at_s = KV_TIME_NONE};
    row.updated_s = row.created_s;
    set_key(&row.key, assignment->id);
    kv_task_put_doc(&call->task, &row, 0, kv_assignment_doc(assignment));
    return 0;
}

static void grant_role(struct kv_call *call)
{
    struct kv_service *service = call->task.service;
    struct kv_assignment assignment;
    struct kv_err err = KV_ERR_INIT;
    memset(&assignment, 0, sizeof(assignment));
    int rc = 0;
    KV_TRY(read_assignment(call, &assignment, &err));
    const struct kv_assignment *same =
        kv_assignments_find(service->assignments, &assignment);
    if (same != NULL) {
        kv_call_reply(call, 200, assignment_json(same));
        return;
    }
    KV_TRY(kv_assignments_check_room(service->assignments, &err));
    KV_TRY(keep_copy(call, &assignment));
    KV_TRY(kv_admin_put_assignment(call, call->data));
    kv_task_commit(&call->task, kv_admin_granted);
    return;
out:
    kv_task_fail(&call->task, rc, &err);
}

static void revoked(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    const struct kv_assignment *assignment = call->data;
    kv_assignments_remove(task->service->assignments, assignment->id);
    kv_service_raise_epoch(task->service, NULL);
    kv_log(task->service->log, KV_LOG_INFO, "access.revoked",
           KV_S("by", call->principal.id), KV_S("principal", assignment->principal),
           KV_S("role", assignment->role), KV_S("scope", assignment->scope));
    kv_call_reply(call, 200, assignment_json(assignment));
}

static void revoke_row(struct kv_task *task)
{
    struct kv_row_key key = task->object.row.key;
    kv_task_delete(task, &key, task->object.row.row_version);
    kv_task_commit(task, revoked);
}

static void revoke_role(struct kv_call *call)
{
    struct kv_assignment assignment;
    struct kv_err err = KV_ERR_INIT;
    struct kv_service *service = call->task.service;
    memset(&assignment, 0, sizeof(assignment));
    int rc = 0;
    KV_TRY(read_assignment(call, &assignment, &err));
    const struct kv_assignment *same =
        kv_assignments_find(service->assignments, &assignment);
    KV_TRY(same != NULL
               ? keep_copy(call, same)
               : kv_err_set(&err, KV_E_NOT_FOUND, "access.not-found",
                            "'%s' has no role '%s' on '%s'", assignment.principal,
                            assignment.role, assignment.scope));
    call->task.vault = &service->system;
    kv_task_load(&call->task, KV_KIND_ASSIGNMENT, same->id, NULL, revoke_row);
    return;
out:
    kv_task_fail(&call->task, rc, &err);
}

const struct kv_route kv_routes_admin[] = {
    {"GET", "/keyvault/v1/status", "status", 0, false, status},
    {"GET", "/keyvault/v1/doctor", "doctor", 0, false, kv_admin_doctor},
    {"GET", "/keyvault/v1/audit", "audit", 0, false, kv_admin_audit},
    {"GET", "/keyvault/v1/audit/verify", "verifyAudit", 0, false,
     kv_admin_audit_verify},
    {"GET", "/keyvault/v1/usage", "keyUsage", 0, false, kv_admin_usage},
    {"GET", "/keyvault/v1/assignments", "listAssignments", 0, false, list},
    {"POST", "/keyvault/v1/ticket", "makeTicket", 0, false, kv_admin_make_ticket},
    {"POST", "/keyvault/v1/ticket/redeem", "redeemTicket", 0, true,
     kv_admin_redeem_ticket},
    {"PUT", "/keyvault/v1/assignments", "grant", 0, true, grant_role},
    {"DELETE", "/keyvault/v1/assignments", "revoke", 0, true, revoke_role},
    {NULL, NULL, NULL, 0, false, NULL},
};
