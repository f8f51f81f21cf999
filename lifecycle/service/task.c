/*
 * Steps over store and keyring: reading, and the plumbing between steps.
 *
 * A read is store row(s) -> unseal -> compare -> next step. Its state lies in
 * struct kv_task_op, which lives as long as the task, so that a step may free the
 * task (by answering) while the operation's callback is still on the stack: after
 * `next` or `on_fail` nothing here touches the task.
 */
#include "lifecycle/service/task.h"

#include <stdlib.h>
#include <string.h>

#include "lifecycle/service/internal.h"
#include "lifecycle/service/keyring.h"
#include "store/core/str.h"

struct kv_task_op {
    bool is_list;
    bool may_be_absent;
    bool has_more;
    size_t n;
    size_t n_wrong;        /* rows of a list that it did not ask for */
    struct kv_row_key key; /* what was asked for; a name of "" stands for any */
    bool has_version;      /* that of `key` was asked for, too */
    bool is_any_vault;     /* all of them were asked for */
    bool is_any_row;       /* and all kinds */
    struct kv_object objects[KV_STORE_LIST_MAX];
    int status[KV_STORE_LIST_MAX];
    struct kv_err first_err;
};

void kv_task_init(struct kv_task *task, struct kv_service *service,
                  struct kv_vault *vault, kv_task_fail_fn on_fail)
{
    memset(task, 0, sizeof(*task));
    task->service = service;
    task->vault = vault;
    task->on_fail = on_fail;
}

static void free_objects(struct kv_object *objects, size_t n)
{
    for (size_t i = 0; i < n; i++)
        kv_object_free(&objects[i]);
}

void kv_task_reset(struct kv_task *task)
{
    kv_object_free(&task->object);
    if (task->objects != NULL)
        free_objects(task->objects, task->n_objects);
    free(task->objects);
    task->objects = NULL;
    task->n_objects = 0;
    task->has_more = false;
    task->n_damaged = 0;
    task->payload = (struct kv_bytes){NULL, 0};
}

void kv_task_fini(struct kv_task *task)
{
    kv_task_reset(task);
    if (task->op != NULL)
        free_objects(task->op->objects, task->op->n);
    free(task->op);
    task->op = NULL;
    kv_task_batch_free(task->batch);
    task->batch = NULL;
    task->batch_failed = 0;
}

void kv_task_fail(struct kv_task *task, int rc, const struct kv_err *err)
{
    struct kv_err local = KV_ERR_INIT;
    if (err == NULL || err->code == 0) {
        kv_err_set(&local, rc, "task.failed", "the operation failed: %s",
                   kv_code_text(rc));
        err = &local;
    }
    task->on_fail(task, rc, err);
}

int kv_task_op_start(struct kv_task *task, kv_task_fn next)
{
    kv_task_reset(task);
    task->next = next;
    task->service->n_running++;
    return task->service->is_stopping ? KV_E_UNAVAILABLE : 0;
}

void kv_task_op_next(struct kv_task *task)
{
    task->service->n_running--;
    task->next(task);
}

void kv_task_op_fail(struct kv_task *task, int rc, const struct kv_err *err)
{
    task->service->n_running--;
    kv_task_fail(task, rc, err);
}

static int begin(struct kv_task *task, kv_task_fn next)
{
    int rc = kv_task_op_start(task, next);
    if (task->op == NULL)
        task->op = calloc(1, sizeof(*task->op));
    else
        free_objects(task->op->objects, task->op->n);
    if (task->op == NULL)
        return KV_E_NOMEM;
    task->op->is_list = false;
    task->op->has_version = false;
    task->op->is_any_vault = false;
    task->op->is_any_row = false;
    task->op->may_be_absent = false;
    task->op->has_more = false;
    task->op->n = 0;
    task->op->n_wrong = 0;
    task->op->first_err.code = 0;
    memset(task->op->status, 0, sizeof(task->op->status));
    return rc;
}

static void finish_load(struct kv_task *task)
{
    struct kv_task_op *op = task->op;
    if (op->status[0] != 0) {
        if (op->first_err.code != 0)
            kv_log_err(task->service->log, KV_LOG_ERROR, "object.damaged",
                       &op->first_err);
        kv_task_op_fail(task, op->status[0], &op->first_err);
        return;
    }
    task->object = op->objects[0];
    memset(&op->objects[0], 0, sizeof(op->objects[0]));
    op->n = 0;
    kv_task_op_next(task);
}

static void finish_list(struct kv_task *task)
{
    struct kv_task_op *op = task->op;
    task->objects = calloc(op->n + 1, sizeof(*task->objects));
    if (task->objects == NULL) {
        kv_task_op_fail(task, KV_E_NOMEM, NULL);
        return;
    }
    for (size_t i = 0; i < op->n; i++) {
        if (op->status[i] == 0)
            task->objects[task->n_objects++] = op->objects[i];
        else
            kv_object_free(&op->objects[i]);
    }
    if (op->first_err.code != 0)
        kv_log_err(task->service->log, KV_LOG_ERROR, "object.damaged", &op->first_err);
    task->n_damaged = op->n - task->n_objects + op->n_wrong;
    memset(op->objects, 0, sizeof(op->objects));
    op->n = 0;
    task->has_more = op->has_more;
    kv_task_op_next(task);
}

static void on_opened(void *arg, int rc, const struct kv_err *err)
{
    struct kv_task *task = arg;
    if (rc != 0)
        kv_task_op_fail(task, rc, err);
    else if (task->op->is_list)
        finish_list(task);
    else
        finish_load(task);
}

static void not_found(struct kv_task *task)
{
    struct kv_task_op *op = task->op;
    if (op->may_be_absent) {
        task->object.row.key = op->key;
        task->object.row.nbf_s = KV_TIME_NONE;
        task->object.row.exp_s = KV_TIME_NONE;
        task->object.row.next_at_s = KV_TIME_NONE;
        kv_task_op_next(task);
        return;
    }
    struct kv_err err = KV_ERR_INIT;
    kv_err_set(&err, KV_E_NOT_FOUND, "object.not-found", "there is no %s '%s'%s",
               kv_kind_name(op->key.kind), op->key.name,
               kv_id_is_zero(op->key.version) ? "" : " of this version");
    kv_task_op_fail(task, KV_E_NOT_FOUND, &err);
}

/* A sealed body vouches for the row that it came with, not for the question: whoever
 * can edit the file can make a look-up find any row. */
static bool is_asked(const struct kv_task_op *op, const struct kv_row_key *found)
{
    const struct kv_row_key *key = &op->key;
    if (op->is_any_row)
        return true;
    return found->kind == key->kind &&
           (op->is_any_vault || memcmp(found->vault, key->vault, KV_ID_LEN) == 0) &&
           (key->name[0] == '\0' || kv_str_equal_nocase(found->name, key->name)) &&
           (!op->has_version || memcmp(found->version, key->version, KV_ID_LEN) == 0);
}

static int wrong_row(struct kv_task_op *op, const struct kv_row_key *found)
{
    kv_err_set(&op->first_err, KV_E_INTEGRITY, "object.wrong-row",
               "the store answers with the %s '%s' when asked for the %s '%s'",
               kv_kind_name(found->kind), found->name, kv_kind_name(op->key.kind),
               op->key.name);
    kv_err_hint(&op->first_err,
                "the database was edited or damaged: restore it from a backup");
    return KV_E_INTEGRITY;
}

/* Rows that a list did not ask for are left out, and logged with the damaged ones. */
static int take_rows(struct kv_task *task, const struct kv_row *rows, size_t n)
{
    struct kv_task_op *op = task->op;
    for (size_t i = 0; i < n && i < KV_STORE_LIST_MAX; i++) {
        memcpy(task->last_name, rows[i].key.name, sizeof(task->last_name));
        memcpy(task->last_version, rows[i].key.version, KV_ID_LEN);
        int rc = 0;
        if (is_asked(op, &rows[i].key))
            rc = kv_object_set_row(&op->objects[op->n], &rows[i]);
        else
            rc = wrong_row(op, &rows[i].key);
        if (rc == 0)
            op->n++;
        else if (rc != KV_E_INTEGRITY || !op->is_list)
            return rc;
        else
            op->n_wrong++;
    }
    return 0;
}

static void on_rows(void *arg, int rc, const struct kv_row *rows, size_t n_rows,
                    bool has_more, const struct kv_err *err)
{
    struct kv_task *task = arg;
    if (rc == KV_E_NOT_FOUND && !task->op->is_list) {
        not_found(task);
        return;
    }
    if (rc == 0) {
        task->op->has_more = has_more;
        rc = take_rows(task, rows, n_rows);
        err = rc == KV_E_INTEGRITY ? &task->op->first_err : NULL;
        if (err != NULL)
            kv_log_err(task->service->log, KV_LOG_ERROR, "object.damaged", err);
    }
    if (rc == 0) {
        struct kv_open_request request = {
            .service = task->service,
            .objects = task->op->objects,
            .status = task->op->status,
            .first_err = &task->op->first_err,
            .n = task->op->n,
            .cb = on_opened,
            .arg = task,
        };
        rc = kv_object_open(&request);
        if (rc == 0)
            return;
    }
    kv_task_op_fail(task, rc, err);
}

enum read_how { READ_ROW, READ_LIVE };

static void start_read(struct kv_task *task, const struct kv_row_key *key,
                       enum read_how how, bool may_be_absent, kv_task_fn next)
{
    struct kv_store *store = task->service->store;
    int rc = begin(task, next);
    if (rc == 0) {
        task->op->key = *key;
        task->op->has_version = how == READ_ROW || !kv_id_is_zero(key->version);
        task->op->may_be_absent = may_be_absent;
        rc = how == READ_LIVE ? store->ops->get_live(store, key, on_rows, task)
                              : store->ops->get(store, key, on_rows, task);
    }
    if (rc != 0)
        kv_task_op_fail(task, rc, NULL);
}

/* The row key of a name; false (and the task ended) when the name cannot be one. */
static bool make_key(struct kv_task *task, uint8_t kind, const char *name,
                     const uint8_t *version, struct kv_row_key *key)
{
    memset(key, 0, sizeof(*key));
    key->kind = kind;
    memcpy(key->vault, task->vault->id, KV_ID_LEN);
    if (version != NULL)
        memcpy(key->version, version, KV_ID_LEN);
    int rc = kv_str_copy(key->name, sizeof(key->name), name);
    if (rc != 0)
        kv_task_fail(task, rc, NULL);
    return rc == 0;
}

static void read_object(struct kv_task *task, const struct kv_row_key *key,
                        bool may_be_absent, kv_task_fn next)
{
    bool is_versioned = kv_kind_has_versions(key->kind);
    start_read(task, key, is_versioned ? READ_LIVE : READ_ROW, may_be_absent, next);
}

void kv_task_load(struct kv_task *task, uint8_t kind, const char *name,
                  const uint8_t version[KV_ID_LEN], kv_task_fn next)
{
    struct kv_row_key key;
    if (make_key(task, kind, name, version, &key))
        read_object(task, &key, false, next);
}

void kv_task_find(struct kv_task *task, uint8_t kind, const char *name,
                  const uint8_t version[KV_ID_LEN], kv_task_fn next)
{
    struct kv_row_key key;
    if (make_key(task, kind, name, version, &key))
        read_object(task, &key, true, next);
}

void kv_task_find_head(struct kv_task *task, uint8_t kind, const char *name,
                       kv_task_fn next)
{
    struct kv_row_key key;
    if (make_key(task, kind, name, NULL, &key))
        start_read(task, &key, READ_ROW, true, next);
}

void kv_task_load_row(struct kv_task *task, const struct kv_row_key *key,
                      kv_task_fn next)
{
    start_read(task, key, READ_ROW, false, next);
}

void kv_task_find_row(struct kv_task *task, const struct kv_row_key *key,
                      kv_task_fn next)
{
    start_read(task, key, READ_ROW, true, next);
}

struct kv_object kv_task_take_object(struct kv_task *task)
{
    struct kv_object object = task->object;
    memset(&task->object, 0, sizeof(task->object));
    return object;
}

/* What every row of a page must have. */
static void note_query(struct kv_task_op *op, const struct kv_list_query *query)
{
    op->is_list = true;
    op->is_any_row = query->what == KV_LIST_DUE;
    op->is_any_vault = query->what == KV_LIST_VERSION_ID;
    op->has_version = query->what == KV_LIST_VERSION_ID;
    op->key = (struct kv_row_key){.kind = query->kind};
    memcpy(op->key.vault, query->vault, KV_ID_LEN);
    if (query->what == KV_LIST_VERSION_ID)
        memcpy(op->key.version, query->after_version, KV_ID_LEN);
    if (query->what == KV_LIST_VERSIONS)
        memcpy(op->key.name, query->name, sizeof(op->key.name));
}

void kv_task_list(struct kv_task *task, const struct kv_list_query *query,
                  kv_task_fn next)
{
    struct kv_list_query copy = *query;
    struct kv_store *store = task->service->store;
    int rc = begin(task, next);
    if (rc == 0) {
        note_query(task->op, &copy);
        task->last_name[0] = '\0';
        memset(task->last_version, 0, KV_ID_LEN);
        rc = store->ops->list(store, &copy, on_rows, task);
    }
    if (rc != 0)
        kv_task_op_fail(task, rc, NULL);
}

static void on_payload(void *arg, int rc, struct kv_bytes payload,
                       const struct kv_err *err)
{
    struct kv_task *task = arg;
    if (rc != 0) {
        kv_task_op_fail(task, rc, err);
        return;
    }
    task->payload = payload;
    kv_task_op_next(task);
}

void kv_task_keyring(struct kv_task *task, uint16_t verb, struct kv_buf *payload,
                     kv_task_fn next)
{
    int rc = kv_task_op_start(task, next);
    if (rc == 0)
        rc = kv_keyring_call(task->service->keyring, verb, payload, on_payload, task);
    payload->is_secret = true;
    kv_buf_free(payload);
    if (rc != 0)
        kv_task_op_fail(task, rc, NULL);
}

void kv_task_key_update(struct kv_task *task, const struct kv_row *row,
                        const struct kv_key_attrs *attrs, kv_task_fn next)
{
    struct kv_buf payload;
    struct kv_role_key_update msg = {.old_row = {row->sealed, row->sealed_len},
                                     .attrs = *attrs};
    kv_row_ident(row, &msg.old_ident);
    kv_task_ident(task, &row->key, row->row_version, &msg.ident);
    kv_buf_init(&payload, KV_FRAME_MAX_ROLE);
    kv_role_key_update_put(&payload, &msg);
    kv_task_keyring(task, KV_ROLE_KEY_UPDATE, &payload, next);
}

int kv_task_take_key(const struct kv_task *task, struct kv_row *row,
                     struct kv_role_key_made *made)
{
    if (kv_role_key_made_get(task->payload, made) != 0)
        return KV_E_INTERNAL;
    kv_row_set_key(row, &made->info);
    row->sealed = made->row.data;
    row->sealed_len = made->row.len;
    return 0;
}

void kv_task_ident(const struct kv_task *task, const struct kv_row_key *key,
                   uint64_t expect, struct kv_ident *out)
{
    const struct kv_vault *vault = kv_service_vault_of_row(task->service, key->vault);
    struct kv_row row = {.key = *key, .row_version = expect + 1};
    row.term = vault != NULL ? vault->term : 0;
    kv_row_ident(&row, out);
}

int kv_task_new_version(struct kv_task *task, uint8_t out[KV_ID_LEN])
{
    return kv_rand_fill(task->service->rand, out, KV_ID_LEN);
}
