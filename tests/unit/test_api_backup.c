/*
 * Backup blobs over the REST API: what comes back, what is refused, and that a blob is
 * one piece.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/service/blob.h"
#include "store/core/b64.h"
#include "store/core/str.h"
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

TestSuite(api_backup, .timeout = 120, .init = setup, .fini = teardown);

#define DIGEST "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define SIGN "{\"alg\":\"ES256\",\"value\":\"" DIGEST "\"}"

static const char *text(const json_t *json, const char *field)
{
    const char *value = json_string_value(json_object_get(json, field));
    return value != NULL ? value : "";
}

/* The blob of an object as a request body; the caller frees it. */
static char *backup(const char *path)
{
    char where[256];
    (void)snprintf(where, sizeof(where), "%s/backup", path);
    json_t *json = desk_must(&desk, 200, "POST", where, NULL);
    cr_assert_not_null(json_object_get(json, "value"));
    cr_expect_eq(json_object_size(json), 1);
    char *body = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return body;
}

static json_t *restore(const char *collection, const char *body)
{
    char where[64];
    (void)snprintf(where, sizeof(where), "/%s/restore", collection);
    return desk_must(&desk, 200, "POST", where, body);
}

static void refused(const char *collection, int status, const char *id,
                    const char *body)
{
    char where[64];
    (void)snprintf(where, sizeof(where), "/%s/restore", collection);
    desk_fails(&desk, status, id, "POST", where, body);
}

static void drop(const char *collection, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "/%s/%s", collection, name);
    json_decref(desk_must(&desk, 200, "DELETE", path, NULL));
    (void)snprintf(path, sizeof(path), "/deleted%s/%s", collection, name);
    cr_expect_null(desk_must(&desk, 204, "DELETE", path, NULL));
}

static json_t *get(const char *path)
{
    return desk_must(&desk, 200, "GET", path, NULL);
}

/* --- what comes back ---------------------------------------------------------------
 */

Test(api_backup, a_key_comes_back_with_its_versions_and_signs)
{
    for (int i = 0; i < 3; i++)
        json_decref(desk_must(&desk, 200, "POST", "/keys/Sign/create",
                              "{\"kty\":\"EC\",\"tags\":{\"a\":\"b\"}}"));
    json_t *before = get("/keys/sign");
    json_t *list = get("/keys/sign/versions");
    char *blob = backup("/keys/SIGN");
    drop("keys", "sign");
    desk_fails(&desk, 404, "object.not-found", "GET", "/keys/sign", NULL);

    json_t *back = restore("keys", blob);
    json_t *after = get("/keys/sign");
    json_t *list_after = get("/keys/sign/versions");
    cr_expect(json_equal(back, before));
    cr_expect(json_equal(after, before));
    cr_expect(json_equal(list_after, list), "same ids, same order");
    cr_expect_not_null(strstr(text(json_object_get(after, "key"), "kid"), "/Sign/"));
    json_decref(desk_must(&desk, 200, "POST", "/keys/sign//sign", SIGN));
    json_decref(desk_must(&desk, 200, "POST", "/keys/sign/create", "{\"kty\":\"EC\"}"));
    json_decref(before);
    json_decref(list);
    json_decref(back);
    json_decref(after);
    json_decref(list_after);
    free(blob);
}

/* A grant of an older row than the live one is refused: it must not be older. */
Test(api_backup, a_key_that_was_used_in_a_later_state_comes_back_newer)
{
    json_decref(desk_must(&desk, 200, "POST", "/keys/k/create", "{\"kty\":\"EC\"}"));
    char *blob = backup("/keys/k");
    for (int i = 0; i < 3; i++)
        json_decref(desk_must(&desk, 200, "PATCH", "/keys/k", "{\"tags\":{}}"));
    json_decref(desk_must(&desk, 200, "POST", "/keys/k//sign", SIGN));
    drop("keys", "k");
    json_decref(restore("keys", blob));
    struct kv_row_key key = {.kind = KV_KIND_KEY, .name = "k"};
    struct kv_row row;
    struct kv_buf sealed;
    kv_buf_init(&sealed, KV_ROW_MAX);
    memcpy(key.vault, desk.vault->id, KV_ID_LEN);
    cr_assert_eq(desk_get(&desk, &key, true, &row, &sealed), 0);
    cr_expect_eq(row.row_version, 5, "it was 4 when it signed");
    kv_buf_free(&sealed);
    free(blob);
}

Test(api_backup, a_secret_comes_back_as_it_was)
{
    for (int i = 0; i < 2; i++)
        json_decref(desk_must(&desk, 200, "PUT", "/secrets/pass",
                              "{\"value\":\"hunter2\",\"contentType\":\"t\",\"tags\":"
                              "{\"a\":\"b\"},\"attributes\":{\"exp\":2000000000}}"));
    json_t *before = get("/secrets/pass");
    char *blob = backup("/secrets/pass");
    cr_expect_null(strstr(blob, "aHVudGVyMg"), "not in clear");
    drop("secrets", "pass");
    json_t *back = restore("secrets", blob);
    json_t *after = get("/secrets/pass");
    cr_expect(json_equal(after, before));
    cr_expect_null(json_object_get(back, "value"), "never the value");
    cr_expect_str_eq(text(back, "id"), text(before, "id"));
    json_decref(before);
    json_decref(back);
    json_decref(after);
    free(blob);
}

Test(api_backup, a_certificate_comes_back_with_key_secret_and_policy)
{
    static const char *const own[] = {"/certificates/web", "/keys/web", "/secrets/web",
                                      "/certificates/web/policy",
                                      "/certificates/web/versions"};
    json_t *before[5];
    desk_import(&desk, "web");
    desk_import(&desk, "web");
    for (size_t i = 0; i < 5; i++)
        before[i] = get(own[i]);
    char *blob = backup("/certificates/web");
    drop("certificates", "web");
    json_t *back = restore("certificates", blob);
    cr_expect(json_equal(back, before[0]));
    for (size_t i = 0; i < 5; i++) {
        json_t *after = get(own[i]);
        cr_expect(json_equal(after, before[i]), "%s", own[i]);
        json_decref(after);
        json_decref(before[i]);
    }
    desk_fails(&desk, 403, "api.managed", "POST", "/keys/web/backup", NULL);
    desk_fails(&desk, 403, "api.managed", "POST", "/secrets/web/backup", NULL);
    json_decref(back);
    free(blob);
}

Test(api_backup, five_hundred_versions_come_back_and_no_more_are_taken)
{
    for (int i = 0; i < KV_BLOB_VERSIONS_MAX; i++)
        json_decref(desk_must(&desk, 200, "PUT", "/secrets/many", "{\"value\":\"v\"}"));
    char *blob = backup("/secrets/many");
    json_t *before = get("/secrets/many");
    drop("secrets", "many");
    json_decref(restore("secrets", blob));
    json_t *after = get("/secrets/many");
    cr_expect(json_equal(after, before));
    json_decref(desk_must(&desk, 200, "PUT", "/secrets/many", "{\"value\":\"v\"}"));
    desk_fails(&desk, 400, "backup.too-big", "POST", "/secrets/many/backup", NULL);
    json_decref(before);
    json_decref(after);
    free(blob);
}

Test(api_backup, a_certificate_of_five_hundred_versions_comes_back_whole)
{
    static const char *const own[] = {"/certificates/many", "/keys/many",
                                      "/secrets/many"};
    json_t *before[3];
    for (int i = 0; i < KV_BLOB_VERSIONS_MAX; i++)
        desk_import(&desk, "many");
    for (size_t i = 0; i < 3; i++)
        before[i] = get(own[i]);
    char *blob = backup("/certificates/many");
    drop("certificates", "many");
    json_decref(restore("certificates", blob));
    for (size_t i = 0; i < 3; i++) {
        json_t *after = get(own[i]);
        cr_expect(json_equal(after, before[i]), "%s", own[i]);
        json_decref(after);
        json_decref(before[i]);
    }
    char *again = backup("/certificates/many");
    cr_expect_eq(strlen(again), strlen(blob), "nothing is missing");
    free(again);
    free(blob);
}

/* --- what is refused ---------------------------------------------------------------
 */

Test(api_backup, there_must_be_something_to_back_up)
{
    desk_fails(&desk, 404, "object.not-found", "POST", "/keys/k/backup", NULL);
    json_decref(desk_must(&desk, 200, "POST", "/keys/k/create", "{\"kty\":\"EC\"}"));
    json_decref(desk_must(&desk, 200, "DELETE", "/keys/k", NULL));
    desk_fails(&desk, 404, "object.not-found", "POST", "/keys/k/backup", NULL);
    json_decref(desk_must(&desk, 202, "POST", "/certificates/c/create",
                          "{\"policy\":{\"issuer\":{\"name\":\"Unknown\"},"
                          "\"x509_props\":{\"subject\":\"CN=c\"}}}"));
    desk_fails(&desk, 400, "backup.incomplete", "POST", "/certificates/c/backup", NULL);
}

Test(api_backup, a_taken_name_stays_as_it_is)
{
    json_decref(desk_must(&desk, 200, "PUT", "/secrets/s", "{\"value\":\"old\"}"));
    char *blob = backup("/secrets/s");
    json_decref(desk_must(&desk, 200, "PUT", "/secrets/s", "{\"value\":\"new\"}"));
    refused("secrets", 409, "backup.name-taken", blob);
    json_t *got = get("/secrets/s");
    cr_expect_str_eq(text(got, "value"), "new");
    json_decref(got);
    json_decref(desk_must(&desk, 200, "DELETE", "/secrets/s", NULL));
    refused("secrets", 409, "api.deleted", blob);
    cr_expect_null(desk_must(&desk, 204, "DELETE", "/deletedsecrets/s", NULL));
    json_decref(restore("secrets", blob));
    refused("secrets", 409, "backup.name-taken", blob);
    free(blob);

    desk_import(&desk, "web");
    blob = backup("/certificates/web");
    drop("certificates", "web");
    json_decref(desk_must(&desk, 200, "PUT", "/secrets/web", "{\"value\":\"mine\"}"));
    refused("certificates", 409, "backup.name-taken", blob);
    desk_fails(&desk, 404, "object.not-found", "GET", "/certificates/web", NULL);
    free(blob);
}

/* What the base64url text in a body says; it has a decoder's memory. */
static struct kv_buf bytes_of(const char *body)
{
    struct kv_buf bytes;
    json_t *json = json_loads(body, 0, NULL);
    const char *value = text(json, "value");
    kv_buf_init(&bytes, KV_BLOB_MAX);
    cr_assert_eq(kv_b64_decode(KV_B64_URL, value, strlen(value), &bytes), 0);
    json_decref(json);
    return bytes;
}

static void refuses_bytes(const char *collection, const void *data, size_t len)
{
    struct kv_buf body;
    kv_buf_init(&body, KV_BLOB_MAX);
    (void)kv_buf_append_str(&body, "{\"value\":\"");
    cr_assert_eq(kv_b64_encode(KV_B64_URL, data, len, &body), 0);
    (void)kv_buf_append_str(&body, "\"}");
    char path[64];
    json_t *json = NULL;
    (void)snprintf(path, sizeof(path), "/%s/restore", collection);
    cr_assert_eq(desk_call(&desk, "POST", path, kv_buf_cstr(&body), &json), 400);
    cr_expect_str_eq(desk_error(json, "code"), "BadParameter");
    cr_expect_str_eq(desk_error(json, "message"), KV_BLOB_DAMAGED_TEXT);
    json_decref(json);
    kv_buf_free(&body);
}

Test(api_backup, a_blob_that_was_changed_is_refused_with_one_text)
{
    for (int i = 0; i < 2; i++)
        json_decref(desk_must(&desk, 200, "PUT", "/secrets/s", "{\"value\":\"v\"}"));
    char *body = backup("/secrets/s");
    struct kv_buf blob = bytes_of(body);
    drop("secrets", "s");
    for (size_t i = 0; i < blob.len; i += i < 128 ? 1 : 7) {
        blob.data[i] ^= 0x10;
        refuses_bytes("secrets", blob.data, blob.len);
        blob.data[i] ^= 0x10;
    }
    for (size_t len = 0; len < blob.len; len += len < 128 ? 1 : 13)
        refuses_bytes("secrets", blob.data, len);
    cr_assert_eq(kv_buf_append(&blob, "x", 1), 0);
    refuses_bytes("secrets", blob.data, blob.len);
    refuses_bytes("keys", blob.data, blob.len - 1);
    refuses_bytes("certificates", blob.data, blob.len - 1);
    static const uint8_t noise[4096] = {'k', 'v', 'b', 1, 7};
    refuses_bytes("secrets", noise, sizeof(noise));
    refused("secrets", 400, "seal.blob-damaged", "{\"value\":\"no base64!\"}");
    refused("secrets", 400, "seal.blob-damaged", "{\"value\":\"\"}");
    refused("secrets", 400, "api.missing-field", "{}");
    refused("secrets", 400, "api.bad-field", "{\"value\":7}");
    desk_fails(&desk, 404, "object.not-found", "GET", "/secrets/s", NULL);
    json_decref(restore("secrets", body));
    kv_buf_free(&blob);
    free(body);
}

/* Put a blob together from the front of one and the chunks of another. */
static void refuses_parts(const struct kv_blob *front, const struct kv_blob *chunks,
                          const size_t *order, size_t n)
{
    struct kv_buf made;
    kv_buf_init(&made, KV_BLOB_MAX);
    kv_blob_front_put(&made, front->installation, &front->of);
    for (size_t i = 0; i < n; i++)
        kv_blob_chunk_put(&made, chunks->chunk[order[i]]);
    refuses_bytes("secrets", made.data, made.len);
    kv_buf_free(&made);
}

Test(api_backup, chunks_stay_where_they_were_made)
{
    for (int i = 0; i < 150; i++)
        json_decref(desk_must(&desk, 200, "PUT", "/secrets/s", "{\"value\":\"v\"}"));
    char *body[2] = {backup("/secrets/s"), backup("/secrets/s")};
    struct kv_buf bytes[2] = {bytes_of(body[0]), bytes_of(body[1])};
    struct kv_blob blob[2];
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(
            kv_blob_read((struct kv_bytes){bytes[i].data, bytes[i].len}, &blob[i]), 0);
    cr_assert_eq(blob[0].n_chunks, 3);
    drop("secrets", "s");
    refuses_parts(&blob[0], &blob[1], (size_t[]){0, 1, 2}, 3);
    refuses_parts(&blob[0], &blob[0], (size_t[]){0, 1}, 2);
    refuses_parts(&blob[0], &blob[0], (size_t[]){1, 2}, 2);
    refuses_parts(&blob[0], &blob[0], (size_t[]){0, 2}, 2);
    refuses_parts(&blob[0], &blob[0], (size_t[]){0, 2, 1}, 3);
    refuses_parts(&blob[0], &blob[0], (size_t[]){0, 1, 2, 2}, 4);
    refuses_parts(&blob[0], &blob[0], (size_t[]){0, 0, 1, 2}, 4);
    struct kv_blob other = blob[0];
    other.of.n_rows = 64;
    refuses_parts(&other, &blob[0], (size_t[]){0}, 1);
    (void)snprintf(other.of.name, sizeof(other.of.name), "t");
    refuses_parts(&other, &blob[0], (size_t[]){0, 1, 2}, 3);
    other = blob[0];
    other.of.vault[0] ^= 1;
    refuses_parts(&other, &blob[0], (size_t[]){0, 1, 2}, 3);
    other = blob[0];
    other.installation[0] ^= 1;
    refuses_parts(&other, &blob[0], (size_t[]){0, 1, 2}, 3);
    json_decref(restore("secrets", body[0]));
    for (size_t i = 0; i < 2; i++) {
        kv_buf_free(&bytes[i]);
        free(body[i]);
    }
}

Test(api_backup, a_damaged_version_is_in_no_backup)
{
    json_decref(desk_must(&desk, 200, "PUT", "/secrets/s", "{\"value\":\"v\"}"));
    struct kv_row_key key = {.kind = KV_KIND_SECRET, .name = "s"};
    struct kv_row row;
    struct kv_buf sealed;
    kv_buf_init(&sealed, KV_ROW_MAX);
    memcpy(key.vault, desk.vault->id, KV_ID_LEN);
    cr_assert_eq(desk_get(&desk, &key, true, &row, &sealed), 0);
    sealed.data[sealed.len - 1] ^= 1;
    struct kv_mutation change = {
        .kind = KV_MUTATION_PUT, .expect = row.row_version, .row = row};
    change.row.row_version++;
    change.row.sealed = sealed.data;
    change.row.sealed_len = sealed.len;
    desk_apply(&desk, &change, 1);
    desk_fails(&desk, 500, "backup.damaged", "POST", "/secrets/s/backup", NULL);
    kv_buf_free(&sealed);
}

Test(api_backup, a_keyring_that_fails_stores_nothing)
{
    json_decref(desk_must(&desk, 200, "PUT", "/secrets/s", "{\"value\":\"v\"}"));
    desk.link.fail_verb = KV_ROLE_BLOB_SEAL;
    desk.link.fail_rc = KV_E_UNAVAILABLE;
    desk_fails(&desk, 503, "keyring.injected", "POST", "/secrets/s/backup", NULL);
    char *blob = backup("/secrets/s");
    drop("secrets", "s");
    desk.link.fail_verb = KV_ROLE_BLOB_OPEN;
    refused("secrets", 503, "keyring.injected", blob);
    desk.link.spoil_verb = KV_ROLE_BLOB_OPEN;
    refused("secrets", 500, "keyring.bad-reply", blob);
    desk.link.spoil_verb = 0;
    desk_fails(&desk, 404, "object.not-found", "GET", "/secrets/s", NULL);
    json_decref(restore("secrets", blob));
    free(blob);
}
