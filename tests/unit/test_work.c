/*
 * The pool and its queues: uids in turn, lanes in turn, a thread kept free of what
 * takes seconds. The first work of each test makes a key of 3072 bits, which takes long
 * enough that all others are queued before it ends; it holds the only thread.
 */
#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

#include "store/keyring/work.h"
#include "tests/support/room.h"

TestSuite(work, .timeout = 60);

enum { DONE_MAX = 4096 };

static struct kv_room room;
static struct kv_pool *pool;
static uv_loop_t loop;
static struct kv_queue home;
static uint32_t done[DONE_MAX]; /* frame ids in the order of their end */
static unsigned n_done;
static int rc_of[DONE_MAX];

static void on_home(void *arg, struct kv_work *work)
{
    (void)arg;
    cr_assert_lt(n_done, DONE_MAX);
    rc_of[n_done] = work->rc;
    done[n_done++] = work->frame.id;
    kv_work_free(work);
}

static void start(unsigned n_threads)
{
    kv_room_init(&room);
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(kv_queue_init(&home, &loop, on_home, NULL), 0);
    cr_assert_eq(kv_pool_start(&pool, room.ring, n_threads, 1), 0);
}

static void stop(void)
{
    kv_pool_stop(pool);
    kv_queue_close(&home);
    cr_assert_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_assert_eq(uv_loop_close(&loop), 0);
    kv_room_fini(&room);
}

static bool push(enum kv_work_kind kind, uint16_t verb, uid_t uid, uint32_t id,
                 const struct kv_buf *payload)
{
    struct kv_frame frame = {.id = id, .verb = verb};
    if (payload != NULL)
        frame.payload = (struct kv_bytes){payload->data, payload->len};
    struct kv_work *work = kv_work_new(kind, &frame, KV_FRAME_MAX_ROLE);
    cr_assert_not_null(work);
    work->home = &home;
    work->peer.uid = uid;
    if (kv_pool_push(pool, work))
        return true;
    kv_work_free(work);
    return false;
}

/* Work for a second or so. */
static void push_generate(uint32_t id)
{
    struct kv_buf payload;
    kv_buf_init(&payload, 4096);
    const struct kv_role_key_new msg = {.ident = kv_room_ident("big", (uint8_t)id),
                                        .kty = KV_KTY_RSA,
                                        .bits = 3072,
                                        .attrs = kv_room_attrs(KV_OP_SIGN)};
    kv_role_key_new_put(&payload, &msg);
    cr_assert(push(KV_WORK_ROLE, KV_ROLE_KEY_GENERATE, 0, id, &payload));
    kv_buf_free(&payload);
}

/* A client's frame: malformed, so it is over at once. */
static bool push_client(uid_t uid, uint32_t id)
{
    return push(KV_WORK_POOL, KV_VERB_SIGN, uid, id, NULL);
}

static void wait_for(unsigned n)
{
    while (n_done < n)
        (void)uv_run(&loop, UV_RUN_ONCE); /* handles stay */
}

/* When the frame with this id was done; asserts that it was. */
static unsigned place_of(uint32_t id)
{
    unsigned i = 0;
    while (i < n_done && done[i] != id)
        i++;
    cr_assert_lt(i, n_done, "frame %u", id);
    return i;
}

Test(work, a_flood_of_one_uid_delays_another_by_one)
{
    start(1);
    push_generate(1);
    for (uint32_t i = 0; i < 500; i++)
        cr_assert(push_client(1000, 100 + i));
    for (uint32_t i = 0; i < 3; i++)
        cr_assert(push_client(1001, 1000 + i));
    wait_for(504);
    for (uint32_t i = 0; i < 3; i++)
        cr_expect_lt(place_of(1000 + i), 2 * (i + 1) + 2, "frame %u at %u", i,
                     place_of(1000 + i));
    cr_expect_lt(place_of(100), place_of(101), "one uid's frames keep their order");
    cr_expect_eq(rc_of[place_of(100)], KV_E_INVALID);
    stop();
}

Test(work, clients_do_not_hold_up_the_service_nor_the_reverse)
{
    start(1);
    push_generate(1);
    for (uint32_t i = 0; i < 200; i++) {
        cr_assert(push_client(1000, 100 + i));
        cr_assert(push(KV_WORK_ROLE, KV_ROLE_KEY_SIGN, 0, 1000 + i, NULL));
    }
    wait_for(401);
    for (uint32_t i = 0; i < 200; i++) {
        cr_expect_leq(place_of(100 + i), 2 * i + 2);
        cr_expect_leq(place_of(1000 + i), 2 * i + 2);
    }
    stop();
}

Test(work, a_lane_has_a_ceiling_of_its_own)
{
    start(1);
    push_generate(1);
    uint32_t n = 0;
    while (push_client(1000, 100 + n))
        n++;
    cr_expect_eq(n, 1024);
    cr_expect(push(KV_WORK_ROLE, KV_ROLE_KEY_SIGN, 0, 5000, NULL));
    wait_for(n + 2);
    cr_expect_leq(place_of(5000), 2);
    stop();
}

Test(work, making_keys_leaves_a_thread_for_the_others)
{
    start(2);
    for (uint32_t i = 1; i <= 4; i++)
        push_generate(i);
    for (uint32_t i = 0; i < 20; i++)
        cr_assert(push_client(1000, 100 + i));
    wait_for(24);
    for (uint32_t i = 0; i < 20; i++)
        cr_expect_lt(place_of(100 + i), place_of(3), "behind two keys");
    for (uint32_t i = 1; i <= 4; i++)
        cr_expect_eq(rc_of[place_of(i)], 0);
    stop();
}

Test(work, what_waits_at_the_end_goes_home)
{
    start(1);
    push_generate(1);
    for (uint32_t i = 0; i < 10; i++)
        cr_assert(push_client(1000, 100 + i));
    kv_pool_stop(pool);
    wait_for(11);
    unsigned n_stopped = 0;
    for (uint32_t i = 0; i < 10; i++)
        n_stopped += rc_of[place_of(100 + i)] == KV_E_UNAVAILABLE;
    cr_expect_gt(n_stopped, 0);
    pool = NULL;
    stop();
}
