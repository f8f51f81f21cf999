/*
 * Sending: one slice at a time.
 *
 * `out` is plaintext to send, `wire` the slice that libuv holds. The next slice is made
 * only when the last one was taken by the kernel: a large reply to a slow reader costs
 * one slice of ciphertext, and each slice has its own deadline.
 */
#include "lifecycle/http/internal.h"

static int fill_plain(struct kv_http_conn *conn)
{
    size_t left = conn->out.len - conn->out_sent;
    size_t n = left < KV_HTTP_SLICE_BYTES ? left : KV_HTTP_SLICE_BYTES;
    if (n == 0)
        return 0;
    if (conn->out_sent == 0 && n == left) {
        struct kv_buf empty = conn->wire; /* give the whole buffer to libuv */
        conn->wire = conn->out;
        conn->out = empty;
        return 0;
    }
    int rc = kv_buf_append(&conn->wire, conn->out.data + conn->out_sent, n);
    conn->out_sent += n;
    return rc;
}

static void shut_cb(uv_shutdown_t *req, int status)
{
    if (status < 0)
        kv_http_conn_close(req->data);
}

static void on_written(uv_write_t *req, int status)
{
    struct kv_http_conn *conn = req->data;
    conn->is_writing = false;
    kv_buf_free(&conn->wire);
    if (conn->phase == KV_HTTP_CLOSED)
        return;
    if (status < 0) {
        kv_http_conn_close(conn);
        return;
    }
    kv_http_conn_flush(conn);
    if (!conn->is_writing && conn->phase == KV_HTTP_REPLY)
        kv_http_conn_reply_sent(conn);
}

void kv_http_conn_flush(struct kv_http_conn *conn)
{
    if (conn->is_writing || conn->phase == KV_HTTP_CLOSED)
        return;
    int rc = conn->ssl != NULL ? kv_http_tls_write(conn) : fill_plain(conn);
    if (conn->out_sent == conn->out.len) {
        kv_buf_free(&conn->out);
        conn->out_sent = 0;
    }
    if (rc != 0) {
        kv_http_conn_close(conn);
        return;
    }
    if (conn->wire.len == 0) {
        if (conn->phase == KV_HTTP_LINGER && !conn->is_shut) {
            conn->is_shut = true;
            conn->shutdown_req.data = conn;
            if (uv_shutdown(&conn->shutdown_req, &conn->io.stream, shut_cb) != 0)
                kv_http_conn_close(conn);
        }
        return;
    }
    uv_buf_t buf = uv_buf_init((char *)conn->wire.data, (unsigned)conn->wire.len);
    conn->write_req.data = conn;
    if (uv_write(&conn->write_req, &conn->io.stream, &buf, 1, on_written) != 0) {
        kv_http_conn_close(conn);
        return;
    }
    conn->is_writing = true;
    if (conn->phase == KV_HTTP_REPLY)
        kv_http_conn_phase(conn, KV_HTTP_REPLY, conn->server->limits.write_timeout_ms);
}
