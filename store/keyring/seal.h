/*
 * Sealing: root key -> wrap key -> vault keys -> rows.
 *
 *   root key, 32 random bytes              opened by a slot (slots.h)
 *     HKDF-SHA256(root, label)             wrap key, blob key; later audit, token keys
 *       AES-256-WRAP-PAD                   vault key of one vault and term
 *         AES-256-GCM                      one row (role.h), bound to its identity
 *       HKDF-SHA256(blob key, blob id)     key of one backup blob
 *         AES-256-GCM                      its chunks
 *
 * A kv_seal is made once from the root key and is read-only afterwards: any thread.
 * Whatever does not authenticate is KV_E_INTEGRITY, with one text for every cause.
 */
#ifndef KV_STORE_KEYRING_SEAL_H
#define KV_STORE_KEYRING_SEAL_H

#include "store/core/clock.h"
#include "store/core/secret.h"
#include "store/keyring/role.h"

#define KV_ROOT_LEN 32
#define KV_VAULT_KEY_LEN 32
#define KV_ROW_HEADER_LEN 18 /* version, algorithm, term, nonce */
#define KV_ROW_TAG_LEN 16

struct kv_seal;

/* Derive the wrap key of this installation. `root` has KV_ROOT_LEN bytes and is not
 * kept. Returns 0, KV_E_NOMEM or KV_E_CRYPTO. */
int kv_seal_new(struct kv_seal **out, const uint8_t installation[KV_ID_LEN],
                const struct kv_secret *root, const struct kv_rand *rand) KV_MUST_CHECK;
void kv_seal_free(struct kv_seal *seal);

const uint8_t *kv_seal_installation(const struct kv_seal *seal);

/* The audit key (audit_keys.h), KV_AUDIT_KEY_LEN bytes. */
const uint8_t *kv_seal_audit_key(const struct kv_seal *seal);

/* Make a vault key and its wrapped form. The caller frees `vault_key`. */
int kv_seal_vault_key_new(const struct kv_seal *seal, const uint8_t vault[KV_ID_LEN],
                          uint32_t term, struct kv_secret *vault_key,
                          struct kv_buf *wrapped) KV_MUST_CHECK;

/* The wrapped form of a vault key that is open, the same bytes each time. */
int kv_seal_vault_key_wrap(const struct kv_seal *seal, const uint8_t vault[KV_ID_LEN],
                           uint32_t term, const struct kv_secret *vault_key,
                           struct kv_buf *wrapped) KV_MUST_CHECK;

/* Open a wrapped vault key; KV_E_INTEGRITY (seal.vault-key-damaged) when it is not the
 * one of this vault, term and installation. */
int kv_seal_vault_key_open(const struct kv_seal *seal,
                           const struct kv_role_vault_key *msg,
                           struct kv_secret *vault_key,
                           struct kv_err *err) KV_MUST_CHECK;

/* Append the sealed row of `body` (at most KV_BODY_MAX). */
int kv_seal_row(const struct kv_seal *seal, const struct kv_secret *vault_key,
                const struct kv_ident *ident, struct kv_bytes body,
                struct kv_buf *out) KV_MUST_CHECK;

/* Append the body of a sealed row to `out`, a secret buffer. KV_E_INTEGRITY
 * (seal.row-damaged) unless every byte and the whole identity are those sealed; `out`
 * is then what it was. */
int kv_seal_row_open(const struct kv_seal *seal, const struct kv_secret *vault_key,
                     const struct kv_ident *ident, struct kv_bytes row,
                     struct kv_buf *out, struct kv_err *err) KV_MUST_CHECK;

/* Append `body` encrypted for the backup blob `id` and bound to `aad`. */
int kv_seal_blob(const struct kv_seal *seal, const uint8_t id[KV_ID_LEN],
                 struct kv_bytes aad, struct kv_bytes body,
                 struct kv_buf *out) KV_MUST_CHECK;

/* Append what was encrypted to `out`, a secret buffer. KV_E_INTEGRITY
 * (seal.blob-damaged) unless every byte, id and `aad` are those of then; `out` is then
 * what it was. */
int kv_seal_blob_open(const struct kv_seal *seal, const uint8_t id[KV_ID_LEN],
                      struct kv_bytes aad, struct kv_bytes chunk, struct kv_buf *out,
                      struct kv_err *err) KV_MUST_CHECK;

/* Keep a copy of the slots file, which goes into backups; before the seal is shared. */
int kv_seal_set_slots(struct kv_seal *seal, struct kv_bytes slots) KV_MUST_CHECK;
struct kv_bytes kv_seal_slots(const struct kv_seal *seal);

/* Make the key of a backup file (KV_BACKUP_KEY_LEN bytes) and append its wrapped form,
 * under a key that only backups have; and back: KV_E_INTEGRITY (backup.wrong-key) when
 * it is not of this installation. */
int kv_seal_backup_key_new(const struct kv_seal *seal, uint8_t *key,
                           struct kv_buf *wrapped) KV_MUST_CHECK;
int kv_seal_backup_key_open(const struct kv_seal *seal, struct kv_bytes wrapped,
                            uint8_t *key, struct kv_err *err) KV_MUST_CHECK;

/* HKDF-SHA256 of `key` with `salt` (may be empty) and `info` into `out_len` bytes. */
int kv_hkdf(struct kv_bytes key, struct kv_bytes salt, struct kv_bytes info,
            uint8_t *out, size_t out_len) KV_MUST_CHECK;

/* Wrap or unwrap with AES-256-WRAP-PAD (RFC 5649) under a 32-byte key, appending to
 * `out`. Unwrapping what does not verify is KV_E_INTEGRITY. */
int kv_key_wrap(const uint8_t key[32], struct kv_bytes plain,
                struct kv_buf *out) KV_MUST_CHECK;
int kv_key_unwrap(const uint8_t key[32], struct kv_bytes wrapped,
                  struct kv_buf *out) KV_MUST_CHECK;

#endif
