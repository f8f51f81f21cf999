/*
 * The table of applications: a growing array.
 */
#include "lifecycle/auth/apps.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/auth/jose.h"
#include "lifecycle/auth/uuid.h"
#include "store/core/b64.h"
#include "store/core/secret.h"
#include "store/core/str.h"

struct kv_apps {
    size_t n;
    size_t cap;
    struct kv_app *items;
};

int kv_apps_new(struct kv_apps **out)
{
    *out = calloc(1, sizeof(**out));
    return *out != NULL ? 0 : KV_E_NOMEM;
}

void kv_apps_free(struct kv_apps *apps)
{
    if (apps == NULL)
        return;
    for (size_t i = 0; i < apps->n; i++)
        kv_app_free(&apps->items[i]);
    free(apps->items);
    free(apps);
}

static struct kv_app *by_name(const struct kv_apps *apps, const char *name)
{
    for (size_t i = 0; i < apps->n; i++)
        if (kv_str_equal_nocase(apps->items[i].name, name))
            return &apps->items[i];
    return NULL;
}

int kv_apps_put(struct kv_apps *apps, struct kv_app *app)
{
    struct kv_app *place = by_name(apps, app->name);
    if (place == NULL && apps->n == apps->cap) {
        size_t cap = apps->cap == 0 ? 16 : apps->cap * 2;
        struct kv_app *items = realloc(apps->items, cap * sizeof(*items));
        if (items == NULL) {
            kv_app_free(app);
            return KV_E_NOMEM;
        }
        apps->items = items;
        apps->cap = cap;
    }
    if (place == NULL)
        place = &apps->items[apps->n++];
    else
        kv_app_free(place);
    *place = *app;
    memset(app, 0, sizeof(*app));
    return 0;
}

void kv_apps_remove(struct kv_apps *apps, const char *name)
{
    struct kv_app *place = by_name(apps, name);
    if (place == NULL)
        return;
    kv_app_free(place);
    size_t behind = (size_t)(&apps->items[apps->n] - place) - 1;
    memmove(place, place + 1, behind * sizeof(*place));
    apps->n--;
}

size_t kv_apps_count(const struct kv_apps *apps)
{
    return apps->n;
}

const struct kv_app *kv_apps_at(const struct kv_apps *apps, size_t i)
{
    return i < apps->n ? &apps->items[i] : NULL;
}

const struct kv_app *kv_apps_by_client(const struct kv_apps *apps,
                                       const char *client_id)
{
    for (size_t i = 0; apps->items != NULL && i < apps->n; i++)
        if (!apps->items[i].is_user &&
            kv_str_equal_nocase(apps->items[i].client_id, client_id))
            return &apps->items[i];
    return NULL;
}

const struct kv_app *kv_apps_user(const struct kv_apps *apps, const char *object_id)
{
    for (size_t i = 0; i < apps->n; i++)
        if (apps->items[i].is_user &&
            kv_str_equal_nocase(apps->items[i].object_id, object_id))
            return &apps->items[i];
    return NULL;
}

const struct kv_app *kv_apps_by_object(const struct kv_apps *apps,
                                       const char *object_id)
{
    for (size_t i = 0; i < apps->n; i++)
        if (kv_str_equal_nocase(apps->items[i].object_id, object_id))
            return &apps->items[i];
    return NULL;
}

const struct kv_app *kv_apps_find(const struct kv_apps *apps, const char *text)
{
    const struct kv_app *app = by_name(apps, text);
    return app != NULL ? app : kv_apps_by_client(apps, text);
}

/* --- one of them ------------------------------------------------------------------ */

/* A random UUID (RFC 9562 §5.4). */
static int make_uuid(const struct kv_rand *rand, char out[37])
{
    uint8_t bytes[16];
    int rc = kv_rand_fill(rand, bytes, sizeof(bytes));
    bytes[6] = (uint8_t)((bytes[6] & 0x0F) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3F) | 0x80);
    kv_uuid_format(bytes, out);
    return rc;
}

int kv_app_make(const char *name, const char *tenant, int64_t now_s,
                const struct kv_rand *rand, struct kv_app *out)
{
    int rc = 0;
    memset(out, 0, sizeof(*out));
    out->created_s = now_s;
    out->generation = 1;
    KV_TRY(kv_str_copy(out->name, sizeof(out->name), name));
    KV_TRY(kv_str_copy(out->tenant, sizeof(out->tenant), tenant));
    KV_TRY(make_uuid(rand, out->client_id));
    KV_TRY(make_uuid(rand, out->object_id));
out:
    return rc;
}

void kv_app_free(struct kv_app *app)
{
    X509_free(app->certificate);
    memset(app, 0, sizeof(*app));
}

int kv_app_dup(const struct kv_app *app, struct kv_app *out)
{
    *out = *app;
    if (app->certificate == NULL || X509_up_ref(app->certificate) == 1)
        return 0;
    memset(out, 0, sizeof(*out));
    return KV_E_NOMEM;
}

int kv_app_renew_secret(struct kv_app *app, const struct kv_rand *rand,
                        char text[KV_TOKEN_TEXT_LEN + 1])
{
    int rc = kv_token_make(rand, text, app->secret_sha256);
    if (rc != 0)
        return rc;
    app->generation++;
    app->has_secret = true;
    return 0;
}

bool kv_app_secret_matches(const struct kv_app *app, const char *text)
{
    uint8_t hash[KV_TOKEN_HASH_LEN];
    return kv_token_hash(text, hash) == 0 && app->has_secret &&
           kv_equal_ct(hash, app->secret_sha256, sizeof(hash));
}

/* --- certificates ----------------------------------------------------------------- */

static int bad_certificate(struct kv_err *err, const char *what)
{
    return kv_err_set(err, KV_E_INVALID, "app.bad-certificate", "the certificate %s",
                      what);
}

static X509 *read_pem(const void *data, size_t len)
{
    BIO *bio = BIO_new_mem_buf(data, (int)len);
    X509 *certificate = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return certificate;
}

int kv_app_read_certificate(const void *data, size_t len, X509 **out,
                            struct kv_err *err)
{
    struct kv_jwk jwk = {.key = NULL};
    const uint8_t *at = data;
    *out = NULL;
    if (len == 0 || len > (size_t)4 * KV_APP_CERTIFICATE_MAX)
        return bad_certificate(err, "is empty or too large");
    X509 *certificate = read_pem(data, len);
    if (certificate == NULL) {
        certificate = d2i_X509(NULL, &at, (long)len);
        if (certificate != NULL && at != (const uint8_t *)data + len) {
            X509_free(certificate);
            certificate = NULL;
        }
    }
    EVP_PKEY *key = certificate != NULL ? X509_get0_pubkey(certificate) : NULL;
    int rc = 0;
    if (key == NULL)
        rc = bad_certificate(err, "is no X.509 certificate in PEM or DER");
    else if (i2d_X509(certificate, NULL) > KV_APP_CERTIFICATE_MAX)
        rc = bad_certificate(err, "is longer than 16 KiB");
    else if (kv_jwk_from_key(key, &jwk, NULL) != 0)
        rc = bad_certificate(err, "has a key that is neither RSA of 2048 to 8192 bits "
                                  "nor on P-256, P-384, P-521 or Ed25519");
    kv_jwk_free(&jwk);
    ERR_clear_error();
    if (rc != 0)
        X509_free(certificate);
    else
        *out = certificate;
    return rc;
}

static json_t *certificate_json(X509 *certificate)
{
    struct kv_buf text;
    uint8_t *der = NULL;
    int len = i2d_X509(certificate, &der);
    json_t *json = NULL;
    kv_buf_init(&text, (size_t)2 * KV_APP_CERTIFICATE_MAX);
    if (len > 0 && kv_b64_encode(KV_B64_STD, der, (size_t)len, &text) == 0)
        json = json_stringn((const char *)text.data, text.len);
    OPENSSL_free(der);
    kv_buf_free(&text);
    return json;
}

static int certificate_of(const json_t *json, X509 **out)
{
    struct kv_buf der;
    const char *text = json_string_value(json);
    *out = NULL;
    if (json == NULL)
        return 0;
    kv_buf_init(&der, KV_APP_CERTIFICATE_MAX);
    int rc = text != NULL ? kv_b64_decode(KV_B64_STD, text, strlen(text), &der)
                          : KV_E_INVALID;
    const uint8_t *at = der.data;
    if (rc == 0 && der.len > 0)
        *out = d2i_X509(NULL, &at, (long)der.len);
    kv_buf_free(&der);
    ERR_clear_error();
    return *out != NULL ? 0 : KV_E_INTEGRITY;
}

/* --- documents -------------------------------------------------------------------- */

json_t *kv_app_doc(const struct kv_app *app)
{
    char hex[2 * KV_TOKEN_HASH_LEN + 1];
    kv_hex_encode(hex, app->secret_sha256, sizeof(app->secret_sha256));
    json_t *certificate =
        app->certificate != NULL ? certificate_json(app->certificate) : NULL;
    if (app->certificate != NULL && certificate == NULL)
        return NULL;
    return json_pack("{s:s,s:s,s:s,s:I,s:I,s:b,s:b,s:s*,s:o*}", "clientId",
                     app->client_id, "objectId", app->object_id, "tenantId",
                     app->tenant, "created", (json_int_t)app->created_s, "generation",
                     (json_int_t)app->generation, "isUser", app->is_user, "isPublic",
                     app->is_public, "secretSha256", app->has_secret ? hex : NULL,
                     "certificate", certificate);
}

static int read_text(const json_t *doc, const char *member, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(doc, member));
    return text != NULL && kv_str_copy(out, size, text) == 0 ? 0 : KV_E_INTEGRITY;
}

int kv_app_read(const json_t *doc, const char *name, struct kv_app *out)
{
    const char *secret = json_string_value(json_object_get(doc, "secretSha256"));
    int rc = 0;
    memset(out, 0, sizeof(*out));
    KV_TRY(kv_str_copy(out->name, sizeof(out->name), name));
    KV_TRY(read_text(doc, "clientId", out->client_id, sizeof(out->client_id)));
    KV_TRY(read_text(doc, "objectId", out->object_id, sizeof(out->object_id)));
    KV_TRY(read_text(doc, "tenantId", out->tenant, sizeof(out->tenant)));
    out->created_s = json_integer_value(json_object_get(doc, "created"));
    out->generation = json_integer_value(json_object_get(doc, "generation"));
    out->is_user = json_is_true(json_object_get(doc, "isUser"));
    out->is_public = json_is_true(json_object_get(doc, "isPublic"));
    if (out->generation < 1) {
        rc = KV_E_INTEGRITY;
        goto out;
    }
    if (secret != NULL) {
        KV_TRY(kv_hex_decode(out->secret_sha256, sizeof(out->secret_sha256), secret));
        out->has_secret = true;
    }
    KV_TRY(certificate_of(json_object_get(doc, "certificate"), &out->certificate));
out:
    if (rc != 0)
        kv_app_free(out);
    return rc != 0 ? KV_E_INTEGRITY : 0;
}
