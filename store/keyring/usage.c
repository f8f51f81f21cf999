/*
 * Counters of one writer and any reader: a relaxed load and a relaxed store, which cost
 * what a plain increment costs.
 */
#include "store/keyring/usage.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "store/keyring/keys.h"

#define LINE 64 /* bytes of a cache line */

typedef atomic_uint_least64_t counter;

struct slot {
    alignas(LINE) counter uses[KV_USES_N];
    counter errors;
    counter prepared;
    counter bucket[KV_USAGE_BUCKETS];
};

struct kv_usage {
    atomic_uint n_refs;
    int64_t since_s;
    struct slot *_Atomic slot[KV_KEY_SLOTS];
};

struct kv_usage *kv_usage_new(int64_t since_s)
{
    struct kv_usage *usage = calloc(1, sizeof(*usage));
    if (usage == NULL)
        return NULL;
    usage->n_refs = 1;
    usage->since_s = since_s;
    return usage;
}

struct kv_usage *kv_usage_ref(struct kv_usage *usage)
{
    atomic_fetch_add_explicit(&usage->n_refs, 1, memory_order_relaxed);
    return usage;
}

void kv_usage_unref(struct kv_usage *usage)
{
    if (usage == NULL ||
        atomic_fetch_sub_explicit(&usage->n_refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < KV_KEY_SLOTS; i++)
        free(atomic_load(&usage->slot[i]));
    free(usage);
}

/* The counters of a slot, made at its first count. */
static struct slot *slot_of(struct kv_usage *usage, unsigned slot)
{
    if (usage == NULL)
        return NULL;
    KV_ASSERT(slot < KV_KEY_SLOTS);
    struct slot *at = atomic_load_explicit(&usage->slot[slot], memory_order_relaxed);
    if (at != NULL)
        return at;
    at = aligned_alloc(LINE, sizeof(*at));
    if (at == NULL)
        return NULL;
    memset(at, 0, sizeof(*at));
    atomic_store_explicit(&usage->slot[slot], at, memory_order_release);
    return at;
}

static void count(counter *at)
{
    const uint64_t n = atomic_load_explicit(at, memory_order_relaxed);
    atomic_store_explicit(at, n + 1, memory_order_relaxed);
}

unsigned kv_usage_bucket(int64_t took_us)
{
    unsigned bucket = 0;
    while (took_us > 0 && bucket < KV_USAGE_BUCKETS - 1) {
        took_us >>= 1;
        bucket++;
    }
    return bucket;
}

void kv_usage_note(struct kv_usage *usage, unsigned slot, enum kv_use use,
                   int64_t took_us)
{
    struct slot *at = slot_of(usage, slot);
    if (at == NULL)
        return;
    count(&at->uses[use]);
    count(&at->bucket[kv_usage_bucket(took_us)]);
}

void kv_usage_note_error(struct kv_usage *usage, unsigned slot)
{
    struct slot *at = slot_of(usage, slot);
    if (at != NULL)
        count(&at->errors);
}

void kv_usage_note_prepared(struct kv_usage *usage, unsigned slot)
{
    struct slot *at = slot_of(usage, slot);
    if (at != NULL)
        count(&at->prepared);
}

int64_t kv_usage_since_s(const struct kv_usage *usage)
{
    return usage->since_s;
}

static void add(uint64_t *sum, counter *at)
{
    *sum += atomic_load_explicit(at, memory_order_relaxed);
}

void kv_usage_sum(const struct kv_usage *usage, struct kv_usage_counts *out)
{
    *out = (struct kv_usage_counts){.errors = 0};
    for (size_t i = 0; i < KV_KEY_SLOTS; i++) {
        struct slot *at = atomic_load_explicit(&usage->slot[i], memory_order_acquire);
        if (at == NULL)
            continue;
        for (size_t j = 0; j < KV_USES_N; j++)
            add(&out->uses[j], &at->uses[j]);
        for (size_t j = 0; j < KV_USAGE_BUCKETS; j++)
            add(&out->bucket[j], &at->bucket[j]);
        add(&out->errors, &at->errors);
        add(&out->prepared, &at->prepared);
    }
}
