/*
 * Applications over the API: registered, renewed and deleted by who administers the
 * installation, durable before they count, and each change one of its own.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/auth/principal.h"
#include "lifecycle/service/assignments.h"
#include "lifecycle/service/identity.h"
#include "store/db/memory.h"
#include "tests/support/desk.h"
#include "tests/support/fixture.h"

static struct desk desk;

static void setup(void)
{
    desk_init(&desk);
}

static void teardown(void)
{
    desk_fini(&desk);
}

TestSuite(api_apps, .timeout = 60, .init = setup, .fini = teardown);

#define PATH "/keyvault/v1/apps"

static const char *text(const json_t *json, const char *field)
{
    const char *value = json_string_value(json_object_get(json, field));
    return value != NULL ? value : "";
}

static json_t *create(const char *name)
{
    char body[256];
    (void)snprintf(body, sizeof(body), "{\"name\":\"%s\"}", name);
    return desk_must(&desk, 200, "POST", PATH, body);
}

static const struct kv_app *app_of(const char *name)
{
    return kv_apps_find(desk.service.identity->apps, name);
}

Test(api_apps, one_is_registered_shown_renewed_and_deleted)
{
    char path[128];
    json_t *made = create("Web");
    cr_assert_eq(strlen(text(made, "clientSecret")), KV_TOKEN_TEXT_LEN);
    cr_assert_str_eq(text(made, "tenantId"), desk.service.tenant);
    cr_assert(kv_app_secret_matches(app_of("web"), text(made, "clientSecret")));
    json_t *shown = desk_must(&desk, 200, "GET", PATH "/WEB", NULL);
    cr_assert_str_eq(text(shown, "clientId"), text(made, "clientId"));
    cr_assert_str_eq(text(shown, "clientSecret"), "", "told once");
    json_decref(shown);
    (void)snprintf(path, sizeof(path), PATH "/%s/secret", text(made, "clientId"));
    json_t *renewed = desk_must(&desk, 200, "POST", path, NULL);
    cr_assert_str_eq(text(renewed, "clientId"), text(made, "clientId"));
    cr_assert_not(kv_app_secret_matches(app_of("web"), text(made, "clientSecret")));
    cr_assert(kv_app_secret_matches(app_of("web"), text(renewed, "clientSecret")));
    json_decref(renewed);
    json_t *list = desk_must(&desk, 200, "GET", PATH, NULL);
    cr_assert_eq(json_array_size(json_object_get(list, "value")), 1);
    json_decref(list);
    json_decref(desk_must(&desk, 200, "DELETE", PATH "/web", NULL));
    desk_fails(&desk, 404, "app.not-found", "GET", PATH "/web", NULL);
    desk_fails(&desk, 404, "app.not-found", "DELETE", PATH "/web", NULL);
    desk_fails(&desk, 404, "app.not-found", "POST", PATH "/web/secret", NULL);
    cr_assert_eq(kv_apps_count(desk.service.identity->apps), 0);
    json_decref(made);
}

Test(api_apps, requests_that_cannot_be_are_refused)
{
    static const struct {
        const char *body;
        const char *id;
    } rows[] = {
        {"{}", "api.missing-field"},
        {"{\"name\":1}", "api.bad-field"},
        {"{\"name\":\"\"}", "api.bad-name"},
        {"{\"name\":\"a b\"}", "api.bad-name"},
        {"{\"name\":\"aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee\"}", "api.bad-name"},
        {"{\"name\":\"a\",\"certificate\":1}", "api.bad-field"},
        {"{\"name\":\"a\",\"certificate\":\"\"}", "app.bad-certificate"},
        {"{\"name\":\"a\",\"certificate\":\"x\"}", "app.bad-certificate"},
        {"{\"name\":\"a\",\"tenantId\":\"x\"}", "api.bad-field"},
        {"{\"name\":\"a\",\"tenantId\":\"aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeeg\"}",
         "api.bad-field"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        desk_fails(&desk, 400, rows[i].id, "POST", PATH, rows[i].body);
    json_decref(create("taken"));
    desk_fails(&desk, 409, "app.exists", "POST", PATH, "{\"name\":\"TAKEN\"}");
    cr_assert_eq(kv_apps_count(desk.service.identity->apps), 1);
}

Test(api_apps, one_with_a_certificate_has_no_secret)
{
    struct kv_buf file;
    fixture_read("keys/prime256v1-cert.pem", &file);
    json_t *body =
        json_pack("{s:s,s:s#,s:s}", "name", "c", "certificate", file.data,
                  (int)file.len, "tenantId", "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee");
    char *sent = json_dumps(body, 0);
    json_t *made = desk_must(&desk, 200, "POST", PATH, sent);
    cr_assert_null(json_object_get(made, "clientSecret"));
    cr_assert(json_is_true(json_object_get(made, "hasCertificate")));
    cr_assert(json_is_false(json_object_get(made, "hasSecret")));
    cr_assert_str_eq(text(made, "tenantId"), "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee");
    cr_assert_not_null(app_of("c")->certificate);
    json_decref(made);
    json_decref(body);
    free(sent);
    kv_buf_free(&file);
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

Test(api_apps, only_who_administers_everything_may)
{
    static const char *const calls[][3] = {
        {"GET", PATH, NULL},         {"POST", PATH, "{\"name\":\"b\"}"},
        {"GET", PATH "/a", NULL},    {"POST", PATH "/a/secret", NULL},
        {"DELETE", PATH "/a", NULL}, {"GET", PATH "/absent", NULL},
    };
    json_decref(create("a"));
    static const char *const roles[][2] = {
        {"administrator", "/default"}, {"reader", "/"}, {"secrets-officer", "/"}};
    for (size_t r = 0; r < 3; r++) {
        become(roles[r][0], roles[r][1]);
        for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
            desk_fails(&desk, 403, "api.forbidden", calls[i][0], calls[i][1],
                       calls[i][2]);
    }
    become("administrator", "/");
    json_decref(desk_must(&desk, 200, "GET", PATH "/a", NULL));
}

Test(api_apps, what_was_not_stored_does_not_count)
{
    json_t *made = create("a");
    kv_memory_fail_apply(desk.service.store, 1, KV_E_IO, false);
    cr_assert_eq(desk_call(&desk, "POST", PATH, "{\"name\":\"b\"}", NULL), 500);
    cr_assert_null(app_of("b"));
    kv_memory_fail_apply(desk.service.store, 1, KV_E_IO, false);
    cr_assert_eq(desk_call(&desk, "POST", PATH "/a/secret", NULL, NULL), 500);
    cr_assert(kv_app_secret_matches(app_of("a"), text(made, "clientSecret")));
    kv_memory_fail_apply(desk.service.store, 1, KV_E_IO, false);
    cr_assert_eq(desk_call(&desk, "DELETE", PATH "/a", NULL, NULL), 500);
    cr_assert_not_null(app_of("a"));
    json_decref(made);
}

Test(api_apps, renewals_at_once_have_a_generation_each)
{
    int clients[8];
    char secrets[8][64];
    int n_good = 0;
    json_decref(create("a"));
    desk.link.is_held = true;
    for (int i = 0; i < 8; i++) {
        clients[i] = desk_connect(&desk);
        desk_send(&desk, clients[i], "POST", PATH "/a/secret", NULL);
    }
    desk_settle(&desk);
    fake_link_release(&desk.link);
    for (int i = 0; i < 8; i++) {
        struct desk_reply reply;
        cr_assert_eq(desk_read(&desk, clients[i], &reply), 200);
        (void)snprintf(secrets[i], sizeof(secrets[i]), "%s",
                       text(reply.json, "clientSecret"));
        desk_reply_free(&reply);
        (void)close(clients[i]);
    }
    cr_assert_eq(app_of("a")->generation, 9, "1 and one for each");
    for (int i = 0; i < 8; i++)
        n_good += kv_app_secret_matches(app_of("a"), secrets[i]);
    cr_assert_eq(n_good, 1, "the last one's secret");
}

Test(api_apps, registering_the_same_name_at_once_makes_one)
{
    int clients[4];
    int n_made = 0;
    desk.link.is_held = true;
    for (int i = 0; i < 4; i++) {
        clients[i] = desk_connect(&desk);
        desk_send(&desk, clients[i], "POST", PATH, "{\"name\":\"same\"}");
    }
    desk_settle(&desk);
    fake_link_release(&desk.link);
    for (int i = 0; i < 4; i++) {
        struct desk_reply reply;
        int status = desk_read(&desk, clients[i], &reply);
        cr_assert(status == 200 || status == 409, "%d", status);
        n_made += status == 200;
        desk_reply_free(&reply);
        (void)close(clients[i]);
    }
    cr_assert_eq(n_made, 1);
    cr_assert_eq(kv_apps_count(desk.service.identity->apps), 1);
}
