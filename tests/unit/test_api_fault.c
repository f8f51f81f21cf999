/*
 * Each operation with each of its allocations failing in turn: it answers once, or its
 * connection is closed; nothing runs on, nothing leaks (says the sanitizer build), and
 * the next request works.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/core/secret.h"
#include "tests/support/desk.h"
#include "tests/support/fault.h"
#include "tests/support/fixture.h"

static struct desk desk;

/* An import of a certificate with its key, as a client sends it. */
static char *import_body(void)
{
    struct kv_buf file;
    struct kv_buf key;
    fixture_read("keys/prime256v1-cert.pem", &file);
    fixture_read("keys/prime256v1.pem", &key);
    cr_assert_eq(kv_buf_append(&file, key.data, key.len), 0);
    json_t *json = json_pack("{s:s#}", "value", file.data, (int)file.len);
    char *text = json_dumps(json, JSON_COMPACT);
    cr_assert_not_null(text);
    json_decref(json);
    kv_buf_free(&key);
    kv_buf_free(&file);
    return text;
}

static void setup(void)
{
    fake_link_own = fault_pause;
    json_set_alloc_funcs(kv_wiping_malloc, kv_wiping_free);
    desk_init(&desk);
    cr_assert_eq(desk_call(&desk, "PUT", "/secrets/s", "{\"value\":\"v\"}", NULL), 200);
    cr_assert_eq(desk_call(&desk, "POST", "/keys/k/create", "{\"kty\":\"EC\"}", NULL),
                 200);
}

static void teardown(void)
{
    desk_fini(&desk);
}

TestSuite(api_fault, .timeout = 300, .init = setup, .fini = teardown);

#define DIGEST "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

#define ORDER                                                                          \
    "{\"policy\":{\"key_props\":{\"kty\":\"EC\"},\"issuer\":{\"name\":\"Self\"},"      \
    "\"x509_props\":{\"subject\":\"CN=a\"}},\"tags\":{\"a\":\"b\"}}"
#define IMPORT "IMPORT" /* stands for import_body */

static const struct {
    const char *method;
    const char *path;
    const char *body;
} operations[] = {
    {"PUT", "/secrets/s",
     "{\"value\":\"v\",\"contentType\":\"text/plain\",\"tags\":{\"a\":\"b\"},"
     "\"attributes\":{\"exp\":4102444800}}"},
    {"GET", "/secrets/s", NULL},
    {"GET", "/secrets?maxresults=1", NULL},
    {"GET", "/secrets/s/versions", NULL},
    {"POST", "/keys/k/create", "{\"kty\":\"EC\",\"tags\":{\"a\":\"b\"}}"},
    {"PUT", "/keys/i",
     "{\"key\":{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
     "\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\","
     "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}}"},
    {"GET", "/keys/k", NULL},
    {"GET", "/keys", NULL},
    {"GET", "/keys/k/versions?maxresults=1", NULL},
    {"POST", "/keys/k//sign", "{\"alg\":\"ES256\",\"value\":\"" DIGEST "\"}"},
    {"POST", "/keys/k//verify",
     "{\"alg\":\"ES256\",\"digest\":\"" DIGEST "\",\"value\":\"" DIGEST DIGEST "\"}"},
    {"POST", "/certificates/new-@/create", ORDER},
    {"GET", "/certificates/made", NULL},
    {"GET", "/certificates/made/pending", NULL},
    {"GET", "/certificates/made/policy", NULL},
    {"GET", "/certificates?includePending=true&maxresults=2", NULL},
    {"POST", "/certificates/imported/import", IMPORT},
    {"GET", "/certificates/imported", NULL},
    {"GET", "/certificates/imported/versions?maxresults=1", NULL},
    {"GET", "/secrets/imported", NULL},
    {"GET", "/keyvault/v1/status", NULL},
    {"PUT", "/keyvault/v1/assignments",
     "{\"principal\":\"unix:a\",\"role\":\"reader\",\"scope\":\"secrets/s\"}"},
    {"GET", "/keyvault/v1/assignments", NULL},
    {"DELETE", "/keyvault/v1/assignments",
     "{\"principal\":\"unix:a\",\"role\":\"reader\",\"scope\":\"secrets/s\"}"},
};

static char import_text[65536];

static int call(size_t i, long n, json_t **json)
{
    char path[128];
    const char *body = operations[i].body;
    size_t len = strcspn(operations[i].path, "@");
    fault_pause(true);
    (void)snprintf(path, sizeof(path), "%.*s", (int)len, operations[i].path);
    if (operations[i].path[len] == '@')
        (void)snprintf(path + len, sizeof(path) - len, "%ld%s", n,
                       operations[i].path + len + 1);
    if (body != NULL && strcmp(body, IMPORT) == 0)
        body = import_text;
    fault_pause(false);
    return desk_call(&desk, operations[i].method, path, body, json);
}

/* A grant that is there is found, one that was revoked in the round before is not. */
static bool is_plausible(int status, bool has_failed)
{
    if (has_failed)
        return status == 0 || status == 200 || status == 202 || status == 404 ||
               status >= 500;
    return status == 200 || status == 202 || status == 404;
}

/* Items of a list; 0 for other replies. */
static size_t n_items(const json_t *json)
{
    return json_array_size(json_object_get(json, "value"));
}

/* Items of operation `i` with all memory, when asking changes nothing. */
static size_t n_items_of(size_t i)
{
    json_t *json = NULL;
    if (strcmp(operations[i].method, "GET") == 0)
        (void)call(i, 0, &json);
    size_t n = n_items(json);
    json_decref(json);
    return n;
}

Test(api_fault, every_allocation_may_fail)
{
    char *text = import_body();
    cr_assert_eq(desk_call(&desk, "POST", "/certificates/made/create", ORDER, NULL),
                 202);
    (void)snprintf(import_text, sizeof(import_text), "%s", text);
    free(text);
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        long n = 1;
        size_t n_whole = n_items_of(i);
        for (; fault_round(n); n++) {
            json_t *json = NULL;
            int status = call(i, n, &json);
            fault_pause(true);
            if (desk.service.n_running > 0) /* answered, and not at its end yet */
                desk_settle(&desk);
            fault_pause(false);
            cr_assert(is_plausible(status, fault_was_hit()),
                      "%s %s, allocation %ld: %d %s", operations[i].method,
                      operations[i].path, n, status, desk_error(json, "message"));
            cr_assert(status < 400 || desk_error(json, "code")[0] != '\0',
                      "%s, allocation %ld: an error has a body", operations[i].path, n);
            if (status == 200)
                cr_assert_eq(n_items(json), n_whole, "%s, allocation %ld: not all",
                             operations[i].path, n);
            json_decref(json);
            cr_assert_eq(desk.service.n_running, 0, "%s %s, allocation %ld",
                         operations[i].method, operations[i].path, n);
        }
        cr_assert_gt(n, 5, "%s: it allocates", operations[i].path);
    }
    cr_assert_eq(desk_call(&desk, "GET", "/secrets/s", NULL, NULL), 200);
    cr_assert_eq(desk_call(&desk, "GET", "/keys/k", NULL, NULL), 200);
    cr_assert_eq(desk_call(&desk, "GET", "/certificates/made/pending", NULL, NULL),
                 200);
    cr_assert_eq(desk_call(&desk, "GET", "/secrets/imported", NULL, NULL), 200);
}

/* Whether the secret is there; it is gone afterwards. */
static bool take_away(void)
{
    bool was_there = desk_call(&desk, "DELETE", "/secrets/s", NULL, NULL) == 200;
    if (was_there)
        cr_assert_eq(desk_call(&desk, "DELETE", "/deletedsecrets/s", NULL, NULL), 204);
    return was_there;
}

Test(api_fault, a_restore_is_whole_or_nothing)
{
    json_t *backup = desk_must(&desk, 200, "POST", "/secrets/s/backup", NULL);
    char *body = json_dumps(backup, JSON_COMPACT);
    cr_assert_not_null(body);
    cr_assert(take_away());
    long n = 1;
    for (bool was_hit = true; was_hit; n++) {
        fault_arm(n);
        int status = desk_call(&desk, "POST", "/secrets/restore", body, NULL);
        was_hit = fault_was_hit();
        fault_arm(0);
        if (desk.service.n_running > 0)
            desk_settle(&desk);
        cr_assert(status == 200 || (was_hit && (status == 0 || status >= 500)),
                  "allocation %ld: %d", n, status);
        bool was_there = take_away();
        cr_assert(was_there || status != 200, "allocation %ld: said and not done", n);
    }
    cr_assert_gt(n, 50, "it allocates");
    free(body);
    json_decref(backup);
}

Test(api_fault, a_backup_is_whole_or_none)
{
    static const char *const paths[] = {"/secrets/s/backup", "/keys/k/backup",
                                        "/certificates/c/backup"};
    desk_import(&desk, "c");
    for (size_t i = 0; i < 3; i++) {
        json_t *whole = desk_must(&desk, 200, "POST", paths[i], NULL);
        size_t len = json_string_length(json_object_get(whole, "value"));
        json_decref(whole);
        long n = 1;
        for (bool was_hit = true; was_hit; n++) {
            json_t *json = NULL;
            fault_arm(n);
            int status = desk_call(&desk, "POST", paths[i], NULL, &json);
            was_hit = fault_was_hit();
            fault_arm(0);
            if (desk.service.n_running > 0)
                desk_settle(&desk);
            cr_assert(status == 200 || (was_hit && (status == 0 || status >= 500)),
                      "%s, allocation %ld: %d", paths[i], n, status);
            if (status == 200)
                cr_assert_eq(json_string_length(json_object_get(json, "value")), len,
                             "%s, allocation %ld: not all", paths[i], n);
            json_decref(json);
        }
        cr_assert_gt(n, 50, "it allocates");
    }
}
