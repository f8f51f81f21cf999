/*
 * Operations of the contract that are known but not offered: they are refused by
 * name, after the same checks as the others, instead of looking like a wrong path.
 */
#include "lifecycle/api/internal.h"

static void refuse(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    kv_err_set(&err, KV_E_UNSUPPORTED, "api.not-offered",
               "the operation '%s' is not offered by this version",
               call->route->operation);
    kv_task_fail(&call->task, KV_E_UNSUPPORTED, &err);
}

#define LATER(method, path, operation, action)                                         \
    {                                                                                  \
        method, path, operation, action, false, refuse                                 \
    }

const struct kv_route kv_routes_later[] = {
    LATER("POST", "/keys/{name}/release", "release", KV_ACT_KEY_RELEASE),
    LATER("POST", "/keys/{name}/{version}/release", "release", KV_ACT_KEY_RELEASE),
    LATER("GET", "/keys/{name}/attestation", "getKeyAttestation", KV_ACT_KEY_GET),
    LATER("GET", "/keys/{name}/{version}/attestation", "getKeyAttestation",
          KV_ACT_KEY_GET),
    {NULL, NULL, NULL, 0, false, NULL},
};
