/*
 * Vaults: their rules, and the changes that are one row. Purging is in vaults_purge.c.
 *
 * What is stored is read before each change and decides, never the copy in memory: two
 * changes at once meet in the row, and the second runs again over what the first has
 * made of it. The copy follows when the change is durable. A new vault has its place in
 * the table before it is stored, so that nobody else takes the name or the last place.
 */
#include "lifecycle/service/vaults.h"

#include <stdlib.h>
#include <string.h>

#include "lifecycle/auth/policies.h"
#include "lifecycle/auth/uuid.h"
#include "lifecycle/service/keyring.h"
#include "lifecycle/service/vaults_internal.h"
#include "store/core/str.h"

#define DAY_S INT64_C(86400)

/* --- work ---------------------------------------------------------------------------
 */

static void work_free(struct kv_vault_work *work)
{
    kv_object_free(&work->object);
    kv_access_policies_free(work->policies);
    json_decref(work->policies_json);
    free(work);
}

void kv_vault_work_end(struct kv_vault_work *work, const struct kv_vault_view *view)
{
    kv_vault_cb cb = work->cb;
    void *arg = work->arg;
    kv_task_fini(&work->task);
    cb(arg, 0, view, NULL);
    work_free(work);
}

static void on_forgotten(void *arg, int rc, struct kv_bytes payload,
                         const struct kv_err *err)
{
    (void)arg;
    (void)rc; /* a key that seals nothing is lost with the process */
    (void)payload;
    (void)err;
}

/* Of a vault that was not stored. */
static void forget_key(struct kv_service *service, const struct kv_vault *vault)
{
    struct kv_buf payload;
    struct kv_role_vault_key request = {.term = 0};
    memcpy(request.vault, vault->id, KV_ID_LEN);
    kv_buf_init(&payload, 64);
    kv_role_vault_key_put(&payload, &request);
    kv_keyring_remove_vault_keys(service->keyring, vault->id);
    if (!service->is_stopping && kv_keyring_call(service->keyring, KV_ROLE_VAULT_FORGET,
                                                 &payload, on_forgotten, NULL) != 0)
        kv_log(service->log, KV_LOG_DEBUG, "vault.key-left", KV_S("name", vault->name));
    kv_buf_free(&payload);
}

static void work_fail(struct kv_task *task, int rc, const struct kv_err *err)
{
    struct kv_vault_work *work = (struct kv_vault_work *)task;
    struct kv_err copy = *err;
    struct kv_vault *vault = work->vault;
    kv_vault_cb cb = work->cb;
    void *arg = work->arg;
    if (work->is_purging)
        vault->is_busy = false;
    if (work->is_erasing && vault->state == KV_VAULT_PURGING)
        vault->state = KV_VAULT_DELETED; /* else a recovery came first */
    if (vault != NULL && vault->state == KV_VAULT_CREATING) {
        forget_key(task->service, vault);
        kv_service_vault_remove(task->service, vault);
    }
    kv_task_fini(task);
    work_free(work);
    cb(arg, rc, NULL, &copy);
}

void kv_vault_fail(struct kv_vault_work *work, int rc, const char *id,
                   const char *before, const char *behind)
{
    struct kv_err err = KV_ERR_INIT;
    kv_err_set(&err, rc, id, "%s '%s'%s", before, work->name, behind);
    kv_task_fail(&work->task, rc, &err);
}

struct kv_vault_work *kv_vault_work_new(struct kv_service *service, const char *name,
                                        kv_vault_cb cb, void *arg)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_vault_work *work = calloc(1, sizeof(*work));
    if (work == NULL) {
        kv_err_set(&err, KV_E_NOMEM, "service.no-memory", "out of memory");
        cb(arg, KV_E_NOMEM, NULL, &err);
        return NULL;
    }
    kv_task_init(&work->task, service, &service->system, work_fail);
    work->cb = cb;
    work->arg = arg;
    if (!kv_vault_name_is_valid(name, strlen(name))) {
        kv_err_set(
            &err, KV_E_INVALID, "vault.bad-name",
            "a vault's name has 3 to 24 letters, digits and hyphens, begins with "
            "a letter, and has no double or final hyphen");
        kv_task_fail(&work->task, KV_E_INVALID, &err);
        return NULL;
    }
    kv_str_cut(work->name, sizeof(work->name), name, strlen(name));
    kv_str_fold(work->name);
    work->vault = kv_service_vault_of_name(service, work->name);
    return work;
}

static void loaded(struct kv_task *task)
{
    struct kv_vault_work *work = (struct kv_vault_work *)task;
    work->object = kv_task_take_object(task);
    if (kv_vault_read(task->service, &work->object, &work->view) != 0) {
        kv_vault_fail(work, KV_E_INTEGRITY, "service.damaged", "the row of the vault",
                      " cannot be read");
        return;
    }
    work->next(task);
}

void kv_vault_work_load(struct kv_vault_work *work, kv_task_fn next)
{
    work->next = next;
    kv_task_load(&work->task, KV_KIND_VAULT, work->name, NULL, loaded);
}

void kv_vault_work_put(struct kv_vault_work *work, struct kv_row *row)
{
    kv_task_put_doc(
        &work->task, row, row->row_version,
        kv_vault_doc(&work->view.vault, work->view.tags, work->view.policies));
}

/* Begin work on a vault that is live, or deleted; NULL: the callback has been called.
 */
static struct kv_vault_work *begin(struct kv_service *service, const char *name,
                                   bool is_deleted, kv_vault_cb cb, void *arg)
{
    struct kv_vault_work *work = kv_vault_work_new(service, name, cb, arg);
    if (work == NULL)
        return NULL;
    enum kv_vault_state state =
        work->vault != NULL ? work->vault->state : KV_VAULT_CREATING;
    bool is_found = is_deleted ? state == KV_VAULT_DELETED || state == KV_VAULT_PURGING
                               : state == KV_VAULT_LIVE;
    if (is_found)
        return work;
    work->vault = NULL;
    if (is_deleted)
        kv_vault_fail(work, KV_E_NOT_FOUND, "vault.not-deleted",
                      "there is no deleted vault", "");
    else
        kv_vault_fail(work, KV_E_NOT_FOUND, "vault.not-found", "there is no vault", "");
    return NULL;
}

static void end_with_view(struct kv_vault_work *work)
{
    work->view.row = &work->object.row;
    kv_vault_work_end(work, &work->view);
}

/* Keep what was committed of the row, for the view. */
static void take_row(struct kv_vault_work *work, const struct kv_row *row)
{
    const uint8_t *sealed = work->object.row.sealed; /* its owner stays */
    work->object.row = *row;
    work->object.row.sealed = sealed;
    work->object.row.row_version++;
}

/* --- rules --------------------------------------------------------------------------
 */

static int fixed(const char *what, struct kv_err *err)
{
    return kv_err_set(err, KV_E_INVALID, "vault.fixed",
                      "the %s of a vault cannot be changed", what);
}

/* Take a UUID that only a new vault may choose. */
static int wish_uuid(const char *text, const char *what, bool is_new, char out[37],
                     struct kv_err *err)
{
    char folded[37];
    if (text == NULL)
        return 0;
    if (!kv_uuid_is_valid(text))
        return kv_err_set(err, KV_E_INVALID,
                          strcmp(what, "tenant") == 0 ? "vault.bad-tenant"
                                                      : "vault.bad-subscription",
                          "the %s of a vault is a UUID", what);
    memcpy(folded, text, sizeof(folded));
    kv_str_fold(folded);
    if (!is_new && strcmp(folded, out) != 0)
        return fixed(what, err);
    memcpy(out, folded, sizeof(folded));
    return 0;
}

static int wish_retention(int64_t days, bool is_new, struct kv_vault *vault,
                          struct kv_err *err)
{
    if (days == 0)
        return 0;
    if (days < KV_RETENTION_DAYS_MIN || days > KV_RETENTION_DAYS_MAX)
        return kv_err_set(err, KV_E_INVALID, "vault.bad-retention",
                          "deleted objects are kept for %d to %d days",
                          KV_RETENTION_DAYS_MIN, KV_RETENTION_DAYS_MAX);
    if (!is_new && days != (int64_t)vault->retention_days)
        return fixed("retention", err);
    vault->retention_days = (unsigned)days;
    return 0;
}

static int wish_sku(const char *sku, struct kv_vault *vault, struct kv_err *err)
{
    if (sku == NULL)
        return 0;
    vault->is_premium = kv_str_equal_nocase(sku, "premium");
    if (vault->is_premium || kv_str_equal_nocase(sku, "standard"))
        return 0;
    return kv_err_set(err, KV_E_INVALID, "vault.bad-sku",
                      "a vault is 'standard' or 'premium'");
}

static int wish_protection(enum kv_wish wish, struct kv_vault *vault,
                           struct kv_err *err)
{
    if (wish == KV_WISH_NO && vault->is_purge_protected)
        return kv_err_set(err, KV_E_INVALID, "vault.fixed",
                          "purge protection cannot be switched off");
    if (wish == KV_WISH_YES)
        vault->is_purge_protected = true;
    return 0;
}

static int wish_policies(struct kv_vault_work *work, struct kv_err *err)
{
    const struct kv_vault_wish *wish = work->wish;
    struct kv_vault *vault = &work->view.vault;
    if (wish->uses_policies != KV_WISH_NONE)
        vault->uses_policies = wish->uses_policies == KV_WISH_YES;
    struct kv_access_policies *before = NULL;
    struct kv_access_policies *change = NULL;
    int rc = 0;
    if (wish->policies == NULL)
        return 0;
    KV_TRY(kv_access_policies_parse(wish->policies, &change, err));
    KV_TRY(kv_access_policies_read(work->view.policies, &before));
    KV_TRY(kv_access_policies_change(before, wish->policy_change, change,
                                     &work->policies, err));
    work->policies_json = kv_access_policies_doc(work->policies);
    work->view.policies = work->policies_json;
    rc = work->policies_json != NULL ? 0 : KV_E_NOMEM;
out:
    kv_access_policies_free(change);
    kv_access_policies_free(before);
    return rc;
}

static int apply_wish(struct kv_vault_work *work, bool is_new, struct kv_err *err)
{
    const struct kv_vault_wish *wish = work->wish;
    struct kv_vault *vault = &work->view.vault;
    int rc = 0;
    KV_TRY(wish_sku(wish->sku, vault, err));
    KV_TRY(wish_uuid(wish->tenant, "tenant", is_new, vault->tenant, err));
    KV_TRY(wish_uuid(wish->subscription, "subscription", is_new, vault->subscription,
                     err));
    KV_TRY(wish_retention(wish->retention_days, is_new, vault, err));
    KV_TRY(wish_protection(wish->is_purge_protected, vault, err));
    KV_TRY(wish_policies(work, err));
out:
    return rc;
}

/* All vaults of a subscription belong to its tenant. */
static int check_subscription(const struct kv_service *service,
                              const struct kv_vault *vault, struct kv_err *err)
{
    const char *tenant = NULL;
    if (strcmp(vault->subscription, service->tenant) == 0)
        tenant = service->tenant;
    for (size_t i = 0; i < service->n_vaults; i++)
        if (strcmp(service->vaults[i]->subscription, vault->subscription) == 0)
            tenant = service->vaults[i]->tenant;
    if (tenant == NULL || strcmp(tenant, vault->tenant) == 0)
        return 0;
    return kv_err_set(err, KV_E_INVALID, "vault.bad-subscription",
                      "the subscription belongs to another tenant");
}

/* Let the copy in memory follow what is durable: which model decides, and by what. */
static void take_policies(struct kv_vault_work *work)
{
    struct kv_vault *vault = work->vault;
    bool is_same = vault->uses_policies == work->view.vault.uses_policies &&
                   work->policies_json == NULL;
    vault->uses_policies = work->view.vault.uses_policies;
    if (work->policies_json != NULL) {
        kv_access_policies_free(vault->policies);
        vault->policies = work->policies;
        work->policies = NULL;
    }
    if (!is_same)
        kv_service_raise_epoch(work->task.service, vault);
}

/* --- create --------------------------------------------------------------------------
 */

static void tell(const struct kv_vault_work *work, const char *event)
{
    kv_log(work->task.service->log, KV_LOG_INFO, event, KV_S("name", work->name));
}

static void created(struct kv_task *task)
{
    struct kv_vault_work *work = (struct kv_vault_work *)task;
    work->vault->state = KV_VAULT_LIVE;
    work->view.vault.state = KV_VAULT_LIVE;
    take_policies(work);
    kv_service_beat(task->service, work->vault);
    tell(work, "vault.created");
    end_with_view(work);
}

static struct kv_row new_row(const struct kv_task *task, uint8_t kind, const char *name)
{
    struct kv_row row = {.key = {.kind = kind},
                         .flags = KV_ROW_ENABLED,
                         .created_s = kv_now_s(task->service->clock),
                         .nbf_s = KV_TIME_NONE,
                         .exp_s = KV_TIME_NONE,
                         .next_at_s = KV_TIME_NONE};
    row.updated_s = row.created_s;
    kv_str_cut(row.key.name, sizeof(row.key.name), name, strlen(name));
    return row;
}

/* The link keeps the key before it is stored: what is stored can be opened. */
static void key_made(struct kv_task *task)
{
    struct kv_vault_work *work = (struct kv_vault_work *)task;
    struct kv_role_vault_key made;
    char name[KV_VAULT_KEY_NAME_SIZE];
    int rc = kv_role_vault_key_get(task->payload, &made);
    if (rc == 0)
        rc = kv_keyring_add_vault_key(task->service->keyring, &made);
    if (rc != 0) {
        kv_task_fail(task, rc == KV_E_INVALID ? KV_E_INTERNAL : rc, NULL);
        return;
    }
    kv_vault_key_name(work->vault->id, 1, name);
    struct kv_row key = new_row(task, KV_KIND_VAULT_KEY, name);
    key.sealed = made.wrapped.data;
    key.sealed_len = made.wrapped.len;
    struct kv_row row = new_row(task, KV_KIND_VAULT, work->name);
    kv_task_put_row(task, &key, 0);
    kv_vault_work_put(work, &row);
    take_row(work, &row);
    kv_task_commit(task, created);
}

static void make_key(struct kv_vault_work *work)
{
    struct kv_buf payload;
    struct kv_role_vault_key request = {.term = 1};
    memcpy(request.vault, work->vault->id, KV_ID_LEN);
    kv_buf_init(&payload, 4096);
    kv_role_vault_key_put(&payload, &request);
    kv_task_keyring(&work->task, KV_ROLE_VAULT_KEY_NEW, &payload, key_made);
}

static int prepare(struct kv_vault_work *work, struct kv_err *err)
{
    struct kv_task *task = &work->task;
    struct kv_vault *vault = &work->view.vault;
    int rc = 0;
    kv_vault_init(task->service, vault);
    memcpy(vault->name, work->name, sizeof(vault->name));
    vault->state = KV_VAULT_CREATING;
    vault->term = 1;
    vault->epoch = task->service->epoch;
    work->view.tags = work->wish->tags;
    KV_TRY(apply_wish(work, true, err));
    KV_TRY(check_subscription(task->service, vault, err));
    KV_TRY(kv_task_new_version(task, vault->id));
    if (task->service->n_vaults == KV_VAULTS_MAX)
        KV_TRY(kv_err_set(err, KV_E_FULL, "vault.too-many",
                          "there are %d vaults already, the deleted ones included",
                          KV_VAULTS_MAX));
    work->vault = kv_service_vault_add(task->service, vault);
    if (work->vault == NULL)
        rc = KV_E_NOMEM;
out:
    return rc;
}

void kv_vault_create(struct kv_service *service, const char *name,
                     const struct kv_vault_wish *wish, kv_vault_cb cb, void *arg)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_vault_work *work = kv_vault_work_new(service, name, cb, arg);
    if (work == NULL)
        return;
    const struct kv_vault *there = work->vault;
    work->wish = wish;
    work->vault = NULL;
    if (there != NULL &&
        (there->state == KV_VAULT_LIVE || there->state == KV_VAULT_CREATING)) {
        kv_vault_fail(work, KV_E_EXISTS, "vault.exists", "there is a vault",
                      " already");
    } else if (there != NULL) {
        kv_vault_fail(work, KV_E_EXISTS, "vault.deleted", "the vault",
                      " already exists in deleted state: recover or purge it");
    } else {
        int rc = prepare(work, &err);
        if (rc != 0)
            kv_task_fail(&work->task, rc, &err);
        else
            make_key(work);
    }
}

/* --- update --------------------------------------------------------------------------
 */

static void updated(struct kv_task *task)
{
    struct kv_vault_work *work = (struct kv_vault_work *)task;
    work->vault->is_premium = work->view.vault.is_premium;
    work->vault->is_purge_protected = work->view.vault.is_purge_protected;
    take_policies(work);
    tell(work, "vault.updated");
    end_with_view(work);
}

/* Another change may have come in between. */
static bool is_live(struct kv_vault_work *work)
{
    if (work->view.vault.state == KV_VAULT_LIVE)
        return true;
    kv_vault_fail(work, KV_E_NOT_FOUND, "vault.not-found", "there is no vault", "");
    return false;
}

static void update_row(struct kv_task *task)
{
    struct kv_vault_work *work = (struct kv_vault_work *)task;
    struct kv_err err = KV_ERR_INIT;
    if (!is_live(work))
        return;
    int rc = apply_wish(work, false, &err);
    if (rc != 0) {
        kv_task_fail(task, rc, &err);
        return;
    }
    struct kv_row row = work->object.row;
    row.updated_s = kv_now_s(task->service->clock);
    if (work->wish->tags != NULL)
        work->view.tags = work->wish->tags;
    kv_vault_work_put(work, &row);
    take_row(work, &row);
    kv_task_commit(task, updated);
}

void kv_vault_update(struct kv_service *service, const char *name,
                     const struct kv_vault_wish *wish, kv_vault_cb cb, void *arg)
{
    struct kv_vault_work *work = begin(service, name, false, cb, arg);
    if (work == NULL)
        return;
    work->wish = wish;
    kv_vault_work_load(work, update_row);
}

/* --- show, delete, recover -----------------------------------------------------------
 */

static void show_row(struct kv_task *task)
{
    end_with_view((struct kv_vault_work *)task);
}

void kv_vault_show(struct kv_service *service, const char *name, bool is_deleted,
                   kv_vault_cb cb, void *arg)
{
    struct kv_vault_work *work = begin(service, name, is_deleted, cb, arg);
    if (work != NULL)
        kv_vault_work_load(work, show_row);
}

static void set_state(struct kv_vault_work *work, enum kv_vault_state state)
{
    work->vault->state = state;
    work->view.vault.state = state;
}

static void deleted(struct kv_task *task)
{
    struct kv_vault_work *work = (struct kv_vault_work *)task;
    set_state(work, KV_VAULT_DELETED);
    kv_service_raise_epoch(task->service, work->vault); /* its grants end */
    tell(work, "vault.deleted");
    end_with_view(work);
}

static void delete_row(struct kv_task *task)
{
    struct kv_vault_work *work = (struct kv_vault_work *)task;
    if (!is_live(work))
        return;
    struct kv_row row = work->object.row;
    row.flags |= KV_ROW_DELETED;
    row.updated_s = kv_now_s(task->service->clock);
    row.next_at_s = row.updated_s + work->view.vault.retention_days * DAY_S;
    kv_vault_work_put(work, &row);
    take_row(work, &row);
    kv_task_commit(task, deleted);
}

void kv_vault_delete(struct kv_service *service, const char *name, kv_vault_cb cb,
                     void *arg)
{
    struct kv_vault_work *work = begin(service, name, false, cb, arg);
    if (work == NULL)
        return;
    if (work->vault->is_default)
        kv_vault_fail(work, KV_E_EXISTS, "vault.is-default", "the vault",
                      " is that of hosts that name none: it stays");
    else
        kv_vault_work_load(work, delete_row);
}

static void recovered(struct kv_task *task)
{
    struct kv_vault_work *work = (struct kv_vault_work *)task;
    set_state(work, KV_VAULT_LIVE);
    tell(work, "vault.recovered");
    end_with_view(work);
}

static void recover_row(struct kv_task *task)
{
    struct kv_vault_work *work = (struct kv_vault_work *)task;
    if (work->view.vault.state != KV_VAULT_DELETED) {
        kv_vault_fail(work, KV_E_NOT_FOUND, "vault.not-deleted",
                      "there is no deleted vault", "");
        return;
    }
    struct kv_row row = work->object.row;
    row.flags &= ~(uint32_t)KV_ROW_DELETED;
    row.updated_s = kv_now_s(task->service->clock);
    row.next_at_s = KV_TIME_NONE;
    kv_vault_work_put(work, &row);
    take_row(work, &row);
    kv_task_commit(task, recovered);
}

void kv_vault_recover(struct kv_service *service, const char *name, kv_vault_cb cb,
                      void *arg)
{
    struct kv_vault_work *work = begin(service, name, true, cb, arg);
    if (work == NULL)
        return;
    if (work->vault->state == KV_VAULT_PURGING)
        kv_vault_fail(work, KV_E_NOT_FOUND, "vault.not-deleted", "the vault",
                      " is being purged");
    else
        kv_vault_work_load(work, recover_row);
}
