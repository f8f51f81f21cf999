/*
 * The keyring's end of a window (struct kv_window).
 *
 * The client can write to the whole page at any moment. So nothing is believed twice:
 * the number and the length are read once, the frame is copied before it is looked at,
 * and what stands in `reply` and `answered` is never read. The seals keep the size,
 * hence touching the page cannot fault.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "store/keyring/channel_internal.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* A page that others can map; -1 on failure. */
static int make_page(struct kv_window **window)
{
    const int fd = memfd_create("keyvault-window", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    void *at = MAP_FAILED;
    if (ftruncate(fd, sizeof(struct kv_window)) == 0 &&
        fcntl(fd, F_ADD_SEALS, SEALS) == 0)
        at = mmap(NULL, sizeof(struct kv_window), PROT_READ | PROT_WRITE, MAP_SHARED,
                  fd, 0);
    if (at == MAP_FAILED) {
        close(fd);
        return -1;
    }
    *window = at;
    return fd;
}

/* One reply and two descriptors, all at once or not at all. */
static bool send_window(struct kv_conn *conn, const struct kv_frame *request,
                        const int fds[2])
{
    union {
        struct cmsghdr head;
        uint8_t space[CMSG_SPACE(2 * sizeof(int))];
    } control = {.space = {0}};
    struct kv_buf out;
    kv_buf_init(&out, KV_FRAME_HEADER_LEN);
    const struct kv_frame reply = {
        .id = request->id, .verb = request->verb, .flags = KV_FRAME_REPLY};
    kv_frame_end(&out, kv_frame_begin(&out, &reply));
    struct iovec bytes = {.iov_base = out.data, .iov_len = out.len};
    struct msghdr msg = {.msg_iov = &bytes,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(2 * sizeof(int));
    memcpy(CMSG_DATA(cmsg), fds, 2 * sizeof(int));
    const bool is_sent =
        kv_buf_status(&out) == 0 &&
        sendmsg(conn->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == KV_FRAME_HEADER_LEN;
    kv_buf_free(&out);
    return is_sent;
}

/* The frame in the window, copied into the loop's buffer. */
static bool take_frame(struct kv_conn *conn, struct kv_frame *frame)
{
    const struct kv_window *window = conn->window;
    struct kv_wire wire;
    size_t frame_len = 0;
    kv_wire_init(&wire, window->request, sizeof(window->request));
    const size_t len = kv_wire_u32(&wire) + sizeof(uint32_t);
    if (len > sizeof(window->request))
        return false;
    memcpy(conn->loop->in, window->request, len);
    return kv_frame_decode(conn->loop->in, len, sizeof(window->request), frame,
                           &frame_len) == 1 &&
           frame_len == len && frame->verb == KV_VERB_SIGN;
}

static void on_bell(uv_poll_t *poll, int status, int events)
{
    struct kv_conn *conn = poll->data;
    struct kv_frame frame;
    uint64_t n_rings = 0;
    (void)events; /* only readable is asked for */
    const ssize_t n = read(conn->bell, &n_rings, sizeof(n_rings));
    if (status != 0 || (n < 0 && errno != EAGAIN)) {
        kv_conn_close(conn);
        return;
    }
    const uint32_t asked =
        atomic_load_explicit(&conn->window->asked, memory_order_acquire);
    if (asked == conn->n_asked)
        return;
    conn->n_asked++;
    if (asked != conn->n_asked || conn->is_window_busy || !take_frame(conn, &frame)) {
        kv_conn_close(conn);
        return;
    }
    conn->is_window_busy = true;
    kv_conn_serve_window(conn, &frame);
}

/* Everything of a window but its first use; what was made goes with kv_window_close. */
static int make_window(struct kv_conn *conn, int *page_fd)
{
    struct kv_window *window = NULL;
    *page_fd = make_page(&window);
    conn->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (*page_fd < 0 || conn->bell < 0 ||
        uv_poll_init(&conn->loop->loop, &conn->bell_poll, conn->bell) != 0) {
        if (window != NULL)
            (void)munmap(window, sizeof(*window)); /* just mapped */
        close_fd(conn->bell);
        return KV_E_NOMEM;
    }
    conn->bell_poll.data = conn;
    conn->n_handles++;
    conn->window = window;
    return 0;
}

int kv_window_open(struct kv_conn *conn, const struct kv_frame *request)
{
    int page_fd = -1;
    int rc = 0;
    if (conn->window != NULL)
        return KV_E_EXISTS;
    if (conn->unsent.len > 0) /* the descriptors cannot wait with it */
        return KV_E_BUSY;
    KV_TRY(make_window(conn, &page_fd));
    const int fds[2] = {page_fd, conn->bell};
    if (!send_window(conn, request, fds) ||
        uv_poll_start(&conn->bell_poll, UV_READABLE, on_bell) != 0)
        kv_conn_close(conn);
out:
    close_fd(page_fd);
    return rc;
}

void kv_window_answer(struct kv_conn *conn)
{
    struct kv_buf *out = &conn->loop->out;
    if (!conn->is_closed && out->len > 0) {
        if (kv_buf_status(out) != 0 || out->len > sizeof(conn->window->reply)) {
            kv_conn_close(conn);
        } else {
            memcpy(conn->window->reply, out->data, out->len);
            conn->is_window_busy = false;
            atomic_store_explicit(&conn->window->answered, conn->n_asked,
                                  memory_order_release);
            (void)syscall(SYS_futex, &conn->window->answered, FUTEX_WAKE, 1, NULL, NULL,
                          0); /* nobody waiting is fine */
        }
    }
    kv_buf_reset(out);
    if (conn->closes_when_sent)
        kv_conn_close(conn);
}

void kv_window_close(struct kv_conn *conn)
{
    struct kv_window *window = conn->window;
    if (window == NULL)
        return;
    conn->window = NULL;
    atomic_store(&window->is_closed, 1);
    (void)syscall(SYS_futex, &window->answered, FUTEX_WAKE, 1, NULL, NULL, 0);
    (void)munmap(window, sizeof(*window)); /* it was mapped */
    (void)uv_poll_stop(&conn->bell_poll);  /* cannot fail for a live handle */
    uv_close((uv_handle_t *)&conn->bell_poll, kv_conn_on_closed);
    close(conn->bell);
}
