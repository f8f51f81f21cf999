#include "lifecycle/service/duration.h"

#include <criterion/criterion.h>

static int64_t from(const char *text, int64_t from_s, bool is_before)
{
    struct kv_duration duration;
    cr_assert_eq(kv_duration_read(text, &duration), 0, "%s", text);
    return kv_duration_from(&duration, from_s, is_before);
}

Test(duration, parts_are_read_in_their_order)
{
    struct kv_duration duration;
    cr_assert_eq(kv_duration_read("P1Y6M2W3D", &duration), 0);
    cr_expect_eq(duration.months, 18);
    cr_expect_eq(duration.days, 17);
    cr_expect_eq(kv_duration_days(&duration), 18 * 365 / 12 + 17);
}

Test(duration, other_texts_are_refused)
{
    static const char *const bad[] = {
        "",      "P",      "D",    "90D",  "p90d",    "P90",      "P90D ", "PD",
        "P-1D",  "P1.5D",  "PT1H", "P1DT", "P1D1Y",   "P1M1Y",    "P1D1D", "P0D",
        "P101Y", "P1201M", "P1H",  "P1S",  "P36601D", "P999999D", "P1D\n", "P 1D"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct kv_duration duration;
        cr_expect_eq(kv_duration_read(bad[i], &duration), KV_E_INVALID, "'%s'", bad[i]);
    }
}

/* 1796083200 is 2026-12-01 00:00:00 UTC. */
Test(duration, months_follow_the_calendar)
{
    const int64_t day_s = 86400;
    const int64_t first_s = 1796083200;
    const int64_t jan_31_s = first_s + 61 * day_s;
    cr_expect_eq(from("P30D", first_s, false), first_s + 30 * day_s);
    cr_expect_eq(from("P1M", first_s, false), first_s + 31 * day_s);
    cr_expect_eq(from("P1M", first_s, true), first_s - 30 * day_s);
    cr_expect_eq(from("P1Y", first_s, false), first_s + 365 * day_s);
    cr_expect_eq(from("P1Y2M", first_s, true), first_s - 426 * day_s);
    cr_expect_eq(from("P1M", jan_31_s, false), jan_31_s + 28 * day_s,
                 "the last day of February");
    cr_expect_eq(from("P13M", jan_31_s, false), jan_31_s + (365 + 29) * day_s,
                 "which 2028 has one more of");
    cr_expect_eq(from("P1Y", first_s + 3661, false), first_s + 3661 + 365 * day_s,
                 "the time of day stays");
}
