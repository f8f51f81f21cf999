/*
 * The calls that wait for the keyring's answer, by id and in order of their start.
 * Private to lifecycle/service/keyring.c and its test; loop thread only.
 */
#ifndef KV_LIFECYCLE_SERVICE_CALLS_H
#define KV_LIFECYCLE_SERVICE_CALLS_H

#include "lifecycle/service/keyring.h"

#define KV_CALL_BUCKETS 256

struct kv_pending {
    struct kv_pending *next_in_bucket;
    struct kv_pending *older;
    struct kv_pending *newer;
    uint32_t id;
    uint16_t verb;
    uint64_t deadline_ms; /* loop time; 0: was never sent, fail it at the next tick */
    kv_keyring_cb cb;
    void *arg;
};

struct kv_calls {
    struct kv_pending *buckets[KV_CALL_BUCKETS];
    struct kv_pending *oldest;
    struct kv_pending *newest;
    size_t n;
};

/* Take a call from the heap. */
void kv_calls_add(struct kv_calls *calls, struct kv_pending *call);

/* NULL when no call has this id. */
struct kv_pending *kv_calls_find(struct kv_calls *calls, uint32_t id);

/* The oldest call whose deadline has come; NULL when there is none. */
struct kv_pending *kv_calls_overdue(struct kv_calls *calls, uint64_t now_ms);

/* Take out and free. */
void kv_calls_remove(struct kv_calls *calls, struct kv_pending *call);

/* Take out, free, and call back with a failure. */
void kv_calls_end(struct kv_calls *calls, struct kv_pending *call, int rc,
                  const struct kv_err *err);

#endif
