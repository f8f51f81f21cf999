/*
 * Rotation of keys: the policy of a key, and a new version on request.
 *
 *   GET   key -> policy -> reply                     a key without one has the default
 *   PUT   key -> policy -> check -> commit -> reply
 *   POST  kv_rotate_start -> reply
 */
#include "lifecycle/service/rotation.h"

#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/api/keys.h"
#include "lifecycle/certs/engine.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define NOTICE "P30D"
#define EXPIRY_DAYS_MIN 28
#define ROTATE_DAYS_MIN 7 /* after creation, and before expiry */

/* --- the policy in the request ------------------------------------------------------
 */

static int bad(struct kv_err *err, const char *text)
{
    return kv_err_set(err, KV_E_INVALID, "api.bad-field", "%s", text);
}

static int read_duration(const json_t *object, const char *field, const char **text,
                         struct kv_err *err)
{
    struct kv_duration duration;
    int rc = kv_json_string(object, field, KV_OPTIONAL, text, err);
    if (rc == 0 && *text != NULL && kv_duration_read(*text, &duration) != 0)
        rc = kv_err_set(err, KV_E_INVALID, "api.bad-field",
                        "the member '%s' must be an ISO 8601 duration of days, weeks, "
                        "months or years, as P90D",
                        field);
    return rc;
}

/* One entry of lifetimeActions into "rotate" or "notify" of the stored policy. */
static int read_action(const json_t *given, json_t *doc, struct kv_err *err)
{
    const json_t *trigger = NULL;
    const json_t *action = NULL;
    const char *type = NULL;
    const char *after = NULL;
    const char *before = NULL;
    int rc = 0;
    if (!json_is_object(given))
        return bad(err, "each entry of 'lifetimeActions' must be an object");
    KV_TRY(kv_json_object(given, "trigger", KV_REQUIRED, &trigger, err));
    KV_TRY(kv_json_object(given, "action", KV_REQUIRED, &action, err));
    KV_TRY(kv_json_string(action, "type", KV_REQUIRED, &type, err));
    KV_TRY(read_duration(trigger, "timeAfterCreate", &after, err));
    KV_TRY(read_duration(trigger, "timeBeforeExpiry", &before, err));
    if ((after == NULL) == (before == NULL))
        return bad(err, "a trigger needs one of 'timeAfterCreate' and "
                        "'timeBeforeExpiry'");
    bool is_rotate = kv_str_equal_nocase(type, "Rotate");
    if (!is_rotate && !kv_str_equal_nocase(type, "Notify"))
        return bad(err, "the member 'type' of an action must be Rotate or Notify");
    const char *field = is_rotate ? "rotate" : "notify";
    if (json_object_get(doc, field) != NULL)
        return bad(err, "'lifetimeActions' may have one Rotate and one Notify");
    rc =
        json_object_set_new(doc, field,
                            json_pack("{s:s,s:b}", "at", after != NULL ? after : before,
                                      "beforeExpiry", before != NULL));
    if (rc != 0)
        rc = KV_E_NOMEM;
out:
    return rc;
}

static int check_times(const struct kv_rotation *policy, struct kv_err *err)
{
    const struct kv_rotation_action *rotate = &policy->rotate;
    int expiry = kv_duration_days(&policy->expiry);
    int at = kv_duration_days(&rotate->at);
    if (policy->has_expiry && expiry < EXPIRY_DAYS_MIN)
        return bad(err, "the member 'expiryTime' must be at least P28D");
    if (!rotate->is_set)
        return 0;
    if (at < ROTATE_DAYS_MIN)
        return bad(err,
                   "a key is rotated at the earliest P7D after its creation and at "
                   "the latest P7D before it expires");
    if (rotate->is_before_expiry && !policy->has_expiry)
        return bad(err, "a rotation before the expiry needs the member 'expiryTime': "
                        "the new version would never expire");
    if (policy->has_expiry && expiry - at < ROTATE_DAYS_MIN)
        return bad(err, "between rotation and expiry, and between creation and "
                        "rotation, there must be at least P7D");
    return 0;
}

/* The policy to store, without its dates. */
static int read_policy(const json_t *body, json_t **out, struct kv_err *err)
{
    struct kv_rotation policy;
    const json_t *attributes = NULL;
    const json_t *actions = json_object_get(body, "lifetimeActions");
    const char *expiry = NULL;
    json_t *doc = json_object();
    int rc = 0;
    if (actions != NULL && !json_is_null(actions) && !json_is_array(actions)) {
        rc = bad(err, "the member 'lifetimeActions' must be an array");
        goto out;
    }
    for (size_t i = 0; i < json_array_size(actions); i++)
        KV_TRY(read_action(json_array_get(actions, i), doc, err));
    if (json_object_get(doc, "notify") == NULL &&
        json_object_set_new(doc, "notify",
                            json_pack("{s:s,s:b}", "at", NOTICE, "beforeExpiry", 1)) !=
            0)
        rc = KV_E_NOMEM;
    KV_TRY(rc);
    KV_TRY(kv_json_object(body, "attributes", KV_OPTIONAL, &attributes, err));
    KV_TRY(read_duration(attributes, "expiryTime", &expiry, err));
    if (expiry != NULL && json_object_set_new(doc, "expiry", json_string(expiry)) != 0)
        rc = KV_E_NOMEM;
    KV_TRY(rc);
    kv_rotation_read(doc, &policy);
    KV_TRY(check_times(&policy, err));
    *out = json_incref(doc);
out:
    json_decref(doc);
    return rc;
}

/* --- the policy in the reply --------------------------------------------------------
 */

static json_t *action_json(const json_t *doc, const char *field, const char *type)
{
    const json_t *action = json_object_get(doc, field);
    const char *at = json_string_value(json_object_get(action, "at"));
    bool is_before = json_is_true(json_object_get(action, "beforeExpiry"));
    return json_pack("{s:{s:s},s:{s:s}}", "trigger",
                     is_before ? "timeBeforeExpiry" : "timeAfterCreate", at, "action",
                     "type", type);
}

/* The policy as the contract shows it; `doc` NULL: the default. */
static json_t *policy_json(const struct kv_call *call, const json_t *doc)
{
    char path[KV_NAME_MAX + 32];
    json_t *actions = json_array();
    json_t *given =
        doc != NULL
            ? json_copy((json_t *)(uintptr_t)doc) /* which does not change it */
            : json_pack("{s:{s:s,s:b}}", "notify", "at", NOTICE, "beforeExpiry", 1);
    if (json_object_get(given, "rotate") != NULL)
        actions = kv_json_append(actions, action_json(given, "rotate", "Rotate"));
    actions = kv_json_append(actions, action_json(given, "notify", "Notify"));
    (void)snprintf(path, sizeof(path), "%s/rotationpolicy", call->name);
    json_t *json = json_pack(
        "{s:o,s:o,s:{s:O*,s:O*,s:O*}}", "id", kv_call_id(call, "keys", path, NULL),
        "lifetimeActions", actions, "attributes", "expiryTime",
        json_object_get(given, "expiry"), "created", json_object_get(given, "created"),
        "updated", json_object_get(given, "updated"));
    json_decref(given);
    return json;
}

/* --- GET -----------------------------------------------------------------------------
 */

static void get_found(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    kv_call_reply(call, 200, policy_json(call, task->object.doc));
}

static void get_key(struct kv_task *task)
{
    kv_task_find(task, KV_KIND_ROTATION, kv_call_of(task)->name, NULL, get_found);
}

static void get_policy(struct kv_call *call)
{
    kv_task_load(&call->task, KV_KIND_KEY, call->name, NULL, get_key);
}

/* --- PUT -----------------------------------------------------------------------------
 */

static void put_done(struct kv_task *task)
{
    kv_engine_kick(task->service->engine);
    kv_call_reply_kept(task);
}

static void put_found(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct kv_err err = KV_ERR_INIT;
    struct kv_row row = task->object.row;
    int64_t now_s = kv_now_s(task->service->clock);
    json_t *doc = NULL;
    int rc = read_policy(call->body, &doc, &err);
    if (rc == 0) {
        row.updated_s = now_s;
        row.created_s = row.row_version == 0 ? now_s : row.created_s;
        row.nbf_s = row.exp_s = KV_TIME_NONE;
        row.next_at_s = now_s; /* the engine finds out what it asks for */
        if (json_object_set_new(doc, "created", json_integer(row.created_s)) != 0 ||
            json_object_set_new(doc, "updated", json_integer(now_s)) != 0 ||
            !kv_call_keep(call, policy_json(call, doc)))
            rc = KV_E_NOMEM;
    }
    if (rc != 0) {
        json_decref(doc);
        kv_task_fail(task, rc, &err);
        return;
    }
    kv_task_put_doc(task, &row, row.row_version, doc);
    kv_task_commit(task, put_done);
}

static void put_key(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct kv_err err = KV_ERR_INIT;
    int rc = kv_call_check_own(call, &task->object.row, &err);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        kv_task_find(task, KV_KIND_ROTATION, call->name, NULL, put_found);
}

static void put_policy(struct kv_call *call)
{
    kv_task_load(&call->task, KV_KIND_KEY, call->name, NULL, put_key);
}

/* --- POST rotate
 * ---------------------------------------------------------------------- */

struct rotating {
    struct kv_rotate rotate; /* first member */
    json_t *bundle;
};

static void rotating_free(void *data)
{
    struct rotating *rotating = data;
    kv_rotate_free(&rotating->rotate);
    json_decref(rotating->bundle);
    kv_wiping_free(rotating);
}

static int keep_bundle(struct kv_task *task, const struct kv_rotate *rotate)
{
    const struct kv_call *call = kv_call_of(task);
    struct rotating *rotating = call->data;
    rotating->bundle = kv_key_bundle(call, &rotate->row, &rotate->info);
    return rotating->bundle != NULL ? 0 : KV_E_NOMEM;
}

static void rotated(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct rotating *rotating = call->data;
    json_t *bundle = rotating->bundle;
    rotating->bundle = NULL;
    kv_engine_kick(task->service->engine);
    kv_call_reply(call, 200, bundle);
}

static void rotate_key(struct kv_call *call)
{
    struct rotating *rotating = kv_wiping_calloc(1, sizeof(*rotating));
    if (rotating == NULL) {
        kv_task_fail(&call->task, KV_E_NOMEM, NULL);
        return;
    }
    rotating->rotate.on_made = keep_bundle;
    call->data = rotating;
    call->data_free = rotating_free;
    kv_rotate_start(&call->task, &rotating->rotate, call->name, rotated);
}

const struct kv_route kv_routes_rotation[] = {
    {"POST", "/keys/{name}/rotate", "rotateKey", KV_ACT_KEY_ROTATE, false, rotate_key},
    {"GET", "/keys/{name}/rotationpolicy", "getKeyRotationPolicy",
     KV_ACT_KEY_POLICY_GET, false, get_policy},
    {"PUT", "/keys/{name}/rotationpolicy", "updateKeyRotationPolicy",
     KV_ACT_KEY_POLICY_SET, true, put_policy},
    {NULL, NULL, NULL, 0, false, NULL},
};
