/*
 * One run of the command line: what was asked and the connection to the API, opened
 * when first needed. Single-threaded, blocking.
 */
#ifndef KV_LIFECYCLE_CLI_CLI_H
#define KV_LIFECYCLE_CLI_CLI_H

#include <jansson.h>

#include "lifecycle/cli/command.h"
#include "store/core/buf.h"

struct kv_client;

struct kv_cli {
    struct kv_invocation invocation;
    struct kv_client *client; /* NULL until kv_rest_* opens it */
};

/* The value of a flag of the running command; NULL when not given. */
static inline const char *kv_cli_flag(const struct kv_cli *cli, const char *name)
{
    return kv_invocation_flag(&cli->invocation, name);
}

/* Fail with what the command line got wrong (cli.bad-flag, exit code 2). */
int kv_cli_bad(struct kv_err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* An object name from the command line: checked here, so that a typing error needs no
 * daemon. cli.bad-flag. */
int kv_cli_name(const struct kv_cli *cli, const char **name,
                struct kv_err *err) KV_MUST_CHECK;

/* The value of --version, checked; "" when not given. */
int kv_cli_version(const struct kv_cli *cli, const char **version,
                   struct kv_err *err) KV_MUST_CHECK;

/* A flag as a whole number within [min, max]; `out` keeps its value when not given. */
int kv_cli_number(const struct kv_cli *cli, const char *flag, int64_t min, int64_t max,
                  int64_t *out, struct kv_err *err) KV_MUST_CHECK;

/* A flag "a,b" as an array of texts, the caller's; NULL when it is not given. */
int kv_cli_list(const struct kv_cli *cli, const char *flag, json_t **out,
                struct kv_err *err) KV_MUST_CHECK;

/* Print JSON, indented on a terminal. */
int kv_cli_print_json(const json_t *json, struct kv_err *err) KV_MUST_CHECK;

/* Flush standard output; a full disk or a closed pipe is a failure (cli.output). */
int kv_cli_flush(struct kv_err *err) KV_MUST_CHECK;

#define KV_COMMAND(name) int name(struct kv_cli *cli, struct kv_err *err)
/* What keys, secrets and certificates have in common. */
KV_COMMAND(kv_object_list_run);
KV_COMMAND(kv_object_show_run);
KV_COMMAND(kv_object_versions_run);
KV_COMMAND(kv_update_run);
KV_COMMAND(kv_delete_run);
KV_COMMAND(kv_list_deleted_run);
KV_COMMAND(kv_recover_run);
KV_COMMAND(kv_purge_run);
KV_COMMAND(kv_backup_run);
KV_COMMAND(kv_restore_run);

KV_COMMAND(kv_vault_create_run);
KV_COMMAND(kv_vault_list_run);
KV_COMMAND(kv_vault_show_run);
KV_COMMAND(kv_vault_update_run);
KV_COMMAND(kv_vault_delete_run);
KV_COMMAND(kv_vault_list_deleted_run);
KV_COMMAND(kv_vault_recover_run);
KV_COMMAND(kv_vault_purge_run);
KV_COMMAND(kv_key_create_run);
KV_COMMAND(kv_key_import_run);
KV_COMMAND(kv_key_rotate_run);
KV_COMMAND(kv_key_rotation_policy_run);
KV_COMMAND(kv_key_usage_run);
KV_COMMAND(kv_key_uri_pem_run);
KV_COMMAND(kv_key_sign_run);
KV_COMMAND(kv_key_verify_run);
KV_COMMAND(kv_key_encrypt_run);
KV_COMMAND(kv_key_decrypt_run);
KV_COMMAND(kv_key_wrap_run);
KV_COMMAND(kv_key_unwrap_run);
KV_COMMAND(kv_key_random_run);
KV_COMMAND(kv_secret_set_run);
KV_COMMAND(kv_secret_get_run);
KV_COMMAND(kv_cert_create_run);
KV_COMMAND(kv_cert_renew_run);
KV_COMMAND(kv_cert_csr_run);
KV_COMMAND(kv_cert_merge_run);
KV_COMMAND(kv_cert_operation_run);
KV_COMMAND(kv_cert_import_run);
KV_COMMAND(kv_cert_export_run);
KV_COMMAND(kv_cert_show_run);
KV_COMMAND(kv_cert_policy_run);
KV_COMMAND(kv_contact_add_run);
KV_COMMAND(kv_contact_list_run);
KV_COMMAND(kv_contact_remove_run);
KV_COMMAND(kv_issuer_create_run);
KV_COMMAND(kv_issuer_list_run);
KV_COMMAND(kv_issuer_show_run);
KV_COMMAND(kv_issuer_update_run);
KV_COMMAND(kv_issuer_delete_run);
KV_COMMAND(kv_app_create_run);
KV_COMMAND(kv_app_list_run);
KV_COMMAND(kv_app_show_run);
KV_COMMAND(kv_app_delete_run);
KV_COMMAND(kv_app_secret_run);
KV_COMMAND(kv_access_check_run);
KV_COMMAND(kv_access_grant_run);
KV_COMMAND(kv_access_list_run);
KV_COMMAND(kv_access_policy_run);
KV_COMMAND(kv_access_revoke_run);
KV_COMMAND(kv_init_run);
KV_COMMAND(kv_audit_show_run);
KV_COMMAND(kv_audit_verify_run);
KV_COMMAND(kv_status_run);
KV_COMMAND(kv_backup_create_run);
KV_COMMAND(kv_backup_list_run);
KV_COMMAND(kv_backup_verify_run);
KV_COMMAND(kv_restore_command_run);
KV_COMMAND(kv_doctor_run);
KV_COMMAND(kv_completion_run);

#endif
