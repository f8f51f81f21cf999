/*
 * What the key process gives up. A sanitizer build has its own file behind this
 * header (sandbox_sanitized.c), because the sanitizers need some of it.
 */
#ifndef KV_STORE_KEYRING_SANDBOX_H
#define KV_STORE_KEYRING_SANDBOX_H

#include <stdbool.h>

#include "store/core/err.h"

/* At once after start: no core dumps, no ptrace by others, no new privileges. */
int kv_sandbox_harden(struct kv_err *err) KV_MUST_CHECK;

/* Close every descriptor above stderr except `keep_fd` (-1: none). */
void kv_sandbox_close_inherited(int keep_fd);

/* Keep all memory, present and future, out of swap. KV_E_DENIED (sandbox.no-mlock)
 * when the limits do not allow it. */
int kv_sandbox_lock_memory(struct kv_err *err) KV_MUST_CHECK;

/* Allow only the system calls that serving needs, in every thread. After this
 * nothing is opened, connected, bound, started or run any more; opening files fails
 * with EACCES, anything else outside the list ends the process. */
int kv_sandbox_enter(struct kv_err *err) KV_MUST_CHECK;

#endif
