/*
 * Certificate issuers of a vault: provider, credentials, organisation. The password is
 * sealed like a secret and never returned.
 */
#include <string.h>

#include "lifecycle/api/certificates.h"
#include "lifecycle/api/internal.h"
#include "store/core/str.h"

#define ADMINS_MAX 50
#define TEXT_CHARS_MAX 256
#define PASSWORD_CHARS_MAX 4096

static const char *const providers[] = {"DigiCert", "GlobalSign", "Test",
                                        "ACME",     "LocalCA",    "Exec"};

/* Members of one object that are texts, each optional. */
struct text_field {
    const char *name;
    size_t chars_max;
};

static int copy_text(const json_t *given, const struct text_field *field, json_t *out,
                     struct kv_err *err)
{
    const char *text = NULL;
    int rc = kv_json_string(given, field->name, KV_OPTIONAL, &text, err);
    if (rc != 0 || text == NULL)
        return rc;
    if (kv_utf8_count(text) > field->chars_max)
        return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                          "the member '%s' has more than %zu characters", field->name,
                          field->chars_max);
    return json_object_set_new(out, field->name, json_string(text)) == 0 ? 0
                                                                         : KV_E_NOMEM;
}

static int copy_texts(const json_t *given, const struct text_field *fields, size_t n,
                      json_t *out, struct kv_err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = copy_text(given, &fields[i], out, err);
    return rc;
}

static int read_provider(const json_t *body, json_t *doc, struct kv_err *err)
{
    const char *given = NULL;
    bool is_new = json_object_get(doc, "provider") == NULL;
    int rc = kv_json_string(body, "provider", is_new ? KV_REQUIRED : KV_OPTIONAL,
                            &given, err);
    if (rc != 0 || given == NULL)
        return rc;
    for (size_t i = 0; i < sizeof(providers) / sizeof(providers[0]); i++)
        if (kv_str_equal_nocase(given, providers[i]))
            return json_object_set_new(doc, "provider", json_string(providers[i])) == 0
                       ? 0
                       : KV_E_NOMEM;
    kv_err_set(err, KV_E_INVALID, "api.bad-field",
               "the member 'provider' names no provider of certificates");
    kv_err_hint(err, "use DigiCert, GlobalSign, Test, ACME, LocalCA or Exec");
    return KV_E_INVALID;
}

/* The object of this name in the document, made if need be. NULL: no memory. */
static json_t *part_of(json_t *doc, const char *name)
{
    if (json_object_get(doc, name) == NULL)
        (void)json_object_set_new(doc, name, json_object()); /* NULL shows it */
    return json_object_get(doc, name);
}

static int read_credentials(const json_t *body, json_t *doc, struct kv_err *err)
{
    static const struct text_field fields[] = {{"account_id", TEXT_CHARS_MAX},
                                               {"pwd", PASSWORD_CHARS_MAX}};
    const json_t *given = NULL;
    int rc = kv_json_object(body, "credentials", KV_OPTIONAL, &given, err);
    if (rc != 0 || given == NULL)
        return rc;
    json_t *part = part_of(doc, "credentials");
    return part != NULL ? copy_texts(given, fields, 2, part, err) : KV_E_NOMEM;
}

static int read_admins(const json_t *given, json_t *part, struct kv_err *err)
{
    static const struct text_field fields[] = {{"first_name", TEXT_CHARS_MAX},
                                               {"last_name", TEXT_CHARS_MAX},
                                               {"email", TEXT_CHARS_MAX},
                                               {"phone", TEXT_CHARS_MAX}};
    const json_t *array = json_object_get(given, "admin_details");
    size_t i = 0;
    json_t *admin = NULL;
    if (array == NULL || json_is_null(array))
        return 0;
    if (!json_is_array(array) || json_array_size(array) > ADMINS_MAX)
        return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                          "the member 'admin_details' must be an array of at most %d",
                          ADMINS_MAX);
    json_t *admins = json_array();
    int rc = json_object_set_new(part, "admin_details", admins) == 0 ? 0 : KV_E_NOMEM;
    json_array_foreach((json_t *)(uintptr_t)array, i, admin)
    {
        json_t *copy = json_object();
        if (rc == 0 && !json_is_object(admin))
            rc = kv_err_set(err, KV_E_INVALID, "api.bad-field",
                            "each entry of 'admin_details' must be an object");
        if (rc == 0)
            rc = copy != NULL ? copy_texts(admin, fields, 4, copy, err) : KV_E_NOMEM;
        if (rc == 0)
            rc = json_array_append(admins, copy) == 0 ? 0 : KV_E_NOMEM;
        json_decref(copy);
    }
    return rc;
}

static int read_organization(const json_t *body, json_t *doc, struct kv_err *err)
{
    static const struct text_field fields[] = {{"id", TEXT_CHARS_MAX}};
    const json_t *given = NULL;
    int rc = kv_json_object(body, "org_details", KV_OPTIONAL, &given, err);
    if (rc != 0 || given == NULL)
        return rc;
    json_t *part = part_of(doc, "org_details");
    if (part == NULL)
        return KV_E_NOMEM;
    rc = copy_texts(given, fields, 1, part, err);
    return rc != 0 ? rc : read_admins(given, part, err);
}

static int read_issuer(const json_t *body, json_t *doc, struct kv_row *row,
                       struct kv_err *err)
{
    const json_t *attributes = NULL;
    bool is_enabled = (row->flags & KV_ROW_ENABLED) != 0;
    int rc = 0;
    KV_TRY(read_provider(body, doc, err));
    KV_TRY(read_credentials(body, doc, err));
    KV_TRY(read_organization(body, doc, err));
    KV_TRY(kv_json_object(body, "attributes", KV_OPTIONAL, &attributes, err));
    KV_TRY(kv_json_bool(attributes, "enabled", &is_enabled, err));
    row->flags = is_enabled ? KV_ROW_ENABLED : 0;
out:
    return rc;
}

/* --- JSON --------------------------------------------------------------------------
 */

static json_t *issuer_id(const struct kv_call *call, const char *name)
{
    return kv_cert_own_id(call, "issuers", name);
}

static json_t *issuer_json(const struct kv_call *call, const struct kv_row *row,
                           const json_t *doc)
{
    const json_t *account =
        json_object_get(json_object_get(doc, "credentials"), "account_id");
    json_t *organization = json_copy(json_object_get(doc, "org_details"));
    if (organization != NULL &&
        json_object_set_new(organization, "zip", json_integer(0)) != 0) {
        json_decref(organization);
        return NULL;
    }
    return json_pack("{s:o,s:O,s:{s:O*},s:o*,s:{s:b,s:I,s:I}}", "id",
                     issuer_id(call, row->key.name), "provider",
                     json_object_get(doc, "provider"), "credentials", "account_id",
                     account, "org_details", organization, "attributes", "enabled",
                     (row->flags & KV_ROW_ENABLED) != 0, "created",
                     (json_int_t)row->created_s, "updated", (json_int_t)row->updated_s);
}

/* --- requests -----------------------------------------------------------------------
 */

static void no_issuer(struct kv_task *task)
{
    struct kv_err err = KV_ERR_INIT;
    kv_err_set(&err, KV_E_NOT_FOUND, "api.no-issuer", "the vault has no issuer '%s'",
               kv_call_of(task)->name);
    kv_task_fail(task, KV_E_NOT_FOUND, &err);
}

static void find(struct kv_call *call, kv_task_fn next)
{
    kv_task_find(&call->task, KV_KIND_ISSUER, call->name, NULL, next);
}

static void got(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    const struct kv_object *issuer = &task->object;
    if (issuer->row.row_version == 0)
        no_issuer(task);
    else
        kv_call_reply(call, 200, issuer_json(call, &issuer->row, issuer->doc));
}

static void get(struct kv_call *call)
{
    find(call, got);
}

/* Write the issuer with the members of the body over `doc` (taken). */
static void keep(struct kv_task *task, json_t *doc)
{
    struct kv_call *call = kv_call_of(task);
    struct kv_err err = KV_ERR_INIT;
    struct kv_row row = task->object.row;
    int rc = doc != NULL ? read_issuer(call->body, doc, &row, &err) : KV_E_NOMEM;
    row.updated_s = kv_now_s(task->service->clock);
    if (row.row_version == 0)
        row.created_s = row.updated_s;
    if (rc == 0 && !kv_call_keep(call, issuer_json(call, &row, doc)))
        rc = KV_E_NOMEM;
    if (rc != 0) {
        json_decref(doc);
        kv_task_fail(task, rc, &err);
        return;
    }
    kv_task_put_doc(task, &row, row.row_version, doc);
    kv_task_commit(task, kv_call_reply_kept);
}

static void set_found(struct kv_task *task)
{
    task->object.row.flags = KV_ROW_ENABLED; /* unless the body says otherwise */
    keep(task, json_object());
}

static void set(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    static const char *const reserved[] = {"Self",   "Unknown",  "pending",
                                           "policy", "versions", "merge"};
    size_t i = 0;
    while (i < sizeof(reserved) / sizeof(reserved[0]) &&
           !kv_str_equal_nocase(call->name, reserved[i]))
        i++;
    if (i == sizeof(reserved) / sizeof(reserved[0])) {
        find(call, set_found);
        return;
    }
    kv_err_set(&err, KV_E_INVALID, "api.bad-name",
               "no issuer can be given the name '%s'", call->name);
    kv_task_fail(&call->task, KV_E_INVALID, &err);
}

static void update_found(struct kv_task *task)
{
    if (task->object.row.row_version == 0)
        no_issuer(task);
    else
        keep(task, json_deep_copy(task->object.doc));
}

static void update(struct kv_call *call)
{
    find(call, update_found);
}

static void drop_found(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    const struct kv_object *issuer = &task->object;
    if (issuer->row.row_version == 0) {
        no_issuer(task);
        return;
    }
    if (!kv_call_keep(call, issuer_json(call, &issuer->row, issuer->doc))) {
        kv_task_fail(task, KV_E_NOMEM, NULL);
        return;
    }
    kv_task_delete(task, &issuer->row.key, issuer->row.row_version);
    kv_task_commit(task, kv_call_reply_kept);
}

static void drop(struct kv_call *call)
{
    find(call, drop_found);
}

static void listed(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    json_t *items = json_array();
    for (size_t i = 0; i < task->n_objects; i++) {
        const struct kv_object *issuer = &task->objects[i];
        items = kv_json_append(
            items, json_pack("{s:o,s:O}", "id", issuer_id(call, issuer->row.key.name),
                             "provider", json_object_get(issuer->doc, "provider")));
    }
    kv_call_reply_list(call, items, false);
}

static void list(struct kv_call *call)
{
    struct kv_list_query query = {.what = KV_LIST_ROWS, .kind = KV_KIND_ISSUER};
    memcpy(query.vault, call->task.vault->id, KV_ID_LEN);
    if (kv_call_page(call, &query.limit, query.after_name) == 0)
        kv_task_list(&call->task, &query, listed);
}

const struct kv_route kv_routes_issuers[] = {
    {"GET", "/certificates/issuers", "getCertificateIssuers", KV_ACT_CERT_ISSUERS_LIST,
     false, list},
    {"GET", "/certificates/issuers/{name}", "getCertificateIssuer",
     KV_ACT_CERT_ISSUERS_GET, false, get},
    {"PUT", "/certificates/issuers/{name}", "setCertificateIssuer",
     KV_ACT_CERT_ISSUERS_SET, true, set},
    {"PATCH", "/certificates/issuers/{name}", "updateCertificateIssuer",
     KV_ACT_CERT_ISSUERS_SET, true, update},
    {"DELETE", "/certificates/issuers/{name}", "deleteCertificateIssuer",
     KV_ACT_CERT_ISSUERS_DELETE, false, drop},
    {NULL, NULL, NULL, 0, false, NULL},
};
