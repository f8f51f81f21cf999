/*
 * A task: straight-line work over store and keyring, written as steps.
 *
 *   static void sign_start(struct kv_task *t)  { kv_task_load(t, &key, sign_with_key);
 * } static void sign_with_key(struct kv_task *t) { ... kv_task_keyring(t, ...,
 * sign_done); } static void sign_done(struct kv_task *t)   { reply(t->payload); }
 *
 * Each kv_task_* call starts one asynchronous operation and names the next step. When
 * the operation fails, the next step is not called: `on_fail` is, once, and the task
 * ends. Results of the last operation lie in the task until the next one starts. An
 * HTTP call (lifecycle/api/call.h) and a certificate order (lifecycle/certs) embed a
 * task as their first member. Objects read here have been unsealed and compared with
 * their index copy: a mismatch is KV_E_INTEGRITY (object.index-mismatch).
 *
 * Starting an operation is the last thing a step does: one that cannot start calls
 * on_fail at once, and the task may be gone when the call returns. Loop thread only.
 */
#ifndef KV_LIFECYCLE_SERVICE_TASK_H
#define KV_LIFECYCLE_SERVICE_TASK_H

#include <jansson.h>

#include "lifecycle/service/service.h"
#include "store/keyring/role.h"

struct kv_name;
struct kv_rotate;
struct kv_task;
typedef void (*kv_task_fn)(struct kv_task *task);
typedef void (*kv_task_fail_fn)(struct kv_task *task, int rc, const struct kv_err *err);

/* One stored object as a task sees it. */
struct kv_object {
    struct kv_row row;       /* row.sealed is owned by the object */
    json_t *doc;             /* unsealed body; NULL for keys and heads without body */
    struct kv_key_info info; /* keys only; borrows from `info_bytes` */
    uint8_t *info_bytes;
};

struct kv_task {
    struct kv_service *service;
    struct kv_vault *vault;
    kv_task_fail_fn on_fail;
    /* results of the last operation */
    struct kv_object object;   /* kv_task_load */
    struct kv_object *objects; /* kv_task_list */
    size_t n_objects;
    bool has_more;
    size_t n_damaged; /* kv_task_list: rows that were left out */
    /* kv_task_list: position behind the last row that was read. A damaged row is
     * logged (object.damaged) and left out, so it may be behind the last object. */
    char last_name[KV_NAME_MAX + 1];
    uint8_t last_version[KV_ID_LEN];
    struct kv_bytes payload; /* kv_task_keyring; wiped when the next step returns */
    /* private: the batch under construction and the running step */
    struct kv_task_batch *batch;
    int batch_failed; /* of a put */
    kv_task_fn next;
    struct kv_task_op *op;
    struct kv_name *name;     /* of kv_name_read, while it runs */
    struct kv_rotate *rotate; /* of kv_rotate_start, while it runs */
};

void kv_task_init(struct kv_task *task, struct kv_service *service,
                  struct kv_vault *vault, kv_task_fail_fn on_fail);

/* Free results and batch. Not while an operation runs, except from inside a step. */
void kv_task_fini(struct kv_task *task);

/* End the task with a failure, as an operation would. */
void kv_task_fail(struct kv_task *task, int rc, const struct kv_err *err);

/* Load one object into task->object. Version zero of a kind with versions means the
 * current version. KV_E_NOT_FOUND (object.not-found) names kind and name. */
void kv_task_load(struct kv_task *task, uint8_t kind, const char *name,
                  const uint8_t version[KV_ID_LEN], kv_task_fn next);

/* The same, but absence is no failure: task->object.row.row_version is 0. */
void kv_task_find(struct kv_task *task, uint8_t kind, const char *name,
                  const uint8_t version[KV_ID_LEN], kv_task_fn next);

/* Read the head row of a name (row_version 0 when the name is free). */
void kv_task_find_head(struct kv_task *task, uint8_t kind, const char *name,
                       kv_task_fn next);

/* Load exactly this row, also of a deleted name; zeros of a kind with versions: its
 * head. KV_E_NOT_FOUND (object.not-found). */
void kv_task_load_row(struct kv_task *task, const struct kv_row_key *key,
                      kv_task_fn next);

/* The same, but absence is no failure: task->object.row.row_version is 0. */
void kv_task_find_row(struct kv_task *task, const struct kv_row_key *key,
                      kv_task_fn next);

/* Take the loaded object out of the task; the caller frees with kv_object_free. */
struct kv_object kv_task_take_object(struct kv_task *task);
void kv_object_free(struct kv_object *object);

void kv_task_list(struct kv_task *task, const struct kv_list_query *query,
                  kv_task_fn next);

/* Call the keyring. `payload` is consumed and wiped. */
void kv_task_keyring(struct kv_task *task, uint16_t verb, struct kv_buf *payload,
                     kv_task_fn next);

/* Add a change to the batch. put_doc: `doc` (taken) is sealed at commit; put_row: the
 * body is sealed already (keys), or there is none (heads). `expect` is the present row
 * version, 0 for a new row; row_version and term are set by these functions. A failure
 * (memory, KV_STORE_BATCH_MAX) is kept and reported by kv_task_commit. */
void kv_task_put_doc(struct kv_task *task, const struct kv_row *row, uint64_t expect,
                     json_t *doc);
void kv_task_put_row(struct kv_task *task, const struct kv_row *row, uint64_t expect);
/* Bring a row back as it is, with its row version and term; it must not exist. */
void kv_task_restore(struct kv_task *task, const struct kv_row *row);
/* Add the head of a new version: the head that was found (row_version 0: none yet),
 * with `version` as its current one, and its MANAGED flag and update time. */
void kv_task_put_head(struct kv_task *task, const struct kv_row *head,
                      const struct kv_row *version);
void kv_task_delete(struct kv_task *task, const struct kv_row_key *key,
                    uint64_t expect);
/* Add the removal of a whole name; `expect` is the row version of its head. */
void kv_task_purge(struct kv_task *task, const struct kv_row_key *key, uint64_t expect);

/* Seal what needs it, apply the batch in one transaction. What may end a grant (a key
 * rewritten or removed, an assignment changed) raises the vault's epoch. KV_E_CONFLICT
 * when a row changed. */
void kv_task_commit(struct kv_task *task, kv_task_fn next);

/* Identity of a row that will be written with `expect` (for KEY_GENERATE and so on:
 * the sealed body is bound to row version expect + 1 and the vault's term). */
void kv_task_ident(const struct kv_task *task, const struct kv_row_key *key,
                   uint64_t expect, struct kv_ident *out);

/* Set flags and dates of a key's row from what the keyring has sealed. */
void kv_row_set_key(struct kv_row *row, const struct kv_key_info *info);

/* Let the keyring seal a stored key again with other attributes, for the row version
 * that a change of the row makes. The payload is a kv_role_key_made. */
void kv_task_key_update(struct kv_task *task, const struct kv_row *row,
                        const struct kv_key_attrs *attrs, kv_task_fn next);

/* Take what the keyring has made of a key (the task's payload) into `row`: flags, dates
 * and the sealed body, which borrows from the payload, like `made`. KV_E_INTERNAL when
 * it cannot be read. */
int kv_task_take_key(const struct kv_task *task, struct kv_row *row,
                     struct kv_role_key_made *made) KV_MUST_CHECK;

/* Append the compact text of a JSON value; NULL is KV_E_NOMEM. (json_dumps overlooks a
 * failed allocation at a member's name and returns what is no JSON.) */
int kv_json_write(const json_t *json, struct kv_buf *out) KV_MUST_CHECK;

/* Append {"tags":{...}}, the service's own bytes in a key row; nothing without tags. */
int kv_key_app_write(json_t *tags, struct kv_buf *out) KV_MUST_CHECK;

/* The document of an operation that has ended with `status`: a copy without what its
 * issuer needed. NULL: no memory. */
json_t *kv_operation_end_doc(const json_t *doc, const char *status);

/* 16 random bytes as a version id. */
int kv_task_new_version(struct kv_task *task, uint8_t out[KV_ID_LEN]) KV_MUST_CHECK;

#endif
