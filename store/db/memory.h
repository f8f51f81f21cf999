/*
 * The store in memory, for tests: the same semantics as SQLite, nothing durable,
 * and failures on demand. Callbacks come from the loop, one turn later at the
 * earliest. Loop thread only.
 */
#ifndef KV_STORE_DB_MEMORY_H
#define KV_STORE_DB_MEMORY_H

#include <stdbool.h>

#include "store/db/store.h"

/* Open an empty store; of `config` only the loop, and the clock (NULL = the
 * system's), count. Returns 0, KV_E_NOMEM or KV_E_IO (the loop takes no handle). */
int kv_memory_open(struct kv_store **out, const struct kv_store_config *config,
                   struct kv_err *err) KV_MUST_CHECK;

/* Make the n-th apply from now on (1 = the next one) answer `code`, once. With
 * `takes_effect` the batch is applied all the same, as after a commit whose outcome
 * is unknown; then only op_status tells. */
void kv_memory_fail_apply(struct kv_store *store, unsigned n, int code,
                          bool takes_effect);

#endif
