/* Token buckets: what passes, how long to wait, who is not slowed by whom. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lifecycle/auth/quota.h"

TestSuite(quota, .timeout = 30);

static struct kv_clock_manual clock;
static struct kv_quota *quota;
static const uint8_t vault[KV_ID_LEN] = {1};
static const uint8_t other_vault[KV_ID_LEN] = {2};

static void open_quota(size_t n_max)
{
    const struct kv_quota_limits limits = {.per_10s = {20, 4000, 300, 0}};
    kv_clock_manual_init(&clock, 1000000);
    cr_assert_eq(kv_quota_new(&quota, &limits, n_max, &clock.clock, 7), 0);
}

static void setup(void)
{
    open_quota(1000);
}

static void teardown(void)
{
    kv_quota_free(quota);
}

static int64_t create(const char *principal)
{
    return kv_quota_take(quota, principal, vault, KV_QUOTA_CREATE, 1);
}

static void empty(const char *principal)
{
    for (int i = 0; i < 20; i++)
        cr_assert_eq(create(principal), 0);
}

Test(quota, a_burst_passes_then_it_is_told_how_long_to_wait, .init = setup,
     .fini = teardown)
{
    empty("a");
    cr_expect_eq(create("a"), 500);
    clock.monotonic_ms += 499;
    cr_expect_eq(create("a"), 1);
    clock.monotonic_ms += 1;
    cr_expect_eq(create("a"), 0);
    cr_expect_eq(create("a"), 500);
}

Test(quota, the_average_holds, .init = setup, .fini = teardown)
{
    unsigned n_passed = 0;
    for (int i = 0; i < 100000; i++) { /* 100 s, one each millisecond */
        n_passed += create("a") == 0 ? 1 : 0;
        clock.monotonic_ms += 1;
    }
    cr_expect_eq(n_passed, 219, "%u", n_passed); /* 20 at once, then two in a second */
}

Test(quota, principals_vaults_and_classes_have_buckets_of_their_own, .init = setup,
     .fini = teardown)
{
    empty("a");
    cr_expect_neq(create("a"), 0);
    cr_expect_eq(create("b"), 0);
    cr_expect_eq(kv_quota_take(quota, "a", other_vault, KV_QUOTA_CREATE, 1), 0);
    cr_expect_eq(kv_quota_take(quota, "a", vault, KV_QUOTA_WRITE, 1), 0);
    cr_expect_eq(kv_quota_count(quota), 4);
}

Test(quota, a_class_of_0_is_not_limited, .init = setup, .fini = teardown)
{
    for (int i = 0; i < 100000; i++)
        cr_assert_eq(kv_quota_take(quota, "a", vault, KV_QUOTA_OTHER, 8), 0);
    cr_expect_eq(kv_quota_count(quota), 0);
}

Test(quota, weight_counts, .init = setup, .fini = teardown)
{
    for (int i = 0; i < 500; i++)
        cr_assert_eq(kv_quota_take(quota, "a", vault, KV_QUOTA_USE, 8), 0);
    cr_expect_eq(kv_quota_take(quota, "a", vault, KV_QUOTA_USE, 8), 20);
    cr_expect_eq(kv_quota_take(quota, "a", vault, KV_QUOTA_USE, 1), 3);
    /* More than there ever is needs a full bucket. */
    clock.monotonic_ms += 20000;
    cr_expect_eq(kv_quota_take(quota, "a", vault, KV_QUOTA_USE, UINT32_MAX), 0);
    cr_expect_neq(kv_quota_take(quota, "a", vault, KV_QUOTA_USE, 1), 0);
}

Test(quota, what_was_used_longest_ago_gives_way, .fini = teardown)
{
    open_quota(3);
    empty("a");
    cr_assert_eq(create("b"), 0);
    cr_assert_eq(create("c"), 0);
    cr_assert_neq(create("a"), 0); /* used: now "b" is the oldest */
    cr_assert_eq(create("d"), 0);
    cr_expect_eq(kv_quota_count(quota), 3);
    cr_expect_neq(create("a"), 0);
    for (int i = 0; i < 1000; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "p%d", i);
        cr_assert_eq(create(name), 0);
    }
    cr_expect_eq(kv_quota_count(quota), 3);
    cr_expect_eq(create("a"), 0);
}

Test(quota, a_clock_that_stands_or_goes_back_gives_nothing, .init = setup,
     .fini = teardown)
{
    empty("a");
    clock.monotonic_ms -= 100000;
    cr_expect_neq(create("a"), 0);
}

Test(quota, limits_are_read_as_they_are_written)
{
    struct kv_quota_limits limits;
    cr_assert_eq(kv_quota_limits_parse("1,22,333,0", &limits), 0);
    cr_expect_eq(limits.per_10s[KV_QUOTA_CREATE], 1);
    cr_expect_eq(limits.per_10s[KV_QUOTA_USE], 22);
    cr_expect_eq(limits.per_10s[KV_QUOTA_WRITE], 333);
    cr_expect_eq(limits.per_10s[KV_QUOTA_OTHER], 0);
    cr_assert_eq(kv_quota_limits_parse("off", &limits), 0);
    cr_expect_eq(limits.per_10s[KV_QUOTA_USE], 0);
    static const char *const wrong[] = {"",
                                        "1",
                                        "1,2,3",
                                        "1,2,3,4,5",
                                        "1,2,3,",
                                        "a,2,3,4",
                                        "-1,2,3,4",
                                        "1, 2,3,4",
                                        "OFF",
                                        "1,2,3,1000001",
                                        "1,2,3,00000000000000004"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_expect_eq(kv_quota_limits_parse(wrong[i], &limits), KV_E_INVALID, "%s",
                     wrong[i]);
}

Test(quota, weights_are_those_of_the_contract)
{
    cr_expect_eq(kv_quota_weight(0), 1);
    cr_expect_eq(kv_quota_weight(2048), 1);
    cr_expect_eq(kv_quota_weight(3072), 4);
    cr_expect_eq(kv_quota_weight(4096), 8);
}
