/*
 * The private channel on the main loop.
 *
 *   service -> request -> served here, or pool -> reply
 *   loop -> question -> asks.c -> service -> answer -> loop
 *
 * Nothing is believed of the peer but its uid, which the kernel vouches for. A second
 * connection of that uid replaces the first: after a crash the old socket may linger.
 */
#include "store/keyring/role_channel.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "store/keyring/asks.h"
#include "store/keyring/channel.h"
#include "store/keyring/role_serve.h"

#define READ_BYTES 65536
#define UNSENT_MAX ((size_t)64 * 1024 * 1024)
#define WORKS_MAX 256
#define TICK_MS 100
#define WARN_EACH_MS 60000

/* The service's connection. */
struct link {
    uv_poll_t poll;
    struct kv_role_channel *channel;
    int fd;
    int events;
    bool is_closed;
    bool is_freed;
    bool has_said_hello;
    unsigned n_works;
    struct kv_buf in;
    struct kv_buf out;
};

struct kv_role_channel {
    struct kv_role_channel_config config;
    struct kv_asks *asks;
    struct kv_queue queue;
    uv_timer_t timer;
    uv_poll_t listener;
    int listen_fd;
    struct link *link; /* the one that counts, or NULL */
    unsigned n_works;
    bool is_shut;
    uint64_t warned_ms;
    uint8_t bytes[READ_BYTES];
};

static void maybe_free(struct link *link)
{
    if (!link->is_freed || link->n_works > 0)
        return;
    kv_buf_free(&link->in);
    kv_buf_free(&link->out);
    free(link);
}

static void on_link_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;
    link->is_freed = true;
    maybe_free(link);
}

static void hang_up(struct link *link, const char *why)
{
    struct kv_role_channel *channel = link->channel;
    if (link->is_closed)
        return;
    link->is_closed = true;
    uv_close((uv_handle_t *)&link->poll, on_link_closed);
    close(link->fd);
    if (channel->link != link)
        return;
    channel->link = NULL;
    kv_asks_unsend(channel->asks);
    kv_ring_set_service(channel->config.ring, false);
    kv_log(channel->config.log, KV_LOG_INFO, "keyring.service-gone", KV_S("why", why));
}

static void on_link_ready(uv_poll_t *poll, int status, int events);

static void flush_link(struct link *link)
{
    if (link->is_closed)
        return;
    if (kv_buf_status(&link->out) != 0) {
        hang_up(link, "replies were not read");
        return;
    }
    if (link->out.len > 0) {
        const ssize_t n =
            send(link->fd, link->out.data, link->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            hang_up(link, "write failed");
            return;
        }
        if (n > 0)
            kv_buf_consume(&link->out, (size_t)n);
    }
    /* The service writes large requests while replies wait: keep reading. */
    const int events = link->out.len > 0 ? UV_READABLE | UV_WRITABLE : (int)UV_READABLE;
    if (events != link->events) {
        link->events = events;
        if (uv_poll_start(&link->poll, events, on_link_ready) != 0)
            hang_up(link, "poll failed");
    }
}

static void put_reply(struct link *link, const struct kv_frame *request, int rc,
                      const struct kv_buf *payload, const struct kv_err *err)
{
    struct kv_err plain = KV_ERR_INIT;
    const struct kv_frame reply = {.id = request->id,
                                   .verb = request->verb,
                                   .flags = KV_FRAME_REPLY,
                                   .status = rc};
    if (link->is_closed)
        return;
    if (rc != 0 && err->code == 0) {
        (void)kv_err_set(&plain, rc, "channel.failed", "the operation failed: %s",
                         kv_code_text(rc));
        err = &plain;
    }
    const size_t begin = kv_frame_begin(&link->out, &reply);
    if (rc == 0)
        kv_wire_put_raw(&link->out, payload->data, payload->len);
    else
        kv_msg_error_put(&link->out, err);
    kv_frame_end(&link->out, begin);
}

static void send_asks(struct kv_role_channel *channel)
{
    struct link *link = channel->link;
    if (link == NULL || !link->has_said_hello)
        return;
    kv_asks_send(channel->asks, &link->out);
    flush_link(link);
}

static void to_pool(struct link *link, const struct kv_frame *frame)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_role_channel *channel = link->channel;
    struct kv_work *work = NULL;
    if (channel->n_works < WORKS_MAX)
        work = kv_work_new(KV_WORK_ROLE, frame, KV_FRAME_MAX_ROLE);
    if (work != NULL) {
        work->home = &channel->queue;
        work->conn = link;
        work->begun_us = kv_ring_now_us(channel->config.ring);
        link->n_works++;
        channel->n_works++;
        if (kv_pool_push(channel->config.pool, work))
            return;
        link->n_works--;
        channel->n_works--;
        kv_work_free(work);
    }
    (void)kv_err_set(&err, KV_E_BUSY, "channel.busy",
                     "too many operations are waiting");
    put_reply(link, frame, KV_E_BUSY, NULL, &err);
}

static void on_hello(struct link *link)
{
    struct kv_role_channel *channel = link->channel;
    if (link->has_said_hello)
        return;
    link->has_said_hello = true;
    kv_ring_set_service(channel->config.ring, true);
    kv_log(channel->config.log, KV_LOG_INFO, "keyring.service-here",
           KV_I("uid", channel->config.service_uid));
    kv_asks_send(channel->asks, &link->out);
}

static void serve_request(struct link *link, const struct kv_frame *frame)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf out;
    struct kv_role_channel *channel = link->channel;
    if (kv_role_verb_is_slow(frame->verb)) {
        to_pool(link, frame);
        return;
    }
    kv_buf_init_secret(&out, KV_FRAME_MAX_ROLE - KV_FRAME_HEADER_LEN);
    const struct kv_serve serve = {.ring = channel->config.ring,
                                   .slot = channel->config.slot};
    const int rc = kv_role_serve(&serve, frame, &out, &err);
    put_reply(link, frame, rc, &out, &err);
    kv_buf_free(&out);
    if (rc == 0 && frame->verb == KV_ROLE_HELLO)
        on_hello(link);
}

static void take_frame(struct link *link, const struct kv_frame *frame)
{
    if (frame->flags == KV_FRAME_REPLY)
        (void)kv_asks_answer(link->channel->asks, frame); /* late ones are dropped */
    else
        serve_request(link, frame);
}

static void take_bytes(struct link *link)
{
    size_t done = 0;
    while (!link->is_closed) {
        struct kv_frame frame;
        size_t frame_len = 0;
        const int rc = kv_frame_decode(link->in.data + done, link->in.len - done,
                                       KV_FRAME_MAX_ROLE, &frame, &frame_len);
        if (rc == 0)
            break;
        if (rc < 0) {
            hang_up(link, "malformed frame");
            return;
        }
        take_frame(link, &frame);
        done += frame_len;
    }
    kv_buf_consume(&link->in, done);
    if (link->in.len == 0)
        kv_buf_reset(&link->in);
    flush_link(link);
}

static void on_link_ready(uv_poll_t *poll, int status, int events)
{
    struct link *link = poll->data;
    struct kv_role_channel *channel = link->channel;
    if (status != 0) {
        hang_up(link, "poll failed");
        return;
    }
    if ((events & UV_WRITABLE) != 0)
        flush_link(link);
    if ((events & UV_READABLE) == 0 || link->is_closed)
        return;
    const ssize_t n = recv(link->fd, channel->bytes, READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        hang_up(link, "the service hung up");
        return;
    }
    const int rc = kv_buf_append(&link->in, channel->bytes, (size_t)n);
    kv_wipe(channel->bytes, (size_t)n);
    if (rc != 0)
        hang_up(link, "frame too big");
    else
        take_bytes(link);
}

static void link_new(struct kv_role_channel *channel, int fd)
{
    struct link *link = calloc(1, sizeof(*link));
    if (link == NULL || uv_poll_init(channel->config.loop, &link->poll, fd) != 0) {
        close(fd);
        free(link);
        return;
    }
    link->poll.data = link;
    link->channel = channel;
    link->fd = fd;
    kv_buf_init_secret(&link->in, KV_FRAME_MAX_ROLE + (size_t)READ_BYTES);
    kv_buf_init_secret(&link->out, UNSENT_MAX);
    if (channel->link != NULL)
        hang_up(channel->link, "a newer connection came");
    channel->link = link;
    flush_link(link);
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
    struct kv_role_channel *channel = poll->data;
    struct kv_peer peer;
    (void)events; /* only readable is asked for */
    const int fd = status == 0 ? kv_accept_unix(channel->listen_fd, &peer) : -1;
    if (fd < 0) {
        /* Without this the loop would spin where descriptors ran out: the next tick
         * listens again. */
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            (void)uv_poll_stop(poll); /* cannot fail for a live handle */
        return;
    }
    if (peer.uid == channel->config.service_uid) {
        link_new(channel, fd);
        return;
    }
    close(fd);
    const uint64_t now_ms = uv_now(channel->config.loop);
    if (channel->warned_ms == 0 || now_ms - channel->warned_ms >= WARN_EACH_MS) {
        channel->warned_ms = now_ms;
        kv_log(channel->config.log, KV_LOG_WARN, "keyring.stranger",
               KV_I("uid", peer.uid), KV_I("pid", peer.pid));
    }
}

static void on_work(void *arg, struct kv_work *work)
{
    struct kv_role_channel *channel = arg;
    if (work->kind == KV_WORK_ASK) {
        const unsigned wait_ms = channel->config.ask_timeout_ms;
        const int64_t now_ms = (int64_t)uv_now(channel->config.loop);
        kv_asks_add(channel->asks, work,
                    now_ms + (wait_ms > 0 ? wait_ms : KV_ASK_TIMEOUT_MS));
        if (channel->is_shut)
            kv_asks_expire(channel->asks, INT64_MAX);
        send_asks(channel);
        return;
    }
    KV_ASSERT(work->kind == KV_WORK_ROLE);
    struct link *link = work->conn;
    put_reply(link, &work->frame, work->rc, &work->out, &work->err);
    flush_link(link);
    link->n_works--;
    channel->n_works--;
    kv_work_free(work);
    maybe_free(link);
}

static void on_tick(uv_timer_t *timer)
{
    struct kv_role_channel *channel = timer->data;
    if (!channel->is_shut && !uv_is_active((uv_handle_t *)&channel->listener))
        (void)uv_poll_start(&channel->listener, UV_READABLE,
                            on_listener); /* tried again at the next tick */
    kv_asks_expire(channel->asks, (int64_t)uv_now(channel->config.loop));
}

int kv_role_channel_open(struct kv_role_channel **out,
                         const struct kv_role_channel_config *config,
                         struct kv_err *err)
{
    int rc = 0;
    struct kv_role_channel *channel = calloc(1, sizeof(*channel));
    if (channel == NULL)
        return KV_E_NOMEM;
    channel->config = *config;
    channel->listen_fd = -1;
    channel->asks = kv_asks_new(config->ring, KV_ASKS_MAX);
    if (channel->asks == NULL) {
        rc = KV_E_NOMEM;
        goto out;
    }
    const mode_t mode = config->service_uid == geteuid() ? 0600 : 0666;
    channel->listen_fd = kv_listen_unix(config->path, mode, err);
    if (channel->listen_fd < 0) {
        rc = KV_E_IO;
        goto out;
    }
    KV_TRY(kv_queue_init(&channel->queue, config->loop, on_work, channel));
    KV_ASSERT(uv_timer_init(config->loop, &channel->timer) == 0);
    channel->timer.data = channel;
    KV_ASSERT(uv_timer_start(&channel->timer, on_tick, TICK_MS, TICK_MS) == 0);
    KV_ASSERT(uv_poll_init(config->loop, &channel->listener, channel->listen_fd) == 0);
    channel->listener.data = channel;
    KV_ASSERT(uv_poll_start(&channel->listener, UV_READABLE, on_listener) == 0);
    *out = channel;
    channel = NULL;
out:
    if (channel != NULL) {
        if (channel->listen_fd >= 0)
            close(channel->listen_fd);
        kv_role_channel_free(channel);
    }
    return rc;
}

struct kv_queue *kv_role_channel_asks(struct kv_role_channel *channel)
{
    return &channel->queue;
}

void kv_role_channel_shut(struct kv_role_channel *channel)
{
    channel->is_shut = true;
    uv_close((uv_handle_t *)&channel->listener, NULL);
    close(channel->listen_fd);
    if (channel->link != NULL)
        hang_up(channel->link, "the keyring stops");
    kv_asks_expire(channel->asks, INT64_MAX);
}

unsigned kv_role_channel_n_works(const struct kv_role_channel *channel)
{
    return channel->n_works;
}

void kv_role_channel_close(struct kv_role_channel *channel)
{
    uv_close((uv_handle_t *)&channel->timer, NULL);
    kv_queue_close(&channel->queue);
}

void kv_role_channel_free(struct kv_role_channel *channel)
{
    if (channel == NULL)
        return;
    kv_asks_free(channel->asks);
    free(channel);
}
