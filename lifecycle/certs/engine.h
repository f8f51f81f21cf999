/*
 * The engine: looks for operations that are due and runs each against its issuer.
 *
 * One timer, set for the earliest; work that was interrupted (restart, keyring away)
 * goes on from its committed state. Loop thread only.
 */
#ifndef KV_LIFECYCLE_CERTS_ENGINE_H
#define KV_LIFECYCLE_CERTS_ENGINE_H

#include "lifecycle/service/service.h"

struct kv_engine;

/* Make the engine, at rest. */
int kv_engine_new(struct kv_engine **out, struct kv_service *service) KV_MUST_CHECK;

/* Look for due work now: after start, and after a new order. NULL is ignored. */
void kv_engine_kick(struct kv_engine *engine);

/* Start no more work; closes the timer. */
void kv_engine_stop(struct kv_engine *engine);

/* After the loop has ended. */
void kv_engine_free(struct kv_engine *engine);

#endif
