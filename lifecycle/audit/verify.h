/*
 * Is an audit log whole? Every byte of every record is checked against the chain, every
 * segment against the one before and the keyring's seals, the end against what the
 * keyring remembers.
 *
 * A log is fed segment by segment, in pieces of any size, so that the check itself does
 * no I/O; kv_audit_verify_dir reads a directory. Checking stops at the first damage of
 * a segment and goes on with the next one. One thread.
 */
#ifndef KV_LIFECYCLE_AUDIT_VERIFY_H
#define KV_LIFECYCLE_AUDIT_VERIFY_H

#include "lifecycle/audit/chain.h"

/* Who knows the keys: both return 0, KV_E_INTEGRITY for what does not fit, or why they
 * cannot tell, which ends the check. */
struct kv_audit_keys {
    int (*segment_key)(void *arg, uint64_t segment, uint8_t out[KV_AUDIT_KEY_LEN]);
    int (*check_seal)(void *arg, enum kv_audit_seal_kind kind,
                      const struct kv_audit_mark *mark,
                      const struct kv_audit_mark *after,
                      const uint8_t seal[KV_AUDIT_MAC_LEN]);
    void *arg;
};

/* The keys of an installation's audit key (audit_keys.h), borrowed. */
void kv_audit_keys_of(struct kv_audit_keys *out,
                      const uint8_t audit_key[KV_AUDIT_KEY_LEN]);

enum kv_audit_damage {
    KV_AUDIT_FLIP,     /* a record was changed, or is of another log */
    KV_AUDIT_DROP,     /* records or whole segments are missing in between */
    KV_AUDIT_REORDER,  /* records stand in another order, or twice */
    KV_AUDIT_TRUNCATE, /* the end of a segment or of the log is missing */
    KV_AUDIT_SPLICE,   /* a segment does not continue the one before */
};
const char *kv_audit_damage_name(enum kv_audit_damage damage);

#define KV_AUDIT_FINDINGS_MAX 64
#define KV_AUDIT_FILE_MAX 64

struct kv_audit_finding {
    enum kv_audit_damage damage;
    char file[KV_AUDIT_FILE_MAX];
    uint64_t line; /* from 1; 0: of the file as a whole */
    char text[160];
};

struct kv_audit_report {
    uint64_t n_segments;
    uint64_t n_records; /* that were checked */
    struct kv_audit_mark last;
    uint64_t n_bytes;  /* of the last segment, up to its last good record */
    bool is_torn;      /* a record that is cut off is all that stands behind them */
    size_t n_findings; /* may be more than are kept */
    struct kv_audit_finding findings[KV_AUDIT_FINDINGS_MAX];
};

struct kv_audit_verifier;

/* `anchor` (borrowed, or NULL: not known) is the last mark that the keyring has sealed.
 * NULL when memory is short. */
struct kv_audit_verifier *kv_audit_verifier_new(const struct kv_audit_keys *keys,
                                                const struct kv_audit_mark *anchor,
                                                struct kv_audit_report *report);
void kv_audit_verifier_free(struct kv_audit_verifier *verifier);

/* Segments in the order of their numbers. What is damaged stands in the report; the
 * returned failures are of memory or of the keys. */
int kv_audit_verifier_begin(struct kv_audit_verifier *verifier, const char *file,
                            uint64_t segment) KV_MUST_CHECK;
int kv_audit_verifier_feed(struct kv_audit_verifier *verifier, const void *data,
                           size_t len) KV_MUST_CHECK;
void kv_audit_verifier_end(struct kv_audit_verifier *verifier);

/* After the last segment: what is missing at either end. */
void kv_audit_verifier_finish(struct kv_audit_verifier *verifier);

/* Check a directory. `until` (may be NULL) names the segment that is being written and
 * how many bytes of it count. KV_E_NOT_FOUND (audit.no-directory), KV_E_IO
 * (audit.unreadable). */
struct kv_audit_until {
    uint64_t segment;
    uint64_t n_bytes;
};
int kv_audit_verify_dir(const char *dir, const struct kv_audit_keys *keys,
                        const struct kv_audit_mark *anchor,
                        const struct kv_audit_until *until,
                        struct kv_audit_report *report,
                        struct kv_err *err) KV_MUST_CHECK;

#endif
