/*
 * A chained hash of buckets, and a list of them by last use. Tokens are counted in
 * millionths, because a class of 5 in ten seconds gains half a thousandth in a
 * millisecond.
 */
#include "lifecycle/auth/quota.h"

#include <stdlib.h>
#include <string.h>

#include "store/core/str.h"

#define PARTS INT64_C(1000000) /* of a token */
#define MS_PER_10S 10000
#define SLOTS 16384

struct bucket {
    struct bucket *next_in_slot;
    struct bucket *newer;
    struct bucket *older;
    uint64_t hash;
    uint8_t vault[KV_ID_LEN];
    uint8_t which;
    int64_t parts; /* tokens */
    int64_t at_ms; /* when they were counted */
    char principal[];
};

struct kv_quota {
    struct kv_quota_limits limits;
    const struct kv_clock *clock;
    uint64_t seed;
    size_t n;
    size_t n_max;
    struct bucket *newest;
    struct bucket *oldest;
    struct bucket *slots[SLOTS];
};

int kv_quota_limits_parse(const char *text, struct kv_quota_limits *out)
{
    struct kv_quota_limits read = {.per_10s = {0}};
    char digits[16];
    if (strcmp(text, "off") == 0) {
        *out = read;
        return 0;
    }
    for (size_t i = 0; i < KV_QUOTA_CLASSES_N; i++) {
        int64_t number = 0;
        size_t n = strcspn(text, ",");
        kv_str_cut(digits, sizeof(digits), text, n);
        bool is_last = i + 1 == KV_QUOTA_CLASSES_N;
        if (n >= sizeof(digits) || text[n] != (is_last ? '\0' : ',') ||
            kv_str_to_i64(digits, 0, KV_QUOTA_PER_MAX, &number) != 0)
            return KV_E_INVALID;
        read.per_10s[i] = (uint32_t)number;
        text += n + (is_last ? 0 : 1);
    }
    *out = read;
    return 0;
}

int kv_quota_new(struct kv_quota **out, const struct kv_quota_limits *limits,
                 size_t n_max, const struct kv_clock *clock, uint64_t seed)
{
    struct kv_quota *quota = calloc(1, sizeof(*quota));
    KV_ASSERT(n_max > 0);
    if (quota == NULL)
        return KV_E_NOMEM;
    quota->limits = *limits;
    quota->n_max = n_max;
    quota->clock = clock;
    quota->seed = seed;
    *out = quota;
    return 0;
}

static void detach(struct kv_quota *quota, struct bucket *bucket)
{
    if (bucket->newer != NULL)
        bucket->newer->older = bucket->older;
    else
        quota->newest = bucket->older;
    if (bucket->older != NULL)
        bucket->older->newer = bucket->newer;
    else
        quota->oldest = bucket->newer;
}

static void attach(struct kv_quota *quota, struct bucket *bucket)
{
    bucket->newer = NULL;
    bucket->older = quota->newest;
    if (quota->newest != NULL)
        quota->newest->newer = bucket;
    else
        quota->oldest = bucket;
    quota->newest = bucket;
}

static void drop_oldest(struct kv_quota *quota)
{
    struct bucket *bucket = quota->oldest;
    struct bucket **at = &quota->slots[bucket->hash % SLOTS];
    while (*at != bucket)
        at = &(*at)->next_in_slot;
    *at = bucket->next_in_slot;
    detach(quota, bucket);
    free(bucket);
    quota->n--;
}

void kv_quota_free(struct kv_quota *quota)
{
    if (quota == NULL)
        return;
    while (quota->oldest != NULL)
        drop_oldest(quota);
    free(quota);
}

/* FNV-1a over what names a bucket, begun with the seed. */
static uint64_t hash_of(uint64_t seed, const char *principal, const uint8_t *vault,
                        uint8_t which)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ seed;
    for (size_t i = 0; i < KV_ID_LEN; i++)
        hash = (hash ^ vault[i]) * UINT64_C(0x100000001b3);
    hash = (hash ^ which) * UINT64_C(0x100000001b3);
    for (; *principal != '\0'; principal++)
        hash = (hash ^ (uint8_t)*principal) * UINT64_C(0x100000001b3);
    return hash ^ (hash >> 32);
}

static struct bucket *find(struct kv_quota *quota, const char *principal,
                           const uint8_t *vault, uint8_t which, uint64_t hash)
{
    struct bucket *bucket = quota->slots[hash % SLOTS];
    while (bucket != NULL && (bucket->hash != hash || bucket->which != which ||
                              memcmp(bucket->vault, vault, KV_ID_LEN) != 0 ||
                              strcmp(bucket->principal, principal) != 0))
        bucket = bucket->next_in_slot;
    return bucket;
}

static struct bucket *add(struct kv_quota *quota, const char *principal,
                          const uint8_t *vault, uint8_t which, uint64_t hash)
{
    size_t len = strlen(principal);
    struct bucket *bucket = calloc(1, sizeof(*bucket) + len + 1);
    if (bucket == NULL)
        return NULL;
    if (quota->n == quota->n_max)
        drop_oldest(quota);
    memcpy(bucket->principal, principal, len + 1);
    memcpy(bucket->vault, vault, KV_ID_LEN);
    bucket->which = which;
    bucket->hash = hash;
    bucket->parts = quota->limits.per_10s[which] * PARTS;
    bucket->at_ms = kv_monotonic_ms(quota->clock);
    bucket->next_in_slot = quota->slots[hash % SLOTS];
    quota->slots[hash % SLOTS] = bucket;
    attach(quota, bucket);
    quota->n++;
    return bucket;
}

/* Fill up for the time that has passed. */
static void fill(struct bucket *bucket, int64_t full, int64_t per_ms, int64_t now_ms)
{
    int64_t passed = now_ms - bucket->at_ms;
    bucket->at_ms = now_ms;
    if (passed <= 0)
        return;
    bucket->parts = passed >= MS_PER_10S || bucket->parts + passed * per_ms > full
                        ? full
                        : bucket->parts + passed * per_ms;
}

int64_t kv_quota_take(struct kv_quota *quota, const char *principal,
                      const uint8_t vault[KV_ID_LEN], enum kv_quota_class which,
                      uint32_t weight)
{
    const int64_t full = quota->limits.per_10s[which] * PARTS;
    const int64_t per_ms = full / MS_PER_10S;
    if (full == 0)
        return 0;
    uint64_t hash = hash_of(quota->seed, principal, vault, (uint8_t)which);
    struct bucket *bucket = find(quota, principal, vault, (uint8_t)which, hash);
    if (bucket != NULL) {
        detach(quota, bucket);
        attach(quota, bucket);
        fill(bucket, full, per_ms, kv_monotonic_ms(quota->clock));
    } else {
        bucket = add(quota, principal, vault, (uint8_t)which, hash);
    }
    if (bucket == NULL)
        return 0;
    int64_t wanted = weight * PARTS < full ? weight * PARTS : full;
    if (bucket->parts >= wanted) {
        bucket->parts -= wanted;
        return 0;
    }
    return (wanted - bucket->parts + per_ms - 1) / per_ms;
}

uint32_t kv_quota_weight(unsigned rsa_bits)
{
    if (rsa_bits > 3072)
        return 8;
    return rsa_bits > 2048 ? 4 : 1;
}

size_t kv_quota_count(const struct kv_quota *quota)
{
    return quota->n;
}
