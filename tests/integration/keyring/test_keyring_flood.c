/*
 * Journeys with the real keyvault-keyring under a flood of slow work: signatures of
 * large RSA keys by one client, and key generation by the service. Another client's
 * P-256 goes on meanwhile. No times: what counts is what was done before what.
 */
#include <criterion/criterion.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/fixture.h"
#include "tests/support/journey.h"

TestSuite(keyring_flood, .timeout = 100);

enum { N_SLOW = 60, N_QUICK = 200, N_KEYS = 3, VERSION_BIG = 2 };

static struct kv_channel_client flooder;

/* One RSA-4096 key "big" beside "web", and a second client on the same loop. */
static void setup(void)
{
    struct kv_msg_key key;
    struct kv_msg_hello_reply hello;
    struct kv_buf pem;
    fixture_read("keys/rsa4096.pem", &pem);
    struct kv_role_key_new big = {.kty = KV_KTY_RSA,
                                  .import = KV_IMPORT_PEM,
                                  .material = fixture_bytes(&pem),
                                  .attrs = {.ops = KV_OP_SIGN,
                                            .is_enabled = 1,
                                            .nbf_s = KV_TIME_NONE,
                                            .exp_s = KV_TIME_NONE}};
    journey_setup();
    journey_restart_service();
    cr_assert_eq(kv_fake_service_key(&journey.service, "big", &big), 0);
    kv_buf_free(&pem);
    journey.service.keys[1].ops = KV_OP_SIGN;
    journey.service.keys[1].uid = geteuid();
    kv_fake_service_run(&journey.service);
    cr_assert_eq(journey_open_key("keyvault:web", &key), 0);
    cr_assert_eq(journey_open_key("keyvault:big", &key), 0);
    cr_assert_eq(kv_channel_client_open(&flooder, journey.keys_path), 0);
    cr_assert_eq(kv_channel_client_hello(&flooder, KV_VERB_HELLO, 1, &hello), 0);
}

static void teardown(void)
{
    kv_channel_client_close(&flooder);
    journey_teardown();
}

/* Requests are written, replies are not read. */
static void begin_flood(void)
{
    journey_put_sign(VERSION_BIG, KV_SIG_PKCS1);
    for (unsigned i = 0; i < N_SLOW; i++)
        cr_assert_neq(
            kv_channel_client_request(&flooder, KV_VERB_SIGN, &journey.payload), 0);
}

/* How many replies have come by now, or with `is_patient` all that were asked for. */
static unsigned count_replies(struct kv_channel_client *client, unsigned n_asked,
                              bool is_patient)
{
    unsigned n = 0;
    struct kv_frame frame;
    struct pollfd readable = {.fd = client->fd, .events = POLLIN};
    while (n < n_asked && (is_patient || client->in.len > client->used ||
                           poll(&readable, 1, 0) == 1)) {
        cr_assert_eq(kv_channel_client_read(client, &frame, 60000), 0);
        cr_assert_eq(frame.status, 0);
        n++;
    }
    return n;
}

static void sign_quickly(void)
{
    struct kv_bytes signature;
    for (unsigned i = 0; i < N_QUICK; i++)
        cr_assert_eq(journey_sign(&signature), 0);
}

Test(keyring_flood, large_rsa_keys_do_not_hold_up_p256, .init = setup, .fini = teardown)
{
    begin_flood();
    sign_quickly();
    const unsigned n_before = count_replies(&flooder, N_SLOW, false);
    cr_expect_lt(n_before, N_SLOW, "200 of P-256 were done before 60 of RSA-4096");
    cr_expect_eq(count_replies(&flooder, N_SLOW - n_before, true), N_SLOW - n_before,
                 "and the flood is served as well");
}

Test(keyring_flood, making_keys_holds_up_neither_kind, .init = setup, .fini = teardown)
{
    struct kv_buf payload;
    struct kv_role_key_new msg = {.kty = KV_KTY_RSA, .bits = 3072};
    kv_buf_init_secret(&payload, KV_FRAME_MAX_ROLE);
    journey_restart_service(); /* nobody answers questions: grants go on */
    msg.ident = journey.service.keys[1].ident;
    kv_role_key_new_put(&payload, &msg);
    for (unsigned i = 0; i < N_KEYS; i++)
        cr_assert_neq(kv_channel_client_request(&journey.service.client,
                                                KV_ROLE_KEY_GENERATE, &payload),
                      0);
    begin_flood();
    sign_quickly();
    cr_expect_lt(count_replies(&flooder, N_SLOW, false), N_SLOW);
    cr_expect_lt(count_replies(&journey.service.client, N_KEYS, false), N_KEYS,
                 "200 of P-256 were done before 3 keys were made");
    kv_buf_free(&payload);
}
