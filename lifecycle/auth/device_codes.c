/*
 * Places of device authorization.
 */
#include "lifecycle/auth/device_codes.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "store/core/secret.h"
#include "store/core/str.h"

/* Consonants without those that look like others (RFC 8628 §6.1). */
static const char alphabet[] = "BCDFGHJKLMNPQRSTVWXZ";
#define N_LETTERS (sizeof(alphabet) - 1)

struct place {
    bool is_used;
    uint8_t device_sha256[KV_TOKEN_HASH_LEN];
    char user[KV_USER_CODE_LEN + 1];
    struct kv_device_request request;
    char oid[37]; /* "": nobody yet */
    int64_t until_ms;
    int64_t next_ms; /* polls before that are hasty */
};

struct kv_device_codes {
    struct place places[KV_DEVICE_PLACES];
};

int kv_device_codes_new(struct kv_device_codes **out)
{
    *out = calloc(1, sizeof(**out));
    return *out != NULL ? 0 : KV_E_NOMEM;
}

void kv_device_codes_free(struct kv_device_codes *codes)
{
    free(codes);
}

/* An IPv6 address counts by its /64, as in throttle.c. */
static bool is_same_source(const char *a, const char *b)
{
    uint8_t of_a[16];
    uint8_t of_b[16];
    if (inet_pton(AF_INET6, a, of_a) == 1 && inet_pton(AF_INET6, b, of_b) == 1)
        return memcmp(of_a, of_b, 8) == 0;
    return strcmp(a, b) == 0;
}

/* A free place for this source; NULL: none. Expired ones are free. */
static struct place *free_place(struct kv_device_codes *codes, const char *source,
                                int64_t now_ms)
{
    struct place *found = NULL;
    unsigned n_own = 0;
    for (size_t i = 0; i < KV_DEVICE_PLACES; i++) {
        struct place *place = &codes->places[i];
        if (place->is_used && place->until_ms <= now_ms)
            place->is_used = false;
        if (!place->is_used)
            found = found != NULL ? found : place;
        else if (is_same_source(place->request.source, source))
            n_own++;
    }
    return n_own < KV_DEVICE_PER_SOURCE ? found : NULL;
}

static int make_user_code(const struct kv_rand *rand, char out[KV_USER_CODE_LEN + 1])
{
    for (size_t i = 0; i < KV_USER_CODE_LEN;) {
        uint8_t byte = 0;
        if (i == 4) {
            out[i++] = '-';
            continue;
        }
        int rc = kv_rand_fill(rand, &byte, 1);
        if (rc != 0)
            return rc;
        if (byte < 256 / N_LETTERS * N_LETTERS) /* each letter equally often */
            out[i++] = alphabet[byte % N_LETTERS];
    }
    out[KV_USER_CODE_LEN] = '\0';
    return 0;
}

int kv_device_codes_add(struct kv_device_codes *codes, const struct kv_rand *rand,
                        const struct kv_device_request *request, int64_t now_ms,
                        char device[KV_TOKEN_TEXT_LEN + 1],
                        char user[KV_USER_CODE_LEN + 1])
{
    struct place *place = free_place(codes, request->source, now_ms);
    int rc = 0;
    if (place == NULL)
        return KV_E_FULL;
    memset(place, 0, sizeof(*place));
    KV_TRY(kv_token_make(rand, device, place->device_sha256));
    KV_TRY(make_user_code(rand, user));
    memcpy(place->user, user, sizeof(place->user));
    place->request = *request;
    place->until_ms = now_ms + (int64_t)KV_DEVICE_LIFETIME_S * 1000;
    place->is_used = true;
out:
    return rc;
}

/* Whether a user typed this code: letters count, nothing else. */
static bool is_code(const char *typed, const char *code)
{
    for (; *code != '\0'; code++) {
        if (*code == '-')
            continue;
        while (*typed == '-' || *typed == ' ')
            typed++;
        char c = *typed;
        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        if (c != *code)
            return false;
        typed++;
    }
    return typed[strspn(typed, "- ")] == '\0';
}

static struct place *find(struct kv_device_codes *codes, const char *user,
                          int64_t now_ms)
{
    for (size_t i = 0; i < KV_DEVICE_PLACES; i++) {
        struct place *place = &codes->places[i];
        if (place->is_used && place->until_ms > now_ms && place->oid[0] == '\0' &&
            is_code(user, place->user))
            return place;
    }
    return NULL;
}

const struct kv_device_request *kv_device_codes_find(struct kv_device_codes *codes,
                                                     const char *user, int64_t now_ms)
{
    const struct place *place = find(codes, user, now_ms);
    return place != NULL ? &place->request : NULL;
}

bool kv_device_codes_approve(struct kv_device_codes *codes, const char *user,
                             const char *oid, int64_t generation, int64_t now_ms)
{
    struct place *place = find(codes, user, now_ms);
    if (place == NULL || kv_str_copy(place->oid, sizeof(place->oid), oid) != 0)
        return false;
    place->request.generation = generation;
    return true;
}

enum kv_device_answer kv_device_codes_poll(struct kv_device_codes *codes,
                                           const char *device, const char *client_id,
                                           int64_t now_ms,
                                           struct kv_device_request *out, char oid[37])
{
    uint8_t hash[KV_TOKEN_HASH_LEN];
    struct place *place = NULL;
    if (kv_token_hash(device, hash) != 0)
        return KV_DEVICE_GONE;
    for (size_t i = 0; i < KV_DEVICE_PLACES; i++)
        if (codes->places[i].is_used && codes->places[i].until_ms > now_ms &&
            kv_equal_ct(codes->places[i].device_sha256, hash, sizeof(hash)))
            place = &codes->places[i];
    if (place == NULL || !kv_str_equal_nocase(place->request.client_id, client_id))
        return KV_DEVICE_GONE;
    if (place->oid[0] == '\0') {
        bool is_hasty = now_ms < place->next_ms;
        place->next_ms = now_ms + (int64_t)KV_DEVICE_INTERVAL_S * 1000 / 2;
        return is_hasty ? KV_DEVICE_HASTY : KV_DEVICE_PENDING;
    }
    *out = place->request;
    memcpy(oid, place->oid, sizeof(place->oid));
    memset(place, 0, sizeof(*place));
    return KV_DEVICE_READY;
}
