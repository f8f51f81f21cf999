/*
 * Segments begin and are deleted.
 *
 * What the disk has and what the keyring remembers decide together where the log goes
 * on (plan): the tail of the last segment is checked with that segment's key, what is
 * cut is taken off, and what the keyring has seen beyond it is told to be lost.
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle/audit/internal.h"
#include "store/core/secret.h"

/* A job, and what it works on. */
struct job {
    struct kv_audit_item item;
    uint64_t last; /* scan */
    struct kv_audit_tail tail;
    struct kv_audit_next next;
    struct kv_audit_old old;
    struct kv_audit_mark anchor;
};

/* --- beginning a segment ------------------------------------------------------------
 */

static void end_start(struct kv_audit *audit, int rc, const struct kv_err *err)
{
    kv_audit_start_cb cb = audit->on_started;
    audit->on_started = NULL;
    if (cb != NULL)
        cb(audit->on_started_arg, rc, err);
}

/* A segment could not be begun. While the old one is good, it goes on. */
static void give_up(struct kv_audit *audit, struct job *job, int rc,
                    const struct kv_err *err)
{
    struct kv_err local = KV_ERR_INIT;
    if (err == NULL || err->code == 0) {
        kv_err_set(&local, rc, "audit.stopped", "the audit log cannot be begun: %s",
                   kv_code_text(rc));
        err = &local;
    }
    kv_wipe(job, sizeof(*job));
    free(job);
    if (audit->state == KV_AUDIT_ROTATING) {
        kv_log_err(audit->config.log, KV_LOG_WARN, "audit.not-rotated", err);
        audit->rotate_at_ms = kv_audit_now_ms(audit) + KV_AUDIT_ROTATE_AGAIN_MS;
        kv_audit_release_held(audit);
        return;
    }
    audit->state = KV_AUDIT_STOPPED;
    struct kv_err copy = *err;
    end_start(audit, rc, &copy);
    kv_audit_calm(audit);
}

static void retire_old(struct kv_audit *audit);

static void on_begun(struct kv_audit_item *item, int rc, const struct kv_err *err)
{
    struct kv_audit *audit = item->arg;
    struct job *job = (struct job *)item;
    if (rc != 0) {
        give_up(audit, job, rc, err);
        return;
    }
    const struct kv_audit_opening *opening = &job->next.opening;
    memcpy(audit->key, job->next.key, sizeof(audit->key));
    audit->next_seq = job->next.seq + 1;
    audit->opened_ms = kv_audit_now_ms(audit);
    audit->sealed = opening->mark;
    audit->sealed_ms = audit->opened_ms;
    kv_log(audit->config.log, KV_LOG_INFO, "audit.segment",
           KV_I("segment", opening->mark.segment), KV_I("seq", job->next.seq));
    kv_wipe(job, sizeof(*job));
    free(job);
    kv_audit_release_held(audit);
    retire_old(audit);
    end_start(audit, 0, NULL);
    kv_audit_calm(audit);
}

static int run_next(struct kv_audit_segment *segment, struct kv_audit_item *item,
                    struct kv_err *err)
{
    return kv_audit_segment_next(segment, &((struct job *)item)->next, err);
}

static void on_opened(void *arg, int rc, struct kv_bytes payload,
                      const struct kv_err *err)
{
    struct job *job = arg;
    struct kv_audit *audit = job->item.arg;
    struct kv_role_audit_opened msg;
    audit->n_calls--;
    if (rc == 0)
        rc = kv_role_audit_opened_get(payload, &msg);
    if (rc != 0) {
        give_up(audit, job, rc, err);
        return;
    }
    struct kv_audit_opening *opening = &job->next.opening;
    memcpy(job->next.key, msg.key, sizeof(job->next.key));
    opening->after = msg.sealed.after;
    memcpy(opening->seal, msg.sealed.seal, sizeof(opening->seal));
    kv_wipe(&msg, sizeof(msg));
    opening->lost_to = opening->after.seq > opening->mark.seq ? opening->after.seq : 0;
    job->next.seq = (opening->lost_to != 0 ? opening->lost_to : opening->mark.seq) + 1;
    job->item.run = run_next;
    job->item.done = on_begun;
    kv_audit_writer_push(audit->writer, &job->item);
}

static void ask_opening(struct kv_audit *audit, struct job *job)
{
    int rc = kv_audit_ask_mark(audit, KV_ROLE_AUDIT_OPEN, &job->next.opening.mark,
                               on_opened, job);
    if (rc != 0)
        give_up(audit, job, rc, NULL);
}

/* What the log has, and what the keyring remembers, decide where it goes on. */
static void plan(struct kv_audit *audit, struct job *job)
{
    struct kv_audit_opening *opening = &job->next.opening;
    const struct kv_audit_mark *anchor = &job->anchor;
    uint64_t newest = job->last > anchor->segment ? job->last : anchor->segment;
    if (newest == UINT64_MAX || job->tail.last.seq >= UINT64_MAX - 1 ||
        anchor->seq >= UINT64_MAX - 1) {
        give_up(audit, job, KV_E_TOO_BIG, NULL);
        return;
    }
    opening->prev_segment = job->last;
    opening->mark = job->tail.last.seq > 0 ? job->tail.last : *anchor;
    opening->mark.segment = newest + 1;
    opening->torn = job->tail.torn;
    if (job->tail.is_damaged || anchor->seq > opening->mark.seq)
        kv_log(audit->config.log, KV_LOG_ERROR, "audit.damaged",
               KV_I("segment", job->last), KV_I("last_good", opening->mark.seq),
               KV_I("sealed", anchor->seq));
    ask_opening(audit, job);
}

static void on_tail(struct kv_audit_item *item, int rc, const struct kv_err *err)
{
    struct job *job = (struct job *)item;
    if (rc != 0)
        give_up(item->arg, job, rc, err);
    else
        plan(item->arg, job);
}

static int run_tail(struct kv_audit_segment *segment, struct kv_audit_item *item,
                    struct kv_err *err)
{
    return kv_audit_segment_tail(segment, &((struct job *)item)->tail, err);
}

static void ask_key(struct kv_audit *audit, struct job *job, uint16_t n);

static void on_key(void *arg, int rc, struct kv_bytes payload, const struct kv_err *err)
{
    struct job *job = arg;
    struct kv_audit *audit = job->item.arg;
    struct kv_role_audit_keys *msg = calloc(1, sizeof(*msg));
    audit->n_calls--;
    if (rc == 0)
        rc = msg != NULL ? kv_role_audit_keys_get(payload, msg) : KV_E_NOMEM;
    if (rc == KV_E_DENIED) { /* the keyring knows of no such segment */
        job->tail.is_damaged = true;
        ask_key(audit, job, 0);
    } else if (rc != 0) {
        give_up(audit, job, rc, err);
    } else {
        job->anchor = msg->last;
        if (msg->n == 1) {
            memcpy(job->tail.key, msg->key[0], sizeof(job->tail.key));
            job->tail.segment = job->last;
            job->item.run = run_tail;
            job->item.done = on_tail;
            kv_audit_writer_push(audit->writer, &job->item);
        } else {
            plan(audit, job);
        }
    }
    if (msg != NULL)
        kv_wipe(msg, sizeof(*msg));
    free(msg);
}

static void ask_key(struct kv_audit *audit, struct job *job, uint16_t n)
{
    struct kv_buf payload;
    const struct kv_role_audit_range msg = {.first = job->last, .n = n};
    kv_buf_init(&payload, 64);
    kv_role_audit_range_put(&payload, &msg);
    int rc = kv_audit_ask(audit, KV_ROLE_AUDIT_KEYS, &payload, on_key, job);
    if (rc != 0)
        give_up(audit, job, rc, NULL);
}

static void on_scanned(struct kv_audit_item *item, int rc, const struct kv_err *err)
{
    struct job *job = (struct job *)item;
    if (rc != 0)
        give_up(item->arg, job, rc, err);
    else
        ask_key(item->arg, job, job->last > 0 ? 1 : 0);
}

static int run_scan(struct kv_audit_segment *segment, struct kv_audit_item *item,
                    struct kv_err *err)
{
    return kv_audit_segment_scan(segment, &((struct job *)item)->last, err);
}

static struct job *job_new(struct kv_audit *audit)
{
    struct job *job = calloc(1, sizeof(*job));
    if (job != NULL)
        job->item.arg = audit;
    return job;
}

void kv_audit_start(struct kv_audit *audit, kv_audit_start_cb cb, void *arg)
{
    if (kv_audit_is_running(audit)) {
        if (cb != NULL)
            cb(arg, 0, NULL);
        return;
    }
    audit->on_started = cb;
    audit->on_started_arg = arg;
    if (audit->state == KV_AUDIT_STARTING)
        return;
    struct job *job = job_new(audit);
    audit->state = KV_AUDIT_STARTING;
    if (job == NULL) {
        audit->state = KV_AUDIT_STOPPED; /* the timer tries again */
        return;
    }
    job->item.run = run_scan;
    job->item.done = on_scanned;
    kv_audit_writer_push(audit->writer, &job->item);
}

/* --- rotation and retention ---------------------------------------------------------
 */

void kv_audit_rotate(struct kv_audit *audit)
{
    uint64_t n_bytes = 0;
    struct job *job = job_new(audit);
    if (job == NULL) {
        audit->rotate_at_ms = kv_audit_now_ms(audit) + KV_AUDIT_ROTATE_AGAIN_MS;
        kv_audit_release_held(audit);
        return;
    }
    struct kv_audit_opening *opening = &job->next.opening;
    kv_audit_writer_last(audit->writer, &opening->mark, &n_bytes);
    opening->prev_segment = opening->mark.segment;
    opening->mark.segment++;
    ask_opening(audit, job);
}

static void on_removed(struct kv_audit_item *item, int rc, const struct kv_err *err)
{
    struct kv_audit *audit = item->arg;
    if (rc != 0)
        kv_log_err(audit->config.log, KV_LOG_WARN, "audit.not-removed", err);
    free(item);
    kv_audit_calm(audit);
}

static int run_remove(struct kv_audit_segment *segment, struct kv_audit_item *item,
                      struct kv_err *err)
{
    return kv_audit_segment_remove(segment, ((struct job *)item)->last, err);
}

/* The record that a segment is deleted is durable: delete it. */
static void on_retired(void *arg, int rc, const struct kv_err *err)
{
    struct job *job = arg;
    struct kv_audit *audit = job->item.arg;
    (void)err; /* the log has stopped, and said so */
    if (rc != 0) {
        free(job);
        return;
    }
    job->item.run = run_remove;
    job->item.done = on_removed;
    kv_audit_writer_push(audit->writer, &job->item);
}

static void on_old(struct kv_audit_item *item, int rc, const struct kv_err *err)
{
    struct kv_audit *audit = item->arg;
    struct job *job = (struct job *)item;
    if (rc != 0)
        kv_log_err(audit->config.log, KV_LOG_WARN, "audit.not-removed", err);
    for (size_t i = 0; rc == 0 && i < job->old.n; i++) {
        struct job *removal = job_new(audit);
        if (removal == NULL)
            break;
        removal->last = job->old.end[i].segment;
        struct kv_buf *body = kv_audit_begin(audit, "retire");
        kv_audit_put_retire(body, &job->old.end[i]);
        if (kv_audit_end(audit, on_retired, removal, NULL) != 0) {
            free(removal);
            break;
        }
    }
    free(job);
    kv_audit_calm(audit);
}

static int run_old(struct kv_audit_segment *segment, struct kv_audit_item *item,
                   struct kv_err *err)
{
    return kv_audit_segment_old(segment, &((struct job *)item)->old, err);
}

static void retire_old(struct kv_audit *audit)
{
    struct job *job = job_new(audit);
    if (job == NULL)
        return; /* the next rotation does it */
    job->old.keep_bytes = audit->config.keep * audit->config.segment_bytes;
    job->item.run = run_old;
    job->item.done = on_old;
    kv_audit_writer_push(audit->writer, &job->item);
}
