/* The room for the keys, for unit tests. */
#include "tests/support/room.h"

#include <string.h>

#include "store/keyring/role_serve.h"

const uint8_t kv_room_vault[KV_ID_LEN] = {0xaa, 1, 2, 3};

void kv_room_init(struct kv_room *room)
{
    static const uint8_t installation[KV_ID_LEN] = {7, 7, 7};
    memset(room, 0, sizeof(*room));
    KV_ASSERT(kv_keys_init(NULL) == 0);
    kv_clock_manual_init(&room->clock, 1000000);
    KV_ASSERT(kv_secret_init(&room->root, KV_ROOT_LEN) == 0);
    KV_ASSERT(kv_rand_fill(kv_rand_system(), room->root.data, KV_ROOT_LEN) == 0);
    KV_ASSERT(kv_seal_new(&room->seal, installation, &room->root, kv_rand_system()) ==
              0);
    KV_ASSERT(kv_anchor_new(&room->anchor, kv_seal_audit_key(room->seal), -1, NULL) ==
              0);
    KV_ASSERT(kv_ring_new(&room->ring, room->seal, room->anchor, &room->clock.clock) ==
              0);
    kv_buf_init(&room->wrapped, 256);
    KV_ASSERT(kv_ring_vault_key_new(room->ring, kv_room_vault, KV_ROOM_TERM,
                                    &room->wrapped, NULL) == 0);
}

void kv_room_fini(struct kv_room *room)
{
    kv_ring_free(room->ring);
    kv_anchor_free(room->anchor);
    kv_seal_free(room->seal);
    kv_secret_free(&room->root);
    kv_buf_free(&room->wrapped);
    kv_keys_fini();
}

struct kv_ident kv_room_ident(const char *name, uint8_t version)
{
    struct kv_ident ident = {
        .kind = KV_KIND_KEY, .term = KV_ROOM_TERM, .row_version = 1};
    memcpy(ident.vault, kv_room_vault, KV_ID_LEN);
    memset(ident.version, version, KV_ID_LEN);
    KV_ASSERT(strlen(name) < sizeof(ident.name));
    memcpy(ident.name, name, strlen(name) + 1);
    return ident;
}

struct kv_key_attrs kv_room_attrs(uint32_t ops)
{
    return (struct kv_key_attrs){.ops = ops,
                                 .is_enabled = 1,
                                 .nbf_s = KV_TIME_NONE,
                                 .exp_s = KV_TIME_NONE,
                                 .created_s = 5,
                                 .updated_s = 6};
}

void kv_room_granted(struct kv_room *room, struct kv_buf *row,
                     struct kv_role_granted *granted)
{
    kv_buf_init(row, KV_ROW_MAX);
    const struct kv_ident ident = kv_room_ident("web", 1);
    const struct kv_key_attrs attrs = kv_room_attrs(KV_OP_SIGN | KV_OP_DERIVE);
    kv_room_key(room, &ident, &attrs, row);
    *granted = (struct kv_role_granted){.ident = ident,
                                        .ops = KV_OP_SIGN,
                                        .lease_ms = KV_LEASE_MS,
                                        .epoch = 5,
                                        .uri = "keyvault:web",
                                        .row = {row->data, row->len}};
}

int kv_room_serve(struct kv_room *room, uint16_t verb, const struct kv_buf *payload,
                  struct kv_buf *reply, struct kv_err *err)
{
    const struct kv_frame frame = {
        .id = 1, .verb = verb, .payload = {payload->data, payload->len}};
    const struct kv_serve serve = {.ring = room->ring};
    return kv_role_serve(&serve, &frame, reply, err);
}

void kv_room_key(struct kv_room *room, const struct kv_ident *ident,
                 const struct kv_key_attrs *attrs, struct kv_buf *row)
{
    struct kv_buf payload;
    struct kv_buf reply;
    struct kv_role_key_made made;
    kv_buf_init(&payload, KV_FRAME_MAX_ROLE);
    kv_buf_init_secret(&reply, KV_FRAME_MAX_ROLE);
    const struct kv_role_key_new msg = {
        .ident = *ident, .kty = KV_KTY_EC, .curve = KV_CURVE_P256, .attrs = *attrs};
    kv_role_key_new_put(&payload, &msg);
    KV_ASSERT(kv_room_serve(room, KV_ROLE_KEY_GENERATE, &payload, &reply, NULL) == 0);
    KV_ASSERT(kv_role_key_made_get((struct kv_bytes){reply.data, reply.len}, &made) ==
              0);
    KV_ASSERT(kv_buf_append(row, made.row.data, made.row.len) == 0);
    kv_buf_free(&payload);
    kv_buf_free(&reply);
}
