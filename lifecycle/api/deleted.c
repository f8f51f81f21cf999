/*
 * Soft delete of keys, secrets and certificates: delete, deleted objects and their
 * lists, recover, purge. What belongs to a certificate leaves and returns with it.
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle/api/certificates.h"
#include "lifecycle/api/internal.h"
#include "lifecycle/api/keys.h"
#include "lifecycle/api/secrets.h"
#include "lifecycle/service/name.h"
#include "store/core/str.h"

/* One of the three collections, by its row in the routing table. */
static uint8_t kind_of(const struct kv_call *call)
{
    const char *collection = kv_route_collection(call->route);
    if (strcmp(collection, "keys") == 0)
        return KV_KIND_KEY;
    return strcmp(collection, "secrets") == 0 ? KV_KIND_SECRET : KV_KIND_CERTIFICATE;
}

struct deleting {
    struct kv_name name;
    struct kv_object version; /* the current one */
    /* a list */
    json_t *items;
    struct kv_object *heads;
    size_t n_heads;
    size_t at;
    bool has_more;
    char last_name[KV_NAME_MAX + 1];
};

static void deleting_free(void *data)
{
    struct deleting *deleting = data;
    kv_name_free(&deleting->name);
    kv_object_free(&deleting->version);
    json_decref(deleting->items);
    for (size_t i = 0; i < deleting->n_heads; i++)
        kv_object_free(&deleting->heads[i]);
    free(deleting->heads);
    free(deleting);
}

/* NULL: the call has failed. */
static struct deleting *deleting_new(struct kv_call *call)
{
    struct deleting *deleting = calloc(1, sizeof(*deleting));
    if (deleting == NULL) {
        kv_task_fail(&call->task, KV_E_NOMEM, NULL);
        return NULL;
    }
    call->data = deleting;
    call->data_free = deleting_free;
    return deleting;
}

static const struct kv_row *head_of(const struct deleting *deleting)
{
    return &deleting->name.part[KV_NAME_HEAD].row;
}

/* --- JSON --------------------------------------------------------------------------
 */

static json_t *bundle(const struct kv_call *call, const struct deleting *deleting)
{
    const struct kv_object *version = &deleting->version;
    switch (kind_of(call)) {
    case KV_KIND_KEY:
        return kv_key_bundle(call, &version->row, &version->info);
    case KV_KIND_SECRET:
        return kv_secret_bundle(call, version, NULL);
    default:
        return kv_cert_bundle(call, version, &deleting->name.part[KV_NAME_POLICY],
                              &deleting->name.part[KV_NAME_OPERATION]);
    }
}

/* Add what only deleted objects have. NULL (and the object freed): no memory. */
static json_t *with_dates(const struct kv_call *call, const struct kv_row *head,
                          json_t *json)
{
    char collection[32] = "deleted";
    (void)strncat(collection, kv_route_collection(call->route), 16);
    if (json != NULL &&
        json_object_set_new(json, "recoveryId",
                            kv_call_id(call, collection, head->key.name, NULL)) == 0 &&
        json_object_set_new(json, "deletedDate",
                            json_integer(kv_name_deleted_s(head))) == 0 &&
        json_object_set_new(json, "scheduledPurgeDate",
                            json_integer(kv_name_purge_s(call->task.vault, head))) == 0)
        return json;
    json_decref(json);
    return NULL;
}

static void reply_deleted(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    const struct deleting *deleting = call->data;
    kv_call_reply(call, 200,
                  with_dates(call, head_of(deleting), bundle(call, deleting)));
}

/* Who did what to a name, for the operator. */
static void tell(const struct kv_call *call, const char *event)
{
    kv_log(call->task.service->log, KV_LOG_INFO, event,
           KV_S("vault", call->task.vault->name),
           KV_S("kind", kv_kind_name(kind_of(call))), KV_S("name", call->name),
           KV_S("by", call->principal.id));
}

/* --- one object --------------------------------------------------------------------
 */

static void start(struct kv_call *call, kv_task_fn next)
{
    struct deleting *deleting = deleting_new(call);
    if (deleting != NULL)
        kv_name_read(&call->task, &deleting->name, kind_of(call), call->name, next);
}

static int check_deleted(const struct kv_call *call, struct kv_err *err)
{
    const struct deleting *deleting = call->data;
    if (kv_name_is_deleted(&deleting->name))
        return 0;
    return kv_err_set(err, KV_E_NOT_FOUND, "object.not-deleted",
                      "there is no deleted %s '%s'", kv_kind_name(kind_of(call)),
                      call->name);
}

/* Load the current version, of whatever state its name is. */
static void load_version(struct kv_call *call, kv_task_fn next)
{
    const struct deleting *deleting = call->data;
    struct kv_row_key key = head_of(deleting)->key;
    memcpy(key.version, head_of(deleting)->current, KV_ID_LEN);
    kv_task_load_row(&call->task, &key, next);
}

static void keep_version(struct kv_task *task)
{
    struct deleting *deleting = kv_call_of(task)->data;
    deleting->version = kv_task_take_object(task);
}

static void delete_done(struct kv_task *task)
{
    tell(kv_call_of(task), "object.deleted");
    reply_deleted(task);
}

static void delete_version(struct kv_task *task)
{
    struct deleting *deleting = kv_call_of(task)->data;
    keep_version(task);
    kv_name_delete(task, &deleting->name);
    kv_task_commit(task, delete_done);
}

static void delete_read(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    const struct deleting *deleting = call->data;
    struct kv_err err = KV_ERR_INIT;
    int rc = 0;
    if (!kv_name_is_live(&deleting->name))
        rc = kv_err_set(&err, KV_E_NOT_FOUND, "object.not-found", "there is no %s '%s'",
                        kv_kind_name(kind_of(call)), call->name);
    else
        rc = kv_call_check_own(call, head_of(deleting), &err);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        load_version(call, delete_version);
}

static void delete_name(struct kv_call *call)
{
    start(call, delete_read);
}

static void get_version(struct kv_task *task)
{
    keep_version(task);
    reply_deleted(task);
}

static void get_read(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct kv_err err = KV_ERR_INIT;
    int rc = check_deleted(call, &err);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        load_version(call, get_version);
}

static void get_deleted(struct kv_call *call)
{
    start(call, get_read);
}

static void recover_done(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    tell(call, "object.recovered");
    kv_call_reply(call, 200, bundle(call, call->data));
}

static void recover_version(struct kv_task *task)
{
    struct deleting *deleting = kv_call_of(task)->data;
    keep_version(task);
    kv_name_recover(task, &deleting->name);
    kv_task_commit(task, recover_done);
}

static int check_both(const struct kv_call *call, struct kv_err *err)
{
    int rc = check_deleted(call, err);
    return rc != 0 ? rc : kv_call_check_own(call, head_of(call->data), err);
}

static void recover_read(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct kv_err err = KV_ERR_INIT;
    int rc = check_both(call, &err);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        load_version(call, recover_version);
}

static void recover(struct kv_call *call)
{
    start(call, recover_read);
}

static void purge_done(struct kv_task *task)
{
    tell(kv_call_of(task), "object.purged");
    kv_call_reply(kv_call_of(task), 204, NULL);
}

static int check_protection(const struct kv_call *call, struct kv_err *err)
{
    const struct kv_vault *vault = call->task.vault;
    if (!vault->is_purge_protected)
        return 0;
    kv_err_set(
        err, KV_E_DENIED, "vault.purge-protected",
        "Operation \"purge\" is not allowed: purge protection is enabled for the "
        "vault %s",
        vault->name);
    kv_err_hint(err, "it is purged by itself %u days after it was deleted",
                vault->retention_days);
    return KV_E_DENIED;
}

static void purge_read(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    const struct deleting *deleting = call->data;
    struct kv_err err = KV_ERR_INIT;
    int rc = check_both(call, &err);
    if (rc == 0)
        rc = check_protection(call, &err);
    if (rc != 0) {
        kv_task_fail(task, rc, &err);
        return;
    }
    kv_name_purge(task, &deleting->name);
    kv_task_commit(task, purge_done);
}

static void purge(struct kv_call *call)
{
    start(call, purge_read);
}

/* --- lists --------------------------------------------------------------------------
 */

static json_t *list_item(const struct kv_call *call, const struct kv_row *head,
                         const struct kv_object *version)
{
    const char *collection = kv_route_collection(call->route);
    json_t *id = kv_call_id(call, collection, head->key.name, NULL);
    json_t *tags = version->row.key.kind == KV_KIND_KEY
                       ? kv_key_app_tags(version->info.attrs.app)
                       : json_incref(json_object_get(version->doc, "tags"));
    bool is_managed = (head->flags & KV_ROW_MANAGED) != 0;
    json_t *item = json_pack(
        "{s:o,s:o,s:O*,s:o*,s:o*}", strcmp(collection, "keys") == 0 ? "kid" : "id", id,
        "attributes", kv_call_attributes(call, &version->row), "contentType",
        version->row.key.kind == KV_KIND_SECRET
            ? json_object_get(version->doc, "contentType")
            : NULL,
        "tags", tags, "managed", is_managed ? json_true() : NULL);
    return with_dates(call, head, item);
}

static void list_next(struct kv_call *call);

static void list_version(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct deleting *deleting = call->data;
    const struct kv_row *head = &deleting->heads[deleting->at].row;
    if (task->object.row.row_version != 0) /* else purged meanwhile */
        deleting->items =
            kv_json_append(deleting->items, list_item(call, head, &task->object));
    deleting->at++;
    list_next(call);
}

static void list_next(struct kv_call *call)
{
    struct deleting *deleting = call->data;
    if (deleting->at < deleting->n_heads) {
        struct kv_row_key key = deleting->heads[deleting->at].row.key;
        memcpy(key.version, deleting->heads[deleting->at].row.current, KV_ID_LEN);
        kv_task_find_row(&call->task, &key, list_version);
        return;
    }
    json_t *items = deleting->items;
    deleting->items = NULL;
    kv_call_reply(
        call, 200,
        json_pack(
            "{s:o,s:o}", "value", items, "nextLink",
            kv_call_next_link(call, deleting->has_more ? deleting->last_name : NULL)));
}

static void list_heads(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct deleting *deleting = call->data;
    deleting->heads = task->objects;
    deleting->n_heads = task->n_objects;
    deleting->has_more = task->has_more;
    task->objects = NULL;
    task->n_objects = 0;
    memcpy(deleting->last_name, task->last_name, sizeof(deleting->last_name));
    deleting->items = json_array();
    list_next(call);
}

static void list(struct kv_call *call)
{
    struct kv_list_query query = {.what = KV_LIST_DELETED, .kind = kind_of(call)};
    memcpy(query.vault, call->task.vault->id, KV_ID_LEN);
    if (kv_call_page(call, &query.limit, query.after_name) == 0 &&
        deleting_new(call) != NULL)
        kv_task_list(&call->task, &query, list_heads);
}

#define ROUTES(collection, Name, ACT, LIST, GET)                                       \
    {                                                                                  \
        "DELETE",      "/" collection "/{name}",                                       \
        "delete" Name, KV_ACT_##ACT##_DELETE,                                          \
        false,         delete_name},                                                   \
        {"GET", "/deleted" collection, "getDeleted" Name "s", LIST, false, list},      \
        {"GET",      "/deleted" collection "/{name}", "getDeleted" Name, GET, false,   \
         get_deleted},                                                                 \
        {"POST",                                                                       \
         "/deleted" collection "/{name}/recover",                                      \
         "recoverDeleted" Name,                                                        \
         KV_ACT_##ACT##_RECOVER,                                                       \
         false,                                                                        \
         recover},                                                                     \
    {                                                                                  \
        "DELETE", "/deleted" collection "/{name}", "purgeDeleted" Name,                \
            KV_ACT_##ACT##_PURGE, false, purge                                         \
    }

const struct kv_route kv_routes_deleted[] = {
    ROUTES("keys", "Key", KEY, KV_ACT_KEY_LIST, KV_ACT_KEY_GET),
    ROUTES("secrets", "Secret", SECRET, KV_ACT_SECRET_LIST, KV_ACT_SECRET_GET_DELETED),
    ROUTES("certificates", "Certificate", CERT, KV_ACT_CERT_LIST, KV_ACT_CERT_GET),
    {NULL, NULL, NULL, 0, false, NULL},
};
