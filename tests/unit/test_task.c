/*
 * Steps over store and keyring: damage in the store is noticed and shown, a batch is
 * applied as a whole or not at all, and every operation ends.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/desk.h"
#include "tests/support/fault.h"

static struct desk desk;

static void setup(void)
{
    desk_init(&desk);
}

static void teardown(void)
{
    desk_fini(&desk);
}

TestSuite(task, .timeout = 60, .init = setup, .fini = teardown);

struct job {
    struct kv_task task;
    unsigned n_steps;
    unsigned n_fails;
    int rc;
    char id[64];
};

static void on_step(struct kv_task *task)
{
    ((struct job *)task)->n_steps++;
}

static void on_fail(struct kv_task *task, int rc, const struct kv_err *err)
{
    struct job *job = (struct job *)task;
    job->n_fails++;
    job->rc = rc;
    (void)snprintf(job->id, sizeof(job->id), "%s", err->id);
}

static void job_init(struct job *job)
{
    memset(job, 0, sizeof(*job));
    kv_task_init(&job->task, &desk.service, desk.vault, on_fail);
}

static void settle(struct job *job, int rc, const char *id)
{
    desk_settle(&desk);
    cr_assert_eq(job->n_steps, rc == 0 ? 1 : 0);
    cr_assert_eq(job->n_fails, rc == 0 ? 0 : 1, "%s", id);
    cr_assert_eq(job->rc, rc, "%d %s", job->rc, job->id);
    if (rc != 0)
        cr_assert_str_eq(job->id, id);
    job->n_steps = 0;
    job->n_fails = 0;
    job->rc = 0;
}

static struct kv_row new_secret(const char *name, uint8_t version)
{
    struct kv_row row = {.flags = KV_ROW_ENABLED,
                         .created_s = 5,
                         .updated_s = 5,
                         .nbf_s = KV_TIME_NONE,
                         .exp_s = KV_TIME_NONE,
                         .next_at_s = KV_TIME_NONE};
    memcpy(row.key.vault, desk.vault->id, KV_ID_LEN);
    row.key.kind = KV_KIND_SECRET;
    (void)snprintf(row.key.name, sizeof(row.key.name), "%s", name);
    row.key.version[0] = version;
    return row;
}

/* A secret with its head, through a task. */
static void put_secret(const char *name, uint8_t version)
{
    struct job job;
    const struct kv_row none = {.row_version = 0};
    struct kv_row row = new_secret(name, version);
    job_init(&job);
    kv_task_put_doc(&job.task, &row, 0, json_pack("{s:s}", "value", "v"));
    kv_task_put_head(&job.task, &none, &row);
    kv_task_commit(&job.task, on_step);
    settle(&job, 0, "");
    kv_task_fini(&job.task);
}

static void load(const char *name, int rc, const char *id)
{
    struct job job;
    job_init(&job);
    kv_task_load(&job.task, KV_KIND_SECRET, name, NULL, on_step);
    settle(&job, rc, id);
    kv_task_fini(&job.task);
}

/* Change the stored current version of a secret behind everyone's back. */
static void tamper(const char *name, void (*change)(struct kv_row *row))
{
    struct kv_row row;
    struct kv_buf sealed;
    struct kv_row_key key = new_secret(name, 0).key;
    kv_buf_init(&sealed, KV_STORE_SEALED_MAX);
    cr_assert_eq(desk_get(&desk, &key, true, &row, &sealed), 0);
    struct kv_mutation mutation = {.kind = KV_MUTATION_PUT, .expect = row.row_version};
    mutation.row = row;
    mutation.row.row_version = row.row_version + 1;
    change(&mutation.row);
    desk_apply(&desk, &mutation, 1);
    kv_buf_free(&sealed);
}

static void rewrite(struct kv_row *row)
{
    (void)row; /* the same row under another row version: an old row put back */
}

static void flip_body(struct kv_row *row)
{
    ((uint8_t *)row->sealed)[row->sealed_len - 1] ^= 1;
}

static void drop_body(struct kv_row *row)
{
    row->sealed = NULL;
    row->sealed_len = 0;
    row->term = 0;
}

Test(task, damage_is_an_error_of_that_object_alone)
{
    static const struct {
        const char *name;
        void (*change)(struct kv_row *row);
        const char *id;
    } rows[] = {
        {"body-flipped", flip_body, "object.unseal-failed"},
        {"body-dropped", drop_body, "object.bad-body"},
        {"rewritten", rewrite, "object.unseal-failed"},
    };
    put_secret("good", 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        put_secret(rows[i].name, (uint8_t)(i + 2));
        load(rows[i].name, 0, "");
        tamper(rows[i].name, rows[i].change);
        load(rows[i].name, KV_E_INTEGRITY, rows[i].id);
    }
    load("good", 0, "");

    struct job job;
    struct kv_list_query query = {
        .what = KV_LIST_CURRENT, .kind = KV_KIND_SECRET, .limit = 10};
    memcpy(query.vault, desk.vault->id, KV_ID_LEN);
    job_init(&job);
    kv_task_list(&job.task, &query, on_step);
    settle(&job, 0, "");
    cr_assert_eq(job.task.n_objects, 1, "a list leaves them out");
    cr_assert_str_eq(job.task.objects[0].row.key.name, "good");
    cr_assert_str_eq(job.task.last_name, "rewritten", "and goes on behind them");
    kv_task_fini(&job.task);
    cr_assert_eq(desk_call(&desk, "GET", "/secrets/body-dropped", NULL, NULL), 500);
    cr_assert_eq(desk_call(&desk, "GET", "/secrets", NULL, NULL), 200);
}

static void drop_key_body(struct kv_row_key *key)
{
    struct kv_row row;
    struct kv_buf sealed;
    kv_buf_init(&sealed, KV_STORE_SEALED_MAX);
    cr_assert_eq(desk_get(&desk, key, true, &row, &sealed), 0);
    struct kv_mutation mutation = {.kind = KV_MUTATION_PUT, .expect = row.row_version};
    mutation.row = row;
    mutation.row.row_version = row.row_version + 1;
    drop_body(&mutation.row);
    desk_apply(&desk, &mutation, 1);
    kv_buf_free(&sealed);
}

Test(task, a_key_without_its_body_is_no_key)
{
    cr_assert_eq(desk_call(&desk, "POST", "/keys/k/create", "{\"kty\":\"EC\"}", NULL),
                 200);
    struct kv_row_key key = new_secret("k", 0).key;
    key.kind = KV_KIND_KEY;
    drop_key_body(&key);
    json_t *json = NULL;
    cr_assert_eq(desk_call(&desk, "GET", "/keys/k", NULL, &json), 500);
    cr_assert_str_eq(desk_error(json, "id"), "object.bad-body");
    json_decref(json);
    cr_assert_eq(desk_call(&desk, "POST", "/keys/k//sign",
                           "{\"alg\":\"ES256\",\"value\":\"AQ\"}", NULL),
                 500);
}

Test(task, absence_is_told_or_found)
{
    struct job job;
    load("absent", KV_E_NOT_FOUND, "object.not-found");
    job_init(&job);
    kv_task_find(&job.task, KV_KIND_SECRET, "absent", NULL, on_step);
    settle(&job, 0, "");
    cr_assert_eq(job.task.object.row.row_version, 0);
    cr_assert_str_eq(job.task.object.row.key.name, "absent");
    kv_task_find_head(&job.task, KV_KIND_SECRET, "absent", on_step);
    settle(&job, 0, "");
    cr_assert_eq(job.task.object.row.row_version, 0);
    char big[KV_NAME_MAX + 2];
    memset(big, 'a', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    kv_task_load(&job.task, KV_KIND_SECRET, big, NULL, on_step);
    settle(&job, KV_E_TOO_BIG, "task.failed");
    kv_task_fini(&job.task);
}

/* --- batches -----------------------------------------------------------------------
 */

static void expect_no_head(const char *name)
{
    struct kv_row row;
    struct kv_buf sealed;
    struct kv_row_key key = new_secret(name, 0).key;
    kv_buf_init(&sealed, KV_STORE_SEALED_MAX);
    cr_assert_eq(desk_get(&desk, &key, false, &row, &sealed), KV_E_NOT_FOUND);
    kv_buf_free(&sealed);
}

Test(task, a_batch_that_lost_a_change_is_not_applied)
{
    const struct kv_row none = {.row_version = 0};
    for (long n = 1; n <= 2; n++) {
        struct job job;
        struct kv_row row = new_secret("s", 1);
        job_init(&job);
        json_t *doc = json_pack("{s:s}", "value", "v");
        fault_arm(n); /* the batch itself, or a later change of it */
        if (n == 1)
            kv_task_put_doc(&job.task, &row, 0, doc);
        else
            kv_task_put_doc(&job.task, &row, 0, NULL);
        fault_arm(0);
        if (n == 2)
            json_decref(doc);
        kv_task_put_head(&job.task, &none, &row);
        kv_task_commit(&job.task, on_step);
        settle(&job, KV_E_NOMEM, "task.failed");
        expect_no_head("s");
        /* the task is as good as new */
        kv_task_put_doc(&job.task, &row, 0, json_pack("{s:s}", "value", "v"));
        kv_task_commit(&job.task, on_step);
        settle(&job, 0, "");
        kv_task_delete(&job.task, &row.key, 1);
        kv_task_commit(&job.task, on_step);
        settle(&job, 0, "");
        kv_task_fini(&job.task);
    }
}

Test(task, a_batch_has_a_ceiling)
{
    struct job job;
    job_init(&job);
    for (size_t i = 0; i <= KV_STORE_BATCH_MAX; i++) {
        struct kv_row row = new_secret("s", (uint8_t)(i + 1));
        row.key.version[1] = (uint8_t)(1 + i / 256);
        kv_task_put_doc(&job.task, &row, 0, json_pack("{s:s}", "value", "v"));
    }
    kv_task_commit(&job.task, on_step);
    settle(&job, KV_E_TOO_BIG, "task.failed");
    for (size_t i = 0; i < KV_STORE_BATCH_MAX; i++) {
        struct kv_row row = new_secret("s", (uint8_t)(i + 1));
        row.key.version[1] = (uint8_t)(1 + i / 256);
        kv_task_put_doc(&job.task, &row, 0, json_pack("{s:s}", "value", "v"));
    }
    kv_task_commit(&job.task, on_step);
    settle(&job, 0, "");
    kv_task_commit(&job.task, on_step);
    settle(&job, KV_E_INTERNAL, "task.failed");
    kv_task_fini(&job.task);
}

Test(task, a_document_too_large_to_seal_changes_nothing)
{
    struct job job;
    struct kv_row row = new_secret("s", 1);
    char *big = malloc(KV_BODY_MAX + 1);
    cr_assert_not_null(big);
    memset(big, 'a', KV_BODY_MAX);
    big[KV_BODY_MAX] = '\0';
    job_init(&job);
    kv_task_put_doc(&job.task, &row, 0, json_pack("{s:s}", "value", big));
    kv_task_commit(&job.task, on_step);
    settle(&job, KV_E_TOO_BIG, "task.failed");
    free(big);
    kv_task_fini(&job.task);
}

Test(task, many_large_documents_are_sealed_in_several_frames)
{
    struct job job;
    char *big = malloc(250000);
    cr_assert_not_null(big);
    memset(big, 'a', 249999);
    big[249999] = '\0';
    job_init(&job);
    for (uint8_t i = 1; i <= 20; i++) {
        struct kv_row row = new_secret("s", i);
        kv_task_put_doc(&job.task, &row, 0, json_pack("{s:s}", "value", big));
    }
    struct kv_row head = {.row_version = 0};
    struct kv_row last = new_secret("s", 20);
    kv_task_put_head(&job.task, &head, &last);
    unsigned before = desk.link.n_calls;
    kv_task_commit(&job.task, on_step);
    settle(&job, 0, "");
    cr_assert_geq(desk.link.n_calls - before, 2);
    struct kv_list_query query = {
        .what = KV_LIST_VERSIONS, .kind = KV_KIND_SECRET, .limit = 25, .name = "s"};
    memcpy(query.vault, desk.vault->id, KV_ID_LEN);
    before = desk.link.n_calls;
    kv_task_list(&job.task, &query, on_step);
    settle(&job, 0, "");
    cr_assert_eq(job.task.n_objects, 20);
    cr_assert_geq(desk.link.n_calls - before, 2);
    free(big);
    kv_task_fini(&job.task);
}

Test(task, a_conflict_names_the_row)
{
    struct job job;
    struct kv_row row = new_secret("s", 1);
    put_secret("s", 1);
    job_init(&job);
    kv_task_put_doc(&job.task, &row, 0, json_pack("{s:s}", "value", "other"));
    kv_task_commit(&job.task, on_step);
    settle(&job, KV_E_CONFLICT, "object.conflict");
    kv_task_fini(&job.task);
}

static void remove_row(const struct kv_row_key *key, uint64_t expect)
{
    struct job job;
    job_init(&job);
    kv_task_delete(&job.task, key, expect);
    kv_task_commit(&job.task, on_step);
    settle(&job, 0, "");
    kv_task_fini(&job.task);
}

Test(task, changes_that_may_end_a_grant_raise_the_epoch)
{
    struct kv_row row;
    struct kv_buf sealed;
    struct kv_row_key key = new_secret("k", 0).key;
    uint64_t before = desk.vault->epoch;
    put_secret("k", 1);
    cr_assert_eq(desk_call(&desk, "POST", "/keys/k/create", "{\"kty\":\"EC\"}", NULL),
                 200);
    cr_assert_eq(desk.vault->epoch, before, "something new ends none");
    cr_assert_eq(desk_call(&desk, "PUT", "/keyvault/v1/assignments",
                           "{\"principal\":\"unix:a\",\"role\":\"reader\"}", NULL),
                 200);
    cr_assert_gt(desk.vault->epoch, before);
    before = desk.vault->epoch;
    remove_row(&key, 1);
    cr_assert_gt(desk.vault->epoch, before, "a head that goes");
    before = desk.vault->epoch;
    key.kind = KV_KIND_KEY;
    kv_buf_init(&sealed, KV_STORE_SEALED_MAX);
    cr_assert_eq(desk_get(&desk, &key, true, &row, &sealed), 0);
    remove_row(&row.key, row.row_version);
    cr_assert_gt(desk.vault->epoch, before, "a key that goes");
    kv_buf_free(&sealed);
}

/* --- stopping ----------------------------------------------------------------------
 */

Test(task, while_stopping_nothing_starts_and_everything_ends)
{
    struct job jobs[4];
    struct kv_list_query query = {
        .what = KV_LIST_CURRENT, .kind = KV_KIND_SECRET, .limit = 1};
    struct kv_row row = new_secret("s", 1);
    struct kv_buf payload;
    desk.service.is_stopping = true;
    for (size_t i = 0; i < 4; i++)
        job_init(&jobs[i]);
    kv_buf_init(&payload, 16);
    kv_task_load(&jobs[0].task, KV_KIND_SECRET, "s", NULL, on_step);
    kv_task_list(&jobs[1].task, &query, on_step);
    kv_task_keyring(&jobs[2].task, KV_ROLE_UNSEAL, &payload, on_step);
    kv_task_put_doc(&jobs[3].task, &row, 0, json_object());
    kv_task_commit(&jobs[3].task, on_step);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(jobs[i].n_fails, 1);
        cr_assert_eq(jobs[i].rc, KV_E_UNAVAILABLE);
        kv_task_fini(&jobs[i].task);
    }
    cr_assert_eq(desk.service.n_running, 0);
}

/* --- rows that stand in another's place ---------------------------------------------
 */

static const struct kv_store_ops *real_ops;

/* An editor of the file can let a look-up find any row of the vault: its own sealed
 * body vouches for it, but not for the question. */
static void redirect(struct kv_row_key *key)
{
    if (strcmp(key->name, "mine") == 0)
        (void)snprintf(key->name, sizeof(key->name), "other");
}

static int get_swapped(struct kv_store *store, const struct kv_row_key *key,
                       kv_store_rows_cb cb, void *arg)
{
    struct kv_row_key copy = *key;
    redirect(&copy);
    return real_ops->get(store, &copy, cb, arg);
}

static int get_live_swapped(struct kv_store *store, const struct kv_row_key *key,
                            kv_store_rows_cb cb, void *arg)
{
    struct kv_row_key copy = *key;
    redirect(&copy);
    return real_ops->get_live(store, &copy, cb, arg);
}

static int list_swapped(struct kv_store *store, const struct kv_list_query *query,
                        kv_store_rows_cb cb, void *arg)
{
    struct kv_list_query copy = *query;
    if (copy.what == KV_LIST_VERSIONS)
        (void)snprintf(copy.name, sizeof(copy.name), "other");
    return real_ops->list(store, &copy, cb, arg);
}

Test(task, a_row_of_another_name_is_no_answer)
{
    json_t *json = NULL;
    struct kv_store_ops ops = *desk.service.store->ops;
    cr_assert_eq(
        desk_call(&desk, "PUT", "/secrets/Other", "{\"value\":\"s3cret\"}", NULL), 200);
    cr_assert_eq(desk_call(&desk, "GET", "/secrets/OTHER/", NULL, NULL), 200,
                 "the spelling of a name does not count");
    real_ops = desk.service.store->ops;
    ops.get = get_swapped;
    ops.get_live = get_live_swapped;
    ops.list = list_swapped;
    desk.service.store->ops = &ops;
    cr_expect_eq(desk_call(&desk, "GET", "/secrets/mine/", NULL, &json), 500);
    cr_expect_str_eq(desk_error(json, "id"), "object.wrong-row");
    json_decref(json);
    cr_assert_eq(desk_call(&desk, "GET", "/secrets/mine/versions", NULL, &json), 200);
    cr_expect_eq(json_array_size(json_object_get(json, "value")), 0);
    json_decref(json);
    desk.service.store->ops = real_ops;
}

static int get_current(struct kv_store *store, const struct kv_row_key *key,
                       kv_store_rows_cb cb, void *arg)
{
    struct kv_row_key copy = *key;
    memset(copy.version, 0, KV_ID_LEN);
    return real_ops->get_live(store, &copy, cb, arg);
}

Test(task, a_row_of_another_version_is_no_answer)
{
    struct job job;
    struct kv_store_ops ops = *desk.service.store->ops;
    const uint8_t version[KV_ID_LEN] = {1};
    cr_assert_eq(desk_call(&desk, "PUT", "/secrets/mine", "{\"value\":\"1\"}", NULL),
                 200);
    real_ops = desk.service.store->ops;
    ops.get_live = get_current;
    desk.service.store->ops = &ops;
    job_init(&job);
    kv_task_load(&job.task, KV_KIND_SECRET, "mine", version, on_step);
    settle(&job, KV_E_INTEGRITY, "object.wrong-row");
    kv_task_fini(&job.task);
    desk.service.store->ops = real_ops;
}
