/*
 * What strangers and broken clients can send to the real keyvault-keyring: malformed,
 * truncated, oversized and half frames, floods, and other uids.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/core/str.h"
#include "store/keyring/channel.h"
#include "tests/support/journey.h"

TestSuite(keyring_frames, .timeout = 60);

Test(keyring_frames, has_an_abstract_twin, .init = journey_setup,
     .fini = journey_teardown)
{
    char name[128];
    char id[2 * KV_ID_LEN + 1];
    struct kv_msg_hello_reply hello;
    struct kv_channel_client twin;
    cr_assert_eq(kv_channel_client_hello(&journey.client, KV_VERB_HELLO, 0, &hello), 0);
    kv_hex_encode(id, hello.installation, KV_ID_LEN);
    (void)snprintf(name, sizeof(name), "@keyvault/%s/keys", id);
    cr_assert_eq(kv_channel_client_open(&twin, name), 0);
    cr_assert_eq(kv_channel_client_hello(&twin, KV_VERB_HELLO, 0, &hello), 0);
    cr_assert_eq(hello.has_service, 1);
    kv_channel_client_close(&twin);
}

/* A local user takes the abstract name while the keyring is away. */
Test(keyring_frames, squatter_of_the_abstract_name_does_not_stop_it,
     .init = journey_setup, .fini = journey_teardown)
{
    struct kv_bytes reply;
    struct kv_msg_hello_reply hello;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char id[2 * KV_ID_LEN + 1];
    cr_assert_eq(kv_channel_client_hello(&journey.client, KV_VERB_HELLO, 0, &hello), 0);
    kv_hex_encode(id, hello.installation, KV_ID_LEN);
    const int n = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1,
                           "keyvault/%s/keys", id);
    cr_assert_eq(journey_stop(SIGTERM), 0);
    kv_channel_client_close(&journey.client);
    kv_fake_service_hang_up(&journey.service);
    const int squatter = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(
        bind(squatter, (const struct sockaddr *)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)),
        0);
    cr_assert_eq(journey_start(), 0);
    cr_assert(journey_log_has("channel.no-twin"));
    cr_assert_eq(kv_fake_service_open(&journey.service, journey.role_path), 0);
    kv_fake_service_run(&journey.service);
    journey_connect_client();
    cr_assert_eq(journey_sign(&reply), 0);
    close(squatter);
}

static void put_u32(uint8_t *out, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

/* Send bytes as the first or a later frame; one refusal comes, then the end. */
static void is_refused(bool says_hello, const void *data, size_t len, const char *id)
{
    struct kv_frame frame;
    struct kv_msg_error error;
    struct kv_msg_hello_reply hello;
    struct kv_channel_client bad;
    cr_assert_eq(kv_channel_client_open(&bad, journey.keys_path), 0);
    if (says_hello)
        cr_assert_eq(kv_channel_client_hello(&bad, KV_VERB_HELLO, 0, &hello), 0);
    cr_assert(kv_channel_client_send(&bad, data, len));
    cr_assert_eq(kv_channel_client_read(&bad, &frame, 5000), 0, "%s", id);
    cr_assert_eq(frame.status, KV_E_INVALID);
    cr_assert_eq(kv_msg_error_get(frame.payload, &error), 0);
    cr_assert_str_eq(error.id, id);
    cr_assert_eq(kv_channel_client_read(&bad, &frame, 5000), KV_E_UNAVAILABLE);
    kv_channel_client_close(&bad);
}

Test(keyring_frames, malformed_frames_are_refused_and_hurt_nobody_else,
     .init = journey_setup, .fini = journey_teardown)
{
    struct kv_bytes reply;
    uint8_t frame[32] = {0};
    for (int hello = 0; hello < 2; hello++) {
        put_u32(frame, KV_FRAME_MAX + 1 - 4);
        is_refused(hello, frame, 16, "channel.bad-frame");
        put_u32(frame, 0xffffffff);
        is_refused(hello, frame, 4, "channel.bad-frame");
        put_u32(frame, 11);
        is_refused(hello, frame, 15, "channel.bad-frame");
        put_u32(frame, 12);
        frame[10] = 2; /* an unknown flag */
        is_refused(hello, frame, 16, "channel.bad-frame");
        frame[10] = 0;
    }
    put_u32(frame, 12);
    frame[8] = KV_VERB_SIGN;
    is_refused(false, frame, 16, "channel.no-hello");
    is_refused(true, frame, 16, "channel.bad-frame");
    frame[8] = KV_VERB_HELLO;
    is_refused(true, frame, 16, "channel.bad-frame");
    cr_assert_eq(journey_sign(&reply), 0, "others are still served");
}

Test(keyring_frames, no_verb_of_the_service_works_on_the_front_door,
     .init = journey_setup, .fini = journey_teardown)
{
    struct kv_bytes reply;
    for (uint16_t verb = 0; verb < 300; verb++) {
        if (verb >= KV_VERB_HELLO && verb <= KV_VERB_DERIVE)
            continue;
        kv_buf_reset(&journey.payload);
        cr_assert_eq(journey_call(verb, &reply), KV_E_UNSUPPORTED, "verb %u", verb);
    }
}

Test(keyring_frames, pipelined_frames_in_odd_pieces_are_all_answered,
     .init = journey_setup, .fini = journey_teardown)
{
    enum { N = 200 };
    struct kv_buf out;
    struct kv_frame frame;
    static uint8_t seen[N + 1];
    kv_buf_init(&out, 1u << 20);
    journey_put_sign(1, KV_SIG_ECDSA);
    for (uint32_t id = 1; id <= N; id++) {
        const size_t begin = kv_frame_begin(
            &out, &(struct kv_frame){.id = 5000 + id, .verb = KV_VERB_SIGN});
        kv_wire_put_raw(&out, journey.payload.data, journey.payload.len);
        kv_frame_end(&out, begin);
    }
    struct kv_bytes reply;
    cr_assert_eq(journey_sign(&reply), 0);
    for (size_t at = 0; at < out.len; at += 1013) {
        const size_t n = out.len - at < 1013 ? out.len - at : 1013;
        cr_assert(kv_channel_client_send(&journey.client, out.data + at, n));
    }
    for (uint32_t i = 1; i <= N; i++) {
        cr_assert_eq(kv_channel_client_read(&journey.client, &frame, 5000), 0);
        cr_assert_eq(frame.status, 0);
        cr_assert(frame.id > 5000 && frame.id <= 5000 + N && !seen[frame.id - 5000]);
        seen[frame.id - 5000] = 1;
    }
    kv_buf_free(&out);
}

Test(keyring_frames, many_frames_that_ask_the_same_are_asked_once,
     .init = journey_setup, .fini = journey_teardown)
{
    enum { N = 40 };
    struct kv_buf out;
    struct kv_frame frame;
    kv_buf_init(&out, 1u << 20);
    journey_put_sign(1, KV_SIG_ECDSA);
    for (uint32_t id = 1; id <= N; id++) {
        const size_t begin =
            kv_frame_begin(&out, &(struct kv_frame){.id = id, .verb = KV_VERB_SIGN});
        kv_wire_put_raw(&out, journey.payload.data, journey.payload.len);
        kv_frame_end(&out, begin);
    }
    cr_assert(kv_channel_client_send(&journey.client, out.data, out.len));
    for (uint32_t i = 0; i < N; i++) {
        cr_assert_eq(kv_channel_client_read(&journey.client, &frame, 5000), 0);
        cr_assert_eq(frame.status, 0);
    }
    cr_assert_lt(atomic_load(&journey.service.n_questions), N / 2);
    kv_buf_free(&out);
}

Test(keyring_frames, client_that_does_not_read_is_bounded, .init = journey_setup,
     .fini = journey_teardown)
{
    struct kv_msg_hello_reply hello;
    struct kv_channel_client deaf;
    struct kv_bytes reply;
    cr_assert_eq(journey_sign(&reply), 0);
    cr_assert_eq(kv_channel_client_open(&deaf, journey.keys_path), 0);
    cr_assert_eq(kv_channel_client_hello(&deaf, KV_VERB_HELLO, 1, &hello), 0);
    cr_assert_eq(fcntl(deaf.fd, F_SETFL, O_NONBLOCK), 0);
    journey_put_sign(1, KV_SIG_ECDSA);
    unsigned n_sent = 0;
    unsigned n_full = 0;
    while (n_full < 20 && n_sent < 100000) {
        struct kv_buf out;
        kv_buf_init(&out, 4096);
        const size_t begin =
            kv_frame_begin(&out, &(struct kv_frame){.id = 1, .verb = KV_VERB_SIGN});
        kv_wire_put_raw(&out, journey.payload.data, journey.payload.len);
        kv_frame_end(&out, begin);
        if (send(deaf.fd, out.data, out.len, MSG_NOSIGNAL) == (ssize_t)out.len) {
            n_sent++;
        } else {
            n_full++;
            (void)usleep(10000);
        }
        kv_buf_free(&out);
    }
    cr_assert_eq(n_full, 20, "sending came to a halt");
    cr_assert_eq(journey_sign(&reply), 0, "others on the same loop are served");
    kv_channel_client_close(&deaf);
}

/* The service does not answer: one uid's frames wait up to its share, no more. */
Test(keyring_frames, frames_that_wait_have_a_share_for_each_uid, .init = journey_setup,
     .fini = journey_teardown)
{
    enum { CONNS = 20, EACH = 100 };
    static struct kv_channel_client flood[CONNS];
    struct kv_msg_hello_reply hello;
    struct kv_frame frame;
    unsigned n_busy = 0;
    atomic_store(&journey.service.is_silent, true);
    for (unsigned i = 0; i < CONNS; i++) {
        cr_assert_eq(kv_channel_client_open(&flood[i], journey.keys_path), 0);
        cr_assert_eq(kv_channel_client_hello(&flood[i], KV_VERB_HELLO, i, &hello), 0);
        for (unsigned k = 0; k < EACH; k++) {
            struct kv_msg_uri uri = {.ops = 0};
            kv_buf_reset(&journey.payload);
            (void)snprintf(uri.uri, sizeof(uri.uri), "keyvault:k-%u-%u", i, k);
            kv_msg_uri_put(&journey.payload, &uri);
            (void)kv_channel_client_request(&flood[i], KV_VERB_OPEN, &journey.payload);
        }
    }
    for (unsigned i = 0; i < CONNS; i++) {
        while (kv_channel_client_read(&flood[i], &frame, 300) == 0)
            n_busy += frame.status == KV_E_BUSY;
    }
    cr_assert_eq(n_busy, CONNS * EACH - KV_CHANNEL_WORKS_PER_UID);
    for (unsigned i = 0; i < CONNS; i++)
        kv_channel_client_close(&flood[i]);
    struct kv_bytes reply;
    atomic_store(&journey.service.is_silent, false);
    int rc = KV_E_BUSY;
    for (int i = 0; i < 100 && rc == KV_E_BUSY; i++) {
        (void)usleep(100000); /* the questions of the flood expire */
        rc = journey_sign(&reply);
    }
    cr_assert_eq(rc, 0);
}

Test(keyring_frames, half_frames_and_silence_before_hello_end, .init = journey_setup,
     .fini = journey_teardown)
{
    struct kv_frame frame;
    struct kv_msg_hello_reply hello;
    struct kv_channel_client half;
    struct kv_channel_client silent;
    cr_assert_eq(kv_channel_client_open(&half, journey.keys_path), 0);
    cr_assert_eq(kv_channel_client_hello(&half, KV_VERB_HELLO, 0, &hello), 0);
    cr_assert(kv_channel_client_send(&half, "\x40\0\0\0abc", 7));
    cr_assert_eq(kv_channel_client_open(&silent, journey.keys_path), 0);
    cr_assert_eq(kv_channel_client_read(&half, &frame, 15000), KV_E_UNAVAILABLE);
    cr_assert_eq(kv_channel_client_read(&silent, &frame, 15000), KV_E_UNAVAILABLE);
    kv_channel_client_close(&half);
    kv_channel_client_close(&silent);
    struct kv_bytes reply;
    cr_assert_eq(journey_sign(&reply), 0, "an idle connection stays");
}

Test(keyring_frames, strangers_get_no_grant, .init = journey_setup,
     .fini = journey_teardown)
{
    struct kv_bytes reply;
    if (geteuid() != 0)
        cr_skip_test("another uid needs root");
    cr_assert_eq(journey_sign(&reply), 0);
    const pid_t child = fork();
    if (child == 0) {
        struct kv_msg_hello_reply hello;
        struct kv_channel_client mine;
        int rc = setgid(65534) == 0 && setuid(65534) == 0 ? 0 : 1;
        if (rc == 0)
            rc = kv_channel_client_open(&mine, journey.keys_path);
        if (rc == 0)
            rc = kv_channel_client_hello(&mine, KV_VERB_HELLO, 0, &hello);
        journey_put_sign(1, KV_SIG_ECDSA);
        if (rc == 0)
            rc = kv_channel_client_call(&mine, KV_VERB_SIGN, &journey.payload, &reply);
        _exit(rc == KV_E_DENIED ? 0 : 1);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

Test(keyring_frames, private_socket_serves_only_the_uid_of_the_service,
     .init = journey_setup_dir, .fini = journey_teardown)
{
    struct kv_frame frame;
    struct kv_msg_hello_reply hello;
    struct kv_channel_client stranger;
    cr_assert_eq(journey_start_as("4242"), 0);
    cr_assert_eq(kv_channel_client_open(&stranger, journey.role_path), 0);
    cr_assert_eq(kv_channel_client_read(&stranger, &frame, 5000), KV_E_UNAVAILABLE);
    kv_channel_client_close(&stranger);
    cr_assert_eq(kv_channel_client_open(&journey.client, journey.keys_path), 0);
    cr_assert_eq(kv_channel_client_hello(&journey.client, KV_VERB_HELLO, 0, &hello), 0);
    cr_assert_eq(hello.has_service, 0);
}
