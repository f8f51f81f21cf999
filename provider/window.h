/*
 * The client's end of a window (struct kv_window of the protocol): a connection on
 * which many signatures are asked for gets one, and SIGN then goes that way.
 */
#ifndef KV_PROVIDER_WINDOW_H
#define KV_PROVIDER_WINDOW_H

#include "provider/conn.h"

/* Whether it is time to ask for a window on this connection. Counts. */
bool kv_window_is_due(struct kv_conn *conn);

/* Ask for one; without success the socket goes on serving. Returns 0, or
 * KV_E_UNAVAILABLE or KV_E_TIMEOUT when the connection is of no more use. */
int kv_window_open(struct kv_conn *conn, int64_t deadline_ms) KV_MUST_CHECK;

/* Whether the frame in conn->out can go by the window. */
bool kv_window_takes(const struct kv_conn *conn, const struct kv_frame *frame);

/* Exchange it; the whole reply is then in conn->in. Returns 0, KV_E_UNAVAILABLE,
 * KV_E_TIMEOUT, KV_E_INVALID or KV_E_NOMEM. */
int kv_window_exchange(struct kv_conn *conn, int64_t deadline_ms) KV_MUST_CHECK;

/* Unmap and close; for connections without a window too. */
void kv_window_close(struct kv_conn *conn);

#endif
