/*
 * What the files of this folder share: server, listener and connection.
 *
 * Ownership: the server owns its listeners and the list of connections; a connection
 * owns its handles, its TLS session, its buffers and the request at hand, and is freed
 * when both handles are closed and no handler holds its request. Loop thread only.
 */
#ifndef KV_LIFECYCLE_HTTP_INTERNAL_H
#define KV_LIFECYCLE_HTTP_INTERNAL_H

#include "lifecycle/http/http.h"
#include "lifecycle/http/parse.h"

#define KV_HTTP_READ_BYTES 65536    /* one read from the socket */
#define KV_HTTP_BACKLOG_BYTES 65536 /* unread input of a busy connection */
#define KV_HTTP_SLICE_BYTES 65536   /* one write to the socket */
#define KV_HTTP_REPLY_MAX_BYTES (24U << 20)
#define KV_HTTP_LINGER_MS 1000 /* wait for the peer's end after ours */
#define KV_HTTP_LINGER_BYTES (1U << 20)
#define KV_HTTP_WARN_EVERY_MS 10000 /* strangers must not fill the log */
#define KV_HTTP_DISCARD_BYTES 16384 /* a small body that an early reply skips */

union kv_http_stream {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

struct kv_http_listener {
    union kv_http_stream io;
    struct kv_http_server *server;
    struct kv_http_listener *next;
    bool is_unix;
    bool is_waiting; /* a connection waits in accept until another one ends */
    char *path;      /* Unix: the socket file, removed at the end if still ours */
    dev_t dev;
    ino_t ino;
};

struct kv_http_server {
    uv_loop_t *loop;
    struct kv_http_handler handler;
    struct kv_http_limits limits;
    struct kv_log *log;
    SSL_CTX *tls;
    struct kv_http_listener *listeners;
    struct kv_http_conn *conns;
    unsigned n_conns;
    unsigned n_long;    /* requests whose body may be long, from head to reply */
    unsigned n_handles; /* open listeners and the timer */
    uv_timer_t timer;   /* accepts again after a failure; while stopping: drains */
    bool is_stopping;
    bool has_warned;
    uint64_t warned_at_ms;
    uint16_t port;
    void (*on_stopped)(void *arg);
    void *on_stopped_arg;
    uint8_t read_buf[KV_HTTP_READ_BYTES]; /* libuv fills it, we empty it at once */
};

/*
 *   HANDSHAKE -> IDLE -> HEAD -> BODY -> HANDLER -> REPLY -> IDLE ...
 *                                 |                  |---> DRAIN -> IDLE (early reply)
 *                                 +-----> REPLY      +---> LINGER -> CLOSED
 */
enum kv_http_phase {
    KV_HTTP_HANDSHAKE,
    KV_HTTP_IDLE,    /* no byte of a request yet */
    KV_HTTP_IN_HEAD, /* deadline: 408 */
    KV_HTTP_IN_BODY, /* deadline: 408 */
    KV_HTTP_HANDLER, /* the handler owes a reply */
    KV_HTTP_REPLY,   /* the reply is being sent */
    KV_HTTP_DRAIN,   /* answered early; the rest of a small body is thrown away */
    KV_HTTP_LINGER,  /* we have ended, the peer has not */
    KV_HTTP_CLOSED,
};

/* Sources are counted by this: uid, IPv4 address, or IPv6 /64. */
struct kv_http_peer_key {
    uint8_t bytes[16];
};

struct kv_http_request {
    struct kv_http_conn *conn;
    bool is_open;          /* handed out and not answered */
    struct kv_buf headers; /* what kv_http_reply_header added, as header lines */
    void (*on_gone)(void *arg, struct kv_http_request *request);
    void *on_gone_arg;
};

struct kv_http_conn {
    union kv_http_stream io;
    uv_timer_t deadline;
    uv_write_t write_req;
    uv_shutdown_t shutdown_req;
    struct kv_http_server *server; /* NULL once the handles are closed */
    struct kv_http_conn *prev;
    struct kv_http_conn *next;
    SSL *ssl; /* NULL: plain */
    struct kv_http_peer peer;
    struct kv_http_peer_key peer_key;
    struct kv_http_parser *parser; /* from the first byte of a request to its reply */
    struct kv_http_request request;
    struct kv_buf in;   /* plaintext received, not yet parsed */
    struct kv_buf out;  /* plaintext to send */
    struct kv_buf wire; /* the slice libuv is sending */
    size_t out_sent;
    size_t lingered;
    enum kv_http_phase phase;
    unsigned n_handles;
    bool is_eof;      /* the peer has ended its side */
    bool is_tls_dead; /* the session failed: no more calls but free */
    bool is_last;     /* close after this reply */
    bool is_long;     /* counted in server->n_long */
    bool is_reading;
    bool is_writing;
    bool is_shut;
};

/* server.c */
void kv_http_server_check_stopped(struct kv_http_server *server);
/* May a warning that strangers can cause be logged now? Counts as logged. */
bool kv_http_server_may_warn(struct kv_http_server *server);

/* listen.c: accept what waited, after a connection has ended. */
void kv_http_listen_resume(struct kv_http_server *server);
void kv_http_listener_close(struct kv_http_listener *listener);

/* Accept what waits, a little later: there was no memory for it. */
void kv_http_listen_retry(struct kv_http_server *server);

/* conn.c */

/* Accept from a listener into a new connection; takes care of all failures. */
void kv_http_conn_accept(struct kv_http_listener *listener);
/* Close at once: tells the handler that the peer is gone, frees in the last callback.
 */
void kv_http_conn_close(struct kv_http_conn *conn);
/* Close a connection without a request: over TLS with a proper end. */
void kv_http_conn_leave(struct kv_http_conn *conn);
/* Do all that the bytes at hand allow. */
void kv_http_conn_run(struct kv_http_conn *conn);
/* Enter a phase and set its deadline (0: none). */
void kv_http_conn_phase(struct kv_http_conn *conn, enum kv_http_phase phase,
                        unsigned timeout_ms);
/* Tell a handler that attached kv_http_on_gone that its request is no more. */
void kv_http_conn_drop_request(struct kv_http_conn *conn);
/* Release and wipe the request memory. */
void kv_http_conn_end_request(struct kv_http_conn *conn);
/* The handler answered a closed connection: it may have waited for that only. */
void kv_http_conn_reply_refused(struct kv_http_conn *conn);

/* All of a reply is sent: go on with the next request or end. */
void kv_http_conn_reply_sent(struct kv_http_conn *conn);
/* End our side, then wait shortly for the peer's end (a close with unread input would
 * destroy the reply on its way). */
void kv_http_conn_linger(struct kv_http_conn *conn);

/* write.c: send what `out` and the TLS session hold; closes on failure. */
void kv_http_conn_flush(struct kv_http_conn *conn);

/* peer.c: who is connected. 0 or KV_E_IO. */
int kv_http_peer_find(struct kv_http_conn *conn) KV_MUST_CHECK;
/* Unix: both directions are gone, not only the peer's sending side. */
bool kv_http_peer_hung_up(const struct kv_http_conn *conn);

/* reply.c: an error reply of the server itself; the connection ends with it. */
void kv_http_refuse(struct kv_http_conn *conn, int status, const char *reason);
void kv_http_send_continue(struct kv_http_conn *conn);

/* tls.c; results: 1 done, 0 needs more bytes, negative failed or ended */
int kv_http_tls_start(struct kv_http_conn *conn, SSL_CTX *ctx) KV_MUST_CHECK;
int kv_http_tls_handshake(struct kv_http_conn *conn) KV_MUST_CHECK;
/* Ciphertext received. 0 or KV_E_NOMEM. */
int kv_http_tls_put(struct kv_http_conn *conn, const uint8_t *data,
                    size_t len) KV_MUST_CHECK;
/* Decrypt into conn->in. */
int kv_http_tls_read(struct kv_http_conn *conn) KV_MUST_CHECK;
/* Encrypt from conn->out and move ciphertext into conn->wire. 0 or failure. */
int kv_http_tls_write(struct kv_http_conn *conn) KV_MUST_CHECK;
/* Ciphertext received and not decrypted yet. */
size_t kv_http_tls_pending(const struct kv_http_conn *conn);
/* What the session has to say and the socket does not take. */
size_t kv_http_tls_unsent(const struct kv_http_conn *conn);
void kv_http_tls_end(struct kv_http_conn *conn); /* queue close_notify */

#endif
