/*
 * From a request to a principal.
 *
 * A token is first looked up among those that were good within the last minute, then
 * verified: that costs one signature check, and none at all unless its issuer and its
 * kid are plausible. Either way the application has to be there still, in the
 * generation that the token was made for.
 */
#include "lifecycle/api/caller.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lifecycle/auth/jwt.h"
#include "lifecycle/auth/policies.h"
#include "lifecycle/auth/principal.h"
#include "lifecycle/auth/token.h"
#include "lifecycle/service/assignments.h"
#include "lifecycle/service/identity.h"
#include "lifecycle/service/oidc.h"
#include "store/core/str.h"

const char *kv_bearer_token(const char *authorization)
{
    if (authorization == NULL || strncasecmp(authorization, "Bearer ", 7) != 0)
        return NULL;
    const char *token = authorization + 7;
    while (*token == ' ')
        token++;
    return *token != '\0' ? token : NULL;
}

static void set_admin(struct kv_principal *out, const char *id)
{
    out->kind = KV_PRINCIPAL_ADMIN;
    kv_str_cut(out->id, sizeof(out->id), id, strlen(id));
}

/* --- our own tokens ----------------------------------------------------------------
 */

static int copy_claim(const struct kv_jwt *jwt, const char *claim, char *out,
                      size_t out_size)
{
    const char *text = kv_jwt_text(jwt, claim);
    return text != NULL ? kv_str_copy(out, out_size, text) : KV_E_DENIED;
}

/* What an own token that was verified says of its application. */
static int read_claims(const struct kv_jwt *jwt, struct kv_caller_id *out)
{
    struct kv_principal *principal = &out->principal;
    int rc = 0;
    memset(out, 0, sizeof(*out));
    const char *idtyp = kv_jwt_text(jwt, "idtyp");
    bool is_user = idtyp != NULL && strcmp(idtyp, "user") == 0;
    principal->kind = is_user ? KV_PRINCIPAL_USER : KV_PRINCIPAL_APP;
    KV_TRY(copy_claim(jwt, "tid", principal->tenant, sizeof(principal->tenant)));
    KV_TRY(copy_claim(jwt, "oid", principal->oid, sizeof(principal->oid)));
    KV_TRY(copy_claim(jwt, "appid", principal->app, sizeof(principal->app)));
    (void)snprintf(principal->id, sizeof(principal->id), "%s:%s",
                   is_user ? "user" : "app", is_user ? principal->oid : principal->app);
    out->app_generation = json_integer_value(json_object_get(jwt->claims, "agen"));
    out->generation = json_integer_value(json_object_get(jwt->claims, "gen"));
    if (out->generation < 1)
        rc = KV_E_DENIED;
    out->exp_s = json_integer_value(json_object_get(jwt->claims, "exp"));
out:
    return rc;
}

static int verify_own(const struct kv_service *service, const struct kv_jwt *jwt,
                      struct kv_caller_id *out, struct kv_err *err)
{
    char issuer[320];
    char resource[256];
    const char *tenant = kv_jwt_text(jwt, "tid");
    if (tenant == NULL || !kv_identity_has_tenant(service, tenant))
        return kv_err_set(err, KV_E_DENIED, "jwt.wrong-issuer",
                          "the token is of no tenant of this installation");
    kv_identity_issuer(service, tenant, issuer, sizeof(issuer));
    kv_identity_resource(service, resource, sizeof(resource));
    const struct kv_jwt_rules rules = {
        .issuer = issuer, .audience = resource, .algs = KV_JOSE_BIT(KV_JOSE_ES256)};
    int rc = kv_jwt_check(jwt, &service->identity->keys, &rules,
                          kv_now_s(service->clock), err);
    if (rc != 0)
        return rc;
    rc = read_claims(jwt, out);
    return rc == 0 ? 0
                   : kv_err_set(err, KV_E_DENIED, "jwt.bad-claims",
                                "the token does not say whose it is");
}

static bool is_current(const struct kv_app *app, const struct kv_principal *principal,
                       int64_t generation)
{
    return app != NULL && app->generation == generation &&
           kv_str_equal_nocase(app->tenant, principal->tenant);
}

/* User and application may have been deleted, or their credentials renewed. */
static int check_current(const struct kv_service *service,
                         const struct kv_caller_id *id, struct kv_err *err)
{
    const struct kv_principal *principal = &id->principal;
    const struct kv_apps *apps = service->identity->apps;
    const struct kv_app *app = kv_apps_by_client(apps, principal->app);
    bool is_good = is_current(app, principal, id->app_generation);
    if (principal->kind == KV_PRINCIPAL_USER)
        is_good = is_good && is_current(kv_apps_user(apps, principal->oid), principal,
                                        id->generation);
    else
        is_good = is_good && strcmp(app->object_id, principal->oid) == 0;
    return is_good ? 0
                   : kv_err_set(err, KV_E_DENIED, "jwt.revoked",
                                "the user or the application was deleted, or its "
                                "credentials were renewed");
}

/* --- tokens of other issuers -------------------------------------------------------
 */

/* Who is of our own authority is spoken for by nobody else, by no id that access
 * policies may call it. */
static bool is_own(const struct kv_apps *apps, const struct kv_principal *principal)
{
    for (size_t i = 0; i < principal->n_groups; i++)
        if (kv_apps_by_object(apps, strchr(principal->groups[i], ':') + 1) != NULL)
            return true;
    return kv_apps_by_client(apps, principal->app) != NULL ||
           kv_apps_by_object(apps, principal->oid) != NULL;
}

/* KV_E_BUSY: a fetch of the issuer's keys may bring the one that is named. */
static int verify_foreign(const struct kv_service *service,
                          const struct kv_oidc_issuer *issuer, const struct kv_jwt *jwt,
                          struct kv_caller_id *out, struct kv_err *err)
{
    char resource[256];
    const struct kv_jwks *keys = kv_oidc_keys(issuer, kv_monotonic_ms(service->clock));
    const char *kid = jwt->jws.kid;
    if (kid == NULL || keys == NULL || kv_jwks_find(keys, kid) == NULL) {
        kv_err_set(err, KV_E_DENIED, "jwt.unknown-key",
                   "the token names no key of its issuer");
        return kid != NULL && kv_oidc_can_help(service->oidc, issuer) ? KV_E_BUSY
                                                                      : KV_E_DENIED;
    }
    kv_identity_resource(service, resource, sizeof(resource));
    const struct kv_jwt_rules rules = {
        .issuer = issuer->issuer,
        .audience = issuer->audience[0] != '\0' ? issuer->audience : resource,
        .algs = KV_JOSE_ANY,
        .wants_at_jwt = issuer->wants_at_jwt};
    memset(out, 0, sizeof(*out));
    int rc = kv_jwt_check(jwt, keys, &rules, kv_now_s(service->clock), err);
    if (rc == 0)
        rc =
            kv_oidc_principal(issuer, jwt, service->installation, &out->principal, err);
    if (rc == 0 && is_own(service->identity->apps, &out->principal))
        rc = kv_err_set(err, KV_E_DENIED, "jwt.wrong-issuer",
                        "the token is for an application or user of another issuer");
    out->exp_s = json_integer_value(json_object_get(jwt->claims, "exp"));
    return rc;
}

static int verify(struct kv_service *service, const struct kv_jwt *jwt,
                  struct kv_caller_id *out, struct kv_err *err)
{
    const char *iss = kv_jwt_text(jwt, "iss");
    const struct kv_oidc_issuer *issuer =
        iss != NULL ? kv_oidc_find(service->oidc, iss) : NULL;
    return issuer != NULL ? verify_foreign(service, issuer, jwt, out, err)
                          : verify_own(service, jwt, out, err);
}

int kv_caller_wait(struct kv_service *service, const struct kv_http_request *request,
                   void (*cb)(void *arg), void *arg)
{
    struct kv_jwt jwt;
    const char *token = kv_bearer_token(kv_http_header(request, "authorization"));
    int rc =
        token != NULL ? kv_jwt_parse(token, strlen(token), &jwt, NULL) : KV_E_DENIED;
    if (rc != 0)
        return rc;
    const char *iss = kv_jwt_text(&jwt, "iss");
    const struct kv_oidc_issuer *issuer =
        iss != NULL ? kv_oidc_find(service->oidc, iss) : NULL;
    rc = issuer != NULL ? kv_oidc_wait(service->oidc, issuer, cb, arg) : KV_E_DENIED;
    kv_jwt_free(&jwt);
    return rc;
}

/* --- any of them, first among those that were good lately --------------------------
 */

static int find_token(struct kv_service *service, const char *token,
                      struct kv_principal *out, struct kv_err *err)
{
    struct kv_identity *identity = service->identity;
    const int64_t now_s = kv_now_s(service->clock);
    const int64_t now_ms = kv_monotonic_ms(service->clock);
    struct kv_jwt jwt;
    struct kv_caller_id read = {.generation = 0};
    const struct kv_caller_id *id =
        kv_token_cache_find(identity->cache, token, now_s, now_ms);
    int rc = 0;
    if (id == NULL) {
        rc = kv_jwt_parse(token, strlen(token), &jwt, err);
        if (rc != 0)
            return rc;
        rc = verify(service, &jwt, &read, err);
        kv_jwt_free(&jwt);
        if (rc != 0)
            return rc;
        kv_token_cache_put(identity->cache, token, &read, now_ms);
        id = &read;
    }
    rc = id->generation != 0 ? check_current(service, id, err) : 0;
    if (rc == 0)
        *out = id->principal;
    return rc;
}

/* A vault is of one tenant, and answers nobody of another. */
static int check_tenant(struct kv_service *service,
                        const struct kv_http_request *request,
                        const struct kv_principal *principal, struct kv_err *err)
{
    const struct kv_vault *vault =
        kv_service_vault_by_host(service, kv_http_header(request, "host"));
    const char *tenant =
        vault != NULL && vault->tenant[0] != '\0' ? vault->tenant : service->tenant;
    const char *own =
        principal->tenant[0] != '\0' ? principal->tenant : service->tenant;
    if (kv_str_equal_nocase(own, tenant))
        return 0;
    return kv_err_set(err, KV_E_DENIED, "jwt.wrong-tenant",
                      "the token is of another tenant than the vault");
}

/* --- client certificates -----------------------------------------------------------
 */

static bool is_valid_now(const struct kv_service *service, X509 *certificate)
{
    time_t now = (time_t)kv_now_s(service->clock);
    return X509_cmp_time(X509_get0_notBefore(certificate), &now) < 0 &&
           X509_cmp_time(X509_get0_notAfter(certificate), &now) > 0;
}

/* A weak key proves nothing, whoever granted something to it. */
static bool is_strong(X509 *certificate)
{
    struct kv_jwk jwk;
    int rc = kv_jwk_from_key(X509_get0_pubkey(certificate), &jwk, NULL);
    if (rc == 0)
        kv_jwk_free(&jwk);
    return rc == 0;
}

/* "mtls:" and the SHA-256 of the SubjectPublicKeyInfo. */
static int name_key(X509 *certificate, struct kv_principal *out)
{
    uint8_t hash[32];
    char hex[2 * sizeof(hash) + 1];
    uint8_t *der = NULL;
    size_t hash_len = 0;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    int ok = len > 0 &&
             EVP_Q_digest(NULL, "SHA256", NULL, der, (size_t)len, hash, &hash_len) == 1;
    OPENSSL_free(der);
    ERR_clear_error();
    if (!ok)
        return KV_E_CRYPTO;
    kv_hex_encode(hex, hash, sizeof(hash));
    (void)snprintf(out->id, sizeof(out->id), "mtls:%s", hex);
    out->kind = KV_PRINCIPAL_MTLS;
    return 0;
}

/* Whether a vault's access policies have an entry of it. */
static bool has_policy(const struct kv_service *service, const struct kv_vault *vault,
                       const struct kv_principal *principal)
{
    size_t n = 0;
    struct kv_principal named = *principal;
    if (vault == NULL || !vault->uses_policies ||
        kv_principal_set_oid(&named, service->installation) != 0)
        return false;
    (void)kv_access_policies_find(vault->policies, named.oid, &n);
    return n > 0;
}

/* Whether something was granted to it, by a role or an access policy. */
static bool is_granted(struct kv_service *service,
                       const struct kv_http_request *request,
                       const struct kv_principal *principal)
{
    size_t n = 0;
    const struct kv_assignment *const *all =
        kv_assignments_all(service->assignments, &n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i]->principal, principal->id) == 0)
            return true;
    const struct kv_vault *vault =
        kv_service_vault_by_host(service, kv_http_header(request, "host"));
    return has_policy(service, vault, principal);
}

static enum kv_caller find_certificate(struct kv_service *service,
                                       const struct kv_http_request *request,
                                       struct kv_principal *out)
{
    X509 *certificate = kv_http_peer(request)->certificate;
    if (certificate == NULL || !is_valid_now(service, certificate) ||
        !is_strong(certificate) || name_key(certificate, out) != 0 ||
        !is_granted(service, request, out))
        return KV_CALLER_NOBODY;
    return KV_CALLER_KNOWN;
}

/* --- any of them -------------------------------------------------------------------
 */

static enum kv_caller find_bearer(struct kv_service *service,
                                  const struct kv_http_request *request,
                                  struct kv_principal *out)
{
    struct kv_err err = KV_ERR_INIT;
    const char *header = kv_http_header(request, "authorization");
    const char *token = kv_bearer_token(header);
    if (token == NULL)
        return KV_CALLER_NOBODY;
    if (service->has_token && kv_token_matches(header, service->token_sha256)) {
        set_admin(out, "token:dev-administrator");
        return KV_CALLER_KNOWN;
    }
    if (service->identity == NULL)
        return KV_CALLER_NOBODY;
    int rc = find_token(service, token, out, &err);
    if (rc == 0)
        rc = check_tenant(service, request, out, &err);
    if (rc == 0)
        return KV_CALLER_KNOWN;
    if (rc == KV_E_BUSY)
        return KV_CALLER_WAIT;
    kv_log(service->log, KV_LOG_DEBUG, "auth.token-refused",
           KV_S("error", err.id[0] != '\0' ? err.id : kv_code_name(rc)),
           KV_S("peer", kv_http_peer(request)->address));
    return KV_CALLER_NOBODY;
}

enum kv_caller kv_caller_find(struct kv_service *service,
                              const struct kv_http_request *request,
                              struct kv_principal *out)
{
    const struct kv_http_peer *peer = kv_http_peer(request);
    memset(out, 0, sizeof(*out));
    if (!peer->is_unix)
        return kv_http_header(request, "authorization") != NULL
                   ? find_bearer(service, request, out)
                   : find_certificate(service, request, out);
    if (peer->uid == service->admin_uid) {
        char id[KV_PRINCIPAL_MAX];
        (void)snprintf(id, sizeof(id), "unix:#%u", (unsigned)peer->uid);
        set_admin(out, id);
        return KV_CALLER_KNOWN;
    }
    const struct kv_principal *known =
        kv_principals_find(service->principals, peer->uid);
    if (known == NULL)
        return KV_CALLER_ASK;
    *out = *known;
    return KV_CALLER_KNOWN;
}
