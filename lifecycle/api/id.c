/*
 * Identifiers: built from the vault's present URL each time, never stored, so that a
 * changed port or domain breaks none of them.
 */
#include <string.h>

#include "lifecycle/api/internal.h"
#include "store/core/str.h"

void kv_id_write(const char *vault_url, const char *collection, const char *name,
                 const uint8_t *version, struct kv_buf *out)
{
    (void)kv_buf_appendf(out, "%s/%s/%s", vault_url, collection, name);
    if (version != NULL) {
        char text[2 * KV_ID_LEN + 1];
        kv_hex_encode(text, version, KV_ID_LEN);
        (void)kv_buf_appendf(out, "/%s", text);
    }
}

json_t *kv_call_id(const struct kv_call *call, const char *collection, const char *name,
                   const uint8_t *version)
{
    char url[300];
    struct kv_buf text;
    kv_service_vault_url(call->task.service, call->task.vault, url, sizeof(url));
    kv_buf_init(&text, 1024);
    kv_id_write(url, collection, name, version, &text);
    const char *id = kv_buf_cstr(&text);
    json_t *json = id != NULL ? json_string(id) : NULL;
    kv_buf_free(&text);
    return json;
}

/* The contract's word for what becomes of a deleted object. */
static const char *recovery_level(const struct kv_vault *vault)
{
    bool is_custom = vault->retention_days < KV_RETENTION_DAYS_MAX;
    if (vault->is_purge_protected)
        return is_custom ? "CustomizedRecoverable" : "Recoverable";
    return is_custom ? "CustomizedRecoverable+Purgeable" : "Recoverable+Purgeable";
}

json_t *kv_call_attributes(const struct kv_call *call, const struct kv_row *row)
{
    const struct kv_vault *vault = call->task.vault;
    json_t *nbf = row->nbf_s != KV_TIME_NONE ? json_integer(row->nbf_s) : NULL;
    json_t *exp = row->exp_s != KV_TIME_NONE ? json_integer(row->exp_s) : NULL;
    return json_pack("{s:b,s:o*,s:o*,s:I,s:I,s:s,s:i}", "enabled",
                     (row->flags & KV_ROW_ENABLED) != 0, "nbf", nbf, "exp", exp,
                     "created", (json_int_t)row->created_s, "updated",
                     (json_int_t)row->updated_s, "recoveryLevel", recovery_level(vault),
                     "recoverableDays", (int)vault->retention_days);
}
