/*
 * The supervisor's loop: starts the roles in order, starts again what ends, and stops
 * them in reverse order. Single-threaded, poll(2) over a signalfd and the ready pipes.
 *
 *   start: role i+1 starts when role i has reported ready once; a role that ends
 *          before it was ever ready ends the supervisor with an error
 *   run:   a role that ends starts again after kv_backoff
 *   stop:  on SIGTERM or SIGINT the last role gets SIGTERM and drains, then the one
 *          before it; what still runs after 10 s is killed
 */
#ifndef KV_LIFECYCLE_SUPERVISOR_SUPERVISE_H
#define KV_LIFECYCLE_SUPERVISOR_SUPERVISE_H

#include "lifecycle/supervisor/child.h"
#include "store/core/clock.h"
#include "store/core/log.h"

#define KV_SUPERVISE_CHILDREN_MAX 4
#define KV_SUPERVISE_DRAIN_MS 10000

struct kv_supervisor {
    struct kv_log *log;
    const struct kv_clock *clock;
    struct kv_child children[KV_SUPERVISE_CHILDREN_MAX];
    size_t n_children;
    /* Called once, when all roles have been ready; a failure stops everything. */
    int (*on_ready)(void *arg, struct kv_err *err);
    void *arg;
    /* private */
    int signal_fd; /* -1: not open */
    bool is_announced;
    bool is_stopping;
    int64_t stop_deadline_ms;
};

/* Block the signals that the loop reads. Before the first child starts. */
int kv_supervise_open(struct kv_supervisor *supervisor,
                      struct kv_err *err) KV_MUST_CHECK;

/* Run until a signal asks to stop. All children are gone when it returns. Returns 0
 * after an orderly stop, or the failure that ended it: supervisor.role-failed,
 * supervisor.cannot-start, or what on_ready returned. */
int kv_supervise_run(struct kv_supervisor *supervisor,
                     struct kv_err *err) KV_MUST_CHECK;

void kv_supervise_close(struct kv_supervisor *supervisor);

#endif
