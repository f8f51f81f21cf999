/*
 * Who may do what with vaults and in them: management rights, a role in one vault,
 * access policies, and what its sku lets a vault have.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/auth/principal.h"
#include "lifecycle/service/assignments.h"
#include "tests/support/desk.h"

#define VAULTS "/keyvault/v1/vaults"
#define DELETED "/keyvault/v1/deletedvaults"

static struct desk desk;

static void setup(void)
{
    desk_init(&desk);
}

static void teardown(void)
{
    desk_fini(&desk);
}

TestSuite(vaults_access, .timeout = 60, .init = setup, .fini = teardown);

Test(vaults_access, only_who_administers_the_installation_manages_them)
{
    static struct kv_principal own;
    struct kv_assignment assignment = {
        .id = "own", .role = "administrator", .scope = "/default"};
    desk_vault_make(&desk, "second", "{}");
    kv_principal_lookup(geteuid(), &own);
    memcpy(assignment.principal, own.id, sizeof(assignment.principal));
    cr_assert_eq(kv_assignments_add(desk.service.assignments, &assignment, NULL), 0);
    desk.service.admin_uid = (uid_t)-1;
    cr_expect_eq(desk_count(&desk, VAULTS), 0, "none that it may see");
    desk_fails(&desk, 403, "api.forbidden", "GET", VAULTS "/second", NULL);
    desk_fails(&desk, 403, "api.forbidden", "PUT", VAULTS "/third", "{}");
    desk_fails(&desk, 403, "api.forbidden", "PATCH", VAULTS "/second", "{}");
    desk_fails(&desk, 403, "api.forbidden", "DELETE", VAULTS "/second", NULL);
    desk_fails(&desk, 403, "api.forbidden", "GET", DELETED "/second", NULL);
    desk_fails(&desk, 403, "api.forbidden", "POST", DELETED "/second/recover", NULL);
    desk_fails(&desk, 403, "api.forbidden", "DELETE", DELETED "/second", NULL);
    kv_assignments_remove(desk.service.assignments, "own");
    (void)snprintf(assignment.scope, sizeof(assignment.scope), "/");
    cr_assert_eq(kv_assignments_add(desk.service.assignments, &assignment, NULL), 0);
    cr_expect_eq(desk_count(&desk, VAULTS), 1);
}

Test(vaults_access, a_role_in_one_is_none_in_another)
{
    static struct kv_principal own;
    struct kv_assignment assignment = {
        .id = "own", .role = "secrets-user", .scope = "/second"};
    desk_vault_make(&desk, "second", "{}");
    desk_vault_secret(&desk, "default", "s", "one");
    desk_vault_secret(&desk, "second", "s", "two");
    kv_principal_lookup(geteuid(), &own);
    memcpy(assignment.principal, own.id, sizeof(assignment.principal));
    cr_assert_eq(kv_assignments_add(desk.service.assignments, &assignment, NULL), 0);
    desk.service.admin_uid = (uid_t)-1;
    cr_expect_eq(desk_vault_call(&desk, "second", "GET", "/secrets/s", NULL, NULL),
                 200);
    cr_expect_eq(desk_vault_call(&desk, "default", "GET", "/secrets/s", NULL, NULL),
                 403);
    cr_expect_eq(desk_vault_call(&desk, "third", "GET", "/secrets/s", NULL, NULL), 404);
}

Test(vaults_access, keys_in_hardware_want_a_premium_vault_and_hardware)
{
    static const char *const bodies[] = {"{\"kty\":\"RSA-HSM\"}",
                                         "{\"kty\":\"EC-HSM\"}"};
    json_t *json = NULL;
    desk_vault_make(&desk, "second", "{\"sku\":\"premium\"}");
    for (size_t i = 0; i < 2; i++) {
        cr_expect_eq(desk_vault_call(&desk, "default", "POST", "/keys/k/create",
                                     bodies[i], &json),
                     400);
        cr_expect_str_eq(desk_error(json, "code"), "BadParameter");
        cr_expect_str_eq(desk_error(json, "id"), "key.needs-premium");
        json_decref(json);
        cr_expect_eq(desk_vault_call(&desk, "second", "POST", "/keys/k/create",
                                     bodies[i], &json),
                     400);
        cr_expect_str_eq(desk_error(json, "id"), "api.not-offered");
        json_decref(json);
    }
    static const char import[] =
        "{\"Hsm\":true,\"key\":{\"kty\":\"EC\",\"crv\":\"P-256\"}}";
    cr_expect_eq(desk_vault_call(&desk, "default", "PUT", "/keys/k", import, &json),
                 400);
    cr_expect_str_eq(desk_error(json, "id"), "key.needs-premium");
    json_decref(json);
    static const char hsm[] = "{\"key\":{\"kty\":\"EC-HSM\",\"crv\":\"P-256\"}}";
    cr_expect_eq(desk_vault_call(&desk, "second", "PUT", "/keys/k", hsm, &json), 400);
    cr_expect_str_eq(desk_error(json, "id"), "api.not-offered");
    json_decref(json);
}

Test(vaults_access, a_role_in_a_vault_manages_that_one)
{
    static struct kv_principal own;
    struct kv_assignment assignment = {
        .id = "own", .role = "contributor", .scope = "/one"};
    desk_vault_make(&desk, "one", "{}");
    desk_vault_make(&desk, "two", "{}");
    kv_principal_lookup(geteuid(), &own);
    memcpy(assignment.principal, own.id, sizeof(assignment.principal));
    cr_assert_eq(kv_assignments_add(desk.service.assignments, &assignment, NULL), 0);
    desk.service.admin_uid = (uid_t)-1;
    cr_expect_eq(desk_count(&desk, VAULTS), 1);
    json_decref(desk_must(&desk, 200, "PATCH", VAULTS "/one", "{}"));
    desk_fails(&desk, 403, "api.forbidden", "PATCH", VAULTS "/two", "{}");
    desk_fails(&desk, 403, "api.forbidden", "PATCH", VAULTS "/one",
               "{\"enableRbacAuthorization\":false}");
    desk_fails(&desk, 403, "api.forbidden", "PATCH", VAULTS "/one",
               "{\"accessPolicies\":[]}");
    cr_expect_not(kv_service_vault_by_name(&desk.service, "one")->uses_policies);
    desk_vault_delete(&desk, "one");
    desk_fails(&desk, 403, "api.forbidden", "DELETE", DELETED "/one", NULL);
    json_decref(desk_must(&desk, 200, "POST", DELETED "/one/recover", NULL));
}

Test(vaults_access, access_policies_decide_where_they_are_chosen)
{
    char body[512];
    struct kv_principal own;
    json_t *json = NULL;
    memset(&own, 0, sizeof(own));
    kv_principal_lookup(geteuid(), &own);
    cr_assert_eq(kv_principal_set_oid(&own, desk.service.installation), 0);
    (void)snprintf(body, sizeof(body),
                   "{\"enableRbacAuthorization\":false,\"accessPolicies\":[{"
                   "\"tenantId\":\"%s\",\"objectId\":\"%s\","
                   "\"permissions\":{\"secrets\":[\"get\",\"set\"]}}]}",
                   desk.service.tenant, own.oid);
    desk_vault_make(&desk, "second", body);
    json = desk_must(&desk, 200, "GET", VAULTS "/second", NULL);
    cr_expect(json_is_false(json_object_get(json, "enableRbacAuthorization")));
    cr_expect_eq(json_array_size(json_object_get(json, "accessPolicies")), 1);
    json_decref(json);
    uint64_t epoch = desk.service.vaults[1]->epoch;
    uid_t admin = desk.service.admin_uid;
    desk.service.admin_uid = (uid_t)-1;
    desk_vault_secret(&desk, "second", "s", "v");
    cr_expect_eq(desk_vault_call(&desk, "second", "GET", "/secrets/s", NULL, NULL),
                 200);
    cr_expect_eq(desk_vault_call(&desk, "second", "DELETE", "/secrets/s", NULL, &json),
                 403);
    cr_expect_str_eq(desk_error(json, "code"), "Forbidden");
    json_decref(json);
    cr_expect_eq(desk_vault_call(&desk, "default", "GET", "/secrets/s", NULL, NULL),
                 403);
    desk.service.admin_uid = admin;
    json_decref(
        desk_must(&desk, 200, "PATCH", VAULTS "/second", "{\"accessPolicies\":[]}"));
    cr_expect_gt(desk.service.vaults[1]->epoch, epoch, "grants end");
    desk.service.admin_uid = (uid_t)-1;
    cr_expect_eq(desk_vault_call(&desk, "second", "GET", "/secrets/s", NULL, NULL),
                 403);
    desk.service.admin_uid = admin;
}
