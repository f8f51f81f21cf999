/*
 * The table of role assignments: pointers in the order of principals, so that a
 * decision finds a caller's own among thousands at once.
 */
#include "lifecycle/service/assignments.h"

#include <stdlib.h>
#include <string.h>

#include "store/core/str.h"

struct kv_assignments {
    size_t n;
    size_t cap;
    struct kv_assignment **items;
};

int kv_assignments_new(struct kv_assignments **out)
{
    *out = calloc(1, sizeof(**out));
    return *out != NULL ? 0 : KV_E_NOMEM;
}

void kv_assignments_free(struct kv_assignments *assignments)
{
    if (assignments == NULL)
        return;
    for (size_t i = 0; i < assignments->n; i++)
        free(assignments->items[i]);
    free(assignments->items);
    free(assignments);
}

const struct kv_assignment *const *
kv_assignments_all(const struct kv_assignments *assignments, size_t *n)
{
    *n = assignments->n;
    return (const struct kv_assignment *const *)assignments->items;
}

/* The first that does not come before `like`. */
static size_t place_of(const struct kv_assignments *assignments,
                       const struct kv_assignment *like)
{
    size_t low = 0;
    size_t high = assignments->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (kv_assignment_compare(assignments->items[middle], like) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
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

static int make_room(struct kv_assignments *assignments)
{
    if (assignments->n < assignments->cap)
        return 0;
    size_t cap = assignments->cap == 0 ? 16 : assignments->cap * 2;
    struct kv_assignment **items =
        realloc(assignments->items, cap * sizeof(struct kv_assignment *));
    if (items == NULL)
        return KV_E_NOMEM;
    assignments->items = items;
    assignments->cap = cap;
    return 0;
}

int kv_assignments_add(struct kv_assignments *assignments,
                       const struct kv_assignment *assignment, struct kv_err *err)
{
    struct kv_assignment *copy = malloc(sizeof(*copy));
    if (copy == NULL || make_room(assignments) != 0) {
        free(copy);
        return kv_err_set(err, KV_E_NOMEM, "service.no-memory", "out of memory");
    }
    *copy = *assignment;
    kv_assignment_compile(copy);
    size_t at = place_of(assignments, copy);
    memmove(assignments->items + at + 1, assignments->items + at,
            (assignments->n - at) * sizeof(struct kv_assignment *));
    assignments->items[at] = copy;
    assignments->n++;
    return 0;
}

void kv_assignments_remove(struct kv_assignments *assignments, const char *id)
{
    for (size_t i = 0; i < assignments->n; i++) {
        if (strcmp(assignments->items[i]->id, id) != 0)
            continue;
        free(assignments->items[i]);
        assignments->n--;
        memmove(assignments->items + i, assignments->items + i + 1,
                (assignments->n - i) * sizeof(struct kv_assignment *));
        return;
    }
}

const struct kv_assignment *
kv_assignments_find(const struct kv_assignments *assignments,
                    const struct kv_assignment *like)
{
    size_t at = place_of(assignments, like);
    if (at == assignments->n ||
        kv_assignment_compare(assignments->items[at], like) != 0)
        return NULL;
    return assignments->items[at];
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
