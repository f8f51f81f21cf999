/*
 * Certificate orders: a new version of a certificate, created or imported.
 *
 *   create:  read -> generate key -> sign request -> commit (pending version,
 * operation) the engine then runs the issuer (engine.h) and completes the version
 *   import:  read -> import key -> check policy -> commit (whole version)
 *
 * A certificate is three objects of one name and version: certificate, key, secret.
 * They change in one transaction. The key of a pending order is sealed for row version
 * 0, which no stored row has, and lies in the operation's document until then. Loop
 * thread only.
 */
#ifndef KV_LIFECYCLE_CERTS_ORDER_H
#define KV_LIFECYCLE_CERTS_ORDER_H

#include "lifecycle/service/task.h"

struct kv_order_request {
    const char *name;
    /* As the caller gives it. NULL: the stored one; for an import the one that the
     * certificate stands for, of which only what becomes of key and secret
     * (exportable, contentType) is the stored one's. */
    const json_t *policy;
    bool is_enabled;
    json_t *tags;         /* may be NULL */
    bool preserves_order; /* the chain's order is delivered as it was given */
    /* import only */
    uint8_t format; /* KV_IMPORT_PEM or KV_IMPORT_PFX */
    struct kv_bytes material;
    struct kv_bytes password;
};

/* `rc` 0: committed. `err` explains, NULL when rc is 0. */
typedef void (*kv_order_cb)(void *arg, int rc, const struct kv_err *err);

/* Start; what `request` points to must stay until the callback. Returns KV_E_NOMEM,
 * KV_E_TOO_BIG (the name), or 0: then the callback comes, perhaps before the call
 * returns, so that starting is the last thing a step does. Ids policy.* and chain.*,
 * cert.in-progress, cert.name-taken, cert.no-policy, cert.no-issuer,
 * cert.no-certificate, api.deleted. KV_E_CONFLICT: try again. */
int kv_order_create(struct kv_service *service, struct kv_vault *vault,
                    const struct kv_order_request *request, kv_order_cb cb,
                    void *arg) KV_MUST_CHECK;
int kv_order_import(struct kv_service *service, struct kv_vault *vault,
                    const struct kv_order_request *request, kv_order_cb cb,
                    void *arg) KV_MUST_CHECK;

/* Complete an order of the issuer Unknown with a chain that was signed outside. Starts
 * as above. Ids cert.no-operation, cert.not-in-progress, cert.not-merged, chain.*,
 * api.bad-field; the order goes on waiting after each of them. */
struct kv_order_merge_request {
    const char *name;
    const json_t *x5c;      /* array of standard base64 (RFC 4648 §4) */
    json_t *tags;           /* NULL: as ordered */
    const bool *is_enabled; /* NULL: as ordered */
};
int kv_order_merge(struct kv_service *service, struct kv_vault *vault,
                   const struct kv_order_merge_request *request, kv_order_cb cb,
                   void *arg) KV_MUST_CHECK;

#endif
