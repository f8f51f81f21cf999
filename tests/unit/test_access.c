/*
 * Default deny, and every way in: roles, scopes, groups, access policies; why a
 * decision fell; and what a user may write for a principal or a scope.
 */
#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/auth/access.h"
#include "lifecycle/auth/policies.h"

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
    kv_assignment_compile(&assignment);
    return assignment;
}

#define TENANT "11111111-1111-1111-1111-111111111111"
#define RULES_MAX 16

/* Rules of these assignments, in the order that decisions need. */
static const struct kv_assignment *sorted[RULES_MAX];

static int compare(const void *a, const void *b)
{
    return kv_assignment_compare(*(const struct kv_assignment *const *)a,
                                 *(const struct kv_assignment *const *)b);
}

static struct kv_access_rules rules_of(const struct kv_assignment *assignments,
                                       size_t n)
{
    cr_assert_leq(n, RULES_MAX);
    for (size_t i = 0; i < n; i++)
        sorted[i] = &assignments[i];
    qsort(sorted, n, sizeof(sorted[0]), compare);
    return (struct kv_access_rules){
        .tenant = TENANT, .assignments = sorted, .n_assignments = n};
}

static kv_actions allowed_of(const struct kv_principal *principal,
                             const struct kv_access_object *object,
                             const struct kv_assignment *assignments, size_t n)
{
    struct kv_access_rules rules = rules_of(assignments, n);
    struct kv_access_decision decision;
    kv_access_decide(principal, object, &rules, 0, &decision);
    cr_assert_not(decision.is_allowed, "nothing was asked for");
    return decision.allowed;
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
        kv_actions allowed = allowed_of(&alice, &scopes[i].object, &assignment, 1);
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
    cr_assert_eq(allowed_of(&alice, &object, NULL, 0), 0);
    cr_assert_eq(
        allowed_of(&alice, &object, others, sizeof(others) / sizeof(others[0])), 0);
    const struct kv_assignment own = assign("unix:alice", "administrator", "/");
    cr_assert_eq(allowed_of(&none, &object, &own, 1), 0,
                 "an unknown caller is nobody, whatever it is called");
    cr_assert_neq(allowed_of(&alice, &object, &own, 1), 0);
    cr_assert_neq(allowed_of(&admin, &object, NULL, 0), 0);
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
    cr_assert_eq(allowed_of(&alice, &object, assignments, 3),
                 KV_ACT_KEY_READ | KV_ACT_KEY_POLICY_GET | KV_ACT_SECRET_LIST |
                     KV_ACT_SECRET_GET_DELETED | KV_ACT_CERT_READ |
                     KV_ACT_CERT_ISSUERS_GET | KV_ACT_CERT_ISSUERS_LIST |
                     KV_ACT_KEY_SIGN | KV_ACT_KEY_TLS_UNPAD);
}

Test(access, a_decision_says_why)
{
    const struct kv_access_object key = {"v", "keys", "k"};
    const struct kv_principal alice = user("unix:alice", "unixgroup:ops");
    const struct kv_assignment assignments[] = {
        assign("unix:alice", "reader", "/v/keys/k"),
        assign("unixgroup:ops", "secrets-user", "/w"),
        assign("unix:zoe", "administrator", "/"),
    };
    const struct kv_access_rules rules = rules_of(assignments, 3);
    struct kv_access_decision decision;
    kv_access_decide(&alice, &key, &rules, KV_ACT_KEY_GET, &decision);
    cr_assert(decision.is_allowed);
    cr_assert_eq(decision.reason, KV_ACCESS_ASSIGNMENT);
    cr_assert_eq(decision.assignment, &assignments[0]);
    cr_assert_null(decision.policy);
    cr_assert_eq(decision.manages, 0, "a data decision tells nothing of management");
    kv_access_decide(&alice, &key, &rules, KV_ACT_KEY_GET | KV_ACT_KEY_SIGN, &decision);
    cr_assert_not(decision.is_allowed, "all of it, or it is denied");
    cr_assert_eq(decision.reason, KV_ACCESS_NO_ACTION);
    const struct kv_access_object other = {"v", "secrets", "s"};
    kv_access_decide(&alice, &other, &rules, KV_ACT_SECRET_GET, &decision);
    cr_assert_eq(decision.reason, KV_ACCESS_NO_SCOPE);
    const struct kv_principal bob = user("unix:bob", NULL);
    kv_access_decide(&bob, &key, &rules, KV_ACT_KEY_GET, &decision);
    cr_assert_eq(decision.reason, KV_ACCESS_NO_PRINCIPAL);
    cr_assert_null(decision.assignment);
    const struct kv_principal admin = {.kind = KV_PRINCIPAL_ADMIN};
    kv_access_decide(&admin, &key, &rules, KV_ACT_ALL, &decision);
    cr_assert(decision.is_allowed);
    cr_assert_eq(decision.reason, KV_ACCESS_ADMIN);
    for (int reason = KV_ACCESS_ADMIN; reason <= KV_ACCESS_NO_ACTION; reason++)
        cr_assert_gt(strlen(kv_access_reason_text((enum kv_access_reason)reason)), 10);
}

Test(access, an_assignment_serves_nobody_of_another_tenant)
{
    const struct kv_access_object key = {"v", "keys", "k"};
    const struct kv_access_object keys = {"v", "keys", NULL};
    const struct kv_assignment assignment = assign("app:x", "administrator", "/v");
    struct kv_access_rules rules = rules_of(&assignment, 1);
    struct kv_principal app = {
        .kind = KV_PRINCIPAL_APP, .id = "app:x", .tenant = TENANT};
    struct kv_access_decision decision;
    kv_access_decide(&app, &key, &rules, KV_ACT_KEY_GET, &decision);
    cr_assert(decision.is_allowed);
    rules.vault_tenant = "aaaaaaaa-0000-4000-8000-000000000001";
    for (int i = 0; i < 2; i++) { /* then without one: the installation's */
        kv_access_decide(&app, &key, &rules, KV_ACT_KEY_GET, &decision);
        cr_assert_eq(decision.reason, KV_ACCESS_NO_PRINCIPAL);
        kv_access_decide_management(&app, &key, &rules, KV_MANAGE_ACCESS_WRITE,
                                    &decision);
        cr_assert_not(decision.is_allowed);
        cr_assert_not(kv_access_touches(&app, &keys, &rules, KV_ACT_KEY_GET));
        app.tenant[0] = '\0';
    }
    (void)snprintf(app.tenant, sizeof(app.tenant), "%s", rules.vault_tenant);
    kv_access_decide(&app, &key, &rules, KV_ACT_KEY_GET, &decision);
    cr_assert(decision.is_allowed);
}

Test(access, the_first_rule_that_gives_it_is_named)
{
    const struct kv_access_object key = {"v", "keys", "k"};
    const struct kv_access_object vault = {"v", NULL, NULL};
    const struct kv_principal alice = user("unix:alice", NULL);
    const struct kv_assignment assignments[] = {
        assign("unix:alice", "crypto-user", "/v"),
        assign("unix:alice", "reader", "/"),
        assign("unix:alice", "reader", "/v"),
        assign("unix:alice", "secrets-user", "/v/keys/k"),
        assign("unix:alice", "contributor", "/v"),
        assign("unix:alice", "crypto-officer", "/v"),
    };
    const struct kv_access_rules rules = rules_of(assignments, 6);
    struct kv_access_decision decision;
    kv_access_decide(&alice, &key, &rules, KV_ACT_KEY_GET, &decision);
    cr_assert_eq(decision.assignment, &assignments[5], "they are in order of roles");
    kv_access_decide_management(&alice, &vault, &rules, KV_MANAGE_VAULT_READ,
                                &decision);
    cr_assert_eq(decision.assignment, &assignments[4]);
    kv_access_decide_management(&alice, &vault, &rules, 0, &decision);
    cr_assert_not(decision.is_allowed);
    cr_assert_lt(kv_assignment_compare(&assignments[1], &assignments[2]), 0);
    cr_assert_eq(kv_assignment_compare(&assignments[1], &assignments[1]), 0);
}

Test(access, who_touches_nothing_of_a_collection_is_known_at_once)
{
    const struct kv_access_object keys = {"v", "keys", NULL};
    const struct kv_access_object certs = {"v", "certificates", NULL};
    const struct kv_principal alice = user("unix:alice", "unixgroup:ops");
    const struct kv_principal none = {.kind = KV_PRINCIPAL_NONE, .id = "unix:alice"};
    const struct kv_assignment assignments[] = {
        assign("unix:alice", "reader", "/v/keys/k"),
        assign("unixgroup:ops", "tls-server", "/w"),
        assign("unixgroup:zzz", "administrator", "/"),
    };
    struct kv_access_rules rules = rules_of(assignments, 3);
    cr_assert(kv_access_touches(&alice, &keys, &rules, KV_ACT_KEY_READ));
    cr_assert_not(kv_access_touches(&alice, &keys, &rules, KV_ACT_KEY_SIGN));
    cr_assert_not(kv_access_touches(&alice, &certs, &rules, KV_ACT_CERT_READ));
    cr_assert_not(kv_access_touches(&none, &keys, &rules, KV_ACT_KEY_READ));
    const struct kv_access_object there = {"w", "keys", NULL};
    cr_assert(kv_access_touches(&alice, &there, &rules, KV_ACT_KEY_SIGN));
    const struct kv_principal admin = {.kind = KV_PRINCIPAL_ADMIN};
    cr_assert(kv_access_touches(&admin, &keys, &rules, KV_ACT_KEY_READ));
    const struct kv_assignment everywhere = assign("unix:alice", "reader", "/");
    rules = rules_of(&everywhere, 1);
    cr_assert(kv_access_touches(&alice, &keys, &rules, KV_ACT_KEY_READ));
    cr_assert_not(kv_access_touches(&alice, &keys, &rules, KV_ACT_KEY_SIGN));
    rules.uses_policies = true;
    cr_assert_not(kv_access_touches(&alice, &keys, &rules, KV_ACT_KEY_READ),
                  "roles give nothing where access policies decide");
}

Test(access, management_is_by_roles_alone_and_gives_no_data)
{
    const struct kv_access_object vault = {"v", NULL, NULL};
    const struct kv_access_object secret = {"v", "secrets", "s"};
    const struct kv_access_object installation = {NULL, NULL, NULL};
    const struct kv_principal alice = user("unix:alice", NULL);
    const struct kv_assignment assignment = assign("unix:alice", "contributor", "/v");
    struct kv_access_rules rules = rules_of(&assignment, 1);
    struct kv_access_decision decision;
    for (int uses_policies = 0; uses_policies < 2; uses_policies++) {
        rules.uses_policies = uses_policies != 0;
        kv_access_decide_management(&alice, &vault, &rules, KV_MANAGE_VAULT_WRITE,
                                    &decision);
        cr_assert(decision.is_allowed);
        cr_assert_eq(decision.assignment, &assignment);
        cr_assert_eq(decision.allowed, 0);
        kv_access_decide(&alice, &secret, &rules, KV_ACT_SECRET_GET, &decision);
        cr_assert_not(decision.is_allowed);
    }
    kv_access_decide_management(&alice, &vault, &rules, KV_MANAGE_VAULT_PURGE,
                                &decision);
    cr_assert_eq(decision.reason, KV_ACCESS_NO_ACTION);
    kv_access_decide_management(&alice, &installation, &rules, KV_MANAGE_VAULT_WRITE,
                                &decision);
    cr_assert_eq(decision.reason, KV_ACCESS_NO_SCOPE);
}

/* --- access policies
 * ------------------------------------------------------------------
 */

#define USER_U "aaaaaaaa-0000-0000-0000-000000000001"
#define GROUP_G "aaaaaaaa-0000-0000-0000-000000000002"
#define SUBJECT_S "aaaaaaaa-0000-0000-0000-000000000003"
#define APP_A "bbbbbbbb-0000-0000-0000-00000000000a"
#define APP_B "bbbbbbbb-0000-0000-0000-00000000000b"
#define OTHER_TENANT "22222222-2222-2222-2222-222222222222"

static struct kv_principal bearer(enum kv_principal_kind kind, const char *oid,
                                  const char *app, const char *group)
{
    struct kv_principal principal = {.kind = kind, .tenant = TENANT};
    (void)snprintf(principal.id, sizeof(principal.id), "%s:%s",
                   kind == KV_PRINCIPAL_APP ? "app" : "user",
                   kind == KV_PRINCIPAL_APP ? app : oid);
    (void)snprintf(principal.oid, sizeof(principal.oid), "%s", oid);
    (void)snprintf(principal.app, sizeof(principal.app), "%s", app);
    if (group != NULL)
        (void)snprintf(principal.groups[principal.n_groups++], KV_PRINCIPAL_MAX,
                       "group:%s", group);
    return principal;
}

/* Whether a vault with one entry lets a caller get a secret. */
static bool one_entry_lets(const char *tenant, const char *oid, const char *app,
                           const struct kv_principal *principal)
{
    const struct kv_access_object secret = {"v", "secrets", "s"};
    struct kv_access_policies *policies = NULL;
    json_t *array =
        json_pack("[{s:s,s:s,s:s*,s:{s:[s]}}]", "tenantId", tenant, "objectId", oid,
                  "applicationId", app, "permissions", "secrets", "get");
    cr_assert_eq(kv_access_policies_parse(array, &policies, NULL), 0);
    json_decref(array);
    const struct kv_access_rules rules = {
        .tenant = TENANT, .uses_policies = true, .policies = policies};
    struct kv_access_decision decision;
    kv_access_decide(principal, &secret, &rules, KV_ACT_SECRET_GET, &decision);
    bool is_allowed = decision.is_allowed;
    cr_assert_eq(decision.reason,
                 is_allowed ? KV_ACCESS_POLICY : KV_ACCESS_NO_PRINCIPAL);
    cr_assert_eq(decision.policy != NULL, is_allowed);
    cr_assert_eq(decision.allowed,
                 is_allowed ? KV_ACT_SECRET_GET | KV_ACT_SECRET_GET_DELETED : 0,
                 "in the whole vault, and no other permission");
    kv_access_policies_free(policies);
    return is_allowed;
}

Test(access, users_applications_and_both_together)
{
    const struct kv_principal u_by_a = bearer(KV_PRINCIPAL_USER, USER_U, APP_A, NULL);
    const struct kv_principal u_by_b = bearer(KV_PRINCIPAL_USER, USER_U, APP_B, NULL);
    const struct kv_principal u_alone = bearer(KV_PRINCIPAL_USER, USER_U, "", NULL);
    const struct kv_principal app = bearer(KV_PRINCIPAL_APP, SUBJECT_S, APP_A, NULL);
    const struct kv_principal in_g = bearer(KV_PRINCIPAL_USER, APP_B, APP_A, GROUP_G);
    const struct {
        const char *what;
        const struct kv_principal *principal;
        bool user, user_by_a, subject, group, group_by_a, subject_by_a;
    } rows[] = {
        {"U through app A", &u_by_a, true, true, false, false, false, false},
        {"U through app B", &u_by_b, true, false, false, false, false, false},
        {"app A alone", &app, false, false, true, false, false, false},
        {"U, token without azp", &u_alone, true, false, false, false, false, false},
        {"one of G through app A", &in_g, false, false, false, true, true, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct kv_principal *who = rows[i].principal;
        const char *what = rows[i].what;
        cr_assert_eq(one_entry_lets(TENANT, USER_U, NULL, who), rows[i].user, "%s",
                     what);
        cr_assert_eq(one_entry_lets(TENANT, USER_U, APP_A, who), rows[i].user_by_a,
                     "%s", what);
        cr_assert_eq(one_entry_lets(TENANT, SUBJECT_S, NULL, who), rows[i].subject,
                     "%s", what);
        cr_assert_eq(one_entry_lets(TENANT, GROUP_G, NULL, who), rows[i].group, "%s",
                     what);
        cr_assert_eq(one_entry_lets(TENANT, GROUP_G, APP_A, who), rows[i].group_by_a,
                     "%s", what);
        cr_assert_eq(one_entry_lets(TENANT, SUBJECT_S, APP_A, who),
                     rows[i].subject_by_a, "%s", what);
        cr_assert_not(one_entry_lets(OTHER_TENANT, USER_U, NULL, who), "%s", what);
    }
}

Test(access, a_caller_of_the_machine_has_an_object_id_of_its_installation)
{
    const uint8_t here[16] = {1};
    const uint8_t there[16] = {2};
    struct kv_principal alice = user("unix:alice", NULL);
    struct kv_principal again = user("unix:alice", NULL);
    struct kv_principal bob = user("unix:bob", NULL);
    cr_assert_eq(kv_principal_set_oid(&alice, here), 0);
    cr_assert_eq(strlen(alice.oid), 36);
    cr_assert_eq(alice.oid[14], '5', "a name-based UUID: %s", alice.oid);
    cr_assert_not_null(strchr("89ab", alice.oid[19]), "%s", alice.oid);
    cr_assert(one_entry_lets(TENANT, alice.oid, NULL, &alice),
              "its tenant is that of the installation");
    cr_assert_not(one_entry_lets(OTHER_TENANT, alice.oid, NULL, &alice));
    cr_assert_eq(kv_principal_set_oid(&again, there), 0);
    cr_assert_str_neq(again.oid, alice.oid);
    cr_assert_eq(kv_principal_set_oid(&bob, here), 0);
    cr_assert_str_neq(bob.oid, alice.oid);
    struct kv_principal token = bearer(KV_PRINCIPAL_USER, USER_U, "", NULL);
    cr_assert_eq(kv_principal_set_oid(&token, here), 0);
    cr_assert_str_eq(token.oid, USER_U, "one that it brings stays");
}

Test(access, without_a_hash_there_is_no_object_id)
{
    const uint8_t here[16] = {1};
    struct kv_principal alice = user("unix:alice", NULL);
    cr_assert_eq(EVP_set_default_properties(NULL, "no=such"), 1);
    cr_assert_eq(kv_principal_set_oid(&alice, here), KV_E_CRYPTO);
    cr_assert_str_eq(alice.oid, "");
    cr_assert_eq(ERR_peek_error(), 0);
    cr_assert_eq(EVP_set_default_properties(NULL, ""), 1);
}

Test(access, entries_add_up_and_the_first_that_gives_it_is_named)
{
    const struct kv_access_object secret = {"v", "secrets", "s"};
    const struct kv_principal who = bearer(KV_PRINCIPAL_USER, USER_U, APP_A, GROUP_G);
    struct kv_access_policies *policies = NULL;
    json_t *array =
        json_pack("[{s:s,s:s,s:{s:[s]}},{s:s,s:s,s:s,s:{s:[s,s]}},{s:s,s:s,s:{s:[s]}}]",
                  "tenantId", TENANT, "objectId", USER_U, "permissions", "secrets",
                  "list", "tenantId", TENANT, "objectId", USER_U, "applicationId",
                  APP_A, "permissions", "secrets", "set", "get", "tenantId", TENANT,
                  "objectId", GROUP_G, "permissions", "secrets", "get");
    cr_assert_eq(kv_access_policies_parse(array, &policies, NULL), 0);
    json_decref(array);
    const struct kv_access_rules rules = {
        .tenant = TENANT, .uses_policies = true, .policies = policies};
    struct kv_access_decision decision;
    kv_access_decide(&who, &secret, &rules, KV_ACT_SECRET_GET, &decision);
    cr_assert_eq(decision.policy, kv_access_policies_at(policies, 1));
    cr_assert_eq(decision.allowed, KV_ACT_SECRET_LIST | KV_ACT_SECRET_GET |
                                       KV_ACT_SECRET_GET_DELETED | KV_ACT_SECRET_SET |
                                       KV_ACT_SECRET_UPDATE);
    kv_access_decide(&who, &secret, &rules, KV_ACT_SECRET_PURGE, &decision);
    cr_assert_eq(decision.reason, KV_ACCESS_NO_ACTION);
    kv_access_policies_free(policies);
}

Test(access, a_vault_goes_by_one_model_never_both)
{
    const struct kv_access_object secret = {"v", "secrets", "s"};
    struct kv_principal app = bearer(KV_PRINCIPAL_APP, SUBJECT_S, APP_A, NULL);
    const struct kv_assignment assignment =
        assign("app:" APP_A, "key vault secrets user", "/");
    struct kv_access_rules rules = rules_of(&assignment, 1);
    struct kv_access_decision decision;
    kv_access_decide(&app, &secret, &rules, KV_ACT_SECRET_GET, &decision);
    cr_assert(decision.is_allowed);
    rules.uses_policies = true;
    kv_access_decide(&app, &secret, &rules, KV_ACT_SECRET_GET, &decision);
    cr_assert_not(decision.is_allowed, "a vault without an entry lets nobody in");
    cr_assert_eq(decision.reason, KV_ACCESS_NO_PRINCIPAL);
}

Test(access, principals_are_a_kind_and_a_word)
{
    static const char *const good[] = {"unix:www-data", "unix:#1234", "unixgroup:ops",
                                       "app:00-ff",     "user:a@b.c", "mtls:0123abcd",
                                       "unix:a.b_c$",   "group:00-ff"};
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
    static const char *const texts[] = {"/prod/keys/web", "/prod", "/"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cr_assert_eq(kv_scope_parse(texts[i], "default", out, strlen(texts[i]), NULL),
                     KV_E_INVALID, "does not fit");
    char vault[KV_VAULT_NAME_MAX + KV_NAME_MAX + 40];
    memset(vault, 'v', sizeof(vault) - 1);
    vault[sizeof(vault) - 1] = '\0';
    cr_assert_eq(kv_scope_parse("keys/web", vault, out, sizeof(out), NULL),
                 KV_E_INVALID);
}
