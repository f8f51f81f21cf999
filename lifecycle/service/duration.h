/*
 * Durations of ISO 8601-1 as rotation policies write them: P2Y, P18M, P90D, P1Y6M.
 * Years and months follow the calendar, so a duration has no fixed number of seconds.
 * Pure.
 */
#ifndef KV_LIFECYCLE_SERVICE_DURATION_H
#define KV_LIFECYCLE_SERVICE_DURATION_H

#include <stdbool.h>
#include <stdint.h>

#include "store/core/err.h"

struct kv_duration {
    int months; /* years count twelve */
    int days;   /* weeks count seven */
};

/* Read "PnYnMnWnD", each part once, in this order, at least one, and at most 100 years.
 * KV_E_INVALID: another text; hours and less are none. */
int kv_duration_read(const char *text, struct kv_duration *out) KV_MUST_CHECK;

/* The time a duration after `from_s` (UTC); `is_before`: before it. A day that the
 * month does not have becomes its last one. */
int64_t kv_duration_from(const struct kv_duration *duration, int64_t from_s,
                         bool is_before);

/* About how many days these are, to compare two of them. */
int kv_duration_days(const struct kv_duration *duration);

#endif
