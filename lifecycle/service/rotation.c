/*
 * What a rotation policy says, and one look at it.
 *
 *   due row -> key's current version -> rotate | tell | neither -> next_at
 */
#include "lifecycle/service/rotation.h"

#include <stdlib.h>
#include <string.h>

#include "store/core/str.h"

#define NOTICE_DAYS 30

/* --- the policy --------------------------------------------------------------------
 */

static void read_action(const json_t *doc, const char *field,
                        struct kv_rotation_action *out)
{
    const json_t *action = json_object_get(doc, field);
    const char *at = json_string_value(json_object_get(action, "at"));
    out->is_before_expiry = json_is_true(json_object_get(action, "beforeExpiry"));
    out->is_set = at != NULL && kv_duration_read(at, &out->at) == 0;
}

void kv_rotation_read(const json_t *doc, struct kv_rotation *out)
{
    *out = (struct kv_rotation){0};
    if (doc == NULL) {
        out->notify = (struct kv_rotation_action){
            .is_set = true, .is_before_expiry = true, .at = {.days = NOTICE_DAYS}};
        return;
    }
    const char *expiry = json_string_value(json_object_get(doc, "expiry"));
    read_action(doc, "rotate", &out->rotate);
    read_action(doc, "notify", &out->notify);
    out->has_expiry = expiry != NULL && kv_duration_read(expiry, &out->expiry) == 0;
}

int64_t kv_rotation_due(const struct kv_rotation_action *action, int64_t created_s,
                        int64_t exp_s)
{
    if (!action->is_set || (action->is_before_expiry && exp_s == KV_TIME_NONE))
        return KV_TIME_NONE;
    return kv_duration_from(&action->at, action->is_before_expiry ? exp_s : created_s,
                            action->is_before_expiry);
}

void kv_rotation_touch(struct kv_task *task, const struct kv_object *policy)
{
    if (policy->row.row_version == 0)
        return;
    struct kv_row row = policy->row;
    row.next_at_s = kv_now_s(task->service->clock);
    kv_task_put_doc(task, &row, row.row_version, json_incref(policy->doc));
}

/* --- a new version -----------------------------------------------------------------
 */

void kv_rotate_free(struct kv_rotate *rotate)
{
    kv_object_free(&rotate->key);
    kv_object_free(&rotate->policy);
}

static void made(struct kv_task *task)
{
    struct kv_rotate *rotate = task->rotate;
    struct kv_role_key_made key = {.n_certs = 0};
    int rc = kv_task_take_key(task, &rotate->row, &key);
    if (rc == 0 && rotate->on_made != NULL) {
        rotate->info = key.info;
        rc = rotate->on_made(task, rotate);
    }
    if (rc != 0) {
        kv_task_fail(task, rc, NULL);
        return;
    }
    task->rotate = NULL;
    kv_task_put_row(task, &rotate->row, 0);
    kv_task_put_head(task, &rotate->head, &rotate->row);
    kv_rotation_touch(task, &rotate->policy);
    kv_task_commit(task, rotate->next);
}

static void got_head(struct kv_task *task)
{
    struct kv_buf payload;
    struct kv_rotation policy;
    struct kv_rotate *rotate = task->rotate;
    const struct kv_key_info *old = &rotate->key.info;
    int64_t now_s = kv_now_s(task->service->clock);
    rotate->head = task->object.row;
    rotate->row = (struct kv_row){.key = rotate->head.key,
                                  .nbf_s = KV_TIME_NONE,
                                  .exp_s = KV_TIME_NONE,
                                  .next_at_s = KV_TIME_NONE};
    int rc = kv_task_new_version(task, rotate->row.key.version);
    if (rc != 0) {
        kv_task_fail(task, rc, NULL);
        return;
    }
    kv_rotation_read(rotate->policy.doc, &policy);
    struct kv_role_key_new request = {
        .kty = old->kty, .curve = old->curve, .bits = old->bits, .attrs = old->attrs};
    request.attrs.is_enabled = true;
    request.attrs.created_s = request.attrs.updated_s = now_s;
    request.attrs.nbf_s = KV_TIME_NONE;
    request.attrs.exp_s = policy.has_expiry
                              ? kv_duration_from(&policy.expiry, now_s, false)
                              : KV_TIME_NONE;
    kv_task_ident(task, &rotate->row.key, 0, &request.ident);
    kv_buf_init_secret(&payload, KV_FRAME_MAX_ROLE);
    kv_role_key_new_put(&payload, &request);
    kv_task_keyring(task, KV_ROLE_KEY_GENERATE, &payload, made);
}

static void got_policy(struct kv_task *task)
{
    struct kv_rotate *rotate = task->rotate;
    rotate->policy = kv_task_take_object(task);
    kv_task_find_head(task, KV_KIND_KEY, rotate->key.row.key.name, got_head);
}

static void got_key(struct kv_task *task)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_rotate *rotate = task->rotate;
    rotate->key = kv_task_take_object(task);
    const char *name = rotate->key.row.key.name;
    if ((rotate->key.row.flags & KV_ROW_MANAGED) != 0) {
        kv_err_set(&err, KV_E_DENIED, "api.managed",
                   "the key '%s' belongs to the certificate of the same name", name);
        kv_err_hint(&err, "renew the certificate: keyvault cert renew %s", name);
        kv_task_fail(task, KV_E_DENIED, &err);
        return;
    }
    kv_task_find(task, KV_KIND_ROTATION, name, NULL, got_policy);
}

void kv_rotate_start(struct kv_task *task, struct kv_rotate *rotate, const char *name,
                     kv_task_fn next)
{
    rotate->next = next;
    task->rotate = rotate;
    kv_task_load(task, KV_KIND_KEY, name, NULL, got_key);
}

/* --- when it is due ----------------------------------------------------------------
 */

struct look {
    struct kv_task task; /* first member */
    char name[KV_NAME_MAX + 1];
    struct kv_object policy;
    struct kv_rotate rotate;
    kv_rotation_cb cb;
    void *arg;
};

static void look_end(struct kv_task *task, int rc, const struct kv_err *err)
{
    struct look *look = (struct look *)task;
    kv_rotation_cb cb = look->cb;
    void *arg = look->arg;
    struct kv_err copy = err != NULL ? *err : KV_ERR_INIT;
    kv_task_fini(task);
    kv_object_free(&look->policy);
    kv_rotate_free(&look->rotate);
    free(look);
    if (rc == KV_E_CONFLICT)
        rc = 0; /* somebody else changed it: the engine looks again */
    cb(arg, rc, rc != 0 ? &copy : NULL);
}

static void look_done(struct kv_task *task)
{
    look_end(task, 0, NULL);
}

static void look_rotated(struct kv_task *task)
{
    const struct look *look = (const struct look *)task;
    char version[KV_VERSION_TEXT_LEN + 1];
    kv_hex_encode(version, look->rotate.row.key.version, KV_ID_LEN);
    kv_log(task->service->log, KV_LOG_INFO, "key.rotated",
           KV_S("vault", task->vault->name), KV_S("name", look->name),
           KV_S("version", version));
    look_end(task, 0, NULL);
}

/* Write the policy's row with the time of the next look. */
static void look_again(struct kv_task *task, int64_t next_at_s, json_t *doc)
{
    const struct look *look = (const struct look *)task;
    struct kv_row row = look->policy.row;
    row.next_at_s = next_at_s;
    kv_task_put_doc(task, &row, row.row_version, doc);
    kv_task_commit(task, look_done);
}

static void tell(struct kv_task *task, const struct kv_object *key)
{
    char exp[KV_TIME_TEXT_MAX];
    kv_time_format(key->row.exp_s, exp);
    kv_log(task->service->log, KV_LOG_WARN, "key.near-expiry",
           KV_S("vault", task->vault->name), KV_S("name", key->row.key.name),
           KV_S("expires", exp));
}

/* The earlier of two times of which either may be none. */
static int64_t earlier(int64_t a_s, int64_t b_s)
{
    if (a_s == KV_TIME_NONE || (b_s != KV_TIME_NONE && b_s < a_s))
        return b_s;
    return a_s;
}

static void look_at_key(struct kv_task *task)
{
    struct look *look = (struct look *)task;
    struct kv_rotation policy;
    char version[KV_VERSION_TEXT_LEN + 1];
    const struct kv_object *key = &task->object;
    const bool is_ours =
        key->row.row_version != 0 && (key->row.flags & KV_ROW_MANAGED) == 0;
    int64_t now_s = kv_now_s(task->service->clock);
    if (!is_ours) { /* deleted: recovery makes the policy due again */
        look_again(task, KV_TIME_NONE, json_incref(look->policy.doc));
        return;
    }
    kv_rotation_read(look->policy.doc, &policy);
    int64_t rotate_s =
        kv_rotation_due(&policy.rotate, key->row.created_s, key->row.exp_s);
    int64_t notify_s =
        kv_rotation_due(&policy.notify, key->row.created_s, key->row.exp_s);
    if (rotate_s != KV_TIME_NONE && rotate_s <= now_s) {
        kv_rotate_start(task, &look->rotate, look->name, look_rotated);
        return;
    }
    kv_hex_encode(version, key->row.key.version, KV_ID_LEN);
    const char *told = json_string_value(json_object_get(look->policy.doc, "notified"));
    json_t *doc = json_copy(look->policy.doc);
    if (told != NULL && strcmp(told, version) == 0) {
        notify_s = KV_TIME_NONE;
    } else if (notify_s != KV_TIME_NONE && notify_s <= now_s) {
        tell(task, key);
        (void)json_object_set_new(doc, "notified", json_string(version));
        notify_s = KV_TIME_NONE;
    }
    look_again(task, earlier(rotate_s, notify_s), doc);
}

static void look_at_policy(struct kv_task *task)
{
    struct look *look = (struct look *)task;
    look->policy = kv_task_take_object(task);
    const struct kv_row *row = &look->policy.row;
    if (row->row_version == 0 || row->next_at_s == KV_TIME_NONE ||
        row->next_at_s > kv_now_s(task->service->clock)) {
        look_end(task, 0, NULL);
        return;
    }
    kv_task_find(task, KV_KIND_KEY, look->name, NULL, look_at_key);
}

int kv_rotation_run(struct kv_service *service, struct kv_vault *vault,
                    const char *name, kv_rotation_cb cb, void *arg)
{
    struct look *look = calloc(1, sizeof(*look));
    if (look == NULL)
        return KV_E_NOMEM;
    int rc = kv_str_copy(look->name, sizeof(look->name), name);
    if (rc != 0) {
        free(look);
        return rc;
    }
    kv_task_init(&look->task, service, vault, look_end);
    look->cb = cb;
    look->arg = arg;
    kv_task_find(&look->task, KV_KIND_ROTATION, look->name, NULL, look_at_policy);
    return 0;
}
