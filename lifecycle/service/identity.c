/*
 * Applications and the token key, loaded at start:
 *
 *   applications, page by page -> the key found? -> made, committed -> read back
 */
#include "lifecycle/service/identity.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/auth/challenge.h"
#include "lifecycle/service/internal.h"
#include "store/core/str.h"

#define KEY_NAME "token-signing"

struct start {
    struct kv_task task;
    struct kv_list_query query;
    struct kv_row head;
    struct kv_row row;
    kv_boot_cb cb;
    void *arg;
};

int kv_identity_new(struct kv_identity **out)
{
    struct kv_identity *identity = calloc(1, sizeof(*identity));
    int rc = identity != NULL ? 0 : KV_E_NOMEM;
    if (rc == 0)
        rc = kv_apps_new(&identity->apps);
    if (rc == 0)
        rc = kv_throttle_new(&identity->throttle);
    if (rc == 0)
        rc = kv_replay_new(&identity->replay);
    if (rc == 0)
        rc = kv_device_codes_new(&identity->devices);
    if (rc == 0)
        rc = kv_token_cache_new(&identity->cache);
    if (rc != 0)
        kv_identity_free(identity);
    else
        *out = identity;
    return rc;
}

void kv_identity_free(struct kv_identity *identity)
{
    if (identity == NULL)
        return;
    kv_apps_free(identity->apps);
    kv_throttle_free(identity->throttle);
    kv_replay_free(identity->replay);
    kv_device_codes_free(identity->devices);
    kv_token_cache_free(identity->cache);
    kv_jwks_free(&identity->keys);
    json_decref(identity->keys_json);
    kv_object_free(&identity->signing);
    free(identity);
}

bool kv_identity_has_tenant(const struct kv_service *service, const char *tenant)
{
    const struct kv_app *app = NULL;
    if (kv_str_equal_nocase(tenant, service->tenant))
        return true;
    for (size_t i = 0; i < service->n_vaults; i++)
        if (kv_str_equal_nocase(tenant, service->vaults[i]->tenant))
            return true;
    for (size_t i = 0; (app = kv_apps_at(service->identity->apps, i)) != NULL; i++)
        if (kv_str_equal_nocase(tenant, app->tenant))
            return true;
    return false;
}

static struct kv_challenge place_of(const struct kv_service *service,
                                    const char *tenant)
{
    return (struct kv_challenge){
        .domain = service->domain, .tenant = tenant, .port = service->port};
}

void kv_identity_authority(const struct kv_service *service, const char *tenant,
                           char *out, size_t out_size)
{
    const struct kv_challenge place = place_of(service, tenant);
    out[0] = '\0';
    if (service->port != 0 && kv_authority_format(&place, out, out_size) != 0)
        out[0] = '\0';
}

void kv_identity_issuer(const struct kv_service *service, const char *tenant, char *out,
                        size_t out_size)
{
    char authority[300];
    kv_identity_authority(service, tenant, authority, sizeof(authority));
    (void)snprintf(out, out_size, "%s/v2.0", authority);
}

void kv_identity_resource(const struct kv_service *service, char *out, size_t out_size)
{
    const struct kv_challenge place = place_of(service, service->tenant);
    if (kv_resource_format(&place, out, out_size) != 0)
        out[0] = '\0';
}

/* --- start -------------------------------------------------------------------------
 */

static void end(struct kv_task *task, int rc, const struct kv_err *err)
{
    struct start *start = (struct start *)task;
    kv_boot_cb cb = start->cb;
    void *arg = start->arg;
    struct kv_err copy = err != NULL ? *err : KV_ERR_INIT;
    kv_task_fini(task);
    free(start);
    cb(arg, rc, rc != 0 ? &copy : NULL);
}

/* Public part of the loaded key as the one member of our JWK set. */
static int read_key(struct kv_identity *identity, const struct kv_object *object)
{
    char kid[KV_JOSE_KID_MAX + 1];
    const uint8_t *der = object->info.spki.data;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &der, (long)object->info.spki.len);
    json_t *jwk = NULL;
    int rc = KV_E_INTEGRITY;
    if (key == NULL)
        goto out;
    kv_jwks_free(&identity->keys);
    KV_TRY(kv_jwk_from_key(key, &identity->keys.keys[0], NULL));
    identity->keys.n = 1;
    KV_TRY(kv_jwk_write_es256(key, kid, &jwk));
    memcpy(identity->keys.keys[0].kid, kid, sizeof(kid));
    json_decref(identity->keys_json);
    identity->keys_json = json_pack("{s:[O]}", "keys", jwk);
    rc = identity->keys_json != NULL ? 0 : KV_E_NOMEM;
out:
    json_decref(jwk);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return rc;
}

static void key_loaded(struct kv_task *task)
{
    struct kv_identity *identity = task->service->identity;
    int rc = read_key(identity, &task->object);
    if (rc != 0) {
        struct kv_err err = KV_ERR_INIT;
        kv_err_set(&err, rc, "service.damaged",
                   "the stored token key of the installation cannot be read");
        kv_task_fail(task, rc, &err);
        return;
    }
    kv_object_free(&identity->signing);
    identity->signing = kv_task_take_object(task);
    end(task, 0, NULL);
}

static void load_key(struct kv_task *task)
{
    kv_task_load(task, KV_KIND_KEY, KEY_NAME, NULL, key_loaded);
}

static void key_made(struct kv_task *task)
{
    struct start *start = (struct start *)task;
    struct kv_role_key_made made = {.n_certs = 0};
    int rc = kv_task_take_key(task, &start->row, &made);
    if (rc != 0) {
        kv_task_fail(task, rc, NULL);
        return;
    }
    kv_task_put_row(task, &start->row, 0);
    kv_task_put_head(task, &start->head, &start->row);
    kv_task_commit(task, load_key);
}

static void make_key(struct kv_task *task)
{
    struct start *start = (struct start *)task;
    struct kv_role_key_new request = {.kty = KV_KTY_EC, .curve = KV_CURVE_P256};
    struct kv_buf payload;
    start->head = task->object.row;
    start->row = (struct kv_row){.nbf_s = KV_TIME_NONE,
                                 .exp_s = KV_TIME_NONE,
                                 .next_at_s = KV_TIME_NONE,
                                 .key = start->head.key};
    int rc = kv_task_new_version(task, start->row.key.version);
    if (rc != 0) {
        kv_task_fail(task, rc, NULL);
        return;
    }
    request.attrs.ops = KV_OP_SIGN;
    request.attrs.is_enabled = 1;
    request.attrs.nbf_s = KV_TIME_NONE;
    request.attrs.exp_s = KV_TIME_NONE;
    request.attrs.created_s = kv_now_s(task->service->clock);
    request.attrs.updated_s = request.attrs.created_s;
    kv_task_ident(task, &start->row.key, 0, &request.ident);
    kv_buf_init_secret(&payload, KV_FRAME_MAX_ROLE);
    kv_role_key_new_put(&payload, &request);
    kv_task_keyring(task, KV_ROLE_KEY_GENERATE, &payload, key_made);
}

static void key_found(struct kv_task *task)
{
    if (task->object.row.row_version != 0)
        key_loaded(task);
    else
        kv_task_find_head(task, KV_KIND_KEY, KEY_NAME, make_key);
}

static void got_apps(struct kv_task *task)
{
    struct start *start = (struct start *)task;
    for (size_t i = 0; i < task->n_objects; i++) {
        const struct kv_object *object = &task->objects[i];
        struct kv_app app;
        int rc = kv_app_read(object->doc, object->row.key.name, &app);
        if (rc == 0)
            rc = kv_apps_put(task->service->identity->apps, &app);
        if (rc != 0) {
            struct kv_err err = KV_ERR_INIT;
            kv_err_set(&err, rc, "service.damaged",
                       "the stored application '%s' cannot be read",
                       object->row.key.name);
            kv_task_fail(task, rc, &err);
            return;
        }
    }
    if (task->has_more) {
        memcpy(start->query.after_name, task->last_name, sizeof(task->last_name));
        kv_task_list(task, &start->query, got_apps);
        return;
    }
    kv_task_find(task, KV_KIND_KEY, KEY_NAME, NULL, key_found);
}

int kv_identity_start(struct kv_service *service, kv_boot_cb cb, void *arg)
{
    struct start *start = calloc(1, sizeof(*start));
    if (start == NULL)
        return KV_E_NOMEM;
    kv_task_init(&start->task, service, &service->system, end);
    start->query.what = KV_LIST_ROWS;
    start->query.kind = KV_KIND_APP;
    start->query.limit = KV_STORE_LIST_MAX;
    start->cb = cb;
    start->arg = arg;
    kv_task_list(&start->task, &start->query, got_apps);
    return 0;
}

/* --- signing -----------------------------------------------------------------------
 */

void kv_identity_sign(struct kv_task *task, struct kv_bytes text, kv_task_fn next)
{
    const struct kv_identity *identity = task->service->identity;
    const struct kv_row *row = &identity->signing.row;
    uint8_t hash[32];
    size_t hash_len = 0;
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf payload;
    if (identity->keys.n == 0) {
        kv_err_set(&err, KV_E_UNAVAILABLE, "service.starting",
                   "the service is starting or waits for the keyring");
        kv_task_fail(task, KV_E_UNAVAILABLE, &err);
        return;
    }
    if (EVP_Q_digest(NULL, "SHA256", NULL, text.data, text.len, hash, &hash_len) != 1) {
        ERR_clear_error();
        kv_task_fail(task, KV_E_CRYPTO, NULL);
        return;
    }
    struct kv_role_use use = {.op = KV_OP_SIGN, .row = {row->sealed, row->sealed_len}};
    kv_row_ident(row, &use.ident);
    struct kv_msg_sign msg = {.sig = KV_SIG_ECDSA,
                              .md = KV_MD_SHA256,
                              .mgf1_md = KV_MD_NONE,
                              .input = {hash, hash_len}};
    kv_buf_init_secret(&payload, KV_FRAME_MAX_ROLE);
    kv_role_use_put(&payload, &use);
    kv_msg_sign_put(&payload, &msg);
    kv_task_keyring(task, KV_ROLE_KEY_SIGN, &payload, next);
}
