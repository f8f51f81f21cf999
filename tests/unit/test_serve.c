#include <criterion/criterion.h>
#include <string.h>

#include "store/keyring/serve.h"
#include "tests/support/room.h"

TestSuite(serve, .timeout = 20);

static struct kv_room room;
static struct kv_buf row;
static struct kv_buf in;
static struct kv_buf out;
static struct kv_buf answer;
static struct kv_ask ask;
static struct kv_err err;
static struct kv_serve self;
static struct kv_role_granted granted;

static void setup(void)
{
    kv_room_init(&room);
    kv_buf_init(&row, KV_ROW_MAX);
    kv_buf_init(&in, KV_FRAME_MAX);
    kv_buf_init(&answer, KV_FRAME_MAX_ROLE);
    kv_buf_init_secret(&out, KV_FRAME_MAX);
    self = (struct kv_serve){.ring = room.ring, .slot = 1, .peer = {33, 34, 35}};
    const struct kv_ident ident = kv_room_ident("web", 1);
    const struct kv_key_attrs attrs = kv_room_attrs(KV_OP_SIGN | KV_OP_DERIVE);
    kv_room_key(&room, &ident, &attrs, &row);
    granted = (struct kv_role_granted){
        .ident = ident,
        .ops = KV_OP_SIGN | KV_OP_TLS_UNPAD,
        .lease_ms = KV_LEASE_MS,
        .epoch = 1,
        .uri = "keyvault://default/keys/web/01010101010101010101010101010101",
        .row = {row.data, row.len}};
}

static void teardown(void)
{
    kv_buf_free(&row);
    kv_buf_free(&in);
    kv_buf_free(&out);
    kv_buf_free(&answer);
    kv_room_fini(&room);
}

static int serve(uint16_t verb)
{
    const struct kv_frame frame = {.id = 1, .verb = verb, .payload = {in.data, in.len}};
    kv_buf_reset(&out);
    err = KV_ERR_INIT;
    return kv_serve(&self, &frame, &out, &ask, &err);
}

static int take_answer(uint16_t verb, int status)
{
    const struct kv_frame frame = {.id = 1,
                                   .verb = ask.role_verb,
                                   .flags = KV_FRAME_REPLY,
                                   .status = status,
                                   .payload = {answer.data, answer.len}};
    kv_buf_reset(&out);
    err = KV_ERR_INIT;
    return kv_serve_answer(room.ring, verb, &ask, &frame, &out, &err);
}

static void put_uri(const char *uri, uint32_t ops)
{
    struct kv_msg_uri msg = {.ops = ops};
    memcpy(msg.uri, uri, strlen(uri) + 1);
    kv_buf_reset(&in);
    kv_msg_uri_put(&in, &msg);
}

static void put_granted(void)
{
    kv_buf_reset(&answer);
    kv_role_granted_put(&answer, &granted);
}

static void put_sign(void)
{
    static const uint8_t digest[32] = {1};
    struct kv_msg_sign msg = {
        .sig = KV_SIG_ECDSA, .md = KV_MD_SHA256, .input = {digest, sizeof(digest)}};
    memset(msg.version, 1, KV_ID_LEN);
    kv_buf_reset(&in);
    kv_msg_sign_put(&in, &msg);
}

Test(serve, open_asks_and_answers_from_the_sealed_body, .init = setup, .fini = teardown)
{
    put_uri("keyvault:web", KV_OP_SIGN);
    cr_assert_eq(serve(KV_VERB_OPEN), KV_SERVE_ASK);
    cr_assert_eq(ask.role_verb, KV_ROLE_GRANT);
    cr_assert_eq(ask.grant.uid, 33);
    cr_assert_eq(ask.grant.is_info, 0);
    cr_assert_eq(ask.grant.has_version, 0);
    put_granted();
    cr_assert_eq(take_answer(KV_VERB_OPEN, 0), 0);
    struct kv_msg_key key;
    cr_assert_eq(kv_msg_key_get((struct kv_bytes){out.data, out.len}, &key), 0);
    cr_assert_eq(key.ops, (uint32_t)KV_OP_SIGN);
    cr_assert_eq(key.kty, KV_KTY_EC);
    cr_assert_str_eq(key.uri, granted.uri);
    put_sign();
    cr_assert_eq(serve(KV_VERB_SIGN), 0, "no second question");
    cr_assert_gt(out.len, 60);
}

Test(serve, open_refuses_what_cannot_be_used, .init = setup, .fini = teardown)
{
    put_uri("keyvault:web", KV_OP_SIGN | KV_OP_DERIVE);
    cr_assert_eq(serve(KV_VERB_OPEN), KV_SERVE_ASK);
    put_granted();
    cr_assert_eq(take_answer(KV_VERB_OPEN, 0), KV_E_DENIED);
    cr_assert_str_eq(err.id, "grant.denied");
    put_uri("keyvault:web", KV_OP_DECRYPT);
    cr_assert_eq(serve(KV_VERB_OPEN), KV_SERVE_ASK);
    cr_assert_eq(take_answer(KV_VERB_OPEN, 0), KV_E_DENIED);
    cr_assert_str_eq(err.id, "key.op-not-permitted");
    put_uri("keyvault:web", 0);
    cr_assert_eq(serve(KV_VERB_OPEN), KV_SERVE_ASK);
    granted.ops = 0;
    put_granted();
    cr_assert_eq(take_answer(KV_VERB_OPEN, 0), KV_E_DENIED);
}

Test(serve, info_gives_no_right, .init = setup, .fini = teardown)
{
    put_uri("keyvault:web", 0);
    cr_assert_eq(serve(KV_VERB_INFO), KV_SERVE_ASK);
    cr_assert_eq(ask.grant.is_info, 1);
    granted.ops = 0;
    put_granted();
    cr_assert_eq(take_answer(KV_VERB_INFO, 0), 0);
    struct kv_msg_key key;
    cr_assert_eq(kv_msg_key_get((struct kv_bytes){out.data, out.len}, &key), 0);
    cr_assert_eq(key.ops, 0);
    put_sign();
    cr_assert_eq(serve(KV_VERB_SIGN), KV_SERVE_ASK);
}

Test(serve, sign_without_a_grant_asks_by_version_and_is_served_again, .init = setup,
     .fini = teardown)
{
    put_sign();
    cr_assert_eq(serve(KV_VERB_SIGN), KV_SERVE_ASK);
    cr_assert_eq(ask.grant.has_version, 1);
    cr_assert_eq(ask.grant.version[0], 1);
    put_granted();
    cr_assert_eq(take_answer(KV_VERB_SIGN, 0), KV_SERVE_AGAIN);
    cr_assert_eq(serve(KV_VERB_SIGN), 0);
}

Test(serve, another_key_than_asked_for_is_refused, .init = setup, .fini = teardown)
{
    put_sign();
    cr_assert_eq(serve(KV_VERB_SIGN), KV_SERVE_ASK);
    ask.grant.version[0] ^= 1;
    put_granted();
    cr_assert_eq(take_answer(KV_VERB_SIGN, 0), KV_E_INTEGRITY);
    cr_assert_str_eq(err.id, "grant.wrong-key");
    put_uri("keyvault://default/keys/web/02020202020202020202020202020202", 0);
    cr_assert_eq(serve(KV_VERB_OPEN), KV_SERVE_ASK);
    cr_assert_eq(take_answer(KV_VERB_OPEN, 0), KV_E_INTEGRITY);
}

Test(serve, refusal_of_the_service_reaches_the_client_in_its_words, .init = setup,
     .fini = teardown)
{
    struct kv_err why = KV_ERR_INIT;
    (void)kv_err_set(&why, KV_E_NOT_FOUND, "uri.not-there", "no such key");
    kv_msg_error_put(&answer, &why);
    put_uri("keyvault:web", 0);
    cr_assert_eq(serve(KV_VERB_OPEN), KV_SERVE_ASK);
    cr_assert_eq(take_answer(KV_VERB_OPEN, KV_E_NOT_FOUND), KV_E_NOT_FOUND);
    cr_assert_str_eq(err.id, "uri.not-there");
    cr_assert_str_eq(err.message, "no such key");
    kv_buf_reset(&answer);
    cr_assert_eq(take_answer(KV_VERB_OPEN, KV_E_DENIED), KV_E_DENIED);
    cr_assert_str_eq(err.id, "grant.refused");
    cr_assert_eq(take_answer(KV_VERB_OPEN, 0), KV_E_INTERNAL);
    cr_assert_str_eq(err.id, "channel.bad-answer");
}

Test(serve, certificates_and_lists_pass_through_when_well_formed, .init = setup,
     .fini = teardown)
{
    static struct kv_msg_certs certs = {
        .uri = "keyvault:web", .n = 1, .der = {{(const uint8_t *)"der", 3}}};
    put_uri("keyvault:certificates/web", 0);
    cr_assert_eq(serve(KV_VERB_CERT), KV_SERVE_ASK);
    cr_assert_eq(ask.role_verb, KV_ROLE_CERT);
    kv_msg_certs_put(&answer, &certs);
    cr_assert_eq(take_answer(KV_VERB_CERT, 0), 0);
    cr_assert_eq(out.len, answer.len);
    answer.len--;
    cr_assert_eq(take_answer(KV_VERB_CERT, 0), KV_E_INTERNAL);

    static uint8_t der[KV_CERT_DER_MAX];
    for (int i = 0; i < 5; i++)
        certs.der[i] = (struct kv_bytes){der, sizeof(der)};
    certs.n = 5;
    kv_buf_reset(&answer);
    kv_msg_certs_put(&answer, &certs);
    cr_assert_eq(take_answer(KV_VERB_CERT, 0), KV_E_TOO_BIG);

    const struct kv_msg_list list = {.vault = "default", .collection = KV_URI_KEYS};
    static struct kv_msg_list_reply reply = {.n = 1, .entry = {{"keyvault:a", "EC"}}};
    kv_buf_reset(&in);
    kv_msg_list_put(&in, &list);
    cr_assert_eq(serve(KV_VERB_LIST), KV_SERVE_ASK);
    kv_buf_reset(&answer);
    kv_msg_list_reply_put(&answer, &reply);
    cr_assert_eq(take_answer(KV_VERB_LIST, 0), 0);
    cr_assert_eq(out.len, answer.len);
}

Test(serve, bad_frames_and_bad_uris_are_told_apart, .init = setup, .fini = teardown)
{
    static const uint16_t verbs[] = {KV_VERB_HELLO,   KV_VERB_OPEN,  KV_VERB_INFO,
                                     KV_VERB_CERT,    KV_VERB_LIST,  KV_VERB_SIGN,
                                     KV_VERB_DECRYPT, KV_VERB_DERIVE};
    cr_assert_eq(kv_buf_append(&in, "\xff", 1), 0);
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        cr_assert_eq(serve(verbs[i]), KV_E_INVALID);
        cr_assert_str_eq(err.id, "channel.bad-frame");
    }
    cr_assert_eq(serve(99), KV_E_UNSUPPORTED);
    cr_assert_eq(serve(KV_ROLE_UNSEAL), KV_E_UNSUPPORTED, "no role verb on keys.sock");
    put_uri("https://x", 0);
    cr_assert_eq(serve(KV_VERB_OPEN), KV_E_INVALID);
    cr_assert_str_eq(err.id, "uri.bad-scheme");
}

Test(serve, hello_tells_version_and_whether_the_service_is_there, .init = setup,
     .fini = teardown)
{
    struct kv_msg_hello_reply reply;
    kv_msg_hello_put(&in, &(struct kv_msg_hello){.version = 1, .cpu = 0});
    for (int i = 0; i < 2; i++) {
        kv_ring_set_service(room.ring, i == 1);
        cr_assert_eq(serve(KV_VERB_HELLO), 0);
        cr_assert_eq(
            kv_msg_hello_reply_get((struct kv_bytes){out.data, out.len}, &reply), 0);
        cr_assert_eq(reply.version, KV_PROTOCOL_VERSION);
        cr_assert_eq(reply.has_service, i);
        cr_assert_eq(reply.installation[0], 7);
    }
    kv_buf_reset(&in);
    kv_msg_hello_put(&in, &(struct kv_msg_hello){.version = 2});
    cr_assert_eq(serve(KV_VERB_HELLO), KV_E_UNSUPPORTED);
}

Test(serve, equal_questions_are_known_as_such, .init = setup, .fini = teardown)
{
    put_sign();
    cr_assert_eq(serve(KV_VERB_SIGN), KV_SERVE_ASK);
    struct kv_ask other = ask;
    cr_assert(kv_ask_equal(&ask, &other));
    other.grant.pid++;
    cr_assert(kv_ask_equal(&ask, &other), "the pid is for the record only");
    other.grant.uid++;
    cr_assert_not(kv_ask_equal(&ask, &other));
    other = ask;
    other.grant.version[5] ^= 1;
    cr_assert_not(kv_ask_equal(&ask, &other));
    other = ask;
    other.role_verb = KV_ROLE_CERT;
    cr_assert_not(kv_ask_equal(&ask, &other));
}

static void put_refusal(void)
{
    struct kv_err refusal = KV_ERR_INIT;
    kv_buf_reset(&answer);
    (void)kv_err_set(&refusal, KV_E_DENIED, "grant.denied", "games may not use web");
    kv_err_hint(&refusal, "grant it");
    kv_msg_error_put(&answer, &refusal);
}

Test(serve, a_right_that_was_taken_away_is_told_from_one_that_never_was, .init = setup,
     .fini = teardown)
{
    put_sign();
    cr_assert_eq(serve(KV_VERB_SIGN), KV_SERVE_ASK);
    put_refusal();
    cr_assert_eq(take_answer(KV_VERB_SIGN, KV_E_DENIED), KV_E_DENIED);
    cr_expect_str_eq(err.id, "grant.denied");
    put_granted();
    cr_assert_eq(take_answer(KV_VERB_SIGN, 0), KV_SERVE_AGAIN);
    put_refusal();
    cr_assert_eq(take_answer(KV_VERB_SIGN, KV_E_DENIED), KV_E_DENIED);
    cr_expect_str_eq(err.id, "grant.revoked");
    cr_expect_str_eq(err.message, "games may not use web any more");
    cr_expect_str_eq(err.hint, "grant it");
    put_uri("keyvault:///keys/web/01010101010101010101010101010101", 0);
    cr_assert_eq(serve(KV_VERB_OPEN), KV_SERVE_ASK);
    cr_assert_eq(take_answer(KV_VERB_OPEN, KV_E_DENIED), KV_E_DENIED);
    cr_expect_str_eq(err.id, "grant.revoked");
    self.peer.uid++;
    put_sign();
    cr_assert_eq(serve(KV_VERB_SIGN), KV_SERVE_ASK);
    cr_assert_eq(take_answer(KV_VERB_SIGN, KV_E_DENIED), KV_E_DENIED);
    cr_expect_str_eq(err.id, "grant.denied", "another user never had it");
}
