/*
 * Vaults: what may be asked of them, that they have nothing in common, and that a purge
 * leaves nothing, whatever interrupts it.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/service/assignments.h"
#include "lifecycle/service/vaults.h"
#include "store/db/memory.h"
#include "tests/support/desk.h"

#define VAULTS "/keyvault/v1/vaults"
#define DELETED "/keyvault/v1/deletedvaults"
#define DAY_S 86400

static struct desk desk;

static void setup(void)
{
    desk_init(&desk);
}

static void teardown(void)
{
    desk_fini(&desk);
}

TestSuite(vaults, .timeout = 60, .init = setup, .fini = teardown);

static json_int_t number(const json_t *json, const char *field)
{
    return json_integer_value(json_object_get(json, field));
}

Test(vaults, a_new_one_is_what_was_asked_for_and_otherwise_usual)
{
    desk_vault_make(&desk, "Second", "{}");
    json_t *json = desk_must(&desk, 200, "GET", VAULTS "/SECOND", NULL);
    cr_expect_str_eq(desk_text(json, "name"), "second");
    cr_expect_str_eq(desk_text(json, "url"), "https://second.vault.localhost:8443");
    cr_expect_str_eq(desk_text(json, "state"), "live");
    cr_expect_str_eq(desk_text(json, "sku"), "standard");
    cr_expect_str_eq(desk_text(json, "tenantId"), desk.service.tenant);
    cr_expect_str_eq(desk_text(json, "subscriptionId"), desk.service.tenant);
    cr_expect_eq(number(json, "softDeleteRetentionInDays"), 90);
    cr_expect(json_is_false(json_object_get(json, "enablePurgeProtection")));
    cr_expect(json_is_true(json_object_get(json, "enableRbacAuthorization")));
    cr_expect(json_is_false(json_object_get(json, "isDefault")));
    json_decref(json);
    desk_vault_make(&desk, "third",
                    "{\"sku\":\"Premium\",\"softDeleteRetentionInDays\":7,"
                    "\"enablePurgeProtection\":true,\"tags\":{\"team\":\"web\"},"
                    "\"tenantId\":\"AAAAAAAA-0000-4000-8000-000000000001\","
                    "\"subscriptionId\":\"bbbbbbbb-0000-4000-8000-000000000001\"}");
    json = desk_must(&desk, 200, "GET", VAULTS "/third", NULL);
    cr_expect_str_eq(desk_text(json, "sku"), "premium");
    cr_expect_str_eq(desk_text(json, "tenantId"),
                     "aaaaaaaa-0000-4000-8000-000000000001");
    cr_expect_eq(number(json, "softDeleteRetentionInDays"), 7);
    cr_expect(json_is_true(json_object_get(json, "enablePurgeProtection")));
    cr_expect_str_eq(desk_text(json_object_get(json, "tags"), "team"), "web");
    json_decref(json);
    cr_expect_eq(desk_count(&desk, VAULTS), 2);
    cr_expect_eq(desk_count(&desk, VAULTS "?maxresults=1"), 1);
}

Test(vaults, the_rules_of_a_new_one)
{
    static const struct {
        int status;
        const char *id;
        const char *name;
        const char *body;
    } bad[] = {
        {400, "vault.bad-name", "ab", "{}"},
        {400, "vault.bad-name", "1ab", "{}"},
        {400, "vault.bad-name", "a--b", "{}"},
        {400, "vault.bad-name", "ab-", "{}"},
        {400, "vault.bad-name", "abcdefghijklmnopqrstuvwxy", "{}"},
        {409, "vault.exists", "DEFAULT", "{}"},
        {400, "vault.bad-sku", "abc", "{\"sku\":\"basic\"}"},
        {400, "vault.bad-retention", "abc", "{\"softDeleteRetentionInDays\":6}"},
        {400, "vault.bad-retention", "abc", "{\"softDeleteRetentionInDays\":91}"},
        {400, "vault.bad-retention", "abc", "{\"softDeleteRetentionInDays\":0}"},
        {400, "vault.bad-retention", "abc", "{\"softDeleteRetentionInDays\":-7}"},
        {400, "api.bad-field", "abc", "{\"softDeleteRetentionInDays\":\"7\"}"},
        {400, "api.bad-field", "abc", "{\"enablePurgeProtection\":1}"},
        {400, "vault.bad-tenant", "abc", "{\"tenantId\":\"x\"}"},
        {400, "vault.bad-subscription", "abc",
         "{\"subscriptionId\":\"bbbbbbbb-0000-4000-8000-00000000000g\"}"},
        {400, "vault.bad-subscription", "abc",
         "{\"tenantId\":\"aaaaaaaa-0000-4000-8000-000000000001\"}"},
        {400, "access.bad-policy", "abc", "{\"accessPolicies\":[{}]}"},
        {400, "api.bad-field", "abc", "{\"tags\":7}"},
        {400, "api.no-body", "abc", ""},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), VAULTS "/%s", bad[i].name);
        desk_fails(&desk, bad[i].status, bad[i].id, "PUT", path, bad[i].body);
    }
    cr_expect_eq(desk.service.n_vaults, 1, "none of them left a trace");
}

Test(vaults, what_may_change_and_what_is_fixed)
{
    desk_vault_make(&desk, "abc",
                    "{\"softDeleteRetentionInDays\":30,\"tags\":{\"a\":\"1\"}}");
    desk_fails(&desk, 400, "vault.fixed", "PATCH", VAULTS "/abc",
               "{\"softDeleteRetentionInDays\":31}");
    desk_fails(&desk, 400, "vault.fixed", "PATCH", VAULTS "/abc",
               "{\"tenantId\":\"aaaaaaaa-0000-4000-8000-000000000001\"}");
    desk_fails(&desk, 400, "vault.fixed", "PATCH", VAULTS "/abc",
               "{\"subscriptionId\":\"aaaaaaaa-0000-4000-8000-000000000001\"}");
    desk_fails(&desk, 404, "vault.not-found", "PATCH", VAULTS "/abd", "{}");
    json_t *json = desk_must(&desk, 200, "PATCH", VAULTS "/abc",
                             "{\"softDeleteRetentionInDays\":30,\"sku\":\"premium\","
                             "\"enablePurgeProtection\":false}");
    cr_expect_str_eq(desk_text(json, "sku"), "premium");
    cr_expect_str_eq(desk_text(json_object_get(json, "tags"), "a"), "1",
                     "not mentioned");
    json_decref(json);
    json = desk_must(&desk, 200, "PATCH", VAULTS "/abc",
                     "{\"enablePurgeProtection\":true,\"tags\":{\"b\":\"2\"}}");
    cr_expect_null(json_object_get(json_object_get(json, "tags"), "a"));
    json_decref(json);
    desk_fails(&desk, 400, "vault.fixed", "PATCH", VAULTS "/abc",
               "{\"enablePurgeProtection\":false}");
    json = desk_must(&desk, 200, "GET", VAULTS "/abc", NULL);
    cr_expect(json_is_true(json_object_get(json, "enablePurgeProtection")));
    cr_expect_str_eq(desk_text(json_object_get(json, "tags"), "b"), "2");
    json_decref(json);
    desk_vault_secret(&desk, "abc", "s", "v");
    cr_assert_eq(desk_vault_call(&desk, "abc", "DELETE", "/secrets/s", NULL, &json),
                 200);
    cr_expect_str_eq(desk_text(json_object_get(json, "attributes"), "recoveryLevel"),
                     "CustomizedRecoverable");
    cr_expect_eq(number(json_object_get(json, "attributes"), "recoverableDays"), 30);
    json_decref(json);
    cr_assert_eq(
        desk_vault_call(&desk, "abc", "DELETE", "/deletedsecrets/s", NULL, NULL), 403);
}

Test(vaults, the_same_name_in_two_is_two_objects)
{
    json_t *json = NULL;
    desk_vault_make(&desk, "second", "{}");
    desk_vault_secret(&desk, "default", "s", "one");
    desk_vault_secret(&desk, "second", "s", "two");
    cr_assert_eq(desk_vault_call(&desk, "default", "GET", "/secrets/s", NULL, &json),
                 200);
    cr_expect_str_eq(desk_text(json, "value"), "one");
    json_decref(json);
    cr_assert_eq(desk_vault_call(&desk, "second", "GET", "/secrets/s", NULL, &json),
                 200);
    cr_expect_str_eq(desk_text(json, "value"), "two");
    cr_expect(strstr(desk_text(json, "id"),
                     "https://second.vault.localhost:8443/secrets/s/"));
    json_decref(json);
    cr_assert_eq(desk_vault_call(&desk, "default", "DELETE", "/secrets/s", NULL, NULL),
                 200);
    cr_assert_eq(desk_vault_call(&desk, "second", "GET", "/secrets/s", NULL, NULL),
                 200);
    cr_assert_eq(desk_vault_call(&desk, "third", "GET", "/secrets/s", NULL, NULL), 404);
}

Test(vaults, a_deleted_one_keeps_its_name_and_comes_back_whole)
{
    json_t *json = NULL;
    desk_vault_make(&desk, "second", "{\"softDeleteRetentionInDays\":10}");
    desk_vault_secret(&desk, "second", "s", "v");
    uint64_t epoch = desk.service.vaults[1]->epoch;
    json = desk_must(&desk, 200, "DELETE", VAULTS "/second", NULL);
    cr_expect_str_eq(desk_text(json, "state"), "deleted");
    cr_expect_eq(number(json, "scheduledPurgeDate"),
                 number(json, "deletedDate") + 10 * DAY_S);
    json_decref(json);
    cr_expect_gt(desk.service.vaults[1]->epoch, epoch, "no grant outlives it");
    cr_assert_eq(desk_vault_call(&desk, "second", "GET", "/secrets/s", NULL, &json),
                 404);
    cr_expect_str_eq(desk_error(json, "id"), "vault.not-found");
    json_decref(json);
    desk_fails(&desk, 404, "vault.not-found", "GET", VAULTS "/second", NULL);
    desk_fails(&desk, 404, "vault.not-found", "DELETE", VAULTS "/second", NULL);
    desk_fails(&desk, 409, "vault.deleted", "PUT", VAULTS "/Second", "{}");
    cr_expect_eq(desk_count(&desk, VAULTS), 0);
    cr_expect_eq(desk_count(&desk, DELETED), 1);
    json_decref(desk_must(&desk, 200, "GET", DELETED "/second", NULL));
    json = desk_must(&desk, 200, "POST", DELETED "/second/recover", NULL);
    cr_expect_str_eq(desk_text(json, "state"), "live");
    cr_expect_null(json_object_get(json, "scheduledPurgeDate"));
    json_decref(json);
    cr_assert_eq(desk_vault_call(&desk, "second", "GET", "/secrets/s", NULL, NULL),
                 200);
    desk_fails(&desk, 404, "vault.not-deleted", "POST", DELETED "/second/recover",
               NULL);
    desk_fails(&desk, 404, "vault.not-deleted", "DELETE", DELETED "/second", NULL);
    desk_fails(&desk, 404, "vault.not-deleted", "GET", DELETED "/second", NULL);
    desk_fails(&desk, 409, "vault.is-default", "DELETE", VAULTS "/default", NULL);
}

/* --- purging ------------------------------------------------------------------------
 */

static void on_stats(void *arg, int rc, const struct kv_store_stats *stats,
                     const struct kv_err *err)
{
    (void)rc;
    (void)err;
    *(uint64_t *)arg = stats->n_rows;
}

static uint64_t n_rows(void)
{
    uint64_t n = UINT64_MAX;
    cr_assert_eq(desk.service.store->ops->stats(desk.service.store, on_stats, &n), 0);
    desk_settle(&desk);
    cr_assert_neq(n, UINT64_MAX);
    return n;
}

static unsigned n_due;
static int due_rc;

static void on_due(void *arg, int rc, const struct kv_err *err)
{
    (void)arg;
    (void)err;
    due_rc = rc;
    n_due++;
}

static int purge_due(const char *name)
{
    unsigned before = n_due;
    cr_assert_eq(kv_vault_purge_due(&desk.service, name, on_due, NULL), 0);
    desk_wait(&desk, &n_due, before + 1);
    return due_rc;
}

/* A vault with more rows than one batch holds, deleted. */
static void make_full(const char *name)
{
    desk_vault_make(&desk, name, "{\"softDeleteRetentionInDays\":7}");
    for (int i = 0; i < 40; i++) {
        char secret[16];
        (void)snprintf(secret, sizeof(secret), "s%d", i);
        desk_vault_secret(&desk, name, secret, "v");
        if (i % 2 == 0)
            desk_vault_secret(&desk, name, secret, "w");
    }
    cr_assert_eq(desk_vault_call(&desk, name, "POST", "/keys/k/create",
                                 "{\"kty\":\"EC\"}", NULL),
                 200);
    cr_assert_eq(desk_vault_call(&desk, name, "DELETE", "/secrets/s1", NULL, NULL),
                 200);
    desk_vault_delete(&desk, name);
}

/* Whether a row can be unsealed, and with what status. */
static int unseal(const struct kv_row *row)
{
    struct kv_buf in;
    struct kv_buf out;
    struct kv_role_rows rows = {.n = 1};
    kv_buf_init(&in, KV_FRAME_MAX_ROLE);
    kv_buf_init_secret(&out, KV_FRAME_MAX_ROLE);
    rows.row[0].ident = (struct kv_ident){
        .kind = row->key.kind, .term = row->term, .row_version = row->row_version};
    memcpy(rows.row[0].ident.vault, row->key.vault, KV_ID_LEN);
    memcpy(rows.row[0].ident.name, row->key.name, sizeof(row->key.name));
    memcpy(rows.row[0].ident.version, row->key.version, KV_ID_LEN);
    rows.row[0].body = (struct kv_bytes){row->sealed, row->sealed_len};
    kv_role_rows_put(&in, &rows);
    cr_assert_eq(kv_room_serve(&desk.room, KV_ROLE_UNSEAL, &in, &out, NULL), 0);
    cr_assert_eq(kv_role_rows_get((struct kv_bytes){out.data, out.len}, &rows), 0);
    kv_buf_free(&in);
    kv_buf_free(&out);
    return rows.row[0].status;
}

Test(vaults, a_purge_leaves_no_row_and_no_key)
{
    struct kv_row row;
    struct kv_buf sealed;
    struct kv_row_key key = {.kind = KV_KIND_SECRET, .name = "s3"};
    uint64_t before = n_rows();
    kv_buf_init(&sealed, KV_STORE_SEALED_MAX);
    make_full("second");
    struct kv_vault *vault = desk.service.vaults[1];
    memcpy(key.vault, vault->id, KV_ID_LEN);
    cr_assert_eq(desk_get(&desk, &key, true, &row, &sealed), 0);
    cr_assert_eq(unseal(&row), 0, "a copy of a row, of a backup");
    cr_expect_null(desk_must(&desk, 204, "DELETE", DELETED "/second", NULL));
    cr_expect_eq(n_rows(), before);
    cr_expect_eq(unseal(&row), KV_E_SEALED);
    cr_expect_eq(desk.link.n_removed, 1, "nor does the link bring it again");
    cr_expect_eq(desk.service.n_vaults, 1);
    cr_expect_eq(desk_count(&desk, DELETED), 0);
    kv_buf_free(&sealed);
    desk_vault_make(&desk, "second", "{}");
    cr_expect_eq(desk_vault_call(&desk, "second", "GET", "/secrets/s3", NULL, NULL),
                 404);
    cr_expect_neq(memcmp(desk.service.vaults[1]->id, vault->id, KV_ID_LEN), 0);
}

Test(vaults, purge_protection_leaves_a_vault_to_the_time)
{
    desk_vault_make(&desk, "second",
                    "{\"softDeleteRetentionInDays\":7,\"enablePurgeProtection\":true}");
    desk_vault_secret(&desk, "second", "s", "v");
    desk_vault_delete(&desk, "second");
    desk_fails(&desk, 403, "vault.purge-protected", "DELETE", DELETED "/second", NULL);
    cr_expect_eq(purge_due("second"), 0);
    cr_expect_eq(desk_count(&desk, DELETED), 1, "not yet");
    kv_clock_manual_advance(&desk.room.clock, 7 * DAY_S - 1);
    cr_expect_eq(purge_due("second"), 0);
    cr_expect_eq(desk_count(&desk, DELETED), 1, "not yet");
    kv_clock_manual_advance(&desk.room.clock, 1);
    cr_expect_eq(purge_due("second"), 0);
    cr_expect_eq(desk_count(&desk, DELETED), 0);
    cr_expect_eq(purge_due("second"), 0, "nothing to do");
    cr_expect_eq(purge_due("default"), 0, "nor here");
    cr_expect_eq(desk.service.n_vaults, 1);
}

/* Fail the n-th change, then go on as the engine does. False: it did not come so far.
 */
static bool interrupt_at_change(unsigned n, uint64_t before)
{
    make_full("second");
    struct kv_vault *vault = desk.service.vaults[1];
    kv_memory_fail_apply(desk.service.store, n, KV_E_FULL, false);
    json_t *json = NULL;
    int status = desk_call(&desk, "DELETE", DELETED "/second", NULL, &json);
    json_decref(json);
    kv_memory_fail_apply(desk.service.store, 0, 0, false);
    if (status == 204)
        return false;
    cr_expect_eq(status, 503);
    cr_expect_eq(vault->state, n == 1 ? KV_VAULT_DELETED : KV_VAULT_PURGING, "%u", n);
    desk_fails(&desk, 409, "vault.deleted", "PUT", VAULTS "/second", "{}");
    if (n > 1)
        desk_fails(&desk, 404, "vault.not-deleted", "POST", DELETED "/second/recover",
                   NULL);
    cr_expect_eq(desk_vault_call(&desk, "second", "GET", "/secrets/s3", NULL, NULL),
                 404);
    cr_expect_null(desk_must(&desk, 204, "DELETE", DELETED "/second", NULL));
    cr_expect_eq(n_rows(), before, "%u", n);
    return true;
}

Test(vaults, a_purge_that_was_interrupted_goes_on)
{
    uint64_t before = n_rows();
    unsigned n = 1;
    while (interrupt_at_change(n, before))
        n++;
    cr_expect_gt(n, 3, "keys, two batches of rows, the vault: %u", n);
}

Test(vaults, a_keyring_that_is_away_does_not_stop_the_erasure)
{
    uint64_t before = n_rows();
    make_full("second");
    desk.link.fail_verb = KV_ROLE_VAULT_FORGET;
    desk.link.fail_rc = KV_E_UNAVAILABLE;
    json_t *json = NULL;
    cr_expect_eq(desk_call(&desk, "DELETE", DELETED "/second", NULL, &json), 503);
    json_decref(json);
    cr_expect_eq(desk.service.vaults[1]->state, KV_VAULT_PURGING);
    json = desk_must(&desk, 200, "GET", DELETED "/second", NULL);
    cr_expect_str_eq(desk_text(json, "state"), "purging");
    json_decref(json);
    cr_expect_eq(purge_due("second"), 0, "as the engine goes on");
    cr_expect_eq(n_rows(), before);
}

Test(vaults, nothing_is_written_into_one_that_is_being_purged)
{
    make_full("second");
    struct kv_vault *vault = desk.service.vaults[1];
    uint64_t before = n_rows();
    vault->state = KV_VAULT_LIVE; /* as for a request that came in before */
    desk.link.is_held = true;
    int client = desk_connect(&desk);
    desk_send_raw(&desk, client,
                  "PUT /secrets/late?api-version=7.5 HTTP/1.1\r\n"
                  "Host: second.vault.localhost\r\nContent-Type: application/json\r\n"
                  "Content-Length: 13\r\n\r\n{\"value\":\"v\"}");
    desk_settle(&desk);
    vault->state = KV_VAULT_PURGING;
    fake_link_release(&desk.link);
    struct desk_reply reply;
    cr_expect_eq(desk_read(&desk, client, &reply), 404);
    desk_reply_free(&reply);
    (void)close(client);
    cr_expect_eq(n_rows(), before);
    vault->state = KV_VAULT_DELETED;
}

Test(vaults, purge_and_recovery_at_once_end_as_what_is_stored)
{
    static const char *const method[] = {"DELETE", "POST"};
    static const char *const path[] = {DELETED "/second", DELETED "/second/recover"};
    for (size_t first = 0; first < 2; first++) {
        int clients[2];
        int status[2];
        struct desk_reply reply;
        desk_vault_make(&desk, "second", "{}");
        desk_vault_delete(&desk, "second");
        desk.link.is_held = true;
        for (size_t i = 0; i < 2; i++) {
            size_t which = (first + i) % 2;
            clients[which] = desk_connect(&desk);
            desk_send(&desk, clients[which], method[which], path[which], NULL);
            desk_settle(&desk);
        }
        fake_link_release(&desk.link);
        for (size_t i = 0; i < 2; i++) {
            status[i] = desk_read(&desk, clients[i], &reply);
            desk_reply_free(&reply);
            (void)close(clients[i]);
        }
        bool is_back = status[1] == 200;
        cr_expect_eq(status[0] == 204, !is_back, "%d %d", status[0], status[1]);
        cr_expect_eq(desk_count(&desk, VAULTS), is_back ? 1 : 0);
        cr_expect_eq(desk_count(&desk, DELETED), 0);
        if (is_back) {
            desk_vault_delete(&desk, "second");
            cr_expect_null(desk_must(&desk, 204, "DELETE", path[0], NULL));
        }
    }
}

Test(vaults, roles_in_a_purged_vault_are_not_those_of_the_next)
{
    static const char *const scopes[] = {"/second", "/Second/keys/k", "/second-one",
                                         "/default/keys/second"};
    desk_vault_make(&desk, "second", "{}");
    desk_vault_make(&desk, "second-one", "{}");
    for (size_t i = 0; i < 4; i++) {
        char body[256];
        (void)snprintf(
            body, sizeof(body),
            "{\"principal\":\"unix:u\",\"role\":\"reader\",\"scope\":\"%s\"}",
            scopes[i]);
        json_decref(desk_must(&desk, 200, "PUT", "/keyvault/v1/assignments", body));
    }
    desk_vault_delete(&desk, "second");
    cr_expect_eq(desk_count(&desk, "/keyvault/v1/assignments"), 4,
                 "it may be recovered");
    uint64_t before = n_rows();
    cr_expect_null(desk_must(&desk, 204, "DELETE", DELETED "/second", NULL));
    cr_expect_eq(desk_count(&desk, "/keyvault/v1/assignments"), 2);
    cr_expect_eq(n_rows(), before - 4, "two assignments, the key, the vault");
}

/* --- at once -------------------------------------------------------------------------
 */

Test(vaults, two_of_one_name_at_once_are_one)
{
    struct desk_reply reply;
    int clients[2];
    unsigned n_made = 0;
    desk.link.is_held = true;
    for (size_t i = 0; i < 2; i++) {
        clients[i] = desk_connect(&desk);
        desk_send(&desk, clients[i], "PUT", VAULTS "/second", "{}");
    }
    desk_settle(&desk);
    desk_fails(&desk, 404, "vault.not-found", "GET", VAULTS "/second", NULL);
    fake_link_release(&desk.link);
    for (size_t i = 0; i < 2; i++) {
        int status = desk_read(&desk, clients[i], &reply);
        cr_expect(status == 200 || status == 409);
        n_made += status == 200;
        desk_reply_free(&reply);
        (void)close(clients[i]);
    }
    cr_expect_eq(n_made, 1);
    cr_expect_eq(desk.service.n_vaults, 2);
}

Test(vaults, one_that_could_not_be_stored_leaves_its_name)
{
    kv_memory_fail_apply(desk.service.store, 1, KV_E_FULL, false);
    json_t *json = NULL;
    cr_expect_eq(desk_call(&desk, "PUT", VAULTS "/second", "{}", &json), 503);
    json_decref(json);
    cr_expect_eq(desk.service.n_vaults, 1);
    cr_expect_eq(desk.link.n_removed, 1, "its key is forgotten");
    desk.link.fail_verb = KV_ROLE_VAULT_KEY_NEW;
    desk.link.fail_rc = KV_E_UNAVAILABLE;
    cr_expect_eq(desk_call(&desk, "PUT", VAULTS "/second", "{}", &json), 503);
    json_decref(json);
    desk_vault_make(&desk, "second", "{}");
}

Test(vaults, there_is_an_end_of_them)
{
    struct kv_vault vault = {.name = "filler"};
    while (desk.service.n_vaults < KV_VAULTS_MAX) {
        vault.id[0] = (uint8_t)desk.service.n_vaults;
        vault.id[1] = 1;
        (void)kv_service_vault_add(&desk.service, &vault);
    }
    desk_fails(&desk, 503, "vault.too-many", "PUT", VAULTS "/one-more", "{}");
    while (desk.service.n_vaults > 1)
        kv_service_vault_remove(&desk.service, desk.service.vaults[1]);
    desk_vault_make(&desk, "one-more", "{}");
}
