/*
 * What `keyvault doctor` asks the service: the space that is left for the store, the
 * time here, and whether a user of this machine may use a key, as keys.sock would
 * decide it. For callers who may read role assignments.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/auth/principal.h"
#include "lifecycle/service/right.h"
#include "store/core/str.h"

struct subject {
    uid_t uid;
    struct kv_uri uri;
    const struct kv_vault *vault;
};

/* {"path","freeBytes","totalBytes"}; null where there is no directory. */
static json_t *store_json(const struct kv_service *service)
{
    struct statvfs space;
    if (service->db_dir == NULL || statvfs(service->db_dir, &space) != 0)
        return json_null();
    return json_pack("{s:s,s:I,s:I}", "path", service->db_dir, "freeBytes",
                     (json_int_t)space.f_bavail * (json_int_t)space.f_frsize,
                     "totalBytes",
                     (json_int_t)space.f_blocks * (json_int_t)space.f_frsize);
}

/* `grant` is taken. */
static void reply(struct kv_call *call, json_t *grant)
{
    const struct kv_service *service = call->task.service;
    kv_call_reply(call, 200,
                  json_pack("{s:I,s:o,s:o}", "time",
                            (json_int_t)kv_now_s(service->clock), "store",
                            store_json(service), "grant", grant));
}

static json_t *ops_json(uint32_t ops)
{
    json_t *array = json_array();
    for (uint32_t op = 1; op != 0; op <<= 1) {
        const char *name = op == KV_OP_TLS_UNPAD ? "tlsUnpad" : kv_op_name(op);
        if ((ops & op) != 0 && name != NULL)
            array = kv_json_append(array, json_string(name));
    }
    return array;
}

static void on_principal(void *arg, int rc, const struct kv_principal *principal)
{
    struct kv_call *call = arg;
    const struct subject *subject = call->data;
    if (rc != 0) {
        kv_call_fail(&call->task, rc, NULL);
        return;
    }
    const struct kv_right right = kv_right_on_key(
        call->task.service, principal, subject->uid, subject->vault, subject->uri.name);
    reply(call, json_pack("{s:s,s:b,s:o}", "principal", principal->id, "mayRead",
                          right.may_read, "operations", ops_json(right.ops)));
}

static int bad_query(struct kv_err *err, const char *what)
{
    return kv_err_set(err, KV_E_INVALID, "api.bad-query", "%s", what);
}

static bool may_ask(const struct kv_call *call, const struct kv_vault *vault)
{
    const struct kv_access_object object = {.vault = vault->name};
    return kv_right_manages(call->task.service, &call->principal, &object,
                            KV_MANAGE_ACCESS_READ);
}

/* Who asks about one vault need not administer another one. */
static int find_vault(struct kv_call *call, struct subject *subject, struct kv_err *err)
{
    subject->vault = kv_service_vault_by_name(call->task.service, subject->uri.vault);
    if (subject->vault != NULL && may_ask(call, subject->vault))
        return 0;
    return kv_err_set(err, KV_E_DENIED, "api.forbidden",
                      "Caller %s may not read role assignments of the vault '%s'",
                      call->principal.id, subject->uri.vault);
}

/* Read `uid` and `uri`. */
static int read_subject(struct kv_call *call, const char *uid, const char *uri,
                        struct kv_err *err)
{
    int rc = 0;
    int64_t number = 0;
    struct subject *subject = calloc(1, sizeof(*subject));
    if (subject == NULL)
        return KV_E_NOMEM;
    call->data = subject;
    call->data_free = free;
    if (kv_str_to_i64(uid, 0, UINT32_MAX - 1, &number) != 0)
        return bad_query(err, "the query needs 'uid' as a number beside 'uri'");
    subject->uid = (uid_t)number;
    KV_TRY(kv_uri_parse(uri, strlen(uri), &subject->uri, err));
    if (subject->uri.name[0] == '\0')
        return bad_query(err, "'uri' must name one key");
    rc = find_vault(call, subject, err);
out:
    return rc;
}

void kv_admin_doctor(struct kv_call *call)
{
    char uid[16];
    char uri[KV_URI_MAX + 1];
    struct kv_err err = KV_ERR_INIT;
    struct kv_principals *principals = call->task.service->principals;
    const struct kv_access_object vault = {.vault = call->task.vault->name};
    int rc = 0;
    KV_TRY(kv_call_check_management(call, &vault, KV_MANAGE_ACCESS_READ, &err));
    if (!kv_call_query(call, "uri", uri, sizeof(uri))) {
        reply(call, json_null());
        return;
    }
    if (!kv_call_query(call, "uid", uid, sizeof(uid)))
        uid[0] = '\0';
    KV_TRY(read_subject(call, uid, uri, &err));
    const struct subject *subject = call->data;
    const struct kv_principal *known = kv_principals_find(principals, subject->uid);
    if (known != NULL) {
        on_principal(call, 0, known);
        return;
    }
    rc = kv_principals_resolve(principals, subject->uid, on_principal, call);
out:
    if (rc != 0)
        kv_call_fail(&call->task, rc, &err);
}
