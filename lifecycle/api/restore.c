/*
 * Restoring a key, secret or certificate from its backup blob.
 *
 *   blob -> chunks opened and sealed again by the keyring -> no such name? -> commit
 *
 * Whatever is wrong with a blob is refused with one text, and before anybody is told
 * whether its name is taken. All rows are stored in one transaction.
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle/api/backup.h"
#include "lifecycle/api/certificates.h"
#include "lifecycle/api/internal.h"
#include "lifecycle/api/keys.h"
#include "lifecycle/api/secrets.h"
#include "store/core/b64.h"
#include "store/core/str.h"

struct restore {
    struct kv_buf bytes;
    struct kv_blob blob; /* borrows from bytes */
    struct kv_rows rows;
    size_t at_chunk;
    uint8_t at_kind; /* whose head was looked for */
};

static void restore_free(void *data)
{
    struct restore *restore = data;
    kv_buf_free(&restore->bytes);
    kv_rows_free(&restore->rows);
    free(restore);
}

/* --- rows --------------------------------------------------------------------------
 */

int kv_rows_take(struct kv_rows *rows, struct kv_row *row)
{
    if (rows->n == KV_BLOB_ROWS_MAX)
        return KV_E_TOO_BIG;
    if (rows->n == rows->cap) {
        size_t cap = rows->cap == 0 ? 16 : 2 * rows->cap;
        struct kv_row *more = realloc(rows->row, cap * sizeof(*more));
        if (more == NULL)
            return KV_E_NOMEM;
        rows->row = more;
        rows->cap = cap;
    }
    rows->row[rows->n++] = *row;
    row->sealed = NULL;
    row->sealed_len = 0;
    return 0;
}

void kv_rows_free(struct kv_rows *rows)
{
    for (size_t i = 0; i < rows->n; i++)
        free((void *)rows->row[i].sealed);
    free(rows->row);
    memset(rows, 0, sizeof(*rows));
}

/* --- the blob ----------------------------------------------------------------------
 */

static void open_next(struct kv_call *call);
static void check_next(struct kv_call *call);

static int damaged(struct kv_err *err)
{
    return kv_err_set(err, KV_E_INTEGRITY, "seal.blob-damaged", KV_BLOB_DAMAGED_TEXT);
}

static int read_blob(struct kv_call *call, struct kv_err *err)
{
    struct restore *restore = call->data;
    const struct kv_service *service = call->task.service;
    const char *text = NULL;
    int rc = kv_json_string(call->body, "value", KV_REQUIRED, &text, err);
    if (rc != 0)
        return rc;
    rc = kv_b64_decode(KV_B64_URL, text, strlen(text), &restore->bytes);
    if (rc == KV_E_NOMEM)
        return rc;
    struct kv_bytes bytes = {restore->bytes.data, restore->bytes.len};
    if (rc != 0 || kv_blob_read(bytes, &restore->blob) != 0)
        return damaged(err);
    const struct kv_role_blob *of = &restore->blob.of;
    if (memcmp(restore->blob.installation, service->installation, KV_ID_LEN) != 0 ||
        memcmp(of->vault, call->task.vault->id, KV_ID_LEN) != 0 ||
        of->kind != kv_backup_kind(call) ||
        !kv_name_is_valid(of->name, strlen(of->name)))
        return damaged(err);
    return 0;
}

/* Copy what the keyring has sealed. */
static int take_row(struct restore *restore, const struct kv_role_blob_row *in)
{
    struct kv_row row;
    int rc = kv_blob_row(in, &row);
    if (rc != 0)
        return rc;
    uint8_t *copy = malloc(row.sealed_len + 1);
    if (copy == NULL)
        return KV_E_NOMEM;
    if (row.sealed_len > 0)
        memcpy(copy, row.sealed, row.sealed_len);
    row.sealed = copy;
    rc = kv_rows_take(&restore->rows, &row);
    if (rc != 0)
        free(copy);
    return rc;
}

static int take_chunk(struct restore *restore, struct kv_bytes payload,
                      struct kv_err *err)
{
    struct kv_role_blob_rows *rows = calloc(1, sizeof(*rows));
    if (rows == NULL)
        return KV_E_NOMEM;
    int rc = kv_role_blob_rows_get(payload, rows);
    if (rc == 0 && rows->blob.at != restore->rows.n)
        rc = KV_E_INVALID;
    for (size_t i = 0; rc == 0 && i < rows->n; i++)
        rc = take_row(restore, &rows->row[i]);
    free(rows);
    if (rc != 0 && rc != KV_E_NOMEM)
        rc = kv_err_set(err, KV_E_INTERNAL, "keyring.bad-reply",
                        "the keyring's answer cannot be read");
    return rc;
}

static void opened(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct restore *restore = call->data;
    struct kv_err err = KV_ERR_INIT;
    int rc = take_chunk(restore, task->payload, &err);
    restore->at_chunk++;
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        open_next(call);
}

static void open_next(struct kv_call *call)
{
    struct restore *restore = call->data;
    struct kv_err err = KV_ERR_INIT;
    const bool is_end = restore->at_chunk == restore->blob.n_chunks;
    const bool is_all = restore->rows.n == restore->blob.of.n_rows;
    if (is_end && is_all) {
        restore->at_kind = 0;
        check_next(call);
        return;
    }
    if (is_end || is_all) {
        kv_task_fail(&call->task, damaged(&err), &err);
        return;
    }
    struct kv_buf payload;
    struct kv_role_blob_open msg = {
        .blob = restore->blob.of,
        .term = call->task.vault->term,
        .chunk = restore->blob.chunk[restore->at_chunk],
    };
    msg.blob.at = (uint32_t)restore->rows.n;
    memcpy(msg.vault, call->task.vault->id, KV_ID_LEN);
    kv_buf_init(&payload, KV_FRAME_MAX_ROLE);
    kv_role_blob_open_put(&payload, &msg);
    kv_task_keyring(&call->task, KV_ROLE_BLOB_OPEN, &payload, opened);
}

/* --- the store ---------------------------------------------------------------------
 */

static void reply_key(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    kv_call_reply(call, 200,
                  kv_key_bundle(call, &task->object.row, &task->object.info));
}

static void reply_secret(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    kv_call_reply(call, 200, kv_secret_bundle(call, &task->object, NULL));
}

static void restored(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct restore *restore = call->data;
    const struct kv_row *head = &restore->rows.row[0];
    KV_ASSERT(kv_str_copy(call->name, sizeof(call->name), head->key.name) == 0);
    kv_log(task->service->log, KV_LOG_INFO, "object.restored",
           KV_S("vault", task->vault->name), KV_S("kind", kv_kind_name(head->key.kind)),
           KV_S("name", call->name), KV_I("rows", (int64_t)restore->rows.n),
           KV_S("by", call->principal.id));
    restore_free(restore);
    call->data = NULL;
    call->data_free = NULL;
    switch (kv_backup_kind(call)) {
    case KV_KIND_KEY:
        kv_task_load(task, KV_KIND_KEY, call->name, NULL, reply_key);
        break;
    case KV_KIND_SECRET:
        kv_task_load(task, KV_KIND_SECRET, call->name, NULL, reply_secret);
        break;
    default:
        kv_certificates_get(call);
        break;
    }
}

static void commit(struct kv_call *call)
{
    const struct restore *restore = call->data;
    for (size_t i = 0; i < restore->rows.n; i++)
        kv_task_restore(&call->task, &restore->rows.row[i]);
    kv_task_commit(&call->task, restored);
}

static void got_head(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct kv_err err = KV_ERR_INIT;
    const struct kv_row *head = &task->object.row;
    const char *kind = kv_kind_name(head->key.kind);
    int rc = 0;
    if ((head->flags & KV_ROW_DELETED) != 0)
        rc = kv_err_set(&err, KV_E_EXISTS, "api.deleted",
                        "the %s '%s' is deleted but recoverable: recover or purge it",
                        kind, head->key.name);
    else if (head->row_version != 0)
        rc = kv_err_set(&err, KV_E_EXISTS, "backup.name-taken",
                        "there is a %s '%s' already", kind, head->key.name);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        check_next(call);
}

/* Look for whatever has one of the names. */
static void check_next(struct kv_call *call)
{
    struct restore *restore = call->data;
    const bool is_certificate = restore->blob.of.kind == KV_KIND_CERTIFICATE;
    if (restore->at_kind == 0)
        restore->at_kind = is_certificate ? KV_KIND_KEY : restore->blob.of.kind;
    else if (is_certificate && restore->at_kind < KV_KIND_CERTIFICATE)
        restore->at_kind++;
    else {
        commit(call);
        return;
    }
    kv_task_find_head(&call->task, restore->at_kind, restore->blob.of.name, got_head);
}

void kv_backup_restore(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    struct restore *restore = calloc(1, sizeof(*restore));
    if (restore == NULL) {
        kv_task_fail(&call->task, KV_E_NOMEM, NULL);
        return;
    }
    call->data = restore;
    call->data_free = restore_free;
    kv_buf_init(&restore->bytes, KV_BLOB_MAX);
    int rc = read_blob(call, &err);
    if (rc != 0)
        kv_task_fail(&call->task, rc, &err);
    else
        open_next(call);
}
