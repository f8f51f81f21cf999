/*
 * Who may do what, as the service holds it in memory: all role assignments of the
 * installation. Their durable form is one sealed document each (kind ASSIGNMENT, in
 * the installation's own rows); this table is filled at start and after each commit.
 * Loop thread only.
 */
#ifndef KV_LIFECYCLE_SERVICE_ASSIGNMENTS_H
#define KV_LIFECYCLE_SERVICE_ASSIGNMENTS_H

#include <jansson.h>

#include "lifecycle/auth/access.h"

#define KV_ASSIGNMENTS_MAX 16384

struct kv_assignments;

int kv_assignments_new(struct kv_assignments **out) KV_MUST_CHECK;
void kv_assignments_free(struct kv_assignments *assignments);

/* All, compiled and in the order of kv_assignment_compare. Borrowed until the next add
 * or remove. */
const struct kv_assignment *const *
kv_assignments_all(const struct kv_assignments *assignments, size_t *n);

/* 0, or KV_E_FULL (access.full) when no new one may be granted. What is stored already
 * is added all the same: grants that were under way at once may exceed the ceiling. */
int kv_assignments_check_room(const struct kv_assignments *assignments,
                              struct kv_err *err) KV_MUST_CHECK;

/* Returns 0 or KV_E_NOMEM. */
int kv_assignments_add(struct kv_assignments *assignments,
                       const struct kv_assignment *assignment,
                       struct kv_err *err) KV_MUST_CHECK;
void kv_assignments_remove(struct kv_assignments *assignments, const char *id);

/* Assignment of the same principal, role and scope; NULL when there is none. */
const struct kv_assignment *
kv_assignments_find(const struct kv_assignments *assignments,
                    const struct kv_assignment *like);

/* Its sealed document, and back (KV_E_INTEGRITY when a member is missing). */
json_t *kv_assignment_doc(const struct kv_assignment *assignment);
int kv_assignment_read(const json_t *doc, const char *id,
                       struct kv_assignment *out) KV_MUST_CHECK;

#endif
