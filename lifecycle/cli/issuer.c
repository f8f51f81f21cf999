/*
 * keyvault issuer create | list | show | update | delete: who may be named as issuer
 * in certificate policies, and with which account.
 */
#include <string.h>

#include "lifecycle/cli/attributes.h"
#include "lifecycle/cli/io.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "lifecycle/cli/table.h"

#define COLLECTION "certificates/issuers"
#define PASSWORD_MAX 4096

/* Call on the issuer that the command names. */
static int call(struct kv_cli *cli, const char *method, const json_t *body,
                json_t **reply, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    const char *name = NULL;
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(kv_rest_object_path(path, COLLECTION, name, ""));
    KV_TRY(kv_rest_call(cli, method, path, body, reply, err));
out:
    return rc;
}

/* --- requests ------------------------------------------------------------------------
 */

/* Put `value` (taken) into the section of that name, which is made if need be. */
static int put(json_t *body, const char *section, const char *member, json_t *value)
{
    json_t *part = json_object_get(body, section);
    if (part == NULL) {
        part = json_object();
        if (json_object_set_new(body, section, part) != 0)
            part = NULL;
    }
    return json_object_set_new(part, member, value) == 0 ? 0 : KV_E_NOMEM;
}

static int put_flag(const struct kv_cli *cli, const char *flag, json_t *body,
                    const char *section, const char *member, struct kv_err *err)
{
    const char *text = kv_cli_flag(cli, flag);
    if (text == NULL)
        return 0;
    json_t *value = json_string(text);
    return value != NULL ? put(body, section, member, value)
                         : kv_cli_bad(err, "--%s is no UTF-8 text", flag);
}

static int put_password(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    const char *file = kv_cli_flag(cli, "password-file");
    struct kv_buf password;
    if (file == NULL)
        return 0;
    kv_buf_init_secret(&password, PASSWORD_MAX);
    int rc = kv_io_read_line(file, &password, err);
    json_t *value =
        rc == 0 ? json_stringn(password.len > 0 ? (const char *)password.data : "",
                               password.len)
                : NULL;
    if (rc == 0)
        rc = value != NULL ? put(body, "credentials", "pwd", value)
                           : kv_cli_bad(err, "the password is no UTF-8 text");
    kv_buf_free(&password);
    return rc;
}

static int put_admins(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    const char *email = kv_cli_flag(cli, "admin");
    json_t *admins = NULL;
    if (email == NULL)
        return 0;
    admins = json_array();
    for (size_t i = 1; email != NULL; i++) {
        if (json_array_append_new(admins, json_pack("{s:s}", "email", email)) != 0) {
            json_decref(admins);
            return kv_cli_bad(err, "--admin is no UTF-8 text");
        }
        email = kv_invocation_flag_at(&cli->invocation, "admin", i);
    }
    return put(body, "org_details", "admin_details", admins);
}

static int read_issuer(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    const char *type = kv_cli_flag(cli, "type");
    json_t *provider = type != NULL ? json_string(type) : NULL;
    int rc = 0;
    if (type != NULL && provider == NULL)
        return kv_cli_bad(err, "--type is no UTF-8 text");
    if (provider != NULL && json_object_set_new(body, "provider", provider) != 0)
        return KV_E_NOMEM;
    KV_TRY(put_flag(cli, "account", body, "credentials", "account_id", err));
    KV_TRY(put_password(cli, body, err));
    KV_TRY(put_flag(cli, "organization", body, "org_details", "id", err));
    KV_TRY(put_admins(cli, body, err));
    KV_TRY(kv_attributes_read(cli, body, err));
out:
    return rc;
}

/* --- showing
 * -------------------------------------------------------------------------- */

/* The last segment of an issuer's id. */
static const char *name_of(const json_t *issuer)
{
    const char *id = kv_json_text(issuer, "id");
    const char *slash = strrchr(id, '/');
    return slash != NULL ? slash + 1 : id;
}

static void print(const json_t *issuer)
{
    const json_t *attributes = json_object_get(issuer, "attributes");
    const json_t *organization = json_object_get(issuer, "org_details");
    const json_t *admins = json_object_get(organization, "admin_details");
    kv_object_print_field("name", name_of(issuer));
    kv_object_print_field("type", kv_json_text(issuer, "provider"));
    kv_object_print_field("id", kv_json_text(issuer, "id"));
    kv_object_print_field(
        "enabled",
        json_is_false(json_object_get(attributes, "enabled")) ? "no" : "yes");
    kv_object_print_field(
        "account", kv_json_text(json_object_get(issuer, "credentials"), "account_id"));
    kv_object_print_field("organization", kv_json_text(organization, "id"));
    for (size_t i = 0; i < json_array_size(admins); i++)
        kv_object_print_field("admin",
                              kv_json_text(json_array_get(admins, i), "email"));
}

static int send(struct kv_cli *cli, const char *method, const json_t *body,
                struct kv_err *err)
{
    json_t *issuer = NULL;
    int rc = call(cli, method, body, &issuer, err);
    if (rc == 0 && cli->invocation.as_json)
        rc = kv_cli_print_json(issuer, err);
    else if (rc == 0)
        print(issuer);
    json_decref(issuer);
    return rc;
}

/* --- commands
 * ------------------------------------------------------------------------- */

int kv_issuer_create_run(struct kv_cli *cli, struct kv_err *err)
{
    json_t *body = json_object();
    int rc = 0;
    if (kv_cli_flag(cli, "type") == NULL)
        rc = kv_cli_bad(err, "--type is needed: DigiCert, GlobalSign, ACME, LocalCA, "
                             "Exec or Test");
    if (rc == 0)
        rc = read_issuer(cli, body, err);
    if (rc == 0)
        rc = send(cli, "PUT", body, err);
    json_decref(body);
    return rc;
}

int kv_issuer_update_run(struct kv_cli *cli, struct kv_err *err)
{
    json_t *body = json_object();
    int rc = read_issuer(cli, body, err);
    if (rc == 0 && json_object_size(body) == 0)
        rc =
            kv_cli_bad(err, "there is nothing to change: give --account, --disabled or "
                            "another flag");
    if (rc == 0)
        rc = send(cli, "PATCH", body, err);
    json_decref(body);
    return rc;
}

int kv_issuer_show_run(struct kv_cli *cli, struct kv_err *err)
{
    return send(cli, "GET", NULL, err);
}

int kv_issuer_delete_run(struct kv_cli *cli, struct kv_err *err)
{
    json_t *issuer = NULL;
    int rc = call(cli, "DELETE", NULL, &issuer, err);
    if (rc == 0 && cli->invocation.as_json)
        rc = kv_cli_print_json(issuer, err);
    else if (rc == 0)
        (void)printf("issuer %s: deleted\n", name_of(issuer));
    json_decref(issuer);
    return rc;
}

static int print_list(const json_t *items)
{
    static const char *const headings[] = {"NAME", "TYPE"};
    struct kv_table *table = kv_table_new(2, headings);
    if (table == NULL)
        return KV_E_NOMEM;
    for (size_t i = 0; i < json_array_size(items); i++) {
        kv_table_add(table, name_of(json_array_get(items, i)));
        kv_table_add(table, kv_json_text(json_array_get(items, i), "provider"));
    }
    int rc = kv_table_print(table, stdout);
    kv_table_free(table);
    return rc;
}

int kv_issuer_list_run(struct kv_cli *cli, struct kv_err *err)
{
    json_t *items = NULL;
    int rc = kv_rest_list(cli, "/" COLLECTION, &items, err);
    if (rc == 0)
        rc =
            cli->invocation.as_json ? kv_cli_print_json(items, err) : print_list(items);
    json_decref(items);
    return rc;
}
