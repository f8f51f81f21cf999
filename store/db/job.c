/*
 * Requests on their way through a back end: what is common to all of them.
 *
 * Everything a caller may get wrong is refused here, before a job exists, so that
 * back ends only see well-formed requests and differ in storage alone. A job is
 * copied whole: the caller's memory is free again when the starting call returns.
 */
#include "store/db/job.h"

#include <stdlib.h>
#include <string.h>

#include "store/core/str.h"
#include "store/keyring/role.h"

bool kv_kind_has_versions(uint8_t kind)
{
    return kind == KV_KIND_KEY || kind == KV_KIND_SECRET || kind == KV_KIND_CERTIFICATE;
}

bool kv_id_is_zero(const uint8_t id[KV_ID_LEN])
{
    static const uint8_t zeros[KV_ID_LEN];
    return memcmp(id, zeros, KV_ID_LEN) == 0;
}

bool kv_job_change_stores(const struct kv_job_change *change)
{
    return change->kind == KV_MUTATION_PUT || change->kind == KV_MUTATION_RESTORE;
}

void kv_job_queue_push(struct kv_job_queue *queue, struct kv_job *job)
{
    job->next = NULL;
    if (queue->head == NULL)
        queue->head = job;
    else
        queue->tail->next = job;
    queue->tail = job;
}

struct kv_job *kv_job_queue_pop(struct kv_job_queue *queue)
{
    struct kv_job *job = queue->head;
    if (job != NULL) {
        queue->head = job->next;
        job->next = NULL;
    }
    return job;
}

static bool kind_is_known(uint8_t kind)
{
    return kind >= KV_KIND_KEY && kind <= KV_KIND_LAST;
}

static bool name_is_good(const char name[KV_NAME_MAX + 1], bool may_be_empty)
{
    size_t len = strnlen(name, KV_NAME_MAX + 1);
    if (len > KV_NAME_MAX || (len == 0 && !may_be_empty))
        return false;
    return kv_utf8_is_valid(name, len);
}

static bool key_is_good(const struct kv_row_key *key)
{
    return kind_is_known(key->kind) && name_is_good(key->name, false) &&
           (kv_kind_has_versions(key->kind) || kv_id_is_zero(key->version));
}

static bool query_is_good(const struct kv_list_query *query)
{
    if (query->limit < 1 || query->limit > KV_STORE_LIST_MAX)
        return false;
    switch (query->what) {
    case KV_LIST_CURRENT:
    case KV_LIST_ROWS:
    case KV_LIST_DELETED:
        return kind_is_known(query->kind) && name_is_good(query->after_name, true);
    case KV_LIST_VERSIONS:
        return kv_kind_has_versions(query->kind) && name_is_good(query->name, false);
    case KV_LIST_VERSION_ID:
        return kv_kind_has_versions(query->kind) &&
               !kv_id_is_zero(query->after_version);
    case KV_LIST_DUE:
        return true;
    case KV_LIST_VAULT:
        return !kv_id_is_zero(query->vault);
    }
    return false;
}

static bool body_is_good(const struct kv_row *row)
{
    return row->sealed_len <= KV_STORE_SEALED_MAX &&
           (row->sealed != NULL || row->sealed_len == 0);
}

static bool mutation_is_good(const struct kv_mutation *mutation)
{
    const struct kv_row *row = &mutation->row;
    if (!key_is_good(&row->key) || mutation->expect >= INT64_MAX)
        return false;
    switch (mutation->kind) {
    case KV_MUTATION_DELETE:
        return mutation->expect > 0;
    case KV_MUTATION_PURGE:
        return mutation->expect > 0 && kv_id_is_zero(row->key.version);
    case KV_MUTATION_PUT:
        return row->row_version == mutation->expect + 1 && body_is_good(row);
    case KV_MUTATION_RESTORE:
        return mutation->expect == 0 && row->row_version > 0 &&
               row->row_version < INT64_MAX && body_is_good(row);
    }
    return false;
}

static void job_free(struct kv_job *job)
{
    kv_job_reset(job);
    for (size_t i = 0; i < job->n_changes; i++)
        free((void *)job->changes[i].row.sealed);
    free(job->changes);
    free(job->path);
    free(job);
}

/* Make a job, or say why there is none: the store is closing, the request is bad. */
static int job_new(const struct kv_store_base *base, enum kv_job_kind kind,
                   bool is_good, void *arg, struct kv_job **out)
{
    if (!is_good)
        return KV_E_INVALID;
    if (base->is_closing)
        return KV_E_STATE;
    struct kv_job *job = calloc(1, sizeof(*job));
    if (job == NULL)
        return KV_E_NOMEM;
    job->kind = kind;
    job->arg = arg;
    *out = job;
    return 0;
}

static void submit(struct kv_store_base *base, struct kv_job *job)
{
    base->n_pending++;
    base->submit(base, job);
}

static int start_get(struct kv_store *store, const struct kv_row_key *key,
                     enum kv_job_kind kind, kv_store_rows_cb cb, void *arg)
{
    struct kv_store_base *base = (struct kv_store_base *)store;
    struct kv_job *job = NULL;
    bool is_good = key != NULL && cb != NULL && key_is_good(key);
    int rc = job_new(base, kind, is_good, arg, &job);
    if (rc != 0)
        return rc;
    job->cb.rows = cb;
    job->key = *key;
    kv_str_fold(job->key.name);
    submit(base, job);
    return 0;
}

int kv_base_get(struct kv_store *store, const struct kv_row_key *key,
                kv_store_rows_cb cb, void *arg)
{
    return start_get(store, key, KV_JOB_GET, cb, arg);
}

int kv_base_get_live(struct kv_store *store, const struct kv_row_key *key,
                     kv_store_rows_cb cb, void *arg)
{
    return start_get(store, key, KV_JOB_GET_LIVE, cb, arg);
}

int kv_base_list(struct kv_store *store, const struct kv_list_query *query,
                 kv_store_rows_cb cb, void *arg)
{
    struct kv_store_base *base = (struct kv_store_base *)store;
    struct kv_job *job = NULL;
    bool is_good = query != NULL && cb != NULL && query_is_good(query);
    int rc = job_new(base, KV_JOB_LIST, is_good, arg, &job);
    if (rc != 0)
        return rc;
    job->cb.rows = cb;
    job->query = *query;
    job->query.name[KV_NAME_MAX] = '\0';
    job->query.after_name[KV_NAME_MAX] = '\0';
    kv_str_fold(job->query.name);
    kv_str_fold(job->query.after_name);
    submit(base, job);
    return 0;
}

static int change_copy(struct kv_job_change *change, const struct kv_mutation *mutation)
{
    change->kind = mutation->kind;
    change->expect = mutation->expect;
    change->row = mutation->row;
    change->row.sealed = NULL;
    memcpy(change->folded, mutation->row.key.name, sizeof(change->folded));
    kv_str_fold(change->folded);
    if (!kv_job_change_stores(change) || mutation->row.sealed_len == 0) {
        change->row.sealed_len = 0;
        return 0;
    }
    uint8_t *sealed = malloc(mutation->row.sealed_len);
    if (sealed == NULL)
        return KV_E_NOMEM;
    memcpy(sealed, mutation->row.sealed, mutation->row.sealed_len);
    change->row.sealed = sealed;
    return 0;
}

static bool batch_is_good(const struct kv_mutation *mutations, size_t n_mutations)
{
    if (mutations == NULL || n_mutations < 1 || n_mutations > KV_STORE_BATCH_MAX)
        return false;
    for (size_t i = 0; i < n_mutations; i++) {
        if (!mutation_is_good(&mutations[i]))
            return false;
    }
    return true;
}

int kv_base_apply(struct kv_store *store, const uint8_t op_id[KV_ID_LEN],
                  const struct kv_mutation *mutations, size_t n_mutations,
                  kv_store_apply_cb cb, void *arg)
{
    struct kv_store_base *base = (struct kv_store_base *)store;
    struct kv_job *job = NULL;
    bool is_good = op_id != NULL && cb != NULL && batch_is_good(mutations, n_mutations);
    int rc = 0;
    KV_TRY(job_new(base, KV_JOB_APPLY, is_good, arg, &job));
    job->cb.apply = cb;
    memcpy(job->op_id, op_id, KV_ID_LEN);
    job->changes = calloc(n_mutations, sizeof(*job->changes));
    if (job->changes == NULL)
        KV_TRY(KV_E_NOMEM);
    job->n_changes = n_mutations;
    for (size_t i = 0; i < n_mutations; i++)
        KV_TRY(change_copy(&job->changes[i], &mutations[i]));
    submit(base, job);
    job = NULL;
out:
    if (job != NULL)
        job_free(job);
    return rc;
}

int kv_base_op_status(struct kv_store *store, const uint8_t op_id[KV_ID_LEN],
                      kv_store_apply_cb cb, void *arg)
{
    struct kv_store_base *base = (struct kv_store_base *)store;
    struct kv_job *job = NULL;
    int rc = job_new(base, KV_JOB_OP_STATUS, op_id != NULL && cb != NULL, arg, &job);
    if (rc != 0)
        return rc;
    job->cb.apply = cb;
    memcpy(job->op_id, op_id, KV_ID_LEN);
    submit(base, job);
    return 0;
}

int kv_base_stats(struct kv_store *store, kv_store_stats_cb cb, void *arg)
{
    struct kv_store_base *base = (struct kv_store_base *)store;
    struct kv_job *job = NULL;
    int rc = job_new(base, KV_JOB_STATS, cb != NULL, arg, &job);
    if (rc != 0)
        return rc;
    job->cb.stats = cb;
    submit(base, job);
    return 0;
}

int kv_base_check(struct kv_store *store, kv_store_apply_cb cb, void *arg)
{
    struct kv_store_base *base = (struct kv_store_base *)store;
    struct kv_job *job = NULL;
    int rc = job_new(base, KV_JOB_CHECK, cb != NULL, arg, &job);
    if (rc != 0)
        return rc;
    job->cb.apply = cb;
    submit(base, job);
    return 0;
}

int kv_base_snapshot(struct kv_store *store, const char *path, kv_store_apply_cb cb,
                     void *arg)
{
    struct kv_store_base *base = (struct kv_store_base *)store;
    struct kv_job *job = NULL;
    char *copy = path != NULL ? strdup(path) : NULL;
    int rc = job_new(base, KV_JOB_SNAPSHOT,
                     path != NULL && path[0] == '/' && cb != NULL, arg, &job);
    if (rc == 0 && copy == NULL)
        rc = KV_E_NOMEM;
    if (rc != 0) {
        free(job);
        free(copy);
        return rc;
    }
    job->cb.apply = cb;
    job->path = copy;
    submit(base, job);
    return 0;
}

int kv_job_add_row(struct kv_job *job, const struct kv_row *row)
{
    size_t cap = job->kind == KV_JOB_LIST ? job->query.limit + 1 : 1;
    KV_ASSERT(job->n_rows < cap);
    if (job->rows == NULL)
        job->rows = calloc(cap, sizeof(*job->rows));
    uint8_t *sealed = NULL;
    if (job->rows != NULL && row->sealed_len > 0)
        sealed = malloc(row->sealed_len);
    if (job->rows == NULL || (row->sealed_len > 0 && sealed == NULL))
        return kv_err_set(&job->err, KV_E_NOMEM, "store.no-memory",
                          "no memory for a result of %zu rows", job->n_rows + 1);
    struct kv_row *copy = &job->rows[job->n_rows++];
    *copy = *row;
    if (sealed != NULL)
        memcpy(sealed, row->sealed, row->sealed_len);
    copy->sealed = sealed;
    return 0;
}

static void rows_drop_last(struct kv_job *job)
{
    job->n_rows--;
    free((void *)job->rows[job->n_rows].sealed);
}

void kv_job_cut(struct kv_job *job)
{
    if (job->n_rows > job->query.limit) {
        rows_drop_last(job);
        job->has_more = true;
    }
}

void kv_job_reset(struct kv_job *job)
{
    while (job->n_rows > 0)
        rows_drop_last(job);
    free(job->rows);
    job->rows = NULL;
    job->has_more = false;
    job->failed_index = 0;
    job->rc = 0;
    job->err = KV_ERR_INIT;
}

int kv_job_not_found(struct kv_job *job)
{
    if (job->kind == KV_JOB_OP_STATUS)
        job->rc = kv_err_set(&job->err, KV_E_NOT_FOUND, "store.no-operation",
                             "the operation was not committed in the last 24 hours");
    else if (job->kind == KV_JOB_LIST)
        job->rc = kv_err_set(&job->err, KV_E_NOT_FOUND, "store.no-page",
                             "the version of %s \"%s\" that the list would go on "
                             "from is gone",
                             kv_kind_name(job->query.kind), job->query.name);
    else
        job->rc = kv_err_set(&job->err, KV_E_NOT_FOUND, "store.no-row",
                             "there is no %s \"%s\"", kv_kind_name(job->key.kind),
                             job->key.name);
    return job->rc;
}

int kv_job_conflict(struct kv_job *job, size_t index)
{
    const struct kv_job_change *change = &job->changes[index];
    const char *kind = kv_kind_name(change->row.key.kind);
    job->failed_index = index;
    if (change->expect == 0)
        job->rc = kv_err_set(&job->err, KV_E_CONFLICT, "store.conflict",
                             "%s \"%s\" exists already", kind, change->row.key.name);
    else
        job->rc =
            kv_err_set(&job->err, KV_E_CONFLICT, "store.conflict",
                       "%s \"%s\" has changed meanwhile", kind, change->row.key.name);
    kv_err_hint(&job->err, "read it again and repeat the change");
    return job->rc;
}

void kv_job_finish(struct kv_store_base *base, struct kv_job *job)
{
    static const struct kv_row no_row;
    const struct kv_row *rows = job->rows != NULL ? job->rows : &no_row;
    switch (job->kind) {
    case KV_JOB_GET:
    case KV_JOB_GET_LIVE:
    case KV_JOB_LIST:
        if (job->rc != 0)
            job->cb.rows(job->arg, job->rc, NULL, 0, false, &job->err);
        else
            job->cb.rows(job->arg, 0, rows, job->n_rows, job->has_more, &job->err);
        break;
    case KV_JOB_APPLY:
    case KV_JOB_OP_STATUS:
    case KV_JOB_CHECK:
    case KV_JOB_SNAPSHOT:
        job->cb.apply(job->arg, job->rc, job->failed_index, &job->err);
        break;
    case KV_JOB_STATS:
        job->cb.stats(job->arg, job->rc, &job->stats, &job->err);
        break;
    }
    job_free(job);
    base->n_pending--;
}
