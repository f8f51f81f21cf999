/*
 * One call from request to reply.
 *
 *   start -> who (token, or peer uid on the pool) -> checks in the contract's order
 *         -> handler's steps -> reply or error -> freed
 *
 * The peer may hang up at any time: then the request is gone and the steps go on to
 * their end without answering anyone.
 */
#include "lifecycle/api/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/api/caller.h"
#include "lifecycle/api/internal.h"
#include "lifecycle/auth/challenge.h"
#include "lifecycle/auth/principal.h"
#include "lifecycle/auth/uuid.h"
#include "lifecycle/service/blob.h"
#include "lifecycle/service/keyring.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define ATTEMPTS_MAX 32
/* The longest replies: a backup blob; 25 items whose tags are all escapes; 4096 roles.
 */
#define REPLY_MAX (KV_BLOB_MAX / 3 * 4 + 4096)
#define BODY_MAX (KV_BLOB_MAX / 3 * 4 + 4096)

static void dispatch(struct kv_call *call);

/* --- answering ------------------------------------------------------------------- */

static void set_header(struct kv_http_request *request, const char *name,
                       const char *value)
{
    if (kv_http_reply_header(request, name, value) != 0)
        return; /* only an unusual value is refused, and the reply is right without */
}

/* Without random bytes an id is zeros: it only helps to find things. */
static void make_id(struct kv_service *service, uint8_t id[KV_ID_LEN])
{
    if (kv_rand_fill(service->rand, id, KV_ID_LEN) != 0)
        memset(id, 0, KV_ID_LEN);
}

/* Headers that every reply carries. */
static void set_headers(struct kv_http_request *request, const uint8_t id[KV_ID_LEN])
{
    char uuid[37];
    const char *client_id = kv_http_header(request, "x-ms-client-request-id");
    kv_uuid_format(id, uuid);
    set_header(request, "x-ms-request-id", uuid);
    if (client_id != NULL && strlen(client_id) <= 128)
        set_header(request, "x-ms-client-request-id", client_id);
    set_header(request, "x-ms-keyvault-region", "local");
    set_header(request, "x-ms-keyvault-service-version", KV_VERSION);
}

/* In whole seconds for everybody, and in milliseconds for who reads those. */
static void set_retry(struct kv_http_request *request, int64_t ms)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%lld", (long long)((ms + 999) / 1000));
    set_header(request, "Retry-After", text);
    (void)snprintf(text, sizeof(text), "%lld", (long long)ms);
    set_header(request, "x-ms-retry-after-ms", text);
}

/* Answer a request with a JSON body, which is taken; NULL: an empty reply. */
static void answer(struct kv_http_request *request, const uint8_t id[KV_ID_LEN],
                   int status, json_t *body, int64_t retry_ms)
{
    struct kv_buf text;
    kv_buf_init_secret(&text, REPLY_MAX);
    bool is_empty = body == NULL && status < 400;
    if (!is_empty && kv_json_write(body, &text) != 0) {
        kv_buf_reset(&text);
        status = 500;
        (void)kv_buf_append_str(&text, "{\"error\":{\"code\":\"InternalServerError\","
                                       "\"message\":\"out of memory\"}}");
    }
    json_decref(body);
    set_headers(request, id);
    if (status == 503 || status == 429)
        set_retry(request, retry_ms > 0 ? retry_ms : 1000);
    struct kv_http_reply reply = {.status = status};
    if (text.len > 0) {
        reply.content_type = "application/json; charset=utf-8";
        reply.body = text.data;
        reply.body_len = text.len;
    }
    kv_http_reply(request, &reply);
    kv_buf_free(&text);
}

void kv_call_answer(struct kv_service *service, struct kv_http_request *request,
                    int status, json_t *body)
{
    uint8_t id[KV_ID_LEN];
    make_id(service, id);
    answer(request, id, status, body, 0);
}

static void drop_data(struct kv_call *call)
{
    if (call->data_free != NULL)
        call->data_free(call->data);
    call->data = NULL;
    call->data_free = NULL;
}

static void end(struct kv_call *call)
{
    drop_data(call);
    json_decref(call->body);
    kv_task_fini(&call->task);
    free(call);
}

void kv_call_send(struct kv_call *call)
{
    struct kv_http_request *request = call->request;
    json_t *body = call->reply;
    call->request = NULL;
    call->reply = NULL;
    if (request != NULL)
        answer(request, call->id, call->status, body, call->retry_ms);
    else
        json_decref(body);
    end(call);
}

/* Let a reply go, once it is on record. */
static void conclude(struct kv_call *call, int status, json_t *body, const char *code,
                     const char *error)
{
    call->status = status;
    call->reply = body;
    kv_call_conclude(call, code, error);
}

void kv_call_reply(struct kv_call *call, int status, json_t *body)
{
    if (body == NULL && status != 204) {
        kv_call_fail(&call->task, KV_E_NOMEM, NULL);
        return;
    }
    kv_log(call->task.service->log, KV_LOG_DEBUG, "api.reply",
           KV_S("operation", call->route != NULL ? call->route->operation : ""),
           KV_I("status", status), KV_S("principal", call->principal.id));
    conclude(call, status, body, "", "");
}

static void json_free(void *data)
{
    json_decref(data);
}

bool kv_call_keep(struct kv_call *call, json_t *json)
{
    call->data = json;
    call->data_free = json_free;
    return json != NULL;
}

void kv_call_reply_kept(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    json_t *json = call->data;
    call->data = NULL;
    kv_call_reply(call, 200, json);
}

static void reply_error(struct kv_call *call, const struct kv_http_error *error,
                        const char *message, const struct kv_err *err)
{
    enum kv_log_level level = error->status == 500  ? KV_LOG_ERROR
                              : error->status > 500 ? KV_LOG_WARN
                                                    : KV_LOG_DEBUG;
    kv_log(call->task.service->log, level, "api.refused",
           KV_S("operation", call->route != NULL ? call->route->operation : ""),
           KV_I("status", error->status), KV_S("code", error->code),
           KV_S("error", err != NULL ? err->id : ""),
           KV_S("principal", call->principal.id), KV_S("message", message));
    conclude(call, error->status,
             kv_error_body(error, message, err != NULL ? err->id : NULL,
                           err != NULL ? err->hint : NULL),
             error->code, err != NULL ? err->id : "");
}

void kv_call_replace_reply(struct kv_call *call, int rc, const struct kv_err *err)
{
    struct kv_http_error error;
    bool has_message = err->message[0] != '\0';
    kv_error_map(rc != KV_E_NOMEM ? KV_E_UNAVAILABLE : rc, err->id, NULL, &error);
    json_decref(call->reply);
    call->status = error.status;
    call->reply = kv_error_body(&error, has_message ? err->message : kv_code_text(rc),
                                err->id, err->hint);
}

void kv_call_fail(struct kv_task *task, int rc, const struct kv_err *err)
{
    struct kv_call *call = kv_call_of(task);
    struct kv_http_error error;
    if (rc == KV_E_CONFLICT && call->n_attempts < ATTEMPTS_MAX &&
        !task->service->is_stopping) {
        call->n_attempts++;
        drop_data(call);
        struct kv_service *service = task->service;
        kv_task_fini(task);
        kv_task_init(task, service, call->host_vault, kv_call_fail);
        call->route->run(call);
        return;
    }
    kv_error_map(rc, err != NULL ? err->id : NULL,
                 call->route != NULL ? kv_route_collection(call->route) : NULL, &error);
    bool has_message = err != NULL && err->message[0] != '\0';
    reply_error(call, &error, has_message ? err->message : kv_code_text(rc), err);
}

/* --- who ------------------------------------------------------------------------- */

static void refuse_unauthorized(struct kv_service *service,
                                struct kv_http_request *request)
{
    char value[512];
    uint8_t id[KV_ID_LEN] = {0};
    const struct kv_vault *vault =
        kv_service_vault_by_host(service, kv_http_header(request, "host"));
    bool has_own = vault != NULL && vault->tenant[0] != '\0';
    struct kv_challenge challenge = {.domain = service->domain,
                                     .tenant =
                                         has_own ? vault->tenant : service->tenant,
                                     .port = service->port};
    struct kv_http_error error = {401, "Unauthorized", NULL};
    if (kv_challenge_format(&challenge, value, sizeof(value)) == 0)
        set_header(request, "WWW-Authenticate", value);
    make_id(service, id);
    kv_call_tell_unauthorized(service, request, id);
    answer(request, id, 401,
           kv_error_body(&error, "The request carries no valid bearer token.",
                         "api.unauthorized",
                         "get a token from the authority named in WWW-Authenticate"),
           0);
}

/* Before the body is read: a client's first request has neither token nor body, and
 * nothing but the challenge may answer it. */
static int on_head(void *arg, struct kv_http_request *request)
{
    struct kv_service *service = arg;
    struct kv_principal principal;
    if (kv_authority_serves(request) ||
        kv_caller_find(service, request, &principal) != KV_CALLER_NOBODY)
        return 0;
    refuse_unauthorized(service, request);
    return 1;
}

static void on_request(void *arg, struct kv_http_request *request)
{
    if (kv_authority_serves(request))
        kv_authority_start(arg, request);
    else
        kv_call_start(arg, request);
}

static const char *on_error(void *arg, int status, struct kv_buf *body)
{
    (void)arg;
    struct kv_http_error error = {status, kv_error_code_of_status(status), NULL};
    json_t *json = kv_error_body(&error, "The HTTP request cannot be served.",
                                 "api.bad-request", NULL);
    if (kv_json_write(json, body) != 0)
        kv_buf_reset(body);
    json_decref(json);
    return "application/json; charset=utf-8";
}

void kv_call_handler(struct kv_service *service, struct kv_http_handler *handler)
{
    *handler = (struct kv_http_handler){.on_head = on_head,
                                        .on_request = on_request,
                                        .on_error = on_error,
                                        .arg = service};
}

static bool is_restore(const char *method, const char *path)
{
    return strcmp(method, "POST") == 0 && (strcmp(path, "/keys/restore") == 0 ||
                                           strcmp(path, "/secrets/restore") == 0 ||
                                           strcmp(path, "/certificates/restore") == 0);
}

void kv_call_limits(struct kv_http_limits *limits)
{
    limits->is_long = is_restore;
    limits->long_body_max_bytes = BODY_MAX;
}

static void on_gone(void *arg, struct kv_http_request *request)
{
    struct kv_call *call = arg;
    (void)request;
    call->request = NULL;
}

static void on_principal(void *arg, int rc, const struct kv_principal *principal)
{
    struct kv_call *call = arg;
    if (rc != 0) {
        kv_call_fail(&call->task, rc, NULL);
        return;
    }
    call->principal = *principal;
    dispatch(call);
}

static void find_principal(struct kv_call *call);

static void on_waited(void *arg)
{
    struct kv_call *call = arg;
    if (call->request != NULL)
        find_principal(call);
    else
        end(call);
}

static void refuse_and_end(struct kv_call *call)
{
    refuse_unauthorized(call->task.service, call->request);
    call->request = NULL;
    end(call);
}

static void find_principal(struct kv_call *call)
{
    struct kv_service *service = call->task.service;
    const struct kv_http_peer *peer = kv_http_peer(call->request);
    call->is_local = peer->is_unix;
    switch (kv_caller_find(service, call->request, &call->principal)) {
    case KV_CALLER_KNOWN:
        dispatch(call);
        return;
    case KV_CALLER_NOBODY:
        refuse_and_end(call);
        return;
    case KV_CALLER_WAIT:
        if (call->n_waits++ > 0 ||
            kv_caller_wait(service, call->request, on_waited, call) != 0)
            refuse_and_end(call);
        return;
    case KV_CALLER_ASK:
        break;
    }
    int rc = kv_principals_resolve(service->principals, peer->uid, on_principal, call);
    if (rc != 0)
        kv_call_fail(&call->task, rc, NULL);
}

void kv_call_start(struct kv_service *service, struct kv_http_request *request)
{
    struct kv_call *call = calloc(1, sizeof(*call));
    if (call == NULL) {
        static const uint8_t none[KV_ID_LEN];
        answer(request, none, 500, NULL, 0);
        return;
    }
    make_id(service, call->id);
    call->begun_us = kv_monotonic_us(service->clock);
    call->is_health = strcmp(kv_http_path(request), "/keyvault/v1/status") == 0;
    kv_task_init(&call->task, service,
                 kv_service_vault_by_host(service, kv_http_header(request, "host")),
                 kv_call_fail);
    call->host_vault = call->task.vault;
    call->request = request;
    kv_http_on_gone(request, on_gone, call);
    find_principal(call);
}

/* --- checks, in the contract's order ---------------------------------------------- */

static int check_version(struct kv_call *call, struct kv_err *err)
{
    char version[64];
    const char *query = kv_http_query(call->request);
    bool is_ours = kv_str_has_prefix(kv_http_path(call->request), "/keyvault/");
    if (!kv_query_is_valid(query))
        return kv_err_set(err, KV_E_INVALID, "api.bad-query",
                          "the query string is not valid percent-encoded UTF-8");
    int found = kv_query_get(query, "api-version", version, sizeof(version));
    if (is_ours && found == 0)
        return 0;
    if (found == 0) {
        kv_err_set(err, KV_E_INVALID, "api.bad-version",
                   "the query parameter 'api-version' is required");
        kv_err_hint(err, "add api-version=2025-07-01");
        return KV_E_INVALID;
    }
    if (found < 0 || !kv_api_version_is_known(version)) {
        kv_err_set(err, KV_E_INVALID, "api.bad-version",
                   "the query parameter 'api-version' names a version that is not "
                   "served");
        kv_err_hint(err, "use 7.0 to 7.6 or 2025-07-01");
        return KV_E_INVALID;
    }
    return 0;
}

static int check_route(struct kv_call *call, const struct kv_route_match *match,
                       struct kv_err *err)
{
    if (match->route != NULL)
        return 0;
    if (!match->is_path_known)
        return kv_err_set(err, KV_E_NOT_FOUND, "api.no-route",
                          "nothing is served at this path");
    set_header(call->request, "Allow", match->allow);
    return kv_err_set(err, KV_E_INVALID, "api.no-method",
                      "this path is served for %s only", match->allow);
}

static int check_names(struct kv_call *call, const struct kv_route_match *match,
                       struct kv_err *err)
{
    if (strstr(call->route->path, "{name}") != NULL) {
        if (!kv_name_is_valid(match->name, strlen(match->name)))
            return kv_err_set(err, KV_E_INVALID, "api.bad-name",
                              "a name has 1 to 127 letters, digits and hyphens");
        KV_ASSERT(kv_str_copy(call->name, sizeof(call->name), match->name) == 0);
    }
    if (match->version[0] == '\0')
        return 0;
    call->has_version = true;
    if (strlen(match->version) != KV_VERSION_TEXT_LEN ||
        kv_hex_decode(call->version, KV_ID_LEN, match->version) != 0)
        return kv_err_set(err, KV_E_INVALID, "api.bad-object-version",
                          "a version has 32 lower-case hexadecimal digits");
    return 0;
}

static int read_body(struct kv_call *call, struct kv_err *err)
{
    size_t len = 0;
    uint8_t *body = kv_http_body(call->request, &len);
    if (!call->route->has_body)
        return 0;
    if (len > 0 &&
        !kv_json_is_media_type(kv_http_header(call->request, "content-type")))
        return kv_err_set(err, KV_E_INVALID, "api.bad-content-type",
                          "the body must be sent as application/json");
    int rc = kv_json_parse(body, len, &call->body, err);
    if (len > 0)
        kv_wipe(body, len);
    return rc;
}

/* Zeros mean the current version inside; no version is named so. */
static int check_object(const struct kv_call *call, struct kv_err *err)
{
    if (!call->has_version || !kv_id_is_zero(call->version))
        return 0;
    return kv_err_set(err, KV_E_NOT_FOUND, "object.not-found",
                      "'%s' has no such version", call->name);
}

/* Routes about the installation: the host may name a vault that is gone. */
static bool is_of_installation(const struct kv_call *call)
{
    static const char *const paths[] = {"/keyvault/v1/vaults",
                                        "/keyvault/v1/deletedvaults"};
    const char *path = kv_http_path(call->request);
    return kv_str_has_prefix(path, paths[0]) || kv_str_has_prefix(path, paths[1]);
}

static int check_ready(struct kv_call *call, struct kv_err *err)
{
    struct kv_service *service = call->task.service;
    if (call->task.vault == NULL && is_of_installation(call))
        call->task.vault = call->host_vault = kv_service_vault_by_name(service, "");
    if (service->is_ready && call->task.vault != NULL)
        return 0;
    if (service->is_ready)
        return kv_err_set(err, KV_E_NOT_FOUND, "vault.not-found",
                          "the host name is that of no vault");
    if (kv_keyring_is_sealed(service->keyring)) {
        kv_err_set(err, KV_E_SEALED, "keyring.sealed", "the vault is sealed");
        kv_err_hint(err, "open a slot of the installation");
        return KV_E_SEALED;
    }
    kv_err_set(err, KV_E_UNAVAILABLE, "service.starting",
               "the service is starting or waits for the keyring");
    kv_err_hint(err, "try again shortly");
    return KV_E_UNAVAILABLE;
}

static void dispatch(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_route_match match;
    int rc = 0;
    if (call->request == NULL) { /* hung up while we asked who it was */
        end(call);
        return;
    }
    if (!call->is_health)
        KV_TRY(check_ready(call, &err));
    kv_route_find(kv_http_method(call->request), kv_http_path(call->request), &match);
    call->route = match.route;
    KV_TRY(kv_call_throttle(call, &err)); /* what is refused below costs as much */
    KV_TRY(check_version(call, &err));
    KV_TRY(check_route(call, &match, &err));
    KV_TRY(check_names(call, &match, &err));
    if (call->route->action != 0)
        KV_TRY(kv_call_check_access(call, &err));
    KV_TRY(read_body(call, &err));
    KV_TRY(check_object(call, &err));
out:
    if (rc != 0)
        kv_call_fail(&call->task, rc, &err);
    else
        kv_call_admit(call);
}

/* --- shared by handlers ------------------------------------------------------------
 */

int kv_call_check_own(const struct kv_call *call, const struct kv_row *row,
                      struct kv_err *err)
{
    if ((row->flags & KV_ROW_MANAGED) == 0)
        return 0;
    return kv_err_set(err, KV_E_DENIED, "api.managed",
                      "the %s '%s' belongs to the certificate of the same name",
                      kv_kind_name(row->key.kind), call->name);
}

int kv_call_check_head(struct kv_call *call, const struct kv_row *head)
{
    struct kv_err err = KV_ERR_INIT;
    int rc = 0;
    const char *kind = kv_kind_name(head->key.kind);
    if ((head->flags & KV_ROW_DELETED) == 0) {
        rc = kv_call_check_own(call, head, &err);
    } else {
        rc = kv_err_set(&err, KV_E_EXISTS, "api.deleted",
                        "the %s '%s' is deleted but recoverable: its name cannot be "
                        "used",
                        kind, head->key.name);
        kv_err_hint(&err, "keyvault %s recover %s, or purge", kind, head->key.name);
    }
    if (rc == 0)
        return 0;
    kv_call_fail(&call->task, rc, &err);
    return rc;
}
