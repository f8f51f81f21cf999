/*
 * Calls and grants in the audit log: on record before they have an effect, and without
 * one where they cannot be recorded.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/audit/audit.h"
#include "lifecycle/audit/files.h"
#include "lifecycle/service/grants.h"
#include "lifecycle/service/key_audit.h"
#include "store/core/str.h"
#include "tests/support/desk.h"

static struct desk desk;
static char dir[] = "/tmp/kv-api-audit-XXXXXX";
static char text[262144];
static unsigned n_done;

#define PEER ((uid_t)3999999999U)

static void on_start(void *arg, int rc, const struct kv_err *err)
{
    (void)arg;
    cr_assert_eq(rc, 0, "%s", err != NULL ? err->message : "");
    n_done++;
}

static void on_done(void *arg)
{
    (void)arg;
    n_done++;
}

static void open_log(bool is_started)
{
    struct kv_err err = KV_ERR_INIT;
    const struct kv_audit_config config = {.loop = desk.service.loop,
                                           .keyring = &desk.link,
                                           .dir = dir,
                                           .clock = desk.service.clock,
                                           .segment_bytes = KV_AUDIT_SEGMENT_BYTES,
                                           .segment_s = KV_AUDIT_SEGMENT_S,
                                           .keep = KV_AUDIT_KEEP};
    cr_assert_eq(kv_audit_open(&desk.service.audit, &config, &err), 0, "%s",
                 err.message);
    n_done = 0;
    if (!is_started)
        return;
    kv_audit_start(desk.service.audit, on_start, NULL);
    desk_wait(&desk, &n_done, 1);
}

static void close_log(void)
{
    struct kv_audit *audit = desk.service.audit;
    desk_settle(&desk);
    desk.service.audit = NULL;
    n_done = 0;
    kv_audit_close(audit, on_done, NULL);
    desk_wait(&desk, &n_done, 1);
}

static void setup(void)
{
    desk_init(&desk);
    cr_assert_not_null(mkdtemp(dir));
}

static void teardown(void)
{
    char path[512];
    struct dirent *entry = NULL;
    DIR *stream = opendir(dir);
    while (stream != NULL && (entry = readdir(stream)) != NULL) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        if (entry->d_name[0] != '.')
            (void)unlink(path);
    }
    (void)closedir(stream);
    cr_assert_eq(rmdir(dir), 0);
    desk_fini(&desk);
}

TestSuite(api_audit, .timeout = 60, .init = setup, .fini = teardown);

/* The first segment as it is on disk. */
static const char *log_text(void)
{
    char path[512];
    char name[KV_AUDIT_FILE_MAX];
    kv_audit_file_name(1, name);
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    cr_assert_geq(n, 0);
    text[n] = '\0';
    (void)close(fd);
    return text;
}

/* The n-th record (from 0) of a type, as JSON; NULL: there is none. */
static json_t *record(const char *type, unsigned n)
{
    char *line = NULL;
    char *rest = NULL;
    (void)log_text();
    for (line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        cr_assert_not_null(json, "%s", line);
        const char *is = json_string_value(json_object_get(json, "type"));
        if (strcmp(is, type) == 0 && n-- == 0)
            return json;
        json_decref(json);
    }
    return NULL;
}

static void expect_member(const json_t *json, const char *name, const char *value)
{
    const char *is = json_string_value(json_object_get(json, name));
    cr_expect_str_eq(is != NULL ? is : "(none)", value, "%s", name);
}

Test(api_audit, a_call_has_a_record_before_and_one_after)
{
    open_log(true);
    json_decref(
        desk_must(&desk, 200, "PUT", "/secrets/api", "{\"value\":\"hunter2\"}"));
    json_t *asked = record("req", 0);
    json_t *came = record("res", 0);
    cr_assert_not_null(asked);
    cr_assert_not_null(came);
    expect_member(asked, "op", "setSecret");
    expect_member(asked, "object", "secrets");
    expect_member(asked, "name", "api");
    expect_member(asked, "vault", "default");
    expect_member(asked, "decision", "allow");
    expect_member(asked, "peer", "unix");
    expect_member(came, "id", json_string_value(json_object_get(asked, "id")));
    cr_expect_eq(json_integer_value(json_object_get(came, "status")), 200);
    json_decref(asked);
    json_decref(came);
    cr_expect_null(strstr(log_text(), "hunter2"));
    close_log();
}

Test(api_audit, a_read_has_both_and_its_reply_carries_their_id)
{
    struct desk_reply reply;
    open_log(true);
    int client = desk_connect(&desk);
    desk_send(&desk, client, "GET", "/secrets/none", NULL);
    cr_expect_eq(desk_read(&desk, client, &reply), 404);
    (void)close(client);
    json_t *asked = record("req", 0);
    json_t *came = record("res", 0);
    const char *id = json_string_value(json_object_get(asked, "id"));
    cr_assert_not_null(id);
    cr_expect_not_null(strstr(reply.head, id));
    expect_member(came, "error", "object.not-found");
    expect_member(came, "code", "SecretNotFound");
    json_decref(asked);
    json_decref(came);
    desk_reply_free(&reply);
    close_log();
}

Test(api_audit, a_refused_call_is_told_with_the_decision)
{
    open_log(true);
    desk.service.admin_uid = geteuid() + 1;
    desk_fails(&desk, 403, "api.forbidden", "PUT", "/secrets/a", "{\"value\":\"x\"}");
    json_t *asked = record("req", 0);
    expect_member(asked, "decision", "deny");
    expect_member(asked, "op", "setSecret");
    json_decref(asked);
    desk_fails(&desk, 404, "api.no-route", "GET", "/nothing/here", NULL);
    asked = record("req", 1);
    expect_member(asked, "decision", "none");
    expect_member(asked, "path", "/nothing/here");
    json_decref(asked);
    close_log();
}

Test(api_audit, refused_calls_beyond_a_rate_are_told_in_sum)
{
    open_log(true);
    desk.service.admin_uid = geteuid() + 1;
    for (int i = 0; i < 60; i++)
        desk_fails(&desk, 403, "api.forbidden", "GET", "/secrets/a", NULL);
    desk_settle(&desk);
    json_t *first = record("req", 0);
    cr_expect_not_null(first);
    json_decref(first);
    json_t *last = record("req", 59);
    cr_expect_null(last);
    json_decref(last);
    close_log();
}

Test(api_audit, what_is_signed_is_told_by_a_digest)
{
    open_log(true);
    json_decref(desk_must(&desk, 200, "POST", "/keys/k/create", "{\"kty\":\"EC\"}"));
    json_decref(desk_must(&desk, 200, "POST", "/keys/k//sign",
                          "{\"alg\":\"ES256\",\"value\":"
                          "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}"));
    json_t *asked = record("req", 1);
    expect_member(asked, "alg", "ES256");
    const char *input = json_string_value(json_object_get(asked, "input"));
    cr_assert_not_null(input);
    cr_expect_eq(strlen(input), 32);
    cr_expect_null(strstr(log_text(), "AAECAwQF"));
    json_decref(asked);
    close_log();
}

Test(api_audit, nothing_is_done_that_cannot_be_recorded)
{
    open_log(false);
    desk_fails(&desk, 503, "audit.stopped", "PUT", "/secrets/a", "{\"value\":\"x\"}");
    desk_fails(&desk, 503, "audit.stopped", "GET", "/secrets/a", NULL);
    json_decref(desk_must(&desk, 200, "GET", "/keyvault/v1/status", NULL));
    close_log();
    desk_fails(&desk, 404, "object.not-found", "GET", "/secrets/a", NULL);
}

Test(api_audit, the_service_checks_its_own_log)
{
    open_log(true);
    json_decref(desk_must(&desk, 200, "PUT", "/secrets/a", "{\"value\":\"x\"}"));
    json_t *report = desk_must(&desk, 200, "GET", "/keyvault/v1/audit/verify", NULL);
    cr_expect_eq(json_integer_value(json_object_get(report, "nFindings")), 0);
    cr_expect_geq(json_integer_value(json_object_get(report, "records")), 3);
    json_decref(report);
    json_t *state = desk_must(&desk, 200, "GET", "/keyvault/v1/audit", NULL);
    cr_expect(json_is_true(json_object_get(state, "isRunning")));
    expect_member(state, "directory", dir);
    json_decref(state);
    /* Somebody changes a record behind its back. */
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/audit-0000000001.log", dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_eq(pwrite(fd, "2", 1, 30), 1);
    (void)close(fd);
    report = desk_must(&desk, 200, "GET", "/keyvault/v1/audit/verify", NULL);
    cr_expect_geq(json_integer_value(json_object_get(report, "nFindings")), 1);
    json_decref(report);
    close_log();
    desk_fails(&desk, 400, "audit.not-kept", "GET", "/keyvault/v1/audit", NULL);
}

/* --- the key channel
 * ------------------------------------------------------------------ */

static int ask(uid_t uid)
{
    struct kv_buf payload;
    unsigned before = desk.link.n_answers;
    struct kv_role_grant grant = {.uid = uid, .pid = 7, .ops = KV_OP_SIGN};
    (void)snprintf(grant.uri, sizeof(grant.uri), "keyvault:///keys/k");
    kv_buf_init(&payload, KV_FRAME_MAX);
    kv_role_grant_put(&payload, &grant);
    kv_grants_question(&desk.service, 1, KV_ROLE_GRANT,
                       (struct kv_bytes){payload.data, payload.len});
    kv_buf_free(&payload);
    desk_wait(&desk, &desk.link.n_answers, before + 1);
    return desk.link.answer_rc;
}

Test(api_audit, a_grant_is_on_record_before_it_is_given)
{
    open_log(true);
    json_decref(desk_must(&desk, 200, "POST", "/keys/k/create", "{\"kty\":\"EC\"}"));
    desk.service.is_dev = true;
    cr_assert_eq(ask(PEER), 0);
    json_t *grant = record("grant", 0);
    cr_assert_not_null(grant);
    expect_member(grant, "name", "k");
    expect_member(grant, "decision", "allow");
    cr_expect_eq(json_integer_value(json_object_get(grant, "uid")), PEER);
    json_decref(grant);
    close_log();
}

Test(api_audit, a_refused_grant_is_on_record)
{
    open_log(true);
    json_decref(desk_must(&desk, 200, "POST", "/keys/k/create", "{\"kty\":\"EC\"}"));
    cr_assert_eq(ask(PEER), KV_E_DENIED);
    desk_settle(&desk);
    json_t *deny = record("deny", 0);
    cr_assert_not_null(deny);
    expect_member(deny, "error", "grant.denied");
    json_decref(deny);
    close_log();
}

Test(api_audit, no_grant_is_given_that_cannot_be_recorded)
{
    json_decref(desk_must(&desk, 200, "POST", "/keys/k/create", "{\"kty\":\"EC\"}"));
    desk.service.is_dev = true;
    open_log(false);
    cr_expect_eq(ask(PEER), KV_E_UNAVAILABLE);
    cr_expect_str_eq(desk.link.answer_err.id, "audit.stopped");
    close_log();
    cr_expect_eq(ask(PEER), 0);
}

Test(api_audit, uses_are_recorded_once)
{
    struct kv_role_granted granted;
    struct kv_live live = {.key = NULL};
    open_log(true);
    json_decref(desk_must(&desk, 200, "POST", "/keys/k/create", "{\"kty\":\"EC\"}"));
    desk.service.is_dev = true;
    cr_assert_eq(ask(PEER), 0);
    cr_assert_eq(
        kv_role_granted_get(
            (struct kv_bytes){desk.link.answer.data, desk.link.answer.len}, &granted),
        0);
    cr_assert_eq(kv_ring_grant(desk.room.ring, PEER, &granted, &live, NULL), 0);
    kv_live_release(&live);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(kv_ring_use(desk.room.ring, PEER, granted.ident.version,
                                 KV_NEED_SIGN, &live, NULL),
                     0);
        kv_live_release(&live);
    }
    for (int i = 0; i < 2; i++) {
        n_done = 0;
        kv_key_audit_uses(&desk.service, on_done, NULL);
        desk_wait(&desk, &n_done, 1);
    }
    json_t *use = record("use", 0);
    cr_assert_not_null(use);
    expect_member(use, "name", "k");
    expect_member(use, "vault", "default");
    cr_expect_eq(json_integer_value(json_object_get(use, "sign")), 4);
    json_decref(use);
    cr_expect_null(record("use", 1));
    close_log();
}
