/*
 * Changing a certificate: attributes and tags of a version, with those of its key and
 * secret; the policy; the pending operation.
 *
 *   version:  load certificate, key, secret -> KEY_UPDATE -> commit all -> bundle
 *   policy:   load -> merge -> check -> commit -> policy
 */
#include <string.h>

#include "lifecycle/api/certificates.h"
#include "lifecycle/api/internal.h"
#include "lifecycle/certs/policy.h"
#include "store/core/secret.h"

struct updating {
    struct kv_call_attrs attrs;
    struct kv_object version;
    struct kv_object key;
    struct kv_object secret;
    struct kv_buf app;
};

static void updating_free(void *data)
{
    struct updating *updating = data;
    kv_object_free(&updating->version);
    kv_object_free(&updating->key);
    kv_object_free(&updating->secret);
    kv_buf_free(&updating->app);
    kv_wiping_free(updating);
}

static struct updating *updating_of(struct kv_task *task)
{
    return kv_call_of(task)->data;
}

/* --- policy -------------------------------------------------------------------------
 */

/* Another type of key makes the size and curve of the old one void. */
static void drop_key_size(json_t *old, const json_t *given)
{
    const json_t *kty = json_object_get(given, "kty");
    if (!json_is_string(kty) || json_equal(kty, json_object_get(old, "kty")))
        return;
    (void)json_object_del(old, "key_size");
    (void)json_object_del(old, "crv");
}

/* Members of `given` over those of `stored`; objects one level down are merged, too.
 * NULL: no memory. */
static json_t *merge(const json_t *stored, const json_t *given)
{
    const char *name = NULL;
    json_t *value = NULL;
    json_t *merged = json_deep_copy(stored);
    json_object_foreach((json_t *)(uintptr_t)given, name, value)
    {
        json_t *old = json_object_get(merged, name);
        int rc = 0;
        if (strcmp(name, "key_props") == 0)
            drop_key_size(old, value);
        if (json_is_object(value) && json_is_object(old))
            rc = json_object_update(old, value);
        else if (!json_is_null(value))
            rc = json_object_set(merged, name, value);
        if (merged == NULL || rc != 0) {
            json_decref(merged);
            return NULL;
        }
    }
    return merged;
}

/* Add the stored policy with these changes to the batch. */
static int put_policy(struct kv_task *task, const struct kv_object *stored,
                      const json_t *given, struct kv_err *err)
{
    struct kv_policy policy = {.doc = NULL};
    struct kv_row row = stored->row;
    json_t *merged = merge(stored->doc, given);
    int rc = merged != NULL ? kv_policy_read(merged, &policy, err) : KV_E_NOMEM;
    json_decref(merged);
    if (rc == 0) {
        row.updated_s = kv_now_s(task->service->clock);
        kv_task_put_doc(task, &row, row.row_version, json_incref(policy.doc));
    }
    kv_policy_free(&policy);
    return rc;
}

static void policy_changed(struct kv_task *task)
{
    kv_certificates_policy(kv_call_of(task));
}

static void policy_loaded(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct kv_err err = KV_ERR_INIT;
    int rc = put_policy(task, &task->object, call->body, &err);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        kv_task_commit(task, policy_changed);
}

static void certificate_loaded(struct kv_task *task)
{
    kv_task_load(task, KV_KIND_POLICY, kv_call_of(task)->name, NULL, policy_loaded);
}

void kv_certificates_update_policy(struct kv_call *call)
{
    kv_task_load(&call->task, KV_KIND_CERTIFICATE, call->name, NULL,
                 certificate_loaded);
}

/* --- a version ----------------------------------------------------------------------
 */

/* Bring enabled and tags into a row with a document. */
static int change(struct kv_task *task, struct kv_object *object,
                  const struct kv_call_attrs *attrs)
{
    struct kv_row *row = &object->row;
    row->flags &= ~(uint32_t)KV_ROW_ENABLED;
    row->flags |= attrs->is_enabled ? KV_ROW_ENABLED : 0U;
    row->updated_s = kv_now_s(task->service->clock);
    if (attrs->tags != NULL && json_object_set(object->doc, "tags", attrs->tags) != 0)
        return KV_E_NOMEM;
    kv_task_put_doc(task, row, row->row_version, json_incref(object->doc));
    return 0;
}

static void version_changed(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    updating_free(call->data);
    call->data = NULL;
    call->data_free = NULL;
    kv_certificates_get(call);
}

static void commit(struct kv_task *task)
{
    kv_task_commit(task, version_changed);
}

static void policy_found(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct kv_err err = KV_ERR_INIT;
    int rc =
        put_policy(task, &task->object, json_object_get(call->body, "policy"), &err);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        commit(task);
}

/* The certificate's own row, and the policy when the request has one. */
static void put_certificate(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct updating *updating = call->data;
    int rc = change(task, &updating->version, &updating->attrs);
    const json_t *policy = json_object_get(call->body, "policy");
    if (rc != 0)
        kv_task_fail(task, rc, NULL);
    else if (policy != NULL && !json_is_null(policy))
        kv_task_load(task, KV_KIND_POLICY, call->name, NULL, policy_found);
    else
        commit(task);
}

static void key_resealed(struct kv_task *task)
{
    struct updating *updating = updating_of(task);
    struct kv_role_key_made made = {.n_certs = 0};
    struct kv_row row = updating->key.row;
    int rc = kv_task_take_key(task, &row, &made);
    if (rc == 0) {
        kv_task_put_row(task, &row, row.row_version);
        rc = change(task, &updating->secret, &updating->attrs);
    }
    if (rc != 0)
        kv_task_fail(task, rc, NULL);
    else
        put_certificate(task);
}

static void secret_loaded(struct kv_task *task)
{
    struct updating *updating = updating_of(task);
    struct kv_key_attrs attrs = updating->key.info.attrs;
    int rc = 0;
    updating->secret = kv_task_take_object(task);
    if (updating->attrs.tags != NULL) {
        KV_TRY(kv_key_app_write(updating->attrs.tags, &updating->app));
        attrs.app = (struct kv_bytes){updating->app.data, updating->app.len};
    }
    attrs.is_enabled = updating->attrs.is_enabled;
    attrs.updated_s = kv_now_s(task->service->clock);
out:
    if (rc != 0)
        kv_task_fail(task, rc, NULL);
    else
        kv_task_key_update(task, &updating->key.row, &attrs, key_resealed);
}

static void key_loaded(struct kv_task *task)
{
    struct updating *updating = updating_of(task);
    updating->key = kv_task_take_object(task);
    kv_task_load(task, KV_KIND_SECRET, kv_call_of(task)->name,
                 updating->version.row.key.version, secret_loaded);
}

static int read_request(const struct kv_call *call, struct updating *updating,
                        struct kv_err *err)
{
    const struct kv_row *row = &updating->version.row;
    const json_t *policy = NULL;
    int rc = 0;
    updating->attrs =
        (struct kv_call_attrs){.is_enabled = (row->flags & KV_ROW_ENABLED) != 0,
                               .nbf_s = row->nbf_s,
                               .exp_s = row->exp_s};
    if ((row->flags & KV_ROW_PENDING) != 0)
        KV_TRY(kv_err_set(err, KV_E_EXISTS, "cert.in-progress",
                          "the version of the certificate '%s' has not been issued: "
                          "nothing can be said of it yet",
                          call->name));
    KV_TRY(kv_json_object(call->body, "policy", KV_OPTIONAL, &policy, err));
    KV_TRY(kv_json_attrs(call->body, &updating->attrs, err));
out:
    return rc;
}

static void version_loaded(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct kv_err err = KV_ERR_INIT;
    struct updating *updating = kv_wiping_calloc(1, sizeof(*updating));
    if (updating == NULL) {
        kv_task_fail(task, KV_E_NOMEM, NULL);
        return;
    }
    kv_buf_init(&updating->app, KV_APP_MAX);
    updating->version = kv_task_take_object(task);
    call->data = updating;
    call->data_free = updating_free;
    int rc = read_request(call, updating, &err);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        kv_task_load(task, KV_KIND_KEY, call->name, updating->version.row.key.version,
                     key_loaded);
}

void kv_certificates_update(struct kv_call *call)
{
    kv_task_load(&call->task, KV_KIND_CERTIFICATE, call->name, call->version,
                 version_loaded);
}
