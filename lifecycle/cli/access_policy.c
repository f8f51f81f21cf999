/*
 * keyvault access policy set | delete | list: the access policies of a vault.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "lifecycle/cli/table.h"
#include "store/core/uri.h"

static const char *const areas[] = {"keys", "secrets", "certificates"};
#define N_AREAS (sizeof(areas) / sizeof(areas[0]))

static int policies_path(struct kv_cli *cli, const char *behind,
                         char out[KV_REST_PATH_MAX], struct kv_err *err)
{
    char vault[KV_VAULT_NAME_MAX + 1];
    int rc = kv_rest_vault_name(cli, vault, sizeof(vault), err);
    if (rc != 0)
        return rc;
    (void)snprintf(out, KV_REST_PATH_MAX, "/keyvault/v1/vaults/%s/accesspolicies%s",
                   vault, behind);
    return 0;
}

/* "get,list" as an array. */
static json_t *words(const char *text)
{
    json_t *array = json_array();
    while (array != NULL && text != NULL && *text != '\0') {
        size_t len = strcspn(text, ",");
        if (len > 0 && json_array_append_new(array, json_stringn(text, len)) != 0) {
            json_decref(array);
            return NULL;
        }
        text += len + (text[len] == ',');
    }
    return array;
}

static int read_entry(const struct kv_cli *cli, const char *principal, json_t **out,
                      struct kv_err *err)
{
    const char *field = strchr(principal, ':') != NULL ? "principal" : "objectId";
    *out = json_pack("{s:[{s:s,s:s*,s:s*,s:{s:o,s:o,s:o}}]}", "accessPolicies", field,
                     principal, "applicationId", kv_cli_flag(cli, "application"),
                     "tenantId", kv_cli_flag(cli, "tenant"), "permissions", areas[0],
                     words(kv_cli_flag(cli, areas[0])), areas[1],
                     words(kv_cli_flag(cli, areas[1])), areas[2],
                     words(kv_cli_flag(cli, areas[2])));
    return *out != NULL ? 0 : kv_cli_bad(err, "the arguments are no UTF-8 text");
}

static void add_words(struct kv_table *table, const json_t *list)
{
    char text[512] = "";
    size_t len = 0;
    for (size_t i = 0; i < json_array_size(list) && len < sizeof(text); i++)
        len +=
            (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i > 0 ? "," : "",
                             json_string_value(json_array_get(list, i)));
    kv_table_add(table, text);
}

static int print_table(const json_t *items)
{
    static const char *const headings[] = {"OBJECT ID", "APPLICATION", "KEYS",
                                           "SECRETS", "CERTIFICATES"};
    struct kv_table *table = kv_table_new(5, headings);
    if (table == NULL)
        return KV_E_NOMEM;
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        const json_t *permissions = json_object_get(item, "permissions");
        kv_table_add(table, kv_json_text(item, "objectId"));
        kv_table_add(table, kv_json_text(item, "applicationId"));
        for (size_t area = 0; area < N_AREAS; area++)
            add_words(table, json_object_get(permissions, areas[area]));
    }
    int rc = kv_table_print(table, stdout);
    kv_table_free(table);
    return rc;
}

static int print(const struct kv_cli *cli, const json_t *reply, struct kv_err *err)
{
    const json_t *items = json_object_get(reply, "value");
    return cli->invocation.as_json ? kv_cli_print_json(items, err) : print_table(items);
}

static int change(struct kv_cli *cli, const char *method, const char *behind,
                  struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    json_t *body = NULL;
    json_t *reply = NULL;
    int rc = 0;
    if (cli->invocation.n_args != 2)
        return kv_cli_bad(err, "PRINCIPAL is needed, for example app:NAME");
    KV_TRY(read_entry(cli, cli->invocation.args[1], &body, err));
    KV_TRY(policies_path(cli, behind, path, err));
    KV_TRY(kv_rest_call(cli, method, path, body, &reply, err));
    rc = print(cli, reply, err);
out:
    json_decref(reply);
    json_decref(body);
    return rc;
}

static int list(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    json_t *reply = NULL;
    int rc = 0;
    KV_TRY(policies_path(cli, "", path, err));
    KV_TRY(kv_rest_call(cli, "GET", path, NULL, &reply, err));
    rc = print(cli, reply, err);
out:
    json_decref(reply);
    return rc;
}

int kv_access_policy_run(struct kv_cli *cli, struct kv_err *err)
{
    const char *verb = cli->invocation.args[0];
    if (strcmp(verb, "set") == 0)
        return change(cli, "PUT", "/replace", err);
    if (strcmp(verb, "delete") == 0)
        return change(cli, "DELETE", "", err);
    if (strcmp(verb, "list") == 0 && cli->invocation.n_args == 1)
        return list(cli, err);
    return kv_cli_bad(err, "access policy set PRINCIPAL, delete PRINCIPAL or list");
}
