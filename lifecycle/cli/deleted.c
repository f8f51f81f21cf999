/*
 * keyvault key|secret|cert delete | list-deleted | recover | purge.
 *
 * Deleting can be undone until the day that the vault names; purging cannot, so it
 * asks. A certificate takes its key and its secret along.
 */
#include <string.h>
#include <unistd.h>

#include "lifecycle/cli/io.h"
#include "lifecycle/cli/noun.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "lifecycle/cli/table.h"
#include "lifecycle/cli/wait.h"
#include "store/core/clock.h"
#include "store/core/uri.h"

/* Call on an object of a collection; `operation` may be "". */
static int call(struct kv_cli *cli, const char *method, const char *collection,
                const char *operation, json_t **reply, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    const char *name = NULL;
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(kv_rest_object_path(path, collection, name, operation));
    KV_TRY(kv_rest_call(cli, method, path, NULL, reply, err));
out:
    return rc;
}

/* Wait until the object is in a collection, unless --no-wait. */
static int wait_in(struct kv_cli *cli, const char *collection, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    if (kv_cli_flag(cli, "no-wait") != NULL)
        return 0;
    int rc = kv_rest_object_path(path, collection, cli->invocation.args[0], "");
    return rc != 0 ? rc : kv_wait_there(cli, path, err);
}

/* --- delete ------------------------------------------------------------------------
 */

static void say_deleted(const struct kv_cli *cli, const json_t *bundle)
{
    const struct kv_noun *noun = kv_noun_of(cli);
    const char *name = cli->invocation.args[0];
    char date[KV_TIME_TEXT_MAX];
    if (kv_json_text(bundle, "recoveryId")[0] == '\0') {
        (void)printf("%s %s: deleted for good\n", noun->kind, name);
        return;
    }
    kv_time_format(kv_json_number(bundle, "scheduledPurgeDate"), date);
    (void)printf("%s %s: deleted, to be purged on %s\n", noun->kind, name, date);
    (void)fprintf(stderr,
                  "hint: keyvault %s recover %s brings it back, keyvault %s purge %s "
                  "ends it now\n",
                  noun->noun, name, noun->noun, name);
}

int kv_delete_run(struct kv_cli *cli, struct kv_err *err)
{
    const struct kv_noun *noun = kv_noun_of(cli);
    json_t *bundle = NULL;
    int rc = 0;
    if (cli->invocation.version != NULL)
        return kv_cli_bad(err,
                          "a %s is deleted with all versions: --version is for update, "
                          "which disables one",
                          noun->kind);
    KV_TRY(call(cli, "DELETE", noun->collection, "", &bundle, err));
    if (kv_json_text(bundle, "recoveryId")[0] != '\0')
        KV_TRY(wait_in(cli, noun->deleted, err));
    if (cli->invocation.as_json)
        KV_TRY(kv_cli_print_json(bundle, err));
    else
        say_deleted(cli, bundle);
out:
    json_decref(bundle);
    return rc;
}

/* --- list-deleted -------------------------------------------------------------------
 */

static int print_items(const json_t *items)
{
    static const char *const headings[] = {"NAME", "DELETED (UTC)", "PURGED ON"};
    struct kv_table *table = kv_table_new(3, headings);
    if (table == NULL)
        return KV_E_NOMEM;
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach((json_t *)items, i, item)
    {
        char name[KV_NAME_MAX + 1];
        kv_rest_id_name(kv_object_id(item), name, sizeof(name));
        kv_table_add(table, name);
        kv_table_add_time(table, kv_json_number(item, "deletedDate"));
        kv_table_add_time(table, kv_json_number(item, "scheduledPurgeDate"));
    }
    int rc = kv_table_print(table, stdout);
    kv_table_free(table);
    return rc;
}

int kv_list_deleted_run(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    json_t *items = NULL;
    (void)snprintf(path, sizeof(path), "/%s", kv_noun_of(cli)->deleted);
    int rc = kv_rest_list(cli, path, &items, err);
    if (rc == 0)
        rc = cli->invocation.as_json ? kv_cli_print_json(items, err)
                                     : print_items(items);
    json_decref(items);
    return rc;
}

/* --- recover, purge ------------------------------------------------------------------
 */

int kv_recover_run(struct kv_cli *cli, struct kv_err *err)
{
    const struct kv_noun *noun = kv_noun_of(cli);
    json_t *bundle = NULL;
    int rc = 0;
    KV_TRY(call(cli, "POST", noun->deleted, "recover", &bundle, err));
    KV_TRY(wait_in(cli, noun->collection, err));
    KV_TRY(kv_noun_print(cli, bundle, err));
out:
    json_decref(bundle);
    return rc;
}

static int confirm(const struct kv_cli *cli, struct kv_err *err)
{
    char question[KV_ERR_TEXT_MAX];
    const struct kv_noun *noun = kv_noun_of(cli);
    if (kv_cli_flag(cli, "yes") != NULL)
        return 0;
    (void)snprintf(question, sizeof(question),
                   "Purge %s %s with all its versions? Nobody can bring it back. "
                   "Answer yes or no",
                   noun->kind, cli->invocation.args[0]);
    return kv_io_confirm(question, err);
}

int kv_purge_run(struct kv_cli *cli, struct kv_err *err)
{
    const struct kv_noun *noun = kv_noun_of(cli);
    const char *name = NULL;
    json_t *reply = NULL;
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(confirm(cli, err));
    KV_TRY(call(cli, "DELETE", noun->deleted, "", &reply, err));
    if (cli->invocation.as_json)
        KV_TRY(kv_cli_print_json(reply, err));
    else
        (void)printf("%s %s: purged\n", noun->kind, name);
out:
    json_decref(reply);
    return rc;
}
