#include <criterion/criterion.h>
#include <string.h>

#include "store/keyring/key_internal.h"
#include "store/keyring/ring_internal.h"
#include "tests/support/room.h"

TestSuite(ring, .timeout = 20);

#define UID 1000

static struct kv_room room;
static struct kv_buf row;
static struct kv_role_granted granted;

static void setup(void)
{
    kv_room_init(&room);
    kv_room_granted(&room, &row, &granted);
}

static void teardown(void)
{
    kv_buf_free(&row);
    kv_room_fini(&room);
}

static void grant(void)
{
    struct kv_live live = {.key = NULL};
    cr_assert_eq(kv_ring_grant(room.ring, UID, &granted, &live, NULL), 0);
    kv_live_release(&live);
}

static void beat(uint64_t epoch)
{
    struct kv_role_beat msg = {.epoch = epoch};
    memcpy(msg.vault, kv_room_vault, KV_ID_LEN);
    cr_assert_eq(kv_ring_beat(room.ring, &msg), 0);
}

static int use_by(uid_t uid, enum kv_need need)
{
    struct kv_live live = {.key = NULL};
    const int rc =
        kv_ring_use(room.ring, uid, granted.ident.version, need, &live, NULL);
    kv_live_release(&live);
    return rc;
}

Test(ring, without_a_grant_the_service_is_asked, .init = setup, .fini = teardown)
{
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), KV_RING_ASK);
    grant();
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), 0);
    cr_assert_eq(use_by(UID + 1, KV_NEED_SIGN), KV_RING_ASK, "of another uid");
    cr_assert_eq(use_by(UID, KV_NEED_DERIVE), KV_E_DENIED, "not granted");
    cr_assert_eq(use_by(UID, KV_NEED_DECRYPT), KV_E_DENIED, "not in key_ops");
}

Test(ring, grant_ends_with_its_lease_when_no_beats_come, .init = setup,
     .fini = teardown)
{
    grant();
    kv_clock_manual_advance(&room.clock, KV_LEASE_MS / 1000 - 1);
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), 0);
    kv_clock_manual_advance(&room.clock, 1);
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), KV_RING_ASK);
}

Test(ring, beats_of_the_same_epoch_renew_the_lease, .init = setup, .fini = teardown)
{
    beat(5);
    grant();
    for (int i = 0; i < 4; i++) {
        kv_clock_manual_advance(&room.clock, KV_LEASE_MS / 1000 - 1);
        beat(5);
        cr_assert_eq(use_by(UID, KV_NEED_SIGN), 0);
    }
    kv_clock_manual_advance(&room.clock, KV_LEASE_MS / 1000);
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), KV_RING_ASK);
}

Test(ring, beat_of_another_epoch_ends_the_grant_at_once, .init = setup,
     .fini = teardown)
{
    beat(5);
    grant();
    beat(6);
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), KV_RING_ASK);
    granted.epoch = 6;
    grant();
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), 0);
    beat(4);
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), KV_RING_ASK, "a lower epoch counts too");
}

Test(ring, answer_overtaken_by_a_policy_change_is_no_grant, .init = setup,
     .fini = teardown)
{
    beat(6);
    granted.epoch = 5;
    grant();
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), KV_RING_ASK);
    granted.epoch = 7;
    grant();
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), 0, "the answer came before its first beat");
    beat(7);
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), 0);
}

Test(ring, lease_is_never_longer_than_the_protocol_says, .init = setup,
     .fini = teardown)
{
    granted.lease_ms = UINT32_MAX;
    grant();
    kv_clock_manual_advance(&room.clock, KV_LEASE_MS / 1000);
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), KV_RING_ASK);
}

Test(ring, damaged_row_makes_no_grant, .init = setup, .fini = teardown)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_live live = {.key = NULL};
    row.data[row.len - 1] ^= 1;
    cr_assert_eq(kv_ring_grant(room.ring, UID, &granted, &live, &err), KV_E_INTEGRITY);
    cr_assert_str_eq(err.id, "seal.row-damaged");
    cr_assert_null(live.key);
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), KV_RING_ASK);
}

Test(ring, damaged_row_is_refused_though_the_key_is_live, .init = setup,
     .fini = teardown)
{
    struct kv_live live = {.key = NULL};
    grant();
    row.data[30] ^= 1;
    cr_assert_eq(kv_ring_load(room.ring, &granted.ident, granted.row, &live, NULL),
                 KV_E_INTEGRITY);
}

Test(ring, older_row_than_the_live_one_is_refused, .init = setup, .fini = teardown)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_live live = {.key = NULL};
    struct kv_buf newer;
    kv_buf_init(&newer, KV_ROW_MAX);
    struct kv_role_granted next = granted;
    next.ident.row_version = 2;
    const struct kv_key_attrs attrs = kv_room_attrs(KV_OP_SIGN);
    kv_room_key(&room, &next.ident, &attrs, &newer);
    next.row = (struct kv_bytes){newer.data, newer.len};
    cr_assert_eq(kv_ring_grant(room.ring, UID, &next, &live, NULL), 0);
    kv_live_release(&live);
    cr_assert_eq(kv_ring_grant(room.ring, UID, &granted, &live, &err), KV_E_CONFLICT);
    cr_assert_str_eq(err.id, "grant.old-row");
    kv_buf_free(&newer);
}

/* The live key gives way in its table; then an older state comes in by another door. */
/* Prepared nonces go with the key: nonce.h. */
Test(ring, key_that_gave_way_is_retired, .init = setup, .fini = teardown)
{
    struct kv_buf newer;
    struct kv_live old = {.key = NULL};
    struct kv_live live = {.key = NULL};
    const struct kv_key_attrs attrs = kv_room_attrs(KV_OP_SIGN);
    kv_buf_init(&newer, KV_ROW_MAX);
    cr_assert_eq(kv_ring_load(room.ring, &granted.ident, granted.row, &old, NULL), 0);
    cr_expect_not(atomic_load(&old.key->is_retired));
    struct kv_ident ident = granted.ident;
    ident.row_version++;
    kv_room_key(&room, &ident, &attrs, &newer);
    cr_assert_eq(kv_ring_load(room.ring, &ident,
                              (struct kv_bytes){newer.data, newer.len}, &live, NULL),
                 0);
    cr_expect(atomic_load(&old.key->is_retired));
    cr_expect_not(atomic_load(&live.key->is_retired));
    kv_live_release(&old);
    kv_live_release(&live);
    kv_buf_free(&newer);
}

Test(ring, key_pushed_out_by_others_is_retired, .init = setup, .fini = teardown)
{
    struct kv_live old = {.key = NULL};
    cr_assert_eq(kv_ring_load(room.ring, &granted.ident, granted.row, &old, NULL), 0);
    struct kv_ident ident = granted.ident;
    for (uint32_t i = 1; i <= KV_RING_LIVE_MAX; i++) { /* the same key, other names */
        struct kv_live live = {.key = NULL};
        struct kv_buf body;
        struct kv_buf sealed;
        const struct kv_key_attrs attrs = kv_room_attrs(KV_OP_SIGN);
        kv_buf_init_secret(&body, KV_BODY_MAX);
        kv_buf_init(&sealed, KV_ROW_MAX);
        memcpy(ident.version, &i, sizeof(i));
        cr_assert_eq(kv_body_put(&body, old.key, &attrs), 0);
        cr_assert_eq(kv_ring_seal(room.ring, &ident,
                                  (struct kv_bytes){body.data, body.len}, &sealed,
                                  NULL),
                     0);
        cr_assert_eq(kv_ring_load(room.ring, &ident,
                                  (struct kv_bytes){sealed.data, sealed.len}, &live,
                                  NULL),
                     0);
        kv_live_release(&live);
        kv_buf_free(&body);
        kv_buf_free(&sealed);
    }
    cr_expect(atomic_load(&old.key->is_retired));
    kv_live_release(&old);
}

Test(ring, grant_is_not_honoured_by_an_older_state, .init = setup, .fini = teardown)
{
    struct kv_live live = {.key = NULL};
    struct kv_buf newer;
    kv_buf_init(&newer, KV_ROW_MAX);
    struct kv_role_granted next = granted;
    next.ident.row_version = 2;
    const struct kv_key_attrs attrs = kv_room_attrs(KV_OP_SIGN);
    kv_room_key(&room, &next.ident, &attrs, &newer);
    next.row = (struct kv_bytes){newer.data, newer.len};
    cr_assert_eq(kv_ring_grant(room.ring, UID, &next, &live, NULL), 0);
    kv_live_release(&live);
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), 0);
    const uint32_t at = kv_table_find(room.ring->live, next.ident.version);
    kv_live_release(&room.ring->live_rows[at].live);
    kv_table_remove(room.ring->live, at);
    cr_assert_eq(kv_ring_load(room.ring, &granted.ident, granted.row, &live, NULL), 0);
    kv_live_release(&live);
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), KV_RING_ASK);
    cr_assert_eq(kv_ring_load(room.ring, &next.ident, next.row, &live, NULL), 0);
    kv_live_release(&live);
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), 0);
    kv_buf_free(&newer);
}

Test(ring, key_that_nobody_stored_gets_no_grant, .init = setup, .fini = teardown)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_live live = {.key = NULL};
    struct kv_buf pending;
    kv_buf_init(&pending, KV_ROW_MAX);
    struct kv_role_granted early = granted;
    early.ident.row_version = 0;
    const struct kv_key_attrs attrs = kv_room_attrs(KV_OP_SIGN);
    kv_room_key(&room, &early.ident, &attrs, &pending);
    early.row = (struct kv_bytes){pending.data, pending.len};
    cr_assert_eq(kv_ring_grant(room.ring, UID, &early, &live, &err), KV_E_STATE);
    cr_assert_str_eq(err.id, "key.pending");
    cr_assert_null(live.key);
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), KV_RING_ASK);
    kv_buf_free(&pending);
}

Test(ring, vault_keys_are_opened_once_and_never_replaced, .init = setup,
     .fini = teardown)
{
    struct kv_role_vault_key msg = {.term = KV_ROOM_TERM,
                                    .wrapped = {room.wrapped.data, room.wrapped.len}};
    memcpy(msg.vault, kv_room_vault, KV_ID_LEN);
    cr_assert_eq(kv_ring_vault_key_open(room.ring, &msg, NULL), 0, "the same again");
    struct kv_buf other;
    kv_buf_init(&other, 256);
    struct kv_secret fresh = {0};
    cr_assert_eq(
        kv_ring_vault_key_new(room.ring, kv_room_vault, KV_ROOM_TERM, &other, NULL), 0);
    cr_assert_eq(other.len, room.wrapped.len);
    cr_assert_arr_eq(other.data, room.wrapped.data, other.len,
                     "asked again, it is the same one");
    kv_buf_reset(&other);
    cr_assert_eq(
        kv_seal_vault_key_new(room.seal, kv_room_vault, KV_ROOM_TERM, &fresh, &other),
        0);
    kv_secret_free(&fresh);
    msg.wrapped = (struct kv_bytes){other.data, other.len};
    cr_assert_eq(kv_ring_vault_key_open(room.ring, &msg, NULL), KV_E_EXISTS);
    kv_buf_free(&other);
}

Test(ring, every_use_looks_at_the_clock, .init = setup, .fini = teardown)
{
    struct kv_buf dated;
    kv_buf_init(&dated, KV_ROW_MAX);
    struct kv_key_attrs attrs = kv_room_attrs(KV_OP_SIGN);
    attrs.exp_s = kv_ring_now_s(room.ring) + 10;
    granted.ident = kv_room_ident("dated", 9);
    kv_room_key(&room, &granted.ident, &attrs, &dated);
    granted.row = (struct kv_bytes){dated.data, dated.len};
    grant();
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), 0);
    kv_clock_manual_advance(&room.clock, 10);
    cr_assert_eq(use_by(UID, KV_NEED_SIGN), KV_E_STATE);
    kv_buf_free(&dated);
}

static void forget(void)
{
    struct kv_buf in;
    struct kv_buf out;
    struct kv_role_vault_key msg = {.term = 0};
    memcpy(msg.vault, kv_room_vault, KV_ID_LEN);
    kv_buf_init(&in, 64);
    kv_buf_init(&out, 64);
    kv_role_vault_key_put(&in, &msg);
    cr_assert_eq(kv_room_serve(&room, KV_ROLE_VAULT_FORGET, &in, &out, NULL), 0);
    msg.term = 1;
    kv_buf_reset(&in);
    kv_role_vault_key_put(&in, &msg);
    cr_assert_eq(kv_room_serve(&room, KV_ROLE_VAULT_FORGET, &in, &out, NULL),
                 KV_E_INVALID, "all of them or none");
    kv_buf_free(&in);
    kv_buf_free(&out);
}

Test(ring, a_forgotten_vault_leaves_nothing_live, .init = setup, .fini = teardown)
{
    static const uint8_t other[KV_ID_LEN] = {7};
    struct kv_role_beat msg = {.vault = {7}, .epoch = 1};
    struct kv_buf wrapped;
    struct kv_buf plain;
    kv_buf_init(&wrapped, 256);
    kv_buf_init_secret(&plain, KV_BODY_MAX);
    cr_assert_eq(kv_ring_vault_key_new(room.ring, other, 1, &wrapped, NULL), 0);
    cr_assert_eq(kv_ring_beat(room.ring, &msg), 0);
    beat(5);
    grant();
    struct kv_live held = {.key = NULL};
    cr_assert_eq(kv_ring_load(room.ring, &granted.ident, granted.row, &held, NULL), 0);
    forget();
    cr_expect_eq(use_by(UID, KV_NEED_SIGN), KV_RING_ASK);
    cr_expect(!kv_ring_had_grant(room.ring, UID, granted.ident.version));
    cr_expect_eq(kv_table_count(room.ring->live), 0);
    cr_expect_eq(kv_table_count(room.ring->beats), 1, "the other vault's");
    struct kv_live live = {.key = NULL};
    cr_expect_eq(kv_ring_grant(room.ring, UID, &granted, &live, NULL), KV_E_SEALED);
    cr_expect_eq(kv_ring_unseal(room.ring, &granted.ident, granted.row, &plain, NULL),
                 KV_E_SEALED);
    kv_live_release(&held); /* who held it could finish */
    forget();
    struct kv_buf again;
    kv_buf_init(&again, 256);
    cr_expect_eq(kv_ring_vault_key_new(room.ring, other, 1, &again, NULL), 0);
    cr_expect_eq(again.len, wrapped.len);
    cr_expect_arr_eq(again.data, wrapped.data, wrapped.len, "it has its key still");
    kv_buf_free(&again);
    kv_buf_free(&wrapped);
    kv_buf_free(&plain);
}
