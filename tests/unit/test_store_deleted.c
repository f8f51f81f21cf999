/*
 * Names that are deleted: what they hide, how they are listed, and what a purge takes
 * away; on each back end.
 */
#define STORE_SUITE store_deleted

#include <stdio.h>

#include "tests/support/store_each.h"

TestSuite(store_deleted, .timeout = 20);

static void delete_name(struct box *box, uint8_t kind, const char *name,
                        bool is_deleted, uint64_t expect)
{
    struct kv_mutation change = box_put(kind, name, 0, expect);
    box_id(change.row.current, 2);
    change.row.flags = KV_ROW_ENABLED | (is_deleted ? KV_ROW_DELETED : 0);
    must_apply(box, change);
}

EACH(hides_the_versions_of_a_deleted_name)
{
    must_apply(box, box_put(KV_KIND_SECRET, "s", 1, 0));
    must_apply(box, box_put(KV_KIND_SECRET, "s", 2, 0));
    delete_name(box, KV_KIND_SECRET, "s", false, 0);
    struct kv_row_key key = box_key(KV_KIND_SECRET, "s", 1);
    struct kv_list_query versions = query_of(KV_LIST_VERSIONS, KV_KIND_SECRET, 10);
    struct kv_list_query by_id = query_of(KV_LIST_VERSION_ID, KV_KIND_SECRET, 1);
    struct kv_list_query deleted = query_of(KV_LIST_DELETED, KV_KIND_SECRET, 10);
    strcpy(versions.name, "s");
    box_id(by_id.after_version, 1);
    for (int is_deleted = 0; is_deleted <= 1; is_deleted++) {
        cr_expect_eq(box_get_live(box, &key), is_deleted ? KV_E_NOT_FOUND : 0);
        cr_assert_eq(box_list(box, &versions), 0);
        cr_expect_eq(box->n_rows, is_deleted ? 0 : 2);
        cr_assert_eq(box_list(box, &by_id), 0);
        cr_expect_eq(box->n_rows, is_deleted ? 0 : 1);
        cr_assert_eq(box_list(box, &deleted), 0);
        cr_expect_eq(box->n_rows, is_deleted ? 1 : 0);
        cr_assert_eq(box_get(box, &key), 0, "the row itself is there");
        if (!is_deleted)
            delete_name(box, KV_KIND_SECRET, "s", true, 1);
    }
}

EACH(pages_through_deleted_names)
{
    for (uint32_t i = 0; i < 9; i++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "n%u", i);
        delete_name(box, KV_KIND_KEY, name, i % 2 == 0, 0);
    }
    struct kv_list_query query = query_of(KV_LIST_DELETED, KV_KIND_KEY, 3);
    cr_assert_eq(box_list(box, &query), 0);
    cr_assert_eq(box->n_rows, 3);
    cr_expect(box->has_more);
    cr_expect_str_eq(box->row[2].key.name, "n4");
    strcpy(query.after_name, "n4");
    cr_assert_eq(box_list(box, &query), 0);
    cr_assert_eq(box->n_rows, 2);
    cr_expect_not(box->has_more);
    cr_expect_str_eq(box->row[1].key.name, "n8");
}

EACH(purges_a_name_with_all_its_versions)
{
    enum { N = 70 }; /* more than one batch may change */
    for (uint32_t i = 1; i <= N; i++)
        must_apply(box, box_put(KV_KIND_KEY, "gone", i, 0));
    delete_name(box, KV_KIND_KEY, "gone", true, 0);
    must_apply(box, box_put(KV_KIND_KEY, "gonf", 1, 0));
    must_apply(box, box_put(KV_KIND_SECRET, "gone", 1, 0));
    struct kv_mutation purge = box_delete(KV_KIND_KEY, "GONE", 0, 2);
    purge.kind = KV_MUTATION_PURGE;
    cr_expect_eq(box_apply(box, &purge, 1), KV_E_CONFLICT, "of another row version");
    cr_assert_eq(box_stats(box), 0);
    cr_expect_eq(box->stats.n_rows, N + 3);

    purge.expect = 1;
    struct kv_mutation changes[2] = {purge, box_put(KV_KIND_KEY, "x", 1, 1)};
    cr_expect_eq(box_apply(box, changes, 2), KV_E_CONFLICT);
    cr_assert_eq(box_stats(box), 0);
    cr_expect_eq(box->stats.n_rows, N + 3, "the whole batch is undone");

    must_apply(box, purge);
    cr_assert_eq(box_stats(box), 0);
    cr_expect_eq(box->stats.n_rows, 2);
    struct kv_row_key key = box_key(KV_KIND_KEY, "gone", 0);
    cr_expect_eq(box_get(box, &key), KV_E_NOT_FOUND);
    must_apply(box, box_put(KV_KIND_KEY, "gone", 1, 0));
}

EACH(lists_what_is_in_a_vault_to_remove_it)
{
    size_t n_removed = 0;
    struct kv_list_query query = {.what = KV_LIST_VAULT, .limit = 4};
    cr_expect_eq(box_list(box, &query), KV_E_INVALID, "the installation is no vault");
    for (uint32_t version = 0; version <= 3; version += 3) {
        must_apply(box, box_put(KV_KIND_KEY, "k", version, 0));
        must_apply(box, box_put(KV_KIND_SECRET, "s", version, 0));
    }
    must_apply(box, box_put(KV_KIND_CONTACTS, "contacts", 0, 0));
    for (uint32_t version = 0; version <= 5; version += 5) {
        struct kv_mutation change = box_put(KV_KIND_KEY, "k", version, 0);
        box_id(change.row.key.vault, 9);
        must_apply(box, change);
    }
    box_id(query.vault, 1);
    size_t n = 0;
    do {
        struct kv_mutation changes[4];
        cr_assert_eq(box_list(box, &query), 0);
        n = box->n_rows;
        for (size_t i = 0; i < n; i++)
            changes[i] = (struct kv_mutation){.kind = KV_MUTATION_DELETE,
                                              .expect = box->row[i].row_version,
                                              .row = {.key = box->row[i].key}};
        if (n > 0)
            cr_assert_eq(box_apply(box, changes, n), 0);
        n_removed += n;
    } while (n > 0);
    cr_expect_eq(n_removed, 5);
    cr_assert_eq(box_stats(box), 0);
    cr_expect_eq(box->stats.n_rows, 2, "the other vault's");
}
