/*
 * The segment that is being written, and what happens to the directory around it.
 * Blocking; the writer's thread only.
 */
#ifndef KV_LIFECYCLE_AUDIT_SEGMENT_H
#define KV_LIFECYCLE_AUDIT_SEGMENT_H

#include "lifecycle/audit/files.h"
#include "lifecycle/audit/record.h"
#include "store/core/clock.h"

#define KV_AUDIT_RESERVE_FILE "reserve"
#define KV_AUDIT_RESERVE_BYTES ((off_t)8 << 20)

struct kv_audit_segment {
    int dir_fd;
    int fd; /* -1: none is open */
    struct kv_audit_chain *chain;
    struct kv_audit_mark last; /* durable */
    uint64_t n_bytes;          /* durable, of this segment */
    struct kv_buf out;         /* lines that are not written yet */
    const struct kv_clock *clock;
};

/* `dir` is made when it is missing (0700); audit.no-directory, audit.unreadable. */
int kv_audit_segment_init(struct kv_audit_segment *segment, const char *dir,
                          const struct kv_clock *clock,
                          struct kv_err *err) KV_MUST_CHECK;
void kv_audit_segment_fini(struct kv_audit_segment *segment);

/* Take a record into what is written next, under its number: `body` was begun with the
 * number 0 and has at most KV_AUDIT_UNNUMBERED_MAX bytes. Then write and sync all of
 * it. After a failure of sync nothing is written any more; `reason` says why. */
#define KV_AUDIT_UNNUMBERED_MAX (KV_AUDIT_BODY_MAX - 20)
int kv_audit_segment_add(struct kv_audit_segment *segment, uint64_t seq,
                         const char *body, size_t len) KV_MUST_CHECK;
int kv_audit_segment_sync(struct kv_audit_segment *segment,
                          struct kv_err *reason) KV_MUST_CHECK;

/* The last segment of the directory (0: none), and a reserve of space to be given up
 * when there is no more. */
int kv_audit_segment_scan(struct kv_audit_segment *segment, uint64_t *last,
                          struct kv_err *err) KV_MUST_CHECK;

/* Check the last segment with its key: its last whole record, whether it is damaged,
 * and how many bytes of a cut record were taken off. */
struct kv_audit_tail {
    uint64_t segment;
    uint8_t key[KV_AUDIT_KEY_LEN];
    struct kv_audit_mark last; /* seq 0: no whole record */
    bool is_damaged;
    uint64_t torn;
};
int kv_audit_segment_tail(struct kv_audit_segment *segment, struct kv_audit_tail *tail,
                          struct kv_err *err) KV_MUST_CHECK;

/* Begin a segment; its first record is durable when this returns. */
struct kv_audit_next {
    uint8_t key[KV_AUDIT_KEY_LEN];
    struct kv_audit_opening opening;
    uint64_t seq; /* of the first record */
};
int kv_audit_segment_next(struct kv_audit_segment *segment,
                          const struct kv_audit_next *next,
                          struct kv_err *err) KV_MUST_CHECK;

/* The oldest segments, as long as all together have more than `keep_bytes`, at most
 * KV_AUDIT_OLD_MAX, with their last marks. */
#define KV_AUDIT_OLD_MAX 16
struct kv_audit_old {
    uint64_t keep_bytes;
    size_t n;
    struct kv_audit_mark end[KV_AUDIT_OLD_MAX];
};
int kv_audit_segment_old(struct kv_audit_segment *segment, struct kv_audit_old *old,
                         struct kv_err *err) KV_MUST_CHECK;
int kv_audit_segment_remove(struct kv_audit_segment *segment, uint64_t number,
                            struct kv_err *err) KV_MUST_CHECK;

#endif
