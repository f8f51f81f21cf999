/*
 * Who may do what: one pure function, default deny. No I/O, no clock, no globals.
 *
 * A principal is who calls. In a vault that goes by roles, an assignment gives a role
 * to a principal on a scope: the installation ("/"), a vault ("/VAULT"), or an object
 * ("/VAULT/keys/NAME"); `keys/NAME` also reaches the certificate's key. In a vault that
 * goes by access policies, an entry gives permissions in the whole vault, and role
 * assignments give no data action there. Management is by roles in both.
 */
#ifndef KV_LIFECYCLE_AUTH_ACCESS_H
#define KV_LIFECYCLE_AUTH_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lifecycle/auth/actions.h"
#include "store/core/err.h"
#include "store/core/uri.h"

enum kv_principal_kind {
    KV_PRINCIPAL_NONE = 0,
    KV_PRINCIPAL_UNIX,  /* "unix:USER"; groups = unix groups */
    KV_PRINCIPAL_ADMIN, /* the --dev administrator: token or Unix peer */
    KV_PRINCIPAL_APP,   /* "app:CLIENT-ID": an application by itself */
    KV_PRINCIPAL_USER,  /* "user:OID": a user, through `app` or directly */
    KV_PRINCIPAL_MTLS,  /* "mtls:SPKI-SHA256-HEX" */
};

#define KV_PRINCIPAL_MAX 128
#define KV_GROUPS_MAX 64

struct kv_principal {
    enum kv_principal_kind kind;
    char id[KV_PRINCIPAL_MAX]; /* "unix:www-data" */
    char tenant[37];           /* UUID; "": of this installation, no tenant's token */
    char oid[37];              /* object id, a UUID; "": see kv_principal_set_oid */
    char app[37];              /* client id; "": none */
    size_t n_groups;
    char groups[KV_GROUPS_MAX][KV_PRINCIPAL_MAX]; /* "unixgroup:ssl-cert" "group:OID" */
};

/* Give a principal without an object id the one that this installation knows it by: a
 * UUID of version 5 (RFC 4122 4.3) of the installation and the text of `id`.
 * KV_E_CRYPTO when there is no SHA-1. */
int kv_principal_set_oid(struct kv_principal *principal,
                         const uint8_t installation[16]) KV_MUST_CHECK;

struct kv_assignment {
    char id[37];                      /* UUID */
    char principal[KV_PRINCIPAL_MAX]; /* unix:USER unixgroup:GROUP app:ID user:ID
                                         group:ID mtls:.. */
    char role[64];                    /* short name: "tls-server" */
    char scope[2 + KV_VAULT_NAME_MAX + KV_NAME_MAX + 16];
    /* what the role gives: filled in by kv_assignment_compile */
    kv_actions actions;
    kv_management manages;
};

/* Look the role up; one that is unknown gives nothing. */
void kv_assignment_compile(struct kv_assignment *assignment);

/* Order of assignments: by principal, then by role and scope. */
int kv_assignment_compare(const struct kv_assignment *a, const struct kv_assignment *b);

struct kv_access_object {
    const char *vault;      /* name */
    const char *collection; /* "keys", "secrets", "certificates"; NULL: the vault */
    const char *name;       /* NULL: the collection */
};

struct kv_access_policies; /* auth/policies.h */

/* All that a decision rests on. */
struct kv_access_rules {
    const char *tenant; /* UUID that a principal's tenant "" stands for */
    /* UUID of the vault's: assignments serve nobody of another; NULL: `tenant` */
    const char *vault_tenant;
    bool uses_policies;                        /* the vault goes by access policies */
    const struct kv_access_policies *policies; /* NULL: none */
    /* sorted by kv_assignment_compare */
    const struct kv_assignment *const *assignments;
    size_t n_assignments;
};

enum kv_access_reason {
    KV_ACCESS_ADMIN,        /* allowed: administers the installation */
    KV_ACCESS_ASSIGNMENT,   /* allowed: `assignment`, perhaps with others */
    KV_ACCESS_POLICY,       /* allowed: `policy`, perhaps with others */
    KV_ACCESS_NO_PRINCIPAL, /* denied: no rule names the caller or a group of it */
    KV_ACCESS_NO_SCOPE,     /* denied: those that do are about something else */
    KV_ACCESS_NO_ACTION,    /* denied: those that fit give less */
};

struct kv_access_decision {
    bool is_allowed;
    enum kv_access_reason reason;
    kv_actions allowed; /* all that the principal may do with the object */
    kv_management manages;
    /* The first rule that gives something of what was asked for; else NULL. Borrowed.
     */
    const struct kv_assignment *assignment;
    const struct kv_access_policy *policy;
};

/* May `principal` perform all of `wanted` on `object`? Names compare without case.
 * wanted 0 is denied; `allowed` tells all the same. */
void kv_access_decide(const struct kv_principal *principal,
                      const struct kv_access_object *object,
                      const struct kv_access_rules *rules, kv_actions wanted,
                      struct kv_access_decision *out);

/* The same for management of what `object` names: an object, a vault (no collection) or
 * the installation (no vault). Access policies have no part in it. */
void kv_access_decide_management(const struct kv_principal *principal,
                                 const struct kv_access_object *object,
                                 const struct kv_access_rules *rules,
                                 kv_management wanted, struct kv_access_decision *out);

/* Whether `principal` may perform one of `actions` on any object of a collection at
 * all: who may not need not make us look. */
bool kv_access_touches(const struct kv_principal *principal,
                       const struct kv_access_object *collection,
                       const struct kv_access_rules *rules, kv_actions actions);

/* A reason in words: "no rule names the caller". */
const char *kv_access_reason_text(enum kv_access_reason reason);

/* Check and normalise a principal and a scope as a user writes them ("keys/web",
 * "/", "/vault/keys/web", full vault URL); ids access.bad-principal, access.bad-scope.
 */
int kv_principal_parse(const char *text, char out[KV_PRINCIPAL_MAX],
                       struct kv_err *err) KV_MUST_CHECK;
int kv_scope_parse(const char *text, const char *default_vault, char *out,
                   size_t out_size, struct kv_err *err) KV_MUST_CHECK;

#endif
