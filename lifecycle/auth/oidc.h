/*
 * An OpenID Connect issuer from outside whose tokens are accepted: how it is
 * configured, what it publishes, how long that is good, and who its tokens say is
 * calling. Pure; time is an argument. lifecycle/service/oidc.h fetches what is due.
 */
#ifndef KV_LIFECYCLE_AUTH_OIDC_H
#define KV_LIFECYCLE_AUTH_OIDC_H

#include "lifecycle/auth/access.h"
#include "lifecycle/auth/jwt.h"

#define KV_OIDC_ISSUERS_MAX 8
#define KV_OIDC_METADATA_MAX 65536 /* bytes */
#define KV_OIDC_TEXT_MAX 2048      /* of one issuer's settings */

#define KV_OIDC_KEEP_MIN_MS INT64_C(300000)   /* what Cache-Control may make of it: */
#define KV_OIDC_KEEP_MAX_MS INT64_C(86400000) /* five minutes to a day */
#define KV_OIDC_STALE_MS INT64_C(86400000)    /* keys without a successful fetch */
#define KV_OIDC_PAUSE_MS INT64_C(60000) /* between two fetches that were not due */

struct kv_oidc_issuer {
    char name[65];
    char issuer[256];   /* iss, exactly; https */
    char audience[256]; /* aud, exactly; "": the resource of the vaults */
    char tenant[37];    /* that its callers are of; "": the installation's */
    char ca_file[256];  /* PEM of the roots that its servers have; "": the system's */
    bool wants_at_jwt;
    /* what was fetched */
    char jwks_uri[512];
    struct kv_jwks *keys; /* NULL: none */
    int64_t fetched_ms;   /* successfully, and */
    int64_t asked_ms;     /* at all; monotonic, 0: never */
    int64_t due_ms;
};

/* Read "name=N,issuer=URL,audience=A,tenant=T,ca-file=F,at-jwt=on" (all but name and
 * issuer may be absent): auth.bad-issuer. */
int kv_oidc_read(const char *text, struct kv_oidc_issuer *out,
                 struct kv_err *err) KV_MUST_CHECK;
void kv_oidc_fini(struct kv_oidc_issuer *issuer);

/* "https://issuer/.well-known/openid-configuration". */
void kv_oidc_metadata_url(const struct kv_oidc_issuer *issuer, char *out,
                          size_t out_size);

/* Read its metadata (OpenID Connect Discovery 1.0 §3): `issuer` must be the configured
 * one, `jwks_uri` https. auth.bad-metadata. */
int kv_oidc_take_metadata(struct kv_oidc_issuer *issuer, const void *text, size_t len,
                          struct kv_err *err) KV_MUST_CHECK;

/* Take its keys in the place of those it had; a key that is no longer among them is
 * good for nothing from now on. `cache_control` (NULL: none came) says when they are
 * due again. Errors of kv_jwks_parse; jose.bad-keys when there is none. */
int kv_oidc_take_keys(struct kv_oidc_issuer *issuer, const void *text, size_t len,
                      const char *cache_control, int64_t now_ms,
                      struct kv_err *err) KV_MUST_CHECK;

/* A fetch has begun; it has failed: older keys go on for a day. */
void kv_oidc_asked(struct kv_oidc_issuer *issuer, int64_t now_ms);
void kv_oidc_failed(struct kv_oidc_issuer *issuer, int64_t now_ms);

bool kv_oidc_is_due(const struct kv_oidc_issuer *issuer, int64_t now_ms);
/* Whether an unknown kid may cause a fetch now. */
bool kv_oidc_may_ask(const struct kv_oidc_issuer *issuer, int64_t now_ms);
/* Its keys; NULL: none, or too old. */
const struct kv_jwks *kv_oidc_keys(const struct kv_oidc_issuer *issuer, int64_t now_ms);

/* Who a verified token says is calling. The object id is `oid` or `sub`, made a UUID
 * when it is none; the application `azp`, `appid` or `client_id`; it is the application
 * alone when `idtyp` says so, or without `scp` and `scope` when the subject is the
 * application. jwt.bad-claims. */
int kv_oidc_principal(const struct kv_oidc_issuer *issuer, const struct kv_jwt *jwt,
                      const uint8_t installation[16], struct kv_principal *out,
                      struct kv_err *err) KV_MUST_CHECK;

#endif
