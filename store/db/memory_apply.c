/*
 * Changes of the store in memory: a batch is applied change by change with an undo
 * list; a conflict undoes in reverse order.
 */
#include <stdlib.h>
#include <string.h>

#include "store/core/clock.h"
#include "store/db/memory_rows.h"

#define OP_KEEP_S 86400

/* What a change replaced: `before` NULL = the row was not there. */
struct undo {
    struct entry *before;
    struct entry *after;
    struct entry **purged; /* versions that went with `before` */
    size_t n_purged;
};

void kv_memory_entry_free(struct entry *entry)
{
    if (entry != NULL)
        free((void *)entry->row.sealed);
    free(entry);
}

static int compare(const struct entry *entry, const struct kv_row_key *key,
                   const char *folded)
{
    KV_ASSERT(key != NULL);
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
size_t kv_memory_lower_bound(const struct memory *memory, const struct kv_row_key *key,
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

struct entry *kv_memory_find(const struct memory *memory, const struct kv_row_key *key,
                             const char *folded)
{
    size_t at = kv_memory_lower_bound(memory, key, folded);
    if (at < memory->n_entries && compare(memory->entry[at], key, folded) == 0)
        return memory->entry[at];
    return NULL;
}

static void remove_entry(struct memory *memory, const struct entry *entry)
{
    size_t at = kv_memory_lower_bound(memory, &entry->row.key, entry->folded);
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
    size_t at = kv_memory_lower_bound(memory, &entry->row.key, entry->folded);
    memmove(&memory->entry[at + 1], &memory->entry[at],
            (memory->n_entries - at) * SLOT);
    memory->entry[at] = entry;
    memory->n_entries++;
}

bool kv_memory_is_same_name(const struct entry *entry, const uint8_t vault[KV_ID_LEN],
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
    for (size_t i = kv_memory_lower_bound(memory, &head, fresh->folded);
         i < memory->n_entries; i++) {
        const struct entry *other = memory->entry[i];
        if (!kv_memory_is_same_name(other, head.vault, head.kind, fresh->folded))
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

/* Take out the versions that follow the place of a removed head. */
static int purge_versions(struct memory *memory, struct kv_job *job, struct undo *undo)
{
    const struct entry *head = undo->before;
    size_t first = kv_memory_lower_bound(memory, &head->row.key, head->folded);
    size_t end = first;
    while (end < memory->n_entries &&
           kv_memory_is_same_name(memory->entry[end], head->row.key.vault,
                                  head->row.key.kind, head->folded))
        end++;
    undo->purged = calloc(end - first + 1, SLOT);
    if (undo->purged == NULL)
        return kv_err_set(&job->err, KV_E_NOMEM, "store.no-memory",
                          "no memory for a purge");
    undo->n_purged = end - first;
    memcpy(undo->purged, &memory->entry[first], undo->n_purged * SLOT);
    memmove(&memory->entry[first], &memory->entry[end],
            (memory->n_entries - end) * SLOT);
    memory->n_entries -= undo->n_purged;
    return 0;
}

static int change_apply(struct memory *memory, struct kv_job *job, size_t index,
                        struct undo *undo)
{
    const struct kv_job_change *change = &job->changes[index];
    struct entry *before = kv_memory_find(memory, &change->row.key, change->folded);
    uint64_t there = before != NULL ? before->row.row_version : 0;
    if (there != change->expect)
        return kv_job_conflict(job, index);
    KV_ASSERT(kv_job_change_stores(change) || before != NULL); /* expect > 0 */
    struct entry *after = NULL;
    if (kv_job_change_stores(change)) {
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
    return change->kind == KV_MUTATION_PURGE ? purge_versions(memory, job, undo) : 0;
}

static void change_undo(struct memory *memory, const struct undo *undo)
{
    if (undo->after != NULL) {
        remove_entry(memory, undo->after);
        kv_memory_entry_free(undo->after);
    }
    if (undo->before != NULL)
        insert_entry(memory, undo->before);
    for (size_t i = 0; i < undo->n_purged; i++)
        insert_entry(memory, undo->purged[i]);
    free(undo->purged);
}

/* The change stays: what it replaced is not needed any more. */
static void change_keep(const struct undo *undo)
{
    kv_memory_entry_free(undo->before);
    for (size_t i = 0; i < undo->n_purged; i++)
        kv_memory_entry_free(undo->purged[i]);
    free(undo->purged);
}

bool kv_memory_op_is_known(const struct memory *memory, const uint8_t op_id[KV_ID_LEN])
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

int kv_memory_batch_apply(struct memory *memory, struct kv_job *job)
{
    size_t n_done = 0;
    int rc = 0;
    if (kv_memory_op_is_known(memory, job->op_id))
        return 0;
    struct undo *undo = calloc(job->n_changes, sizeof(*undo));
    if (undo == NULL || op_reserve(memory) != 0 ||
        reserve(memory, job->n_changes) != 0) {
        free(undo);
        return kv_err_set(&job->err, KV_E_NOMEM, "store.no-memory",
                          "no memory for %zu rows", job->n_changes);
    }
    while (rc == 0 && n_done < job->n_changes) {
        rc = change_apply(memory, job, n_done, &undo[n_done]);
        if (rc == 0)
            n_done++;
    }
    if (rc != 0) {
        if (n_done < job->n_changes)
            change_undo(memory, &undo[n_done]); /* a purge may stop half-way */
        while (n_done > 0)
            change_undo(memory, &undo[--n_done]);
        free(undo);
        return rc;
    }
    for (size_t i = 0; i < n_done; i++)
        change_keep(&undo[i]);
    free(undo);
    struct op *op = &memory->op[memory->n_ops++];
    memcpy(op->op_id, job->op_id, KV_ID_LEN);
    op->at_s = kv_now_s(memory->clock);
    memory->n_commits++;
    memory->n_mutations += n_done;
    return 0;
}
