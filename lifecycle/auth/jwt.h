/*
 * JSON Web Tokens (RFC 7519, RFC 8725): a signature and claims, checked against what
 * one issuer may say. Pure, any thread.
 */
#ifndef KV_LIFECYCLE_AUTH_JWT_H
#define KV_LIFECYCLE_AUTH_JWT_H

#include <stdbool.h>

#include "lifecycle/auth/jose.h"

#define KV_JWT_SKEW_S 60
#define KV_JWT_LIFETIME_MAX_S 86400

/* What is required of a token. */
struct kv_jwt_rules {
    const char *issuer;   /* iss, exactly */
    const char *audience; /* aud, exactly; or one of several in an array */
    kv_jose_algs algs;
    int64_t lifetime_max_s; /* 0: KV_JWT_LIFETIME_MAX_S */
    bool wants_at_jwt;      /* typ at+jwt (RFC 9068 §2.1) */
    bool may_cut_dates;     /* dates may have a fraction (RFC 7519 §2), which is cut */
};

struct kv_jwt {
    struct kv_jws jws;
    json_t *claims;
};

/* Take a token apart; nothing in it is to be believed yet. Errors of kv_jws_parse, and
 * jwt.bad-claims when the payload is no object or has a member twice. */
int kv_jwt_parse(const char *text, size_t len, struct kv_jwt *out,
                 struct kv_err *err) KV_MUST_CHECK;
void kv_jwt_free(struct kv_jwt *jwt);

/* A claim that is a text; NULL when it is absent or something else. Borrowed. */
const char *kv_jwt_text(const struct kv_jwt *jwt, const char *claim);

/* Verify with the key of `keys` that the token's kid names (jwt.unknown-key), and check
 * its claims. */
int kv_jwt_check(const struct kv_jwt *jwt, const struct kv_jwks *keys,
                 const struct kv_jwt_rules *rules, int64_t now_s,
                 struct kv_err *err) KV_MUST_CHECK;

/* The same with a key that was chosen otherwise. Errors of kv_jws_verify;
 * jwt.wrong-issuer, jwt.wrong-audience, jwt.bad-type, jwt.bad-claims (dates that are no
 * whole numbers, no exp, a lifetime above what the rules allow), jwt.expired,
 * jwt.not-yet-valid; clocks may differ by a minute. */
int kv_jwt_check_with(const struct kv_jwt *jwt, const struct kv_jwk *key,
                      const struct kv_jwt_rules *rules, int64_t now_s,
                      struct kv_err *err) KV_MUST_CHECK;

#endif
