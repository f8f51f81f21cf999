/*
 * What keyvault doctor asks the service, and who gets an answer.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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
    desk_fini(&desk);
}

TestSuite(api_doctor, .timeout = 60, .init = setup, .fini = teardown);

#define PATH "/keyvault/v1/doctor"
#define NOBODY "3999999999" /* "unix:#3999999999" */

static void give(const char *id, const char *principal, const char *role,
                 const char *scope)
{
    struct kv_assignment assignment = {.role = ""};
    (void)snprintf(assignment.id, sizeof(assignment.id), "%s", id);
    (void)snprintf(assignment.principal, sizeof(assignment.principal), "%s", principal);
    (void)snprintf(assignment.role, sizeof(assignment.role), "%s", role);
    (void)snprintf(assignment.scope, sizeof(assignment.scope), "%s", scope);
    cr_assert_eq(kv_assignments_add(desk.service.assignments, &assignment, NULL), 0);
}

static const char *text(const json_t *json, const char *field)
{
    const char *value = json_string_value(json_object_get(json, field));
    return value != NULL ? value : "";
}

Test(api_doctor, tells_the_time_and_the_space_of_the_store)
{
    json_t *json = NULL;
    cr_assert_eq(desk_call(&desk, "GET", PATH, NULL, &json), 200);
    cr_expect_eq(json_integer_value(json_object_get(json, "time")),
                 kv_now_s(desk.service.clock));
    cr_expect(json_is_null(json_object_get(json, "store")), "one in memory has none");
    cr_expect(json_is_null(json_object_get(json, "grant")));
    json_decref(json);
    desk.service.db_dir = "/";
    cr_assert_eq(desk_call(&desk, "GET", PATH, NULL, &json), 200);
    const json_t *store = json_object_get(json, "store");
    const json_int_t total = json_integer_value(json_object_get(store, "totalBytes"));
    cr_expect_str_eq(text(store, "path"), "/");
    cr_expect_gt(total, 0);
    cr_expect_leq(json_integer_value(json_object_get(store, "freeBytes")), total);
    json_decref(json);
    desk.service.db_dir = "/not/there";
    cr_assert_eq(desk_call(&desk, "GET", PATH, NULL, &json), 200);
    cr_expect(json_is_null(json_object_get(json, "store")));
    json_decref(json);
}

/* The operations of a user, joined by commas. */
static void ask(const char *uid, const char *uri, bool may_read, const char *ops)
{
    char path[300];
    char found[200] = "";
    json_t *json = NULL;
    size_t i = 0;
    const json_t *op = NULL;
    (void)snprintf(path, sizeof(path), PATH "?uid=%s&uri=%s", uid, uri);
    cr_assert_eq(desk_call(&desk, "GET", path, NULL, &json), 200, "%s", path);
    const json_t *grant = json_object_get(json, "grant");
    json_array_foreach(json_object_get(grant, "operations"), i, op)
    {
        const size_t len = strlen(found);
        (void)snprintf(found + len, sizeof(found) - len, "%s%s", i > 0 ? "," : "",
                       json_string_value(op));
    }
    cr_expect_str_eq(found, ops);
    cr_expect_eq(json_is_true(json_object_get(grant, "mayRead")), may_read);
    cr_expect_neq(text(grant, "principal")[0], '\0');
    json_decref(json);
}

Test(api_doctor, decides_as_the_key_socket_does)
{
    ask(NOBODY, "keyvault:keys/web", false, "");
    ask("0", "keyvault:keys/web", true, "");
    give("1", "unix:#" NOBODY, "tls-server", "/default/keys/web");
    ask(NOBODY, "keyvault:keys/web", true, "sign,tlsUnpad");
    ask(NOBODY, "keyvault:///keys/WEB/0123456789abcdef0123456789abcdef", true,
        "sign,tlsUnpad");
    ask(NOBODY, "keyvault:keys/other", false, "");
    give("2", "unix:#" NOBODY, "crypto-service-encryption-user", "/default");
    ask(NOBODY, "keyvault:keys/other", true, "wrapKey,unwrapKey");
    desk.service.is_dev = true;
    ask(NOBODY, "keyvault:keys/other", true,
        "sign,verify,encrypt,decrypt,wrapKey,unwrapKey,deriveBits,tlsUnpad");
}

static void refused(int status, const char *query, const char *id)
{
    char path[300];
    json_t *json = NULL;
    (void)snprintf(path, sizeof(path), PATH "%s", query);
    cr_assert_eq(desk_call(&desk, "GET", path, NULL, &json), status, "%s", query);
    cr_expect_str_eq(desk_error(json, "id"), id, "%s", query);
    json_decref(json);
}

Test(api_doctor, refuses_what_it_cannot_read)
{
    refused(400, "?uri=keyvault:keys/web", "api.bad-query");
    refused(400, "?uid=-1&uri=keyvault:keys/web", "api.bad-query");
    refused(400, "?uid=4294967295&uri=keyvault:keys/web", "api.bad-query");
    refused(400, "?uid=www-data&uri=keyvault:keys/web", "api.bad-query");
    refused(400, "?uid=1&uri=keyvault:///keys/", "api.bad-query");
    refused(400, "?uid=1&uri=http://x/", "uri.bad-scheme");
    refused(400, "?uid=1&uri=", "uri.bad-scheme");
    refused(403, "?uid=1&uri=keyvault://absent/keys/web", "api.forbidden");
}

Test(api_doctor, answers_only_who_may_read_assignments)
{
    static struct kv_principal own;
    kv_principal_lookup(geteuid(), &own);
    desk.service.admin_uid = (uid_t)-1;
    refused(403, "", "api.forbidden");
    give("1", own.id, "crypto-officer", "/default");
    refused(403, "", "api.forbidden");
    refused(403, "?uid=1&uri=keyvault:keys/web", "api.forbidden");
    give("2", own.id, "administrator", "/default");
    ask(NOBODY, "keyvault:keys/web", false, "");
}

Test(api_doctor, survives_a_client_that_leaves)
{
    const int client = desk_connect(&desk);
    desk_send(&desk, client, "GET", PATH "?uid=" NOBODY "&uri=keyvault:keys/web", NULL);
    desk_hang_up(&desk, client);
    desk_settle(&desk);
    ask(NOBODY, "keyvault:keys/web", false, "");
}
