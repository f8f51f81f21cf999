/*
 * A new order: the key is made, or with `reuse_key` taken over from the present
 * version, and its request; then version, operation and policy are committed together.
 * What the issuer does with it is the engine's (run.c).
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle/certs/csr.h"
#include "lifecycle/certs/internal.h"
#include "store/core/str.h"

static void committed(struct kv_task *task)
{
    const struct kv_order *order = kv_order_of(task);
    kv_log(task->service->log, KV_LOG_INFO, "cert.ordered",
           KV_S("vault", task->vault->name), KV_S("name", order->name),
           KV_S("issuer", order->policy.issuer));
    kv_order_end(task, 0, NULL);
}

/* The document of the operation; NULL when out of memory. */
static json_t *write_operation(const struct kv_order *order, struct kv_bytes csr)
{
    char version[2 * KV_ID_LEN + 1];
    char request[2 * KV_ID_LEN + 1];
    uint8_t id[KV_ID_LEN];
    if (kv_rand_fill(order->task.service->rand, id, sizeof(id)) != 0)
        return NULL;
    kv_hex_encode(request, id, sizeof(id));
    kv_hex_encode(version, order->row.key.version, KV_ID_LEN);
    return json_pack("{s:s,s:s,s:s,s:b,s:b,s:O,s:O*,s:o,s:o,s:I,s:o}", "status",
                     "inProgress", "requestId", request, "version", version,
                     "preserveCertOrder", order->preserves_order ? 1 : 0, "enabled",
                     order->is_enabled ? 1 : 0, "policy", order->policy.doc, "tags",
                     order->tags, "csr", kv_order_b64(csr.data, csr.len), "key",
                     kv_order_b64(order->key.data, order->key.len), "keyTerm",
                     (json_int_t)order->key_term, "spki",
                     kv_order_b64(order->spki.data, order->spki.len));
}

/* Such an order waits until somebody brings the certificate (merge.c). */
static bool is_signed_outside(const struct kv_order *order)
{
    return strcmp(order->policy.issuer, "Unknown") == 0;
}

static void request_signed(struct kv_task *task)
{
    struct kv_order *order = kv_order_of(task);
    json_t *operation = write_operation(order, task->payload);
    kv_order_put_operation(order, operation,
                           is_signed_outside(order) ? KV_TIME_NONE
                                                    : kv_now_s(task->service->clock));
    kv_order_put_policy(order);
    kv_task_put_doc(task, &order->row, 0,
                    json_pack("{s:[],s:s,s:O*}", "chain", "contentType",
                              order->policy.content_type, "tags", order->tags));
    struct kv_row *head = &order->heads[KV_HEAD_CERTIFICATE];
    if (head->row_version == 0)
        kv_task_put_head(task, head, &order->row);
    else /* as it was: whoever deletes the name meanwhile makes this a conflict */
        kv_task_put_row(task, head, head->row_version);
    kv_task_commit(task, committed);
}

static void key_made(struct kv_task *task)
{
    struct kv_order *order = kv_order_of(task);
    struct kv_err err = KV_ERR_INIT;
    struct kv_role_key_made *reply = calloc(1, sizeof(*reply));
    struct kv_buf info;
    int rc = KV_E_NOMEM;
    kv_buf_init(&info, KV_CSR_MAX);
    if (reply == NULL)
        goto out;
    KV_TRY(kv_role_key_made_get(task->payload, reply));
    KV_TRY(kv_buf_append(&order->key, reply->row.data, reply->row.len));
    KV_TRY(kv_buf_append(&order->spki, reply->info.spki.data, reply->info.spki.len));
    KV_TRY(kv_csr_info(&order->policy, reply->info.spki, &info, &err));
out:
    free(reply);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        kv_order_sign(order, KV_TBS_CSR, (struct kv_bytes){info.data, info.len},
                      request_signed);
    kv_buf_free(&info);
}

/* --- a key -----------------------------------------------------------------------
 */

static void generate(struct kv_order *order)
{
    struct kv_role_key_new msg;
    struct kv_buf app;
    struct kv_buf payload;
    memset(&msg, 0, sizeof(msg));
    kv_buf_init(&app, KV_APP_MAX);
    kv_buf_init(&payload, KV_FRAME_MAX_ROLE);
    order->key_term = order->task.vault->term;
    kv_order_key_ident(order, &msg.ident);
    msg.kty = order->policy.kty;
    msg.curve = order->policy.curve;
    msg.bits = order->policy.bits;
    int rc = kv_order_key_attrs(order, &app, &msg.attrs);
    if (rc == 0)
        kv_role_key_new_put(&payload, &msg);
    kv_buf_free(&app);
    if (rc != 0)
        kv_task_fail(&order->task, rc, NULL);
    else
        kv_task_keyring(&order->task, KV_ROLE_KEY_GENERATE, &payload, key_made);
}

/* The policy may have changed to another type of key: then a new one is made. */
static bool fits(const struct kv_policy *policy, const struct kv_key_info *info)
{
    return policy->kty == info->kty && policy->curve == info->curve &&
           (policy->kty != KV_KTY_RSA || policy->bits == info->bits);
}

static void reuse(struct kv_order *order, const struct kv_row *old)
{
    struct kv_role_key_update msg = {.old_row = {old->sealed, old->sealed_len}};
    struct kv_buf app;
    struct kv_buf payload;
    kv_buf_init(&app, KV_APP_MAX);
    kv_buf_init(&payload, KV_FRAME_MAX_ROLE);
    order->key_term = order->task.vault->term;
    kv_row_ident(old, &msg.old_ident);
    kv_order_key_ident(order, &msg.ident);
    int rc = kv_order_key_attrs(order, &app, &msg.attrs);
    if (rc == 0)
        kv_role_key_update_put(&payload, &msg);
    kv_buf_free(&app);
    if (rc != 0)
        kv_task_fail(&order->task, rc, NULL);
    else
        kv_task_keyring(&order->task, KV_ROLE_KEY_REUSE, &payload, key_made);
}

static void got_old_key(struct kv_task *task)
{
    struct kv_order *order = kv_order_of(task);
    struct kv_object old = kv_task_take_object(task);
    if (old.row.row_version != 0 && fits(&order->policy, &old.info))
        reuse(order, &old.row);
    else
        generate(order);
    kv_object_free(&old);
}

/* The key of the present version, where the policy wants to keep it. */
static void take_key(struct kv_order *order)
{
    if (order->policy.reuses_key)
        kv_task_find(&order->task, KV_KIND_KEY, order->name, NULL, got_old_key);
    else
        generate(order);
}

/* --- start -----------------------------------------------------------------------
 */

static int check(struct kv_order *order, struct kv_err *err)
{
    const json_t *given = order->request.policy;
    if (given == NULL)
        given = order->stored_policy.doc;
    if (given == NULL)
        return kv_err_set(err, KV_E_INVALID, "cert.no-policy",
                          "the certificate '%s' has no policy yet: the member 'policy' "
                          "is required",
                          order->name);
    const struct keyvault_issuer *issuer = NULL;
    int rc = kv_policy_read(given, &order->policy, err);
    if (rc != 0 || is_signed_outside(order))
        return rc;
    return kv_order_issuer(&order->policy, &issuer, err);
}

/* The pending version: disabled until its certificate is there. */
static int start_version(struct kv_order *order)
{
    struct kv_row *row = &order->row;
    row->key = order->heads[KV_HEAD_CERTIFICATE].key;
    row->flags = KV_ROW_PENDING;
    row->created_s = kv_now_s(order->task.service->clock);
    row->updated_s = row->created_s;
    row->nbf_s = KV_TIME_NONE;
    row->exp_s = KV_TIME_NONE;
    row->next_at_s = KV_TIME_NONE;
    return kv_task_new_version(&order->task, row->key.version);
}

static void read_done(struct kv_task *task)
{
    struct kv_order *order = kv_order_of(task);
    struct kv_err err = KV_ERR_INIT;
    int rc = check(order, &err);
    if (rc == 0)
        rc = start_version(order);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        take_key(order);
}

int kv_order_create(struct kv_service *service, struct kv_vault *vault,
                    const struct kv_order_request *request, kv_order_cb cb, void *arg)
{
    return kv_order_start(service, vault, request, read_done, cb, arg);
}
