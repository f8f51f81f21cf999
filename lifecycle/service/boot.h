/*
 * From a connected keyring to a service that answers: vault keys, vaults (made on the
 * first start), role assignments, the --dev token, and the API's TLS identity.
 *
 * A boot may fail (the keyring goes away) and be started again; it repeats nothing
 * that is done. Loop thread only.
 */
#ifndef KV_LIFECYCLE_SERVICE_BOOT_H
#define KV_LIFECYCLE_SERVICE_BOOT_H

#include "lifecycle/service/api_tls.h"
#include "lifecycle/service/task.h"

struct kv_boot_config {
    const char *token_path; /* --dev: where the administrator's token is; or NULL */
    const char *token;      /* what was in that file at start; "" when nothing was */
    const char *tls_names;  /* kv_api_tls_names; NULL: no TLS wanted */
};

/* `err` explains a failure; NULL on success. */
typedef void (*kv_boot_cb)(void *arg, int rc, const struct kv_err *err);

/* Load everything into `service`. */
int kv_boot_start(struct kv_service *service, const struct kv_boot_config *config,
                  kv_boot_cb cb, void *arg) KV_MUST_CHECK;

/* Load the API's leaf (with its CA's certificate), made anew when it is due or when
 * there is none. `leaf` is filled before the callback reports success. */
int kv_tls_start(struct kv_service *service, const char *names,
                 struct kv_api_identity *leaf, kv_boot_cb cb, void *arg) KV_MUST_CHECK;

/* Load or make the --dev administrator's token; sets service->token_sha256. */
int kv_token_start(struct kv_service *service, const struct kv_boot_config *config,
                   kv_boot_cb cb, void *arg) KV_MUST_CHECK;

/* Replace a file as a whole: written beside it with `mode`, synced, renamed. */
int kv_file_replace(const char *path, const void *data, size_t len, unsigned mode,
                    struct kv_err *err) KV_MUST_CHECK;

#endif
