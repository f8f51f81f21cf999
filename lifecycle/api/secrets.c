/*
 * Secrets: set, get, list, versions. A value lives in wiped JSON and wiped buffers
 * while its request runs, and sealed everywhere else.
 */
#include "lifecycle/api/secrets.h"

#include <string.h>

#include "lifecycle/api/internal.h"
#include "store/core/secret.h"

json_t *kv_secret_bundle(const struct kv_call *call, const struct kv_object *object,
                         const char *value)
{
    const struct kv_row_key *key = &object->row.key;
    bool is_managed = (object->row.flags & KV_ROW_MANAGED) != 0;
    json_t *kid = is_managed ? kv_call_id(call, "keys", key->name, key->version) : NULL;
    return json_pack("{s:s*,s:o,s:O*,s:o,s:O*,s:o*,s:o*}", "value", value, "id",
                     kv_call_id(call, "secrets", key->name, key->version),
                     "contentType", json_object_get(object->doc, "contentType"),
                     "attributes", kv_call_attributes(call, &object->row), "tags",
                     json_object_get(object->doc, "tags"), "kid", kid, "managed",
                     is_managed ? json_true() : NULL);
}

/* --- set ----------------------------------------------------------------------------
 */

/* The row of the new version, with its body kept apart. */
struct setting {
    struct kv_object object;
};

static void setting_free(void *data)
{
    struct setting *setting = data;
    kv_object_free(&setting->object);
    kv_wiping_free(setting);
}

static int check_value(const json_t *body, const char **value, struct kv_err *err)
{
    int rc = kv_json_string(body, "value", KV_REQUIRED, value, err);
    if (rc != 0)
        return rc;
    if (strlen(*value) > KV_SECRET_VALUE_MAX)
        return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                          "the member 'value' has more than %d bytes",
                          KV_SECRET_VALUE_MAX);
    return 0;
}

int kv_secret_content_type(const json_t *body, const char **type, struct kv_err *err)
{
    int rc = kv_json_string(body, "contentType", KV_OPTIONAL, type, err);
    if (rc != 0 || *type == NULL)
        return rc;
    if (kv_utf8_count(*type) > KV_CONTENT_TYPE_CHARS_MAX)
        return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                          "the member 'contentType' has more than %d characters",
                          KV_CONTENT_TYPE_CHARS_MAX);
    return 0;
}

static int read_request(struct kv_call *call, struct kv_object *object,
                        struct kv_err *err)
{
    struct kv_call_attrs attrs = {
        .is_enabled = true, .nbf_s = KV_TIME_NONE, .exp_s = KV_TIME_NONE};
    struct kv_row *row = &object->row;
    const char *value = NULL;
    const char *type = NULL;
    int rc = 0;
    KV_TRY(check_value(call->body, &value, err));
    KV_TRY(kv_secret_content_type(call->body, &type, err));
    KV_TRY(kv_json_attrs(call->body, &attrs, err));
    row->flags = attrs.is_enabled ? KV_ROW_ENABLED : 0;
    row->nbf_s = attrs.nbf_s;
    row->exp_s = attrs.exp_s;
    row->next_at_s = KV_TIME_NONE;
    row->created_s = kv_now_s(call->task.service->clock);
    row->updated_s = row->created_s;
    object->doc = json_pack("{s:s,s:s*,s:O*}", "value", value, "contentType", type,
                            "tags", attrs.tags);
    rc = object->doc != NULL ? 0 : KV_E_NOMEM;
out:
    return rc;
}

static void set_done(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    const struct setting *setting = call->data;
    const struct kv_object *object = &setting->object;
    kv_call_reply(
        call, 200,
        kv_secret_bundle(call, object,
                         json_string_value(json_object_get(object->doc, "value"))));
}

static void set_with_head(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct setting *setting = call->data;
    struct kv_row head = task->object.row;
    struct kv_row *row = &setting->object.row;
    if (kv_call_check_head(call, &head) != 0)
        return;
    row->key = head.key;
    int rc = kv_task_new_version(task, row->key.version);
    if (rc != 0) {
        kv_task_fail(task, rc, NULL);
        return;
    }
    kv_task_put_doc(task, row, 0, json_incref(setting->object.doc));
    kv_task_put_head(task, &head, row);
    kv_task_commit(task, set_done);
}

static void set(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    struct setting *setting = kv_wiping_calloc(1, sizeof(*setting));
    if (setting == NULL) {
        kv_task_fail(&call->task, KV_E_NOMEM, NULL);
        return;
    }
    call->data = setting;
    call->data_free = setting_free;
    int rc = read_request(call, &setting->object, &err);
    if (rc != 0)
        kv_task_fail(&call->task, rc, &err);
    else
        kv_task_find_head(&call->task, KV_KIND_SECRET, call->name, set_with_head);
}

/* --- get and lists -------------------------------------------------------------------
 */

/* The secret of a certificate ends with it; one of its own is read at any time. */
static int check_dates(const struct kv_call *call, const struct kv_row *row,
                       struct kv_err *err)
{
    char date[KV_TIME_TEXT_MAX];
    if ((row->flags & KV_ROW_MANAGED) == 0 || row->exp_s == KV_TIME_NONE ||
        kv_now_s(call->task.service->clock) < row->exp_s)
        return 0;
    kv_time_format(row->exp_s, date);
    (void)kv_err_set(err, KV_E_STATE, "api.secret-expired",
                     "Operation get is not allowed on an expired secret: certificate "
                     "%s expired on %s",
                     row->key.name, date);
    kv_err_hint(err, "make a new version, keyvault cert create %s", row->key.name);
    return KV_E_STATE;
}

static void got(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct kv_err err = KV_ERR_INIT;
    if ((task->object.row.flags & KV_ROW_ENABLED) == 0) {
        kv_err_set(&err, KV_E_STATE, "api.secret-disabled",
                   "Operation get is not allowed on a disabled secret.");
        kv_err_hint(&err, "keyvault %s update %s --enabled",
                    (task->object.row.flags & KV_ROW_MANAGED) != 0 ? "cert" : "secret",
                    call->name);
        kv_task_fail(task, KV_E_STATE, &err);
        return;
    }
    if (check_dates(call, &task->object.row, &err) != 0) {
        kv_task_fail(task, KV_E_STATE, &err);
        return;
    }
    if ((task->object.row.flags & KV_ROW_MANAGED) != 0) {
        kv_secret_get_managed(call);
        return;
    }
    const char *value = json_string_value(json_object_get(task->object.doc, "value"));
    kv_call_reply(call, 200, kv_secret_bundle(call, &task->object, value));
}

static void get(struct kv_call *call)
{
    kv_task_load(&call->task, KV_KIND_SECRET, call->name, call->version, got);
}

static json_t *item_of(const struct kv_call *call, const struct kv_object *object,
                       bool is_versions)
{
    const struct kv_row_key *key = &object->row.key;
    json_t *item = kv_secret_bundle(call, object, NULL);
    (void)json_object_del(item, "kid"); /* which it need not have */
    if (json_object_set_new(item, "id",
                            kv_call_id(call, "secrets", key->name,
                                       is_versions ? key->version : NULL)) == 0)
        return item;
    json_decref(item);
    return NULL;
}

static void reply_items(struct kv_task *task, bool is_versions)
{
    struct kv_call *call = kv_call_of(task);
    json_t *items = json_array();
    for (size_t i = 0; i < task->n_objects; i++)
        if (task->objects[i].doc != NULL) /* else a head without a version */
            items =
                kv_json_append(items, item_of(call, &task->objects[i], is_versions));
    kv_call_reply_list(call, items, is_versions);
}

static void reply_secrets(struct kv_task *task)
{
    reply_items(task, false);
}

static void reply_versions(struct kv_task *task)
{
    reply_items(task, true);
}

static void list(struct kv_call *call)
{
    struct kv_list_query query = {.what = KV_LIST_CURRENT, .kind = KV_KIND_SECRET};
    memcpy(query.vault, call->task.vault->id, KV_ID_LEN);
    if (kv_call_page(call, &query.limit, query.after_name) == 0)
        kv_task_list(&call->task, &query, reply_secrets);
}

static void versions(struct kv_call *call)
{
    struct kv_list_query query;
    if (kv_call_versions_query(call, KV_KIND_SECRET, &query) == 0)
        kv_task_list(&call->task, &query, reply_versions);
}

const struct kv_route kv_routes_secrets[] = {
    {"PUT", "/secrets/{name}", "setSecret", KV_ACT_SECRET_SET, true, set},
    {"PATCH", "/secrets/{name}/{version}", "updateSecret", KV_ACT_SECRET_UPDATE, true,
     kv_secrets_update},
    {"GET", "/secrets", "list", KV_ACT_SECRET_LIST, false, list},
    {"GET", "/secrets/{name}/versions", "versions", KV_ACT_SECRET_LIST, false,
     versions},
    {"GET", "/secrets/{name}/{version}", "getSecret", KV_ACT_SECRET_GET, false, get},
    {NULL, NULL, NULL, 0, false, NULL},
};
