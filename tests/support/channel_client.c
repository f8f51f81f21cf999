/* A small blocking client of the key channel, for tests. */
#include "tests/support/channel_client.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WAIT_MS 8000

int kv_channel_client_open(struct kv_channel_client *client, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t len = strlen(name);
    memset(client, 0, sizeof(*client));
    client->fd = -1;
    if (len >= sizeof(address.sun_path))
        return KV_E_TOO_BIG;
    memcpy(address.sun_path, name, len);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return KV_E_IO;
    const socklen_t address_len =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (connect(fd, (const struct sockaddr *)&address, address_len) != 0) {
        close(fd);
        return KV_E_UNAVAILABLE;
    }
    client->fd = fd;
    kv_buf_init_secret(&client->in, (size_t)2 * KV_FRAME_MAX_ROLE);
    kv_buf_init(&client->held, KV_FRAME_MAX_ROLE);
    return 0;
}

void kv_channel_client_close(struct kv_channel_client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    kv_buf_free(&client->in);
    kv_buf_free(&client->held);
}

bool kv_channel_client_send(struct kv_channel_client *client, const void *data,
                            size_t len)
{
    const uint8_t *at = data;
    while (len > 0) {
        const ssize_t n = send(client->fd, at, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

uint32_t kv_channel_client_request(struct kv_channel_client *client, uint16_t verb,
                                   const struct kv_buf *payload)
{
    struct kv_buf out;
    kv_buf_init_secret(&out, KV_FRAME_MAX_ROLE);
    const struct kv_frame frame = {.id = ++client->last_id, .verb = verb};
    const size_t begin = kv_frame_begin(&out, &frame);
    if (payload != NULL)
        kv_wire_put_raw(&out, payload->data, payload->len);
    kv_frame_end(&out, begin);
    if (kv_buf_status(&out) == 0)
        (void)kv_channel_client_send(client, out.data, out.len); /* read will tell */
    kv_buf_free(&out);
    return client->last_id;
}

int kv_channel_client_read(struct kv_channel_client *client, struct kv_frame *frame,
                           int timeout_ms)
{
    uint8_t chunk[65536];
    kv_buf_consume(&client->in, client->used);
    client->used = 0;
    for (;;) {
        const int rc = kv_frame_decode(client->in.data, client->in.len,
                                       KV_FRAME_MAX_ROLE, frame, &client->used);
        if (rc == 1)
            return 0;
        if (rc < 0)
            return rc;
        struct pollfd wait = {.fd = client->fd, .events = POLLIN};
        if (poll(&wait, 1, timeout_ms) <= 0)
            return KV_E_TIMEOUT;
        const ssize_t n = recv(client->fd, chunk, sizeof(chunk), 0);
        if (n <= 0)
            return KV_E_UNAVAILABLE;
        if (kv_buf_append(&client->in, chunk, (size_t)n) != 0)
            return KV_E_TOO_BIG;
    }
}

int kv_channel_client_call(struct kv_channel_client *client, uint16_t verb,
                           const struct kv_buf *payload, struct kv_bytes *reply)
{
    struct kv_frame frame;
    const uint32_t id = kv_channel_client_request(client, verb, payload);
    memset(&client->error, 0, sizeof(client->error));
    int rc = kv_channel_client_read(client, &frame, WAIT_MS);
    while (rc == 0 && frame.flags == 0) {
        (void)kv_buf_append(&client->held, client->in.data, client->used);
        rc = kv_channel_client_read(client, &frame, WAIT_MS);
    }
    if (rc != 0)
        return rc;
    if (frame.id != id || frame.verb != verb || frame.flags != KV_FRAME_REPLY)
        return KV_E_INVALID;
    if (frame.status != 0 && kv_msg_error_get(frame.payload, &client->error) != 0)
        return KV_E_INVALID;
    if (reply != NULL)
        *reply = frame.payload;
    return frame.status;
}

int kv_channel_client_hello(struct kv_channel_client *client, uint16_t verb,
                            uint32_t cpu, struct kv_msg_hello_reply *reply)
{
    struct kv_buf payload;
    struct kv_bytes bytes;
    kv_buf_init(&payload, 64);
    kv_msg_hello_put(
        &payload, &(struct kv_msg_hello){.version = KV_PROTOCOL_VERSION, .cpu = cpu});
    int rc = kv_channel_client_call(client, verb, &payload, &bytes);
    if (rc == 0)
        rc = kv_msg_hello_reply_get(bytes, reply);
    kv_buf_free(&payload);
    return rc;
}
