/*
 * Merging: the certificate for a request that was signed outside. The order waits with
 * the issuer Unknown until somebody brings the chain.
 *
 *   read -> restore -> check the chain against the order's key -> complete the version
 *
 * A chain that does not fit is refused, and the order goes on waiting.
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle/certs/run_internal.h"

struct merge {
    struct kv_run run; /* first member */
    struct kv_order_merge_request request;
    kv_order_cb cb;
    void *arg;
};

static struct merge *merge_of(struct kv_task *task)
{
    return (struct merge *)task;
}

static void end(struct kv_task *task, int rc, const struct kv_err *err)
{
    struct merge *merge = merge_of(task);
    kv_order_cb cb = merge->cb;
    void *arg = merge->arg;
    struct kv_err copy = err != NULL ? *err : KV_ERR_INIT;
    kv_run_fini(&merge->run);
    free(merge);
    cb(arg, rc, rc != 0 ? &copy : NULL);
}

static void merged(struct kv_task *task)
{
    const struct kv_order *order = kv_order_of(task);
    kv_log(task->service->log, KV_LOG_INFO, "cert.merged",
           KV_S("vault", task->vault->name), KV_S("name", order->name),
           KV_I("not_after_s", order->row.exp_s));
    end(task, 0, NULL);
}

static void put_completed(struct kv_task *task)
{
    struct kv_run *run = kv_run_of(task);
    kv_order_put_operation(
        &run->order, kv_operation_end_doc(kv_run_doc(run), "completed"), KV_TIME_NONE);
    kv_task_commit(task, merged);
}

static int take_chain(struct merge *merge, struct kv_err *err)
{
    struct kv_order *order = &merge->run.order;
    struct kv_bytes spki = {order->spki.data, order->spki.len};
    int rc = kv_chain_read(merge->request.x5c, &order->chain_bytes, &order->chain);
    if (rc == KV_E_NOMEM)
        return rc;
    if (rc != 0 || order->chain.n == 0)
        return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                          "the member 'x5c' must be an array of 1 to %d certificates "
                          "in base64",
                          KV_CHAIN_MAX);
    if (!order->preserves_order)
        rc = kv_chain_order(&order->chain, spki, err);
    /* Who signs outside decides on the names. */
    return rc != 0 ? rc
                   : kv_chain_check(&order->chain, spki, NULL,
                                    kv_now_s(order->task.service->clock), err);
}

/* What the request says otherwise than the order. */
static void take_attributes(struct merge *merge)
{
    struct kv_order *order = &merge->run.order;
    if (merge->request.is_enabled != NULL)
        order->is_enabled = *merge->request.is_enabled;
    if (merge->request.tags == NULL)
        return;
    json_decref(order->tags);
    order->tags = json_incref(merge->request.tags);
}

static void version_loaded(struct kv_task *task)
{
    struct merge *merge = merge_of(task);
    struct kv_err err = KV_ERR_INIT;
    int rc = kv_run_restore(&merge->run, &err);
    take_attributes(merge);
    if (rc == 0)
        rc = take_chain(merge, &err);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        kv_order_finish(&merge->run.order, put_completed);
}

static int check_operation(const struct kv_run *run, struct kv_err *err)
{
    const char *name = run->order.name;
    const json_t *issuer =
        json_object_get(json_object_get(kv_run_doc(run), "policy"), "issuer");
    const char *issuer_name = json_string_value(json_object_get(issuer, "name"));
    if (run->order.operation.row.row_version == 0)
        return kv_err_set(err, KV_E_NOT_FOUND, "cert.no-operation",
                          "the certificate '%s' has no such operation", name);
    if (!kv_order_is_running(&run->order))
        return kv_err_set(err, KV_E_INVALID, "cert.not-in-progress",
                          "the operation of the certificate '%s' has ended", name);
    if (issuer_name == NULL || strcmp(issuer_name, "Unknown") != 0)
        return kv_err_set(err, KV_E_DENIED, "cert.not-merged",
                          "the certificate '%s' comes from its issuer and is not "
                          "merged",
                          name);
    return 0;
}

static void read_done(struct kv_task *task)
{
    struct merge *merge = merge_of(task);
    struct kv_err err = KV_ERR_INIT;
    uint8_t version[KV_ID_LEN];
    int rc = check_operation(&merge->run, &err);
    if (rc == 0)
        rc = kv_run_version(&merge->run, version, &err);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        kv_task_load(task, KV_KIND_CERTIFICATE, merge->run.order.name, version,
                     version_loaded);
}

int kv_order_merge(struct kv_service *service, struct kv_vault *vault,
                   const struct kv_order_merge_request *request, kv_order_cb cb,
                   void *arg)
{
    struct merge *merge = calloc(1, sizeof(*merge));
    if (merge == NULL)
        return KV_E_NOMEM;
    int rc = kv_run_init(&merge->run, service, vault, request->name, end);
    if (rc != 0) {
        kv_run_fini(&merge->run);
        free(merge);
        return rc;
    }
    merge->request = *request;
    merge->cb = cb;
    merge->arg = arg;
    kv_order_read(&merge->run.order, read_done);
    return 0;
}
