/*
 * Certificates in the REST API: operations, bundles, policies and lists as clients see
 * them while an order waits, when it is complete, and when it has failed.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/certs/internal.h"
#include "tests/support/chain_maker.h"
#include "tests/support/desk.h"
#include "tests/support/fake_issuer.h"

static struct desk desk;

static void setup(void)
{
    desk_init(&desk);
    desk.room.clock.now_s = CHAIN_MAKER_NOW_S;
}

static void teardown(void)
{
    desk_fini(&desk);
}

TestSuite(api_certificates, .timeout = 120, .init = setup, .fini = teardown);

#define VAULT "https://default.vault.localhost:8443"
#define WEB VAULT "/certificates/web"

#define POLICY(issuer)                                                                 \
    "{\"key_props\":{\"kty\":\"EC\"},\"issuer\":{\"name\":\"" issuer "\"},"            \
    "\"x509_props\":{\"subject\":\"CN=web\",\"validity_months\":3,"                    \
    "\"key_usage\":[\"digitalSignature\"]}}"
#define CREATE "{\"policy\":" POLICY("Self") ",\"tags\":{\"team\":\"a\"}}"

static void on_run(void *arg, int rc, const struct kv_err *err)
{
    (void)err;
    *(int *)arg = rc;
}

/* What the engine does with an order. */
static void run(const char *name)
{
    int rc = 1;
    cr_assert_eq(kv_run_start(&desk.service, desk.vault, name, on_run, &rc), 0);
    while (rc == 1)
        desk_settle(&desk);
    cr_assert_eq(rc, 0);
}

static json_t *get(const char *path)
{
    json_t *json = NULL;
    int status = desk_call(&desk, "GET", path, NULL, &json);
    cr_assert_eq(status, 200, "%s: %s", path, desk_error(json, "message"));
    return json;
}

static void expect_refused(const char *method, const char *path, const char *body,
                           int status, const char *code, const char *id)
{
    json_t *json = NULL;
    int is = desk_call(&desk, method, path, body, &json);
    cr_assert_eq(is, status, "%s: %d %s", path, is, desk_error(json, "message"));
    cr_expect_str_eq(desk_error(json, "code"), code, "%s", path);
    cr_expect_str_eq(desk_error(json, "id"), id, "%s", path);
    json_decref(json);
}

/* Text at a path of members, "" when it is absent. Borrowed. */
static const char *text(const json_t *json, const char *a, const char *b)
{
    const json_t *member = json_object_get(json, a);
    if (b != NULL)
        member = json_object_get(member, b);
    return json_string_value(member) != NULL ? json_string_value(member) : "";
}

/* The members of an object are these and no others. */
static void expect_members(const json_t *json, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cr_expect_not_null(json_object_get(json, names[i]), "no %s", names[i]);
    cr_expect_eq(json_object_size(json), n);
}
#define EXPECT_MEMBERS(json, ...)                                                      \
    expect_members((json), (const char *const[]){__VA_ARGS__},                         \
                   sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* --- orders ------------------------------------------------------------------------
 */

/* Create; the operation. `head` (may be NULL) receives the reply's. */
static json_t *create(const char *body, char *head, size_t head_size)
{
    struct desk_reply reply;
    int client = desk_connect(&desk);
    desk_send(&desk, client, "POST", "/certificates/web/create", body);
    cr_assert_eq(desk_read(&desk, client, &reply), 202, "%s",
                 desk_error(reply.json, "message"));
    (void)close(client);
    if (head != NULL)
        (void)snprintf(head, head_size, "%s", reply.head);
    return reply.json;
}

Test(api_certificates, a_new_order_is_an_operation_and_where_to_ask_for_it)
{
    char head[4096];
    char location[256];
    json_t *operation = create(CREATE, head, sizeof(head));
    EXPECT_MEMBERS(operation, "id", "issuer", "csr", "cancellation_requested", "status",
                   "status_details", "request_id", "preserveCertOrder");
    cr_expect_str_eq(text(operation, "id", NULL), WEB "/pending");
    cr_expect_str_eq(text(operation, "issuer", "name"), "Self");
    cr_expect_str_eq(text(operation, "status", NULL), "inProgress");
    cr_expect(json_is_false(json_object_get(operation, "cancellation_requested")));
    cr_expect(json_is_false(json_object_get(operation, "preserveCertOrder")));
    const char *id = text(operation, "request_id", NULL);
    cr_expect_eq(strlen(id), 32);
    (void)snprintf(location, sizeof(location),
                   "Location: " WEB "/pending?api-version=7.5&request_id=%s\r\n", id);
    cr_expect_not_null(strstr(head, location), "%s", head);
    cr_expect_not_null(strstr(head, "Retry-After: "), "%s", head);
    json_t *again = get("/certificates/web/pending");
    cr_expect(json_equal(operation, again));
    json_decref(again);
    json_decref(operation);
}

Test(api_certificates, a_pending_version_is_shown_without_certificate)
{
    json_decref(create(CREATE, NULL, 0));
    json_t *bundle = get("/certificates/web");
    EXPECT_MEMBERS(bundle, "id", "attributes", "tags", "contentType", "policy",
                   "pending");
    cr_expect_str_eq(text(bundle, "pending", "id"), WEB "/pending");
    cr_expect_str_eq(text(bundle, "policy", "id"), WEB "/policy");
    cr_expect_eq(strlen(text(bundle, "id", NULL)), strlen(WEB) + 33);
    const json_t *attributes = json_object_get(bundle, "attributes");
    cr_expect(json_is_false(json_object_get(attributes, "enabled")));
    cr_expect_eq(json_integer_value(json_object_get(attributes, "created")),
                 CHAIN_MAKER_NOW_S);
    expect_refused("GET", "/keys/web", NULL, 404, "KeyNotFound", "object.not-found");
    expect_refused("GET", "/secrets/web", NULL, 404, "SecretNotFound",
                   "object.not-found");
    json_decref(bundle);
}

static size_t count_items(const char *path)
{
    json_t *list = get(path);
    size_t n = json_array_size(json_object_get(list, "value"));
    json_decref(list);
    return n;
}

Test(api_certificates, lists_have_pending_ones_on_request)
{
    json_decref(create(CREATE, NULL, 0));
    cr_expect_eq(count_items("/certificates"), 0);
    cr_expect_eq(count_items("/certificates?includePending=false"), 0);
    cr_expect_eq(count_items("/certificates?includePending=truetruetrue"), 0);
    cr_expect_eq(count_items("/certificates?includePending=true"), 1);
    cr_expect_eq(count_items("/certificates?includePending=True"), 1);
    cr_expect_eq(count_items("/certificates/web/versions"), 0);
    cr_expect_eq(count_items("/certificates/web/versions?includePending=true"), 1);
    run("web");
    cr_expect_eq(count_items("/certificates"), 1);
    cr_expect_eq(count_items("/certificates/web/versions"), 1);
}

Test(api_certificates, request_id_is_a_filter)
{
    char path[512];
    json_t *operation = create(CREATE, NULL, 0);
    const char *id = text(operation, "request_id", NULL);
    (void)snprintf(path, sizeof(path), "/certificates/web/pending?request_id=%s", id);
    json_decref(get(path));
    (void)snprintf(path, sizeof(path), "/certificates/web/pending?request_id=%s0", id);
    expect_refused("GET", path, NULL, 404, "PendingCertificateNotFound",
                   "cert.no-operation");
    (void)snprintf(path, sizeof(path),
                   "/certificates/web/pending?request_id=%s%s%s%s%s%s%s%s", id, id, id,
                   id, id, id, id, id);
    expect_refused("GET", path, NULL, 404, "PendingCertificateNotFound",
                   "cert.no-operation");
    expect_refused("GET", "/certificates/web/pending?request_id=", NULL, 404,
                   "PendingCertificateNotFound", "cert.no-operation");
    expect_refused("GET", "/certificates/none/pending", NULL, 404,
                   "PendingCertificateNotFound", "cert.no-operation");
    json_decref(operation);
}

Test(api_certificates, a_complete_order_has_a_target_and_nothing_to_wait_for)
{
    struct desk_reply reply;
    json_decref(create(CREATE, NULL, 0));
    run("web");
    int client = desk_connect(&desk);
    desk_send(&desk, client, "GET", "/certificates/web/pending", NULL);
    cr_assert_eq(desk_read(&desk, client, &reply), 200);
    (void)close(client);
    EXPECT_MEMBERS(reply.json, "id", "issuer", "csr", "cancellation_requested",
                   "status", "request_id", "preserveCertOrder", "target");
    cr_expect_str_eq(text(reply.json, "status", NULL), "completed");
    cr_expect_str_eq(text(reply.json, "target", NULL), WEB);
    cr_expect_null(strstr(reply.head, "Retry-After"), "%s", reply.head);
    desk_reply_free(&reply);
}

Test(api_certificates, a_complete_version_names_its_key_and_secret)
{
    json_decref(create(CREATE, NULL, 0));
    run("web");
    json_t *bundle = get("/certificates/web");
    EXPECT_MEMBERS(bundle, "id", "kid", "sid", "x5t", "cer", "x5c", "attributes",
                   "tags", "contentType", "policy", "pending");
    const char *version = strrchr(text(bundle, "id", NULL), '/') + 1;
    cr_expect_str_eq(strrchr(text(bundle, "kid", NULL), '/') + 1, version);
    cr_expect_str_eq(strrchr(text(bundle, "sid", NULL), '/') + 1, version);
    cr_expect_eq(strlen(text(bundle, "x5t", NULL)), 27, "SHA-1 in base64url");
    const json_t *chain = json_object_get(bundle, "x5c");
    cr_expect_eq(json_array_size(chain), 1);
    cr_expect(json_equal(json_array_get(chain, 0), json_object_get(bundle, "cer")));
    cr_expect_str_eq(text(bundle, "tags", "team"), "a");
    json_t *key = get("/keys/web");
    cr_expect_str_eq(text(key, "key", "kid"), text(bundle, "kid", NULL));
    cr_expect(json_is_true(json_object_get(key, "managed")));
    static const char *const shared[] = {"enabled", "nbf", "exp", "created", "updated"};
    for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++)
        cr_expect(
            json_equal(
                json_object_get(json_object_get(key, "attributes"), shared[i]),
                json_object_get(json_object_get(bundle, "attributes"), shared[i])),
            "%s", shared[i]);
    json_t *list = get("/certificates");
    const json_t *item = json_array_get(json_object_get(list, "value"), 0);
    EXPECT_MEMBERS(item, "id", "attributes", "tags", "x5t", "subject");
    cr_expect_str_eq(text(item, "id", NULL), WEB);
    cr_expect_str_eq(text(item, "x5t", NULL), text(bundle, "x5t", NULL));
    cr_expect_str_eq(text(item, "subject", NULL), "CN=web");
    json_decref(list);
    json_decref(key);
    json_decref(bundle);
}

Test(api_certificates, a_failed_order_says_why_and_its_version_stays)
{
    static const struct keyvault_bytes no =
        FAKE_TEXT("{\"class\":\"input\",\"id\":\"fake.no\",\"message\":\"not you\"}");
    static const struct fake_answer answer = {FAKE_TEXT("{}"), KEYVAULT_EFFECT_FAILED,
                                              1, &no, 0};
    fake_issuer_set(&answer, 1);
    json_decref(create("{\"policy\":" POLICY("Fake") "}", NULL, 0));
    run("web");
    json_t *operation = get("/certificates/web/pending");
    EXPECT_MEMBERS(operation, "id", "issuer", "csr", "cancellation_requested", "status",
                   "status_details", "error", "request_id", "preserveCertOrder");
    cr_expect_str_eq(text(operation, "status", NULL), "failed");
    cr_expect_str_eq(text(operation, "status_details", NULL), "fake.no: not you");
    cr_expect_str_eq(text(operation, "error", "code"), "cert.refused");
    cr_expect_str_eq(text(operation, "error", "message"), "fake.no: not you");
    json_t *bundle = get("/certificates/web");
    cr_expect_null(json_object_get(bundle, "cer"));
    json_decref(bundle);
    json_decref(operation);
}

Test(api_certificates, the_policy_is_complete_and_can_be_sent_back)
{
    json_decref(create(CREATE, NULL, 0));
    json_t *policy = get("/certificates/web/policy");
    EXPECT_MEMBERS(policy, "id", "attributes", "key_props", "secret_props",
                   "x509_props", "issuer", "lifetime_actions");
    cr_expect_str_eq(text(policy, "id", NULL), WEB "/policy");
    cr_expect_str_eq(text(policy, "key_props", "crv"), "P-256");
    json_t *bundle = get("/certificates/web");
    cr_expect(json_equal(json_object_get(bundle, "policy"), policy));
    run("web");
    desk.room.clock.now_s += 60;
    json_t *again = json_pack("{s:O}", "policy", policy);
    char *body = json_dumps(again, 0);
    json_decref(create(body, NULL, 0));
    json_t *after = get("/certificates/web/policy");
    cr_expect(json_equal(json_object_get(after, "x509_props"),
                         json_object_get(policy, "x509_props")));
    json_decref(after);
    free(body);
    json_decref(again);
    json_decref(bundle);
    json_decref(policy);
}

Test(api_certificates, orders_that_cannot_be_are_refused)
{
    expect_refused("POST", "/certificates/web/create", "{}", 400, "BadParameter",
                   "cert.no-policy");
    expect_refused("POST", "/certificates/web/create",
                   "{\"policy\":" POLICY("Other") "}", 400, "BadParameter",
                   "cert.no-issuer");
    expect_refused("POST", "/certificates/web/create", "{\"policy\":[]}", 400,
                   "BadParameter", "api.bad-field");
    expect_refused("POST", "/certificates/web/create",
                   "{\"policy\":{\"issuer\":{\"name\":\"Self\"}}}", 400, "BadParameter",
                   "policy.bad-field");
    expect_refused("GET", "/certificates/web", NULL, 404, "CertificateNotFound",
                   "object.not-found");
    expect_refused("GET", "/certificates/web/policy", NULL, 404, "CertificateNotFound",
                   "object.not-found");
    json_decref(create(CREATE, NULL, 0));
    expect_refused("POST", "/certificates/web/create", CREATE, 409, "Forbidden",
                   "cert.in-progress");
    cr_assert_eq(desk_call(&desk, "PUT", "/secrets/s", "{\"value\":\"v\"}", NULL), 200);
    expect_refused("POST", "/certificates/s/create", CREATE, 409, "Conflict",
                   "cert.name-taken");
}

/* --- interruption ------------------------------------------------------------------
 */

Test(api_certificates, of_two_orders_at_once_one_is_told_so)
{
    struct desk_reply replies[2];
    int clients[2];
    for (size_t i = 0; i < 2; i++) {
        clients[i] = desk_connect(&desk);
        desk_send(&desk, clients[i], "POST", "/certificates/web/create", CREATE);
    }
    for (size_t i = 0; i < 2; i++) {
        (void)desk_read(&desk, clients[i], &replies[i]);
        (void)close(clients[i]);
    }
    cr_expect_eq(replies[0].status + replies[1].status, 202 + 409);
    run("web");
    cr_expect_eq(count_items("/certificates/web/versions"), 1);
    desk_reply_free(&replies[0]);
    desk_reply_free(&replies[1]);
}

Test(api_certificates, an_order_goes_on_when_its_client_leaves)
{
    int client = desk_connect(&desk);
    desk.link.is_held = true;
    desk_send(&desk, client, "POST", "/certificates/web/create", CREATE);
    desk_settle(&desk);
    cr_assert_eq(desk.service.n_running, 1);
    desk_hang_up(&desk, client);
    fake_link_release(&desk.link);
    desk_settle(&desk);
    run("web");
    cr_expect_eq(count_items("/certificates"), 1);
}

Test(api_certificates, a_keyring_that_is_away_is_503_and_leaves_nothing)
{
    static const uint16_t verbs[] = {KV_ROLE_KEY_GENERATE, KV_ROLE_KEY_SIGN_TBS,
                                     KV_ROLE_SEAL};
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        desk.link.fail_verb = verbs[i];
        desk.link.fail_rc = KV_E_UNAVAILABLE;
        desk.link.fail_id = "keyring.unreachable";
        expect_refused("POST", "/certificates/web/create", CREATE, 503,
                       "ServiceUnavailable", "keyring.unreachable");
        expect_refused("GET", "/certificates/web", NULL, 404, "CertificateNotFound",
                       "object.not-found");
    }
    json_decref(create(CREATE, NULL, 0));
}
