/*
 * Questions about the vaults of this process: by host name, by name, by id; their
 * URLs; and the epochs that end grants.
 */
#include "lifecycle/service/service.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lifecycle/service/keyring.h"
#include "store/core/str.h"

struct kv_vault *kv_service_vault_by_name(struct kv_service *service, const char *name)
{
    for (size_t i = 0; i < service->n_vaults; i++) {
        struct kv_vault *vault = &service->vaults[i];
        if (name[0] == '\0' ? vault->is_default
                            : kv_str_equal_nocase(vault->name, name))
            return vault;
    }
    return NULL;
}

struct kv_vault *kv_service_vault_by_host(struct kv_service *service, const char *host)
{
    char name[KV_VAULT_NAME_MAX + 1] = "";
    const char *dot = host != NULL ? strchr(host, '.') : NULL;
    size_t domain_len = strlen(service->domain);
    if (dot != NULL && (size_t)(dot - host) <= KV_VAULT_NAME_MAX &&
        strncasecmp(dot + 1, service->domain, domain_len) == 0 &&
        (dot[1 + domain_len] == '\0' || dot[1 + domain_len] == ':'))
        kv_str_cut(name, sizeof(name), host, (size_t)(dot - host));
    struct kv_vault *vault =
        name[0] != '\0' ? kv_service_vault_by_name(service, name) : NULL;
    return vault != NULL ? vault : kv_service_vault_by_name(service, "");
}

struct kv_vault *kv_service_vault_by_id(struct kv_service *service,
                                        const uint8_t id[KV_ID_LEN])
{
    for (size_t i = 0; i < service->n_vaults; i++)
        if (memcmp(service->vaults[i].id, id, KV_ID_LEN) == 0)
            return &service->vaults[i];
    return NULL;
}

struct kv_vault *kv_service_vault_of_row(struct kv_service *service,
                                         const uint8_t id[KV_ID_LEN])
{
    if (memcmp(service->system.id, id, KV_ID_LEN) == 0)
        return &service->system;
    return kv_service_vault_by_id(service, id);
}

void kv_service_vault_url(const struct kv_service *service,
                          const struct kv_vault *vault, char *out, size_t out_size)
{
    if (service->port == 443 || service->port == 0)
        (void)snprintf(out, out_size, "https://%s.%s", vault->name, service->domain);
    else
        (void)snprintf(out, out_size, "https://%s.%s:%u", vault->name, service->domain,
                       service->port);
}

static void on_beat(void *arg, int rc, struct kv_bytes payload,
                    const struct kv_err *err)
{
    (void)arg;
    (void)rc; /* a lost beat is repeated each second; a lost link is logged there */
    (void)payload;
    (void)err;
}

void kv_service_beat(struct kv_service *service, struct kv_vault *vault)
{
    struct kv_buf payload;
    struct kv_role_beat beat = {.epoch = vault->epoch};
    memcpy(beat.vault, vault->id, KV_ID_LEN);
    kv_buf_init(&payload, 256);
    kv_role_beat_put(&payload, &beat);
    if (kv_buf_status(&payload) == 0 && service->keyring != NULL &&
        kv_keyring_is_connected(service->keyring) &&
        kv_keyring_call(service->keyring, KV_ROLE_BEAT, &payload, on_beat, NULL) == 0)
        vault->epoch_sent = beat.epoch;
    kv_buf_free(&payload);
}

void kv_service_raise_epoch(struct kv_service *service, struct kv_vault *vault)
{
    for (size_t i = 0; i < service->n_vaults; i++) {
        if (vault != NULL && vault != &service->vaults[i])
            continue;
        service->vaults[i].epoch++;
        kv_service_beat(service, &service->vaults[i]);
    }
}
