/*
 * When a role that ended may start again: 100 ms after its first end, twice as long
 * after each further one, at most 30 s; a life of 60 s forgets the past. Pure.
 */
#ifndef KV_LIFECYCLE_SUPERVISOR_BACKOFF_H
#define KV_LIFECYCLE_SUPERVISOR_BACKOFF_H

#include <stdint.h>

#define KV_BACKOFF_FIRST_MS 100
#define KV_BACKOFF_MAX_MS 30000
#define KV_BACKOFF_GOOD_LIFE_MS 60000

struct kv_backoff { /* zeros are a fresh object */
    int64_t started_ms;
    int64_t delay_ms; /* that the next end costs; 0 before the first */
};

/* Note that the role starts now. */
void kv_backoff_started(struct kv_backoff *backoff, int64_t now_ms);

/* Note that the role ended now. Returns the moment at which it may start again. */
int64_t kv_backoff_ended(struct kv_backoff *backoff, int64_t now_ms);

#endif
