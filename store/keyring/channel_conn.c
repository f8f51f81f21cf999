/*
 * One connection on its loop.
 *
 *   readable -> recv into the loop's buffer -> serve each whole frame -> one send
 *
 * Replies gather in the loop's buffer and leave in one send. One turn reads a few
 * frames at most, so that a client which sends thousands ahead does not hold up the
 * others of its loop. A frame that is not whole yet moves to the connection's own
 * buffer; what the socket does not take moves to `unsent`, and until it is gone nothing
 * more is read from this client, so that a client that does not read costs bounded
 * memory and is closed after a while. Frames that wait for the service or the pool keep
 * the connection's memory, not its socket.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "store/keyring/channel_internal.h"

#define TURN_BYTES 2048 /* some thirty signatures */
#define UNSENT_MAX ((KV_CONN_WORKS_MAX + (size_t)4) * KV_FRAME_MAX)
#define UNSENT_ALL_MAX ((size_t)64 * 1024 * 1024) /* of all connections */
#define ASKS_MAX 3

static void maybe_free(struct kv_conn *conn)
{
    if (!conn->is_freed || conn->n_works > 0)
        return;
    kv_buf_free(&conn->in);
    kv_buf_free(&conn->unsent);
    free(conn);
}

static void on_closed(uv_handle_t *handle)
{
    struct kv_conn *conn = handle->data;
    conn->is_freed = true;
    maybe_free(conn);
}

/* Account for what is unsent; false when all connections together hold too much. */
static bool note_unsent(struct kv_conn *conn)
{
    atomic_size_t *total = &conn->loop->channel->n_unsent;
    if (conn->unsent.len >= conn->n_noted)
        atomic_fetch_add(total, conn->unsent.len - conn->n_noted);
    else
        atomic_fetch_sub(total, conn->n_noted - conn->unsent.len);
    conn->n_noted = conn->unsent.len;
    return conn->n_noted <= KV_FRAME_MAX || atomic_load(total) <= UNSENT_ALL_MAX;
}

void kv_conn_close(struct kv_conn *conn)
{
    if (conn->is_closed)
        return;
    struct kv_loop *loop = conn->loop;
    conn->is_closed = true;
    if (conn->prev != NULL)
        conn->prev->next = conn->next;
    else
        loop->conns = conn->next;
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    if (--loop->n_conns == 0)
        (void)uv_timer_stop(&loop->timer); /* cannot fail for a live handle */
    (void)uv_poll_stop(&conn->poll);       /* the same */
    uv_close((uv_handle_t *)&conn->poll, on_closed);
    close(conn->fd);
    kv_caps_leave(&loop->channel->caps, KV_CAP_CONNS, conn->peer.uid);
    kv_buf_free(&conn->unsent);
    (void)note_unsent(conn);
}

static void on_ready(uv_poll_t *poll, int status, int events);

static void watch(struct kv_conn *conn, int events)
{
    if (conn->is_closed || conn->events == events)
        return;
    conn->events = events;
    if (uv_poll_start(&conn->poll, events, on_ready) != 0)
        kv_conn_close(conn);
}

/* Append one whole reply to the loop's buffer; on failure the error instead. */
static void put_reply(struct kv_conn *conn, const struct kv_frame *request, int rc,
                      struct kv_bytes payload, const struct kv_err *err)
{
    struct kv_buf *out = &conn->loop->out;
    const struct kv_frame reply = {.id = request->id,
                                   .verb = request->verb,
                                   .flags = KV_FRAME_REPLY,
                                   .status = rc};
    const size_t begin = kv_frame_begin(out, &reply);
    if (rc == 0)
        kv_wire_put_raw(out, payload.data, payload.len);
    else
        kv_msg_error_put(out, err);
    kv_frame_end(out, begin);
}

static void put_error(struct kv_conn *conn, const struct kv_frame *request, int rc,
                      const struct kv_err *err)
{
    struct kv_err plain = KV_ERR_INIT;
    if (err->code == 0) {
        (void)kv_err_set(&plain, rc, "channel.failed", "the operation failed: %s",
                         kv_code_text(rc));
        err = &plain;
    }
    put_reply(conn, request, rc, (struct kv_bytes){NULL, 0}, err);
    if (strcmp(err->id, "channel.bad-frame") == 0)
        conn->closes_when_sent = true;
}

/* Send what the loop's buffer holds. */
static void flush_replies(struct kv_conn *conn)
{
    struct kv_buf *out = &conn->loop->out;
    if (!conn->is_closed && (kv_buf_status(out) != 0 ||
                             (conn->unsent.len > 0 &&
                              kv_buf_append(&conn->unsent, out->data, out->len) != 0)))
        kv_conn_close(conn);
    if (conn->is_closed || (out->len == 0 && conn->unsent.len == 0)) {
        kv_buf_reset(out);
        return;
    }
    struct kv_buf *from = conn->unsent.len > 0 ? &conn->unsent : out;
    const ssize_t n =
        send(conn->fd, from->data, from->len, MSG_DONTWAIT | MSG_NOSIGNAL);
    const size_t sent = n > 0 ? (size_t)n : 0;
    const bool is_gone = n < 0 && errno != EAGAIN && errno != EINTR;
    const bool was_stalled = conn->unsent.len > 0;
    if (from == &conn->unsent)
        kv_buf_consume(&conn->unsent, sent);
    if (is_gone ||
        (from == out && sent < out->len &&
         kv_buf_append(&conn->unsent, out->data + sent, out->len - sent) != 0) ||
        !note_unsent(conn))
        kv_conn_close(conn);
    kv_buf_reset(out);
    if (conn->is_closed)
        return;
    if (conn->unsent.len == 0) {
        kv_buf_free(&conn->unsent);
        if (conn->closes_when_sent)
            kv_conn_close(conn);
        watch(conn, UV_READABLE);
        return;
    }
    if (!was_stalled || sent > 0)
        conn->stall_ms = uv_now(&conn->loop->loop);
    watch(conn, UV_WRITABLE);
}

/* A frame that begins to wait elsewhere; NULL when too many do. */
static struct kv_work *work_begin(struct kv_conn *conn, const struct kv_frame *frame)
{
    struct kv_channel *channel = conn->loop->channel;
    if (conn->n_works >= KV_CONN_WORKS_MAX || atomic_load(&channel->is_shut) ||
        !kv_caps_enter(&channel->caps, KV_CAP_WORKS, conn->peer.uid))
        return NULL;
    struct kv_work *work =
        kv_work_new(KV_WORK_ASK, frame, KV_FRAME_MAX - KV_FRAME_HEADER_LEN);
    if (work == NULL) {
        kv_caps_leave(&channel->caps, KV_CAP_WORKS, conn->peer.uid);
        return NULL;
    }
    work->conn = conn;
    work->home = &conn->loop->queue;
    work->peer = conn->peer;
    work->begun_us = kv_ring_now_us(channel->config.ring);
    conn->n_works++;
    atomic_fetch_add(&channel->n_works, 1);
    return work;
}

static void work_end(struct kv_conn *conn, struct kv_work *work)
{
    struct kv_channel *channel = conn->loop->channel;
    kv_caps_leave(&channel->caps, KV_CAP_WORKS, conn->peer.uid);
    conn->n_works--;
    atomic_fetch_sub(&channel->n_works, 1);
    kv_work_free(work);
}

/* Let a frame wait elsewhere. `work` is NULL for a frame that comes from the socket;
 * else the frame stands in it. */
static void park(struct kv_conn *conn, const struct kv_frame *frame,
                 struct kv_work *work, int how, const struct kv_ask *ask)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_channel *channel = conn->loop->channel;
    if (work == NULL)
        work = work_begin(conn, frame);
    if (work == NULL)
        goto busy;
    kv_buf_reset(&work->out);
    work->err = KV_ERR_INIT;
    work->rc = 0;
    if (how == KV_SERVE_ASK && work->n_asks < ASKS_MAX) {
        work->kind = KV_WORK_ASK;
        work->ask = *ask;
        work->n_asks++;
        kv_queue_push(channel->config.asks, work);
        return;
    }
    work->kind = KV_WORK_POOL;
    if (how == KV_SERVE_SLOW && kv_pool_push(channel->config.pool, work))
        return;
busy:
    (void)kv_err_set(&err, KV_E_BUSY, "channel.busy",
                     "too many operations are waiting");
    put_error(conn, frame, KV_E_BUSY, &err);
    if (work != NULL)
        work_end(conn, work); /* and with it the frame */
}

static void serve_frame(struct kv_conn *conn, const struct kv_frame *frame,
                        struct kv_work *work)
{
    static _Thread_local struct kv_ask ask;
    struct kv_err err = KV_ERR_INIT;
    struct kv_loop *loop = conn->loop;
    const struct kv_serve serve = {.ring = loop->channel->config.ring,
                                   .slot = loop->slot,
                                   .begun_us = work != NULL ? work->begun_us : 0,
                                   .peer = conn->peer};
    const struct kv_frame reply = {
        .id = frame->id, .verb = frame->verb, .flags = KV_FRAME_REPLY};
    const size_t begin = kv_frame_begin(&loop->out, &reply);
    const int rc = kv_serve(&serve, frame, &loop->out, &ask, &err);
    if (rc == 0) {
        kv_frame_end(&loop->out, begin);
    } else {
        kv_buf_truncate(&loop->out, begin);
        if (rc > 0) {
            park(conn, frame, work, rc, &ask);
            return;
        }
        put_error(conn, frame, rc, &err);
    }
    if (work != NULL)
        work_end(conn, work);
}

static void refuse_frame(struct kv_conn *conn)
{
    struct kv_err err = KV_ERR_INIT;
    (void)kv_err_set(&err, KV_E_INVALID, "channel.bad-frame", "the frame is malformed");
    put_error(conn, &(struct kv_frame){.id = 0}, KV_E_INVALID, &err);
}

/* Serve every whole frame at the front of `data`; returns how many bytes that took. */
static size_t serve_all(struct kv_conn *conn, const uint8_t *data, size_t len)
{
    size_t done = 0;
    while (!conn->closes_when_sent) {
        struct kv_frame frame;
        size_t frame_len = 0;
        const int rc =
            kv_frame_decode(data + done, len - done, KV_FRAME_MAX, &frame, &frame_len);
        if (rc == 0)
            break;
        if (rc < 0) {
            refuse_frame(conn);
            break;
        }
        serve_frame(conn, &frame, NULL);
        done += frame_len;
    }
    return done;
}

/* `n` new bytes stand in the loop's buffer. */
static void take_bytes(struct kv_conn *conn, size_t n)
{
    struct kv_loop *loop = conn->loop;
    if (conn->in.len == 0) {
        const size_t done = serve_all(conn, loop->in, n);
        if (done < n && kv_buf_append(&conn->in, loop->in + done, n - done) != 0) {
            kv_conn_close(conn);
            return;
        }
        if (done < n)
            conn->stall_ms = uv_now(&loop->loop);
    } else {
        if (kv_buf_append(&conn->in, loop->in, n) != 0) {
            kv_conn_close(conn);
            return;
        }
        const size_t done = serve_all(conn, conn->in.data, conn->in.len);
        kv_buf_consume(&conn->in, done);
        if (done > 0)
            conn->stall_ms = uv_now(&loop->loop);
    }
    if (conn->in.len == 0)
        kv_buf_free(&conn->in); /* half frames are rare */
    flush_replies(conn);
}

/* How much to read: a few frames, or what the one that has begun still lacks. */
static size_t turn_bytes(const struct kv_conn *conn)
{
    struct kv_wire wire;
    kv_wire_init(&wire, conn->in.data, conn->in.len);
    const size_t frame_len = kv_wire_u32(&wire) + sizeof(uint32_t); /* 4 if unknown */
    if (frame_len <= conn->in.len || frame_len > KV_FRAME_MAX)
        return TURN_BYTES;
    const size_t missing = frame_len - conn->in.len;
    return conn->in.len < sizeof(uint32_t) ? TURN_BYTES : missing;
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct kv_conn *conn = poll->data;
    if (status != 0) {
        kv_conn_close(conn);
        return;
    }
    if ((events & UV_WRITABLE) != 0) {
        flush_replies(conn);
        return;
    }
    struct kv_loop *loop = conn->loop;
    const ssize_t n = recv(conn->fd, loop->in, turn_bytes(conn), MSG_DONTWAIT);
    if (n > 0)
        take_bytes(conn, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        kv_conn_close(conn);
}

void kv_conn_start(struct kv_loop *loop, struct kv_work *work)
{
    struct kv_conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL || loop->is_stopping ||
        uv_poll_init(&loop->loop, &conn->poll, work->fd) != 0) {
        close(work->fd);
        kv_caps_leave(&loop->channel->caps, KV_CAP_CONNS, work->peer.uid);
        free(conn);
        kv_work_free(work);
        return;
    }
    conn->poll.data = conn;
    conn->loop = loop;
    conn->fd = work->fd;
    conn->peer = work->peer;
    kv_buf_init_secret(&conn->in, (size_t)2 * KV_FRAME_MAX);
    kv_buf_init_secret(&conn->unsent, UNSENT_MAX);
    conn->next = loop->conns;
    if (loop->conns != NULL)
        loop->conns->prev = conn;
    loop->conns = conn;
    loop->n_conns++;
    const size_t n = work->bytes.len;
    KV_ASSERT(n <= sizeof(loop->in));
    memcpy(loop->in, work->bytes.data, n);
    kv_work_free(work);
    watch(conn, UV_READABLE);
    if (!conn->is_closed)
        take_bytes(conn, n);
}

void kv_conn_resume(struct kv_work *work)
{
    struct kv_conn *conn = work->conn;
    if (!conn->is_closed) {
        const bool is_again = work->kind == KV_WORK_ASK && work->rc == KV_SERVE_AGAIN;
        const bool must_ask = work->kind == KV_WORK_POOL && work->rc == KV_SERVE_ASK;
        if (is_again || must_ask) {
            serve_frame(conn, &work->frame, work);
            flush_replies(conn);
            return;
        }
        if (work->rc == 0)
            put_reply(conn, &work->frame, 0,
                      (struct kv_bytes){work->out.data, work->out.len}, &work->err);
        else
            put_error(conn, &work->frame, work->rc < 0 ? work->rc : KV_E_BUSY,
                      &work->err);
        flush_replies(conn);
    }
    work_end(conn, work);
    maybe_free(conn);
}

void kv_conn_check_stall(struct kv_conn *conn, uint64_t now_ms)
{
    if (conn->in.len == 0 && conn->unsent.len == 0)
        return;
    if (now_ms - conn->stall_ms > KV_CONN_STALL_MS)
        kv_conn_close(conn);
}
