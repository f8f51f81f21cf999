/*
 * The state of the key process: vault keys, live keys, grants and beats.
 *
 * One object, shared by all threads behind one mutex that is never held across a
 * private-key operation or a seal; who seals with a vault key keeps it from being
 * forgotten meanwhile. Tables have fixed capacity and take their memory
 * at birth; the entry used longest ago gives way. A live key is the private key of
 * one version with the attributes of its sealed body; a grant says what one uid may
 * do with one version and dies with its lease, or as soon as a beat names another
 * epoch of the vault.
 */
#ifndef KV_STORE_KEYRING_RING_H
#define KV_STORE_KEYRING_RING_H

#include <sys/types.h>

#include "store/core/clock.h"
#include "store/keyring/anchor.h"
#include "store/keyring/body.h"
#include "store/keyring/role_audit.h"
#include "store/keyring/seal.h"

#define KV_RING_VAULTS_MAX 256
#define KV_RING_TERMS_MAX 1024
#define KV_RING_LIVE_MAX 4096
#define KV_RING_GRANTS_MAX 16384
#define KV_RING_USES_MAX 65536 /* of one grant that wait to be recorded */

/* Positive result of kv_ring_use: no valid grant, the service must be asked. */
#define KV_RING_ASK 1

struct kv_ring;

/* One key ready for use. `key` is counted for the holder. */
struct kv_live {
    struct kv_key *key;
    struct kv_ident ident;
    struct kv_key_attrs attrs; /* without `app` */
};

/* `seal`, `anchor` and `clock` are borrowed and outlive the ring. `anchor` may be NULL
 * where nobody asks about the audit log. */
int kv_ring_new(struct kv_ring **out, const struct kv_seal *seal,
                struct kv_anchor *anchor, const struct kv_clock *clock) KV_MUST_CHECK;
void kv_ring_free(struct kv_ring *ring);

struct kv_anchor *kv_ring_anchor(const struct kv_ring *ring);
const uint8_t *kv_ring_installation(const struct kv_ring *ring);
int64_t kv_ring_now_s(const struct kv_ring *ring);
int64_t kv_ring_now_us(const struct kv_ring *ring); /* monotonic */

/* Whether the service is connected: told to clients in HELLO. */
void kv_ring_set_service(struct kv_ring *ring, bool is_there);
bool kv_ring_has_service(const struct kv_ring *ring);

/* Make or open the vault key of (vault, term). Either may be repeated: a service that
 * ended before it had stored the wrapped key asks again, and gets the same one. Opening
 * another key than the present one is KV_E_EXISTS (seal.vault-key-exists). */
int kv_ring_vault_key_new(struct kv_ring *ring, const uint8_t vault[KV_ID_LEN],
                          uint32_t term, struct kv_buf *wrapped,
                          struct kv_err *err) KV_MUST_CHECK;
int kv_ring_vault_key_open(struct kv_ring *ring, const struct kv_role_vault_key *msg,
                           struct kv_err *err) KV_MUST_CHECK;

/* Forget the keys of a vault, of all terms, with all that is live of it: live keys,
 * grants, its beat. Nothing of it can be opened any more, unless its wrapped keys are
 * brought again. */
void kv_ring_forget(struct kv_ring *ring, const uint8_t vault[KV_ID_LEN]);

/* Seal and open rows of any kind under the vault key that their identity names;
 * KV_E_SEALED (seal.no-vault-key) when it was not opened. Who may ask for which kind
 * is decided by the caller. */
int kv_ring_seal(struct kv_ring *ring, const struct kv_ident *ident,
                 struct kv_bytes body, struct kv_buf *out,
                 struct kv_err *err) KV_MUST_CHECK;
int kv_ring_unseal(struct kv_ring *ring, const struct kv_ident *ident,
                   struct kv_bytes row, struct kv_buf *out,
                   struct kv_err *err) KV_MUST_CHECK;

/* The key of a backup file, made or opened (seal.h). */
int kv_ring_backup_key_new(struct kv_ring *ring, uint8_t *key, struct kv_buf *wrapped,
                           struct kv_bytes *slots) KV_MUST_CHECK;
int kv_ring_backup_key_open(struct kv_ring *ring, struct kv_bytes wrapped, uint8_t *key,
                            struct kv_err *err) KV_MUST_CHECK;

/* Make the key of a sealed row live (or find it so: the same identity and bytes).
 * Release with kv_live_release. */
int kv_ring_load(struct kv_ring *ring, const struct kv_ident *ident,
                 struct kv_bytes row, struct kv_live *out,
                 struct kv_err *err) KV_MUST_CHECK;
void kv_live_release(struct kv_live *live);

/* The row version for a key that comes back from a backup: that of the backup, or above
 * the live one of the same version. */
uint64_t kv_ring_row_version(struct kv_ring *ring, const uint8_t version[KV_ID_LEN],
                             uint64_t row_version);

/* Encrypt and open chunks of backup blobs (seal.h). */
int kv_ring_blob_seal(struct kv_ring *ring, const uint8_t id[KV_ID_LEN],
                      struct kv_bytes aad, struct kv_bytes body,
                      struct kv_buf *out) KV_MUST_CHECK;
int kv_ring_blob_open(struct kv_ring *ring, const uint8_t id[KV_ID_LEN],
                      struct kv_bytes aad, struct kv_bytes chunk, struct kv_buf *out,
                      struct kv_err *err) KV_MUST_CHECK;

/* Record what the service answered: the key becomes live, the grant valid. A row
 * older than the live one is KV_E_CONFLICT (grant.old-row), one of row version 0
 * KV_E_STATE (key.pending). */
int kv_ring_grant(struct kv_ring *ring, uid_t uid,
                  const struct kv_role_granted *granted, struct kv_live *out,
                  struct kv_err *err) KV_MUST_CHECK;

/* Whether `uid` was granted the version before, as far as is remembered: tells a
 * right that was taken away from one that never was. */
bool kv_ring_had_grant(struct kv_ring *ring, uid_t uid,
                       const uint8_t version[KV_ID_LEN]);

/* What a frame on keys.sock needs of its key. */
enum kv_need { KV_NEED_SIGN, KV_NEED_DECRYPT, KV_NEED_TLS, KV_NEED_DERIVE };

/* The key for one use by `uid`. Returns 0, KV_RING_ASK, or why the use is refused
 * (rules.h; KV_E_UNAVAILABLE, audit.uses-waiting); `out` is set then as well, to be
 * counted and released. */
int kv_ring_use(struct kv_ring *ring, uid_t uid, const uint8_t version[KV_ID_LEN],
                enum kv_need need, struct kv_live *out,
                struct kv_err *err) KV_MUST_CHECK;

/* The use did not take place: it goes on elsewhere. */
void kv_ring_uncount_use(struct kv_ring *ring, uid_t uid,
                         const uint8_t version[KV_ID_LEN], enum kv_need need);

/* One page of what was done with live keys; counts go on with a newer row of the same
 * version, and end when the key gives way to others. */
void kv_ring_usage(struct kv_ring *ring, const struct kv_role_usage_ask *ask,
                   struct kv_role_usage *out);

/* Take off what the service has recorded, and show a page of the uses by grants that it
 * has not. */
void kv_ring_uses(struct kv_ring *ring, const struct kv_role_audit_uses_ask *ask,
                  struct kv_role_audit_uses *out);

/* A beat of the service. KV_E_FULL when there are KV_RING_VAULTS_MAX vaults. */
int kv_ring_beat(struct kv_ring *ring, const struct kv_role_beat *beat) KV_MUST_CHECK;

#endif
