/*
 * Applications: principals that sign in with a secret or a certificate of their own;
 * and users, who sign in with a secret, through an application that acts for them.
 *
 * The table in memory; the durable form is one sealed document each (kind APP, in the
 * installation's own rows), named as the application is. Of a secret only the SHA-256
 * is kept: it has 256 random bits. Tokens carry the generation of their application: a
 * higher one here ends them all. Pure; one thread.
 */
#ifndef KV_LIFECYCLE_AUTH_APPS_H
#define KV_LIFECYCLE_AUTH_APPS_H

#include <jansson.h>
#include <openssl/x509.h>
#include <stdbool.h>

#include "lifecycle/auth/token.h"
#include "store/core/uri.h"

#define KV_APPS_MAX 4096
#define KV_APP_CERTIFICATE_MAX 16384 /* bytes of its DER */

struct kv_app {
    char name[KV_NAME_MAX + 1];
    char client_id[37]; /* UUID, as are the next one's */
    char object_id[37];
    char tenant[37]; /* that its tokens are of */
    int64_t created_s;
    int64_t generation; /* from 1 */
    bool is_user;       /* object_id alone names it */
    bool is_public;     /* an application on devices of its users: it keeps no secret */
    bool has_secret;
    uint8_t secret_sha256[KV_TOKEN_HASH_LEN];
    X509 *certificate; /* NULL: it has none */
};

struct kv_apps;

int kv_apps_new(struct kv_apps **out) KV_MUST_CHECK;
void kv_apps_free(struct kv_apps *apps);

/* Add, or replace the one of this name; takes what `app` owns, also when it fails
 * (KV_E_NOMEM). */
int kv_apps_put(struct kv_apps *apps, struct kv_app *app) KV_MUST_CHECK;
void kv_apps_remove(struct kv_apps *apps, const char *name);

size_t kv_apps_count(const struct kv_apps *apps);
/* The i-th by time of its coming; NULL behind the last. All are borrowed until the next
 * put or remove. */
const struct kv_app *kv_apps_at(const struct kv_apps *apps, size_t i);
const struct kv_app *kv_apps_by_client(const struct kv_apps *apps,
                                       const char *client_id);
/* A user by object id. */
const struct kv_app *kv_apps_user(const struct kv_apps *apps, const char *object_id);
/* Either by object id. */
const struct kv_app *kv_apps_by_object(const struct kv_apps *apps,
                                       const char *object_id);
/* One of either by its name, without case, or an application by its client id. */
const struct kv_app *kv_apps_find(const struct kv_apps *apps, const char *text);

/* A new one of a tenant with fresh ids, without secret and certificate. */
int kv_app_make(const char *name, const char *tenant, int64_t now_s,
                const struct kv_rand *rand, struct kv_app *out) KV_MUST_CHECK;
void kv_app_free(struct kv_app *app);
/* A copy that owns what it has. */
int kv_app_dup(const struct kv_app *app, struct kv_app *out) KV_MUST_CHECK;

/* Give it a new secret: its text with a NUL, once. The generation rises. */
int kv_app_renew_secret(struct kv_app *app, const struct kv_rand *rand,
                        char text[KV_TOKEN_TEXT_LEN + 1]) KV_MUST_CHECK;

/* Whether this is its secret, in time that does not depend on the secret. */
bool kv_app_secret_matches(const struct kv_app *app, const char *text);

/* Whether a certificate of PEM or DER bytes may sign for an application; the caller
 * frees. app.bad-certificate. */
int kv_app_read_certificate(const void *data, size_t len, X509 **out,
                            struct kv_err *err) KV_MUST_CHECK;

/* Its document, and back (KV_E_INTEGRITY when a member is missing). */
json_t *kv_app_doc(const struct kv_app *app);
int kv_app_read(const json_t *doc, const char *name, struct kv_app *out) KV_MUST_CHECK;

#endif
