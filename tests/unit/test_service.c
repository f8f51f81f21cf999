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
    service->vaults[1] = (struct kv_vault){.id = {2}, .name = "prod", .epoch = 10};
    service->vaults[2] = (struct kv_vault){.id = {3}, .name = "a-b", .epoch = 20};
    service->n_vaults = 3;
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
    {"other.vault.localhost", "default"},
    {"prod", "default"},
    {"prod.", "default"},
    {".vault.localhost", "default"},
    {"prod.vault.localhost.evil", "default"},
    {"prod.vault.localhostx", "default"},
    {"x.prod.vault.localhost", "default"},
    {"prod.evil", "default"},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.vault.localhost", "default"},
};

Test(service, the_host_names_the_vault)
{
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        const struct kv_vault *vault =
            kv_service_vault_by_host(&desk.service, hosts[i].host);
        cr_assert_not_null(vault);
        cr_assert_str_eq(vault->name, hosts[i].vault, "%s",
                         hosts[i].host != NULL ? hosts[i].host : "none");
    }
}

Test(service, without_a_default_a_foreign_host_has_no_vault)
{
    desk.vault->is_default = false;
    cr_assert_null(kv_service_vault_by_host(&desk.service, "localhost"));
    cr_assert_null(kv_service_vault_by_name(&desk.service, ""));
    cr_assert_not_null(kv_service_vault_by_host(&desk.service, "prod.vault.localhost"));
    desk.service.n_vaults = 0;
    cr_assert_null(kv_service_vault_by_host(&desk.service, "prod.vault.localhost"));
    json_t *json = NULL;
    cr_assert_eq(desk_call(&desk, "GET", "/keys", NULL, &json), 503);
    cr_assert_str_eq(desk_error(json, "id"), "service.starting");
    json_decref(json);
}

Test(service, vaults_are_found_by_name_and_id)
{
    static const uint8_t zeros[KV_ID_LEN];
    static const uint8_t absent[KV_ID_LEN] = {9};
    struct kv_service *service = &desk.service;
    cr_assert_eq(kv_service_vault_by_name(service, "Prod"), &service->vaults[1]);
    cr_assert_eq(kv_service_vault_by_name(service, ""), &service->vaults[0]);
    cr_assert_null(kv_service_vault_by_name(service, "pro"));
    cr_assert_eq(kv_service_vault_by_id(service, service->vaults[2].id),
                 &service->vaults[2]);
    cr_assert_null(kv_service_vault_by_id(service, absent));
    cr_assert_null(kv_service_vault_by_id(service, zeros));
    cr_assert_eq(kv_service_vault_of_row(service, zeros), &service->system);
    cr_assert_eq(kv_service_vault_of_row(service, service->vaults[1].id),
                 &service->vaults[1]);
    cr_assert_null(kv_service_vault_of_row(service, absent));
}

Test(service, urls_have_a_port_unless_it_is_the_usual_one)
{
    char url[300];
    struct kv_service *service = &desk.service;
    service->port = 8443;
    kv_service_vault_url(service, &service->vaults[1], url, sizeof(url));
    cr_assert_str_eq(url, "https://prod.vault.localhost:8443");
    service->port = 443;
    kv_service_vault_url(service, &service->vaults[1], url, sizeof(url));
    cr_assert_str_eq(url, "https://prod.vault.localhost");
    service->port = 0;
    kv_service_vault_url(service, &service->vaults[1], url, sizeof(url));
    cr_assert_str_eq(url, "https://prod.vault.localhost", "not listening");
}

Test(service, an_epoch_rises_for_one_vault_or_for_all_and_is_told)
{
    struct kv_service *service = &desk.service;
    kv_service_raise_epoch(service, &service->vaults[1]);
    cr_assert_eq(service->vaults[1].epoch, 11);
    cr_assert_eq(service->vaults[2].epoch, 20);
    cr_assert_eq(desk.link.n_beats, 1);
    kv_service_raise_epoch(service, NULL);
    cr_assert_eq(service->vaults[1].epoch, 12);
    cr_assert_eq(service->vaults[2].epoch, 21);
    cr_assert_eq(desk.link.n_beats, 4);
    cr_assert_eq(service->vaults[1].epoch_sent, 12);
    desk.link.is_unreachable = true;
    kv_service_raise_epoch(service, &service->vaults[1]);
    cr_assert_eq(service->vaults[1].epoch, 13);
    cr_assert_eq(service->vaults[1].epoch_sent, 12, "the beat of each second will");
}
