/*
 * The table of role assignments: a growing array.
 */
#include "lifecycle/service/assignments.h"

#include <stdlib.h>
#include <string.h>

#include "store/core/str.h"

struct kv_assignments {
    size_t n;
    size_t cap;
    struct kv_assignment *items;
};

int kv_assignments_new(struct kv_assignments **out)
{
    *out = calloc(1, sizeof(**out));
    return *out != NULL ? 0 : KV_E_NOMEM;
}

void kv_assignments_free(struct kv_assignments *assignments)
{
    if (assignments != NULL)
        free(assignments->items);
    free(assignments);
}

const struct kv_assignment *kv_assignments_all(const struct kv_assignments *assignments,
                                               size_t *n)
{
    *n = assignments->n;
    return assignments->items;
}

int kv_assignments_check_room(const struct kv_assignments *assignments,
                              struct kv_err *err)
{
    if (assignments->n < KV_ASSIGNMENTS_MAX)
        return 0;
    return kv_err_set(err, KV_E_FULL, "access.full",
                      "there are %zu role assignments already, and no more are kept",
                      assignments->n);
}

int kv_assignments_add(struct kv_assignments *assignments,
                       const struct kv_assignment *assignment, struct kv_err *err)
{
    if (assignments->n == assignments->cap) {
        size_t cap = assignments->cap == 0 ? 16 : assignments->cap * 2;
        struct kv_assignment *items =
            realloc(assignments->items, cap * sizeof(*assignments->items));
        if (items == NULL)
            return kv_err_set(err, KV_E_NOMEM, "service.no-memory", "out of memory");
        assignments->items = items;
        assignments->cap = cap;
    }
    assignments->items[assignments->n++] = *assignment;
    return 0;
}

void kv_assignments_remove(struct kv_assignments *assignments, const char *id)
{
    for (size_t i = 0; i < assignments->n; i++) {
        if (strcmp(assignments->items[i].id, id) != 0)
            continue;
        assignments->items[i] = assignments->items[--assignments->n];
        return;
    }
}

const struct kv_assignment *
kv_assignments_find(const struct kv_assignments *assignments,
                    const struct kv_assignment *like)
{
    for (size_t i = 0; i < assignments->n; i++) {
        const struct kv_assignment *item = &assignments->items[i];
        if (strcmp(item->principal, like->principal) == 0 &&
            strcmp(item->role, like->role) == 0 &&
            kv_str_equal_nocase(item->scope, like->scope))
            return item;
    }
    return NULL;
}

json_t *kv_assignment_doc(const struct kv_assignment *assignment)
{
    return json_pack("{s:s,s:s,s:s}", "principal", assignment->principal, "role",
                     assignment->role, "scope", assignment->scope);
}

int kv_assignment_read(const json_t *doc, const char *id, struct kv_assignment *out)
{
    const char *principal = json_string_value(json_object_get(doc, "principal"));
    const char *role = json_string_value(json_object_get(doc, "role"));
    const char *scope = json_string_value(json_object_get(doc, "scope"));
    if (principal == NULL || role == NULL || scope == NULL ||
        kv_str_copy(out->id, sizeof(out->id), id) != 0 ||
        kv_str_copy(out->principal, sizeof(out->principal), principal) != 0 ||
        kv_str_copy(out->role, sizeof(out->role), role) != 0 ||
        kv_str_copy(out->scope, sizeof(out->scope), scope) != 0)
        return KV_E_INTEGRITY;
    return 0;
}
