/*
 * Clocks and randomness behind their tables.
 */
#include "store/core/clock.h"

#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

TestSuite(clock, .timeout = 20);

Test(clock, system_clock_tells_the_time)
{
    const struct kv_clock *clock = kv_clock_system();
    int64_t before = time(NULL);
    int64_t now = kv_now_s(clock);
    cr_expect_geq(now, before - 1);
    cr_expect_leq(now, before + 10);
    int64_t first = kv_monotonic_ms(clock);
    int64_t second = kv_monotonic_ms(clock);
    cr_expect_gt(first, 0);
    cr_expect_geq(second, first);
    cr_expect_lt(second - first, 10000);
}

Test(clock, manual_clock_moves_only_by_hand)
{
    struct kv_clock_manual manual;
    kv_clock_manual_init(&manual, 1000);
    cr_expect_eq(kv_now_s(&manual.clock), 1000);
    cr_expect_eq(kv_monotonic_ms(&manual.clock), 0);
    kv_clock_manual_advance(&manual, 5);
    cr_expect_eq(kv_now_s(&manual.clock), 1005);
    cr_expect_eq(kv_monotonic_ms(&manual.clock), 5000);
}

Test(clock, all_clocks_are_read_together)
{
    struct kv_clock_reading a;
    struct kv_clock_reading b;
    kv_clock_read(kv_clock_system(), &a);
    kv_clock_read(kv_clock_system(), &b);
    cr_expect_geq(a.spread_us, 0);
    cr_expect_geq(b.monotonic_us, a.monotonic_us + a.spread_us);
    cr_expect_geq(a.boot_us, a.monotonic_us);
    const int64_t wall_moved =
        b.wall_us - b.monotonic_us - (a.wall_us - a.monotonic_us);
    const int64_t boot_moved =
        b.boot_us - b.monotonic_us - (a.boot_us - a.monotonic_us);
    const int64_t room = a.spread_us + b.spread_us + 1;
    cr_expect(wall_moved <= room && wall_moved >= -room, "%lld", (long long)wall_moved);
    cr_expect(boot_moved <= room && boot_moved >= -room, "%lld", (long long)boot_moved);
}

Test(clock, the_manual_clock_knows_jumps_and_sleep)
{
    struct kv_clock_manual manual;
    struct kv_clock_reading a;
    kv_clock_manual_init(&manual, 1000);
    kv_clock_manual_advance(&manual, 2);
    manual.slept_ms = 500;
    kv_clock_read(&manual.clock, &a);
    cr_expect_eq(a.monotonic_us, 2000000);
    cr_expect_eq(a.wall_us, 1002000000);
    cr_expect_eq(a.boot_us, 2500000);
    cr_expect_eq(a.spread_us, 0);
}

static void check_randomness(const struct kv_rand *rand)
{
    uint8_t a[64] = {0};
    uint8_t b[64] = {0};
    cr_assert_eq(kv_rand_fill(rand, a, sizeof(a)), 0);
    cr_assert_eq(kv_rand_fill(rand, b, sizeof(b)), 0);
    cr_expect_neq(memcmp(a, b, 32), 0);
    cr_expect_neq(memcmp(a + 32, b + 32, 32), 0);
    cr_expect_eq(kv_rand_fill(rand, a, 0), 0);
}

Test(clock, system_randomness_fills_all_of_it)
{
    check_randomness(kv_rand_system());
    check_randomness(kv_rand_kernel());
}

static int fill_with_ctx(void *ctx, void *out, size_t len)
{
    memset(out, *(const uint8_t *)ctx, len);
    return *(const uint8_t *)ctx == 0 ? KV_E_CRYPTO : 0;
}

Test(clock, tests_bring_their_own_chance)
{
    uint8_t value = 7;
    uint8_t out[2] = {0};
    struct kv_rand rand = {.fill = fill_with_ctx, .ctx = &value};
    cr_expect_eq(kv_rand_fill(&rand, out, 2), 0);
    cr_expect_eq(out[1], 7);
    value = 0;
    cr_expect_eq(kv_rand_fill(&rand, out, 2), KV_E_CRYPTO);
}

Test(clock, a_time_is_written_for_people)
{
    char text[KV_TIME_TEXT_MAX];
    kv_time_format(0, text);
    cr_expect_str_eq(text, "1970-01-01 00:00:00 UTC");
    kv_time_format(1795507201, text);
    cr_expect_str_eq(text, "2026-11-24 08:00:01 UTC");
    kv_time_format(253402300799, text);
    cr_expect_str_eq(text, "9999-12-31 23:59:59 UTC");
    static const int64_t bad[] = {KV_TIME_NONE, -1, 253402300800, INT64_MAX};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        kv_time_format(bad[i], text);
        cr_expect_str_eq(text, "(no time)");
    }
}
