/*
 * The store in memory: jobs run in order from an idle handle. It is written for
 * obviousness, because tests compare SQLite against it. memory_apply.c makes the
 * changes, this file reads.
 */
#include "store/db/memory.h"

#include <stdlib.h>
#include <string.h>

#include "store/core/clock.h"
#include "store/db/memory_rows.h"

static int run_apply(struct memory *memory, struct kv_job *job)
{
    bool must_fail = memory->fail_in == 1;
    if (memory->fail_in > 0)
        memory->fail_in--;
    if (!must_fail)
        return kv_memory_batch_apply(memory, job);
    int rc = memory->fail_takes_effect ? kv_memory_batch_apply(memory, job) : 0;
    if (rc != 0)
        return rc;
    return kv_err_set(&job->err, memory->fail_code, "store.injected",
                      "a test asked this change to fail (%s)",
                      kv_code_text(memory->fail_code));
}

/* The version that `head` names as current, or NULL. */
static struct entry *current_of(const struct memory *memory, const struct entry *head)
{
    if (kv_id_is_zero(head->row.current))
        return NULL;
    struct kv_row_key key = head->row.key;
    memcpy(key.version, head->row.current, KV_ID_LEN);
    return kv_memory_find(memory, &key, head->folded);
}

/* The head of a name, or NULL when there is none or it is deleted. */
static struct entry *live_head(const struct memory *memory,
                               const struct kv_row_key *key, const char *folded)
{
    struct kv_row_key head = *key;
    memset(head.version, 0, KV_ID_LEN);
    struct entry *entry = kv_memory_find(memory, &head, folded);
    bool is_live = entry != NULL && (entry->row.flags & KV_ROW_DELETED) == 0;
    return is_live ? entry : NULL;
}

static const struct entry *find_live(const struct memory *memory,
                                     const struct kv_row_key *key)
{
    const struct entry *head = live_head(memory, key, key->name);
    if (head == NULL || kv_id_is_zero(key->version))
        return head == NULL ? NULL : current_of(memory, head);
    return kv_memory_find(memory, key, key->name);
}

static int run_get(const struct memory *memory, struct kv_job *job)
{
    const struct entry *entry = job->kind == KV_JOB_GET_LIVE
                                    ? find_live(memory, &job->key)
                                    : kv_memory_find(memory, &job->key, job->key.name);
    if (entry == NULL)
        return kv_job_not_found(job);
    return kv_job_add_row(job, &entry->row);
}

static int list_heads(const struct memory *memory, struct kv_job *job)
{
    const struct kv_list_query *query = &job->query;
    struct kv_row_key from = {.kind = query->kind};
    memcpy(from.vault, query->vault, KV_ID_LEN);
    size_t i = kv_memory_lower_bound(memory, &from, query->after_name);
    for (; i < memory->n_entries && job->n_rows <= query->limit; i++) {
        const struct entry *entry = memory->entry[i];
        if (memcmp(entry->row.key.vault, query->vault, KV_ID_LEN) != 0 ||
            entry->row.key.kind != query->kind)
            break;
        if (entry->seq != 0 || strcmp(entry->folded, query->after_name) == 0)
            continue;
        bool is_deleted = (entry->row.flags & KV_ROW_DELETED) != 0;
        if (query->what != KV_LIST_ROWS &&
            is_deleted != (query->what == KV_LIST_DELETED))
            continue;
        if (query->what == KV_LIST_CURRENT) {
            const struct entry *current = current_of(memory, entry);
            entry = current != NULL ? current : entry;
        }
        int rc = kv_job_add_row(job, &entry->row);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int by_creation(const void *a, const void *b)
{
    const struct entry *left = *(const struct entry *const *)a;
    const struct entry *right = *(const struct entry *const *)b;
    if (left->row.created_s != right->row.created_s)
        return left->row.created_s < right->row.created_s ? -1 : 1;
    if (left->seq != right->seq)
        return left->seq < right->seq ? -1 : 1;
    return memcmp(left->row.key.version, right->row.key.version, KV_ID_LEN);
}

static int by_id(const void *a, const void *b)
{
    const struct entry *left = *(const struct entry *const *)a;
    const struct entry *right = *(const struct entry *const *)b;
    return left->id < right->id ? -1 : left->id > right->id;
}

static int by_due(const void *a, const void *b)
{
    const struct entry *left = *(const struct entry *const *)a;
    const struct entry *right = *(const struct entry *const *)b;
    if (left->row.next_at_s != right->row.next_at_s)
        return left->row.next_at_s < right->row.next_at_s ? -1 : 1;
    return by_id(a, b);
}

static int (*order_of(enum kv_list_what what))(const void *, const void *)
{
    if (what == KV_LIST_DUE)
        return by_due;
    return what == KV_LIST_VERSION_ID ? by_id : by_creation;
}

static bool is_wanted(const struct memory *memory, const struct entry *entry,
                      const struct kv_list_query *query)
{
    if (query->what == KV_LIST_VAULT)
        return memcmp(entry->row.key.vault, query->vault, KV_ID_LEN) == 0;
    if (query->what == KV_LIST_DUE)
        return entry->row.next_at_s != KV_TIME_NONE &&
               entry->row.next_at_s <= query->due_s;
    if (entry->seq == 0)
        return false;
    bool is_asked =
        query->what == KV_LIST_VERSION_ID
            ? entry->row.key.kind == query->kind &&
                  memcmp(entry->row.key.version, query->after_version, KV_ID_LEN) == 0
            : kv_memory_is_same_name(entry, query->vault, query->kind, query->name);
    return is_asked && live_head(memory, &entry->row.key, entry->folded) != NULL;
}

/* Where the page starts: behind the version that the last one ended with; of what is
 * due, behind so many. */
static int page_start(struct kv_job *job, const struct entry **found, size_t n,
                      size_t *start)
{
    const uint8_t *after = job->query.after_version;
    *start = job->query.what == KV_LIST_DUE ? job->query.skip : 0;
    if (job->query.what != KV_LIST_VERSIONS || kv_id_is_zero(after))
        return 0;
    for (size_t i = 0; i < n; i++) {
        if (memcmp(found[i]->row.key.version, after, KV_ID_LEN) == 0) {
            *start = i + 1;
            return 0;
        }
    }
    return kv_job_not_found(job);
}

/* Lists whose order is not the array's: gather, sort, cut. */
static int list_sorted(const struct memory *memory, struct kv_job *job)
{
    const struct kv_list_query *query = &job->query;
    const struct entry **found = calloc(memory->n_entries + 1, SLOT);
    if (found == NULL)
        return kv_err_set(&job->err, KV_E_NOMEM, "store.no-memory",
                          "no memory for a list");
    size_t n = 0;
    size_t start = 0;
    for (size_t i = 0; i < memory->n_entries; i++) {
        if (is_wanted(memory, memory->entry[i], query))
            found[n++] = memory->entry[i];
    }
    qsort(found, n, SLOT, order_of(query->what));
    int rc = page_start(job, found, n, &start);
    for (size_t i = start; rc == 0 && i < n && job->n_rows <= query->limit; i++)
        rc = kv_job_add_row(job, &found[i]->row);
    free(found);
    return rc;
}

static int run_list(const struct memory *memory, struct kv_job *job)
{
    enum kv_list_what what = job->query.what;
    int rc = what == KV_LIST_CURRENT || what == KV_LIST_ROWS || what == KV_LIST_DELETED
                 ? list_heads(memory, job)
                 : list_sorted(memory, job);
    if (rc == 0)
        kv_job_cut(job);
    return rc;
}

static void run_stats(const struct memory *memory, struct kv_job *job)
{
    job->stats = (struct kv_store_stats){
        .n_rows = memory->n_entries,
        .n_commits = memory->n_commits,
        .n_mutations = memory->n_mutations,
        .schema = KV_STORE_SCHEMA,
    };
}

static void run(struct memory *memory, struct kv_job *job)
{
    switch (job->kind) {
    case KV_JOB_GET:
    case KV_JOB_GET_LIVE:
        job->rc = run_get(memory, job);
        break;
    case KV_JOB_LIST:
        job->rc = run_list(memory, job);
        break;
    case KV_JOB_APPLY:
        job->rc = run_apply(memory, job);
        break;
    case KV_JOB_OP_STATUS:
        if (!kv_memory_op_is_known(memory, job->op_id))
            job->rc = kv_job_not_found(job);
        break;
    case KV_JOB_STATS:
        run_stats(memory, job);
        break;
    case KV_JOB_SNAPSHOT:
        job->rc = kv_err_set(&job->err, KV_E_UNSUPPORTED, "store.no-snapshot",
                             "a store in memory has no file to copy");
        break;
    case KV_JOB_CHECK:
        break;
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct memory *memory = handle->data;
    kv_store_closed_cb cb = memory->closed_cb;
    void *arg = memory->closed_arg;
    for (size_t i = 0; i < memory->n_entries; i++)
        kv_memory_entry_free(memory->entry[i]);
    free(memory->entry);
    free(memory->op);
    free(memory);
    if (cb != NULL)
        cb(arg);
}

static void on_idle(uv_idle_t *idle)
{
    struct memory *memory = idle->data;
    struct kv_job_queue batch = memory->queue;
    memory->queue.head = NULL;
    struct kv_job *job = NULL;
    while ((job = kv_job_queue_pop(&batch)) != NULL) {
        run(memory, job);
        kv_job_finish(&memory->base, job);
    }
    if (memory->queue.head != NULL)
        return;
    (void)uv_idle_stop(idle); /* cannot fail */
    if (memory->base.is_closing)
        uv_close((uv_handle_t *)idle, on_closed);
}

static void wake(struct memory *memory)
{
    (void)uv_idle_start(&memory->idle, on_idle); /* fails only without a callback */
}

static void memory_submit(struct kv_store_base *base, struct kv_job *job)
{
    struct memory *memory = (struct memory *)base;
    kv_job_queue_push(&memory->queue, job);
    wake(memory);
}

static void memory_close(struct kv_store *store, kv_store_closed_cb cb, void *arg)
{
    struct memory *memory = (struct memory *)store;
    KV_ASSERT(!memory->base.is_closing);
    memory->base.is_closing = true;
    memory->closed_cb = cb;
    memory->closed_arg = arg;
    wake(memory);
}

static const struct kv_store_ops memory_ops = {
    .name = "memory",
    .close = memory_close,
    .get = kv_base_get,
    .get_live = kv_base_get_live,
    .list = kv_base_list,
    .apply = kv_base_apply,
    .op_status = kv_base_op_status,
    .stats = kv_base_stats,
    .check = kv_base_check,
    .snapshot = kv_base_snapshot,
};

int kv_memory_open(struct kv_store **out, const struct kv_store_config *config,
                   struct kv_err *err)
{
    struct memory *memory = calloc(1, sizeof(*memory));
    if (memory == NULL)
        return kv_err_set(err, KV_E_NOMEM, "store.no-memory", "no memory for a store");
    int failed = uv_idle_init(config->loop, &memory->idle);
    if (failed != 0) {
        free(memory);
        return kv_err_errno(err, -failed, "store.no-handle", "start the store");
    }
    memory->base.store.ops = &memory_ops;
    memory->base.submit = memory_submit;
    memory->idle.data = memory;
    memory->clock = config->clock != NULL ? config->clock : kv_clock_system();
    *out = &memory->base.store;
    return 0;
}

void kv_memory_fail_apply(struct kv_store *store, unsigned n, int code,
                          bool takes_effect)
{
    struct memory *memory = (struct memory *)store;
    memory->fail_in = n;
    memory->fail_code = code;
    memory->fail_takes_effect = takes_effect;
}
