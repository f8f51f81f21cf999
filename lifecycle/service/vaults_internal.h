/*
 * Shared by vaults.c and vaults_purge.c: one piece of work on a vault.
 */
#ifndef KV_LIFECYCLE_SERVICE_VAULTS_INTERNAL_H
#define KV_LIFECYCLE_SERVICE_VAULTS_INTERNAL_H

#include "lifecycle/service/vaults.h"

struct kv_vault_work {
    struct kv_task task; /* first member */
    char name[KV_VAULT_NAME_MAX + 1];
    const struct kv_vault_wish *wish;
    struct kv_vault *vault;              /* in the table; NULL: there is none */
    struct kv_object object;             /* its row */
    struct kv_vault_view view;           /* as the row says, then as it will be */
    kv_task_fn next;                     /* behind kv_vault_work_load */
    struct kv_access_policies *policies; /* new ones; NULL: none */
    json_t *policies_json;               /* the same; NULL: nothing was said of them */
    bool is_due;                         /* a purge that nobody asked for */
    bool is_purging;                     /* holds vault->is_busy */
    bool is_erasing;                     /* the keys are being removed */
    char assignment[37];                 /* being removed */
    uint64_t n_rows;                     /* that were removed */
    kv_vault_cb cb;
    void *arg;
};

/* Start work; NULL: the callback has been called. */
struct kv_vault_work *kv_vault_work_new(struct kv_service *service, const char *name,
                                        kv_vault_cb cb, void *arg);

/* End it; `view` as kv_vault_cb has it. */
void kv_vault_work_end(struct kv_vault_work *work, const struct kv_vault_view *view);

/* End it with a failure: "BEFORE 'NAME'BEHIND". */
void kv_vault_fail(struct kv_vault_work *work, int rc, const char *id,
                   const char *before, const char *behind);

/* Read the row of work->vault into `object` and `view`, then go on. */
void kv_vault_work_load(struct kv_vault_work *work, kv_task_fn next);

/* Add the row with the view's vault and tags, flags and times set by the caller. */
void kv_vault_work_put(struct kv_vault_work *work, struct kv_row *row);

#endif
