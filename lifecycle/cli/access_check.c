/*
 * keyvault access check: may somebody do something, by which rule, and if not, what
 * would let him.
 */
#include <pwd.h>
#include <string.h>

#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "store/core/str.h"

#define CHECK_PATH "/keyvault/v1/access/check"

/* Users of this machine have groups, which the service finds by their number. */
static int add_uid(const char *principal, json_t *body, struct kv_err *err)
{
    int64_t uid = 0;
    if (!kv_str_has_prefix(principal, "unix:"))
        return 0;
    const char *name = principal + strlen("unix:");
    const struct passwd *entry = getpwnam(name);
    if (entry != NULL)
        uid = (int64_t)entry->pw_uid;
    else if (name[0] != '#' || kv_str_to_i64(name + 1, 0, UINT32_MAX - 1, &uid) != 0)
        return kv_cli_bad(err, "there is no user '%s' on this machine", name);
    return json_object_set_new(body, "uid", json_integer(uid)) == 0 ? 0 : KV_E_NOMEM;
}

static void print_rule(const json_t *reply)
{
    const json_t *assignment = json_object_get(reply, "assignment");
    const json_t *policy = json_object_get(reply, "policy");
    (void)printf("allowed: %s\n", kv_json_text(reply, "reason"));
    if (assignment != NULL)
        (void)printf(
            "rule: the role %s of %s on %s\n", kv_json_text(assignment, "role"),
            kv_json_text(assignment, "principal"), kv_json_text(assignment, "scope"));
    if (policy != NULL)
        (void)printf("rule: the access policy of object %s%s%s\n",
                     kv_json_text(policy, "objectId"),
                     kv_json_text(policy, "applicationId")[0] != '\0'
                         ? " through application "
                         : "",
                     kv_json_text(policy, "applicationId"));
}

static int tell(const struct kv_cli *cli, const json_t *reply, struct kv_err *err)
{
    bool is_allowed = json_is_true(json_object_get(reply, "allowed"));
    int rc = 0;
    if (cli->invocation.as_json)
        rc = kv_cli_print_json(reply, err);
    else if (is_allowed)
        print_rule(reply);
    if (rc != 0 || is_allowed)
        return rc;
    kv_err_set(err, KV_E_DENIED, "access.denied", "%s may not %s on %s: %s",
               kv_json_text(reply, "principal"), kv_json_text(reply, "action"),
               kv_json_text(reply, "object"), kv_json_text(reply, "reason"));
    kv_err_hint(err, "%s", kv_json_text(reply, "hint"));
    return KV_E_DENIED;
}

int kv_access_check_run(struct kv_cli *cli, struct kv_err *err)
{
    const char *const *args = cli->invocation.args;
    const char *app = kv_cli_flag(cli, "application");
    json_t *reply = NULL;
    int rc = 0;
    json_t *body = json_pack("{s:s,s:s,s:s,s:s*}", "principal", args[0], "action",
                             args[1], "object", args[2], "application", app);
    KV_TRY(body != NULL ? 0 : kv_cli_bad(err, "the arguments are no UTF-8 text"));
    KV_TRY(add_uid(args[0], body, err));
    KV_TRY(kv_rest_call(cli, "POST", CHECK_PATH, body, &reply, err));
    rc = tell(cli, reply, err);
out:
    json_decref(reply);
    json_decref(body);
    return rc;
}
