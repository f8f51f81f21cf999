/*
 * What the kinds of rows are called, and what a row is sealed as. The numbers are on
 * disk and in the AAD of every sealed row, so neither side ever changes.
 */
#include "store/db/store.h"

#include <string.h>

#include "store/core/str.h"
#include "store/keyring/role.h"

static const char *const names[] = {
    [KV_KIND_KEY] = "key",
    [KV_KIND_SECRET] = "secret",
    [KV_KIND_CERTIFICATE] = "certificate",
    [KV_KIND_POLICY] = "policy",
    [KV_KIND_OPERATION] = "operation",
    [KV_KIND_ISSUER] = "issuer",
    [KV_KIND_CONTACTS] = "contacts",
    [KV_KIND_ASSIGNMENT] = "assignment",
    [KV_KIND_VAULT] = "vault",
    [KV_KIND_SYSTEM] = "system",
    [KV_KIND_VAULT_KEY] = "vault key",
    [KV_KIND_APP] = "application",
    [KV_KIND_ROTATION] = "rotation policy",
};

const char *kv_kind_name(uint8_t kind)
{
    if (kind >= sizeof(names) / sizeof(names[0]) || names[kind] == NULL)
        return "object";
    return names[kind];
}

void kv_row_ident(const struct kv_row *row, struct kv_ident *ident)
{
    memset(ident, 0, sizeof(*ident));
    memcpy(ident->vault, row->key.vault, KV_ID_LEN);
    ident->kind = row->key.kind;
    memcpy(ident->name, row->key.name, sizeof(ident->name));
    kv_str_fold(ident->name);
    memcpy(ident->version, row->key.version, KV_ID_LEN);
    ident->term = row->term;
    ident->row_version = row->row_version;
}
