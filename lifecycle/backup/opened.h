/*
 * The vault keys that a proof opens in the live keyring. What was purged stays purged:
 * those of vaults that the service does not hold are forgotten afterwards. Loop thread.
 */
#ifndef KV_LIFECYCLE_BACKUP_OPENED_H
#define KV_LIFECYCLE_BACKUP_OPENED_H

#include "lifecycle/service/service.h"
#include "store/core/buf.h"

/* All zeros: none. */
struct kv_opened {
    uint8_t (*vaults)[KV_ID_LEN]; /* owned */
    size_t n;
};

/* Remember the vault of a KV_ROLE_VAULT_KEY_OPEN. KV_E_INVALID, KV_E_NOMEM. */
int kv_opened_note(struct kv_opened *opened,
                   const struct kv_buf *payload) KV_MUST_CHECK;

/* Have the keyring forget those that the service does not hold; counts among
 * service->n_running until it has. None is left in `opened`. */
void kv_opened_forget(struct kv_opened *opened, struct kv_service *service);

#endif
