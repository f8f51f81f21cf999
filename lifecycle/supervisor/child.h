/*
 * One role process: how it is started and what is known of it. The policy (when to
 * start it again, when to stop it) is in supervise.h.
 */
#ifndef KV_LIFECYCLE_SUPERVISOR_CHILD_H
#define KV_LIFECYCLE_SUPERVISOR_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lifecycle/supervisor/backoff.h"
#include "lifecycle/supervisor/user.h"

#define KV_ARGS_MAX 64

/* An argument vector that owns its strings. Zeros are an empty one. */
struct kv_args {
    char *items[KV_ARGS_MAX + 1]; /* NULL behind the last */
    size_t n;
    bool failed; /* out of memory or out of room: kv_child_spawn refuses */
};

void kv_args_add(struct kv_args *args, const char *text);
void kv_args_addf(struct kv_args *args, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Give `option` this value: replaces the argument behind it, or appends both. */
void kv_args_set(struct kv_args *args, const char *option, const char *value);
void kv_args_free(struct kv_args *args);

enum kv_child_state {
    KV_CHILD_NEW,      /* never started */
    KV_CHILD_STARTING, /* runs, has not reported ready */
    KV_CHILD_READY,
    KV_CHILD_WAITING, /* ended, starts again at at_ms */
    KV_CHILD_ENDED,   /* ended for good */
};

struct kv_child {
    const char *name;           /* "keyring" */
    const char *path;           /* of the executable */
    const struct kv_user *user; /* NULL: stays on the starting uid */
    struct kv_args args;        /* without --ready-fd */
    /* private */
    enum kv_child_state state;
    pid_t pid;     /* 0: does not run */
    int ready_fd;  /* -1: not open */
    int64_t at_ms; /* STARTING: ready by then; WAITING: start then */
    struct kv_backoff backoff;
    bool was_ready; /* at least once */
    bool was_asked_to_stop;
    int last_status; /* of waitpid */
};

/* Set up a child that does not run yet; args[0] becomes the program's name. */
void kv_child_init(struct kv_child *child, const char *name, const char *path);

/* Start the process: /dev/null as input, output and log on our stderr, a short
 * environment, nothing inherited but the ready pipe, no signal blocked, SIGTERM when
 * we die. Returns 0 with state STARTING, or KV_E_IO / KV_E_NOMEM
 * (supervisor.cannot-start). */
int kv_child_spawn(struct kv_child *child, int64_t now_ms,
                   struct kv_err *err) KV_MUST_CHECK;

/* Read what the ready pipe has. Returns true when the child became ready just now. */
bool kv_child_on_ready_fd(struct kv_child *child);

/* Note that the process ended with this wait status; closes the ready pipe. */
void kv_child_reaped(struct kv_child *child, int status);

/* Write "exit status 1" or "signal 9 (Killed)". */
void kv_child_status_text(int status, char *out, size_t out_size);

void kv_child_fini(struct kv_child *child);

#endif
