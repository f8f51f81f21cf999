/*
 * Routes of certificates: none is served yet; kv_routes_later names them.
 */
#include "lifecycle/api/secrets.h"

const struct kv_route kv_routes_certificates[] = {
    {NULL, NULL, NULL, 0, false, NULL},
};

void kv_secret_get_managed(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    kv_err_set(&err, KV_E_UNSUPPORTED, "api.not-offered",
               "the secret of a certificate is not offered");
    kv_task_fail(&call->task, KV_E_UNSUPPORTED, &err);
}
