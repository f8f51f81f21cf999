/*
 * Accepting. A new connection is a guest of the main loop until its HELLO is whole;
 * then descriptor and bytes move to the loop of the CPU that HELLO names, which
 * answers it. Guests have ten seconds and one frame.
 */
#include "store/keyring/channel.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "store/core/str.h"
#include "store/keyring/channel_internal.h"

#define GUEST_BYTES 4096
#define ACCEPTS_PER_TURN 64
#define TICK_MS 1000
#define WARN_EACH_MS 60000

/* A connection that has not said HELLO. */
struct kv_guest {
    uv_poll_t poll;
    struct kv_channel *channel;
    struct kv_guest *prev;
    struct kv_guest *next;
    struct kv_loop *to; /* where it moves once the handle is closed; NULL: nowhere */
    int fd;
    struct kv_peer peer;
    uint64_t since_ms;
    size_t len;
    uint8_t bytes[GUEST_BYTES];
};

static void on_guest_closed(uv_handle_t *handle)
{
    struct kv_guest *guest = handle->data;
    struct kv_channel *channel = guest->channel;
    struct kv_work *work =
        guest->to != NULL ? kv_work_new(KV_WORK_CONN, NULL, 0) : NULL;
    if (work != NULL && kv_buf_append(&work->bytes, guest->bytes, guest->len) == 0) {
        work->fd = guest->fd;
        work->peer = guest->peer;
        kv_queue_push(&guest->to->queue, work);
    } else {
        kv_work_free(work);
        close(guest->fd);
        kv_caps_leave(&channel->caps, KV_CAP_CONNS, guest->peer.uid);
    }
    free(guest);
}

static void guest_leave(struct kv_guest *guest, struct kv_loop *to)
{
    if (guest->prev != NULL)
        guest->prev->next = guest->next;
    else
        guest->channel->guests = guest->next;
    if (guest->next != NULL)
        guest->next->prev = guest->prev;
    guest->to = to;
    uv_close((uv_handle_t *)&guest->poll, on_guest_closed);
}

/* One reply, best effort, then the door. */
static void guest_refuse(struct kv_guest *guest, const struct kv_frame *request,
                         const struct kv_err *err)
{
    struct kv_buf out;
    kv_buf_init(&out, 4096);
    const struct kv_frame reply = {.id = request->id,
                                   .verb = request->verb,
                                   .flags = KV_FRAME_REPLY,
                                   .status = err->code};
    const size_t begin = kv_frame_begin(&out, &reply);
    kv_msg_error_put(&out, err);
    kv_frame_end(&out, begin);
    if (kv_buf_status(&out) == 0)
        (void)send(guest->fd, out.data, out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    kv_buf_free(&out);
    guest_leave(guest, NULL);
}

/* The loop pinned to this CPU, or any. */
static struct kv_loop *loop_of_cpu(struct kv_channel *channel, uint32_t cpu)
{
    KV_ASSERT(channel->n_loops > 0);
    for (unsigned i = 0; i < channel->n_loops; i++) {
        if (channel->loops[i].cpu >= 0 && (uint32_t)channel->loops[i].cpu == cpu)
            return &channel->loops[i];
    }
    return &channel->loops[cpu % channel->n_loops];
}

static void guest_hello(struct kv_guest *guest)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_frame frame = {.id = 0};
    struct kv_msg_hello hello = {.version = 0};
    size_t frame_len = 0;
    const int rc =
        kv_frame_decode(guest->bytes, guest->len, KV_FRAME_MAX, &frame, &frame_len);
    if (rc == 0 && guest->len < sizeof(guest->bytes))
        return;
    if (rc != 1)
        (void)kv_err_set(&err, KV_E_INVALID, "channel.bad-frame",
                         "the first frame is malformed");
    else if (frame.verb != KV_VERB_HELLO || frame.flags != 0 ||
             kv_msg_hello_get(frame.payload, &hello) != 0)
        (void)kv_err_set(&err, KV_E_INVALID, "channel.no-hello",
                         "the first frame must be HELLO");
    else if (hello.version != KV_PROTOCOL_VERSION)
        (void)kv_err_set(&err, KV_E_UNSUPPORTED, "channel.version",
                         "the client speaks version %u of the protocol, this is %d",
                         hello.version, KV_PROTOCOL_VERSION);
    if (err.code != 0) {
        guest_refuse(guest, &frame, &err);
        return;
    }
    guest_leave(guest, loop_of_cpu(guest->channel, hello.cpu));
}

static void on_guest_ready(uv_poll_t *poll, int status, int events)
{
    struct kv_guest *guest = poll->data;
    (void)events; /* only readable is asked for */
    const size_t room = sizeof(guest->bytes) - guest->len;
    const ssize_t n =
        status == 0 ? recv(guest->fd, guest->bytes + guest->len, room, MSG_DONTWAIT)
                    : 0;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        guest_leave(guest, NULL);
        return;
    }
    guest->len += (size_t)n;
    guest_hello(guest);
}

static void warn_full(struct kv_channel *channel, const char *why, uid_t uid)
{
    const int64_t now_ms = (int64_t)uv_now(channel->config.loop);
    if (channel->warned_ms != 0 && now_ms - channel->warned_ms < WARN_EACH_MS)
        return;
    channel->warned_ms = now_ms;
    kv_log(channel->config.log, KV_LOG_WARN, "channel.refused", KV_S("why", why),
           KV_I("uid", uid));
}

static void guest_new(struct kv_channel *channel, int fd, const struct kv_peer *peer)
{
    if (!kv_caps_enter(&channel->caps, KV_CAP_CONNS, peer->uid)) {
        warn_full(channel, "too many connections", peer->uid);
        close(fd);
        return;
    }
    struct kv_guest *guest = calloc(1, sizeof(*guest));
    if (guest == NULL || uv_poll_init(channel->config.loop, &guest->poll, fd) != 0) {
        close(fd);
        kv_caps_leave(&channel->caps, KV_CAP_CONNS, peer->uid);
        free(guest);
        return;
    }
    guest->poll.data = guest;
    guest->channel = channel;
    guest->fd = fd;
    guest->peer = *peer;
    guest->since_ms = uv_now(channel->config.loop);
    guest->next = channel->guests;
    if (channel->guests != NULL)
        channel->guests->prev = guest;
    channel->guests = guest;
    if (uv_poll_start(&guest->poll, UV_READABLE, on_guest_ready) != 0)
        guest_leave(guest, NULL);
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
    struct kv_channel *channel = poll->data;
    (void)events; /* only readable is asked for */
    if (status != 0)
        return;
    const int listen_fd = channel->listen_fds[poll - channel->listeners];
    for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct kv_peer peer;
        const int fd = kv_accept_unix(listen_fd, &peer);
        if (fd >= 0) {
            guest_new(channel, fd, &peer);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            /* Without this the loop would spin: the tick listens again. */
            warn_full(channel, strerrordesc_np(errno), 0);
            (void)uv_poll_stop(poll); /* cannot fail for a live handle */
        }
        if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct kv_channel *channel = timer->data;
    const uint64_t now_ms = uv_now(channel->config.loop);
    struct kv_guest *guest = channel->guests;
    while (guest != NULL) {
        struct kv_guest *next = guest->next;
        if (now_ms - guest->since_ms > KV_CONN_STALL_MS)
            guest_leave(guest, NULL);
        guest = next;
    }
    for (unsigned i = 0; i < 2 && channel->listen_fds[i] >= 0; i++) {
        if (!uv_is_active((uv_handle_t *)&channel->listeners[i]))
            (void)uv_poll_start(&channel->listeners[i], UV_READABLE,
                                on_listener); /* tried again at the next tick */
    }
}

unsigned kv_channel_n_loops(unsigned n_threads)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    unsigned n = n_threads;
    if (n == 0 && sched_getaffinity(0, sizeof(set), &set) == 0)
        n = (unsigned)CPU_COUNT(&set);
    if (n == 0)
        return 1;
    return n < KV_CHANNEL_THREADS_MAX ? n : KV_CHANNEL_THREADS_MAX;
}

/* Slots and CPUs of the loops. */
static int plan_loops(struct kv_channel *channel)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    const bool knows = sched_getaffinity(0, sizeof(set), &set) == 0;
    const unsigned n = kv_channel_n_loops(channel->config.n_threads);
    channel->loops = calloc(n, sizeof(*channel->loops));
    if (channel->loops == NULL)
        return KV_E_NOMEM;
    channel->n_loops = n;
    int cpu = -1;
    for (unsigned i = 0; i < n; i++) {
        do {
            cpu++;
        } while (knows && cpu < CPU_SETSIZE && !CPU_ISSET((unsigned)cpu, &set));
        channel->loops[i].channel = channel;
        channel->loops[i].slot = i;
        channel->loops[i].cpu = knows && cpu < CPU_SETSIZE ? cpu : -1;
    }
    return 0;
}

static int start_loops(struct kv_channel *channel)
{
    int rc = 0;
    KV_TRY(plan_loops(channel));
    KV_ASSERT(pthread_barrier_init(&channel->started, NULL, channel->n_loops + 1) == 0);
    for (unsigned i = 0; i < channel->n_loops; i++) {
        /* At start only, and memory is all that can be missing. */
        KV_ASSERT(kv_loop_start(&channel->loops[i]) == 0);
    }
    (void)pthread_barrier_wait(&channel->started); /* all are pinned */
out:
    return rc;
}

static int listen_both(struct kv_channel *channel, struct kv_err *err)
{
    char name[64];
    char id[2 * KV_ID_LEN + 1];
    kv_hex_encode(id, kv_ring_installation(channel->config.ring), KV_ID_LEN);
    (void)snprintf(name, sizeof(name), "@keyvault/%s/keys", id); /* always fits */
    channel->listen_fds[0] = kv_listen_unix(channel->config.path, 0666, err);
    if (channel->listen_fds[0] < 0)
        return KV_E_IO;
    /* Anybody may take an abstract name: that must not keep the keyring from serving.
     */
    struct kv_err reason = KV_ERR_INIT;
    channel->listen_fds[1] = kv_listen_unix(name, 0, &reason);
    if (channel->listen_fds[1] < 0)
        kv_log_err(channel->config.log, KV_LOG_WARN, "channel.no-twin", &reason);
    return 0;
}

/* These cannot fail for a loop and descriptors that are good. */
static void start_accepting(struct kv_channel *channel)
{
    uv_loop_t *loop = channel->config.loop;
    for (unsigned i = 0; i < 2 && channel->listen_fds[i] >= 0; i++) {
        KV_ASSERT(uv_poll_init(loop, &channel->listeners[i], channel->listen_fds[i]) ==
                  0);
        channel->listeners[i].data = channel;
        KV_ASSERT(uv_poll_start(&channel->listeners[i], UV_READABLE, on_listener) == 0);
    }
    KV_ASSERT(uv_timer_init(loop, &channel->timer) == 0);
    channel->timer.data = channel;
    KV_ASSERT(uv_timer_start(&channel->timer, on_tick, TICK_MS, TICK_MS) == 0);
}

/* How many descriptors this process may have. */
static uint64_t n_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return 0;
    return limit.rlim_cur;
}

int kv_channel_start(struct kv_channel **out, const struct kv_channel_config *config,
                     struct kv_err *err)
{
    int rc = 0;
    struct kv_channel *channel = calloc(1, sizeof(*channel));
    if (channel == NULL)
        return KV_E_NOMEM;
    channel->config = *config;
    channel->listen_fds[0] = -1;
    channel->listen_fds[1] = -1;
    kv_caps_init(&channel->caps, n_files());
    KV_TRY(listen_both(channel, err));
    KV_TRY(start_loops(channel));
    start_accepting(channel);
    *out = channel;
out:
    if (rc != 0) {
        for (unsigned i = 0; i < 2; i++) {
            if (channel->listen_fds[i] >= 0)
                close(channel->listen_fds[i]);
        }
        kv_caps_fini(&channel->caps);
        free(channel->loops);
        free(channel);
    }
    return rc;
}

void kv_channel_shut(struct kv_channel *channel)
{
    atomic_store(&channel->is_shut, true);
    for (unsigned i = 0; i < 2 && channel->listen_fds[i] >= 0; i++) {
        uv_close((uv_handle_t *)&channel->listeners[i], NULL);
        close(channel->listen_fds[i]);
    }
    uv_close((uv_handle_t *)&channel->timer, NULL);
    while (channel->guests != NULL)
        guest_leave(channel->guests, NULL);
}

unsigned kv_channel_n_works(const struct kv_channel *channel)
{
    return atomic_load(&channel->n_works);
}

void kv_channel_stop(struct kv_channel *channel)
{
    for (unsigned i = 0; i < channel->n_loops; i++) {
        struct kv_loop *loop = &channel->loops[i];
        struct kv_work *stop = kv_work_new(KV_WORK_STOP, NULL, 0);
        KV_ASSERT(stop != NULL);
        kv_queue_push(&loop->queue, stop);
        KV_ASSERT(pthread_join(loop->thread, NULL) == 0);
        KV_ASSERT(uv_loop_close(&loop->loop) == 0);
        kv_buf_free(&loop->out);
        kv_wipe(loop->in, sizeof(loop->in));
    }
    (void)pthread_barrier_destroy(&channel->started);
    kv_caps_fini(&channel->caps);
    free(channel->loops);
    free(channel);
}
