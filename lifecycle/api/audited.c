/*
 * Calls in the audit log: a record of type req before anything is done, one of type res
 * before the reply leaves, both with the id of the reply's x-ms-request-id.
 *
 * What changes something or uses a key waits until its first record is durable. What
 * only reads does not: its effect is the reply, and the record that the reply waits for
 * stands behind the first in the same file. Refused calls have both records, too, and
 * those without a valid token have one of type refuse; beyond a rate they are counted.
 */
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/audit/audit.h"
#include "lifecycle/auth/uuid.h"
#include "store/core/str.h"

#define TEXT_MAX 64
#define INPUT_MAX 65536

static const char *kind_text(const struct kv_principal *principal)
{
    static const char *const texts[] = {
        [KV_PRINCIPAL_NONE] = "",       [KV_PRINCIPAL_UNIX] = "unix",
        [KV_PRINCIPAL_ADMIN] = "admin", [KV_PRINCIPAL_APP] = "app",
        [KV_PRINCIPAL_USER] = "user",   [KV_PRINCIPAL_MTLS] = "mtls",
    };
    size_t i = (size_t)principal->kind;
    return i < sizeof(texts) / sizeof(texts[0]) ? texts[i] : "";
}

static void put_peer(struct kv_audit *audit, struct kv_buf *body,
                     const struct kv_http_request *request)
{
    const struct kv_http_peer *peer = kv_http_peer(request);
    const char *token = kv_http_header(request, "authorization");
    kv_audit_put_text(body, "client", kv_http_header(request, "x-ms-client-request-id"),
                      TEXT_MAX);
    kv_audit_put_text(body, "peer", peer->is_unix ? "unix" : peer->address, TEXT_MAX);
    if (peer->is_unix) {
        kv_audit_put_number(body, "uid", peer->uid);
        kv_audit_put_number(body, "pid", (uint64_t)peer->pid);
    }
    if (token != NULL)
        kv_audit_put_digest(audit, body, "token", token, strlen(token));
    kv_audit_put_text(body, "method", kv_http_method(request), 16);
}

/* Algorithm and a digest of what is signed, verified or decrypted; never of what is
 * stored or encrypted, which may be guessed. */
static void put_input(struct kv_audit *audit, struct kv_buf *body,
                      const struct kv_call *call)
{
    static const char *const uses[] = {"sign", "verify", "decrypt", "unwrapKey"};
    const json_t *value = json_object_get(call->body, "value");
    kv_audit_put_text(body, "alg",
                      json_string_value(json_object_get(call->body, "alg")), 32);
    if (strcmp(call->route->operation, "verify") == 0)
        value = json_object_get(call->body, "digest");
    for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++)
        if (strcmp(call->route->operation, uses[i]) == 0 &&
            json_string_length(value) > 0 && json_string_length(value) <= INPUT_MAX)
            kv_audit_put_digest(audit, body, "input", json_string_value(value),
                                json_string_length(value));
}

static void put_object(struct kv_audit *audit, struct kv_buf *body,
                       const struct kv_call *call)
{
    if (call->host_vault != NULL)
        kv_audit_put_text(body, "vault", call->host_vault->name, KV_VAULT_NAME_MAX);
    if (call->route == NULL) {
        if (call->request != NULL)
            kv_audit_put_text(body, "path", kv_http_path(call->request), TEXT_MAX);
        return;
    }
    kv_audit_put_text(body, "op", call->route->operation, TEXT_MAX);
    kv_audit_put_text(body, "object", kv_route_collection(call->route), TEXT_MAX);
    kv_audit_put_text(body, "name", call->name, KV_NAME_MAX);
    if (call->has_version)
        kv_audit_put_hex(body, "version", call->version, KV_ID_LEN);
    put_input(audit, body, call);
}

static void put_id(struct kv_buf *body, const struct kv_call *call)
{
    char uuid[37];
    kv_uuid_format(call->id, uuid);
    kv_audit_put_text(body, "id", uuid, sizeof(uuid));
}

static struct kv_buf *begin_request(const struct kv_call *call, const char *decision)
{
    struct kv_audit *audit = call->task.service->audit;
    struct kv_buf *body = kv_audit_begin(audit, "req");
    put_id(body, call);
    kv_audit_put_text(body, "principal", call->principal.id, KV_PRINCIPAL_MAX);
    kv_audit_put_text(body, "kind", kind_text(&call->principal), TEXT_MAX);
    kv_audit_put_text(body, "tenant", call->principal.tenant, TEXT_MAX);
    kv_audit_put_text(body, "oid", call->principal.oid, TEXT_MAX);
    kv_audit_put_text(body, "app", call->principal.app, TEXT_MAX);
    if (call->request != NULL)
        put_peer(audit, body, call->request);
    put_object(audit, body, call);
    kv_audit_put_text(body, "decision", decision, 16);
    return body;
}

bool kv_call_is_audited(const struct kv_call *call)
{
    const struct kv_service *service = call->task.service;
    return service->audit != NULL && service->is_ready && !call->is_health;
}

static void on_admitted(void *arg, int rc, const struct kv_err *err)
{
    struct kv_call *call = arg;
    call->task.service->n_running--;
    if (rc != 0)
        kv_call_fail(&call->task, KV_E_UNAVAILABLE, err);
    else
        call->route->run(call);
}

void kv_call_admit(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    if (!kv_call_is_audited(call)) {
        call->route->run(call);
        return;
    }
    bool is_read = strcmp(call->route->method, "GET") == 0;
    (void)begin_request(call, "allow");
    int rc = kv_audit_end(call->task.service->audit, is_read ? NULL : on_admitted, call,
                          &err);
    if (rc != 0) {
        kv_call_fail(&call->task, rc, &err);
        return;
    }
    call->is_told = true;
    if (is_read)
        call->route->run(call);
    else
        call->task.service->n_running++;
}

/* --- the result --------------------------------------------------------------------
 */

static void on_concluded(void *arg, int rc, const struct kv_err *err)
{
    struct kv_call *call = arg;
    call->task.service->n_running--;
    if (rc != 0)
        kv_call_replace_reply(call, rc, err);
    kv_call_send(call);
}

static int tell_result(struct kv_call *call, const char *code, const char *error,
                       struct kv_err *err)
{
    struct kv_audit *audit = call->task.service->audit;
    const int64_t now_us = kv_monotonic_us(call->task.service->clock);
    if (!call->is_told) {
        bool is_denied = strcmp(error, "api.forbidden") == 0 ||
                         strcmp(error, "api.denied-by-policy") == 0;
        (void)begin_request(call, is_denied ? "deny" : "none");
        int rc = kv_audit_end(audit, NULL, NULL, err);
        if (rc != 0)
            return rc;
        call->is_told = true;
    }
    struct kv_buf *body = kv_audit_begin(audit, "res");
    put_id(body, call);
    kv_audit_put_number(body, "status", (uint64_t)call->status);
    kv_audit_put_text(body, "code", code, TEXT_MAX);
    kv_audit_put_text(body, "error", error, TEXT_MAX);
    if (call->request == NULL)
        kv_audit_put_number(body, "gone", 1); /* nobody waits for the reply */
    kv_audit_put_number(body, "us", (uint64_t)(now_us - call->begun_us));
    return kv_audit_end(audit, on_concluded, call, err);
}

void kv_call_conclude(struct kv_call *call, const char *code, const char *error)
{
    struct kv_err err = KV_ERR_INIT;
    /* Who is refused must not fill the disk with that, nor push out older records. */
    bool is_counted = !call->is_told && kv_call_is_audited(call) &&
                      !kv_audit_may_refuse(call->task.service->audit);
    if (!kv_call_is_audited(call) || is_counted) {
        kv_call_send(call);
        return;
    }
    int rc = tell_result(call, code, error, &err);
    if (rc == 0) {
        call->task.service->n_running++;
        return;
    }
    kv_call_replace_reply(call, rc, &err);
    kv_call_send(call);
}

void kv_call_tell_unauthorized(struct kv_service *service,
                               const struct kv_http_request *request, const uint8_t *id)
{
    struct kv_audit *audit = service->audit;
    if (audit == NULL || !kv_audit_is_running(audit) || !kv_audit_may_refuse(audit))
        return;
    char uuid[37];
    kv_uuid_format(id, uuid);
    struct kv_buf *body = kv_audit_begin(audit, "refuse");
    kv_audit_put_text(body, "id", uuid, sizeof(uuid));
    put_peer(audit, body, request);
    kv_audit_put_text(body, "path", kv_http_path(request), TEXT_MAX);
    kv_audit_put_number(body, "status", 401);
    if (kv_audit_end(audit, NULL, NULL, NULL) != 0)
        return; /* nothing was done, and the log has said that it stopped */
}

/* --- sign-ins --- */

static struct kv_buf *begin_signin(struct kv_audit *audit,
                                   const struct kv_http_request *request,
                                   const char *client, const char *decision)
{
    struct kv_buf *body = kv_audit_begin(audit, "signin");
    kv_audit_put_text(body, "app", client, TEXT_MAX);
    if (request != NULL)
        put_peer(audit, body, request);
    kv_audit_put_text(body, "decision", decision, 16);
    return body;
}

int kv_call_tell_signin(struct kv_service *service,
                        const struct kv_http_request *request, const char *client,
                        kv_audit_cb cb, void *arg, struct kv_err *err)
{
    (void)begin_signin(service->audit, request, client, "allow");
    return kv_audit_end(service->audit, cb, arg, err);
}

void kv_call_tell_no_signin(struct kv_service *service,
                            const struct kv_http_request *request, const char *client,
                            const char *error)
{
    struct kv_audit *audit = service->audit;
    if (audit == NULL || !kv_audit_is_running(audit) || !kv_audit_may_refuse(audit))
        return;
    struct kv_buf *body = begin_signin(audit, request, client, "deny");
    kv_audit_put_text(body, "error", error, TEXT_MAX);
    if (kv_audit_end(audit, NULL, NULL, NULL) != 0)
        return; /* nothing was given, and the log has said that it stopped */
}
