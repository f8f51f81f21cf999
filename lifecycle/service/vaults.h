/*
 * Vaults: create, show, update, delete, recover, purge. The rules stand here, without
 * HTTP, so that whoever offers vaults (our own routes, the ARM plane) adds routes only.
 *
 *   (nothing) --create--> live --delete--> deleted, until a date --recover--> live
 *                                             `--purge, or the date--> nothing
 *
 * A name is taken while its vault is deleted. Tenant, subscription and retention are
 * fixed, purge protection stays once it is on, and all vaults of one subscription
 * belong to one tenant. A purge destroys the vault's keys first: from then on nothing
 * in it can be read, wherever a copy of a row may be; then its rows go, a few at a
 * time.
 *
 * Everything calls back once, possibly before it returns: it is the last thing a step
 * does, as with kv_task_*. Loop thread only.
 */
#ifndef KV_LIFECYCLE_SERVICE_VAULTS_H
#define KV_LIFECYCLE_SERVICE_VAULTS_H

#include "lifecycle/auth/policies.h"
#include "lifecycle/service/task.h"

enum kv_wish { KV_WISH_NONE, KV_WISH_NO, KV_WISH_YES };

/* What is asked of a new vault or of a change; NULL, 0 and NONE: nothing is said. */
struct kv_vault_wish {
    const char *sku;          /* "standard", "premium" */
    const char *tenant;       /* UUID; the installation's */
    const char *subscription; /* UUID; the installation's own */
    int64_t retention_days;   /* 7 to 90; 90 */
    enum kv_wish is_purge_protected;
    enum kv_wish uses_policies;
    const json_t *policies; /* the array "accessPolicies"; NULL: they stay */
    enum kv_policy_change policy_change; /* what becomes of the present ones */
    json_t *tags;                        /* an object, checked; replaces all */
};

/* A vault as it is stored; borrowed until the callback returns. */
struct kv_vault_view {
    struct kv_vault vault;
    const struct kv_row *row; /* updated_s of a deleted one: when that was */
    json_t *tags;             /* an object, or NULL */
    json_t *policies;         /* as kv_access_policies_doc has them, or NULL */
};

/* `view` is NULL on failure and when the vault is gone; `err` explains a failure:
 * vault.bad-name, vault.bad-sku, vault.bad-retention, vault.bad-tenant,
 * vault.bad-subscription, vault.fixed (KV_E_INVALID), vault.exists, vault.deleted,
 * vault.is-default (KV_E_EXISTS), vault.not-found, vault.not-deleted (KV_E_NOT_FOUND),
 * vault.purge-protected (KV_E_DENIED), vault.too-many (KV_E_FULL), vault.busy
 * (KV_E_BUSY: it is being purged), and those of access policies, store and keyring. */
typedef void (*kv_vault_cb)(void *arg, int rc, const struct kv_vault_view *view,
                            const struct kv_err *err);

/* `wish` and what it points to must stay until the callback. */
void kv_vault_create(struct kv_service *service, const char *name,
                     const struct kv_vault_wish *wish, kv_vault_cb cb, void *arg);
void kv_vault_update(struct kv_service *service, const char *name,
                     const struct kv_vault_wish *wish, kv_vault_cb cb, void *arg);
void kv_vault_show(struct kv_service *service, const char *name, bool is_deleted,
                   kv_vault_cb cb, void *arg);
void kv_vault_delete(struct kv_service *service, const char *name, kv_vault_cb cb,
                     void *arg);
void kv_vault_recover(struct kv_service *service, const char *name, kv_vault_cb cb,
                      void *arg);

/* Destroy a deleted vault. What is interrupted (a failure, the end of the process) is
 * taken up again by the engine, which finds the vault's row due: kick it. */
void kv_vault_purge(struct kv_service *service, const char *name, kv_vault_cb cb,
                    void *arg);

/* Purge a deleted vault whose time has come, or whose purge has begun; 0 also when
 * there was nothing to do. Starts as kv_run_start does. */
typedef void (*kv_vault_due_cb)(void *arg, int rc, const struct kv_err *err);
int kv_vault_purge_due(struct kv_service *service, const char *name, kv_vault_due_cb cb,
                       void *arg) KV_MUST_CHECK;

/* A new vault as it is when nothing is asked for; name, id and default are to be set.
 */
void kv_vault_init(const struct kv_service *service, struct kv_vault *vault);

/* Its document, with `tags` and `policies` (either may be NULL); and a stored vault
 * from its row, without term, epoch and parsed policies: KV_E_INTEGRITY when a member
 * is missing. */
json_t *kv_vault_doc(const struct kv_vault *vault, json_t *tags, json_t *policies);
int kv_vault_read(const struct kv_service *service, const struct kv_object *object,
                  struct kv_vault_view *out) KV_MUST_CHECK;

/* Name of the row of a vault key: "VAULTID-TERM". */
#define KV_VAULT_KEY_NAME_SIZE (2 * KV_ID_LEN + 12)
void kv_vault_key_name(const uint8_t vault[KV_ID_LEN], uint32_t term,
                       char out[KV_VAULT_KEY_NAME_SIZE]);

/* When a deleted vault will be purged, Unix seconds. */
int64_t kv_vault_purge_s(const struct kv_vault_view *view);

#endif
