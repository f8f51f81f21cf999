/*
 * A vault as a document, and back. Rows of earlier versions lack members: such a vault
 * is what a new one is when nothing is asked for.
 */
#include <stdio.h>
#include <string.h>

#include "lifecycle/service/vaults.h"
#include "store/core/str.h"

void kv_vault_init(const struct kv_service *service, struct kv_vault *vault)
{
    memset(vault, 0, sizeof(*vault));
    vault->retention_days = KV_RETENTION_DAYS_MAX;
    memcpy(vault->tenant, service->tenant, sizeof(vault->tenant));
    memcpy(vault->subscription, service->tenant, sizeof(vault->subscription));
}

json_t *kv_vault_doc(const struct kv_vault *vault, json_t *tags, json_t *policies)
{
    char id[2 * KV_ID_LEN + 1];
    kv_hex_encode(id, vault->id, KV_ID_LEN);
    return json_pack("{s:s,s:s,s:b,s:b,s:s,s:s,s:i,s:b,s:b,s:b,s:O*,s:O*}", "id", id,
                     "name", vault->name, "isDefault", vault->is_default, "isPurging",
                     vault->state == KV_VAULT_PURGING, "tenant", vault->tenant,
                     "subscription", vault->subscription, "retentionDays",
                     (int)vault->retention_days, "isPremium", vault->is_premium,
                     "isPurgeProtected", vault->is_purge_protected, "usesPolicies",
                     vault->uses_policies, "tags", tags, "accessPolicies", policies);
}

/* A member that older rows lack stays as it is. */
static int read_text(const json_t *doc, const char *field, char *out, size_t out_size)
{
    const json_t *text = json_object_get(doc, field);
    if (text == NULL)
        return 0;
    return json_is_string(text) ? kv_str_copy(out, out_size, json_string_value(text))
                                : KV_E_INTEGRITY;
}

static enum kv_vault_state state_of(const struct kv_object *object)
{
    if (json_is_true(json_object_get(object->doc, "isPurging")))
        return KV_VAULT_PURGING;
    return (object->row.flags & KV_ROW_DELETED) != 0 ? KV_VAULT_DELETED : KV_VAULT_LIVE;
}

int kv_vault_read(const struct kv_service *service, const struct kv_object *object,
                  struct kv_vault_view *out)
{
    const json_t *doc = object->doc;
    struct kv_vault *vault = &out->vault;
    const char *id = json_string_value(json_object_get(doc, "id"));
    const json_t *days = json_object_get(doc, "retentionDays");
    int rc = 0;
    kv_vault_init(service, vault);
    out->row = &object->row;
    out->tags = json_object_get(doc, "tags");
    out->policies = json_object_get(doc, "accessPolicies");
    if (id == NULL || kv_hex_decode(vault->id, KV_ID_LEN, id) != 0)
        return KV_E_INTEGRITY;
    KV_TRY(read_text(doc, "name", vault->name, sizeof(vault->name)));
    KV_TRY(read_text(doc, "tenant", vault->tenant, sizeof(vault->tenant)));
    KV_TRY(read_text(doc, "subscription", vault->subscription,
                     sizeof(vault->subscription)));
    if (days != NULL)
        vault->retention_days = (unsigned)json_integer_value(days);
    if (vault->retention_days < KV_RETENTION_DAYS_MIN ||
        vault->retention_days > KV_RETENTION_DAYS_MAX || vault->name[0] == '\0')
        return KV_E_INTEGRITY;
    vault->is_default = json_is_true(json_object_get(doc, "isDefault"));
    vault->is_premium = json_is_true(json_object_get(doc, "isPremium"));
    vault->is_purge_protected = json_is_true(json_object_get(doc, "isPurgeProtected"));
    vault->uses_policies = json_is_true(json_object_get(doc, "usesPolicies"));
    vault->state = state_of(object);
out:
    return rc != 0 ? KV_E_INTEGRITY : 0;
}

void kv_vault_key_name(const uint8_t vault[KV_ID_LEN], uint32_t term,
                       char out[KV_VAULT_KEY_NAME_SIZE])
{
    char id[2 * KV_ID_LEN + 1];
    kv_hex_encode(id, vault, KV_ID_LEN);
    (void)snprintf(out, KV_VAULT_KEY_NAME_SIZE, "%s-%u", id, (unsigned)term);
}

int64_t kv_vault_purge_s(const struct kv_vault_view *view)
{
    return view->row->next_at_s;
}
