/*
 * The audit log of this process.
 */
#include "lifecycle/service/audit_task.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "lifecycle/audit/audit.h"
#include "lifecycle/service/key_audit.h"

int kv_audit_place(const struct kv_service_options *options, char *out, size_t out_size,
                   struct kv_err *err)
{
    out[0] = '\0';
    if (options->is_audit_off)
        return 0;
    int n = options->audit_dir != NULL
                ? snprintf(out, out_size, "%s", options->audit_dir)
                : snprintf(out, out_size, "%s/audit", options->dir);
    if (n < 0 || (size_t)n >= out_size)
        return kv_err_set(err, KV_E_TOO_BIG, "service.usage",
                          "--audit-dir is too long");
    if (mkdir(out, 0700) != 0 && errno != EEXIST)
        return kv_err_errno(err, errno, "service.file-failed", out);
    return 0;
}

int kv_audit_setup(struct kv_service *service, const struct kv_service_options *options,
                   const char *dir, struct kv_err *err)
{
    if (options->is_audit_off) {
        kv_log(service->log, KV_LOG_WARN, "audit.off", KV_S("dir", dir));
        return 0;
    }
    const struct kv_audit_config config = {.loop = service->loop,
                                           .keyring = service->keyring,
                                           .dir = dir,
                                           .clock = service->clock,
                                           .log = service->log,
                                           .segment_bytes = options->audit_bytes,
                                           .segment_s = KV_AUDIT_SEGMENT_S,
                                           .keep = options->audit_keep};
    return kv_audit_open(&service->audit, &config, err);
}

/* --- the beginning --- */

struct start {
    struct kv_service *service;
    const struct kv_boot_config *config;
    kv_boot_cb cb;
    void *arg;
};

static void on_started(void *arg, int rc, const struct kv_err *err)
{
    struct start start = *(struct start *)arg;
    struct kv_err local = KV_ERR_INIT;
    free(arg);
    if (rc == 0) {
        rc = kv_boot_start(start.service, start.config, start.cb, start.arg);
        if (rc == 0)
            return;
        kv_err_set(&local, rc, "service.no-memory", "out of memory");
        err = &local;
    }
    start.cb(start.arg, rc, err);
}

int kv_audit_boot(struct kv_service *service, const struct kv_boot_config *config,
                  kv_boot_cb cb, void *arg)
{
    if (service->audit == NULL)
        return kv_boot_start(service, config, cb, arg);
    struct start *start = calloc(1, sizeof(*start));
    if (start == NULL)
        return KV_E_NOMEM;
    *start = (struct start){.service = service, .config = config, .cb = cb, .arg = arg};
    kv_audit_start(service->audit, on_started, start);
    return 0;
}

/* --- the end --- */

struct finish {
    struct kv_service *service;
    void (*cb)(void *arg);
    void *arg;
};

static void on_closed(void *arg)
{
    struct finish *finish = arg;
    void (*cb)(void *arg) = finish->cb;
    void *cb_arg = finish->arg;
    finish->service->audit = NULL;
    free(finish);
    cb(cb_arg);
}

static void on_used(void *arg)
{
    struct finish *finish = arg;
    kv_audit_close(finish->service->audit, on_closed, finish);
}

void kv_audit_finish(struct kv_service *service, void (*cb)(void *arg), void *arg)
{
    if (service->audit == NULL) {
        cb(arg);
        return;
    }
    struct finish *finish = calloc(1, sizeof(*finish));
    KV_ASSERT(finish != NULL); /* the process ends either way */
    *finish = (struct finish){.service = service, .cb = cb, .arg = arg};
    kv_key_audit_uses(service, on_used, finish);
}
