/*
 * Who may do what: one pure function, default deny. No I/O, no clock, no globals.
 *
 * A principal is who calls; a role is a closed set of actions; an assignment gives a
 * role to a principal on a scope: the installation ("/"), a vault ("/VAULT"), or an
 * object ("/VAULT/keys/NAME"). `keys/NAME` also reaches the certificate's key.
 */
#ifndef KV_LIFECYCLE_AUTH_ACCESS_H
#define KV_LIFECYCLE_AUTH_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/core/err.h"
#include "store/core/uri.h"

/* Data actions, as bits: one for each permission of the contract that an access policy
 * can give alone, and ours. */
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
#define KV_ACT_ACCESS_READ ((kv_actions)1 << 46)  /* list assignments */
#define KV_ACT_ACCESS_WRITE ((kv_actions)1 << 47) /* grant and revoke */

/* What a role that reads may do: see an object and its siblings, but no value. */
#define KV_ACT_KEY_READ (KV_ACT_KEY_GET | KV_ACT_KEY_LIST)
#define KV_ACT_CERT_READ (KV_ACT_CERT_GET | KV_ACT_CERT_LIST)

enum kv_principal_kind {
    KV_PRINCIPAL_NONE = 0,
    KV_PRINCIPAL_UNIX,  /* name = user; groups = unix groups */
    KV_PRINCIPAL_ADMIN, /* the --dev administrator: token or Unix peer */
};

#define KV_PRINCIPAL_MAX 128
#define KV_GROUPS_MAX 64

struct kv_principal {
    enum kv_principal_kind kind;
    char id[KV_PRINCIPAL_MAX]; /* "unix:www-data" */
    size_t n_groups;
    char groups[KV_GROUPS_MAX][KV_PRINCIPAL_MAX]; /* "unixgroup:ssl-cert" */
};

struct kv_assignment {
    char id[37];                      /* UUID */
    char principal[KV_PRINCIPAL_MAX]; /* unix:USER unixgroup:GROUP app:ID user:ID
                                         mtls:.. */
    char role[64];                    /* short name: "tls-server" */
    char scope[2 + KV_VAULT_NAME_MAX + KV_NAME_MAX + 16];
};

struct kv_access_object {
    const char *vault;      /* name */
    const char *collection; /* "keys", "secrets", "certificates"; NULL: the vault */
    const char *name;       /* NULL: the collection */
};

/* Actions that `principal` may perform on `object`: union over matching assignments;
 * 0 when nothing matches. Names compare without case. */
kv_actions kv_access_allowed(const struct kv_principal *principal,
                             const struct kv_access_object *object,
                             const struct kv_assignment *assignments,
                             size_t n_assignments);

/* Whether `principal` may perform one of `actions` on any object of a collection at
 * all: who may not need not make us look. */
bool kv_access_touches(const struct kv_principal *principal,
                       const struct kv_access_object *collection, kv_actions actions,
                       const struct kv_assignment *assignments, size_t n_assignments);

/* Role by its Azure name ("Key Vault Crypto User") or short form ("crypto-user");
 * returns the short form and its actions, NULL when there is none. */
const char *kv_role_find(const char *name, kv_actions *actions);
/* The i-th role's short name, NULL behind the last. */
const char *kv_role_name(size_t i);

/* Check and normalise a principal and a scope as a user writes them ("keys/web",
 * "/", "/vault/keys/web", full vault URL); ids access.bad-principal, access.bad-scope.
 */
int kv_principal_parse(const char *text, char out[KV_PRINCIPAL_MAX],
                       struct kv_err *err) KV_MUST_CHECK;
int kv_scope_parse(const char *text, const char *default_vault, char *out,
                   size_t out_size, struct kv_err *err) KV_MUST_CHECK;

#endif
