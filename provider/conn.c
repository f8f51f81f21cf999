/*
 * Frames over one Unix socket with a deadline.
 *
 * The common case is one send(), one poll() for what is left of the time, and one
 * recv(). A recv() that blocks would do with two calls, but it is also woken when the
 * daemon takes the request off the socket, because that makes room to send, and then
 * sleeps again: two switches of context for nothing in most requests.
 */
#include "provider/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "store/core/clock.h"
#include "store/core/str.h"

#define READ_BYTES 1024 /* holds every signature */

static int64_t now_ms(void)
{
    return kv_monotonic_ms(kv_clock_system());
}

void kv_conn_init(struct kv_conn *conn)
{
    *conn = (struct kv_conn){.fd = -1, .timer_fd = -1};
    kv_buf_init_secret(&conn->out, KV_FRAME_MAX);
    kv_buf_init_secret(&conn->in, KV_FRAME_MAX);
}

bool kv_conn_is_ours(const struct kv_conn *conn)
{
    struct stat st;
    return conn->fd >= 0 && fstat(conn->fd, &st) == 0 && S_ISSOCK(st.st_mode) &&
           st.st_dev == conn->dev && st.st_ino == conn->ino;
}

bool kv_conn_is_usable(const struct kv_conn *conn)
{
    return kv_conn_is_ours(conn) && conn->client_uid == geteuid();
}

bool kv_conn_is_quiet(const struct kv_conn *conn)
{
    struct pollfd pfd = {.fd = conn->fd, .events = POLLIN};
    int n = poll(&pfd, 1, 0);
    return n == 0 || (n < 0 && errno == EINTR);
}

void kv_conn_close(struct kv_conn *conn)
{
    if (kv_conn_is_ours(conn))
        (void)close(conn->fd); /* nothing to do about a failed close */
    kv_buf_free(&conn->out);
    kv_buf_free(&conn->in);
    kv_conn_init(conn);
}

void kv_conn_drop(struct kv_conn *conn)
{
    if (conn->on_wait == NULL) {
        kv_conn_close(conn);
        return;
    }
    if (!conn->is_broken && kv_conn_is_ours(conn))
        (void)shutdown(conn->fd, SHUT_RDWR); /* nothing to do about a failure */
    conn->is_broken = true;
}

static int set_send_timeout(int fd, int64_t timeout_ms)
{
    const struct timeval limit = {.tv_sec = timeout_ms / 1000,
                                  .tv_usec = (timeout_ms % 1000) * 1000};
    return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static int lost(struct kv_err *err)
{
    return kv_err_set(err, KV_E_UNAVAILABLE, "client.lost",
                      "the key daemon closed the connection");
}

static int late(struct kv_err *err, int64_t timeout_ms)
{
    int rc = kv_err_set(err, KV_E_TIMEOUT, "client.timeout",
                        "the key daemon did not answer within %lld ms",
                        (long long)timeout_ms);
    kv_err_hint(err, "see the status of keyvault-keyring; "
                     "reply-timeout-ms sets the limit");
    return rc;
}

static int malformed(struct kv_err *err, const char *what)
{
    return kv_err_set(err, KV_E_INVALID, "client.bad-reply", "the key daemon sent %s",
                      what);
}

static bool is_lasting(int errno_value)
{
    return errno_value != EAGAIN && errno_value != EINTR;
}

/* Wait until `deadline` for `events`. Returns 0, KV_E_TIMEOUT or KV_E_UNAVAILABLE. What
 * is there already counts however late it is: an ASYNC job may have been paused for
 * longer by its host. */
static int wait_for(const struct kv_conn *conn, short events, int64_t deadline)
{
    for (;;) {
        int64_t left = deadline - now_ms();
        if (left < 0)
            left = 0;
        struct pollfd pfd = {.fd = conn->fd, .events = events};
        int n = poll(&pfd, 1, left > 60000 ? 60000 : (int)left);
        if (n > 0)
            return 0;
        if (n == 0 && left == 0)
            return KV_E_TIMEOUT;
        if (n < 0 && errno != EINTR)
            return KV_E_UNAVAILABLE;
    }
}

static int send_all(struct kv_conn *conn, int64_t deadline)
{
    size_t done = 0;
    while (done < conn->out.len) {
        ssize_t n = send(conn->fd, conn->out.data + done, conn->out.len - done,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            done += (size_t)n;
            continue;
        }
        int rc =
            is_lasting(errno) ? KV_E_UNAVAILABLE : wait_for(conn, POLLOUT, deadline);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* recv(), told as 0, KV_E_UNAVAILABLE or nothing yet (*n = 0). On its own, because a
 * job may go on in another thread after a pause: a caller must not keep where errno
 * was. */
static __attribute__((noinline)) int receive_now(int fd, uint8_t *at, size_t room,
                                                 size_t *n)
{
    ssize_t got = recv(fd, at, room, MSG_DONTWAIT);
    *n = got > 0 ? (size_t)got : 0;
    return got == 0 || (got < 0 && is_lasting(errno)) ? KV_E_UNAVAILABLE : 0;
}

/* Wait, and append what one recv() gives. Returns 0 (also when that is nothing yet) or
 * why no frame will come. */
static int receive_some(struct kv_conn *conn, int64_t deadline)
{
    size_t old_len = conn->in.len;
    size_t room = KV_FRAME_MAX - old_len;
    if (room == 0)
        return KV_E_INVALID;
    if (room > READ_BYTES)
        room = READ_BYTES;
    int rc = conn->on_wait != NULL ? conn->on_wait(conn, deadline)
                                   : wait_for(conn, POLLIN, deadline);
    if (rc != 0)
        return rc;
    uint8_t *at = kv_buf_extend(&conn->in, room);
    if (at == NULL)
        return KV_E_NOMEM;
    size_t n = 0;
    rc = receive_now(conn->fd, at, room, &n);
    kv_buf_truncate(&conn->in, old_len + n);
    return rc;
}

/* Read until one whole frame stands in conn->in. */
static int receive_frame(struct kv_conn *conn, int64_t deadline, struct kv_frame *frame)
{
    size_t frame_len = 0;
    int got = 0;
    kv_buf_reset(&conn->in);
    while (got == 0) {
        int rc = receive_some(conn, deadline);
        if (rc != 0)
            return rc;
        got = kv_frame_decode(conn->in.data, conn->in.len, KV_FRAME_MAX, frame,
                              &frame_len);
    }
    /* Nothing may follow: we have one request outstanding. */
    return got == 1 && frame_len == conn->in.len ? 0 : KV_E_INVALID;
}

size_t kv_conn_begin(struct kv_conn *conn, enum kv_verb verb)
{
    kv_buf_reset(&conn->out);
    conn->next_id++;
    return kv_frame_begin(
        &conn->out, &(struct kv_frame){.id = conn->next_id, .verb = (uint16_t)verb});
}

/* How long a reply may take. */
struct limit {
    int64_t timeout_ms;  /* the setting, for the message */
    int64_t deadline_ms; /* monotonic */
};

static int exchange_within(struct kv_conn *conn, const struct limit *limit,
                           struct kv_frame *reply, struct kv_err *err)
{
    struct kv_frame sent;
    size_t sent_len = 0;
    if (kv_buf_status(&conn->out) != 0 ||
        kv_frame_decode(conn->out.data, conn->out.len, KV_FRAME_MAX, &sent,
                        &sent_len) != 1)
        return kv_err_set(err, KV_E_TOO_BIG, "client.too-big",
                          "the request does not fit into one frame of %d bytes",
                          KV_FRAME_MAX);
    int rc = send_all(conn, limit->deadline_ms);
    if (rc == 0)
        rc = receive_frame(conn, limit->deadline_ms, reply);
    kv_buf_reset(&conn->out); /* a message to sign does not linger */
    if (rc == KV_E_TIMEOUT)
        return late(err, limit->timeout_ms);
    if (rc == KV_E_UNAVAILABLE)
        return lost(err);
    if (rc == KV_E_NOMEM)
        return kv_err_set(err, rc, "client.no-memory", "out of memory");
    if (rc != 0)
        return malformed(err, "a malformed frame");
    if (reply->id != sent.id || reply->verb != sent.verb ||
        reply->flags != KV_FRAME_REPLY || reply->status > 0)
        return malformed(err, "a frame that answers no request of ours");
    return 0;
}

int kv_conn_exchange(struct kv_conn *conn, const struct kv_conn_target *target,
                     struct kv_frame *reply, struct kv_err *err)
{
    struct limit limit = {.timeout_ms = target->reply_timeout_ms,
                          .deadline_ms = now_ms() + target->reply_timeout_ms};
    if (target->deadline_ms < limit.deadline_ms)
        limit.deadline_ms = target->deadline_ms;
    return exchange_within(conn, &limit, reply, err);
}

/* "@name" is the abstract namespace: it has no file and survives chroot(). */
static socklen_t fill_address(struct sockaddr_un *sun, const char *address)
{
    size_t len = strlen(address);
    *sun = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(sun->sun_path, address, len);
    if (address[0] != '@')
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    sun->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

static int unreachable(struct kv_err *err, const char *address, int errno_value)
{
    int rc = kv_err_set(err, KV_E_UNAVAILABLE, "client.unreachable",
                        "cannot reach %s: %s", address, strerrordesc_np(errno_value));
    if (errno_value == EMFILE || errno_value == ENFILE)
        kv_err_hint(err, "raise the limit of open files (LimitNOFILE= of the unit)");
    else
        kv_err_hint(err, "is keyvaultd running?");
    return rc;
}

/* Anybody may bind an abstract name or, in a careless directory, a path: talk only to
 * the user that the configuration names, or to root and ourselves. */
static int check_server(struct kv_conn *conn, const struct kv_conn_target *target,
                        struct kv_err *err)
{
    struct ucred cred = {0};
    socklen_t len = sizeof(cred);
    if (getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
        return unreachable(err, target->address, errno);
    conn->server_pid = cred.pid;
    conn->server_uid = cred.uid;
    bool is_good = target->server_uid == KV_CONN_ANY_SAFE_UID
                       ? cred.uid == 0 || cred.uid == geteuid()
                       : target->server_uid == (int64_t)cred.uid;
    if (is_good)
        return 0;
    int rc = kv_err_set(err, KV_E_DENIED, "client.wrong-server",
                        "%s is served by uid %lu, which is not trusted",
                        target->address, (unsigned long)cred.uid);
    kv_err_hint(err, "set server-uid in the keyvault section of openssl.cnf to the "
                     "keyring's uid");
    return rc;
}

static int say_hello(struct kv_conn *conn, const struct limit *limit,
                     struct kv_err *err)
{
    int cpu = sched_getcpu();
    size_t begin = kv_conn_begin(conn, KV_VERB_HELLO);
    kv_msg_hello_put(&conn->out,
                     &(struct kv_msg_hello){.version = KV_PROTOCOL_VERSION,
                                            .cpu = cpu < 0 ? 0 : (uint32_t)cpu});
    kv_frame_end(&conn->out, begin);
    struct kv_frame reply = {.id = 0};
    int rc = exchange_within(conn, limit, &reply, err);
    if (rc != 0)
        return rc;
    struct kv_msg_hello_reply hello = {.version = 0};
    if (reply.status != 0 || kv_msg_hello_reply_get(reply.payload, &hello) != 0)
        return malformed(err, "no usable answer to HELLO");
    if (hello.version != KV_PROTOCOL_VERSION) {
        rc = kv_err_set(err, KV_E_UNSUPPORTED, "client.version",
                        "the key daemon speaks version %u of the key channel, this "
                        "module version %d",
                        hello.version, KV_PROTOCOL_VERSION);
        kv_err_hint(err, "restart the program after an upgrade of keyvault");
        return rc;
    }
    memcpy(conn->installation, hello.installation, KV_ID_LEN);
    return 0;
}

/* A socket that is not taken for standard input, output or error in a program that has
 * closed those. -1 with errno on failure. */
static int make_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int saved_errno = errno;
    (void)close(fd); /* ours without doubt: just made */
    errno = saved_errno;
    return higher;
}

static int connect_socket(struct kv_conn *conn, const struct kv_conn_target *target,
                          const struct limit *limit, struct kv_err *err)
{
    struct sockaddr_un sun;
    socklen_t len = fill_address(&sun, target->address);
    conn->fd = make_socket();
    if (conn->fd < 0)
        return unreachable(err, target->address, errno);
    struct stat st;
    if (fstat(conn->fd, &st) != 0) {
        int saved_errno = errno;
        (void)close(conn->fd); /* ours without doubt: just made */
        conn->fd = -1;
        return unreachable(err, target->address, saved_errno);
    }
    conn->dev = st.st_dev;
    conn->ino = st.st_ino;
    conn->client_uid = geteuid();
    for (;;) {
        int64_t left_ms = limit->deadline_ms - now_ms();
        if (left_ms <= 0)
            return late(err, limit->timeout_ms);
        /* SO_SNDTIMEO bounds a connect() that waits for a full backlog. */
        if (set_send_timeout(conn->fd, left_ms) != 0)
            return unreachable(err, target->address, errno);
        if (connect(conn->fd, (const struct sockaddr *)&sun, len) == 0)
            return 0;
        if (errno != EINTR && errno != EAGAIN)
            return unreachable(err, target->address, errno);
    }
}

int kv_conn_open(struct kv_conn *conn, const struct kv_conn_target *target,
                 struct kv_err *err)
{
    int rc = 0;
    if (strlen(target->address) >= KV_CONN_ADDRESS_MAX || target->address[0] == '\0')
        return kv_err_set(err, KV_E_INVALID, "client.bad-address",
                          "the socket address is empty or too long");
    struct limit limit = {.timeout_ms = target->connect_timeout_ms,
                          .deadline_ms = now_ms() + target->connect_timeout_ms};
    if (target->deadline_ms < limit.deadline_ms)
        limit.deadline_ms = target->deadline_ms;
    KV_TRY(connect_socket(conn, target, &limit, err));
    KV_TRY(check_server(conn, target, err));
    KV_TRY(say_hello(conn, &limit, err));
out:
    if (rc != 0)
        kv_conn_close(conn);
    return rc;
}
