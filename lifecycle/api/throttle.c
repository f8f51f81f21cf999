/*
 * Quotas of calls (lifecycle/auth/quota.h): what class a route is of, and what a use of
 * a key weighs once the key is known.
 */
#include <inttypes.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/auth/quota.h"
#include "store/core/str.h"

#define BACKUPS_PATH "/keyvault/v1/backups"
#define CREATES (KV_ACT_KEY_CREATE | KV_ACT_KEY_ROTATE | KV_ACT_CERT_CREATE)
#define USES                                                                           \
    (KV_ACT_KEY_SIGN | KV_ACT_KEY_VERIFY | KV_ACT_KEY_ENCRYPT | KV_ACT_KEY_DECRYPT |   \
     KV_ACT_KEY_WRAP | KV_ACT_KEY_UNWRAP)
#define WRITES                                                                         \
    (KV_ACT_KEY_IMPORT | KV_ACT_CERT_IMPORT | KV_ACT_SECRET_SET | KV_ACT_KEY_RESTORE | \
     KV_ACT_SECRET_RESTORE | KV_ACT_CERT_RESTORE)

/* `route` is NULL where nothing is served: that counts, too. */
static enum kv_quota_class class_of(const struct kv_route *route)
{
    if (route == NULL)
        return KV_QUOTA_OTHER;
    if ((route->action & CREATES) != 0)
        return KV_QUOTA_CREATE;
    if ((route->action & USES) != 0)
        return KV_QUOTA_USE;
    return (route->action & WRITES) != 0 ? KV_QUOTA_WRITE : KV_QUOTA_OTHER;
}

/* Administrators over api.sock move whole stores, piece by piece. */
static bool is_exempt(const struct kv_call *call)
{
    return call->is_health ||
           (call->route != NULL && kv_str_has_prefix(call->route->path, BACKUPS_PATH));
}

static int take(struct kv_call *call, uint32_t weight, struct kv_err *err)
{
    struct kv_quota *quota = call->task.service->quota;
    if (quota == NULL || is_exempt(call) || call->host_vault == NULL)
        return 0;
    call->retry_ms = kv_quota_take(quota, call->principal.id, call->host_vault->id,
                                   class_of(call->route), weight);
    if (call->retry_ms == 0)
        return 0;
    kv_err_set(err, KV_E_BUSY, "quota.exceeded",
               "Caller %s asks for '%s' more often than the vault's quota allows",
               call->principal.id,
               call->route != NULL ? call->route->operation : "unknown");
    kv_err_hint(err, "try again in %" PRId64 " ms", call->retry_ms);
    return KV_E_BUSY;
}

int kv_call_throttle(struct kv_call *call, struct kv_err *err)
{
    return take(call, 1, err);
}

int kv_call_throttle_key(struct kv_call *call, const struct kv_key_info *info,
                         struct kv_err *err)
{
    uint32_t weight = kv_quota_weight(info->kty == KV_KTY_RSA ? info->bits : 0);
    return weight > 1 ? take(call, weight - 1, err) : 0;
}
