/*
 * The service's link to the keyring against a keyring that behaves, stalls, lies or
 * hangs up: each call ends once, and the link comes back.
 */
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/service/keyring.h"

TestSuite(link, .timeout = 60);

/* --- the other end -----------------------------------------------------------------
 */

enum mood {
    SERVES,
    IS_SILENT,
    HANGS_UP,
    SENDS_GARBAGE,
    SENDS_OVERSIZE,
    ANSWERS_OTHER_ID,
    ANSWERS_OTHER_VERB,
    REFUSES,
    REFUSES_WITHOUT_WORDS,
    REFUSES_POSITIVELY,
    REFUSES_UNHEARD_OF,
    ANSWERS_TWICE,
};

struct peer {
    uv_loop_t loop;
    char dir[64];
    char path[96];
    uv_pipe_t listener;
    uv_pipe_t conn;
    bool has_conn;
    bool is_listening;
    uint8_t chunk[65536];
    struct kv_buf in;
    /* behaviour */
    bool is_sealed;
    bool refuses_vault_keys;
    enum mood mood; /* towards calls; greetings are always answered */
    /* seen */
    unsigned n_hellos;
    unsigned n_vault_keys;
    unsigned n_calls;
    unsigned n_answers; /* to our questions */
    int32_t answer_status;
    /* the link */
    struct kv_keyring *link;
    unsigned n_connected;
    unsigned n_questions;
    bool is_closed;
};

static struct peer peer;

static void on_conn_closed(uv_handle_t *handle)
{
    (void)handle;
    peer.has_conn = false;
}

static void hang_up(void)
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
        hang_up();
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
        hang_up();
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

static void listen_now(void)
{
    cr_assert_eq(uv_pipe_init(&peer.loop, &peer.listener, 0), 0);
    cr_assert_eq(uv_pipe_bind(&peer.listener, peer.path), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&peer.listener, 8, on_connection), 0);
    peer.is_listening = true;
}

static void on_connected(void *arg, const struct kv_msg_hello_reply *hello)
{
    (void)arg;
    cr_assert_eq(hello->installation[0], 7);
    peer.n_connected++;
}

static void on_question(void *arg, uint32_t id, uint16_t verb, struct kv_bytes payload)
{
    (void)arg;
    (void)payload;
    peer.n_questions++;
    kv_keyring_answer(peer.link, id, verb, KV_E_DENIED, NULL, NULL);
}

static void open_link(uid_t uid, unsigned timeout_ms)
{
    const struct kv_keyring_config config = {.loop = &peer.loop,
                                             .path = peer.path,
                                             .server_uid = uid,
                                             .timeout_ms = timeout_ms,
                                             .on_question = on_question,
                                             .on_connected = on_connected};
    cr_assert_eq(kv_keyring_open(&peer.link, &config, NULL), 0);
}

static void setup(void)
{
    memset(&peer, 0, sizeof(peer));
    cr_assert_eq(uv_loop_init(&peer.loop), 0);
    kv_buf_init(&peer.in, KV_FRAME_MAX_ROLE + sizeof(peer.chunk));
    (void)snprintf(peer.dir, sizeof(peer.dir), "/tmp/kv-link-XXXXXX");
    cr_assert_not_null(mkdtemp(peer.dir));
    (void)snprintf(peer.path, sizeof(peer.path), "%s/keyring.sock", peer.dir);
}

static void on_link_closed(void *arg)
{
    *(bool *)arg = true;
}

static void teardown(void)
{
    kv_keyring_close(peer.link, on_link_closed, &peer.is_closed);
    hang_up();
    if (peer.is_listening)
        uv_close((uv_handle_t *)&peer.listener, NULL);
    (void)uv_run(&peer.loop, UV_RUN_DEFAULT);
    cr_assert(peer.is_closed);
    cr_assert_eq(uv_loop_close(&peer.loop), 0);
    kv_buf_free(&peer.in);
    (void)unlink(peer.path);
    cr_assert_eq(rmdir(peer.dir), 0);
}

static bool is_true(const bool *flag, const unsigned *counter, unsigned at_least)
{
    return flag != NULL ? *flag : *counter >= at_least;
}

static void wait_until(const bool *flag, const unsigned *counter, unsigned at_least)
{
    for (int i = 0; !is_true(flag, counter, at_least); i++) {
        cr_assert_lt(i, 8000, "it does not come");
        (void)uv_run(&peer.loop, UV_RUN_NOWAIT);
        (void)poll(NULL, 0, 1);
    }
}

static void wait_for_count(const unsigned *counter, unsigned at_least)
{
    wait_until(NULL, counter, at_least);
}

/* --- calls -------------------------------------------------------------------------
 */

struct seen {
    unsigned n;
    int rc;
    char id[KV_ERR_ID_MAX];
    char hint[KV_ERR_TEXT_MAX];
    char payload[32];
};

static void on_call(void *arg, int rc, struct kv_bytes payload,
                    const struct kv_err *err)
{
    struct seen *seen = arg;
    seen->n++;
    seen->rc = rc;
    cr_assert_eq(rc == 0 || err != NULL, true);
    if (rc != 0) {
        (void)snprintf(seen->id, sizeof(seen->id), "%s", err->id);
        (void)snprintf(seen->hint, sizeof(seen->hint), "%s", err->hint);
    }
    cr_assert_lt(payload.len, sizeof(seen->payload));
    if (payload.len > 0)
        memcpy(seen->payload, payload.data, payload.len);
}

static int start_call(struct seen *seen)
{
    struct kv_buf payload;
    memset(seen, 0, sizeof(*seen));
    kv_buf_init(&payload, 64);
    cr_assert_eq(kv_buf_append_str(&payload, "question"), 0);
    int rc = kv_keyring_call(peer.link, KV_ROLE_SEAL, &payload, on_call, seen);
    cr_assert_eq(seen->n, 0, "a callback never runs before its call has returned");
    kv_buf_free(&payload);
    return rc;
}

/* One call and its end. */
static void call(struct seen *seen)
{
    cr_assert_eq(start_call(seen), 0);
    wait_for_count(&seen->n, 1);
}

static void connect_link(unsigned timeout_ms)
{
    listen_now();
    open_link(geteuid(), timeout_ms);
    wait_for_count(&peer.n_connected, 1);
    cr_assert(kv_keyring_is_connected(peer.link));
}

Test(link, carries_calls_and_answers, .init = setup, .fini = teardown)
{
    struct seen seen[20];
    connect_link(5000);
    cr_assert_eq(peer.n_hellos, 1);
    for (size_t i = 0; i < 20; i++)
        cr_assert_eq(start_call(&seen[i]), 0);
    for (size_t i = 0; i < 20; i++) {
        wait_for_count(&seen[i].n, 1);
        cr_assert_eq(seen[i].rc, 0);
        cr_assert_str_eq(seen[i].payload, "answer");
    }
    cr_assert_eq(peer.n_calls, 20);
}

Test(link, fails_calls_at_the_next_turn_while_nobody_is_there, .init = setup,
     .fini = teardown)
{
    struct seen seen;
    open_link(geteuid(), 5000);
    cr_assert(!kv_keyring_is_connected(peer.link));
    call(&seen);
    cr_assert_eq(seen.rc, KV_E_UNAVAILABLE);
    cr_assert_str_eq(seen.id, "keyring.unreachable");
    listen_now();
    wait_for_count(&peer.n_connected, 1);
    call(&seen);
    cr_assert_eq(seen.rc, 0, "it connected as soon as somebody was there");
}

Test(link, says_nothing_to_a_server_of_another_user, .init = setup, .fini = teardown)
{
    struct seen seen;
    listen_now();
    open_link(geteuid() + 1, 5000);
    for (int i = 0; i < 300; i++) {
        (void)uv_run(&peer.loop, UV_RUN_NOWAIT);
        (void)poll(NULL, 0, 1);
    }
    cr_assert_eq(peer.n_hellos, 0);
    cr_assert_eq(peer.n_connected, 0);
    call(&seen);
    cr_assert_eq(seen.rc, KV_E_UNAVAILABLE);
}

Test(link, opens_vault_keys_first_and_again_after_each_connect, .init = setup,
     .fini = teardown)
{
    static const uint8_t wrapped[40] = {1};
    struct kv_role_vault_key key = {.term = 1, .wrapped = {wrapped, sizeof(wrapped)}};
    struct seen seen;
    listen_now();
    open_link(geteuid(), 5000);
    cr_assert_eq(kv_keyring_add_vault_key(peer.link, &key), 0);
    cr_assert_eq(kv_keyring_add_vault_key(peer.link, &key), 0, "known already");
    wait_for_count(&peer.n_connected, 1);
    cr_assert_eq(peer.n_vault_keys, 1);
    key.term = 2;
    cr_assert_eq(kv_keyring_add_vault_key(peer.link, &key), 0);
    wait_for_count(&peer.n_vault_keys, 2);
    hang_up();
    wait_for_count(&peer.n_connected, 2);
    cr_assert_eq(peer.n_vault_keys, 4, "both, again");
    call(&seen);
    cr_assert_eq(seen.rc, 0);
}

Test(link, with_a_refused_vault_key_it_is_not_connected, .init = setup,
     .fini = teardown)
{
    struct kv_role_vault_key key = {.term = 1};
    peer.refuses_vault_keys = true;
    listen_now();
    open_link(geteuid(), 5000);
    cr_assert_eq(kv_keyring_add_vault_key(peer.link, &key), 0);
    wait_for_count(&peer.n_vault_keys, 2);
    cr_assert_eq(peer.n_connected, 0);
    peer.refuses_vault_keys = false;
    wait_for_count(&peer.n_connected, 1);
}

Test(link, a_sealed_keyring_is_asked_until_it_is_open, .init = setup, .fini = teardown)
{
    struct seen seen;
    peer.is_sealed = true;
    listen_now();
    open_link(geteuid(), 5000);
    wait_for_count(&peer.n_hellos, 2);
    cr_assert(kv_keyring_is_sealed(peer.link));
    cr_assert(!kv_keyring_is_connected(peer.link));
    call(&seen);
    cr_assert_eq(seen.rc, KV_E_SEALED);
    cr_assert_str_eq(seen.id, "keyring.sealed");
    peer.is_sealed = false;
    wait_for_count(&peer.n_connected, 1);
    cr_assert(!kv_keyring_is_sealed(peer.link));
}

static const struct {
    enum mood mood;
    int rc;
    const char *id;
    bool is_lost; /* the connection goes with it */
} moods[] = {
    {IS_SILENT, KV_E_TIMEOUT, "keyring.timeout", false},
    {ANSWERS_OTHER_ID, KV_E_TIMEOUT, "keyring.timeout", false},
    {ANSWERS_OTHER_VERB, KV_E_TIMEOUT, "keyring.timeout", false},
    {HANGS_UP, KV_E_UNAVAILABLE, "keyring.unreachable", true},
    {SENDS_GARBAGE, KV_E_UNAVAILABLE, "keyring.unreachable", true},
    {SENDS_OVERSIZE, KV_E_UNAVAILABLE, "keyring.unreachable", true},
    {REFUSES, KV_E_STATE, "key.expired", false},
    {REFUSES_WITHOUT_WORDS, KV_E_STATE, "keyring.failed", false},
    {REFUSES_POSITIVELY, KV_E_UNAVAILABLE, "keyring.unreachable", true},
    {REFUSES_UNHEARD_OF, KV_E_INTERNAL, "key.expired", false},
    {ANSWERS_TWICE, 0, "", false},
};

Test(link, whatever_the_other_end_does_a_call_ends_once, .init = setup,
     .fini = teardown)
{
    connect_link(300);
    for (size_t i = 0; i < sizeof(moods) / sizeof(moods[0]); i++) {
        struct seen seen;
        unsigned before = peer.n_connected;
        peer.mood = moods[i].mood;
        call(&seen);
        cr_assert_eq(seen.rc, moods[i].rc, "mood %d: %d %s", (int)moods[i].mood,
                     seen.rc, seen.id);
        cr_assert_str_eq(seen.id, moods[i].id, "mood %d", (int)moods[i].mood);
        peer.mood = SERVES;
        peer.n_calls = 0;
        if (moods[i].is_lost)
            wait_for_count(&peer.n_connected, before + 1);
        call(&seen);
        cr_assert_eq(seen.rc, 0, "the next one is served, after mood %d",
                     (int)moods[i].mood);
        cr_assert_eq(seen.n, 1);
    }
}

Test(link, a_refusal_brings_its_hint, .init = setup, .fini = teardown)
{
    struct seen seen;
    connect_link(5000);
    peer.mood = REFUSES;
    call(&seen);
    cr_assert_str_eq(seen.hint, "make another");
}

Test(link, questions_are_answered_on_the_same_connection, .init = setup,
     .fini = teardown)
{
    connect_link(5000);
    send_frame(9, KV_ROLE_GRANT, 0, 0, NULL);
    wait_for_count(&peer.n_answers, 1);
    cr_assert_eq(peer.n_questions, 1);
    cr_assert_eq(peer.answer_status, KV_E_DENIED);
}

static struct seen late[3];

static void on_lost(void *arg, int rc, struct kv_bytes payload,
                    const struct kv_err *err)
{
    struct kv_buf nothing;
    on_call(arg, rc, payload, err);
    kv_buf_init(&nothing, 1);
    /* a caller that tries again at once */
    if (rc != 0 && late[2].n == 0)
        cr_assert_eq(
            kv_keyring_call(peer.link, KV_ROLE_SEAL, &nothing, on_call, &late[2]), 0);
}

Test(link, a_caller_may_try_again_from_its_callback, .init = setup, .fini = teardown)
{
    struct kv_buf payload;
    connect_link(5000);
    peer.mood = IS_SILENT;
    memset(late, 0, sizeof(late));
    kv_buf_init(&payload, 1);
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(kv_keyring_call(peer.link, KV_ROLE_SEAL, &payload,
                                     i == 0 ? on_lost : on_call, &late[i]),
                     0);
    wait_for_count(&peer.n_calls, 2);
    hang_up();
    wait_for_count(&late[2].n, 1);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(late[i].n, 1);
        cr_assert_eq(late[i].rc, KV_E_UNAVAILABLE);
    }
}

Test(link, closing_fails_what_waits_and_takes_nothing_more, .init = setup)
{
    struct seen seen;
    struct seen refused;
    connect_link(5000);
    peer.mood = IS_SILENT;
    cr_assert_eq(start_call(&seen), 0);
    kv_keyring_close(peer.link, on_link_closed, &peer.is_closed);
    cr_assert_eq(seen.n, 1);
    cr_assert_eq(seen.rc, KV_E_UNAVAILABLE);
    cr_assert_eq(start_call(&refused), KV_E_UNAVAILABLE);
    kv_keyring_answer(peer.link, 1, KV_ROLE_GRANT, 0, NULL, NULL);
    wait_until(&peer.is_closed, NULL, 0);
    cr_assert_eq(seen.n, 1);
    hang_up();
    uv_close((uv_handle_t *)&peer.listener, NULL);
    (void)uv_run(&peer.loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&peer.loop), 0);
    kv_buf_free(&peer.in);
    (void)unlink(peer.path);
    cr_assert_eq(rmdir(peer.dir), 0);
}

Test(link, a_frame_that_does_not_fit_is_refused_before_it_is_sent, .init = setup,
     .fini = teardown)
{
    struct kv_buf payload;
    struct seen seen = {.n = 0};
    connect_link(5000);
    kv_buf_init(&payload, KV_FRAME_MAX_ROLE + 64);
    cr_assert_not_null(kv_buf_extend(&payload, KV_FRAME_MAX_ROLE + 1));
    cr_assert_eq(kv_keyring_call(peer.link, KV_ROLE_SEAL, &payload, on_call, &seen),
                 KV_E_TOO_BIG);
    kv_buf_free(&payload);
    kv_buf_init(&payload, 4);
    (void)kv_buf_append_str(&payload, "too long for it");
    cr_assert_eq(kv_keyring_call(peer.link, KV_ROLE_SEAL, &payload, on_call, &seen),
                 KV_E_TOO_BIG, "a payload that was cut is none");
    kv_buf_free(&payload);
    call(&seen);
    cr_assert_eq(seen.rc, 0);
}
