/*
 * keyvault key usage: what was done with keys, counted by the keyring.
 */
#include <string.h>

#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "lifecycle/cli/table.h"
#include "store/core/str.h"
#include "store/core/uri.h"

/* "sign 12, decrypt 3": what was done at all. */
static void write_operations(const json_t *item, char *text, size_t size)
{
    static const char *const names[] = {"sign", "verify", "encrypt", "decrypt",
                                        "derive"};
    const json_t *operations = json_object_get(item, "operations");
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && used < size; i++) {
        const json_int_t n = json_integer_value(json_object_get(operations, names[i]));
        if (n == 0)
            continue;
        const int len = snprintf(text + used, size - used, "%s%s %lld",
                                 used > 0 ? ", " : "", names[i], (long long)n);
        used += len > 0 ? (size_t)len : 0;
    }
}

static void add_number(struct kv_table *table, const json_t *item, const char *member)
{
    char text[32] = "";
    const json_t *value = json_object_get(item, member);
    if (json_is_integer(value))
        (void)snprintf(text, sizeof(text), "%lld",
                       (long long)json_integer_value(value));
    kv_table_add(table, text);
}

static int print_usage(const json_t *items)
{
    static const char *const headings[] = {"NAME",    "VERSION",  "OPERATIONS",
                                           "ERRORS",  "PREPARED", "P50 µs<",
                                           "P99 µs<", "SINCE"};
    struct kv_table *table = kv_table_new(8, headings);
    if (table == NULL)
        return KV_E_NOMEM;
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach((json_t *)items, i, item)
    {
        char text[160];
        kv_table_add(table, kv_json_text(item, "name"));
        kv_table_add(table, kv_json_text(item, "version"));
        write_operations(item, text, sizeof(text));
        kv_table_add(table, text);
        add_number(table, item, "errors");
        add_number(table, item, "prepared");
        add_number(table, item, "p50Us");
        add_number(table, item, "p99Us");
        kv_table_add_time(table, json_integer_value(json_object_get(item, "since")));
    }
    const int rc = kv_table_print(table, stdout);
    kv_table_free(table);
    return rc;
}

int kv_key_usage_run(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_NAME_MAX + 64] = "/keyvault/v1/usage";
    json_t *items = NULL;
    if (cli->invocation.n_args > 0) {
        const char *name = cli->invocation.args[0];
        if (!kv_name_is_valid(name, strlen(name)))
            return kv_cli_bad(err, "NAME is not the name of a key");
        (void)snprintf(path, sizeof(path), "/keyvault/v1/usage?name=%s", name);
    }
    int rc = kv_rest_list(cli, path, &items, err);
    if (rc == 0)
        rc = cli->invocation.as_json ? kv_cli_print_json(items, err)
                                     : print_usage(items);
    json_decref(items);
    return rc;
}
