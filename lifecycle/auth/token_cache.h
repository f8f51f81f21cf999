/*
 * Tokens whose signature has been checked within the last minute, by their SHA-256.
 *
 * What can change meanwhile (the application was deleted, its secret renewed) is not in
 * here: whoever finds an entry asks for that again. One thread.
 */
#ifndef KV_LIFECYCLE_AUTH_TOKEN_CACHE_H
#define KV_LIFECYCLE_AUTH_TOKEN_CACHE_H

#include "lifecycle/auth/access.h"

#define KV_TOKEN_CACHE_MS 60000
#define KV_TOKEN_CACHE_PLACES 256

/* Who a token says is calling. */
struct kv_caller_id {
    struct kv_principal principal;
    int64_t generation;     /* of the subject; 0: not ours to end */
    int64_t app_generation; /* of a user's application */
    int64_t exp_s;          /* of the token */
};

struct kv_token_cache;

int kv_token_cache_new(struct kv_token_cache **out) KV_MUST_CHECK;
void kv_token_cache_free(struct kv_token_cache *cache);

/* What is known of a token; NULL when it is not known, was kept for a minute, or has
 * expired. Borrowed until the next call. */
const struct kv_caller_id *kv_token_cache_find(struct kv_token_cache *cache,
                                               const char *token, int64_t now_s,
                                               int64_t now_ms);

/* Keep what has been found out; without memory it is not kept. */
void kv_token_cache_put(struct kv_token_cache *cache, const char *token,
                        const struct kv_caller_id *id, int64_t now_ms);

#endif
