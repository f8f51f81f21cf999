/*
 * The built-in token authority: what a client of the contract asks before it may call.
 *
 *   discovery, keys: answered at once
 *   token: form -> application -> pause after failures -> secret or assertion
 *          -> claims -> the keyring signs -> answer
 *
 * It lives on the same listener as the vaults, and needs no caller. Wrong credentials
 * cost their sender time (auth/throttle.h) and nobody else anything.
 */
#include <stdio.h>
#include <string.h>

#include "lifecycle/api/authority.h"
#include "lifecycle/api/internal.h"
#include "lifecycle/auth/uuid.h"
#include "lifecycle/service/identity.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define WAITS_MAX 4 /* others from the same source may fail in front of us */

enum endpoint { NONE, CONFIGURATION, KEYS, TOKEN, DEVICE_CODE, DEVICE_PAGE };

/* A token request under way. */
struct signin {
    struct kv_task task; /* first member: steps cast back */
    struct kv_http_request *request;
    struct kv_signin_form form;
    char client_id[37]; /* of the application, as it spells it */
    char tenant[64];    /* of the path */
    char source[64];
    char audience[256];
    int64_t until_s;    /* of the token that it is got for; 0: for none */
    int64_t lifetime_s; /* of the token */
    unsigned n_waits;
    bool is_waiting;
    uv_timer_t timer;
    struct kv_buf token;
};

/* --- where ------------------------------------------------------------------------ */

/* The endpoint of a path, and its tenant. */
static enum endpoint find_endpoint(const char *path, char tenant[64])
{
    static const struct {
        const char *rest;
        enum endpoint endpoint;
    } endpoints[] = {
        {"/v2.0/.well-known/openid-configuration", CONFIGURATION},
        {"/discovery/v2.0/keys", KEYS},
        {"/oauth2/v2.0/token", TOKEN},
        {"/oauth2/v2.0/devicecode", DEVICE_CODE},
        {"/oauth2/deviceauth", DEVICE_PAGE},
    };
    size_t len = path[0] == '/' ? strcspn(path + 1, "/") : 0;
    if (len == 0 || len >= 64)
        return NONE;
    kv_str_cut(tenant, 64, path + 1, len);
    for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++)
        if (strcmp(path + 1 + len, endpoints[i].rest) == 0)
            return endpoints[i].endpoint;
    return NONE;
}

bool kv_authority_serves(const struct kv_http_request *request)
{
    char tenant[64];
    return find_endpoint(kv_http_path(request), tenant) != NONE;
}

static bool is_host_text(const char *host)
{
    return host != NULL && strlen(host) < 256 &&
           host[strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "0123456789.-:[]")] == '\0';
}

/* "https://HOST" as the client spells us, when that is a name of ours: clients compare
 * the host of the issuer with the one that they were given. */
void kv_authority_base(const struct kv_service *service, const char *tenant,
                       const char *host, char *out, size_t out_size)
{
    char name[256] = "";
    if (is_host_text(host)) {
        size_t len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
        kv_str_cut(name, sizeof(name), host, len);
    }
    size_t len = strlen(name);
    size_t domain_len = strlen(service->domain);
    bool is_ours = kv_str_equal_nocase(name, "localhost") ||
                   strcmp(name, "127.0.0.1") == 0 || strcmp(name, "[::1]") == 0 ||
                   kv_str_equal_nocase(name, service->domain) ||
                   (len > domain_len + 1 && name[len - domain_len - 1] == '.' &&
                    kv_str_equal_nocase(name + len - domain_len, service->domain));
    if (is_ours) {
        (void)snprintf(out, out_size, "https://%s/%s", host, tenant);
        return;
    }
    kv_identity_authority(service, tenant, out, out_size);
}

/* --- answers ---------------------------------------------------------------------- */

void kv_oauth_answer(struct kv_service *service, struct kv_http_request *request,
                     const struct kv_oauth_error *error)
{
    char text[KV_ERR_TEXT_MAX + 32];
    (void)snprintf(text, sizeof(text), "AADSTS%d: %s", error->number, error->text);
    kv_call_answer(service, request, error->status,
                   json_pack("{s:s,s:s,s:[i]}", "error", error->name,
                             "error_description", text, "error_codes", error->number));
}

static void answer_configuration(struct kv_service *service,
                                 struct kv_http_request *request, const char *tenant)
{
    char base[600];
    kv_authority_base(service, tenant, kv_http_header(request, "host"), base,
                      sizeof(base));
    kv_call_answer(service, request, 200,
                   json_pack("{s:s+,s:s+,s:s+,s:s+,s:[s],s:[s],s:[s],s:[s,s]}",
                             "issuer", base, "/v2.0", "authorization_endpoint", base,
                             "/oauth2/v2.0/authorize", "token_endpoint", base,
                             "/oauth2/v2.0/token", "jwks_uri", base,
                             "/discovery/v2.0/keys", "response_types_supported", "code",
                             "subject_types_supported", "pairwise",
                             "id_token_signing_alg_values_supported", "ES256",
                             "token_endpoint_auth_methods_supported",
                             "client_secret_post", "private_key_jwt"));
}

static void free_signin(struct signin *signin)
{
    kv_signin_form_free(&signin->form);
    kv_buf_free(&signin->token);
    kv_task_fini(&signin->task);
    kv_wiping_free(signin);
}

static void on_closed(uv_handle_t *handle)
{
    free_signin(handle->data);
}

/* Give up the memory; a timer is closed first. */
static void end(struct signin *signin)
{
    uv_close((uv_handle_t *)&signin->timer, on_closed);
}

static void refuse(struct signin *signin, const struct kv_oauth_error *error)
{
    struct kv_service *service = signin->task.service;
    struct kv_http_request *request = signin->request;
    signin->request = NULL;
    kv_log(service->log,
           signin->client_id[0] != '\0' && error->number != 70016 ? KV_LOG_WARN
                                                                  : KV_LOG_DEBUG,
           "auth.signin-refused", KV_S("client", signin->client_id),
           KV_S("peer", signin->source), KV_S("why", error->name),
           KV_I("code", error->number));
    kv_call_tell_no_signin(service, request, signin->client_id, error->name);
    if (request != NULL)
        kv_oauth_answer(service, request, error);
    end(signin);
}

static void on_fail(struct kv_task *task, int rc, const struct kv_err *err)
{
    const struct kv_oauth_error error = {503, "temporarily_unavailable", 90033,
                                         "The service cannot sign tokens at present."};
    (void)rc;
    (void)err; /* the link and the store log what fails there */
    refuse((struct signin *)task, &error);
}

/* --- the token -------------------------------------------------------------------- */

static void give(struct signin *signin)
{
    struct kv_service *service = signin->task.service;
    const char *token = kv_buf_cstr(&signin->token);
    kv_log(service->log, KV_LOG_INFO, "auth.signed-in",
           KV_S("client", signin->client_id), KV_S("peer", signin->source));
    struct kv_http_request *request = signin->request;
    signin->request = NULL;
    if (request != NULL)
        kv_call_answer(service, request, 200,
                       json_pack("{s:s,s:I,s:I,s:s}", "token_type", "Bearer",
                                 "expires_in", (json_int_t)signin->lifetime_s,
                                 "ext_expires_in", (json_int_t)signin->lifetime_s,
                                 "access_token", token));
    end(signin);
}

/* The sign-in is on record: the token may leave. */
static void on_recorded(void *arg, int rc, const struct kv_err *err)
{
    struct signin *signin = arg;
    signin->task.service->n_running--;
    if (rc != 0)
        on_fail(&signin->task, rc, err);
    else
        give(signin);
}

static void signed_by_keyring(struct kv_task *task)
{
    struct signin *signin = (struct signin *)task;
    int rc = kv_jws_end(task->payload.data, task->payload.len, 32, &signin->token);
    if (rc != 0 || kv_buf_cstr(&signin->token) == NULL) {
        kv_task_fail(task, KV_E_INTERNAL, NULL);
        return;
    }
    if (task->service->audit == NULL) {
        give(signin);
        return;
    }
    struct kv_err err = KV_ERR_INIT;
    rc = kv_call_tell_signin(task->service, signin->request, signin->client_id,
                             on_recorded, signin, &err);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        task->service->n_running++;
}

static json_t *make_claims(const struct kv_service *service, const struct kv_app *app,
                           const struct kv_app *user, const char *audience,
                           int64_t lifetime_s)
{
    char issuer[320];
    char id[37];
    uint8_t bytes[16];
    const struct kv_app *subject = user != NULL ? user : app;
    const json_int_t now_s = kv_now_s(service->clock);
    if (kv_rand_fill(service->rand, bytes, sizeof(bytes)) != 0)
        return NULL;
    kv_uuid_format(bytes, id);
    kv_identity_issuer(service, app->tenant, issuer, sizeof(issuer));
    return json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s*,s:s*,s:s,s:I,s:I,s:I,s:I,s:I}",
        "iss", issuer, "aud", audience, "tid", app->tenant, "oid", subject->object_id,
        "sub", subject->object_id, "appid", app->client_id, "azp", app->client_id,
        "idtyp", user != NULL ? "user" : "app", "ver", "2.0", "scp",
        user != NULL ? "user_impersonation" : NULL, "name",
        user != NULL ? user->name : NULL, "jti", id, "iat", now_s, "nbf", now_s, "exp",
        now_s + (json_int_t)lifetime_s, "gen", (json_int_t)subject->generation, "agen",
        (json_int_t)app->generation);
}

/* A token of the application, or of a user (not NULL) through it. */
static void issue(struct signin *signin, const struct kv_app *app,
                  const struct kv_app *user, const char *audience)
{
    struct kv_service *service = signin->task.service;
    const struct kv_identity *identity = service->identity;
    const int64_t left_s = signin->until_s - kv_now_s(service->clock);
    signin->lifetime_s = KV_TOKEN_LIFETIME_S;
    if (signin->until_s != 0 && left_s < signin->lifetime_s)
        signin->lifetime_s = left_s;
    json_t *claims = make_claims(service, app, user, audience, signin->lifetime_s);
    json_t *header = identity->keys.n > 0
                         ? json_pack("{s:s,s:s,s:s}", "alg", "ES256", "typ", "JWT",
                                     "kid", identity->keys.keys[0].kid)
                         : NULL;
    int rc = KV_E_UNAVAILABLE;
    if (claims != NULL && header != NULL)
        rc = kv_jws_begin(header, claims, &signin->token);
    json_decref(claims);
    json_decref(header);
    if (rc != 0)
        kv_task_fail(&signin->task, rc, NULL);
    else
        kv_identity_sign(&signin->task,
                         (struct kv_bytes){signin->token.data, signin->token.len},
                         signed_by_keyring);
}

/* --- who -------------------------------------------------------------------------- */

static void try_credentials(struct signin *signin);

static void on_timer(uv_timer_t *timer)
{
    struct signin *signin = timer->data;
    signin->is_waiting = false;
    try_credentials(signin);
}

/* True when this one has to wait for a pause of its pair to end. */
static bool has_to_wait(struct signin *signin)
{
    struct kv_service *service = signin->task.service;
    int64_t wait_ms =
        kv_throttle_wait_ms(service->identity->throttle, signin->client_id,
                            signin->source, kv_monotonic_ms(service->clock));
    if (wait_ms == 0)
        return false;
    const struct kv_oauth_error error = {429, "temporarily_unavailable", 90055,
                                         "Too many failed sign-ins; try again later."};
    if (signin->n_waits++ == WAITS_MAX) {
        refuse(signin, &error);
        return true;
    }
    signin->is_waiting = true;
    (void)uv_timer_start(&signin->timer, on_timer, (uint64_t)wait_ms, 0);
    return true;
}

/* How a device's code stands: a token, or why there is none yet. */
static void issue_for_device(struct signin *signin, const struct kv_app *app)
{
    struct kv_service *service = signin->task.service;
    struct kv_identity *identity = service->identity;
    struct kv_oauth_error error = {400, "expired_token", 70020,
                                   "The device code has expired, or was used."};
    struct kv_device_request wanted;
    char oid[37] = "";
    const struct kv_app *user = NULL;
    switch (kv_device_codes_poll(identity->devices, signin->form.device_code,
                                 app->client_id, kv_monotonic_ms(service->clock),
                                 &wanted, oid)) {
    case KV_DEVICE_READY:
        user = kv_apps_user(identity->apps, oid);
        if (user != NULL && (user->generation != wanted.generation || /* a new secret */
                             !kv_str_equal_nocase(user->tenant, wanted.tenant)))
            user = NULL;
        break;
    case KV_DEVICE_PENDING:
        error = (struct kv_oauth_error){400, "authorization_pending", 70016,
                                        "Nobody has signed in yet."};
        break;
    case KV_DEVICE_HASTY:
        error = (struct kv_oauth_error){400, "slow_down", 70018,
                                        "The device asks too often."};
        break;
    case KV_DEVICE_GONE:
        break;
    }
    if (user != NULL)
        issue(signin, app, user, wanted.audience);
    else
        refuse(signin, &error);
}

/* A token for the application itself would be good for another one, and so on. */
static bool is_own_audience(const struct kv_app *app, const char *audience)
{
    return kv_str_has_prefix(audience, "api://") &&
           kv_str_equal_nocase(audience + strlen("api://"), app->client_id);
}

/* What the grant asks for; the application is who it says. */
static void grant(struct signin *signin, const struct kv_app *app)
{
    const struct kv_oauth_error bad_token = {
        400, "invalid_grant", 500137,
        "The assertion is no token of a user for this application that is good now."};
    if (signin->form.grant == KV_GRANT_DEVICE) {
        issue_for_device(signin, app);
        return;
    }
    if (signin->form.grant == KV_GRANT_CLIENT) {
        issue(signin, app, NULL, signin->audience);
        return;
    }
    const struct kv_app *user =
        kv_signin_user(signin->task.service, app, &signin->form, &signin->until_s);
    const bool is_over = signin->until_s <= kv_now_s(signin->task.service->clock);
    if (user != NULL && !is_over && !is_own_audience(app, signin->audience))
        issue(signin, app, user, signin->audience);
    else
        refuse(signin, &bad_token);
}

static void try_credentials(struct signin *signin)
{
    struct kv_service *service = signin->task.service;
    struct kv_identity *identity = service->identity;
    struct kv_oauth_error error = {0, NULL, 0, NULL};
    const struct kv_app *app = kv_apps_by_client(identity->apps, signin->client_id);
    if (app == NULL) { /* deleted while this one waited */
        kv_oauth_unknown_client(&error);
        refuse(signin, &error);
        return;
    }
    if (signin->form.grant == KV_GRANT_DEVICE && app->is_public) {
        grant(signin, app);
        return;
    }
    if (has_to_wait(signin))
        return;
    char endpoint[600];
    kv_authority_base(service, app->tenant, kv_http_header(signin->request, "host"),
                      endpoint, sizeof(endpoint));
    if (kv_signin_check(service, app, &signin->form, endpoint, signin->source,
                        &error)) {
        kv_throttle_passed(identity->throttle, signin->client_id, signin->source);
        grant(signin, app);
        return;
    }
    kv_throttle_failed(identity->throttle, signin->client_id, signin->source,
                       kv_monotonic_ms(service->clock));
    refuse(signin, &error);
}

static void on_gone(void *arg, struct kv_http_request *request)
{
    struct signin *signin = arg;
    (void)request;
    signin->request = NULL;
    if (signin->is_waiting)
        end(signin);
}

static void start_signin(struct signin *signin)
{
    struct kv_service *service = signin->task.service;
    struct kv_oauth_error error = {0, NULL, 0, NULL};
    size_t len = 0;
    uint8_t *body = kv_http_body(signin->request, &len);
    if (!kv_signin_form_read(&signin->form,
                             kv_http_header(signin->request, "content-type"), body, len,
                             true, &error)) {
        refuse(signin, &error);
        return;
    }
    const struct kv_app *app =
        kv_apps_by_client(service->identity->apps, signin->form.client_id);
    if (app == NULL || !kv_str_equal_nocase(app->tenant, signin->tenant))
        kv_oauth_unknown_client(&error);
    else if (signin->form.grant != KV_GRANT_DEVICE && /* the device said it before */
             !kv_signin_audience(service, &signin->form,
                                 signin->form.grant == KV_GRANT_BEHALF,
                                 signin->audience))
        kv_oauth_foreign_scope(&error);
    if (error.status != 0 || app == NULL) {
        refuse(signin, &error);
        return;
    }
    kv_str_cut(signin->client_id, sizeof(signin->client_id), app->client_id,
               strlen(app->client_id));
    try_credentials(signin);
}

static void answer_token(struct kv_service *service, struct kv_http_request *request,
                         const char *tenant)
{
    const struct kv_http_peer *peer = kv_http_peer(request);
    struct signin *signin = kv_wiping_calloc(1, sizeof(*signin));
    const struct kv_oauth_error no_memory = {503, "temporarily_unavailable", 90033,
                                             "Out of memory."};
    if (signin == NULL) {
        kv_oauth_answer(service, request, &no_memory);
        return;
    }
    kv_task_init(&signin->task, service, &service->system, on_fail);
    kv_buf_init_secret(&signin->token, KV_JOSE_TOKEN_MAX);
    signin->request = request;
    kv_str_cut(signin->tenant, sizeof(signin->tenant), tenant, strlen(tenant));
    kv_str_cut(signin->source, sizeof(signin->source), peer->address,
               strlen(peer->address));
    (void)uv_timer_init(service->loop, &signin->timer);
    signin->timer.data = signin;
    kv_http_on_gone(request, on_gone, signin);
    start_signin(signin);
}

void kv_authority_start(struct kv_service *service, struct kv_http_request *request)
{
    char tenant[64];
    const enum endpoint endpoint = find_endpoint(kv_http_path(request), tenant);
    const char *method = kv_http_method(request);
    bool is_post = strcmp(method, "POST") == 0;
    bool is_get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    bool is_right_method = endpoint == DEVICE_PAGE ? is_post || is_get
                           : endpoint == TOKEN || endpoint == DEVICE_CODE ? is_post
                                                                          : is_get;
    const struct kv_oauth_error starting = {503, "temporarily_unavailable", 90033,
                                            "The service is starting."};
    const struct kv_oauth_error no_tenant = {400, "invalid_tenant", 90002,
                                             "The tenant was not found."};
    const struct kv_oauth_error no_method = {405, "invalid_request", 900561,
                                             "The endpoint takes another method."};
    if (!service->is_ready || service->identity == NULL ||
        service->identity->keys_json == NULL)
        kv_oauth_answer(service, request, &starting);
    else if (!is_right_method)
        kv_oauth_answer(service, request, &no_method);
    else if (!kv_identity_has_tenant(service, tenant))
        kv_oauth_answer(service, request, &no_tenant);
    else if (endpoint == CONFIGURATION)
        answer_configuration(service, request, tenant);
    else if (endpoint == DEVICE_CODE)
        kv_device_start(service, request, tenant);
    else if (endpoint == DEVICE_PAGE)
        kv_device_page(service, request, tenant);
    else if (endpoint == KEYS)
        kv_call_answer(service, request, 200,
                       json_incref(service->identity->keys_json));
    else
        answer_token(service, request, tenant);
}
