/*
 * keyvault app and keyvault principal: create | list | show | delete | secret rotate.
 * Applications sign in with a secret or a certificate of their own, users with a
 * secret.
 */
#include <stdio.h>
#include <string.h>

#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/io.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "lifecycle/cli/table.h"
#include "store/core/uri.h"

#define CERTIFICATE_MAX 65536

/* Where the noun of this run is. */
static bool is_user(const struct kv_cli *cli)
{
    return strcmp(cli->invocation.command->noun, "principal") == 0;
}

static const char *collection(const struct kv_cli *cli)
{
    return is_user(cli) ? "/keyvault/v1/principals" : "/keyvault/v1/apps";
}

static int app_path(const struct kv_cli *cli, char out[KV_REST_PATH_MAX],
                    const char *name, const char *behind, struct kv_err *err)
{
    if (!kv_name_is_valid(name, strlen(name)))
        return kv_cli_bad(err,
                          "'%s' is neither the name nor the client id of an "
                          "application",
                          name);
    int n = snprintf(out, KV_REST_PATH_MAX, "%s/%s%s", collection(cli), name, behind);
    return n > 0 && n < KV_REST_PATH_MAX ? 0 : KV_E_TOO_BIG;
}

static const char *way_in(const json_t *app)
{
    bool has_secret = json_is_true(json_object_get(app, "hasSecret"));
    if (json_is_true(json_object_get(app, "isPublic")))
        return "its users";
    if (!json_is_true(json_object_get(app, "hasCertificate")))
        return "a secret";
    return has_secret ? "a certificate or a secret" : "a certificate";
}

static void print_app(const json_t *app)
{
    static const char *const members[][2] = {
        {"client id", "clientId"}, {"object id", "objectId"},
        {"tenant id", "tenantId"}, {"client secret", "clientSecret"},
        {"secret", "secret"},
    };
    kv_object_print_field("name", kv_json_text(app, "name"));
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        if (json_object_get(app, members[i][1]) != NULL)
            kv_object_print_field(members[i][0], kv_json_text(app, members[i][1]));
    if (json_object_get(app, "clientId") != NULL &&
        json_object_get(app, "clientSecret") == NULL)
        kv_object_print_field("signs in with", way_in(app));
}

static int print(struct kv_cli *cli, const json_t *app, struct kv_err *err)
{
    if (cli->invocation.as_json)
        return kv_cli_print_json(app, err);
    print_app(app);
    return 0;
}

static int call_and_print(struct kv_cli *cli, const char *method, const char *path,
                          struct kv_err *err)
{
    json_t *reply = NULL;
    int rc = kv_rest_call(cli, method, path, NULL, &reply, err);
    if (rc == 0)
        rc = print(cli, reply, err);
    json_decref(reply);
    return rc;
}

/* --- create ------------------------------------------------------------------------
 */

static int read_request(struct kv_cli *cli, json_t **out, struct kv_err *err)
{
    const char *name = NULL;
    const char *file = is_user(cli) ? NULL : kv_cli_flag(cli, "certificate");
    bool is_public = !is_user(cli) && kv_cli_flag(cli, "public") != NULL;
    const char *pem = NULL;
    struct kv_buf text;
    kv_buf_init(&text, CERTIFICATE_MAX);
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    if (file != NULL) {
        KV_TRY(kv_io_read(file, &text, err));
        pem = kv_buf_cstr(&text);
        if (pem == NULL || strstr(pem, "-----BEGIN CERTIFICATE-----") == NULL)
            rc = kv_cli_bad(err, "%s has no certificate in PEM", file);
        pem = pem != NULL ? strstr(pem, "-----BEGIN CERTIFICATE-----") : NULL;
    }
    if (rc == 0)
        *out = json_pack("{s:s,s:s*,s:s*,s:o*}", "name", name, "certificate", pem,
                         "tenantId", kv_cli_flag(cli, "tenant"), "public",
                         is_public ? json_true() : NULL);
    if (rc == 0 && *out == NULL)
        rc = kv_cli_bad(err, "the certificate's file is no UTF-8 text");
out:
    kv_buf_free(&text);
    return rc;
}

/* The role of --role, on the vault of this run. */
static int grant(struct kv_cli *cli, const json_t *app, struct kv_err *err)
{
    char principal[64];
    const char *role = kv_cli_flag(cli, "role");
    if (role == NULL)
        return 0;
    (void)snprintf(principal, sizeof(principal), "%s:%s", is_user(cli) ? "user" : "app",
                   kv_json_text(app, is_user(cli) ? "objectId" : "clientId"));
    json_t *body = json_pack("{s:s,s:s,s:s*}", "principal", principal, "role", role,
                             "scope", kv_cli_flag(cli, "scope"));
    int rc = body != NULL
                 ? kv_rest_call(cli, "PUT", "/keyvault/v1/assignments", body, NULL, err)
                 : KV_E_NOMEM;
    json_decref(body);
    return rc;
}

int kv_app_create_run(struct kv_cli *cli, struct kv_err *err)
{
    json_t *body = NULL;
    json_t *app = NULL;
    int rc = 0;
    KV_TRY(read_request(cli, &body, err));
    KV_TRY(kv_rest_call(cli, "POST", collection(cli), body, &app, err));
    rc = print(cli, app, err); /* first: the secret is told this once */
    if (rc == 0)
        rc = grant(cli, app, err);
out:
    json_decref(app);
    json_decref(body);
    return rc;
}

/* --- the others --------------------------------------------------------------------
 */

static int print_apps(const struct kv_cli *cli, const json_t *items)
{
    static const char *const headings[] = {"NAME", "OBJECT ID", "CLIENT ID"};
    static const char *const members[] = {"name", "objectId", "clientId"};
    const size_t n = is_user(cli) ? 2 : 3;
    struct kv_table *table = kv_table_new(n, headings);
    if (table == NULL)
        return KV_E_NOMEM;
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach((json_t *)items, i, item)
    {
        for (size_t j = 0; j < n; j++)
            kv_table_add(table, kv_json_text(item, members[j]));
    }
    int rc = kv_table_print(table, stdout);
    kv_table_free(table);
    return rc;
}

int kv_app_list_run(struct kv_cli *cli, struct kv_err *err)
{
    json_t *items = NULL;
    int rc = kv_rest_list(cli, collection(cli), &items, err);
    if (rc == 0)
        rc = cli->invocation.as_json ? kv_cli_print_json(items, err)
                                     : print_apps(cli, items);
    json_decref(items);
    return rc;
}

int kv_app_show_run(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    int rc = app_path(cli, path, cli->invocation.args[0], "", err);
    return rc != 0 ? rc : call_and_print(cli, "GET", path, err);
}

int kv_app_delete_run(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    json_t *reply = NULL;
    int rc = app_path(cli, path, cli->invocation.args[0], "", err);
    if (rc == 0)
        rc = kv_rest_call(cli, "DELETE", path, NULL, &reply, err);
    if (rc == 0 && cli->invocation.as_json)
        rc = kv_cli_print_json(reply, err);
    else if (rc == 0)
        (void)printf("deleted: %s\n", kv_json_text(reply, "name"));
    json_decref(reply);
    return rc;
}

int kv_app_secret_run(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    if (strcmp(cli->invocation.args[0], "rotate") != 0)
        return kv_cli_bad(err,
                          "a secret can be rotated: keyvault %s secret rotate NAME",
                          cli->invocation.command->noun);
    int rc = app_path(cli, path, cli->invocation.args[1], "/secret", err);
    return rc != 0 ? rc : call_and_print(cli, "POST", path, err);
}
