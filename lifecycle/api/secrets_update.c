/*
 * Changing what is said of a secret's version; its value stays.
 *
 *   load -> check -> commit (the row with a changed document) -> bundle without value
 */
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/api/secrets.h"
#include "store/core/secret.h"

static void object_free(void *data)
{
    kv_object_free(data);
    kv_wiping_free(data);
}

/* Change row and document as the request says. */
static int change(struct kv_call *call, struct kv_object *object, struct kv_err *err)
{
    struct kv_row *row = &object->row;
    struct kv_call_attrs attrs = {
        .is_enabled = (row->flags & KV_ROW_ENABLED) != 0,
        .nbf_s = row->nbf_s,
        .exp_s = row->exp_s,
    };
    const char *type = NULL;
    int rc = 0;
    KV_TRY(kv_call_check_own(call, row, err));
    KV_TRY(kv_secret_content_type(call->body, &type, err));
    KV_TRY(kv_json_attrs(call->body, &attrs, err));
    row->flags &= ~(uint32_t)KV_ROW_ENABLED;
    row->flags |= attrs.is_enabled ? KV_ROW_ENABLED : 0U;
    row->nbf_s = attrs.nbf_s;
    row->exp_s = attrs.exp_s;
    row->updated_s = kv_now_s(call->task.service->clock);
    if (type != NULL)
        KV_TRY(json_object_set_new(object->doc, "contentType", json_string(type)));
    if (attrs.tags != NULL)
        KV_TRY(json_object_set(object->doc, "tags", attrs.tags));
out:
    return rc == -1 ? KV_E_NOMEM : rc; /* what jansson says */
}

static void updated(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    kv_call_reply(call, 200, kv_secret_bundle(call, call->data, NULL));
}

static void loaded(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct kv_err err = KV_ERR_INIT;
    struct kv_object *object = kv_wiping_calloc(1, sizeof(*object));
    if (object == NULL) {
        kv_task_fail(task, KV_E_NOMEM, NULL);
        return;
    }
    *object = kv_task_take_object(task);
    call->data = object;
    call->data_free = object_free;
    int rc = change(call, object, &err);
    if (rc != 0) {
        kv_task_fail(task, rc, &err);
        return;
    }
    kv_task_put_doc(task, &object->row, object->row.row_version,
                    json_incref(object->doc));
    kv_task_commit(task, updated);
}

void kv_secrets_update(struct kv_call *call)
{
    kv_task_load(&call->task, KV_KIND_SECRET, call->name, call->version, loaded);
}
