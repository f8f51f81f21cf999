/*
 * Exponential back-off with a ceiling, as arithmetic on two numbers.
 *
 * A role that lived for a minute is taken to be healthy: its next end is an accident
 * of its own and costs the shortest delay again.
 */
#include "lifecycle/supervisor/backoff.h"

void kv_backoff_started(struct kv_backoff *backoff, int64_t now_ms)
{
    backoff->started_ms = now_ms;
}

int64_t kv_backoff_ended(struct kv_backoff *backoff, int64_t now_ms)
{
    if (backoff->delay_ms == 0 ||
        now_ms - backoff->started_ms >= KV_BACKOFF_GOOD_LIFE_MS)
        backoff->delay_ms = KV_BACKOFF_FIRST_MS;
    int64_t at_ms = now_ms + backoff->delay_ms;
    backoff->delay_ms *= 2;
    if (backoff->delay_ms > KV_BACKOFF_MAX_MS)
        backoff->delay_ms = KV_BACKOFF_MAX_MS;
    return at_ms;
}
