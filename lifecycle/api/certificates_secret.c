/*
 * The secret of a certificate: its value is built from chain and key each time it is
 * read. The keyring adds the private key, and only of an exportable one.
 */
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/api/secrets.h"
#include "lifecycle/certs/chain.h"
#include "store/core/b64.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define PEM_TYPE "application/x-pem-file"
#define PFX_TYPE "application/x-pkcs12"
#define VALUE_MAX 524288

struct exporting {
    struct kv_object secret;
    struct kv_buf bytes; /* of the chain */
    struct kv_chain chain;
    bool is_pem;
};

static void exporting_free(void *data)
{
    struct exporting *exporting = data;
    kv_object_free(&exporting->secret);
    kv_buf_free(&exporting->bytes);
    kv_wiping_free(exporting);
}

/* `bytes` are PEM text or a PKCS#12 file, which is sent in base64. */
static void reply_value(struct kv_call *call, struct kv_bytes bytes)
{
    struct exporting *exporting = call->data;
    struct kv_buf value;
    kv_buf_init_secret(&value, VALUE_MAX);
    int rc = exporting->is_pem
                 ? kv_buf_append(&value, bytes.data, bytes.len)
                 : kv_b64_encode(KV_B64_STD, bytes.data, bytes.len, &value);
    const char *text = rc == 0 ? kv_buf_cstr(&value) : NULL;
    if (text == NULL) {
        kv_buf_free(&value);
        kv_task_fail(&call->task, KV_E_NOMEM, NULL);
        return;
    }
    json_t *bundle = kv_secret_bundle(call, &exporting->secret, text);
    kv_buf_free(&value);
    (void)json_object_set_new(bundle, "contentType",
                              json_string(exporting->is_pem ? PEM_TYPE : PFX_TYPE));
    kv_call_reply(call, 200, bundle);
}

static void exported(struct kv_task *task)
{
    reply_value(kv_call_of(task), task->payload);
}

/* The key stays: certificates alone. */
static void reply_chain(struct kv_call *call)
{
    const struct exporting *exporting = call->data;
    struct kv_buf out;
    kv_buf_init(&out, VALUE_MAX);
    int rc = exporting->is_pem ? kv_chain_pem(&exporting->chain, &out)
                               : kv_chain_pfx(&exporting->chain, &out);
    if (rc != 0)
        kv_task_fail(&call->task, rc, NULL);
    else
        reply_value(call, (struct kv_bytes){out.data, out.len});
    kv_buf_free(&out);
}

static void got_key(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct exporting *exporting = call->data;
    const struct kv_object *key = &task->object;
    struct kv_role_export msg;
    struct kv_buf payload;
    if (!key->info.attrs.is_exportable) {
        reply_chain(call);
        return;
    }
    memset(&msg, 0, sizeof(msg));
    kv_row_ident(&key->row, &msg.ident);
    msg.row = (struct kv_bytes){key->row.sealed, key->row.sealed_len};
    msg.format = exporting->is_pem ? KV_EXPORT_PEM : KV_EXPORT_PFX;
    msg.n_certs = (uint16_t)exporting->chain.n;
    memcpy(msg.cert, exporting->chain.der, sizeof(msg.cert));
    kv_buf_init(&payload, KV_FRAME_MAX_ROLE);
    kv_role_export_put(&payload, &msg);
    kv_task_keyring(task, KV_ROLE_KEY_EXPORT, &payload, exported);
}

static void got_certificate(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct exporting *exporting = call->data;
    int rc = kv_chain_read(json_object_get(task->object.doc, "chain"),
                           &exporting->bytes, &exporting->chain);
    if (rc != 0)
        kv_task_fail(task, rc, NULL);
    else
        kv_task_load(task, KV_KIND_KEY, call->name, exporting->secret.row.key.version,
                     got_key);
}

/* The policy's type, unless ?outContentType= asks for PEM. */
static int choose_type(const struct kv_call *call, const json_t *doc, bool *is_pem,
                       struct kv_err *err)
{
    char wanted[64];
    const char *type = json_string_value(json_object_get(doc, "contentType"));
    *is_pem = type != NULL && strcmp(type, PEM_TYPE) == 0;
    if (!kv_call_query(call, "outContentType", wanted, sizeof(wanted)))
        return 0;
    if (strcmp(wanted, PEM_TYPE) == 0)
        *is_pem = true;
    else if (strcmp(wanted, PFX_TYPE) != 0 || *is_pem)
        return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                          "the query parameter 'outContentType' can only turn PKCS#12 "
                          "into " PEM_TYPE);
    return 0;
}

void kv_secret_get_managed(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    struct exporting *exporting = kv_wiping_calloc(1, sizeof(*exporting));
    if (exporting == NULL) {
        kv_task_fail(&call->task, KV_E_NOMEM, NULL);
        return;
    }
    kv_buf_init(&exporting->bytes, (size_t)KV_CHAIN_MAX * KV_CERT_DER_MAX);
    call->data = exporting;
    call->data_free = exporting_free;
    exporting->secret = kv_task_take_object(&call->task);
    int rc = choose_type(call, exporting->secret.doc, &exporting->is_pem, &err);
    if (rc != 0)
        kv_task_fail(&call->task, rc, &err);
    else
        kv_task_load(&call->task, KV_KIND_CERTIFICATE, call->name,
                     exporting->secret.row.key.version, got_certificate);
}
