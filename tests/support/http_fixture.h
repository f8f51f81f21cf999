/*
 * A real HTTP server in a thread, and a client of raw bytes, for tests.
 *
 * The server answers by path:
 *   /hello            200 and "hello"            /echo      200 and the request body
 *   /big?N            200 and N patterned bytes  /empty     204
 *   /info             200 and "METHOD PATH QUERY uid=N pid=N body=N ..."
 *   /later?MS         200 and "later" after MS   /close     200, must_close
 *   /hang             no reply; counts a hang-up as gone
 *   /deny             401 from on_head, before the body
 *   /swap             200; new connections get `next_tls`
 * Errors that the server itself answers have the body "error STATUS". Every failure of
 * the fixture itself fails the running test.
 */
#ifndef KV_TESTS_SUPPORT_HTTP_FIXTURE_H
#define KV_TESTS_SUPPORT_HTTP_FIXTURE_H

#include <stdatomic.h>

#include "lifecycle/http/http.h"

struct http_fixture {
    struct kv_http_limits limits; /* set before http_fixture_start */
    unsigned drain_ms;
    bool has_tls;
    bool is_rsa;                    /* the server's key; P-256 otherwise */
    void (*tune_tls)(SSL_CTX *ctx); /* may be NULL */
    SSL_CTX *next_tls;
    char dir[64];
    char path[96]; /* the Unix socket */
    uint16_t port;
    SSL_CTX *tls;
    atomic_uint n_requests;
    atomic_uint n_heads;
    atomic_uint n_gone;
    atomic_uint n_stopped;
    /* private */
    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t stop;
    struct kv_http_server *server;
    int loop_close;
};

/* Default limits, Unix only. */
void http_fixture_init(struct http_fixture *fixture);
void http_fixture_start(struct http_fixture *fixture);
/* Begin the orderly stop and return at once. */
void http_fixture_begin_stop(struct http_fixture *fixture);
/* Stop (if not begun), join, check that nothing is left, remove the files. */
void http_fixture_stop(struct http_fixture *fixture);

struct http_client {
    int fd;
    SSL *ssl; /* NULL: plain */
    char buf[65536];
    size_t len; /* received, not consumed */
};

struct http_reply {
    int status;
    size_t body_len;
    char head[4096];
    char body[4096]; /* its beginning */
    bool is_pattern; /* the body is the pattern of /big */
};

void http_client_open(struct http_client *client, const struct http_fixture *fixture);
/* Connect over TCP, no handshake. */
void http_client_open_tcp(struct http_client *client,
                          const struct http_fixture *fixture);
void http_client_close(struct http_client *client);
/* Send all; false when the peer does not take it. */
bool http_client_send(struct http_client *client, const void *data, size_t len);
bool http_client_send_str(struct http_client *client, const char *text);

/* Read one whole reply (any 1xx is one too). 1, 0 at the end of the stream, -1 when
 * nothing comes in time. `is_to_head`: no body follows. */
int http_client_read(struct http_client *client, struct http_reply *reply,
                     bool is_to_head);
/* One exchange; its reply must have this status and body. */
void http_client_expect(struct http_client *client, struct http_reply *reply,
                        const char *request, int status, const char *body);
/* Read replies until the peer closes; how many. -1 when it does not close in time. */
int http_client_drain(struct http_client *client, struct http_reply *last);

/* Seconds of the monotonic clock. */
double http_fixture_now_s(void);
/* Wait until a counter of the fixture has a value. */
void http_fixture_wait_for(const atomic_uint *counter, unsigned value);

/* A self-signed certificate with this common name; caller frees both. */
void http_fixture_cert(bool is_rsa, const char *name, EVP_PKEY **key, X509 **cert);
/* A server context with such a certificate; caller frees. */
SSL_CTX *http_fixture_tls(bool is_rsa, const char *name);

uint8_t http_fixture_pattern(size_t at);

#endif
