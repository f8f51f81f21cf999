/*
 * Certificates: bundles, get, lists, policy, and the table of their routes.
 */
#include "lifecycle/api/certificates.h"

#include <stdlib.h>
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/certs/chain.h"
#include "store/core/b64.h"
#include "store/core/str.h"

/* --- JSON --------------------------------------------------------------------------
 */

static json_t *b64url(const void *data, size_t len)
{
    struct kv_buf text;
    kv_buf_init(&text, 256);
    json_t *json = kv_b64_encode(KV_B64_URL, data, len, &text) == 0
                       ? json_stringn((const char *)text.data, text.len)
                       : NULL;
    kv_buf_free(&text);
    return json;
}

static bool is_pending(const struct kv_object *version)
{
    return (version->row.flags & KV_ROW_PENDING) != 0;
}

/* What is said of the leaf: thumbprint, and for lists its subject. What jansson returns
 * without memory is KV_E_NOMEM, too. */
static int add_leaf(json_t *json, const struct kv_object *version, bool has_subject)
{
    struct kv_chain chain;
    struct kv_buf bytes;
    struct kv_buf subject;
    struct kv_cert_facts facts;
    int rc = 0;
    kv_buf_init(&bytes, (size_t)KV_CHAIN_MAX * KV_CERT_DER_MAX);
    kv_buf_init(&subject, 65536);
    KV_TRY(kv_chain_read(json_object_get(version->doc, "chain"), &bytes, &chain));
    KV_TRY(kv_cert_facts(chain.der[0], &facts, NULL));
    KV_TRY(json_object_set_new(json, "x5t", b64url(facts.sha1, sizeof(facts.sha1))));
    if (has_subject) {
        KV_TRY(kv_cert_subject(chain.der[0], &subject));
        KV_TRY(json_object_set_new(
            json, "subject", json_stringn((const char *)subject.data, subject.len)));
    }
out:
    kv_buf_free(&subject);
    kv_buf_free(&bytes);
    return rc;
}

json_t *kv_cert_own_id(const struct kv_call *call, const char *name, const char *last)
{
    json_t *base = kv_call_id(call, "certificates", name, NULL);
    json_t *json =
        base != NULL ? json_sprintf("%s/%s", json_string_value(base), last) : NULL;
    json_decref(base);
    return json;
}

json_t *kv_cert_policy_json(const struct kv_call *call, const struct kv_object *policy)
{
    json_t *json = json_copy(policy->doc);
    const struct kv_row *row = &policy->row;
    if (json == NULL ||
        json_object_set_new(json, "id",
                            kv_cert_own_id(call, row->key.name, "policy")) != 0 ||
        json_object_set_new(json, "attributes",
                            json_pack("{s:b,s:I,s:I}", "enabled", 1, "created",
                                      (json_int_t)row->created_s, "updated",
                                      (json_int_t)row->updated_s)) != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* Members that only an issued version has. */
static int add_issued(const struct kv_call *call, json_t *json,
                      const struct kv_object *version)
{
    const struct kv_row_key *key = &version->row.key;
    json_t *chain = json_object_get(version->doc, "chain");
    int rc = 0;
    KV_TRY(json_object_set_new(json, "kid",
                               kv_call_id(call, "keys", key->name, key->version)));
    KV_TRY(json_object_set_new(json, "sid",
                               kv_call_id(call, "secrets", key->name, key->version)));
    KV_TRY(json_object_set(json, "cer", json_array_get(chain, 0)));
    KV_TRY(json_object_set(json, "x5c", chain));
    KV_TRY(add_leaf(json, version, false));
out:
    return rc;
}

json_t *kv_cert_bundle(const struct kv_call *call, const struct kv_object *version,
                       const struct kv_object *policy,
                       const struct kv_object *operation)
{
    const struct kv_row_key *key = &version->row.key;
    json_t *pending =
        operation->row.row_version != 0
            ? json_pack("{s:o}", "id", kv_cert_own_id(call, key->name, "pending"))
            : NULL;
    json_t *json = json_pack(
        "{s:o,s:o,s:O*,s:O*,s:o*,s:o*}", "id",
        kv_call_id(call, "certificates", key->name, key->version), "attributes",
        kv_call_attributes(call, &version->row), "tags",
        json_object_get(version->doc, "tags"), "contentType",
        json_object_get(version->doc, "contentType"), "policy",
        policy->row.row_version != 0 ? kv_cert_policy_json(call, policy) : NULL,
        "pending", pending);
    if (json != NULL && !is_pending(version) && add_issued(call, json, version) != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* --- get ---------------------------------------------------------------------------
 */

struct getting {
    struct kv_object version;
    struct kv_object policy;
};

static void getting_free(void *data)
{
    struct getting *getting = data;
    kv_object_free(&getting->version);
    kv_object_free(&getting->policy);
    free(getting);
}

static void got_operation(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    const struct getting *getting = call->data;
    bool is_made = call->route->run == kv_certificates_merge;
    kv_call_reply(
        call, is_made ? 201 : 200,
        kv_cert_bundle(call, &getting->version, &getting->policy, &task->object));
}

static void got_policy(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct getting *getting = call->data;
    getting->policy = kv_task_take_object(task);
    kv_task_find(task, KV_KIND_OPERATION, call->name, NULL, got_operation);
}

static void got_version(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct getting *getting = calloc(1, sizeof(*getting));
    if (getting == NULL) {
        kv_task_fail(task, KV_E_NOMEM, NULL);
        return;
    }
    call->data = getting;
    call->data_free = getting_free;
    getting->version = kv_task_take_object(task);
    kv_task_find(task, KV_KIND_POLICY, call->name, NULL, got_policy);
}

void kv_certificates_get(struct kv_call *call)
{
    kv_task_load(&call->task, KV_KIND_CERTIFICATE, call->name, call->version,
                 got_version);
}

static void reply_policy(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    kv_call_reply(call, 200, kv_cert_policy_json(call, &task->object));
}

static void load_policy(struct kv_task *task)
{
    kv_task_load(task, KV_KIND_POLICY, kv_call_of(task)->name, NULL, reply_policy);
}

/* The row stays while the certificate is deleted. */
void kv_certificates_policy(struct kv_call *call)
{
    kv_task_load(&call->task, KV_KIND_CERTIFICATE, call->name, NULL, load_policy);
}

/* --- lists -------------------------------------------------------------------------
 */

static bool wants_pending(const struct kv_call *call)
{
    char text[8];
    return kv_call_query(call, "includePending", text, sizeof(text)) &&
           kv_str_equal_nocase(text, "true");
}

static json_t *item_of(const struct kv_call *call, const struct kv_object *version,
                       bool is_versions)
{
    const struct kv_row_key *key = &version->row.key;
    json_t *item = json_pack(
        "{s:o,s:o,s:O*}", "id",
        kv_call_id(call, "certificates", key->name, is_versions ? key->version : NULL),
        "attributes", kv_call_attributes(call, &version->row), "tags",
        json_object_get(version->doc, "tags"));
    /* An item whose chain cannot be read is listed all the same. */
    if (item == NULL || is_pending(version) ||
        add_leaf(item, version, true) != KV_E_NOMEM)
        return item;
    json_decref(item);
    return NULL;
}

static void reply_items(struct kv_task *task, bool is_versions)
{
    struct kv_call *call = kv_call_of(task);
    bool has_pending = wants_pending(call);
    json_t *items = json_array();
    for (size_t i = 0; i < task->n_objects; i++) {
        const struct kv_object *object = &task->objects[i];
        if (object->doc != NULL && (has_pending || !is_pending(object)))
            items = kv_json_append(items, item_of(call, object, is_versions));
    }
    kv_call_reply_list(call, items, is_versions);
}

static void reply_certificates(struct kv_task *task)
{
    reply_items(task, false);
}

static void reply_versions(struct kv_task *task)
{
    reply_items(task, true);
}

static void list(struct kv_call *call)
{
    struct kv_list_query query = {.what = KV_LIST_CURRENT, .kind = KV_KIND_CERTIFICATE};
    memcpy(query.vault, call->task.vault->id, KV_ID_LEN);
    if (kv_call_page(call, &query.limit, query.after_name) == 0)
        kv_task_list(&call->task, &query, reply_certificates);
}

static void versions(struct kv_call *call)
{
    struct kv_list_query query;
    if (kv_call_versions_query(call, KV_KIND_CERTIFICATE, &query) == 0)
        kv_task_list(&call->task, &query, reply_versions);
}

const struct kv_route kv_routes_certificates[] = {
    {"POST", "/certificates/{name}/create", "createCertificate", KV_ACT_CERT_CREATE,
     true, kv_certificates_create},
    {"POST", "/certificates/{name}/import", "importCertificate", KV_ACT_CERT_IMPORT,
     true, kv_certificates_import},
    {"POST", "/certificates/{name}/pending/merge", "mergeCertificate",
     KV_ACT_CERT_CREATE, true, kv_certificates_merge},
    {"GET", "/certificates", "getCertificates", KV_ACT_CERT_LIST, false, list},
    {"GET", "/certificates/{name}/pending", "getCertificateOperation", KV_ACT_CERT_GET,
     false, kv_certificates_pending},
    {"PATCH", "/certificates/{name}/pending", "updateCertificateOperation",
     KV_ACT_CERT_UPDATE, true, kv_certificates_cancel},
    {"DELETE", "/certificates/{name}/pending", "deleteCertificateOperation",
     KV_ACT_CERT_UPDATE, false, kv_certificates_drop_pending},
    {"GET", "/certificates/{name}/policy", "getCertificatePolicy", KV_ACT_CERT_GET,
     false, kv_certificates_policy},
    {"PATCH", "/certificates/{name}/policy", "updateCertificatePolicy",
     KV_ACT_CERT_UPDATE, true, kv_certificates_update_policy},
    {"PATCH", "/certificates/{name}/{version}", "updateCertificate", KV_ACT_CERT_UPDATE,
     true, kv_certificates_update},
    {"GET", "/certificates/{name}/versions", "getCertificateVersions", KV_ACT_CERT_LIST,
     false, versions},
    {"GET", "/certificates/{name}/{version}", "getCertificate", KV_ACT_CERT_GET, false,
     kv_certificates_get},
    {NULL, NULL, NULL, 0, false, NULL},
};
