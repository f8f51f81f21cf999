/*
 * A blocking client of the key channel for one question at a time. It exists beside
 * the provider's client because that one is built for speed and lives in a module that
 * nothing else may link.
 */
#include "lifecycle/supervisor/probe.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define WAIT_S 5

static int set_address(struct sockaddr_un *out, socklen_t *len, const char *address,
                       struct kv_err *err)
{
    size_t n = strlen(address);
    if (n == 0 || n >= sizeof(out->sun_path))
        return kv_err_set(err, KV_E_UNAVAILABLE, "probe.unreachable",
                          "the socket address %s is empty or too long", address);
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(out->sun_path, address, n);
    *len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
    if (address[0] == '@') {
        out->sun_path[0] = '\0';
        *len -= 1; /* an abstract name has no end mark */
    }
    return 0;
}

static int connect_to(struct kv_probe *probe, const char *address, struct kv_err *err)
{
    struct sockaddr_un to;
    socklen_t len = 0;
    int rc = set_address(&to, &len, address, err);
    if (rc != 0)
        return rc;
    probe->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval wait = {.tv_sec = WAIT_S};
    if (probe->fd < 0 ||
        setsockopt(probe->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) != 0 ||
        setsockopt(probe->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) != 0)
        return kv_err_errno(err, errno, "probe.unreachable", "socket");
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t peer_len = sizeof(peer);
    if (connect(probe->fd, (struct sockaddr *)&to, len) != 0 ||
        getsockopt(probe->fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_len) != 0)
        return kv_err_set(err, KV_E_UNAVAILABLE, "probe.unreachable",
                          "cannot connect to %s: %s", address, strerror(errno));
    probe->server_uid = peer.uid;
    return 0;
}

static int send_all(int fd, const struct kv_buf *out, struct kv_err *err)
{
    size_t done = 0;
    while (done < out->len) {
        ssize_t n = send(fd, out->data + done, out->len - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return kv_err_set(err, KV_E_UNAVAILABLE, "probe.unreachable",
                              "the key socket takes no request: %s", strerror(errno));
        done += (size_t)n;
    }
    return 0;
}

/* Receive one frame; `reply` borrows from `in`. */
static int receive_frame(int fd, struct kv_buf *in, struct kv_frame *reply,
                         struct kv_err *err)
{
    for (;;) {
        size_t used = 0;
        int found = kv_frame_decode(in->data, in->len, KV_FRAME_MAX, reply, &used);
        if (found == 1)
            return 0;
        if (found < 0)
            return kv_err_set(
                err, KV_E_INVALID, "probe.bad-reply",
                "what listens on the key socket does not speak its protocol");
        uint8_t bytes[4096];
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return kv_err_set(err, KV_E_UNAVAILABLE, "probe.unreachable",
                              "the key socket gives no answer: %s",
                              n == 0 ? "connection closed" : strerror(errno));
        int rc = kv_buf_append(in, bytes, (size_t)n);
        if (rc != 0)
            return rc;
    }
}

static int fail_as_told(const struct kv_frame *reply, struct kv_err *err)
{
    struct kv_msg_error told;
    if (kv_msg_error_get(reply->payload, &told) != 0)
        return kv_err_set(err, KV_E_INVALID, "probe.bad-reply",
                          "the key socket reports a failure that cannot be read");
    (void)kv_err_set(err, reply->status, told.id, "%s", told.message);
    if (told.hint[0] != '\0')
        kv_err_hint(err, "%s", told.hint);
    return reply->status;
}

/* Send the frame in `out` and receive its reply into `in`. */
static int exchange(struct kv_probe *probe, struct kv_buf *out, struct kv_buf *in,
                    struct kv_frame *reply, struct kv_err *err)
{
    int rc = 0;
    KV_TRY(kv_buf_status(out));
    KV_TRY(send_all(probe->fd, out, err));
    KV_TRY(receive_frame(probe->fd, in, reply, err));
    if (reply->status != 0)
        rc = fail_as_told(reply, err);
out:
    return rc;
}

int kv_probe_open(struct kv_probe *probe, const char *address, struct kv_err *err)
{
    *probe = (struct kv_probe){.fd = -1, .next_id = 1};
    struct kv_buf out;
    struct kv_buf in;
    kv_buf_init(&out, KV_FRAME_MAX);
    kv_buf_init(&in, KV_FRAME_MAX);
    struct kv_frame frame = {.id = probe->next_id++, .verb = KV_VERB_HELLO};
    struct kv_frame reply;
    int cpu = sched_getcpu();
    struct kv_msg_hello hello = {.version = KV_PROTOCOL_VERSION,
                                 .cpu = cpu < 0 ? 0 : (uint32_t)cpu};
    int rc = 0;
    KV_TRY(connect_to(probe, address, err));
    size_t begin = kv_frame_begin(&out, &frame);
    kv_msg_hello_put(&out, &hello);
    kv_frame_end(&out, begin);
    KV_TRY(exchange(probe, &out, &in, &reply, err));
    if (kv_msg_hello_reply_get(reply.payload, &probe->hello) != 0)
        rc = kv_err_set(err, KV_E_INVALID, "probe.bad-reply",
                        "the answer to HELLO on %s cannot be read", address);
out:
    kv_buf_free(&in);
    kv_buf_free(&out);
    if (rc != 0)
        kv_probe_close(probe);
    return rc;
}

int kv_probe_ask(struct kv_probe *probe, enum kv_verb verb, const char *uri,
                 uint32_t ops, struct kv_err *err)
{
    struct kv_buf out;
    struct kv_buf in;
    kv_buf_init(&out, KV_FRAME_MAX);
    kv_buf_init(&in, KV_FRAME_MAX);
    struct kv_frame frame = {.id = probe->next_id++, .verb = (uint16_t)verb};
    struct kv_frame reply;
    struct kv_msg_uri msg = {.ops = ops};
    int rc = 0;
    if (strlen(uri) >= sizeof(msg.uri)) {
        rc = kv_err_set(err, KV_E_TOO_BIG, "uri.too-long",
                        "the URI is longer than %d bytes", KV_URI_MAX);
        goto out;
    }
    memcpy(msg.uri, uri, strlen(uri) + 1);
    size_t begin = kv_frame_begin(&out, &frame);
    kv_msg_uri_put(&out, &msg);
    kv_frame_end(&out, begin);
    KV_TRY(exchange(probe, &out, &in, &reply, err));
out:
    kv_buf_free(&in);
    kv_buf_free(&out);
    return rc;
}

void kv_probe_close(struct kv_probe *probe)
{
    if (probe->fd >= 0)
        (void)close(probe->fd);
    probe->fd = -1;
}
