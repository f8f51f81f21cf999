/*
 * The table of role assignments, and their documents.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lifecycle/service/assignments.h"

static struct kv_assignments *table;

static void setup(void)
{
    cr_assert_eq(kv_assignments_new(&table), 0);
}

static void teardown(void)
{
    kv_assignments_free(table);
}

TestSuite(assignments, .timeout = 20, .init = setup, .fini = teardown);

static struct kv_assignment make(const char *id, const char *principal,
                                 const char *scope)
{
    struct kv_assignment assignment = {.role = "reader"};
    (void)snprintf(assignment.id, sizeof(assignment.id), "%s", id);
    (void)snprintf(assignment.principal, sizeof(assignment.principal), "%s", principal);
    (void)snprintf(assignment.scope, sizeof(assignment.scope), "%s", scope);
    return assignment;
}

static size_t count(void)
{
    size_t n = 0;
    (void)kv_assignments_all(table, &n);
    return n;
}

Test(assignments, are_found_by_what_they_give_to_whom)
{
    struct kv_assignment a = make("1", "unix:a", "/v/keys/k");
    struct kv_assignment b = make("2", "unix:b", "/v/keys/k");
    cr_assert_null(kv_assignments_find(table, &a));
    cr_assert_eq(kv_assignments_add(table, &a, NULL), 0);
    cr_assert_eq(kv_assignments_add(table, &b, NULL), 0);
    cr_assert_str_eq(kv_assignments_find(table, &b)->id, "2");
    struct kv_assignment like = make("", "unix:a", "/V/Keys/K");
    cr_assert_str_eq(kv_assignments_find(table, &like)->id, "1", "scopes have no case");
    like = make("", "unix:A", "/v/keys/k");
    cr_assert_null(kv_assignments_find(table, &like), "principals have");
    like = make("", "unix:a", "/v/keys/k2");
    cr_assert_null(kv_assignments_find(table, &like));
    like = a;
    (void)snprintf(like.role, sizeof(like.role), "administrator");
    cr_assert_null(kv_assignments_find(table, &like));
}

Test(assignments, go_away_by_id_and_leave_the_others)
{
    for (int i = 0; i < 40; i++) {
        char id[8];
        (void)snprintf(id, sizeof(id), "%d", i);
        struct kv_assignment item = make(id, id, "/");
        cr_assert_eq(kv_assignments_add(table, &item, NULL), 0);
    }
    kv_assignments_remove(table, "7");
    kv_assignments_remove(table, "39");
    kv_assignments_remove(table, "no such");
    cr_assert_eq(count(), 38);
    struct kv_assignment gone = make("", "7", "/");
    struct kv_assignment stays = make("", "38", "/");
    cr_assert_null(kv_assignments_find(table, &gone));
    cr_assert_not_null(kv_assignments_find(table, &stays));
}

Test(assignments, the_ceiling_is_for_new_ones_not_for_what_is_stored)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_assignment item = make("x", "unix:a", "/");
    for (size_t i = 0; i < KV_ASSIGNMENTS_MAX; i++) {
        cr_assert_eq(kv_assignments_check_room(table, NULL), 0);
        cr_assert_eq(kv_assignments_add(table, &item, NULL), 0);
    }
    cr_assert_eq(kv_assignments_check_room(table, &err), KV_E_FULL);
    cr_assert_str_eq(err.id, "access.full");
    cr_assert_eq(kv_assignments_add(table, &item, NULL), 0,
                 "two grants at once are both durable: a start must load both");
    cr_assert_eq(count(), KV_ASSIGNMENTS_MAX + 1);
    kv_assignments_remove(table, "x");
    kv_assignments_remove(table, "x");
    cr_assert_eq(kv_assignments_check_room(table, NULL), 0);
}

Test(assignments, documents_come_back_as_they_were)
{
    struct kv_assignment read;
    struct kv_assignment item = make("", "unix:www-data", "/default/keys/Web");
    json_t *doc = kv_assignment_doc(&item);
    cr_assert_eq(json_object_size(doc), 3);
    cr_assert_eq(kv_assignment_read(doc, "an-id", &read), 0);
    cr_assert_str_eq(read.id, "an-id");
    cr_assert_str_eq(read.principal, item.principal);
    cr_assert_str_eq(read.role, item.role);
    cr_assert_str_eq(read.scope, item.scope);
    static const char *const members[] = {"principal", "role", "scope"};
    for (size_t i = 0; i < 3; i++) {
        json_t *copy = json_deep_copy(doc);
        cr_assert_eq(json_object_set_new(copy, members[i], json_integer(1)), 0);
        cr_assert_eq(kv_assignment_read(copy, "i", &read), KV_E_INTEGRITY);
        cr_assert_eq(json_object_del(copy, members[i]), 0);
        cr_assert_eq(kv_assignment_read(copy, "i", &read), KV_E_INTEGRITY);
        json_decref(copy);
    }
    char big[1024];
    memset(big, 'a', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    cr_assert_eq(json_object_set_new(doc, "scope", json_string(big)), 0);
    cr_assert_eq(kv_assignment_read(doc, "i", &read), KV_E_INTEGRITY, "too long");
    cr_assert_eq(kv_assignment_read(NULL, "i", &read), KV_E_INTEGRITY);
    json_decref(doc);
}
