/*
 * What issuers ask for.
 *
 * An answer is checked like input before anything of it is kept: one effect, state and
 * effect as text that comes back as it was, the effect a JSON object. What is to be
 * performed is committed first, and performed from the committed document, after a
 * restart as before it.
 */
#include <string.h>

#include "lifecycle/certs/run_internal.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define RETRY_S 60

static int bad_effect(const struct kv_run *run, struct kv_err *err)
{
    return kv_err_set(err, KV_E_INTERNAL, "cert.bad-effect",
                      "the issuer %s asked for something that cannot be done",
                      run->issuer->type);
}

/* An effect as a JSON object: KV_E_NOMEM, or cert.bad-effect. */
static int parse(const struct kv_run *run, struct keyvault_bytes bytes, json_t **out,
                 struct kv_err *err)
{
    size_t n_failures = kv_wiping_failures();
    *out = json_loadb(bytes.data, bytes.len, JSON_REJECT_DUPLICATES, NULL);
    /* Without memory jansson cuts tokens, or blames the text. */
    bool is_memory = kv_wiping_failures() != n_failures;
    if (!is_memory && json_is_object(*out))
        return 0;
    json_decref(*out);
    *out = NULL;
    return is_memory ? KV_E_NOMEM : bad_effect(run, err);
}

static void sign_done(struct kv_task *task)
{
    struct kv_run *run = kv_run_of(task);
    json_t *events = json_pack("[{s:o}]", "der",
                               kv_order_b64(task->payload.data, task->payload.len));
    kv_buf_reset(&run->events);
    int rc = kv_json_write(events, &run->events);
    json_decref(events);
    if (rc != 0)
        kv_task_fail(task, rc, NULL);
    else
        kv_run_step(task);
}

/* {"role":"self","tbs":"base64"}: the order's own key signs its certificate. */
static int read_sign(const struct kv_run *run, const json_t *effect, struct kv_buf *tbs,
                     struct kv_err *err)
{
    const char *role = json_string_value(json_object_get(effect, "role"));
    int rc = role != NULL && strcmp(role, "self") == 0
                 ? kv_order_b64_get(effect, "tbs", tbs)
                 : KV_E_INVALID;
    return rc == 0 || rc == KV_E_NOMEM ? rc : bad_effect(run, err);
}

void kv_effect_perform(struct kv_task *task)
{
    struct kv_run *run = kv_run_of(task);
    struct kv_err err = KV_ERR_INIT;
    const char *text = kv_run_text(run, "effect");
    struct kv_buf tbs;
    json_t *effect = NULL;
    int rc = 0;
    kv_buf_init(&tbs, KV_CERT_DER_MAX);
    if (json_integer_value(json_object_get(kv_run_doc(run), "effectKind")) !=
        KEYVAULT_EFFECT_SIGN)
        KV_TRY(bad_effect(run, &err));
    KV_TRY(parse(run, (struct keyvault_bytes){text, strlen(text)}, &effect, &err));
    KV_TRY(read_sign(run, effect, &tbs, &err));
out:
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        kv_order_sign(&run->order, KV_TBS_SELF_SIGNED,
                      (struct kv_bytes){tbs.data, tbs.len}, sign_done);
    json_decref(effect);
    kv_buf_free(&tbs);
}

/* Put the state of a step into the document, with the effect that is to follow. */
static int keep_state(struct kv_run *run, const struct keyvault_step_out *out)
{
    json_t *doc = kv_run_doc(run);
    const struct keyvault_bytes effect = out->effects[0];
    const char *state = out->state.len > 0 ? out->state.data : "";
    int rc = json_object_set_new(doc, "state", json_stringn(state, out->state.len));
    if (rc == 0)
        rc = json_object_set_new(doc, "effectKind", json_integer(out->effect_kind));
    if (rc == 0)
        rc = json_object_set_new(doc, "effect", json_stringn(effect.data, effect.len));
    return rc == 0 ? 0 : KV_E_NOMEM;
}

static void state_kept(struct kv_task *task)
{
    kv_order_of(task)->operation.row.row_version++;
    kv_effect_perform(task);
}

static void sign(struct kv_run *run, const struct keyvault_step_out *out)
{
    struct kv_task *task = &run->order.task;
    int rc = keep_state(run, out);
    if (rc != 0) {
        kv_task_fail(task, rc, NULL);
        return;
    }
    kv_order_put_operation(&run->order, json_incref(kv_run_doc(run)),
                           kv_now_s(task->service->clock));
    kv_task_commit(task, state_kept);
}

/* Look again at `at_s`, with this state and no effect pending; never at once, or an
 * issuer that names the past would keep the engine busy. */
static void wait_until(struct kv_run *run, const struct keyvault_step_out *out,
                       int64_t at_s)
{
    struct kv_task *task = &run->order.task;
    int64_t soonest_s = kv_now_s(task->service->clock) + 1;
    int rc = keep_state(run, out);
    (void)json_object_del(kv_run_doc(run), "effectKind");
    (void)json_object_del(kv_run_doc(run), "effect");
    if (rc != 0) {
        kv_task_fail(task, rc, NULL);
        return;
    }
    kv_order_put_operation(&run->order, json_incref(kv_run_doc(run)),
                           at_s > soonest_s ? at_s : soonest_s);
    kv_task_commit(task, kv_run_ended);
}

static void wait(struct kv_run *run, const struct keyvault_step_out *out,
                 const json_t *effect)
{
    struct kv_err err = KV_ERR_INIT;
    const json_t *until = json_object_get(effect, "until_s");
    if (json_is_integer(until))
        wait_until(run, out, json_integer_value(until));
    else
        kv_task_fail(&run->order.task, bad_effect(run, &err), &err);
}

/* --- the end -----------------------------------------------------------------------
 */

static void completed(struct kv_task *task)
{
    struct kv_order *order = kv_order_of(task);
    kv_log(task->service->log, KV_LOG_INFO, "cert.issued",
           KV_S("vault", task->vault->name), KV_S("name", order->name),
           KV_S("issuer", order->policy.issuer), KV_I("not_after_s", order->row.exp_s));
    kv_run_ended(task);
}

static void put_completed(struct kv_task *task)
{
    struct kv_run *run = kv_run_of(task);
    kv_order_put_operation(
        &run->order, kv_operation_end_doc(kv_run_doc(run), "completed"), KV_TIME_NONE);
    kv_task_commit(task, completed);
}

static int take_chain(struct kv_run *run, const json_t *effect, struct kv_err *err)
{
    struct kv_order *order = &run->order;
    struct kv_bytes spki = {order->spki.data, order->spki.len};
    int rc = kv_chain_read(json_object_get(effect, "chain"), &order->chain_bytes,
                           &order->chain);
    if (rc == KV_E_NOMEM)
        return rc;
    if (rc != 0)
        return kv_err_set(err, KV_E_INVALID, "cert.bad-chain",
                          "the issuer %s delivered no chain that can be read",
                          run->issuer->type);
    if (!order->preserves_order)
        rc = kv_chain_order(&order->chain, spki, err);
    return rc != 0 ? rc
                   : kv_chain_check(&order->chain, spki, &order->policy,
                                    kv_now_s(order->task.service->clock), err);
}

static void issued(struct kv_run *run, const json_t *effect)
{
    struct kv_err err = KV_ERR_INIT;
    int rc = take_chain(run, effect, &err);
    if (rc != 0)
        kv_task_fail(&run->order.task, rc, &err);
    else
        kv_order_finish(&run->order, put_completed);
}

/* {"class","id","message","retry_at_s"} */
static void refused(struct kv_run *run, const struct keyvault_step_out *out,
                    const json_t *effect)
{
    struct kv_err err = KV_ERR_INIT;
    const char *kind = json_string_value(json_object_get(effect, "class"));
    const char *id = json_string_value(json_object_get(effect, "id"));
    const char *message = json_string_value(json_object_get(effect, "message"));
    const json_t *retry = json_object_get(effect, "retry_at_s");
    int64_t now_s = kv_now_s(run->order.task.service->clock);
    kv_err_set(&err, KV_E_INVALID, "cert.refused", "%s: %s",
               id != NULL ? id : run->issuer->type,
               message != NULL ? message : "the issuer gives no reason");
    if (kind != NULL &&
        (strcmp(kind, "transient") == 0 || strcmp(kind, "rate-limit") == 0))
        wait_until(run, out,
                   json_is_integer(retry) ? json_integer_value(retry)
                                          : now_s + RETRY_S);
    else
        kv_task_fail(&run->order.task, err.code, &err);
}

/* Text that can be kept and given back as it was. */
static bool is_text(struct keyvault_bytes bytes)
{
    return bytes.len == 0 || (bytes.data != NULL && bytes.len <= KEYVAULT_STATE_MAX &&
                              kv_utf8_is_valid(bytes.data, bytes.len));
}

static void follow(struct kv_run *run, const struct keyvault_step_out *out,
                   const json_t *effect)
{
    struct kv_err err = KV_ERR_INIT;
    switch (out->effect_kind) {
    case KEYVAULT_EFFECT_SIGN:
        sign(run, out);
        return;
    case KEYVAULT_EFFECT_WAIT:
        wait(run, out, effect);
        return;
    case KEYVAULT_EFFECT_ISSUED:
        issued(run, effect);
        return;
    case KEYVAULT_EFFECT_FAILED:
        refused(run, out, effect);
        return;
    default: /* HTTP, PUBLISH, RUN: no issuer of this version asks for them */
        kv_task_fail(&run->order.task, bad_effect(run, &err), &err);
        return;
    }
}

void kv_effect_follow(struct kv_run *run, const struct keyvault_step_out *out)
{
    struct kv_err err = KV_ERR_INIT;
    json_t *effect = NULL;
    if (out->n_effects != 1 || out->effects == NULL || !is_text(out->state) ||
        !is_text(out->effects[0])) {
        kv_task_fail(&run->order.task, bad_effect(run, &err), &err);
        return;
    }
    int rc = parse(run, out->effects[0], &effect, &err);
    if (rc != 0)
        kv_task_fail(&run->order.task, rc, &err);
    else
        follow(run, out, effect);
    json_decref(effect);
}
