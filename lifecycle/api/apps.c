/*
 * Applications over our own routes: who administers the installation registers them,
 * renews their secrets and deletes them. A secret is told once, when it is made.
 */
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/auth/uuid.h"
#include "lifecycle/service/identity.h"
#include "store/core/secret.h"
#include "store/core/str.h"

/* What the steps of one change share. */
struct change {
    struct kv_app app; /* as it will be */
    char secret[KV_TOKEN_TEXT_LEN + 1];
};

static void change_free(void *data)
{
    struct change *change = data;
    kv_app_free(&change->app);
    kv_wiping_free(change);
}

static struct change *begin(struct kv_call *call)
{
    struct change *change = kv_wiping_calloc(1, sizeof(*change));
    call->data = change;
    call->data_free = change != NULL ? change_free : NULL;
    return change;
}

/* Whoever can renew the secret of an application can do what it may do: this is for
 * those who manage the installation. */
static int check_admin(const struct kv_call *call, kv_management wanted,
                       struct kv_err *err)
{
    const struct kv_access_object everything = {.vault = NULL};
    return kv_call_check_management(call, &everything, wanted, err);
}

/* Whether the route is about users. */
static bool is_about_users(const struct kv_call *call)
{
    return kv_str_has_prefix(call->route->path, "/keyvault/v1/principals");
}

/* The application of the path: by its name or client id. */
static int find_app(const struct kv_call *call, kv_management wanted,
                    const struct kv_app **out, struct kv_err *err)
{
    int rc = check_admin(call, wanted, err);
    if (rc != 0)
        return rc;
    *out = kv_apps_find(call->task.service->identity->apps, call->name);
    if (*out != NULL && (*out)->is_user != is_about_users(call))
        *out = NULL;
    return *out != NULL
               ? 0
               : kv_err_set(err, KV_E_NOT_FOUND, "app.not-found", "there is no %s '%s'",
                            is_about_users(call) ? "user" : "application", call->name);
}

static json_t *app_json(const struct kv_app *app, const char *secret)
{
    if (app->is_user)
        return json_pack("{s:s,s:s,s:s,s:I,s:s*}", "name", app->name, "objectId",
                         app->object_id, "tenantId", app->tenant, "created",
                         (json_int_t)app->created_s, "secret", secret);
    return json_pack("{s:s,s:s,s:s,s:s,s:I,s:b,s:b,s:b,s:s*}", "name", app->name,
                     "clientId", app->client_id, "objectId", app->object_id, "tenantId",
                     app->tenant, "created", (json_int_t)app->created_s, "hasSecret",
                     app->has_secret, "hasCertificate", app->certificate != NULL,
                     "isPublic", app->is_public, "clientSecret", secret);
}

/* --- reading -----------------------------------------------------------------------
 */

static void list(struct kv_call *call)
{
    const struct kv_apps *apps = call->task.service->identity->apps;
    struct kv_err err = KV_ERR_INIT;
    int rc = check_admin(call, KV_MANAGE_APP_READ, &err);
    if (rc != 0) {
        kv_task_fail(&call->task, rc, &err);
        return;
    }
    json_t *items = json_array();
    const struct kv_app *app = NULL;
    for (size_t i = 0; (app = kv_apps_at(apps, i)) != NULL; i++)
        if (app->is_user == is_about_users(call))
            items = kv_json_append(items, app_json(app, NULL));
    kv_call_reply(call, 200, json_pack("{s:o,s:n}", "value", items, "nextLink"));
}

static void show(struct kv_call *call)
{
    const struct kv_app *app = NULL;
    struct kv_err err = KV_ERR_INIT;
    int rc = find_app(call, KV_MANAGE_APP_READ, &app, &err);
    if (rc != 0 || app == NULL)
        kv_task_fail(&call->task, rc, &err);
    else
        kv_call_reply(call, 200, app_json(app, NULL));
}

/* --- writing -----------------------------------------------------------------------
 */

static struct kv_row_key key_of(const char *name)
{
    struct kv_row_key key = {.kind = KV_KIND_APP};
    kv_str_cut(key.name, sizeof(key.name), name, strlen(name));
    return key;
}

static void committed(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct change *change = call->data;
    struct kv_service *service = task->service;
    bool has_secret = change->secret[0] != '\0';
    json_t *json = app_json(&change->app, has_secret ? change->secret : NULL);
    kv_log(service->log, KV_LOG_INFO,
           change->app.generation == 1 ? "app.created" : "app.secret-renewed",
           KV_S("by", call->principal.id), KV_S("name", change->app.name),
           KV_S("client", change->app.client_id));
    int rc = kv_apps_put(service->identity->apps, &change->app);
    if (rc != 0) {
        json_decref(json);
        kv_task_fail(task, rc, NULL);
        return;
    }
    kv_call_reply(call, 200, json);
}

/* Write the application over the row that was found. */
static void put(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    const struct change *change = call->data;
    struct kv_row row = task->object.row;
    uint64_t expect = row.row_version;
    int64_t now_s = kv_now_s(task->service->clock);
    row.key = key_of(change->app.name);
    row.flags = KV_ROW_ENABLED;
    row.created_s = expect == 0 ? now_s : row.created_s;
    row.updated_s = now_s;
    row.nbf_s = KV_TIME_NONE;
    row.exp_s = KV_TIME_NONE;
    row.next_at_s = KV_TIME_NONE;
    kv_task_put_doc(task, &row, expect, kv_app_doc(&change->app));
    kv_task_commit(task, committed);
}

static void put_new(struct kv_task *task)
{
    struct kv_err err = KV_ERR_INIT;
    if (task->object.row.row_version == 0) {
        put(task);
        return;
    }
    kv_err_set(&err, KV_E_EXISTS, "app.exists",
               "there is an application or user '%s' already",
               task->object.row.key.name);
    kv_task_fail(task, KV_E_EXISTS, &err);
}

static int read_name(const struct kv_call *call, const char **name, struct kv_err *err)
{
    int rc = kv_json_string(call->body, "name", KV_REQUIRED, name, err);
    if (rc != 0)
        return rc;
    if (!kv_name_is_valid(*name, strlen(*name)) || kv_uuid_is_valid(*name))
        return kv_err_set(err, KV_E_INVALID, "api.bad-name",
                          "a name has 1 to 127 letters, digits and hyphens, and is no "
                          "UUID");
    return 0;
}

static void create(struct kv_call *call)
{
    struct kv_service *service = call->task.service;
    struct change *change = begin(call);
    struct kv_err err = KV_ERR_INIT;
    const char *name = NULL;
    const char *certificate = NULL;
    const char *tenant = service->tenant;
    int rc = change != NULL ? 0 : KV_E_NOMEM;
    if (rc != 0)
        goto out;
    KV_TRY(check_admin(call, KV_MANAGE_APP_WRITE, &err));
    KV_TRY(read_name(call, &name, &err));
    if (!is_about_users(call))
        KV_TRY(
            kv_json_string(call->body, "certificate", KV_OPTIONAL, &certificate, &err));
    if (kv_apps_count(service->identity->apps) >= KV_APPS_MAX) {
        rc = kv_err_set(&err, KV_E_FULL, "app.full",
                        "there are %d applications already, and no more are kept",
                        KV_APPS_MAX);
        goto out;
    }
    KV_TRY(kv_json_string(call->body, "tenantId", KV_OPTIONAL, &tenant, &err));
    if (!kv_uuid_is_valid(tenant)) {
        rc = kv_err_set(&err, KV_E_INVALID, "api.bad-field",
                        "the member 'tenantId' must be a UUID");
        goto out;
    }
    KV_TRY(kv_app_make(name, tenant, kv_now_s(service->clock), service->rand,
                       &change->app));
    change->app.is_user = is_about_users(call);
    if (!change->app.is_user)
        KV_TRY(kv_json_bool(call->body, "public", &change->app.is_public, &err));
    if (certificate != NULL)
        KV_TRY(kv_app_read_certificate(certificate, strlen(certificate),
                                       &change->app.certificate, &err));
    else if (!change->app.is_public)
        KV_TRY(kv_app_renew_secret(&change->app, service->rand, change->secret));
    change->app.generation = 1;
    call->task.vault = &service->system;
    kv_task_find(&call->task, KV_KIND_APP, name, NULL, put_new);
    return;
out:
    kv_task_fail(&call->task, rc, &err);
}

/* From the row as it is now: of two renewals at once each has a generation. */
static void renew_loaded(struct kv_task *task)
{
    struct change *change = kv_call_of(task)->data;
    const struct kv_object *object = &task->object;
    struct kv_err err = KV_ERR_INIT;
    int rc = 0;
    kv_app_free(&change->app);
    KV_TRY(kv_app_read(object->doc, object->row.key.name, &change->app));
    if (change->app.is_public) {
        rc = kv_err_set(&err, KV_E_INVALID, "app.is-public",
                        "the application '%s' is a public one: it keeps no secret",
                        change->app.name);
        goto out;
    }
    KV_TRY(kv_app_renew_secret(&change->app, task->service->rand, change->secret));
    put(task);
    return;
out:
    kv_task_fail(task, rc, &err);
}

/* Copy the application of the path, then load its row. */
static void start_change(struct kv_call *call, kv_task_fn next)
{
    struct change *change = begin(call);
    const struct kv_app *app = NULL;
    struct kv_err err = KV_ERR_INIT;
    int rc = change != NULL ? 0 : KV_E_NOMEM;
    if (rc != 0)
        goto out;
    KV_TRY(find_app(call, KV_MANAGE_APP_WRITE, &app, &err));
    KV_TRY(kv_app_dup(app, &change->app));
    call->task.vault = &call->task.service->system;
    kv_task_load(&call->task, KV_KIND_APP, change->app.name, NULL, next);
    return;
out:
    kv_task_fail(&call->task, rc, &err);
}

static void renew_secret(struct kv_call *call)
{
    start_change(call, renew_loaded);
}

static void deleted(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct change *change = call->data;
    kv_apps_remove(task->service->identity->apps, change->app.name);
    kv_log(task->service->log, KV_LOG_INFO, "app.deleted",
           KV_S("by", call->principal.id), KV_S("name", change->app.name),
           KV_S("client", change->app.client_id));
    kv_call_reply(call, 200, app_json(&change->app, NULL));
}

static void delete_row(struct kv_task *task)
{
    struct kv_row_key key = task->object.row.key;
    kv_task_delete(task, &key, task->object.row.row_version);
    kv_task_commit(task, deleted);
}

static void delete_app(struct kv_call *call)
{
    start_change(call, delete_row);
}

const struct kv_route kv_routes_apps[] = {
    {"GET", "/keyvault/v1/apps", "listApps", 0, false, list},
    {"POST", "/keyvault/v1/apps", "createApp", 0, true, create},
    {"GET", "/keyvault/v1/apps/{name}", "getApp", 0, false, show},
    {"DELETE", "/keyvault/v1/apps/{name}", "deleteApp", 0, false, delete_app},
    {"POST", "/keyvault/v1/apps/{name}/secret", "renewAppSecret", 0, false,
     renew_secret},
    {"GET", "/keyvault/v1/principals", "listUsers", 0, false, list},
    {"POST", "/keyvault/v1/principals", "createUser", 0, true, create},
    {"GET", "/keyvault/v1/principals/{name}", "getUser", 0, false, show},
    {"DELETE", "/keyvault/v1/principals/{name}", "deleteUser", 0, false, delete_app},
    {"POST", "/keyvault/v1/principals/{name}/secret", "renewUserSecret", 0, false,
     renew_secret},
    {NULL, NULL, NULL, 0, false, NULL},
};
