/*
 * Settings, metadata, keys and claims of an issuer from outside.
 */
#include "lifecycle/auth/oidc.h"
#include "lifecycle/auth/uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "store/core/secret.h"
#include "store/core/str.h"

static int bad_issuer(struct kv_err *err, const char *what)
{
    return kv_err_set(err, KV_E_INVALID, "auth.bad-issuer", "the OIDC issuer %s", what);
}

/* Printable ASCII without what would end it in a setting or a URL. */
static bool is_text(const char *text)
{
    for (; *text != '\0'; text++)
        if (*text <= ' ' || *text > '~' || strchr(",\"\\<>", *text) != NULL)
            return false;
    return true;
}

static bool is_https(const char *url)
{
    return strncmp(url, "https://", 8) == 0 && url[8] != '\0' && url[8] != '/' &&
           is_text(url) && strpbrk(url, "#@") == NULL;
}

/* --- settings ----------------------------------------------------------------------
 */

static int take_setting(struct kv_oidc_issuer *out, const char *name, const char *value,
                        struct kv_err *err)
{
    const struct {
        const char *name;
        char *place;
        size_t size;
    } places[] = {
        {"name", out->name, sizeof(out->name)},
        {"issuer", out->issuer, sizeof(out->issuer)},
        {"audience", out->audience, sizeof(out->audience)},
        {"tenant", out->tenant, sizeof(out->tenant)},
        {"ca-file", out->ca_file, sizeof(out->ca_file)},
    };
    if (strcmp(name, "at-jwt") == 0) {
        out->wants_at_jwt = strcmp(value, "on") == 0;
        return 0;
    }
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        if (strcmp(name, places[i].name) == 0)
            return kv_str_copy(places[i].place, places[i].size, value) == 0
                       ? 0
                       : bad_issuer(err, "has a setting that is too long");
    return bad_issuer(err, "has a setting that is not known");
}

int kv_oidc_read(const char *text, struct kv_oidc_issuer *out, struct kv_err *err)
{
    char copy[KV_OIDC_TEXT_MAX];
    char *rest = NULL;
    memset(out, 0, sizeof(*out));
    if (kv_str_copy(copy, sizeof(copy), text) != 0)
        return bad_issuer(err, "has settings that are too long");
    for (char *at = strtok_r(copy, ",", &rest); at != NULL;
         at = strtok_r(NULL, ",", &rest)) {
        char *equals = strchr(at, '=');
        if (equals == NULL)
            return bad_issuer(err, "has a setting without a value");
        *equals = '\0';
        int rc = take_setting(out, at, equals + 1, err);
        if (rc != 0)
            return rc;
    }
    if (out->name[0] == '\0' || !is_https(out->issuer))
        return bad_issuer(err, "needs a name, and an issuer that begins with https://");
    if (!is_text(out->audience) ||
        (out->tenant[0] != '\0' && !kv_uuid_is_valid(out->tenant)))
        return bad_issuer(err, "has an audience that is no text, or a tenant that is "
                               "no UUID");
    kv_str_fold(out->tenant);
    return 0;
}

void kv_oidc_fini(struct kv_oidc_issuer *issuer)
{
    if (issuer->keys != NULL)
        kv_jwks_free(issuer->keys);
    free(issuer->keys);
    issuer->keys = NULL;
}

/* --- what it publishes -------------------------------------------------------------
 */

void kv_oidc_metadata_url(const struct kv_oidc_issuer *issuer, char *out,
                          size_t out_size)
{
    size_t len = strlen(issuer->issuer);
    while (len > 0 && issuer->issuer[len - 1] == '/')
        len--;
    (void)snprintf(out, out_size, "%.*s/.well-known/openid-configuration", (int)len,
                   issuer->issuer);
}

static int bad_metadata(struct kv_err *err, const struct kv_oidc_issuer *issuer,
                        const char *what)
{
    return kv_err_set(err, KV_E_INVALID, "auth.bad-metadata",
                      "the metadata of the OIDC issuer '%s' %s", issuer->name, what);
}

int kv_oidc_take_metadata(struct kv_oidc_issuer *issuer, const void *text, size_t len,
                          struct kv_err *err)
{
    if (len > KV_OIDC_METADATA_MAX || kv_json_depth(text, len) > KV_JOSE_DEPTH_MAX)
        return bad_metadata(err, issuer, "is larger than 64 KiB or nests too deep");
    size_t n_failures = kv_wiping_failures();
    json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    const char *name = json_string_value(json_object_get(json, "issuer"));
    const char *uri = json_string_value(json_object_get(json, "jwks_uri"));
    int rc = 0;
    if (kv_wiping_failures() != n_failures)
        rc = KV_E_NOMEM;
    else if (name == NULL || strcmp(name, issuer->issuer) != 0)
        rc = bad_metadata(err, issuer, "is that of another issuer, or no JSON object");
    else if (uri == NULL || !is_https(uri) ||
             kv_str_copy(issuer->jwks_uri, sizeof(issuer->jwks_uri), uri) != 0)
        rc = bad_metadata(err, issuer, "has no jwks_uri of https");
    if (rc != 0)
        issuer->jwks_uri[0] = '\0';
    json_decref(json);
    return rc;
}

/* How long to keep what came with this header (RFC 9111 §5.2.2). */
static int64_t keep_ms(const char *cache_control)
{
    int64_t seconds = 3600;
    const char *at =
        cache_control != NULL ? strcasestr(cache_control, "max-age=") : NULL;
    if (at != NULL)
        seconds = strtoll(at + strlen("max-age="), NULL, 10);
    if (cache_control != NULL && (strcasestr(cache_control, "no-store") != NULL ||
                                  strcasestr(cache_control, "no-cache") != NULL))
        seconds = 0;
    if (seconds > KV_OIDC_KEEP_MAX_MS / 1000)
        return KV_OIDC_KEEP_MAX_MS;
    if (seconds < KV_OIDC_KEEP_MIN_MS / 1000) /* negative ones, too */
        return KV_OIDC_KEEP_MIN_MS;
    return seconds * 1000;
}

int kv_oidc_take_keys(struct kv_oidc_issuer *issuer, const void *text, size_t len,
                      const char *cache_control, int64_t now_ms, struct kv_err *err)
{
    struct kv_jwks *keys = calloc(1, sizeof(*keys));
    if (keys == NULL)
        return KV_E_NOMEM;
    int rc = kv_jwks_parse(text, len, keys, err);
    if (rc == 0 && keys->n == 0)
        rc = kv_err_set(err, KV_E_INVALID, "jose.bad-keys",
                        "the key set has no key that can be used");
    if (rc != 0) {
        free(keys);
        return rc;
    }
    kv_oidc_fini(issuer);
    issuer->keys = keys;
    issuer->fetched_ms = now_ms;
    issuer->due_ms = now_ms + keep_ms(cache_control);
    return 0;
}

void kv_oidc_asked(struct kv_oidc_issuer *issuer, int64_t now_ms)
{
    issuer->asked_ms = now_ms;
}

void kv_oidc_failed(struct kv_oidc_issuer *issuer, int64_t now_ms)
{
    issuer->due_ms = now_ms + KV_OIDC_PAUSE_MS;
    issuer->jwks_uri[0] = '\0'; /* it may have moved */
}

bool kv_oidc_is_due(const struct kv_oidc_issuer *issuer, int64_t now_ms)
{
    return issuer->asked_ms == 0 || now_ms >= issuer->due_ms;
}

bool kv_oidc_may_ask(const struct kv_oidc_issuer *issuer, int64_t now_ms)
{
    return issuer->asked_ms == 0 || now_ms - issuer->asked_ms >= KV_OIDC_PAUSE_MS;
}

const struct kv_jwks *kv_oidc_keys(const struct kv_oidc_issuer *issuer, int64_t now_ms)
{
    return now_ms - issuer->fetched_ms < KV_OIDC_STALE_MS ? issuer->keys : NULL;
}

/* --- who ---------------------------------------------------------------------------
 */

static const char *first_of(const struct kv_jwt *jwt, const char *const *claims)
{
    for (; *claims != NULL; claims++) {
        const char *text = kv_jwt_text(jwt, *claims);
        if (text != NULL && text[0] != '\0')
            return text;
    }
    return NULL;
}

static bool is_app_only(const struct kv_jwt *jwt, const char *app)
{
    const char *idtyp = kv_jwt_text(jwt, "idtyp");
    const char *sub = kv_jwt_text(jwt, "sub");
    if (idtyp != NULL)
        return strcmp(idtyp, "app") == 0;
    return kv_jwt_text(jwt, "scp") == NULL && kv_jwt_text(jwt, "scope") == NULL &&
           sub != NULL && strcmp(sub, app) == 0;
}

/* Of version 5 are the object ids that the installation derives: for users of the
 * machine, keys of certificates and other text. No claim is one of them. */
static bool is_derived(const char *uuid)
{
    return uuid[14] == '5';
}

/* A UUID as it is, in lower case; other text by a UUID of installation, issuer, text.
 */
static int set_oid(const struct kv_oidc_issuer *issuer, const char *subject,
                   const uint8_t installation[16], struct kv_principal *out)
{
    if (kv_uuid_is_valid(subject) && is_derived(subject))
        return KV_E_DENIED;
    if (kv_uuid_is_valid(subject)) {
        int rc = kv_str_copy(out->oid, sizeof(out->oid), subject);
        kv_str_fold(out->oid);
        return rc;
    }
    int n = snprintf(out->id, sizeof(out->id), "%s:%s", issuer->name, subject);
    if (n < 0 || (size_t)n >= sizeof(out->id))
        return KV_E_TOO_BIG;
    return kv_principal_set_oid(out, installation);
}

static void add_groups(const struct kv_jwt *jwt, struct kv_principal *out)
{
    const json_t *groups = json_object_get(jwt->claims, "groups");
    for (size_t i = 0; i < json_array_size(groups) && out->n_groups < KV_GROUPS_MAX;
         i++) {
        const char *id = json_string_value(json_array_get(groups, i));
        if (id == NULL || !kv_uuid_is_valid(id) || is_derived(id))
            continue;
        char *place = out->groups[out->n_groups++];
        (void)snprintf(place, KV_PRINCIPAL_MAX, "group:%s", id);
        kv_str_fold(place);
    }
}

int kv_oidc_principal(const struct kv_oidc_issuer *issuer, const struct kv_jwt *jwt,
                      const uint8_t installation[16], struct kv_principal *out,
                      struct kv_err *err)
{
    static const char *const subjects[] = {"oid", "sub", NULL};
    static const char *const apps[] = {"azp", "appid", "client_id", NULL};
    const char *subject = first_of(jwt, subjects);
    const char *app = first_of(jwt, apps);
    memset(out, 0, sizeof(*out));
    if (subject == NULL || set_oid(issuer, subject, installation, out) != 0 ||
        (app != NULL && (!is_text(app) || strchr(app, ':') != NULL ||
                         kv_str_copy(out->app, sizeof(out->app), app) != 0)))
        return kv_err_set(err, KV_E_DENIED, "jwt.bad-claims",
                          "the token does not say whose it is, or not in a form that "
                          "is accepted");
    memcpy(out->tenant, issuer->tenant, sizeof(out->tenant));
    if (app != NULL && is_app_only(jwt, app)) {
        out->kind = KV_PRINCIPAL_APP;
        (void)snprintf(out->id, sizeof(out->id), "app:%s", out->app);
    } else {
        out->kind = KV_PRINCIPAL_USER;
        (void)snprintf(out->id, sizeof(out->id), "user:%s", out->oid);
    }
    add_groups(jwt, out);
    return 0;
}
