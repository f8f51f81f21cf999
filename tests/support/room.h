/*
 * A key process without the process: seal, ring and one vault key over a clock that
 * stands still; and keys made through the role verbs, as the service makes them.
 */
#ifndef KV_TESTS_SUPPORT_ROOM_H
#define KV_TESTS_SUPPORT_ROOM_H

#include "store/keyring/ring.h"

#define KV_ROOM_TERM 1

struct kv_room {
    struct kv_clock_manual clock;
    struct kv_secret root;
    struct kv_seal *seal;
    struct kv_anchor *anchor; /* in memory only */
    struct kv_ring *ring;
    struct kv_buf wrapped; /* of the vault key */
};

extern const uint8_t kv_room_vault[KV_ID_LEN];

/* Dies when anything fails. */
void kv_room_init(struct kv_room *room);
void kv_room_fini(struct kv_room *room);

/* A key's identity in the room's vault: version filled with `version`. */
struct kv_ident kv_room_ident(const char *name, uint8_t version);

/* Enabled, not exportable, no dates. */
struct kv_key_attrs kv_room_attrs(uint32_t ops);

/* Make a P-256 key through KEY_GENERATE; `row` receives the sealed row. */
void kv_room_key(struct kv_room *room, const struct kv_ident *ident,
                 const struct kv_key_attrs *attrs, struct kv_buf *row);

/* Make the key "web" and what the service grants of it: signing, as of epoch 5. `row`
 * is made here, and borrowed by `granted`. */
void kv_room_granted(struct kv_room *room, struct kv_buf *row,
                     struct kv_role_granted *granted);

/* Serve one role verb; `reply` receives the payload. */
int kv_room_serve(struct kv_room *room, uint16_t verb, const struct kv_buf *payload,
                  struct kv_buf *reply, struct kv_err *err);

#endif
