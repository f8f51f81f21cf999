/*
 * The audit log of the service: records in, durable on disk, chained and sealed.
 *
 *   struct kv_buf *body = kv_audit_begin(audit, "req");
 *   kv_audit_put_text(body, "op", "sign", 64);
 *   rc = kv_audit_end(audit, on_durable, arg);
 *
 * Segments are opened and sealed with the keyring's help; rotation, checkpoints and
 * retention go by themselves. When a record cannot be written the log stops: all
 * waiting callbacks fail, kv_audit_end refuses, and each second the log tries to begin
 * a new segment. Loop thread only; no call here waits for the disk.
 */
#ifndef KV_LIFECYCLE_AUDIT_AUDIT_H
#define KV_LIFECYCLE_AUDIT_AUDIT_H

#include <uv.h>

#include "lifecycle/audit/record.h"
#include "store/core/clock.h"
#include "store/core/log.h"

struct kv_audit;
struct kv_keyring;

struct kv_audit_config {
    uv_loop_t *loop;
    struct kv_keyring *keyring; /* must be closed after the log */
    const char *dir;
    const struct kv_clock *clock;
    struct kv_log *log;     /* may be NULL */
    uint64_t segment_bytes; /* a segment ends when it has so many, */
    unsigned segment_s;     /* or is so old */
    unsigned keep; /* as much as so many full segments; what is older is deleted */
};
#define KV_AUDIT_SEGMENT_BYTES (UINT64_C(256) << 20)
#define KV_AUDIT_SEGMENT_S 86400
#define KV_AUDIT_KEEP 90
#define KV_AUDIT_CHECKPOINT_RECORDS 1000
#define KV_AUDIT_CHECKPOINT_S 60

/* Open the directory (made with mode 0700 when it is missing) and start the thread. */
int kv_audit_open(struct kv_audit **out, const struct kv_audit_config *config,
                  struct kv_err *err) KV_MUST_CHECK;

/* Begin to write: check the last segment, begin a new one. `cb` comes once; a failure
 * may be tried again. */
typedef void (*kv_audit_start_cb)(void *arg, int rc, const struct kv_err *err);
void kv_audit_start(struct kv_audit *audit, kv_audit_start_cb cb, void *arg);

/* Seal what is written, end the thread, free the log, call back. */
void kv_audit_close(struct kv_audit *audit, void (*cb)(void *arg), void *arg);

/* Whether records are taken. */
bool kv_audit_is_running(const struct kv_audit *audit);

/* Begin a record; nothing else may be begun before kv_audit_end. */
struct kv_buf *kv_audit_begin(struct kv_audit *audit, const char *type);

/* Write the record that was begun. `cb` (may be NULL) tells when it is durable, or that
 * it is not (audit.write-failed, audit.stopped). Failures of the call itself: the log
 * does not run (audit.stopped), or memory. */
typedef void (*kv_audit_cb)(void *arg, int rc, const struct kv_err *err);
int kv_audit_end(struct kv_audit *audit, kv_audit_cb cb, void *arg,
                 struct kv_err *err) KV_MUST_CHECK;

/* Put a keyed digest of what must not be written itself. */
void kv_audit_put_digest(struct kv_audit *audit, struct kv_buf *body, const char *name,
                         const void *data, size_t len);

/* Whether a refusal may have a record of its own; what may not is counted, and told in
 * sum (type count) within a second: who has no rights must not fill the disk. */
bool kv_audit_may_refuse(struct kv_audit *audit);

struct kv_audit_state {
    bool is_running;
    const char *dir;
    struct kv_audit_mark last; /* durable */
    uint64_t n_bytes;          /* of the present segment */
    struct kv_audit_mark sealed;
};
void kv_audit_state(const struct kv_audit *audit, struct kv_audit_state *out);

#endif
