/*
 * Role assignments over the API: who may give what to whom, and where.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/auth/principal.h"
#include "lifecycle/service/assignments.h"
#include "store/db/memory.h"
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

TestSuite(api_admin, .timeout = 60, .init = setup, .fini = teardown);

#define PATH "/keyvault/v1/assignments"

static int change(const char *method, const char *principal, const char *role,
                  const char *scope, json_t **json)
{
    char body[1024];
    (void)snprintf(body, sizeof(body),
                   "{\"principal\":\"%s\",\"role\":\"%s\",\"scope\":\"%s\"}", principal,
                   role, scope);
    return desk_call(&desk, method, PATH, body, json);
}

/* From now on the tests' own user has this role on this scope and nothing else. */
static void become(const char *role, const char *scope)
{
    static struct kv_principal own;
    struct kv_assignment assignment = {.id = "own"};
    kv_principal_lookup(geteuid(), &own);
    memcpy(assignment.principal, own.id, sizeof(assignment.principal));
    (void)snprintf(assignment.role, sizeof(assignment.role), "%s", role);
    (void)snprintf(assignment.scope, sizeof(assignment.scope), "%s", scope);
    kv_assignments_remove(desk.service.assignments, "own");
    cr_assert_eq(kv_assignments_add(desk.service.assignments, &assignment, NULL), 0);
    desk.service.admin_uid = (uid_t)-1;
}

static const char *text(const json_t *json, const char *field)
{
    const char *value = json_string_value(json_object_get(json, field));
    return value != NULL ? value : "";
}

static size_t count(void)
{
    json_t *json = NULL;
    cr_assert_eq(desk_call(&desk, "GET", PATH, NULL, &json), 200);
    cr_assert(json_is_null(json_object_get(json, "nextLink")));
    size_t n = json_array_size(json_object_get(json, "value"));
    json_decref(json);
    return n;
}

Test(api_admin, a_grant_is_kept_shown_and_taken_back)
{
    json_t *json = NULL;
    cr_assert_eq(
        change("PUT", "unix:www-data", "Key Vault TLS Server", "keys/Web", &json), 200);
    cr_assert_str_eq(text(json, "role"), "tls-server", "in its short form");
    cr_assert_str_eq(text(json, "scope"), "/default/keys/Web");
    cr_assert_str_eq(text(json, "principal"), "unix:www-data");
    cr_assert_eq(strlen(text(json, "id")), 36);
    char id[40];
    (void)snprintf(id, sizeof(id), "%s", text(json, "id"));
    json_decref(json);
    cr_assert_eq(
        change("PUT", "unix:www-data", "tls-server", "/DEFAULT/KEYS/web", &json), 200);
    cr_assert_str_eq(text(json, "id"), id, "the same grant is the same");
    json_decref(json);
    cr_assert_eq(count(), 1);
    cr_assert_eq(change("DELETE", "unix:www-data", "tls-server", "keys/web", &json),
                 200);
    cr_assert_str_eq(text(json, "id"), id);
    json_decref(json);
    cr_assert_eq(count(), 0);
    cr_assert_eq(change("DELETE", "unix:www-data", "tls-server", "keys/web", &json),
                 404);
    cr_assert_str_eq(desk_error(json, "code"), "NotFound");
    cr_assert_str_eq(desk_error(json, "id"), "access.not-found");
    json_decref(json);
}

Test(api_admin, without_a_scope_it_is_the_vault)
{
    json_t *json = NULL;
    cr_assert_eq(desk_call(&desk, "PUT", PATH,
                           "{\"principal\":\"unix:a\",\"role\":\"reader\"}", &json),
                 200);
    cr_assert_str_eq(text(json, "scope"), "/default");
    json_decref(json);
    cr_assert_eq(change("PUT", "unix:a", "reader", "/", &json), 200);
    cr_assert_str_eq(text(json, "scope"), "/");
    json_decref(json);
    cr_assert_eq(count(), 2);
}

static const struct {
    const char *body;
    const char *id;
} bad[] = {
    {"{}", "api.missing-field"},
    {"{\"principal\":\"unix:a\"}", "api.missing-field"},
    {"{\"principal\":1,\"role\":\"reader\"}", "api.bad-field"},
    {"{\"principal\":\"www-data\",\"role\":\"reader\"}", "access.bad-principal"},
    {"{\"principal\":\"unix:a\\nb\",\"role\":\"reader\"}", "access.bad-principal"},
    {"{\"principal\":\"unix:a\",\"role\":\"king\"}", "access.bad-role"},
    {"{\"principal\":\"unix:a\",\"role\":\"reader\",\"scope\":\"web\"}",
     "access.bad-scope"},
    {"{\"principal\":\"unix:a\",\"role\":\"reader\",\"scope\":[]}", "api.bad-field"},
    {"[]", "api.bad-body"},
};

Test(api_admin, wrong_grants_are_refused_with_their_reason)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        static const char *const methods[] = {"PUT", "DELETE"};
        for (size_t m = 0; m < 2; m++) {
            json_t *json = NULL;
            cr_assert_eq(desk_call(&desk, methods[m], PATH, bad[i].body, &json), 400,
                         "%s", bad[i].body);
            cr_assert_str_eq(desk_error(json, "code"), "BadParameter");
            cr_assert_str_eq(desk_error(json, "id"), bad[i].id, "%s", bad[i].body);
            json_decref(json);
        }
    }
    cr_assert_eq(count(), 0);
}

static const struct {
    const char *role;
    const char *own_scope;
    const char *scope;
    int status;
} powers[] = {
    {"administrator", "/", "/", 200},
    {"administrator", "/", "/default", 200},
    {"administrator", "/", "/other/keys/k", 200},
    {"administrator", "/default", "/", 403},
    {"administrator", "/default", "/default", 200},
    {"administrator", "/default", "keys/k", 200},
    {"administrator", "/default", "/other", 403},
    {"administrator", "/default", "/default2", 403},
    {"administrator", "/default", "https://other.vault.localhost/keys/k", 403},
    {"administrator", "/default/keys/k", "keys/k", 200},
    {"administrator", "/default/keys/k", "keys/kk", 403},
    {"administrator", "/default/keys/k", "secrets/k", 403},
    {"administrator", "/default/keys/k", "/default", 403},
    {"crypto-officer", "/", "keys/k", 403},
    {"secrets-officer", "/", "/", 403},
    {"reader", "/", "keys/k", 403},
};

Test(api_admin, nobody_gives_more_than_he_administers)
{
    for (size_t i = 0; i < sizeof(powers) / sizeof(powers[0]); i++) {
        json_t *json = NULL;
        become(powers[i].role, powers[i].own_scope);
        int status =
            change("PUT", "unix:mallory", "administrator", powers[i].scope, &json);
        cr_assert_eq(status, powers[i].status, "%s on %s gives %s: %d", powers[i].role,
                     powers[i].own_scope, powers[i].scope, status);
        if (status == 403) {
            cr_assert_str_eq(desk_error(json, "id"), "api.forbidden");
            cr_assert_eq(change("DELETE", "unix:mallory", "administrator",
                                powers[i].scope, NULL),
                         403, "nor takes, nor learns what is there");
        }
        json_decref(json);
    }
}

Test(api_admin, who_grants_data_gives_no_management)
{
    json_t *json = NULL;
    become("data-access-administrator", "/default");
    cr_assert_eq(change("PUT", "unix:a", "crypto-user", "keys/k", NULL), 200);
    cr_assert_eq(change("DELETE", "unix:a", "crypto-user", "keys/k", NULL), 200);
    cr_assert_eq(change("PUT", "unix:a", "administrator", "keys/k", &json), 403);
    cr_assert_str_eq(desk_error(json, "id"), "api.forbidden");
    json_decref(json);
    cr_assert_eq(change("PUT", "unix:a", "contributor", "/default", NULL), 403);
    cr_assert_eq(desk_call(&desk, "GET", "/secrets/s", NULL, NULL), 403);
}

Test(api_admin, a_refusal_tells_the_caller_and_what_was_missing)
{
    json_t *json = NULL;
    become("reader", "/default");
    cr_assert_eq(desk_call(&desk, "GET", "/secrets/s", NULL, &json), 403);
    const char *message = desk_error(json, "message");
    cr_assert_not_null(
        strstr(message, "'Microsoft.KeyVault/vaults/secrets/getSecret/action'"), "%s",
        message);
    cr_assert_not_null(strstr(message, "oid="), "%s", message);
    cr_assert_not_null(strstr(message, "name=unix:"), "%s", message);
    cr_assert_not_null(strstr(message, "Vault: default;location="), "%s", message);
    json_decref(json);
    desk.vault->uses_policies = true;
    cr_assert_eq(desk_call(&desk, "GET", "/secrets/s", NULL, &json), 403);
    message = desk_error(json, "message");
    cr_assert_str_eq(desk_error(json, "code"), "Forbidden");
    cr_assert_str_eq(
        json_string_value(json_object_get(
            json_object_get(json_object_get(json, "error"), "innererror"), "code")),
        "AccessDenied");
    cr_assert_not_null(
        strstr(message, "does not have secrets get permission on key vault 'default;"),
        "%s", message);
    json_decref(json);
}

Test(api_admin, a_list_shows_what_the_caller_administers)
{
    cr_assert_eq(change("PUT", "unix:a", "reader", "/", NULL), 200);
    cr_assert_eq(change("PUT", "unix:b", "reader", "/default", NULL), 200);
    cr_assert_eq(change("PUT", "unix:c", "reader", "keys/k", NULL), 200);
    cr_assert_eq(change("PUT", "unix:d", "reader", "/other", NULL), 200);
    cr_assert_eq(count(), 4);
    become("administrator", "/default");
    cr_assert_eq(count(), 3, "b, c and its own");
    become("administrator", "/default/keys/k");
    cr_assert_eq(count(), 2, "c and its own");
    become("crypto-officer", "/");
    cr_assert_eq(count(), 0);
}

Test(api_admin, the_same_grant_twice_at_once_is_one)
{
    static const char body[] =
        "{\"principal\":\"unix:a\",\"role\":\"reader\",\"scope\":\"keys/k\"}";
    int clients[8];
    desk.link.is_held = true;
    for (int i = 0; i < 8; i++) {
        clients[i] = desk_connect(&desk);
        desk_send(&desk, clients[i], "PUT", PATH, body);
    }
    desk_settle(&desk);
    fake_link_release(&desk.link);
    for (int i = 0; i < 8; i++) {
        struct desk_reply reply;
        cr_assert_eq(desk_read(&desk, clients[i], &reply), 200);
        desk_reply_free(&reply);
        (void)close(clients[i]);
    }
    cr_assert_eq(count(), 1);
    desk.link.is_held = true;
    for (int i = 0; i < 8; i++) {
        clients[i] = desk_connect(&desk);
        desk_send(&desk, clients[i], "DELETE", PATH, body);
    }
    desk_settle(&desk);
    fake_link_release(&desk.link);
    int n_done = 0;
    for (int i = 0; i < 8; i++) {
        struct desk_reply reply;
        int status = desk_read(&desk, clients[i], &reply);
        cr_assert(status == 200 || status == 404, "%d", status);
        n_done += status == 200;
        desk_reply_free(&reply);
        (void)close(clients[i]);
    }
    cr_assert_eq(n_done, 1, "taken back once");
    cr_assert_eq(count(), 0);
}

Test(api_admin, a_grant_counts_at_once_and_not_before_it_is_durable)
{
    become("administrator", "/default");
    kv_memory_fail_apply(desk.service.store, 1, KV_E_IO, false);
    cr_assert_eq(change("PUT", "unix:a", "reader", "keys/k", NULL), 500);
    cr_assert_eq(count(), 1, "its own");
    cr_assert_eq(change("PUT", "unix:a", "reader", "keys/k", NULL), 200);
    cr_assert_eq(count(), 2);
    kv_memory_fail_apply(desk.service.store, 1, KV_E_IO, false);
    cr_assert_eq(change("DELETE", "unix:a", "reader", "keys/k", NULL), 500);
    cr_assert_eq(count(), 2, "a revocation that failed has revoked nothing");
}

Test(api_admin, the_table_has_an_end)
{
    struct kv_assignment item = {.id = "x", .role = "reader", .scope = "/"};
    for (int i = 0; i < KV_ASSIGNMENTS_MAX; i++) {
        (void)snprintf(item.principal, sizeof(item.principal), "unix:u%d", i);
        cr_assert_eq(kv_assignments_add(desk.service.assignments, &item, NULL), 0);
    }
    json_t *json = NULL;
    cr_assert_eq(change("PUT", "unix:a", "reader", "keys/k", &json), 503);
    cr_assert_str_eq(desk_error(json, "id"), "access.full");
    json_decref(json);
    cr_assert_eq(change("PUT", "unix:u7", "reader", "/", NULL), 200, "is there");
    cr_assert_eq(count(), KV_ASSIGNMENTS_MAX, "all of them fit into one reply");
}

Test(api_admin, the_state_tells_vaults_and_no_secrets)
{
    json_t *json = NULL;
    desk.service.admin_uid = (uid_t)-1;
    cr_assert_eq(desk_call(&desk, "GET", "/keyvault/v1/status", NULL, &json), 200,
                 "anyone who may connect");
    cr_assert_str_eq(text(json, "state"), "ready");
    cr_assert_str_eq(text(json, "version"), KV_VERSION);
    const json_t *vault = json_array_get(json_object_get(json, "vaults"), 0);
    cr_assert_str_eq(text(vault, "name"), "default");
    cr_assert_str_eq(text(vault, "url"), "https://default.vault.localhost:8443");
    cr_assert(json_is_true(json_object_get(vault, "isDefault")));
    json_decref(json);
    desk.link.is_unreachable = true;
    cr_assert_eq(desk_call(&desk, "GET", "/keyvault/v1/status", NULL, &json), 200);
    cr_assert_str_eq(text(json, "state"), "keyring-unreachable");
    json_decref(json);
}
