/*
 * Table of pending calls: a small hash by id for replies, a list by age for time
 * limits.
 */
#include "lifecycle/service/calls.h"

#include <stdlib.h>

void kv_calls_add(struct kv_calls *calls, struct kv_pending *call)
{
    struct kv_pending **bucket = &calls->buckets[call->id % KV_CALL_BUCKETS];
    call->next_in_bucket = *bucket;
    *bucket = call;
    call->newer = NULL;
    call->older = calls->newest;
    if (calls->newest != NULL)
        calls->newest->newer = call;
    else
        calls->oldest = call;
    calls->newest = call;
    calls->n++;
}

struct kv_pending *kv_calls_find(struct kv_calls *calls, uint32_t id)
{
    struct kv_pending *call = calls->buckets[id % KV_CALL_BUCKETS];
    while (call != NULL && call->id != id)
        call = call->next_in_bucket;
    return call;
}

struct kv_pending *kv_calls_overdue(struct kv_calls *calls, uint64_t now_ms)
{
    struct kv_pending *call = calls->oldest;
    while (call != NULL && call->deadline_ms > now_ms)
        call = call->newer;
    return call;
}

void kv_calls_remove(struct kv_calls *calls, struct kv_pending *call)
{
    struct kv_pending **at = &calls->buckets[call->id % KV_CALL_BUCKETS];
    while (*at != call)
        at = &(*at)->next_in_bucket;
    *at = call->next_in_bucket;
    if (call->older != NULL)
        call->older->newer = call->newer;
    else
        calls->oldest = call->newer;
    if (call->newer != NULL)
        call->newer->older = call->older;
    else
        calls->newest = call->older;
    calls->n--;
    free(call);
}

void kv_calls_end(struct kv_calls *calls, struct kv_pending *call, int rc,
                  const struct kv_err *err)
{
    kv_keyring_cb cb = call->cb;
    void *arg = call->arg;
    kv_calls_remove(calls, call);
    cb(arg, rc, (struct kv_bytes){NULL, 0}, err);
}
