/*
 * Issuers from outside: settings, what they publish, how long it is good, and who their
 * tokens name.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/auth/oidc.h"
#include "tests/support/jws_maker.h"

TestSuite(oidc, .timeout = 60);

#define URL "https://login.example/tenant"
#define TENANT "11111111-2222-4333-8444-555555555555"
#define USER "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"

static struct kv_oidc_issuer made(void)
{
    struct kv_oidc_issuer issuer;
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_oidc_read("name=corp,issuer=" URL
                              ",audience=api://v,tenant=" TENANT,
                              &issuer, &err),
                 0, "%s", err.message);
    return issuer;
}

Test(oidc, settings_are_read)
{
    struct kv_oidc_issuer issuer = made();
    char url[400];
    cr_assert_str_eq(issuer.name, "corp");
    cr_assert_str_eq(issuer.issuer, URL);
    cr_assert_str_eq(issuer.audience, "api://v");
    cr_assert_str_eq(issuer.tenant, TENANT);
    cr_assert_not(issuer.wants_at_jwt);
    kv_oidc_metadata_url(&issuer, url, sizeof(url));
    cr_assert_str_eq(url, URL "/.well-known/openid-configuration");
    cr_assert_eq(
        kv_oidc_read("name=a,issuer=" URL "/,at-jwt=on,ca-file=/x", &issuer, NULL), 0);
    cr_assert(issuer.wants_at_jwt);
    kv_oidc_metadata_url(&issuer, url, sizeof(url));
    cr_assert_str_eq(url, URL "/.well-known/openid-configuration", "one slash");
}

Test(oidc, settings_that_cannot_be_are_refused)
{
    static const char *const texts[] = {
        "",
        "name=a",
        "issuer=" URL,
        "name=a,issuer=http://login.example",
        "name=a,issuer=https://",
        "name=a,issuer=https:///x",
        "name=a,issuer=https://user@host",
        "name=a,issuer=https://host/#x",
        "name=a,issuer=https://ho st",
        "name=a,issuer=" URL ",tenant=x",
        "name=a,issuer=" URL ",unknown=x",
        "name=a,issuer=" URL ",audience",
        "name=a,issuer=" URL ",audience=a b",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct kv_oidc_issuer issuer;
        struct kv_err err = KV_ERR_INIT;
        cr_assert_eq(kv_oidc_read(texts[i], &issuer, &err), KV_E_INVALID, "%s",
                     texts[i]);
        cr_assert_str_eq(err.id, "auth.bad-issuer");
    }
}

static int take_metadata(struct kv_oidc_issuer *issuer, const char *text)
{
    struct kv_err err = KV_ERR_INIT;
    int rc = kv_oidc_take_metadata(issuer, text, strlen(text), &err);
    cr_assert(rc == 0 || strcmp(err.id, "auth.bad-metadata") == 0);
    cr_assert_eq(rc == 0, issuer->jwks_uri[0] != '\0');
    return rc;
}

Test(oidc, metadata_are_of_this_issuer_and_https)
{
    struct kv_oidc_issuer issuer = made();
    cr_assert_eq(take_metadata(&issuer, "{\"issuer\":\"" URL
                                        "\",\"jwks_uri\":\"https://keys.example/k\"}"),
                 0);
    cr_assert_str_eq(issuer.jwks_uri, "https://keys.example/k");
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "{\"issuer\":\"" URL "\"}",
        "{\"issuer\":\"" URL "/\",\"jwks_uri\":\"https://keys.example/k\"}",
        "{\"issuer\":1,\"jwks_uri\":\"https://keys.example/k\"}",
        "{\"issuer\":\"" URL "\",\"jwks_uri\":\"http://keys.example/k\"}",
        "{\"issuer\":\"" URL "\",\"jwks_uri\":\"file:///etc/passwd\"}",
        "{\"issuer\":\"" URL "\",\"jwks_uri\":\"https://a@keys.example\"}",
        "{\"issuer\":\"" URL "\",\"jwks_uri\":[]}",
        "{\"issuer\":\"" URL "\",\"issuer\":\"" URL
        "\",\"jwks_uri\":\"https://keys.example/k\"}",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cr_assert_neq(take_metadata(&issuer, texts[i]), 0, "%s", texts[i]);
}

static int take_keys(struct kv_oidc_issuer *issuer, const char *kid,
                     const char *cache_control, int64_t now_ms)
{
    json_t *set =
        json_pack("{s:[o]}", "keys", jws_maker_jwk(jws_maker_key("P-256"), kid));
    char *text = json_dumps(set, 0);
    int rc = kv_oidc_take_keys(issuer, text, strlen(text), cache_control, now_ms, NULL);
    free(text);
    json_decref(set);
    return rc;
}

Test(oidc, keys_are_kept_as_long_as_their_issuer_says_within_bounds)
{
    static const struct {
        const char *header;
        int64_t keep_ms;
    } rows[] = {
        {NULL, 3600000},
        {"", 3600000},
        {"public, max-age=600", 600000},
        {"MAX-AGE=600", 600000},
        {"max-age=1", KV_OIDC_KEEP_MIN_MS},
        {"max-age=0", KV_OIDC_KEEP_MIN_MS},
        {"max-age=-5", KV_OIDC_KEEP_MIN_MS},
        {"max-age=-9223372036854775808", KV_OIDC_KEEP_MIN_MS},
        {"max-age=x", KV_OIDC_KEEP_MIN_MS},
        {"no-store", KV_OIDC_KEEP_MIN_MS},
        {"no-cache, max-age=7200", KV_OIDC_KEEP_MIN_MS},
        {"max-age=99999999", KV_OIDC_KEEP_MAX_MS},
        {"max-age=9223372036854775807", KV_OIDC_KEEP_MAX_MS},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_oidc_issuer issuer = made();
        cr_assert(kv_oidc_is_due(&issuer, 1000), "never asked");
        kv_oidc_asked(&issuer, 1000);
        cr_assert_eq(take_keys(&issuer, "k", rows[i].header, 1000), 0);
        cr_assert_not(kv_oidc_is_due(&issuer, 1000 + rows[i].keep_ms - 1), "%s",
                      rows[i].header);
        cr_assert(kv_oidc_is_due(&issuer, 1000 + rows[i].keep_ms), "%s",
                  rows[i].header);
        kv_oidc_fini(&issuer);
    }
}

Test(oidc, failures_leave_older_keys_for_a_day)
{
    struct kv_oidc_issuer issuer = made();
    cr_assert_null(kv_oidc_keys(&issuer, 1000));
    kv_oidc_asked(&issuer, 1000);
    cr_assert_eq(take_keys(&issuer, "k", NULL, 1000), 0);
    kv_oidc_asked(&issuer, 5000);
    kv_oidc_failed(&issuer, 5000);
    cr_assert_not(kv_oidc_is_due(&issuer, 5000 + KV_OIDC_PAUSE_MS - 1));
    cr_assert(kv_oidc_is_due(&issuer, 5000 + KV_OIDC_PAUSE_MS));
    cr_assert_not_null(kv_oidc_keys(&issuer, 1000 + KV_OIDC_STALE_MS - 1));
    cr_assert_null(kv_oidc_keys(&issuer, 1000 + KV_OIDC_STALE_MS));
    static const char *const bad[] = {"", "{}", "{\"keys\":[]}", "[]"};
    for (size_t i = 0; i < 4; i++)
        cr_assert_neq(
            kv_oidc_take_keys(&issuer, bad[i], strlen(bad[i]), NULL, 6000, NULL), 0);
    cr_assert_not_null(kv_oidc_keys(&issuer, 6000), "a bad set replaces none");
    kv_oidc_fini(&issuer);
}

Test(oidc, a_key_that_was_taken_away_is_gone)
{
    struct kv_oidc_issuer issuer = made();
    cr_assert_eq(take_keys(&issuer, "old", NULL, 1000), 0);
    cr_assert_not_null(kv_jwks_find(kv_oidc_keys(&issuer, 1000), "old"));
    cr_assert_eq(take_keys(&issuer, "new", NULL, 2000), 0);
    cr_assert_null(kv_jwks_find(kv_oidc_keys(&issuer, 2000), "old"));
    cr_assert_not_null(kv_jwks_find(kv_oidc_keys(&issuer, 2000), "new"));
    kv_oidc_fini(&issuer);
}

Test(oidc, unknown_kids_cause_a_fetch_a_minute)
{
    struct kv_oidc_issuer issuer = made();
    cr_assert(kv_oidc_may_ask(&issuer, 1000));
    kv_oidc_asked(&issuer, 1000);
    cr_assert_not(kv_oidc_may_ask(&issuer, 1000 + KV_OIDC_PAUSE_MS - 1));
    cr_assert(kv_oidc_may_ask(&issuer, 1000 + KV_OIDC_PAUSE_MS));
}

/* --- who ---------------------------------------------------------------------------
 */

static const uint8_t installation[16] = {1, 2, 3};

static int who(const char *claims, struct kv_principal *out)
{
    struct kv_oidc_issuer issuer = made();
    struct kv_jwt jwt;
    char *text =
        jws_maker_sign(jws_maker_key("P-256"), "ES256", "{\"alg\":\"ES256\"}", claims);
    cr_assert_eq(kv_jwt_parse(text, strlen(text), &jwt, NULL), 0);
    int rc = kv_oidc_principal(&issuer, &jwt, installation, out, NULL);
    kv_jwt_free(&jwt);
    free(text);
    return rc;
}

static const struct {
    const char *claims;
    int rc;
    const char *id;
    const char *app;
} callers[] = {
    {"{\"oid\":\"" USER "\"}", 0, "user:" USER, ""},
    {"{\"sub\":\"" USER "\"}", 0, "user:" USER, ""},
    {"{\"oid\":\"AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE\"}", 0, "user:" USER, ""},
    {"{\"oid\":\"" USER "\",\"sub\":\"x\",\"azp\":\"web\",\"scp\":\"r\"}", 0,
     "user:" USER, "web"},
    {"{\"oid\":\"" USER "\",\"appid\":\"web\",\"scp\":\"r\"}", 0, "user:" USER, "web"},
    {"{\"oid\":\"" USER "\",\"client_id\":\"web\"}", 0, "user:" USER, "web"},
    {"{\"oid\":\"" USER "\",\"azp\":\"web\",\"idtyp\":\"app\"}", 0, "app:web", "web"},
    {"{\"oid\":\"" USER "\",\"sub\":\"web\",\"azp\":\"web\"}", 0, "app:web", "web"},
    {"{\"oid\":\"" USER "\",\"sub\":\"web\",\"azp\":\"web\",\"scp\":\"r\"}", 0,
     "user:" USER, "web"},
    {"{\"oid\":\"" USER "\",\"sub\":\"web\",\"azp\":\"web\",\"scope\":\"r\"}", 0,
     "user:" USER, "web"},
    {"{\"oid\":\"" USER "\",\"sub\":\"web\",\"azp\":\"web\",\"idtyp\":\"user\"}", 0,
     "user:" USER, "web"},
    {"{\"oid\":\"" USER "\",\"idtyp\":\"app\"}", 0, "user:" USER, ""},
    {"{}", KV_E_DENIED, "", ""},
    {"{\"oid\":\"aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeeee\"}", KV_E_DENIED, "", ""},
    {"{\"sub\":\"aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeeee\"}", KV_E_DENIED, "", ""},
    {"{\"sub\":\"\"}", KV_E_DENIED, "", ""},
    {"{\"sub\":1}", KV_E_DENIED, "", ""},
    {"{\"oid\":\"" USER "\",\"azp\":\"a:b\"}", KV_E_DENIED, "", ""},
    {"{\"oid\":\"" USER "\",\"azp\":\"a b\"}", KV_E_DENIED, "", ""},
    {"{\"oid\":\"" USER "\",\"azp\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
     KV_E_DENIED, "", ""},
};

Test(oidc, claims_become_users_and_applications)
{
    static struct kv_principal out;
    for (size_t i = 0; i < sizeof(callers) / sizeof(callers[0]); i++) {
        cr_assert_eq(who(callers[i].claims, &out), callers[i].rc, "%s",
                     callers[i].claims);
        if (callers[i].rc != 0)
            continue;
        cr_assert_str_eq(out.id, callers[i].id, "%s", callers[i].claims);
        cr_assert_str_eq(out.app, callers[i].app, "%s", callers[i].claims);
        cr_assert_str_eq(out.oid, USER);
        cr_assert_str_eq(out.tenant, TENANT);
        cr_assert_eq(out.kind, strncmp(out.id, "app:", 4) == 0 ? KV_PRINCIPAL_APP
                                                               : KV_PRINCIPAL_USER);
    }
}

Test(oidc, other_subjects_have_an_id_of_their_own)
{
    static struct kv_principal a;
    static struct kv_principal b;
    cr_assert_eq(who("{\"sub\":\"auth0|1\"}", &a), 0);
    cr_assert_eq(strlen(a.oid), 36);
    cr_assert_eq(a.oid[14], '5');
    cr_assert_str_eq(a.id + 5, a.oid);
    cr_assert_eq(who("{\"sub\":\"auth0|1\"}", &b), 0);
    cr_assert_str_eq(a.oid, b.oid);
    cr_assert_eq(who("{\"sub\":\"auth0|2\"}", &b), 0);
    cr_assert_str_neq(a.oid, b.oid);
}

Test(oidc, groups_are_uuids)
{
    static struct kv_principal out;
    cr_assert_eq(who("{\"oid\":\"" USER "\",\"groups\":[\"" TENANT
                     "\",\"admins\",\"aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeeee\",1,null,"
                     "\"AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE\"]}",
                     &out),
                 0);
    cr_assert_eq(out.n_groups, 2);
    cr_assert_str_eq(out.groups[0], "group:" TENANT);
    cr_assert_str_eq(out.groups[1], "group:" USER);
    cr_assert_eq(who("{\"oid\":\"" USER "\",\"groups\":\"x\"}", &out), 0);
    cr_assert_eq(out.n_groups, 0);
}
