/*
 * One thread per window, blocked in reading the bell. Modes that are about frames and
 * verbs end the connection instead: what they do, they do on the next one's socket.
 */
#include "tests/support/fake_window.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/support/fake_hostile.h"

struct fake_window {
    struct kv_window *page;
    const _Atomic int *mode;
    fake_answer_fn answer;
    void *arg;
    pthread_t thread;
    _Atomic bool is_ending;
    int bell;
    int fd; /* of the connection */
};

static void wake(struct fake_window *window)
{
    (void)syscall(SYS_futex, &window->page->answered, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void put_answer(struct fake_window *window, uint32_t asked)
{
    struct kv_frame request;
    struct kv_buf out;
    size_t frame_len = 0;
    kv_buf_init(&out, KV_FRAME_MAX);
    if (kv_frame_decode(window->page->request, sizeof(window->page->request),
                        KV_FRAME_MAX, &request, &frame_len) == 1)
        window->answer(window->arg, &request, &out);
    if (out.len <= sizeof(window->page->reply))
        memcpy(window->page->reply, out.data, out.len);
    if (*window->mode == FAKE_WINDOW_LONG)
        memset(window->page->reply, 0xff, 4);
    if (*window->mode == FAKE_WINDOW_GARBAGE)
        memset(window->page->reply + 4, 0xff, 12);
    kv_buf_free(&out);
    atomic_store(&window->page->answered, asked);
    wake(window);
}

static void *serve(void *arg)
{
    struct fake_window *window = arg;
    uint64_t n_rings = 0;
    while (read(window->bell, &n_rings, sizeof(n_rings)) == sizeof(n_rings) &&
           !window->is_ending) {
        if (fake_hostile_applies(*window->mode, KV_VERB_SIGN)) {
            (void)shutdown(window->fd, SHUT_RDWR);
            return NULL;
        }
        if (*window->mode == FAKE_WINDOW_SILENT)
            wake(window);
        else
            put_answer(window, window->page->asked);
    }
    return NULL;
}

static int make_page(int mode, struct kv_window **page)
{
    const size_t len = mode == FAKE_WINDOW_SMALL ? 1024 : sizeof(**page);
    int fd = memfd_create("fake", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)len) != 0 ||
        (mode != FAKE_WINDOW_UNSEALED &&
         fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0))
        abort();
    *page = mmap(NULL, sizeof(**page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return fd;
}

static void send_fds(int fd, const struct kv_frame *request, const int *fds, size_t n)
{
    union {
        struct cmsghdr head;
        uint8_t space[CMSG_SPACE(2 * sizeof(int))];
    } control = {.space = {0}};
    struct kv_buf out;
    kv_buf_init(&out, KV_FRAME_MAX);
    kv_frame_end(&out,
                 kv_frame_begin(&out, &(struct kv_frame){.id = request->id,
                                                         .verb = request->verb,
                                                         .flags = KV_FRAME_REPLY}));
    struct iovec bytes = {.iov_base = out.data, .iov_len = out.len};
    struct msghdr msg = {.msg_iov = &bytes, .msg_iovlen = 1};
    if (n > 0) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(cmsg), fds, n * sizeof(int));
    }
    (void)sendmsg(fd, &msg, MSG_NOSIGNAL);
    kv_buf_free(&out);
}

struct fake_window *fake_window_open(int fd, const struct kv_frame *request,
                                     const _Atomic int *mode, fake_answer_fn answer,
                                     void *arg)
{
    struct fake_window *window = calloc(1, sizeof(*window));
    if (window == NULL)
        abort();
    *window = (struct fake_window){.mode = mode,
                                   .answer = answer,
                                   .arg = arg,
                                   .bell = eventfd(0, EFD_CLOEXEC),
                                   .fd = fd};
    int page_fd = make_page(*mode, &window->page);
    if (window->page == MAP_FAILED || window->bell < 0 ||
        pthread_create(&window->thread, NULL, serve, window) != 0)
        abort();
    const int fds[2] = {page_fd, window->bell};
    size_t n = *mode == FAKE_WINDOW_BARE ? 0 : *mode == FAKE_WINDOW_HALF ? 1 : 2;
    send_fds(fd, request, fds, n);
    (void)close(page_fd);
    return window;
}

void fake_window_close(struct fake_window *window)
{
    static const uint64_t one = 1;
    if (window == NULL)
        return;
    window->is_ending = true;
    (void)!write(window->bell, &one, sizeof(one));
    (void)pthread_join(window->thread, NULL);
    if (*window->mode != FAKE_WINDOW_SMALL)
        atomic_store(&window->page->is_closed, 1);
    wake(window);
    (void)munmap(window->page, sizeof(*window->page));
    (void)close(window->bell);
    free(window);
}
