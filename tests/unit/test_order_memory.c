/*
 * Orders with each of their allocations failing in turn: nothing is left of what did
 * not come to be, nothing runs on, and a run that had no memory is no failed order.
 * That nothing leaks is what the sanitizer build says.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/core/secret.h"
#include "tests/support/fault.h"
#include "tests/support/order_box.h"

static struct service_box box;
static json_t *policy;
static json_t *tags;
static struct kv_buf file;

/* Pauses lie within one another. */
static void pause_faults(bool is_own)
{
    static int depth;
    depth += is_own ? 1 : -1;
    fault_pause(depth > 0);
}

static void setup(void)
{
    struct chain_made made = chain_make(
        &(struct chain_maker){.type = "P-256", .subject = "web.example"}, NULL);
    fake_link_own = pause_faults;
    json_set_alloc_funcs(kv_wiping_malloc, kv_wiping_free);
    chain_made_pem(&made, NULL, &file);
    chain_made_free(&made);
    service_box_init(&box);
    policy = json_loads(ORDER_EC, 0, NULL);
    tags = json_pack("{s:s}", "team", "a");
}

static void teardown(void)
{
    fault_arm(0);
    json_decref(policy);
    json_decref(tags);
    kv_buf_free(&file);
    service_box_fini(&box);
}

TestSuite(order_memory, .timeout = 120, .init = setup, .fini = teardown);

typedef int (*attempt_fn)(const char *name);

static int create(const char *name)
{
    const struct kv_order_request request = {
        .name = name, .policy = policy, .tags = tags, .is_enabled = true};
    return service_box_wait(&box, kv_order_create(&box.service, box.vault, &request,
                                                  service_box_done, &box));
}

static int import(const char *name)
{
    const struct kv_order_request request = {.name = name,
                                             .policy = NULL,
                                             .tags = tags,
                                             .is_enabled = true,
                                             .format = KV_IMPORT_PEM,
                                             .material = {file.data, file.len}};
    return service_box_wait(&box, kv_order_import(&box.service, box.vault, &request,
                                                  service_box_done, &box));
}

static int run(const char *name)
{
    return order_run(&box, name);
}

/* One attempt with allocation `n` failing, all else with memory. */
static int try_at(long n, attempt_fn attempt, const char *name)
{
    pause_faults(false);
    int rc = attempt(name);
    pause_faults(true);
    cr_assert_eq(box.service.n_running, 0, "allocation %ld", n);
    if (!fault_was_hit())
        cr_assert_eq(rc, 0, "%s", box.err.message);
    return rc;
}

static long begin_under_faults(attempt_fn begin)
{
    long n = 1;
    pause_faults(true);
    for (; fault_round(n); n++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "web%ld", n);
        uint64_t n_rows = service_box_rows(&box);
        if (try_at(n, begin, name) == 0) {
            cr_assert_eq(order_run(&box, name), 0, "%s", box.err.message);
            order_expect_complete(&box, name, NULL, NULL);
        } else {
            cr_assert_eq(service_box_rows(&box), n_rows, "allocation %ld", n);
            cr_assert_eq(begin(name), 0, "allocation %ld: %s", n, box.err.message);
        }
    }
    pause_faults(false);
    return n;
}

Test(order_memory, a_create_without_memory_leaves_nothing)
{
    cr_expect_gt(begin_under_faults(create), 100);
}

Test(order_memory, an_import_without_memory_leaves_nothing)
{
    cr_expect_gt(begin_under_faults(import), 100);
}

/* The issuer asks to be called again. */
static bool is_later(const char *name)
{
    struct kv_row row;
    json_decref(order_operation(&box, name, &row));
    return row.next_at_s > box.room.clock.now_s;
}

/* It was completed, or goes on: with memory it is completed. */
static void expect_goes_on(const char *name, int rc)
{
    if (strcmp(order_status(&box, name), "inProgress") == 0) {
        cr_assert(rc != 0 || is_later(name), "nobody looks at it again");
        order_expect_pending(&box, name, 0);
        cr_assert_eq(order_run(&box, name), 0, "%s", box.err.message);
    }
    order_expect_complete(&box, name, NULL, NULL);
    cr_assert_eq(service_box_versions(&box, KV_KIND_CERTIFICATE, name), 1);
}

Test(order_memory, a_run_without_memory_is_no_failed_order)
{
    long n = 1;
    pause_faults(true);
    for (; fault_round(n); n++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "web%ld", n);
        cr_assert_eq(create(name), 0, "%s", box.err.message);
        int rc = try_at(n, run, name);
        expect_goes_on(name, rc);
    }
    pause_faults(false);
    cr_expect_gt(n, 300);
}
