/*
 * One pass of the loop: start what is due, wait for a signal, a ready report or the
 * next moment, and deal with it. All decisions are made from the children's states;
 * nothing waits inside a handler, so a role that hangs cannot hold up the others.
 *
 *   NEW ──► STARTING ──► READY
 *              │ ▲         │
 *              ▼ │         ▼
 *            WAITING ◄─── (ended) ──► ENDED (while stopping)
 */
#include "lifecycle/supervisor/supervise.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

int kv_supervise_open(struct kv_supervisor *supervisor, struct kv_err *err)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGCHLD);
    (void)signal(SIGPIPE, SIG_IGN);
    supervisor->signal_fd = -1;
    if (sigprocmask(SIG_BLOCK, &set, NULL) == 0)
        supervisor->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (supervisor->signal_fd < 0)
        return kv_err_errno(err, errno, "supervisor.no-signals", "signalfd");
    return 0;
}

void kv_supervise_close(struct kv_supervisor *supervisor)
{
    if (supervisor->signal_fd >= 0)
        (void)close(supervisor->signal_fd);
    supervisor->signal_fd = -1;
    for (size_t i = 0; i < supervisor->n_children; i++)
        kv_child_fini(&supervisor->children[i]);
}

static void begin_stop(struct kv_supervisor *supervisor, int64_t now_ms)
{
    if (supervisor->is_stopping)
        return;
    supervisor->is_stopping = true;
    supervisor->stop_deadline_ms = now_ms + KV_SUPERVISE_DRAIN_MS;
    kv_log(supervisor->log, KV_LOG_INFO, "supervisor.stopping",
           KV_I("drain_ms", KV_SUPERVISE_DRAIN_MS));
}

static bool is_due(const struct kv_supervisor *supervisor, size_t i, int64_t now_ms)
{
    const struct kv_child *child = &supervisor->children[i];
    if (child->state == KV_CHILD_NEW)
        return i == 0 || supervisor->children[i - 1].was_ready;
    return child->state == KV_CHILD_WAITING && now_ms >= child->at_ms;
}

static int start_due(struct kv_supervisor *supervisor, int64_t now_ms,
                     struct kv_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < supervisor->n_children; i++) {
        struct kv_child *child = &supervisor->children[i];
        if (!is_due(supervisor, i, now_ms))
            continue;
        struct kv_err failure = KV_ERR_INIT;
        rc = kv_child_spawn(child, now_ms, &failure);
        if (rc == 0) {
            kv_log(supervisor->log, KV_LOG_INFO, "role.started",
                   KV_S("role", child->name), KV_I("pid", child->pid));
        } else if (child->was_ready) {
            /* Out of processes or memory: it may pass. */
            kv_log_err(supervisor->log, KV_LOG_ERROR, "role.not-started", &failure);
            child->state = KV_CHILD_WAITING;
            child->at_ms = kv_backoff_ended(&child->backoff, now_ms);
            rc = 0;
        } else {
            *err = failure;
            break;
        }
    }
    return rc;
}

static int announce(struct kv_supervisor *supervisor, struct kv_err *err)
{
    if (supervisor->is_announced)
        return 0;
    for (size_t i = 0; i < supervisor->n_children; i++) {
        if (supervisor->children[i].state != KV_CHILD_READY)
            return 0;
    }
    supervisor->is_announced = true;
    return supervisor->on_ready(supervisor->arg, err);
}

static int on_end(struct kv_supervisor *supervisor, struct kv_child *child, int status,
                  struct kv_err *err)
{
    char text[96];
    kv_child_status_text(status, text, sizeof(text));
    int64_t now_ms = kv_monotonic_ms(supervisor->clock);
    kv_child_reaped(child, status);
    if (supervisor->is_stopping) {
        child->state = KV_CHILD_ENDED;
        kv_log(supervisor->log, KV_LOG_INFO, "role.stopped", KV_S("role", child->name),
               KV_S("how", text));
        return 0;
    }
    if (!child->was_ready) {
        child->state = KV_CHILD_ENDED;
        (void)kv_err_set(err, KV_E_UNAVAILABLE, "supervisor.role-failed",
                         "the %s ended before it was ready (%s)", child->name, text);
        kv_err_hint(err, "its own message stands above");
        return KV_E_UNAVAILABLE;
    }
    child->state = KV_CHILD_WAITING;
    child->at_ms = kv_backoff_ended(&child->backoff, now_ms);
    kv_log(supervisor->log, KV_LOG_ERROR, "role.ended", KV_S("role", child->name),
           KV_S("how", text), KV_I("restart_in_ms", child->at_ms - now_ms));
    return 0;
}

static int reap(struct kv_supervisor *supervisor, struct kv_err *err)
{
    int rc = 0;
    int status = 0;
    pid_t pid = 0;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (size_t i = 0; i < supervisor->n_children; i++) {
            struct kv_child *child = &supervisor->children[i];
            if (child->pid != pid)
                continue;
            int failed = on_end(supervisor, child, status, err);
            rc = rc != 0 ? rc : failed;
        }
    }
    return rc;
}

static int on_signals(struct kv_supervisor *supervisor, struct kv_err *err)
{
    struct signalfd_siginfo info;
    while (read(supervisor->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            begin_stop(supervisor, kv_monotonic_ms(supervisor->clock));
    }
    /* Several ends may be one SIGCHLD. */
    return reap(supervisor, err);
}

/* While stopping: the last role that still runs is asked, after the deadline all are
 * killed. Roles that wait for a restart will not get one. */
static void push_stop(struct kv_supervisor *supervisor, int64_t now_ms)
{
    for (size_t i = supervisor->n_children; i > 0; i--) {
        struct kv_child *child = &supervisor->children[i - 1];
        if (child->pid == 0)
            continue;
        if (now_ms >= supervisor->stop_deadline_ms) {
            kv_log(supervisor->log, KV_LOG_WARN, "role.killed",
                   KV_S("role", child->name));
            (void)kill(child->pid, SIGKILL);
            continue;
        }
        if (!child->was_asked_to_stop)
            (void)kill(child->pid, SIGTERM);
        child->was_asked_to_stop = true;
        return;
    }
}

static void kill_unready(struct kv_supervisor *supervisor, int64_t now_ms)
{
    for (size_t i = 0; i < supervisor->n_children; i++) {
        struct kv_child *child = &supervisor->children[i];
        if (child->state != KV_CHILD_STARTING || now_ms < child->at_ms)
            continue;
        kv_log(supervisor->log, KV_LOG_ERROR, "role.not-ready",
               KV_S("role", child->name));
        (void)kill(child->pid, SIGKILL);
        child->at_ms = INT64_MAX;
    }
}

static bool is_anything_running(const struct kv_supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->n_children; i++) {
        if (supervisor->children[i].pid != 0)
            return true;
    }
    return false;
}

/* Milliseconds until something is due without being told; -1: nothing is. */
static int wait_ms(const struct kv_supervisor *supervisor, int64_t now_ms)
{
    int64_t at_ms = INT64_MAX;
    if (supervisor->is_stopping) {
        /* Once the deadline has passed all are killed and only their end counts. */
        at_ms = supervisor->stop_deadline_ms > now_ms ? supervisor->stop_deadline_ms
                                                      : now_ms + 1000;
    }
    for (size_t i = 0; i < supervisor->n_children && !supervisor->is_stopping; i++) {
        const struct kv_child *child = &supervisor->children[i];
        bool is_timed =
            child->state == KV_CHILD_STARTING || child->state == KV_CHILD_WAITING;
        if (is_timed && child->at_ms < at_ms)
            at_ms = child->at_ms;
    }
    if (at_ms == INT64_MAX)
        return -1;
    int64_t left_ms = at_ms - now_ms;
    return left_ms < 0 ? 0 : left_ms > 60000 ? 60000 : (int)left_ms;
}

static int wait_and_handle(struct kv_supervisor *supervisor, int64_t now_ms,
                           struct kv_err *err)
{
    struct pollfd fds[1 + KV_SUPERVISE_CHILDREN_MAX] = {
        {.fd = supervisor->signal_fd, .events = POLLIN},
    };
    for (size_t i = 0; i < supervisor->n_children; i++)
        fds[1 + i] =
            (struct pollfd){.fd = supervisor->children[i].ready_fd, .events = POLLIN};
    int n = poll(fds, 1 + supervisor->n_children, wait_ms(supervisor, now_ms));
    if (n < 0 && errno != EINTR)
        return kv_err_errno(err, errno, "supervisor.no-signals", "poll");
    for (size_t i = 0; n > 0 && i < supervisor->n_children; i++) {
        struct kv_child *child = &supervisor->children[i];
        if (fds[1 + i].revents != 0 && kv_child_on_ready_fd(child))
            kv_log(supervisor->log, KV_LOG_INFO, "role.ready",
                   KV_S("role", child->name));
    }
    return on_signals(supervisor, err);
}

int kv_supervise_run(struct kv_supervisor *supervisor, struct kv_err *err)
{
    int rc = 0;
    while (!supervisor->is_stopping || is_anything_running(supervisor)) {
        int64_t now_ms = kv_monotonic_ms(supervisor->clock);
        int failed = 0;
        if (supervisor->is_stopping) {
            push_stop(supervisor, now_ms);
        } else {
            kill_unready(supervisor, now_ms);
            failed = start_due(supervisor, now_ms, err);
            if (failed == 0)
                failed = announce(supervisor, err);
        }
        if (failed == 0)
            failed = wait_and_handle(supervisor, now_ms, err);
        if (failed != 0) {
            rc = rc != 0 ? rc : failed;
            begin_stop(supervisor, now_ms);
        }
    }
    return rc;
}
