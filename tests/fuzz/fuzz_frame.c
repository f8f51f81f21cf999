/*
 * Frames of keys.sock, both ends: whatever bytes come, each message is refused or has
 * exactly one spelling.
 */
#include <stdlib.h>
#include <string.h>

#include "store/keyring/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_same(struct kv_bytes payload, const struct kv_buf *out)
{
    if (kv_buf_status(out) != 0 || out->len != payload.len ||
        (out->len > 0 && memcmp(out->data, payload.data, out->len) != 0))
        abort();
}

#define ROUND(name)                                                                    \
    do {                                                                               \
        static struct kv_msg_##name msg;                                               \
        if (kv_msg_##name##_get(payload, &msg) == 0) {                                 \
            kv_buf_reset(&out);                                                        \
            kv_msg_##name##_put(&out, &msg);                                           \
            must_be_same(payload, &out);                                               \
        }                                                                              \
    } while (0)

static void request(uint16_t verb, struct kv_bytes payload)
{
    struct kv_buf out;
    kv_buf_init(&out, KV_FRAME_MAX);
    switch (verb) {
    case KV_VERB_HELLO:
        ROUND(hello);
        break;
    case KV_VERB_OPEN:
    case KV_VERB_INFO:
    case KV_VERB_CERT:
        ROUND(uri);
        break;
    case KV_VERB_LIST:
        ROUND(list);
        break;
    case KV_VERB_SIGN:
        ROUND(sign);
        break;
    case KV_VERB_DECRYPT:
        ROUND(decrypt);
        break;
    case KV_VERB_DERIVE:
        ROUND(derive);
        break;
    default:
        break;
    }
    kv_buf_free(&out);
}

static void reply(const struct kv_frame *frame)
{
    const struct kv_bytes payload = frame->payload;
    struct kv_buf out;
    static struct kv_msg_error error;
    kv_buf_init(&out, KV_FRAME_MAX);
    if (frame->status != 0) {
        if (kv_msg_error_get(payload, &error) == 0 &&
            memchr(error.hint, 0, sizeof(error.hint)) == NULL)
            abort();
    } else {
        switch (frame->verb) {
        case KV_VERB_HELLO:
            ROUND(hello_reply);
            break;
        case KV_VERB_OPEN:
        case KV_VERB_INFO:
            ROUND(key);
            break;
        case KV_VERB_CERT:
            ROUND(certs);
            break;
        case KV_VERB_LIST:
            ROUND(list_reply);
            break;
        default:
            break;
        }
    }
    kv_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t done = 0;
    for (;;) {
        struct kv_frame frame;
        size_t len = 0;
        if (kv_frame_decode(data + done, size - done, KV_FRAME_MAX, &frame, &len) != 1)
            break;
        if (len < KV_FRAME_HEADER_LEN || len > size - done)
            abort();
        if (frame.flags == KV_FRAME_REPLY)
            reply(&frame);
        else
            request(frame.verb, frame.payload);
        done += len;
    }
    return 0;
}
