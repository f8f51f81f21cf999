/*
 * What the service knows of callers that are no local users: applications, the key that
 * signs tokens, and what was seen of sign-ins. Loop thread only.
 *
 * The token key is a P-256 key of the installation's own rows (kind KEY, name
 * "token-signing"): the keyring makes it and signs with it, its private part is never
 * here, and no host name, URI or grant reaches it (docs/adr/0011-token-key.md).
 */
#ifndef KV_LIFECYCLE_SERVICE_IDENTITY_H
#define KV_LIFECYCLE_SERVICE_IDENTITY_H

#include "lifecycle/auth/apps.h"
#include "lifecycle/auth/device_codes.h"
#include "lifecycle/auth/jose.h"
#include "lifecycle/auth/replay.h"
#include "lifecycle/auth/throttle.h"
#include "lifecycle/auth/token_cache.h"
#include "lifecycle/service/boot.h"

#define KV_TOKEN_LIFETIME_S 900

struct kv_identity {
    struct kv_apps *apps;
    struct kv_throttle *throttle;
    struct kv_replay *replay;
    struct kv_device_codes *devices;
    struct kv_token_cache *cache;
    struct kv_jwks keys; /* our own public key; none before it is loaded */
    json_t *keys_json;   /* the same as a JWK set */
    struct kv_object signing;
};

int kv_identity_new(struct kv_identity **out) KV_MUST_CHECK;
void kv_identity_free(struct kv_identity *identity);

/* Load applications and the token key, which is made when there is none. May fail and
 * be started again. */
int kv_identity_start(struct kv_service *service, kv_boot_cb cb,
                      void *arg) KV_MUST_CHECK;

/* Whether our authority makes tokens of this tenant: the installation's own, and those
 * of its vaults and applications. */
bool kv_identity_has_tenant(const struct kv_service *service, const char *tenant);

/* "https://localhost:8443/TENANT": where clients get tokens; "" until a port is known.
 * The issuer of our tokens is this with "/v2.0" behind it. */
void kv_identity_authority(const struct kv_service *service, const char *tenant,
                           char *out, size_t out_size);
void kv_identity_issuer(const struct kv_service *service, const char *tenant, char *out,
                        size_t out_size);
/* "https://vault.localhost": the audience of tokens for the data plane. */
void kv_identity_resource(const struct kv_service *service, char *out, size_t out_size);

/* Let the keyring sign these bytes with ES256; the task's payload is the signature in
 * DER. KV_E_UNAVAILABLE (service.starting) while there is no key. */
void kv_identity_sign(struct kv_task *task, struct kv_bytes text, kv_task_fn next);

#endif
