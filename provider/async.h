/*
 * Requests inside an ASYNC job (HAProxy's ssl-mode-async, s_server -async): the job
 * pauses until the daemon's answer is there, and the host's loop goes on meanwhile.
 *
 * The host polls the descriptor that we announce, and may do so until it frees its
 * wait context; so each wait context has a connection of its own, which only the wait
 * context's cleanup closes. A job may resume on another thread: nothing here is kept
 * per thread, and no lock is held over a pause. Nobody resumes a job whose answer never
 * comes, so a timer is announced beside the connection.
 */
#ifndef KV_PROVIDER_ASYNC_H
#define KV_PROVIDER_ASYNC_H

#include "provider/conn.h"

/* The connection of the running job's wait context, which may still be unconnected.
 * `owner` tells clients apart. NULL outside of jobs, when the connection has broken,
 * when another job of the same wait context is using it, and for lack of memory: the
 * caller then waits in the ordinary way. */
struct kv_conn *kv_async_conn(const void *owner);

/* After a request on that connection: announce it to the wait context, or free it if
 * it could not be connected. Does nothing for other connections. */
void kv_async_settle(struct kv_conn *conn);

/* Announce a connection that has just been made. 0 or KV_E_NOMEM. */
int kv_async_announce(const void *owner, struct kv_conn *conn) KV_MUST_CHECK;

/* Pause the job until bytes are there or the deadline is over; kv_conn's on_wait. */
int kv_async_wait(struct kv_conn *conn, int64_t deadline_ms) KV_MUST_CHECK;

#endif
