/*
 * Roles, scopes, and the one function that decides.
 *
 * A role is a row of a table; a decision is the union of the rows whose assignment
 * names the principal (or one of its groups) and whose scope holds the object. What
 * no row allows is denied.
 */
#include "lifecycle/auth/access.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "store/core/str.h"

#define KEY_USE                                                                        \
    (KV_ACT_KEY_SIGN | KV_ACT_KEY_VERIFY | KV_ACT_KEY_ENCRYPT | KV_ACT_KEY_DECRYPT |   \
     KV_ACT_KEY_WRAP | KV_ACT_KEY_UNWRAP | KV_ACT_KEY_DERIVE)
#define KEY_ALL                                                                        \
    (KV_ACT_KEY_READ | KV_ACT_KEY_CREATE | KV_ACT_KEY_IMPORT | KV_ACT_KEY_UPDATE |     \
     KV_ACT_KEY_DELETE | KV_ACT_KEY_RECOVER | KV_ACT_KEY_PURGE | KV_ACT_KEY_BACKUP |   \
     KV_ACT_KEY_RESTORE | KV_ACT_KEY_ROTATE | KV_ACT_KEY_RELEASE |                     \
     KV_ACT_KEY_POLICY_GET | KV_ACT_KEY_POLICY_SET | KEY_USE | KV_ACT_KEY_TLS_UNPAD)
#define SECRET_ALL                                                                     \
    (KV_ACT_SECRET_LIST | KV_ACT_SECRET_GET | KV_ACT_SECRET_SET |                      \
     KV_ACT_SECRET_UPDATE | KV_ACT_SECRET_DELETE | KV_ACT_SECRET_RECOVER |             \
     KV_ACT_SECRET_PURGE | KV_ACT_SECRET_BACKUP | KV_ACT_SECRET_RESTORE)
#define CERT_ISSUERS                                                                   \
    (KV_ACT_CERT_ISSUERS_GET | KV_ACT_CERT_ISSUERS_LIST | KV_ACT_CERT_ISSUERS_SET |    \
     KV_ACT_CERT_ISSUERS_DELETE)
#define CERT_ALL                                                                       \
    (KV_ACT_CERT_READ | KV_ACT_CERT_CREATE | KV_ACT_CERT_IMPORT | KV_ACT_CERT_UPDATE | \
     KV_ACT_CERT_DELETE | KV_ACT_CERT_RECOVER | KV_ACT_CERT_PURGE |                    \
     KV_ACT_CERT_BACKUP | KV_ACT_CERT_RESTORE | KV_ACT_CERT_CONTACTS | CERT_ISSUERS)
/* No values: metadata of everything. */
#define READER                                                                         \
    (KV_ACT_KEY_READ | KV_ACT_KEY_POLICY_GET | KV_ACT_SECRET_LIST | KV_ACT_CERT_READ | \
     KV_ACT_CERT_ISSUERS_GET | KV_ACT_CERT_ISSUERS_LIST)

static const struct role {
    const char *name;  /* short form, the one that is stored */
    const char *azure; /* built-in role of the same meaning */
    kv_actions actions;
} roles[] = {
    {"administrator", "Key Vault Administrator",
     KEY_ALL | SECRET_ALL | CERT_ALL | KV_ACT_ACCESS_READ | KV_ACT_ACCESS_WRITE},
    {"certificates-officer", "Key Vault Certificates Officer",
     CERT_ALL | KV_ACT_KEY_READ | KV_ACT_SECRET_LIST},
    {"certificate-user", "Key Vault Certificate User",
     KV_ACT_CERT_READ | KV_ACT_KEY_READ | KV_ACT_SECRET_LIST | KV_ACT_SECRET_GET},
    {"crypto-officer", "Key Vault Crypto Officer", KEY_ALL},
    {"crypto-user", "Key Vault Crypto User",
     KV_ACT_KEY_READ | KV_ACT_KEY_UPDATE | KV_ACT_KEY_BACKUP | KEY_USE},
    {"crypto-service-encryption-user", "Key Vault Crypto Service Encryption User",
     KV_ACT_KEY_READ | KV_ACT_KEY_WRAP | KV_ACT_KEY_UNWRAP},
    {"crypto-service-release-user", "Key Vault Crypto Service Release User",
     KV_ACT_KEY_RELEASE},
    {"secrets-officer", "Key Vault Secrets Officer", SECRET_ALL},
    {"secrets-user", "Key Vault Secrets User", KV_ACT_SECRET_LIST | KV_ACT_SECRET_GET},
    {"reader", "Key Vault Reader", READER},
    /* What a TLS server needs: public parts, signing, RSA key exchange. */
    {"tls-server", "Key Vault TLS Server",
     KV_ACT_KEY_READ | KV_ACT_CERT_READ | KV_ACT_KEY_SIGN | KV_ACT_KEY_TLS_UNPAD},
};
#define N_ROLES (sizeof(roles) / sizeof(roles[0]))

const char *kv_role_find(const char *name, kv_actions *actions)
{
    for (size_t i = 0; i < N_ROLES; i++) {
        if (kv_str_equal_nocase(name, roles[i].name) ||
            kv_str_equal_nocase(name, roles[i].azure)) {
            *actions = roles[i].actions;
            return roles[i].name;
        }
    }
    return NULL;
}

const char *kv_role_name(size_t i)
{
    return i < N_ROLES ? roles[i].name : NULL;
}

static bool is_principal(const struct kv_principal *principal, const char *text)
{
    if (principal->kind != KV_PRINCIPAL_UNIX)
        return false;
    if (strcmp(principal->id, text) == 0)
        return true;
    for (size_t i = 0; i < principal->n_groups; i++)
        if (strcmp(principal->groups[i], text) == 0)
            return true;
    return false;
}

/* Whether `text` begins with "/" and `part`; *rest is what follows. */
static bool has_part(const char *text, const char *part, const char **rest)
{
    size_t len = part != NULL ? strlen(part) : 0;
    if (len == 0 || text[0] != '/' || strncasecmp(text + 1, part, len) != 0)
        return false;
    *rest = text + 1 + len;
    return **rest == '\0' || **rest == '/';
}

static bool holds(const char *scope, const struct kv_access_object *object)
{
    const char *rest = NULL;
    if (strcmp(scope, "/") == 0)
        return true;
    if (!has_part(scope, object->vault, &rest))
        return false;
    if (*rest == '\0')
        return true;
    if (!has_part(rest, object->collection, &rest) || *rest == '\0')
        return false;
    return has_part(rest, object->name, &rest) && *rest == '\0';
}

kv_actions kv_access_allowed(const struct kv_principal *principal,
                             const struct kv_access_object *object,
                             const struct kv_assignment *assignments,
                             size_t n_assignments)
{
    if (principal->kind == KV_PRINCIPAL_ADMIN)
        return roles[0].actions;
    kv_actions allowed = 0;
    for (size_t i = 0; i < n_assignments; i++) {
        kv_actions actions = 0;
        if (is_principal(principal, assignments[i].principal) &&
            holds(assignments[i].scope, object) &&
            kv_role_find(assignments[i].role, &actions) != NULL)
            allowed |= actions;
    }
    return allowed;
}

/* Whether a scope holds the collection or something in it. */
static bool reaches(const char *scope, const struct kv_access_object *collection)
{
    const char *rest = NULL;
    if (strcmp(scope, "/") == 0)
        return true;
    return has_part(scope, collection->vault, &rest) &&
           (*rest == '\0' || has_part(rest, collection->collection, &rest));
}

bool kv_access_touches(const struct kv_principal *principal,
                       const struct kv_access_object *collection, kv_actions actions,
                       const struct kv_assignment *assignments, size_t n_assignments)
{
    if (principal->kind == KV_PRINCIPAL_ADMIN)
        return true;
    for (size_t i = 0; i < n_assignments; i++) {
        kv_actions given = 0;
        if (is_principal(principal, assignments[i].principal) &&
            reaches(assignments[i].scope, collection) &&
            kv_role_find(assignments[i].role, &given) != NULL && (given & actions) != 0)
            return true;
    }
    return false;
}

/* Names of users, groups and applications: printable ASCII without space, slash,
 * colon and comma. */
static bool is_word(const char *text)
{
    if (text[0] == '\0' || strlen(text) > 64)
        return false;
    for (const char *at = text; *at != '\0'; at++)
        if (*at <= ' ' || *at > '~' || strchr("/:,\"\\", *at) != NULL)
            return false;
    return true;
}

int kv_principal_parse(const char *text, char out[KV_PRINCIPAL_MAX], struct kv_err *err)
{
    static const char *const kinds[] = {
        "unix:", "unixgroup:", "app:", "user:", "mtls:"};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!kv_str_has_prefix(text, kinds[i]) || !is_word(text + strlen(kinds[i])))
            continue;
        if (kv_str_copy(out, KV_PRINCIPAL_MAX, text) == 0)
            return 0;
    }
    kv_err_set(err, KV_E_INVALID, "access.bad-principal",
               "the principal is not of the form KIND:NAME");
    kv_err_hint(err, "write unix:USER, unixgroup:GROUP, app:ID, user:ID or "
                     "mtls:SPKI-SHA256");
    return KV_E_INVALID;
}

static int bad_scope(struct kv_err *err)
{
    kv_err_set(err, KV_E_INVALID, "access.bad-scope",
               "the scope names no installation, vault or object");
    kv_err_hint(err, "write /, /VAULT, /VAULT/keys/NAME or keys/NAME");
    return KV_E_INVALID;
}

struct scope_parts {
    size_t n;
    char part[3][KV_NAME_MAX + 1];
};

/* Split at slashes into one to three non-empty parts. */
static bool split_scope(const char *text, struct scope_parts *parts)
{
    parts->n = 0;
    for (;;) {
        size_t len = strcspn(text, "/");
        if (len == 0 || len > KV_NAME_MAX || parts->n == 3)
            return false;
        kv_str_cut(parts->part[parts->n++], KV_NAME_MAX + 1, text, len);
        if (text[len] == '\0')
            return true;
        text += len + 1;
    }
}

static bool is_collection(const char *text)
{
    return kv_str_equal_nocase(text, "keys") || kv_str_equal_nocase(text, "secrets") ||
           kv_str_equal_nocase(text, "certificates");
}

static bool check_scope(struct scope_parts *parts)
{
    for (size_t i = 0; i < parts->n; i++)
        if (i < 2)
            kv_str_fold(parts->part[i]);
    if (!kv_vault_name_is_valid(parts->part[0], strlen(parts->part[0])))
        return false;
    if (parts->n == 1)
        return true;
    return parts->n == 3 && is_collection(parts->part[1]) &&
           kv_name_is_valid(parts->part[2], strlen(parts->part[2]));
}

/* "https://VAULT.domain:port/keys/NAME" becomes "VAULT/keys/NAME". */
static bool from_url(const char *url, char *out, size_t out_size)
{
    const char *host = url + strlen("https://");
    size_t name_len = strcspn(host, ".:/");
    const char *path = host + strcspn(host, "/");
    size_t path_len = strlen(path);
    while (path_len > 0 && path[path_len - 1] == '/')
        path_len--;
    int n =
        snprintf(out, out_size, "%.*s%.*s", (int)name_len, host, (int)path_len, path);
    return name_len > 0 && n > 0 && (size_t)n < out_size;
}

int kv_scope_parse(const char *text, const char *default_vault, char *out,
                   size_t out_size, struct kv_err *err)
{
    char full[KV_VAULT_NAME_MAX + KV_NAME_MAX + 32];
    struct scope_parts parts;
    int n = 0;
    if (strcmp(text, "/") == 0)
        return kv_str_copy(out, out_size, "/") == 0 ? 0 : bad_scope(err);
    if (kv_str_has_prefix(text, "https://")) {
        n = from_url(text, full, sizeof(full)) ? 1 : -1;
    } else if (text[0] == '/') {
        n = snprintf(full, sizeof(full), "%s", text + 1);
    } else {
        n = snprintf(full, sizeof(full), "%s/%s", default_vault, text);
    }
    if (n < 0 || (size_t)n >= sizeof(full) || !split_scope(full, &parts) ||
        !check_scope(&parts))
        return bad_scope(err);
    if (parts.n == 1)
        n = snprintf(out, out_size, "/%s", parts.part[0]);
    else
        n = snprintf(out, out_size, "/%s/%s/%s", parts.part[0], parts.part[1],
                     parts.part[2]);
    return n > 0 && (size_t)n < out_size ? 0 : bad_scope(err);
}
