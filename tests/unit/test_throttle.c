/*
 * Pauses after failures: they double for one pair, end at half a minute, and touch
 * nobody else.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "lifecycle/auth/throttle.h"

static struct kv_throttle *throttle;

static void setup(void)
{
    cr_assert_eq(kv_throttle_new(&throttle), 0);
}

static void teardown(void)
{
    kv_throttle_free(throttle);
}

TestSuite(throttle, .timeout = 60, .init = setup, .fini = teardown);

#define WAIT(client, source, now) kv_throttle_wait_ms(throttle, client, source, now)

Test(throttle, pauses_double_up_to_half_a_minute)
{
    int64_t now = 1000000;
    int64_t expected = KV_THROTTLE_FIRST_MS;
    cr_assert_eq(WAIT("a", "192.0.2.1", now), 0);
    for (int i = 0; i < 12; i++) {
        kv_throttle_failed(throttle, "a", "192.0.2.1", now);
        cr_assert_eq(WAIT("a", "192.0.2.1", now), expected, "%d", i);
        cr_assert_eq(WAIT("a", "192.0.2.1", now + expected - 1), 1);
        cr_assert_eq(WAIT("a", "192.0.2.1", now + expected), 0, "never a lock");
        now += expected;
        expected *= 2;
        if (expected > KV_THROTTLE_MAX_MS)
            expected = KV_THROTTLE_MAX_MS;
    }
}

Test(throttle, a_success_ends_them)
{
    for (int i = 0; i < 5; i++)
        kv_throttle_failed(throttle, "a", "192.0.2.1", 1000);
    kv_throttle_passed(throttle, "a", "192.0.2.1");
    cr_assert_eq(WAIT("a", "192.0.2.1", 1000), 0);
    kv_throttle_failed(throttle, "a", "192.0.2.1", 2000);
    cr_assert_eq(WAIT("a", "192.0.2.1", 2000), KV_THROTTLE_FIRST_MS, "begins anew");
    kv_throttle_passed(throttle, "b", "192.0.2.1");
    cr_assert_eq(WAIT("a", "192.0.2.1", 2000), KV_THROTTLE_FIRST_MS);
}

Test(throttle, time_ends_them_too)
{
    for (int i = 0; i < 5; i++)
        kv_throttle_failed(throttle, "a", "192.0.2.1", 1000);
    kv_throttle_failed(throttle, "a", "192.0.2.1", 1000 + 3600000);
    cr_assert_eq(WAIT("a", "192.0.2.1", 1000 + 3600000), KV_THROTTLE_FIRST_MS);
}

Test(throttle, a_pair_is_client_and_network)
{
    kv_throttle_failed(throttle, "a", "192.0.2.1", 1000);
    cr_assert_eq(WAIT("a", "192.0.2.2", 1000), 0);
    cr_assert_eq(WAIT("b", "192.0.2.1", 1000), 0);
    kv_throttle_failed(throttle, "a", "2001:db8:1:2::3", 1000);
    cr_assert_gt(WAIT("a", "2001:db8:1:2:ffff::1", 1000), 0, "the same /64");
    cr_assert_eq(WAIT("a", "2001:db8:1:3::3", 1000), 0);
}

Test(throttle, when_it_is_full_the_oldest_gives_way)
{
    char source[32];
    for (int i = 0; i < KV_THROTTLE_PLACES + 10; i++) {
        (void)snprintf(source, sizeof(source), "10.0.%d.%d", i / 256, i % 256);
        kv_throttle_failed(throttle, "a", source, 100000 + i);
    }
    cr_assert_eq(WAIT("a", "10.0.0.0", 100000), 0);
    (void)snprintf(source, sizeof(source), "10.0.%d.%d", (KV_THROTTLE_PLACES + 9) / 256,
                   (KV_THROTTLE_PLACES + 9) % 256);
    cr_assert_gt(WAIT("a", source, 100000 + KV_THROTTLE_PLACES), 0);
}
