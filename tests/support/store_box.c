/*
 * A store in a box: see store_box.h.
 */
#include "tests/support/store_box.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/db/memory.h"
#include "store/db/sqlite/sqlite.h"

const char *const box_names[BOX_KINDS] = {
    [BOX_MEMORY] = "memory",
    [BOX_SQLITE] = "sqlite",
};

void box_dir_make(char dir[64])
{
    const char *tmp = getenv("TMPDIR");
    if (tmp == NULL || strlen(tmp) > 30)
        tmp = "/tmp";
    (void)snprintf(dir, 64, "%s/kv-store-XXXXXX", tmp);
    cr_assert_not_null(mkdtemp(dir));
}

void box_dir_remove(const char *dir)
{
    DIR *list = opendir(dir);
    cr_assert_not_null(list);
    const struct dirent *entry;
    while ((entry = readdir(list)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            cr_expect_eq(unlinkat(dirfd(list), entry->d_name, 0), 0);
    }
    (void)closedir(list);
    cr_expect_eq(rmdir(dir), 0);
}

int box_reopen(struct box *box)
{
    box->err = KV_ERR_INIT;
    if (box->dir[0] == '\0')
        return kv_memory_open(&box->store, &box->config, &box->err);
    return kv_sqlite_open(&box->store, &box->config, &box->err);
}

void box_init(struct box *box, enum box_kind kind)
{
    memset(box, 0, sizeof(*box));
    cr_assert_eq(uv_loop_init(&box->loop), 0);
    kv_clock_manual_init(&box->clock, 1800000000);
    if (kind == BOX_SQLITE)
        box_dir_make(box->dir);
    box->config = (struct kv_store_config){
        .loop = &box->loop,
        .dir = box->dir,
        .clock = &box->clock.clock,
    };
    int rc = box_reopen(box);
    cr_assert_eq(rc, 0, "%s: %s", box->err.id, box->err.message);
    cr_assert_str_eq(box->store->ops->name, box_names[kind]);
}

static void on_closed(void *arg)
{
    struct box *box = arg;
    box->n_callbacks++;
    box->store = NULL;
}

void box_close(struct box *box)
{
    box->n_callbacks = 0;
    box->store->ops->close(box->store, on_closed, box);
    cr_assert_eq(box->n_callbacks, 0, "closed before close returned");
    (void)uv_run(&box->loop, UV_RUN_DEFAULT); /* until nothing is left */
    cr_assert_eq(box->n_callbacks, 1);
}

static void forget(struct box *box)
{
    for (size_t i = 0; i < box->n_rows; i++)
        free(box->sealed[i]);
    box->n_rows = 0;
    box->has_more = false;
    box->failed_index = 0;
    box->n_callbacks = 0;
    box->is_started = false;
    box->err = KV_ERR_INIT;
}

void box_fini(struct box *box)
{
    if (box->store != NULL)
        box_close(box);
    forget(box);
    cr_expect_eq(uv_loop_close(&box->loop), 0);
    if (box->dir[0] != '\0')
        box_dir_remove(box->dir);
}

static void called_back(struct box *box, int rc, const struct kv_err *err)
{
    cr_assert(box->is_started, "called back before the call returned");
    cr_assert_not_null(err);
    cr_assert_eq(err->code, rc);
    box->n_callbacks++;
    box->rc = rc;
    box->err = *err;
}

static void on_rows(void *arg, int rc, const struct kv_row *rows, size_t n_rows,
                    bool has_more, const struct kv_err *err)
{
    struct box *box = arg;
    called_back(box, rc, err);
    cr_assert_eq(rows == NULL, rc != 0);
    cr_assert_leq(n_rows, BOX_ROWS_MAX);
    box->n_rows = n_rows;
    box->has_more = has_more;
    for (size_t i = 0; i < n_rows; i++) {
        box->row[i] = rows[i];
        box->sealed[i] = malloc(rows[i].sealed_len + 1);
        cr_assert_not_null(box->sealed[i]);
        if (rows[i].sealed_len > 0)
            memcpy(box->sealed[i], rows[i].sealed, rows[i].sealed_len);
        box->sealed[i][rows[i].sealed_len] = '\0';
        box->row[i].sealed = box->sealed[i];
    }
}

static void on_apply(void *arg, int rc, size_t failed_index, const struct kv_err *err)
{
    struct box *box = arg;
    called_back(box, rc, err);
    box->failed_index = failed_index;
}

static void on_stats(void *arg, int rc, const struct kv_store_stats *stats,
                     const struct kv_err *err)
{
    struct box *box = arg;
    called_back(box, rc, err);
    box->stats = *stats;
}

/* Run the loop until the call that was started has called back. */
static int await(struct box *box, int rc)
{
    cr_assert_eq(box->n_callbacks, 0);
    box->is_started = true;
    if (rc != 0)
        return rc;
    while (box->n_callbacks == 0)
        (void)uv_run(&box->loop, UV_RUN_ONCE);
    cr_assert_eq(box->n_callbacks, 1);
    return box->rc;
}

int box_get(struct box *box, const struct kv_row_key *key)
{
    forget(box);
    return await(box, box->store->ops->get(box->store, key, on_rows, box));
}

int box_get_live(struct box *box, const struct kv_row_key *key)
{
    forget(box);
    return await(box, box->store->ops->get_live(box->store, key, on_rows, box));
}

int box_list(struct box *box, const struct kv_list_query *query)
{
    forget(box);
    return await(box, box->store->ops->list(box->store, query, on_rows, box));
}

int box_apply_as(struct box *box, const uint8_t op_id[KV_ID_LEN],
                 const struct kv_mutation *mutations, size_t n_mutations)
{
    forget(box);
    return await(box, box->store->ops->apply(box->store, op_id, mutations, n_mutations,
                                             on_apply, box));
}

int box_apply(struct box *box, const struct kv_mutation *mutations, size_t n_mutations)
{
    static uint32_t counter;
    uint8_t op_id[KV_ID_LEN];
    box_id(op_id, ++counter);
    op_id[0] = 0xbb; /* apart from the ids that tests choose */
    return box_apply_as(box, op_id, mutations, n_mutations);
}

int box_op_status(struct box *box, const uint8_t op_id[KV_ID_LEN])
{
    forget(box);
    return await(box, box->store->ops->op_status(box->store, op_id, on_apply, box));
}

int box_stats(struct box *box)
{
    forget(box);
    return await(box, box->store->ops->stats(box->store, on_stats, box));
}

int box_check(struct box *box)
{
    forget(box);
    return await(box, box->store->ops->check(box->store, on_apply, box));
}

void box_id(uint8_t id[KV_ID_LEN], uint32_t number)
{
    memset(id, 0, KV_ID_LEN);
    for (int i = 0; i < 4; i++)
        id[KV_ID_LEN - 1 - i] = (uint8_t)(number >> (8 * i));
}

struct kv_row_key box_key(uint8_t kind, const char *name, uint32_t version)
{
    struct kv_row_key key = {.kind = kind};
    box_id(key.vault, 1);
    box_id(key.version, version);
    (void)snprintf(key.name, sizeof(key.name), "%s", name);
    return key;
}

struct kv_mutation box_put(uint8_t kind, const char *name, uint32_t version,
                           uint64_t expect)
{
    static const char body[] = "a sealed body";
    struct kv_mutation change = {.kind = KV_MUTATION_PUT, .expect = expect};
    change.row = (struct kv_row){
        .key = box_key(kind, name, version),
        .row_version = expect + 1,
        .term = 1,
        .flags = KV_ROW_ENABLED,
        .created_s = 1000,
        .updated_s = 1000,
        .nbf_s = KV_TIME_NONE,
        .exp_s = KV_TIME_NONE,
        .next_at_s = KV_TIME_NONE,
        .sealed = (const uint8_t *)body,
        .sealed_len = sizeof(body) - 1,
    };
    return change;
}

struct kv_mutation box_delete(uint8_t kind, const char *name, uint32_t version,
                              uint64_t expect)
{
    struct kv_mutation change = {.kind = KV_MUTATION_DELETE, .expect = expect};
    change.row.key = box_key(kind, name, version);
    return change;
}
