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

#include "lifecycle/certs/run_internal.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define STEPS_MAX 64 /* of one run; an issuer that wants more goes on in the next */
#define EVENTS_MAX (2 * (size_t)KEYVAULT_STATE_MAX)

int kv_run_init(struct kv_run *run, struct kv_service *service, struct kv_vault *vault,
                const char *name, kv_task_fail_fn on_fail)
{
    kv_buf_init(&run->csr, KV_CHAIN_MAX * (size_t)KV_CERT_DER_MAX);
    kv_buf_init(&run->events, EVENTS_MAX);
    run->n_alloc_failures = kv_wiping_failures();
    return kv_order_init(&run->order, service, vault, name, on_fail);
}

void kv_run_fini(struct kv_run *run)
{
    kv_order_fini(&run->order);
    kv_buf_free(&run->csr);
    kv_buf_free(&run->events);
}

static void run_free(struct kv_run *run)
{
    kv_run_fini(run);
    free(run);
}

static void end(struct kv_run *run, int rc, const struct kv_err *err)
{
    kv_run_cb cb = run->cb;
    void *arg = run->arg;
    struct kv_err copy = err != NULL ? *err : KV_ERR_INIT;
    run_free(run);
    cb(arg, rc, rc != 0 ? &copy : NULL);
}

void kv_run_ended(struct kv_task *task)
{
    end(kv_run_of(task), 0, NULL);
}

const char *kv_run_text(const struct kv_run *run, const char *member)
{
    const char *text = json_string_value(json_object_get(kv_run_doc(run), member));
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

static void failure_kept(struct kv_task *task)
{
    const struct kv_run *run = kv_run_of(task);
    kv_log(task->service->log, KV_LOG_ERROR, "cert.failed",
           KV_S("vault", task->vault->name), KV_S("name", run->order.name),
           KV_S("error", run->failure.id), KV_S("message", run->failure.message));
    kv_run_ended(task);
}

/* Fail the order for good. */
static void give_up(struct kv_run *run, const struct kv_err *err)
{
    json_t *doc = kv_operation_end_doc(kv_run_doc(run), "failed");
    run->failure = *err;
    if (json_object_set_new(
            doc, "error",
            json_pack("{s:s,s:s}", "code", err->id, "message", err->message)) != 0) {
        json_decref(doc);
        doc = NULL;
    }
    kv_order_put_operation(&run->order, doc, KV_TIME_NONE);
    kv_task_commit(&run->order.task, failure_kept);
}

static void on_fail(struct kv_task *task, int rc, const struct kv_err *err)
{
    struct kv_run *run = kv_run_of(task);
    struct kv_err copy = *err; /* which may lie in the task */
    /* Libraries without memory blame keys, certificates and text. */
    bool is_memory = kv_wiping_failures() != run->n_alloc_failures;
    if (run->failure.code != 0 || is_memory || is_passing(rc) ||
        !kv_order_is_running(&run->order))
        end(run, rc, &copy);
    else
        give_up(run, &copy);
}

/* --- stepping ---------------------------------------------------------------------
 */

void kv_run_step(struct kv_task *task)
{
    struct kv_run *run = kv_run_of(task);
    struct keyvault_step_out out;
    struct kv_buf policy;
    struct keyvault_step_in in = {
        .abi = KEYVAULT_ISSUER_ABI,
        .purpose = KEYVAULT_PURPOSE_ISSUE,
        .now_s = kv_now_s(task->service->clock),
        .key_id = bytes_of(kv_run_text(run, "requestId")),
        .csr = {(const char *)run->csr.data, run->csr.len},
        .config = bytes_of("{}"),
        .account = bytes_of("{}"),
        .state = bytes_of(kv_run_text(run, "state")),
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
    kv_effect_follow(run, &out); /* the run may be gone when this returns */
    issuer->release(&out);
}

/* --- start -------------------------------------------------------------------------
 */

static int bad_operation(const struct kv_run *run, struct kv_err *err)
{
    return kv_err_set(err, KV_E_INTEGRITY, "cert.bad-operation",
                      "the stored operation of the certificate '%s' cannot be gone on "
                      "with",
                      run->order.name);
}

int kv_run_version(const struct kv_run *run, uint8_t version[KV_ID_LEN],
                   struct kv_err *err)
{
    const char *text = kv_run_text(run, "version");
    if (strlen(text) == KV_VERSION_TEXT_LEN &&
        kv_hex_decode(version, KV_ID_LEN, text) == 0 && !kv_id_is_zero(version))
        return 0;
    return bad_operation(run, err);
}

int kv_run_restore(struct kv_run *run, struct kv_err *err)
{
    struct kv_order *order = &run->order;
    const json_t *doc = kv_run_doc(run);
    json_int_t term = json_integer_value(json_object_get(doc, "keyTerm"));
    int rc = 0;
    order->row = order->task.object.row;
    order->row.sealed = NULL;
    order->row.sealed_len = 0;
    if (term < 1 || term > UINT32_MAX)
        KV_TRY(KV_E_INTEGRITY);
    KV_TRY(kv_policy_read(json_object_get(doc, "policy"), &order->policy, err));
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
    struct kv_run *run = kv_run_of(task);
    struct kv_err err = KV_ERR_INIT;
    int rc = kv_run_restore(run, &err);
    if (rc == 0)
        rc = kv_order_issuer(&run->order.policy, &run->issuer, &err);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else if (json_object_get(kv_run_doc(run), "effect") != NULL)
        kv_effect_perform(task);
    else
        kv_run_step(task);
}

static void read_done(struct kv_task *task)
{
    struct kv_run *run = kv_run_of(task);
    struct kv_err err = KV_ERR_INIT;
    uint8_t version[KV_ID_LEN];
    bool is_running = kv_order_is_running(&run->order);
    if (!is_running && run->order.operation.row.next_at_s == KV_TIME_NONE) {
        kv_run_ended(task);
        return;
    }
    /* One that is over and due all the same would be found due again at once. */
    int rc = is_running ? kv_run_version(run, version, &err) : bad_operation(run, &err);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        kv_task_load(task, KV_KIND_CERTIFICATE, run->order.name, version,
                     version_loaded);
}

int kv_run_start(struct kv_service *service, struct kv_vault *vault, const char *name,
                 kv_run_cb cb, void *arg)
{
    struct kv_run *run = calloc(1, sizeof(*run));
    if (run == NULL)
        return KV_E_NOMEM;
    int rc = kv_run_init(run, service, vault, name, on_fail);
    if (rc != 0) {
        run_free(run);
        return rc;
    }
    run->cb = cb;
    run->arg = arg;
    kv_order_read(&run->order, read_done);
    return 0;
}
