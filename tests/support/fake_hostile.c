/*
 * A table of modes: a name, the verbs that meet it, and what is done to the good reply.
 * A row without a function is a mode of the fake keyring's answers themselves.
 */
#include "tests/support/fake_hostile.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER_ID 4
#define HEADER_VERB 8
#define HEADER_FLAGS 10
#define HEADER_STATUS 12

#define VERB(verb) (1U << (verb))
#define HELLO VERB(KV_VERB_HELLO)
#define KEYS (VERB(KV_VERB_OPEN) | VERB(KV_VERB_INFO))
#define SIGN VERB(KV_VERB_SIGN)
#define EVERY 0xffffU
#define AFTER_HELLO (EVERY & ~HELLO)
#define AFTER_INFO (AFTER_HELLO & ~VERB(KV_VERB_INFO))

bool fake_send_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static bool send_it(const struct fake_scene *scene)
{
    return fake_send_all(scene->fd, scene->out->data, scene->out->len);
}

/* Begin another reply than the good one; kv_frame_end follows. */
static size_t begin_again(const struct fake_scene *scene, int32_t status)
{
    kv_buf_reset(scene->out);
    return kv_frame_begin(scene->out, &(struct kv_frame){.id = scene->request->id,
                                                         .verb = scene->request->verb,
                                                         .flags = KV_FRAME_REPLY,
                                                         .status = status});
}

static bool send_instead(const struct fake_scene *scene, int32_t status,
                         const void *payload, size_t len)
{
    size_t begin = begin_again(scene, status);
    (void)kv_buf_append(scene->out, payload, len);
    kv_frame_end(scene->out, begin);
    return send_it(scene);
}

/* --- silence and its kin --- */

static bool say_nothing(const struct fake_scene *scene)
{
    (void)scene;
    return true;
}

static bool hang_up(const struct fake_scene *scene)
{
    (void)scene;
    return false;
}

static bool hang_up_once(const struct fake_scene *scene)
{
    *scene->mode = FAKE_GOOD;
    return false;
}

static bool send_half(const struct fake_scene *scene)
{
    (void)fake_send_all(scene->fd, scene->out->data, scene->out->len / 2);
    return false;
}

static bool drip(const struct fake_scene *scene)
{
    for (size_t i = 0; i < scene->out->len; i++) {
        if (!fake_send_all(scene->fd, scene->out->data + i, 1))
            return false;
        (void)usleep(100000);
    }
    return true;
}

static bool send_later(const struct fake_scene *scene)
{
    (void)usleep(50000);
    return send_it(scene);
}

/* --- frames --- */

static bool length_beyond_ceiling(const struct fake_scene *scene)
{
    static const uint8_t oversize[16] = {0xff, 0xff, 0xff, 0x7f};
    return fake_send_all(scene->fd, oversize, sizeof(oversize));
}

static bool length_below_header(const struct fake_scene *scene)
{
    scene->out->data[0] = 5;
    memset(scene->out->data + 1, 0, 3);
    return send_it(scene);
}

static bool other_id(const struct fake_scene *scene)
{
    scene->out->data[HEADER_ID] ^= 0x55;
    return send_it(scene);
}

static bool other_verb(const struct fake_scene *scene)
{
    scene->out->data[HEADER_VERB] ^= 0x01;
    return send_it(scene);
}

static bool request_for_reply(const struct fake_scene *scene)
{
    scene->out->data[HEADER_FLAGS] = 0;
    return send_it(scene);
}

static bool positive_status(const struct fake_scene *scene)
{
    scene->out->data[HEADER_STATUS] = 7;
    return send_it(scene);
}

static bool one_byte_more(const struct fake_scene *scene)
{
    (void)kv_buf_append(scene->out, "x", 1);
    return send_it(scene);
}

static bool endless_replies(const struct fake_scene *scene)
{
    while (send_it(scene))
        continue;
    return false;
}

static bool largest_frame(const struct fake_scene *scene)
{
    static const uint8_t zeros[KV_FRAME_MAX - KV_FRAME_HEADER_LEN];
    return send_instead(scene, 0, zeros, sizeof(zeros));
}

/* A second reply follows HELLO's, to the request that is expected next. */
static bool reply_before_request(const struct fake_scene *scene)
{
    if (!send_it(scene))
        return false;
    (void)usleep(20000); /* a read of its own */
    scene->out->data[HEADER_ID]++;
    scene->out->data[HEADER_VERB] = KV_VERB_SIGN;
    return send_it(scene);
}

/* --- refusals --- */

static bool unknown_status(const struct fake_scene *scene)
{
    return send_instead(scene, -77, "", 0);
}

static bool refusal_of_garbage(const struct fake_scene *scene)
{
    return send_instead(scene, KV_E_DENIED, "\xff\xff\xff\xff", 4);
}

/* As long as it may be, with what a terminal or a log would obey. */
static bool refusal_that_shouts(const struct fake_scene *scene)
{
    struct kv_err err = KV_ERR_INIT;
    char text[KV_ERR_TEXT_MAX];
    (void)kv_err_set(&err, KV_E_DENIED, "fake.loud", "%s", "x");
    memset(text, 'A', sizeof(text));
    memcpy(text, "\033[2J\nforged line\r\a", 18);
    text[sizeof(text) - 1] = '\0';
    memcpy(err.message, text, sizeof(text));
    memcpy(err.hint, text, sizeof(text));
    size_t begin = begin_again(scene, KV_E_DENIED);
    kv_msg_error_put(scene->out, &err);
    kv_frame_end(scene->out, begin);
    return send_it(scene);
}

/* --- payloads --- */

static bool hello_of_another_version(const struct fake_scene *scene)
{
    struct kv_msg_hello_reply reply = {.version = KV_PROTOCOL_VERSION + 1};
    size_t begin = begin_again(scene, 0);
    kv_msg_hello_reply_put(scene->out, &reply);
    kv_frame_end(scene->out, begin);
    return send_it(scene);
}

static bool garbage(const struct fake_scene *scene)
{
    return send_instead(scene, 0, "garbage", 7);
}

static bool nothing(const struct fake_scene *scene)
{
    return send_instead(scene, 0, "", 0);
}

static bool signature_too_long(const struct fake_scene *scene)
{
    uint8_t sig[4096];
    memset(sig, 0x30, sizeof(sig));
    return send_instead(scene, 0, sig, sizeof(sig));
}

/* One byte less: of ECDSA the outer length does not fit then. */
static bool signature_too_short(const struct fake_scene *scene)
{
    uint8_t sig[4096];
    size_t len = scene->out->len - KV_FRAME_HEADER_LEN;
    if (len > sizeof(sig) || len < 2)
        return false;
    memcpy(sig, scene->out->data + KV_FRAME_HEADER_LEN, len);
    return send_instead(scene, 0, sig, len - 1);
}

/* Well-formed, but of other data. */
static bool signature_of_something_else(const struct fake_scene *scene)
{
    scene->out->data[scene->out->len - 1] ^= 0x01;
    return send_it(scene);
}

/* The reply of OPEN and INFO with another SubjectPublicKeyInfo. */
static bool public_key_of_garbage(const struct fake_scene *scene)
{
    struct kv_msg_key key;
    struct kv_buf payload;
    kv_buf_init(&payload, KV_FRAME_MAX);
    (void)kv_buf_append(&payload, scene->out->data + KV_FRAME_HEADER_LEN,
                        scene->out->len - KV_FRAME_HEADER_LEN);
    bool go_on = false;
    if (kv_msg_key_get((struct kv_bytes){.data = payload.data, .len = payload.len},
                       &key) == 0) {
        key.spki =
            (struct kv_bytes){.data = (const uint8_t *)"\x30\x03\x02\x01", .len = 4};
        size_t begin = begin_again(scene, 0);
        kv_msg_key_put(scene->out, &key);
        kv_frame_end(scene->out, begin);
        go_on = send_it(scene);
    }
    kv_buf_free(&payload);
    return go_on;
}

static bool certificates(const struct fake_scene *scene, uint16_t n)
{
    struct kv_msg_certs certs = {.uri = "keyvault:///certificates/p256", .n = n};
    for (unsigned i = 0; i < n; i++)
        certs.der[i] =
            (struct kv_bytes){.data = (const uint8_t *)"\x30\x80garbage", .len = 9};
    size_t begin = begin_again(scene, 0);
    kv_msg_certs_put(scene->out, &certs);
    kv_frame_end(scene->out, begin);
    return send_it(scene);
}

static bool certificates_of_garbage(const struct fake_scene *scene)
{
    return certificates(scene, 2);
}

static bool no_certificates(const struct fake_scene *scene)
{
    return certificates(scene, 0);
}

/* A page that says for ever that more follows. */
static bool same_page(const struct fake_scene *scene)
{
    struct kv_msg_list_reply *page = calloc(1, sizeof(*page));
    if (page == NULL)
        return false;
    page->n = 2;
    page->has_more = 1;
    (void)OPENSSL_strlcpy(page->entry[0].uri, "keyvault:///keys/aa",
                          sizeof(page->entry[0].uri));
    (void)OPENSSL_strlcpy(page->entry[1].uri, "keyvault:///keys/ab",
                          sizeof(page->entry[1].uri));
    size_t begin = begin_again(scene, 0);
    kv_msg_list_reply_put(scene->out, page);
    kv_frame_end(scene->out, begin);
    free(page);
    return send_it(scene);
}

static const struct {
    const char *name;
    unsigned verbs;
    bool (*act)(const struct fake_scene *scene);
} modes[FAKE_N_MODES] = {
    [FAKE_GOOD] = {"good", 0, NULL},
    [FAKE_HANG_HELLO] = {"hang-hello", EVERY, say_nothing},
    [FAKE_HANG] = {"hang", AFTER_INFO, say_nothing},
    [FAKE_CLOSE] = {"close", AFTER_INFO, hang_up},
    [FAKE_CLOSE_ONCE] = {"close-once", AFTER_INFO, hang_up_once},
    [FAKE_TRUNCATE] = {"truncate", AFTER_HELLO, send_half},
    [FAKE_OVERSIZE] = {"oversize", AFTER_HELLO, length_beyond_ceiling},
    [FAKE_WRONG_ID] = {"wrong-id", AFTER_HELLO, other_id},
    [FAKE_DRIP] = {"drip", AFTER_HELLO, drip},
    [FAKE_SLOW] = {"slow", AFTER_INFO, send_later},
    [FAKE_SEALED] = {"sealed", 0, NULL},
    [FAKE_DENIED] = {"denied", 0, NULL},
    [FAKE_NO_SERVICE] = {"no-service", 0, NULL},
    [FAKE_SWAPPED] = {"swapped", 0, NULL},
    [FAKE_SHORT_LENGTH] = {"short-length", AFTER_HELLO, length_below_header},
    [FAKE_WRONG_VERB] = {"wrong-verb", AFTER_HELLO, other_verb},
    [FAKE_NO_FLAG] = {"no-flag", AFTER_HELLO, request_for_reply},
    [FAKE_POSITIVE_STATUS] = {"positive-status", AFTER_HELLO, positive_status},
    [FAKE_TRAILING] = {"trailing", AFTER_HELLO, one_byte_more},
    [FAKE_ENDLESS] = {"endless", AFTER_HELLO, endless_replies},
    [FAKE_HUGE] = {"huge", AFTER_HELLO, largest_frame},
    [FAKE_EARLY] = {"early", HELLO, reply_before_request},
    [FAKE_UNKNOWN_STATUS] = {"unknown-status", AFTER_HELLO, unknown_status},
    [FAKE_BAD_REFUSAL] = {"bad-refusal", AFTER_HELLO, refusal_of_garbage},
    [FAKE_LOUD_REFUSAL] = {"loud-refusal", AFTER_HELLO, refusal_that_shouts},
    [FAKE_OTHER_VERSION] = {"other-version", HELLO, hello_of_another_version},
    [FAKE_BAD_HELLO] = {"bad-hello", HELLO, garbage},
    [FAKE_GARBAGE] = {"garbage", AFTER_HELLO & ~SIGN, garbage},
    [FAKE_NO_SIG] = {"no-sig", SIGN, nothing},
    [FAKE_LONG_SIG] = {"long-sig", SIGN, signature_too_long},
    [FAKE_SHORT_SIG] = {"short-sig", SIGN, signature_too_short},
    [FAKE_OTHER_SIG] = {"other-sig", SIGN, signature_of_something_else},
    [FAKE_BAD_KEY] = {"bad-key", KEYS, public_key_of_garbage},
    [FAKE_BAD_CERTS] = {"bad-certs", VERB(KV_VERB_CERT), certificates_of_garbage},
    [FAKE_NO_CERTS] = {"no-certs", VERB(KV_VERB_CERT), no_certificates},
    [FAKE_SAME_PAGE] = {"same-page", VERB(KV_VERB_LIST), same_page},
};

const char *fake_mode_name(enum fake_mode mode)
{
    return modes[mode].name;
}

int fake_mode_by_name(const char *name)
{
    for (int i = 0; i < FAKE_N_MODES; i++) {
        if (strcmp(modes[i].name, name) == 0)
            return i;
    }
    return -1;
}

bool fake_hostile_applies(int mode, uint16_t verb)
{
    return modes[mode].act != NULL && verb < 16 &&
           (modes[mode].verbs & VERB(verb)) != 0;
}

bool fake_hostile_reply(int mode, const struct fake_scene *scene)
{
    return modes[mode].act(scene);
}
