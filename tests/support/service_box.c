/*
 * A service in a box: see service_box.h.
 */
#include "tests/support/service_box.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/db/memory.h"
#include "tests/support/chain_maker.h"

#define TURNS_MAX 100000

static void on_store_closed(void *arg)
{
    struct service_box *box = arg;
    box->service.store = NULL;
}

void service_box_init(struct service_box *box)
{
    struct kv_service *service = &box->service;
    struct kv_err err = KV_ERR_INIT;
    memset(box, 0, sizeof(*box));
    kv_room_init(&box->room);
    box->room.clock.now_s = CHAIN_MAKER_NOW_S;
    cr_assert_eq(uv_loop_init(&box->loop), 0);
    fake_link_open(&box->link, &box->loop, &box->room);
    service->loop = &box->loop;
    service->keyring = &box->link;
    service->clock = &box->room.clock.clock;
    service->rand = kv_rand_system();
    service->is_ready = true;
    service->port = 8443;
    (void)snprintf(service->domain, sizeof(service->domain), "vault.localhost");
    service->system.term = KV_ROOM_TERM;
    struct kv_vault vault = {.name = "default",
                             .is_default = true,
                             .retention_days = KV_RETENTION_DAYS_MAX,
                             .term = KV_ROOM_TERM,
                             .epoch = 1};
    memcpy(vault.id, kv_room_vault, KV_ID_LEN);
    box->vault = kv_service_vault_add(service, &vault);
    cr_assert_not_null(box->vault);
    const struct kv_store_config config = {.loop = &box->loop, .clock = service->clock};
    cr_assert_eq(kv_memory_open(&service->store, &config, &err), 0, "%s", err.message);
}

void service_box_fini(struct service_box *box)
{
    service_box_settle(box);
    cr_assert_eq(box->service.n_running, 0, "an operation never ended");
    box->service.store->ops->close(box->service.store, on_store_closed, box);
    fake_link_close(&box->link);
    (void)uv_run(&box->loop, UV_RUN_DEFAULT); /* until nothing is left */
    cr_assert_null(box->service.store);
    cr_assert_eq(uv_loop_close(&box->loop), 0);
    kv_service_vaults_free(&box->service);
    kv_room_fini(&box->room);
}

void service_box_done(void *arg, int rc, const struct kv_err *err)
{
    struct service_box *box = arg;
    cr_assert(!box->is_done, "called back twice");
    cr_assert_eq(err == NULL, rc == 0);
    cr_assert(err == NULL || (err->code == rc && err->id[0] != '\0'));
    box->is_done = true;
    box->rc = rc;
    box->err = err != NULL ? *err : KV_ERR_INIT;
}

static void run_until_done(struct service_box *box)
{
    for (int i = 0; !box->is_done; i++) {
        cr_assert_lt(i, TURNS_MAX, "the loop does not come to an end");
        (void)uv_run(&box->loop, UV_RUN_ONCE);
    }
    box->is_done = false;
}

int service_box_wait(struct service_box *box, int rc)
{
    if (rc == 0)
        run_until_done(box);
    else
        cr_assert(!box->is_done, "called back though it did not start");
    return rc != 0 ? rc : box->rc;
}

void service_box_settle(struct service_box *box)
{
    for (int quiet = 0; quiet < 3;) {
        quiet = box->service.n_running > 0 && !box->link.is_held ? 0 : quiet + 1;
        (void)uv_run(&box->loop, UV_RUN_NOWAIT);
    }
}

/* --- reading -----------------------------------------------------------------------
 */

struct reading {
    struct kv_task task; /* first member */
    struct service_box *box;
    struct kv_object object;
    size_t n_objects;
};

static void on_read(struct kv_task *task)
{
    struct reading *reading = (struct reading *)task;
    reading->object = kv_task_take_object(task);
    reading->n_objects = task->n_objects;
    service_box_done(reading->box, 0, NULL);
}

static void on_read_failed(struct kv_task *task, int rc, const struct kv_err *err)
{
    service_box_done(((struct reading *)task)->box, rc, err);
}

static struct reading reading_of(struct service_box *box)
{
    struct reading reading = {.box = box};
    kv_task_init(&reading.task, &box->service, box->vault, on_read_failed);
    return reading;
}

int service_box_find(struct service_box *box, uint8_t kind, const char *name,
                     const uint8_t *version, struct kv_object *out)
{
    struct reading reading = reading_of(box);
    kv_task_find(&reading.task, kind, name, version, on_read);
    int rc = service_box_wait(box, 0);
    kv_task_fini(&reading.task);
    *out = reading.object;
    return rc;
}

struct kv_row service_box_head(struct service_box *box, uint8_t kind, const char *name)
{
    struct reading reading = reading_of(box);
    kv_task_find_head(&reading.task, kind, name, on_read);
    cr_assert_eq(service_box_wait(box, 0), 0);
    kv_task_fini(&reading.task);
    struct kv_row row = reading.object.row;
    kv_object_free(&reading.object);
    return row;
}

size_t service_box_versions(struct service_box *box, uint8_t kind, const char *name)
{
    struct reading reading = reading_of(box);
    struct kv_list_query query = {
        .what = KV_LIST_VERSIONS, .kind = kind, .limit = KV_STORE_LIST_MAX};
    memcpy(query.vault, box->vault->id, KV_ID_LEN);
    (void)snprintf(query.name, sizeof(query.name), "%s", name);
    kv_task_list(&reading.task, &query, on_read);
    cr_assert_eq(service_box_wait(box, 0), 0, "%s", box->err.message);
    kv_task_fini(&reading.task);
    return reading.n_objects;
}

static void on_stats(void *arg, int rc, const struct kv_store_stats *stats,
                     const struct kv_err *err)
{
    struct service_box *box = arg;
    box->n_rows = stats->n_rows;
    service_box_done(box, rc, rc != 0 ? err : NULL);
}

uint64_t service_box_rows(struct service_box *box)
{
    struct kv_store *store = box->service.store;
    cr_assert_eq(service_box_wait(box, store->ops->stats(store, on_stats, box)), 0);
    return box->n_rows;
}

void service_box_put(struct service_box *box, const struct kv_row *row, json_t *doc)
{
    struct reading writing = reading_of(box);
    if (doc != NULL)
        kv_task_put_doc(&writing.task, row, row->row_version, doc);
    else
        kv_task_put_row(&writing.task, row, row->row_version);
    kv_task_commit(&writing.task, on_read);
    cr_assert_eq(service_box_wait(box, 0), 0, "%s", box->err.message);
    kv_task_fini(&writing.task);
    kv_object_free(&writing.object);
}
