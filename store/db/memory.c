/*
 * The store in memory: one sorted array of rows, jobs run in order from an idle
 * handle. It is written for obviousness, because tests compare SQLite against it.
 *
 * Rows are sorted by vault, kind, folded name and version, so the head (version
 * zero) stands before the versions of its name. A batch is applied change by change
 * with an undo list; a conflict undoes in reverse order.
 */
#include "store/db/memory.h"

#include <stdlib.h>
#include <string.h>

#include "store/core/clock.h"
#include "store/db/job.h"

#define OP_KEEP_S 86400
#define SLOT sizeof(void *) /* one place in an array of entries */

struct entry {
    char folded[KV_NAME_MAX + 1];
    uint64_t seq; /* orders versions of one name that were made in the same second */
    uint64_t id;  /* orders rows that are due at the same time */
    struct kv_row row;
};

struct op {
    uint8_t op_id[KV_ID_LEN];
    int64_t at_s;
};

struct memory {
    struct kv_store_base base;
    uv_idle_t idle;
    const struct kv_clock *clock;
    struct kv_job_queue queue;
    struct entry **entry;
    size_t n_entries;
    size_t cap_entries;
    struct op *op;
    size_t n_ops;
    size_t cap_ops;
    uint64_t next_id;
    uint64_t n_commits;
    uint64_t n_mutations;
    unsigned fail_in; /* 0 = never */
    int fail_code;
    bool fail_takes_effect;
    kv_store_closed_cb closed_cb;
    void *closed_arg;
};

/* What a change replaced: `before` NULL = the row was not there. */
struct undo {
    struct entry *before;
    struct entry *after;
};

static void entry_free(struct entry *entry)
{
    if (entry != NULL)
        free((void *)entry->row.sealed);
    free(entry);
}

static int compare(const struct entry *entry, const struct kv_row_key *key,
                   const char *folded)
{
    int order = memcmp(entry->row.key.vault, key->vault, KV_ID_LEN);
    if (order == 0)
        order = (int)entry->row.key.kind - (int)key->kind;
    if (order == 0)
        order = strcmp(entry->folded, folded);
    if (order == 0)
        order = memcmp(entry->row.key.version, key->version, KV_ID_LEN);
    return order;
}

/* Index of the first entry that is not before the key. */
static size_t lower_bound(const struct memory *memory, const struct kv_row_key *key,
                          const char *folded)
{
    size_t low = 0;
    size_t high = memory->n_entries;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (compare(memory->entry[mid], key, folded) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct entry *find(const struct memory *memory, const struct kv_row_key *key,
                          const char *folded)
{
    size_t at = lower_bound(memory, key, folded);
    if (at < memory->n_entries && compare(memory->entry[at], key, folded) == 0)
        return memory->entry[at];
    return NULL;
}

static void remove_entry(struct memory *memory, const struct entry *entry)
{
    size_t at = lower_bound(memory, &entry->row.key, entry->folded);
    KV_ASSERT(at < memory->n_entries && memory->entry[at] == entry);
    memory->n_entries--;
    memmove(&memory->entry[at], &memory->entry[at + 1],
            (memory->n_entries - at) * SLOT);
}

static int reserve(struct memory *memory, size_t n_more)
{
    size_t need = memory->n_entries + n_more;
    if (need <= memory->cap_entries)
        return 0;
    size_t cap = need * 2;
    struct entry **entry = realloc(memory->entry, cap * SLOT);
    if (entry == NULL)
        return KV_E_NOMEM;
    memory->entry = entry;
    memory->cap_entries = cap;
    return 0;
}

/* Room must have been reserved. */
static void insert_entry(struct memory *memory, struct entry *entry)
{
    size_t at = lower_bound(memory, &entry->row.key, entry->folded);
    memmove(&memory->entry[at + 1], &memory->entry[at],
            (memory->n_entries - at) * SLOT);
    memory->entry[at] = entry;
    memory->n_entries++;
}

static bool is_same_name(const struct entry *entry, const uint8_t vault[KV_ID_LEN],
                         uint8_t kind, const char *folded)
{
    return memcmp(entry->row.key.vault, vault, KV_ID_LEN) == 0 &&
           entry->row.key.kind == kind && strcmp(entry->folded, folded) == 0;
}

/* Give a new entry its place among its siblings: spelling and sequence. */
static void settle(struct memory *memory, struct entry *fresh)
{
    struct kv_row_key head = fresh->row.key;
    memset(head.version, 0, KV_ID_LEN);
    bool is_version = !kv_id_is_zero(fresh->row.key.version);
    fresh->id = ++memory->next_id;
    fresh->seq = is_version ? 1 : 0;
    for (size_t i = lower_bound(memory, &head, fresh->folded); i < memory->n_entries;
         i++) {
        const struct entry *other = memory->entry[i];
        if (!is_same_name(other, head.vault, head.kind, fresh->folded))
            break;
        memcpy(fresh->row.key.name, other->row.key.name, KV_NAME_MAX + 1);
        if (is_version && other->seq >= fresh->seq &&
            other->row.created_s == fresh->row.created_s)
            fresh->seq = other->seq + 1;
    }
}

static struct entry *entry_new(const struct kv_job_change *change)
{
    struct entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return NULL;
    memcpy(entry->folded, change->folded, sizeof(entry->folded));
    entry->row = change->row;
    entry->row.sealed = NULL;
    if (change->row.sealed_len > 0) {
        uint8_t *sealed = malloc(change->row.sealed_len);
        if (sealed == NULL) {
            free(entry);
            return NULL;
        }
        memcpy(sealed, change->row.sealed, change->row.sealed_len);
        entry->row.sealed = sealed;
    }
    return entry;
}

static int change_apply(struct memory *memory, struct kv_job *job, size_t index,
                        struct undo *undo)
{
    const struct kv_job_change *change = &job->changes[index];
    struct entry *before = find(memory, &change->row.key, change->folded);
    uint64_t there = before != NULL ? before->row.row_version : 0;
    if (there != change->expect)
        return kv_job_conflict(job, index);
    struct entry *after = NULL;
    if (change->kind == KV_MUTATION_PUT) {
        after = entry_new(change);
        if (after == NULL)
            return kv_err_set(&job->err, KV_E_NOMEM, "store.no-memory",
                              "no memory for a row");
    }
    if (after != NULL && before != NULL) {
        memcpy(after->row.key.name, before->row.key.name, KV_NAME_MAX + 1);
        after->seq = before->seq;
        after->id = before->id;
    } else if (after != NULL) {
        settle(memory, after);
    }
    if (before != NULL)
        remove_entry(memory, before);
    if (after != NULL)
        insert_entry(memory, after);
    *undo = (struct undo){.before = before, .after = after};
    return 0;
}

static void change_undo(struct memory *memory, const struct undo *undo)
{
    if (undo->after != NULL) {
        remove_entry(memory, undo->after);
        entry_free(undo->after);
    }
    if (undo->before != NULL)
        insert_entry(memory, undo->before);
}

static bool op_is_known(const struct memory *memory, const uint8_t op_id[KV_ID_LEN])
{
    int64_t oldest_s = kv_now_s(memory->clock) - OP_KEEP_S;
    for (size_t i = 0; i < memory->n_ops; i++) {
        if (memory->op[i].at_s >= oldest_s &&
            memcmp(memory->op[i].op_id, op_id, KV_ID_LEN) == 0)
            return true;
    }
    return false;
}

/* Make room for one more operation, forgetting the old ones first. */
static int op_reserve(struct memory *memory)
{
    if (memory->n_ops < memory->cap_ops)
        return 0;
    int64_t oldest_s = kv_now_s(memory->clock) - OP_KEEP_S;
    size_t n = 0;
    for (size_t i = 0; i < memory->n_ops; i++) {
        if (memory->op[i].at_s >= oldest_s)
            memory->op[n++] = memory->op[i];
    }
    memory->n_ops = n;
    size_t cap = (n + 8) * 2;
    struct op *op = realloc(memory->op, cap * sizeof(*op));
    if (op == NULL)
        return KV_E_NOMEM;
    memory->op = op;
    memory->cap_ops = cap;
    return 0;
}

static int batch_apply(struct memory *memory, struct kv_job *job)
{
    struct undo undo[KV_STORE_BATCH_MAX] = {{NULL, NULL}};
    size_t n_done = 0;
    int rc = 0;
    if (op_is_known(memory, job->op_id))
        return 0;
    if (op_reserve(memory) != 0 || reserve(memory, job->n_changes) != 0)
        return kv_err_set(&job->err, KV_E_NOMEM, "store.no-memory",
                          "no memory for %zu rows", job->n_changes);
    while (rc == 0 && n_done < job->n_changes) {
        rc = change_apply(memory, job, n_done, &undo[n_done]);
        if (rc == 0)
            n_done++;
    }
    if (rc != 0) {
        while (n_done > 0)
            change_undo(memory, &undo[--n_done]);
        return rc;
    }
    for (size_t i = 0; i < n_done; i++)
        entry_free(undo[i].before);
    struct op *op = &memory->op[memory->n_ops++];
    memcpy(op->op_id, job->op_id, KV_ID_LEN);
    op->at_s = kv_now_s(memory->clock);
    memory->n_commits++;
    memory->n_mutations += n_done;
    return 0;
}

static int run_apply(struct memory *memory, struct kv_job *job)
{
    bool must_fail = memory->fail_in == 1;
    if (memory->fail_in > 0)
        memory->fail_in--;
    if (!must_fail)
        return batch_apply(memory, job);
    int rc = memory->fail_takes_effect ? batch_apply(memory, job) : 0;
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
    return find(memory, &key, head->folded);
}

static int run_get(const struct memory *memory, struct kv_job *job)
{
    struct kv_row_key key = job->key;
    if (job->kind == KV_JOB_GET_CURRENT)
        memset(key.version, 0, KV_ID_LEN);
    const struct entry *entry = find(memory, &key, key.name);
    if (job->kind == KV_JOB_GET_CURRENT && entry != NULL)
        entry = (entry->row.flags & KV_ROW_DELETED) ? NULL : current_of(memory, entry);
    if (entry == NULL)
        return kv_job_not_found(job);
    return kv_job_add_row(job, &entry->row);
}

static int list_heads(const struct memory *memory, struct kv_job *job)
{
    const struct kv_list_query *query = &job->query;
    struct kv_row_key from = {.kind = query->kind};
    memcpy(from.vault, query->vault, KV_ID_LEN);
    size_t i = lower_bound(memory, &from, query->after_name);
    for (; i < memory->n_entries && job->n_rows <= query->limit; i++) {
        const struct entry *entry = memory->entry[i];
        if (memcmp(entry->row.key.vault, query->vault, KV_ID_LEN) != 0 ||
            entry->row.key.kind != query->kind)
            break;
        if (entry->seq != 0 || strcmp(entry->folded, query->after_name) == 0)
            continue;
        if (query->what == KV_LIST_CURRENT) {
            if (entry->row.flags & KV_ROW_DELETED)
                continue;
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

static bool is_wanted(const struct entry *entry, const struct kv_list_query *query)
{
    if (query->what == KV_LIST_DUE)
        return entry->row.next_at_s != KV_TIME_NONE &&
               entry->row.next_at_s <= query->due_s;
    if (query->what == KV_LIST_VERSION_ID)
        return entry->seq != 0 && entry->row.key.kind == query->kind &&
               memcmp(entry->row.key.version, query->after_version, KV_ID_LEN) == 0;
    return entry->seq != 0 &&
           is_same_name(entry, query->vault, query->kind, query->name);
}

/* Where the page starts: behind the version that the last one ended with. */
static int page_start(struct kv_job *job, const struct entry **found, size_t n,
                      size_t *start)
{
    const uint8_t *after = job->query.after_version;
    *start = 0;
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
        if (is_wanted(memory->entry[i], query))
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
    int rc = job->query.what == KV_LIST_CURRENT || job->query.what == KV_LIST_ROWS
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
    case KV_JOB_GET_CURRENT:
        job->rc = run_get(memory, job);
        break;
    case KV_JOB_LIST:
        job->rc = run_list(memory, job);
        break;
    case KV_JOB_APPLY:
        job->rc = run_apply(memory, job);
        break;
    case KV_JOB_OP_STATUS:
        if (!op_is_known(memory, job->op_id))
            job->rc = kv_job_not_found(job);
        break;
    case KV_JOB_STATS:
        run_stats(memory, job);
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
        entry_free(memory->entry[i]);
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
    .get_current = kv_base_get_current,
    .list = kv_base_list,
    .apply = kv_base_apply,
    .op_status = kv_base_op_status,
    .stats = kv_base_stats,
    .check = kv_base_check,
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
