/*
 * A place for each value of the hash's first byte: two tokens of one place take turns.
 */
#include "lifecycle/auth/token_cache.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/auth/jwt.h"

struct place {
    uint8_t hash[32];
    int64_t since_ms;
    struct kv_caller_id *id; /* NULL: free */
};

struct kv_token_cache {
    struct place places[KV_TOKEN_CACHE_PLACES];
};

int kv_token_cache_new(struct kv_token_cache **out)
{
    *out = calloc(1, sizeof(**out));
    return *out != NULL ? 0 : KV_E_NOMEM;
}

void kv_token_cache_free(struct kv_token_cache *cache)
{
    for (size_t i = 0; cache != NULL && i < KV_TOKEN_CACHE_PLACES; i++)
        free(cache->places[i].id);
    free(cache);
}

static struct place *place_of(struct kv_token_cache *cache, const char *token,
                              uint8_t hash[32])
{
    size_t len = 0;
    bool is_done =
        EVP_Q_digest(NULL, "SHA256", NULL, token, strlen(token), hash, &len) == 1;
    ERR_clear_error();
    return is_done ? &cache->places[hash[0] % KV_TOKEN_CACHE_PLACES] : NULL;
}

const struct kv_caller_id *kv_token_cache_find(struct kv_token_cache *cache,
                                               const char *token, int64_t now_s,
                                               int64_t now_ms)
{
    uint8_t hash[32];
    const struct place *place = place_of(cache, token, hash);
    if (place == NULL || place->id == NULL ||
        memcmp(place->hash, hash, sizeof(hash)) != 0 ||
        now_ms - place->since_ms >= KV_TOKEN_CACHE_MS ||
        place->id->exp_s <= now_s - KV_JWT_SKEW_S)
        return NULL;
    return place->id;
}

void kv_token_cache_put(struct kv_token_cache *cache, const char *token,
                        const struct kv_caller_id *id, int64_t now_ms)
{
    uint8_t hash[32];
    struct place *place = place_of(cache, token, hash);
    if (place == NULL)
        return;
    if (place->id == NULL)
        place->id = malloc(sizeof(*place->id));
    if (place->id == NULL)
        return;
    memcpy(place->hash, hash, sizeof(hash));
    place->since_ms = now_ms;
    *place->id = *id;
}
