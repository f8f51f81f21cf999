/*
 * The backup of one key, secret or certificate: a blob with all its versions.
 *
 *   heads and policy -> versions, page by page -> the same once more -> chunks -> blob
 *
 * The second reading makes sure that nothing changed while the first one went on: two
 * that are equal say what was stored at one moment. The rows stay sealed; the keyring
 * puts them into chunks (store/keyring/role.h, BLOB_SEAL).
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle/api/backup.h"
#include "lifecycle/api/internal.h"
#include "lifecycle/service/name.h"
#include "store/core/b64.h"
#include "store/core/str.h"

struct backup {
    struct kv_name name;
    struct kv_rows rows; /* heads and policy, then the versions of each kind */
    struct kv_role_blob of;
    struct kv_buf blob;
    size_t n_bytes;         /* sealed bodies so far */
    bool is_check;          /* second reading */
    bool has_current;       /* the head's current version was read */
    size_t at;              /* rows that were compared, then rows in chunks */
    size_t n_chunk;         /* rows of the chunk under way */
    enum kv_name_part part; /* whose versions are read */
    size_t n_versions;      /* of that part */
};

static void backup_free(void *data)
{
    struct backup *backup = data;
    kv_name_free(&backup->name);
    kv_rows_free(&backup->rows);
    kv_buf_free(&backup->blob);
    free(backup);
}

/* --- reading -----------------------------------------------------------------------
 */

static void read_name(struct kv_call *call);
static void read_versions(struct kv_call *call, const uint8_t *after);
static void seal_next(struct kv_call *call);

static int too_big(struct kv_call *call, struct kv_err *err)
{
    return kv_err_set(err, KV_E_TOO_BIG, "backup.too-big",
                      "the versions of '%s' are more than one backup holds: %d "
                      "versions, %u MiB",
                      call->name, KV_BLOB_VERSIONS_MAX, KV_BLOB_MAX >> 20);
}

/* Take a row into the backup, or compare it with what was read before. `object` loses
 * its body. */
static int take(struct kv_call *call, struct kv_object *object, struct kv_err *err)
{
    struct backup *backup = call->data;
    if (!backup->is_check) {
        backup->n_bytes += object->row.sealed_len;
        if (backup->n_bytes > KV_BLOB_MAX)
            return too_big(call, err);
        return kv_rows_take(&backup->rows, &object->row);
    }
    const struct kv_row *before =
        backup->at < backup->rows.n ? &backup->rows.row[backup->at] : NULL;
    backup->at++;
    if (before != NULL && before->key.kind == object->row.key.kind &&
        memcmp(before->key.version, object->row.key.version, KV_ID_LEN) == 0 &&
        before->row_version == object->row.row_version)
        return 0;
    return KV_E_CONFLICT; /* the call starts again */
}

/* The kinds whose versions belong to the name, one after the other. */
static void next_part(struct kv_call *call)
{
    struct backup *backup = call->data;
    struct kv_err err = KV_ERR_INIT;
    if (!backup->has_current) {
        kv_err_set(&err, KV_E_INVALID, "backup.incomplete",
                   "the %s '%s' has no complete version to back up",
                   kv_kind_name(backup->of.kind), call->name);
        kv_task_fail(&call->task, KV_E_INVALID, &err);
        return;
    }
    while (++backup->part <= KV_NAME_SECRET)
        if (backup->name.part[backup->part].row.row_version != 0) {
            backup->n_versions = 0;
            read_versions(call, NULL);
            return;
        }
    if (!backup->is_check) {
        backup->is_check = true;
        read_name(call);
        return;
    }
    if (backup->at != backup->rows.n) {
        kv_task_fail(&call->task, KV_E_CONFLICT, NULL);
        return;
    }
    backup->at = 0;
    seal_next(call);
}

/* A version without a certificate yet is none to keep. */
static bool is_pending(const struct kv_object *object)
{
    return (object->row.flags & KV_ROW_PENDING) != 0;
}

static int take_page(struct kv_task *task, struct kv_err *err)
{
    struct kv_call *call = kv_call_of(task);
    struct backup *backup = call->data;
    const uint8_t *current = backup->name.part[KV_NAME_HEAD].row.current;
    int rc = 0;
    if (task->n_damaged > 0)
        return kv_err_set(err, KV_E_INTEGRITY, "backup.damaged",
                          "a version of '%s' is damaged: it is in no backup",
                          call->name);
    for (size_t i = 0; i < task->n_objects && rc == 0; i++) {
        if (is_pending(&task->objects[i]))
            continue;
        if (++backup->n_versions > KV_BLOB_VERSIONS_MAX)
            return too_big(call, err);
        if (memcmp(task->objects[i].row.key.version, current, KV_ID_LEN) == 0)
            backup->has_current = true;
        rc = take(call, &task->objects[i], err);
    }
    return rc;
}

static void got_versions(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct kv_err err = KV_ERR_INIT;
    uint8_t last[KV_ID_LEN];
    memcpy(last, task->last_version, KV_ID_LEN);
    const bool has_more = task->has_more;
    int rc = take_page(task, &err);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else if (has_more)
        read_versions(call, last);
    else
        next_part(call);
}

static void read_versions(struct kv_call *call, const uint8_t *after)
{
    const struct backup *backup = call->data;
    struct kv_list_query query = {
        .what = KV_LIST_VERSIONS,
        .kind = backup->name.part[backup->part].row.key.kind,
        .limit = KV_STORE_LIST_MAX,
    };
    memcpy(query.vault, call->task.vault->id, KV_ID_LEN);
    KV_ASSERT(kv_str_copy(query.name, sizeof(query.name), call->name) == 0);
    if (after != NULL)
        memcpy(query.after_version, after, KV_ID_LEN);
    kv_task_list(&call->task, &query, got_versions);
}

static int check_name(struct kv_call *call, struct kv_err *err)
{
    const struct backup *backup = call->data;
    const struct kv_row *head = &backup->name.part[KV_NAME_HEAD].row;
    if (!kv_name_is_live(&backup->name))
        return kv_err_set(err, KV_E_NOT_FOUND, "object.not-found",
                          "there is no %s '%s'", kv_kind_name(backup->of.kind),
                          call->name);
    return kv_call_check_own(call, head, err);
}

static void got_name(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct backup *backup = call->data;
    struct kv_err err = KV_ERR_INIT;
    int rc = check_name(call, &err);
    for (size_t i = KV_NAME_HEAD; rc == 0 && i <= KV_NAME_POLICY; i++)
        if (backup->name.part[i].row.row_version != 0)
            rc = take(call, &backup->name.part[i], &err);
    if (rc != 0) {
        kv_task_fail(task, rc, &err);
        return;
    }
    backup->part = KV_NAME_HEAD;
    backup->n_versions = 0;
    read_versions(call, NULL);
}

static void read_name(struct kv_call *call)
{
    struct backup *backup = call->data;
    kv_name_free(&backup->name);
    kv_name_read(&call->task, &backup->name, backup->of.kind, call->name, got_name);
}

/* --- sealing -----------------------------------------------------------------------
 */

static void reply(struct kv_call *call)
{
    struct backup *backup = call->data;
    struct kv_buf text;
    kv_buf_init(&text, kv_b64_encoded_len(KV_B64_URL, KV_BLOB_MAX));
    int rc = kv_b64_encode(KV_B64_URL, backup->blob.data, backup->blob.len, &text);
    json_t *json = rc == 0 ? json_pack("{s:o}", "value",
                                       json_stringn((const char *)text.data, text.len))
                           : NULL;
    kv_buf_free(&text);
    kv_log(call->task.service->log, KV_LOG_INFO, "object.backed-up",
           KV_S("vault", call->task.vault->name),
           KV_S("kind", kv_kind_name(backup->of.kind)), KV_S("name", call->name),
           KV_I("rows", (int64_t)backup->rows.n), KV_S("by", call->principal.id));
    kv_call_reply(call, 200, json);
}

static void sealed(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct backup *backup = call->data;
    struct kv_err err = KV_ERR_INIT;
    kv_blob_chunk_put(&backup->blob, task->payload);
    backup->at += backup->n_chunk;
    int rc = kv_buf_status(&backup->blob);
    if (rc == KV_E_TOO_BIG)
        rc = too_big(call, &err);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else if (backup->at < backup->rows.n)
        seal_next(call);
    else
        reply(call);
}

/* Ask for the next rows, as many as one chunk holds. */
static int put_rows(struct backup *backup, struct kv_buf *payload)
{
    size_t n_bytes = 0;
    size_t at[KV_BATCH_MAX + 1];
    struct kv_buf columns;
    struct kv_role_blob_rows *rows = calloc(1, sizeof(*rows));
    kv_buf_init(&columns, (size_t)KV_BATCH_MAX * KV_BLOB_META_MAX);
    int rc = KV_E_NOMEM;
    if (rows == NULL)
        goto out;
    rows->blob = backup->of;
    rows->blob.at = (uint32_t)backup->at;
    memset(at, 0, sizeof(at));
    for (size_t i = backup->at; i < backup->rows.n && rows->n < KV_BATCH_MAX; i++) {
        const struct kv_row *row = &backup->rows.row[i];
        n_bytes += row->sealed_len;
        if (rows->n > 0 && n_bytes > KV_BLOB_CHUNK_BYTES)
            break;
        kv_row_ident(row, &rows->row[rows->n].ident);
        rows->row[rows->n].body = (struct kv_bytes){row->sealed, row->sealed_len};
        kv_blob_columns_put(&columns, row);
        at[++rows->n] = columns.len;
    }
    KV_TRY(kv_buf_status(&columns));
    for (size_t i = 0; i < rows->n; i++)
        rows->row[i].meta = (struct kv_bytes){columns.data + at[i], at[i + 1] - at[i]};
    kv_role_blob_rows_put(payload, rows);
    backup->n_chunk = rows->n;
    rc = kv_buf_status(payload);
out:
    kv_buf_free(&columns);
    free(rows);
    return rc;
}

static int start_blob(struct kv_call *call)
{
    struct backup *backup = call->data;
    const struct kv_service *service = call->task.service;
    const int rc = kv_rand_fill(service->rand, backup->of.id, KV_ID_LEN);
    if (rc != 0)
        return rc;
    memcpy(backup->of.vault, call->task.vault->id, KV_ID_LEN);
    memcpy(backup->of.subscription, call->task.vault->subscription,
           sizeof(backup->of.subscription));
    KV_ASSERT(kv_str_copy(backup->of.name, sizeof(backup->of.name), call->name) == 0);
    kv_str_fold(backup->of.name);
    backup->of.n_rows = (uint32_t)backup->rows.n;
    kv_blob_front_put(&backup->blob, service->installation, &backup->of);
    return kv_buf_status(&backup->blob);
}

static void seal_next(struct kv_call *call)
{
    struct backup *backup = call->data;
    struct kv_buf payload;
    kv_buf_init(&payload, KV_FRAME_MAX_ROLE);
    int rc = backup->at == 0 ? start_blob(call) : 0;
    if (rc == 0)
        rc = put_rows(backup, &payload);
    if (rc == 0) {
        kv_task_keyring(&call->task, KV_ROLE_BLOB_SEAL, &payload, sealed);
        return;
    }
    kv_buf_free(&payload);
    kv_task_fail(&call->task, rc, NULL);
}

/* --- routes ------------------------------------------------------------------------
 */

static void start(struct kv_call *call)
{
    struct backup *backup = calloc(1, sizeof(*backup));
    if (backup == NULL) {
        kv_task_fail(&call->task, KV_E_NOMEM, NULL);
        return;
    }
    call->data = backup;
    call->data_free = backup_free;
    kv_buf_init(&backup->blob, KV_BLOB_MAX);
    backup->of.kind = kv_backup_kind(call);
    read_name(call);
}

uint8_t kv_backup_kind(const struct kv_call *call)
{
    const char *collection = kv_route_collection(call->route);
    if (strcmp(collection, "keys") == 0)
        return KV_KIND_KEY;
    return strcmp(collection, "secrets") == 0 ? KV_KIND_SECRET : KV_KIND_CERTIFICATE;
}

const struct kv_route kv_routes_backup[] = {
    {"POST", "/keys/{name}/backup", "backupKey", KV_ACT_KEY_BACKUP, false, start},
    {"POST", "/secrets/{name}/backup", "backupSecret", KV_ACT_SECRET_BACKUP, false,
     start},
    {"POST", "/certificates/{name}/backup", "backupCertificate", KV_ACT_CERT_BACKUP,
     false, start},
    {"POST", "/keys/restore", "restoreKey", KV_ACT_KEY_RESTORE, true,
     kv_backup_restore},
    {"POST", "/secrets/restore", "restoreSecret", KV_ACT_SECRET_RESTORE, true,
     kv_backup_restore},
    {"POST", "/certificates/restore", "restoreCertificate", KV_ACT_CERT_RESTORE, true,
     kv_backup_restore},
    {NULL, NULL, NULL, 0, false, NULL},
};
