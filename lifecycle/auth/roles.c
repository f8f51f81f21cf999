/*
 * The table of roles.
 *
 * The administrator also manages what there is of the installation on its scope: the
 * one role here that is more than its Azure name says, for there is no subscription
 * above a vault that could have an owner.
 */
#include "lifecycle/auth/roles.h"

#include "store/core/str.h"

#define KEY_USE                                                                        \
    "keys/sign/action", "keys/verify/action", "keys/encrypt/action",                   \
        "keys/decrypt/action", "keys/wrap/action", "keys/unwrap/action",               \
        "keys/derive/action"

#define MANAGE_VAULTS                                                                  \
    (KV_MANAGE_VAULT_READ | KV_MANAGE_VAULT_WRITE | KV_MANAGE_VAULT_DELETE |           \
     KV_MANAGE_VAULT_RECOVER)

static const struct kv_role roles[] = {
    {"administrator",
     "Key Vault Administrator",
     "00482a5a-887f-4fb3-b363-3b7fe8e74483",
     KV_MANAGE_ALL,
     {"*"}},
    {"certificates-officer",
     "Key Vault Certificates Officer",
     "a4417e6f-fecd-4de8-b567-7b0420556985",
     KV_MANAGE_VAULT_READ,
     {"certificates/*", "certificatecas/*", "certificatecontacts/*", "keys/read",
      "secrets/readMetadata/action"}},
    {"certificate-user",
     "Key Vault Certificate User",
     "db79e9a7-68ee-4b58-9aeb-b90e7c24fcba",
     0,
     {"certificates/read", "keys/read", "secrets/getSecret/action",
      "secrets/readMetadata/action"}},
    {"crypto-officer",
     "Key Vault Crypto Officer",
     "14b46e9e-c2b7-41b4-b07b-48a6ebf60603",
     KV_MANAGE_VAULT_READ,
     {"keys/*", "keyrotationpolicies/*"}},
    {"crypto-user",
     "Key Vault Crypto User",
     "12338af0-0e69-4776-bea7-57ae8d297424",
     0,
     {"keys/read", "keys/update/action", "keys/backup/action", KEY_USE}},
    {"crypto-service-encryption-user",
     "Key Vault Crypto Service Encryption User",
     "e147488a-f6f5-4113-8e2d-b22465e65bf6",
     0,
     {"keys/read", "keys/wrap/action", "keys/unwrap/action"}},
    {"crypto-service-release-user",
     "Key Vault Crypto Service Release User",
     "08bbd89e-9f13-488c-ac41-acfcb10c90ab",
     0,
     {"keys/release/action"}},
    {"reader",
     "Key Vault Reader",
     "21090545-7ca7-4776-b22c-e363652d74d2",
     KV_MANAGE_VAULT_READ,
     {"*/read", "secrets/readMetadata/action"}},
    {"secrets-officer",
     "Key Vault Secrets Officer",
     "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
     KV_MANAGE_VAULT_READ,
     {"secrets/*"}},
    {"secrets-user",
     "Key Vault Secrets User",
     "4633458b-17de-408a-b874-0445c86b69e6",
     0,
     {"secrets/getSecret/action", "secrets/readMetadata/action"}},
    {"contributor",
     "Key Vault Contributor",
     "f25e0fa2-a7c8-4377-a976-54943a77a395",
     MANAGE_VAULTS,
     {NULL}},
    {"purge-operator",
     "Key Vault Purge Operator",
     "a68e7c17-0ab2-4c09-9a58-125dae29748c",
     KV_MANAGE_VAULT_READ | KV_MANAGE_VAULT_PURGE,
     {NULL}},
    {"data-access-administrator",
     "Key Vault Data Access Administrator",
     "8b54135c-b56d-4d72-a534-26097cfdc8d8",
     KV_MANAGE_VAULT_READ | KV_MANAGE_ACCESS_READ | KV_MANAGE_ACCESS_WRITE,
     {NULL}},
    /* What a TLS server needs: public parts, signing, RSA key exchange. */
    {"tls-server",
     "Key Vault TLS Server",
     "6b8f0ce2-3c57-4d0a-9a51-0a3f4e6d7c21",
     0,
     {"keys/read", "certificates/read", "keys/sign/action", "keys/tlsUnpad/action"}},
};
#define N_ROLES (sizeof(roles) / sizeof(roles[0]))

const struct kv_role *kv_role_find(const char *name)
{
    for (size_t i = 0; i < N_ROLES; i++)
        if (kv_str_equal_nocase(name, roles[i].name) ||
            kv_str_equal_nocase(name, roles[i].azure) ||
            kv_str_equal_nocase(name, roles[i].id))
            return &roles[i];
    return NULL;
}

const struct kv_role *kv_role_at(size_t i)
{
    return i < N_ROLES ? &roles[i] : NULL;
}

kv_actions kv_role_actions(const struct kv_role *role)
{
    kv_actions actions = 0;
    for (size_t i = 0; role->data_actions[i] != NULL; i++)
        actions |= kv_actions_glob(role->data_actions[i]);
    return actions;
}
