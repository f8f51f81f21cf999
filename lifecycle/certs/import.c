/*
 * A certificate that comes with its key: the keyring reads the file, the chain is put
 * in order and checked, and the whole version is committed at once.
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle/certs/internal.h"
#include "store/core/str.h"

static void committed(struct kv_task *task)
{
    const struct kv_order *order = kv_order_of(task);
    kv_log(task->service->log, KV_LOG_INFO, "cert.imported",
           KV_S("vault", task->vault->name), KV_S("name", order->name),
           KV_I("chain", order->chain.n));
    kv_order_end(task, 0, NULL);
}

static void put_rest(struct kv_task *task)
{
    struct kv_order *order = kv_order_of(task);
    if (order->request.policy != NULL || order->stored_policy.row.row_version == 0)
        kv_order_put_policy(order);
    kv_task_commit(task, committed);
}

/* Who renews the certificate; nobody, when it came from outside. */
static int check_issuer(const struct kv_policy *policy, struct kv_err *err)
{
    const struct keyvault_issuer *issuer = NULL;
    if (kv_str_equal_nocase(policy->issuer, "Unknown"))
        return 0;
    return kv_order_issuer(policy, &issuer, err);
}

/* Copy the chain of the file, in order, into the order. */
static int take_chain(struct kv_order *order, const struct kv_role_key_made *reply,
                      struct kv_err *err)
{
    struct kv_chain given = {.n = reply->n_certs};
    int rc = 0;
    if (reply->n_certs == 0)
        return kv_err_set(err, KV_E_INVALID, "cert.no-certificate",
                          "the file holds a private key but no certificate");
    memcpy(given.der, reply->cert, sizeof(given.der));
    if (!order->preserves_order)
        KV_TRY(kv_chain_order(&given, reply->info.spki, err));
    for (size_t i = 0; i < given.n; i++)
        KV_TRY(kv_buf_append(&order->chain_bytes, given.der[i].data, given.der[i].len));
    order->chain.n = given.n;
    const uint8_t *at = order->chain_bytes.data;
    for (size_t i = 0; i < given.n; i++) {
        order->chain.der[i] = (struct kv_bytes){at, given.der[i].len};
        at += given.der[i].len;
    }
out:
    return rc;
}

static int check_policy(struct kv_order *order, const struct kv_key_info *info,
                        struct kv_err *err)
{
    int rc = kv_policy_of_cert(order->chain.der[0], order->given, &order->policy, err);
    if (rc != 0)
        return rc;
    if (order->policy.kty != info->kty || order->policy.curve != info->curve ||
        (info->kty == KV_KTY_RSA && order->policy.bits != info->bits))
        return kv_err_set(err, KV_E_INVALID, "policy.bad-field",
                          "the member 'policy.key_props' names another type of key "
                          "than the file holds");
    return check_issuer(&order->policy, err);
}

static void key_read(struct kv_task *task)
{
    struct kv_order *order = kv_order_of(task);
    struct kv_err err = KV_ERR_INIT;
    struct kv_role_key_made *reply = calloc(1, sizeof(*reply));
    int rc = KV_E_NOMEM;
    if (reply == NULL)
        goto out;
    KV_TRY(kv_role_key_made_get(task->payload, reply));
    KV_TRY(kv_buf_append(&order->key, reply->row.data, reply->row.len));
    KV_TRY(take_chain(order, reply, &err));
    KV_TRY(check_policy(order, &reply->info, &err));
out:
    free(reply);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        kv_order_finish(order, put_rest);
}

/* A file of PEM becomes a secret of PEM, unless the policy says otherwise. */
static int set_content_type(json_t *policy)
{
    json_t *secret = json_object_get(policy, "secret_props");
    if (secret == NULL || json_is_null(secret)) {
        secret = json_object();
        if (json_object_set_new(policy, "secret_props", secret) != 0)
            return KV_E_NOMEM;
    }
    const json_t *type = json_object_get(secret, "contentType");
    if (!json_is_object(secret) || (type != NULL && !json_is_null(type)))
        return 0; /* said, or wrong: checked with the rest */
    return json_object_set_new(secret, "contentType",
                               json_string("application/x-pem-file")) == 0
               ? 0
               : KV_E_NOMEM;
}

/* Without a policy of its own, an import must not open what the name's policy closes:
 * the stored one goes on to say what becomes of key and secret. */
static int set_given(struct kv_order *order)
{
    const json_t *stored = order->stored_policy.doc;
    if (order->request.policy != NULL)
        order->given = json_deep_copy(order->request.policy);
    else if (stored != NULL)
        order->given = json_pack(
            "{s:{s:O*},s:O*}", "key_props", "exportable",
            json_object_get(json_object_get(stored, "key_props"), "exportable"),
            "secret_props", json_object_get(stored, "secret_props"));
    else
        order->given = json_object();
    if (order->given == NULL)
        return KV_E_NOMEM;
    if (order->request.format != KV_IMPORT_PEM || !json_is_object(order->given))
        return 0;
    return set_content_type(order->given);
}

/* Whether the key may leave again is sealed with it at once; what the member says
 * otherwise is checked with the rest of the policy. */
static bool wants_export(const json_t *policy)
{
    const json_t *exportable =
        json_object_get(json_object_get(policy, "key_props"), "exportable");
    return !json_is_false(exportable);
}

static void import_key(struct kv_order *order)
{
    const struct kv_order_request *request = &order->request;
    struct kv_role_key_new msg;
    struct kv_buf payload;
    memset(&msg, 0, sizeof(msg));
    kv_buf_init_secret(&payload, KV_FRAME_MAX_ROLE);
    order->key_term = order->task.vault->term;
    kv_order_key_ident(order, &msg.ident);
    msg.attrs = (struct kv_key_attrs){
        .ops = KV_OP_SIGN | KV_OP_VERIFY,
        .is_enabled = order->is_enabled,
        .is_exportable = wants_export(order->given),
        .is_managed = 1,
        .nbf_s = KV_TIME_NONE,
        .exp_s = KV_TIME_NONE,
        .created_s = kv_now_s(order->task.service->clock),
    };
    msg.attrs.updated_s = msg.attrs.created_s;
    msg.import = request->format;
    msg.material = request->material;
    msg.password = request->password;
    kv_role_key_new_put(&payload, &msg);
    kv_task_keyring(&order->task, KV_ROLE_KEY_IMPORT, &payload, key_read);
}

static void read_done(struct kv_task *task)
{
    struct kv_order *order = kv_order_of(task);
    order->row.key = order->heads[KV_HEAD_CERTIFICATE].key;
    int rc = set_given(order);
    if (rc == 0)
        rc = kv_task_new_version(task, order->row.key.version);
    if (rc != 0)
        kv_task_fail(task, rc, NULL);
    else
        import_key(order);
}

int kv_order_import(struct kv_service *service, struct kv_vault *vault,
                    const struct kv_order_request *request, kv_order_cb cb, void *arg)
{
    return kv_order_start(service, vault, request, read_done, cb, arg);
}
