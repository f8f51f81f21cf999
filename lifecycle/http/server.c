/*
 * The server object: limits, the list of connections, and the orderly end.
 *
 * Stop: listeners close first, connections without a request close at once, the others
 * may finish until the drain timer fires; then everything left is closed. The server
 * is freed in the callback of whichever handle closes last.
 */
#include "lifecycle/http/internal.h"

#include <signal.h>
#include <stdlib.h>

/* libuv writes with write(2): without this a peer that has gone would end us. */
static void ignore_sigpipe(void)
{
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL) {
        struct sigaction ignore = {.sa_handler = SIG_IGN};
        (void)sigaction(SIGPIPE, &ignore, NULL); /* cannot fail for SIGPIPE */
    }
}

int kv_http_server_new(struct kv_http_server **out, uv_loop_t *loop,
                       const struct kv_http_handler *handler,
                       const struct kv_http_limits *limits, struct kv_log *log)
{
    struct kv_http_server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return KV_E_NOMEM;
    ignore_sigpipe();
    server->loop = loop;
    server->handler = *handler;
    server->limits = limits != NULL ? *limits : KV_HTTP_LIMITS_DEFAULT;
    server->log = log;
    KV_ASSERT(uv_timer_init(loop, &server->timer) == 0);
    server->timer.data = server;
    server->n_handles = 1;
    *out = server;
    return 0;
}

uint16_t kv_http_server_port(const struct kv_http_server *server)
{
    return server->port;
}

bool kv_http_server_may_warn(struct kv_http_server *server)
{
    uint64_t now = uv_now(server->loop);
    if (server->has_warned && now - server->warned_at_ms < KV_HTTP_WARN_EVERY_MS)
        return false;
    server->has_warned = true;
    server->warned_at_ms = now;
    return true;
}

void kv_http_server_set_tls(struct kv_http_server *server, SSL_CTX *ctx)
{
    if (ctx != NULL)
        SSL_CTX_up_ref(ctx);
    SSL_CTX_free(server->tls);
    server->tls = ctx;
}

static void on_drain_over(uv_timer_t *timer);

void kv_http_server_check_stopped(struct kv_http_server *server)
{
    if (!server->is_stopping || server->n_conns > 0)
        return;
    if (!uv_is_closing((uv_handle_t *)&server->timer)) {
        /* Nothing is left to drain: let the timer end it in the next iteration. */
        (void)uv_timer_start(&server->timer, on_drain_over, 0, 0);
        return;
    }
    if (server->n_handles > 0)
        return;
    void (*on_stopped)(void *) = server->on_stopped;
    void *arg = server->on_stopped_arg;
    SSL_CTX_free(server->tls);
    free(server);
    if (on_stopped != NULL)
        on_stopped(arg);
}

static void on_drain_closed(uv_handle_t *handle)
{
    struct kv_http_server *server = handle->data;
    server->n_handles--;
    kv_http_server_check_stopped(server);
}

static void on_drain_over(uv_timer_t *timer)
{
    struct kv_http_server *server = timer->data;
    uv_close((uv_handle_t *)timer, on_drain_closed);
    struct kv_http_conn *next = NULL;
    for (struct kv_http_conn *conn = server->conns; conn != NULL; conn = next) {
        next = conn->next;
        kv_http_conn_close(conn);
    }
}

void kv_http_server_stop(struct kv_http_server *server, unsigned drain_ms,
                         void (*cb)(void *arg), void *arg)
{
    KV_ASSERT(!server->is_stopping);
    server->is_stopping = true;
    server->on_stopped = cb;
    server->on_stopped_arg = arg;
    struct kv_http_listener *following = NULL;
    for (struct kv_http_listener *l = server->listeners; l != NULL; l = following) {
        following = l->next;
        kv_http_listener_close(l);
    }
    server->listeners = NULL;
    struct kv_http_conn *next = NULL;
    for (struct kv_http_conn *conn = server->conns; conn != NULL; conn = next) {
        next = conn->next;
        conn->is_last = true;
        if (conn->phase == KV_HTTP_HANDSHAKE || conn->phase == KV_HTTP_IDLE)
            kv_http_conn_leave(conn);
    }
    if (server->n_conns == 0)
        drain_ms = 0;
    (void)uv_timer_start(&server->timer, on_drain_over, drain_ms, 0);
}
