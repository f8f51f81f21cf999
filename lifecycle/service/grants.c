/*
 * uid -> principal -> role assignments -> what the peer may do with a key.
 *
 *   question -> who (cached, or asked on the pool) -> may it, by name -> load -> answer
 *
 * The right is checked before the object is looked for: a peer without a role cannot
 * learn which names exist. An answer bears the epoch in which its question began: what
 * is revoked or disabled while the row is read raises the epoch and so ends the grant.
 * In --dev every local user may use every key. Root may read public parts everywhere,
 * and use keys only with a role, as anybody else.
 */
#include "lifecycle/service/grants.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/auth/principal.h"
#include "lifecycle/service/internal.h"
#include "lifecycle/service/key_audit.h"
#include "lifecycle/service/keyring.h"
#include "lifecycle/service/right.h"
#include "store/core/b64.h"
#include "store/core/str.h"

struct question {
    struct kv_task task;
    uint32_t id;
    uint16_t verb;
    uint32_t uid;
    struct kv_role_grant grant; /* GRANT, CERT */
    struct kv_uri uri;
    struct kv_msg_list list; /* LIST */
    char after[KV_NAME_MAX + 1];
    struct kv_principal principal;
    uint32_t ops;
    uint64_t epoch;        /* of the service when the decision began */
    struct kv_buf granted; /* the answer, until it is on record */
};

static struct question *question_of(struct kv_task *task)
{
    return (struct question *)task;
}

static bool is_use(const struct question *question)
{
    return question->verb == KV_ROLE_GRANT && question->grant.is_info == 0;
}

/* What the audit log hears of a question. */
static struct kv_key_audit facts_of(const struct question *question)
{
    struct kv_key_audit facts = {.principal = question->principal.id,
                                 .asked = &question->grant,
                                 .name = question->uri.name};
    if (question->grant.has_version != 0)
        facts.version = question->grant.version;
    if (question->task.vault != &question->task.service->system)
        facts.vault = question->task.vault;
    return facts;
}

static void answer(struct question *question, int rc, const struct kv_buf *payload,
                   const struct kv_err *err)
{
    struct kv_service *service = question->task.service;
    if (rc != 0 && is_use(question)) {
        struct kv_key_audit facts = facts_of(question);
        facts.error = err != NULL ? err->id : "";
        kv_key_audit_refuse(service, &facts);
    }
    if (service->keyring != NULL)
        kv_keyring_answer(service->keyring, question->id, question->verb, rc, payload,
                          err);
    kv_task_fini(&question->task);
    kv_buf_free(&question->granted);
    free(question);
}

static void fail(struct kv_task *task, int rc, const struct kv_err *err)
{
    answer(question_of(task), rc, NULL, err);
}

/* Send what was written to `payload`, which is freed. */
static void answer_payload(struct question *question, struct kv_buf *payload)
{
    int rc = kv_buf_status(payload);
    answer(question, rc, payload, NULL);
    kv_buf_free(payload);
}

static kv_actions actions_on(const struct question *question, const char *collection,
                             const char *name)
{
    const struct kv_access_object object = {
        .vault = question->task.vault->name, .collection = collection, .name = name};
    return kv_right_actions(question->task.service, &question->principal, &object);
}

static bool may_see_all(const struct question *question)
{
    return question->task.service->is_dev || question->uid == 0;
}

/* --- keys ---------------------------------------------------------------------------
 */

/* Decide on a key by name; false: denied and answered. */
static bool decide(struct question *question, const char *name)
{
    const struct kv_right right =
        kv_right_on_key(question->task.service, &question->principal, question->uid,
                        question->task.vault, name);
    uint32_t wanted = question->grant.ops;
    question->ops = right.ops;
    bool may_use = right.ops != 0 && (wanted == 0 || (right.ops & wanted) != 0);
    if (question->grant.is_info != 0 ? right.may_read : may_use)
        return true;
    struct kv_err err = KV_ERR_INIT;
    kv_err_set(&err, KV_E_DENIED, "grant.denied", "%s may not %s the key '%s'",
               question->principal.id,
               question->grant.is_info != 0 ? "read the public part of" : "use", name);
    if (question->task.vault->uses_policies)
        kv_err_hint(&err,
                    "keyvault access policy set %s --vault %s --keys get,list,sign",
                    question->principal.id, question->task.vault->name);
    else
        kv_err_hint(&err, "keyvault access grant %s --role tls-server --scope keys/%s",
                    question->principal.id, name);
    kv_log(question->task.service->log, KV_LOG_WARN, "grant.denied",
           KV_S("principal", question->principal.id), KV_I("uid", question->uid),
           KV_S("key", name));
    answer(question, KV_E_DENIED, NULL, &err);
    return false;
}

/* A vault that has changed since the decision began has a newer epoch than all had. */
static uint64_t epoch_of(const struct question *question)
{
    const struct kv_vault *vault = question->task.vault;
    return vault->epoch <= question->epoch ? vault->epoch : question->epoch;
}

/* The grant is on record: it may be given. */
static void on_recorded(void *arg, int rc, const struct kv_err *err)
{
    struct question *question = arg;
    question->task.service->n_running--;
    answer(question, rc != 0 ? KV_E_UNAVAILABLE : 0, &question->granted, err);
}

static void give(struct question *question, const struct kv_row *row)
{
    struct kv_service *service = question->task.service;
    struct kv_err err = KV_ERR_INIT;
    int rc = kv_buf_status(&question->granted);
    if (rc != 0 || !is_use(question) || service->audit == NULL) {
        answer(question, rc, &question->granted, NULL);
        return;
    }
    struct kv_key_audit facts = facts_of(question);
    facts.name = row->key.name;
    facts.version = row->key.version;
    facts.ops = question->ops;
    rc = kv_key_audit_grant(service, &facts, on_recorded, question, &err);
    if (rc == 0)
        service->n_running++;
    else
        answer(question, rc, NULL, &err);
}

static void reply_grant(struct kv_task *task)
{
    struct question *question = question_of(task);
    const struct kv_row *row = &task->object.row;
    struct kv_role_granted granted;
    struct kv_uri uri = {.collection = KV_URI_KEYS, .has_version = true};
    memset(&granted, 0, sizeof(granted));
    kv_row_ident(row, &granted.ident);
    granted.ops = question->ops;
    granted.lease_ms = KV_LEASE_MS;
    granted.epoch = epoch_of(question);
    granted.row = (struct kv_bytes){row->sealed, row->sealed_len};
    memcpy(uri.name, row->key.name, sizeof(uri.name));
    memcpy(uri.version, row->key.version, KV_ID_LEN);
    kv_str_cut(uri.vault, sizeof(uri.vault), task->vault->name,
               strlen(task->vault->name));
    int rc = kv_uri_format(&uri, granted.uri, sizeof(granted.uri));
    if (rc != 0) {
        kv_task_fail(task, rc, NULL);
        return;
    }
    kv_log(task->service->log, KV_LOG_INFO, "grant.given",
           KV_S("principal", question->principal.id), KV_I("uid", question->uid),
           KV_S("key", row->key.name), KV_I("ops", granted.ops));
    kv_role_granted_put(&question->granted, &granted);
    give(question, row);
}

/* There is no such key, or its name is that of a deleted one: who may use it hears. */
static void found_head(struct kv_task *task)
{
    const struct question *question = question_of(task);
    struct kv_err err = KV_ERR_INIT;
    if ((task->object.row.flags & KV_ROW_DELETED) != 0)
        kv_err_set(&err, KV_E_NOT_FOUND, "key.deleted", "the key '%s' was deleted",
                   task->object.row.key.name);
    else
        kv_err_set(&err, KV_E_NOT_FOUND, "object.not-found", "there is no key '%s'%s",
                   question->uri.name,
                   question->uri.has_version ? " of this version" : "");
    kv_task_fail(task, KV_E_NOT_FOUND, &err);
}

static void found_name(struct kv_task *task)
{
    if (task->object.row.row_version != 0)
        reply_grant(task);
    else
        kv_task_find_head(task, KV_KIND_KEY, question_of(task)->uri.name, found_head);
}

static void found_version(struct kv_task *task)
{
    struct question *question = question_of(task);
    struct kv_err err = KV_ERR_INIT;
    if (task->n_objects == 0) {
        kv_err_set(&err, KV_E_NOT_FOUND, "object.not-found", "no key has this version");
        kv_task_fail(task, KV_E_NOT_FOUND, &err);
        return;
    }
    task->vault = kv_service_vault_by_id(task->service, task->objects[0].row.key.vault);
    if (task->vault == NULL || task->vault->state != KV_VAULT_LIVE) {
        kv_err_set(&err, KV_E_NOT_FOUND, "vault.not-found",
                   "the vault of this key was deleted");
        kv_task_fail(task, KV_E_NOT_FOUND, &err);
        return;
    }
    if (!decide(question, task->objects[0].row.key.name))
        return;
    task->object = task->objects[0];
    memset(&task->objects[0], 0, sizeof(task->objects[0]));
    reply_grant(task);
}

/* Zeros stand for heads in the store: no object has such a version. */
static bool is_uri_of_zeros(const struct question *question)
{
    return question->uri.has_version && kv_id_is_zero(question->uri.version);
}

static void answer_no_version(struct question *question)
{
    struct kv_err err = KV_ERR_INIT;
    kv_err_set(&err, KV_E_NOT_FOUND, "object.not-found", "nothing has this version");
    answer(question, KV_E_NOT_FOUND, NULL, &err);
}

/* A grant by version id: the peer opened the key in an earlier life of the keyring. */
static void find_version(struct question *question)
{
    struct kv_list_query query = {
        .what = KV_LIST_VERSION_ID, .kind = KV_KIND_KEY, .limit = 1};
    memcpy(query.after_version, question->grant.version, KV_ID_LEN);
    kv_task_list(&question->task, &query, found_version);
}

/* Parse the URI and set the vault; false: answered. */
static bool read_uri(struct question *question)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_task *task = &question->task;
    int rc = kv_uri_parse(question->grant.uri, strlen(question->grant.uri),
                          &question->uri, &err);
    if (rc == 0 && question->uri.name[0] == '\0')
        rc = kv_err_set(&err, KV_E_INVALID, "grant.no-name",
                        "the URI names a collection, not one object");
    if (rc == 0) {
        task->vault = kv_service_vault_by_name(task->service, question->uri.vault);
        if (task->vault == NULL)
            rc = kv_err_set(&err, KV_E_NOT_FOUND, "vault.not-found",
                            "there is no vault '%s'", question->uri.vault);
    }
    if (rc != 0)
        answer(question, rc, NULL, &err);
    return rc == 0;
}

static void start_grant(struct question *question)
{
    if (question->grant.has_version != 0) {
        if (kv_id_is_zero(question->grant.version))
            answer_no_version(question);
        else
            find_version(question);
        return;
    }
    if (!read_uri(question) || !decide(question, question->uri.name))
        return;
    if (is_uri_of_zeros(question)) {
        answer_no_version(question);
        return;
    }
    kv_task_find(&question->task, KV_KIND_KEY, question->uri.name,
                 question->uri.version, found_name);
}

/* --- certificates --------------------------------------------------------------------
 */

int kv_grants_read_chain(const json_t *doc, struct kv_buf *out,
                         struct kv_msg_certs *msg, struct kv_err *err)
{
    const json_t *chain = json_object_get(doc, "chain");
    size_t ends[KV_CHAIN_MAX];
    size_t n = json_array_size(chain);
    if (json_is_array(chain) && n == 0)
        return kv_err_set(err, KV_E_STATE, "cert.pending",
                          "the certificate has not been issued yet");
    if (n == 0 || n > KV_CHAIN_MAX)
        return KV_E_INTEGRITY;
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(chain, i));
        if (text == NULL || kv_b64_decode(KV_B64_STD, text, strlen(text), out) != 0)
            return KV_E_INTEGRITY;
        ends[i] = out->len;
    }
    msg->n = (uint16_t)n;
    for (size_t i = 0; i < n; i++) {
        size_t begin = i > 0 ? ends[i - 1] : 0;
        msg->der[i] = (struct kv_bytes){out->data + begin, ends[i] - begin};
    }
    return 0;
}

static void reply_certs(struct kv_task *task)
{
    struct question *question = question_of(task);
    const struct kv_row_key *key = &task->object.row.key;
    struct kv_msg_certs *msg = calloc(1, sizeof(*msg));
    struct kv_uri uri = {.collection = KV_URI_CERTIFICATES, .has_version = true};
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf der;
    struct kv_buf payload;
    kv_buf_init(&der, (size_t)KV_CHAIN_MAX * KV_CERT_DER_MAX);
    kv_buf_init(&payload, KV_FRAME_MAX_ROLE);
    int rc = KV_E_NOMEM;
    if (msg == NULL)
        goto out;
    memcpy(uri.name, key->name, sizeof(uri.name));
    memcpy(uri.version, key->version, KV_ID_LEN);
    kv_str_cut(uri.vault, sizeof(uri.vault), task->vault->name,
               strlen(task->vault->name));
    KV_TRY(kv_uri_format(&uri, msg->uri, sizeof(msg->uri)));
    KV_TRY(kv_grants_read_chain(task->object.doc, &der, msg, &err));
    kv_msg_certs_put(&payload, msg);
    rc = kv_buf_status(&payload);
out:
    free(msg);
    kv_buf_free(&der);
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        answer(question, 0, &payload, NULL);
    kv_buf_free(&payload);
}

/* A certificate is public to whoever may read it, or the key of the same name. */
static void start_cert(struct question *question)
{
    if (!read_uri(question))
        return;
    const char *name = question->uri.name;
    bool may_read =
        may_see_all(question) ||
        (actions_on(question, "certificates", name) & KV_ACT_CERT_READ) != 0 ||
        (actions_on(question, "keys", name) & KV_ACT_KEY_READ) != 0;
    if (!may_read) {
        question->grant.is_info = 1;
        question->grant.ops = 0;
        (void)decide(question, name); /* denies: the key may not be read either */
        return;
    }
    if (is_uri_of_zeros(question))
        answer_no_version(question);
    else
        kv_task_load(&question->task, KV_KIND_CERTIFICATE, name, question->uri.version,
                     reply_certs);
}

/* --- lists
 * ----------------------------------------------------------------------------- */

static void describe(const struct kv_object *object, char *out, size_t out_size)
{
    const struct kv_key_info *info = &object->info;
    if (object->row.key.kind != KV_KIND_KEY)
        (void)snprintf(out, out_size, "certificate");
    else if (info->kty == KV_KTY_RSA)
        (void)snprintf(out, out_size, "RSA %u key", info->bits);
    else if (info->kty == KV_KTY_OKP)
        (void)snprintf(out, out_size, "Ed25519 key");
    else
        (void)snprintf(out, out_size, "EC %s key", kv_curve_name(info->curve));
}

static bool may_list(const struct question *question, const char *name)
{
    bool is_keys = question->list.collection != KV_URI_CERTIFICATES;
    kv_actions actions = actions_on(question, is_keys ? "keys" : "certificates", name);
    kv_actions needed = is_keys ? KV_ACT_KEY_READ : KV_ACT_CERT_READ;
    return may_see_all(question) || (actions & needed) != 0;
}

/* Without this every local user could make the keyring unseal a whole vault, page by
 * page, to be shown nothing. */
static bool may_list_any(const struct question *question)
{
    const struct kv_service *service = question->task.service;
    bool is_keys = question->list.collection != KV_URI_CERTIFICATES;
    const struct kv_access_object collection = {.vault = question->task.vault->name,
                                                .collection =
                                                    is_keys ? "keys" : "certificates"};
    return may_see_all(question) ||
           kv_right_touches(service, &question->principal, &collection,
                            is_keys ? KV_ACT_KEY_READ : KV_ACT_CERT_READ);
}

static void list_page(struct question *question);

static void answer_list(struct question *question,
                        const struct kv_msg_list_reply *reply)
{
    struct kv_buf payload;
    kv_buf_init(&payload, KV_FRAME_MAX);
    kv_msg_list_reply_put(&payload, reply);
    answer_payload(question, &payload);
}

static void reply_list(struct kv_task *task)
{
    struct question *question = question_of(task);
    struct kv_msg_list_reply *reply = calloc(1, sizeof(*reply));
    if (reply == NULL) {
        kv_task_fail(task, KV_E_NOMEM, NULL);
        return;
    }
    for (size_t i = 0; i < task->n_objects; i++) {
        const struct kv_object *object = &task->objects[i];
        struct kv_uri uri = {.collection = question->list.collection};
        struct kv_msg_list_entry *entry = &reply->entry[reply->n];
        if ((object->doc == NULL && object->info_bytes == NULL) ||
            !may_list(question, object->row.key.name))
            continue;
        memcpy(uri.name, object->row.key.name, sizeof(uri.name));
        kv_str_cut(uri.vault, sizeof(uri.vault), task->vault->name,
                   strlen(task->vault->name));
        if (kv_uri_format(&uri, entry->uri, sizeof(entry->uri)) != 0)
            continue;
        describe(object, entry->desc, sizeof(entry->desc));
        reply->n++;
    }
    reply->has_more = task->has_more;
    if (reply->n == 0 && task->has_more) { /* nothing of this page may be seen */
        memcpy(question->after, task->last_name, sizeof(question->after));
        free(reply);
        list_page(question);
        return;
    }
    answer_list(question, reply);
    free(reply);
}

static void list_page(struct question *question)
{
    bool is_keys = question->list.collection != KV_URI_CERTIFICATES;
    struct kv_list_query query = {
        .what = KV_LIST_CURRENT,
        .kind = is_keys ? KV_KIND_KEY : KV_KIND_CERTIFICATE,
        .limit = KV_LIST_MAX,
    };
    memcpy(query.vault, question->task.vault->id, KV_ID_LEN);
    memcpy(query.after_name, question->after, sizeof(query.after_name));
    kv_task_list(&question->task, &query, reply_list);
}

static void start_list(struct question *question)
{
    struct kv_task *task = &question->task;
    struct kv_err err = KV_ERR_INIT;
    task->vault = kv_service_vault_by_name(task->service, question->list.vault);
    if (task->vault == NULL) {
        kv_err_set(&err, KV_E_NOT_FOUND, "vault.not-found", "there is no vault '%s'",
                   question->list.vault);
        answer(question, KV_E_NOT_FOUND, NULL, &err);
        return;
    }
    if (question->list.collection == KV_URI_ANY)
        question->list.collection = KV_URI_KEYS;
    if (!may_list_any(question)) {
        static const struct kv_msg_list_reply nothing;
        answer_list(question, &nothing);
        return;
    }
    memcpy(question->after, question->list.after, sizeof(question->after));
    list_page(question);
}

/* --- arrival
 * --------------------------------------------------------------------------- */

static void begin(struct question *question)
{
    struct kv_service *service = question->task.service;
    struct kv_err err = KV_ERR_INIT;
    if (!service->is_ready) {
        kv_err_set(&err, KV_E_UNAVAILABLE, "service.starting",
                   "the service is starting or waits for the keyring");
        answer(question, KV_E_UNAVAILABLE, NULL, &err);
        return;
    }
    question->epoch = service->epoch;
    if (question->verb == KV_ROLE_LIST)
        start_list(question);
    else if (question->verb == KV_ROLE_CERT)
        start_cert(question);
    else
        start_grant(question);
}

static void on_principal(void *arg, int rc, const struct kv_principal *principal)
{
    struct question *question = arg;
    if (rc != 0) {
        answer(question, rc, NULL, NULL);
        return;
    }
    question->principal = *principal;
    begin(question);
}

static int read_question(struct question *question, struct kv_bytes payload)
{
    if (question->verb == KV_ROLE_LIST) {
        struct kv_role_list msg = {.uid = 0};
        int rc = kv_role_list_get(payload, &msg);
        question->uid = msg.uid;
        question->list = msg.list;
        return rc;
    }
    if (question->verb != KV_ROLE_GRANT && question->verb != KV_ROLE_CERT)
        return KV_E_UNSUPPORTED;
    int rc = kv_role_grant_get(payload, &question->grant);
    question->uid = question->grant.uid;
    return rc;
}

void kv_grants_question(void *arg, uint32_t id, uint16_t verb, struct kv_bytes payload)
{
    struct kv_service *service = arg;
    struct question *question = calloc(1, sizeof(*question));
    if (question == NULL) {
        kv_keyring_answer(service->keyring, id, verb, KV_E_NOMEM, NULL, NULL);
        return;
    }
    kv_task_init(&question->task, service, &service->system, fail);
    kv_buf_init(&question->granted, KV_FRAME_MAX_ROLE);
    question->id = id;
    question->verb = verb;
    int rc = read_question(question, payload);
    if (rc != 0) {
        answer(question, rc, NULL, NULL);
        return;
    }
    const struct kv_principal *known =
        kv_principals_find(service->principals, question->uid);
    if (known != NULL) {
        question->principal = *known;
        begin(question);
        return;
    }
    rc = kv_principals_resolve(service->principals, question->uid, on_principal,
                               question);
    if (rc != 0)
        answer(question, rc, NULL, NULL);
}
