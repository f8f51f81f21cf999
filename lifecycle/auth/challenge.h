/*
 * What a client without a token is told: where to get one (RFC 6750 §3, in the
 * form that Azure SDK clients read). Pure.
 */
#ifndef KV_LIFECYCLE_AUTH_CHALLENGE_H
#define KV_LIFECYCLE_AUTH_CHALLENGE_H

#include <stddef.h>
#include <stdint.h>

#include "store/core/err.h"

struct kv_challenge {
    const char *domain; /* "vault.localhost": the resource, and the hosts below it */
    const char *tenant; /* UUID */
    uint16_t port;
};

/* Write "https://HOST:PORT/TENANT" of our own token authority, and the resource that
 * tokens are for ("https://DOMAIN"); KV_E_TOO_BIG if it does not fit. */
int kv_authority_format(const struct kv_challenge *challenge, char *out,
                        size_t out_size) KV_MUST_CHECK;
int kv_resource_format(const struct kv_challenge *challenge, char *out,
                       size_t out_size) KV_MUST_CHECK;

/* Write the value of WWW-Authenticate; KV_E_TOO_BIG if it does not fit. */
int kv_challenge_format(const struct kv_challenge *challenge, char *out,
                        size_t out_size) KV_MUST_CHECK;

#endif
