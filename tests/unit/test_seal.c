#include <criterion/criterion.h>
#include <string.h>

#include "tests/support/room.h"

TestSuite(seal, .timeout = 20);

static struct kv_room room;
static struct kv_buf row;
static struct kv_buf plain;
static struct kv_ident ident;

static void setup(void)
{
    kv_room_init(&room);
    kv_buf_init(&row, KV_ROW_MAX);
    kv_buf_init_secret(&plain, KV_BODY_MAX);
    ident = kv_room_ident("web", 1);
    ident.kind = KV_KIND_SECRET;
    const struct kv_bytes body = {(const uint8_t *)"hello", 5};
    cr_assert_eq(kv_ring_seal(room.ring, &ident, body, &row, NULL), 0);
}

static void teardown(void)
{
    kv_buf_free(&row);
    kv_buf_free(&plain);
    kv_room_fini(&room);
}

static int open_as(const struct kv_ident *as, struct kv_err *err)
{
    kv_buf_reset(&plain);
    return kv_ring_unseal(room.ring, as, (struct kv_bytes){row.data, row.len}, &plain,
                          err);
}

Test(seal, row_opens_to_what_was_sealed, .init = setup, .fini = teardown)
{
    cr_assert_eq(row.len, 5 + KV_ROW_HEADER_LEN + KV_ROW_TAG_LEN);
    cr_assert_eq(open_as(&ident, NULL), 0);
    cr_assert_eq(plain.len, 5);
    cr_assert_eq(memcmp(plain.data, "hello", 5), 0);
}

Test(seal, refuses_a_row_with_any_byte_changed, .init = setup, .fini = teardown)
{
    for (size_t i = 0; i < row.len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct kv_err err = KV_ERR_INIT;
            row.data[i] ^= (uint8_t)(1u << bit);
            cr_assert_eq(open_as(&ident, &err), KV_E_INTEGRITY, "byte %zu", i);
            cr_assert_str_eq(err.id, "seal.row-damaged");
            cr_assert_eq(plain.len, 0);
            row.data[i] ^= (uint8_t)(1u << bit);
        }
    }
    cr_assert_eq(open_as(&ident, NULL), 0);
}

Test(seal, refuses_a_row_of_any_other_length, .init = setup, .fini = teardown)
{
    for (size_t len = 0; len < row.len; len++)
        cr_assert_eq(kv_ring_unseal(room.ring, &ident, (struct kv_bytes){row.data, len},
                                    &plain, NULL),
                     KV_E_INTEGRITY);
    cr_assert_eq(kv_buf_append(&row, "x", 1), 0);
    cr_assert_eq(open_as(&ident, NULL), KV_E_INTEGRITY);
}

Test(seal, refuses_a_row_under_any_other_identity, .init = setup, .fini = teardown)
{
    struct kv_ident other = ident;
    other.kind = KV_KIND_POLICY;
    cr_assert_eq(open_as(&other, NULL), KV_E_INTEGRITY, "kind");
    other = ident;
    other.name[2] = 'c';
    cr_assert_eq(open_as(&other, NULL), KV_E_INTEGRITY, "name");
    other = ident;
    other.version[15] ^= 1;
    cr_assert_eq(open_as(&other, NULL), KV_E_INTEGRITY, "version");
    other = ident;
    other.row_version++;
    cr_assert_eq(open_as(&other, NULL), KV_E_INTEGRITY, "row version");
    other = ident;
    other.vault[0] ^= 1;
    cr_assert_eq(open_as(&other, NULL), KV_E_SEALED, "vault without a key");
    struct kv_buf wrapped;
    kv_buf_init(&wrapped, 256);
    cr_assert_eq(
        kv_ring_vault_key_new(room.ring, other.vault, KV_ROOM_TERM, &wrapped, NULL), 0);
    cr_assert_eq(open_as(&other, NULL), KV_E_INTEGRITY, "vault with another key");
    kv_buf_free(&wrapped);
}

Test(seal, refuses_a_row_of_another_term, .init = setup, .fini = teardown)
{
    struct kv_buf wrapped;
    kv_buf_init(&wrapped, 256);
    struct kv_ident other = ident;
    other.term = 2;
    cr_assert_eq(kv_ring_vault_key_new(room.ring, other.vault, 2, &wrapped, NULL), 0);
    cr_assert_eq(open_as(&other, NULL), KV_E_INTEGRITY);
    kv_buf_free(&wrapped);
}

Test(seal, seals_empty_and_largest_bodies_and_no_larger, .init = setup,
     .fini = teardown)
{
    static uint8_t big[KV_BODY_MAX + 1];
    struct kv_buf out;
    kv_buf_init(&out, KV_ROW_MAX);
    cr_assert_eq(
        kv_ring_seal(room.ring, &ident, (struct kv_bytes){NULL, 0}, &out, NULL), 0);
    cr_assert_eq(kv_ring_unseal(room.ring, &ident, (struct kv_bytes){out.data, out.len},
                                &plain, NULL),
                 0);
    cr_assert_eq(plain.len, 0);
    kv_buf_reset(&out);
    const struct kv_bytes body = {big, KV_BODY_MAX};
    cr_assert_eq(kv_ring_seal(room.ring, &ident, body, &out, NULL), 0);
    cr_assert_eq(kv_ring_unseal(room.ring, &ident, (struct kv_bytes){out.data, out.len},
                                &plain, NULL),
                 0);
    cr_assert_eq(plain.len, KV_BODY_MAX);
    const struct kv_bytes more = {big, sizeof(big)};
    cr_assert_eq(kv_ring_seal(room.ring, &ident, more, &out, NULL), KV_E_TOO_BIG);
    kv_buf_free(&out);
}

Test(seal, vault_key_opens_only_as_itself, .init = setup, .fini = teardown)
{
    struct kv_secret key = {0};
    struct kv_role_vault_key msg = {.term = KV_ROOM_TERM,
                                    .wrapped = {room.wrapped.data, room.wrapped.len}};
    memcpy(msg.vault, kv_room_vault, KV_ID_LEN);
    cr_assert_eq(kv_seal_vault_key_open(room.seal, &msg, &key, NULL), 0);
    kv_secret_free(&key);
    msg.term = 2;
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_seal_vault_key_open(room.seal, &msg, &key, &err), KV_E_INTEGRITY);
    cr_assert_str_eq(err.id, "seal.vault-key-damaged");
    msg.term = KV_ROOM_TERM;
    msg.vault[3] ^= 1;
    cr_assert_eq(kv_seal_vault_key_open(room.seal, &msg, &key, NULL), KV_E_INTEGRITY);
    msg.vault[3] ^= 1;
    for (size_t i = 0; i < room.wrapped.len; i++) {
        room.wrapped.data[i] ^= 0x40;
        cr_assert_eq(kv_seal_vault_key_open(room.seal, &msg, &key, NULL),
                     KV_E_INTEGRITY);
        room.wrapped.data[i] ^= 0x40;
    }
    msg.wrapped.len = 0;
    cr_assert_eq(kv_seal_vault_key_open(room.seal, &msg, &key, NULL), KV_E_INTEGRITY);
}

Test(seal, another_root_key_or_installation_opens_nothing, .init = setup,
     .fini = teardown)
{
    static const uint8_t other_installation[KV_ID_LEN] = {8};
    struct kv_seal *other = NULL;
    struct kv_secret key = {0};
    struct kv_role_vault_key msg = {.term = KV_ROOM_TERM,
                                    .wrapped = {room.wrapped.data, room.wrapped.len}};
    memcpy(msg.vault, kv_room_vault, KV_ID_LEN);
    cr_assert_eq(kv_seal_new(&other, other_installation, &room.root, kv_rand_system()),
                 0);
    cr_assert_eq(kv_seal_vault_key_open(other, &msg, &key, NULL), KV_E_INTEGRITY);
    kv_seal_free(other);
    room.root.data[0] ^= 1;
    cr_assert_eq(kv_seal_new(&other, kv_seal_installation(room.seal), &room.root,
                             kv_rand_system()),
                 0);
    cr_assert_eq(kv_seal_vault_key_open(other, &msg, &key, NULL), KV_E_INTEGRITY);
    kv_seal_free(other);
}

Test(seal, hkdf_gives_the_vector_of_rfc_5869)
{
    uint8_t ikm[22];
    uint8_t salt[13];
    uint8_t info[10];
    uint8_t okm[42];
    static const uint8_t want[8] = {0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a};
    memset(ikm, 0x0b, sizeof(ikm));
    for (uint8_t i = 0; i < sizeof(salt); i++)
        salt[i] = i;
    for (uint8_t i = 0; i < sizeof(info); i++)
        info[i] = (uint8_t)(0xf0 + i);
    cr_assert_eq(kv_hkdf((struct kv_bytes){ikm, sizeof(ikm)},
                         (struct kv_bytes){salt, sizeof(salt)},
                         (struct kv_bytes){info, sizeof(info)}, okm, sizeof(okm)),
                 0);
    cr_assert_eq(memcmp(okm, want, sizeof(want)), 0);
}
