/*
 * Client assertions that were used: each counts once (RFC 7523 §3, jti).
 *
 * Client libraries keep an assertion for its ten minutes and send it again with their
 * next request, several at once too, so "once" is by source: who comes with it first
 * may come again, anybody else is refused. Pure; time is an argument.
 */
#ifndef KV_LIFECYCLE_AUTH_REPLAY_H
#define KV_LIFECYCLE_AUTH_REPLAY_H

#include <stdint.h>

#include "store/core/err.h"

#define KV_REPLAY_PLACES 4096
#define KV_REPLAY_SHARE 256   /* places of one client */
#define KV_REPLAY_USES_MAX 64 /* of one assertion, by its first source */

struct kv_replay;

int kv_replay_new(struct kv_replay **out) KV_MUST_CHECK;
void kv_replay_free(struct kv_replay *replay);

/* Take note that `source` uses the assertion `jti` of `client`, which ends at `exp_s`.
 * KV_E_DENIED (jwt.replayed): it has been used by another source, or too often;
 * KV_E_BUSY (jwt.many-assertions): more unexpired ones than
 * are remembered, of this client or of all. */
int kv_replay_use(struct kv_replay *replay, const char *client, const char *jti,
                  const char *source, int64_t exp_s, int64_t now_s,
                  struct kv_err *err) KV_MUST_CHECK;

#endif
