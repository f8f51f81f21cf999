/*
 * Members of a policy, read with complaints that name them by their path: what the
 * files policy*.c share. Pure.
 *
 * `path` is the whole path of a member ("x509_props.sans"), `object` what should hold
 * it; it may be NULL. Absent and null members leave `out` as it is. Each id is
 * policy.bad-field unless said otherwise.
 */
#ifndef KV_LIFECYCLE_CERTS_POLICY_READ_H
#define KV_LIFECYCLE_CERTS_POLICY_READ_H

#include "lifecycle/certs/policy.h"

#define KV_POLICY_NO_INDEX ((size_t)-1)
#define KV_POLICY_MONTHS_MAX 1200
#define KV_POLICY_HOURS_MAX 876000

/* "the member 'PATH' of the policy MUST", or 'PATH[i]'. */
int kv_policy_bad(struct kv_err *err, const char *path, size_t i, const char *must);

/* The same with the id policy.not-offered. */
int kv_policy_not_offered(struct kv_err *err, const char *path, const char *what);

/* The member, NULL when it is absent or null. Borrowed. */
const json_t *kv_policy_member(const json_t *object, const char *path);

int kv_policy_string(const json_t *object, const char *path, const char **out,
                     struct kv_err *err) KV_MUST_CHECK;
int kv_policy_bool(const json_t *object, const char *path, bool *out,
                   struct kv_err *err) KV_MUST_CHECK;

/* `max` bounds it from above; 1 does from below. */
int kv_policy_integer(const json_t *object, const char *path, int64_t max, int64_t *out,
                      struct kv_err *err) KV_MUST_CHECK;
int kv_policy_object(const json_t *object, const char *path, const json_t **out,
                     struct kv_err *err) KV_MUST_CHECK;

/* An array of at most `max` entries; an empty one counts as absent. */
int kv_policy_array(const json_t *object, const char *path, size_t max,
                    const json_t **out, struct kv_err *err) KV_MUST_CHECK;

/* Make `value` (taken, NULL: out of memory) a member. */
int kv_policy_put(json_t *object, const char *member, json_t *value) KV_MUST_CHECK;

/* Read "x509_props" of `given` into the policy and its document; kty must be known. */
int kv_policy_read_x509(const json_t *given, struct kv_policy *policy,
                        struct kv_err *err) KV_MUST_CHECK;

/* Kinds of subject alternative names. */
enum kv_san { KV_SAN_EMAIL, KV_SAN_DNS, KV_SAN_UPN, KV_SAN_URI, KV_SAN_IP, KV_SAN_N };

#define KV_UPN_OID "1.3.6.1.4.1.311.20.2.3" /* otherName of a user principal name */

/* The member of "sans" that holds names of a kind: "dns_names". */
const char *kv_san_member(enum kv_san kind);

/* The canonical form of a name: a new JSON string, or NULL with what the name must be
 * in `must`. */
json_t *kv_san_canonical(enum kv_san kind, const char *name, const char **must);

/* Read "sans" of the given x509_props into a new object of canonical names. */
int kv_policy_read_sans(const json_t *x509, json_t **out,
                        struct kv_err *err) KV_MUST_CHECK;

/* The names of key usages, in the order of their bits. */
#define KV_KEY_USAGES_N 9
extern const char *const kv_key_usage_names[KV_KEY_USAGES_N];

/* Usages that a key of this type can have. */
uint32_t kv_key_usage_possible(uint8_t kty);

#endif
