/*
 * A name as a whole: what is deleted, recovered and purged together.
 *
 *   live --delete--> deleted, until a date --recover--> live
 *                          `--purge, or the date--> nothing
 *
 * Deleting marks the head; the versions stay where they are and no read finds them. A
 * certificate takes the key and the secret of its name along, and its policy and
 * operation; an operation in progress is cancelled. Loop thread only.
 */
#ifndef KV_LIFECYCLE_SERVICE_NAME_H
#define KV_LIFECYCLE_SERVICE_NAME_H

#include "lifecycle/service/task.h"

enum kv_name_part {
    KV_NAME_HEAD,
    KV_NAME_KEY, /* of a certificate, as the three below */
    KV_NAME_SECRET,
    KV_NAME_POLICY,
    KV_NAME_OPERATION,
    KV_NAME_ROTATION, /* of a key */
    KV_NAME_PARTS,
};

struct kv_name {
    /* What is stored; row_version 0: nothing, or a key or secret of its own. */
    struct kv_object part[KV_NAME_PARTS];
    /* private to kv_name_read */
    uint8_t kind;
    char text[KV_NAME_MAX + 1];
    size_t at;
    kv_task_fn next;
};

/* Read the name, then go on with `next`. `name` (zeros at first) must stay until then;
 * kv_name_free in every case. */
void kv_name_read(struct kv_task *task, struct kv_name *name, uint8_t kind,
                  const char *text, kv_task_fn next);
void kv_name_free(struct kv_name *name);

/* Whether it is there, and deleted. */
bool kv_name_is_live(const struct kv_name *name);
bool kv_name_is_deleted(const struct kv_name *name);

/* When it was deleted and will be purged, Unix seconds; for heads of deleted names. */
int64_t kv_name_deleted_s(const struct kv_row *head);
int64_t kv_name_purge_s(const struct kv_vault *vault, const struct kv_row *head);

/* Add the change to the task's batch; kv_task_commit makes it. Delete updates the parts
 * with what will be stored. */
void kv_name_delete(struct kv_task *task, struct kv_name *name);
void kv_name_recover(struct kv_task *task, const struct kv_name *name);
void kv_name_purge(struct kv_task *task, const struct kv_name *name);

/* Purge a deleted name whose time has come; `cb` tells how it went: 0 also when there
 * was nothing to do. `head` is copied. Starts as kv_run_start does. */
typedef void (*kv_name_purge_cb)(void *arg, int rc, const struct kv_err *err);
int kv_name_purge_due(struct kv_service *service, struct kv_vault *vault,
                      const struct kv_row_key *head, kv_name_purge_cb cb,
                      void *arg) KV_MUST_CHECK;

#endif
