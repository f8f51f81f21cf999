/*
 * What every codec must keep: decoding what was encoded and encoding it again gives
 * the same bytes; a payload that is short by any number of bytes or has one byte
 * more is refused; a payload with one changed byte is refused or has exactly that
 * one spelling.
 */
#ifndef KV_TESTS_SUPPORT_CODEC_CHECK_H
#define KV_TESTS_SUPPORT_CODEC_CHECK_H

#include "store/core/wire.h"

/* Decode `in` into a message and append the message to `out`; returns the result of
 * the decoder. */
typedef int (*kv_codec_again_fn)(struct kv_bytes in, struct kv_buf *out);

/* Check all of it for one encoded payload. Returns NULL or what went wrong. */
const char *kv_codec_check(struct kv_bytes payload, kv_codec_again_fn again);

/* Define `again_NAME` for a message type. */
#define KV_CODEC_AGAIN(name, type, get, put)                                           \
    static int again_##name(struct kv_bytes in, struct kv_buf *out)                    \
    {                                                                                  \
        static type msg;                                                               \
        memset(&msg, 0xa5, sizeof(msg));                                               \
        const int rc = get(in, &msg);                                                  \
        if (rc == 0)                                                                   \
            put(out, &msg);                                                            \
        return rc;                                                                     \
    }

#endif
