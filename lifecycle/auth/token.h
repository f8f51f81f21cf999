/*
 * The --dev administrator's bearer token: 32 random bytes as base64url. Only its
 * SHA-256 is kept; whoever holds the text is the administrator. Pure, any thread.
 */
#ifndef KV_LIFECYCLE_AUTH_TOKEN_H
#define KV_LIFECYCLE_AUTH_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "store/core/clock.h"
#include "store/core/err.h"

#define KV_TOKEN_TEXT_LEN 43
#define KV_TOKEN_HASH_LEN 32

/* Make a token: its text with a NUL, and its hash. */
int kv_token_make(const struct kv_rand *rand, char text[KV_TOKEN_TEXT_LEN + 1],
                  uint8_t hash[KV_TOKEN_HASH_LEN]) KV_MUST_CHECK;

/* Hash a token's text; KV_E_INVALID when it has not the form of one. */
int kv_token_hash(const char *text, uint8_t hash[KV_TOKEN_HASH_LEN]) KV_MUST_CHECK;

/* Whether an Authorization header carries, as Bearer, the token of this hash.
 * NULL header: false. */
bool kv_token_matches(const char *authorization, const uint8_t hash[KV_TOKEN_HASH_LEN]);

#endif
