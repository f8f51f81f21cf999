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

/* Data actions, as bits (azure: Microsoft.KeyVault/vaults/...). */
enum kv_action {
    KV_ACT_KEY_READ = 1 << 0, /* get, list, public part */
    KV_ACT_KEY_CREATE = 1 << 1,
    KV_ACT_KEY_IMPORT = 1 << 2,
    KV_ACT_KEY_UPDATE = 1 << 3,
    KV_ACT_KEY_DELETE = 1 << 4,
    KV_ACT_KEY_SIGN = 1 << 5,
    KV_ACT_KEY_VERIFY = 1 << 6,
    KV_ACT_KEY_ENCRYPT = 1 << 7,
    KV_ACT_KEY_DECRYPT = 1 << 8,
    KV_ACT_KEY_WRAP = 1 << 9,
    KV_ACT_KEY_UNWRAP = 1 << 10,
    KV_ACT_KEY_DERIVE = 1 << 11,
    KV_ACT_KEY_TLS_UNPAD = 1 << 12,
    KV_ACT_SECRET_READ_META = 1 << 13,
    KV_ACT_SECRET_GET = 1 << 14,
    KV_ACT_SECRET_SET = 1 << 15,
    KV_ACT_SECRET_DELETE = 1 << 16,
    KV_ACT_CERT_READ = 1 << 17,
    KV_ACT_CERT_CREATE = 1 << 18,
    KV_ACT_CERT_IMPORT = 1 << 19,
    KV_ACT_CERT_UPDATE = 1 << 20,
    KV_ACT_CERT_DELETE = 1 << 21,
    KV_ACT_ACCESS_READ = 1 << 22,  /* list assignments */
    KV_ACT_ACCESS_WRITE = 1 << 23, /* grant and revoke */
};

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
uint32_t kv_access_allowed(const struct kv_principal *principal,
                           const struct kv_access_object *object,
                           const struct kv_assignment *assignments,
                           size_t n_assignments);

/* Whether `principal` may perform one of `actions` on any object of a collection at
 * all: who may not need not make us look. */
bool kv_access_touches(const struct kv_principal *principal,
                       const struct kv_access_object *collection, uint32_t actions,
                       const struct kv_assignment *assignments, size_t n_assignments);

/* Role by its Azure name ("Key Vault Crypto User") or short form ("crypto-user");
 * returns the short form and its actions, NULL when there is none. */
const char *kv_role_find(const char *name, uint32_t *actions);
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
