/*
 * What the keyring remembers of the audit log: the last mark that it sealed, in memory
 * and in a file of its own directory, and the audit key (audit_keys.h).
 *
 * Marks only go forward: a segment is opened once, no mark is sealed that is older than
 * the last one, and each seal covers the mark before it. Any thread.
 */
#ifndef KV_STORE_KEYRING_ANCHOR_H
#define KV_STORE_KEYRING_ANCHOR_H

#include "store/core/err.h"
#include "store/keyring/audit_keys.h"

#define KV_ANCHOR_FILE "anchor" /* below the keyring's directory */

struct kv_anchor;

/* Take the audit key's copy and what stands in `fd` (taken; -1: memory only). A file
 * without a whole mark counts as empty. KV_E_NOMEM or KV_E_IO (anchor.failed). */
int kv_anchor_new(struct kv_anchor **out, const uint8_t audit_key[KV_AUDIT_KEY_LEN],
                  int fd, struct kv_err *err) KV_MUST_CHECK;
void kv_anchor_free(struct kv_anchor *anchor); /* NULL does nothing */

/* The last mark; segment 0: none. */
void kv_anchor_last(struct kv_anchor *anchor, struct kv_audit_mark *out);

/* Open `mark->segment` behind the record of the mark: its key and a seal; durable. When
 * that record is older than the last mark's (`after`), the ones up to `after` are lost,
 * and the anchor still remembers them. KV_E_CONFLICT (anchor.old-segment) for a segment
 * that was opened, or an older one, and (anchor.too-far) for one more than 65536
 * segments or 2^32 records beyond the last mark. */
int kv_anchor_open(struct kv_anchor *anchor, const struct kv_audit_mark *mark,
                   uint8_t key[KV_AUDIT_KEY_LEN], struct kv_audit_sealed *out,
                   struct kv_err *err) KV_MUST_CHECK;

/* Seal a mark of the open segment; durable. KV_E_CONFLICT (anchor.old-mark) for any
 * other segment and for a record in front of the last mark; anchor.too-far as above. */
int kv_anchor_seal(struct kv_anchor *anchor, const struct kv_audit_mark *mark,
                   struct kv_audit_sealed *out, struct kv_err *err) KV_MUST_CHECK;

/* The key of a segment that was opened, for checking; KV_E_DENIED (anchor.not-open)
 * for later ones. Without a last mark (the file was lost) any up to 65536. */
int kv_anchor_key(struct kv_anchor *anchor, uint64_t segment,
                  uint8_t key[KV_AUDIT_KEY_LEN], struct kv_err *err) KV_MUST_CHECK;

/* Whether a seal is this keyring's: 0, KV_E_INTEGRITY or KV_E_CRYPTO. */
int kv_anchor_check(struct kv_anchor *anchor, enum kv_audit_seal_kind kind,
                    const struct kv_audit_mark *mark,
                    const struct kv_audit_sealed *sealed) KV_MUST_CHECK;

#endif
