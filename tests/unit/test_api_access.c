/*
 * "access check" over the API: who would be let, by which rule, and what is missing.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/auth/policies.h"
#include "lifecycle/auth/principal.h"
#include "lifecycle/service/assignments.h"
#include "tests/support/desk.h"

static struct desk desk;

static void setup(void)
{
    desk_init(&desk);
}

static void teardown(void)
{
    desk.vault->uses_policies = false;
    kv_access_policies_free(desk.vault->policies);
    desk.vault->policies = NULL;
    desk_fini(&desk);
}

TestSuite(api_access, .timeout = 60, .init = setup, .fini = teardown);

#define PATH "/keyvault/v1/access/check"
#define U "aaaaaaaa-0000-0000-0000-000000000001"
#define A "bbbbbbbb-0000-0000-0000-00000000000a"

static void grant(const char *principal, const char *role, const char *scope)
{
    struct kv_assignment assignment = {.id = "1"};
    (void)snprintf(assignment.principal, sizeof(assignment.principal), "%s", principal);
    (void)snprintf(assignment.role, sizeof(assignment.role), "%s", role);
    (void)snprintf(assignment.scope, sizeof(assignment.scope), "%s", scope);
    cr_assert_eq(kv_assignments_add(desk.service.assignments, &assignment, NULL), 0);
}

static json_t *check(const char *principal, const char *action, const char *object,
                     const char *more)
{
    char body[1024];
    (void)snprintf(body, sizeof(body),
                   "{\"principal\":\"%s\",\"action\":\"%s\",\"object\":\"%s\"%s}",
                   principal, action, object, more);
    return desk_must(&desk, 200, "POST", PATH, body);
}

static const char *text(const json_t *json, const char *field)
{
    const char *value = json_string_value(json_object_get(json, field));
    return value != NULL ? value : "";
}

static const struct {
    const char *principal;
    const char *action;
    const char *object;
    const char *named;  /* the action in full */
    const char *reason; /* how it begins */
    const char *hint;   /* NULL: allowed */
} rows[] = {
    {"user:" U, "sign", "keys/web", "Microsoft.KeyVault/vaults/keys/sign/action",
     "a role", NULL},
    {"user:" U, "keys/sign", "keys/web", "Microsoft.KeyVault/vaults/keys/sign/action",
     "a role", NULL},
    {"user:" U, "Microsoft.KeyVault/vaults/keys/read", "/default/keys/web",
     "Microsoft.KeyVault/vaults/keys/read", "a role", NULL},
    {"user:" U, "sign", "keys/other", "Microsoft.KeyVault/vaults/keys/sign/action",
     "the caller's roles are on other",
     "keyvault access grant user:" U " --role tls-server --scope /default/keys/other"},
    {"user:" U, "purge", "keys/web", "Microsoft.KeyVault/vaults/keys/purge/action",
     "the caller's rules give other",
     "keyvault access grant user:" U
     " --role crypto-officer --scope /default/keys/web"},
    {"app:" A, "secrets/get", "/default",
     "Microsoft.KeyVault/vaults/secrets/getSecret/action", "no rule",
     "keyvault access grant app:" A " --role secrets-user --scope /default"},
    {"mtls:00ff", "vaults/purge", "/", "vaults/purge", "no rule",
     "keyvault access grant mtls:00ff --role purge-operator --scope /"},
    {"unixgroup:ops", "vaults/write", "/default", "vaults/write", "a role", NULL},
    {"group:" A, "certificates/get", "/other/certificates/c",
     "Microsoft.KeyVault/vaults/certificates/read", "no rule",
     "keyvault access grant group:" A
     " --role tls-server --scope /other/certificates/c"},
};

Test(api_access, a_check_tells_the_decision_its_reason_and_the_cure)
{
    grant("user:" U, "tls-server", "/default/keys/web");
    grant("unixgroup:ops", "contributor", "/default");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *json = check(rows[i].principal, rows[i].action, rows[i].object, "");
        bool is_allowed = json_is_true(json_object_get(json, "allowed"));
        cr_assert_eq(is_allowed, rows[i].hint == NULL, "row %zu", i);
        cr_assert_str_eq(text(json, "action"), rows[i].named, "row %zu", i);
        cr_assert_eq(
            strncmp(text(json, "reason"), rows[i].reason, strlen(rows[i].reason)), 0,
            "row %zu: %s", i, text(json, "reason"));
        cr_assert_str_eq(text(json, "hint"), rows[i].hint != NULL ? rows[i].hint : "",
                         "row %zu", i);
        cr_assert_eq(json_object_get(json, "assignment") != NULL, is_allowed);
        cr_assert_str_eq(text(json, "model"), "roles");
        cr_assert_eq(strlen(text(json, "objectId")) == 36, true, "row %zu", i);
        json_decref(json);
    }
}

Test(api_access, groups_of_a_user_of_the_machine_count)
{
    static struct kv_principal own;
    char more[40];
    kv_principal_lookup(geteuid(), &own);
    cr_assert_gt(own.n_groups, 0, "the tests' user has a group");
    grant(own.groups[0], "secrets-user", "/default");
    (void)snprintf(more, sizeof(more), ",\"uid\":%u", (unsigned)geteuid());
    for (int i = 0; i < 2; i++) { /* looked up, then remembered */
        json_t *json = check(own.id, "secrets/get", "secrets/s", more);
        cr_assert(json_is_true(json_object_get(json, "allowed")));
        cr_assert_str_eq(text(json_object_get(json, "assignment"), "principal"),
                         own.groups[0]);
        json_decref(json);
    }
}

Test(api_access, a_vault_of_access_policies_is_told_by_its_entries)
{
    json_t *array =
        json_pack("[{s:s,s:s,s:s,s:{s:[s]}}]", "tenantId", desk.service.tenant,
                  "objectId", U, "applicationId", A, "permissions", "secrets", "get");
    cr_assert_eq(kv_access_policies_parse(array, &desk.vault->policies, NULL), 0);
    json_decref(array);
    desk.vault->uses_policies = true;
    grant("user:" U, "administrator", "/default");
    json_t *json = check("user:" U, "get", "secrets/s", ",\"application\":\"" A "\"");
    cr_assert(json_is_true(json_object_get(json, "allowed")));
    cr_assert_str_eq(text(json, "model"), "policies");
    cr_assert_str_eq(text(json_object_get(json, "policy"), "applicationId"), A);
    json_decref(json);
    json = check("user:" U, "get", "secrets/s", "");
    cr_assert_not(json_is_true(json_object_get(json, "allowed")));
    cr_assert_str_eq(text(json, "hint"), "keyvault access policy set user:" U
                                         " --vault default --secrets get");
    json_decref(json);
    json = check("user:" U, "vaults/write", "/default", "");
    cr_assert(json_is_true(json_object_get(json, "allowed")));
    cr_assert_str_eq(text(json, "model"), "roles", "management is by roles");
    json_decref(json);
}

#define VAULT "/keyvault/v1/vaults/second"
#define POLICIES VAULT "/accesspolicies"

static size_t count_of(json_t *reply)
{
    size_t n = json_array_size(json_object_get(reply, "value"));
    json_decref(reply);
    return n;
}

static bool may_get(const char *principal)
{
    json_t *json = check(principal, "secrets/get", "/second/secrets/s", "");
    bool is_allowed = json_is_true(json_object_get(json, "allowed"));
    json_decref(json);
    return is_allowed;
}

#define OF(PRINCIPAL, SECRETS)                                                         \
    "{\"accessPolicies\":[{\"principal\":\"" PRINCIPAL                                 \
    "\",\"permissions\":{\"secrets\":" SECRETS "}}]}"

Test(api_access, policies_of_a_vault_change_entry_by_entry)
{
    json_decref(
        desk_must(&desk, 200, "PUT", VAULT, "{\"enableRbacAuthorization\":false}"));
    const struct kv_vault *vault = kv_service_vault_by_name(&desk.service, "second");
    grant("user:" U, "secrets-user", "/second");
    cr_assert_not(may_get("user:" U), "roles count for nothing there");
    cr_assert_eq(count_of(desk_must(&desk, 200, "GET", POLICIES, NULL)), 0);
    uint64_t epoch = vault->epoch;
    cr_assert_eq(count_of(desk_must(&desk, 200, "PUT", POLICIES "/replace",
                                    OF("user:" U, "[\"get\"]"))),
                 1);
    cr_assert_gt(vault->epoch, epoch, "grants of before end");
    cr_assert(may_get("user:" U));
    cr_assert_eq(count_of(desk_must(&desk, 200, "PUT", POLICIES "/add",
                                    OF("unix:alice", "[\"all\"]"))),
                 2);
    cr_assert(may_get("unix:alice"), "by its object id");
    cr_assert_not(may_get("unix:bob"));
    json_decref(desk_must(&desk, 200, "PATCH", VAULT, "{\"tags\":{\"a\":\"b\"}}"));
    cr_assert_eq(count_of(desk_must(&desk, 200, "GET", POLICIES, NULL)), 2,
                 "another change leaves them");
    json_decref(desk_must(&desk, 200, "PUT", POLICIES "/remove",
                          OF("unix:alice", "[\"get\"]")));
    cr_assert(may_get("unix:alice"), "all was given, and all stays");
    cr_assert_eq(
        count_of(desk_must(&desk, 200, "DELETE", POLICIES, OF("unix:alice", "[]"))), 1);
    cr_assert_not(may_get("unix:alice"));
    json_t *json =
        desk_must(&desk, 200, "PATCH", VAULT, "{\"enableRbacAuthorization\":true}");
    cr_assert(json_is_true(json_object_get(json, "enableRbacAuthorization")));
    json_decref(json);
    cr_assert(may_get("user:" U), "by its role");
    json_decref(desk_must(&desk, 200, "PATCH", VAULT,
                          "{\"enableRbacAuthorization\":false,\"accessPolicies\":[]}"));
    cr_assert_eq(count_of(desk_must(&desk, 200, "GET", POLICIES, NULL)), 0);
}

Test(api_access, policies_that_are_none_change_nothing)
{
    json_decref(
        desk_must(&desk, 200, "PUT", VAULT, "{\"enableRbacAuthorization\":false}"));
    desk_fails(&desk, 400, "api.missing-field", "PUT", POLICIES "/add", "{}");
    desk_fails(&desk, 400, "access.bad-policy", "PUT", POLICIES "/add",
               "{\"accessPolicies\":[1]}");
    desk_fails(&desk, 400, "access.bad-policy", "PUT", POLICIES "/add",
               OF("user:" U, "[\"fly\"]"));
    desk_fails(&desk, 400, "access.bad-policy", "PUT", POLICIES "/add",
               OF("app:nobody", "[\"get\"]"));
    desk_fails(&desk, 400, "access.bad-principal", "PUT", POLICIES "/add",
               OF("unixgroup:ops", "[\"get\"]"));
    desk_fails(&desk, 400, "access.bad-policy", "PUT", VAULT "x",
               "{\"accessPolicies\":{}}");
    desk_fails(&desk, 404, "vault.not-found", "GET",
               "/keyvault/v1/vaults/absent/"
               "accesspolicies",
               NULL);
    desk_fails(&desk, 404, "vault.not-found", "PUT",
               "/keyvault/v1/vaults/absent/accesspolicies/add",
               OF("user:" U, "[\"get\"]"));
    cr_assert_eq(count_of(desk_must(&desk, 200, "GET", POLICIES, NULL)), 0);
}

Test(api_access, who_manages_a_vault_and_its_roles_may_change_its_policies)
{
    static struct kv_principal own;
    kv_principal_lookup(geteuid(), &own);
    json_decref(
        desk_must(&desk, 200, "PUT", VAULT, "{\"enableRbacAuthorization\":false}"));
    desk.service.admin_uid = (uid_t)-1;
    desk_fails(&desk, 403, "api.forbidden", "GET", POLICIES, NULL);
    grant(own.id, "reader", "/second");
    cr_assert_eq(count_of(desk_must(&desk, 200, "GET", POLICIES, NULL)), 0);
    desk_fails(&desk, 403, "api.forbidden", "PUT", POLICIES "/add",
               OF("user:" U, "[\"get\"]"));
    grant(own.id, "contributor", "/second");
    desk_fails(&desk, 403, "api.forbidden", "PUT", POLICIES "/add",
               OF("user:" U, "[\"get\"]"));
    grant(own.id, "data-access-administrator", "/second");
    cr_assert_eq(count_of(desk_must(&desk, 200, "PUT", POLICIES "/add",
                                    OF("user:" U, "[\"get\"]"))),
                 1);
}

static const struct {
    const char *body;
    const char *id;
} bad[] = {
    {"{}", "api.missing-field"},
    {"{\"action\":\"keys/get\",\"object\":\"/\"}", "api.missing-field"},
    {"{\"principal\":\"unix:a\",\"object\":\"/\"}", "api.missing-field"},
    {"{\"principal\":\"a\",\"action\":\"keys/get\",\"object\":\"/\"}",
     "access.bad-principal"},
    {"{\"principal\":\"unix:a\",\"action\":\"get\",\"object\":\"/\"}",
     "access.bad-action"},
    {"{\"principal\":\"unix:a\",\"action\":\"fly\",\"object\":\"keys/k\"}",
     "access.bad-action"},
    {"{\"principal\":\"unix:a\",\"action\":\"get\",\"object\":\"k\"}",
     "access.bad-scope"},
    {"{\"principal\":\"unix:a\",\"action\":\"get\",\"object\":\"keys/k\",\"uid\":-1}",
     "api.bad-field"},
    {"{\"principal\":\"unix:a\",\"action\":\"get\",\"object\":\"keys/"
     "k\",\"uid\":\"0\"}",
     "api.bad-field"},
};

Test(api_access, a_question_that_is_none_is_refused)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        desk_fails(&desk, 400, bad[i].id, "POST", PATH, bad[i].body);
}

Test(api_access, only_who_may_list_roles_there_may_ask)
{
    static struct kv_principal own;
    kv_principal_lookup(geteuid(), &own);
    desk.service.admin_uid = (uid_t)-1;
    desk_fails(&desk, 403, "api.forbidden", "POST", PATH,
               "{\"principal\":\"unix:a\",\"action\":\"get\",\"object\":\"keys/k\"}");
    grant(own.id, "data-access-administrator", "/default");
    json_t *json = check("unix:a", "get", "keys/k", "");
    json_decref(json);
    desk_fails(&desk, 403, "api.forbidden", "POST", PATH,
               "{\"principal\":\"unix:a\",\"action\":\"get\",\"object\":\"/other\"}");
}
