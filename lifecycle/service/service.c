/*
 * Questions about the vaults of this process: by host name, by name, by id; their
 * URLs; and the epochs that end grants.
 */
#include "lifecycle/service/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lifecycle/auth/policies.h"
#include "lifecycle/service/keyring.h"
#include "store/core/str.h"

struct kv_vault *kv_service_vault_add(struct kv_service *service,
                                      const struct kv_vault *like)
{
    if (service->n_vaults == KV_VAULTS_MAX)
        return NULL;
    struct kv_vault *vault = malloc(sizeof(*vault));
    if (vault == NULL)
        return NULL;
    *vault = *like;
    service->vaults[service->n_vaults++] = vault;
    if (service->epoch < vault->epoch)
        service->epoch = vault->epoch;
    return vault;
}

void kv_service_vault_remove(struct kv_service *service, struct kv_vault *vault)
{
    size_t i = 0;
    while (i < service->n_vaults && service->vaults[i] != vault)
        i++;
    KV_ASSERT(i < service->n_vaults);
    service->n_vaults--;
    for (; i < service->n_vaults; i++)
        service->vaults[i] = service->vaults[i + 1];
    vault->next_gone = service->gone;
    service->gone = vault;
}

void kv_service_vaults_free(struct kv_service *service)
{
    while (service->n_vaults > 0)
        kv_service_vault_remove(service, service->vaults[service->n_vaults - 1]);
    while (service->gone != NULL) {
        struct kv_vault *vault = service->gone;
        service->gone = vault->next_gone;
        kv_access_policies_free(vault->policies);
        free(vault);
    }
}

static struct kv_vault *only_live(struct kv_vault *vault)
{
    return vault != NULL && vault->state == KV_VAULT_LIVE ? vault : NULL;
}

struct kv_vault *kv_service_vault_of_name(struct kv_service *service, const char *name)
{
    for (size_t i = 0; i < service->n_vaults; i++) {
        struct kv_vault *vault = service->vaults[i];
        if (name[0] == '\0' ? vault->is_default
                            : kv_str_equal_nocase(vault->name, name))
            return vault;
    }
    return NULL;
}

struct kv_vault *kv_service_vault_by_name(struct kv_service *service, const char *name)
{
    return only_live(kv_service_vault_of_name(service, name));
}

/* Whether a host name is one label in front of the domain; a label that is too long for
 * a vault's name becomes "?", which is none. */
static bool read_label(const struct kv_service *service, const char *host,
                       char out[KV_VAULT_NAME_MAX + 1])
{
    size_t label_len = strcspn(host, ".");
    size_t domain_len = strlen(service->domain);
    if (label_len == 0 || host[label_len] != '.' ||
        strncasecmp(host + label_len + 1, service->domain, domain_len) != 0)
        return false;
    char end = host[label_len + 1 + domain_len];
    if (end != '\0' && end != ':')
        return false;
    if (label_len <= KV_VAULT_NAME_MAX)
        kv_str_cut(out, KV_VAULT_NAME_MAX + 1, host, label_len);
    else
        kv_str_cut(out, KV_VAULT_NAME_MAX + 1, "?", 1);
    return true;
}

struct kv_vault *kv_service_vault_by_host(struct kv_service *service, const char *host)
{
    char name[KV_VAULT_NAME_MAX + 1] = "";
    if (host == NULL || !read_label(service, host, name))
        name[0] = '\0';
    return kv_service_vault_by_name(service, name);
}

struct kv_vault *kv_service_vault_by_id(struct kv_service *service,
                                        const uint8_t id[KV_ID_LEN])
{
    for (size_t i = 0; i < service->n_vaults; i++)
        if (memcmp(service->vaults[i]->id, id, KV_ID_LEN) == 0)
            return service->vaults[i];
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
    service->epoch++;
    for (size_t i = 0; i < service->n_vaults; i++) {
        if (vault != NULL && vault != service->vaults[i])
            continue;
        service->vaults[i]->epoch = service->epoch;
        kv_service_beat(service, service->vaults[i]);
    }
}
