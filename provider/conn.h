/*
 * One connection to keys.sock: connect, check who listens, exchange frames within a
 * bounded time. A kv_conn belongs to one thread at a time; it never raises SIGPIPE.
 */
#ifndef KV_PROVIDER_CONN_H
#define KV_PROVIDER_CONN_H

#include <stdbool.h>
#include <sys/types.h>

#include "store/core/buf.h"
#include "store/keyring/protocol.h"

#define KV_CONN_ADDRESS_MAX 108 /* a path, or '@' and an abstract name; with NUL */
#define KV_CONN_ANY_SAFE_UID (-1)

struct kv_conn {
    int fd;    /* -1: not connected */
    dev_t dev; /* what fd was: hosts close descriptors that they do not know */
    ino_t ino;
    uint32_t next_id;
    pid_t server_pid;
    uid_t server_uid;
    uid_t client_uid; /* whom the daemon takes us for: the effective uid at connect */
    uint8_t installation[KV_ID_LEN];
    /* set when the descriptor is announced to an ASYNC job's wait context: waits for
     * bytes; 0, KV_E_TIMEOUT, or KV_E_UNAVAILABLE when they must not be read */
    int (*on_wait)(struct kv_conn *conn, int64_t deadline_ms);
    uint32_t generation;
    uint32_t life;  /* the client's, in which it was known to be good */
    int timer_fd;   /* announced to the wait context as well, or -1 */
    bool is_busy;   /* a job is in the middle of a request */
    bool is_broken; /* to be closed by the wait context, no longer used by us */
    struct kv_buf out;
    struct kv_buf in;
};

/* What a caller wants to reach. */
struct kv_conn_target {
    char address[KV_CONN_ADDRESS_MAX];
    int64_t server_uid; /* or KV_CONN_ANY_SAFE_UID: root or our own effective uid */
    int64_t connect_timeout_ms;
    int64_t reply_timeout_ms;
    int64_t
        deadline_ms; /* monotonic: ends everything earlier; INT64_MAX: nothing does */
};

/* Make an unconnected object; no allocation. */
void kv_conn_init(struct kv_conn *conn);

/* Connect, check the server's uid (SO_PEERCRED) and say HELLO, all within
 * connect_timeout_ms and before deadline_ms. The descriptor is never 0, 1 or 2, even if
 * the program has closed those. Returns 0, KV_E_UNAVAILABLE (client.unreachable),
 * KV_E_TIMEOUT (client.timeout), KV_E_DENIED (client.wrong-server), KV_E_INVALID
 * (client.bad-reply) or KV_E_NOMEM; the connection is closed on failure. */
int kv_conn_open(struct kv_conn *conn, const struct kv_conn_target *target,
                 struct kv_err *err) KV_MUST_CHECK;

/* After a failure: close, or if the host may still be polling the descriptor, only mark
 * it broken and end the stream. */
void kv_conn_drop(struct kv_conn *conn);

/* Close and release; accepts an unconnected object. A descriptor that the host has
 * closed and reused is left alone. */
void kv_conn_close(struct kv_conn *conn);

/* Whether the descriptor still is the socket that kv_conn_open made. */
bool kv_conn_is_ours(const struct kv_conn *conn);

/* Whether it also still speaks for us: a program that has given its uid up since must
 * not go on with the rights of the old one. */
bool kv_conn_is_usable(const struct kv_conn *conn);

/* Send the request that stands in conn->out (one frame, written with
 * kv_conn_begin) and receive its reply, borrowed from conn->in until the next call;
 * within reply_timeout_ms and before deadline_ms.
 * Returns 0 (reply->status may still be a failure), KV_E_UNAVAILABLE when the
 * connection broke (client.lost: worth one reconnect), KV_E_TIMEOUT or KV_E_INVALID;
 * after a failure the connection must be closed. */
int kv_conn_exchange(struct kv_conn *conn, const struct kv_conn_target *target,
                     struct kv_frame *reply, struct kv_err *err) KV_MUST_CHECK;

/* Whether nothing is to be read, as between two requests: no answer, no hang-up. */
bool kv_conn_is_quiet(const struct kv_conn *conn);

/* Start the next request in conn->out; returns what kv_frame_end wants. */
size_t kv_conn_begin(struct kv_conn *conn, enum kv_verb verb);

#endif
