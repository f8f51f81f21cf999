/*
 * Access policies: what a vault that does not go by roles lets whom do. An entry gives
 * permissions to one object id (a user, an application, a group) of one tenant, and, if
 * it names an application, only through that one. Entries add up; none takes away.
 *
 * Their form is that of the vault resource: "accessPolicies": [{"tenantId", "objectId",
 * "applicationId", "permissions": {"keys", "secrets", "certificates", "storage"}}].
 * `all` means every permission except `purge`. Pure.
 */
#ifndef KV_LIFECYCLE_AUTH_POLICIES_H
#define KV_LIFECYCLE_AUTH_POLICIES_H

#include <jansson.h>

#include "lifecycle/auth/access.h"

#define KV_ACCESS_POLICIES_MAX 1024

enum kv_policy_area {
    KV_POLICY_KEYS,
    KV_POLICY_SECRETS,
    KV_POLICY_CERTIFICATES,
    KV_POLICY_STORAGE, /* kept and returned; nothing here goes by it */
    KV_POLICY_AREAS
};

struct kv_access_policy {
    char tenant[37]; /* UUIDs in lower case */
    char oid[37];
    char app[37];                    /* "": none */
    uint32_t given[KV_POLICY_AREAS]; /* permissions as named; a bit for each */
    kv_actions actions;              /* what they come to */
};

struct kv_access_policies;

/* Parse the array; *out is NULL for an empty one (a JSON null too). Entries of the same
 * tenant, object and application become one, in the place of the first.
 * access.bad-policy names the entry and member, access.too-many-policies,
 * service.no-memory. */
int kv_access_policies_parse(const json_t *array, struct kv_access_policies **out,
                             struct kv_err *err) KV_MUST_CHECK;
void kv_access_policies_free(struct kv_access_policies *policies);

/* The array of what was parsed, permissions in the contract's spelling and order; NULL
 * without memory. `policies` may be NULL: an empty array. */
json_t *kv_access_policies_write(const struct kv_access_policies *policies);
json_t *kv_access_policy_write(const struct kv_access_policy *policy); /* one entry */

/* The form that is stored: one short text for each entry, so that 1,024 of them fit
 * into a sealed row; and back, *out NULL for an empty list. KV_E_INTEGRITY, KV_E_NOMEM.
 */
json_t *kv_access_policies_doc(const struct kv_access_policies *policies);
int kv_access_policies_read(const json_t *doc,
                            struct kv_access_policies **out) KV_MUST_CHECK;

/* The i-th entry in the order in which they were given; NULL behind the last. */
const struct kv_access_policy *
kv_access_policies_at(const struct kv_access_policies *policies, size_t i);

/* The entries of an object id, borrowed; *n of them. */
const struct kv_access_policy *const *
kv_access_policies_find(const struct kv_access_policies *policies, const char *oid,
                        size_t *n);

/* Change one list of the vault resource (updateAccessPolicy): `add` unites the
 * permissions of each entry of `change` with what the same tenant, object and
 * application has, `replace` puts them in its place, `remove` takes them away, and the
 * entry when nothing is left. Besides, `drop` takes whole entries away, and `all` makes
 * `change` the list. `policies` and `change` stay the caller's. */
enum kv_policy_change {
    KV_POLICY_ALL,
    KV_POLICY_ADD,
    KV_POLICY_REPLACE,
    KV_POLICY_REMOVE,
    KV_POLICY_DROP,
};
int kv_access_policies_change(const struct kv_access_policies *policies,
                              enum kv_policy_change how,
                              const struct kv_access_policies *change,
                              struct kv_access_policies **out,
                              struct kv_err *err) KV_MUST_CHECK;

#endif
