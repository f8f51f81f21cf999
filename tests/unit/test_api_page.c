/*
 * Lists in pages: what a client may ask for, and that following nextLink shows each
 * item once while others write.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/api/internal.h"
#include "store/core/b64.h"
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

TestSuite(api_page, .timeout = 120, .init = setup, .fini = teardown);

static void set(const char *name)
{
    char path[200];
    (void)snprintf(path, sizeof(path), "/secrets/%s", name);
    cr_assert_eq(desk_call(&desk, "PUT", path, "{\"value\":\"v\"}", NULL), 200);
}

static void set_many(int n)
{
    for (int i = 0; i < n; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "s%03d", i);
        set(name);
    }
}

static json_t *get(const char *path)
{
    json_t *json = NULL;
    int status = desk_call(&desk, "GET", path, NULL, &json);
    cr_assert_eq(status, 200, "%s: %d %s", path, status, desk_error(json, "message"));
    cr_assert(json_is_array(json_object_get(json, "value")), "always an array");
    cr_assert_not_null(json_object_get(json, "nextLink"), "always there");
    return json;
}

static size_t count(const json_t *page)
{
    return json_array_size(json_object_get(page, "value"));
}

/* The path and query of a page's nextLink, without its api-version (desk_call adds
 * one); false behind the last page. */
static bool next_path(const json_t *page, char path[1024])
{
    static const char base[] = "https://default.vault.localhost:8443";
    const char *link = json_string_value(json_object_get(page, "nextLink"));
    if (link == NULL)
        return false;
    cr_assert_eq(strncmp(link, base, strlen(base)), 0, "%s", link);
    (void)snprintf(path, 1024, "%s", link + strlen(base));
    char *version = strstr(path, "api-version=7.5");
    cr_assert_not_null(version, "the query goes on: %s", link);
    char *rest = version + strlen("api-version=7.5");
    if (*rest == '&')
        rest++;
    memmove(version, rest, strlen(rest) + 1);
    return true;
}

Test(api_page, an_empty_list_is_a_list)
{
    static const char *const lists[] = {"/secrets", "/keys", "/secrets/",
                                        "/secrets/none/versions",
                                        "/keys/none/versions"};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        json_t *page = get(lists[i]);
        cr_assert_eq(count(page), 0);
        cr_assert(json_is_null(json_object_get(page, "nextLink")));
        json_decref(page);
    }
}

Test(api_page, a_page_has_25_items_unless_fewer_are_wanted)
{
    set_many(26);
    json_t *page = get("/secrets");
    cr_assert_eq(count(page), 25);
    cr_assert(json_is_string(json_object_get(page, "nextLink")));
    json_decref(page);
    page = get("/secrets?maxresults=1");
    cr_assert_eq(count(page), 1);
    json_decref(page);
    page = get("/secrets?MaxResults=25");
    cr_assert_eq(count(page), 25);
    json_decref(page);
}

Test(api_page, wrong_positions_and_sizes_are_refused)
{
    static const char *const queries[] = {
        "maxresults=0",    "maxresults=26",
        "maxresults=-1",   "maxresults=",
        "maxresults=1.5",  "maxresults=01",
        "maxresults=0x10", "maxresults=%201",
        "maxresults=1%00", "maxresults=99999999999999999999",
        "$skiptoken=",     "$skiptoken=*",
        "$skiptoken=YQ==", "%24skiptoken=YV9i", /* "a_b" */
        "$skiptoken=Li4",                       /* ".." */
    };
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        char path[128];
        json_t *json = NULL;
        (void)snprintf(path, sizeof(path), "/secrets?%s", queries[i]);
        cr_assert_eq(desk_call(&desk, "GET", path, NULL, &json), 400, "%s", queries[i]);
        cr_assert_str_eq(desk_error(json, "code"), "BadParameter");
        const char *id = desk_error(json, "id");
        cr_assert(strcmp(id, "api.bad-page") == 0 || strcmp(id, "api.bad-query") == 0,
                  "%s: %s", queries[i], id);
        json_decref(json);
    }
    /* a name is no position among versions */
    json_t *json = NULL;
    cr_assert_eq(
        desk_call(&desk, "GET", "/secrets/s/versions?$skiptoken=YWJj", NULL, &json),
        400);
    cr_assert_str_eq(desk_error(json, "id"), "api.bad-page");
    json_decref(json);
}

Test(api_page, following_the_link_shows_every_name_once_in_order)
{
    char path[1024] = "/secrets?maxresults=4";
    char last[64] = "";
    int n = 0;
    set_many(13);
    for (bool is_more = true; is_more;) {
        json_t *page = get(path);
        const json_t *items = json_object_get(page, "value");
        for (size_t i = 0; i < json_array_size(items); i++, n++) {
            const char *id =
                json_string_value(json_object_get(json_array_get(items, i), "id"));
            const char *name = strrchr(id, '/') + 1;
            cr_assert_gt(strcmp(name, last), 0, "%s behind %s", name, last);
            (void)snprintf(last, sizeof(last), "%s", name);
        }
        is_more = next_path(page, path);
        json_decref(page);
    }
    cr_assert_eq(n, 13);
}

Test(api_page, what_is_written_meanwhile_moves_nothing)
{
    char path[1024];
    set("b");
    set("d");
    set("f");
    json_t *page = get("/secrets?maxresults=2");
    cr_assert(next_path(page, path));
    json_decref(page);
    set("a"); /* before the position: not seen, and nothing is seen twice */
    set("e"); /* behind it */
    page = get(path);
    cr_assert_eq(count(page), 2, "e and f");
    cr_assert(!next_path(page, path));
    json_decref(page);
}

Test(api_page, versions_have_pages_too)
{
    char path[1024] = "/secrets/S/versions?maxresults=3";
    char seen[7][40];
    size_t n = 0;
    for (int i = 0; i < 7; i++) {
        set("s");
        kv_clock_manual_advance(&desk.room.clock, 1);
    }
    for (bool is_more = true; is_more;) {
        json_t *page = get(path);
        const json_t *items = json_object_get(page, "value");
        cr_assert_leq(n + json_array_size(items), 7);
        for (size_t i = 0; i < json_array_size(items); i++, n++) {
            const json_t *item = json_array_get(items, i);
            const char *id = json_string_value(json_object_get(item, "id"));
            cr_assert_not_null(strstr(id, "/secrets/s/"), "first spelling: %s", id);
            (void)snprintf(seen[n], sizeof(seen[n]), "%s", strrchr(id, '/') + 1);
            cr_assert_eq(strlen(seen[n]), 32);
            for (size_t k = 0; k < n; k++)
                cr_assert_str_neq(seen[k], seen[n]);
            cr_assert_null(json_object_get(item, "value"), "lists have no values");
        }
        is_more = next_path(page, path);
        json_decref(page);
    }
    cr_assert_eq(n, 7);
}

Test(api_page, the_link_keeps_the_query_and_leaves_the_host_of_the_request)
{
    struct desk_reply reply;
    set_many(3);
    int client = desk_connect(&desk);
    desk_send_raw(
        &desk, client,
        "GET /secrets?%24skiptoken=czAwMA&api%2Dversion=7.4&maxresults=1&x=%20y"
        " HTTP/1.1\r\nHost: evil.example:1\r\n\r\n");
    cr_assert_eq(desk_read(&desk, client, &reply), 200);
    cr_assert_str_eq(
        json_string_value(json_object_get(reply.json, "nextLink")),
        "https://default.vault.localhost:8443/secrets?api%2Dversion=7.4&maxresults=1"
        "&x=%20y&$skiptoken=czAwMQ");
    desk_reply_free(&reply);
    (void)close(client);
}

Test(api_page, the_largest_page_still_fits_into_a_reply)
{
    static char body[65536];
    size_t n = (size_t)snprintf(body, sizeof(body), "{\"value\":\"v\",\"tags\":{");
    for (int i = 0; i < KV_TAGS_MAX; i++) {
        n += (size_t)snprintf(body + n, sizeof(body) - n, "%s\"%02d", i > 0 ? "," : "",
                              i);
        for (int k = 2; k < KV_TAG_CHARS_MAX; k++)
            n += (size_t)snprintf(body + n, sizeof(body) - n, "\\u0001");
        n += (size_t)snprintf(body + n, sizeof(body) - n, "\":\"");
        for (int k = 0; k < KV_TAG_CHARS_MAX; k++)
            n += (size_t)snprintf(body + n, sizeof(body) - n, "\\u0001");
        n += (size_t)snprintf(body + n, sizeof(body) - n, "\"");
    }
    (void)snprintf(body + n, sizeof(body) - n, "}}");
    for (int i = 0; i < 25; i++) {
        char path[32];
        (void)snprintf(path, sizeof(path), "/secrets/s%d", i);
        cr_assert_eq(desk_call(&desk, "PUT", path, body, NULL), 200);
    }
    json_t *page = get("/secrets");
    cr_assert_eq(count(page), 25);
    json_decref(page);
    /* the tags of a key travel inside its sealed row */
    size_t skip = strlen("{\"value\":\"v\"");
    static char key[66000];
    (void)snprintf(key, sizeof(key), "{\"kty\":\"EC\"%s", body + skip);
    json_t *json = NULL;
    cr_assert_eq(desk_call(&desk, "POST", "/keys/k/create", key, &json), 200, "%s",
                 desk_error(json, "message"));
    cr_assert_eq(json_object_size(json_object_get(json, "tags")), KV_TAGS_MAX);
    json_decref(json);
}

/* --- id.c --------------------------------------------------------------------------
 */

Test(api_page, identifiers_are_built_from_the_vaults_present_url)
{
    static const uint8_t version[KV_ID_LEN] = {0xab, 0xcd};
    struct kv_buf out;
    kv_buf_init(&out, 256);
    kv_id_write("https://v.example:8443", "keys", "Web-1", NULL, &out);
    cr_assert_str_eq(kv_buf_cstr(&out), "https://v.example:8443/keys/Web-1");
    kv_buf_reset(&out);
    kv_id_write("https://v.example", "secrets", "s", version, &out);
    cr_assert_str_eq(kv_buf_cstr(&out), "https://v.example/secrets/s/"
                                        "abcd0000000000000000000000000000");
    kv_buf_free(&out);

    set("s");
    desk.service.port = 443;
    json_t *page = get("/secrets");
    const json_t *item = json_array_get(json_object_get(page, "value"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(item, "id")),
                     "https://default.vault.localhost/secrets/s",
                     "no version, no standard port");
    json_decref(page);
}

Test(api_page, attributes_leave_out_the_dates_that_are_not_set)
{
    struct kv_row row = {.flags = KV_ROW_ENABLED,
                         .created_s = 5,
                         .updated_s = 6,
                         .nbf_s = KV_TIME_NONE,
                         .exp_s = KV_TIME_NONE};
    const struct kv_call call = {.task = {.vault = desk.vault}};
    json_t *json = kv_call_attributes(&call, &row);
    cr_assert_eq(json_object_size(json), 5);
    cr_assert(json_is_true(json_object_get(json, "enabled")));
    cr_assert_eq(json_integer_value(json_object_get(json, "created")), 5);
    cr_assert_eq(json_integer_value(json_object_get(json, "updated")), 6);
    cr_assert_str_eq(json_string_value(json_object_get(json, "recoveryLevel")),
                     "Recoverable+Purgeable");
    cr_assert_eq(json_integer_value(json_object_get(json, "recoverableDays")), 90);
    json_decref(json);
    row.flags = 0;
    row.nbf_s = 0;
    row.exp_s = INT64_C(253402300799);
    json = kv_call_attributes(&call, &row);
    cr_assert(json_is_false(json_object_get(json, "enabled")));
    cr_assert_eq(json_integer_value(json_object_get(json, "nbf")), 0);
    cr_assert_eq(json_integer_value(json_object_get(json, "exp")),
                 INT64_C(253402300799));
    json_decref(json);
}

Test(api_page, the_vault_says_how_long_what_is_deleted_can_be_recovered)
{
    static const struct {
        unsigned days;
        bool is_protected;
        const char *level;
    } vaults[] = {
        {90, false, "Recoverable+Purgeable"},
        {90, true, "Recoverable"},
        {89, false, "CustomizedRecoverable+Purgeable"},
        {7, false, "CustomizedRecoverable+Purgeable"},
        {7, true, "CustomizedRecoverable"},
    };
    const struct kv_row row = {.nbf_s = KV_TIME_NONE, .exp_s = KV_TIME_NONE};
    const struct kv_call call = {.task = {.vault = desk.vault}};
    for (size_t i = 0; i < sizeof(vaults) / sizeof(vaults[0]); i++) {
        desk.vault->retention_days = vaults[i].days;
        desk.vault->is_purge_protected = vaults[i].is_protected;
        json_t *json = kv_call_attributes(&call, &row);
        cr_expect_str_eq(json_string_value(json_object_get(json, "recoveryLevel")),
                         vaults[i].level);
        cr_expect_eq(json_integer_value(json_object_get(json, "recoverableDays")),
                     vaults[i].days);
        json_decref(json);
    }
}
