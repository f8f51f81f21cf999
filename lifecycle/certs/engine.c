/*
 * Due rows, found by the index on next_at: operations run against their issuer, keys
 * are rotated, deleted names and vaults are purged; each row once at a time. What is in
 * a deleted vault goes on: an order that has begun ends, a name is purged on its day.
 *
 *   timer -> list what is due -> run each that is not running -> timer for the next
 *
 * The list also tells when the next one is due. A run that could not go on because
 * something of this machine is missing (keyring away, disk full) is tried again with a
 * delay that doubles up to a minute, once for all runs that fail in the meantime. The
 * timer is only ever moved forward: a delay does not undo a kick.
 *
 * Rows that fail again and again, or that nothing can be done with, come first in the
 * list and would starve the others. So a pass goes on where the last one found all
 * places taken, page after page, and begins anew at its end or when a run went well.
 */
#include "lifecycle/certs/engine.h"

#include <stdlib.h>
#include <string.h>

#include "lifecycle/certs/internal.h"
#include "lifecycle/service/keyring.h"
#include "lifecycle/service/name.h"
#include "lifecycle/service/rotation.h"
#include "lifecycle/service/vaults.h"

#define RUNS_MAX 32
#define IDLE_S 3600 /* look again though nothing is due */
#define IDLE_MS (UINT64_C(1000) * IDLE_S)
#define DELAY_MIN_MS 500U
#define DELAY_MAX_MS 60000U

struct active {
    struct kv_engine *engine; /* NULL: free place */
    struct kv_row_key key;
};

struct kv_engine {
    struct kv_task scan;
    struct kv_service *service;
    uv_timer_t timer;
    struct active active[RUNS_MAX];
    uint32_t skip;     /* due rows that the pass has seen */
    uint32_t from;     /* where the pass began */
    unsigned delay_ms; /* 0: nothing failed lately */
    bool is_delayed;   /* the timer has been set to that */
    bool is_scanning;
    bool is_again; /* kicked while scanning */
    bool is_stopped;
};

static void on_timer(uv_timer_t *timer);

static void look_in(struct kv_engine *engine, uint64_t ms)
{
    const uv_handle_t *handle = (const uv_handle_t *)&engine->timer;
    if (engine->is_stopped ||
        (uv_is_active(handle) && uv_timer_get_due_in(&engine->timer) <= ms))
        return;
    (void)uv_timer_start(&engine->timer, on_timer, ms, 0); /* fails when closing */
}

static void delay(struct kv_engine *engine)
{
    if (engine->is_delayed)
        return;
    engine->is_delayed = true;
    engine->delay_ms = engine->delay_ms == 0 ? DELAY_MIN_MS : 2 * engine->delay_ms;
    if (engine->delay_ms > DELAY_MAX_MS)
        engine->delay_ms = DELAY_MAX_MS;
    look_in(engine, engine->delay_ms);
}

static void on_run_end(void *arg, int rc, const struct kv_err *err)
{
    struct active *active = arg;
    struct kv_engine *engine = active->engine;
    active->engine = NULL;
    if (rc == 0) {
        engine->delay_ms = 0;
        engine->skip = 0;
        engine->from = 0;
        kv_engine_kick(engine);
        return;
    }
    kv_log(engine->service->log, KV_LOG_WARN, "cert.delayed",
           KV_S("kind", kv_kind_name(active->key.kind)), KV_S("name", active->key.name),
           KV_S("error", err->id), KV_S("message", err->message));
    delay(engine);
}

static bool has_place(const struct kv_engine *engine)
{
    for (size_t i = 0; i < RUNS_MAX; i++)
        if (engine->active[i].engine == NULL)
            return true;
    return false;
}

/* The place of this name, or a free one; NULL when it runs or all are taken. */
static struct active *find_place(struct kv_engine *engine, const struct kv_row_key *key)
{
    struct active *place = NULL;
    for (size_t i = 0; i < RUNS_MAX; i++) {
        struct active *active = &engine->active[i];
        if (active->engine == NULL)
            place = active;
        else if (memcmp(&active->key, key, sizeof(*key)) == 0)
            return NULL;
    }
    return place;
}

/* The vault that a row is about; NULL: nothing can be done with it now. */
static struct kv_vault *vault_of(struct kv_engine *engine, const struct kv_row_key *key)
{
    struct kv_vault *vault = key->kind == KV_KIND_VAULT
                                 ? kv_service_vault_of_name(engine->service, key->name)
                                 : kv_service_vault_by_id(engine->service, key->vault);
    bool is_taken = vault != NULL &&
                    (key->kind == KV_KIND_VAULT ? vault->is_busy
                                                : vault->state == KV_VAULT_PURGING);
    return is_taken ? NULL : vault;
}

static int start_work(struct active *place, struct kv_vault *vault)
{
    struct kv_service *service = place->engine->service;
    const struct kv_row_key *key = &place->key;
    if (key->kind == KV_KIND_OPERATION)
        return kv_run_start(service, vault, key->name, on_run_end, place);
    if (key->kind == KV_KIND_ROTATION)
        return kv_rotation_run(service, vault, key->name, on_run_end, place);
    if (key->kind == KV_KIND_VAULT)
        return kv_vault_purge_due(service, key->name, on_run_end, place);
    return kv_name_purge_due(service, vault, key, on_run_end, place);
}

static void start_run(struct kv_engine *engine, const struct kv_row_key *key)
{
    struct kv_vault *vault = vault_of(engine, key);
    struct active *place = vault != NULL ? find_place(engine, key) : NULL;
    if (place == NULL)
        return;
    place->engine = engine;
    place->key = *key;
    int rc = start_work(place, vault);
    if (rc != 0) {
        place->engine = NULL;
        delay(engine);
    }
}

/* Milliseconds until a time, at least one second so that a row that cannot run does
 * not turn the loop. */
static uint64_t ms_until(const struct kv_engine *engine, int64_t at_s)
{
    int64_t wait_s = at_s - kv_now_s(engine->service->clock);
    if (wait_s < 1)
        return 1000;
    return wait_s < IDLE_S ? (uint64_t)wait_s * 1000 : IDLE_MS;
}

/* Whether a row with a date is one that something is done for. */
static bool is_work(const struct kv_row *row)
{
    return row->key.kind == KV_KIND_OPERATION || row->key.kind == KV_KIND_ROTATION ||
           (row->flags & KV_ROW_DELETED) != 0;
}

/* The due rows of one page. */
struct page {
    struct kv_row_key due[KV_STORE_LIST_MAX];
    size_t at[KV_STORE_LIST_MAX]; /* where they stand among the rows */
    size_t n_due;
    size_t n_seen;    /* rows before the first that is not due yet */
    uint64_t next_ms; /* when that is */
    bool is_last;
};

static void read_page(const struct kv_engine *engine, const struct kv_task *task,
                      struct page *page)
{
    int64_t now_s = kv_now_s(engine->service->clock);
    *page = (struct page){.next_ms = IDLE_MS,
                          .is_last = task->n_objects < KV_STORE_LIST_MAX};
    for (; page->n_seen < task->n_objects; page->n_seen++) {
        const struct kv_row *row = &task->objects[page->n_seen].row;
        if (!is_work(row))
            continue;
        if (row->next_at_s > now_s) {
            page->next_ms = ms_until(engine, row->next_at_s);
            page->is_last = true;
            break;
        }
        page->at[page->n_due] = page->n_seen;
        page->due[page->n_due++] = row->key;
    }
}

/* Start what there are places for; the rows that are dealt with. */
static size_t start_page(struct kv_engine *engine, const struct page *page)
{
    for (size_t i = 0; i < page->n_due && !engine->is_stopped; i++) {
        if (!has_place(engine))
            return page->at[i];
        start_run(engine, &page->due[i]);
    }
    return page->n_seen;
}

/* Where the next scan begins, and when. */
static void go_on(struct kv_engine *engine, const struct page *page, size_t n_done)
{
    uint64_t ms = page->next_ms;
    if (engine->is_again) {
        ms = 0;
    } else if (n_done < page->n_seen) { /* when a run ends */
        engine->skip += (uint32_t)n_done;
        engine->from = engine->skip;
        return;
    } else if (!page->is_last) {
        engine->skip += (uint32_t)n_done;
        look_in(engine, 0);
        return;
    } else if (engine->from > 0) { /* what failed before it */
        uint64_t retry_ms = engine->delay_ms > 0 ? engine->delay_ms : DELAY_MIN_MS;
        ms = ms < retry_ms ? ms : retry_ms;
    }
    engine->is_again = false;
    engine->skip = 0;
    engine->from = 0;
    look_in(engine, ms);
}

static void scanned(struct kv_task *task)
{
    struct kv_engine *engine = (struct kv_engine *)task;
    struct page page;
    read_page(engine, task, &page);
    kv_task_fini(task);
    engine->is_scanning = false;
    look_in(engine, IDLE_MS);
    go_on(engine, &page, start_page(engine, &page));
}

static void scan_failed(struct kv_task *task, int rc, const struct kv_err *err)
{
    struct kv_engine *engine = (struct kv_engine *)task;
    engine->is_scanning = false;
    engine->is_again = false;
    if (rc != KV_E_UNAVAILABLE)
        kv_log_err(engine->service->log, KV_LOG_WARN, "cert.delayed", err);
    kv_task_fini(task);
    delay(engine);
}

static void on_timer(uv_timer_t *timer)
{
    struct kv_engine *engine = timer->data;
    struct kv_service *service = engine->service;
    engine->is_delayed = false;
    if (service->is_stopping || engine->is_stopped)
        return;
    if (engine->is_scanning) {
        engine->is_again = true;
        return;
    }
    if (!service->is_ready || !kv_keyring_is_connected(service->keyring)) {
        delay(engine);
        return;
    }
    const struct kv_list_query query = {.what = KV_LIST_DUE,
                                        .due_s = INT64_MAX,
                                        .skip = engine->skip,
                                        .limit = KV_STORE_LIST_MAX};
    engine->is_scanning = true;
    kv_task_init(&engine->scan, service, &service->system, scan_failed);
    kv_task_list(&engine->scan, &query, scanned);
}

int kv_engine_new(struct kv_engine **out, struct kv_service *service)
{
    struct kv_engine *engine = calloc(1, sizeof(*engine));
    if (engine == NULL)
        return KV_E_NOMEM;
    engine->service = service;
    (void)uv_timer_init(service->loop, &engine->timer);
    engine->timer.data = engine;
    *out = engine;
    return 0;
}

void kv_engine_kick(struct kv_engine *engine)
{
    if (engine != NULL)
        look_in(engine, 0);
}

void kv_engine_stop(struct kv_engine *engine)
{
    if (engine == NULL || engine->is_stopped)
        return;
    engine->is_stopped = true;
    uv_close((uv_handle_t *)&engine->timer, NULL);
}

void kv_engine_free(struct kv_engine *engine)
{
    free(engine);
}
