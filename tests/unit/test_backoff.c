/* lifecycle/supervisor/backoff.c: when a role may start again. */
#include <criterion/criterion.h>

#include "lifecycle/supervisor/backoff.h"

TestSuite(backoff, .timeout = 20);

/* One life of `life_ms`; returns the delay that its end costs. */
static int64_t live(struct kv_backoff *backoff, int64_t *now_ms, int64_t life_ms)
{
    kv_backoff_started(backoff, *now_ms);
    *now_ms += life_ms;
    int64_t at_ms = kv_backoff_ended(backoff, *now_ms);
    int64_t delay_ms = at_ms - *now_ms;
    *now_ms = at_ms;
    return delay_ms;
}

Test(backoff, doubles_from_100_ms_to_30_s)
{
    struct kv_backoff backoff = {0};
    int64_t now_ms = 1000;
    static const int64_t expected[] = {100,  200,   400,   800,   1600, 3200,
                                       6400, 12800, 25600, 30000, 30000};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        cr_assert_eq(live(&backoff, &now_ms, 5), expected[i], "end %zu", i);
}

Test(backoff, forgets_after_a_minute_of_life)
{
    struct kv_backoff backoff = {0};
    int64_t now_ms = 0;
    for (int i = 0; i < 8; i++)
        (void)live(&backoff, &now_ms, 0);
    cr_assert_eq(live(&backoff, &now_ms, 59999), 25600);
    cr_assert_eq(live(&backoff, &now_ms, 60000), 100);
    cr_assert_eq(live(&backoff, &now_ms, 0), 200);
}

Test(backoff, never_waits_longer_than_30_s)
{
    struct kv_backoff backoff = {0};
    int64_t now_ms = 0;
    for (int i = 0; i < 1000; i++)
        cr_assert_leq(live(&backoff, &now_ms, 1), 30000);
}
