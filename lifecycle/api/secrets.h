/*
 * Secrets in the REST API: what certificates need of it.
 *
 * A secret's document: {"value":TEXT?, "contentType":TEXT?, "tags":{..}?}. The secret
 * of a certificate is a row with KV_ROW_MANAGED and no "value": its value is built
 * from key and chain each time (lifecycle/api/certificates).
 */
#ifndef KV_LIFECYCLE_API_SECRETS_H
#define KV_LIFECYCLE_API_SECRETS_H

#include "lifecycle/api/call.h"

#define KV_SECRET_VALUE_MAX 25600 /* bytes */
#define KV_CONTENT_TYPE_CHARS_MAX 255

/* The bundle of one version; `value` NULL: without value. Adds kid when managed. */
json_t *kv_secret_bundle(const struct kv_call *call, const struct kv_object *object,
                         const char *value);

/* "contentType" of a request: NULL when absent. api.bad-field. */
int kv_secret_content_type(const json_t *body, const char **type,
                           struct kv_err *err) KV_MUST_CHECK;

/* PATCH: change attributes, tags and content type of one version. */
void kv_secrets_update(struct kv_call *call);

/* Answer GET for a certificate's secret, which is the task's loaded object. */
void kv_secret_get_managed(struct kv_call *call);

#endif
