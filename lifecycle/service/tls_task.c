/*
 * The API's leaf from the store, or a new one.
 *
 *   api-leaf found and not due -> done: the CA's key stays sealed
 *   otherwise: api-ca (made if absent or for other names) -> new leaf -> commit
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle/service/boot.h"
#include "store/core/secret.h"
#include "store/core/str.h"

struct tls {
    struct kv_task task;
    char names[512];
    struct kv_row leaf_row;
    struct kv_api_identity *leaf;
    kv_boot_cb cb;
    void *arg;
};

static void end(struct kv_task *task, int rc, const struct kv_err *err)
{
    struct tls *tls = (struct tls *)task;
    kv_boot_cb cb = tls->cb;
    void *arg = tls->arg;
    struct kv_err copy = err != NULL ? *err : KV_ERR_INIT;
    kv_task_fini(task);
    kv_wiping_free(tls);
    cb(arg, rc, rc != 0 ? &copy : NULL);
}

static void done(struct kv_task *task)
{
    end(task, 0, NULL);
}

static void set_row(const struct kv_task *task, const char *name, struct kv_row *row)
{
    bool is_new = row->row_version == 0;
    row->key.kind = KV_KIND_SYSTEM;
    kv_str_cut(row->key.name, sizeof(row->key.name), name, strlen(name));
    row->updated_s = kv_now_s(task->service->clock);
    if (is_new)
        row->created_s = row->updated_s;
    row->flags = KV_ROW_ENABLED;
    row->nbf_s = KV_TIME_NONE;
    row->exp_s = KV_TIME_NONE;
    row->next_at_s = KV_TIME_NONE;
}

static void put(struct kv_task *task, const char *name, struct kv_row *row,
                const struct kv_api_identity *identity)
{
    uint64_t expect = row->row_version;
    set_row(task, name, row);
    kv_task_put_doc(task, row, expect, kv_api_identity_doc(identity));
}

static void got_ca(struct kv_task *task)
{
    struct tls *tls = (struct tls *)task;
    struct kv_api_identity ca = {NULL, NULL, NULL, ""};
    struct kv_err err = KV_ERR_INIT;
    struct kv_row row = task->object.row;
    int64_t now_s = kv_now_s(task->service->clock);
    int rc = 0;
    if (row.row_version != 0)
        KV_TRY(kv_api_identity_read(task->object.doc, &ca, &err));
    if (ca.key == NULL || strcmp(ca.names, tls->names) != 0) {
        kv_api_identity_free(&ca);
        KV_TRY(kv_api_ca_make(task->service->domain, tls->names, now_s, &ca, &err));
        put(task, "api-ca", &row, &ca);
    }
    KV_TRY(kv_api_leaf_make(&ca, tls->names, now_s, tls->leaf, &err));
    put(task, "api-leaf", &tls->leaf_row, tls->leaf);
out:
    kv_api_identity_free(&ca);
    if (rc != 0) {
        kv_task_fail(task, rc, &err);
        return;
    }
    kv_log(task->service->log, KV_LOG_INFO, "service.tls-renewed",
           KV_S("names", tls->names));
    kv_task_commit(task, done);
}

static void got_leaf(struct kv_task *task)
{
    struct tls *tls = (struct tls *)task;
    struct kv_err err = KV_ERR_INIT;
    tls->leaf_row = task->object.row;
    if (tls->leaf_row.row_version != 0) {
        int rc = kv_api_identity_read(task->object.doc, tls->leaf, &err);
        if (rc != 0) {
            kv_task_fail(task, rc, &err);
            return;
        }
        if (tls->leaf->ca != NULL &&
            !kv_api_leaf_is_due(tls->leaf, tls->names,
                                kv_now_s(task->service->clock))) {
            done(task);
            return;
        }
        kv_api_identity_free(tls->leaf);
    }
    kv_task_find(task, KV_KIND_SYSTEM, "api-ca", NULL, got_ca);
}

int kv_tls_start(struct kv_service *service, const char *names,
                 struct kv_api_identity *leaf, kv_boot_cb cb, void *arg)
{
    struct tls *tls = kv_wiping_calloc(1, sizeof(*tls));
    if (tls == NULL)
        return KV_E_NOMEM;
    kv_task_init(&tls->task, service, &service->system, end);
    int rc = kv_str_copy(tls->names, sizeof(tls->names), names);
    if (rc != 0) {
        kv_wiping_free(tls);
        return rc;
    }
    memset(leaf, 0, sizeof(*leaf));
    tls->leaf = leaf;
    tls->cb = cb;
    tls->arg = arg;
    kv_task_find(&tls->task, KV_KIND_SYSTEM, "api-leaf", NULL, got_leaf);
    return 0;
}
