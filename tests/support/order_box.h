/*
 * Certificate orders in a box (service_box.h): calls that wait, files to import, and
 * what must hold of a version that is complete.
 */
#ifndef KV_TESTS_SUPPORT_ORDER_BOX_H
#define KV_TESTS_SUPPORT_ORDER_BOX_H

#include "lifecycle/certs/internal.h"
#include "tests/support/chain_maker.h"
#include "tests/support/service_box.h"

/* A policy for "CN=web.example" of the issuer Self with these key_props. */
#define ORDER_POLICY(key_props)                                                        \
    "{\"key_props\":" key_props ",\"issuer\":{\"name\":\"Self\"},"                     \
    "\"x509_props\":{\"subject\":\"CN=web.example\",\"validity_months\":3,"            \
    "\"sans\":{\"dns_names\":[\"web.example\",\"www.web.example\"]},"                  \
    "\"key_usage\":[\"digitalSignature\"]}}"
#define ORDER_EC ORDER_POLICY("{\"kty\":\"EC\",\"crv\":\"P-256\"}")

/* A request as a caller makes it. */
struct order_ask {
    const char *name;
    const char *policy; /* JSON; NULL: none */
    const char *tags;   /* JSON; NULL: none */
    bool is_disabled;
    bool preserves_order;
    /* import only */
    bool is_pfx;
    struct kv_bytes material;
    const char *password; /* may be NULL */
};

/* Create, import or run, and wait. The code; box->err explains it. */
int order_create(struct service_box *box, const struct order_ask *ask);
int order_import(struct service_box *box, const struct order_ask *ask);
int order_run(struct service_box *box, const char *name);

/* Create with the policy ORDER_EC. */
int order_create_ec(struct service_box *box, const char *name);

/* The document of the operation, with a reference of the caller's; NULL: no operation.
 * The row goes to `row` (may be NULL). */
json_t *order_operation(struct service_box *box, const char *name, struct kv_row *row);

/* Write the operation's document (taken) anew, due now. */
void order_put_operation(struct service_box *box, const char *name, json_t *doc);

/* Status of the operation, "" without one; in a buffer of its own. */
const char *order_status(struct service_box *box, const char *name);

/* The current version of a name is complete: certificate, key and secret of one version
 * with the same dates, the key in the leaf, no work left in the operation. Hands out
 * certificate and key, which the caller frees; either may be NULL. */
void order_expect_complete(struct service_box *box, const char *name,
                           struct kv_object *certificate, struct kv_object *key);

/* An order waits: one operation, a pending version of it, no other key and secret than
 * of `n_complete` earlier versions. */
void order_expect_pending(struct service_box *box, const char *name, size_t n_complete);

/* Version of the operation and of a certificate's leaf. */
void order_version(const json_t *operation, uint8_t version[KV_ID_LEN]);

/* The leaf of a version as libcrypto reads it; the caller frees. */
X509 *order_leaf(const struct kv_object *certificate);

#endif
