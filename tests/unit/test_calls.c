/*
 * The table of calls that wait for the keyring.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "lifecycle/service/calls.h"

TestSuite(calls, .timeout = 20);

struct seen {
    unsigned n;
    int rc;
    const struct kv_err *err;
    size_t payload_len;
};

static void on_call(void *arg, int rc, struct kv_bytes payload,
                    const struct kv_err *err)
{
    struct seen *seen = arg;
    seen->n++;
    seen->rc = rc;
    seen->err = err;
    seen->payload_len = payload.len;
}

static struct kv_pending *add(struct kv_calls *calls, uint32_t id, uint64_t deadline_ms,
                              struct seen *seen)
{
    struct kv_pending *call = calloc(1, sizeof(*call));
    cr_assert_not_null(call);
    call->id = id;
    call->deadline_ms = deadline_ms;
    call->cb = on_call;
    call->arg = seen;
    kv_calls_add(calls, call);
    return call;
}

Test(calls, are_found_by_id_also_when_ids_share_a_place)
{
    struct kv_calls calls = {.n = 0};
    struct kv_pending *a = add(&calls, 7, 1, NULL);
    struct kv_pending *b = add(&calls, 7 + KV_CALL_BUCKETS, 1, NULL);
    struct kv_pending *c = add(&calls, 7 + 2 * KV_CALL_BUCKETS, 1, NULL);
    cr_assert_eq(calls.n, 3);
    cr_assert_eq(kv_calls_find(&calls, 7), a);
    cr_assert_eq(kv_calls_find(&calls, 7 + KV_CALL_BUCKETS), b);
    cr_assert_eq(kv_calls_find(&calls, 7 + 2 * KV_CALL_BUCKETS), c);
    cr_assert_null(kv_calls_find(&calls, 8));
    cr_assert_null(kv_calls_find(&calls, 7 + 3 * KV_CALL_BUCKETS));
    kv_calls_remove(&calls, b);
    cr_assert_null(kv_calls_find(&calls, 7 + KV_CALL_BUCKETS));
    cr_assert_eq(kv_calls_find(&calls, 7), a);
    kv_calls_remove(&calls, a);
    kv_calls_remove(&calls, c);
    cr_assert_eq(calls.n, 0);
    cr_assert_null(calls.oldest);
    cr_assert_null(calls.newest);
}

Test(calls, the_oldest_overdue_one_comes_first)
{
    struct kv_calls calls = {.n = 0};
    struct kv_pending *late = add(&calls, 1, 200, NULL);
    struct kv_pending *unsent = add(&calls, 2, 0, NULL);
    struct kv_pending *early = add(&calls, 3, 100, NULL);
    cr_assert_eq(kv_calls_overdue(&calls, 50), unsent, "never sent: at once");
    kv_calls_remove(&calls, unsent);
    cr_assert_null(kv_calls_overdue(&calls, 99));
    cr_assert_eq(kv_calls_overdue(&calls, 100), early);
    cr_assert_eq(kv_calls_overdue(&calls, 200), late, "in order of their start");
    kv_calls_remove(&calls, late);
    cr_assert_eq(calls.oldest, early);
    cr_assert_eq(calls.newest, early);
    kv_calls_remove(&calls, early);
    cr_assert_null(kv_calls_overdue(&calls, UINT64_MAX));
}

Test(calls, ending_one_calls_back_once_when_it_is_gone)
{
    struct kv_calls calls = {.n = 0};
    struct seen seen = {.n = 0};
    struct kv_err err = {.code = KV_E_TIMEOUT};
    struct kv_pending *call = add(&calls, 1, 5, &seen);
    (void)add(&calls, 2, 5, NULL);
    kv_calls_end(&calls, call, KV_E_TIMEOUT, &err);
    cr_assert_eq(seen.n, 1);
    cr_assert_eq(seen.rc, KV_E_TIMEOUT);
    cr_assert_eq(seen.err, &err);
    cr_assert_eq(seen.payload_len, 0);
    cr_assert_null(kv_calls_find(&calls, 1));
    cr_assert_eq(calls.n, 1);
    kv_calls_remove(&calls, kv_calls_find(&calls, 2));
}
