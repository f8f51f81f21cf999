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
struct kv_backups;
struct kv_identity;
struct kv_oidc;
struct kv_audit;
struct kv_quota;

struct kv_access_policies; /* auth/policies.h */

enum kv_vault_state {
    KV_VAULT_LIVE,
    KV_VAULT_DELETED,  /* until it is recovered or purged; no host finds it */
    KV_VAULT_CREATING, /* its name and place are taken, it is not stored yet */
    KV_VAULT_PURGING,  /* its keys are gone, its rows are on their way */
};

#define KV_RETENTION_DAYS_MIN 7
#define KV_RETENTION_DAYS_MAX 90 /* and what a vault has that is not asked for less */

/* What decisions need of a vault; the rest stands in its row (service/vaults.h). */
struct kv_vault {
    uint8_t id[KV_ID_LEN];
    char name[KV_VAULT_NAME_MAX + 1]; /* as written in host names, lower case */
    bool is_default;
    enum kv_vault_state state;
    char tenant[37]; /* UUID; fixed, as the two below */
    char subscription[37];
    unsigned retention_days; /* of what is deleted in it, and of the vault itself */
    bool is_premium;
    bool is_purge_protected;             /* nothing deleted is purged before its time */
    bool uses_policies;                  /* else role assignments decide */
    struct kv_access_policies *policies; /* owned; NULL: none */
    uint32_t term;  /* newest vault key term: new rows are sealed with it */
    uint64_t epoch; /* rises with every change that may end a grant */
    uint64_t epoch_sent;
    bool is_busy;               /* a purge runs */
    struct kv_vault *next_gone; /* private */
};

/* As many as the keyring keeps beats for. They are told to it each second, and looked
 * for one after the other: 256 names take a microsecond. */
#define KV_VAULTS_MAX 256

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
    struct kv_vault *vaults[KV_VAULTS_MAX]; /* of every state, the oldest first */
    struct kv_vault *gone;  /* purged ones: tasks may still point to them */
    struct kv_vault system; /* the installation's own rows: id of zeros, name "" */
    uint64_t epoch;         /* the newest of all vaults */
    struct kv_assignments *assignments; /* service/assignments.h */
    struct kv_principals *principals;   /* auth/principal.h */
    struct kv_backups *backups;         /* backup/backups.h; NULL in tests */
    struct kv_engine *engine;           /* certs/engine.h; NULL in tests */
    struct kv_identity *identity;       /* service/identity.h */
    struct kv_oidc *oidc;               /* service/oidc.h; NULL in tests */
    struct kv_audit *audit;             /* audit/audit.h; NULL: there is none */
    struct kv_quota *quota;             /* auth/quota.h; NULL: no limits */
    size_t n_running;                   /* operations of tasks under way */
    bool is_telling_uses;               /* service/key_audit.h */
    bool is_stopping;                   /* no task may start another operation */
    bool is_ready;                      /* vaults, assignments and token are loaded */
    bool has_token;
    uint8_t token_sha256[32]; /* of the --dev administrator's bearer token */
    char tenant[37];          /* the installation id as a UUID */
};

/* Take a copy of a vault into the table; NULL: no memory, or there are KV_VAULTS_MAX.
 * The pointer stays good until kv_service_vaults_free, also when the vault was removed:
 * a task that runs on finds nothing in it and cannot write. */
struct kv_vault *kv_service_vault_add(struct kv_service *service,
                                      const struct kv_vault *like);
void kv_service_vault_remove(struct kv_service *service, struct kv_vault *vault);
void kv_service_vaults_free(struct kv_service *service);

/* The live vault of this name ("": the default), or whose host name (Host header, port
 * ignored) this is. NULL when there is none, or it is deleted. A host outside of the
 * domain means the default vault; one inside names a vault. */
struct kv_vault *kv_service_vault_by_host(struct kv_service *service, const char *host);
struct kv_vault *kv_service_vault_by_name(struct kv_service *service, const char *name);

/* The vault of any state. */
struct kv_vault *kv_service_vault_of_name(struct kv_service *service, const char *name);
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
