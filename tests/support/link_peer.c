/*
 * The keyring's end of keyring.sock: see link_peer.h.
 */
#include "tests/support/link_peer.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct link_peer peer;

static void on_conn_closed(uv_handle_t *handle)
{
    (void)handle;
    peer.has_conn = false;
}

void link_peer_hang_up(void)
{
    if (peer.has_conn && !uv_is_closing((uv_handle_t *)&peer.conn))
        uv_close((uv_handle_t *)&peer.conn, on_conn_closed);
}

struct sending {
    uv_write_t request;
    struct kv_buf bytes;
};

static void on_sent(uv_write_t *request, int status)
{
    struct sending *sending = request->data;
    (void)status;
    kv_buf_free(&sending->bytes);
    free(sending);
}

static void send_bytes(const void *data, size_t len)
{
    struct sending *sending = calloc(1, sizeof(*sending));
    cr_assert_not_null(sending);
    kv_buf_init(&sending->bytes, KV_FRAME_MAX_ROLE);
    cr_assert_eq(kv_buf_append(&sending->bytes, data, len), 0);
    uv_buf_t buf = uv_buf_init((char *)sending->bytes.data, (unsigned)len);
    sending->request.data = sending;
    cr_assert_eq(
        uv_write(&sending->request, (uv_stream_t *)&peer.conn, &buf, 1, on_sent), 0);
}

static void send_frame(uint32_t id, uint16_t verb, uint16_t flags, int32_t status,
                       const struct kv_buf *payload)
{
    struct kv_buf out;
    struct kv_frame frame = {.id = id, .verb = verb, .flags = flags, .status = status};
    kv_buf_init(&out, KV_FRAME_MAX_ROLE);
    size_t begin = kv_frame_begin(&out, &frame);
    if (payload != NULL)
        (void)kv_buf_append(&out, payload->data, payload->len);
    kv_frame_end(&out, begin);
    cr_assert_eq(kv_buf_status(&out), 0);
    send_bytes(out.data, out.len);
    kv_buf_free(&out);
}

static void refuse(uint32_t id, uint16_t verb, int32_t status, bool has_words)
{
    struct kv_buf payload;
    struct kv_err err = KV_ERR_INIT;
    kv_buf_init(&payload, KV_FRAME_MAX);
    kv_err_set(&err, KV_E_STATE, "key.expired", "the key has expired");
    kv_err_hint(&err, "make another");
    if (has_words)
        kv_msg_error_put(&payload, &err);
    send_frame(id, verb, KV_FRAME_REPLY, status, &payload);
    kv_buf_free(&payload);
}

static void greet(const struct kv_frame *frame)
{
    struct kv_buf payload;
    struct kv_msg_hello_reply reply = {.version = KV_PROTOCOL_VERSION,
                                       .is_sealed = peer.is_sealed,
                                       .installation = {7}};
    peer.n_hellos++;
    kv_buf_init(&payload, 256);
    kv_msg_hello_reply_put(&payload, &reply);
    send_frame(frame->id, frame->verb, KV_FRAME_REPLY, 0, &payload);
    kv_buf_free(&payload);
}

static void answer_call(const struct kv_frame *frame)
{
    static const char garbage[] = "\0\0\0\0\0\0\0\0";
    static const uint8_t oversize[] = {0xff, 0xff, 0xff, 0x7f, 1, 2, 3, 4};
    struct kv_buf payload;
    kv_buf_init(&payload, 64);
    cr_assert_eq(kv_buf_append_str(&payload, "answer"), 0);
    uint32_t id = frame->id;
    uint16_t verb = frame->verb;
    switch (peer.mood) {
    case IS_SILENT:
        break;
    case HANGS_UP:
        link_peer_hang_up();
        break;
    case SENDS_GARBAGE:
        send_bytes(garbage, sizeof(garbage));
        break;
    case SENDS_OVERSIZE:
        send_bytes(oversize, sizeof(oversize));
        break;
    case REFUSES:
        refuse(id, verb, KV_E_STATE, true);
        break;
    case REFUSES_WITHOUT_WORDS:
        refuse(id, verb, KV_E_STATE, false);
        break;
    case REFUSES_POSITIVELY:
        refuse(id, verb, 5, true);
        break;
    case REFUSES_UNHEARD_OF:
        refuse(id, verb, -5000, true);
        break;
    case ANSWERS_OTHER_ID:
        send_frame(id + 100, verb, KV_FRAME_REPLY, 0, &payload);
        break;
    case ANSWERS_OTHER_VERB:
        send_frame(id, KV_ROLE_UNSEAL, KV_FRAME_REPLY, 0, &payload);
        break;
    case ANSWERS_TWICE:
    case SERVES:
        send_frame(id, verb, KV_FRAME_REPLY, 0, &payload);
        if (peer.mood == ANSWERS_TWICE)
            send_frame(id, verb, KV_FRAME_REPLY, 0, &payload);
        break;
    }
    kv_buf_free(&payload);
}

static void take_frame(const struct kv_frame *frame)
{
    if ((frame->flags & KV_FRAME_REPLY) != 0) {
        peer.n_answers++;
        peer.answer_status = frame->status;
    } else if (frame->verb == KV_ROLE_HELLO) {
        greet(frame);
    } else if (frame->verb == KV_ROLE_VAULT_KEY_OPEN) {
        peer.n_vault_keys++;
        cr_assert_eq(peer.n_calls, 0, "vault keys come before other calls");
        if (peer.refuses_vault_keys)
            refuse(frame->id, frame->verb, KV_E_INTEGRITY, true);
        else
            send_frame(frame->id, frame->verb, KV_FRAME_REPLY, 0, NULL);
    } else {
        peer.n_calls++;
        answer_call(frame);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init((char *)peer.chunk, sizeof(peer.chunk));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    (void)stream;
    (void)buf;
    if (n < 0) {
        link_peer_hang_up();
        return;
    }
    cr_assert_eq(kv_buf_append(&peer.in, peer.chunk, (size_t)n), 0);
    for (;;) {
        struct kv_frame frame;
        size_t len = 0;
        int got =
            kv_frame_decode(peer.in.data, peer.in.len, KV_FRAME_MAX_ROLE, &frame, &len);
        cr_assert_geq(got, 0);
        if (got == 0 || !peer.has_conn)
            return;
        take_frame(&frame);
        kv_buf_consume(&peer.in, len);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    cr_assert_eq(status, 0);
    cr_assert(!peer.has_conn, "one connection at a time");
    cr_assert_eq(uv_pipe_init(&peer.loop, &peer.conn, 0), 0);
    cr_assert_eq(uv_accept(listener, (uv_stream_t *)&peer.conn), 0);
    peer.has_conn = true;
    kv_buf_reset(&peer.in);
    cr_assert_eq(uv_read_start((uv_stream_t *)&peer.conn, on_alloc, on_read), 0);
}

void link_peer_listen(void)
{
    cr_assert_eq(uv_pipe_init(&peer.loop, &peer.listener, 0), 0);
    cr_assert_eq(uv_pipe_bind(&peer.listener, peer.path), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&peer.listener, 8, on_connection), 0);
    peer.is_listening = true;
}

void link_peer_init(void)
{
    memset(&peer, 0, sizeof(peer));
    cr_assert_eq(uv_loop_init(&peer.loop), 0);
    kv_buf_init(&peer.in, KV_FRAME_MAX_ROLE + sizeof(peer.chunk));
    (void)snprintf(peer.dir, sizeof(peer.dir), "/tmp/kv-link-XXXXXX");
    cr_assert_not_null(mkdtemp(peer.dir));
    (void)snprintf(peer.path, sizeof(peer.path), "%s/keyring.sock", peer.dir);
}

void link_peer_fini(void)
{
    link_peer_hang_up();
    if (peer.is_listening)
        uv_close((uv_handle_t *)&peer.listener, NULL);
    (void)uv_run(&peer.loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&peer.loop), 0);
    kv_buf_free(&peer.in);
    (void)unlink(peer.path);
    cr_assert_eq(rmdir(peer.dir), 0);
}

void link_peer_ask(uint32_t id, uint16_t verb)
{
    send_frame(id, verb, 0, 0, NULL);
}

void link_peer_wait(const unsigned *counter, unsigned at_least)
{
    for (int i = 0; *counter < at_least; i++) {
        cr_assert_lt(i, 8000, "it does not come");
        (void)uv_run(&peer.loop, UV_RUN_NOWAIT);
        (void)poll(NULL, 0, 1);
    }
}
