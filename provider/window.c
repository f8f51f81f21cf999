/*
 * A window costs its connection a memory mapping and a descriptor, so programs that
 * sign a few times do without.
 *
 * The keyring is trusted with keys, but a reply is still copied before it is decoded,
 * by the same code as for the socket. Whether the keyring is there at all does not show
 * in the page: a wait goes on in slices, and between them the socket is looked at.
 */
#include "provider/window.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "store/core/clock.h"

#define SIGNS_BEFORE 16
#define SLICE_MS 50
#define REPLY_MAX                                                                      \
    1024 /* a refusal with its words; what is longer ends the connection */

bool kv_window_is_due(struct kv_conn *conn)
{
    if (conn->n_signs > SIGNS_BEFORE)
        return false;
    conn->n_signs++;
    return conn->n_signs == SIGNS_BEFORE && conn->on_wait == NULL;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        (void)close(fd); /* ours without doubt: just received */
}

/* Take the two descriptors out of a message. */
static bool take_fds(struct msghdr *msg, int fds[2])
{
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
    if (cmsg == NULL || cmsg->cmsg_level != SOL_SOCKET ||
        cmsg->cmsg_type != SCM_RIGHTS || cmsg->cmsg_len != CMSG_LEN(2 * sizeof(int)))
        return false;
    memcpy(fds, CMSG_DATA(cmsg), 2 * sizeof(int));
    return true;
}

/* The reply to WINDOW, which has come in conn->in with these descriptors or none. */
static int check_reply(const struct kv_conn *conn, bool has_fds)
{
    struct kv_frame reply;
    size_t frame_len = 0;
    if (kv_frame_decode(conn->in.data, conn->in.len, KV_FRAME_MAX, &reply,
                        &frame_len) != 1 ||
        frame_len != conn->in.len || reply.verb != KV_VERB_WINDOW ||
        reply.id != conn->next_id)
        return KV_E_UNAVAILABLE;
    return reply.status == 0 && has_fds ? 0 : KV_E_UNSUPPORTED;
}

static int receive_fds(struct kv_conn *conn, int64_t deadline_ms, int fds[2])
{
    union {
        struct cmsghdr head;
        uint8_t space[CMSG_SPACE(2 * sizeof(int))];
    } control;
    int rc = kv_conn_wait(conn, POLLIN, deadline_ms);
    if (rc != 0)
        return rc;
    kv_buf_reset(&conn->in);
    uint8_t *at = kv_buf_extend(&conn->in, REPLY_MAX);
    if (at == NULL)
        return KV_E_NOMEM;
    struct iovec iov = {.iov_base = at, .iov_len = REPLY_MAX};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(conn->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    kv_buf_truncate(&conn->in, n > 0 ? (size_t)n : 0);
    return n <= 0 ? KV_E_UNAVAILABLE : check_reply(conn, take_fds(&msg, fds));
}

static int map(struct kv_conn *conn, const int fds[2])
{
    struct stat page;
    struct stat bell;
    if (fds[1] <= STDERR_FILENO || fstat(fds[0], &page) != 0 ||
        fstat(fds[1], &bell) != 0 || page.st_size != sizeof(struct kv_window) ||
        (fcntl(fds[0], F_GET_SEALS) & F_SEAL_SHRINK) == 0)
        return KV_E_UNSUPPORTED;
    void *at = mmap(NULL, sizeof(struct kv_window), PROT_READ | PROT_WRITE, MAP_SHARED,
                    fds[0], 0);
    if (at == MAP_FAILED)
        return KV_E_UNSUPPORTED;
    conn->window = at;
    conn->bell = fds[1];
    conn->bell_dev = bell.st_dev;
    conn->bell_ino = bell.st_ino;
    return 0;
}

int kv_window_open(struct kv_conn *conn, int64_t deadline_ms)
{
    int fds[2] = {-1, -1};
    struct kv_buf out;
    kv_buf_init(&out, KV_FRAME_HEADER_LEN);
    conn->next_id++;
    kv_frame_end(&out,
                 kv_frame_begin(&out, &(struct kv_frame){.id = conn->next_id,
                                                         .verb = KV_VERB_WINDOW}));
    int rc = kv_buf_status(&out) != 0 ? KV_E_NOMEM : 0;
    if (rc == 0 && send(conn->fd, out.data, out.len, MSG_DONTWAIT | MSG_NOSIGNAL) !=
                       (ssize_t)out.len)
        rc = KV_E_UNAVAILABLE;
    kv_buf_free(&out);
    if (rc == 0)
        rc = receive_fds(conn, deadline_ms, fds);
    if (rc == 0)
        rc = map(conn, fds);
    close_fd(fds[0]);
    if (conn->window == NULL)
        close_fd(fds[1]);
    return rc == KV_E_UNSUPPORTED ? 0 : rc;
}

static bool is_ours(const struct kv_conn *conn)
{
    struct stat st;
    return fstat(conn->bell, &st) == 0 && st.st_dev == conn->bell_dev &&
           st.st_ino == conn->bell_ino;
}

bool kv_window_takes(const struct kv_conn *conn, const struct kv_frame *frame)
{
    return conn->window != NULL && frame->verb == KV_VERB_SIGN &&
           conn->out.len <= sizeof(conn->window->request);
}

/* Whether the keyring has gone; it sends nothing by the socket meanwhile. */
static bool is_lost(const struct kv_conn *conn)
{
    struct pollfd pfd = {.fd = conn->fd, .events = POLLIN};
    return atomic_load(&conn->window->is_closed) != 0 || poll(&pfd, 1, 0) != 0;
}

static int wait_for_answer(const struct kv_conn *conn, uint32_t asked,
                           int64_t deadline_ms)
{
    static const struct timespec slice = {.tv_nsec = SLICE_MS * 1000000L};
    struct kv_window *window = conn->window;
    for (;;) {
        uint32_t seen = atomic_load_explicit(&window->answered, memory_order_acquire);
        if (seen == asked)
            return 0;
        /* Whatever ends the wait, the number tells. */
        (void)syscall(SYS_futex, &window->answered, FUTEX_WAIT, seen, &slice, NULL, 0);
        if (atomic_load_explicit(&window->answered, memory_order_acquire) == asked)
            return 0;
        if (is_lost(conn))
            return KV_E_UNAVAILABLE;
        if (kv_monotonic_ms(kv_clock_system()) >= deadline_ms)
            return KV_E_TIMEOUT;
    }
}

int kv_window_exchange(struct kv_conn *conn, int64_t deadline_ms)
{
    static const uint64_t one = 1;
    struct kv_window *window = conn->window;
    memcpy(window->request, conn->out.data, conn->out.len);
    uint32_t asked = atomic_load_explicit(&window->asked, memory_order_relaxed) + 1;
    atomic_store_explicit(&window->asked, asked, memory_order_release);
    if (!is_ours(conn) || write(conn->bell, &one, sizeof(one)) != sizeof(one))
        return KV_E_UNAVAILABLE;
    int rc = wait_for_answer(conn, asked, deadline_ms);
    if (rc != 0)
        return rc;
    struct kv_wire wire;
    kv_wire_init(&wire, window->reply, sizeof(window->reply));
    size_t len = kv_wire_u32(&wire);
    if (len > sizeof(window->reply) - sizeof(uint32_t))
        return KV_E_INVALID;
    kv_buf_reset(&conn->in);
    return kv_buf_append(&conn->in, window->reply, sizeof(uint32_t) + len);
}

void kv_window_close(struct kv_conn *conn)
{
    if (conn->window == NULL)
        return;
    (void)munmap(conn->window, sizeof(*conn->window)); /* it was mapped */
    conn->window = NULL;
    if (is_ours(conn))
        (void)close(conn->bell); /* nothing to do about a failed close */
    conn->bell = -1;
}
