/*
 * What was done with live keys, as the service hears it: both channels count, a newer
 * row goes on, and pages show every key once.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "store/keyring/ring_internal.h"
#include "store/keyring/role_serve.h"
#include "tests/support/room.h"

#define UID 33

static struct kv_room room;
static struct kv_buf row;
static struct kv_buf in;
static struct kv_buf out;
static struct kv_ident ident;
static struct kv_role_usage usage;

static void setup(void)
{
    kv_room_init(&room);
    kv_buf_init(&row, KV_ROW_MAX);
    kv_buf_init(&in, KV_FRAME_MAX_ROLE);
    kv_buf_init_secret(&out, KV_FRAME_MAX_ROLE);
    ident = kv_room_ident("web", 1);
    const struct kv_key_attrs attrs = kv_room_attrs(KV_OP_SIGN | KV_OP_VERIFY);
    kv_room_key(&room, &ident, &attrs, &row);
}

static void teardown(void)
{
    kv_buf_free(&row);
    kv_buf_free(&in);
    kv_buf_free(&out);
    kv_room_fini(&room);
}

TestSuite(ring_usage, .timeout = 60, .init = setup, .fini = teardown);

static int serve_role(uint16_t verb)
{
    kv_buf_reset(&out);
    return kv_room_serve(&room, verb, &in, &out, NULL);
}

static void ask(const char *name, uint32_t from)
{
    struct kv_role_usage_ask msg = {.from = from};
    memcpy(msg.vault, kv_room_vault, KV_ID_LEN);
    memcpy(msg.name, name, strlen(name) + 1);
    kv_buf_reset(&in);
    kv_role_usage_ask_put(&in, &msg);
    cr_assert_eq(serve_role(KV_ROLE_USAGE), 0);
    cr_assert_eq(kv_role_usage_get((struct kv_bytes){out.data, out.len}, &usage), 0);
}

/* One use of the service; the signature of a SIGN is not looked at. */
static int use(uint16_t verb, uint32_t op)
{
    static const uint8_t digest[32] = {1};
    const struct kv_role_use msg = {
        .ident = ident, .row = {row.data, row.len}, .op = op};
    const struct kv_msg_sign sign = {
        .sig = KV_SIG_ECDSA, .md = KV_MD_SHA256, .input = {digest, sizeof(digest)}};
    kv_buf_reset(&in);
    kv_role_use_put(&in, &msg);
    kv_msg_sign_put(&in, &sign);
    if (verb == KV_ROLE_KEY_VERIFY)
        kv_wire_put_bytes(&in, digest, sizeof(digest));
    return serve_role(verb);
}

/* One signature of a client. */
static int sign_as(uid_t uid, int64_t waited_us)
{
    static struct kv_ask question;
    static const uint8_t digest[32] = {1};
    struct kv_msg_sign sign = {
        .sig = KV_SIG_ECDSA, .md = KV_MD_SHA256, .input = {digest, sizeof(digest)}};
    const struct kv_serve self = {.ring = room.ring,
                                  .slot = 3,
                                  .begun_us = kv_ring_now_us(room.ring) - waited_us,
                                  .peer = {.uid = uid}};
    memcpy(sign.version, ident.version, KV_ID_LEN);
    kv_buf_reset(&in);
    kv_buf_reset(&out);
    kv_msg_sign_put(&in, &sign);
    const struct kv_frame frame = {
        .id = 1, .verb = KV_VERB_SIGN, .payload = {in.data, in.len}};
    return kv_serve(&self, &frame, &out, &question, NULL);
}

static void grant(uint32_t ops)
{
    struct kv_live live = {.key = NULL};
    const struct kv_role_granted granted = {.ident = ident,
                                            .ops = ops,
                                            .lease_ms = KV_LEASE_MS,
                                            .epoch = 1,
                                            .uri = "keyvault:web",
                                            .row = {row.data, row.len}};
    cr_assert_eq(kv_ring_grant(room.ring, UID, &granted, &live, NULL), 0);
    kv_live_release(&live);
}

Test(ring_usage, a_key_that_is_not_live_is_not_told)
{
    ask("", 0);
    cr_expect_eq(usage.n, 0);
    cr_expect_eq(usage.next, 0);
}

Test(ring_usage, both_channels_count)
{
    kv_clock_manual_advance(&room.clock, 100);
    grant(KV_OP_SIGN);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(sign_as(UID, 0), 0);
    cr_assert_eq(sign_as(UID, 5000), 0);
    cr_assert_eq(sign_as(UID + 1, 0), KV_SERVE_ASK, "not counted");
    cr_assert_eq(use(KV_ROLE_KEY_SIGN, KV_OP_SIGN), 0);
    cr_assert_eq(use(KV_ROLE_KEY_VERIFY, KV_OP_VERIFY), 0);
    ask("web", 0);
    cr_assert_eq(usage.n, 1);
    const struct kv_role_usage_row *told = &usage.row[0];
    cr_expect_str_eq(told->name, "web");
    cr_expect_eq(memcmp(told->version, ident.version, KV_ID_LEN), 0);
    cr_expect_eq(told->kty, KV_KTY_EC);
    cr_expect_eq(told->curve, KV_CURVE_P256);
    cr_expect_eq(told->since_s, room.clock.now_s);
    cr_expect_eq(told->counts.uses[KV_USE_SIGN], 5);
    cr_expect_eq(told->counts.uses[KV_USE_VERIFY], 1);
    cr_expect_eq(told->counts.bucket[0], 5, "the clock stands still");
    cr_expect_eq(told->counts.bucket[13], 1, "it waited 5 ms");
    cr_expect_eq(told->counts.errors, 0);
}

Test(ring_usage, failures_and_refusals_are_errors)
{
    grant(KV_OP_DERIVE);
    cr_assert_eq(sign_as(UID, 0), KV_E_DENIED);
    cr_assert_eq(use(KV_ROLE_KEY_DECRYPT, KV_OP_SIGN), KV_E_INVALID, "no key is known");
    ask("web", 0);
    cr_assert_eq(usage.n, 1);
    cr_expect_eq(usage.row[0].counts.errors, 1);
    cr_expect_eq(usage.row[0].counts.uses[KV_USE_SIGN], 0);
}

Test(ring_usage, a_newer_row_goes_on_counting)
{
    struct kv_role_key_update msg = {.old_ident = ident,
                                     .old_row = {row.data, row.len},
                                     .ident = ident,
                                     .attrs = kv_room_attrs(KV_OP_SIGN)};
    struct kv_role_key_made made;
    cr_assert_eq(use(KV_ROLE_KEY_SIGN, KV_OP_SIGN), 0);
    msg.ident.row_version++;
    kv_buf_reset(&in);
    kv_role_key_update_put(&in, &msg);
    cr_assert_eq(serve_role(KV_ROLE_KEY_UPDATE), 0);
    cr_assert_eq(kv_role_key_made_get((struct kv_bytes){out.data, out.len}, &made), 0);
    struct kv_buf newer;
    kv_buf_init(&newer, KV_ROW_MAX);
    cr_assert_eq(kv_buf_append(&newer, made.row.data, made.row.len), 0);
    kv_buf_free(&row);
    row = newer;
    ident = msg.ident;
    kv_clock_manual_advance(&room.clock, 100);
    cr_assert_eq(use(KV_ROLE_KEY_SIGN, KV_OP_SIGN), 0);
    ask("web", 0);
    cr_assert_eq(usage.n, 1);
    cr_expect_eq(usage.row[0].counts.uses[KV_USE_SIGN], 2);
    cr_expect_eq(usage.row[0].since_s, room.clock.now_s - 100);
}

Test(ring_usage, other_names_and_other_vaults_are_not_told)
{
    struct kv_role_usage_ask msg = {.name = "web"};
    cr_assert_eq(use(KV_ROLE_KEY_SIGN, KV_OP_SIGN), 0);
    ask("we", 0);
    cr_expect_eq(usage.n, 0);
    kv_buf_reset(&in);
    kv_role_usage_ask_put(&in, &msg); /* the vault of zeros */
    cr_assert_eq(serve_role(KV_ROLE_USAGE), 0);
    cr_assert_eq(kv_role_usage_get((struct kv_bytes){out.data, out.len}, &usage), 0);
    cr_expect_eq(usage.n, 0);
}

Test(ring_usage, pages_show_every_key_once)
{
    enum { N = 150 };
    static uint8_t seen[256];
    unsigned n_pages = 0;
    const struct kv_key_attrs attrs = kv_room_attrs(KV_OP_SIGN);
    for (uint8_t i = 1; i <= N; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "key-%u", i);
        ident = kv_room_ident(name, i);
        kv_buf_reset(&row);
        kv_room_key(&room, &ident, &attrs, &row);
        cr_assert_eq(use(KV_ROLE_KEY_SIGN, KV_OP_SIGN), 0);
    }
    uint32_t from = 0;
    do {
        ask("", from);
        for (uint16_t i = 0; i < usage.n; i++) {
            cr_expect_eq(usage.row[i].counts.uses[KV_USE_SIGN], 1);
            seen[usage.row[i].version[0]]++;
        }
        n_pages++;
        from = usage.next;
    } while (from != 0);
    cr_expect_geq(n_pages, 3);
    for (unsigned i = 1; i <= N; i++)
        cr_expect_eq(seen[i], 1, "key %u", i);
    ask("", UINT32_MAX);
    cr_expect_eq(usage.n + usage.next, 0);
}
