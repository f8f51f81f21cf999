/*
 * Serving a frame of keys.sock.
 *
 * SIGN, DECRYPT and DERIVE are the hot path: one table look-up for the grant, one for
 * the key, the operation, nothing allocated. OPEN, INFO, CERT and LIST always ask the
 * service, which knows names and policies. Refusals of malformed payloads carry
 * channel.bad-frame: the connection is closed behind them.
 */
#include "store/keyring/serve.h"

#include <string.h>

#include "store/keyring/usage.h"

static int bad_frame(struct kv_err *err)
{
    return kv_err_set(err, KV_E_INVALID, "channel.bad-frame",
                      "the payload of the frame is malformed");
}

/* Fill the question of a frame that names its key by version. */
static void ask_version(const struct kv_serve *serve, const uint8_t version[KV_ID_LEN],
                        struct kv_ask *ask)
{
    *ask = (struct kv_ask){.role_verb = KV_ROLE_GRANT};
    ask->grant.uid = serve->peer.uid;
    ask->grant.gid = serve->peer.gid;
    ask->grant.pid = (uint32_t)serve->peer.pid;
    ask->grant.has_version = 1;
    memcpy(ask->grant.version, version, KV_ID_LEN);
}

static int ask_uri(const struct kv_serve *serve, const struct kv_frame *frame,
                   struct kv_ask *ask, struct kv_err *err)
{
    struct kv_msg_uri msg;
    struct kv_uri uri;
    if (kv_msg_uri_get(frame->payload, &msg) != 0)
        return bad_frame(err);
    const int rc = kv_uri_parse(msg.uri, strlen(msg.uri), &uri, err);
    if (rc != 0)
        return rc;
    *ask = (struct kv_ask){.role_verb = KV_ROLE_GRANT};
    if (frame->verb == KV_VERB_CERT)
        ask->role_verb = KV_ROLE_CERT;
    ask->grant.uid = serve->peer.uid;
    ask->grant.gid = serve->peer.gid;
    ask->grant.pid = (uint32_t)serve->peer.pid;
    ask->grant.is_info = frame->verb != KV_VERB_OPEN;
    ask->grant.ops = msg.ops;
    memcpy(ask->grant.uri, msg.uri, sizeof(ask->grant.uri));
    return KV_SERVE_ASK;
}

static int ask_list(const struct kv_serve *serve, const struct kv_frame *frame,
                    struct kv_ask *ask, struct kv_err *err)
{
    *ask = (struct kv_ask){.role_verb = KV_ROLE_LIST};
    ask->list.uid = serve->peer.uid;
    ask->list.gid = serve->peer.gid;
    if (kv_msg_list_get(frame->payload, &ask->list.list) != 0)
        return bad_frame(err);
    return KV_SERVE_ASK;
}

static int serve_hello(const struct kv_serve *serve, const struct kv_frame *frame,
                       struct kv_buf *out, struct kv_err *err)
{
    struct kv_msg_hello hello;
    struct kv_msg_hello_reply reply = {.version = KV_PROTOCOL_VERSION};
    if (kv_msg_hello_get(frame->payload, &hello) != 0)
        return bad_frame(err);
    if (hello.version != KV_PROTOCOL_VERSION)
        return kv_err_set(err, KV_E_UNSUPPORTED, "channel.version",
                          "the client speaks version %u of the protocol, this is %d",
                          hello.version, KV_PROTOCOL_VERSION);
    reply.has_service = kv_ring_has_service(serve->ring);
    memcpy(reply.installation, kv_ring_installation(serve->ring), KV_ID_LEN);
    kv_msg_hello_reply_put(out, &reply);
    return kv_buf_status(out);
}

/* Find the key of a use; 0, KV_SERVE_ASK, KV_SERVE_SLOW or a refusal. */
static int find_key(const struct kv_serve *serve, const uint8_t version[KV_ID_LEN],
                    enum kv_need need, struct kv_live *live, struct kv_ask *ask,
                    struct kv_err *err)
{
    const int rc = kv_ring_use(serve->ring, serve->peer.uid, version, need, live, err);
    if (rc == KV_RING_ASK) {
        ask_version(serve, version, ask);
        return KV_SERVE_ASK;
    }
    if (rc == 0 && !serve->is_pool && kv_key_is_slow(live->key)) {
        kv_live_release(live);
        kv_ring_uncount_use(serve->ring, serve->peer.uid, version, need);
        return KV_SERVE_SLOW;
    }
    return rc;
}

int kv_serve_end_use(const struct kv_serve *serve, struct kv_live *live,
                     enum kv_use use, int rc)
{
    if (live->key != NULL && rc == 0)
        kv_usage_note(kv_key_usage(live->key), serve->slot, use,
                      kv_ring_now_us(serve->ring) - serve->begun_us);
    else if (live->key != NULL && rc < 0)
        kv_usage_note_error(kv_key_usage(live->key), serve->slot);
    kv_live_release(live);
    return rc;
}

static int serve_sign(const struct kv_serve *serve, const struct kv_frame *frame,
                      struct kv_buf *out, struct kv_ask *ask, struct kv_err *err)
{
    struct kv_msg_sign msg;
    struct kv_live live = {.key = NULL};
    if (kv_msg_sign_get(frame->payload, &msg) != 0)
        return bad_frame(err);
    int rc = find_key(serve, msg.version, KV_NEED_SIGN, &live, ask, err);
    if (rc == 0)
        rc = kv_key_sign(live.key, serve->slot, &msg, out, err);
    return kv_serve_end_use(serve, &live, KV_USE_SIGN, rc);
}

static int serve_decrypt(const struct kv_serve *serve, const struct kv_frame *frame,
                         struct kv_buf *out, struct kv_ask *ask, struct kv_err *err)
{
    struct kv_msg_decrypt msg;
    struct kv_live live = {.key = NULL};
    if (kv_msg_decrypt_get(frame->payload, &msg) != 0)
        return bad_frame(err);
    const enum kv_need need = msg.enc == KV_ENC_TLS ? KV_NEED_TLS : KV_NEED_DECRYPT;
    int rc = find_key(serve, msg.version, need, &live, ask, err);
    if (rc == 0)
        rc = kv_key_decrypt(live.key, serve->slot, &msg, out, err);
    return kv_serve_end_use(serve, &live, KV_USE_DECRYPT, rc);
}

static int serve_derive(const struct kv_serve *serve, const struct kv_frame *frame,
                        struct kv_buf *out, struct kv_ask *ask, struct kv_err *err)
{
    struct kv_msg_derive msg;
    struct kv_live live = {.key = NULL};
    if (kv_msg_derive_get(frame->payload, &msg) != 0)
        return bad_frame(err);
    int rc = find_key(serve, msg.version, KV_NEED_DERIVE, &live, ask, err);
    if (rc == 0)
        rc = kv_key_derive(live.key, serve->slot, &msg, out, err);
    return kv_serve_end_use(serve, &live, KV_USE_DERIVE, rc);
}

/* The verbs that use a key; `serve` knows when the frame came. */
static int serve_use(const struct kv_serve *serve, const struct kv_frame *frame,
                     struct kv_buf *out, struct kv_ask *ask, struct kv_err *err)
{
    struct kv_serve timed = *serve;
    if (timed.begun_us == 0)
        timed.begun_us = kv_ring_now_us(serve->ring);
    if (frame->verb == KV_VERB_SIGN)
        return serve_sign(&timed, frame, out, ask, err);
    if (frame->verb == KV_VERB_DECRYPT)
        return serve_decrypt(&timed, frame, out, ask, err);
    return serve_derive(&timed, frame, out, ask, err);
}

int kv_serve(const struct kv_serve *serve, const struct kv_frame *frame,
             struct kv_buf *out, struct kv_ask *ask, struct kv_err *err)
{
    if (frame->flags != 0)
        return bad_frame(err);
    switch (frame->verb) {
    case KV_VERB_HELLO:
        return serve_hello(serve, frame, out, err);
    case KV_VERB_OPEN:
    case KV_VERB_INFO:
    case KV_VERB_CERT:
        return ask_uri(serve, frame, ask, err);
    case KV_VERB_LIST:
        return ask_list(serve, frame, ask, err);
    case KV_VERB_SIGN:
    case KV_VERB_DECRYPT:
    case KV_VERB_DERIVE:
        return serve_use(serve, frame, out, ask, err);
    default: /* the verb is a number from outside */
        return kv_err_set(err, KV_E_UNSUPPORTED, "channel.unknown-verb",
                          "there is no verb %u on this channel", frame->verb);
    }
}
