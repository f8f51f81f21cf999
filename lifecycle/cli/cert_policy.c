/*
 * keyvault cert policy show | set | default.
 */
#include <string.h>

#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/policy.h"
#include "lifecycle/cli/rest.h"

static int no_flags(const struct kv_cli *cli, const char *action, struct kv_err *err)
{
    const struct kv_command *command = cli->invocation.command;
    for (size_t i = 0; command->flags[i].name != NULL; i++)
        if (cli->invocation.flags[i] != NULL)
            return kv_cli_bad(err, "cert policy %s takes no --%s", action,
                              command->flags[i].name);
    return 0;
}

static int print_default(const struct kv_cli *cli, struct kv_err *err)
{
    json_t *policy = NULL;
    int rc = 0;
    KV_TRY(no_flags(cli, "default", err));
    policy = kv_policy_default();
    rc = policy != NULL ? kv_cli_print_json(policy, err) : KV_E_NOMEM;
out:
    json_decref(policy);
    return rc;
}

static int show(struct kv_cli *cli, const char *path, struct kv_err *err)
{
    int rc = no_flags(cli, "show", err);
    return rc != 0 ? rc : kv_rest_print(cli, path, err);
}

static int check_given(const struct kv_cli *cli, struct kv_err *err)
{
    const struct kv_invocation *invocation = &cli->invocation;
    for (size_t i = 0; invocation->command->flags[i].name != NULL; i++)
        if (invocation->flags[i] != NULL)
            return 0;
    return kv_cli_bad(err,
                      "there is nothing to set: give --policy FILE or the flags of "
                      "cert create");
}

/* The flags change what is stored; a file takes its place. */
static int set(struct kv_cli *cli, const char *path, struct kv_err *err)
{
    json_t *stored = NULL;
    json_t *policy = NULL;
    json_t *reply = NULL;
    int rc = 0;
    KV_TRY(check_given(cli, err));
    if (kv_cli_flag(cli, "policy") == NULL)
        KV_TRY(kv_rest_call(cli, "GET", path, NULL, &stored, err));
    KV_TRY(kv_policy_from_flags(cli, stored, &policy, err));
    KV_TRY(kv_rest_call(cli, "PATCH", path, policy, &reply, err));
    KV_TRY(kv_cli_print_json(reply, err));
out:
    json_decref(reply);
    json_decref(policy);
    json_decref(stored);
    return rc;
}

int kv_cert_policy_run(struct kv_cli *cli, struct kv_err *err)
{
    struct kv_invocation *invocation = &cli->invocation;
    const char *action = invocation->args[0];
    char path[KV_REST_PATH_MAX];
    const char *name = NULL;
    bool is_set = strcmp(action, "set") == 0;
    if (strcmp(action, "default") == 0 && invocation->n_args == 1)
        return print_default(cli, err);
    if ((!is_set && strcmp(action, "show") != 0) || invocation->n_args != 2)
        return kv_cli_bad(err, "expected: cert policy show NAME, cert policy set NAME "
                               "or cert policy default");
    invocation->args[0] = invocation->args[1];
    int rc = kv_cli_name(cli, &name, err);
    if (rc == 0)
        rc = kv_rest_object_path(path, "certificates", name, "policy");
    if (rc != 0)
        return rc;
    return is_set ? set(cli, path, err) : show(cli, path, err);
}
