/* The vault keys that a proof opens in the live keyring, and that it takes back. */
#include "lifecycle/backup/opened.h"

#include <stdlib.h>
#include <string.h>

#include "lifecycle/service/keyring.h"
#include "store/keyring/role.h"

int kv_opened_note(struct kv_opened *opened, const struct kv_buf *payload)
{
    struct kv_role_vault_key key;
    int rc =
        kv_role_vault_key_get((struct kv_bytes){payload->data, payload->len}, &key);
    if (rc != 0)
        return rc;
    void *more = realloc(opened->vaults, (opened->n + 1) * sizeof(*opened->vaults));
    if (more == NULL)
        return KV_E_NOMEM;
    opened->vaults = more;
    memcpy(opened->vaults[opened->n++], key.vault, KV_ID_LEN);
    return 0;
}

static void on_forgotten(void *arg, int rc, struct kv_bytes payload,
                         const struct kv_err *err)
{
    struct kv_service *service = arg;
    (void)payload;
    if (rc != 0)
        kv_log_err(service->log, KV_LOG_WARN, "backup.key-left", err);
    service->n_running--;
}

static void forget_vault(struct kv_service *service, const uint8_t vault[KV_ID_LEN])
{
    struct kv_buf payload;
    struct kv_err err = KV_ERR_INIT;
    struct kv_role_vault_key request = {.term = 0};
    memcpy(request.vault, vault, KV_ID_LEN);
    kv_buf_init(&payload, 64);
    kv_role_vault_key_put(&payload, &request);
    service->n_running++;
    int rc = kv_keyring_call(service->keyring, KV_ROLE_VAULT_FORGET, &payload,
                             on_forgotten, service);
    kv_buf_free(&payload);
    if (rc != 0) {
        (void)kv_err_set(&err, rc, "backup.failed", "a vault key was not forgotten");
        on_forgotten(service, rc, (struct kv_bytes){NULL, 0}, &err);
    }
}

void kv_opened_forget(struct kv_opened *opened, struct kv_service *service)
{
    for (size_t i = 0; i < opened->n; i++)
        if (!kv_keyring_has_vault_key(service->keyring, opened->vaults[i]))
            forget_vault(service, opened->vaults[i]);
    free(opened->vaults);
    opened->vaults = NULL;
    opened->n = 0;
}
