/*
 * New certificates: create (202, then the operation is polled) and import.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/api/certificates.h"
#include "lifecycle/api/internal.h"
#include "lifecycle/certs/engine.h"
#include "lifecycle/certs/order.h"
#include "store/core/b64.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define RETRY_AFTER_S "1"

/* --- the operation -----------------------------------------------------------------
 */

static const char *status_of(const json_t *doc)
{
    const char *status = json_string_value(json_object_get(doc, "status"));
    return status != NULL ? status : "failed";
}

static json_t *details_of(const char *status, const json_t *doc)
{
    const json_t *issuer = json_object_get(json_object_get(doc, "policy"), "issuer");
    const char *name = json_string_value(json_object_get(issuer, "name"));
    bool is_pending = strcmp(status, "inProgress") == 0;
    if (is_pending && name != NULL && strcmp(name, "Unknown") == 0)
        return json_string("Pending certificate created. Please Perform Merge to "
                           "complete the request.");
    if (is_pending)
        return json_string("Pending certificate created. Certificate request is in "
                           "progress.");
    return json_incref(json_object_get(json_object_get(doc, "error"), "message"));
}

static json_t *operation_json(const struct kv_call *call, const struct kv_object *op)
{
    const json_t *doc = op->doc;
    const char *status = status_of(doc);
    const char *name = op->row.key.name;
    json_t *base = kv_call_id(call, "certificates", name, NULL);
    json_t *json = json_pack(
        "{s:o,s:O*,s:O*,s:b,s:s,s:o*,s:O*,s:O*,s:O*,s:O*}", "id",
        kv_cert_own_id(call, name, "pending"), "issuer",
        json_object_get(json_object_get(doc, "policy"), "issuer"), "csr",
        json_object_get(doc, "csr"), "cancellation_requested",
        json_is_true(json_object_get(doc, "cancellationRequested")), "status", status,
        "status_details", details_of(status, doc), "error",
        json_object_get(doc, "error"), "request_id", json_object_get(doc, "requestId"),
        "preserveCertOrder", json_object_get(doc, "preserveCertOrder"), "target",
        strcmp(status, "completed") == 0 ? base : NULL);
    json_decref(base);
    return json;
}

/* While it runs: when to ask again, and for the first answer also where. */
static void set_polling(const struct kv_call *call, const json_t *doc, bool is_created)
{
    char url[300];
    char location[900];
    char version[64];
    if (call->request == NULL || strcmp(status_of(doc), "inProgress") != 0)
        return;
    int rc = kv_http_reply_header(call->request, "Retry-After", RETRY_AFTER_S);
    if (!is_created || rc != 0)
        return;
    if (!kv_call_query(call, "api-version", version, sizeof(version)))
        version[0] = '\0';
    kv_service_vault_url(call->task.service, call->task.vault, url, sizeof(url));
    int n = snprintf(location, sizeof(location),
                     "%s/certificates/%s/pending?api-version=%s&request_id=%s", url,
                     call->name, version,
                     json_string_value(json_object_get(doc, "requestId")));
    if (n > 0 && (size_t)n < sizeof(location))
        rc = kv_http_reply_header(call->request, "Location", location);
    if (rc != 0)
        return; /* the body says the same */
}

static void no_operation(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    kv_err_set(&err, KV_E_NOT_FOUND, "cert.no-operation",
               "the certificate '%s' has no such operation", call->name);
    kv_task_fail(&call->task, KV_E_NOT_FOUND, &err);
}

/* ?request_id= is a filter. */
static bool is_wanted(const struct kv_call *call, const json_t *doc)
{
    char wanted[64];
    const char *id = json_string_value(json_object_get(doc, "requestId"));
    return !kv_call_query(call, "request_id", wanted, sizeof(wanted)) ||
           (id != NULL && kv_str_equal_nocase(id, wanted));
}

static void reply_operation(struct kv_task *task, bool is_created)
{
    struct kv_call *call = kv_call_of(task);
    if (task->object.row.row_version == 0 || !is_wanted(call, task->object.doc)) {
        no_operation(call);
        return;
    }
    set_polling(call, task->object.doc, is_created);
    kv_call_reply(call, is_created ? 202 : 200, operation_json(call, &task->object));
}

static void reply_pending(struct kv_task *task)
{
    reply_operation(task, false);
}

static void reply_created(struct kv_task *task)
{
    reply_operation(task, true);
}

static void reply_changed(struct kv_task *task)
{
    kv_task_find(task, KV_KIND_OPERATION, kv_call_of(task)->name, NULL, reply_pending);
}

/* --- its end before its time --------------------------------------------------------
 */

static void cancel_found(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct kv_err err = KV_ERR_INIT;
    bool is_wanted_op =
        task->object.row.row_version != 0 && is_wanted(call, task->object.doc);
    bool is_cancelled = false;
    int rc = 0;
    if (!is_wanted_op) {
        no_operation(call);
        return;
    }
    KV_TRY(kv_json_bool(call->body, "cancellation_requested", &is_cancelled, &err));
    if (!is_cancelled)
        KV_TRY(kv_err_set(&err, KV_E_INVALID, "api.bad-field",
                          "the member 'cancellation_requested' must be true"));
    if (strcmp(status_of(task->object.doc), "inProgress") != 0)
        KV_TRY(kv_err_set(&err, KV_E_INVALID, "cert.not-in-progress",
                          "the operation of the certificate '%s' has ended: it is %s",
                          call->name, status_of(task->object.doc)));
    struct kv_row row = task->object.row;
    json_t *doc = kv_operation_end_doc(task->object.doc, "cancelled");
    row.updated_s = kv_now_s(task->service->clock);
    row.next_at_s = KV_TIME_NONE;
    if (json_object_set_new(doc, "cancellationRequested", json_true()) != 0)
        rc = KV_E_NOMEM;
    kv_task_put_doc(task, &row, row.row_version, doc);
out:
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        kv_task_commit(task, reply_changed);
}

static void drop_found(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    const struct kv_row *row = &task->object.row;
    if (row->row_version == 0 || !is_wanted(call, task->object.doc)) {
        no_operation(call);
        return;
    }
    if (!kv_call_keep(call, operation_json(call, &task->object))) {
        kv_task_fail(task, KV_E_NOMEM, NULL);
        return;
    }
    kv_task_delete(task, &row->key, row->row_version);
    kv_task_commit(task, kv_call_reply_kept);
}

/* The row stays while the certificate is deleted. */
static void find_operation(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    kv_task_fn next = reply_pending;
    if (call->route->run == kv_certificates_cancel)
        next = cancel_found;
    else if (call->route->run == kv_certificates_drop_pending)
        next = drop_found;
    if (task->object.row.row_version == 0)
        no_operation(call);
    else
        kv_task_find(task, KV_KIND_OPERATION, call->name, NULL, next);
}

void kv_certificates_pending(struct kv_call *call)
{
    kv_task_find(&call->task, KV_KIND_CERTIFICATE, call->name, NULL, find_operation);
}

/* An issuer that is at work finds its operation changed and stops. */
void kv_certificates_cancel(struct kv_call *call)
{
    kv_certificates_pending(call);
}

void kv_certificates_drop_pending(struct kv_call *call)
{
    kv_certificates_pending(call);
}

/* --- requests ----------------------------------------------------------------------
 */

struct ordering {
    struct kv_order_request request;
    struct kv_buf material;
};

static void ordering_free(void *data)
{
    struct ordering *ordering = data;
    kv_buf_free(&ordering->material);
    kv_wiping_free(ordering);
}

static struct ordering *new_ordering(struct kv_call *call)
{
    struct ordering *ordering = kv_wiping_calloc(1, sizeof(*ordering));
    if (ordering == NULL) {
        kv_task_fail(&call->task, KV_E_NOMEM, NULL);
        return NULL;
    }
    kv_buf_init_secret(&ordering->material, KV_IMPORT_MAX);
    call->data = ordering;
    call->data_free = ordering_free;
    return ordering;
}

/* Names that other paths of the API have below /certificates. */
static int check_reserved(const struct kv_call *call, struct kv_err *err)
{
    if (!kv_str_equal_nocase(call->name, "contacts") &&
        !kv_str_equal_nocase(call->name, "issuers") &&
        !kv_str_equal_nocase(call->name, "restore"))
        return 0;
    return kv_err_set(err, KV_E_INVALID, "api.bad-name",
                      "no certificate can have the name '%s'", call->name);
}

/* Members that create and import share. */
static int read_common(const struct kv_call *call, struct kv_order_request *request,
                       struct kv_err *err)
{
    struct kv_call_attrs attrs = {
        .is_enabled = true, .nbf_s = KV_TIME_NONE, .exp_s = KV_TIME_NONE};
    int rc = 0;
    request->name = call->name;
    KV_TRY(check_reserved(call, err));
    KV_TRY(kv_json_object(call->body, "policy", KV_OPTIONAL, &request->policy, err));
    KV_TRY(
        kv_json_bool(call->body, "preserveCertOrder", &request->preserves_order, err));
    KV_TRY(kv_json_attrs(call->body, &attrs, err));
    request->is_enabled = attrs.is_enabled;
    request->tags = attrs.tags;
out:
    return rc;
}

static void created(void *arg, int rc, const struct kv_err *err)
{
    struct kv_call *call = arg;
    if (rc != 0) {
        kv_task_fail(&call->task, rc, err);
        return;
    }
    kv_engine_kick(call->task.service->engine);
    kv_task_find(&call->task, KV_KIND_OPERATION, call->name, NULL, reply_created);
}

void kv_certificates_create(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    struct ordering *ordering = new_ordering(call);
    if (ordering == NULL)
        return;
    int rc = read_common(call, &ordering->request, &err);
    if (rc == 0)
        rc = kv_order_create(call->task.service, call->task.vault, &ordering->request,
                             created, call);
    if (rc != 0)
        kv_task_fail(&call->task, rc, &err);
}

/* --- import ------------------------------------------------------------------------
 */

static bool is_pem(const char *text, size_t len)
{
    static const char begin[] = "-----BEGIN ";
    for (size_t i = 0; i + sizeof(begin) - 1 <= len && i < 4096; i++)
        if (memcmp(text + i, begin, sizeof(begin) - 1) == 0)
            return true;
    return false;
}

/* "value" is PEM text, or base64 of PEM text, or base64 of PKCS#12: clients differ. */
static int read_value(const json_t *body, struct ordering *ordering, struct kv_err *err)
{
    const char *value = NULL;
    struct kv_buf *material = &ordering->material;
    struct kv_order_request *request = &ordering->request;
    int rc = kv_json_string(body, "value", KV_REQUIRED, &value, err);
    if (rc != 0)
        return rc;
    size_t len = strlen(value);
    request->format = KV_IMPORT_PEM;
    if (is_pem(value, len))
        rc = kv_buf_append(material, value, len);
    else
        rc = kv_b64_decode(KV_B64_STD, value, len, material);
    if (rc == KV_E_TOO_BIG)
        return kv_err_set(err, rc, "api.bad-field",
                          "the member 'value' holds more than %d bytes", KV_IMPORT_MAX);
    if (rc == KV_E_INVALID || (rc == 0 && material->len == 0))
        return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                          "the member 'value' is neither PEM text nor base64");
    if (rc == 0 && !is_pem((const char *)material->data, material->len))
        request->format = KV_IMPORT_PFX;
    request->material = (struct kv_bytes){material->data, material->len};
    return rc;
}

static int read_password(const json_t *body, struct kv_order_request *request,
                         struct kv_err *err)
{
    const char *password = NULL;
    int rc = kv_json_string(body, "pwd", KV_OPTIONAL, &password, err);
    if (rc != 0 || password == NULL)
        return rc;
    size_t len = strlen(password);
    if (len > KV_PASSWORD_MAX)
        return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                          "the member 'pwd' has more than %d bytes", KV_PASSWORD_MAX);
    request->password = (struct kv_bytes){(const uint8_t *)password, len};
    return 0;
}

static void imported(void *arg, int rc, const struct kv_err *err)
{
    struct kv_call *call = arg;
    if (rc != 0) {
        kv_task_fail(&call->task, rc, err);
        return;
    }
    if (call->data_free != NULL)
        call->data_free(call->data);
    call->data = NULL;
    call->data_free = NULL;
    kv_certificates_get(call);
}

void kv_certificates_import(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    struct ordering *ordering = new_ordering(call);
    int rc = 0;
    if (ordering == NULL)
        return;
    KV_TRY(read_common(call, &ordering->request, &err));
    KV_TRY(read_value(call->body, ordering, &err));
    KV_TRY(read_password(call->body, &ordering->request, &err));
    KV_TRY(kv_order_import(call->task.service, call->task.vault, &ordering->request,
                           imported, call));
out:
    if (rc != 0)
        kv_task_fail(&call->task, rc, &err);
}

/* --- merge -------------------------------------------------------------------------
 */

struct merging {
    struct kv_order_merge_request request;
    bool is_enabled;
};

static void merged(void *arg, int rc, const struct kv_err *err)
{
    struct kv_call *call = arg;
    if (rc != 0) {
        kv_task_fail(&call->task, rc, err);
        return;
    }
    free(call->data);
    call->data = NULL;
    call->data_free = NULL;
    kv_certificates_get(call);
}

static int read_merge(struct kv_call *call, struct merging *merging, struct kv_err *err)
{
    struct kv_call_attrs attrs = {
        .is_enabled = true, .nbf_s = KV_TIME_NONE, .exp_s = KV_TIME_NONE};
    const json_t *enabled =
        json_object_get(json_object_get(call->body, "attributes"), "enabled");
    merging->request.name = call->name;
    merging->request.x5c = json_object_get(call->body, "x5c");
    if (!json_is_array(merging->request.x5c) ||
        json_array_size(merging->request.x5c) == 0)
        return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                          "X5C must has at least one valid item.");
    int rc = kv_json_attrs(call->body, &attrs, err);
    merging->is_enabled = attrs.is_enabled;
    merging->request.tags = attrs.tags;
    if (json_is_boolean(enabled))
        merging->request.is_enabled = &merging->is_enabled;
    return rc;
}

void kv_certificates_merge(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    struct merging *merging = calloc(1, sizeof(*merging));
    int rc = KV_E_NOMEM;
    if (merging == NULL)
        goto out;
    call->data = merging;
    call->data_free = free;
    KV_TRY(read_merge(call, merging, &err));
    KV_TRY(kv_order_merge(call->task.service, call->task.vault, &merging->request,
                          merged, call));
out:
    if (rc != 0)
        kv_task_fail(&call->task, rc, &err);
}
