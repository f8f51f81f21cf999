/*
 * Lists and common fields. A list item and a whole object differ between collections
 * only in where the id stands.
 */
#include "lifecycle/cli/object.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

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

static long long number_of(const json_t *object, const char *member)
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
        kv_table_add_time(table, number_of(attributes, "created"));
        kv_table_add_time(table, number_of(attributes, "exp"));
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

int kv_object_list(struct kv_cli *cli, const char *collection, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    (void)snprintf(path, sizeof(path), "/%s", collection);
    return list(cli, path, false, err);
}

int kv_object_versions(struct kv_cli *cli, const char *collection, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    const char *name = NULL;
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(kv_rest_object_path(path, collection, name, "versions"));
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

static void print_time(const char *name, long long seconds)
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
    print_time("created", number_of(attributes, "created"));
    print_time("updated", number_of(attributes, "updated"));
    print_time("not before", number_of(attributes, "nbf"));
    print_time("expires", number_of(attributes, "exp"));
    if (json_is_true(json_object_get(object, "managed")))
        kv_object_print_field("managed", "by the certificate of that name");
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

/* --- attributes --------------------------------------------------------------------
 */

/* Unix seconds, YYYY-MM-DD, YYYY-MM-DDTHH:MM:SSZ. */
static bool read_time(const char *text, int64_t *seconds)
{
    if (kv_str_to_i64(text, 1, INT64_C(253402300799), seconds) == 0)
        return true;
    static const char *const formats[] = {"%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"};
    for (size_t i = 0; i < 2; i++) {
        struct tm parts = {0};
        const char *end = strptime(text, formats[i], &parts);
        if (end == NULL || *end != '\0')
            continue;
        struct tm normal = parts;
        time_t when = timegm(&normal);
        /* timegm turns 31 February into March. */
        *seconds = (int64_t)when;
        return normal.tm_mday == parts.tm_mday && normal.tm_mon == parts.tm_mon;
    }
    return false;
}

static int set_time(const struct kv_cli *cli, const char *flag, json_t *attributes,
                    const char *member, struct kv_err *err)
{
    const char *text = kv_cli_flag(cli, flag);
    int64_t seconds = 0;
    if (text == NULL)
        return 0;
    if (!read_time(text, &seconds))
        return kv_cli_bad(err,
                          "--%s wants YYYY-MM-DD, YYYY-MM-DDTHH:MM:SSZ or Unix "
                          "seconds, not '%s'",
                          flag, text);
    return json_object_set_new(attributes, member, json_integer(seconds)) == 0
               ? 0
               : KV_E_NOMEM;
}

static int add_tag(json_t *tags, const char *pair, size_t len, struct kv_err *err)
{
    const char *equals = memchr(pair, '=', len);
    size_t name_len = equals != NULL ? (size_t)(equals - pair) : 0;
    if (name_len == 0)
        return kv_cli_bad(err,
                          "--tags wants NAME=VALUE, separated by commas, not '%.*s'",
                          (int)len, pair);
    char name[1024];
    if (name_len >= sizeof(name))
        return kv_cli_bad(err, "a tag's name is too long");
    kv_str_cut(name, sizeof(name), pair, name_len);
    json_t *value = json_stringn(equals + 1, len - name_len - 1);
    if (value == NULL)
        return kv_cli_bad(err, "the tag %s is no UTF-8 text", name);
    return json_object_set_new(tags, name, value) == 0 ? 0 : KV_E_NOMEM;
}

static int read_tags(const char *text, json_t *body, struct kv_err *err)
{
    json_t *tags = json_object();
    int rc = 0;
    while (rc == 0 && *text != '\0') {
        size_t len = strcspn(text, ",");
        rc = add_tag(tags, text, len, err);
        text += len + (text[len] == ',' ? 1 : 0);
    }
    if (rc == 0)
        return json_object_set_new(body, "tags", tags) == 0 ? 0 : KV_E_NOMEM;
    json_decref(tags);
    return rc;
}

int kv_object_read_attributes(const struct kv_cli *cli, json_t *body,
                              struct kv_err *err)
{
    json_t *attributes = json_object();
    const char *tags = kv_cli_flag(cli, "tags");
    int rc = 0;
    KV_TRY(set_time(cli, "expires", attributes, "exp", err));
    KV_TRY(set_time(cli, "not-before", attributes, "nbf", err));
    if (kv_cli_flag(cli, "disabled") != NULL)
        rc = json_object_set_new(attributes, "enabled", json_false()) == 0 ? 0
                                                                           : KV_E_NOMEM;
    if (rc == 0 && json_object_size(attributes) > 0)
        rc = json_object_set(body, "attributes", attributes) == 0 ? 0 : KV_E_NOMEM;
    if (rc == 0 && tags != NULL)
        rc = read_tags(tags, body, err);
out:
    json_decref(attributes);
    return rc;
}
