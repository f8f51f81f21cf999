/*
 * Questions that wait for the service, with the frames that wait for each. A uid whose
 * questions are refused at a high rate is not asked for again before the next second,
 * or one local user could keep the service busy with nothing but refusals. Main thread
 * only.
 */
#ifndef KV_STORE_KEYRING_ASKS_H
#define KV_STORE_KEYRING_ASKS_H

#include "store/keyring/work.h"

struct kv_asks;

/* NULL when memory is short. */
struct kv_asks *kv_asks_new(struct kv_ring *ring, unsigned max);
void kv_asks_free(struct kv_asks *asks); /* none may wait */

#define KV_ASKS_REFUSED_MAX 200 /* questions of one uid in one second */

/* Let `work` wait for the answer to its question; sends it home with KV_E_BUSY when
 * too many wait (channel.busy) or were refused lately (channel.many-refusals). */
void kv_asks_add(struct kv_asks *asks, struct kv_work *work, int64_t deadline_ms);

/* Append a frame for each question that was not sent on this connection. */
void kv_asks_send(struct kv_asks *asks, struct kv_buf *out);

/* The connection is gone: all questions count as not sent. */
void kv_asks_unsend(struct kv_asks *asks);

/* The service's reply; false when no such question waits (it was late). */
bool kv_asks_answer(struct kv_asks *asks, const struct kv_frame *answer);

/* Fail with KV_E_UNAVAILABLE (channel.no-service) what waits past its deadline;
 * INT64_MAX fails all. Called several times a second. */
void kv_asks_expire(struct kv_asks *asks, int64_t now_ms);

bool kv_asks_is_empty(const struct kv_asks *asks);

#endif
