/*
 * Failed sign-ins are slowed, never locked: who may try again when.
 *
 * Each failure of one client id from one source doubles the pause before the next try,
 * up to half a minute; a success ends it. A pause never touches others: it is that of
 * the pair. The table has a fixed size; the pair that failed longest ago gives way.
 * Pure; time is an argument.
 */
#ifndef KV_LIFECYCLE_AUTH_THROTTLE_H
#define KV_LIFECYCLE_AUTH_THROTTLE_H

#include <stddef.h>
#include <stdint.h>

#include "store/core/err.h"

#define KV_THROTTLE_FIRST_MS 250
#define KV_THROTTLE_MAX_MS 30000
#define KV_THROTTLE_PLACES 1024

struct kv_throttle;

int kv_throttle_new(struct kv_throttle **out) KV_MUST_CHECK;
void kv_throttle_free(struct kv_throttle *throttle);

/* Milliseconds until `client` may try again from `source` (a numeric address; IPv6
 * counts by its /64, as the network's owner has all of it). */
int64_t kv_throttle_wait_ms(const struct kv_throttle *throttle, const char *client,
                            const char *source, int64_t now_ms);

void kv_throttle_failed(struct kv_throttle *throttle, const char *client,
                        const char *source, int64_t now_ms);
void kv_throttle_passed(struct kv_throttle *throttle, const char *client,
                        const char *source);

#endif
