/*
 * GET /keyvault/v1/audit: where the audit log stands; GET /keyvault/v1/audit/verify: is
 * it whole?
 *
 *   keys of all segments, page by page -> the check, on libuv's pool -> the seals that
 *   it met, page by page, to the keyring -> reply
 *
 * The keyring gives segments' keys, but checks seals itself. What is written meanwhile
 * does not count.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/audit/audit.h"
#include "lifecycle/audit/files.h"
#include "store/core/secret.h"
#include "store/keyring/role_audit.h"

#define SEALS_MAX ((size_t)4 << 20)

struct check {
    struct kv_call *call;
    uv_work_t work;
    struct kv_audit_state state; /* when it began */
    struct kv_audit_mark anchor;
    uint64_t first; /* segments first to last have the keys below */
    uint64_t last;
    struct kv_buf keys;
    struct kv_buf seals; /* of struct kv_role_audit_seal, met by the check */
    size_t n_checked;
    int rc;
    struct kv_err err;
    struct kv_audit_report report;
};

static void check_free(void *data)
{
    struct check *check = data;
    kv_buf_free(&check->keys);
    kv_buf_free(&check->seals);
    free(check);
}

static struct check *check_of(struct kv_task *task)
{
    return kv_call_of(task)->data;
}

static json_t *findings_json(const struct kv_audit_report *report)
{
    json_t *array = json_array();
    size_t n = report->n_findings < KV_AUDIT_FINDINGS_MAX ? report->n_findings
                                                          : KV_AUDIT_FINDINGS_MAX;
    for (size_t i = 0; i < n; i++) {
        const struct kv_audit_finding *finding = &report->findings[i];
        array =
            kv_json_append(array, json_pack("{s:s,s:I,s:s,s:s}", "file", finding->file,
                                            "line", (json_int_t)finding->line, "what",
                                            kv_audit_damage_name(finding->damage),
                                            "text", finding->text));
    }
    return array;
}

static void reply(struct kv_task *task)
{
    const struct check *check = check_of(task);
    const struct kv_audit_report *report = &check->report;
    kv_call_reply(
        kv_call_of(task), 200,
        json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:o}", "directory", check->state.dir,
                  "segments", (json_int_t)report->n_segments, "records",
                  (json_int_t)report->n_records, "lastSeq",
                  (json_int_t)report->last.seq, "sealedSeq",
                  (json_int_t)check->anchor.seq, "nFindings",
                  (json_int_t)report->n_findings, "findings", findings_json(report)));
}

/* --- the seals, by the keyring
 * -------------------------------------------------------- */

static void check_seals(struct kv_task *task);

static void note_false(struct check *check, const struct kv_role_audit_seal *seal)
{
    struct kv_audit_report *report = &check->report;
    size_t at = report->n_findings++;
    if (at >= KV_AUDIT_FINDINGS_MAX)
        return;
    struct kv_audit_finding *finding = &report->findings[at];
    memset(finding, 0, sizeof(*finding));
    finding->damage = KV_AUDIT_SPLICE;
    kv_audit_file_name(seal->mark.segment, finding->file);
    (void)snprintf(finding->text, sizeof(finding->text),
                   "the seal of record %llu is not the keyring's",
                   (unsigned long long)seal->mark.seq);
}

static void seals_checked(struct kv_task *task)
{
    struct check *check = check_of(task);
    const struct kv_role_audit_seal *rows =
        (const struct kv_role_audit_seal *)(const void *)check->seals.data;
    struct kv_role_audit_checked msg = {.n = 0};
    if (kv_role_audit_checked_get(task->payload, &msg) != 0) {
        kv_task_fail(task, KV_E_INTERNAL, NULL);
        return;
    }
    for (uint16_t i = 0; i < msg.n; i++)
        if (msg.is_true[i] == 0)
            note_false(check, &rows[check->n_checked + i]);
    check->n_checked += msg.n;
    check_seals(task);
}

static void check_seals(struct kv_task *task)
{
    struct check *check = check_of(task);
    const struct kv_role_audit_seal *rows =
        (const struct kv_role_audit_seal *)(const void *)check->seals.data;
    size_t n = check->seals.len / sizeof(*rows) - check->n_checked;
    if (n == 0) {
        reply(task);
        return;
    }
    struct kv_buf payload;
    struct kv_role_audit_seals *msg = calloc(1, sizeof(*msg));
    if (msg == NULL) {
        kv_task_fail(task, KV_E_NOMEM, NULL);
        return;
    }
    msg->n = (uint16_t)(n < KV_AUDIT_BATCH_MAX ? n : KV_AUDIT_BATCH_MAX);
    memcpy(msg->row, rows + check->n_checked, msg->n * sizeof(*rows));
    kv_buf_init(&payload, KV_FRAME_MAX_ROLE);
    kv_role_audit_seals_put(&payload, msg);
    free(msg);
    kv_task_keyring(task, KV_ROLE_AUDIT_CHECK, &payload, seals_checked);
}

/* --- the check, on the pool
 * ----------------------------------------------------------- */

static int key_of(void *arg, uint64_t segment, uint8_t out[KV_AUDIT_KEY_LEN])
{
    const struct check *check = arg;
    if (segment < check->first || segment > check->last)
        return KV_E_UNAVAILABLE; /* the log has turned over meanwhile: ask again */
    memcpy(out, check->keys.data + (size_t)(segment - check->first) * KV_AUDIT_KEY_LEN,
           KV_AUDIT_KEY_LEN);
    return 0;
}

static int keep_seal(void *arg, enum kv_audit_seal_kind kind,
                     const struct kv_audit_mark *mark,
                     const struct kv_audit_mark *after,
                     const uint8_t seal[KV_AUDIT_MAC_LEN])
{
    struct check *check = arg;
    struct kv_role_audit_seal row;
    memset(&row, 0, sizeof(row));
    row.kind = (uint8_t)kind;
    row.mark = *mark;
    row.sealed.after = *after;
    memcpy(row.sealed.seal, seal, KV_AUDIT_MAC_LEN);
    return kv_buf_append(&check->seals, &row, sizeof(row));
}

static void run(uv_work_t *work)
{
    struct check *check = work->data;
    const struct kv_audit_keys keys = {
        .segment_key = key_of, .check_seal = keep_seal, .arg = check};
    const struct kv_audit_until until = {.segment = check->state.last.segment,
                                         .n_bytes = check->state.n_bytes};
    check->rc = kv_audit_verify_dir(check->state.dir, &keys, &check->anchor, &until,
                                    &check->report, &check->err);
}

static void on_run(uv_work_t *work, int status)
{
    struct check *check = work->data;
    struct kv_task *task = &check->call->task;
    (void)status; /* nobody cancels it */
    task->service->n_running--;
    if (check->rc != 0)
        kv_task_fail(task, check->rc, check->err.code != 0 ? &check->err : NULL);
    else
        check_seals(task);
}

static void start(struct kv_task *task)
{
    struct check *check = check_of(task);
    /* The anchor was asked for first: what it names is durable by now. */
    kv_audit_state(task->service->audit, &check->state);
    task->service->n_running++;
    if (uv_queue_work(task->service->loop, &check->work, run, on_run) == 0)
        return;
    task->service->n_running--;
    kv_task_fail(task, KV_E_NOMEM, NULL);
}

/* --- the keys
 * ------------------------------------------------------------------------- */

static void ask_keys(struct kv_task *task);

static void got_keys(struct kv_task *task)
{
    struct check *check = check_of(task);
    struct kv_role_audit_keys *msg = calloc(1, sizeof(*msg));
    int rc = msg != NULL ? kv_role_audit_keys_get(task->payload, msg) : KV_E_NOMEM;
    if (rc == 0) {
        if (check->keys.len == 0)
            check->anchor = msg->last;
        rc = kv_buf_append(&check->keys, msg->key, (size_t)msg->n * KV_AUDIT_KEY_LEN);
    }
    if (msg != NULL)
        kv_wipe(msg, sizeof(*msg));
    free(msg);
    if (rc != 0)
        kv_task_fail(task, rc, NULL);
    else
        ask_keys(task);
}

static void ask_keys(struct kv_task *task)
{
    struct check *check = check_of(task);
    const uint64_t next = check->first + check->keys.len / KV_AUDIT_KEY_LEN;
    struct kv_buf payload;
    if (next > check->last) {
        start(task);
        return;
    }
    const uint64_t n = check->last - next + 1;
    const struct kv_role_audit_range msg = {
        .first = next,
        .n = (uint16_t)(n < KV_AUDIT_BATCH_MAX ? n : KV_AUDIT_BATCH_MAX)};
    kv_buf_init(&payload, 64);
    kv_role_audit_range_put(&payload, &msg);
    kv_task_keyring(task, KV_ROLE_AUDIT_KEYS, &payload, got_keys);
}

/* Which segments there are. */
static int look(struct check *check, struct kv_err *err)
{
    int dir_fd = -1;
    uint64_t *numbers = NULL;
    size_t n = 0;
    int rc = kv_audit_dir_open(check->state.dir, &dir_fd, err);
    if (rc == 0)
        rc = kv_audit_files_list(dir_fd, &numbers, &n, err);
    check->last = check->state.last.segment;
    check->first = n > 0 && numbers[0] < check->last ? numbers[0] : check->last;
    if (check->last - check->first >= KV_AUDIT_SEGMENTS_MAX)
        check->first = check->last - KV_AUDIT_SEGMENTS_MAX + 1;
    free(numbers);
    if (dir_fd >= 0)
        (void)close(dir_fd);
    return rc;
}

/* The log is the installation's. */
static int may(const struct kv_call *call, struct kv_err *err)
{
    const struct kv_access_object installation = {.vault = NULL};
    int rc = kv_call_check_management(call, &installation, KV_MANAGE_AUDIT, err);
    if (rc != 0 || call->task.service->audit != NULL)
        return rc;
    return kv_err_set(err, KV_E_UNSUPPORTED, "audit.not-kept",
                      "this service keeps no audit log");
}

void kv_admin_audit_verify(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    int rc = may(call, &err);
    struct check *check = rc == 0 ? calloc(1, sizeof(*check)) : NULL;
    if (rc == 0 && check == NULL)
        rc = KV_E_NOMEM;
    if (rc == 0) {
        call->data = check;
        call->data_free = check_free;
        check->call = call;
        check->work.data = check;
        kv_buf_init_secret(&check->keys,
                           (size_t)KV_AUDIT_SEGMENTS_MAX * KV_AUDIT_KEY_LEN);
        kv_buf_init(&check->seals, SEALS_MAX * sizeof(struct kv_role_audit_seal));
        kv_audit_state(call->task.service->audit, &check->state);
        rc = look(check, &err);
    }
    if (rc != 0)
        kv_task_fail(&call->task, rc, &err);
    else
        ask_keys(&call->task);
}

void kv_admin_audit(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_audit_state state;
    int rc = may(call, &err);
    if (rc != 0) {
        kv_task_fail(&call->task, rc, &err);
        return;
    }
    kv_audit_state(call->task.service->audit, &state);
    kv_call_reply(
        call, 200,
        json_pack("{s:s,s:b,s:I,s:I,s:I,s:I}", "directory", state.dir, "isRunning",
                  state.is_running, "segment", (json_int_t)state.last.segment, "seq",
                  (json_int_t)state.last.seq, "bytes", (json_int_t)state.n_bytes,
                  "sealedSeq", (json_int_t)state.sealed.seq));
}
