/*
 * The life of the log on the loop.
 *
 *   IDLE -start-> scan -> key of the last segment -> its tail -> seal -> first record
 *     -> RUNNING -too big or too old-> ROTATING: records are held until the thread is
 *                                      idle; seal -> first record -> RUNNING
 *     -> STOPPED when a record could not be written; each second from the beginning
 *
 * A record gets its number when it goes to the thread, so that those held while a
 * segment is begun come behind its first record.
 */
#include "lifecycle/audit/audit.h"

#include <stdlib.h>
#include <string.h>

#include "lifecycle/audit/internal.h"
#include "store/core/secret.h"

#define TICK_MS 500
#define HELD_MAX 16384
#define REFUSALS_MAX 20 /* with records of their own, in one tick */

int64_t kv_audit_now_ms(const struct kv_audit *audit)
{
    return kv_monotonic_ms(audit->config.clock);
}

/* --- the keyring ------------------------------------------------------------------ */

int kv_audit_ask(struct kv_audit *audit, uint16_t verb, struct kv_buf *payload,
                 kv_keyring_cb cb, void *arg)
{
    int rc = kv_buf_status(payload);
    if (rc == 0)
        rc = kv_keyring_call(audit->config.keyring, verb, payload, cb, arg);
    kv_buf_free(payload);
    if (rc == 0)
        audit->n_calls++;
    return rc;
}

int kv_audit_ask_mark(struct kv_audit *audit, uint16_t verb,
                      const struct kv_audit_mark *mark, kv_keyring_cb cb, void *arg)
{
    struct kv_buf payload;
    const struct kv_role_audit_mark msg = {.mark = *mark};
    kv_buf_init(&payload, 256);
    kv_role_audit_mark_put(&payload, &msg);
    return kv_audit_ask(audit, verb, &payload, cb, arg);
}

/* --- records ---------------------------------------------------------------------- */

struct record {
    kv_audit_cb cb;
    void *arg;
    struct kv_audit *audit;
    struct kv_audit_item item;
};

static struct record *record_of(struct kv_audit_item *item)
{
    return (struct record *)((char *)item - offsetof(struct record, item));
}

static void fail_held(struct kv_audit *audit, int rc, const struct kv_err *err)
{
    struct kv_audit_item *item = audit->held;
    audit->held = NULL;
    audit->held_end = &audit->held;
    audit->n_held = 0;
    while (item != NULL) {
        struct kv_audit_item *next = item->next;
        item->done(item, rc, err);
        item = next;
    }
}

static void push(struct kv_audit *audit, struct kv_audit_item *item)
{
    item->seq = audit->next_seq++;
    kv_audit_writer_push(audit->writer, item);
}

/* The log runs (again): what was held goes to the thread. */
void kv_audit_release_held(struct kv_audit *audit)
{
    struct kv_audit_item *item = audit->held;
    audit->state = KV_AUDIT_RUNNING;
    audit->held = NULL;
    audit->held_end = &audit->held;
    audit->n_held = 0;
    while (item != NULL) {
        struct kv_audit_item *next = item->next;
        push(audit, item);
        item = next;
    }
}

static void stop(struct kv_audit *audit, int rc, const struct kv_err *err)
{
    if (audit->state == KV_AUDIT_STOPPED)
        return;
    if (audit->state != KV_AUDIT_STARTING)
        kv_log_err(audit->config.log, KV_LOG_ERROR, "audit.stopped", err);
    audit->state = KV_AUDIT_STOPPED;
    fail_held(audit, rc, err);
}

static void seal_now(struct kv_audit *audit);

static void on_record(struct kv_audit_item *item, int rc, const struct kv_err *err)
{
    struct record *record = record_of(item);
    struct kv_audit *audit = record->audit;
    if (rc != 0 &&
        (audit->state == KV_AUDIT_RUNNING || audit->state == KV_AUDIT_ROTATING))
        stop(audit, rc, err);
    if (record->cb != NULL)
        record->cb(record->arg, rc, err);
    free(record);
    struct kv_audit_mark last;
    uint64_t n_bytes = 0;
    kv_audit_writer_last(audit->writer, &last, &n_bytes);
    if (audit->state == KV_AUDIT_RUNNING &&
        last.seq - audit->sealed.seq >= KV_AUDIT_CHECKPOINT_RECORDS)
        seal_now(audit);
    kv_audit_calm(audit);
}

struct kv_buf *kv_audit_begin(struct kv_audit *audit, const char *type)
{
    struct kv_clock_reading now;
    kv_clock_read(audit->config.clock, &now);
    kv_audit_body_begin(&audit->body, 0, now.wall_us, type);
    return &audit->body;
}

static int stopped(struct kv_err *err)
{
    kv_err_set(err, KV_E_UNAVAILABLE, "audit.stopped",
               "the audit log cannot be written, so nothing may be done");
    kv_err_hint(err, "see the log of the service; often the disk is full");
    return KV_E_UNAVAILABLE;
}

int kv_audit_end(struct kv_audit *audit, kv_audit_cb cb, void *arg, struct kv_err *err)
{
    const struct kv_buf *body = &audit->body;
    int rc = kv_buf_status(body);
    if (rc != 0)
        return rc;
    if ((audit->state != KV_AUDIT_RUNNING && audit->state != KV_AUDIT_ROTATING) ||
        audit->n_held >= HELD_MAX)
        return stopped(err);
    struct record *record = malloc(sizeof(*record) + body->len);
    if (record == NULL)
        return KV_E_NOMEM;
    memset(record, 0, sizeof(*record));
    record->audit = audit;
    record->cb = cb;
    record->arg = arg;
    record->item.done = on_record;
    record->item.body_len = body->len;
    record->item.body = memcpy(record + 1, body->data, body->len);
    if (audit->state == KV_AUDIT_RUNNING) {
        push(audit, &record->item);
        return 0;
    }
    *audit->held_end = &record->item;
    audit->held_end = &record->item.next;
    audit->n_held++;
    return 0;
}

void kv_audit_put_digest(struct kv_audit *audit, struct kv_buf *body, const char *name,
                         const void *data, size_t len)
{
    uint8_t digest[KV_AUDIT_DIGEST_LEN];
    if (kv_audit_digest(audit->key, name, data, len, digest) == 0)
        kv_audit_put_hex(body, name, digest, sizeof(digest));
}

bool kv_audit_may_refuse(struct kv_audit *audit)
{
    if (audit->n_refusals < REFUSALS_MAX) {
        audit->n_refusals++;
        return true;
    }
    audit->n_uncounted++;
    return false;
}

static void tell_uncounted(struct kv_audit *audit)
{
    audit->n_refusals = 0;
    if (audit->n_uncounted == 0 || audit->state != KV_AUDIT_RUNNING)
        return;
    struct kv_buf *body = kv_audit_begin(audit, "count");
    kv_audit_put_text(body, "what", "refused", 16);
    kv_audit_put_number(body, "n", audit->n_uncounted);
    if (kv_audit_end(audit, NULL, NULL, NULL) == 0)
        audit->n_uncounted = 0;
}

/* --- checkpoints ------------------------------------------------------------------ */

static void on_sealed(void *arg, int rc, struct kv_bytes payload,
                      const struct kv_err *err)
{
    struct kv_audit *audit = arg;
    struct kv_role_audit_sealed msg;
    audit->n_calls--;
    audit->is_sealing = false;
    if (rc == 0)
        rc = kv_role_audit_sealed_get(payload, &msg);
    if (rc != 0)
        kv_log_err(audit->config.log, KV_LOG_WARN, "audit.not-sealed", err);
    /* A new segment's first record has sealed the end of the one before. */
    if (rc == 0 && audit->state == KV_AUDIT_RUNNING &&
        audit->sealing.segment == audit->sealed.segment) {
        struct kv_buf *body = kv_audit_begin(audit, "checkpoint");
        kv_audit_put_checkpoint(body, &audit->sealing, &msg.sealed.after,
                                msg.sealed.seal);
        if (kv_audit_end(audit, NULL, NULL, NULL) == 0)
            audit->sealed = audit->sealing;
    }
    kv_audit_calm(audit);
}

static void seal_now(struct kv_audit *audit)
{
    uint64_t n_bytes = 0;
    if (audit->is_sealing || !kv_keyring_is_connected(audit->config.keyring))
        return;
    kv_audit_writer_last(audit->writer, &audit->sealing, &n_bytes);
    audit->sealed_ms = kv_audit_now_ms(audit);
    if (audit->sealing.seq <= audit->sealed.seq)
        return;
    audit->is_sealing = kv_audit_ask_mark(audit, KV_ROLE_AUDIT_SEAL, &audit->sealing,
                                          on_sealed, audit) == 0;
}

/* --- the clock, and the end ----------------------------------------------------------
 */

static void on_tick(uv_timer_t *timer)
{
    struct kv_audit *audit = timer->data;
    struct kv_audit_mark last;
    uint64_t n_bytes = 0;
    const int64_t now = kv_audit_now_ms(audit);
    tell_uncounted(audit);
    kv_audit_writer_last(audit->writer, &last, &n_bytes);
    bool is_idle = kv_audit_writer_is_idle(audit->writer) && audit->n_calls == 0;
    if (audit->state == KV_AUDIT_STOPPED && is_idle && !audit->is_closing &&
        kv_keyring_is_connected(audit->config.keyring))
        kv_audit_start(audit, audit->on_started, audit->on_started_arg);
    if (audit->state != KV_AUDIT_RUNNING)
        return;
    bool is_old = now - audit->opened_ms >= (int64_t)audit->config.segment_s * 1000;
    if ((is_old || n_bytes >= audit->config.segment_bytes) &&
        now >= audit->rotate_at_ms && kv_keyring_is_connected(audit->config.keyring)) {
        audit->state = KV_AUDIT_ROTATING;
        kv_audit_calm(audit);
        return;
    }
    if (now - audit->sealed_ms >= (int64_t)KV_AUDIT_CHECKPOINT_S * 1000)
        seal_now(audit);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct kv_audit *audit = handle->data;
    void (*cb)(void *arg) = audit->on_closed;
    void *arg = audit->on_closed_arg;
    kv_wipe(audit->key, sizeof(audit->key));
    kv_buf_free(&audit->body);
    free(audit);
    cb(arg);
}

static void on_writer_stopped(void *arg)
{
    struct kv_audit *audit = arg;
    uv_close((uv_handle_t *)&audit->timer, on_timer_closed);
}

/* Nothing is under way: what waited for that may go on. */
void kv_audit_calm(struct kv_audit *audit)
{
    if (audit->n_calls > 0 || !kv_audit_writer_is_idle(audit->writer))
        return;
    if (audit->state == KV_AUDIT_ROTATING) {
        kv_audit_rotate(audit);
        return;
    }
    if (!audit->is_closing)
        return;
    if (!audit->is_last_sealed && audit->state == KV_AUDIT_RUNNING) {
        audit->is_last_sealed = true;
        seal_now(audit);
        if (audit->n_calls > 0)
            return;
    }
    audit->state = KV_AUDIT_IDLE;
    audit->is_closing = false;
    (void)uv_timer_stop(&audit->timer);
    kv_audit_writer_stop(audit->writer, on_writer_stopped, audit);
}

int kv_audit_open(struct kv_audit **out, const struct kv_audit_config *config,
                  struct kv_err *err)
{
    struct kv_audit *audit = calloc(1, sizeof(*audit));
    if (audit == NULL)
        return KV_E_NOMEM;
    audit->config = *config;
    audit->held_end = &audit->held;
    kv_buf_init(&audit->body, KV_AUDIT_UNNUMBERED_MAX);
    int rc = kv_audit_writer_start(&audit->writer, config->loop, config->dir,
                                   config->clock, err);
    if (rc != 0) {
        free(audit);
        return rc;
    }
    KV_ASSERT(uv_timer_init(config->loop, &audit->timer) == 0);
    audit->timer.data = audit;
    KV_ASSERT(uv_timer_start(&audit->timer, on_tick, TICK_MS, TICK_MS) == 0);
    *out = audit;
    return 0;
}

void kv_audit_close(struct kv_audit *audit, void (*cb)(void *arg), void *arg)
{
    audit->is_closing = true;
    audit->on_closed = cb;
    audit->on_closed_arg = arg;
    kv_audit_calm(audit);
}

bool kv_audit_is_running(const struct kv_audit *audit)
{
    return audit->state == KV_AUDIT_RUNNING || audit->state == KV_AUDIT_ROTATING;
}

void kv_audit_state(const struct kv_audit *audit, struct kv_audit_state *out)
{
    out->is_running = kv_audit_is_running(audit);
    out->dir = audit->config.dir;
    out->sealed = audit->sealed;
    kv_audit_writer_last(audit->writer, &out->last, &out->n_bytes);
}
