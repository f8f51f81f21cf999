/*
 * The contacts of a vault: who is told about its certificates. One list, replaced
 * whole.
 */
#include <string.h>

#include "lifecycle/api/internal.h"

#define ROW_NAME "contacts"
#define CONTACTS_MAX 50
#define TEXT_CHARS_MAX 256

/* Read one optional text of at most TEXT_CHARS_MAX characters. */
static int read_text(const json_t *contact, const char *field, enum kv_presence need,
                     const char **out, struct kv_err *err)
{
    int rc = kv_json_string(contact, field, need, out, err);
    if (rc == 0 && *out != NULL && kv_utf8_count(*out) > TEXT_CHARS_MAX)
        rc = kv_err_set(err, KV_E_INVALID, "api.bad-field",
                        "the member '%s' of a contact has more than %d characters",
                        field, TEXT_CHARS_MAX);
    return rc;
}

/* One at sign with something on both sides, and nothing that ends a header line. */
static bool is_email(const char *text)
{
    const char *sign = strchr(text, '@');
    if (sign == NULL || sign == text || sign[1] == '\0' || strchr(sign + 1, '@'))
        return false;
    for (const char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at <= ' ' || *at == 0x7f || strchr("<>,;\"", *at) != NULL)
            return false;
    return true;
}

static int read_contact(const json_t *given, json_t *contacts, struct kv_err *err)
{
    const char *email = NULL;
    const char *name = NULL;
    const char *phone = NULL;
    int rc = 0;
    if (!json_is_object(given))
        return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                          "each entry of 'contacts' must be an object");
    KV_TRY(read_text(given, "email", KV_REQUIRED, &email, err));
    KV_TRY(read_text(given, "name", KV_OPTIONAL, &name, err));
    KV_TRY(read_text(given, "phone", KV_OPTIONAL, &phone, err));
    if (!is_email(email))
        return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                          "the member 'email' of a contact is no address");
    rc = json_array_append_new(contacts, json_pack("{s:s,s:s*,s:s*}", "email", email,
                                                   "name", name, "phone", phone));
    if (rc != 0)
        rc = KV_E_NOMEM;
out:
    return rc;
}

static int read_contacts(const json_t *body, json_t **out, struct kv_err *err)
{
    const json_t *given = json_object_get(body, "contacts");
    size_t i = 0;
    json_t *contact = NULL;
    json_t *contacts = json_array();
    int rc = contacts != NULL ? 0 : KV_E_NOMEM;
    if (rc == 0 && (!json_is_array(given) || json_array_size(given) > CONTACTS_MAX))
        rc = kv_err_set(err, KV_E_INVALID, "api.bad-field",
                        "the member 'contacts' must be an array of at most %d",
                        CONTACTS_MAX);
    json_array_foreach((json_t *)(uintptr_t)given, i, contact)
    {
        if (rc == 0)
            rc = read_contact(contact, contacts, err);
    }
    if (rc != 0)
        json_decref(contacts);
    else
        *out = contacts;
    return rc;
}

static json_t *contacts_json(const struct kv_call *call, const json_t *doc)
{
    return json_pack("{s:o,s:O}", "id",
                     kv_call_id(call, "certificates", ROW_NAME, NULL), "contacts",
                     json_object_get(doc, "contacts"));
}

static void no_contacts(struct kv_task *task)
{
    struct kv_err err = KV_ERR_INIT;
    kv_err_set(&err, KV_E_NOT_FOUND, "api.no-contacts", "the vault has no contacts");
    kv_task_fail(task, KV_E_NOT_FOUND, &err);
}

static void find(struct kv_call *call, kv_task_fn next)
{
    kv_task_find(&call->task, KV_KIND_CONTACTS, ROW_NAME, NULL, next);
}

static void got(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    if (task->object.row.row_version == 0)
        no_contacts(task);
    else
        kv_call_reply(call, 200, contacts_json(call, task->object.doc));
}

static void get(struct kv_call *call)
{
    find(call, got);
}

static void set_found(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct kv_err err = KV_ERR_INIT;
    struct kv_row row = task->object.row;
    json_t *contacts = NULL;
    int rc = read_contacts(call->body, &contacts, &err);
    json_t *doc = rc == 0 ? json_pack("{s:o}", "contacts", contacts) : NULL;
    if (rc == 0 && (doc == NULL || !kv_call_keep(call, contacts_json(call, doc))))
        rc = KV_E_NOMEM;
    if (rc != 0) {
        json_decref(doc);
        kv_task_fail(task, rc, &err);
        return;
    }
    row.flags = KV_ROW_ENABLED;
    row.updated_s = kv_now_s(task->service->clock);
    if (row.row_version == 0)
        row.created_s = row.updated_s;
    kv_task_put_doc(task, &row, row.row_version, doc);
    kv_task_commit(task, kv_call_reply_kept);
}

static void set(struct kv_call *call)
{
    find(call, set_found);
}

static void drop_found(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    const struct kv_row *row = &task->object.row;
    if (row->row_version == 0) {
        no_contacts(task);
        return;
    }
    if (!kv_call_keep(call, contacts_json(call, task->object.doc))) {
        kv_task_fail(task, KV_E_NOMEM, NULL);
        return;
    }
    kv_task_delete(task, &row->key, row->row_version);
    kv_task_commit(task, kv_call_reply_kept);
}

static void drop(struct kv_call *call)
{
    find(call, drop_found);
}

const struct kv_route kv_routes_contacts[] = {
    {"GET", "/certificates/contacts", "getCertificateContacts", KV_ACT_CERT_CONTACTS,
     false, get},
    {"PUT", "/certificates/contacts", "setCertificateContacts", KV_ACT_CERT_CONTACTS,
     true, set},
    {"DELETE", "/certificates/contacts", "deleteCertificateContacts",
     KV_ACT_CERT_CONTACTS, false, drop},
    {NULL, NULL, NULL, 0, false, NULL},
};
