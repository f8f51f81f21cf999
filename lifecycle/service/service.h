/*
 * What one service process owns, handed to everything that runs inside it.
 * Made by service/main.c; single-threaded: everything runs on `loop`.
 */
#ifndef KV_LIFECYCLE_SERVICE_SERVICE_H
#define KV_LIFECYCLE_SERVICE_SERVICE_H

#include <uv.h>

#include "store/core/clock.h"
#include "store/core/log.h"
#include "store/core/uri.h"
#include "store/db/store.h"

struct kv_keyring;
struct kv_assignments;
struct kv_principals;
struct kv_engine;

struct kv_vault {
    uint8_t id[KV_ID_LEN];
    char name[KV_VAULT_NAME_MAX + 1]; /* as written in host names, lower case */
    bool is_default;
    uint32_t term;  /* newest vault key term: new rows are sealed with it */
    uint64_t epoch; /* rises with every change that may end a grant */
    uint64_t epoch_sent;
};

#define KV_VAULTS_MAX 64

struct kv_service {
    uv_loop_t *loop;
    struct kv_store *store;
    struct kv_keyring *keyring;
    struct kv_log *log;
    const struct kv_clock *clock;
    const struct kv_rand *rand;
    uint8_t installation[KV_ID_LEN];
    char domain[200];   /* vault hosts are NAME.<domain>: "vault.localhost" */
    uint16_t port;      /* of the HTTPS listener */
    const char *db_dir; /* of the store, borrowed; NULL: none on disk */
    bool is_dev;
    uid_t admin_uid; /* Unix peer that administers without an assignment */
    size_t n_vaults;
    struct kv_vault vaults[KV_VAULTS_MAX];
    struct kv_vault system; /* the installation's own rows: id of zeros, name "" */
    struct kv_assignments *assignments; /* service/assignments.h */
    struct kv_principals *principals;   /* auth/principal.h */
    struct kv_engine *engine;           /* certs/engine.h; NULL in tests */
    size_t n_running;                   /* operations of tasks under way */
    bool is_stopping;                   /* no task may start another operation */
    bool is_ready;                      /* vaults, assignments and token are loaded */
    bool has_token;
    uint8_t token_sha256[32]; /* of the --dev administrator's bearer token */
    char tenant[37];          /* the installation id as a UUID */
};

/* The vault whose host name (Host header, port ignored) or name this is; a host that
 * names no vault gets the default. NULL when there is none. */
struct kv_vault *kv_service_vault_by_host(struct kv_service *service, const char *host);
struct kv_vault *kv_service_vault_by_name(struct kv_service *service, const char *name);
struct kv_vault *kv_service_vault_by_id(struct kv_service *service,
                                        const uint8_t id[KV_ID_LEN]);

/* The vault or, for an id of zeros, service->system. */
struct kv_vault *kv_service_vault_of_row(struct kv_service *service,
                                         const uint8_t id[KV_ID_LEN]);

/* Raise the epoch of one vault (NULL: of all) and tell the keyring at once. */
void kv_service_raise_epoch(struct kv_service *service, struct kv_vault *vault);

/* Tell the keyring a vault's epoch, as each second. */
void kv_service_beat(struct kv_service *service, struct kv_vault *vault);

/* Write "https://NAME.DOMAIN:PORT" (no port when 443) of a vault. */
void kv_service_vault_url(const struct kv_service *service,
                          const struct kv_vault *vault, char *out, size_t out_size);

#endif
