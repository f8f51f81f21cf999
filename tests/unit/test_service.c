/*
 * Which vault a request means, and what its URL is.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/desk.h"

static struct desk desk;

static void setup(void)
{
    desk_init(&desk);
    struct kv_service *service = &desk.service;
    (void)snprintf(service->domain, sizeof(service->domain), "vault.localhost");
    const struct kv_vault prod = {.id = {2}, .name = "prod", .epoch = 10};
    const struct kv_vault other = {.id = {3}, .name = "a-b", .epoch = 20};
    const struct kv_vault deleted = {
        .id = {4}, .name = "old", .state = KV_VAULT_DELETED, .epoch = 5};
    cr_assert_not_null(kv_service_vault_add(service, &prod));
    cr_assert_not_null(kv_service_vault_add(service, &other));
    cr_assert_not_null(kv_service_vault_add(service, &deleted));
}

static void teardown(void)
{
    desk_fini(&desk);
}

TestSuite(service, .timeout = 20, .init = setup, .fini = teardown);

static const struct {
    const char *host;
    const char *vault;
} hosts[] = {
    {"prod.vault.localhost", "prod"},
    {"prod.vault.localhost:8443", "prod"},
    {"PROD.Vault.LocalHost:1", "prod"},
    {"a-b.vault.localhost", "a-b"},
    {"default.vault.localhost", "default"},
    /* a host that names no vault gets the default */
    {NULL, "default"},
    {"", "default"},
    {"localhost", "default"},
    {"127.0.0.1:8443", "default"},
    {"[::1]:8443", "default"},
    {"vault.localhost", "default"},
    {"prod", "default"},
    {"prod.", "default"},
    {".vault.localhost", "default"},
    {"prod.vault.localhost.evil", "default"},
    {"prod.vault.localhostx", "default"},
    {"x.prod.vault.localhost", "default"},
    {"prod.evil", "default"},
    /* one of the domain that names none has none, and a deleted one is none */
    {"other.vault.localhost", NULL},
    {"old.vault.localhost:8443", NULL},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.vault.localhost", NULL},
};

Test(service, the_host_names_the_vault)
{
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        const struct kv_vault *vault =
            kv_service_vault_by_host(&desk.service, hosts[i].host);
        cr_expect_str_eq(vault != NULL ? vault->name : "",
                         hosts[i].vault != NULL ? hosts[i].vault : "", "%s",
                         hosts[i].host != NULL ? hosts[i].host : "none");
    }
}

Test(service, without_a_default_a_foreign_host_has_no_vault)
{
    desk.vault->is_default = false;
    cr_assert_null(kv_service_vault_by_host(&desk.service, "localhost"));
    cr_assert_null(kv_service_vault_by_name(&desk.service, ""));
    cr_assert_not_null(kv_service_vault_by_host(&desk.service, "prod.vault.localhost"));
    desk.vault->state = KV_VAULT_DELETED;
    desk_fails(&desk, 404, "vault.not-found", "GET", "/keys", NULL);
    json_decref(desk_must(&desk, 200, "GET", "/keyvault/v1/status", NULL));
    desk.service.is_ready = false;
    desk_fails(&desk, 503, "service.starting", "GET", "/keys", NULL);
}

Test(service, vaults_are_found_by_name_and_id)
{
    static const uint8_t zeros[KV_ID_LEN];
    static const uint8_t absent[KV_ID_LEN] = {9};
    struct kv_service *service = &desk.service;
    cr_assert_eq(kv_service_vault_by_name(service, "Prod"), service->vaults[1]);
    cr_assert_eq(kv_service_vault_by_name(service, ""), service->vaults[0]);
    cr_assert_null(kv_service_vault_by_name(service, "pro"));
    cr_assert_null(kv_service_vault_by_name(service, "old"));
    cr_assert_eq(kv_service_vault_of_name(service, "OLD"), service->vaults[3]);
    cr_assert_eq(kv_service_vault_by_id(service, service->vaults[2]->id),
                 service->vaults[2]);
    cr_assert_null(kv_service_vault_by_id(service, absent));
    cr_assert_null(kv_service_vault_by_id(service, zeros));
    cr_assert_eq(kv_service_vault_of_row(service, zeros), &service->system);
    cr_assert_eq(kv_service_vault_of_row(service, service->vaults[1]->id),
                 service->vaults[1]);
    cr_assert_null(kv_service_vault_of_row(service, absent));
}

Test(service, urls_have_a_port_unless_it_is_the_usual_one)
{
    char url[300];
    struct kv_service *service = &desk.service;
    service->port = 8443;
    kv_service_vault_url(service, service->vaults[1], url, sizeof(url));
    cr_assert_str_eq(url, "https://prod.vault.localhost:8443");
    service->port = 443;
    kv_service_vault_url(service, service->vaults[1], url, sizeof(url));
    cr_assert_str_eq(url, "https://prod.vault.localhost");
    service->port = 0;
    kv_service_vault_url(service, service->vaults[1], url, sizeof(url));
    cr_assert_str_eq(url, "https://prod.vault.localhost", "not listening");
}

Test(service, an_epoch_rises_for_one_vault_or_for_all_and_is_told)
{
    struct kv_service *service = &desk.service;
    kv_service_raise_epoch(service, service->vaults[1]);
    cr_assert_eq(service->vaults[1]->epoch, 21, "the newest of all");
    cr_assert_eq(service->vaults[2]->epoch, 20);
    cr_assert_eq(desk.link.n_beats, 1);
    kv_service_raise_epoch(service, NULL);
    cr_assert_eq(service->vaults[1]->epoch, 22);
    cr_assert_eq(service->vaults[2]->epoch, 22);
    cr_assert_eq(desk.link.n_beats, 5);
    cr_assert_eq(service->vaults[1]->epoch_sent, 22);
    desk.link.is_unreachable = true;
    kv_service_raise_epoch(service, service->vaults[1]);
    cr_assert_eq(service->vaults[1]->epoch, 23);
    cr_assert_eq(service->vaults[1]->epoch_sent, 22, "the beat of each second will");
}

Test(service, the_table_has_an_end_and_a_removed_vault_is_not_found)
{
    struct kv_service *service = &desk.service;
    struct kv_vault vault = {.name = "full"};
    while (service->n_vaults < KV_VAULTS_MAX) {
        vault.id[0] = (uint8_t)service->n_vaults;
        vault.id[1] = 1;
        cr_assert_not_null(kv_service_vault_add(service, &vault));
    }
    cr_assert_null(kv_service_vault_add(service, &vault));
    struct kv_vault *prod = service->vaults[1];
    kv_service_vault_remove(service, prod);
    cr_expect_eq(service->n_vaults, KV_VAULTS_MAX - 1);
    cr_expect_null(kv_service_vault_of_name(service, "prod"));
    cr_expect_null(kv_service_vault_by_id(service, prod->id));
    cr_expect_str_eq(prod->name, "prod", "who holds it may look at it");
    cr_expect_str_eq(service->vaults[1]->name, "a-b");
}
