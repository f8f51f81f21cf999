/*
 * Messages between service and keyring: the first two bytes choose the verb, the rest
 * is the payload. The decoders must refuse or know exactly one spelling, and the
 * keyring's own handlers must refuse whatever does not authenticate without a crash.
 */
#include <stdlib.h>
#include <string.h>

#include "store/keyring/role_serve.h"
#include "tests/support/room.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROUND(name)                                                                    \
    do {                                                                               \
        static struct kv_role_##name msg;                                              \
        if (kv_role_##name##_get(payload, &msg) == 0) {                                \
            kv_buf_reset(&out);                                                        \
            kv_role_##name##_put(&out, &msg);                                          \
            if (out.len != payload.len ||                                              \
                (out.len > 0 && memcmp(out.data, payload.data, out.len) != 0))         \
                abort();                                                               \
        }                                                                              \
    } while (0)

static void decode_all(struct kv_bytes payload)
{
    struct kv_buf out;
    kv_buf_init(&out, KV_FRAME_MAX_ROLE);
    ROUND(vault_key);
    ROUND(rows);
    ROUND(infos);
    ROUND(key_new);
    ROUND(key_made);
    ROUND(key_update);
    ROUND(tbs);
    ROUND(export);
    ROUND(blob_rows);
    ROUND(blob_open);
    ROUND(beat);
    ROUND(usage);
    ROUND(usage_ask);
    ROUND(grant);
    ROUND(granted);
    ROUND(list);
    kv_buf_free(&out);
}

/* Making RSA keys is slow and has nothing to find here. */
static bool is_slow(uint16_t verb, struct kv_bytes payload)
{
    static struct kv_role_key_new msg;
    return verb == KV_ROLE_KEY_GENERATE && kv_role_key_new_get(payload, &msg) == 0 &&
           msg.kty == KV_KTY_RSA;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kv_room room;
    if (room.ring == NULL)
        kv_room_init(&room);
    if (size < 2)
        return 0;
    const uint16_t verb = (uint16_t)(data[0] | data[1] << 8);
    const struct kv_bytes payload = {size > 2 ? data + 2 : NULL, size - 2};
    decode_all(payload);
    if (is_slow(verb, payload))
        return 0;
    struct kv_buf out;
    struct kv_err err = KV_ERR_INIT;
    const struct kv_frame frame = {.id = 1, .verb = verb, .payload = payload};
    kv_buf_init_secret(&out, KV_FRAME_MAX_ROLE);
    const struct kv_serve serve = {.ring = room.ring};
    if (kv_role_serve(&serve, &frame, &out, &err) > 0)
        abort();
    kv_buf_free(&out);
    return 0;
}
