/*
 * keyvault app create | list | show | delete | secret rotate: applications that sign in
 * with a secret or a certificate of their own.
 */
#include <stdio.h>
#include <string.h>

#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/io.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "lifecycle/cli/table.h"
#include "store/core/uri.h"

#define APPS_PATH "/keyvault/v1/apps"
#define CERTIFICATE_MAX 65536

static int app_path(char out[KV_REST_PATH_MAX], const char *name, const char *behind,
                    struct kv_err *err)
{
    if (!kv_name_is_valid(name, strlen(name)))
        return kv_cli_bad(err,
                          "'%s' is neither the name nor the client id of an "
                          "application",
                          name);
    int n = snprintf(out, KV_REST_PATH_MAX, APPS_PATH "/%s%s", name, behind);
    return n > 0 && n < KV_REST_PATH_MAX ? 0 : KV_E_TOO_BIG;
}

static void print_app(const json_t *app)
{
    kv_object_print_field("name", kv_json_text(app, "name"));
    kv_object_print_field("client id", kv_json_text(app, "clientId"));
    kv_object_print_field("object id", kv_json_text(app, "objectId"));
    kv_object_print_field("tenant id", kv_json_text(app, "tenantId"));
    if (kv_json_text(app, "clientSecret")[0] != '\0')
        kv_object_print_field("client secret", kv_json_text(app, "clientSecret"));
    else
        kv_object_print_field("signs in with",
                              json_is_true(json_object_get(app, "hasCertificate"))
                                  ? json_is_true(json_object_get(app, "hasSecret"))
                                        ? "a certificate or a secret"
                                        : "a certificate"
                                  : "a secret");
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
    const char *file = kv_cli_flag(cli, "certificate");
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
        *out = json_pack("{s:s,s:s*,s:s*}", "name", name, "certificate", pem,
                         "tenantId", kv_cli_flag(cli, "tenant"));
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
    (void)snprintf(principal, sizeof(principal), "app:%s",
                   kv_json_text(app, "clientId"));
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
    KV_TRY(kv_rest_call(cli, "POST", APPS_PATH, body, &app, err));
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

static int print_apps(const json_t *items)
{
    static const char *const headings[] = {"NAME", "CLIENT ID", "OBJECT ID"};
    static const char *const members[] = {"name", "clientId", "objectId"};
    struct kv_table *table = kv_table_new(3, headings);
    if (table == NULL)
        return KV_E_NOMEM;
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach((json_t *)items, i, item)
    {
        for (size_t j = 0; j < 3; j++)
            kv_table_add(table, kv_json_text(item, members[j]));
    }
    int rc = kv_table_print(table, stdout);
    kv_table_free(table);
    return rc;
}

int kv_app_list_run(struct kv_cli *cli, struct kv_err *err)
{
    json_t *items = NULL;
    int rc = kv_rest_list(cli, APPS_PATH, &items, err);
    if (rc == 0)
        rc =
            cli->invocation.as_json ? kv_cli_print_json(items, err) : print_apps(items);
    json_decref(items);
    return rc;
}

int kv_app_show_run(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    int rc = app_path(path, cli->invocation.args[0], "", err);
    return rc != 0 ? rc : call_and_print(cli, "GET", path, err);
}

int kv_app_delete_run(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    json_t *reply = NULL;
    int rc = app_path(path, cli->invocation.args[0], "", err);
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
        return kv_cli_bad(err, "a secret can be rotated: keyvault app secret rotate "
                               "NAME");
    int rc = app_path(path, cli->invocation.args[1], "/secret", err);
    return rc != 0 ? rc : call_and_print(cli, "POST", path, err);
}
