/*
 * keyvault contact add | list | remove: who is told about the certificates of a vault.
 *
 * The API knows one list, which is read and replaced whole.
 */
#include <string.h>

#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "lifecycle/cli/table.h"
#include "store/core/str.h"

#define PATH "/certificates/contacts"

/* The contacts of the vault, an array of the caller's; none is an empty one. */
static int load(struct kv_cli *cli, json_t **out, struct kv_err *err)
{
    struct kv_err failure = KV_ERR_INIT;
    json_t *reply = NULL;
    int rc = kv_rest_call(cli, "GET", PATH, NULL, &reply, &failure);
    json_t *contacts = json_object_get(reply, "contacts");
    if (rc == KV_E_NOT_FOUND) {
        *out = json_array();
        rc = *out != NULL ? 0 : KV_E_NOMEM;
    } else if (rc != 0) {
        *err = failure;
    } else if (!json_is_array(contacts)) {
        rc = kv_err_set(err, KV_E_INVALID, "cli.bad-reply",
                        "the API's answer has no member 'contacts'");
    } else {
        *out = json_incref(contacts);
    }
    json_decref(reply);
    return rc;
}

/* Index of the contact with this address; the size of the array: there is none. */
static size_t find(const json_t *contacts, const char *email)
{
    size_t i = 0;
    while (
        i < json_array_size(contacts) &&
        !kv_str_equal_nocase(kv_json_text(json_array_get(contacts, i), "email"), email))
        i++;
    return i;
}

static int print(const json_t *contacts)
{
    static const char *const headings[] = {"EMAIL", "NAME", "PHONE"};
    static const char *const members[] = {"email", "name", "phone"};
    struct kv_table *table = kv_table_new(3, headings);
    if (table == NULL)
        return KV_E_NOMEM;
    for (size_t i = 0; i < json_array_size(contacts); i++)
        for (size_t j = 0; j < 3; j++)
            kv_table_add(table, kv_json_text(json_array_get(contacts, i), members[j]));
    int rc = kv_table_print(table, stdout);
    kv_table_free(table);
    return rc;
}

int kv_contact_list_run(struct kv_cli *cli, struct kv_err *err)
{
    json_t *contacts = NULL;
    int rc = load(cli, &contacts, err);
    if (rc == 0)
        rc = cli->invocation.as_json ? kv_cli_print_json(contacts, err)
                                     : print(contacts);
    json_decref(contacts);
    return rc;
}

/* Replace the list by this one; an empty one is deleted. Prints what there is now. */
static int store(struct kv_cli *cli, json_t *contacts, struct kv_err *err)
{
    json_t *body = json_pack("{s:O}", "contacts", contacts);
    json_t *reply = NULL;
    bool is_empty = json_array_size(contacts) == 0;
    int rc = body != NULL ? 0 : KV_E_NOMEM;
    if (rc == 0)
        rc = kv_rest_call(cli, is_empty ? "DELETE" : "PUT", PATH,
                          is_empty ? NULL : body, &reply, err);
    if (rc == 0)
        rc = cli->invocation.as_json ? kv_cli_print_json(reply, err) : print(contacts);
    json_decref(reply);
    json_decref(body);
    return rc;
}

int kv_contact_add_run(struct kv_cli *cli, struct kv_err *err)
{
    const char *email = cli->invocation.args[0];
    json_t *contacts = NULL;
    json_t *contact =
        json_pack("{s:s,s:s*,s:s*}", "email", email, "name", kv_cli_flag(cli, "name"),
                  "phone", kv_cli_flag(cli, "phone"));
    int rc = contact != NULL ? load(cli, &contacts, err)
                             : kv_cli_bad(err, "the contact is no UTF-8 text");
    if (rc == 0) {
        size_t i = find(contacts, email);
        if (i < json_array_size(contacts) ? json_array_set(contacts, i, contact) != 0
                                          : json_array_append(contacts, contact) != 0)
            rc = KV_E_NOMEM;
    }
    if (rc == 0)
        rc = store(cli, contacts, err);
    json_decref(contact);
    json_decref(contacts);
    return rc;
}

int kv_contact_remove_run(struct kv_cli *cli, struct kv_err *err)
{
    const char *email = cli->invocation.args[0];
    json_t *contacts = NULL;
    int rc = load(cli, &contacts, err);
    size_t i = rc == 0 ? find(contacts, email) : 0;
    if (rc == 0 && i == json_array_size(contacts)) {
        (void)kv_err_set(err, KV_E_NOT_FOUND, "cli.no-contact",
                         "the vault has no contact '%s'", email);
        kv_err_hint(err, "keyvault contact list");
        rc = KV_E_NOT_FOUND;
    }
    if (rc == 0)
        rc = json_array_remove(contacts, i) == 0 ? store(cli, contacts, err)
                                                 : KV_E_NOMEM;
    json_decref(contacts);
    return rc;
}
