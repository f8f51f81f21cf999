#include "store/keyring/usage.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "store/keyring/keys.h"

TestSuite(usage, .timeout = 20);

Test(usage, buckets_double)
{
    static const struct {
        int64_t us;
        unsigned bucket;
    } rows[] = {{-5, 0},       {0, 0},        {1, 1},        {2, 2},
                {3, 2},        {4, 3},        {1023, 10},    {1024, 11},
                {4194303, 22}, {4194304, 23}, {8388608, 23}, {INT64_MAX, 23}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(kv_usage_bucket(rows[i].us), rows[i].bucket, "%lld µs",
                     (long long)rows[i].us);
}

Test(usage, slots_are_added_up)
{
    struct kv_usage_counts counts;
    struct kv_usage *usage = kv_usage_new(1234);
    cr_assert_eq(kv_usage_since_s(usage), 1234);
    kv_usage_sum(usage, &counts);
    cr_expect_eq(counts.uses[KV_USE_SIGN] + counts.errors + counts.prepared, 0);
    kv_usage_note(usage, 0, KV_USE_SIGN, 3);
    kv_usage_note(usage, KV_KEY_SLOTS - 1, KV_USE_SIGN, 3);
    kv_usage_note(usage, 7, KV_USE_DERIVE, 100);
    kv_usage_note_error(usage, 7);
    kv_usage_note_prepared(usage, 1);
    kv_usage_sum(usage, &counts);
    cr_expect_eq(counts.uses[KV_USE_SIGN], 2);
    cr_expect_eq(counts.uses[KV_USE_DERIVE], 1);
    cr_expect_eq(counts.uses[KV_USE_DECRYPT], 0);
    cr_expect_eq(counts.bucket[2], 2);
    cr_expect_eq(counts.bucket[7], 1);
    cr_expect_eq(counts.errors, 1);
    cr_expect_eq(counts.prepared, 1);
    kv_usage_unref(usage);
}

Test(usage, nothing_to_count_with_is_no_harm)
{
    kv_usage_note(NULL, 0, KV_USE_SIGN, 1);
    kv_usage_note_error(NULL, 0);
    kv_usage_note_prepared(NULL, 0);
    kv_usage_unref(NULL);
}

enum { N_THREADS = 4, N_EACH = 50000 };

static struct kv_usage *shared;

static void *count_many(void *arg)
{
    const unsigned slot = *(unsigned *)arg;
    for (unsigned i = 0; i < N_EACH; i++)
        kv_usage_note(shared, slot, KV_USE_SIGN, i);
    return NULL;
}

Test(usage, threads_with_slots_of_their_own_lose_nothing)
{
    pthread_t threads[N_THREADS];
    unsigned slots[N_THREADS];
    struct kv_usage_counts counts;
    uint64_t n_in_buckets = 0;
    shared = kv_usage_new(0);
    for (unsigned i = 0; i < N_THREADS; i++) {
        slots[i] = i;
        cr_assert_eq(pthread_create(&threads[i], NULL, count_many, &slots[i]), 0);
    }
    for (int i = 0; i < 100; i++) {
        kv_usage_sum(shared, &counts); /* meanwhile: no more than there will be */
        cr_assert_leq(counts.uses[KV_USE_SIGN], N_THREADS * N_EACH);
    }
    for (unsigned i = 0; i < N_THREADS; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    kv_usage_sum(shared, &counts);
    for (size_t i = 0; i < KV_USAGE_BUCKETS; i++)
        n_in_buckets += counts.bucket[i];
    cr_expect_eq(counts.uses[KV_USE_SIGN], N_THREADS * N_EACH);
    cr_expect_eq(n_in_buckets, N_THREADS * N_EACH);
    kv_usage_unref(kv_usage_ref(shared));
    kv_usage_unref(shared);
}
