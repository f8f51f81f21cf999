/*
 * A token request of an application: its form, and whether its credentials are right.
 *
 * Certificates are found among those that were registered, by the thumbprint in the
 * assertion's header: what else the header brings along is not looked at.
 */
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "lifecycle/api/authority.h"
#include "lifecycle/api/internal.h"
#include "lifecycle/auth/jwt.h"
#include "lifecycle/service/identity.h"
#include "store/core/b64.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define FORM_MAX 65536
#define ASSERTION_LIFETIME_MAX_S (600 + KV_JWT_SKEW_S) /* clients make them for 600 */
#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

static bool refuse(struct kv_oauth_error *error, int status, const char *name,
                   int number, const char *text)
{
    *error = (struct kv_oauth_error){status, name, number, text};
    return false;
}

void kv_oauth_unknown_client(struct kv_oauth_error *out)
{
    (void)refuse(out, 400, "unauthorized_client", 700016,
                 "The application was not found in the tenant.");
}

void kv_oauth_foreign_scope(struct kv_oauth_error *out)
{
    (void)refuse(out, 400, "invalid_resource", 500011,
                 "The scope names no resource of this tenant: ask for the one of the "
                 "challenge, with /.default behind it.");
}

/* --- the form ----------------------------------------------------------------------
 */

static bool is_form(const char *type)
{
    static const char form[] = "application/x-www-form-urlencoded";
    char name[sizeof(form) + 1];
    if (type == NULL)
        return false;
    kv_str_cut(name, sizeof(name), type, strcspn(type, "; \t"));
    return kv_str_equal_nocase(name, form);
}

/* A field; "" when it is absent. False: it does not fit or decode. */
static bool take(const char *text, const char *name, char *out, size_t size)
{
    int found = kv_query_get(text, name, out, size);
    if (found == 0)
        out[0] = '\0';
    return found >= 0;
}

/* A field of up to 16 KiB. */
static bool take_long(const char *text, const char *name, struct kv_buf *out)
{
    char *place = (char *)kv_buf_extend(out, KV_JOSE_TOKEN_MAX + 1);
    if (place == NULL || !take(text, name, place, KV_JOSE_TOKEN_MAX + 1))
        return false;
    kv_buf_truncate(out, strlen(place));
    return true;
}

static bool read_credentials(struct kv_signin_form *form, const char *type,
                             struct kv_oauth_error *error)
{
    bool has_secret = form->secret[0] != '\0';
    bool has_assertion = form->assertion.len > 0;
    if (has_secret == has_assertion &&
        (has_secret || form->grant != KV_GRANT_DEVICE)) /* a device may have none */
        return refuse(error, 401, "invalid_client", 7000218,
                      "The request needs either 'client_secret' or "
                      "'client_assertion'.");
    if (has_assertion && strcmp(type, ASSERTION_TYPE) != 0)
        return refuse(error, 400, "invalid_request", 50027,
                      "The field 'client_assertion_type' names no type that is known.");
    return true;
}

static bool read_grant(struct kv_signin_form *form, const char *text,
                       struct kv_oauth_error *error)
{
    char grant[64];
    char use[32];
    if (!take(text, "grant_type", grant, sizeof(grant)) ||
        !take(text, "requested_token_use", use, sizeof(use)) ||
        !take(text, "device_code", form->device_code, sizeof(form->device_code)) ||
        !take_long(text, "assertion", &form->user_token))
        return refuse(error, 400, "invalid_request", 90014,
                      "A field of the request is malformed or too long.");
    if (grant[0] == '\0' || form->client_id[0] == '\0')
        return refuse(error, 400, "invalid_request", 900144,
                      "The request needs the fields 'grant_type' and 'client_id'.");
    if (strcmp(grant, "client_credentials") == 0) {
        form->grant = KV_GRANT_CLIENT;
    } else if (strcmp(grant, "device_code") == 0 ||
               strcmp(grant, "urn:ietf:params:oauth:grant-type:device_code") == 0) {
        form->grant = KV_GRANT_DEVICE;
    } else if (strcmp(grant, "urn:ietf:params:oauth:grant-type:jwt-bearer") == 0 &&
               strcmp(use, "on_behalf_of") == 0) {
        form->grant = KV_GRANT_BEHALF;
    } else {
        return refuse(error, 400, "unsupported_grant_type", 70003,
                      "The grant type is not supported.");
    }
    return true;
}

static bool read_fields(struct kv_signin_form *form, const char *text, bool is_token,
                        struct kv_oauth_error *error)
{
    char type[128];
    if (!take(text, "client_id", form->client_id, sizeof(form->client_id)) ||
        !take(text, "scope", form->scope, sizeof(form->scope)) ||
        !take(text, "client_secret", form->secret, sizeof(form->secret)) ||
        !take(text, "client_assertion_type", type, sizeof(type)) ||
        !take_long(text, "client_assertion", &form->assertion))
        return refuse(error, 400, "invalid_request", 90014,
                      "A field of the request is malformed or too long.");
    if (!is_token)
        return form->client_id[0] != '\0' ||
               refuse(error, 400, "invalid_request", 900144,
                      "The request needs the field 'client_id'.");
    return read_grant(form, text, error) && read_credentials(form, type, error);
}

bool kv_signin_form_text(const char *content_type, uint8_t *body, size_t len,
                         struct kv_buf *out)
{
    if (!is_form(content_type) || len == 0 || len > FORM_MAX ||
        memchr(body, '\0', len) != NULL)
        return false;
    int rc = kv_buf_append(out, body, len);
    kv_wipe(body, len);
    char *text = rc == 0 ? (char *)(uintptr_t)kv_buf_cstr(out) : NULL;
    for (char *at = text; at != NULL && *at != '\0'; at++)
        if (*at == '+')
            *at = ' ';
    return text != NULL;
}

bool kv_signin_form_read(struct kv_signin_form *form, const char *content_type,
                         uint8_t *body, size_t len, bool is_token,
                         struct kv_oauth_error *error)
{
    struct kv_buf text;
    memset(form, 0, sizeof(*form));
    kv_buf_init_secret(&form->assertion, KV_JOSE_TOKEN_MAX + 1);
    kv_buf_init_secret(&form->user_token, KV_JOSE_TOKEN_MAX + 1);
    kv_buf_init_secret(&text, FORM_MAX + 1);
    bool is_good = kv_signin_form_text(content_type, body, len, &text)
                       ? read_fields(form, kv_buf_cstr(&text), is_token, error)
                       : refuse(error, 400, "invalid_request", 900144,
                                "The request needs a form as its body "
                                "(application/x-www-form-urlencoded).");
    kv_buf_free(&text);
    return is_good;
}

void kv_signin_form_free(struct kv_signin_form *form)
{
    kv_buf_free(&form->assertion);
    kv_buf_free(&form->user_token);
    kv_wipe(form->device_code, sizeof(form->device_code));
    kv_wipe(form->secret, sizeof(form->secret));
}

/* The resource in front of "/.default"; false: the word is no such scope. */
static bool cut_default(const char *word, size_t len, char out[256])
{
    static const char suffix[] = "/.default";
    const size_t suffix_len = sizeof(suffix) - 1;
    if (len <= suffix_len || len >= 256 ||
        memcmp(word + len - suffix_len, suffix, suffix_len) != 0)
        return false;
    len -= suffix_len;
    if (word[len - 1] == '/') /* of a resource that ends in a slash */
        len--;
    kv_str_cut(out, 256, word, len);
    return true;
}

/* Some clients name the resource by the port that they talk to, too. */
static void drop_port(const char *resource, char audience[256])
{
    size_t len = strlen(resource);
    const char *rest = audience + len;
    if (strncmp(audience, resource, len) == 0 && rest[0] == ':' && rest[1] != '\0' &&
        rest[1 + strspn(rest + 1, "0123456789")] == '\0')
        audience[len] = '\0';
}

/* Scopes of OpenID Connect that clients add: nothing here goes by them. */
static bool is_decoration(const char *word, size_t len)
{
    static const char *const words[] = {"openid", "profile", "email", "offline_access"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (len == strlen(words[i]) && memcmp(word, words[i], len) == 0)
            return true;
    return false;
}

bool kv_signin_audience(const struct kv_service *service,
                        const struct kv_signin_form *form, bool is_user, char out[256])
{
    char resource[256];
    unsigned n = 0;
    for (const char *at = form->scope; *at != '\0';) {
        size_t len = strcspn(at, " ");
        if (len > 0 && !is_decoration(at, len) &&
            (n++ > 0 || !cut_default(at, len, out)))
            return false;
        at += len + (at[len] == ' ');
    }
    kv_identity_resource(service, resource, sizeof(resource));
    if (n != 1)
        return false;
    drop_port(resource, out);
    return strcmp(out, resource) == 0 ||
           (is_user && kv_str_has_prefix(out, "api://") &&
            kv_apps_by_client(service->identity->apps, out + strlen("api://")) != NULL);
}

const struct kv_app *kv_signin_user(const struct kv_service *service,
                                    const struct kv_app *app,
                                    const struct kv_signin_form *form, int64_t *until_s)
{
    char issuer[320];
    char audience[64];
    struct kv_jwt jwt;
    const struct kv_identity *identity = service->identity;
    const struct kv_app *user = NULL;
    kv_identity_issuer(service, app->tenant, issuer, sizeof(issuer));
    (void)snprintf(audience, sizeof(audience), "api://%s", app->client_id);
    const struct kv_jwt_rules rules = {
        .issuer = issuer, .audience = audience, .algs = KV_JOSE_BIT(KV_JOSE_ES256)};
    if (kv_jwt_parse((const char *)form->user_token.data, form->user_token.len, &jwt,
                     NULL) != 0)
        return NULL;
    const char *oid = kv_jwt_text(&jwt, "oid");
    const char *idtyp = kv_jwt_text(&jwt, "idtyp");
    if (kv_jwt_check(&jwt, &identity->keys, &rules, kv_now_s(service->clock), NULL) ==
            0 &&
        oid != NULL && idtyp != NULL && strcmp(idtyp, "user") == 0)
        user = kv_apps_user(identity->apps, oid);
    const char *through = kv_jwt_text(&jwt, "appid");
    const struct kv_app *front =
        through != NULL ? kv_apps_by_client(identity->apps, through) : NULL;
    if (user != NULL &&
        (front == NULL ||
         json_integer_value(json_object_get(jwt.claims, "agen")) != front->generation ||
         json_integer_value(json_object_get(jwt.claims, "gen")) != user->generation ||
         !kv_str_equal_nocase(user->tenant, app->tenant)))
        user = NULL;
    *until_s = json_integer_value(json_object_get(jwt.claims, "exp"));
    kv_jwt_free(&jwt);
    return user;
}

/* --- assertions --------------------------------------------------------------------
 */

/* Whether base64url `text` is this digest of the certificate. MSAL for Python pads it.
 */
static bool is_thumbprint(X509 *certificate, const EVP_MD *md, const char *text)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    struct kv_buf encoded;
    if (text == NULL || X509_digest(certificate, md, digest, &len) != 1)
        return false;
    kv_buf_init(&encoded, 128);
    const char *cstr = kv_b64_encode(KV_B64_URL, digest, len, &encoded) == 0
                           ? kv_buf_cstr(&encoded)
                           : NULL;
    const size_t n = cstr != NULL ? strlen(cstr) : 0;
    bool is_same =
        n > 0 && strncmp(cstr, text, n) == 0 && text[n + strspn(text + n, "=")] == '\0';
    kv_buf_free(&encoded);
    return is_same;
}

static bool names_certificate(const struct kv_jws *jws, X509 *certificate)
{
    if (jws->x5t256 != NULL)
        return is_thumbprint(certificate, EVP_sha256(), jws->x5t256);
    return is_thumbprint(certificate, EVP_sha1(), jws->x5t);
}

static bool is_valid_now(X509 *certificate, int64_t now_s)
{
    time_t now = (time_t)now_s;
    return X509_cmp_time(X509_get0_notBefore(certificate), &now) < 0 &&
           X509_cmp_time(X509_get0_notAfter(certificate), &now) > 0;
}

static bool check_claims(struct kv_service *service, const struct kv_app *app,
                         const struct kv_jwt *jwt, const char *source,
                         struct kv_oauth_error *error)
{
    struct kv_err err = KV_ERR_INIT;
    const char *sub = kv_jwt_text(jwt, "sub");
    const char *jti = kv_jwt_text(jwt, "jti");
    if (sub == NULL || !kv_str_equal_nocase(sub, app->client_id) || jti == NULL ||
        jti[0] == '\0')
        return refuse(error, 401, "invalid_client", 700021,
                      "The assertion is not about its application, or has no 'jti'.");
    int64_t exp_s = (int64_t)json_number_value(json_object_get(jwt->claims, "exp")) + 1;
    int rc = kv_replay_use(service->identity->replay, app->client_id, jti, source,
                           exp_s, kv_now_s(service->clock), &err);
    if (rc == KV_E_DENIED)
        return refuse(error, 401, "invalid_client", 70043,
                      "The assertion has been used before.");
    return rc == 0 || refuse(error, 503, "temporarily_unavailable", 90033,
                             "Too many assertions are in use at present.");
}

static bool refuse_jwt(const struct kv_err *err, struct kv_oauth_error *error)
{
    if (strcmp(err->id, "jwt.wrong-audience") == 0)
        return refuse(error, 401, "invalid_client", 700023,
                      "The assertion's 'aud' is not this token endpoint.");
    if (strcmp(err->id, "jwt.expired") == 0 ||
        strcmp(err->id, "jwt.not-yet-valid") == 0)
        return refuse(error, 401, "invalid_client", 700024,
                      "The assertion is not valid at present: compare the clocks.");
    if (strcmp(err->id, "jwt.wrong-issuer") == 0)
        return refuse(error, 401, "invalid_client", 700021,
                      "The assertion's 'iss' is not the application.");
    return refuse(error, 401, "invalid_client", 700027,
                  "The assertion is not signed by a certificate of the application.");
}

static bool check_assertion(struct kv_service *service, const struct kv_app *app,
                            const struct kv_signin_form *form, const char *endpoint,
                            const char *source, struct kv_oauth_error *error)
{
    const int64_t now_s = kv_now_s(service->clock);
    const struct kv_jwt_rules rules = {.issuer = app->client_id,
                                       .audience = endpoint,
                                       .algs = KV_JOSE_ANY,
                                       .lifetime_max_s = ASSERTION_LIFETIME_MAX_S,
                                       .may_cut_dates = true}; /* MSAL for Python */
    struct kv_err err = KV_ERR_INIT;
    struct kv_jwk jwk = {.key = NULL};
    struct kv_jwt jwt;
    if (kv_jwt_parse((const char *)form->assertion.data, form->assertion.len, &jwt,
                     &err) != 0)
        return refuse(error, 401, "invalid_client", 50027,
                      "The assertion is no JWT that is accepted.");
    bool is_good = false;
    if (app->certificate == NULL || !names_certificate(&jwt.jws, app->certificate) ||
        kv_jwk_from_key(X509_get0_pubkey(app->certificate), &jwk, NULL) != 0 ||
        kv_jwt_check_with(&jwt, &jwk, &rules, now_s, &err) != 0)
        (void)refuse_jwt(&err, error);
    else if (!is_valid_now(app->certificate, now_s))
        (void)refuse(error, 401, "invalid_client", 700027,
                     "The application's certificate is not valid at present.");
    else
        is_good = check_claims(service, app, &jwt, source, error);
    kv_jwk_free(&jwk);
    kv_jwt_free(&jwt);
    ERR_clear_error();
    return is_good;
}

bool kv_signin_check(struct kv_service *service, const struct kv_app *app,
                     const struct kv_signin_form *form, const char *base,
                     const char *source, struct kv_oauth_error *error)
{
    char endpoint[640];
    if (form->assertion.len == 0)
        return kv_app_secret_matches(app, form->secret) ||
               refuse(error, 401, "invalid_client", 7000215,
                      "The client secret is not the one of the application.");
    (void)snprintf(endpoint, sizeof(endpoint), "%s/oauth2/v2.0/token", base);
    return check_assertion(service, app, form, endpoint, source, error);
}
