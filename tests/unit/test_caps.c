/* Caps: what one uid may have of connections and waiting frames. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "store/keyring/channel_internal.h"

TestSuite(caps, .timeout = 20);

static struct kv_caps *caps;

static void setup(void)
{
    caps = malloc(sizeof(*caps));
    cr_assert_not_null(caps);
    kv_caps_init(caps, 0);
}

static void teardown(void)
{
    kv_caps_fini(caps);
    free(caps);
}

/* Take as many as there are for this uid. */
static unsigned fill(enum kv_cap cap, uid_t uid)
{
    unsigned n = 0;
    while (kv_caps_enter(caps, cap, uid))
        n++;
    return n;
}

static void leave(enum kv_cap cap, uid_t uid, unsigned n)
{
    while (n-- > 0)
        kv_caps_leave(caps, cap, uid);
}

Test(caps, one_uid_has_its_share_and_gives_it_back, .init = setup, .fini = teardown)
{
    static const struct {
        enum kv_cap cap;
        unsigned share;
    } rows[] = {{KV_CAP_CONNS, KV_CHANNEL_CONNS_PER_UID},
                {KV_CAP_WORKS, KV_CHANNEL_WORKS_PER_UID}};
    for (size_t i = 0; i < 2; i++) {
        cr_expect_eq(fill(rows[i].cap, 1000), rows[i].share);
        cr_expect(kv_caps_enter(caps, rows[i].cap, 1001), "others come in");
        kv_caps_leave(caps, rows[i].cap, 1001);
        leave(rows[i].cap, 1000, 1);
        cr_expect_eq(fill(rows[i].cap, 1000), 1);
        leave(rows[i].cap, 1000, rows[i].share);
    }
    cr_expect_eq(caps->n_uids, 0);
}

Test(caps, greedy_uids_leave_room_for_a_newcomer, .init = setup, .fini = teardown)
{
    unsigned n[8];
    unsigned total = 0;
    for (unsigned i = 0; i < 8; i++) {
        n[i] = fill(KV_CAP_CONNS, 2000 + i);
        total += n[i];
    }
    cr_expect_lt(total, KV_CHANNEL_CONNS_MAX);
    cr_expect_geq(fill(KV_CAP_CONNS, 1), 8u, "the web server finds room");
    cr_expect_gt(n[0], n[7]);
}

Test(caps, thousands_of_uids_fill_it_and_no_more, .init = setup, .fini = teardown)
{
    unsigned n = 0;
    for (uid_t uid = 1; uid <= KV_CHANNEL_CONNS_MAX + 500; uid++)
        n += kv_caps_enter(caps, KV_CAP_CONNS, uid);
    cr_expect_eq(n, KV_CHANNEL_CONNS_MAX);
    for (uid_t uid = KV_CHANNEL_CONNS_MAX; uid >= 1; uid--)
        kv_caps_leave(caps, KV_CAP_CONNS, uid);
    cr_expect_eq(caps->n_uids, 0);
    cr_expect_eq(caps->n[KV_CAP_CONNS], 0);
}

Test(caps, frames_that_wait_outlive_the_connection, .init = setup, .fini = teardown)
{
    cr_assert(kv_caps_enter(caps, KV_CAP_CONNS, 7));
    cr_assert(kv_caps_enter(caps, KV_CAP_WORKS, 7));
    kv_caps_leave(caps, KV_CAP_CONNS, 7);
    cr_expect_eq(caps->n_uids, 1);
    kv_caps_leave(caps, KV_CAP_WORKS, 7);
    cr_expect_eq(caps->n_uids, 0);
}

Test(caps, few_descriptors_mean_few_connections)
{
    static const struct {
        uint64_t n_files;
        unsigned max;
    } rows[] = {
        {0, KV_CHANNEL_CONNS_MAX},
        {1u << 20, KV_CHANNEL_CONNS_MAX},
        {1024, 896},
        {200, 72},
        {20, 16},
    };
    caps = malloc(sizeof(*caps));
    cr_assert_not_null(caps);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kv_caps_init(caps, rows[i].n_files);
        cr_expect_eq(caps->max[KV_CAP_CONNS], rows[i].max, "row %zu", i);
        kv_caps_fini(caps);
    }
    free(caps);
}
