/*
 * A task's changes: gathered by the put functions, sealed and applied by commit.
 *
 *   put_doc, put_row, delete ... -> SEAL (documents, in chunks) -> apply -> epoch
 *
 * The whole batch is one transaction; every row names the version that it replaces,
 * so two writers of one object never overwrite each other: the second gets a conflict.
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle/service/internal.h"
#include "lifecycle/service/keyring.h"

struct change {
    struct kv_mutation mutation;
    json_t *doc; /* to be sealed */
};

struct kv_task_batch {
    size_t n;
    size_t at; /* documents before this one are sealed or in the chunk */
    size_t n_chunk;
    size_t chunk[KV_BATCH_MAX];
    size_t cap;
    struct change *changes;
};

void kv_task_batch_free(struct kv_task_batch *batch)
{
    if (batch == NULL)
        return;
    for (size_t i = 0; i < batch->n; i++) {
        json_decref(batch->changes[i].doc);
        free((void *)batch->changes[i].mutation.row.sealed);
    }
    free(batch->changes);
    free(batch);
}

/* Room for one change more. */
static int grow(struct kv_task_batch *batch)
{
    if (batch->n == KV_STORE_BATCH_MAX)
        return KV_E_TOO_BIG;
    if (batch->n < batch->cap)
        return 0;
    size_t cap = batch->cap == 0 ? 8 : 2 * batch->cap;
    struct change *changes = realloc(batch->changes, cap * sizeof(*changes));
    if (changes == NULL)
        return KV_E_NOMEM;
    batch->changes = changes;
    batch->cap = cap;
    return 0;
}

/* NULL, and the failure is kept: without one of its changes a batch is none. */
static struct change *new_change(struct kv_task *task)
{
    if (task->batch == NULL)
        task->batch = calloc(1, sizeof(*task->batch));
    int rc = task->batch != NULL ? grow(task->batch) : KV_E_NOMEM;
    if (rc != 0) {
        task->batch_failed = rc;
        return NULL;
    }
    struct change *change = &task->batch->changes[task->batch->n++];
    memset(change, 0, sizeof(*change));
    return change;
}

static struct change *put(struct kv_task *task, const struct kv_row *row,
                          uint64_t expect, bool has_body)
{
    struct change *change = new_change(task);
    if (change == NULL)
        return NULL;
    const struct kv_vault *vault =
        kv_service_vault_of_row(task->service, row->key.vault);
    change->mutation.kind = KV_MUTATION_PUT;
    change->mutation.expect = expect;
    change->mutation.row = *row;
    change->mutation.row.sealed = NULL;
    change->mutation.row.sealed_len = 0;
    change->mutation.row.row_version = expect + 1;
    change->mutation.row.term = has_body && vault != NULL ? vault->term : 0;
    if (has_body && vault == NULL)
        task->batch_failed = KV_E_NOT_FOUND;
    return change;
}

void kv_task_put_doc(struct kv_task *task, const struct kv_row *row, uint64_t expect,
                     json_t *doc)
{
    struct change *change = put(task, row, expect, true);
    if (change == NULL || doc == NULL) {
        json_decref(doc);
        if (task->batch_failed == 0)
            task->batch_failed = KV_E_NOMEM;
        return;
    }
    change->doc = doc;
}

/* Give the change a copy of the sealed body. */
static void copy_body(struct kv_task *task, struct change *change,
                      const struct kv_row *row)
{
    if (change == NULL || row->sealed_len == 0)
        return;
    uint8_t *copy = malloc(row->sealed_len);
    if (copy == NULL) {
        task->batch_failed = KV_E_NOMEM;
        return;
    }
    memcpy(copy, row->sealed, row->sealed_len);
    change->mutation.row.sealed = copy;
    change->mutation.row.sealed_len = row->sealed_len;
}

void kv_task_put_row(struct kv_task *task, const struct kv_row *row, uint64_t expect)
{
    copy_body(task, put(task, row, expect, row->sealed_len > 0), row);
}

void kv_task_restore(struct kv_task *task, const struct kv_row *row)
{
    struct change *change = new_change(task);
    if (change == NULL)
        return;
    change->mutation.kind = KV_MUTATION_RESTORE;
    change->mutation.row = *row;
    change->mutation.row.sealed = NULL;
    change->mutation.row.sealed_len = 0;
    copy_body(task, change, row);
}

void kv_task_put_head(struct kv_task *task, const struct kv_row *head,
                      const struct kv_row *version)
{
    struct kv_row row = *head;
    row.key = version->key;
    memset(row.key.version, 0, KV_ID_LEN);
    memcpy(row.current, version->key.version, KV_ID_LEN);
    row.flags = KV_ROW_ENABLED | (version->flags & KV_ROW_MANAGED);
    if (head->row_version == 0)
        row.created_s = version->created_s;
    row.updated_s = version->updated_s;
    row.nbf_s = KV_TIME_NONE;
    row.exp_s = KV_TIME_NONE;
    row.next_at_s = KV_TIME_NONE;
    row.sealed = NULL;
    row.sealed_len = 0;
    kv_task_put_row(task, &row, head->row_version);
}

static void take_away(struct kv_task *task, enum kv_mutation_kind kind,
                      const struct kv_row_key *key, uint64_t expect)
{
    struct change *change = new_change(task);
    if (change == NULL)
        return;
    change->mutation.kind = kind;
    change->mutation.expect = expect;
    change->mutation.row.key = *key;
}

void kv_task_delete(struct kv_task *task, const struct kv_row_key *key, uint64_t expect)
{
    take_away(task, KV_MUTATION_DELETE, key, expect);
}

void kv_task_purge(struct kv_task *task, const struct kv_row_key *key, uint64_t expect)
{
    take_away(task, KV_MUTATION_PURGE, key, expect);
}

static void commit_next(struct kv_task *task);

/* Whether a change may end a grant. A new key, one that is back, or a head that names a
 * newer version ends none: nobody's signing may hang on a service that ends right after
 * it. */
static bool ends_grants(const struct kv_mutation *mutation)
{
    const struct kv_row_key *key = &mutation->row.key;
    if (mutation->kind == KV_MUTATION_RESTORE)
        return false;
    bool is_removal = mutation->kind != KV_MUTATION_PUT ||
                      (mutation->row.flags & KV_ROW_DELETED) != 0;
    bool is_head = kv_kind_has_versions(key->kind) && kv_id_is_zero(key->version);
    if (is_head)
        return is_removal;
    return key->kind == KV_KIND_KEY && (mutation->expect > 0 || is_removal);
}

static void raise_epochs(struct kv_task *task, const struct kv_task_batch *batch)
{
    for (size_t i = 0; i < batch->n; i++) {
        const struct kv_mutation *mutation = &batch->changes[i].mutation;
        const struct kv_row_key *key = &mutation->row.key;
        if (key->kind == KV_KIND_ASSIGNMENT)
            kv_service_raise_epoch(task->service, NULL);
        else if (ends_grants(mutation))
            kv_service_raise_epoch(task->service,
                                   kv_service_vault_of_row(task->service, key->vault));
    }
}

static void on_applied(void *arg, int rc, size_t failed_index, const struct kv_err *err)
{
    struct kv_task *task = arg;
    struct kv_task_batch *batch = task->batch;
    task->batch = NULL;
    if (rc == 0) {
        raise_epochs(task, batch);
        kv_task_batch_free(batch);
        kv_task_op_next(task);
        return;
    }
    struct kv_err local = KV_ERR_INIT;
    if (rc == KV_E_CONFLICT && failed_index < batch->n) {
        const struct kv_row_key *key = &batch->changes[failed_index].mutation.row.key;
        kv_err_set(&local, rc, "object.conflict", "the %s '%s' was changed meanwhile",
                   kv_kind_name(key->kind), key->name);
        err = &local;
    }
    kv_task_batch_free(batch);
    kv_task_op_fail(task, rc, err);
}

/* Nothing is written into a vault that is being purged, or that is gone. */
static bool may_write(const struct kv_task *task, const struct kv_mutation *mutation)
{
    const struct kv_vault *vault =
        kv_service_vault_of_row(task->service, mutation->row.key.vault);
    bool is_removal =
        mutation->kind == KV_MUTATION_DELETE || mutation->kind == KV_MUTATION_PURGE;
    return is_removal || (vault != NULL && vault->state != KV_VAULT_PURGING);
}

static int apply(struct kv_task *task)
{
    struct kv_task_batch *batch = task->batch;
    struct kv_store *store = task->service->store;
    struct kv_mutation *mutations = calloc(batch->n, sizeof(*mutations));
    uint8_t op_id[KV_ID_LEN];
    int rc = KV_E_NOMEM;
    if (mutations == NULL)
        goto out;
    for (size_t i = 0; i < batch->n; i++) {
        mutations[i] = batch->changes[i].mutation;
        if (!may_write(task, &mutations[i]))
            KV_TRY(KV_E_NOT_FOUND);
    }
    KV_TRY(kv_rand_fill(task->service->rand, op_id, sizeof(op_id)));
    rc = store->ops->apply(store, op_id, mutations, batch->n, on_applied, task);
out:
    free(mutations);
    return rc;
}

static int take_sealed(struct kv_task_batch *batch, struct kv_bytes payload)
{
    struct kv_role_rows *rows = calloc(1, sizeof(*rows));
    if (rows == NULL)
        return KV_E_NOMEM;
    int rc = kv_role_rows_get(payload, rows);
    if (rc == 0 && rows->n != batch->n_chunk)
        rc = KV_E_INVALID;
    for (size_t i = 0; rc == 0 && i < batch->n_chunk; i++) {
        struct kv_row *row = &batch->changes[batch->chunk[i]].mutation.row;
        struct kv_bytes body = rows->row[i].body;
        rc = rows->row[i].status;
        uint8_t *copy = rc == 0 ? malloc(body.len + 1) : NULL;
        if (rc == 0 && copy == NULL)
            rc = KV_E_NOMEM;
        if (rc == 0) {
            memcpy(copy, body.data, body.len);
            row->sealed = copy;
            row->sealed_len = body.len;
        }
    }
    free(rows);
    return rc;
}

static void on_sealed(void *arg, int rc, struct kv_bytes payload,
                      const struct kv_err *err)
{
    struct kv_task *task = arg;
    if (rc == 0) {
        rc = take_sealed(task->batch, payload);
        err = NULL;
    }
    if (rc == 0) {
        commit_next(task);
        return;
    }
    kv_task_batch_free(task->batch);
    task->batch = NULL;
    kv_task_op_fail(task, rc, err);
}

/* Write the plaintext of the documents behind `at` until a chunk is full. */
static int fill_chunk(struct kv_task_batch *batch, struct kv_role_rows *rows,
                      struct kv_buf *bodies)
{
    size_t bytes = 0;
    batch->n_chunk = 0;
    for (; batch->at < batch->n && batch->n_chunk < KV_BATCH_MAX; batch->at++) {
        struct change *change = &batch->changes[batch->at];
        if (change->doc == NULL)
            continue;
        if (bytes > KV_CHUNK_BYTES_MAX - KV_BODY_MAX)
            break;
        struct kv_buf *body = &bodies[batch->n_chunk];
        kv_buf_init_secret(body, KV_BODY_MAX);
        int rc = kv_object_write_doc(&change->mutation.row, change->doc, body);
        struct kv_role_row *row = &rows->row[batch->n_chunk];
        kv_row_ident(&change->mutation.row, &row->ident);
        row->body = (struct kv_bytes){body->data, body->len};
        bytes += body->len;
        batch->chunk[batch->n_chunk++] = batch->at;
        if (rc != 0)
            return rc;
    }
    rows->n = (uint16_t)batch->n_chunk;
    return 0;
}

/* Seal one chunk; *is_done when there was nothing to seal. */
static int seal_chunk(struct kv_task *task, bool *is_done)
{
    struct kv_task_batch *batch = task->batch;
    struct kv_role_rows *rows = calloc(1, sizeof(*rows));
    struct kv_buf *bodies = calloc(KV_BATCH_MAX, sizeof(*bodies));
    struct kv_buf payload;
    kv_buf_init_secret(&payload, KV_FRAME_MAX_ROLE);
    batch->n_chunk = 0;
    int rc = KV_E_NOMEM;
    if (rows == NULL || bodies == NULL)
        goto out;
    KV_TRY(fill_chunk(batch, rows, bodies));
    *is_done = batch->n_chunk == 0;
    if (*is_done)
        goto out;
    kv_role_rows_put(&payload, rows);
    KV_TRY(kv_buf_status(&payload));
    rc = kv_keyring_call(task->service->keyring, KV_ROLE_SEAL, &payload, on_sealed,
                         task);
out:
    for (size_t i = 0; bodies != NULL && i < batch->n_chunk; i++)
        kv_buf_free(&bodies[i]);
    free(bodies);
    free(rows);
    kv_buf_free(&payload);
    return rc;
}

static void commit_next(struct kv_task *task)
{
    bool is_done = false;
    int rc = seal_chunk(task, &is_done);
    if (rc == 0 && is_done)
        rc = apply(task);
    if (rc == 0)
        return;
    kv_task_batch_free(task->batch);
    task->batch = NULL;
    kv_task_op_fail(task, rc, NULL);
}

void kv_task_commit(struct kv_task *task, kv_task_fn next)
{
    int rc = kv_task_op_start(task, next);
    if (rc == 0)
        rc = task->batch_failed;
    if (rc == 0 && task->batch == NULL)
        rc = KV_E_INTERNAL;
    task->batch_failed = 0;
    if (rc == 0) {
        commit_next(task);
        return;
    }
    kv_task_batch_free(task->batch);
    task->batch = NULL;
    kv_task_op_fail(task, rc, NULL);
}
