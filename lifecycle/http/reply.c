/*
 * Requests as the handler sees them, and replies.
 *
 * A reply is written whole into the connection's secret output buffer: status line,
 * Date, Content-Length, Connection, the security headers, the handler's own, the body.
 */
#include "lifecycle/http/internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/core/clock.h"

static const char SECURITY_HEADERS[] =
    "Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Cache-Control: no-cache\r\n"
    "Pragma: no-cache\r\n"
    "Expires: -1\r\n";

static const struct {
    int status;
    const char *text;
} REASONS[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

static const char *reason_of(int status)
{
    for (size_t i = 0; i < sizeof(REASONS) / sizeof(REASONS[0]); i++)
        if (REASONS[i].status == status)
            return REASONS[i].text;
    return "";
}

/* ---- the request ---- */

const char *kv_http_method(const struct kv_http_request *request)
{
    return request->conn->parser->method;
}

const char *kv_http_path(const struct kv_http_request *request)
{
    return request->conn->parser->path;
}

const char *kv_http_query(const struct kv_http_request *request)
{
    return request->conn->parser->query;
}

const char *kv_http_header(const struct kv_http_request *request, const char *name)
{
    return kv_http_parser_header(request->conn->parser, name);
}

uint8_t *kv_http_body(struct kv_http_request *request, size_t *len)
{
    *len = request->conn->parser->body.len;
    return request->conn->parser->body.data;
}

const struct kv_http_peer *kv_http_peer(const struct kv_http_request *request)
{
    return &request->conn->peer;
}

void kv_http_on_gone(struct kv_http_request *request,
                     void (*cb)(void *arg, struct kv_http_request *request), void *arg)
{
    request->on_gone = cb;
    request->on_gone_arg = arg;
}

/* ---- the reply ---- */

int kv_http_reply_header(struct kv_http_request *request, const char *name,
                         const char *value)
{
    if (name[0] == '\0' || strpbrk(name, "\r\n: \t") != NULL ||
        strpbrk(value, "\r\n") != NULL)
        return KV_E_INVALID;
    struct kv_buf *headers = &request->headers;
    size_t before = headers->len;
    (void)kv_buf_append_str(headers, name); /* sticky: checked below */
    (void)kv_buf_append_str(headers, ": ");
    (void)kv_buf_append_str(headers, value);
    (void)kv_buf_append_str(headers, "\r\n");
    int rc = kv_buf_status(headers);
    if (rc != 0)
        kv_buf_truncate(headers, before);
    return rc;
}

/* RFC 9110 §5.6.7, whatever the locale. */
static void append_date(struct kv_buf *out)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = (time_t)kv_now_s(kv_clock_system());
    struct tm tm;
    if (gmtime_r(&now, &tm) == NULL)
        return;
    (void)kv_buf_appendf(out, "Date: %.3s, %02d %.3s %d %02d:%02d:%02d GMT\r\n",
                         days + (size_t)tm.tm_wday * 3, tm.tm_mday,
                         months + (size_t)tm.tm_mon * 3, tm.tm_year + 1900, tm.tm_hour,
                         tm.tm_min, tm.tm_sec);
}

/* Append a whole reply to conn->out; `headers` may be NULL. */
static int build(struct kv_http_conn *conn, const struct kv_http_reply *reply,
                 const struct kv_buf *headers, bool is_head_request)
{
    struct kv_buf *out = &conn->out;
    bool has_body = reply->status != 204 && reply->status != 304;
    size_t body_len = reply->content_type != NULL ? reply->body_len : 0;
    if (body_len > KV_HTTP_REPLY_MAX_BYTES)
        return KV_E_TOO_BIG;
    (void)kv_buf_appendf(out, "HTTP/1.1 %d %s\r\n", reply->status,
                         reason_of(reply->status)); /* sticky: checked below */
    append_date(out);
    if (has_body && reply->content_type != NULL) {
        (void)kv_buf_append_str(out, "Content-Type: ");
        (void)kv_buf_append_str(out, reply->content_type);
        (void)kv_buf_append_str(out, "\r\n");
    }
    if (has_body)
        (void)kv_buf_appendf(out, "Content-Length: %zu\r\n", body_len);
    (void)kv_buf_append_str(out, conn->is_last ? "Connection: close\r\n"
                                               : "Connection: keep-alive\r\n");
    (void)kv_buf_append(out, SECURITY_HEADERS, sizeof(SECURITY_HEADERS) - 1);
    if (headers != NULL && headers->len > 0)
        (void)kv_buf_append(out, headers->data, headers->len);
    (void)kv_buf_append_str(out, "\r\n");
    if (has_body && !is_head_request && body_len > 0)
        (void)kv_buf_append(out, reply->body, body_len);
    return kv_buf_status(out);
}

static void send_reply(struct kv_http_conn *conn)
{
    kv_http_conn_phase(conn, KV_HTTP_REPLY, conn->server->limits.write_timeout_ms);
    kv_http_conn_flush(conn);
}

/* A reply that comes before the body: skip a small body, give up the connection for
 * a large one. True when the parser is still needed. */
static bool is_body_to_skip(struct kv_http_conn *conn)
{
    struct kv_http_parser *parser = conn->parser;
    if (conn->phase != KV_HTTP_IN_BODY || parser->is_done)
        return false;
    if (parser->is_chunked || parser->wants_continue ||
        parser->body_announced > KV_HTTP_DISCARD_BYTES)
        conn->is_last = true;
    parser->is_discarding = true;
    return !conn->is_last;
}

void kv_http_reply(struct kv_http_request *request, const struct kv_http_reply *reply)
{
    struct kv_http_conn *conn = request->conn;
    KV_ASSERT(request->is_open);
    KV_ASSERT(reply->status >= 200 && reply->status <= 599);
    if (conn->phase == KV_HTTP_CLOSED) {
        kv_http_conn_reply_refused(conn);
        return;
    }
    if (reply->must_close || !conn->parser->is_keep_alive)
        conn->is_last = true;
    bool is_skipping = is_body_to_skip(conn);
    int rc = build(conn, reply, &request->headers,
                   strcmp(conn->parser->method, "HEAD") == 0);
    request->is_open = false;
    request->on_gone = NULL;
    if (!is_skipping)
        kv_http_conn_end_request(conn);
    if (rc != 0) {
        kv_log(conn->server->log, KV_LOG_ERROR, "http.reply-failed",
               KV_S("error", kv_code_text(rc)), KV_I("bytes", reply->body_len));
        kv_http_conn_close(conn);
        return;
    }
    send_reply(conn);
}

void kv_http_refuse(struct kv_http_conn *conn, int status, const char *reason)
{
    struct kv_http_server *server = conn->server;
    kv_log(server->log, KV_LOG_DEBUG, "http.refused", KV_S("peer", conn->peer.address),
           KV_I("status", status), KV_S("reason", reason));
    kv_http_conn_drop_request(conn);
    bool is_head_request = conn->parser != NULL && conn->parser->method != NULL &&
                           strcmp(conn->parser->method, "HEAD") == 0;
    kv_http_conn_end_request(conn);
    conn->is_last = true;
    struct kv_buf body;
    kv_buf_init(&body, KV_HTTP_READ_BYTES);
    struct kv_http_reply reply = {.status = status};
    if (server->handler.on_error != NULL)
        reply.content_type =
            server->handler.on_error(server->handler.arg, status, &body);
    reply.body = body.data;
    reply.body_len = body.len;
    struct kv_buf headers;
    kv_buf_init(&headers, 128);
    if (status == 405)
        (void)kv_buf_append_str(
            &headers, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
    int rc = build(conn, &reply, &headers, is_head_request);
    kv_buf_free(&headers);
    kv_buf_free(&body);
    if (rc != 0)
        kv_http_conn_close(conn);
    else
        send_reply(conn);
}

void kv_http_send_continue(struct kv_http_conn *conn)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (kv_buf_append(&conn->out, text, sizeof(text) - 1) != 0)
        kv_http_conn_close(conn);
    else
        kv_http_conn_flush(conn);
}
