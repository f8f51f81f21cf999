/*
 * What every store does, whatever it is made of: each test runs on each back end.
 * tests/support/store_box asserts the callback rules in all of them.
 */
#define STORE_SUITE store_conformance

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/store_each.h"

TestSuite(store_conformance, .timeout = 20);

static int conflict_of(struct box *box, struct kv_mutation change)
{
    return box_apply(box, &change, 1);
}

/* Store a head that names `current`, and that version. */
static void put_object(struct box *box, uint8_t kind, const char *name,
                       uint32_t current)
{
    struct kv_mutation changes[2] = {box_put(kind, name, 0, 0),
                                     box_put(kind, name, current, 0)};
    box_id(changes[0].row.current, current);
    cr_assert_eq(box_apply(box, changes, 2), 0, "%s", box->err.message);
}

EACH(returns_the_row_that_was_stored)
{
    struct kv_mutation change = box_put(KV_KIND_SECRET, "db-password", 7, 0);
    struct kv_row *row = &change.row;
    row->flags = KV_ROW_ENABLED | KV_ROW_MANAGED | KV_ROW_PENDING;
    row->term = UINT32_MAX;
    row->created_s = -5;
    row->updated_s = INT64_MAX;
    row->nbf_s = 0;
    row->next_at_s = 77;
    must_apply(box, change);
    struct kv_row_key key = box_key(KV_KIND_SECRET, "db-password", 7);
    cr_assert_eq(box_get(box, &key), 0);
    cr_assert_eq(box->n_rows, 1);
    cr_expect_not(box->has_more);
    const struct kv_row *got = &box->row[0];
    cr_expect_arr_eq(got->key.vault, key.vault, KV_ID_LEN);
    cr_expect_arr_eq(got->key.version, key.version, KV_ID_LEN);
    cr_expect_str_eq(got->key.name, "db-password");
    cr_expect_eq(got->key.kind, KV_KIND_SECRET);
    cr_expect_eq(got->row_version, 1);
    cr_expect_eq(got->term, UINT32_MAX);
    cr_expect_eq(got->flags, row->flags);
    cr_expect_eq(got->created_s, -5);
    cr_expect_eq(got->updated_s, INT64_MAX);
    cr_expect_eq(got->nbf_s, 0);
    cr_expect_eq(got->exp_s, KV_TIME_NONE);
    cr_expect_eq(got->next_at_s, 77);
    cr_expect_eq(got->sealed_len, row->sealed_len);
    cr_expect_arr_eq(got->sealed, row->sealed, row->sealed_len);
}

EACH(says_that_a_row_is_missing)
{
    struct kv_row_key key = box_key(KV_KIND_KEY, "nothing", 0);
    cr_expect_eq(box_get(box, &key), KV_E_NOT_FOUND);
    cr_expect_str_eq(box->err.id, "store.no-row");
    cr_expect_str_eq(box->err.message, "there is no key \"nothing\"");
    cr_expect_eq(box_get_live(box, &key), KV_E_NOT_FOUND);
    must_apply(box, box_put(KV_KIND_KEY, "nothing", 1, 0));
    cr_expect_eq(box_get(box, &key), KV_E_NOT_FOUND, "a version is no head");
    key = box_key(KV_KIND_SECRET, "nothing", 1);
    cr_expect_eq(box_get(box, &key), KV_E_NOT_FOUND, "another kind");
    key = box_key(KV_KIND_KEY, "nothing", 1);
    box_id(key.vault, 2);
    cr_expect_eq(box_get(box, &key), KV_E_NOT_FOUND, "another vault");
}

EACH(checks_the_expected_row_version)
{
    cr_expect_eq(conflict_of(box, box_put(KV_KIND_ISSUER, "ca", 0, 1)), KV_E_CONFLICT);
    cr_expect_str_eq(box->err.id, "store.conflict");
    must_apply(box, box_put(KV_KIND_ISSUER, "ca", 0, 0));
    cr_expect_eq(conflict_of(box, box_put(KV_KIND_ISSUER, "ca", 0, 0)), KV_E_CONFLICT);
    cr_expect_eq(conflict_of(box, box_put(KV_KIND_ISSUER, "ca", 0, 2)), KV_E_CONFLICT);
    must_apply(box, box_put(KV_KIND_ISSUER, "ca", 0, 1));
    cr_expect_eq(conflict_of(box, box_put(KV_KIND_ISSUER, "ca", 0, 1)), KV_E_CONFLICT);
    cr_expect_eq(conflict_of(box, box_delete(KV_KIND_ISSUER, "ca", 0, 1)),
                 KV_E_CONFLICT);
    must_apply(box, box_delete(KV_KIND_ISSUER, "ca", 0, 2));
    cr_expect_eq(conflict_of(box, box_delete(KV_KIND_ISSUER, "ca", 0, 2)),
                 KV_E_CONFLICT);
    must_apply(box, box_put(KV_KIND_ISSUER, "ca", 0, 0));
}

EACH(replaces_every_column_on_update)
{
    struct kv_mutation change = box_put(KV_KIND_POLICY, "web", 0, 0);
    change.row.next_at_s = 5;
    change.row.exp_s = 6;
    must_apply(box, change);
    change = box_put(KV_KIND_POLICY, "web", 0, 1);
    change.row.flags = 0;
    change.row.updated_s = 2000;
    change.row.sealed = NULL;
    change.row.sealed_len = 0;
    change.row.term = 0;
    must_apply(box, change);
    struct kv_row_key key = box_key(KV_KIND_POLICY, "web", 0);
    cr_assert_eq(box_get(box, &key), 0);
    cr_expect_eq(box->row[0].row_version, 2);
    cr_expect_eq(box->row[0].flags, 0);
    cr_expect_eq(box->row[0].updated_s, 2000);
    cr_expect_eq(box->row[0].next_at_s, KV_TIME_NONE);
    cr_expect_eq(box->row[0].exp_s, KV_TIME_NONE);
    cr_expect_eq(box->row[0].sealed_len, 0);
    cr_expect_eq(box->row[0].term, 0);
}

EACH(applies_all_of_a_batch_or_nothing)
{
    must_apply(box, box_put(KV_KIND_SECRET, "there", 1, 0));
    struct kv_mutation changes[4] = {
        box_put(KV_KIND_SECRET, "new", 1, 0),
        box_put(KV_KIND_SECRET, "there", 1, 1),
        box_delete(KV_KIND_SECRET, "there", 1, 2),
        box_put(KV_KIND_SECRET, "absent", 1, 3),
    };
    cr_expect_eq(box_apply(box, changes, 4), KV_E_CONFLICT);
    cr_expect_eq(box->failed_index, 3);
    struct kv_row_key key = box_key(KV_KIND_SECRET, "new", 1);
    cr_expect_eq(box_get(box, &key), KV_E_NOT_FOUND);
    key = box_key(KV_KIND_SECRET, "there", 1);
    cr_assert_eq(box_get(box, &key), 0);
    cr_expect_eq(box->row[0].row_version, 1);
    cr_expect_eq(box_apply(box, changes, 3), 0);
    cr_expect_eq(box_get(box, &key), KV_E_NOT_FOUND);
    cr_assert_eq(box_stats(box), 0);
    cr_expect_eq(box->stats.n_rows, 1);
}

EACH(reads_the_current_version_behind_a_head)
{
    put_object(box, KV_KIND_CERTIFICATE, "web", 3);
    struct kv_row_key key = box_key(KV_KIND_CERTIFICATE, "WEB", 0);
    cr_assert_eq(box_get_live(box, &key), 0);
    struct kv_row_key want = box_key(KV_KIND_CERTIFICATE, "web", 3);
    cr_expect_arr_eq(box->row[0].key.version, want.version, KV_ID_LEN);
    cr_assert_eq(box_get(box, &key), 0);
    cr_expect_arr_eq(box->row[0].current, want.version, KV_ID_LEN);

    struct kv_mutation change = box_put(KV_KIND_CERTIFICATE, "web", 0, 1);
    memcpy(change.row.current, want.version, KV_ID_LEN);
    change.row.flags = KV_ROW_DELETED;
    must_apply(box, change);
    cr_expect_eq(box_get_live(box, &key), KV_E_NOT_FOUND, "deleted");

    change = box_put(KV_KIND_CERTIFICATE, "web", 0, 2);
    must_apply(box, change);
    cr_expect_eq(box_get_live(box, &key), KV_E_NOT_FOUND, "no current version");
    change = box_put(KV_KIND_CERTIFICATE, "web", 0, 3);
    box_id(change.row.current, 99);
    must_apply(box, change);
    cr_expect_eq(box_get_live(box, &key), KV_E_NOT_FOUND, "names a missing one");
}

EACH(compares_names_without_case_and_keeps_the_first_spelling)
{
    put_object(box, KV_KIND_KEY, "Web-Key", 1);
    cr_expect_eq(conflict_of(box, box_put(KV_KIND_KEY, "web-KEY", 1, 0)),
                 KV_E_CONFLICT);
    must_apply(box, box_put(KV_KIND_KEY, "WEB-KEY", 2, 0));
    struct kv_row_key key = box_key(KV_KIND_KEY, "web-key", 2);
    cr_assert_eq(box_get(box, &key), 0);
    cr_expect_str_eq(box->row[0].key.name, "Web-Key");
    struct kv_mutation change = box_put(KV_KIND_KEY, "web-key", 0, 1);
    must_apply(box, change);
    struct kv_list_query query = query_of(KV_LIST_ROWS, KV_KIND_KEY, 10);
    cr_assert_eq(box_list(box, &query), 0);
    cr_assert_eq(box->n_rows, 1);
    cr_expect_str_eq(box->row[0].key.name, "Web-Key");
    query = query_of(KV_LIST_VERSIONS, KV_KIND_KEY, 10);
    strcpy(query.name, "WEB-key");
    cr_assert_eq(box_list(box, &query), 0);
    cr_expect_eq(box->n_rows, 2);
}

EACH(pages_through_names)
{
    enum { N = 150 };
    for (int i = 0; i < N; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "%s-%03d", i % 2 ? "n" : "N", i);
        put_object(box, KV_KIND_SECRET, name, 1);
    }
    put_object(box, KV_KIND_KEY, "n-000", 1);
    for (int what = KV_LIST_CURRENT; what <= KV_LIST_ROWS; what++) {
        struct kv_list_query query =
            query_of(what ? KV_LIST_ROWS : KV_LIST_CURRENT, KV_KIND_SECRET, 64);
        int n = 0;
        bool has_more = true;
        while (has_more) {
            cr_assert_eq(box_list(box, &query), 0);
            for (size_t i = 0; i < box->n_rows; i++, n++)
                cr_expect_eq(atoi(box->row[i].key.name + 2), n);
            has_more = box->has_more;
            cr_expect_eq(has_more, n < N);
            strcpy(query.after_name, box->row[box->n_rows - 1].key.name);
        }
        cr_expect_eq(n, N);
        query.limit = 50;
        strcpy(query.after_name, "N-099");
        cr_assert_eq(box_list(box, &query), 0);
        cr_expect_eq(box->n_rows, 50);
        cr_expect_not(box->has_more, "the last page is exactly full");
        strcpy(query.after_name, "zzz");
        cr_assert_eq(box_list(box, &query), 0);
        cr_expect_eq(box->n_rows, 0);
    }
}

EACH(lists_current_versions_and_heads_without_one)
{
    put_object(box, KV_KIND_CERTIFICATE, "a", 5);
    must_apply(box, box_put(KV_KIND_CERTIFICATE, "b", 0, 0));
    struct kv_mutation change = box_put(KV_KIND_CERTIFICATE, "c", 0, 0);
    change.row.flags = KV_ROW_DELETED | KV_ROW_ENABLED;
    must_apply(box, change);
    must_apply(box, box_put(KV_KIND_CERTIFICATE, "d", 9, 0)); /* no head */
    struct kv_list_query query = query_of(KV_LIST_CURRENT, KV_KIND_CERTIFICATE, 10);
    cr_assert_eq(box_list(box, &query), 0);
    cr_assert_eq(box->n_rows, 2);
    cr_expect_eq(box->row[0].key.version[KV_ID_LEN - 1], 5);
    cr_expect_eq(box->row[1].key.version[KV_ID_LEN - 1], 0);
    cr_expect_str_eq(box->row[1].key.name, "b");
    query.what = KV_LIST_ROWS;
    cr_assert_eq(box_list(box, &query), 0);
    cr_assert_eq(box->n_rows, 3, "deleted heads are rows too");
    cr_expect_eq(box->row[2].flags, KV_ROW_DELETED | KV_ROW_ENABLED);
}

EACH(keeps_versions_in_the_order_they_were_made)
{
    /* The ids fall while time stands still; 50 is older, 3 is younger. */
    static const struct {
        uint32_t version;
        int64_t created_s;
    } made[] = {{9, 1000}, {8, 1000}, {50, 500}, {7, 1000}, {3, 2000}, {2, 1000}};
    static const uint8_t order[] = {50, 9, 8, 7, 2, 3};
    for (size_t i = 0; i < 6; i++) {
        struct kv_mutation change = box_put(KV_KIND_KEY, "k", made[i].version, 0);
        change.row.created_s = made[i].created_s;
        must_apply(box, change);
    }
    must_apply(box, box_put(KV_KIND_KEY, "k", 0, 0));
    must_apply(box, box_put(KV_KIND_KEY, "kk", 77, 0));
    struct kv_list_query query = query_of(KV_LIST_VERSIONS, KV_KIND_KEY, 4);
    strcpy(query.name, "k");
    cr_assert_eq(box_list(box, &query), 0);
    cr_assert_eq(box->n_rows, 4);
    cr_expect(box->has_more);
    for (size_t i = 0; i < 4; i++)
        cr_expect_eq(box->row[i].key.version[KV_ID_LEN - 1], order[i]);
    memcpy(query.after_version, box->row[3].key.version, KV_ID_LEN);
    cr_assert_eq(box_list(box, &query), 0);
    cr_assert_eq(box->n_rows, 2);
    cr_expect_not(box->has_more);
    for (size_t i = 0; i < 2; i++)
        cr_expect_eq(box->row[i].key.version[KV_ID_LEN - 1], order[4 + i]);
    box_id(query.after_version, 1234);
    cr_expect_eq(box_list(box, &query), KV_E_NOT_FOUND);
    cr_expect_str_eq(box->err.id, "store.no-page");
}

EACH(lists_what_is_due_across_kinds_and_vaults)
{
    static const int64_t at[] = {300, 100, 200, 400, KV_TIME_NONE, 100};
    for (uint32_t i = 0; i < 6; i++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "n%u", i);
        struct kv_mutation change =
            box_put(i % 2 ? KV_KIND_CERTIFICATE : KV_KIND_OPERATION, name, 0, 0);
        box_id(change.row.key.vault, i);
        change.row.next_at_s = at[i];
        must_apply(box, change);
    }
    struct kv_list_query query = {.what = KV_LIST_DUE, .due_s = 300, .limit = 10};
    cr_assert_eq(box_list(box, &query), 0);
    cr_assert_eq(box->n_rows, 4);
    cr_expect_str_eq(box->row[0].key.name, "n1");
    cr_expect_str_eq(box->row[1].key.name, "n5");
    cr_expect_str_eq(box->row[2].key.name, "n2");
    cr_expect_str_eq(box->row[3].key.name, "n0");
    query.limit = 3;
    cr_assert_eq(box_list(box, &query), 0);
    cr_expect_eq(box->n_rows, 3);
    cr_expect(box->has_more);
    query.skip = 3;
    cr_assert_eq(box_list(box, &query), 0);
    cr_assert_eq(box->n_rows, 1);
    cr_expect_str_eq(box->row[0].key.name, "n0");
    cr_expect_not(box->has_more);
    query.skip = 4;
    cr_assert_eq(box_list(box, &query), 0);
    cr_expect_eq(box->n_rows, 0);
    query.skip = 0;
    query.due_s = 99;
    cr_assert_eq(box_list(box, &query), 0);
    cr_expect_eq(box->n_rows, 0);
}

EACH(finds_a_version_by_its_id_alone)
{
    for (uint32_t i = 1; i <= 3; i++) {
        for (uint32_t version = 0; version <= i;
             version += i) { /* head, then version */
            struct kv_mutation change = box_put(KV_KIND_KEY, "k", version, 0);
            box_id(change.row.key.vault, i);
            must_apply(box, change);
        }
    }
    struct kv_mutation other = box_put(KV_KIND_SECRET, "k", 2, 0);
    must_apply(box, other);
    struct kv_list_query query = {
        .what = KV_LIST_VERSION_ID, .kind = KV_KIND_KEY, .limit = 1};
    box_id(query.after_version, 2);
    cr_assert_eq(box_list(box, &query), 0);
    cr_assert_eq(box->n_rows, 1);
    cr_expect_eq(box->row[0].key.kind, KV_KIND_KEY);
    cr_expect_arr_eq(box->row[0].key.version, query.after_version, KV_ID_LEN);
    cr_expect_not(box->has_more);
    box_id(query.after_version, 9);
    cr_assert_eq(box_list(box, &query), 0);
    cr_expect_eq(box->n_rows, 0);
}

EACH(finds_a_version_by_its_id_in_any_vault)
{
    put_object(box, KV_KIND_KEY, "one", 21);
    put_object(box, KV_KIND_SECRET, "other-kind", 21);
    for (uint32_t version = 0; version <= 22; version += 22) {
        struct kv_mutation change = box_put(KV_KIND_KEY, "two", version, 0);
        box_id(change.row.key.vault, 9);
        must_apply(box, change);
    }
    struct kv_list_query query = {
        .what = KV_LIST_VERSION_ID, .kind = KV_KIND_KEY, .limit = 2};
    cr_expect_eq(box_list(box, &query), KV_E_INVALID, "no id");
    box_id(query.after_version, 21);
    cr_assert_eq(box_list(box, &query), 0);
    cr_assert_eq(box->n_rows, 1);
    cr_expect_str_eq(box->row[0].key.name, "one");
    box_id(query.after_version, 22);
    cr_assert_eq(box_list(box, &query), 0);
    cr_assert_eq(box->n_rows, 1);
    cr_expect_str_eq(box->row[0].key.name, "two");
    box_id(query.after_version, 23);
    cr_assert_eq(box_list(box, &query), 0);
    cr_expect_eq(box->n_rows, 0);
}

EACH(answers_a_repeated_operation_without_doing_it_again)
{
    uint8_t op_id[KV_ID_LEN];
    uint8_t other[KV_ID_LEN];
    box_id(op_id, 42);
    box_id(other, 43);
    struct kv_mutation change = box_put(KV_KIND_SECRET, "s", 1, 0);
    cr_expect_eq(box_op_status(box, op_id), KV_E_NOT_FOUND);
    cr_expect_str_eq(box->err.id, "store.no-operation");
    cr_expect_eq(box_apply_as(box, op_id, &change, 1), 0);
    cr_expect_eq(box_op_status(box, op_id), 0);
    cr_expect_eq(box_apply_as(box, op_id, &change, 1), 0);
    cr_expect_eq(box_apply_as(box, other, &change, 1), KV_E_CONFLICT);
    cr_expect_eq(box_op_status(box, other), KV_E_NOT_FOUND);
    struct kv_row_key key = box_key(KV_KIND_SECRET, "s", 1);
    cr_assert_eq(box_get(box, &key), 0);
    cr_expect_eq(box->row[0].row_version, 1);

    kv_clock_manual_advance(&box->clock, 86400);
    cr_expect_eq(box_op_status(box, op_id), 0, "kept for a day");
    kv_clock_manual_advance(&box->clock, 1);
    cr_expect_eq(box_op_status(box, op_id), KV_E_NOT_FOUND, "and no longer");
    cr_expect_eq(box_apply_as(box, op_id, &change, 1), KV_E_CONFLICT);
    struct kv_mutation second = box_put(KV_KIND_SECRET, "s", 2, 0);
    cr_expect_eq(box_apply_as(box, op_id, &second, 1), 0, "the id is free again");
}

EACH(counts_rows_and_changes)
{
    struct kv_mutation changes[2] = {box_put(KV_KIND_SECRET, "a", 1, 0),
                                     box_put(KV_KIND_SECRET, "b", 1, 0)};
    cr_assert_eq(box_apply(box, changes, 2), 0);
    must_apply(box, box_put(KV_KIND_SECRET, "a", 1, 1));
    must_apply(box, box_delete(KV_KIND_SECRET, "b", 1, 1));
    cr_assert_eq(box_stats(box), 0);
    cr_expect_eq(box->stats.n_rows, 1);
    cr_expect_eq(box->stats.n_commits, 3);
    cr_expect_eq(box->stats.n_mutations, 4);
    cr_expect_eq(box->stats.schema, KV_STORE_SCHEMA);
}

EACH(refuses_what_is_malformed_at_once)
{
    struct kv_mutation change = box_put(KV_KIND_SECRET, "", 1, 0);
    cr_expect_eq(box_apply(box, &change, 1), KV_E_INVALID, "no name");
    change = box_put(KV_KIND_SECRET, "\xff", 1, 0);
    cr_expect_eq(box_apply(box, &change, 1), KV_E_INVALID, "no UTF-8");
    change = box_put(KV_KIND_SECRET, "a", 1, 0);
    memset(change.row.key.name, 'a', sizeof(change.row.key.name));
    cr_expect_eq(box_apply(box, &change, 1), KV_E_INVALID, "no end of the name");
    change = box_put(0, "a", 0, 0);
    cr_expect_eq(box_apply(box, &change, 1), KV_E_INVALID, "no kind");
    change = box_put(KV_KIND_LAST + 1, "a", 0, 0);
    cr_expect_eq(box_apply(box, &change, 1), KV_E_INVALID, "unknown kind");
    change = box_put(KV_KIND_POLICY, "a", 1, 0);
    cr_expect_eq(box_apply(box, &change, 1), KV_E_INVALID, "kind without versions");
    change = box_put(KV_KIND_SECRET, "a", 1, 0);
    change.row.row_version = 5;
    cr_expect_eq(box_apply(box, &change, 1), KV_E_INVALID, "row version");
    change = box_put(KV_KIND_SECRET, "a", 1, 0);
    change.row.sealed_len = KV_STORE_SEALED_MAX + 1;
    cr_expect_eq(box_apply(box, &change, 1), KV_E_INVALID, "too long");
    change = box_delete(KV_KIND_SECRET, "a", 1, 0);
    cr_expect_eq(box_apply(box, &change, 1), KV_E_INVALID, "delete of nothing");
    cr_expect_eq(box_apply(box, &change, 0), KV_E_INVALID, "empty batch");
    static struct kv_mutation many[KV_STORE_BATCH_MAX + 1];
    cr_expect_eq(box_apply(box, many, KV_STORE_BATCH_MAX + 1), KV_E_INVALID);
    struct kv_list_query query = query_of(KV_LIST_ROWS, KV_KIND_SECRET, 0);
    cr_expect_eq(box_list(box, &query), KV_E_INVALID, "no limit");
    query.limit = KV_STORE_LIST_MAX + 1;
    cr_expect_eq(box_list(box, &query), KV_E_INVALID, "limit too high");
    query = query_of(KV_LIST_VERSIONS, KV_KIND_SECRET, 1);
    cr_expect_eq(box_list(box, &query), KV_E_INVALID, "versions of no name");
    strcpy(query.name, "a");
    query.kind = KV_KIND_POLICY;
    cr_expect_eq(box_list(box, &query), KV_E_INVALID, "versions of a policy");
}

EACH(takes_the_largest_of_everything)
{
    static struct kv_mutation changes[KV_STORE_BATCH_MAX];
    uint8_t *body = malloc(KV_STORE_SEALED_MAX);
    cr_assert_not_null(body);
    for (size_t i = 0; i < KV_STORE_SEALED_MAX; i++)
        body[i] = (uint8_t)(i * 31);
    char name[KV_NAME_MAX + 1];
    memset(name, 'n', KV_NAME_MAX);
    name[KV_NAME_MAX] = '\0';
    for (uint32_t i = 0; i < KV_STORE_BATCH_MAX; i++) {
        changes[i] = box_put(KV_KIND_SECRET, name, i + 1, 0);
        if (i >= KV_STORE_LIST_MAX)
            continue;
        changes[i].row.sealed = body;
        changes[i].row.sealed_len = KV_STORE_SEALED_MAX;
    }
    cr_assert_eq(box_apply(box, changes, KV_STORE_BATCH_MAX), 0, "%s",
                 box->err.message);
    must_apply(box, box_put(KV_KIND_SECRET, name, 0, 0));
    struct kv_list_query query =
        query_of(KV_LIST_VERSIONS, KV_KIND_SECRET, KV_STORE_LIST_MAX);
    strcpy(query.name, name);
    cr_assert_eq(box_list(box, &query), 0);
    cr_assert_eq(box->n_rows, KV_STORE_LIST_MAX);
    for (size_t i = 0; i < box->n_rows; i++)
        cr_assert_eq(memcmp(box->row[i].sealed, body, KV_STORE_SEALED_MAX), 0);
    free(body);
}

static struct kv_mutation restore_of(const char *name, uint32_t version,
                                     uint64_t row_version)
{
    struct kv_mutation change = box_put(KV_KIND_KEY, name, version, 0);
    change.kind = KV_MUTATION_RESTORE;
    change.row.row_version = row_version;
    return change;
}

EACH(brings_rows_back_with_their_row_versions)
{
    struct kv_mutation changes[3] = {restore_of("Back", 0, 9), restore_of("back", 1, 3),
                                     restore_of("back", 2, INT64_MAX - 1)};
    box_id(changes[0].row.current, 2);
    cr_assert_eq(box_apply(box, changes, 3), 0, "%s", box->err.message);
    struct kv_row_key key = box_key(KV_KIND_KEY, "back", 0);
    cr_assert_eq(box_get_live(box, &key), 0);
    cr_expect_eq(box->row[0].row_version, INT64_MAX - 1);
    cr_expect_str_eq(box->row[0].key.name, "Back", "the spelling of its first row");
    cr_expect_eq(box->row[0].sealed_len, changes[2].row.sealed_len);
    must_apply(box, box_put(KV_KIND_KEY, "back", 1, 3));
    cr_assert_eq(box_stats(box), 0);
    cr_expect_eq(box->stats.n_rows, 3);
}

EACH(brings_no_row_back_over_another)
{
    must_apply(box, box_put(KV_KIND_KEY, "back", 2, 0));
    struct kv_mutation changes[2] = {restore_of("back", 1, 3),
                                     restore_of("back", 2, 1)};
    cr_assert_eq(box_apply(box, changes, 2), KV_E_CONFLICT);
    cr_expect_eq(box->failed_index, 1);
    struct kv_row_key key = box_key(KV_KIND_KEY, "back", 1);
    cr_expect_eq(box_get(box, &key), KV_E_NOT_FOUND, "none of the batch is there");

    struct kv_mutation bad = restore_of("new", 1, 0);
    cr_expect_eq(box_apply(box, &bad, 1), KV_E_INVALID, "of no stored row");
    bad = restore_of("new", 1, INT64_MAX);
    cr_expect_eq(box_apply(box, &bad, 1), KV_E_INVALID, "no change could follow");
    bad = restore_of("new", 1, 4);
    bad.expect = 3;
    cr_expect_eq(box_apply(box, &bad, 1), KV_E_INVALID, "it must not exist");
}

struct tally {
    struct box *box;
    unsigned n_ok;
    unsigned n_conflict;
    bool is_closed;
    unsigned n_after_close;
};

static void count_apply(void *arg, int rc, size_t failed_index,
                        const struct kv_err *err)
{
    struct tally *tally = arg;
    (void)failed_index;
    (void)err;
    tally->n_ok += rc == 0;
    tally->n_conflict += rc == KV_E_CONFLICT;
    tally->n_after_close += tally->is_closed;
}

static void note_closed(void *arg)
{
    struct tally *tally = arg;
    tally->is_closed = true;
    tally->box->store = NULL;
}

EACH(finishes_what_is_queued_before_it_closes)
{
    struct tally tally = {.box = box};
    struct kv_store *store = box->store;
    struct kv_row_key key = box_key(KV_KIND_SECRET, "s0", 1);
    for (uint32_t i = 0; i < 200; i++) {
        char name[16];
        uint8_t op_id[KV_ID_LEN];
        (void)snprintf(name, sizeof(name), "s%u", i / 2);
        box_id(op_id, 1000 + i);
        struct kv_mutation change = box_put(KV_KIND_SECRET, name, 1, 0);
        cr_assert_eq(store->ops->apply(store, op_id, &change, 1, count_apply, &tally),
                     0);
    }
    store->ops->close(store, note_closed, &tally);
    cr_expect_eq(store->ops->get(store, &key, NULL, NULL), KV_E_INVALID);
    cr_expect_eq(store->ops->check(store, count_apply, &tally), KV_E_STATE);
    cr_expect_eq(tally.n_ok + tally.n_conflict, 0, "nothing before the loop runs");
    (void)uv_run(&box->loop, UV_RUN_DEFAULT);
    cr_expect(tally.is_closed);
    cr_expect_eq(tally.n_after_close, 0);
    cr_expect_eq(tally.n_ok, 100, "a conflict undoes its own batch only");
    cr_expect_eq(tally.n_conflict, 100);
    cr_assert_eq(box_reopen(box), 0);
}

static void close_inside(void *arg, int rc, size_t failed_index,
                         const struct kv_err *err)
{
    struct tally *tally = arg;
    count_apply(arg, rc, failed_index, err);
    tally->box->store->ops->close(tally->box->store, note_closed, tally);
}

EACH(may_be_closed_from_a_callback)
{
    struct tally tally = {.box = box};
    cr_assert_eq(box->store->ops->check(box->store, close_inside, &tally), 0);
    (void)uv_run(&box->loop, UV_RUN_DEFAULT);
    cr_expect(tally.is_closed);
    cr_expect_eq(tally.n_ok, 1);
    cr_assert_eq(box_reopen(box), 0);
}
