/*
 * New key versions: generated in the keyring, or imported into it.
 *
 *   head -> KEY_GENERATE or KEY_IMPORT -> commit (version row, head row) -> bundle
 *
 * The keyring seals the body for exactly the row that is then written; nothing of the
 * private key is left here when the request ends.
 */
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/api/keys.h"
#include "lifecycle/certs/engine.h"
#include "lifecycle/service/rotation.h"
#include "store/core/secret.h"

/* What the steps of one creation share. */
struct creation {
    bool is_import;
    struct kv_role_key_new request;
    struct kv_buf material; /* import: private numbers */
    struct kv_buf app;
    struct kv_row head;
    struct kv_row row;
    struct kv_object policy; /* of rotation */
    json_t *bundle;
};

static void creation_free(void *data)
{
    struct creation *creation = data;
    kv_buf_free(&creation->material);
    kv_buf_free(&creation->app);
    kv_object_free(&creation->policy);
    json_decref(creation->bundle);
    kv_wiping_free(creation);
}

static int bad(struct kv_err *err, const char *text)
{
    return kv_err_set(err, KV_E_INVALID, "api.bad-field", "%s", text);
}

static int read_rsa(const json_t *body, struct kv_role_key_new *request,
                    struct kv_err *err)
{
    int64_t bits = 2048;
    int64_t exponent = 65537;
    int rc = 0;
    KV_TRY(kv_json_integer(body, "key_size", &bits, err));
    KV_TRY(kv_json_integer(body, "public_exponent", &exponent, err));
    if (bits != 2048 && bits != 3072 && bits != 4096)
        return bad(err, "the member 'key_size' must be 2048, 3072 or 4096");
    if (exponent != 65537)
        return bad(err, "the member 'public_exponent' must be 65537");
    request->bits = (uint16_t)bits;
out:
    return rc;
}

static int read_curve(const json_t *body, struct kv_role_key_new *request,
                      struct kv_err *err)
{
    bool is_okp = request->kty == KV_KTY_OKP;
    const char *crv = is_okp ? "Ed25519" : "P-256";
    int64_t bits = 0;
    int rc = 0;
    KV_TRY(kv_json_integer(body, "key_size", &bits, err));
    if (!is_okp && bits == 384)
        crv = "P-384";
    else if (!is_okp && bits == 521)
        crv = "P-521";
    KV_TRY(kv_json_string(body, "crv", KV_OPTIONAL, &crv, err));
    request->curve = kv_curve_by_name(crv);
    if (request->curve == KV_CURVE_NONE ||
        is_okp != (request->curve == KV_CURVE_ED25519))
        return bad(err, is_okp ? "the member 'crv' must be Ed25519"
                               : "the member 'crv' must be P-256, P-384, P-521 or "
                                 "P-256K");
    static const int64_t sizes[] = {0, 256, 384, 521, 256, 256};
    if (bits != 0 && bits != sizes[request->curve])
        return bad(err, "the member 'key_size' does not fit the curve");
out:
    return rc;
}

/* Keys in hardware: for premium vaults, and there is no hardware yet. */
static int refuse_hsm(const struct kv_vault *vault, struct kv_err *err)
{
    if (!vault->is_premium)
        return kv_err_set(err, KV_E_INVALID, "key.needs-premium",
                          "keys in hardware (RSA-HSM, EC-HSM) need a premium vault: "
                          "'%s' is a standard one",
                          vault->name);
    return kv_err_set(err, KV_E_UNSUPPORTED, "api.not-offered",
                      "keys in hardware are not offered by this version");
}

/* Types that the contract knows and this vault does not hold. */
static int check_type(const struct kv_vault *vault, const char *kty, struct kv_err *err)
{
    if (kty == NULL)
        return 0;
    if (strcmp(kty, "RSA-HSM") == 0 || strcmp(kty, "EC-HSM") == 0)
        return refuse_hsm(vault, err);
    if (strcmp(kty, "oct") == 0 || strcmp(kty, "oct-HSM") == 0)
        return bad(err, "the member 'kty' must be RSA, EC or OKP: symmetric keys are "
                        "for managed HSMs, not for vaults");
    return 0;
}

static int read_type(const struct kv_vault *vault, const json_t *body,
                     struct kv_role_key_new *request, struct kv_err *err)
{
    const char *kty = NULL;
    int rc = kv_json_string(body, "kty", KV_REQUIRED, &kty, err);
    if (rc == 0)
        rc = check_type(vault, kty, err);
    if (rc != 0)
        return rc;
    request->kty = kv_kty_by_name(kty);
    if (request->kty == 0)
        return bad(err, "the member 'kty' must be RSA, EC or OKP");
    return request->kty == KV_KTY_RSA ? read_rsa(body, request, err)
                                      : read_curve(body, request, err);
}

static int read_key(const struct kv_vault *vault, const json_t *body,
                    struct creation *creation, struct kv_err *err)
{
    const json_t *jwk = NULL;
    bool is_hsm = false;
    int rc = 0;
    KV_TRY(kv_json_object(body, "key", KV_REQUIRED, &jwk, err));
    KV_TRY(kv_json_bool(body, "Hsm", &is_hsm, err));
    if (is_hsm)
        return refuse_hsm(vault, err);
    KV_TRY(check_type(vault, json_string_value(json_object_get(jwk, "kty")), err));
    KV_TRY(kv_jwk_read_private(jwk, &creation->request, &creation->material, err));
    KV_TRY(
        kv_jwk_read_ops(jwk, creation->request.kty, &creation->request.attrs.ops, err));
    creation->request.material =
        (struct kv_bytes){creation->material.data, creation->material.len};
out:
    return rc;
}

/* Exporting needs a release policy and the operation `release`: neither is offered. */
static int check_export(const json_t *body, struct kv_err *err)
{
    const json_t *attributes = json_object_get(body, "attributes");
    const json_t *policy = json_object_get(body, "release_policy");
    bool is_exportable = false;
    int rc = kv_json_bool(attributes, "exportable", &is_exportable, err);
    if (rc != 0)
        return rc;
    bool has_policy = policy != NULL && !json_is_null(policy);
    if (is_exportable && !has_policy)
        return bad(err, "an exportable key needs the member 'release_policy'");
    if (!is_exportable && has_policy)
        return bad(err, "the member 'release_policy' needs an exportable key");
    if (has_policy)
        return kv_err_set(err, KV_E_UNSUPPORTED, "api.not-offered",
                          "keys with a release policy are not offered");
    return 0;
}

static int read_request(struct kv_call *call, struct creation *creation,
                        struct kv_err *err)
{
    struct kv_call_attrs attrs = {
        .is_enabled = true, .nbf_s = KV_TIME_NONE, .exp_s = KV_TIME_NONE};
    struct kv_key_attrs *key = &creation->request.attrs;
    int rc = 0;
    if (creation->is_import) {
        KV_TRY(read_key(call->task.vault, call->body, creation, err));
    } else {
        KV_TRY(read_type(call->task.vault, call->body, &creation->request, err));
        KV_TRY(kv_jwk_read_ops(call->body, creation->request.kty, &key->ops, err));
    }
    KV_TRY(check_export(call->body, err));
    KV_TRY(kv_json_attrs(call->body, &attrs, err));
    KV_TRY(kv_key_app_write(attrs.tags, &creation->app));
    key->app = (struct kv_bytes){creation->app.data, creation->app.len};
    key->is_enabled = attrs.is_enabled;
    key->nbf_s = attrs.nbf_s;
    key->exp_s = attrs.exp_s;
    key->created_s = kv_now_s(call->task.service->clock);
    key->updated_s = key->created_s;
out:
    return rc;
}

static void committed(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct creation *creation = call->data;
    json_t *bundle = creation->bundle;
    creation->bundle = NULL;
    if (creation->policy.row.row_version != 0)
        kv_engine_kick(task->service->engine);
    kv_call_reply(call, 200, bundle);
}

static void made(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct creation *creation = call->data;
    struct kv_role_key_made made_key = {.n_certs = 0};
    struct kv_row *row = &creation->row;
    int rc = kv_task_take_key(task, row, &made_key);
    if (rc == 0) {
        creation->bundle = kv_key_bundle(call, row, &made_key.info);
        rc = creation->bundle != NULL ? 0 : KV_E_NOMEM;
    }
    if (rc != 0) {
        kv_task_fail(task, rc, NULL);
        return;
    }
    kv_task_put_row(task, row, 0);
    kv_task_put_head(task, &creation->head, row);
    kv_rotation_touch(task, &creation->policy);
    kv_task_commit(task, committed);
}

static void make(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct creation *creation = call->data;
    struct kv_buf payload;
    creation->policy = kv_task_take_object(task);
    kv_buf_init_secret(&payload, KV_FRAME_MAX_ROLE);
    kv_role_key_new_put(&payload, &creation->request);
    kv_task_keyring(task,
                    creation->is_import ? KV_ROLE_KEY_IMPORT : KV_ROLE_KEY_GENERATE,
                    &payload, made);
}

static void got_head(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct creation *creation = call->data;
    creation->head = task->object.row;
    if (kv_call_check_head(call, &creation->head) != 0)
        return;
    struct kv_row_key *key = &creation->row.key;
    *key = creation->head.key;
    int rc = kv_task_new_version(task, key->version);
    if (rc != 0) {
        kv_task_fail(task, rc, NULL);
        return;
    }
    creation->row.nbf_s = KV_TIME_NONE;
    creation->row.exp_s = KV_TIME_NONE;
    creation->row.next_at_s = KV_TIME_NONE;
    kv_task_ident(task, key, 0, &creation->request.ident);
    kv_task_find(task, KV_KIND_ROTATION, call->name, NULL, make);
}

static void start(struct kv_call *call, bool is_import)
{
    struct kv_err err = KV_ERR_INIT;
    struct creation *creation = kv_wiping_calloc(1, sizeof(*creation));
    if (creation == NULL) {
        kv_task_fail(&call->task, KV_E_NOMEM, NULL);
        return;
    }
    kv_buf_init_secret(&creation->material, KV_IMPORT_MAX);
    kv_buf_init(&creation->app, KV_APP_MAX);
    creation->is_import = is_import;
    call->data = creation;
    call->data_free = creation_free;
    int rc = read_request(call, creation, &err);
    if (rc != 0)
        kv_task_fail(&call->task, rc, &err);
    else
        kv_task_find_head(&call->task, KV_KIND_KEY, call->name, got_head);
}

void kv_keys_create(struct kv_call *call)
{
    start(call, false);
}

void kv_keys_import(struct kv_call *call)
{
    start(call, true);
}
