/*
 * keyvault vault create | list | show | update | delete | list-deleted | recover |
 * purge.
 *
 * A vault is named by its NAME, whatever --vault says: these commands are about the
 * installation (rest.c asks for no vault before them).
 */
#include <string.h>

#include "lifecycle/cli/attributes.h"
#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/io.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "lifecycle/cli/table.h"
#include "store/core/uri.h"

#define VAULTS "/keyvault/v1/vaults"
#define DELETED "/keyvault/v1/deletedvaults"

static int make_path(const struct kv_cli *cli, const char *prefix, const char *suffix,
                     char path[KV_REST_PATH_MAX], struct kv_err *err)
{
    const char *name = cli->invocation.args[0];
    if (!kv_vault_name_is_valid(name, strlen(name)))
        return kv_cli_bad(err,
                          "'%s' is no vault name: 3 to 24 letters, digits and hyphens, "
                          "a letter first",
                          name);
    (void)snprintf(path, KV_REST_PATH_MAX, "%s/%s%s", prefix, name, suffix);
    return 0;
}

/* --- printing ------------------------------------------------------------------------
 */

static const char *protection_text(const json_t *vault)
{
    return json_is_true(json_object_get(vault, "enablePurgeProtection")) ? "yes" : "no";
}

static bool has_roles(const json_t *vault)
{
    return json_is_true(json_object_get(vault, "enableRbacAuthorization"));
}

static void print_vault(const json_t *vault)
{
    char days[32];
    (void)snprintf(days, sizeof(days), "%lld days",
                   kv_json_number(vault, "softDeleteRetentionInDays"));
    kv_object_print_field("name", kv_json_text(vault, "name"));
    kv_object_print_field("url", kv_json_text(vault, "url"));
    kv_object_print_field("state", kv_json_text(vault, "state"));
    kv_object_print_field("sku", kv_json_text(vault, "sku"));
    kv_object_print_field("tenant", kv_json_text(vault, "tenantId"));
    kv_object_print_field("subscription", kv_json_text(vault, "subscriptionId"));
    kv_object_print_field("retention", days);
    kv_object_print_field("protected", protection_text(vault));
    kv_object_print_field("decided by", has_roles(vault) ? "roles" : "access policies");
    kv_object_print_time("created", kv_json_number(vault, "created"));
    kv_object_print_time("updated", kv_json_number(vault, "updated"));
    kv_object_print_time("deleted", kv_json_number(vault, "deletedDate"));
    kv_object_print_time("purged on", kv_json_number(vault, "scheduledPurgeDate"));
    kv_object_print_tags(vault);
}

static int print_reply(const struct kv_cli *cli, const json_t *vault,
                       struct kv_err *err)
{
    if (cli->invocation.as_json)
        return kv_cli_print_json(vault, err);
    print_vault(vault);
    return kv_cli_flush(err);
}

static int print_live(const json_t *items)
{
    static const char *const headings[] = {"NAME", "URL", "SKU", "RETENTION",
                                           "PROTECTED"};
    struct kv_table *table = kv_table_new(5, headings);
    if (table == NULL)
        return KV_E_NOMEM;
    size_t i = 0;
    json_t *vault = NULL;
    json_array_foreach((json_t *)items, i, vault)
    {
        char days[32];
        (void)snprintf(days, sizeof(days), "%lld days",
                       kv_json_number(vault, "softDeleteRetentionInDays"));
        kv_table_add(table, kv_json_text(vault, "name"));
        kv_table_add(table, kv_json_text(vault, "url"));
        kv_table_add(table, kv_json_text(vault, "sku"));
        kv_table_add(table, days);
        kv_table_add(table, protection_text(vault));
    }
    int rc = kv_table_print(table, stdout);
    kv_table_free(table);
    return rc;
}

static int print_deleted(const json_t *items)
{
    static const char *const headings[] = {"NAME", "STATE", "DELETED (UTC)",
                                           "PURGED ON (UTC)", "PROTECTED"};
    struct kv_table *table = kv_table_new(5, headings);
    if (table == NULL)
        return KV_E_NOMEM;
    size_t i = 0;
    json_t *vault = NULL;
    json_array_foreach((json_t *)items, i, vault)
    {
        kv_table_add(table, kv_json_text(vault, "name"));
        kv_table_add(table, kv_json_text(vault, "state"));
        kv_table_add_time(table, kv_json_number(vault, "deletedDate"));
        kv_table_add_time(table, kv_json_number(vault, "scheduledPurgeDate"));
        kv_table_add(table, protection_text(vault));
    }
    int rc = kv_table_print(table, stdout);
    kv_table_free(table);
    return rc;
}

/* --- commands ------------------------------------------------------------------------
 */

static int list(struct kv_cli *cli, const char *path, int (*print)(const json_t *),
                struct kv_err *err)
{
    json_t *items = NULL;
    int rc = kv_rest_list(cli, path, &items, err);
    if (rc == 0)
        rc = cli->invocation.as_json ? kv_cli_print_json(items, err) : print(items);
    json_decref(items);
    return rc == 0 ? kv_cli_flush(err) : rc;
}

int kv_vault_list_run(struct kv_cli *cli, struct kv_err *err)
{
    return list(cli, VAULTS, print_live, err);
}

int kv_vault_list_deleted_run(struct kv_cli *cli, struct kv_err *err)
{
    return list(cli, DELETED, print_deleted, err);
}

static int call(struct kv_cli *cli, const char *method, const char *path,
                const json_t *body, struct kv_err *err)
{
    json_t *reply = NULL;
    int rc = kv_rest_call(cli, method, path, body, &reply, err);
    if (rc == 0)
        rc = print_reply(cli, reply, err);
    json_decref(reply);
    return rc;
}

static int call_on(struct kv_cli *cli, const char *method, const char *prefix,
                   const char *suffix, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    int rc = make_path(cli, prefix, suffix, path, err);
    return rc == 0 ? call(cli, method, path, NULL, err) : rc;
}

static int set(json_t *body, const char *member, json_t *value)
{
    return json_object_set_new(body, member, value) == 0 ? 0 : KV_E_NOMEM;
}

static int set_text(const struct kv_cli *cli, const char *flag, json_t *body,
                    const char *member)
{
    const char *text = kv_cli_flag(cli, flag);
    return text != NULL ? set(body, member, json_string(text)) : 0;
}

/* --access-policies FILE: they decide, not roles; --roles: the other way round. */
static int read_policies(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    const char *file = kv_cli_flag(cli, "access-policies");
    bool wants_roles = kv_cli_flag(cli, "roles") != NULL;
    if (file != NULL && wants_roles)
        return kv_cli_bad(err, "--roles excludes --access-policies");
    if (wants_roles)
        return set(body, "enableRbacAuthorization", json_true());
    if (file == NULL)
        return 0;
    struct kv_buf text;
    json_t *policies = NULL;
    int rc = 0;
    kv_buf_init(&text, 1U << 20);
    KV_TRY(kv_io_read(file, &text, err));
    policies = json_loadb(text.len > 0 ? (const char *)text.data : "", text.len,
                          JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_array(policies)) {
        rc = kv_cli_bad(err, "%s has no JSON array of access policies", file);
        goto out;
    }
    KV_TRY(set(body, "enableRbacAuthorization", json_false()));
    KV_TRY(set(body, "accessPolicies", json_incref(policies)));
out:
    json_decref(policies);
    kv_buf_free(&text);
    return rc;
}

/* What create and update have in common. */
static int read_properties(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    int rc = 0;
    KV_TRY(set_text(cli, "sku", body, "sku"));
    if (kv_cli_flag(cli, "purge-protection") != NULL)
        KV_TRY(set(body, "enablePurgeProtection", json_true()));
    KV_TRY(read_policies(cli, body, err));
    KV_TRY(kv_attributes_read(cli, body, err));
out:
    return rc;
}

int kv_vault_create_run(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    json_t *body = json_object();
    int64_t days = 0;
    int rc = 0;
    KV_TRY(make_path(cli, VAULTS, "", path, err));
    KV_TRY(read_properties(cli, body, err));
    KV_TRY(kv_cli_number(cli, "retention-days", 7, 90, &days, err));
    if (days != 0)
        KV_TRY(set(body, "softDeleteRetentionInDays", json_integer(days)));
    KV_TRY(set_text(cli, "tenant", body, "tenantId"));
    KV_TRY(set_text(cli, "subscription", body, "subscriptionId"));
    KV_TRY(call(cli, "PUT", path, body, err));
out:
    json_decref(body);
    return rc;
}

int kv_vault_update_run(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    json_t *body = json_object();
    int rc = 0;
    KV_TRY(make_path(cli, VAULTS, "", path, err));
    KV_TRY(read_properties(cli, body, err));
    KV_TRY(call(cli, "PATCH", path, body, err));
out:
    json_decref(body);
    return rc;
}

int kv_vault_show_run(struct kv_cli *cli, struct kv_err *err)
{
    return call_on(cli, "GET", VAULTS, "", err);
}

int kv_vault_delete_run(struct kv_cli *cli, struct kv_err *err)
{
    return call_on(cli, "DELETE", VAULTS, "", err);
}

int kv_vault_recover_run(struct kv_cli *cli, struct kv_err *err)
{
    return call_on(cli, "POST", DELETED, "/recover", err);
}

int kv_vault_purge_run(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    int rc = 0;
    KV_TRY(make_path(cli, DELETED, "", path, err));
    KV_TRY(kv_rest_call(cli, "DELETE", path, NULL, NULL, err));
    if (!cli->invocation.as_json)
        (void)printf("purged: %s\n", cli->invocation.args[0]);
    KV_TRY(kv_cli_flush(err));
out:
    return rc;
}
