/*
 * The HTTP/1.1 server: TLS over TCP and plain over a Unix socket, on one libuv loop.
 *
 * llhttp parses (strict), OpenSSL memory BIOs encrypt; caps and deadlines are in
 * struct kv_http_limits. The server knows nothing of vaults: it hands whole requests
 * to `on_request` and takes one reply for each. Request memory (head, body) is wiped
 * when the request ends. A request is handed out only when complete; requests of one
 * connection are answered in order, one at a time. All calls on the loop thread.
 */
#ifndef KV_LIFECYCLE_HTTP_HTTP_H
#define KV_LIFECYCLE_HTTP_HTTP_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "store/core/buf.h"
#include "store/core/err.h"
#include "store/core/log.h"

#define KV_HTTP_RESERVE_DIVISOR 8 /* this part of the connections is for Unix peers */

struct kv_http_limits {
    size_t head_max_bytes; /* request line and headers; default 16 KiB, then 431 */
    size_t headers_max;    /* default 64, then 431 */
    size_t body_max_bytes; /* default 256 KiB, then 413 */
    /* Requests whose body may be longer, by method and path; NULL: none. At most
     * long_bodies_max of them at a time, then 503. */
    bool (*is_long)(const char *method, const char *path);
    size_t long_body_max_bytes;
    unsigned long_bodies_max; /* default 4 */
    unsigned
        connections_max;   /* per server, default 1024: further ones wait in accept */
    unsigned per_peer_max; /* per uid, IPv4 or IPv6 /64, default 128: closed at once */
    unsigned head_timeout_ms; /* handshake and head, default 10000, then 408 or close */
    unsigned body_timeout_ms; /* default 10000, then 408 */
    unsigned idle_timeout_ms; /* keep-alive, default 60000 */
    unsigned write_timeout_ms; /* reply not taken by the peer, default 10000 */
};
#define KV_HTTP_LIMITS_DEFAULT                                                         \
    ((struct kv_http_limits){.head_max_bytes = 16384,                                  \
                             .headers_max = 64,                                        \
                             .body_max_bytes = 262144,                                 \
                             .long_bodies_max = 4,                                     \
                             .connections_max = 1024,                                  \
                             .per_peer_max = 128,                                      \
                             .head_timeout_ms = 10000,                                 \
                             .body_timeout_ms = 10000,                                 \
                             .idle_timeout_ms = 60000,                                 \
                             .write_timeout_ms = 10000})

/* Who is at the other end. */
struct kv_http_peer {
    bool is_unix;
    uid_t uid; /* Unix only: SO_PEERCRED at connect */
    gid_t gid;
    pid_t pid;         /* for the log, never for a decision */
    char address[64];  /* TCP: numeric address; Unix: "unix" */
    X509 *certificate; /* TLS client certificate or NULL; borrowed */
};

/* One request; valid until its reply was taken or its on_gone has run. */
struct kv_http_request;

const char *kv_http_method(const struct kv_http_request *request);
/* Path and query exactly as sent (percent-encoded); query "" when absent. */
const char *kv_http_path(const struct kv_http_request *request);
const char *kv_http_query(const struct kv_http_request *request);
/* Value of a header by lower-case name; NULL when absent. A header that came twice
 * was refused, except for lists (Accept, X-Forwarded-For): first value. */
const char *kv_http_header(const struct kv_http_request *request, const char *name);
/* Body bytes, mutable so that the handler may decode in place and wipe. */
uint8_t *kv_http_body(struct kv_http_request *request, size_t *len);
const struct kv_http_peer *kv_http_peer(const struct kv_http_request *request);

struct kv_http_reply {
    int status;
    const char *content_type; /* NULL: no body */
    const void *body;         /* copied; wiped after it was sent */
    size_t body_len;
    bool must_close;
};

/* Add a header to the coming reply (name and value are copied; CR, LF, NUL refused). */
int kv_http_reply_header(struct kv_http_request *request, const char *name,
                         const char *value) KV_MUST_CHECK;

/* Answer; exactly once per request, now or later. The request is gone afterwards.
 * The server adds Date, Content-Length, Connection and the security headers. */
void kv_http_reply(struct kv_http_request *request, const struct kv_http_reply *reply);

/* Be told when the peer hangs up before the reply; the handler must then drop the
 * request without replying. */
void kv_http_on_gone(struct kv_http_request *request,
                     void (*cb)(void *arg, struct kv_http_request *request), void *arg);

struct kv_http_handler {
    /* Called when the head is complete and before the body is read: return 0 to go
     * on; or call kv_http_reply and return 1 (the connection then closes if a body
     * was announced and is not small). May be NULL. */
    int (*on_head)(void *arg, struct kv_http_request *request);
    void (*on_request)(void *arg, struct kv_http_request *request);
    /* JSON or other body for an error that the server itself answers (400, 408, 413,
     * 431, 501, 505): append it to `body`, return its content type. May be NULL. */
    const char *(*on_error)(void *arg, int status, struct kv_buf *body);
    void *arg;
};

struct kv_http_server;

/* Make a server; `log` may be NULL. Ignores SIGPIPE if that has its default action. */
int kv_http_server_new(struct kv_http_server **out, uv_loop_t *loop,
                       const struct kv_http_handler *handler,
                       const struct kv_http_limits *limits,
                       struct kv_log *log) KV_MUST_CHECK;

/* Listen on TCP with TLS. `host` numeric, port 0 picks one (see *_port). `ctx` is
 * ref'd; kv_http_server_set_tls swaps it for new connections. */
int kv_http_listen_tls(struct kv_http_server *server, const char *host, uint16_t port,
                       SSL_CTX *ctx, struct kv_err *err) KV_MUST_CHECK;
uint16_t kv_http_server_port(const struct kv_http_server *server);
void kv_http_server_set_tls(struct kv_http_server *server, SSL_CTX *ctx);

/* Listen on a Unix socket: a stale file is removed, a live one is KV_E_EXISTS; the
 * file gets `mode`. Abstract names are refused. */
int kv_http_listen_unix(struct kv_http_server *server, const char *path, mode_t mode,
                        struct kv_err *err) KV_MUST_CHECK;

/* Make an SSL_CTX with the house rules: TLS 1.2 and 1.3, AEAD and ECDHE only, no
 * compression, no renegotiation, cleansed plaintext buffers. `chain` leaf first. */
int kv_http_tls_ctx(SSL_CTX **out, EVP_PKEY *key, STACK_OF(X509) * chain,
                    struct kv_err *err) KV_MUST_CHECK;

/* Ask clients for a certificate of any issuer, or none: a handshake proves that they
 * have its key, and what it is worth the handler decides. */
void kv_http_tls_ask_certificate(SSL_CTX *ctx);

/* Stop accepting, finish running requests for at most `drain_ms`, close everything,
 * free the server, then call back. */
void kv_http_server_stop(struct kv_http_server *server, unsigned drain_ms,
                         void (*cb)(void *arg), void *arg);

#endif
