/*
 * The private channel to the service: keyring.sock in the run directory's `private`.
 *
 * The keyring binds it and serves one connection of the service's uid at a time, the
 * newest wins. Requests are served here or on the pool; questions of the loops
 * (grants, certificates, lists) go out over it, wait at most four seconds, survive a
 * restart of the service in that time, and equal ones are asked once. Main thread.
 */
#ifndef KV_STORE_KEYRING_ROLE_CHANNEL_H
#define KV_STORE_KEYRING_ROLE_CHANNEL_H

#include <uv.h>

#include "store/core/log.h"
#include "store/keyring/work.h"

#define KV_ASK_TIMEOUT_MS 4000
#define KV_ASKS_MAX 4096 /* no less than KV_CHANNEL_WORKS_MAX */

struct kv_role_channel;

struct kv_role_channel_config {
    uv_loop_t *loop;
    struct kv_ring *ring;
    struct kv_pool *pool;
    struct kv_log *log;
    const char *path; /* of keyring.sock */
    uid_t service_uid;
    unsigned slot;           /* key slot of the main thread */
    unsigned ask_timeout_ms; /* 0: KV_ASK_TIMEOUT_MS */
};

int kv_role_channel_open(struct kv_role_channel **out,
                         const struct kv_role_channel_config *config,
                         struct kv_err *err) KV_MUST_CHECK;

/* Where loops push their questions; finished ones go home. */
struct kv_queue *kv_role_channel_asks(struct kv_role_channel *channel);

/* Hang up, answer every question, present and future, with KV_E_UNAVAILABLE. */
void kv_role_channel_shut(struct kv_role_channel *channel);

/* Requests that the pool still has. */
unsigned kv_role_channel_n_works(const struct kv_role_channel *channel);

/* After shut, with no works left: close the last handles (the loop must run once
 * more), then free. */
void kv_role_channel_close(struct kv_role_channel *channel);
void kv_role_channel_free(struct kv_role_channel *channel);

#endif
