/*
 * Purging a vault: cryptographic erasure first, then tidying up.
 *
 *   row says "purging", wrapped keys removed (one transaction) -> keyring forgets
 *     -> rows, a batch at a time, until none is left -> role assignments in it
 *     -> the vault's own row: its name is free
 *
 * After the first transaction nothing in the vault can be unsealed again. Whatever ends
 * the rest (a failure, kill -9), the row is due and the engine goes on; each step finds
 * out for itself what is left. No task can write into a vault that is being purged
 * (batch.c), so that "none is left" is true.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lifecycle/service/assignments.h"
#include "lifecycle/service/internal.h"
#include "lifecycle/service/keyring.h"
#include "lifecycle/service/vaults_internal.h"
#include "store/core/str.h"

static void remove_rows(struct kv_task *task);
static void remove_assignment(struct kv_task *task);

static struct kv_vault_work *work_of(struct kv_task *task)
{
    return (struct kv_vault_work *)task;
}

/* --- the end -------------------------------------------------------------------------
 */

static void gone(struct kv_task *task)
{
    struct kv_vault_work *work = work_of(task);
    work->vault->is_busy = false;
    kv_log(task->service->log, KV_LOG_INFO, "vault.purged", KV_S("name", work->name),
           KV_I("rows", work->n_rows));
    kv_service_vault_remove(task->service, work->vault);
    kv_vault_work_end(work, NULL);
}

static void remove_vault(struct kv_task *task)
{
    struct kv_row_key key = task->object.row.key;
    kv_task_delete(task, &key, task->object.row.row_version);
    kv_task_commit(task, gone);
}

/* --- role assignments ----------------------------------------------------------------
 */

/* Whether a scope is the vault or something in it. */
static bool is_in_vault(const char *scope, const char *name)
{
    size_t len = strlen(name);
    return scope[0] == '/' && strncasecmp(scope + 1, name, len) == 0 &&
           (scope[1 + len] == '\0' || scope[1 + len] == '/');
}

static const struct kv_assignment *find_assignment(const struct kv_vault_work *work)
{
    const struct kv_assignments *all = work->task.service->assignments;
    size_t n = 0;
    const struct kv_assignment *const *items = kv_assignments_all(all, &n);
    for (size_t i = 0; i < n; i++)
        if (is_in_vault(items[i]->scope, work->name))
            return items[i];
    return NULL;
}

static void assignment_removed(struct kv_task *task)
{
    struct kv_vault_work *work = work_of(task);
    kv_assignments_remove(task->service->assignments, work->assignment);
    remove_assignment(task);
}

static void assignment_read(struct kv_task *task)
{
    struct kv_row_key key = task->object.row.key;
    if (task->object.row.row_version == 0) { /* revoked meanwhile */
        assignment_removed(task);
        return;
    }
    kv_task_delete(task, &key, task->object.row.row_version);
    kv_task_commit(task, assignment_removed);
}

/* Who had a role in the vault has none in a later one of its name. */
static void remove_assignment(struct kv_task *task)
{
    struct kv_vault_work *work = work_of(task);
    const struct kv_assignment *assignment = find_assignment(work);
    if (assignment == NULL) {
        kv_task_load(task, KV_KIND_VAULT, work->name, NULL, remove_vault);
        return;
    }
    memcpy(work->assignment, assignment->id, sizeof(work->assignment));
    kv_task_find(task, KV_KIND_ASSIGNMENT, work->assignment, NULL, assignment_read);
}

/* --- rows ----------------------------------------------------------------------------
 */

/* The rows cannot be opened any more: the store is asked, not kv_task_list. */
static void on_rows(void *arg, int rc, const struct kv_row *rows, size_t n_rows,
                    bool has_more, const struct kv_err *err)
{
    struct kv_task *task = arg;
    struct kv_vault_work *work = work_of(task);
    (void)has_more;
    if (rc != 0) {
        kv_task_op_fail(task, rc, err);
        return;
    }
    work->n_rows += n_rows;
    if (n_rows == 0)
        task->next = remove_assignment;
    for (size_t i = 0; i < n_rows; i++)
        kv_task_delete(task, &rows[i].key, rows[i].row_version);
    kv_task_op_next(task);
}

static void commit_rows(struct kv_task *task)
{
    kv_task_commit(task, remove_rows);
}

static void remove_rows(struct kv_task *task)
{
    struct kv_list_query query = {.what = KV_LIST_VAULT, .limit = KV_STORE_LIST_MAX};
    struct kv_store *store = task->service->store;
    memcpy(query.vault, work_of(task)->vault->id, KV_ID_LEN);
    int rc = kv_task_op_start(task, commit_rows);
    if (rc == 0)
        rc = store->ops->list(store, &query, on_rows, task);
    if (rc != 0)
        kv_task_op_fail(task, rc, NULL);
}

/* --- keys ----------------------------------------------------------------------------
 */

static void forget_keys(struct kv_task *task)
{
    const struct kv_vault *vault = work_of(task)->vault;
    struct kv_buf payload;
    struct kv_role_vault_key request = {.term = 0};
    memcpy(request.vault, vault->id, KV_ID_LEN);
    kv_buf_init(&payload, 64);
    kv_role_vault_key_put(&payload, &request);
    kv_keyring_remove_vault_keys(task->service->keyring, vault->id);
    kv_task_keyring(task, KV_ROLE_VAULT_FORGET, &payload, remove_rows);
}

static void erased(struct kv_task *task)
{
    struct kv_vault_work *work = work_of(task);
    work->is_erasing = false;
    kv_service_raise_epoch(task->service, work->vault);
    kv_log(task->service->log, KV_LOG_INFO, "vault.erased", KV_S("name", work->name));
    forget_keys(task);
}

static void not_deleted(struct kv_vault_work *work)
{
    kv_vault_fail(work, KV_E_NOT_FOUND, "vault.not-deleted",
                  "there is no deleted vault", "");
}

/* The rows of the vault's keys: their names begin with its id. */
static void got_keys(struct kv_task *task)
{
    struct kv_vault_work *work = work_of(task);
    char id[2 * KV_ID_LEN + 1];
    struct kv_row row = work->object.row;
    if (work->vault->state != KV_VAULT_DELETED) { /* recovered meanwhile */
        not_deleted(work);
        return;
    }
    kv_hex_encode(id, work->vault->id, KV_ID_LEN);
    for (size_t i = 0; i < task->n_objects; i++) {
        const struct kv_row *key = &task->objects[i].row;
        if (kv_str_has_prefix(key->key.name, id))
            kv_task_delete(task, &key->key, key->row_version);
    }
    row.updated_s = kv_now_s(task->service->clock);
    row.next_at_s = row.updated_s; /* from now on the engine goes on with it */
    work->view.vault.state = KV_VAULT_PURGING;
    kv_vault_work_put(work, &row);
    work->vault->state = KV_VAULT_PURGING; /* nobody writes into it any more */
    work->is_erasing = true;
    kv_task_commit(task, erased);
}

static void list_keys(struct kv_task *task)
{
    struct kv_list_query query = {
        .what = KV_LIST_ROWS, .kind = KV_KIND_VAULT_KEY, .limit = KV_STORE_LIST_MAX};
    kv_hex_encode(query.after_name, work_of(task)->vault->id, KV_ID_LEN);
    kv_task_list(task, &query, got_keys);
}

/* --- may it --------------------------------------------------------------------------
 */

static bool is_time(const struct kv_vault_work *work)
{
    return work->view.row->next_at_s <= kv_now_s(work->task.service->clock);
}

static void purge_row(struct kv_task *task)
{
    struct kv_vault_work *work = work_of(task);
    const struct kv_vault *stored = &work->view.vault;
    if (stored->state == KV_VAULT_PURGING) {
        work->vault->state = KV_VAULT_PURGING;
        forget_keys(task);
    } else if (stored->state != KV_VAULT_DELETED) {
        work->vault->state = stored->state; /* what is stored decides */
        not_deleted(work);
    } else if (work->is_due && !is_time(work)) {
        kv_vault_fail(work, KV_E_STATE, "vault.not-due", "the vault",
                      " is not to be purged yet");
    } else if (stored->is_purge_protected && !is_time(work)) {
        kv_vault_fail(work, KV_E_DENIED, "vault.purge-protected",
                      "Operation \"purge\" is not allowed: purge protection is enabled "
                      "for the vault",
                      "");
    } else {
        list_keys(task);
    }
}

static void start(struct kv_service *service, const char *name, bool is_due,
                  kv_vault_cb cb, void *arg)
{
    struct kv_vault_work *work = kv_vault_work_new(service, name, cb, arg);
    if (work == NULL)
        return;
    struct kv_vault *vault = work->vault;
    work->is_due = is_due;
    if (vault == NULL ||
        (vault->state != KV_VAULT_DELETED && vault->state != KV_VAULT_PURGING)) {
        work->vault = NULL;
        not_deleted(work);
    } else if (vault->is_busy) {
        kv_vault_fail(work, KV_E_BUSY, "vault.busy", "the vault",
                      " is being purged already");
    } else {
        work->is_purging = true;
        vault->is_busy = true;
        kv_vault_work_load(work, purge_row);
    }
}

void kv_vault_purge(struct kv_service *service, const char *name, kv_vault_cb cb,
                    void *arg)
{
    start(service, name, false, cb, arg);
}

/* --- when the time has come ----------------------------------------------------------
 */

struct due {
    kv_vault_due_cb cb;
    void *arg;
};

static void on_due(void *arg, int rc, const struct kv_vault_view *view,
                   const struct kv_err *err)
{
    struct due due = *(struct due *)arg;
    bool is_nothing = rc == KV_E_NOT_FOUND || rc == KV_E_STATE;
    (void)view;
    free(arg);
    due.cb(due.arg, is_nothing ? 0 : rc, is_nothing ? NULL : err);
}

int kv_vault_purge_due(struct kv_service *service, const char *name, kv_vault_due_cb cb,
                       void *arg)
{
    struct due *due = malloc(sizeof(*due));
    if (due == NULL)
        return KV_E_NOMEM;
    *due = (struct due){.cb = cb, .arg = arg};
    start(service, name, true, on_due, due);
    return 0;
}
