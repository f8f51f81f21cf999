/*
 * The engine: what is due runs, several at once; what fails is tried again with a
 * delay; nothing begins after a stop. Nobody waits for a timer here: the tests read
 * when it is due and kick.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lifecycle/certs/engine.h"
#include "store/db/memory.h"
#include "tests/support/fake_issuer.h"
#include "tests/support/order_box.h"

static struct service_box box;
static struct kv_engine *engine;

static void setup(void)
{
    service_box_init(&box);
    cr_assert_eq(kv_engine_new(&engine, &box.service), 0);
    box.service.engine = engine;
}

static void teardown(void)
{
    kv_engine_stop(engine);
    kv_engine_stop(engine);
    service_box_fini(&box);
    kv_engine_free(engine);
}

TestSuite(engine, .timeout = 120, .init = setup, .fini = teardown);

#define NOT_SET (-1)
#define HOUR_MS (3600 * 1000)

static void on_handle(uv_handle_t *handle, void *arg)
{
    int64_t *due_ms = arg;
    if (uv_handle_get_type(handle) == UV_TIMER && uv_is_active(handle))
        *due_ms = (int64_t)uv_timer_get_due_in((const uv_timer_t *)handle);
}

/* Milliseconds until the engine looks again; the box has no other timer. */
static int64_t due_ms(void)
{
    int64_t ms = NOT_SET;
    uv_walk(&box.loop, on_handle, &ms);
    return ms;
}

/* The timer is set to `ms`, some of which may have passed. */
static void expect_due(int64_t ms)
{
    int64_t is = due_ms();
    cr_assert(is <= ms && is > ms - ms / 4 - 100, "%lld instead of %lld", (long long)is,
              (long long)ms);
}

/* Kick, and return as soon as nothing runs and the timer is set for later. */
static void kick(void)
{
    kv_engine_kick(engine);
    do
        (void)uv_run(&box.loop, UV_RUN_NOWAIT);
    while (box.service.n_running > 0 || due_ms() == 0);
}

/* The same with a keyring that does not answer. */
static void kick_held(void)
{
    box.link.is_held = true;
    kv_engine_kick(engine);
    service_box_settle(&box);
}

static void create(const char *name, const char *issuer)
{
    char policy[256];
    (void)snprintf(policy, sizeof(policy),
                   "{\"key_props\":{\"kty\":\"EC\"},\"issuer\":{\"name\":\"%s\"},"
                   "\"x509_props\":{\"subject\":\"CN=web\",\"validity_months\":3,"
                   "\"key_usage\":[\"digitalSignature\"]}}",
                   issuer);
    const struct order_ask ask = {.name = name, .policy = policy};
    cr_assert_eq(order_create(&box, &ask), 0, "%s", box.err.message);
}

/* Orders web0 to web(n - 1). */
static void create_many(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "web%zu", i);
        create(name, "Self");
    }
}

static size_t count_completed(size_t n)
{
    size_t n_completed = 0;
    for (size_t i = 0; i < n; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "web%zu", i);
        n_completed += strcmp(order_status(&box, name), "completed") == 0;
    }
    return n_completed;
}

/* --- due work ----------------------------------------------------------------------
 */

Test(engine, nothing_runs_before_the_first_kick)
{
    create_many(1);
    service_box_settle(&box);
    cr_assert_eq(due_ms(), NOT_SET);
    cr_assert_eq(count_completed(1), 0);
    kick();
    cr_assert_eq(count_completed(1), 1);
    expect_due(HOUR_MS);
}

Test(engine, several_orders_run_at_once)
{
    create_many(3);
    kv_engine_kick(engine);
    while (box.link.n_calls > 0) { /* until the scan has opened the operations */
        box.link.n_calls = 0;
        (void)uv_run(&box.loop, UV_RUN_NOWAIT);
        (void)uv_run(&box.loop, UV_RUN_NOWAIT);
    }
    box.link.is_held = true;
    service_box_settle(&box);
    cr_assert_eq(box.service.n_running, 3);
    kick_held();
    cr_assert_eq(box.service.n_running, 4, "a scan, and no run twice");
    fake_link_release(&box.link);
    service_box_settle(&box);
    cr_assert_eq(count_completed(3), 3);
    order_expect_complete(&box, "web2", NULL, NULL);
}

Test(engine, more_than_run_at_once_are_run_all_the_same)
{
    create_many(70); /* more than a list has, too */
    kick();
    cr_assert_eq(count_completed(70), 70);
    expect_due(HOUR_MS);
}

Test(engine, an_order_that_waits_is_looked_at_when_it_is_due)
{
    static const struct keyvault_bytes until = FAKE_TEXT("{\"until_s\":1750000100}");
    static const struct keyvault_bytes far =
        FAKE_TEXT("{\"until_s\":9223372036854775807}");
    static const struct fake_answer answers[] = {
        {FAKE_TEXT("{}"), KEYVAULT_EFFECT_WAIT, 1, &until, 0},
        {FAKE_TEXT("{}"), KEYVAULT_EFFECT_WAIT, 1, &far, 0},
    };
    fake_issuer_set(answers, 2);
    create("web", "Fake");
    kick();
    cr_assert_eq(fake_issuer.n_steps, 1);
    expect_due(100 * 1000);
    kick();
    cr_assert_eq(fake_issuer.n_steps, 1, "not due yet");
    kv_clock_manual_advance(&box.room.clock, 99);
    kick();
    cr_assert_eq(fake_issuer.n_steps, 1);
    expect_due(1000);
    kv_clock_manual_advance(&box.room.clock, 1);
    kick();
    cr_assert_eq(fake_issuer.n_steps, 2);
    expect_due(HOUR_MS);
}

Test(engine, an_order_that_fails_for_good_holds_up_nobody)
{
    static const struct keyvault_bytes no = FAKE_TEXT("{\"class\":\"input\"}");
    static const struct fake_answer answer = {FAKE_TEXT("{}"), KEYVAULT_EFFECT_FAILED,
                                              1, &no, 0};
    fake_issuer_set(&answer, 1);
    create("bad", "Fake");
    create_many(2);
    kick();
    cr_assert_str_eq(order_status(&box, "bad"), "failed");
    cr_assert_eq(count_completed(2), 2);
    cr_assert_eq(fake_issuer.n_steps, 1);
    expect_due(HOUR_MS);
}

/* Rows that are due and not the engine's, and one of a vault that is not there. */
Test(engine, what_it_cannot_run_does_not_turn_the_loop)
{
    struct kv_row row = {.key = {.kind = KV_KIND_SECRET, .name = "s"},
                         .flags = KV_ROW_ENABLED,
                         .nbf_s = KV_TIME_NONE,
                         .exp_s = KV_TIME_NONE,
                         .next_at_s = 1};
    memcpy(row.key.vault, box.vault->id, KV_ID_LEN);
    service_box_put(&box, &row, NULL);
    create("web", "Self");
    memset(&row.key, 0, sizeof(row.key));
    row.key.kind = KV_KIND_OPERATION;
    (void)snprintf(row.key.name, sizeof(row.key.name), "of-no-vault");
    service_box_put(&box, &row, json_pack("{s:s}", "status", "inProgress"));
    kick();
    cr_assert_str_eq(order_status(&box, "web"), "completed");
    expect_due(HOUR_MS);
}

/* --- nobody starves -----------------------------------------------------------------
 */

Test(engine, rows_that_nothing_can_be_done_with_do_not_hide_the_others)
{
    struct kv_row row = {.key = {.kind = KV_KIND_OPERATION},
                         .flags = KV_ROW_ENABLED,
                         .nbf_s = KV_TIME_NONE,
                         .exp_s = KV_TIME_NONE,
                         .next_at_s = 1};
    for (int i = 0; i < 2 * KV_STORE_LIST_MAX + 2; i++) {
        (void)snprintf(row.key.name, sizeof(row.key.name), "of-no-vault-%d", i);
        service_box_put(&box, &row, json_pack("{s:s}", "status", "inProgress"));
    }
    create("web", "Self");
    kick();
    cr_assert_str_eq(order_status(&box, "web"), "completed");
    expect_due(HOUR_MS);
}

Test(engine, orders_that_fail_again_and_again_do_not_hold_up_the_others)
{
    static const struct fake_answer no_memory = {FAKE_TEXT(""), 0, 0, NULL, 1};
    fake_issuer_set(&no_memory, 1);
    for (int i = 0; i < KV_STORE_LIST_MAX + 6; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "stuck%d", i);
        create(name, "Fake");
    }
    create_many(2);
    for (int i = 0; i < 3; i++) /* as many as have places at once */
        kick();
    cr_assert_eq(count_completed(2), 2);
    unsigned n_steps = fake_issuer.n_steps;
    cr_assert_geq(n_steps, KV_STORE_LIST_MAX + 6, "each was tried");
    kick();
    cr_expect_gt(fake_issuer.n_steps, n_steps, "and is tried again");
    cr_expect_leq(due_ms(), 60000);
}

/* --- failures ----------------------------------------------------------------------
 */

Test(engine, the_delay_doubles_up_to_a_minute_and_is_forgotten)
{
    create_many(1);
    box.link.is_unreachable = true;
    for (int64_t ms = 500; ms < 60000; ms *= 2) {
        kick();
        expect_due(ms);
    }
    for (int i = 0; i < 3; i++) {
        kick();
        expect_due(60000);
    }
    box.link.is_unreachable = false;
    kick();
    cr_assert_eq(count_completed(1), 1);
    box.link.is_unreachable = true;
    kick();
    expect_due(500);
}

Test(engine, a_service_that_is_not_ready_is_waited_for)
{
    create_many(1);
    box.service.is_ready = false;
    kick();
    expect_due(500);
    box.service.is_ready = true;
    kick();
    cr_assert_eq(count_completed(1), 1);
}

Test(engine, runs_that_fail_together_delay_once)
{
    create_many(9);
    kick_held(); /* the scan opens the operations */
    fake_link_release(&box.link);
    while (box.service.n_running < 9)
        (void)uv_run(&box.loop, UV_RUN_NOWAIT);
    box.link.is_unreachable = true;
    while (box.service.n_running > 0)
        (void)uv_run(&box.loop, UV_RUN_NOWAIT);
    expect_due(500);
    box.link.is_unreachable = false;
    kick();
    cr_assert_eq(count_completed(9), 9);
}

Test(engine, a_failed_commit_is_tried_again)
{
    create_many(1);
    kv_memory_fail_apply(box.service.store, 2, KV_E_FULL, false);
    kick();
    cr_assert_eq(count_completed(1), 0);
    expect_due(500);
    kick();
    cr_assert_eq(count_completed(1), 1);
    order_expect_complete(&box, "web0", NULL, NULL);
}

static void on_row(void *arg, int rc, const struct kv_row *rows, size_t n_rows,
                   bool has_more, const struct kv_err *err)
{
    (void)rc;
    (void)rows;
    (void)n_rows;
    (void)has_more;
    (void)err;
    kv_engine_kick(arg);
}

/* In one turn of the loop the store brings a new order, which kicks, and then the
 * keyring a failure. */
Test(engine, a_delay_does_not_undo_a_kick)
{
    const struct kv_row_key key = {.kind = KV_KIND_SECRET, .name = "any"};
    create_many(1);
    fake_link_fail(&box.link, 5, KV_E_UNAVAILABLE);
    kv_engine_kick(engine);
    while (box.link.fail_in > 0)
        (void)uv_run(&box.loop, UV_RUN_NOWAIT);
    size_t n_running = box.service.n_running;
    cr_assert_eq(box.service.store->ops->get(box.service.store, &key, on_row, engine),
                 0);
    (void)uv_run(&box.loop, UV_RUN_NOWAIT);
    cr_assert_lt(box.service.n_running, n_running, "the run has failed");
    cr_assert_eq(due_ms(), 0);
    service_box_settle(&box);
    cr_assert_eq(count_completed(1), 1);
}

/* --- stopping ----------------------------------------------------------------------
 */

Test(engine, a_run_under_way_ends_after_a_stop_and_no_other_begins)
{
    create_many(1);
    kv_engine_kick(engine);
    while (box.service.n_running == 0)
        (void)uv_run(&box.loop, UV_RUN_NOWAIT);
    fake_link_fail(&box.link, 3, KV_E_INVALID); /* reading: the run has begun */
    while (box.link.fail_in > 1)
        (void)uv_run(&box.loop, UV_RUN_NOWAIT);
    box.link.fail_in = 0;
    box.link.is_held = true;
    service_box_settle(&box);
    cr_assert_eq(box.service.n_running, 1);
    kv_engine_stop(engine);
    kv_engine_kick(engine);
    fake_link_release(&box.link);
    service_box_settle(&box);
    cr_assert_eq(count_completed(1), 1);
    create("late", "Self");
    kick();
    cr_assert_str_eq(order_status(&box, "late"), "inProgress");
    cr_assert_eq(due_ms(), NOT_SET);
}

Test(engine, a_scan_under_way_begins_nothing_after_a_stop)
{
    create_many(2);
    kick_held();
    cr_assert_eq(box.service.n_running, 1, "the scan");
    kv_engine_stop(engine);
    fake_link_release(&box.link);
    service_box_settle(&box);
    cr_assert_eq(box.service.n_running, 0);
    cr_assert_eq(count_completed(2), 0);
    cr_assert_eq(due_ms(), NOT_SET);
}

Test(engine, a_scan_that_fails_after_a_stop_sets_no_timer)
{
    create_many(1);
    kick_held();
    kick_held(); /* again, while it scans */
    kv_engine_stop(engine);
    box.link.is_unreachable = true;
    fake_link_release(&box.link);
    service_box_settle(&box);
    cr_assert_eq(box.service.n_running, 0);
    cr_assert_eq(due_ms(), NOT_SET);
    box.link.is_unreachable = false;
}

Test(engine, a_stopping_service_starts_no_run)
{
    create_many(2);
    box.service.is_stopping = true;
    kick();
    cr_assert_eq(box.service.n_running, 0);
    box.service.is_stopping = false;
    cr_assert_eq(count_completed(2), 0);
}

Test(engine, no_engine_is_no_fault)
{
    kv_engine_kick(NULL);
    kv_engine_stop(NULL);
    kv_engine_free(NULL);
    cr_assert_eq(due_ms(), NOT_SET);
}
