/*
 * Shared by run.c, effect.c and merge.c: an order under way against its issuer. Loop
 * thread only.
 */
#ifndef KV_LIFECYCLE_CERTS_RUN_INTERNAL_H
#define KV_LIFECYCLE_CERTS_RUN_INTERNAL_H

#include "lifecycle/certs/internal.h"

struct kv_run {
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

static inline struct kv_run *kv_run_of(struct kv_task *task)
{
    return (struct kv_run *)task;
}

/* The document of the operation. */
static inline json_t *kv_run_doc(const struct kv_run *run)
{
    return run->order.operation.doc;
}

/* A member of it; "" when it is no text. */
const char *kv_run_text(const struct kv_run *run, const char *member);

/* As kv_order_init; kv_run_fini in every case. */
int kv_run_init(struct kv_run *run, struct kv_service *service, struct kv_vault *vault,
                const char *name, kv_task_fail_fn on_fail) KV_MUST_CHECK;
void kv_run_fini(struct kv_run *run);

/* The version under way; cert.bad-operation. */
int kv_run_version(const struct kv_run *run, uint8_t version[KV_ID_LEN],
                   struct kv_err *err) KV_MUST_CHECK;

/* Rebuild the order from the operation's document; the task has just loaded the
 * version. The issuer is not looked up. cert.bad-operation. */
int kv_run_restore(struct kv_run *run, struct kv_err *err) KV_MUST_CHECK;

/* Let the issuer step with run->events. Failures go to the task. */
void kv_run_step(struct kv_task *task);

/* End the run: what there was to do now is done. */
void kv_run_ended(struct kv_task *task);

/* Do what the issuer has answered; the run may be gone afterwards, `out` is not kept.
 */
void kv_effect_follow(struct kv_run *run, const struct keyvault_step_out *out);

/* Perform the effect that the committed document holds, then step. */
void kv_effect_perform(struct kv_task *task);

#endif
