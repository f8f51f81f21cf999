/*
 * One connection: reads, phases, deadlines, and the end of its life.
 *
 * Input is decrypted and parsed only while no request is at hand; a busy connection
 * goes on reading up to a small backlog, so that a hang-up is noticed. Each phase has
 * one deadline that does not move with each byte, so dripping bytes gains nothing.
 */
#include "lifecycle/http/internal.h"

#include <stdlib.h>
#include <string.h>

#include "store/core/secret.h"

/* ---- end of life ---- */

/* Free a connection whose handles are closed and whose request nobody holds. */
static void conn_free(struct kv_http_conn *conn)
{
    kv_buf_free(&conn->in);
    kv_buf_free(&conn->out);
    kv_buf_free(&conn->wire);
    free(conn);
}

/* Its long body, if it has one, counts no more. */
static void end_long(struct kv_http_conn *conn)
{
    if (conn->is_long && conn->server != NULL) {
        conn->server->n_long--;
        conn->is_long = false;
    }
}

void kv_http_conn_end_request(struct kv_http_conn *conn)
{
    struct kv_http_request *request = &conn->request;
    end_long(conn);
    request->is_open = false;
    request->on_gone = NULL;
    kv_buf_free(&request->headers);
    if (conn->parser != NULL) {
        kv_http_parser_fini(conn->parser);
        free(conn->parser);
        conn->parser = NULL;
    }
}

void kv_http_conn_reply_refused(struct kv_http_conn *conn)
{
    kv_http_conn_end_request(conn);
    if (conn->server == NULL)
        conn_free(conn);
}

void kv_http_conn_drop_request(struct kv_http_conn *conn)
{
    struct kv_http_request *request = &conn->request;
    if (request->on_gone == NULL)
        return;
    void (*on_gone)(void *, struct kv_http_request *) = request->on_gone;
    request->on_gone = NULL;
    on_gone(request->on_gone_arg, request);
    request->is_open = false;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct kv_http_conn *conn = handle->data;
    if (--conn->n_handles > 0)
        return;
    struct kv_http_server *server = conn->server;
    end_long(conn);
    if (conn->prev != NULL)
        conn->prev->next = conn->next;
    else
        server->conns = conn->next;
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    server->n_conns--;
    SSL_free(conn->ssl);
    conn->ssl = NULL;
    conn->peer.certificate = NULL;
    conn->server = NULL;
    if (!conn->request.is_open) {
        kv_http_conn_end_request(conn);
        conn_free(conn);
    }
    if (!server->is_stopping)
        kv_http_listen_resume(server);
    kv_http_server_check_stopped(server);
}

void kv_http_conn_close(struct kv_http_conn *conn)
{
    if (conn->phase == KV_HTTP_CLOSED)
        return;
    conn->phase = KV_HTTP_CLOSED;
    kv_http_conn_drop_request(conn);
    uv_close(&conn->io.handle, on_handle_closed);
    uv_close((uv_handle_t *)&conn->deadline, on_handle_closed);
}

/* ---- phases ---- */

static void on_deadline(uv_timer_t *timer)
{
    struct kv_http_conn *conn = timer->data;
    if (conn->phase == KV_HTTP_IN_HEAD)
        kv_http_refuse(conn, 408, "head took too long");
    else if (conn->phase == KV_HTTP_IN_BODY)
        kv_http_refuse(conn, 408, "body took too long");
    else if (conn->phase == KV_HTTP_IDLE)
        kv_http_conn_leave(conn);
    else
        kv_http_conn_close(conn);
}

void kv_http_conn_phase(struct kv_http_conn *conn, enum kv_http_phase phase,
                        unsigned timeout_ms)
{
    conn->phase = phase;
    if (timeout_ms == 0)
        (void)uv_timer_stop(&conn->deadline); /* always 0 */
    else
        (void)uv_timer_start(&conn->deadline, on_deadline, timeout_ms, 0);
}

static size_t backlog(const struct kv_http_conn *conn)
{
    return conn->in.len + kv_http_tls_pending(conn);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct kv_http_conn *conn = handle->data;
    buf->base = (char *)conn->server->read_buf;
    buf->len = sizeof(conn->server->read_buf);
}

/* Read while there is a use for the bytes. */
static void update_reading(struct kv_http_conn *conn)
{
    if (conn->phase == KV_HTTP_CLOSED)
        return;
    bool want = !conn->is_eof && (conn->phase == KV_HTTP_LINGER ||
                                  backlog(conn) < KV_HTTP_BACKLOG_BYTES);
    if (want == conn->is_reading)
        return;
    conn->is_reading = want;
    if (!want)
        (void)uv_read_stop(&conn->io.stream); /* always 0 */
    else if (uv_read_start(&conn->io.stream, on_alloc, on_read) != 0)
        kv_http_conn_close(conn);
}

void kv_http_conn_linger(struct kv_http_conn *conn)
{
    kv_buf_free(&conn->in);
    if (conn->is_eof && !conn->is_writing && !conn->is_tls_dead) {
        kv_http_conn_close(conn);
        return;
    }
    kv_http_conn_phase(conn, KV_HTTP_LINGER, KV_HTTP_LINGER_MS);
    if (conn->ssl != NULL)
        kv_http_tls_end(conn);
    kv_http_conn_flush(conn);
    update_reading(conn);
}

void kv_http_conn_leave(struct kv_http_conn *conn)
{
    if (conn->ssl != NULL && conn->phase == KV_HTTP_IDLE)
        kv_http_conn_linger(conn);
    else
        kv_http_conn_close(conn);
}

void kv_http_conn_reply_sent(struct kv_http_conn *conn)
{
    const struct kv_http_limits *limits = &conn->server->limits;
    if (conn->is_last) {
        kv_http_conn_linger(conn);
        return;
    }
    if (conn->parser != NULL)
        kv_http_conn_phase(conn, KV_HTTP_DRAIN, limits->body_timeout_ms);
    else
        kv_http_conn_phase(conn, KV_HTTP_IDLE, limits->idle_timeout_ms);
    kv_http_conn_run(conn);
}

/* ---- requests ---- */

static int start_request(struct kv_http_conn *conn)
{
    const struct kv_http_limits *limits = &conn->server->limits;
    conn->parser = malloc(sizeof(*conn->parser));
    if (conn->parser == NULL)
        return KV_E_NOMEM;
    struct kv_http_parser_limits parser_limits = {
        .head_max_bytes = limits->head_max_bytes,
        .headers_max = limits->headers_max,
        .body_max_bytes = limits->body_max_bytes,
        .is_long = limits->is_long,
        .long_body_max_bytes = limits->long_body_max_bytes,
    };
    kv_http_parser_init(conn->parser, &parser_limits);
    conn->request.conn = conn;
    kv_buf_init_secret(&conn->request.headers, limits->head_max_bytes);
    kv_http_conn_phase(conn, KV_HTTP_IN_HEAD, limits->head_timeout_ms);
    return 0;
}

static void request_complete(struct kv_http_conn *conn)
{
    struct kv_http_server *server = conn->server;
    if (conn->phase == KV_HTTP_DRAIN) {
        kv_http_conn_end_request(conn);
        kv_http_conn_phase(conn, KV_HTTP_IDLE, server->limits.idle_timeout_ms);
        return;
    }
    kv_http_conn_phase(conn, KV_HTTP_HANDLER, 0);
    conn->request.is_open = true;
    server->handler.on_request(server->handler.arg, &conn->request);
}

static void head_complete(struct kv_http_conn *conn)
{
    struct kv_http_server *server = conn->server;
    kv_http_conn_phase(conn, KV_HTTP_IN_BODY, server->limits.body_timeout_ms);
    if (server->handler.on_head != NULL) {
        conn->request.is_open = true;
        int answered = server->handler.on_head(server->handler.arg, &conn->request);
        KV_ASSERT(answered == 0 || !conn->request.is_open);
        if (conn->phase != KV_HTTP_IN_BODY)
            return;
        conn->request.is_open = false; /* the handler's again when it is whole */
    }
    if (conn->parser->is_long) {
        if (server->n_long >= server->limits.long_bodies_max) {
            kv_http_refuse(conn, 503, "too many long bodies");
            return;
        }
        server->n_long++;
        conn->is_long = true;
    }
    if (conn->parser->is_done)
        request_complete(conn);
    else if (conn->parser->wants_continue && conn->in.len == 0)
        kv_http_send_continue(conn);
}

/* ---- input ---- */

static bool step_handshake(struct kv_http_conn *conn)
{
    int rc = kv_http_tls_handshake(conn);
    if (rc < 0) {
        kv_http_conn_linger(conn);
        return false;
    }
    kv_http_conn_flush(conn);
    if (conn->phase == KV_HTTP_CLOSED)
        return false;
    if (rc == 0) {
        if (conn->is_eof)
            kv_http_conn_close(conn);
        return false;
    }
    conn->phase =
        KV_HTTP_IDLE; /* the deadline of the handshake covers the first head */
    return true;
}

/* Have plaintext in conn->in, or say that there is none now. */
static bool have_input(struct kv_http_conn *conn)
{
    if (conn->in.len > 0)
        return true;
    if (conn->ssl != NULL) {
        int rc = kv_http_tls_read(conn);
        if (rc < 0) {
            kv_http_conn_linger(conn);
            return false;
        }
        kv_http_conn_flush(conn); /* what the session itself may have to say */
        /* A peer that asks for key updates and reads no answer is no client. */
        if (kv_http_tls_unsent(conn) > KV_HTTP_BACKLOG_BYTES)
            kv_http_conn_close(conn);
        if (conn->phase == KV_HTTP_CLOSED)
            return false;
    }
    if (conn->in.len == 0 && conn->is_eof)
        kv_http_conn_close(conn);
    return conn->in.len > 0;
}

static bool step_parse(struct kv_http_conn *conn)
{
    if (!have_input(conn))
        return false;
    if (conn->phase == KV_HTTP_IDLE && start_request(conn) != 0) {
        kv_http_conn_close(conn);
        return false;
    }
    size_t used = 0;
    enum kv_http_step step =
        kv_http_parser_feed(conn->parser, conn->in.data, conn->in.len, &used);
    kv_buf_consume(&conn->in, used);
    switch (step) {
    case KV_HTTP_MORE:
        break;
    case KV_HTTP_HEAD:
        head_complete(conn);
        break;
    case KV_HTTP_DONE:
        request_complete(conn);
        break;
    case KV_HTTP_BAD:
        if (conn->phase == KV_HTTP_DRAIN)
            kv_http_conn_linger(conn); /* answered already */
        else
            kv_http_refuse(conn, conn->parser->bad_status, conn->parser->bad_reason);
        return false;
    }
    return true;
}

static bool step(struct kv_http_conn *conn)
{
    switch (conn->phase) {
    case KV_HTTP_HANDSHAKE:
        return step_handshake(conn);
    case KV_HTTP_IDLE:
    case KV_HTTP_IN_HEAD:
    case KV_HTTP_IN_BODY:
    case KV_HTTP_DRAIN:
        return step_parse(conn);
    case KV_HTTP_HANDLER:
    case KV_HTTP_REPLY:
    case KV_HTTP_LINGER:
    case KV_HTTP_CLOSED:
        break;
    }
    return false;
}

void kv_http_conn_run(struct kv_http_conn *conn)
{
    while (step(conn))
        ;
    if (conn->in.len == 0)
        kv_buf_free(&conn->in); /* an idle connection holds no buffer */
    update_reading(conn);
}

static void on_input(struct kv_http_conn *conn, const uint8_t *data, size_t len)
{
    if (conn->phase == KV_HTTP_LINGER) {
        conn->lingered += len;
        if (conn->lingered > KV_HTTP_LINGER_BYTES)
            kv_http_conn_close(conn);
        return;
    }
    int rc = conn->ssl != NULL ? kv_http_tls_put(conn, data, len)
                               : kv_buf_append(&conn->in, data, len);
    if (rc != 0)
        kv_http_conn_close(conn);
    else
        kv_http_conn_run(conn);
}

static void on_end(struct kv_http_conn *conn)
{
    conn->is_eof = true;
    update_reading(conn);
    if (conn->phase == KV_HTTP_LINGER) {
        kv_http_conn_close(conn);
    } else if (conn->phase == KV_HTTP_HANDLER) {
        /* A Unix client may end its side and still wait for the reply. */
        if (conn->ssl != NULL || kv_http_peer_hung_up(conn))
            kv_http_conn_close(conn);
    } else {
        kv_http_conn_run(conn);
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct kv_http_conn *conn = stream->data;
    if (n > 0) {
        uint8_t *data = (uint8_t *)buf->base;
        struct kv_http_server *server = conn->server;
        KV_ASSERT(data == server->read_buf);
        on_input(conn, data, (size_t)n);
        kv_wipe(data, (size_t)n); /* the server outlives its last read callback */
    } else if (n == UV_EOF) {
        on_end(conn);
    } else if (n < 0) {
        kv_http_conn_close(conn);
    }
}

/* ---- birth ---- */

static bool is_peer_over_limit(const struct kv_http_conn *conn)
{
    unsigned n = 0;
    for (const struct kv_http_conn *c = conn->server->conns; c != NULL; c = c->next)
        if (c->phase != KV_HTTP_CLOSED &&
            memcmp(&c->peer_key, &conn->peer_key, sizeof(c->peer_key)) == 0)
            n++;
    return n > conn->server->limits.per_peer_max;
}

static struct kv_http_conn *conn_new(struct kv_http_listener *listener)
{
    struct kv_http_server *server = listener->server;
    struct kv_http_conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL)
        return NULL;
    conn->server = server;
    if (listener->is_unix)
        KV_ASSERT(uv_pipe_init(server->loop, &conn->io.pipe, 0) == 0);
    else
        KV_ASSERT(uv_tcp_init(server->loop, &conn->io.tcp) == 0);
    KV_ASSERT(uv_timer_init(server->loop, &conn->deadline) == 0);
    conn->io.handle.data = conn;
    conn->deadline.data = conn;
    conn->n_handles = 2;
    kv_buf_init_secret(&conn->in, KV_HTTP_BACKLOG_BYTES + KV_HTTP_READ_BYTES);
    kv_buf_init_secret(&conn->out, KV_HTTP_REPLY_MAX_BYTES + KV_HTTP_READ_BYTES);
    kv_buf_init_secret(&conn->wire, KV_HTTP_REPLY_MAX_BYTES + KV_HTTP_READ_BYTES);
    conn->next = server->conns;
    if (conn->next != NULL)
        conn->next->prev = conn;
    server->conns = conn;
    server->n_conns++;
    return conn;
}

static int conn_start(struct kv_http_conn *conn, struct kv_http_listener *listener)
{
    int rc = 0;
    if (uv_accept(&listener->io.stream, &conn->io.stream) != 0)
        return KV_E_IO;
    conn->peer.is_unix = listener->is_unix;
    KV_TRY(kv_http_peer_find(conn));
    if (is_peer_over_limit(conn)) {
        if (kv_http_server_may_warn(conn->server))
            kv_log(conn->server->log, KV_LOG_WARN, "http.peer-over-limit",
                   KV_S("peer", conn->peer.address), KV_I("uid", conn->peer.uid));
        return KV_E_FULL;
    }
    if (!listener->is_unix) {
        (void)uv_tcp_nodelay(&conn->io.tcp, 1); /* slower without, not wrong */
        KV_TRY(kv_http_tls_start(conn, conn->server->tls));
    }
    kv_http_conn_phase(conn, listener->is_unix ? KV_HTTP_IDLE : KV_HTTP_HANDSHAKE,
                       conn->server->limits.head_timeout_ms);
    update_reading(conn);
out:
    return rc;
}

void kv_http_conn_accept(struct kv_http_listener *listener)
{
    struct kv_http_conn *conn = conn_new(listener);
    if (conn == NULL) {
        listener->is_waiting = true;
        kv_http_listen_retry(listener->server);
        return;
    }
    if (conn_start(conn, listener) != 0)
        kv_http_conn_close(conn);
}
