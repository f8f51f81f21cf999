/*
 * May this key do this now? Pure functions over what is inside the sealed body, what
 * was granted, and the time. Outside nbf..exp a key still decrypts, unwraps and
 * verifies; it no longer signs, encrypts, wraps or agrees. A TLS handshake by RSA key
 * exchange counts as signing. The key of a certificate does nothing at all after the
 * certificate's notAfter, and does not leave either; it may still prove possession
 * for a renewal.
 *
 * A refusal names the key, or the certificate that it belongs to, with its dates and
 * operations: it is for a caller who holds a grant for the key.
 */
#ifndef KV_STORE_KEYRING_RULES_H
#define KV_STORE_KEYRING_RULES_H

#include "store/keyring/ring.h"

/* Check one use. `granted` are the caller's operations (all bits when the caller is
 * the service), `any_of` the operation bits of which one must be granted and in the
 * key's key_ops. Returns 0, KV_E_STATE (key.disabled, key.not-yet-valid, key.expired)
 * or KV_E_DENIED (key.op-not-permitted, grant.denied). */
int kv_rules_check(const struct kv_live *live, uint32_t granted, uint32_t any_of,
                   int64_t now_s, struct kv_err *err) KV_MUST_CHECK;

/* Check RSA key exchange of TLS: the key must be able to decrypt or unwrap, the
 * caller needs that right or KV_OP_TLS_UNPAD. */
int kv_rules_check_tls(const struct kv_live *live, uint32_t granted, int64_t now_s,
                       struct kv_err *err) KV_MUST_CHECK;

/* Whether the key is enabled: KV_E_STATE (key.disabled). */
int kv_rules_check_enabled(const struct kv_live *live,
                           struct kv_err *err) KV_MUST_CHECK;

/* Whether the key is enabled, and its certificate, if it has one, not expired:
 * KV_E_STATE (key.disabled, key.expired). */
int kv_rules_check_alive(const struct kv_live *live, int64_t now_s,
                         struct kv_err *err) KV_MUST_CHECK;

/* The operations that kv_rules_check would let through now. */
uint32_t kv_rules_ops_now(const struct kv_key_attrs *attrs, uint32_t granted,
                          int64_t now_s);

/* Check the step from old to new attributes of one key: exportable never rises, a key
 * keeps what it was made as. KV_E_DENIED (key.exportable). */
int kv_rules_update(const struct kv_key_attrs *old_attrs,
                    const struct kv_key_attrs *attrs, struct kv_err *err) KV_MUST_CHECK;

/* Check that the key of one version may become that of a pending one: both of the same
 * certificate's name in the same vault, the old one stored and enabled, and the step
 * between the attributes allowed by kv_rules_update. KV_E_DENIED (key.other-identity,
 * key.exportable), KV_E_STATE (key.disabled), KV_E_CONFLICT (key.row-version: the vault
 * key is older than the old row's). */
int kv_rules_reuse(const struct kv_live *old, const struct kv_ident *ident,
                   const struct kv_key_attrs *attrs, struct kv_err *err) KV_MUST_CHECK;

#endif
