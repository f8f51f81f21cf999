/*
 * The parts of a duration stand in a fixed order; a date moves by its months first,
 * then by its days.
 */
#include "lifecycle/service/duration.h"

#include <time.h>

#define DAY_S INT64_C(86400)
#define YEARS_MAX 100
#define DAYS_MAX (YEARS_MAX * 366)
#define DIGITS_MAX 5

/* One number and its letter; false when there is none. */
static bool read_part(const char **at, int *number, char *unit)
{
    int n_digits = 0;
    *number = 0;
    for (; **at >= '0' && **at <= '9'; (*at)++) {
        if (++n_digits > DIGITS_MAX)
            return false;
        *number = 10 * *number + (**at - '0');
    }
    if (n_digits == 0 || **at == '\0')
        return false;
    *unit = *(*at)++;
    return true;
}

int kv_duration_read(const char *text, struct kv_duration *out)
{
    static const struct {
        char unit;
        int months;
        int days;
    } units[] = {{'Y', 12, 0}, {'M', 1, 0}, {'W', 0, 7}, {'D', 0, 1}};
    const size_t n_units = sizeof(units) / sizeof(units[0]);
    size_t next = 0;
    *out = (struct kv_duration){0};
    if (text[0] != 'P' || text[1] == '\0')
        return KV_E_INVALID;
    for (const char *at = text + 1; *at != '\0';) {
        int number = 0;
        char unit = 0;
        if (!read_part(&at, &number, &unit))
            return KV_E_INVALID;
        while (next < n_units && units[next].unit != unit)
            next++;
        if (next == n_units)
            return KV_E_INVALID;
        out->months += number * units[next].months;
        out->days += number * units[next].days;
        next++;
    }
    bool is_good = out->months <= YEARS_MAX * 12 && out->days <= DAYS_MAX &&
                   (out->months > 0 || out->days > 0);
    return is_good ? 0 : KV_E_INVALID;
}

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month] + (month == 1 && is_leap ? 1 : 0);
}

int64_t kv_duration_from(const struct kv_duration *duration, int64_t from_s,
                         bool is_before)
{
    struct tm date;
    const int sign = is_before ? -1 : 1;
    time_t from = (time_t)from_s;
    if (gmtime_r(&from, &date) == NULL)
        return from_s; /* beyond every calendar */
    const int month =
        (date.tm_year + 1900) * 12 + date.tm_mon + sign * duration->months;
    date.tm_year = month / 12 - 1900;
    date.tm_mon = month % 12;
    const int last = days_of(month / 12, month % 12);
    if (date.tm_mday > last)
        date.tm_mday = last;
    return (int64_t)timegm(&date) + (int64_t)sign * duration->days * DAY_S;
}

int kv_duration_days(const struct kv_duration *duration)
{
    return duration->months * 365 / 12 + duration->days;
}
