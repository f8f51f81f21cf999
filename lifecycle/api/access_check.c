/*
 * "keyvault access check": the decision on somebody else, with its reason, and what
 * would make a denied action possible. It asks the very function that requests ask.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/auth/policies.h"
#include "lifecycle/auth/principal.h"
#include "lifecycle/auth/roles.h"
#include "lifecycle/service/assignments.h"
#include "lifecycle/service/right.h"
#include "store/core/str.h"

/* What was asked. */
struct question {
    struct kv_principal who;
    char scope[sizeof(((struct kv_assignment *)0)->scope)];
    struct kv_scope_object on;
    kv_actions action; /* or */
    kv_management management;
};

/* --- the answer ----------------------------------------------------------------------
 */

static unsigned count_bits(uint64_t bits)
{
    unsigned n = 0;
    for (; bits != 0; bits &= bits - 1)
        n++;
    return n;
}

/* The role that gives what is wanted and the least beside it. */
static const char *least_role(const struct question *question)
{
    const char *best = "administrator";
    unsigned best_bits = UINT32_MAX;
    const struct kv_role *role = NULL;
    for (size_t i = 0; (role = kv_role_at(i)) != NULL; i++) {
        kv_actions actions = kv_role_actions(role);
        unsigned n = count_bits(actions) + 100 * count_bits(role->manages);
        if ((question->action & ~actions) != 0 ||
            (question->management & ~role->manages) != 0 || n >= best_bits)
            continue;
        best = role->name;
        best_bits = n;
    }
    return best;
}

static bool goes_by_policies(const struct kv_call *call,
                             const struct question *question)
{
    const char *name = question->on.object.vault;
    const struct kv_vault *vault =
        question->action != 0 && name != NULL
            ? kv_service_vault_of_name(call->task.service, name)
            : NULL;
    return vault != NULL && vault->uses_policies;
}

static json_t *cure(const struct kv_call *call, const struct question *question)
{
    const struct kv_action_name *name = kv_action_name(question->action);
    if (goes_by_policies(call, question))
        return json_sprintf("keyvault access policy set %s --vault %s --%s %s",
                            question->who.id, question->on.object.vault,
                            name->collection, name->permission);
    return json_sprintf("keyvault access grant %s --role %s --scope %s",
                        question->who.id, least_role(question), question->scope);
}

static json_t *action_json(const struct question *question)
{
    if (question->management != 0)
        return json_string(kv_management_name(question->management));
    return json_sprintf("Microsoft.KeyVault/vaults/%s",
                        kv_action_name(question->action)->data_action);
}

static void answer(struct kv_call *call)
{
    struct question *question = call->data;
    const struct kv_service *service = call->task.service;
    struct kv_access_decision decision;
    int rc = kv_principal_set_oid(&question->who, service->installation);
    if (rc != 0) {
        kv_call_fail(&call->task, rc, NULL);
        return;
    }
    if (question->management != 0)
        kv_right_decide_management(service, &question->who, &question->on.object,
                                   question->management, &decision);
    else
        kv_right_decide(service, &question->who, &question->on.object, question->action,
                        &decision);
    json_t *assignment =
        decision.assignment != NULL ? kv_assignment_doc(decision.assignment) : NULL;
    json_t *policy =
        decision.policy != NULL ? kv_access_policy_write(decision.policy) : NULL;
    kv_call_reply(call, 200,
                  json_pack("{s:s,s:s,s:o,s:s,s:s,s:b,s:s,s:o*,s:o*,s:o*}", "principal",
                            question->who.id, "objectId", question->who.oid, "action",
                            action_json(question), "object", question->scope, "model",
                            goes_by_policies(call, question) ? "policies" : "roles",
                            "allowed", decision.is_allowed, "reason",
                            kv_access_reason_text(decision.reason), "assignment",
                            assignment, "policy", policy, "hint",
                            decision.is_allowed ? NULL : cure(call, question)));
}

/* --- the question --------------------------------------------------------------------
 */

/* "secrets/get", "secrets/getSecret/action", "vaults/write"; and beside an object the
 * last part alone: "get" of "secrets/db". */
static int read_action(const char *text, struct question *question, struct kv_err *err)
{
    char full[128];
    const char *collection = question->on.object.collection;
    question->management = kv_management_find(text);
    question->action = kv_actions_find(text);
    if (question->action == 0 && collection != NULL && strlen(text) < 64) {
        (void)snprintf(full, sizeof(full), "%s/%s", collection, text);
        question->action = kv_actions_find(full);
    }
    if (question->action != 0 || question->management != 0)
        return 0;
    kv_err_set(err, KV_E_INVALID, "access.bad-action",
               "the member 'action' names no action");
    kv_err_hint(err, "for example secrets/get, keys/sign, vaults/write");
    return KV_E_INVALID;
}

static void on_principal(void *arg, int rc, const struct kv_principal *principal)
{
    struct kv_call *call = arg;
    struct question *question = call->data;
    if (rc != 0) {
        kv_call_fail(&call->task, rc, NULL);
        return;
    }
    question->who = *principal;
    answer(call);
}

/* A user of the machine with its groups: the command line sends the uid. */
static int look_up(struct kv_call *call, int64_t uid, struct kv_err *err)
{
    struct kv_principals *principals = call->task.service->principals;
    if (uid < 0 || uid >= UINT32_MAX)
        return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                          "the member 'uid' is no user id");
    const struct kv_principal *known = kv_principals_find(principals, (uid_t)uid);
    if (known == NULL)
        return kv_principals_resolve(principals, (uid_t)uid, on_principal, call);
    on_principal(call, 0, known);
    return 0;
}

void kv_admin_check(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    const char *principal = NULL;
    const char *app = "";
    const char *action = NULL;
    const char *object = NULL;
    int64_t uid = -1;
    int rc = 0;
    struct question *question = calloc(1, sizeof(*question));
    call->data = question;
    call->data_free = free;
    KV_TRY(question != NULL ? 0 : KV_E_NOMEM);
    KV_TRY(kv_json_string(call->body, "principal", KV_REQUIRED, &principal, &err));
    KV_TRY(kv_json_string(call->body, "application", KV_OPTIONAL, &app, &err));
    KV_TRY(kv_json_string(call->body, "action", KV_REQUIRED, &action, &err));
    KV_TRY(kv_json_string(call->body, "object", KV_REQUIRED, &object, &err));
    KV_TRY(kv_json_integer(call->body, "uid", &uid, &err));
    KV_TRY(kv_scope_parse(object, call->task.vault->name, question->scope,
                          sizeof(question->scope), &err));
    kv_scope_object(question->scope, &question->on);
    KV_TRY(kv_call_check_management(call, &question->on.object, KV_MANAGE_ACCESS_READ,
                                    &err));
    KV_TRY(read_action(action, question, &err));
    KV_TRY(kv_call_read_who(call, principal, app, &question->who, &err));
    if (json_object_get(call->body, "uid") != NULL) {
        KV_TRY(look_up(call, uid, &err));
        return;
    }
    answer(call);
    return;
out:
    kv_call_fail(&call->task, rc, &err);
}
