/*
 * Backups of the whole store, over api.sock and for who manages the installation.
 *
 *   POST   backups                 begin one            GET backups        those kept
 *   GET    backups/ID              how far it is
 *   GET    backups/ID/content      a piece at ?offset=  (proved ones only)
 *   POST   backups/ID/keep         it was stored: list it, forget the file here
 *   DELETE backups/ID              forget it
 *   POST   backups/uploads         begin to bring one   PUT backups/ID/content  a piece
 *   POST   backups/ID/verify       prove what was brought
 *
 * The caller reads and writes its own file; what it calls it is kept as a word, and
 * never opened here. A backup that is listed was proved, stored and kept.
 */
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/backup/backups.h"
#include "store/core/b64.h"
#include "store/core/str.h"

#define RECORDS_ROW "backups"
#define RECORDS_MAX 200
#define FILE_TEXT_MAX 1024

/* Over the network nobody takes the whole store away. */
static int check_caller(const struct kv_call *call, struct kv_err *err)
{
    const struct kv_access_object everything = {.vault = NULL};
    if (!call->is_local) {
        kv_err_hint(err,
                    "run keyvault on the machine of the service, with KEYVAULT_API "
                    "unset or unix:PATH");
        return kv_err_set(err, KV_E_DENIED, "backup.local-only",
                          "backups are made over api.sock only");
    }
    if (call->task.service->backups == NULL)
        return kv_err_set(err, KV_E_UNSUPPORTED, "store.no-snapshot",
                          "a store in memory has no file to copy");
    return kv_call_check_management(call, &everything, KV_MANAGE_BACKUP, err);
}

static json_t *proof_json(const struct kv_backup_view *view)
{
    char digest[2 * KV_BACKUP_DIGEST_LEN + 1];
    const struct kv_backup_proof *proof = &view->proof;
    if (view->state != KV_BACKUP_PROVED)
        return json_null();
    kv_hex_encode(digest, proof->digest, KV_BACKUP_DIGEST_LEN);
    return json_pack(
        "{s:I,s:I,s:s,s:I,s:I,s:I,s:I}", "created", (json_int_t)proof->header.created_s,
        "bytes", (json_int_t)proof->file_bytes, "sha256", digest, "rows",
        (json_int_t)proof->counts.n_rows, "keys", (json_int_t)proof->n_keys, "keyTypes",
        (json_int_t)proof->n_types, "sampled", (json_int_t)proof->n_sampled);
}

static json_t *error_json(const struct kv_backup_view *view)
{
    if (view->state != KV_BACKUP_FAILED)
        return json_null();
    return json_pack("{s:s,s:s,s:s}", "id", view->err.id, "message", view->err.message,
                     "hint", view->err.hint);
}

static json_t *view_json(const struct kv_backup_view *view)
{
    static const char *const states[] = {"empty", "running", "proved", "failed"};
    return json_pack("{s:s,s:s,s:s,s:I,s:I,s:b,s:o,s:o}", "id", view->id, "state",
                     states[view->state], "phase", view->phase, "doneBytes",
                     (json_int_t)view->done, "totalBytes", (json_int_t)view->total,
                     "opensElsewhere", view->opens_elsewhere, "proof", proof_json(view),
                     "error", error_json(view));
}

/* Answer with how the backup is now. */
static void reply_view(struct kv_call *call, int status, const char *id)
{
    struct kv_backup_view view;
    struct kv_err err = KV_ERR_INIT;
    int rc = kv_backups_look(call->task.service->backups, id, &view, &err);
    if (rc != 0)
        kv_task_fail(&call->task, rc, &err);
    else
        kv_call_reply(call, status, view_json(&view));
}

static void create(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    int rc = check_caller(call, &err);
    if (rc == 0)
        rc = kv_backups_create(call->task.service->backups, &err);
    if (rc != 0)
        kv_task_fail(&call->task, rc, &err);
    else
        reply_view(call, 202, NULL);
}

static void upload(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    int rc = check_caller(call, &err);
    if (rc == 0)
        rc = kv_backups_upload(call->task.service->backups, &err);
    if (rc != 0)
        kv_task_fail(&call->task, rc, &err);
    else
        reply_view(call, 201, NULL);
}

static void show(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    int rc = check_caller(call, &err);
    if (rc != 0)
        kv_task_fail(&call->task, rc, &err);
    else
        reply_view(call, 200, call->name);
}

static void verify(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    int rc = check_caller(call, &err);
    if (rc == 0)
        rc = kv_backups_verify(call->task.service->backups, call->name, &err);
    if (rc != 0)
        kv_task_fail(&call->task, rc, &err);
    else
        reply_view(call, 202, call->name);
}

static void drop(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    int rc = check_caller(call, &err);
    if (rc == 0)
        rc = kv_backups_drop(call->task.service->backups, call->name, &err);
    if (rc != 0)
        kv_task_fail(&call->task, rc, &err);
    else
        kv_call_reply(call, 204, NULL);
}

/* --- pieces --------------------------------------------------------------------------
 */

static void get_piece(struct kv_call *call)
{
    char text[24] = "0";
    int64_t offset = 0;
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf piece;
    struct kv_buf coded;
    kv_buf_init(&piece, KV_BACKUP_PIECE_MAX);
    kv_buf_init(&coded, (size_t)2 * KV_BACKUP_PIECE_MAX);
    int rc = 0;
    KV_TRY(check_caller(call, &err));
    (void)kv_call_query(call, "offset", text, sizeof(text)); /* absent: 0 */
    if (kv_str_to_i64(text, 0, INT64_MAX, &offset) != 0)
        KV_TRY(kv_err_set(&err, KV_E_INVALID, "api.bad-query",
                          "'offset' must be a number of bytes"));
    KV_TRY(kv_backups_read(call->task.service->backups, call->name, (uint64_t)offset,
                           &piece, &err));
    KV_TRY(kv_b64_encode(KV_B64_URL, piece.data, piece.len, &coded));
    kv_call_reply(call, 200,
                  json_pack("{s:I,s:s%}", "offset", (json_int_t)offset, "data",
                            coded.data != NULL ? (const char *)coded.data : "",
                            coded.len));
out:
    kv_buf_free(&piece);
    kv_buf_free(&coded);
    if (rc != 0)
        kv_task_fail(&call->task, rc, &err);
}

static void put_piece(struct kv_call *call)
{
    int64_t offset = -1;
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf piece;
    kv_buf_init(&piece, KV_BACKUP_PIECE_MAX);
    int rc = 0;
    KV_TRY(check_caller(call, &err));
    KV_TRY(kv_json_integer(call->body, "offset", &offset, &err));
    KV_TRY(kv_json_bytes(call->body, "data", KV_REQUIRED, &piece, &err));
    KV_TRY(kv_backups_add(call->task.service->backups, call->name, (uint64_t)offset,
                          (struct kv_bytes){piece.data, piece.len}, &err));
out:
    kv_buf_free(&piece);
    if (rc != 0)
        kv_task_fail(&call->task, rc, &err);
    else
        kv_call_reply(call, 204, NULL);
}

/* --- the list
 * -------------------------------------------------------------------------
 */

static struct kv_row records_row(const struct kv_task *task)
{
    struct kv_row row = task->object.row;
    row.updated_s = kv_now_s(task->service->clock);
    if (row.row_version == 0) {
        row = (struct kv_row){.created_s = row.updated_s,
                              .updated_s = row.updated_s,
                              .nbf_s = KV_TIME_NONE,
                              .exp_s = KV_TIME_NONE,
                              .next_at_s = KV_TIME_NONE};
        row.key.kind = KV_KIND_SYSTEM;
        kv_str_cut(row.key.name, sizeof(row.key.name), RECORDS_ROW,
                   strlen(RECORDS_ROW));
    }
    row.flags = KV_ROW_ENABLED;
    return row;
}

/* The records with one more, newest last; NULL: no memory. */
static json_t *add_record(const json_t *doc, json_t *record)
{
    json_t *records = json_array();
    const json_t *old = json_object_get(doc, "backups");
    size_t n = json_array_size(old);
    for (size_t i = n >= RECORDS_MAX ? n - RECORDS_MAX + 1 : 0; i < n; i++)
        records = kv_json_append(records, json_incref(json_array_get(old, i)));
    records = kv_json_append(records, record);
    return records != NULL ? json_pack("{s:o}", "backups", records) : NULL;
}

static void kept(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct kv_err err = KV_ERR_INIT;
    const char *file = json_string_value(json_object_get(call->body, "file"));
    kv_log(task->service->log, KV_LOG_INFO, "backup.kept", KV_S("file", file),
           KV_S("by", call->principal.id));
    if (kv_backups_drop(task->service->backups, call->name, &err) != 0)
        kv_log_err(task->service->log, KV_LOG_WARN, "backup.failed", &err);
    kv_call_reply_kept(task);
}

static void keep_record(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct kv_backup_view view;
    struct kv_err err = KV_ERR_INIT;
    int rc = 0;
    KV_TRY(kv_backups_look(task->service->backups, call->name, &view, &err));
    if (view.state != KV_BACKUP_PROVED || view.is_upload)
        KV_TRY(kv_err_set(&err, KV_E_NOT_FOUND, "backup.not-found",
                          "this backup is not proved"));
    json_t *record = proof_json(&view);
    (void)json_object_set(record, "file", json_object_get(call->body, "file"));
    (void)json_object_set_new(record, "by", json_string(call->principal.id));
    (void)json_object_set_new(record, "state", json_string("good"));
    if (!kv_call_keep(call, record) || json_object_size(record) != 10)
        KV_TRY(KV_E_NOMEM);
    const struct kv_row row = records_row(task);
    kv_task_put_doc(task, &row, task->object.row.row_version,
                    add_record(task->object.doc, json_incref(record)));
    kv_task_commit(task, kept);
    return;
out:
    kv_task_fail(task, rc, &err);
}

static void keep(struct kv_call *call)
{
    const char *file = NULL;
    struct kv_err err = KV_ERR_INIT;
    int rc = 0;
    KV_TRY(check_caller(call, &err));
    KV_TRY(kv_json_string(call->body, "file", KV_REQUIRED, &file, &err));
    if (strlen(file) > FILE_TEXT_MAX)
        KV_TRY(kv_err_set(&err, KV_E_INVALID, "api.bad-field",
                          "the member 'file' has more than %d bytes", FILE_TEXT_MAX));
    call->task.vault = &call->task.service->system;
    kv_task_find(&call->task, KV_KIND_SYSTEM, RECORDS_ROW, NULL, keep_record);
    return;
out:
    kv_task_fail(&call->task, rc, &err);
}

static void listed(struct kv_task *task)
{
    json_t *records = json_object_get(task->object.doc, "backups");
    kv_call_reply(kv_call_of(task), 200,
                  json_pack("{s:o,s:n}", "value",
                            records != NULL ? json_incref(records) : json_array(),
                            "nextLink"));
}

static void list(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    int rc = check_caller(call, &err);
    if (rc != 0) {
        kv_task_fail(&call->task, rc, &err);
        return;
    }
    call->task.vault = &call->task.service->system;
    kv_task_find(&call->task, KV_KIND_SYSTEM, RECORDS_ROW, NULL, listed);
}

const struct kv_route kv_routes_backups[] = {
    {"POST", "/keyvault/v1/backups", "backupCreate", 0, false, create},
    {"GET", "/keyvault/v1/backups", "backupList", 0, false, list},
    {"POST", "/keyvault/v1/backups/uploads", "backupUpload", 0, false, upload},
    {"GET", "/keyvault/v1/backups/{name}", "backupShow", 0, false, show},
    {"DELETE", "/keyvault/v1/backups/{name}", "backupDrop", 0, false, drop},
    {"GET", "/keyvault/v1/backups/{name}/content", "backupRead", 0, false, get_piece},
    {"PUT", "/keyvault/v1/backups/{name}/content", "backupWrite", 0, true, put_piece},
    {"POST", "/keyvault/v1/backups/{name}/keep", "backupKeep", 0, true, keep},
    {"POST", "/keyvault/v1/backups/{name}/verify", "backupVerify", 0, false, verify},
    {NULL, NULL, NULL, 0, false, NULL},
};
