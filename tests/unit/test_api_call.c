/*
 * One call from request to reply: the order of its checks, and what becomes of it when
 * the client leaves, the keyring or the store fails, or the service stops.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/api/call.h"
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

TestSuite(api_call, .timeout = 120, .init = setup, .fini = teardown);

#define SECRET "{\"value\":\"hunter2\"}"
#define ZEROS "00000000000000000000000000000000"
#define ONES "11111111111111111111111111111111"

struct row {
    const char *why;
    const char *method;
    const char *path;
    const char *body;
    int status;
    const char *code;
    const char *id;
};

static void check(const struct row *row)
{
    json_t *json = NULL;
    int status = desk_call(&desk, row->method, row->path, row->body, &json);
    cr_assert_eq(status, row->status, "%s: %d %s", row->why, status,
                 desk_error(json, "message"));
    cr_assert_str_eq(desk_error(json, "code"), row->code, "%s", row->why);
    cr_assert_str_eq(desk_error(json, "id"), row->id, "%s", row->why);
    cr_assert(row->status < 400 || desk_error(json, "message")[0] != '\0', "%s",
              row->why);
    json_decref(json);
}

static const struct row rows[] = {
    {"unknown path", "GET", "/nothing", NULL, 404, "NotFound", "api.no-route"},
    {"method", "PATCH", "/keys", NULL, 405, "MethodNotAllowed", "api.no-method"},
    {"name", "GET", "/keys/under_score", NULL, 400, "BadParameter", "api.bad-name"},
    {"no name", "PUT", "/keys/", SECRET, 400, "BadParameter", "api.bad-name"},
    {"dots", "GET", "/secrets/..", NULL, 400, "BadParameter", "api.bad-name"},
    {"slash in a name", "GET", "/secrets/a%2Fb", NULL, 400, "BadParameter",
     "api.bad-name"},
    {"short version", "GET", "/keys/n/1", NULL, 400, "BadParameter",
     "api.bad-object-version"},
    {"upper case version", "GET", "/keys/n/ABCDEF00000000000000000000000000", NULL, 400,
     "BadParameter", "api.bad-object-version"},
    {"name before body", "PUT", "/secrets/a_b", "{", 400, "BadParameter",
     "api.bad-name"},
    {"no body", "PUT", "/secrets/s", NULL, 400, "BadParameter", "api.no-body"},
    {"broken body", "PUT", "/secrets/s", "{", 400, "BadParameter", "api.bad-body"},
    {"body before existence", "POST", "/keys/absent//sign", "[]", 400, "BadParameter",
     "api.bad-body"},
    {"no key", "GET", "/keys/absent", NULL, 404, "KeyNotFound", "object.not-found"},
    {"no secret", "GET", "/secrets/absent/" ONES, NULL, 404, "SecretNotFound",
     "object.not-found"},
    {"zeros are no version", "GET", "/secrets/s/" ZEROS, NULL, 404, "SecretNotFound",
     "object.not-found"},
    {"nor of a key to use", "POST", "/keys/k/" ZEROS "/sign",
     "{\"alg\":\"ES256\",\"value\":\"AQ\"}", 404, "KeyNotFound", "object.not-found"},
    {"known and not offered", "POST", "/keys/k/release", NULL, 400, "NotSupported",
     "api.not-offered"},
    {"latest", "GET", "/secrets/s/", NULL, 200, "", ""},
};

Test(api_call, checks_come_in_the_order_of_the_contract)
{
    cr_assert_eq(desk_call(&desk, "PUT", "/secrets/s", SECRET, NULL), 200);
    cr_assert_eq(desk_call(&desk, "POST", "/keys/k/create", "{\"kty\":\"EC\"}", NULL),
                 200);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check(&rows[i]);
}

/* One raw request; the status and the body's error id. */
static int raw(const char *text, struct desk_reply *reply)
{
    int client = desk_connect(&desk);
    desk_send_raw(&desk, client, text);
    int status = desk_read(&desk, client, reply);
    (void)close(client);
    return status;
}

#define HOST "Host: default.vault.localhost\r\n"

Test(api_call, the_api_version_is_checked_before_path_and_method)
{
    static const char *const targets[] = {
        "/secrets/s", "/nothing", "/secrets/s?api-version=8.0",
        "/secrets/s?api-version=", "/secrets/s?apiversion=7.5"};
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        char text[256];
        struct desk_reply reply;
        (void)snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n" HOST "\r\n",
                       targets[i]);
        cr_assert_eq(raw(text, &reply), 400, "%s", targets[i]);
        cr_assert_str_eq(desk_error(reply.json, "id"), "api.bad-version");
        desk_reply_free(&reply);
    }
    struct desk_reply reply;
    cr_assert_eq(
        raw("GET /secrets?x=%zz&api-version=7.5 HTTP/1.1\r\n" HOST "\r\n", &reply),
        400);
    cr_assert_str_eq(desk_error(reply.json, "id"), "api.bad-query");
    desk_reply_free(&reply);
    cr_assert_eq(raw("GET /secrets?api%2Dversion=7.5 HTTP/1.1\r\n" HOST "\r\n", &reply),
                 200);
    desk_reply_free(&reply);
    cr_assert_eq(raw("GET /keyvault/v1/status HTTP/1.1\r\n" HOST "\r\n", &reply), 200,
                 "our own routes need none");
    desk_reply_free(&reply);
    cr_assert_eq(
        raw("GET /keyvault/v1/status?api-version=1 HTTP/1.1\r\n" HOST "\r\n", &reply),
        400, "but take no wrong one");
    desk_reply_free(&reply);
}

static int put_as(const char *content_type, struct desk_reply *reply)
{
    char text[512];
    (void)snprintf(text, sizeof(text),
                   "PUT /secrets/s?api-version=7.5 HTTP/1.1\r\n" HOST "%s%s%s"
                   "Content-Length: %zu\r\n\r\n%s",
                   content_type != NULL ? "Content-Type: " : "",
                   content_type != NULL ? content_type : "",
                   content_type != NULL ? "\r\n" : "", strlen(SECRET), SECRET);
    return raw(text, reply);
}

Test(api_call, a_body_of_another_type_is_not_read)
{
    struct desk_reply reply;
    cr_assert_eq(put_as("text/plain", &reply), 415);
    cr_assert_str_eq(desk_error(reply.json, "code"), "UnsupportedMediaType");
    cr_assert_str_eq(desk_error(reply.json, "id"), "api.bad-content-type");
    desk_reply_free(&reply);
    cr_assert_eq(put_as("application/json; charset=utf-8", &reply), 200);
    desk_reply_free(&reply);
    cr_assert_eq(put_as(NULL, &reply), 200);
    desk_reply_free(&reply);
}

/* --- headers -----------------------------------------------------------------------
 */

static int get_with_id(const char *id, struct desk_reply *reply)
{
    char text[512];
    (void)snprintf(text, sizeof(text),
                   "GET /secrets?api-version=7.5 HTTP/1.1\r\n" HOST
                   "x-ms-client-request-id: %s\r\n\r\n",
                   id);
    return raw(text, reply);
}

Test(api_call, the_clients_request_id_comes_back_and_brings_nothing_else)
{
    char big[200];
    struct desk_reply reply;
    cr_assert_eq(get_with_id("3f-\xc3\xa4", &reply), 200);
    cr_assert_not_null(strstr(reply.head, "x-ms-client-request-id: 3f-\xc3\xa4\r\n"));
    cr_assert_not_null(strstr(reply.head, "x-ms-request-id: "));
    cr_assert_not_null(strstr(reply.head, "x-ms-keyvault-service-version: "));
    desk_reply_free(&reply);
    memset(big, 'a', sizeof(big));
    big[129] = '\0';
    cr_assert_eq(get_with_id(big, &reply), 200);
    cr_assert_null(strstr(reply.head, "client-request-id"), "too long to repeat");
    desk_reply_free(&reply);
    cr_assert_eq(get_with_id("a\rSet-Cookie: b=c", &reply), 400, "by the HTTP server");
    cr_assert_null(strstr(reply.head, "Set-Cookie"));
    cr_assert_str_eq(desk_error(reply.json, "code"), "BadParameter");
    desk_reply_free(&reply);
}

Test(api_call, a_wrong_method_is_told_the_right_ones)
{
    struct desk_reply reply;
    cr_assert_eq(raw("PATCH /keys?api-version=7.5 HTTP/1.1\r\n" HOST
                     "Content-Length: 0\r\n\r\n",
                     &reply),
                 405);
    cr_assert_not_null(strstr(reply.head, "Allow: GET\r\n"), "%s", reply.head);
    desk_reply_free(&reply);
}

/* --- rights ------------------------------------------------------------------------
 */

Test(api_call, without_a_role_nothing_is_learned)
{
    static const struct row denied[] = {
        {"existing", "GET", "/secrets/s", NULL, 403, "Forbidden", "api.forbidden"},
        {"absent", "GET", "/secrets/absent", NULL, 403, "Forbidden", "api.forbidden"},
        {"zeros", "GET", "/secrets/s/" ZEROS, NULL, 403, "Forbidden", "api.forbidden"},
        {"list", "GET", "/secrets", NULL, 403, "Forbidden", "api.forbidden"},
        {"broken body", "PUT", "/secrets/s", "{", 403, "Forbidden", "api.forbidden"},
        {"no body", "PUT", "/secrets/s", NULL, 403, "Forbidden", "api.forbidden"},
        {"not offered", "POST", "/keys/k/release", NULL, 403, "Forbidden",
         "api.forbidden"},
        {"name", "GET", "/secrets/a_b", NULL, 400, "BadParameter", "api.bad-name"},
        {"path", "GET", "/nothing", NULL, 404, "NotFound", "api.no-route"},
        {"grant", "PUT", "/keyvault/v1/assignments",
         "{\"principal\":\"unix:a\",\"role\":\"reader\"}", 403, "Forbidden",
         "api.forbidden"},
    };
    cr_assert_eq(desk_call(&desk, "PUT", "/secrets/s", SECRET, NULL), 200);
    desk.service.admin_uid = (uid_t)-1;
    for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++)
        check(&denied[i]);
    json_t *json = NULL;
    cr_assert_eq(desk_call(&desk, "GET", "/secrets/s", NULL, &json), 403);
    const json_t *error = json_object_get(json, "error");
    cr_assert_str_eq(json_string_value(
                         json_object_get(json_object_get(error, "innererror"), "code")),
                     "ForbiddenByRbac");
    json_decref(json);
    cr_assert_eq(desk_call(&desk, "GET", "/keyvault/v1/assignments", NULL, &json), 200);
    cr_assert_eq(json_array_size(json_object_get(json, "value")), 0);
    json_decref(json);
}

/* --- what may not be there yet -----------------------------------------------------
 */

Test(api_call, before_it_is_ready_only_the_state_is_told)
{
    static const struct row starting = {
        "starting",        "GET", "/secrets", NULL, 503, "ServiceUnavailable",
        "service.starting"};
    static const struct row sealed = {
        "sealed", "GET", "/secrets", NULL, 503, "ServiceUnavailable", "keyring.sealed"};
    desk.service.is_ready = false;
    check(&starting);
    json_t *json = NULL;
    cr_assert_eq(desk_call(&desk, "GET", "/keyvault/v1/status", NULL, &json), 200);
    cr_assert_str_eq(json_string_value(json_object_get(json, "state")), "starting");
    json_decref(json);
    desk.link.is_sealed = true;
    check(&sealed);
    cr_assert_eq(desk_call(&desk, "GET", "/keyvault/v1/status", NULL, &json), 200);
    cr_assert_str_eq(json_string_value(json_object_get(json, "state")), "sealed");
    json_decref(json);
}

Test(api_call, while_the_keyring_is_away_clients_may_come_again)
{
    static const struct row away[] = {
        {"set", "PUT", "/secrets/s", SECRET, 503, "ServiceUnavailable",
         "keyring.unreachable"},
        {"get", "GET", "/secrets/old", NULL, 503, "ServiceUnavailable",
         "keyring.unreachable"},
        {"list", "GET", "/secrets", NULL, 503, "ServiceUnavailable",
         "keyring.unreachable"},
        {"create", "POST", "/keys/k/create", "{\"kty\":\"EC\"}", 503,
         "ServiceUnavailable", "keyring.unreachable"},
    };
    struct desk_reply reply;
    cr_assert_eq(desk_call(&desk, "PUT", "/secrets/old", SECRET, NULL), 200);
    desk.link.is_unreachable = true;
    for (size_t i = 0; i < sizeof(away) / sizeof(away[0]); i++)
        check(&away[i]);
    cr_assert_eq(
        raw("GET /secrets/old?api-version=7.5 HTTP/1.1\r\n" HOST "\r\n", &reply), 503);
    cr_assert_not_null(strstr(reply.head, "Retry-After: 1\r\n"));
    desk_reply_free(&reply);
    desk.link.is_unreachable = false;
    cr_assert_eq(desk_call(&desk, "GET", "/secrets/s", NULL, NULL), 404,
                 "nothing half made");
}

/* --- failures of others ------------------------------------------------------------
 */

static void fail_next(uint16_t verb, int rc, const char *id)
{
    desk.link.fail_verb = verb;
    desk.link.fail_rc = rc;
    desk.link.fail_id = id;
}

Test(api_call, a_refusal_of_the_keyring_is_the_reply)
{
    static const struct {
        uint16_t verb;
        int rc;
        const char *id;
        struct row row;
    } refusals[] = {
        {KV_ROLE_KEY_GENERATE,
         KV_E_UNSUPPORTED,
         "key.unsupported",
         {"create", "POST", "/keys/n/create", "{\"kty\":\"EC\"}", 400, "NotSupported",
          "key.unsupported"}},
        {KV_ROLE_KEY_SIGN,
         KV_E_STATE,
         "key.expired",
         {"sign", "POST", "/keys/k//sign",
          "{\"alg\":\"ES256\","
          "\"value\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
          403, "Forbidden", "key.expired"}},
        {KV_ROLE_KEY_INFO,
         KV_E_TIMEOUT,
         "keyring.timeout",
         {"get", "GET", "/keys/k", NULL, 503, "ServiceUnavailable", "keyring.timeout"}},
        {KV_ROLE_SEAL,
         KV_E_CRYPTO,
         "keyring.failed",
         {"seal", "PUT", "/secrets/n", SECRET, 500, "InternalServerError",
          "keyring.failed"}},
        {KV_ROLE_UNSEAL,
         KV_E_INTEGRITY,
         "seal.bad",
         {"unseal", "GET", "/secrets/s", NULL, 500, "InternalServerError", "seal.bad"}},
    };
    cr_assert_eq(desk_call(&desk, "PUT", "/secrets/s", SECRET, NULL), 200);
    cr_assert_eq(desk_call(&desk, "POST", "/keys/k/create", "{\"kty\":\"EC\"}", NULL),
                 200);
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        fail_next(refusals[i].verb, refusals[i].rc, refusals[i].id);
        check(&refusals[i].row);
        cr_assert_eq(desk.link.fail_verb, 0, "%s: the verb was asked",
                     refusals[i].row.why);
    }
}

Test(api_call, a_failed_write_changes_nothing_and_the_next_one_works)
{
    static const struct row failed = {"write",      "PUT", "/secrets/s",
                                      SECRET,       500,   "InternalServerError",
                                      "task.failed"};
    json_t *json = NULL;
    kv_memory_fail_apply(desk.service.store, 1, KV_E_IO, false);
    cr_assert_eq(desk_call(&desk, "PUT", "/secrets/s", SECRET, &json), failed.status);
    cr_assert_str_eq(desk_error(json, "code"), failed.code);
    json_decref(json);
    cr_assert_eq(desk_call(&desk, "GET", "/secrets/s", NULL, NULL), 404);
    cr_assert_eq(desk_call(&desk, "PUT", "/secrets/s", SECRET, NULL), 200);
}

Test(api_call, a_row_that_changed_meanwhile_is_written_again)
{
    json_t *json = NULL;
    cr_assert_eq(desk_call(&desk, "PUT", "/secrets/s", "{\"value\":\"1\"}", NULL), 200);
    unsigned before = desk.link.n_calls;
    kv_memory_fail_apply(desk.service.store, 1, KV_E_CONFLICT, false);
    cr_assert_eq(desk_call(&desk, "PUT", "/secrets/s", SECRET, NULL), 200);
    cr_assert_geq(desk.link.n_calls, before + 2, "sealed twice");
    cr_assert_eq(desk_call(&desk, "GET", "/secrets/s", NULL, &json), 200);
    cr_assert_str_eq(json_string_value(json_object_get(json, "value")), "hunter2");
    json_decref(json);
    cr_assert_eq(desk_call(&desk, "GET", "/secrets/s/versions", NULL, &json), 200);
    cr_assert_eq(json_array_size(json_object_get(json, "value")), 2, "once each");
    json_decref(json);
    kv_memory_fail_apply(desk.service.store, 1, KV_E_CONFLICT, false);
    cr_assert_eq(desk_call(&desk, "POST", "/keys/k/create", "{\"kty\":\"EC\"}", NULL),
                 200);
}

Test(api_call, two_writers_at_once_both_get_their_version)
{
    int clients[DESK_CLIENTS_MAX];
    desk.link.is_held = true;
    for (int i = 0; i < DESK_CLIENTS_MAX; i++) {
        clients[i] = desk_connect(&desk);
        desk_send(&desk, clients[i], "PUT", "/secrets/s", SECRET);
    }
    desk_settle(&desk);
    fake_link_release(&desk.link);
    desk_settle(&desk);
    for (int i = 0; i < DESK_CLIENTS_MAX; i++) {
        struct desk_reply reply;
        cr_assert_eq(desk_read(&desk, clients[i], &reply), 200, "client %d", i);
        desk_reply_free(&reply);
        (void)close(clients[i]);
    }
    size_t n = 0;
    char path[512] = "/secrets/s/versions?maxresults=25";
    for (int page = 0; page < 2; page++) {
        json_t *json = NULL;
        cr_assert_eq(desk_call(&desk, "GET", path, NULL, &json), 200);
        n += json_array_size(json_object_get(json, "value"));
        const char *link = json_string_value(json_object_get(json, "nextLink"));
        cr_assert_eq(link != NULL, page == 0);
        if (link != NULL)
            (void)snprintf(path, sizeof(path), "/secrets/s/versions?maxresults=25&%s",
                           strstr(link, "$skiptoken"));
        json_decref(json);
    }
    cr_assert_eq(n, DESK_CLIENTS_MAX);
}

/* --- clients that leave ------------------------------------------------------------
 */

/* Operations that wait for the keyring at some point. */
static const struct {
    const char *method;
    const char *path;
    const char *body;
} waiting[] = {
    {"PUT", "/secrets/s", SECRET},
    {"GET", "/secrets/s", NULL},
    {"GET", "/secrets", NULL},
    {"GET", "/secrets/s/versions", NULL},
    {"POST", "/keys/k/create", "{\"kty\":\"EC\",\"tags\":{\"a\":\"b\"}}"},
    {"GET", "/keys/k", NULL},
    {"GET", "/keys?maxresults=1", NULL},
    {"POST", "/keys/k//sign",
     "{\"alg\":\"ES256\",\"value\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}"},
    {"POST", "/keys/k//verify",
     "{\"alg\":\"ES256\",\"digest\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
     "\"value\":\"AA\"}"},
    {"POST", "/certificates/c/create",
     "{\"policy\":{\"key_props\":{\"kty\":\"EC\"},\"issuer\":{\"name\":\"Self\"},"
     "\"x509_props\":{\"subject\":\"CN=a\"}}}"},
    {"GET", "/certificates/c", NULL},
    {"GET", "/certificates/c/pending", NULL},
    {"PUT", "/keyvault/v1/assignments",
     "{\"principal\":\"unix:a\",\"role\":\"reader\"}"},
    {"DELETE", "/keyvault/v1/assignments",
     "{\"principal\":\"unix:a\",\"role\":\"reader\"}"},
};
#define N_WAITING (sizeof(waiting) / sizeof(waiting[0]))

Test(api_call, a_client_that_leaves_takes_nothing_with_it)
{
    cr_assert_eq(desk_call(&desk, "PUT", "/secrets/s", SECRET, NULL), 200);
    cr_assert_eq(desk_call(&desk, "POST", "/keys/k/create", "{\"kty\":\"EC\"}", NULL),
                 200);
    for (size_t i = 0; i < N_WAITING; i++) {
        int client = desk_connect(&desk);
        desk.link.is_held = true;
        desk_send(&desk, client, waiting[i].method, waiting[i].path, waiting[i].body);
        desk_settle(&desk);
        desk_hang_up(&desk, client);
        fake_link_release(&desk.link);
        desk_settle(&desk);
        cr_assert_eq(desk.service.n_running, 0, "%s", waiting[i].path);
    }
    json_t *json = NULL;
    cr_assert_eq(desk_call(&desk, "GET", "/secrets/s/versions", NULL, &json), 200);
    cr_assert_eq(json_array_size(json_object_get(json, "value")), 2,
                 "what was asked for is done all the same");
    json_decref(json);
}

Test(api_call, a_failure_after_the_client_has_left_answers_nobody)
{
    cr_assert_eq(desk_call(&desk, "PUT", "/secrets/s", SECRET, NULL), 200);
    cr_assert_eq(desk_call(&desk, "POST", "/keys/k/create", "{\"kty\":\"EC\"}", NULL),
                 200);
    for (size_t i = 0; i < N_WAITING; i++) {
        int client = desk_connect(&desk);
        desk.link.is_held = true;
        desk_send(&desk, client, waiting[i].method, waiting[i].path, waiting[i].body);
        desk_settle(&desk);
        desk_hang_up(&desk, client);
        desk.link.is_unreachable = true;
        fake_link_release(&desk.link);
        desk_settle(&desk);
        desk.link.is_unreachable = false;
        cr_assert_eq(desk.service.n_running, 0, "%s", waiting[i].path);
    }
}

Test(api_call, a_conflict_after_the_client_has_left_is_still_settled)
{
    int client = desk_connect(&desk);
    desk.link.is_held = true;
    desk_send(&desk, client, "PUT", "/secrets/s", SECRET);
    desk_settle(&desk);
    desk_hang_up(&desk, client);
    kv_memory_fail_apply(desk.service.store, 1, KV_E_CONFLICT, false);
    fake_link_release(&desk.link);
    desk_settle(&desk);
    cr_assert_eq(desk_call(&desk, "GET", "/secrets/s", NULL, NULL), 200);
}

Test(api_call, a_client_may_leave_while_it_is_asked_who_it_is)
{
    desk.service.admin_uid = (uid_t)-1;
    for (int i = 0; i < 8; i++) {
        int client = desk_connect(&desk);
        desk_send(&desk, client, "GET", "/secrets", NULL);
        (void)uv_run(desk.service.loop, UV_RUN_NOWAIT);
        (void)close(client);
    }
    desk_settle(&desk);
    cr_assert_eq(desk_call(&desk, "GET", "/secrets", NULL, NULL), 403);
}

Test(api_call, a_client_may_leave_in_the_middle_of_its_body)
{
    int client = desk_connect(&desk);
    desk_send_raw(&desk, client,
                  "PUT /secrets/s?api-version=7.5 HTTP/1.1\r\n" HOST
                  "Content-Length: 100\r\n\r\n{\"value\":");
    desk_settle(&desk);
    desk_hang_up(&desk, client);
    cr_assert_eq(desk_call(&desk, "GET", "/secrets/s", NULL, NULL), 404);
}

Test(api_call, requests_on_one_connection_are_answered_in_order)
{
    int client = desk_connect(&desk);
    for (int i = 0; i < 20; i++) {
        struct desk_reply reply;
        desk_send(&desk, client, "PUT", "/secrets/s", SECRET);
        cr_assert_eq(desk_read(&desk, client, &reply), 200);
        desk_reply_free(&reply);
    }
    (void)close(client);
}

Test(api_call, a_stop_ends_what_runs)
{
    for (size_t i = 0; i < N_WAITING; i++) {
        int client = desk_connect(&desk);
        desk.link.is_held = true;
        desk_send(&desk, client, waiting[i].method, waiting[i].path, waiting[i].body);
        desk_settle(&desk);
        (void)close(client);
    }
    desk.service.is_stopping = true; /* the rest is in desk_fini */
}
