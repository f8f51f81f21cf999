/*
 * Rotation of keys: when a policy asks for a new version, and making one.
 *
 * A policy is a row of its own (kind ROTATION, the key's name). Its `next_at` is the
 * time at which something is to be done or only to be looked at: whatever changes the
 * key's dates makes the row due at once (kv_rotation_touch) and the engine computes
 * anew. Stored body:
 * {"rotate":{"at":"P90D","beforeExpiry":false},"notify":{..},"expiry":"P2Y",
 * "created":S,"updated":S,"notified":VERSION}; all but the dates may be missing.
 */
#ifndef KV_LIFECYCLE_SERVICE_ROTATION_H
#define KV_LIFECYCLE_SERVICE_ROTATION_H

#include "lifecycle/service/duration.h"
#include "lifecycle/service/task.h"

struct kv_rotation_action {
    bool is_set;
    bool is_before_expiry; /* else after creation */
    struct kv_duration at;
};

struct kv_rotation {
    struct kv_rotation_action rotate;
    struct kv_rotation_action notify;
    bool has_expiry;
    struct kv_duration expiry; /* of new versions */
};

/* Read a stored policy; NULL: the one of a key without, a notice 30 days before expiry.
 */
void kv_rotation_read(const json_t *doc, struct kv_rotation *out);

/* When the action is due for a version with these dates; KV_TIME_NONE: never. */
int64_t kv_rotation_due(const struct kv_rotation_action *action, int64_t created_s,
                        int64_t exp_s);

/* Add to the batch that the policy is to be looked at now; nothing when there is none
 * (row_version 0). kv_engine_kick after the commit. */
void kv_rotation_touch(struct kv_task *task, const struct kv_object *policy);

/* A new version of a key, as its policy wants it. */
struct kv_rotate {
    struct kv_row row;       /* the new version */
    struct kv_key_info info; /* of it, until on_made returns */
    /* Called before the commit, to keep what a reply needs; may be NULL. KV_E_*. */
    int (*on_made)(struct kv_task *task, const struct kv_rotate *rotate);
    /* private */
    struct kv_object key;
    struct kv_object policy;
    struct kv_row head;
    kv_task_fn next;
};

/* Make it and go on with `next` when it is committed: same type, size and curve,
 * operations and tags; enabled; expires by the policy. Fails with api.managed for a key
 * that belongs to a certificate. `rotate` (zeros but for on_made) must stay until then;
 * kv_rotate_free in every case. */
void kv_rotate_start(struct kv_task *task, struct kv_rotate *rotate, const char *name,
                     kv_task_fn next);
void kv_rotate_free(struct kv_rotate *rotate);

/* Do what a policy asks for now: rotate, tell (event key.near-expiry), or only find out
 * when to look again. Starts as kv_run_start does. */
typedef void (*kv_rotation_cb)(void *arg, int rc, const struct kv_err *err);
int kv_rotation_run(struct kv_service *service, struct kv_vault *vault,
                    const char *name, kv_rotation_cb cb, void *arg) KV_MUST_CHECK;

#endif
