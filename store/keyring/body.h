/*
 * The plaintext of a sealed key row: what the keyring enforces whatever a request
 * says, and the private key itself. Lives in secret buffers only.
 *
 *   version u8 = 1 | kty u8 | curve u8 | bits u16 | attributes | SPKI | PKCS#8
 */
#ifndef KV_STORE_KEYRING_BODY_H
#define KV_STORE_KEYRING_BODY_H

#include "store/keyring/keys.h"
#include "store/keyring/role.h"

struct kv_body {
    struct kv_key_info info; /* attrs.app and spki borrow from the bytes */
    struct kv_bytes pkcs8;
};

/* Append the body of `key` with these attributes to `out`, a secret buffer. */
int kv_body_put(struct kv_buf *out, const struct kv_key *key,
                const struct kv_key_attrs *attrs) KV_MUST_CHECK;

/* Append a body that was read, with other attributes. */
int kv_body_put_again(struct kv_buf *out, const struct kv_body *body,
                      const struct kv_key_attrs *attrs) KV_MUST_CHECK;

/* Read a body; it borrows from `plain`. KV_E_INTEGRITY (seal.row-damaged) when it is
 * not one: the row was sealed as something else. */
int kv_body_get(struct kv_bytes plain, struct kv_body *out,
                struct kv_err *err) KV_MUST_CHECK;

#endif
