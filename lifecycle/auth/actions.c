/*
 * The names of actions. Two bits may share a data action (keys/read is get and list)
 * or a permission (secrets set is set and update): each model divides its own way, the
 * bits are what both can be told by.
 */
#include "lifecycle/auth/actions.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "store/core/str.h"

#define PREFIX "Microsoft.KeyVault/vaults/"

static const struct kv_action_name names[] = {
    {KV_ACT_KEY_GET, "keys/read", "keys", "get"},
    {KV_ACT_KEY_LIST, "keys/read", "keys", "list"},
    {KV_ACT_KEY_CREATE, "keys/create/action", "keys", "create"},
    {KV_ACT_KEY_IMPORT, "keys/import/action", "keys", "import"},
    {KV_ACT_KEY_UPDATE, "keys/update/action", "keys", "update"},
    {KV_ACT_KEY_DELETE, "keys/delete", "keys", "delete"},
    {KV_ACT_KEY_RECOVER, "keys/recover/action", "keys", "recover"},
    {KV_ACT_KEY_PURGE, "keys/purge/action", "keys", "purge"},
    {KV_ACT_KEY_BACKUP, "keys/backup/action", "keys", "backup"},
    {KV_ACT_KEY_RESTORE, "keys/restore/action", "keys", "restore"},
    {KV_ACT_KEY_ROTATE, "keys/rotate/action", "keys", "rotate"},
    {KV_ACT_KEY_RELEASE, "keys/release/action", "keys", "release"},
    {KV_ACT_KEY_POLICY_GET, "keyrotationpolicies/read", "keys", "getrotationpolicy"},
    {KV_ACT_KEY_POLICY_SET, "keyrotationpolicies/write", "keys", "setrotationpolicy"},
    {KV_ACT_KEY_SIGN, "keys/sign/action", "keys", "sign"},
    {KV_ACT_KEY_VERIFY, "keys/verify/action", "keys", "verify"},
    {KV_ACT_KEY_ENCRYPT, "keys/encrypt/action", "keys", "encrypt"},
    {KV_ACT_KEY_DECRYPT, "keys/decrypt/action", "keys", "decrypt"},
    {KV_ACT_KEY_WRAP, "keys/wrap/action", "keys", "wrapKey"},
    {KV_ACT_KEY_UNWRAP, "keys/unwrap/action", "keys", "unwrapKey"},
    {KV_ACT_KEY_DERIVE, "keys/derive/action", "keys", "all"},
    {KV_ACT_KEY_TLS_UNPAD, "keys/tlsUnpad/action", "keys", "decrypt"},
    {KV_ACT_SECRET_LIST, "secrets/readMetadata/action", "secrets", "list"},
    {KV_ACT_SECRET_GET, "secrets/getSecret/action", "secrets", "get"},
    {KV_ACT_SECRET_GET_DELETED, "secrets/readMetadata/action", "secrets", "get"},
    {KV_ACT_SECRET_SET, "secrets/setSecret/action", "secrets", "set"},
    {KV_ACT_SECRET_UPDATE, "secrets/update/action", "secrets", "set"},
    {KV_ACT_SECRET_DELETE, "secrets/delete", "secrets", "delete"},
    {KV_ACT_SECRET_RECOVER, "secrets/recover/action", "secrets", "recover"},
    {KV_ACT_SECRET_PURGE, "secrets/purge/action", "secrets", "purge"},
    {KV_ACT_SECRET_BACKUP, "secrets/backup/action", "secrets", "backup"},
    {KV_ACT_SECRET_RESTORE, "secrets/restore/action", "secrets", "restore"},
    {KV_ACT_CERT_GET, "certificates/read", "certificates", "get"},
    {KV_ACT_CERT_LIST, "certificates/read", "certificates", "list"},
    {KV_ACT_CERT_CREATE, "certificates/create/action", "certificates", "create"},
    {KV_ACT_CERT_IMPORT, "certificates/import/action", "certificates", "import"},
    {KV_ACT_CERT_UPDATE, "certificates/update/action", "certificates", "update"},
    {KV_ACT_CERT_DELETE, "certificates/delete", "certificates", "delete"},
    {KV_ACT_CERT_RECOVER, "certificates/recover/action", "certificates", "recover"},
    {KV_ACT_CERT_PURGE, "certificates/purge/action", "certificates", "purge"},
    {KV_ACT_CERT_BACKUP, "certificates/backup/action", "certificates", "backup"},
    {KV_ACT_CERT_RESTORE, "certificates/restore/action", "certificates", "restore"},
    {KV_ACT_CERT_CONTACTS, "certificatecontacts/write", "certificates",
     "managecontacts"},
    {KV_ACT_CERT_ISSUERS_GET, "certificatecas/read", "certificates", "getissuers"},
    {KV_ACT_CERT_ISSUERS_LIST, "certificatecas/read", "certificates", "listissuers"},
    {KV_ACT_CERT_ISSUERS_SET, "certificatecas/write", "certificates", "setissuers"},
    {KV_ACT_CERT_ISSUERS_DELETE, "certificatecas/delete", "certificates",
     "deleteissuers"},
};
#define N_NAMES (sizeof(names) / sizeof(names[0]))

static const struct {
    kv_management action;
    const char *name;
} management[] = {
    {KV_MANAGE_VAULT_READ, "vaults/read"},
    {KV_MANAGE_VAULT_WRITE, "vaults/write"},
    {KV_MANAGE_VAULT_DELETE, "vaults/delete"},
    {KV_MANAGE_VAULT_RECOVER, "vaults/recover"},
    {KV_MANAGE_VAULT_PURGE, "vaults/purge"},
    {KV_MANAGE_ACCESS_READ, "roleAssignments/read"},
    {KV_MANAGE_ACCESS_WRITE, "roleAssignments/write"},
    {KV_MANAGE_APP_READ, "apps/read"},
    {KV_MANAGE_APP_WRITE, "apps/write"},
    {KV_MANAGE_BACKUP, "backup"},
    {KV_MANAGE_AUDIT, "audit"},
};
#define N_MANAGEMENT (sizeof(management) / sizeof(management[0]))

const struct kv_action_name *kv_action_at(size_t i)
{
    return i < N_NAMES ? &names[i] : NULL;
}

const struct kv_action_name *kv_action_name(kv_actions actions)
{
    kv_actions lowest = actions & (~actions + 1);
    for (size_t i = 0; i < N_NAMES; i++)
        if (names[i].action == lowest)
            return &names[i];
    return NULL;
}

/* Whether `text` is COLLECTION/PERMISSION of this name. */
static bool is_permission(const struct kv_action_name *name, const char *text)
{
    size_t len = strlen(name->collection);
    return strncasecmp(text, name->collection, len) == 0 && text[len] == '/' &&
           kv_str_equal_nocase(text + len + 1, name->permission);
}

kv_actions kv_actions_find(const char *text)
{
    kv_actions by_action = 0;
    kv_actions by_permission = 0;
    if (strncasecmp(text, PREFIX, strlen(PREFIX)) == 0)
        text += strlen(PREFIX);
    for (size_t i = 0; i < N_NAMES; i++) {
        if (kv_str_equal_nocase(text, names[i].data_action))
            by_action |= names[i].action;
        if (by_permission == 0 && is_permission(&names[i], text) &&
            strcmp(names[i].permission, "all") != 0)
            by_permission = names[i].action;
    }
    return by_action != 0 ? by_action : by_permission;
}

kv_management kv_management_find(const char *text)
{
    for (size_t i = 0; i < N_MANAGEMENT; i++)
        if (kv_str_equal_nocase(text, management[i].name))
            return management[i].action;
    return 0;
}

const char *kv_management_name(kv_management actions)
{
    kv_management lowest = actions & (~actions + 1);
    for (size_t i = 0; i < N_MANAGEMENT; i++)
        if (management[i].action == lowest)
            return management[i].name;
    return "";
}

/* '*' takes the shortest text after which the rest fits; going back to the last '*' is
 * enough. */
static bool matches(const char *pattern, const char *text)
{
    const char *star = NULL;
    const char *resume = NULL;
    while (*text != '\0') {
        if (*pattern == '*') {
            star = ++pattern;
            resume = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

kv_actions kv_actions_glob(const char *pattern)
{
    kv_actions actions = 0;
    for (size_t i = 0; i < N_NAMES; i++)
        if (matches(pattern, names[i].data_action))
            actions |= names[i].action;
    return actions;
}
