/*
 * The verbs that the service asks of the keyring, without any I/O.
 *
 * Security rules held here, each with a test: UNSEAL answers no row of the kinds KEY
 * and VAULT_KEY, SEAL makes none, KEY_* verbs touch no other kind; UPDATE keeps vault,
 * kind, name and version, needs a newer row version and never makes a key
 * exportable; EXPORT needs exportable; key operations obey key_ops, enabled and
 * validity of the sealed body whatever the request says; BLOB_* verbs take and return
 * sealed rows only. Any thread with its own key slot.
 */
#ifndef KV_STORE_KEYRING_ROLE_SERVE_H
#define KV_STORE_KEYRING_ROLE_SERVE_H

#include "store/keyring/serve.h"

/* Whether a verb belongs on the pool: it may take long and must not hold up beats and
 * grants. */
bool kv_role_verb_is_slow(uint16_t verb);

/* Serve one request of the service, appending the reply's payload to `out`, a secret
 * buffer of KV_FRAME_MAX_ROLE; `serve` without a peer. KV_E_INVALID with role.bad-frame
 * for malformed ones. */
int kv_role_serve(const struct kv_serve *serve, const struct kv_frame *frame,
                  struct kv_buf *out, struct kv_err *err) KV_MUST_CHECK;

/* The BLOB_* verbs, in role_serve_blob.c; called by kv_role_serve. */
int kv_role_serve_blob(const struct kv_serve *serve, const struct kv_frame *frame,
                       struct kv_buf *out, struct kv_err *err) KV_MUST_CHECK;

/* The KEY_* verbs, in role_serve_key.c; called by kv_role_serve. */
int kv_role_serve_key(const struct kv_serve *serve, const struct kv_frame *frame,
                      struct kv_buf *out, struct kv_err *err) KV_MUST_CHECK;

/* The AUDIT_* verbs, in role_serve_audit.c; called by kv_role_serve. */
int kv_role_serve_audit(const struct kv_serve *serve, const struct kv_frame *frame,
                        struct kv_buf *out, struct kv_err *err) KV_MUST_CHECK;

/* The verbs of backups, in role_serve_backup.c; called by kv_role_serve. */
int kv_role_serve_backup(const struct kv_serve *serve, const struct kv_frame *frame,
                         struct kv_buf *out, struct kv_err *err) KV_MUST_CHECK;

#endif
