/*
 * The audit log of this process: where it is, and opening it.
 */
#ifndef KV_LIFECYCLE_SERVICE_AUDIT_TASK_H
#define KV_LIFECYCLE_SERVICE_AUDIT_TASK_H

#include "lifecycle/service/boot.h"
#include "lifecycle/service/options.h"

/* Make the directory of the log, before Landlock closes; "" when there is none. */
int kv_audit_place(const struct kv_service_options *options, char *out, size_t out_size,
                   struct kv_err *err) KV_MUST_CHECK;

/* Open service->audit over `dir` (borrowed); without a log it stays NULL. */
int kv_audit_setup(struct kv_service *service, const struct kv_service_options *options,
                   const char *dir, struct kv_err *err) KV_MUST_CHECK;

/* Begin to write the log, then kv_boot_start. */
int kv_audit_boot(struct kv_service *service, const struct kv_boot_config *config,
                  kv_boot_cb cb, void *arg) KV_MUST_CHECK;

/* Record what the keyring has counted, close and free the log, call back. Nothing else
 * may be under way; with or without a log. */
void kv_audit_finish(struct kv_service *service, void (*cb)(void *arg), void *arg);

#endif
