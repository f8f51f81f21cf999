/*
 * keyvault key rotate, keyvault key rotation-policy show | set.
 */
#include <string.h>

#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/noun.h"
#include "lifecycle/cli/rest.h"

int kv_key_rotate_run(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    const char *name = NULL;
    json_t *bundle = NULL;
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(kv_rest_object_path(path, "keys", name, "rotate"));
    KV_TRY(kv_rest_call(cli, "POST", path, NULL, &bundle, err));
    KV_TRY(kv_noun_print(cli, bundle, err));
out:
    json_decref(bundle);
    return rc;
}

/* Add an action of this type when its flag was given. */
static int add_action(const struct kv_cli *cli, json_t *actions, const char *flag,
                      const char *trigger, const char *type)
{
    const char *duration = kv_cli_flag(cli, flag);
    if (duration == NULL)
        return 0;
    return json_array_append_new(actions,
                                 json_pack("{s:{s:s},s:{s:s}}", "trigger", trigger,
                                           duration, "action", "type", type)) == 0
               ? 0
               : KV_E_NOMEM;
}

static int read_flags(const struct kv_cli *cli, json_t **out, struct kv_err *err)
{
    const char *expires = kv_cli_flag(cli, "expires-in");
    json_t *actions = json_array();
    int rc = 0;
    if (kv_cli_flag(cli, "rotate-after") != NULL &&
        kv_cli_flag(cli, "rotate-before-expiry") != NULL) {
        rc = kv_cli_bad(err, "give one of --rotate-after and --rotate-before-expiry");
        goto out;
    }
    KV_TRY(add_action(cli, actions, "rotate-after", "timeAfterCreate", "Rotate"));
    KV_TRY(
        add_action(cli, actions, "rotate-before-expiry", "timeBeforeExpiry", "Rotate"));
    KV_TRY(
        add_action(cli, actions, "notify-before-expiry", "timeBeforeExpiry", "Notify"));
    if (json_array_size(actions) == 0 && expires == NULL) {
        rc = kv_cli_bad(err, "there is nothing to set: give --rotate-after, "
                             "--rotate-before-expiry, --notify-before-expiry or "
                             "--expires-in, as P90D or P1Y");
        goto out;
    }
    *out = json_pack("{s:O,s:{s:s*}}", "lifetimeActions", actions, "attributes",
                     "expiryTime", expires);
    rc = *out != NULL ? 0 : KV_E_NOMEM;
out:
    json_decref(actions);
    return rc;
}

static int set(struct kv_cli *cli, const char *path, struct kv_err *err)
{
    json_t *policy = NULL;
    json_t *reply = NULL;
    int rc = 0;
    KV_TRY(read_flags(cli, &policy, err));
    KV_TRY(kv_rest_call(cli, "PUT", path, policy, &reply, err));
    KV_TRY(kv_cli_print_json(reply, err));
out:
    json_decref(reply);
    json_decref(policy);
    return rc;
}

static int show(struct kv_cli *cli, const char *path, struct kv_err *err)
{
    json_t *policy = NULL;
    int rc = kv_rest_call(cli, "GET", path, NULL, &policy, err);
    if (rc == 0)
        rc = kv_cli_print_json(policy, err);
    json_decref(policy);
    return rc;
}

int kv_key_rotation_policy_run(struct kv_cli *cli, struct kv_err *err)
{
    struct kv_invocation *invocation = &cli->invocation;
    char path[KV_REST_PATH_MAX];
    const char *name = NULL;
    bool is_set = strcmp(invocation->args[0], "set") == 0;
    if (!is_set && strcmp(invocation->args[0], "show") != 0)
        return kv_cli_bad(err, "expected: key rotation-policy show NAME or key "
                               "rotation-policy set NAME");
    invocation->args[0] = invocation->args[1];
    int rc = kv_cli_name(cli, &name, err);
    if (rc == 0)
        rc = kv_rest_object_path(path, "keys", name, "rotationpolicy");
    if (rc != 0)
        return rc;
    return is_set ? set(cli, path, err) : show(cli, path, err);
}
