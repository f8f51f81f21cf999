/*
 * Scopes, principals, and the one function that decides.
 *
 * A decision is the union of what the rules give whose principal is the caller (or one
 * of its groups) and whose scope holds the object. What no rule allows is denied. Rules
 * are sorted by principal and searched once for each name of the caller, so that their
 * number costs next to nothing.
 */
#include "lifecycle/auth/access.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lifecycle/auth/policies.h"
#include "lifecycle/auth/roles.h"
#include "lifecycle/auth/uuid.h"
#include "store/core/str.h"

int kv_principal_set_oid(struct kv_principal *principal, const uint8_t installation[16])
{
    uint8_t text[16 + KV_PRINCIPAL_MAX];
    uint8_t hash[20];
    size_t hash_len = 0;
    size_t len = strlen(principal->id);
    if (principal->oid[0] != '\0')
        return 0;
    memcpy(text, installation, 16);
    memcpy(text + 16, principal->id, len);
    int ok = EVP_Q_digest(NULL, "SHA1", NULL, text, 16 + len, hash, &hash_len);
    ERR_clear_error();
    if (ok != 1)
        return KV_E_CRYPTO;
    hash[6] = (uint8_t)((hash[6] & 0x0f) | 0x50);
    hash[8] = (uint8_t)((hash[8] & 0x3f) | 0x80);
    kv_uuid_format(hash, principal->oid);
    return 0;
}

void kv_assignment_compile(struct kv_assignment *assignment)
{
    const struct kv_role *role = kv_role_find(assignment->role);
    assignment->actions = role != NULL ? kv_role_actions(role) : 0;
    assignment->manages = role != NULL ? role->manages : 0;
}

int kv_assignment_compare(const struct kv_assignment *a, const struct kv_assignment *b)
{
    int order = strcmp(a->principal, b->principal);
    if (order == 0)
        order = strcmp(a->role, b->role);
    return order != 0 ? order : strcasecmp(a->scope, b->scope);
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

/* What a decision is made of while the rules are gone through. */
struct search {
    const struct kv_access_object *object;
    kv_actions wanted;
    kv_management wanted_management;
    bool has_principal; /* a rule names the caller */
    bool has_scope;     /* and holds the object */
    struct kv_access_decision *out;
};

/* The first assignment that does not come before `principal`. */
static size_t lower_bound(const struct kv_access_rules *rules, const char *principal)
{
    size_t low = 0;
    size_t high = rules->n_assignments;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(rules->assignments[middle]->principal, principal) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void add_assignment(struct search *search,
                           const struct kv_assignment *assignment)
{
    struct kv_access_decision *out = search->out;
    search->has_principal = true;
    if (!holds(assignment->scope, search->object))
        return;
    search->has_scope = true;
    out->allowed |= assignment->actions;
    out->manages |= assignment->manages;
    if (out->assignment == NULL &&
        ((assignment->actions & search->wanted) != 0 ||
         (assignment->manages & search->wanted_management) != 0))
        out->assignment = assignment;
}

/* The names by which role assignments may call a principal: its own, then its groups'.
 */
static const char *name_of(const struct kv_principal *principal, size_t i)
{
    if (i == 0)
        return principal->id;
    return i <= principal->n_groups ? principal->groups[i - 1] : NULL;
}

/* A vault is of one tenant: what was assigned to a name serves nobody of another who
 * has the same. */
static bool is_of_tenant(const struct kv_principal *principal,
                         const struct kv_access_rules *rules)
{
    const char *own = principal->tenant[0] != '\0' ? principal->tenant : rules->tenant;
    const char *wanted =
        rules->vault_tenant != NULL ? rules->vault_tenant : rules->tenant;
    return kv_str_equal_nocase(own, wanted);
}

static void search_assignments(struct search *search,
                               const struct kv_principal *principal,
                               const struct kv_access_rules *rules)
{
    const char *name = NULL;
    if (!is_of_tenant(principal, rules))
        return;
    for (size_t i = 0; (name = name_of(principal, i)) != NULL; i++)
        for (size_t at = lower_bound(rules, name);
             at < rules->n_assignments &&
             strcmp(rules->assignments[at]->principal, name) == 0;
             at++)
            add_assignment(search, rules->assignments[at]);
}

/* An entry without application serves a user through any application, and who calls by
 * itself; one with an application only a user through that one. */
static bool fits(const struct kv_access_policy *policy,
                 const struct kv_principal *principal,
                 const struct kv_access_rules *rules)
{
    const char *tenant =
        principal->tenant[0] != '\0' ? principal->tenant : rules->tenant;
    if (!kv_str_equal_nocase(policy->tenant, tenant))
        return false;
    return policy->app[0] == '\0' || (principal->kind == KV_PRINCIPAL_USER &&
                                      kv_str_equal_nocase(policy->app, principal->app));
}

/* The object ids by which access policies may call a principal. */
static const char *oid_of(const struct kv_principal *principal, size_t i)
{
    static const char prefix[] = "group:";
    const char *name = name_of(principal, i);
    if (i == 0 || name == NULL)
        return name != NULL ? principal->oid : NULL;
    return kv_str_has_prefix(name, prefix) ? name + strlen(prefix) : "";
}

static void search_policies(struct search *search, const struct kv_principal *principal,
                            const struct kv_access_rules *rules)
{
    struct kv_access_decision *out = search->out;
    const char *oid = NULL;
    for (size_t i = 0; (oid = oid_of(principal, i)) != NULL; i++) {
        size_t n = 0;
        const struct kv_access_policy *const *found =
            kv_access_policies_find(rules->policies, oid, &n);
        for (size_t j = 0; j < n; j++) {
            if (!fits(found[j], principal, rules))
                continue;
            search->has_principal = true;
            search->has_scope = true;
            out->allowed |= found[j]->actions;
            if (out->policy == NULL && (found[j]->actions & search->wanted) != 0)
                out->policy = found[j];
        }
    }
}

/* Why, once all rules were looked at. */
static enum kv_access_reason reason_of(const struct search *search,
                                       enum kv_access_reason allowed)
{
    const struct kv_access_decision *out = search->out;
    bool is_asked = search->wanted != 0 || search->wanted_management != 0;
    if (is_asked && (search->wanted & ~out->allowed) == 0 &&
        (search->wanted_management & ~out->manages) == 0)
        return allowed;
    if (!search->has_principal)
        return KV_ACCESS_NO_PRINCIPAL;
    return search->has_scope ? KV_ACCESS_NO_ACTION : KV_ACCESS_NO_SCOPE;
}

static void decide(const struct kv_principal *principal,
                   const struct kv_access_rules *rules, bool by_policies,
                   struct search *search)
{
    struct kv_access_decision *out = search->out;
    enum kv_access_reason allowed =
        by_policies ? KV_ACCESS_POLICY : KV_ACCESS_ASSIGNMENT;
    if (principal->kind == KV_PRINCIPAL_ADMIN) {
        allowed = KV_ACCESS_ADMIN;
        search->has_principal = true;
        search->has_scope = true;
        out->allowed = KV_ACT_ALL;
        out->manages = KV_MANAGE_ALL;
    } else if (principal->kind != KV_PRINCIPAL_NONE) {
        if (by_policies)
            search_policies(search, principal, rules);
        else
            search_assignments(search, principal, rules);
    }
    out->reason = reason_of(search, allowed);
    out->is_allowed = out->reason == allowed;
}

void kv_access_decide(const struct kv_principal *principal,
                      const struct kv_access_object *object,
                      const struct kv_access_rules *rules, kv_actions wanted,
                      struct kv_access_decision *out)
{
    struct search search = {.object = object, .wanted = wanted, .out = out};
    memset(out, 0, sizeof(*out));
    decide(principal, rules, rules->uses_policies, &search);
    out->manages = 0;
}

void kv_access_decide_management(const struct kv_principal *principal,
                                 const struct kv_access_object *object,
                                 const struct kv_access_rules *rules,
                                 kv_management wanted, struct kv_access_decision *out)
{
    struct search search = {.object = object, .wanted_management = wanted, .out = out};
    memset(out, 0, sizeof(*out));
    decide(principal, rules, false, &search);
    out->allowed = 0;
}

/* Whether a scope is something in the collection. */
static bool is_inside(const char *scope, const struct kv_access_object *collection)
{
    const char *rest = NULL;
    return has_part(scope, collection->vault, &rest) &&
           has_part(rest, collection->collection, &rest);
}

static bool touches_by_assignments(const struct kv_principal *principal,
                                   const struct kv_access_object *collection,
                                   const struct kv_access_rules *rules,
                                   kv_actions actions)
{
    const char *name = NULL;
    for (size_t i = 0; (name = name_of(principal, i)) != NULL; i++) {
        for (size_t at = lower_bound(rules, name); at < rules->n_assignments; at++) {
            const struct kv_assignment *assignment = rules->assignments[at];
            if (strcmp(assignment->principal, name) != 0)
                break;
            if ((assignment->actions & actions) != 0 &&
                is_inside(assignment->scope, collection))
                return true;
        }
    }
    return false;
}

bool kv_access_touches(const struct kv_principal *principal,
                       const struct kv_access_object *collection,
                       const struct kv_access_rules *rules, kv_actions actions)
{
    struct kv_access_decision decision;
    kv_access_decide(principal, collection, rules, actions, &decision);
    if ((decision.allowed & actions) != 0)
        return true;
    return !rules->uses_policies && principal->kind != KV_PRINCIPAL_NONE &&
           is_of_tenant(principal, rules) &&
           touches_by_assignments(principal, collection, rules, actions);
}

const char *kv_access_reason_text(enum kv_access_reason reason)
{
    static const char *const texts[] = {
        [KV_ACCESS_ADMIN] = "the caller administers the installation",
        [KV_ACCESS_ASSIGNMENT] = "a role assignment allows it",
        [KV_ACCESS_POLICY] = "an access policy allows it",
        [KV_ACCESS_NO_PRINCIPAL] = "no rule names the caller or one of its groups",
        [KV_ACCESS_NO_SCOPE] = "the caller's roles are on other scopes",
        [KV_ACCESS_NO_ACTION] = "the caller's rules give other rights",
    };
    return texts[reason];
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
        "unix:", "unixgroup:", "app:", "user:", "group:", "mtls:"};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!kv_str_has_prefix(text, kinds[i]) || !is_word(text + strlen(kinds[i])))
            continue;
        kv_str_cut(out, KV_PRINCIPAL_MAX, text, strlen(text));
        return 0;
    }
    kv_err_set(err, KV_E_INVALID, "access.bad-principal",
               "the principal is not of the form KIND:NAME");
    kv_err_hint(err, "write unix:USER, unixgroup:GROUP, app:ID, user:ID, group:ID or "
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
    return name_len > 0 && (size_t)n < out_size;
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
    return (size_t)n < out_size ? 0 : bad_scope(err);
}
