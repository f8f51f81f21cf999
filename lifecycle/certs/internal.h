/*
 * Shared inside lifecycle/certs: an order under way, and the steps that creating,
 * importing and completing have in common. Loop thread only.
 *
 * The document of an operation:
 *   {"status", "requestId", "version", "csr", "preserveCertOrder", "enabled", "tags"?,
 *    "policy", "error"?,  while in progress: "key", "keyTerm", "spki",
 *    and of the issuer: "state", "effectKind", "effect"}
 * with binary members in standard base64, version and requestId as 32 digits.
 */
#ifndef KV_LIFECYCLE_CERTS_INTERNAL_H
#define KV_LIFECYCLE_CERTS_INTERNAL_H

#include "lifecycle/certs/chain.h"
#include "lifecycle/certs/order.h"
#include "lifecycle/certs/policy.h"
#include "plugins/keyvault_issuer.h"

#define KV_ORDER_CHAIN_BYTES_MAX ((size_t)KV_CHAIN_MAX * KV_CERT_DER_MAX)

enum kv_order_head { KV_HEAD_CERTIFICATE, KV_HEAD_KEY, KV_HEAD_SECRET, KV_HEADS };

struct kv_order {
    struct kv_task task; /* first member */
    char name[KV_NAME_MAX + 1];
    struct kv_order_request request; /* create and import */
    kv_task_fn first;                /* behind the reads */
    kv_task_fn next;                 /* behind a chain of shared steps */
    /* what is stored under the name; row_version 0: nothing */
    struct kv_object operation;
    struct kv_object stored_policy;
    struct kv_row heads[KV_HEADS];
    /* the version under way */
    struct kv_policy policy;
    struct kv_row row; /* of the certificate; row_version 0: not stored yet */
    struct kv_buf key; /* sealed for row version 0 */
    uint32_t key_term;
    struct kv_buf spki;
    struct kv_buf chain_bytes;
    struct kv_chain chain;
    bool is_enabled;
    bool preserves_order;
    json_t *tags;  /* owned */
    json_t *given; /* owned; import: what counts instead of what the certificate says */
    kv_order_cb cb;
    void *arg;
};

static inline struct kv_order *kv_order_of(struct kv_task *task)
{
    return (struct kv_order *)task;
}

/* KV_E_TOO_BIG: no name is that long. kv_order_fini in every case. */
int kv_order_init(struct kv_order *order, struct kv_service *service,
                  struct kv_vault *vault, const char *name,
                  kv_task_fail_fn on_fail) KV_MUST_CHECK;
void kv_order_fini(struct kv_order *order);

/* Make an order for a request, read what is stored, refuse when an operation is in
 * progress, then call `first`. Ends with kv_order_end: frees it, calls `cb`. */
int kv_order_start(struct kv_service *service, struct kv_vault *vault,
                   const struct kv_order_request *request, kv_task_fn first,
                   kv_order_cb cb, void *arg) KV_MUST_CHECK;
void kv_order_end(struct kv_task *task, int rc, const struct kv_err *err);

/* Read operation, heads and policy of the name; refuse deleted names and names that a
 * key or secret of its own holds (cert.name-taken). */
void kv_order_read(struct kv_order *order, kv_task_fn next);

/* Whether an operation is in progress. */
bool kv_order_is_running(const struct kv_order *order);

/* The issuer of a policy. KV_E_INVALID (cert.no-issuer): there is none of this name. */
int kv_order_issuer(const struct kv_policy *policy, const struct keyvault_issuer **out,
                    struct kv_err *err) KV_MUST_CHECK;

/* The identity that the key of an order is sealed under before it is stored. */
void kv_order_key_ident(const struct kv_order *order, struct kv_ident *ident);

/* Let the order's key sign a request or a self-issued certificate. */
void kv_order_sign(struct kv_order *order, enum kv_tbs kind, struct kv_bytes der,
                   kv_task_fn next);

/* Attributes of the order's key; `app` receives the bytes that they borrow. */
int kv_order_key_attrs(const struct kv_order *order, struct kv_buf *app,
                       struct kv_key_attrs *attrs) KV_MUST_CHECK;

/* The chain is there and was checked: seal the key with the certificate's dates, add
 * version, key, secret and their heads to the batch, and call `next`, which commits. */
void kv_order_finish(struct kv_order *order, kv_task_fn next);

/* Add the policy to the batch. */
void kv_order_put_policy(struct kv_order *order);

/* Add the operation with this document (taken) to the batch. */
void kv_order_put_operation(struct kv_order *order, json_t *doc, int64_t next_at_s);

/* One member of a document in base64; NULL when out of memory. Back: KV_E_NOMEM, or
 * KV_E_INTEGRITY when it is no base64 of what fits into `out`, which is emptied first.
 */
json_t *kv_order_b64(const void *data, size_t len);
int kv_order_b64_get(const json_t *doc, const char *member,
                     struct kv_buf *out) KV_MUST_CHECK;

/* Run one due operation against its issuer; `cb` tells how it went: 0 also when the
 * order failed for good, KV_E_* when it must be tried again. Starts as kv_order_create
 * does. */
typedef void (*kv_run_cb)(void *arg, int rc, const struct kv_err *err);
int kv_run_start(struct kv_service *service, struct kv_vault *vault, const char *name,
                 kv_run_cb cb, void *arg) KV_MUST_CHECK;

#endif
