/*
 * EACH(test) { ... }: one test of the store, run on each back end with a box of its
 * own, in the suite STORE_SUITE that the including file defines. Criterion only.
 */
#ifndef KV_TESTS_SUPPORT_STORE_EACH_H
#define KV_TESTS_SUPPORT_STORE_EACH_H

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "store/keyring/role.h"
#include "tests/support/store_box.h"

#define EACH(test)                                                                     \
    ParameterizedTestParameters(STORE_SUITE, test)                                     \
    {                                                                                  \
        static int kinds[BOX_KINDS] = {BOX_MEMORY, BOX_SQLITE};                        \
        return cr_make_param_array(int, kinds, BOX_KINDS);                             \
    }                                                                                  \
    static void run_##test(struct box *box);                                           \
    ParameterizedTest(const int *kind, STORE_SUITE, test)                              \
    {                                                                                  \
        struct box box;                                                                \
        box_init(&box, (enum box_kind) * kind);                                        \
        run_##test(&box);                                                              \
        cr_expect_eq(box_check(&box), 0, "%s: %s", box_names[*kind], box.err.message); \
        box_fini(&box);                                                                \
    }                                                                                  \
    static void run_##test(struct box *box)

static inline struct kv_list_query query_of(enum kv_list_what what, uint8_t kind,
                                            size_t limit)
{
    struct kv_list_query query = {.what = what, .kind = kind, .limit = limit};
    box_id(query.vault, 1);
    return query;
}

static inline void must_apply(struct box *box, struct kv_mutation change)
{
    cr_assert_eq(box_apply(box, &change, 1), 0, "%s", box->err.message);
}

#endif
