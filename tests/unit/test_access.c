/*
 * Default deny, and every way in: roles, scopes, groups; and what a user may write for
 * a principal or a scope.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lifecycle/auth/access.h"

TestSuite(access, .timeout = 20);

static struct kv_principal user(const char *id, const char *group)
{
    struct kv_principal principal = {.kind = KV_PRINCIPAL_UNIX};
    (void)snprintf(principal.id, sizeof(principal.id), "%s", id);
    if (group != NULL)
        (void)snprintf(principal.groups[principal.n_groups++], KV_PRINCIPAL_MAX, "%s",
                       group);
    return principal;
}

static struct kv_assignment assign(const char *principal, const char *role,
                                   const char *scope)
{
    struct kv_assignment assignment = {.id = "x"};
    (void)snprintf(assignment.principal, sizeof(assignment.principal), "%s", principal);
    (void)snprintf(assignment.role, sizeof(assignment.role), "%s", role);
    (void)snprintf(assignment.scope, sizeof(assignment.scope), "%s", scope);
    return assignment;
}

static const struct {
    const char *scope;
    struct kv_access_object object;
    bool holds;
} scopes[] = {
    {"/", {"v", "keys", "k"}, true},
    {"/", {NULL, NULL, NULL}, true},
    {"/v", {"v", "keys", "k"}, true},
    {"/v", {"v", "keys", NULL}, true},
    {"/v", {"v", NULL, NULL}, true},
    {"/V", {"v", "keys", "k"}, true},
    {"/v", {"V", "keys", "k"}, true},
    {"/v", {"w", "keys", "k"}, false},
    {"/v", {"vv", "keys", "k"}, false},
    {"/vv", {"v", "keys", "k"}, false},
    {"/v", {NULL, NULL, NULL}, false},
    {"/v/keys/k", {"v", "keys", "k"}, true},
    {"/v/keys/K", {"v", "keys", "k"}, true},
    {"/v/keys/k", {"v", "keys", "kk"}, false},
    {"/v/keys/kk", {"v", "keys", "k"}, false},
    {"/v/keys/k", {"v", "secrets", "k"}, false},
    {"/v/keys/k", {"v", "keys", NULL}, false},
    {"/v/keys/k", {"v", NULL, NULL}, false},
    {"/v/keys/k/x", {"v", "keys", "k"}, false},
    /* what no parser lets through gives nothing either */
    {"/v/keys", {"v", "keys", "k"}, false},
    {"", {"v", "keys", "k"}, false},
    {"v", {"v", "keys", "k"}, false},
    {"//", {"", "keys", "k"}, false},
};

Test(access, a_scope_holds_what_is_below_it)
{
    const struct kv_principal alice = user("unix:alice", NULL);
    for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++) {
        struct kv_assignment assignment =
            assign("unix:alice", "reader", scopes[i].scope);
        kv_actions allowed =
            kv_access_allowed(&alice, &scopes[i].object, &assignment, 1);
        cr_assert_eq(allowed != 0, scopes[i].holds, "'%s' row %zu", scopes[i].scope, i);
    }
}

Test(access, nobody_may_anything_without_an_assignment)
{
    const struct kv_access_object object = {"v", "keys", "k"};
    const struct kv_principal alice = user("unix:alice", "unixgroup:ops");
    const struct kv_principal none = {.kind = KV_PRINCIPAL_NONE, .id = "unix:alice"};
    const struct kv_principal admin = {.kind = KV_PRINCIPAL_ADMIN};
    const struct kv_assignment others[] = {
        assign("unix:alic", "administrator", "/"),
        assign("unix:alice2", "administrator", "/"),
        assign("unix:ALICE", "administrator", "/"),
        assign("app:alice", "administrator", "/"),
        assign("unix:ops", "administrator", "/"),
        assign("unixgroup:alice", "administrator", "/"),
        assign("unix:alice", "no-such-role", "/"),
        assign("unix:alice", "", "/"),
        assign("", "administrator", "/"),
    };
    cr_assert_eq(kv_access_allowed(&alice, &object, NULL, 0), 0);
    cr_assert_eq(
        kv_access_allowed(&alice, &object, others, sizeof(others) / sizeof(others[0])),
        0);
    const struct kv_assignment own = assign("unix:alice", "administrator", "/");
    cr_assert_eq(kv_access_allowed(&none, &object, &own, 1), 0,
                 "an unknown caller is nobody, whatever it is called");
    cr_assert_neq(kv_access_allowed(&alice, &object, &own, 1), 0);
    cr_assert_neq(kv_access_allowed(&admin, &object, NULL, 0), 0);
}

Test(access, rights_add_up_over_assignments_and_groups)
{
    const struct kv_access_object object = {"v", "keys", "k"};
    const struct kv_principal alice = user("unix:alice", "unixgroup:ops");
    const struct kv_assignment assignments[] = {
        assign("unix:alice", "reader", "/v"),
        assign("unixgroup:ops", "tls-server", "/v/keys/k"),
        assign("unixgroup:others", "administrator", "/"),
    };
    cr_assert_eq(kv_access_allowed(&alice, &object, assignments, 3),
                 KV_ACT_KEY_READ | KV_ACT_KEY_POLICY_GET | KV_ACT_SECRET_LIST |
                     KV_ACT_CERT_READ | KV_ACT_CERT_ISSUERS_GET |
                     KV_ACT_CERT_ISSUERS_LIST | KV_ACT_KEY_SIGN | KV_ACT_KEY_TLS_UNPAD);
}

static const struct {
    const char *name;
    kv_actions may;
    kv_actions may_not;
} roles[] = {
    {"administrator", KV_ACT_ACCESS_WRITE | KV_ACT_SECRET_GET | KV_ACT_KEY_SIGN, 0},
    {"certificates-officer", KV_ACT_CERT_CREATE | KV_ACT_CERT_DELETE,
     KV_ACT_SECRET_GET | KV_ACT_KEY_SIGN | KV_ACT_ACCESS_READ},
    {"certificate-user", KV_ACT_CERT_READ | KV_ACT_SECRET_GET,
     KV_ACT_CERT_CREATE | KV_ACT_KEY_SIGN | KV_ACT_SECRET_SET},
    {"crypto-officer", KV_ACT_KEY_CREATE | KV_ACT_KEY_SIGN | KV_ACT_KEY_DELETE,
     KV_ACT_SECRET_LIST | KV_ACT_CERT_READ | KV_ACT_ACCESS_READ},
    {"crypto-user", KV_ACT_KEY_SIGN | KV_ACT_KEY_DECRYPT | KV_ACT_KEY_UPDATE,
     KV_ACT_KEY_CREATE | KV_ACT_KEY_DELETE | KV_ACT_KEY_IMPORT | KV_ACT_KEY_TLS_UNPAD},
    {"crypto-service-encryption-user", KV_ACT_KEY_WRAP | KV_ACT_KEY_UNWRAP,
     KV_ACT_KEY_SIGN | KV_ACT_KEY_DECRYPT},
    {"secrets-officer", KV_ACT_SECRET_GET | KV_ACT_SECRET_DELETE,
     KV_ACT_KEY_READ | KV_ACT_CERT_READ},
    {"secrets-user", KV_ACT_SECRET_GET | KV_ACT_SECRET_LIST, KV_ACT_SECRET_SET},
    {"reader", KV_ACT_KEY_READ | KV_ACT_SECRET_LIST | KV_ACT_CERT_READ,
     KV_ACT_SECRET_GET | KV_ACT_KEY_SIGN | KV_ACT_ACCESS_READ},
    {"tls-server", KV_ACT_KEY_SIGN | KV_ACT_KEY_TLS_UNPAD | KV_ACT_CERT_READ,
     KV_ACT_KEY_DECRYPT | KV_ACT_SECRET_LIST | KV_ACT_KEY_UNWRAP},
    {"crypto-service-release-user", KV_ACT_KEY_RELEASE, ~KV_ACT_KEY_RELEASE},
};

Test(access, roles_may_what_their_name_says_and_no_more)
{
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        kv_actions actions = 0;
        const char *name = kv_role_find(roles[i].name, &actions);
        cr_assert_str_eq(name, roles[i].name);
        cr_assert_eq(actions & roles[i].may, roles[i].may, "%s", name);
        cr_assert_eq(actions & roles[i].may_not, 0, "%s", name);
    }
}

Test(access, only_administrators_deal_with_access)
{
    size_t n = 0;
    for (; kv_role_name(n) != NULL; n++) {
        kv_actions actions = 0;
        cr_assert_not_null(kv_role_find(kv_role_name(n), &actions));
        bool deals = (actions & (KV_ACT_ACCESS_READ | KV_ACT_ACCESS_WRITE)) != 0;
        cr_assert_eq(deals, strcmp(kv_role_name(n), "administrator") == 0, "%s",
                     kv_role_name(n));
    }
    cr_assert_eq(n, sizeof(roles) / sizeof(roles[0]), "no role without a test");
}

Test(access, roles_are_found_by_either_name)
{
    kv_actions actions = 0;
    cr_assert_str_eq(kv_role_find("Key Vault Crypto User", &actions), "crypto-user");
    cr_assert_str_eq(kv_role_find("key vault crypto user", &actions), "crypto-user");
    cr_assert_str_eq(kv_role_find("CRYPTO-USER", &actions), "crypto-user");
    cr_assert_null(kv_role_find("Crypto User", &actions));
    cr_assert_null(kv_role_find("crypto-user ", &actions));
    cr_assert_null(kv_role_find("", &actions));
}

Test(access, principals_are_a_kind_and_a_word)
{
    static const char *const good[] = {"unix:www-data", "unix:#1234", "unixgroup:ops",
                                       "app:00-ff",     "user:a@b.c", "mtls:0123abcd",
                                       "unix:a.b_c$"};
    static const char *const bad[] = {
        "",
        "unix",
        "unix:",
        "www-data",
        "unix:a b",
        "unix:a:b",
        "unix:a/b",
        "unix:a,b",
        "unix:\n",
        "unix:a\n",
        "Unix:a",
        "root:a",
        "unix:\xc3\xa4",
        "unix:a\"",
        "unix:a\\b",
        " unix:a",
        "unixgroup:",
        "unix:\x7f",
        "unix:\x1b[m",
        "unix:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    char out[KV_PRINCIPAL_MAX];
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cr_assert_eq(kv_principal_parse(good[i], out, NULL), 0, "%s", good[i]);
        cr_assert_str_eq(out, good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct kv_err err = KV_ERR_INIT;
        cr_assert_eq(kv_principal_parse(bad[i], out, &err), KV_E_INVALID, "%s", bad[i]);
        cr_assert_str_eq(err.id, "access.bad-principal");
    }
}

#define N127                                                                           \
    "abcdefghijklmnopqrstuvwxyz-0123456789-ABCDEFGHIJKLMNOPQRSTUVWXYZ"                 \
    "abcdefghijklmnopqrstuvwxyz-0123456789-ABCDEFGHIJKLMNOPQRSTUVWXY"

static const struct {
    const char *text;
    const char *scope; /* NULL: refused */
} scope_rows[] = {
    {"/", "/"},
    {"/prod", "/prod"},
    {"/Prod", "/prod"},
    {"keys/Web", "/default/keys/Web"},
    {"KEYS/Web", "/default/keys/Web"},
    {"secrets/s", "/default/secrets/s"},
    {"certificates/c", "/default/certificates/c"},
    {"/prod/keys/web", "/prod/keys/web"},
    {"https://prod.vault.localhost:8443/keys/web", "/prod/keys/web"},
    {"https://prod.vault.localhost:8443/", "/prod"},
    {"https://prod.vault.localhost", "/prod"},
    {"https://prod.vault.localhost/keys/web/", "/prod/keys/web"},
    {"keys/" N127, "/default/keys/" N127},
    {"", NULL},
    {"web", NULL},
    {"keys", NULL},
    {"keys/", NULL},
    {"keys//web", NULL},
    {"keys/web/", NULL},
    {"keys/we_b", NULL},
    {"keys/..", NULL},
    {"keys/" N127 "x", NULL},
    {"roles/web", NULL},
    {"//", NULL},
    {"//keys/web", NULL},
    {"/prod/", NULL},
    {"/prod/keys", NULL},
    {"/prod/keys/web/0123456789abcdef0123456789abcdef", NULL},
    {"/1prod", NULL},
    {"/a--b/keys/k", NULL},
    {"/ab", NULL},
    {"https://", NULL},
    {"https:///keys/web", NULL},
    {"http://prod.vault.localhost/keys/web", NULL},
    {"https://prod.vault.localhost/keys/web/0123456789abcdef0123456789abcdef", NULL},
    {"keys/web\n", NULL},
    {"/*", NULL},
};

Test(access, scopes_are_normalised_or_refused)
{
    for (size_t i = 0; i < sizeof(scope_rows) / sizeof(scope_rows[0]); i++) {
        char out[sizeof(((struct kv_assignment *)0)->scope)];
        struct kv_err err = KV_ERR_INIT;
        int rc = kv_scope_parse(scope_rows[i].text, "default", out, sizeof(out), &err);
        cr_assert_eq(rc, scope_rows[i].scope != NULL ? 0 : KV_E_INVALID, "'%s'",
                     scope_rows[i].text);
        if (rc == 0)
            cr_assert_str_eq(out, scope_rows[i].scope, "'%s'", scope_rows[i].text);
        else
            cr_assert_str_eq(err.id, "access.bad-scope", "'%s'", scope_rows[i].text);
    }
    char big[4096];
    char out[64];
    memset(big, 'a', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    cr_assert_eq(kv_scope_parse(big, "default", out, sizeof(out), NULL), KV_E_INVALID);
    memcpy(big, "https://", 8);
    cr_assert_eq(kv_scope_parse(big, "default", out, sizeof(out), NULL), KV_E_INVALID);
    cr_assert_eq(kv_scope_parse("/prod/keys/web", "default", out, 8, NULL),
                 KV_E_INVALID, "does not fit");
}
