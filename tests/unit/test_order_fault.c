/*
 * Orders that are interrupted: by each call to the keyring, by each commit, by a
 * service that stops at any turn, by one another. Nothing is left of what did not come
 * to be, and what was begun is completed with the same request.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/core/str.h"
#include "store/db/memory.h"
#include "tests/support/order_box.h"

static struct service_box box;

static void setup(void)
{
    service_box_init(&box);
}

static void teardown(void)
{
    service_box_fini(&box);
}

TestSuite(order_fault, .timeout = 120, .init = setup, .fini = teardown);

/* How the n-th call fails. */
static const struct way {
    bool at_once;
    int rc;
} ways[] = {
    {false, KV_E_UNAVAILABLE}, {true, KV_E_UNAVAILABLE}, {true, KV_E_NOMEM},
    {false, KV_E_SEALED},      {false, KV_E_TIMEOUT},
};
#define N_WAYS (sizeof(ways) / sizeof(ways[0]))

static void arm(unsigned n, const struct way *way)
{
    box.link.fails_at_once = way->at_once;
    fake_link_fail(&box.link, n, way->rc);
}

/* Whether the armed call came. */
static bool was_hit(void)
{
    bool is_hit = box.link.fail_in == 0;
    box.link.fail_in = 0;
    return is_hit;
}

static const char *new_name(void)
{
    static char name[16];
    static unsigned n;
    (void)snprintf(name, sizeof(name), "web%u", n++);
    return name;
}

/* --- create and import -------------------------------------------------------------
 */

typedef int (*begin_fn)(const char *name);

static int begin_create(const char *name)
{
    return order_create_ec(&box, name);
}

static int begin_import(const char *name)
{
    static struct kv_buf file;
    if (file.data == NULL) {
        struct chain_made made = chain_make(
            &(struct chain_maker){.type = "P-256", .subject = "web.example"}, NULL);
        chain_made_pem(&made, NULL, &file);
        chain_made_free(&made);
    }
    const struct order_ask ask = {.name = name, .material = {file.data, file.len}};
    return order_import(&box, &ask);
}

/* Begin with call n failing; whether there was such a call. */
static bool fails_at(begin_fn begin, const char *name, unsigned n,
                     const struct way *way)
{
    uint64_t n_rows = service_box_rows(&box);
    arm(n, way);
    int rc = begin(name);
    if (!was_hit()) {
        cr_assert_eq(rc, 0, "%s", box.err.message);
        return false;
    }
    cr_assert_eq(rc, way->rc, "call %u: %s", n, box.err.message);
    cr_assert_eq(box.service.n_running, 0);
    cr_assert_eq(service_box_rows(&box), n_rows, "call %u: something is left", n);
    return true;
}

/* The first version of a name, then one more; all calls. */
static void interrupt(begin_fn begin, unsigned n_first, unsigned n_second)
{
    for (size_t i = 0; i < N_WAYS; i++) {
        const char *name = new_name();
        unsigned n = 1;
        while (fails_at(begin, name, n, &ways[i]))
            n++;
        cr_expect_geq(n, n_first, "%u calls", n - 1);
        cr_assert_eq(order_run(&box, name), 0, "%s", box.err.message);
        order_expect_complete(&box, name, NULL, NULL);
        n = 1;
        while (fails_at(begin, name, n, &ways[i]))
            n++;
        cr_expect_geq(n, n_second, "%u calls", n - 1);
        cr_assert_eq(order_run(&box, name), 0, "%s", box.err.message);
        order_expect_complete(&box, name, NULL, NULL);
        cr_expect_eq(service_box_versions(&box, KV_KIND_KEY, name), 2);
    }
}

Test(order_fault, an_interrupted_create_leaves_nothing)
{
    interrupt(begin_create, 4, 6);
}

Test(order_fault, an_interrupted_import_leaves_nothing)
{
    interrupt(begin_import, 4, 5);
}

/* A commit that fails: nothing is there, or, when it took effect, all of it. */
static void fail_commit(begin_fn begin, bool takes_effect)
{
    const char *name = new_name();
    uint64_t n_rows = service_box_rows(&box);
    kv_memory_fail_apply(box.service.store, 1, KV_E_FULL, takes_effect);
    cr_assert_eq(begin(name), KV_E_FULL);
    if (!takes_effect) {
        cr_assert_eq(service_box_rows(&box), n_rows);
        cr_assert_eq(begin(name), 0, "%s", box.err.message);
    }
    cr_assert_eq(order_run(&box, name), 0, "%s", box.err.message);
    order_expect_complete(&box, name, NULL, NULL);
    cr_expect_eq(service_box_versions(&box, KV_KIND_CERTIFICATE, name), 1);
}

Test(order_fault, a_failed_commit_leaves_nothing_or_all)
{
    fail_commit(begin_create, false);
    fail_commit(begin_create, true);
    fail_commit(begin_import, false);
    fail_commit(begin_import, true);
}

/* --- run ---------------------------------------------------------------------------
 */

/* What an order is, and must stay. */
struct identity {
    json_t *csr;
    json_t *version;
    json_t *request;
    json_t *serial; /* decided by the issuer; NULL: not yet */
};

static void read_identity(const char *name, struct identity *out)
{
    json_t *doc = order_operation(&box, name, NULL);
    const char *text = json_string_value(json_object_get(doc, "state"));
    json_t *state = text != NULL ? json_loads(text, 0, NULL) : NULL;
    *out = (struct identity){.csr = json_incref(json_object_get(doc, "csr")),
                             .version = json_incref(json_object_get(doc, "version")),
                             .request = json_incref(json_object_get(doc, "requestId")),
                             .serial = json_incref(json_object_get(state, "serial"))};
    json_decref(state);
    json_decref(doc);
}

static void free_identity(struct identity *identity)
{
    json_decref(identity->csr);
    json_decref(identity->version);
    json_decref(identity->request);
    json_decref(identity->serial);
}

static void expect_same(const struct identity *a, const struct identity *b)
{
    cr_assert(json_equal(a->csr, b->csr), "another request");
    cr_assert(json_equal(a->version, b->version), "another version");
    cr_assert(json_equal(a->request, b->request));
    cr_assert(a->serial == NULL || b->serial == NULL ||
                  json_equal(a->serial, b->serial),
              "another certificate was asked for");
}

/* The certificate is the one that the issuer had decided on. */
static void expect_serial(const struct kv_object *certificate, const json_t *serial)
{
    X509 *leaf = order_leaf(certificate);
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(leaf), NULL);
    BIGNUM *decided = NULL;
    cr_assert_gt(BN_hex2bn(&decided, json_string_value(serial)), 0);
    /* The first bits of a serial number are not chance: it is positive. */
    (void)BN_mask_bits(decided, 120); /* fails when it has no more */
    cr_assert_eq(BN_mask_bits(number, 120), 1);
    cr_expect_eq(BN_cmp(number, decided), 0);
    BN_free(decided);
    BN_free(number);
    X509_free(leaf);
}

/* After an interruption: the same order waits, and is completed by the next run. */
static void expect_goes_on(const char *name, const struct identity *before)
{
    struct identity between;
    struct identity after;
    struct kv_object certificate;
    read_identity(name, &between);
    expect_same(before, &between);
    cr_assert_eq(box.service.n_running, 0);
    if (strcmp(order_status(&box, name), "completed") != 0)
        order_expect_pending(&box, name, 0);
    cr_assert_eq(order_run(&box, name), 0, "%s", box.err.message);
    read_identity(name, &after);
    expect_same(before, &after);
    order_expect_complete(&box, name, &certificate, NULL);
    if (between.serial != NULL)
        expect_serial(&certificate, between.serial);
    cr_expect_eq(service_box_versions(&box, KV_KIND_CERTIFICATE, name), 1);
    cr_expect_eq(service_box_versions(&box, KV_KIND_KEY, name), 1);
    free_identity(&between);
    free_identity(&after);
    kv_object_free(&certificate);
}

static bool run_fails_at(unsigned n, const struct way *way)
{
    struct identity before;
    const char *name = new_name();
    cr_assert_eq(order_create_ec(&box, name), 0, "%s", box.err.message);
    read_identity(name, &before);
    arm(n, way);
    int rc = order_run(&box, name);
    bool is_hit = was_hit();
    cr_assert_eq(rc, is_hit ? way->rc : 0, "call %u: %s", n, box.err.message);
    expect_goes_on(name, &before);
    free_identity(&before);
    return is_hit;
}

Test(order_fault, a_run_goes_on_after_each_call_that_failed)
{
    for (size_t i = 0; i < N_WAYS; i++) {
        unsigned n = 1;
        while (run_fails_at(n, &ways[i]))
            n++;
        /* operation, policy, version; state; signature; key; version and the rest */
        cr_expect_eq(n, 8, "%u calls", n - 1);
    }
}

Test(order_fault, a_run_goes_on_after_each_commit_that_failed)
{
    static const int codes[] = {KV_E_FULL, KV_E_IO, KV_E_CONFLICT, KV_E_UNKNOWN,
                                KV_E_NOMEM};
    for (size_t i = 0; i < 2 * sizeof(codes) / sizeof(codes[0]); i++) {
        for (unsigned n = 1; n <= 2; n++) {
            struct identity before;
            const char *name = new_name();
            cr_assert_eq(order_create_ec(&box, name), 0);
            read_identity(name, &before);
            kv_memory_fail_apply(box.service.store, n, codes[i / 2], i % 2 == 1);
            cr_assert_eq(order_run(&box, name), codes[i / 2], "%s", box.err.message);
            expect_goes_on(name, &before);
            free_identity(&before);
        }
    }
}

/* A failure for good that cannot be written down is decided again by the next run. */
Test(order_fault, a_failure_that_cannot_be_kept_is_no_end)
{
    json_t *doc = NULL;
    cr_assert_eq(order_create_ec(&box, "web"), 0);
    doc = order_operation(&box, "web", NULL);
    cr_assert_eq(json_object_set_new(doc, "spki", json_string("AAAA")), 0);
    order_put_operation(&box, "web", json_incref(doc));
    kv_memory_fail_apply(box.service.store, 2, KV_E_FULL, false);
    cr_assert_eq(order_run(&box, "web"), KV_E_FULL);
    cr_expect_str_eq(order_status(&box, "web"), "inProgress");
    cr_assert_eq(order_run(&box, "web"), 0);
    cr_expect_str_eq(order_status(&box, "web"), "failed");
    json_decref(doc);
}

/* --- a service that stops ----------------------------------------------------------
 */

/* Start something, let the loop turn so often, and stop; what the callback brought. */
static int stop_after(int rc, int n_turns, bool *is_done)
{
    for (int i = 0; i < n_turns && !box.is_done; i++)
        (void)uv_run(&box.loop, UV_RUN_NOWAIT);
    *is_done = box.is_done;
    box.service.is_stopping = true;
    rc = service_box_wait(&box, rc);
    box.service.is_stopping = false;
    return rc;
}

Test(order_fault, a_service_may_stop_at_any_turn_of_a_run)
{
    bool is_done = false;
    int n = 0;
    for (; !is_done; n++) {
        struct identity before;
        const char *name = new_name();
        cr_assert_eq(order_create_ec(&box, name), 0);
        read_identity(name, &before);
        int rc = stop_after(
            kv_run_start(&box.service, box.vault, name, service_box_done, &box), n,
            &is_done);
        cr_expect(rc == 0 || (rc == KV_E_UNAVAILABLE && !is_done), "%d: %s", n,
                  box.err.message);
        expect_goes_on(name, &before);
        free_identity(&before);
    }
    cr_expect_geq(n, 10);
}

Test(order_fault, a_service_may_stop_at_any_turn_of_a_create)
{
    bool is_done = false;
    int n = 0;
    for (; !is_done; n++) {
        const char *name = new_name();
        json_t *policy = json_loads(ORDER_EC, 0, NULL);
        const struct kv_order_request request = {.name = name, .policy = policy};
        uint64_t n_rows = service_box_rows(&box);
        int rc = stop_after(
            kv_order_create(&box.service, box.vault, &request, service_box_done, &box),
            n, &is_done);
        json_decref(policy);
        cr_expect(rc == 0 || rc == KV_E_UNAVAILABLE);
        if (rc == 0)
            order_expect_pending(&box, name, 0);
        else
            cr_expect_eq(service_box_rows(&box), n_rows);
    }
    cr_expect_geq(n, 8);
}

/* --- one another -------------------------------------------------------------------
 */

struct other {
    bool is_done;
    int rc;
};

static void on_other(void *arg, int rc, const struct kv_err *err)
{
    struct other *other = arg;
    (void)err;
    cr_assert(!other->is_done);
    other->is_done = true;
    other->rc = rc;
}

/* Two at once: one of them is first, the other is told so. */
static void expect_one(const struct other two[2], int code)
{
    cr_assert(two[0].is_done && two[1].is_done);
    cr_assert(two[0].rc == 0 || two[1].rc == 0);
    cr_assert(two[0].rc == code || two[1].rc == code, "%d %d", two[0].rc, two[1].rc);
}

Test(order_fault, of_two_orders_at_once_one_is_made)
{
    struct other two[2] = {{.is_done = false}};
    json_t *policy = json_loads(ORDER_EC, 0, NULL);
    const struct kv_order_request request = {
        .name = "web", .policy = policy, .is_enabled = true};
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(
            kv_order_create(&box.service, box.vault, &request, on_other, &two[i]), 0);
    service_box_settle(&box);
    expect_one(two, KV_E_CONFLICT);
    order_expect_pending(&box, "web", 0);
    cr_assert_eq(order_run(&box, "web"), 0);
    order_expect_complete(&box, "web", NULL, NULL);
    json_decref(policy);
}

Test(order_fault, of_two_runs_at_once_one_completes)
{
    struct other two[2] = {{.is_done = false}};
    cr_assert_eq(order_create_ec(&box, "web"), 0);
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(kv_run_start(&box.service, box.vault, "web", on_other, &two[i]),
                     0);
    service_box_settle(&box);
    expect_one(two, KV_E_CONFLICT);
    order_expect_complete(&box, "web", NULL, NULL);
    cr_expect_eq(service_box_versions(&box, KV_KIND_CERTIFICATE, "web"), 1);
}
