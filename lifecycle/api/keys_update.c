/*
 * Changing what is said of a key's version; the key stays.
 *
 *   load -> check -> rotation policy -> KEY_UPDATE (the keyring seals it again) ->
 * commit -> bundle
 */
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/api/keys.h"
#include "lifecycle/certs/engine.h"
#include "lifecycle/service/rotation.h"
#include "store/core/secret.h"

struct updating {
    struct kv_object key;
    struct kv_object policy; /* of rotation: its times follow those of the key */
    struct kv_key_attrs attrs;
    struct kv_buf app;
    json_t *bundle;
};

static void updating_free(void *data)
{
    struct updating *updating = data;
    kv_object_free(&updating->key);
    kv_object_free(&updating->policy);
    kv_buf_free(&updating->app);
    json_decref(updating->bundle);
    kv_wiping_free(updating);
}

static int read_ops(const json_t *body, const struct kv_key_info *info, uint32_t *ops,
                    struct kv_err *err)
{
    const json_t *given = json_object_get(body, "key_ops");
    if (given == NULL || json_is_null(given))
        return 0;
    return kv_jwk_read_ops(body, info->kty, ops, err);
}

/* Attributes as the request wants them; what it does not name stays. */
static int read_request(struct kv_call *call, struct updating *updating,
                        struct kv_key_attrs *out, struct kv_err *err)
{
    const struct kv_key_info *info = &updating->key.info;
    struct kv_call_attrs attrs = {.is_enabled = info->attrs.is_enabled != 0,
                                  .nbf_s = info->attrs.nbf_s,
                                  .exp_s = info->attrs.exp_s};
    const json_t *policy = json_object_get(call->body, "release_policy");
    int rc = 0;
    *out = info->attrs;
    KV_TRY(kv_call_check_own(call, &updating->key.row, err));
    if (policy != NULL && !json_is_null(policy))
        KV_TRY(kv_err_set(err, KV_E_UNSUPPORTED, "api.not-offered",
                          "keys with a release policy are not offered"));
    KV_TRY(read_ops(call->body, info, &out->ops, err));
    KV_TRY(kv_json_attrs(call->body, &attrs, err));
    if (attrs.tags != NULL) {
        KV_TRY(kv_key_app_write(attrs.tags, &updating->app));
        out->app = (struct kv_bytes){updating->app.data, updating->app.len};
    }
    out->is_enabled = attrs.is_enabled;
    out->nbf_s = attrs.nbf_s;
    out->exp_s = attrs.exp_s;
    out->updated_s = kv_now_s(call->task.service->clock);
out:
    return rc;
}

static void committed(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct updating *updating = call->data;
    json_t *bundle = updating->bundle;
    updating->bundle = NULL;
    if (updating->policy.row.row_version != 0)
        kv_engine_kick(task->service->engine);
    kv_call_reply(call, 200, bundle);
}

static void resealed(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct updating *updating = call->data;
    struct kv_role_key_made made = {.n_certs = 0};
    struct kv_row row = updating->key.row;
    int rc = kv_task_take_key(task, &row, &made);
    if (rc == 0) {
        updating->bundle = kv_key_bundle(call, &row, &made.info);
        rc = updating->bundle != NULL ? 0 : KV_E_NOMEM;
    }
    if (rc != 0) {
        kv_task_fail(task, rc, NULL);
        return;
    }
    kv_task_put_row(task, &row, row.row_version);
    kv_rotation_touch(task, &updating->policy);
    kv_task_commit(task, committed);
}

static void got_policy(struct kv_task *task)
{
    struct updating *updating = kv_call_of(task)->data;
    updating->policy = kv_task_take_object(task);
    kv_task_key_update(task, &updating->key.row, &updating->attrs, resealed);
}

static void loaded(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct kv_err err = KV_ERR_INIT;
    struct updating *updating = kv_wiping_calloc(1, sizeof(*updating));
    if (updating == NULL) {
        kv_task_fail(task, KV_E_NOMEM, NULL);
        return;
    }
    kv_buf_init(&updating->app, KV_APP_MAX);
    updating->key = kv_task_take_object(task);
    call->data = updating;
    call->data_free = updating_free;
    int rc = read_request(call, updating, &updating->attrs, &err);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        kv_task_find(task, KV_KIND_ROTATION, call->name, NULL, got_policy);
}

void kv_keys_update(struct kv_call *call)
{
    kv_task_load(&call->task, KV_KIND_KEY, call->name, call->version, loaded);
}
