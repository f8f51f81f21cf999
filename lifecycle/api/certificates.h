/*
 * Certificates in the REST API: what the files certificates*.c share. Loop thread only.
 */
#ifndef KV_LIFECYCLE_API_CERTIFICATES_H
#define KV_LIFECYCLE_API_CERTIFICATES_H

#include "lifecycle/api/call.h"

/* The bundle of one version; `policy` and `operation` may be empty objects (row
 * version 0). Carries the whole chain in x5c, which is ours. NULL: no memory. */
json_t *kv_cert_bundle(const struct kv_call *call, const struct kv_object *version,
                       const struct kv_object *policy,
                       const struct kv_object *operation);

/* "https://vault/certificates/NAME/LAST" as a JSON string. NULL: no memory. */
json_t *kv_cert_own_id(const struct kv_call *call, const char *name, const char *last);

/* The policy as the API shows it: with id and attributes. */
json_t *kv_cert_policy_json(const struct kv_call *call, const struct kv_object *policy);

/* Answer with the current version's bundle, or that of call->version. */
void kv_certificates_get(struct kv_call *call);

void kv_certificates_create(struct kv_call *call);
void kv_certificates_import(struct kv_call *call);
void kv_certificates_merge(struct kv_call *call);
void kv_certificates_pending(struct kv_call *call);
void kv_certificates_cancel(struct kv_call *call);
void kv_certificates_drop_pending(struct kv_call *call);
void kv_certificates_policy(struct kv_call *call);
void kv_certificates_update(struct kv_call *call);
void kv_certificates_update_policy(struct kv_call *call);

#endif
