/*
 * keyvault access grant | list | revoke, and keyvault status.
 */
#include <string.h>

#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "lifecycle/cli/table.h"

#define ASSIGNMENTS_PATH "/keyvault/v1/assignments"

static int read_assignment(const struct kv_cli *cli, json_t **out, struct kv_err *err)
{
    const char *role = kv_cli_flag(cli, "role");
    const char *scope = kv_cli_flag(cli, "scope");
    if (role == NULL)
        return kv_cli_bad(err, "--role is needed, for example tls-server or "
                               "crypto-user");
    *out = json_pack("{s:s,s:s,s:s*}", "principal", cli->invocation.args[0], "role",
                     role, "scope", scope);
    return *out != NULL ? 0 : kv_cli_bad(err, "the arguments are no UTF-8 text");
}

static int change(struct kv_cli *cli, const char *method, const char *what,
                  struct kv_err *err)
{
    json_t *body = NULL;
    json_t *reply = NULL;
    int rc = 0;
    KV_TRY(read_assignment(cli, &body, err));
    KV_TRY(kv_rest_call(cli, method, ASSIGNMENTS_PATH, body, &reply, err));
    if (cli->invocation.as_json)
        rc = kv_cli_print_json(reply, err);
    else
        (void)printf("%s: %s on %s for %s\n", what, kv_json_text(reply, "role"),
                     kv_json_text(reply, "scope"), kv_json_text(reply, "principal"));
out:
    json_decref(reply);
    json_decref(body);
    return rc;
}

int kv_access_grant_run(struct kv_cli *cli, struct kv_err *err)
{
    return change(cli, "PUT", "granted", err);
}

int kv_access_revoke_run(struct kv_cli *cli, struct kv_err *err)
{
    return change(cli, "DELETE", "revoked", err);
}

static int print_assignments(const json_t *items)
{
    static const char *const headings[] = {"PRINCIPAL", "ROLE", "SCOPE"};
    struct kv_table *table = kv_table_new(3, headings);
    if (table == NULL)
        return KV_E_NOMEM;
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach((json_t *)items, i, item)
    {
        for (size_t j = 0; j < 3; j++) {
            static const char *const members[] = {"principal", "role", "scope"};
            kv_table_add(table, kv_json_text(item, members[j]));
        }
    }
    int rc = kv_table_print(table, stdout);
    kv_table_free(table);
    return rc;
}

int kv_access_list_run(struct kv_cli *cli, struct kv_err *err)
{
    json_t *items = NULL;
    int rc = kv_rest_list(cli, ASSIGNMENTS_PATH, &items, err);
    if (rc == 0)
        rc = cli->invocation.as_json ? kv_cli_print_json(items, err)
                                     : print_assignments(items);
    json_decref(items);
    return rc;
}

static void print_status(const json_t *status)
{
    kv_object_print_field("API", kv_rest_address());
    kv_object_print_field("state", kv_json_text(status, "state"));
    kv_object_print_field("version", kv_json_text(status, "version"));
    kv_object_print_field("tenant", kv_json_text(status, "tenant"));
    size_t i = 0;
    json_t *vault = NULL;
    json_array_foreach(json_object_get(status, "vaults"), i, vault)
    {
        char text[400];
        bool is_default = json_is_true(json_object_get(vault, "isDefault"));
        (void)snprintf(text, sizeof(text), "%s %s%s", kv_json_text(vault, "name"),
                       kv_json_text(vault, "url"), is_default ? " (default)" : "");
        kv_object_print_field("vault", text);
    }
}

int kv_status_run(struct kv_cli *cli, struct kv_err *err)
{
    json_t *status = NULL;
    int rc = kv_rest_call(cli, "GET", "/keyvault/v1/status", NULL, &status, err);
    if (rc == 0 && cli->invocation.as_json)
        rc = kv_cli_print_json(status, err);
    else if (rc == 0)
        print_status(status);
    const char *state = kv_json_text(status, "state");
    if (rc == 0 && strcmp(state, "sealed") == 0)
        rc = kv_err_set(err, KV_E_SEALED, "cli.sealed", "the vault is sealed");
    else if (rc == 0 && strcmp(state, "ready") != 0)
        rc = kv_err_set(err, KV_E_UNAVAILABLE, "cli.not-ready",
                        "the service is not ready: %s", state);
    json_decref(status);
    return rc;
}
