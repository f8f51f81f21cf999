/*
 * The thread that writes the audit log. Items go in on the loop and come back on the
 * loop, in order: records, which are written together with all that has gathered, and
 * jobs, which run alone between them.
 */
#ifndef KV_LIFECYCLE_AUDIT_WRITER_H
#define KV_LIFECYCLE_AUDIT_WRITER_H

#include <uv.h>

#include "lifecycle/audit/segment.h"

struct kv_audit_writer;

struct kv_audit_item {
    struct kv_audit_item *next;
    /* A job, on the thread; NULL: a record. */
    int (*run)(struct kv_audit_segment *segment, struct kv_audit_item *item,
               struct kv_err *err);
    /* On the loop; frees the item. `err` explains a failure. */
    void (*done)(struct kv_audit_item *item, int rc, const struct kv_err *err);
    void *arg;
    int rc;       /* private */
    uint64_t seq; /* of a record */
    size_t body_len;
    const char *body; /* of a record: behind the item */
};

/* Start the thread over a directory. */
int kv_audit_writer_start(struct kv_audit_writer **out, uv_loop_t *loop,
                          const char *dir, const struct kv_clock *clock,
                          struct kv_err *err) KV_MUST_CHECK;

void kv_audit_writer_push(struct kv_audit_writer *writer, struct kv_audit_item *item);

/* Nothing is under way. */
bool kv_audit_writer_is_idle(const struct kv_audit_writer *writer);

/* What is durable, as of the last item that came back. */
void kv_audit_writer_last(const struct kv_audit_writer *writer,
                          struct kv_audit_mark *last, uint64_t *n_bytes);

/* End the thread, which must be idle; frees the writer, then calls back. */
void kv_audit_writer_stop(struct kv_audit_writer *writer, void (*cb)(void *arg),
                          void *arg);

#endif
