/*
 * Locks of whole files (flock(2)): one process owns a directory.
 *
 * The kernel gives a lock up when its process has ended, which for one that was killed
 * with gigabytes of locked memory is a moment after it has gone from the process list.
 */
#ifndef KV_STORE_CORE_LOCK_H
#define KV_STORE_CORE_LOCK_H

#include "store/core/err.h"

/* How long a starting role waits for one that was just killed, milliseconds. */
#define KV_LOCK_WAIT_MS 3000U

/* Take the exclusive lock of an open file, trying for `wait_ms`. Returns 0, KV_E_BUSY
 * when another process keeps it, KV_E_IO with errno. Blocks; any thread. */
int kv_lock_file(int fd, unsigned wait_ms) KV_MUST_CHECK;

#endif
