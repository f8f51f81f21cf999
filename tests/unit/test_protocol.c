#include <criterion/criterion.h>
#include <string.h>

#include "store/keyring/protocol.h"
#include "tests/support/codec_check.h"

TestSuite(protocol, .timeout = 20);

static uint8_t room[KV_FRAME_MAX];

static size_t frame_of(uint8_t *out, uint32_t behind, uint16_t flags, int32_t status)
{
    struct kv_buf buf;
    kv_buf_init(&buf, 64);
    const struct kv_frame frame = {
        .id = 7, .verb = KV_VERB_SIGN, .flags = flags, .status = status};
    (void)kv_frame_begin(&buf, &frame);
    memcpy(out, buf.data, buf.len);
    for (size_t i = 0; i < 4; i++)
        out[i] = (uint8_t)(behind >> (8 * i));
    kv_buf_free(&buf);
    return KV_FRAME_HEADER_LEN;
}

Test(protocol, frame_comes_back_as_sent)
{
    struct kv_buf out;
    kv_buf_init(&out, KV_FRAME_MAX);
    cr_assert_eq(kv_buf_append_str(&out, "x"), 0);
    const struct kv_frame sent = {.id = 0xfffefdfc,
                                  .verb = KV_VERB_OPEN,
                                  .flags = KV_FRAME_REPLY,
                                  .status = KV_E_DENIED};
    const size_t begin = kv_frame_begin(&out, &sent);
    cr_assert_eq(begin, 1);
    cr_assert_eq(kv_buf_append_str(&out, "payload"), 0);
    kv_frame_end(&out, begin);

    struct kv_frame got;
    size_t len = 0;
    for (size_t part = 0; part < out.len - 1; part++)
        cr_assert_eq(kv_frame_decode(out.data + 1, part, KV_FRAME_MAX, &got, &len), 0);
    cr_assert_eq(kv_frame_decode(out.data + 1, out.len - 1, KV_FRAME_MAX, &got, &len),
                 1);
    cr_assert_eq(len, out.len - 1);
    cr_assert_eq(got.id, sent.id);
    cr_assert_eq(got.verb, sent.verb);
    cr_assert_eq(got.flags, sent.flags);
    cr_assert_eq(got.status, sent.status);
    cr_assert_eq(got.payload.len, 7);
    cr_assert_eq(memcmp(got.payload.data, "payload", 7), 0);
    kv_buf_free(&out);
}

Test(protocol, frame_refuses_lengths_out_of_range_at_once)
{
    static const uint32_t bad[] = {0, 11, KV_FRAME_MAX - 3, 0x7fffffff, 0xffffffff};
    struct kv_frame got;
    size_t len = 0;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void)frame_of(room, bad[i], 0, 0);
        cr_assert_eq(kv_frame_decode(room, 4, KV_FRAME_MAX, &got, &len), KV_E_INVALID,
                     "%u", bad[i]);
    }
    (void)frame_of(room, KV_FRAME_MAX - 4, 0, 0);
    cr_assert_eq(kv_frame_decode(room, 4, KV_FRAME_MAX, &got, &len), 0);
    cr_assert_eq(kv_frame_decode(room, KV_FRAME_MAX, KV_FRAME_MAX, &got, &len), 1);
    cr_assert_eq(len, KV_FRAME_MAX);
    (void)frame_of(room, 12, 0, 0);
    cr_assert_eq(kv_frame_decode(room, 16, KV_FRAME_MAX, &got, &len), 1);
    cr_assert_eq(got.payload.len, 0);
}

Test(protocol, frame_refuses_flags_and_status_that_contradict)
{
    struct kv_frame got;
    size_t len = 0;
    (void)frame_of(room, 12, 2, 0);
    cr_assert_eq(kv_frame_decode(room, 16, KV_FRAME_MAX, &got, &len), KV_E_INVALID);
    (void)frame_of(room, 12, 0, KV_E_DENIED);
    cr_assert_eq(kv_frame_decode(room, 16, KV_FRAME_MAX, &got, &len), KV_E_INVALID);
    (void)frame_of(room, 12, KV_FRAME_REPLY, 1);
    cr_assert_eq(kv_frame_decode(room, 16, KV_FRAME_MAX, &got, &len), KV_E_INVALID);
}

Test(protocol, frame_end_leaves_a_failed_buffer_alone)
{
    struct kv_buf out;
    kv_buf_init(&out, 20);
    const size_t begin = kv_frame_begin(&out, &(struct kv_frame){.id = 1});
    kv_wire_put_u64(&out, 1);
    kv_frame_end(&out, begin);
    cr_assert_eq(kv_buf_status(&out), KV_E_TOO_BIG);
    kv_buf_free(&out);
}

/* kv_msg_error is read into its own struct but written from a kv_err. */
static void error_put(struct kv_buf *out, const struct kv_msg_error *msg)
{
    static struct kv_err err;
    memset(&err, 0, sizeof(err));
    memcpy(err.id, msg->id, sizeof(err.id));
    memcpy(err.message, msg->message, sizeof(err.message));
    memcpy(err.hint, msg->hint, sizeof(err.hint));
    kv_msg_error_put(out, &err);
}

#define AGAIN(name)                                                                    \
    KV_CODEC_AGAIN(name, struct kv_msg_##name, kv_msg_##name##_get, kv_msg_##name##_put)
KV_CODEC_AGAIN(error, struct kv_msg_error, kv_msg_error_get, error_put)
AGAIN(hello)
AGAIN(hello_reply)
AGAIN(uri)
AGAIN(key)
AGAIN(certs)
AGAIN(list)
AGAIN(list_reply)
AGAIN(sign)
AGAIN(decrypt)
AGAIN(derive)

#define CHECK(name, ...)                                                               \
    do {                                                                               \
        static const struct kv_msg_##name msg = __VA_ARGS__;                           \
        kv_msg_##name##_put(&out, &msg);                                               \
        cr_assert_eq(kv_buf_status(&out), 0);                                          \
        const struct kv_bytes bytes = {out.data, out.len};                             \
        const char *problem = kv_codec_check(bytes, again_##name);                     \
        cr_assert_null(problem, "%s: %s", #name, problem);                             \
        kv_buf_reset(&out);                                                            \
    } while (0)

#define BYTES(text)                                                                    \
    {                                                                                  \
        (const uint8_t *)(text), sizeof(text) - 1                                      \
    }

Test(protocol, messages_keep_the_rules_of_codecs)
{
    struct kv_buf out;
    kv_buf_init(&out, KV_FRAME_MAX);
    CHECK(hello, {.version = 1, .cpu = 3});
    CHECK(hello_reply, {.version = 1, .is_sealed = 1, .installation = {1, 2, 3}});
    CHECK(uri, {.uri = "keyvault:web", .ops = KV_OP_SIGN | KV_OP_TLS_UNPAD});
    CHECK(key, {.version = {9},
                .kty = KV_KTY_EC,
                .curve = KV_CURVE_P256,
                .bits = 256,
                .ops = KV_OP_SIGN,
                .spki = BYTES("spki"),
                .uri = "keyvault://default/keys/web/0123"});
    CHECK(certs, {.uri = "keyvault:web", .n = 2, .der = {BYTES("leaf"), BYTES("ca")}});
    CHECK(list, {.vault = "default", .collection = KV_URI_KEYS, .after = "web-1"});
    CHECK(list, {.vault = ""});
    CHECK(list_reply, {.n = 2,
                       .has_more = 1,
                       .entry = {{"keyvault:a", "RSA 2048 key"}, {"keyvault:b", ""}}});
    CHECK(sign, {.version = {1},
                 .sig = KV_SIG_PSS,
                 .md = KV_MD_SHA256,
                 .mgf1_md = KV_MD_SHA256,
                 .salt_len = 32,
                 .input = BYTES("0123456789abcdef0123456789abcdef")});
    CHECK(decrypt, {.enc = KV_ENC_OAEP,
                    .md = KV_MD_SHA1,
                    .mgf1_md = KV_MD_SHA1,
                    .label = BYTES("label"),
                    .input = BYTES("ciphertext")});
    CHECK(derive, {.version = {1}, .peer_spki = BYTES("spki")});
    kv_buf_free(&out);
}

Test(protocol, error_message_carries_id_text_and_hint)
{
    struct kv_buf out;
    kv_buf_init(&out, KV_FRAME_MAX);
    struct kv_err err = KV_ERR_INIT;
    (void)kv_err_set(&err, KV_E_DENIED, "grant.denied", "no right to %s", "web");
    kv_err_hint(&err, "ask the administrator");
    kv_msg_error_put(&out, &err);
    struct kv_msg_error msg;
    cr_assert_eq(kv_msg_error_get((struct kv_bytes){out.data, out.len}, &msg), 0);
    cr_assert_str_eq(msg.id, "grant.denied");
    cr_assert_str_eq(msg.message, "no right to web");
    cr_assert_str_eq(msg.hint, "ask the administrator");
    cr_assert_null(kv_codec_check((struct kv_bytes){out.data, out.len}, again_error));
    kv_buf_free(&out);
}

Test(protocol, refuses_values_out_of_range)
{
    struct kv_buf out;
    kv_buf_init(&out, KV_FRAME_MAX);
    struct kv_bytes bytes;
#define REFUSED(name, why, ...)                                                        \
    do {                                                                               \
        kv_buf_reset(&out);                                                            \
        kv_msg_##name##_put(&out, &(const struct kv_msg_##name)__VA_ARGS__);           \
        bytes = (struct kv_bytes){out.data, out.len};                                  \
        static struct kv_msg_##name got;                                               \
        cr_assert_eq(kv_msg_##name##_get(bytes, &got), KV_E_INVALID, "%s", why);       \
    } while (0)
    REFUSED(hello_reply, "flag of 2", {.is_sealed = 2});
    REFUSED(uri, "unknown operation", {.uri = "keyvault:a", .ops = 1u << 11});
    REFUSED(key, "kty 0", {.bits = 1});
    REFUSED(key, "RSA with a curve", {.kty = KV_KTY_RSA, .curve = 1, .bits = 2048});
    REFUSED(key, "Ed25519 as EC", {.kty = KV_KTY_EC, .curve = 5, .bits = 255});
    REFUSED(key, "no bits", {.kty = KV_KTY_RSA});
    REFUSED(certs, "no certificate", {.uri = "keyvault:a"});
    REFUSED(certs, "empty certificate", {.uri = "keyvault:a", .n = 1});
    REFUSED(list, "unknown collection", {.collection = 3});
    REFUSED(list, "vault name of two letters", {.vault = "ab"});
    REFUSED(list, "name with a slash", {.after = "a/b"});
    REFUSED(sign, "unknown scheme", {.sig = 5});
    REFUSED(sign, "no scheme", {.md = KV_MD_SHA256});
    REFUSED(sign, "unknown digest", {.sig = 1, .md = 9});
    REFUSED(decrypt, "unknown padding", {.enc = 4});
    const struct kv_bytes big = {room, KV_SIGN_INPUT_MAX + 1};
    REFUSED(sign, "input too long", {.sig = KV_SIG_EDDSA, .input = big});
    const struct kv_bytes spki = {room, KV_SPKI_MAX + 1};
    REFUSED(derive, "public key too long", {.peer_spki = spki});
    kv_buf_free(&out);
}

Test(protocol, refuses_more_entries_than_the_format_has)
{
    struct kv_buf out;
    kv_buf_init(&out, KV_FRAME_MAX);
    kv_wire_put_str(&out, "keyvault:a");
    kv_wire_put_u16(&out, KV_CHAIN_MAX + 1);
    for (int i = 0; i <= KV_CHAIN_MAX; i++)
        kv_wire_put_bytes(&out, "x", 1);
    static struct kv_msg_certs certs;
    cr_assert_eq(kv_msg_certs_get((struct kv_bytes){out.data, out.len}, &certs),
                 KV_E_INVALID);
    kv_buf_reset(&out);
    kv_wire_put_u16(&out, KV_LIST_MAX + 1);
    kv_wire_put_u8(&out, 0);
    for (int i = 0; i <= KV_LIST_MAX; i++) {
        kv_wire_put_str(&out, "u");
        kv_wire_put_str(&out, "d");
    }
    static struct kv_msg_list_reply list;
    cr_assert_eq(kv_msg_list_reply_get((struct kv_bytes){out.data, out.len}, &list),
                 KV_E_INVALID);
    kv_buf_free(&out);
}

Test(protocol, names_and_lengths_are_those_of_jose_and_openssl)
{
    cr_assert_eq(kv_md_len(KV_MD_SHA384), 48);
    cr_assert_eq(kv_md_len(KV_MD_NONE), 0);
    cr_assert_eq(kv_md_len(200), 0);
    cr_assert_str_eq(kv_md_name(KV_MD_SHA3_256), "SHA3-256");
    cr_assert_null(kv_md_name(KV_MD_NONE));
    cr_assert_null(kv_md_name(9));
    cr_assert_str_eq(kv_op_name(KV_OP_SIGN), "sign");
    cr_assert_str_eq(kv_op_name(KV_OP_DERIVE), "deriveBits");
    cr_assert_str_eq(kv_op_name(KV_OP_EXPORT), "export");
    cr_assert_null(kv_op_name(KV_OP_CA_SIGN));
    cr_assert_null(kv_op_name(KV_OP_SIGN | KV_OP_VERIFY));
    cr_assert_null(kv_op_name(0));
    cr_assert_str_eq(kv_curve_name(KV_CURVE_P256K), "P-256K");
    cr_assert_str_eq(kv_curve_name(KV_CURVE_ED25519), "Ed25519");
    cr_assert_null(kv_curve_name(KV_CURVE_NONE));
    cr_assert_null(kv_curve_name(6));
}
