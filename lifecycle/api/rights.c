/*
 * Whether a caller may what it asks for, and the refusal in the contract's words. Both
 * models name the caller by application, object id and issuer; ours adds the principal,
 * which is what an administrator grants something to.
 */
#include <stdio.h>
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/service/identity.h"
#include "lifecycle/service/right.h"
#include "store/core/str.h"

/* Whether its token is of our own authority: no other issuer's names these. */
static bool is_own(const struct kv_service *service, const struct kv_principal *who)
{
    return service->identity != NULL &&
           kv_apps_by_client(service->identity->apps, who->app) != NULL;
}

/* "appid=..;oid=..;iss=..;name=unix:alice"; without iss where another issuer's token
 * was verified, as which one is not kept. */
static void describe_caller(const struct kv_call *call, char *out, size_t out_size)
{
    const struct kv_service *service = call->task.service;
    struct kv_principal named = call->principal;
    char issuer[300] = ";iss=local";
    if (kv_principal_set_oid(&named, service->installation) != 0)
        named.oid[0] = '\0';
    if (named.tenant[0] != '\0')
        issuer[0] = '\0';
    if (named.tenant[0] != '\0' && is_own(service, &named))
        (void)snprintf(issuer, sizeof(issuer), ";iss=https://%s:%u/%s/",
                       service->domain, service->port, named.tenant);
    (void)snprintf(out, out_size, "appid=%s;oid=%s%s;name=%s", named.app, named.oid,
                   issuer, named.id);
}

static int refuse_by_policy(const struct kv_call *call, const char *caller,
                            const struct kv_action_name *action, struct kv_err *err)
{
    kv_err_set(err, KV_E_DENIED, "api.denied-by-policy",
               "The user, group or application '%s' does not have %s %s permission on "
               "key vault '%s;location=local'.",
               caller, action->collection, action->permission, call->task.vault->name);
    kv_err_hint(err, "keyvault access policy set %s --vault %s --%s %s",
                call->principal.id, call->task.vault->name, action->collection,
                action->permission);
    return KV_E_DENIED;
}

static int refuse_by_role(const struct kv_call *call, const char *caller,
                          const struct kv_action_name *action,
                          const struct kv_access_object *object, struct kv_err *err)
{
    kv_err_set(err, KV_E_DENIED, "api.forbidden",
               "Caller is not authorized to perform action on resource. Caller: %s "
               "Action: 'Microsoft.KeyVault/vaults/%s' Resource: "
               "'vaults/%s%s%s%s%s' Assignment: (not found) Vault: %s;location=local",
               caller, action->data_action, object->vault,
               object->collection != NULL ? "/" : "",
               object->collection != NULL ? object->collection : "",
               object->name != NULL ? "/" : "",
               object->name != NULL ? object->name : "", object->vault);
    kv_err_hint(err, "keyvault access grant %s --role ROLE", call->principal.id);
    return KV_E_DENIED;
}

int kv_call_check_access(const struct kv_call *call, struct kv_err *err)
{
    const struct kv_vault *vault = call->task.vault;
    struct kv_access_decision decision;
    char caller[300];
    const struct kv_access_object object = {
        .vault = vault->name,
        .collection = kv_route_collection(call->route),
        .name = kv_route_names_object(call->route) ? call->name : NULL,
    };
    kv_right_decide(call->task.service, &call->principal, &object, call->route->action,
                    &decision);
    if (decision.is_allowed)
        return 0;
    const struct kv_action_name *action =
        kv_action_name(call->route->action & ~decision.allowed);
    describe_caller(call, caller, sizeof(caller));
    return vault->uses_policies ? refuse_by_policy(call, caller, action, err)
                                : refuse_by_role(call, caller, action, &object, err);
}

int kv_call_check_management(const struct kv_call *call,
                             const struct kv_access_object *object,
                             kv_management wanted, struct kv_err *err)
{
    if (kv_right_manages(call->task.service, &call->principal, object, wanted))
        return 0;
    kv_err_set(err, KV_E_DENIED, "api.forbidden",
               "Caller %s is not authorized to perform '%s' on '/%s%s%s%s%s'",
               call->principal.id, kv_management_name(wanted),
               object->vault != NULL ? object->vault : "",
               object->collection != NULL ? "/" : "",
               object->collection != NULL ? object->collection : "",
               object->name != NULL ? "/" : "",
               object->name != NULL ? object->name : "");
    kv_err_hint(err, "keyvault access grant %s --role ROLE --scope /%s",
                call->principal.id, object->vault != NULL ? object->vault : "");
    return KV_E_DENIED;
}

void kv_scope_object(const char *scope, struct kv_scope_object *out)
{
    memset(&out->object, 0, sizeof(out->object));
    kv_str_cut(out->text, sizeof(out->text), scope, strlen(scope));
    const char **parts[] = {&out->object.vault, &out->object.collection,
                            &out->object.name};
    char *at = out->text;
    for (size_t i = 0; i < 3 && at != NULL && at[0] == '/' && at[1] != '\0'; i++) {
        *at = '\0'; /* ends the part before */
        *parts[i] = at + 1;
        at = strchr(at + 1, '/');
    }
}

int kv_call_read_principal(const struct kv_call *call, const char *text,
                           char out[KV_PRINCIPAL_MAX], struct kv_err *err)
{
    const struct kv_identity *identity = call->task.service->identity;
    int rc = kv_principal_parse(text, out, err);
    if (rc != 0 || identity == NULL || !kv_str_has_prefix(out, "app:"))
        return rc;
    const struct kv_app *app = kv_apps_find(identity->apps, out + strlen("app:"));
    if (app != NULL)
        (void)snprintf(out, KV_PRINCIPAL_MAX, "app:%s", app->client_id);
    return 0;
}

int kv_call_read_who(const struct kv_call *call, const char *text, const char *app,
                     struct kv_principal *out, struct kv_err *err)
{
    const struct kv_identity *identity = call->task.service->identity;
    memset(out, 0, sizeof(*out));
    int rc = kv_call_read_principal(call, text, out->id, err);
    if (rc != 0)
        return rc;
    const char *word = strchr(out->id, ':') + 1;
    out->kind = KV_PRINCIPAL_UNIX;
    if (kv_str_has_prefix(out->id, "unix"))
        return 0;
    out->kind = KV_PRINCIPAL_MTLS;
    if (kv_str_has_prefix(out->id, "mtls:"))
        return 0;
    kv_str_cut(out->tenant, sizeof(out->tenant), call->task.service->tenant, 36);
    out->kind = KV_PRINCIPAL_USER;
    kv_str_cut(out->oid, sizeof(out->oid), word, strlen(word));
    kv_str_cut(out->app, sizeof(out->app), app, strlen(app));
    if (!kv_str_has_prefix(out->id, "app:"))
        return 0;
    const struct kv_app *known =
        identity != NULL ? kv_apps_find(identity->apps, word) : NULL;
    out->kind = KV_PRINCIPAL_APP;
    memcpy(out->app, out->oid, sizeof(out->app));
    if (known != NULL) {
        memcpy(out->oid, known->object_id, sizeof(out->oid));
        memcpy(out->tenant, known->tenant, sizeof(out->tenant));
    }
    return 0;
}
