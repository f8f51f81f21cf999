/*
 * Random operations on both back ends at once: every answer must be the same.
 * KEYVAULT_TEST_STEPS and KEYVAULT_TEST_SEED set length and start; a failure prints
 * its seed and step.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/keyring/role.h"
#include "tests/support/store_box.h"

#define STEPS_DEFAULT 2000

TestSuite(store_model, .timeout = 7200);

static struct box box[BOX_KINDS];
static unsigned seed;
static unsigned first_seed;
static unsigned step;

static unsigned pick(unsigned n)
{
    return (unsigned)rand_r(&seed) % n;
}

static unsigned from_environment(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static const uint8_t kinds[] = {KV_KIND_SECRET, KV_KIND_CERTIFICATE, KV_KIND_POLICY};

static uint8_t pick_kind(void)
{
    return kinds[pick(sizeof(kinds))];
}

/* Few names, in changing case, so that operations meet. */
static void pick_name(char out[KV_NAME_MAX + 1])
{
    static const char *const names[] = {"a",  "A", "b",     "B",     "aa",
                                        "Aa", "c", "web-1", "WEB-1", "web-10"};
    (void)snprintf(out, KV_NAME_MAX + 1, "%s", names[pick(10)]);
}

static struct kv_row_key pick_key(void)
{
    struct kv_row_key key = {.kind = pick_kind()};
    pick_name(key.name);
    box_id(key.vault, pick(2));
    if (key.kind != KV_KIND_POLICY)
        box_id(key.version, pick(6));
    return key;
}

static void compare_rows(void)
{
    const struct box *left = &box[BOX_MEMORY];
    const struct box *right = &box[BOX_SQLITE];
    cr_assert_eq(left->n_rows, right->n_rows, "seed %u step %u: %zu and %zu rows",
                 first_seed, step, left->n_rows, right->n_rows);
    cr_assert_eq(left->has_more, right->has_more);
    cr_assert_eq(left->failed_index, right->failed_index);
    cr_assert_str_eq(left->err.id, right->err.id);
    cr_assert_str_eq(left->err.message, right->err.message);
    for (size_t i = 0; i < left->n_rows; i++) {
        struct kv_row a = left->row[i];
        struct kv_row b = right->row[i];
        cr_assert_str_eq(a.key.name, b.key.name, "seed %u step %u row %zu", first_seed,
                         step, i);
        cr_assert_eq(a.sealed_len, b.sealed_len);
        cr_assert_arr_eq(a.sealed, b.sealed, a.sealed_len);
        a.sealed = b.sealed = NULL;
        memset(a.key.name, 0, sizeof(a.key.name));
        memset(b.key.name, 0, sizeof(b.key.name));
        cr_assert_arr_eq(a.key.vault, b.key.vault, KV_ID_LEN);
        cr_assert_arr_eq(a.key.version, b.key.version, KV_ID_LEN);
        cr_assert_arr_eq(a.current, b.current, KV_ID_LEN);
        cr_assert_eq(a.key.kind, b.key.kind);
        cr_assert_eq(a.row_version, b.row_version);
        cr_assert_eq(a.term, b.term);
        cr_assert_eq(a.flags, b.flags);
        cr_assert_eq(a.created_s, b.created_s);
        cr_assert_eq(a.updated_s, b.updated_s);
        cr_assert_eq(a.nbf_s, b.nbf_s);
        cr_assert_eq(a.exp_s, b.exp_s);
        cr_assert_eq(a.next_at_s, b.next_at_s);
    }
}

static void compare_codes(int left, int right)
{
    cr_assert_eq(left, right, "seed %u step %u: memory says %d, sqlite %d (%s)",
                 first_seed, step, left, right, box[BOX_SQLITE].err.message);
    compare_rows();
}

static int64_t pick_time(void)
{
    return pick(3) == 0 ? KV_TIME_NONE : (int64_t)pick(20) - 5;
}

/* What the row version is now; most changes should succeed. */
static uint64_t present(const struct kv_row_key *key)
{
    return box_get(&box[BOX_MEMORY], key) == 0 ? box[BOX_MEMORY].row[0].row_version : 0;
}

static struct kv_mutation pick_change(uint8_t body[64])
{
    struct kv_row_key key = pick_key();
    uint64_t expect = pick(10) == 0 ? pick(4) : present(&key);
    if (expect > 0 && pick(4) == 0) {
        struct kv_mutation change = {.kind = KV_MUTATION_DELETE, .expect = expect};
        if (kv_id_is_zero(key.version) && pick(3) == 0)
            change.kind = KV_MUTATION_PURGE;
        change.row.key = key;
        return change;
    }
    struct kv_mutation change = {.kind = KV_MUTATION_PUT, .expect = expect};
    for (int i = 0; i < 64; i++)
        body[i] = (uint8_t)pick(256);
    change.row = (struct kv_row){
        .key = key,
        .row_version = expect + 1,
        .term = pick(3),
        .flags = pick(16),
        .created_s = (int64_t)pick(3),
        .updated_s = (int64_t)pick(100),
        .nbf_s = pick_time(),
        .exp_s = pick_time(),
        .next_at_s = pick_time(),
        .sealed = body,
        .sealed_len = pick(65),
    };
    box_id(change.row.current, pick(6));
    return change;
}

static void step_apply(void)
{
    static uint8_t body[4][64];
    struct kv_mutation changes[4];
    uint8_t op_id[KV_ID_LEN];
    size_t n = 1 + pick(4);
    for (size_t i = 0; i < n; i++)
        changes[i] = pick_change(body[i]);
    box_id(op_id, 5000 + pick(4000)); /* some come twice */
    compare_codes(box_apply_as(&box[BOX_MEMORY], op_id, changes, n),
                  box_apply_as(&box[BOX_SQLITE], op_id, changes, n));
    compare_codes(box_op_status(&box[BOX_MEMORY], op_id),
                  box_op_status(&box[BOX_SQLITE], op_id));
}

static void step_read(void)
{
    struct kv_row_key key = pick_key();
    if (pick(2) == 0)
        compare_codes(box_get(&box[BOX_MEMORY], &key), box_get(&box[BOX_SQLITE], &key));
    else
        compare_codes(box_get_live(&box[BOX_MEMORY], &key),
                      box_get_live(&box[BOX_SQLITE], &key));
}

static void step_list(void)
{
    static const enum kv_list_what whats[] = {KV_LIST_CURRENT, KV_LIST_VERSIONS,
                                              KV_LIST_ROWS,    KV_LIST_DELETED,
                                              KV_LIST_DUE,     KV_LIST_VERSION_ID};
    struct kv_list_query query = {
        .what = whats[pick(6)],
        .kind = pick_kind(),
        .due_s = (int64_t)pick(20) - 5,
        .skip = pick(4) == 0 ? pick(6) : 0,
        .limit = 1 + pick(8),
    };
    box_id(query.vault, pick(2));
    pick_name(query.name);
    if (pick(2) == 0)
        pick_name(query.after_name);
    box_id(query.after_version, pick(3) == 0 ? 1 + pick(5) : 0);
    compare_codes(box_list(&box[BOX_MEMORY], &query),
                  box_list(&box[BOX_SQLITE], &query));
}

static void step_rare(void)
{
    unsigned what = pick(20);
    if (what == 0) {
        box_close(&box[BOX_SQLITE]);
        cr_assert_eq(box_reopen(&box[BOX_SQLITE]), 0);
    } else if (what == 1) {
        compare_codes(box_check(&box[BOX_MEMORY]), box_check(&box[BOX_SQLITE]));
    } else if (what < 5) {
        int64_t seconds = pick(2) == 0 ? 7 : 40000;
        kv_clock_manual_advance(&box[BOX_MEMORY].clock, seconds);
        kv_clock_manual_advance(&box[BOX_SQLITE].clock, seconds);
    } else {
        cr_assert_eq(box_stats(&box[BOX_MEMORY]), 0);
        cr_assert_eq(box_stats(&box[BOX_SQLITE]), 0);
        cr_assert_eq(box[BOX_MEMORY].stats.n_rows, box[BOX_SQLITE].stats.n_rows,
                     "seed %u step %u", first_seed, step);
    }
}

Test(store_model, random_operations_have_the_same_answers)
{
    unsigned n_steps = from_environment("KEYVAULT_TEST_STEPS", STEPS_DEFAULT);
    first_seed = seed = from_environment("KEYVAULT_TEST_SEED", 20261);
    box_init(&box[BOX_MEMORY], BOX_MEMORY);
    box_init(&box[BOX_SQLITE], BOX_SQLITE);
    for (step = 0; step < n_steps; step++) {
        unsigned what = pick(20);
        if (what < 8)
            step_apply();
        else if (what < 12)
            step_read();
        else if (what < 19)
            step_list();
        else
            step_rare();
    }
    cr_expect_eq(box_check(&box[BOX_SQLITE]), 0);
    box_fini(&box[BOX_MEMORY]);
    box_fini(&box[BOX_SQLITE]);
}
