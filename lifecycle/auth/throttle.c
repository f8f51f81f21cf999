/*
 * Pauses by (client, source), found by a hash of both.
 */
#include "lifecycle/auth/throttle.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "store/core/buf.h"

/* A pair that has not failed for so long begins anew. */
#define FORGET_MS INT64_C(900000)

struct place {
    bool is_used;
    uint8_t pair[32];
    int64_t failed_ms;
    int64_t pause_ms;
};

struct kv_throttle {
    struct place places[KV_THROTTLE_PLACES];
};

int kv_throttle_new(struct kv_throttle **out)
{
    *out = calloc(1, sizeof(**out));
    return *out != NULL ? 0 : KV_E_NOMEM;
}

void kv_throttle_free(struct kv_throttle *throttle)
{
    free(throttle);
}

static bool hash_pair(const char *client, const char *source, uint8_t pair[32])
{
    uint8_t address[16] = {0};
    struct kv_buf text;
    size_t len = 0;
    kv_buf_init(&text, 4096);
    (void)kv_buf_append_str(&text, client);
    (void)kv_buf_append(&text, "\n", 1);
    if (inet_pton(AF_INET6, source, address) == 1)
        (void)kv_buf_append(&text, address, 8);
    else
        (void)kv_buf_append_str(&text, source);
    bool is_done =
        kv_buf_status(&text) == 0 &&
        EVP_Q_digest(NULL, "SHA256", NULL, text.data, text.len, pair, &len) == 1;
    kv_buf_free(&text);
    ERR_clear_error();
    return is_done;
}

static struct place *find(const struct kv_throttle *throttle, const uint8_t pair[32])
{
    for (size_t i = 0; i < KV_THROTTLE_PLACES; i++) {
        const struct place *place = &throttle->places[i];
        if (place->is_used && memcmp(place->pair, pair, sizeof(place->pair)) == 0)
            return (struct place *)(uintptr_t)place;
    }
    return NULL;
}

int64_t kv_throttle_wait_ms(const struct kv_throttle *throttle, const char *client,
                            const char *source, int64_t now_ms)
{
    uint8_t pair[32];
    if (!hash_pair(client, source, pair))
        return KV_THROTTLE_FIRST_MS;
    const struct place *place = find(throttle, pair);
    int64_t left_ms = place != NULL ? place->failed_ms + place->pause_ms - now_ms : 0;
    return left_ms > 0 ? left_ms : 0;
}

static struct place *free_place(struct kv_throttle *throttle)
{
    struct place *best = &throttle->places[0];
    for (size_t i = 0; i < KV_THROTTLE_PLACES; i++) {
        struct place *place = &throttle->places[i];
        if (!place->is_used)
            return place;
        if (place->failed_ms < best->failed_ms)
            best = place;
    }
    return best;
}

void kv_throttle_failed(struct kv_throttle *throttle, const char *client,
                        const char *source, int64_t now_ms)
{
    uint8_t pair[32];
    if (!hash_pair(client, source, pair))
        return;
    struct place *place = find(throttle, pair);
    if (place == NULL) {
        place = free_place(throttle);
        memset(place, 0, sizeof(*place));
        memcpy(place->pair, pair, sizeof(pair));
        place->is_used = true;
    }
    bool is_first = place->pause_ms == 0 || now_ms - place->failed_ms > FORGET_MS;
    int64_t pause_ms = is_first ? KV_THROTTLE_FIRST_MS : 2 * place->pause_ms;
    place->pause_ms = pause_ms < KV_THROTTLE_MAX_MS ? pause_ms : KV_THROTTLE_MAX_MS;
    place->failed_ms = now_ms;
}

void kv_throttle_passed(struct kv_throttle *throttle, const char *client,
                        const char *source)
{
    uint8_t pair[32];
    struct place *place = hash_pair(client, source, pair) ? find(throttle, pair) : NULL;
    if (place != NULL)
        place->is_used = false;
}
