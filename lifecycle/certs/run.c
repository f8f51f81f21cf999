/*
 * One operation against its issuer.
 *
 *   read -> load version -> [effect pending? perform it] -> step -> effect:
 *     SIGN    commit state and effect, perform, step again with its event
 *     WAIT    commit state and time, end
 *     ISSUED  check the chain, complete the version in one transaction, end
 *     FAILED  for good: commit the failure; for now: commit when to try again
 *
 * State is committed before an effect is performed. So a run that is killed anywhere
 * goes on where it was: the same effect is performed again, and an issuer sees the
 * same state and the same events. What an issuer says is checked like input; what this
 * machine lacks (memory, keyring, disk) never fails an order.
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle/certs/internal.h"
#include "store/core/b64.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define STEPS_MAX 64 /* of one run; an issuer that wants more goes on in the next */
#define RETRY_S 60
#define EVENTS_MAX (2 * (size_t)KEYVAULT_STATE_MAX)

struct run {
    struct kv_order order; /* first member */
    const struct keyvault_issuer *issuer;
    struct kv_buf csr;
    struct kv_buf events; /* JSON text for the next step */
    unsigned n_steps;
    struct kv_err failure;   /* for good, about to be written; code 0: none */
    size_t n_alloc_failures; /* of libraries, when it started */
    kv_run_cb cb;
    void *arg;
};

static struct run *run_of(struct kv_task *task)
{
    return (struct run *)task;
}

static void run_free(struct run *run)
{
    kv_order_fini(&run->order);
    kv_buf_free(&run->csr);
    kv_buf_free(&run->events);
    free(run);
}

static void end(struct run *run, int rc, const struct kv_err *err)
{
    kv_run_cb cb = run->cb;
    void *arg = run->arg;
    struct kv_err copy = err != NULL ? *err : KV_ERR_INIT;
    run_free(run);
    cb(arg, rc, rc != 0 ? &copy : NULL);
}

static void ended(struct kv_task *task)
{
    end(run_of(task), 0, NULL);
}

static json_t *doc_of(const struct run *run)
{
    return run->order.operation.doc;
}

static const char *text_of(const struct run *run, const char *member)
{
    const char *text = json_string_value(json_object_get(doc_of(run), member));
    return text != NULL ? text : "";
}

static struct keyvault_bytes bytes_of(const char *text)
{
    return (struct keyvault_bytes){text, strlen(text)};
}

/* --- failing -----------------------------------------------------------------------
 */

/* Nothing of the order is wrong: the machine is. */
static bool is_passing(int rc)
{
    switch (rc) {
    case KV_E_NOMEM:
    case KV_E_UNAVAILABLE:
    case KV_E_SEALED:
    case KV_E_TIMEOUT:
    case KV_E_FULL:
    case KV_E_BUSY:
    case KV_E_IO:
    case KV_E_CONFLICT:
    case KV_E_UNKNOWN:
        return true;
    default:
        return false;
    }
}

/* What an ended operation does not need any more. */
static void drop_work(json_t *doc)
{
    static const char *const members[] = {"key",   "keyTerm",    "spki",
                                          "state", "effectKind", "effect"};
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        (void)json_object_del(doc, members[i]);
}

static void failure_kept(struct kv_task *task)
{
    const struct run *run = run_of(task);
    kv_log(task->service->log, KV_LOG_ERROR, "cert.failed",
           KV_S("vault", task->vault->name), KV_S("name", run->order.name),
           KV_S("error", run->failure.id), KV_S("message", run->failure.message));
    ended(task);
}

/* Fail the order for good. */
static void give_up(struct run *run, const struct kv_err *err)
{
    struct kv_order *order = &run->order;
    json_t *doc = json_copy(doc_of(run));
    run->failure = *err;
    drop_work(doc);
    int rc = json_object_set_new(doc, "status", json_string("failed"));
    if (rc == 0)
        rc = json_object_set_new(
            doc, "error",
            json_pack("{s:s,s:s}", "code", err->id, "message", err->message));
    if (rc != 0) {
        json_decref(doc);
        doc = NULL;
    }
    kv_order_put_operation(order, doc, KV_TIME_NONE);
    kv_task_commit(&order->task, failure_kept);
}

static void on_fail(struct kv_task *task, int rc, const struct kv_err *err)
{
    struct run *run = run_of(task);
    struct kv_err copy = *err; /* which may lie in the task */
    /* Libraries without memory blame keys, certificates and text. */
    bool is_memory = kv_wiping_failures() != run->n_alloc_failures;
    if (run->failure.code != 0 || is_memory || is_passing(rc) ||
        !kv_order_is_running(&run->order))
        end(run, rc, &copy);
    else
        give_up(run, &copy);
}

/* --- effects -----------------------------------------------------------------------
 */

static void take_step(struct kv_task *task);

static int bad_effect(const struct run *run, struct kv_err *err)
{
    return kv_err_set(err, KV_E_INTERNAL, "cert.bad-effect",
                      "the issuer %s asked for something that cannot be done",
                      run->issuer->type);
}

/* An effect as a JSON object: KV_E_NOMEM, or cert.bad-effect. */
static int parse(const struct run *run, struct keyvault_bytes bytes, json_t **out,
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
    struct run *run = run_of(task);
    json_t *events = json_pack("[{s:o}]", "der",
                               kv_order_b64(task->payload.data, task->payload.len));
    kv_buf_reset(&run->events);
    int rc = kv_json_write(events, &run->events);
    json_decref(events);
    if (rc != 0)
        kv_task_fail(task, rc, NULL);
    else
        take_step(task);
}

/* {"role":"self","tbs":"base64"}: the order's own key signs its certificate. */
static int read_sign(const struct run *run, const json_t *effect, struct kv_buf *tbs,
                     struct kv_err *err)
{
    const char *role = json_string_value(json_object_get(effect, "role"));
    int rc = role != NULL && strcmp(role, "self") == 0
                 ? kv_order_b64_get(effect, "tbs", tbs)
                 : KV_E_INVALID;
    return rc == 0 || rc == KV_E_NOMEM ? rc : bad_effect(run, err);
}

/* The effect that the committed document holds. */
static void perform(struct kv_task *task)
{
    struct run *run = run_of(task);
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf tbs;
    json_t *effect = NULL;
    int rc = 0;
    kv_buf_init(&tbs, KV_CERT_DER_MAX);
    if (json_integer_value(json_object_get(doc_of(run), "effectKind")) !=
        KEYVAULT_EFFECT_SIGN)
        KV_TRY(bad_effect(run, &err));
    KV_TRY(parse(run, bytes_of(text_of(run, "effect")), &effect, &err));
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
static int keep_state(struct run *run, const struct keyvault_step_out *out)
{
    json_t *doc = doc_of(run);
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
    perform(task);
}

static void sign(struct run *run, const struct keyvault_step_out *out)
{
    struct kv_task *task = &run->order.task;
    int rc = keep_state(run, out);
    if (rc != 0) {
        kv_task_fail(task, rc, NULL);
        return;
    }
    kv_order_put_operation(&run->order, json_incref(doc_of(run)),
                           kv_now_s(task->service->clock));
    kv_task_commit(task, state_kept);
}

/* Look again at `at_s`, with this state and no effect pending; never at once, or an
 * issuer that names the past would keep the engine busy. */
static void wait_until(struct run *run, const struct keyvault_step_out *out,
                       int64_t at_s)
{
    struct kv_task *task = &run->order.task;
    int64_t soonest_s = kv_now_s(task->service->clock) + 1;
    int rc = keep_state(run, out);
    (void)json_object_del(doc_of(run), "effectKind");
    (void)json_object_del(doc_of(run), "effect");
    if (rc != 0) {
        kv_task_fail(task, rc, NULL);
        return;
    }
    kv_order_put_operation(&run->order, json_incref(doc_of(run)),
                           at_s > soonest_s ? at_s : soonest_s);
    kv_task_commit(task, ended);
}

static void wait(struct run *run, const struct keyvault_step_out *out,
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
    ended(task);
}

static void put_completed(struct kv_task *task)
{
    struct run *run = run_of(task);
    json_t *doc = json_copy(doc_of(run));
    drop_work(doc);
    if (json_object_set_new(doc, "status", json_string("completed")) != 0) {
        json_decref(doc);
        doc = NULL;
    }
    kv_order_put_operation(&run->order, doc, KV_TIME_NONE);
    kv_task_commit(task, completed);
}

static int take_chain(struct run *run, const json_t *effect, struct kv_err *err)
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

static void issued(struct run *run, const json_t *effect)
{
    struct kv_err err = KV_ERR_INIT;
    int rc = take_chain(run, effect, &err);
    if (rc != 0)
        kv_task_fail(&run->order.task, rc, &err);
    else
        kv_order_finish(&run->order, put_completed);
}

/* {"class","id","message","retry_at_s"} */
static void refused(struct run *run, const struct keyvault_step_out *out,
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

static void follow(struct run *run, const struct keyvault_step_out *out)
{
    struct kv_err err = KV_ERR_INIT;
    json_t *effect = NULL;
    bool is_sane = out->n_effects == 1 && out->effects != NULL && is_text(out->state) &&
                   is_text(out->effects[0]);
    int rc =
        is_sane ? parse(run, out->effects[0], &effect, &err) : bad_effect(run, &err);
    switch (rc == 0 ? out->effect_kind : 0) {
    case KEYVAULT_EFFECT_SIGN:
        sign(run, out);
        break;
    case KEYVAULT_EFFECT_WAIT:
        wait(run, out, effect);
        break;
    case KEYVAULT_EFFECT_ISSUED:
        issued(run, effect);
        break;
    case KEYVAULT_EFFECT_FAILED:
        refused(run, out, effect);
        break;
    default: /* HTTP, PUBLISH, RUN: no issuer of this version asks for them */
        rc = rc != 0 ? rc : bad_effect(run, &err);
        kv_task_fail(&run->order.task, rc, &err);
        break;
    }
    json_decref(effect);
}

static void take_step(struct kv_task *task)
{
    struct run *run = run_of(task);
    struct keyvault_step_out out;
    struct kv_buf policy;
    struct keyvault_step_in in = {
        .abi = KEYVAULT_ISSUER_ABI,
        .purpose = KEYVAULT_PURPOSE_ISSUE,
        .now_s = kv_now_s(task->service->clock),
        .key_id = bytes_of(text_of(run, "requestId")),
        .csr = {(const char *)run->csr.data, run->csr.len},
        .config = bytes_of("{}"),
        .account = bytes_of("{}"),
        .state = bytes_of(text_of(run, "state")),
        .events = {(const char *)run->events.data, run->events.len},
    };
    kv_buf_init(&policy, KEYVAULT_STATE_MAX);
    int rc = kv_json_write(run->order.policy.doc, &policy);
    if (rc == 0)
        rc = kv_rand_fill(task->service->rand, in.random, sizeof(in.random));
    if (rc == 0 && ++run->n_steps > STEPS_MAX)
        rc = KV_E_BUSY;
    if (rc == 0) {
        in.policy = (struct keyvault_bytes){(const char *)policy.data, policy.len};
        rc = run->issuer->step(&in, &out) == 0 ? 0 : KV_E_NOMEM;
    }
    kv_buf_free(&policy);
    kv_buf_reset(&run->events);
    if (rc != 0) {
        kv_task_fail(task, rc, NULL);
        return;
    }
    const struct keyvault_issuer *issuer = run->issuer;
    follow(run, &out); /* the run may be gone when this returns */
    issuer->release(&out);
}

/* --- start -------------------------------------------------------------------------
 */

static int bad_operation(const struct run *run, struct kv_err *err)
{
    return kv_err_set(err, KV_E_INTEGRITY, "cert.bad-operation",
                      "the stored operation of the certificate '%s' cannot be gone on "
                      "with",
                      run->order.name);
}

static int read_version(const struct run *run, uint8_t version[KV_ID_LEN],
                        struct kv_err *err)
{
    const char *text = text_of(run, "version");
    if (strlen(text) == KV_VERSION_TEXT_LEN &&
        kv_hex_decode(version, KV_ID_LEN, text) == 0 && !kv_id_is_zero(version))
        return 0;
    return bad_operation(run, err);
}

/* Rebuild the order from the operation's document. */
static int restore(struct run *run, struct kv_err *err)
{
    struct kv_order *order = &run->order;
    const json_t *doc = doc_of(run);
    json_int_t term = json_integer_value(json_object_get(doc, "keyTerm"));
    int rc = 0;
    if (term < 1 || term > UINT32_MAX)
        KV_TRY(KV_E_INTEGRITY);
    KV_TRY(kv_policy_read(json_object_get(doc, "policy"), &order->policy, err));
    KV_TRY(kv_order_issuer(&order->policy, &run->issuer, err));
    KV_TRY(kv_order_b64_get(doc, "csr", &run->csr));
    KV_TRY(kv_order_b64_get(doc, "key", &order->key));
    KV_TRY(kv_order_b64_get(doc, "spki", &order->spki));
    order->key_term = (uint32_t)term;
    order->is_enabled = json_is_true(json_object_get(doc, "enabled"));
    order->preserves_order = json_is_true(json_object_get(doc, "preserveCertOrder"));
    order->tags = json_incref(json_object_get(doc, "tags"));
out:
    return rc == KV_E_INTEGRITY ? bad_operation(run, err) : rc;
}

static void version_loaded(struct kv_task *task)
{
    struct run *run = run_of(task);
    struct kv_err err = KV_ERR_INIT;
    run->order.row = task->object.row;
    run->order.row.sealed = NULL;
    run->order.row.sealed_len = 0;
    int rc = restore(run, &err);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else if (json_object_get(doc_of(run), "effect") != NULL)
        perform(task);
    else
        take_step(task);
}

static void read_done(struct kv_task *task)
{
    struct run *run = run_of(task);
    struct kv_err err = KV_ERR_INIT;
    uint8_t version[KV_ID_LEN];
    bool is_running = kv_order_is_running(&run->order);
    if (!is_running && run->order.operation.row.next_at_s == KV_TIME_NONE) {
        ended(task);
        return;
    }
    /* One that is over and due all the same would be found due again at once. */
    int rc = is_running ? read_version(run, version, &err) : bad_operation(run, &err);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        kv_task_load(task, KV_KIND_CERTIFICATE, run->order.name, version,
                     version_loaded);
}

int kv_run_start(struct kv_service *service, struct kv_vault *vault, const char *name,
                 kv_run_cb cb, void *arg)
{
    struct run *run = calloc(1, sizeof(*run));
    if (run == NULL)
        return KV_E_NOMEM;
    kv_buf_init(&run->csr, KV_CHAIN_MAX * (size_t)KV_CERT_DER_MAX);
    kv_buf_init(&run->events, EVENTS_MAX);
    int rc = kv_order_init(&run->order, service, vault, name, on_fail);
    if (rc != 0) {
        run_free(run);
        return rc;
    }
    run->n_alloc_failures = kv_wiping_failures();
    run->cb = cb;
    run->arg = arg;
    kv_order_read(&run->order, read_done);
    return 0;
}
