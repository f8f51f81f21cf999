/*
 * The token authority: what it says of itself, tokens, refusals, and what becomes of a
 * sign-in when its client leaves, the keyring fails, or others fail in front of it.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/api/authority.h"
#include "lifecycle/auth/jwt.h"
#include "lifecycle/service/identity.h"
#include "tests/support/desk.h"

static struct desk desk;
static char client_id[37];
static char secret[64];

static void on_started(void *arg, int rc, const struct kv_err *err)
{
    (void)err;
    *(int *)arg = rc;
}

static int start_identity(void)
{
    int rc = 1;
    cr_assert_eq(kv_identity_start(&desk.service, on_started, &rc), 0);
    desk_settle(&desk);
    return rc;
}

static void setup(void)
{
    desk_init(&desk);
    cr_assert_eq(start_identity(), 0);
    json_t *app =
        desk_must(&desk, 200, "POST", "/keyvault/v1/apps", "{\"name\":\"a\"}");
    (void)snprintf(client_id, sizeof(client_id), "%s",
                   json_string_value(json_object_get(app, "clientId")));
    (void)snprintf(secret, sizeof(secret), "%s",
                   json_string_value(json_object_get(app, "clientSecret")));
    json_decref(app);
}

static void teardown(void)
{
    desk_fini(&desk);
}

TestSuite(api_authority, .timeout = 60, .init = setup, .fini = teardown);

#define SCOPE "https://vault.localhost/.default"

static void send_to(int client, const char *method, const char *path, const char *type,
                    const char *body)
{
    char request[8192];
    (void)snprintf(request, sizeof(request),
                   "%s %s HTTP/1.1\r\nHost: localhost:8443\r\nContent-Type: %s\r\n"
                   "Content-Length: %zu\r\n\r\n%s",
                   method, path, type, strlen(body), body);
    desk_send_raw(&desk, client, request);
}

static int ask(const char *method, const char *path, const char *type, const char *body,
               json_t **json)
{
    struct desk_reply reply;
    int client = desk_connect(&desk);
    send_to(client, method, path, type, body);
    int status = desk_read(&desk, client, &reply);
    (void)close(client);
    *json = json_incref(reply.json);
    desk_reply_free(&reply);
    return status;
}

static const char *token_path(void)
{
    static char path[128];
    (void)snprintf(path, sizeof(path), "/%s/oauth2/v2.0/token", desk.service.tenant);
    return path;
}

#define FORM "application/x-www-form-urlencoded"

static const char *form_with(const char *the_secret)
{
    static char form[1024];
    (void)snprintf(form, sizeof(form),
                   "grant_type=client_credentials&client_id=%s&scope=" SCOPE
                   "&client_secret=%s",
                   client_id, the_secret);
    return form;
}

static int code_of(const json_t *json)
{
    return (int)json_integer_value(
        json_array_get(json_object_get(json, "error_codes"), 0));
}

static int sign_in(const char *the_secret, json_t **json)
{
    return ask("POST", token_path(), FORM, form_with(the_secret), json);
}

Test(api_authority, tokens_verify_with_the_published_key)
{
    static struct kv_jwks keys;
    char path[128];
    struct kv_jwt jwt;
    struct kv_err err = KV_ERR_INIT;
    json_t *json = NULL;
    (void)snprintf(path, sizeof(path), "/%s/discovery/v2.0/keys", desk.service.tenant);
    cr_assert_eq(ask("GET", path, FORM, "", &json), 200);
    char *set = json_dumps(json, 0);
    cr_assert_eq(kv_jwks_parse(set, strlen(set), &keys, &err), 0, "%s", err.message);
    cr_assert_eq(keys.n, 1);
    free(set);
    json_decref(json);
    cr_assert_eq(sign_in(secret, &json), 200);
    const char *token = json_string_value(json_object_get(json, "access_token"));
    cr_assert_not_null(token);
    cr_assert_eq(json_integer_value(json_object_get(json, "expires_in")), 900);
    cr_assert_eq(kv_jwt_parse(token, strlen(token), &jwt, &err), 0);
    char issuer[128];
    (void)snprintf(issuer, sizeof(issuer), "https://localhost:8443/%s/v2.0",
                   desk.service.tenant);
    const struct kv_jwt_rules rules = {.issuer = issuer,
                                       .audience = "https://vault.localhost",
                                       .algs = KV_JOSE_BIT(KV_JOSE_ES256)};
    int64_t now_s = kv_now_s(desk.service.clock);
    cr_assert_eq(kv_jwt_check(&jwt, &keys, &rules, now_s, &err), 0, "%s", err.message);
    cr_assert_str_eq(kv_jwt_text(&jwt, "appid"), client_id);
    cr_assert_eq(json_integer_value(json_object_get(jwt.claims, "exp")), now_s + 900);
    kv_jwt_free(&jwt);
    kv_jwks_free(&keys);
    json_decref(json);
}

/* The challenge's `scope` has the port, for clients that compare it; `resource` has
 * none. */
Test(api_authority, the_resource_is_asked_for_with_and_without_its_port)
{
    char form[1024];
    json_t *json = NULL;
    (void)snprintf(form, sizeof(form),
                   "grant_type=client_credentials&client_id=%s&client_secret=%s&scope="
                   "https://vault.localhost:8443/.default",
                   client_id, secret);
    cr_assert_eq(ask("POST", token_path(), FORM, form, &json), 200);
    json_decref(json);
}

Test(api_authority, the_key_outlives_a_start)
{
    char kid[KV_JOSE_KID_MAX + 1];
    memcpy(kid, desk.service.identity->keys.keys[0].kid, sizeof(kid));
    kv_identity_free(desk.service.identity);
    cr_assert_eq(kv_identity_new(&desk.service.identity), 0);
    cr_assert_eq(kv_apps_count(desk.service.identity->apps), 0);
    fake_link_fail(&desk.link, 1, KV_E_UNAVAILABLE);
    cr_assert_neq(start_identity(), 0, "the keyring may be away");
    cr_assert_eq(start_identity(), 0);
    cr_assert_str_eq(desk.service.identity->keys.keys[0].kid, kid);
    cr_assert_eq(kv_apps_count(desk.service.identity->apps), 1);
    json_t *json = NULL;
    cr_assert_eq(sign_in(secret, &json), 200);
    json_decref(json);
}

static const struct {
    const char *form; /* ID: client id */
    int status;
    int code;
} rows[] = {
    {"", 400, 900144},
    {"grant_type=client_credentials", 400, 900144},
    {"client_id=ID", 400, 900144},
    {"grant_type=password&client_id=ID", 400, 70003},
    {"grant_type=client_credentials&client_id=ID", 401, 7000218},
    {"grant_type=client_credentials&client_id=ID&client_secret=x", 400, 500011},
    {"grant_type=client_credentials&client_id=ID&client_secret=x&scope=", 400, 500011},
    {"grant_type=client_credentials&client_id=ID&client_secret=x&scope=openid", 400,
     500011},
    {"grant_type=client_credentials&client_id=ID&client_secret=x&scope=" SCOPE "x", 400,
     500011},
    {"grant_type=client_credentials&client_id=ID&client_secret=x&scope="
     "https://vault.localhost:x/.default",
     400, 500011},
    {"grant_type=client_credentials&client_id=ID&client_assertion=a.b.c", 400, 50027},
    {"grant_type=client_credentials&client_id=%zz", 400, 90014},
    {"grant_type=client_credentials&client_id="
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
     400, 90014},
    {"grant_type=client_credentials&client_id=x&client_secret=x&scope=" SCOPE, 400,
     700016},
};

/* A form with the client id in the place of ID. */
static void fill(const char *form, char *out, size_t size)
{
    const char *at = strstr(form, "ID");
    if (at == NULL)
        (void)snprintf(out, size, "%s", form);
    else
        (void)snprintf(out, size, "%.*s%s%s", (int)(at - form), form, client_id,
                       at + 2);
}

Test(api_authority, forms_that_cannot_be_are_refused_without_a_pause)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char form[1024];
        json_t *json = NULL;
        fill(rows[i].form, form, sizeof(form));
        int status = ask("POST", token_path(), FORM, form, &json);
        cr_assert_eq(status, rows[i].status, "%s: %d", rows[i].form, status);
        cr_assert_eq(code_of(json), rows[i].code, "%s: %d", rows[i].form,
                     code_of(json));
        cr_assert_not_null(json_string_value(json_object_get(json, "error")));
        json_decref(json);
    }
    json_t *json = NULL;
    cr_assert_eq(
        ask("POST", token_path(), "application/json", form_with(secret), &json), 400);
    json_decref(json);
    cr_assert_eq(ask("GET", token_path(), FORM, "", &json), 405);
    json_decref(json);
    cr_assert_eq(
        ask("POST", "/other/oauth2/v2.0/token", FORM, form_with(secret), &json), 400);
    cr_assert_eq(code_of(json), 90002);
    json_decref(json);
    cr_assert_eq(sign_in(secret, &json), 200);
    json_decref(json);
}

Test(api_authority, failures_are_slowed_until_time_has_passed)
{
    json_t *json = NULL;
    cr_assert_eq(sign_in("wrong", &json), 401);
    cr_assert_eq(code_of(json), 7000215);
    json_decref(json);
    /* the clock of this test stands still: waiting brings nothing */
    cr_assert_eq(sign_in(secret, &json), 429);
    json_decref(json);
    kv_clock_manual_advance(&desk.room.clock, 1);
    cr_assert_eq(sign_in(secret, &json), 200, "never locked");
    json_decref(json);
}

Test(api_authority, a_client_that_leaves_while_it_waits)
{
    json_t *json = NULL;
    cr_assert_eq(sign_in("wrong", &json), 401);
    json_decref(json);
    int client = desk_connect(&desk);
    send_to(client, "POST", token_path(), FORM, form_with(secret));
    desk_settle(&desk);
    desk_hang_up(&desk, client);
    kv_clock_manual_advance(&desk.room.clock, 1);
    cr_assert_eq(sign_in(secret, &json), 200);
    json_decref(json);
}

Test(api_authority, a_client_that_leaves_while_the_keyring_signs)
{
    desk.link.is_held = true;
    int client = desk_connect(&desk);
    send_to(client, "POST", token_path(), FORM, form_with(secret));
    desk_settle(&desk);
    desk_hang_up(&desk, client);
    fake_link_release(&desk.link);
    desk_settle(&desk);
}

Test(api_authority, without_the_keyring_nobody_signs_in)
{
    json_t *json = NULL;
    desk.link.is_unreachable = true;
    cr_assert_eq(sign_in(secret, &json), 503);
    cr_assert_str_eq(json_string_value(json_object_get(json, "error")),
                     "temporarily_unavailable");
    json_decref(json);
    desk.link.is_unreachable = false;
    desk.link.spoil_verb = KV_ROLE_KEY_SIGN;
    cr_assert_eq(sign_in(secret, &json), 503);
    json_decref(json);
    desk.link.spoil_verb = 0;
    cr_assert_eq(sign_in(secret, &json), 200);
    json_decref(json);
}

Test(api_authority, it_speaks_of_itself_by_the_name_that_the_client_uses)
{
    static const struct {
        const char *host;
        const char *base;
    } hosts[] = {
        {"localhost:8443", "https://localhost:8443"},
        {"LOCALHOST:1", "https://LOCALHOST:1"},
        {"127.0.0.1:8443", "https://127.0.0.1:8443"},
        {"[::1]:8443", "https://[::1]:8443"},
        {"vault.localhost", "https://vault.localhost"},
        {"default.vault.localhost:8443", "https://default.vault.localhost:8443"},
        {"evil.example.com", "https://localhost:8443"},
        {"evilvault.localhost", "https://localhost:8443"},
        {"vault.localhost.evil.example", "https://localhost:8443"},
        {"localhost\"", "https://localhost:8443"},
        {"", "https://localhost:8443"},
        {NULL, "https://localhost:8443"},
    };
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        char base[600];
        char expected[600];
        kv_authority_base(&desk.service, "T", hosts[i].host, base, sizeof(base));
        (void)snprintf(expected, sizeof(expected), "%s/T", hosts[i].base);
        cr_assert_str_eq(base, expected, "%s", hosts[i].host);
    }
}
