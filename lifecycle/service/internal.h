/*
 * Shared inside lifecycle/service: objects between store rows and sealed bodies, and
 * the private parts of a task. Loop thread only.
 *
 * A sealed document is the JSON text {"index":{...},"doc":{...}}: `index` repeats the
 * columns of the row, so that an edited database is noticed when the row is read.
 */
#ifndef KV_LIFECYCLE_SERVICE_INTERNAL_H
#define KV_LIFECYCLE_SERVICE_INTERNAL_H

#include "lifecycle/service/task.h"

#define KV_CHUNK_BYTES_MAX (3U << 20) /* bodies in one frame between the roles */

/* Copy a row with its body. */
int kv_object_set_row(struct kv_object *object, const struct kv_row *row) KV_MUST_CHECK;

/* Append the plaintext of `doc` for sealing under `row` to a secret buffer. */
int kv_object_write_doc(const struct kv_row *row, json_t *doc,
                        struct kv_buf *out) KV_MUST_CHECK;

/* Read an unsealed body, compare its index with the row and keep the document;
 * object.bad-body, object.index-mismatch. */
int kv_object_read_doc(struct kv_object *object, struct kv_bytes body,
                       struct kv_err *err) KV_MUST_CHECK;

/* The same for what the keyring says of a key. */
int kv_object_read_info(struct kv_object *object, const struct kv_key_info *info,
                        struct kv_err *err) KV_MUST_CHECK;

/* Unseal objects[0..n) with as few frames as possible, then call back once.
 * status[i] tells how each went (0, KV_E_*); rc is a failure of the whole. */
struct kv_open_request {
    struct kv_service *service;
    struct kv_object *objects;
    int *status;
    struct kv_err *first_err; /* explains the first damaged object; may be NULL */
    size_t n;
    void (*cb)(void *arg, int rc, const struct kv_err *err);
    void *arg;
};
int kv_object_open(const struct kv_open_request *request) KV_MUST_CHECK;

/* Every operation of a task begins with start (0, or why it may not) and ends with
 * next or fail; the count in between is what a stopping service waits for. */
int kv_task_op_start(struct kv_task *task, kv_task_fn next) KV_MUST_CHECK;
void kv_task_op_next(struct kv_task *task);
void kv_task_op_fail(struct kv_task *task, int rc, const struct kv_err *err);

/* Forget the results of the last operation. */
void kv_task_reset(struct kv_task *task);
void kv_task_batch_free(struct kv_task_batch *batch);

#endif
