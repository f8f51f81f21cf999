/*
 * Deleting, recovering and purging a name with all that hangs on it.
 *
 * The head of a deleted name says when it went (its update time) and when it will be
 * purged (next_at); a certificate's key and secret have no date of their own, so that
 * nothing purges them before it.
 */
#include "lifecycle/service/name.h"

#include <stdlib.h>
#include <string.h>

#include "lifecycle/service/rotation.h"
#include "store/core/str.h"

#define DAY_S INT64_C(86400)

/* --- reading -----------------------------------------------------------------------
 */

static const uint8_t kind_of_part[KV_NAME_PARTS] = {
    [KV_NAME_KEY] = KV_KIND_KEY,           [KV_NAME_SECRET] = KV_KIND_SECRET,
    [KV_NAME_POLICY] = KV_KIND_POLICY,     [KV_NAME_OPERATION] = KV_KIND_OPERATION,
    [KV_NAME_ROTATION] = KV_KIND_ROTATION,
};

/* Whether names of this kind have this part. */
static bool has_part(uint8_t kind, size_t part)
{
    if (part == KV_NAME_HEAD)
        return true;
    return kind == (part == KV_NAME_ROTATION ? KV_KIND_KEY : KV_KIND_CERTIFICATE);
}

static void part_read(struct kv_task *task);

static void read_part(struct kv_task *task)
{
    struct kv_name *name = task->name;
    while (name->at < KV_NAME_PARTS && !has_part(name->kind, name->at))
        name->at++;
    if (name->at == KV_NAME_PARTS) {
        task->name = NULL;
        name->next(task);
        return;
    }
    uint8_t kind = name->at == KV_NAME_HEAD ? name->kind : kind_of_part[name->at];
    if (kv_kind_has_versions(kind))
        kv_task_find_head(task, kind, name->text, part_read);
    else
        kv_task_find(task, kind, name->text, NULL, part_read);
}

static void part_read(struct kv_task *task)
{
    struct kv_name *name = task->name;
    bool is_own = name->at == KV_NAME_HEAD || name->at >= KV_NAME_POLICY ||
                  (task->object.row.flags & KV_ROW_MANAGED) != 0;
    if (is_own)
        name->part[name->at] = kv_task_take_object(task);
    name->at++;
    read_part(task);
}

void kv_name_read(struct kv_task *task, struct kv_name *name, uint8_t kind,
                  const char *text, kv_task_fn next)
{
    name->kind = kind;
    name->at = 0;
    name->next = next;
    task->name = name;
    int rc = kv_str_copy(name->text, sizeof(name->text), text);
    if (rc != 0)
        kv_task_fail(task, rc, NULL);
    else
        read_part(task);
}

void kv_name_free(struct kv_name *name)
{
    for (size_t i = 0; i < KV_NAME_PARTS; i++)
        kv_object_free(&name->part[i]);
}

static bool is_there(const struct kv_object *part)
{
    return part->row.row_version != 0;
}

static bool has_flag(const struct kv_name *name, uint32_t flag)
{
    return (name->part[KV_NAME_HEAD].row.flags & flag) != 0;
}

bool kv_name_is_live(const struct kv_name *name)
{
    return is_there(&name->part[KV_NAME_HEAD]) && !has_flag(name, KV_ROW_DELETED);
}

bool kv_name_is_deleted(const struct kv_name *name)
{
    return is_there(&name->part[KV_NAME_HEAD]) && has_flag(name, KV_ROW_DELETED);
}

int64_t kv_name_deleted_s(const struct kv_row *head)
{
    return head->updated_s;
}

int64_t kv_name_purge_s(const struct kv_vault *vault, const struct kv_row *head)
{
    return head->updated_s + vault->retention_days * DAY_S;
}

/* --- changing ----------------------------------------------------------------------
 */

json_t *kv_operation_end_doc(const json_t *doc, const char *status)
{
    static const char *const work[] = {"key",   "keyTerm",    "spki",
                                       "state", "effectKind", "effect"};
    json_t *copy = json_copy((json_t *)(uintptr_t)doc); /* which does not change it */
    for (size_t i = 0; i < sizeof(work) / sizeof(work[0]); i++)
        (void)json_object_del(copy, work[i]); /* not all are there */
    if (json_object_set_new(copy, "status", json_string(status)) == 0)
        return copy;
    json_decref(copy);
    return NULL;
}

/* An issuer that is at work finds its operation changed and stops. */
static void cancel(struct kv_task *task, const struct kv_object *operation)
{
    const char *status = json_string_value(json_object_get(operation->doc, "status"));
    if (!is_there(operation) || status == NULL || strcmp(status, "inProgress") != 0)
        return;
    struct kv_row row = operation->row;
    row.updated_s = kv_now_s(task->service->clock);
    row.next_at_s = KV_TIME_NONE;
    kv_task_put_doc(task, &row, row.row_version,
                    kv_operation_end_doc(operation->doc, "cancelled"));
}

void kv_name_delete(struct kv_task *task, struct kv_name *name)
{
    int64_t now_s = kv_now_s(task->service->clock);
    for (size_t i = KV_NAME_HEAD; i <= KV_NAME_SECRET; i++) {
        struct kv_row *head = &name->part[i].row;
        if (!is_there(&name->part[i]))
            continue;
        head->flags |= KV_ROW_DELETED;
        head->updated_s = now_s;
        head->next_at_s =
            i == KV_NAME_HEAD ? kv_name_purge_s(task->vault, head) : KV_TIME_NONE;
        kv_task_put_row(task, head, head->row_version);
    }
    cancel(task, &name->part[KV_NAME_OPERATION]);
}

void kv_name_recover(struct kv_task *task, const struct kv_name *name)
{
    for (size_t i = KV_NAME_HEAD; i <= KV_NAME_SECRET; i++) {
        if (!is_there(&name->part[i]))
            continue;
        struct kv_row head = name->part[i].row;
        head.flags &= ~(uint32_t)KV_ROW_DELETED;
        head.updated_s = kv_now_s(task->service->clock);
        head.next_at_s = KV_TIME_NONE;
        kv_task_put_row(task, &head, head.row_version);
    }
    kv_rotation_touch(task, &name->part[KV_NAME_ROTATION]);
}

void kv_name_purge(struct kv_task *task, const struct kv_name *name)
{
    for (size_t i = 0; i < KV_NAME_PARTS; i++) {
        const struct kv_row *row = &name->part[i].row;
        if (is_there(&name->part[i]))
            kv_task_purge(task, &row->key, row->row_version);
    }
}

/* --- when the time has come --------------------------------------------------------
 */

struct due {
    struct kv_task task; /* first member */
    struct kv_name name;
    kv_name_purge_cb cb;
    void *arg;
};

static void due_end(struct kv_task *task, int rc, const struct kv_err *err)
{
    struct due *due = (struct due *)task;
    kv_name_purge_cb cb = due->cb;
    void *arg = due->arg;
    struct kv_err copy = err != NULL ? *err : KV_ERR_INIT;
    kv_task_fini(task);
    kv_name_free(&due->name);
    free(due);
    cb(arg, rc, rc != 0 ? &copy : NULL);
}

static void due_purged(struct kv_task *task)
{
    const struct due *due = (const struct due *)task;
    kv_log(task->service->log, KV_LOG_INFO, "object.purged",
           KV_S("vault", task->vault->name), KV_S("kind", kv_kind_name(due->name.kind)),
           KV_S("name", due->name.part[KV_NAME_HEAD].row.key.name));
    due_end(task, 0, NULL);
}

static void due_read(struct kv_task *task)
{
    const struct due *due = (const struct due *)task;
    const struct kv_row *head = &due->name.part[KV_NAME_HEAD].row;
    if (!kv_name_is_deleted(&due->name) || head->next_at_s == KV_TIME_NONE ||
        head->next_at_s > kv_now_s(task->service->clock)) {
        due_end(task, 0, NULL);
        return;
    }
    kv_name_purge(task, &due->name);
    kv_task_commit(task, due_purged);
}

int kv_name_purge_due(struct kv_service *service, struct kv_vault *vault,
                      const struct kv_row_key *head, kv_name_purge_cb cb, void *arg)
{
    struct due *due = calloc(1, sizeof(*due));
    if (due == NULL)
        return KV_E_NOMEM;
    kv_task_init(&due->task, service, vault, due_end);
    due->cb = cb;
    due->arg = arg;
    kv_name_read(&due->task, &due->name, head->kind, head->name, due_read);
    return 0;
}
