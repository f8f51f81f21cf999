/*
 * Keys in the REST API: what the files keys*.c and jwk.c share, and what certificates
 * need of it (names of operations). Pure unless said otherwise.
 */
#ifndef KV_LIFECYCLE_API_KEYS_H
#define KV_LIFECYCLE_API_KEYS_H

#include "lifecycle/api/call.h"

/* "sign" to enum kv_op; 0 for another text. */
uint32_t kv_jwk_op(const char *name);
/* The operations as a JSON array in the contract's order. */
json_t *kv_jwk_ops(uint32_t ops);

/* Operations that a key type may have, and has unless told otherwise. */
uint32_t kv_key_ops_possible(uint8_t kty);
uint32_t kv_key_ops_default(uint8_t kty);

/* Read "key_ops" of `object` for a key of this type; absent or empty: the default.
 * api.bad-field, api.bad-key-ops. */
int kv_jwk_read_ops(const json_t *object, uint8_t kty, uint32_t *ops,
                    struct kv_err *err) KV_MUST_CHECK;

/* Public JWK of a key without kid: kty, key_ops and n e, or crv x y, or crv x. NULL
 * when the SPKI cannot be read or out of memory. */
json_t *kv_jwk_public(const struct kv_key_info *info);

/* Read the private JWK of an import into kty, curve and import form; the numbers are
 * appended to `material` (a secret buffer) as role.h says. api.bad-field. */
int kv_jwk_read_private(const json_t *jwk, struct kv_role_key_new *request,
                        struct kv_buf *material, struct kv_err *err) KV_MUST_CHECK;

/* The key bundle of one version; NULL when out of memory. */
json_t *kv_key_bundle(const struct kv_call *call, const struct kv_row *row,
                      const struct kv_key_info *info);

/* What kv_key_app_write wrote (NULL: no tags). */
json_t *kv_key_app_tags(struct kv_bytes app);

void kv_keys_create(struct kv_call *call);
void kv_keys_import(struct kv_call *call);
void kv_keys_update(struct kv_call *call);
void kv_keys_sign(struct kv_call *call);
void kv_keys_verify(struct kv_call *call);
void kv_keys_encrypt(struct kv_call *call);
void kv_keys_decrypt(struct kv_call *call);
void kv_keys_wrap(struct kv_call *call);
void kv_keys_unwrap(struct kv_call *call);

#endif
