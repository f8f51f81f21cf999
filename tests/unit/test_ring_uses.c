/* Uses by grants wait until the service has recorded them. */
#include <criterion/criterion.h>
#include <string.h>

#include "store/keyring/ring.h"
#include "tests/support/room.h"

TestSuite(ring_uses, .timeout = 30);

#define UID 1000

static struct kv_room room;
static struct kv_buf row;
static struct kv_role_granted granted;
static struct kv_role_audit_uses_ask ask;
static struct kv_role_audit_uses uses;

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

static void grant(uid_t uid)
{
    struct kv_live live = {.key = NULL};
    cr_assert_eq(kv_ring_grant(room.ring, uid, &granted, &live, NULL), 0);
    kv_live_release(&live);
}

static int use(uid_t uid, struct kv_err *err)
{
    struct kv_live live = {.key = NULL};
    int rc =
        kv_ring_use(room.ring, uid, granted.ident.version, KV_NEED_SIGN, &live, err);
    kv_live_release(&live);
    return rc;
}

static void show(void)
{
    memset(&ask, 0, sizeof(ask));
    kv_ring_uses(room.ring, &ask, &uses);
}

/* Tell that the page was recorded. */
static void done(void)
{
    memset(&ask, 0, sizeof(ask));
    ask.from = UINT32_MAX;
    ask.n_done = uses.n;
    for (uint16_t i = 0; i < uses.n; i++) {
        ask.done[i].uid = uses.row[i].uid;
        memcpy(ask.done[i].version, uses.row[i].version, KV_ID_LEN);
        ask.done[i].counts = uses.row[i].counts;
    }
    static struct kv_role_audit_uses nothing;
    kv_ring_uses(room.ring, &ask, &nothing);
    cr_assert_eq(nothing.n, 0);
    cr_assert_eq(nothing.next, 0);
}

Test(ring_uses, are_counted_for_each_grant, .init = setup, .fini = teardown)
{
    show();
    cr_assert_eq(uses.n, 0);
    grant(UID);
    grant(UID + 1);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(use(UID, NULL), 0);
    cr_assert_eq(use(UID + 1, NULL), 0);
    show();
    cr_assert_eq(uses.n, 2);
    cr_expect_eq(uses.next, 0);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(uses.row[i].counts.n[KV_AUDIT_USE_SIGN],
                     uses.row[i].uid == UID ? 3 : 1);
        cr_expect_str_eq(uses.row[i].name, "web");
        cr_expect_eq(memcmp(uses.row[i].vault, kv_room_vault, KV_ID_LEN), 0);
    }
}

Test(ring_uses, wait_until_they_are_recorded, .init = setup, .fini = teardown)
{
    grant(UID);
    cr_assert_eq(use(UID, NULL), 0);
    show();
    cr_assert_eq(use(UID, NULL), 0); /* meanwhile */
    done();
    show();
    cr_assert_eq(uses.n, 1);
    cr_expect_eq(uses.row[0].counts.n[KV_AUDIT_USE_SIGN], 1);
    done();
    show();
    cr_expect_eq(uses.n, 0);
}

Test(ring_uses, outlive_the_grant, .init = setup, .fini = teardown)
{
    grant(UID);
    cr_assert_eq(use(UID, NULL), 0);
    kv_clock_manual_advance(&room.clock, KV_LEASE_MS / 1000 + 1);
    cr_assert_eq(use(UID, NULL), KV_RING_ASK);
    grant(UID);
    cr_assert_eq(use(UID, NULL), 0);
    show();
    cr_assert_eq(uses.n, 1);
    cr_expect_eq(uses.row[0].counts.n[KV_AUDIT_USE_SIGN], 2);
}

Test(ring_uses, of_a_grant_that_gave_way_are_kept, .init = setup, .fini = teardown)
{
    grant(UID);
    cr_assert_eq(use(UID, NULL), 0);
    for (uid_t other = 0; other < KV_RING_GRANTS_MAX; other++)
        grant(2000 + other);
    cr_assert_eq(use(UID, NULL), KV_RING_ASK);
    show();
    cr_assert_eq(uses.n, 1);
    cr_expect_eq(uses.row[0].uid, UID);
    done();
    show();
    cr_expect_eq(uses.n, 0);
}

Test(ring_uses, too_many_that_wait_stop_the_key, .init = setup, .fini = teardown)
{
    struct kv_err err = KV_ERR_INIT;
    grant(UID);
    for (int i = 0; i < KV_RING_USES_MAX; i++)
        cr_assert_eq(use(UID, NULL), 0);
    cr_expect_eq(use(UID, &err), KV_E_UNAVAILABLE);
    cr_expect_str_eq(err.id, "audit.uses-waiting");
    show();
    done();
    cr_expect_eq(use(UID, NULL), 0);
}

Test(ring_uses, what_goes_on_elsewhere_is_counted_there, .init = setup,
     .fini = teardown)
{
    grant(UID);
    cr_assert_eq(use(UID, NULL), 0);
    kv_ring_uncount_use(room.ring, UID, granted.ident.version, KV_NEED_SIGN);
    show();
    cr_expect_eq(uses.n, 0);
}

Test(ring_uses, of_a_vault_that_was_forgotten_are_kept, .init = setup, .fini = teardown)
{
    grant(UID);
    for (int i = 0; i < 500; i++)
        cr_assert_eq(use(UID, NULL), 0);
    kv_ring_forget(room.ring, kv_room_vault);
    cr_assert_eq(use(UID, NULL), KV_RING_ASK);
    show();
    cr_assert_eq(uses.n, 1);
    cr_expect_eq(uses.row[0].counts.n[KV_AUDIT_USE_SIGN], 500);
    done();
    show();
    cr_expect_eq(uses.n, 0);
}

/* Open the room's vault again, as after a restart of the service. */
static void open_vault(void)
{
    struct kv_role_vault_key msg = {.term = KV_ROOM_TERM,
                                    .wrapped = {room.wrapped.data, room.wrapped.len}};
    memcpy(msg.vault, kv_room_vault, KV_ID_LEN);
    cr_assert_eq(kv_ring_vault_key_open(room.ring, &msg, NULL), 0);
}

Test(ring_uses, outlive_the_next_grant_in_their_place, .init = setup, .fini = teardown)
{
    grant(UID);
    for (int i = 0; i < 500; i++)
        cr_assert_eq(use(UID, NULL), 0);
    kv_ring_forget(room.ring, kv_room_vault);
    open_vault();
    grant(UID + 1);
    show();
    cr_assert_eq(uses.n, 1);
    cr_expect_eq(uses.row[0].uid, UID);
    cr_expect_eq(uses.row[0].counts.n[KV_AUDIT_USE_SIGN], 500);
}

Test(ring_uses, in_several_rows_are_recorded_once, .init = setup, .fini = teardown)
{
    for (int times = 1; times <= 3; times++) { /* two that gave way, and a live one */
        grant(UID);
        for (int i = 0; i < times; i++)
            cr_assert_eq(use(UID, NULL), 0);
        if (times == 3)
            break;
        kv_ring_forget(room.ring, kv_room_vault);
        open_vault();
    }
    show();
    cr_assert_eq(uses.n, 3);
    cr_assert_eq(use(UID, NULL), 0); /* meanwhile */
    done();
    show();
    cr_assert_eq(uses.n, 1);
    cr_expect_eq(uses.row[0].counts.n[KV_AUDIT_USE_SIGN], 1);
    done();
    show();
    cr_expect_eq(uses.n, 0);
}
