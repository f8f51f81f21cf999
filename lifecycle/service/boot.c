/*
 * Start-up over store and keyring, as one task.
 *
 *   vault keys --> installation's key made? --> vaults --> vault `default` made?
 *      --> role assignments --> token (--dev) --> done
 *
 * Rows of the installation have the vault id zero. A vault key's row is named
 * VAULTID-TERM; its body is wrapped by the keyring and not sealed again.
 */
#include "lifecycle/service/boot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/auth/challenge.h"
#include "lifecycle/auth/policies.h"
#include "lifecycle/service/assignments.h"
#include "lifecycle/service/internal.h"
#include "lifecycle/service/keyring.h"
#include "lifecycle/service/vaults.h"
#include "store/core/secret.h"
#include "store/core/str.h"

struct boot {
    struct kv_task task;
    struct kv_boot_config config;
    struct kv_list_query query;
    struct kv_vault vault; /* being made */
    struct kv_buf wrapped; /* its key, kept by the link once the row is durable */
    size_t n_keys;
    struct {
        uint8_t vault[KV_ID_LEN];
        uint32_t term;
    } keys[KV_VAULTS_MAX * 4];
    kv_boot_cb cb;
    void *arg;
};

static struct boot *boot_of(struct kv_task *task)
{
    return (struct boot *)task;
}

static void end(struct kv_task *task, int rc, const struct kv_err *err)
{
    struct boot *boot = boot_of(task);
    kv_boot_cb cb = boot->cb;
    void *arg = boot->arg;
    struct kv_err copy = err != NULL ? *err : KV_ERR_INIT;
    kv_buf_free(&boot->wrapped);
    kv_task_fini(task);
    free(boot);
    cb(arg, rc, rc != 0 ? &copy : NULL);
}

static void damaged(struct kv_task *task, const char *what)
{
    struct kv_err err = KV_ERR_INIT;
    kv_err_set(&err, KV_E_INTEGRITY, "service.damaged",
               "the stored %s of the installation cannot be read", what);
    kv_task_fail(task, KV_E_INTEGRITY, &err);
}

/* List all rows of a kind of the installation, page by page. */
static void list_kind(struct kv_task *task, uint8_t kind, kv_task_fn next)
{
    struct boot *boot = boot_of(task);
    memset(&boot->query, 0, sizeof(boot->query));
    boot->query.what = KV_LIST_ROWS;
    boot->query.kind = kind;
    boot->query.limit = KV_STORE_LIST_MAX;
    kv_task_list(task, &boot->query, next);
}

/* True when another page was asked for. */
static bool list_more(struct kv_task *task, kv_task_fn next)
{
    struct boot *boot = boot_of(task);
    if (!task->has_more)
        return false;
    memcpy(boot->query.after_name, task->last_name, sizeof(task->last_name));
    kv_task_list(task, &boot->query, next);
    return true;
}

static struct kv_row new_row(const struct kv_task *task, uint8_t kind, const char *name)
{
    struct kv_row row = {.flags = KV_ROW_ENABLED,
                         .created_s = kv_now_s(task->service->clock),
                         .nbf_s = KV_TIME_NONE,
                         .exp_s = KV_TIME_NONE,
                         .next_at_s = KV_TIME_NONE};
    row.updated_s = row.created_s;
    row.key.kind = kind;
    kv_str_cut(row.key.name, sizeof(row.key.name), name, strlen(name));
    return row;
}

/* --- token, the last step ----------------------------------------------------------
 */

static void token_done(void *arg, int rc, const struct kv_err *err)
{
    struct boot *boot = arg;
    end(&boot->task, rc, err);
}

static void load_token(struct kv_task *task)
{
    struct boot *boot = boot_of(task);
    if (boot->config.token_path == NULL) {
        end(task, 0, NULL);
        return;
    }
    int rc = kv_token_start(task->service, &boot->config, token_done, boot);
    if (rc != 0)
        kv_task_fail(task, rc, NULL);
}

/* --- role assignments ---------------------------------------------------------------
 */

static void got_assignments(struct kv_task *task)
{
    struct kv_service *service = task->service;
    struct kv_err err = KV_ERR_INIT;
    for (size_t i = 0; i < task->n_objects; i++) {
        struct kv_assignment assignment;
        if (kv_assignment_read(task->objects[i].doc, task->objects[i].row.key.name,
                               &assignment) != 0) {
            damaged(task, "role assignments");
            return;
        }
        int rc = 0;
        if (kv_assignments_find(service->assignments, &assignment) == NULL)
            rc = kv_assignments_add(service->assignments, &assignment, &err);
        if (rc != 0) {
            kv_task_fail(task, rc, &err);
            return;
        }
    }
    if (!list_more(task, got_assignments))
        load_token(task);
}

/* --- vaults --------------------------------------------------------------------------
 */

static uint32_t newest_term(const struct boot *boot, const uint8_t vault[KV_ID_LEN])
{
    uint32_t term = 0;
    for (size_t i = 0; i < boot->n_keys; i++)
        if (memcmp(boot->keys[i].vault, vault, KV_ID_LEN) == 0 &&
            boot->keys[i].term > term)
            term = boot->keys[i].term;
    return term;
}

static int add_vault(struct boot *boot, const struct kv_vault *vault)
{
    struct kv_service *service = boot->task.service;
    struct kv_vault place = *vault;
    if (kv_service_vault_by_id(service, vault->id) != NULL)
        return 0;
    if (vault->term == 0 && vault->state != KV_VAULT_PURGING)
        return KV_E_INTEGRITY;
    /* Epochs begin behind those of any earlier run: grants of then are asked anew. */
    place.epoch = (uint64_t)kv_now_s(service->clock) << 20;
    return kv_service_vault_add(service, &place) != NULL ? 0 : KV_E_FULL;
}

static int keep_key(struct kv_task *task, const uint8_t vault[KV_ID_LEN], uint32_t term,
                    struct kv_bytes wrapped)
{
    struct boot *boot = boot_of(task);
    struct kv_role_vault_key key = {.term = term, .wrapped = wrapped};
    memcpy(key.vault, vault, KV_ID_LEN);
    if (boot->n_keys == sizeof(boot->keys) / sizeof(boot->keys[0]))
        return KV_E_FULL;
    memcpy(boot->keys[boot->n_keys].vault, vault, KV_ID_LEN);
    boot->keys[boot->n_keys++].term = term;
    return kv_keyring_add_vault_key(task->service->keyring, &key);
}

/* Add the row of a vault key that the keyring has just made. */
static int put_key(struct kv_task *task, const uint8_t vault[KV_ID_LEN])
{
    char name[KV_VAULT_KEY_NAME_SIZE];
    struct kv_role_vault_key made;
    int rc = kv_role_vault_key_get(task->payload, &made);
    if (rc != 0)
        return KV_E_INTERNAL;
    kv_vault_key_name(vault, 1, name);
    struct kv_row row = new_row(task, KV_KIND_VAULT_KEY, name);
    row.sealed = made.wrapped.data;
    row.sealed_len = made.wrapped.len;
    kv_task_put_row(task, &row, 0);
    kv_buf_reset(&boot_of(task)->wrapped);
    return kv_buf_append(&boot_of(task)->wrapped, made.wrapped.data, made.wrapped.len);
}

static int keep_made(struct kv_task *task, const uint8_t vault[KV_ID_LEN])
{
    const struct kv_buf *wrapped = &boot_of(task)->wrapped;
    return keep_key(task, vault, 1, (struct kv_bytes){wrapped->data, wrapped->len});
}

static void vault_made(struct kv_task *task)
{
    struct boot *boot = boot_of(task);
    if (keep_made(task, boot->vault.id) != 0 || add_vault(boot, &boot->vault) != 0) {
        damaged(task, "vaults");
        return;
    }
    kv_log(task->service->log, KV_LOG_INFO, "vault.created",
           KV_S("name", boot->vault.name));
    list_kind(task, KV_KIND_ASSIGNMENT, got_assignments);
}

static void vault_key_made(struct kv_task *task)
{
    struct boot *boot = boot_of(task);
    int rc = put_key(task, boot->vault.id);
    if (rc != 0) {
        kv_task_fail(task, rc, NULL);
        return;
    }
    struct kv_row row = new_row(task, KV_KIND_VAULT, boot->vault.name);
    kv_task_put_doc(task, &row, 0, kv_vault_doc(&boot->vault, NULL, NULL));
    kv_task_commit(task, vault_made);
}

static void make_key(struct kv_task *task, const uint8_t vault[KV_ID_LEN],
                     kv_task_fn next)
{
    struct kv_buf payload;
    struct kv_role_vault_key request = {.term = 1};
    memcpy(request.vault, vault, KV_ID_LEN);
    kv_buf_init(&payload, 4096);
    kv_role_vault_key_put(&payload, &request);
    kv_task_keyring(task, KV_ROLE_VAULT_KEY_NEW, &payload, next);
}

static int read_vault(struct boot *boot, const struct kv_object *object)
{
    struct kv_vault_view view;
    int rc = kv_vault_read(boot->task.service, object, &view);
    if (rc != 0)
        return rc;
    view.vault.term = newest_term(boot, view.vault.id);
    if (kv_service_vault_by_id(boot->task.service, view.vault.id) != NULL)
        return 0; /* of a boot that failed later */
    rc = kv_access_policies_read(view.policies, &view.vault.policies);
    if (rc == 0)
        rc = add_vault(boot, &view.vault);
    if (rc != 0)
        kv_access_policies_free(view.vault.policies);
    return rc;
}

static void got_vaults(struct kv_task *task)
{
    struct boot *boot = boot_of(task);
    for (size_t i = 0; i < task->n_objects; i++) {
        if (read_vault(boot, &task->objects[i]) != 0) {
            damaged(task, "vaults");
            return;
        }
    }
    if (list_more(task, got_vaults))
        return;
    if (task->service->n_vaults > 0) {
        list_kind(task, KV_KIND_ASSIGNMENT, got_assignments);
        return;
    }
    kv_vault_init(task->service, &boot->vault);
    boot->vault.is_default = true;
    boot->vault.term = 1;
    kv_str_cut(boot->vault.name, sizeof(boot->vault.name), "default", 7);
    int rc = kv_task_new_version(task, boot->vault.id);
    if (rc != 0)
        kv_task_fail(task, rc, NULL);
    else
        make_key(task, boot->vault.id, vault_key_made);
}

/* --- the installation's own key
 * -------------------------------------------------------- */

static void list_vaults(struct kv_task *task)
{
    list_kind(task, KV_KIND_VAULT, got_vaults);
}

static void system_key_kept(struct kv_task *task)
{
    int rc = keep_made(task, task->service->system.id);
    if (rc != 0)
        kv_task_fail(task, rc, NULL);
    else
        list_vaults(task);
}

static void system_key_made(struct kv_task *task)
{
    struct kv_service *service = task->service;
    service->system.term = 1;
    int rc = put_key(task, service->system.id);
    if (rc != 0)
        kv_task_fail(task, rc, NULL);
    else
        kv_task_commit(task, system_key_kept);
}

static int read_key(struct kv_task *task, const struct kv_object *object)
{
    uint8_t vault[KV_ID_LEN];
    char id[2 * KV_ID_LEN + 1];
    const size_t id_len = sizeof(id) - 1;
    int64_t term = 0;
    const char *name = object->row.key.name;
    if (strlen(name) < id_len + 2 || name[id_len] != '-')
        return KV_E_INTEGRITY;
    kv_str_cut(id, sizeof(id), name, id_len);
    if (kv_hex_decode(vault, KV_ID_LEN, id) != 0 ||
        kv_str_to_i64(name + id_len + 1, 1, UINT32_MAX, &term) != 0)
        return KV_E_INTEGRITY;
    return keep_key(task, vault, (uint32_t)term,
                    (struct kv_bytes){object->row.sealed, object->row.sealed_len});
}

static void got_keys(struct kv_task *task)
{
    struct boot *boot = boot_of(task);
    struct kv_service *service = task->service;
    for (size_t i = 0; i < task->n_objects; i++) {
        if (read_key(task, &task->objects[i]) != 0) {
            damaged(task, "vault keys");
            return;
        }
    }
    if (list_more(task, got_keys))
        return;
    service->system.term = newest_term(boot, service->system.id);
    if (service->system.term != 0)
        list_vaults(task);
    else
        make_key(task, service->system.id, system_key_made);
}

int kv_boot_start(struct kv_service *service, const struct kv_boot_config *config,
                  kv_boot_cb cb, void *arg)
{
    struct boot *boot = calloc(1, sizeof(*boot));
    if (boot == NULL)
        return KV_E_NOMEM;
    kv_buf_init(&boot->wrapped, 4096);
    kv_task_init(&boot->task, service, &service->system, end);
    boot->config = *config;
    boot->cb = cb;
    boot->arg = arg;
    list_kind(&boot->task, KV_KIND_VAULT_KEY, got_keys);
    return 0;
}
