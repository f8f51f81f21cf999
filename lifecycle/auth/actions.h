/*
 * What may be done, as bits, and what each bit is called in the two models of access:
 * a permission of an access policy ("secrets get") and an action of a role
 * ("Microsoft.KeyVault/vaults/secrets/getSecret/action"). Pure tables.
 *
 * Data actions and management actions are two types: no right to one is ever a right to
 * the other.
 */
#ifndef KV_LIFECYCLE_AUTH_ACTIONS_H
#define KV_LIFECYCLE_AUTH_ACTIONS_H

#include <stddef.h>
#include <stdint.h>

/* Data actions: one for each permission of the contract that an access policy can give
 * alone, and ours. */
typedef uint64_t kv_actions;
#define KV_ACT_KEY_GET ((kv_actions)1 << 0) /* public part */
#define KV_ACT_KEY_LIST ((kv_actions)1 << 1)
#define KV_ACT_KEY_CREATE ((kv_actions)1 << 2)
#define KV_ACT_KEY_IMPORT ((kv_actions)1 << 3)
#define KV_ACT_KEY_UPDATE ((kv_actions)1 << 4)
#define KV_ACT_KEY_DELETE ((kv_actions)1 << 5)
#define KV_ACT_KEY_RECOVER ((kv_actions)1 << 6)
#define KV_ACT_KEY_PURGE ((kv_actions)1 << 7)
#define KV_ACT_KEY_BACKUP ((kv_actions)1 << 8)
#define KV_ACT_KEY_RESTORE ((kv_actions)1 << 9)
#define KV_ACT_KEY_ROTATE ((kv_actions)1 << 10)
#define KV_ACT_KEY_RELEASE ((kv_actions)1 << 11)
#define KV_ACT_KEY_POLICY_GET ((kv_actions)1 << 12) /* rotation policy */
#define KV_ACT_KEY_POLICY_SET ((kv_actions)1 << 13)
#define KV_ACT_KEY_SIGN ((kv_actions)1 << 14)
#define KV_ACT_KEY_VERIFY ((kv_actions)1 << 15)
#define KV_ACT_KEY_ENCRYPT ((kv_actions)1 << 16)
#define KV_ACT_KEY_DECRYPT ((kv_actions)1 << 17)
#define KV_ACT_KEY_WRAP ((kv_actions)1 << 18)
#define KV_ACT_KEY_UNWRAP ((kv_actions)1 << 19)
#define KV_ACT_KEY_DERIVE ((kv_actions)1 << 20) /* our extension */
#define KV_ACT_KEY_TLS_UNPAD                                                           \
    ((kv_actions)1 << 21) /* TLS 1.2 RSA key exchange, nothing else */
#define KV_ACT_SECRET_LIST                                                             \
    ((kv_actions)1 << 22) /* metadata: lists, versions, deleted ones */
#define KV_ACT_SECRET_GET ((kv_actions)1 << 23) /* the value */
#define KV_ACT_SECRET_SET ((kv_actions)1 << 24)
#define KV_ACT_SECRET_UPDATE ((kv_actions)1 << 25)
#define KV_ACT_SECRET_DELETE ((kv_actions)1 << 26)
#define KV_ACT_SECRET_RECOVER ((kv_actions)1 << 27)
#define KV_ACT_SECRET_PURGE ((kv_actions)1 << 28)
#define KV_ACT_SECRET_BACKUP ((kv_actions)1 << 29)
#define KV_ACT_SECRET_RESTORE ((kv_actions)1 << 30)
#define KV_ACT_CERT_GET ((kv_actions)1 << 31)
#define KV_ACT_CERT_LIST ((kv_actions)1 << 32)
#define KV_ACT_CERT_CREATE ((kv_actions)1 << 33)
#define KV_ACT_CERT_IMPORT ((kv_actions)1 << 34)
#define KV_ACT_CERT_UPDATE ((kv_actions)1 << 35)
#define KV_ACT_CERT_DELETE ((kv_actions)1 << 36)
#define KV_ACT_CERT_RECOVER ((kv_actions)1 << 37)
#define KV_ACT_CERT_PURGE ((kv_actions)1 << 38)
#define KV_ACT_CERT_BACKUP ((kv_actions)1 << 39)
#define KV_ACT_CERT_RESTORE ((kv_actions)1 << 40)
#define KV_ACT_CERT_CONTACTS ((kv_actions)1 << 41) /* read and change contacts */
#define KV_ACT_CERT_ISSUERS_GET ((kv_actions)1 << 42)
#define KV_ACT_CERT_ISSUERS_LIST ((kv_actions)1 << 43)
#define KV_ACT_CERT_ISSUERS_SET ((kv_actions)1 << 44)
#define KV_ACT_CERT_ISSUERS_DELETE ((kv_actions)1 << 45)
#define KV_ACT_SECRET_GET_DELETED                                                      \
    ((kv_actions)1 << 46) /* metadata of a deleted one: 'get' of an access policy */
#define KV_ACT_ALL (((kv_actions)1 << 47) - 1)

/* What a role that reads may do: see an object and its siblings, but no value. */
#define KV_ACT_KEY_READ (KV_ACT_KEY_GET | KV_ACT_KEY_LIST)
#define KV_ACT_CERT_READ (KV_ACT_CERT_GET | KV_ACT_CERT_LIST)

/* Management actions: roles alone give them, in every vault. */
typedef uint32_t kv_management;
#define KV_MANAGE_VAULT_READ                                                           \
    ((kv_management)1 << 0)                           /* properties, deleted ones too  \
                                                       */
#define KV_MANAGE_VAULT_WRITE ((kv_management)1 << 1) /* create, change, policies */
#define KV_MANAGE_VAULT_DELETE ((kv_management)1 << 2)
#define KV_MANAGE_VAULT_RECOVER ((kv_management)1 << 3)
#define KV_MANAGE_VAULT_PURGE ((kv_management)1 << 4)
#define KV_MANAGE_ACCESS_READ ((kv_management)1 << 5)  /* list role assignments */
#define KV_MANAGE_ACCESS_WRITE ((kv_management)1 << 6) /* grant and revoke */
#define KV_MANAGE_APP_READ ((kv_management)1 << 7)     /* applications, principals */
#define KV_MANAGE_APP_WRITE ((kv_management)1 << 8)
#define KV_MANAGE_BACKUP ((kv_management)1 << 9) /* of the whole store */
#define KV_MANAGE_AUDIT ((kv_management)1 << 10) /* read and verify the audit log */
#define KV_MANAGE_ALL (((kv_management)1 << 11) - 1)

/* Names of one action. */
struct kv_action_name {
    kv_actions action;
    const char *data_action; /* behind "Microsoft.KeyVault/vaults/": "keys/read" */
    const char *collection;  /* of an access policy: "keys" */
    const char *permission;  /* the one that gives this action: "get" */
};

/* The name of the lowest bit of `actions`; NULL for none. */
const struct kv_action_name *kv_action_name(kv_actions actions);

/* The i-th; NULL behind the last. */
const struct kv_action_name *kv_action_at(size_t i);

/* An action as a user writes it: a data action with or without its prefix
 * ("secrets/getSecret/action"; every bit of that name), or COLLECTION/PERMISSION
 * ("secrets/get"; what it gives above all). Without case; 0: there is none. */
kv_actions kv_actions_find(const char *text);

/* A management action as it is called ("vaults/write"), and back: the lowest bit's. */
kv_management kv_management_find(const char *text);
const char *kv_management_name(kv_management actions);

/* Data actions whose name a pattern matches; '*' stands for any text. */
kv_actions kv_actions_glob(const char *pattern);

#endif
