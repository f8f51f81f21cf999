/*
 * Keys: bundles, get, lists, and the table of their routes.
 */
#include "lifecycle/api/keys.h"

#include <string.h>

#include "lifecycle/api/internal.h"
#include "store/core/str.h"

json_t *kv_key_app_tags(struct kv_bytes app)
{
    if (app.len == 0)
        return NULL;
    json_t *json = json_loadb((const char *)app.data, app.len, 0, NULL);
    json_t *tags = json_incref(json_object_get(json, "tags"));
    json_decref(json);
    return tags;
}

static json_t *attributes(const struct kv_call *call, const struct kv_row *row,
                          const struct kv_key_info *info)
{
    json_t *json = kv_call_attributes(call, row);
    (void)json_object_set_new(json, "exportable",
                              json_boolean(info->attrs.is_exportable));
    (void)json_object_set_new(json, "hsmPlatform", json_string("0"));
    return json;
}

json_t *kv_key_bundle(const struct kv_call *call, const struct kv_row *row,
                      const struct kv_key_info *info)
{
    json_t *jwk = kv_jwk_public(info);
    if (jwk == NULL)
        return NULL;
    (void)json_object_set_new(
        jwk, "kid", kv_call_id(call, "keys", row->key.name, row->key.version));
    return json_pack("{s:o,s:o,s:o*,s:o*}", "key", jwk, "attributes",
                     attributes(call, row, info), "tags",
                     kv_key_app_tags(info->attrs.app), "managed",
                     info->attrs.is_managed ? json_true() : NULL);
}

static void reply_bundle(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    kv_call_reply(call, 200,
                  kv_key_bundle(call, &task->object.row, &task->object.info));
}

static void get(struct kv_call *call)
{
    kv_task_load(&call->task, KV_KIND_KEY, call->name, call->version, reply_bundle);
}

static void reply_items(struct kv_task *task, bool is_versions)
{
    struct kv_call *call = kv_call_of(task);
    json_t *items = json_array();
    for (size_t i = 0; i < task->n_objects; i++) {
        const struct kv_object *object = &task->objects[i];
        const struct kv_row_key *key = &object->row.key;
        if (object->info_bytes == NULL)
            continue; /* a head without a version */
        json_t *item = json_pack(
            "{s:o,s:o,s:o*,s:o*}", "kid",
            kv_call_id(call, "keys", key->name, is_versions ? key->version : NULL),
            "attributes", attributes(call, &object->row, &object->info), "tags",
            kv_key_app_tags(object->info.attrs.app), "managed",
            object->info.attrs.is_managed ? json_true() : NULL);
        items = kv_json_append(items, item);
    }
    kv_call_reply_list(call, items, is_versions);
}

static void reply_keys(struct kv_task *task)
{
    reply_items(task, false);
}

static void reply_versions(struct kv_task *task)
{
    reply_items(task, true);
}

static void list(struct kv_call *call)
{
    struct kv_list_query query = {.what = KV_LIST_CURRENT, .kind = KV_KIND_KEY};
    memcpy(query.vault, call->task.vault->id, KV_ID_LEN);
    if (kv_call_page(call, &query.limit, query.after_name) == 0)
        kv_task_list(&call->task, &query, reply_keys);
}

static void versions(struct kv_call *call)
{
    struct kv_list_query query;
    if (kv_call_versions_query(call, KV_KIND_KEY, &query) == 0)
        kv_task_list(&call->task, &query, reply_versions);
}

const struct kv_route kv_routes_keys[] = {
    {"POST", "/keys/{name}/create", "create", KV_ACT_KEY_CREATE, true, kv_keys_create},
    {"PUT", "/keys/{name}", "import", KV_ACT_KEY_IMPORT, true, kv_keys_import},
    {"PATCH", "/keys/{name}/{version}", "updateKey", KV_ACT_KEY_UPDATE, true,
     kv_keys_update},
    {"GET", "/keys", "list", KV_ACT_KEY_LIST, false, list},
    {"GET", "/keys/{name}/versions", "versions", KV_ACT_KEY_LIST, false, versions},
    {"GET", "/keys/{name}/{version}", "get", KV_ACT_KEY_GET, false, get},
    {"POST", "/keys/{name}/{version}/sign", "sign", KV_ACT_KEY_SIGN, true,
     kv_keys_sign},
    {"POST", "/keys/{name}/{version}/verify", "verify", KV_ACT_KEY_VERIFY, true,
     kv_keys_verify},
    {"POST", "/keys/{name}/{version}/encrypt", "encrypt", KV_ACT_KEY_ENCRYPT, true,
     kv_keys_encrypt},
    {"POST", "/keys/{name}/{version}/decrypt", "decrypt", KV_ACT_KEY_DECRYPT, true,
     kv_keys_decrypt},
    {"POST", "/keys/{name}/{version}/wrapkey", "wrapKey", KV_ACT_KEY_WRAP, true,
     kv_keys_wrap},
    {"POST", "/keys/{name}/{version}/unwrapkey", "unwrapKey", KV_ACT_KEY_UNWRAP, true,
     kv_keys_unwrap},
    {NULL, NULL, NULL, 0, false, NULL},
};
