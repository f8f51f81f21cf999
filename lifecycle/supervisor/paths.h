/*
 * Where the programs and files of an installation are: beside keyvaultd itself (a
 * build tree), else in the directories that were compiled in.
 */
#ifndef KV_LIFECYCLE_SUPERVISOR_PATHS_H
#define KV_LIFECYCLE_SUPERVISOR_PATHS_H

#include <limits.h>

#include "store/core/err.h"

#define KV_PATH_STATE "/var/lib/keyvault"
#define KV_PATH_RUN "/run/keyvault"
#define KV_PATH_CONFIG "/etc/keyvault/keyvault.conf"

struct kv_paths {
    char self_dir[PATH_MAX]; /* of the running program */
    char keyring[PATH_MAX];
    char service[PATH_MAX];
    char module[PATH_MAX];  /* keyvault.so; need not exist */
    char cli_dir[PATH_MAX]; /* of keyvault, the command line */
};

/* Find them. KV_E_NOT_FOUND (supervisor.missing-program) names a role executable that
 * is in neither place. */
int kv_paths_find(struct kv_paths *out, struct kv_err *err) KV_MUST_CHECK;

/* Find one program of libexec. KV_E_NOT_FOUND (supervisor.missing-program). */
int kv_paths_program(char out[PATH_MAX], const char *name,
                     struct kv_err *err) KV_MUST_CHECK;

/* Write "DIR/NAME"; KV_E_TOO_BIG (supervisor.path-too-long) when it does not fit. */
int kv_path_join(char out[PATH_MAX], const char *dir, const char *name,
                 struct kv_err *err) KV_MUST_CHECK;

#endif
