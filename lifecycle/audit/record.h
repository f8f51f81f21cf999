/*
 * Writing the body of a record: members in the order in which they are put, absent ones
 * left out, text escaped and cut, so that the same facts are always the same bytes.
 *
 *   kv_audit_body_begin(&body, seq, time_us, "req");
 *   kv_audit_put_text(&body, "op", "sign", 64);
 *
 * A failure sticks to the buffer (KV_AUDIT_BODY_MAX). Never put a value, a token, a PIN
 * or a passphrase: put its kv_audit_digest. Pure.
 */
#ifndef KV_LIFECYCLE_AUDIT_RECORD_H
#define KV_LIFECYCLE_AUDIT_RECORD_H

#include "lifecycle/audit/chain.h"

/* Empty a buffer of KV_AUDIT_BODY_MAX and begin a body. `type` has letters a to z. */
void kv_audit_body_begin(struct kv_buf *body, uint64_t seq, int64_t time_us,
                         const char *type);

/* At most `max` bytes of `text`; nothing at all for "" and NULL. What is no printable
 * ASCII, and quotes and backslashes, is written as \u00XX, byte for byte. */
void kv_audit_put_text(struct kv_buf *body, const char *name, const char *text,
                       size_t max);
void kv_audit_put_number(struct kv_buf *body, const char *name, uint64_t number);
void kv_audit_put_hex(struct kv_buf *body, const char *name, const uint8_t *bytes,
                      size_t len);

#define KV_AUDIT_DIGEST_LEN 16

/* A keyed digest of what must not stand in the log (a token, an input): equal ones can
 * be told to be equal within a segment, and that is all. KV_E_CRYPTO. */
int kv_audit_digest(const uint8_t segment_key[KV_AUDIT_KEY_LEN], const char *what,
                    const void *data, size_t len,
                    uint8_t out[KV_AUDIT_DIGEST_LEN]) KV_MUST_CHECK;

/* The members of the records that hold the log together (type open, checkpoint,
 * retire). `after`: the mark that the keyring had sealed before this one. `lost_to`:
 * records up to this one are missing, the keyring has seen them; 0: none. `torn`: bytes
 * of a last record that a crash had cut. */
struct kv_audit_opening {
    uint64_t prev_segment;
    struct kv_audit_mark mark;  /* the new segment; the last record before it */
    struct kv_audit_mark after; /* that was sealed before; seq 0: none */
    uint8_t seal[KV_AUDIT_MAC_LEN];
    uint64_t lost_to;
    uint64_t torn;
};
void kv_audit_put_opening(struct kv_buf *body, const struct kv_audit_opening *opening);
void kv_audit_put_checkpoint(struct kv_buf *body, const struct kv_audit_mark *mark,
                             const struct kv_audit_mark *after,
                             const uint8_t seal[KV_AUDIT_MAC_LEN]);
void kv_audit_put_retire(struct kv_buf *body, const struct kv_audit_mark *last);

#endif
