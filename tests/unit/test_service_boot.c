/*
 * From a connected keyring to a service that answers: the first start, the next ones,
 * failures at each step, and rows that were damaged.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lifecycle/auth/policies.h"
#include "lifecycle/auth/token.h"
#include "lifecycle/service/assignments.h"
#include "lifecycle/service/boot.h"
#include "lifecycle/service/vaults.h"
#include "store/db/memory.h"
#include "tests/support/service_box.h"

static struct service_box box;
static char dir[64];
static char token_path[96];
static struct kv_boot_config config;

/* A service that has just started: nothing is loaded. */
static void forget(void)
{
    struct kv_service *service = &box.service;
    while (service->n_vaults > 0)
        kv_service_vault_remove(service, service->vaults[service->n_vaults - 1]);
    service->system.term = 0;
    service->is_ready = false;
    service->has_token = false;
    kv_assignments_free(service->assignments);
    cr_assert_eq(kv_assignments_new(&service->assignments), 0);
}

static void setup(void)
{
    service_box_init(&box);
    forget();
    (void)snprintf(dir, sizeof(dir), "/tmp/kv-boot-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(token_path, sizeof(token_path), "%s/token", dir);
    config = (struct kv_boot_config){.token = ""};
}

static void teardown(void)
{
    kv_assignments_free(box.service.assignments);
    service_box_fini(&box);
    (void)unlink(token_path);
    cr_assert_eq(rmdir(dir), 0);
}

TestSuite(service_boot, .timeout = 60, .init = setup, .fini = teardown);

static int boot(void)
{
    return service_box_wait(
        &box, kv_boot_start(&box.service, &config, service_box_done, &box));
}

Test(service_boot, the_first_start_makes_the_default_vault)
{
    cr_assert_eq(boot(), 0, "%s", box.err.message);
    cr_assert_eq(box.service.n_vaults, 1);
    const struct kv_vault *vault = box.service.vaults[0];
    cr_assert_str_eq(vault->name, "default");
    cr_assert(vault->is_default);
    cr_assert_eq(vault->term, 1);
    cr_assert_eq(box.service.system.term, 1);
    cr_assert_gt(vault->epoch, 0);
    cr_assert(!box.service.has_token, "no --dev, no token");
}

Test(service_boot, the_next_one_finds_it_again)
{
    uint8_t id[KV_ID_LEN];
    cr_assert_eq(boot(), 0);
    memcpy(id, box.service.vaults[0]->id, KV_ID_LEN);
    uint64_t epoch = box.service.vaults[0]->epoch;
    uint64_t n_rows = service_box_rows(&box);
    forget();
    kv_clock_manual_advance(&box.room.clock, 1);
    cr_assert_eq(boot(), 0);
    cr_assert_eq(box.service.n_vaults, 1);
    cr_assert_arr_eq(box.service.vaults[0]->id, id, KV_ID_LEN);
    cr_assert_gt(box.service.vaults[0]->epoch, epoch, "older grants end");
    cr_assert_eq(service_box_rows(&box), n_rows, "nothing is made twice");
}

Test(service_boot, a_start_that_failed_goes_on_where_it_ended)
{
    /* each call to the keyring, then each commit */
    for (unsigned n = 1; n <= 8; n++) {
        fake_link_fail(&box.link, n, KV_E_UNAVAILABLE);
        int rc = boot();
        bool was_hit = box.link.fail_in == 0;
        cr_assert_eq(rc == 0, !was_hit, "call %u: %d", n, rc);
        if (!was_hit)
            break;
        cr_assert_lt(n, 8);
    }
    box.link.fail_in = 0;
    cr_assert_eq(boot(), 0, "again: nothing is done twice");
    cr_assert_eq(box.service.n_vaults, 1);
}

Test(service_boot, a_commit_that_failed_is_made_again)
{
    for (unsigned n = 1; n <= 2; n++) {
        kv_memory_fail_apply(box.service.store, 1, KV_E_IO, false);
        cr_assert_eq(boot(), KV_E_IO, "commit %u", n);
        if (n == 1) { /* now let the first through */
            kv_memory_fail_apply(box.service.store, 2, KV_E_IO, false);
            cr_assert_eq(boot(), KV_E_IO);
        }
    }
    cr_assert_eq(boot(), 0, "%s", box.err.message);
    cr_assert_eq(box.service.n_vaults, 1);
}

/* --- vaults -------------------------------------------------------------------------
 */

static void on_vault(void *arg, int rc, const struct kv_vault_view *view,
                     const struct kv_err *err)
{
    (void)view;
    service_box_done(arg, rc, err);
}

static int make_vault(const char *name)
{
    json_t *policies =
        json_pack("[{s:s,s:s,s:{s:[s]}}]", "tenantId",
                  "00000000-0000-4000-8000-000000000001", "objectId",
                  "00000000-0000-4000-8000-000000000002", "permissions", "keys", "get");
    const struct kv_vault_wish wish = {.retention_days = 7,
                                       .sku = "premium",
                                       .is_purge_protected = KV_WISH_NO,
                                       .uses_policies = KV_WISH_YES,
                                       .policies = policies};
    kv_vault_create(&box.service, name, &wish, on_vault, &box);
    int rc = service_box_wait(&box, 0);
    json_decref(policies);
    return rc;
}

static int delete_vault(const char *name)
{
    kv_vault_delete(&box.service, name, on_vault, &box);
    return service_box_wait(&box, 0);
}

static const struct kv_vault *must_have(const char *name, enum kv_vault_state state)
{
    const struct kv_vault *vault = kv_service_vault_of_name(&box.service, name);
    cr_assert_not_null(vault, "%s", name);
    cr_expect_eq(vault->state, state, "%s: %d", name, vault->state);
    return vault;
}

Test(service_boot, vaults_of_every_state_are_found_again)
{
    cr_assert_eq(boot(), 0);
    for (int i = 0; i < 100; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "vault%d", i);
        cr_assert_eq(make_vault(name), 0);
    }
    cr_assert_eq(delete_vault("vault1"), 0);
    cr_assert_eq(delete_vault("vault2"), 0);
    uint64_t n_rows = service_box_rows(&box);
    box.link.fail_verb = KV_ROLE_VAULT_FORGET;
    box.link.fail_rc = KV_E_UNAVAILABLE;
    kv_vault_purge(&box.service, "vault2", on_vault, &box);
    cr_assert_eq(service_box_wait(&box, 0), KV_E_UNAVAILABLE);
    forget();
    cr_assert_eq(boot(), 0, "%s", box.err.message);
    cr_expect_eq(box.service.n_vaults, 101);
    const struct kv_vault *vault = must_have("vault99", KV_VAULT_LIVE);
    cr_expect(vault->is_premium);
    cr_expect(!vault->is_default && !vault->is_purge_protected);
    cr_expect_eq(vault->retention_days, 7);
    cr_expect_eq(vault->term, 1);
    cr_expect(vault->uses_policies);
    cr_expect_not_null(kv_access_policies_at(vault->policies, 0));
    must_have("default", KV_VAULT_LIVE);
    must_have("vault1", KV_VAULT_DELETED);
    must_have("vault2", KV_VAULT_PURGING);
    cr_expect_null(kv_service_vault_by_name(&box.service, "vault1"));
    cr_assert_eq(service_box_wait(&box, kv_vault_purge_due(&box.service, "vault2",
                                                           service_box_done, &box)),
                 0);
    cr_expect_null(kv_service_vault_of_name(&box.service, "vault2"));
    cr_expect_eq(service_box_rows(&box), n_rows - 2, "its key and its own row");
}

/* --- assignments -------------------------------------------------------------------
 */

static void put_assignment(const char *name, json_t *doc)
{
    struct kv_row row = {.flags = KV_ROW_ENABLED,
                         .created_s = 1,
                         .updated_s = 1,
                         .nbf_s = KV_TIME_NONE,
                         .exp_s = KV_TIME_NONE,
                         .next_at_s = KV_TIME_NONE};
    row.key.kind = KV_KIND_ASSIGNMENT;
    (void)snprintf(row.key.name, sizeof(row.key.name), "%s", name);
    service_box_put(&box, &row, doc);
}

static size_t n_assignments(void)
{
    size_t n = 0;
    (void)kv_assignments_all(box.service.assignments, &n);
    return n;
}

Test(service_boot, assignments_are_loaded_page_by_page)
{
    cr_assert_eq(boot(), 0);
    for (int i = 0; i < 150; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "a-%03d", i);
        put_assignment(name, json_pack("{s:s,s:s,s:s}", "principal", name, "role",
                                       "reader", "scope", "/"));
    }
    forget();
    cr_assert_eq(boot(), 0);
    cr_assert_eq(n_assignments(), 150);
    cr_assert_eq(boot(), 0, "a second boot of the same process");
    cr_assert_eq(n_assignments(), 150, "adds none twice");
}

Test(service_boot, an_assignment_that_is_not_whole_stops_the_start)
{
    cr_assert_eq(boot(), 0);
    put_assignment("bad", json_pack("{s:s}", "principal", "unix:a"));
    forget();
    cr_assert_eq(boot(), KV_E_INTEGRITY);
    cr_assert_str_eq(box.err.id, "service.damaged");
}

/* --- the token of --dev -------------------------------------------------------------
 */

static char text[KV_TOKEN_TEXT_LEN + 2];

static void read_token(void)
{
    struct stat info;
    int fd = open(token_path, O_RDONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(read(fd, text, sizeof(text)), KV_TOKEN_TEXT_LEN + 1);
    cr_assert_eq(fstat(fd, &info), 0);
    cr_assert_eq(info.st_mode & 0777, 0600);
    (void)close(fd);
    text[KV_TOKEN_TEXT_LEN] = '\0';
}

static bool is_taken(const char *token)
{
    char header[128];
    (void)snprintf(header, sizeof(header), "Bearer %s", token);
    return kv_token_matches(header, box.service.token_sha256);
}

Test(service_boot, the_token_is_kept_while_its_file_fits)
{
    config.token_path = token_path;
    cr_assert_eq(boot(), 0, "%s", box.err.message);
    cr_assert(box.service.has_token);
    read_token();
    cr_assert(is_taken(text));
    char first[sizeof(text)];
    memcpy(first, text, sizeof(first));
    forget();
    config.token = first;
    cr_assert_eq(boot(), 0);
    read_token();
    cr_assert_str_eq(text, first);
    cr_assert(is_taken(first));
    /* lost, cut or foreign: a new one, and the old one is worth nothing */
    static const char *const others[] = {"", "short",
                                         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        forget();
        config.token = others[i];
        cr_assert_eq(boot(), 0);
        cr_assert(!is_taken(first));
        cr_assert(!is_taken(others[i]));
        read_token();
        cr_assert(is_taken(text));
    }
}

Test(service_boot, a_token_that_cannot_be_written_is_no_token)
{
    config.token_path = "/no/such/directory/token";
    cr_assert_eq(boot(), KV_E_IO);
    cr_assert_str_eq(box.err.id, "service.file-failed");
    cr_assert(!box.service.has_token);
}

Test(service_boot, files_are_replaced_as_a_whole)
{
    struct stat info;
    cr_assert_eq(kv_file_replace(token_path, "one", 3, 0600, NULL), 0);
    cr_assert_eq(kv_file_replace(token_path, "three", 5, 0644, NULL), 0);
    cr_assert_eq(stat(token_path, &info), 0);
    cr_assert_eq(info.st_size, 5);
    cr_assert_eq(info.st_mode & 0777, 0644);
    char beside[128];
    (void)snprintf(beside, sizeof(beside), "%s.new", token_path);
    cr_assert_neq(access(beside, F_OK), 0, "nothing is left beside it");
    /* what stands in the way beside it is neither followed nor written to */
    cr_assert_eq(symlink("/etc/passwd", beside), 0);
    cr_assert_eq(kv_file_replace(token_path, "four", 4, 0600, NULL), 0);
    cr_assert_neq(access(beside, F_OK), 0);
    cr_assert_eq(kv_file_replace(dir, "x", 1, 0600, NULL), KV_E_IO, "a directory");
    (void)snprintf(beside, sizeof(beside), "%s.new", dir);
    cr_assert_neq(access(beside, F_OK), 0);
}

/* --- TLS ---------------------------------------------------------------------------
 */

static int get_leaf(const char *names, struct kv_api_identity *leaf)
{
    return service_box_wait(
        &box, kv_tls_start(&box.service, names, leaf, service_box_done, &box));
}

#define NAMES "DNS:*.vault.localhost,DNS:vault.localhost,DNS:localhost,IP:127.0.0.1"

Test(service_boot, the_leaf_is_kept_until_it_is_due)
{
    struct kv_api_identity first;
    struct kv_api_identity second;
    cr_assert_eq(boot(), 0);
    cr_assert_eq(get_leaf(NAMES, &first), 0, "%s", box.err.message);
    cr_assert_eq(get_leaf(NAMES, &second), 0);
    cr_assert_eq(X509_cmp(first.certificate, second.certificate), 0);
    cr_assert_eq(X509_cmp(first.ca, second.ca), 0);
    kv_api_identity_free(&second);
    kv_clock_manual_advance(&box.room.clock, INT64_C(340) * 86400);
    cr_assert_eq(get_leaf(NAMES, &second), 0);
    cr_assert_neq(X509_cmp(first.certificate, second.certificate), 0, "renewed");
    cr_assert_eq(X509_cmp(first.ca, second.ca), 0, "by the same CA");
    kv_api_identity_free(&second);
    cr_assert_eq(get_leaf(NAMES ",IP:192.0.2.1", &second), 0);
    cr_assert_neq(X509_cmp(first.ca, second.ca), 0,
                  "another address: a CA that may vouch for it");
    kv_api_identity_free(&second);
    kv_api_identity_free(&first);
}

Test(service_boot, a_leaf_that_cannot_be_stored_is_not_used)
{
    struct kv_api_identity leaf;
    cr_assert_eq(boot(), 0);
    kv_memory_fail_apply(box.service.store, 1, KV_E_FULL, false);
    cr_assert_eq(get_leaf(NAMES, &leaf), KV_E_FULL);
    kv_api_identity_free(&leaf);
    cr_assert_eq(get_leaf(NAMES, &leaf), 0);
    kv_api_identity_free(&leaf);
}
