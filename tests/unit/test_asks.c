/* Questions to the service: asked once for all who ask the same, sent again over a new
 * connection, given up in time, and not asked at all for who is refused all the time.
 */
#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

#include "store/keyring/asks.h"
#include "tests/support/room.h"

TestSuite(asks, .timeout = 20);

enum { MAX = 8 };

static struct kv_room room;
static struct kv_asks *asks;
static uv_loop_t loop;
static struct kv_queue home;
static struct kv_buf out;
static unsigned n_home;
static struct kv_err last; /* of the work that came home last */
static int last_rc;

static void on_home(void *arg, struct kv_work *work)
{
    (void)arg;
    n_home++;
    last = work->err;
    last_rc = work->rc;
    kv_work_free(work);
}

static void setup(void)
{
    kv_room_init(&room);
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(kv_queue_init(&home, &loop, on_home, NULL), 0);
    asks = kv_asks_new(room.ring, MAX);
    cr_assert_not_null(asks);
    kv_buf_init(&out, 65536);
}

static void teardown(void)
{
    kv_asks_expire(asks, INT64_MAX);
    cr_expect(kv_asks_is_empty(asks));
    kv_asks_free(asks);
    kv_queue_close(&home);
    cr_assert_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_assert_eq(uv_loop_close(&loop), 0);
    kv_buf_free(&out);
    kv_room_fini(&room);
}

static void come_home(void)
{
    (void)uv_run(&loop, UV_RUN_NOWAIT); /* handles stay: the count does not matter */
}

/* A frame of `uid` that asks about the key `version`. */
static void ask(uid_t uid, uint8_t version, int64_t deadline_ms)
{
    const struct kv_frame frame = {.id = 1, .verb = KV_VERB_SIGN};
    struct kv_work *work = kv_work_new(KV_WORK_ASK, &frame, 1024);
    cr_assert_not_null(work);
    work->home = &home;
    work->peer.uid = uid;
    work->ask = (struct kv_ask){
        .role_verb = KV_ROLE_GRANT,
        .grant = {.uid = uid, .has_version = 1},
    };
    memset(work->ask.grant.version, version, KV_ID_LEN);
    kv_asks_add(asks, work, deadline_ms);
}

/* Send what waits; returns how many questions went out and the id of the first. */
static unsigned send_all(uint32_t *id)
{
    struct kv_frame frame;
    size_t len = 0;
    unsigned n = 0;
    kv_buf_reset(&out);
    kv_asks_send(asks, &out);
    for (size_t at = 0; at < out.len; at += len, n++) {
        cr_assert_eq(
            kv_frame_decode(out.data + at, out.len - at, KV_FRAME_MAX, &frame, &len),
            1);
        cr_expect_eq(frame.verb, KV_ROLE_GRANT);
        if (n == 0)
            *id = frame.id;
    }
    return n;
}

static bool answer(uint32_t id, int status)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf payload;
    kv_buf_init(&payload, 1024);
    (void)kv_err_set(&err, status, "fake.refused", "no");
    kv_msg_error_put(&payload, &err);
    const struct kv_frame frame = {.id = id,
                                   .verb = KV_ROLE_GRANT,
                                   .flags = KV_FRAME_REPLY,
                                   .status = status,
                                   .payload = {payload.data, payload.len}};
    const bool is_taken = kv_asks_answer(asks, &frame);
    kv_buf_free(&payload);
    come_home();
    return is_taken;
}

Test(asks, same_question_is_sent_once_and_answers_all, .init = setup, .fini = teardown)
{
    uint32_t id = 0;
    for (int i = 0; i < 3; i++)
        ask(1000, 1, 5000);
    ask(1001, 1, 5000);
    cr_expect_eq(send_all(&id), 2, "another uid is another question");
    cr_expect_eq(send_all(&id), 0, "sent once");
    cr_expect_not(answer(id + 100, KV_E_DENIED), "nobody asked that");
    cr_expect(answer(1, KV_E_DENIED));
    cr_expect_eq(n_home, 3);
    cr_expect_eq(last_rc, KV_E_DENIED);
    cr_expect_str_eq(last.id, "fake.refused");
    cr_expect_not(answer(1, KV_E_DENIED), "answered once");
}

Test(asks, questions_survive_a_new_connection, .init = setup, .fini = teardown)
{
    uint32_t id = 0;
    ask(1000, 1, 5000);
    cr_expect_not(answer(1, KV_E_DENIED), "not sent yet");
    cr_expect_eq(send_all(&id), 1);
    kv_asks_unsend(asks);
    uint32_t again = 0;
    cr_expect_eq(send_all(&again), 1);
    cr_expect_eq(again, id);
    cr_expect(answer(id, KV_E_NOT_FOUND));
}

Test(asks, waits_until_its_deadline_and_not_longer, .init = setup, .fini = teardown)
{
    ask(1000, 1, 5000);
    kv_asks_expire(asks, 4999);
    come_home();
    cr_expect_eq(n_home, 0);
    kv_asks_expire(asks, 5000);
    come_home();
    cr_expect_eq(n_home, 1);
    cr_expect_str_eq(last.id, "channel.no-service");
    cr_expect(kv_asks_is_empty(asks));
}

Test(asks, more_than_its_capacity_is_refused, .init = setup, .fini = teardown)
{
    for (uint8_t i = 0; i < MAX; i++)
        ask(1000, i, 5000);
    come_home();
    cr_expect_eq(n_home, 0);
    ask(1000, 1, 5000);
    come_home();
    cr_expect_eq(n_home, 1);
    cr_expect_eq(last_rc, KV_E_BUSY);
    cr_expect_str_eq(last.id, "channel.busy");
}

/* One refused question after the other. */
static void be_refused(uid_t uid, unsigned n, int status)
{
    for (unsigned i = 0; i < n; i++) {
        uint32_t id = 0;
        ask(uid, (uint8_t)i, 100000);
        cr_assert_eq(send_all(&id), 1, "question %u", i);
        cr_assert(answer(id, status));
    }
}

Test(asks, who_is_refused_all_the_time_waits_a_second, .init = setup, .fini = teardown)
{
    uint32_t id = 0;
    kv_asks_expire(asks, 50000);
    be_refused(1000, KV_ASKS_REFUSED_MAX, KV_E_DENIED);
    ask(1000, 1, 100000);
    come_home();
    cr_expect_eq(last_rc, KV_E_BUSY);
    cr_expect_str_eq(last.id, "channel.many-refusals");
    cr_expect_eq(send_all(&id), 0, "the service is left in peace");
    ask(1001, 1, 100000);
    cr_expect_eq(send_all(&id), 1, "others are asked for");
    kv_asks_expire(asks, 50999);
    ask(1000, 1, 100000);
    cr_expect_eq(send_all(&id), 0, "the same second");
    kv_asks_expire(asks, 51000);
    ask(1000, 1, 100000);
    cr_expect_eq(send_all(&id), 1, "the next second");
}

Test(asks, a_service_that_starts_refuses_nobody, .init = setup, .fini = teardown)
{
    uint32_t id = 0;
    be_refused(1000, KV_ASKS_REFUSED_MAX + 10, KV_E_UNAVAILABLE);
    ask(1000, 1, 100000);
    cr_expect_eq(send_all(&id), 1);
}
