/*
 * Steps that creating, importing and completing a certificate have in common.
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle/certs/internal.h"
#include "lifecycle/certs/issuer.h"
#include "store/core/b64.h"
#include "store/core/str.h"

#define SEALED_KEY_MAX 65536
#define B64_MAX 262144

int kv_order_init(struct kv_order *order, struct kv_service *service,
                  struct kv_vault *vault, const char *name, kv_task_fail_fn on_fail)
{
    kv_task_init(&order->task, service, vault, on_fail);
    kv_buf_init(&order->key, SEALED_KEY_MAX);
    kv_buf_init(&order->spki, KV_SPKI_MAX);
    kv_buf_init(&order->chain_bytes, KV_ORDER_CHAIN_BYTES_MAX);
    return kv_str_copy(order->name, sizeof(order->name), name);
}

void kv_order_fini(struct kv_order *order)
{
    kv_task_fini(&order->task);
    kv_object_free(&order->operation);
    kv_object_free(&order->stored_policy);
    kv_policy_free(&order->policy);
    kv_buf_free(&order->key);
    kv_buf_free(&order->spki);
    kv_buf_free(&order->chain_bytes);
    json_decref(order->tags);
    order->tags = NULL;
    json_decref(order->given);
    order->given = NULL;
}

/* One order at a time: an import or another create would overtake the pending one. */
static void check_idle(struct kv_task *task)
{
    struct kv_order *order = kv_order_of(task);
    struct kv_err err = KV_ERR_INIT;
    if (!kv_order_is_running(order)) {
        order->first(task);
        return;
    }
    kv_err_set(&err, KV_E_EXISTS, "cert.in-progress",
               "an operation for the certificate '%s' is in progress", order->name);
    kv_err_hint(&err, "keyvault cert operation show %s; cancel ends it", order->name);
    kv_task_fail(task, KV_E_EXISTS, &err);
}

void kv_order_end(struct kv_task *task, int rc, const struct kv_err *err)
{
    struct kv_order *order = kv_order_of(task);
    kv_order_cb cb = order->cb;
    void *arg = order->arg;
    struct kv_err copy = err != NULL ? *err : KV_ERR_INIT;
    kv_order_fini(order);
    free(order);
    cb(arg, rc, rc != 0 ? &copy : NULL);
}

int kv_order_start(struct kv_service *service, struct kv_vault *vault,
                   const struct kv_order_request *request, kv_task_fn first,
                   kv_order_cb cb, void *arg)
{
    struct kv_order *order = calloc(1, sizeof(*order));
    if (order == NULL)
        return KV_E_NOMEM;
    int rc = kv_order_init(order, service, vault, request->name, kv_order_end);
    if (rc != 0) {
        kv_order_fini(order);
        free(order);
        return rc;
    }
    order->request = *request;
    order->first = first;
    order->is_enabled = request->is_enabled;
    order->preserves_order = request->preserves_order;
    order->tags = json_incref(request->tags);
    order->cb = cb;
    order->arg = arg;
    kv_order_read(order, check_idle);
    return 0;
}

/* --- reading --------------------------------------------------------------------- */

static int check_names(const struct kv_order *order, struct kv_err *err)
{
    for (size_t i = 0; i < KV_HEADS; i++) {
        const struct kv_row *head = &order->heads[i];
        const char *kind = kv_kind_name(head->key.kind);
        if (head->row_version == 0)
            continue;
        if ((head->flags & KV_ROW_DELETED) != 0) {
            (void)kv_err_set(err, KV_E_EXISTS, "api.deleted",
                             "the %s '%s' is deleted but recoverable: its name cannot "
                             "be used",
                             kind, order->name);
            kv_err_hint(err, "keyvault %s recover %s, or purge",
                        i == KV_HEAD_CERTIFICATE ? "cert" : kind, order->name);
            return KV_E_EXISTS;
        }
        if (i != KV_HEAD_CERTIFICATE && (head->flags & KV_ROW_MANAGED) == 0)
            return kv_err_set(err, KV_E_EXISTS, "cert.name-taken",
                              "the name '%s' belongs to a %s that is no certificate's",
                              order->name, kind);
    }
    return 0;
}

static void got_policy(struct kv_task *task)
{
    struct kv_order *order = kv_order_of(task);
    struct kv_err err = KV_ERR_INIT;
    order->stored_policy = kv_task_take_object(task);
    int rc = check_names(order, &err);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        order->next(task);
}

static void got_secret_head(struct kv_task *task)
{
    struct kv_order *order = kv_order_of(task);
    order->heads[KV_HEAD_SECRET] = task->object.row;
    kv_task_find(task, KV_KIND_POLICY, order->name, NULL, got_policy);
}

static void got_key_head(struct kv_task *task)
{
    struct kv_order *order = kv_order_of(task);
    order->heads[KV_HEAD_KEY] = task->object.row;
    kv_task_find_head(task, KV_KIND_SECRET, order->name, got_secret_head);
}

static void got_head(struct kv_task *task)
{
    struct kv_order *order = kv_order_of(task);
    order->heads[KV_HEAD_CERTIFICATE] = task->object.row;
    kv_task_find_head(task, KV_KIND_KEY, order->name, got_key_head);
}

static void got_operation(struct kv_task *task)
{
    struct kv_order *order = kv_order_of(task);
    order->operation = kv_task_take_object(task);
    kv_task_find_head(task, KV_KIND_CERTIFICATE, order->name, got_head);
}

void kv_order_read(struct kv_order *order, kv_task_fn next)
{
    order->next = next;
    kv_task_find(&order->task, KV_KIND_OPERATION, order->name, NULL, got_operation);
}

bool kv_order_is_running(const struct kv_order *order)
{
    const char *status =
        json_string_value(json_object_get(order->operation.doc, "status"));
    return status != NULL && strcmp(status, "inProgress") == 0;
}

int kv_order_issuer(const struct kv_policy *policy, const struct keyvault_issuer **out,
                    struct kv_err *err)
{
    const struct keyvault_issuer *issuer = kv_issuer_find(policy->issuer);
    if (issuer == NULL)
        return kv_err_set(err, KV_E_INVALID, "cert.no-issuer",
                          "there is no issuer '%s': this version offers Self",
                          policy->issuer);
    *out = issuer;
    return 0;
}

/* --- the key --------------------------------------------------------------------- */

static struct kv_row_key key_of(const struct kv_order *order, uint8_t kind)
{
    struct kv_row_key key = order->row.key;
    key.kind = kind;
    return key;
}

void kv_order_key_ident(const struct kv_order *order, struct kv_ident *ident)
{
    const struct kv_row row = {.key = key_of(order, KV_KIND_KEY),
                               .term = order->key_term};
    kv_row_ident(&row, ident);
}

/* The digest that goes with the key: of the curve's strength. */
static uint8_t digest_of(const struct kv_policy *policy)
{
    if (policy->kty == KV_KTY_OKP)
        return KV_MD_NONE;
    if (policy->kty == KV_KTY_EC && policy->curve == KV_CURVE_P384)
        return KV_MD_SHA384;
    if (policy->kty == KV_KTY_EC && policy->curve == KV_CURVE_P521)
        return KV_MD_SHA512;
    return KV_MD_SHA256;
}

void kv_order_sign(struct kv_order *order, enum kv_tbs kind, struct kv_bytes der,
                   kv_task_fn next)
{
    struct kv_role_tbs msg;
    struct kv_buf payload;
    memset(&msg, 0, sizeof(msg));
    kv_order_key_ident(order, &msg.ident);
    msg.row = (struct kv_bytes){order->key.data, order->key.len};
    msg.tbs = (uint8_t)kind;
    msg.md = digest_of(&order->policy);
    msg.der = der;
    kv_buf_init(&payload, KV_FRAME_MAX_ROLE);
    kv_role_tbs_put(&payload, &msg);
    kv_task_keyring(&order->task, KV_ROLE_KEY_SIGN_TBS, &payload, next);
}

int kv_order_key_attrs(const struct kv_order *order, struct kv_buf *app,
                       struct kv_key_attrs *attrs)
{
    int rc = kv_key_app_write(order->tags, app);
    *attrs = (struct kv_key_attrs){
        .ops = order->policy.key_ops,
        .is_enabled = order->is_enabled,
        .is_exportable = order->policy.is_exportable,
        .is_managed = 1,
        .nbf_s = KV_TIME_NONE,
        .exp_s = KV_TIME_NONE,
        .created_s = kv_now_s(order->task.service->clock),
        .app = {app->data, app->len},
    };
    attrs->updated_s = attrs->created_s;
    return rc;
}

/* --- completing ------------------------------------------------------------------ */

static void put_version(struct kv_order *order)
{
    struct kv_task *task = &order->task;
    kv_task_put_doc(task, &order->row, order->row.row_version,
                    json_pack("{s:o,s:s,s:O*}", "chain", kv_chain_write(&order->chain),
                              "contentType", order->policy.content_type, "tags",
                              order->tags));
    kv_task_put_head(task, &order->heads[KV_HEAD_CERTIFICATE], &order->row);
}

static void put_secret(struct kv_order *order)
{
    struct kv_row row = order->row;
    row.key.kind = KV_KIND_SECRET;
    row.flags |= KV_ROW_MANAGED;
    kv_task_put_doc(&order->task, &row, 0,
                    json_pack("{s:s,s:O*}", "contentType", order->policy.content_type,
                              "tags", order->tags));
    kv_task_put_head(&order->task, &order->heads[KV_HEAD_SECRET], &row);
}

static void resealed(struct kv_task *task)
{
    struct kv_order *order = kv_order_of(task);
    struct kv_role_key_made *reply = calloc(1, sizeof(*reply));
    struct kv_row row = {.key = key_of(order, KV_KIND_KEY), .next_at_s = KV_TIME_NONE};
    int rc = reply != NULL ? kv_role_key_made_get(task->payload, reply) : KV_E_NOMEM;
    if (rc == 0) {
        kv_row_set_key(&row, &reply->info);
        row.sealed = reply->row.data;
        row.sealed_len = reply->row.len;
        kv_task_put_row(task, &row, 0);
        kv_task_put_head(task, &order->heads[KV_HEAD_KEY], &row);
        put_version(order);
        put_secret(order);
    }
    free(reply);
    if (rc != 0)
        kv_task_fail(task, rc, NULL);
    else
        order->next(task);
}

/* The attributes that certificate, key and secret share from now on. */
static void set_row(struct kv_order *order, const struct kv_cert_facts *facts)
{
    struct kv_row *row = &order->row;
    row->flags = order->is_enabled ? KV_ROW_ENABLED : 0;
    row->updated_s = kv_now_s(order->task.service->clock);
    if (row->row_version == 0)
        row->created_s = row->updated_s;
    row->nbf_s = facts->nbf_s;
    row->exp_s = facts->exp_s;
    row->next_at_s = KV_TIME_NONE;
}

void kv_order_finish(struct kv_order *order, kv_task_fn next)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_cert_facts facts;
    struct kv_role_key_update msg;
    struct kv_row_key key = key_of(order, KV_KIND_KEY);
    struct kv_buf app;
    struct kv_buf payload;
    int rc = 0;
    order->next = next;
    memset(&msg, 0, sizeof(msg));
    kv_buf_init(&app, KV_APP_MAX);
    KV_TRY(kv_cert_facts(order->chain.der[0], &facts, &err));
    set_row(order, &facts);
    KV_TRY(kv_order_key_attrs(order, &app, &msg.attrs));
    msg.attrs.nbf_s = order->row.nbf_s;
    msg.attrs.exp_s = order->row.exp_s;
    msg.attrs.created_s = order->row.created_s;
    msg.attrs.updated_s = order->row.updated_s;
    kv_order_key_ident(order, &msg.old_ident);
    kv_task_ident(&order->task, &key, 0, &msg.ident);
    msg.old_row = (struct kv_bytes){order->key.data, order->key.len};
    kv_buf_init(&payload, KV_FRAME_MAX_ROLE);
    kv_role_key_update_put(&payload, &msg);
out:
    kv_buf_free(&app);
    if (rc != 0)
        kv_task_fail(&order->task, rc, &err);
    else
        kv_task_keyring(&order->task, KV_ROLE_KEY_UPDATE, &payload, resealed);
}

/* --- other rows of the batch ------------------------------------------------------ */

/* A row without versions: new, or written again. */
static void put_plain(struct kv_order *order, const struct kv_object *old, json_t *doc,
                      int64_t next_at_s)
{
    struct kv_row row = old->row;
    row.updated_s = kv_now_s(order->task.service->clock);
    if (row.row_version == 0)
        row.created_s = row.updated_s;
    row.flags = KV_ROW_ENABLED;
    row.next_at_s = next_at_s;
    kv_task_put_doc(&order->task, &row, row.row_version, doc);
}

void kv_order_put_policy(struct kv_order *order)
{
    put_plain(order, &order->stored_policy, json_incref(order->policy.doc),
              KV_TIME_NONE);
}

void kv_order_put_operation(struct kv_order *order, json_t *doc, int64_t next_at_s)
{
    put_plain(order, &order->operation, doc, next_at_s);
}

json_t *kv_order_b64(const void *data, size_t len)
{
    struct kv_buf text;
    kv_buf_init(&text, B64_MAX);
    json_t *json = kv_b64_encode(KV_B64_STD, data, len, &text) == 0
                       ? json_stringn((const char *)text.data, text.len)
                       : NULL;
    kv_buf_free(&text);
    return json;
}

int kv_order_b64_get(const json_t *doc, const char *member, struct kv_buf *out)
{
    const char *text = json_string_value(json_object_get(doc, member));
    int rc = KV_E_INVALID;
    kv_buf_reset(out);
    if (text != NULL)
        rc = kv_b64_decode(KV_B64_STD, text, strlen(text), out);
    return rc == 0 || rc == KV_E_NOMEM ? rc : KV_E_INTEGRITY;
}
