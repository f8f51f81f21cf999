/*
 * keyvault key|secret|cert list | show | versions, and common fields. A list item and a
 * whole object differ between collections only in where the id stands.
 */
#include "lifecycle/cli/object.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lifecycle/cli/noun.h"
#include "lifecycle/cli/rest.h"
#include "lifecycle/cli/table.h"
#include "store/core/str.h"
#include "store/core/uri.h"

const char *kv_json_text(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));
    return text != NULL ? text : "";
}

const char *kv_object_id(const json_t *object)
{
    const json_t *key = json_object_get(object, "key");
    if (key != NULL)
        return kv_json_text(key, "kid");
    const char *id = kv_json_text(object, "id");
    return id[0] != '\0' ? id : kv_json_text(object, "kid");
}

long long kv_json_number(const json_t *object, const char *member)
{
    return (long long)json_integer_value(json_object_get(object, member));
}

static const char *enabled_text(const json_t *attributes)
{
    return json_is_false(json_object_get(attributes, "enabled")) ? "no" : "yes";
}

/* --- lists ------------------------------------------------------------------------ */

static int print_items(const json_t *items, bool is_versions, struct kv_err *err)
{
    static const char *const headings[] = {"NAME", "ENABLED", "CREATED (UTC)",
                                           "EXPIRES", "MANAGED"};
    static const char *const version_headings[] = {
        "VERSION", "ENABLED", "CREATED (UTC)", "EXPIRES", "MANAGED"};
    struct kv_table *table = kv_table_new(5, is_versions ? version_headings : headings);
    if (table == NULL)
        return KV_E_NOMEM;
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach((json_t *)items, i, item)
    {
        char name[KV_NAME_MAX + 1];
        const json_t *attributes = json_object_get(item, "attributes");
        kv_rest_id_name(kv_object_id(item), name, sizeof(name));
        kv_table_add(table,
                     is_versions ? kv_rest_id_version(kv_object_id(item)) : name);
        kv_table_add(table, enabled_text(attributes));
        kv_table_add_time(table, kv_json_number(attributes, "created"));
        kv_table_add_time(table, kv_json_number(attributes, "exp"));
        kv_table_add(table,
                     json_is_true(json_object_get(item, "managed")) ? "yes" : "");
    }
    int rc = kv_table_print(table, stdout);
    kv_table_free(table);
    return rc == 0 ? kv_cli_flush(err) : rc;
}

static int list(struct kv_cli *cli, const char *path, bool is_versions,
                struct kv_err *err)
{
    json_t *items = NULL;
    int rc = kv_rest_list(cli, path, &items, err);
    if (rc == 0)
        rc = cli->invocation.as_json ? kv_cli_print_json(items, err)
                                     : print_items(items, is_versions, err);
    json_decref(items);
    return rc;
}

int kv_object_list_run(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    bool has_pending = kv_invocation_takes(&cli->invocation, "pending") &&
                       kv_cli_flag(cli, "pending") != NULL;
    (void)snprintf(path, sizeof(path), "/%s%s", kv_noun_of(cli)->collection,
                   has_pending ? "?includePending=true" : "");
    return list(cli, path, false, err);
}

int kv_object_versions_run(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    const char *name = NULL;
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(kv_rest_object_path(path, kv_noun_of(cli)->collection, name, "versions"));
    KV_TRY(list(cli, path, true, err));
out:
    return rc;
}

int kv_object_get(struct kv_cli *cli, const char *collection, json_t **out,
                  struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    const char *name = NULL;
    const char *version = NULL;
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(kv_cli_version(cli, &version, err));
    KV_TRY(kv_rest_object_path(path, collection, name, version));
    KV_TRY(kv_rest_call(cli, "GET", path, NULL, out, err));
out:
    return rc;
}

int kv_object_get_shown(struct kv_cli *cli, json_t **out, struct kv_err *err)
{
    const struct kv_noun *noun = kv_noun_of(cli);
    if (kv_cli_flag(cli, "deleted") == NULL)
        return kv_object_get(cli, noun->collection, out, err);
    if (cli->invocation.version != NULL)
        return kv_cli_bad(err,
                          "--deleted and --version exclude each other: a deleted "
                          "%s comes back with all versions",
                          noun->kind);
    return kv_object_get(cli, noun->deleted, out, err);
}

int kv_object_show_run(struct kv_cli *cli, struct kv_err *err)
{
    json_t *bundle = NULL;
    int rc = kv_object_get_shown(cli, &bundle, err);
    if (rc == 0)
        rc = kv_noun_print(cli, bundle, err);
    json_decref(bundle);
    return rc;
}

/* --- one object --------------------------------------------------------------------
 */

void kv_object_print_field(const char *name, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return;
    (void)printf("%-14s", name);
    for (const char *c = value; *c != '\0'; c++)
        (void)putchar((unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c);
    (void)putchar('\n');
}

void kv_object_print_time(const char *name, long long seconds)
{
    char text[40];
    time_t when = (time_t)seconds;
    struct tm parts;
    if (seconds != 0 && gmtime_r(&when, &parts) != NULL &&
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &parts) > 0)
        kv_object_print_field(name, text);
}

void kv_object_print_common(const json_t *object)
{
    const char *id = kv_object_id(object);
    const json_t *attributes = json_object_get(object, "attributes");
    char name[KV_NAME_MAX + 1];
    kv_rest_id_name(id, name, sizeof(name));
    kv_object_print_field("name", name);
    kv_object_print_field("version", kv_rest_id_version(id));
    kv_object_print_field("id", id);
    kv_object_print_field("enabled", enabled_text(attributes));
    kv_object_print_time("created", kv_json_number(attributes, "created"));
    kv_object_print_time("updated", kv_json_number(attributes, "updated"));
    kv_object_print_time("not before", kv_json_number(attributes, "nbf"));
    kv_object_print_time("expires", kv_json_number(attributes, "exp"));
    kv_object_print_time("deleted", kv_json_number(object, "deletedDate"));
    kv_object_print_time("purged on", kv_json_number(object, "scheduledPurgeDate"));
    if (json_is_true(json_object_get(object, "managed")))
        kv_object_print_field("managed", "by the certificate of that name");
    kv_object_print_tags(object);
}

void kv_object_print_tags(const json_t *object)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(json_object_get(object, "tags"), key, value)
    {
        char text[600];
        const char *shown = json_string_value(value);
        (void)snprintf(text, sizeof(text), "%s=%s", key, shown != NULL ? shown : "");
        kv_object_print_field("tag", text);
    }
}
