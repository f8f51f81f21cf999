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
#include "tests/support/link_peer.h"

TestSuite(link, .timeout = 60);

static struct kv_keyring *kr;
static unsigned n_connected;
static unsigned n_questions;
static unsigned n_closed;

static void on_connected(void *arg, const struct kv_msg_hello_reply *hello)
{
    (void)arg;
    cr_assert_eq(hello->installation[0], 7);
    n_connected++;
}

static void on_question(void *arg, uint32_t id, uint16_t verb, struct kv_bytes payload)
{
    (void)arg;
    (void)payload;
    n_questions++;
    kv_keyring_answer(kr, id, verb, KV_E_DENIED, NULL, NULL);
}

static void open_link(uid_t uid, unsigned timeout_ms)
{
    const struct kv_keyring_config config = {.loop = &peer.loop,
                                             .path = peer.path,
                                             .server_uid = uid,
                                             .timeout_ms = timeout_ms,
                                             .on_question = on_question,
                                             .on_connected = on_connected};
    cr_assert_eq(kv_keyring_open(&kr, &config, NULL), 0);
}

static void on_link_closed(void *arg)
{
    (void)arg;
    n_closed++;
}

static void setup(void)
{
    link_peer_init();
    n_connected = 0;
    n_questions = 0;
    n_closed = 0;
}

static void teardown(void)
{
    kv_keyring_close(kr, on_link_closed, NULL);
    link_peer_fini();
    cr_assert_eq(n_closed, 1);
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
    int rc = kv_keyring_call(kr, KV_ROLE_SEAL, &payload, on_call, seen);
    cr_assert_eq(seen->n, 0, "a callback never runs before its call has returned");
    kv_buf_free(&payload);
    return rc;
}

/* One call and its end. */
static void call(struct seen *seen)
{
    cr_assert_eq(start_call(seen), 0);
    link_peer_wait(&seen->n, 1);
}

static void connect_link(unsigned timeout_ms)
{
    link_peer_listen();
    open_link(geteuid(), timeout_ms);
    link_peer_wait(&n_connected, 1);
    cr_assert(kv_keyring_is_connected(kr));
}

Test(link, carries_calls_and_answers, .init = setup, .fini = teardown)
{
    struct seen seen[20];
    connect_link(5000);
    cr_assert_eq(peer.n_hellos, 1);
    for (size_t i = 0; i < 20; i++)
        cr_assert_eq(start_call(&seen[i]), 0);
    for (size_t i = 0; i < 20; i++) {
        link_peer_wait(&seen[i].n, 1);
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
    cr_assert(!kv_keyring_is_connected(kr));
    call(&seen);
    cr_assert_eq(seen.rc, KV_E_UNAVAILABLE);
    cr_assert_str_eq(seen.id, "keyring.unreachable");
    link_peer_listen();
    link_peer_wait(&n_connected, 1);
    call(&seen);
    cr_assert_eq(seen.rc, 0, "it connected as soon as somebody was there");
}

Test(link, says_nothing_to_a_server_of_another_user, .init = setup, .fini = teardown)
{
    struct seen seen;
    link_peer_listen();
    open_link(geteuid() + 1, 5000);
    for (int i = 0; i < 300; i++) {
        (void)uv_run(&peer.loop, UV_RUN_NOWAIT);
        (void)poll(NULL, 0, 1);
    }
    cr_assert_eq(peer.n_hellos, 0);
    cr_assert_eq(n_connected, 0);
    call(&seen);
    cr_assert_eq(seen.rc, KV_E_UNAVAILABLE);
}

Test(link, opens_vault_keys_first_and_again_after_each_connect, .init = setup,
     .fini = teardown)
{
    static const uint8_t wrapped[40] = {1};
    struct kv_role_vault_key key = {.term = 1, .wrapped = {wrapped, sizeof(wrapped)}};
    struct seen seen;
    link_peer_listen();
    open_link(geteuid(), 5000);
    cr_assert_eq(kv_keyring_add_vault_key(kr, &key), 0);
    cr_assert_eq(kv_keyring_add_vault_key(kr, &key), 0, "known already");
    cr_assert(kv_keyring_has_vault_key(kr, key.vault));
    link_peer_wait(&n_connected, 1);
    cr_assert_eq(peer.n_vault_keys, 1);
    key.term = 2;
    cr_assert_eq(kv_keyring_add_vault_key(kr, &key), 0);
    link_peer_wait(&peer.n_vault_keys, 2);
    link_peer_hang_up();
    link_peer_wait(&n_connected, 2);
    cr_assert_eq(peer.n_vault_keys, 4, "both, again");
    call(&seen);
    cr_assert_eq(seen.rc, 0);
    kv_keyring_remove_vault_keys(kr, key.vault);
    cr_assert_not(kv_keyring_has_vault_key(kr, key.vault));
}

Test(link, with_a_refused_vault_key_it_is_not_connected, .init = setup,
     .fini = teardown)
{
    struct kv_role_vault_key key = {.term = 1};
    peer.refuses_vault_keys = true;
    link_peer_listen();
    open_link(geteuid(), 5000);
    cr_assert_eq(kv_keyring_add_vault_key(kr, &key), 0);
    link_peer_wait(&peer.n_vault_keys, 2);
    cr_assert_eq(n_connected, 0);
    peer.refuses_vault_keys = false;
    link_peer_wait(&n_connected, 1);
}

Test(link, a_sealed_keyring_is_asked_until_it_is_open, .init = setup, .fini = teardown)
{
    struct seen seen;
    peer.is_sealed = true;
    link_peer_listen();
    open_link(geteuid(), 5000);
    link_peer_wait(&peer.n_hellos, 2);
    cr_assert(kv_keyring_is_sealed(kr));
    cr_assert(!kv_keyring_is_connected(kr));
    call(&seen);
    cr_assert_eq(seen.rc, KV_E_SEALED);
    cr_assert_str_eq(seen.id, "keyring.sealed");
    peer.is_sealed = false;
    link_peer_wait(&n_connected, 1);
    cr_assert(!kv_keyring_is_sealed(kr));
}

static const struct {
    enum link_mood mood;
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
        unsigned before = n_connected;
        peer.mood = moods[i].mood;
        call(&seen);
        cr_assert_eq(seen.rc, moods[i].rc, "mood %d: %d %s", (int)moods[i].mood,
                     seen.rc, seen.id);
        cr_assert_str_eq(seen.id, moods[i].id, "mood %d", (int)moods[i].mood);
        peer.mood = SERVES;
        peer.n_calls = 0;
        if (moods[i].is_lost)
            link_peer_wait(&n_connected, before + 1);
        call(&seen);
        cr_assert_eq(seen.rc, 0, "the next one is served, after mood %d",
                     (int)moods[i].mood);
        cr_assert_eq(seen.n, 1);
    }
}

Test(link, making_a_key_may_take_longer, .init = setup, .fini = teardown)
{
    struct kv_buf payload;
    struct seen slow = {.n = 0};
    struct seen quick;
    connect_link(100);
    peer.mood = IS_SILENT;
    kv_buf_init(&payload, 1);
    cr_assert_eq(kv_keyring_call(kr, KV_ROLE_KEY_GENERATE, &payload, on_call, &slow),
                 0);
    for (int i = 0; i < 3; i++) {
        call(&quick);
        cr_assert_eq(quick.rc, KV_E_TIMEOUT);
    }
    cr_assert_eq(slow.n, 0, "it goes on waiting");
    link_peer_wait(&slow.n, 1);
    cr_assert_eq(slow.rc, KV_E_TIMEOUT, "but not for ever");
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
    link_peer_ask(9, KV_ROLE_GRANT);
    link_peer_wait(&peer.n_answers, 1);
    cr_assert_eq(n_questions, 1);
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
        cr_assert_eq(kv_keyring_call(kr, KV_ROLE_SEAL, &nothing, on_call, &late[2]), 0);
}

Test(link, a_caller_may_try_again_from_its_callback, .init = setup, .fini = teardown)
{
    struct kv_buf payload;
    connect_link(5000);
    peer.mood = IS_SILENT;
    memset(late, 0, sizeof(late));
    kv_buf_init(&payload, 1);
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(kv_keyring_call(kr, KV_ROLE_SEAL, &payload,
                                     i == 0 ? on_lost : on_call, &late[i]),
                     0);
    link_peer_wait(&peer.n_calls, 2);
    link_peer_hang_up();
    link_peer_wait(&late[2].n, 1);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(late[i].n, 1);
        cr_assert_eq(late[i].rc, KV_E_UNAVAILABLE);
    }
}

Test(link, what_is_abandoned_fails_and_the_link_goes_on, .init = setup,
     .fini = teardown)
{
    struct seen seen[3];
    struct seen after;
    connect_link(5000);
    kv_keyring_abandon(kr);
    peer.mood = IS_SILENT;
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(start_call(&seen[i]), 0);
    kv_keyring_abandon(kr);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(seen[i].n, 1);
        cr_assert_eq(seen[i].rc, KV_E_UNAVAILABLE);
    }
    peer.mood = SERVES;
    call(&after);
    cr_assert_eq(after.rc, 0);
}

Test(link, closing_fails_what_waits_and_takes_nothing_more, .init = setup)
{
    struct seen seen;
    struct seen refused;
    connect_link(5000);
    peer.mood = IS_SILENT;
    cr_assert_eq(start_call(&seen), 0);
    kv_keyring_close(kr, on_link_closed, NULL);
    cr_assert_eq(seen.n, 1);
    cr_assert_eq(seen.rc, KV_E_UNAVAILABLE);
    cr_assert_eq(start_call(&refused), KV_E_UNAVAILABLE);
    kv_keyring_answer(kr, 1, KV_ROLE_GRANT, 0, NULL, NULL);
    link_peer_wait(&n_closed, 1);
    cr_assert_eq(seen.n, 1);
    link_peer_fini();
}

Test(link, a_frame_that_does_not_fit_is_refused_before_it_is_sent, .init = setup,
     .fini = teardown)
{
    struct kv_buf payload;
    struct seen seen = {.n = 0};
    connect_link(5000);
    kv_buf_init(&payload, KV_FRAME_MAX_ROLE + 64);
    cr_assert_not_null(kv_buf_extend(&payload, KV_FRAME_MAX_ROLE + 1));
    cr_assert_eq(kv_keyring_call(kr, KV_ROLE_SEAL, &payload, on_call, &seen),
                 KV_E_TOO_BIG);
    kv_buf_free(&payload);
    kv_buf_init(&payload, 4);
    (void)kv_buf_append_str(&payload, "too long for it");
    cr_assert_eq(kv_keyring_call(kr, KV_ROLE_SEAL, &payload, on_call, &seen),
                 KV_E_TOO_BIG, "a payload that was cut is none");
    kv_buf_free(&payload);
    call(&seen);
    cr_assert_eq(seen.rc, 0);
}
