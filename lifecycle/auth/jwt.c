/*
 * Tokens against rules. The signature comes first: what is said about claims is said of
 * tokens that the issuer has made.
 */
#include "lifecycle/auth/jwt.h"

#include <string.h>

#include "store/core/clock.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define DATE_MAX INT64_C(253402300799) /* 9999-12-31 */

static int bad_claims(struct kv_err *err, const char *what)
{
    return kv_err_set(err, KV_E_DENIED, "jwt.bad-claims", "the token %s", what);
}

int kv_jwt_parse(const char *text, size_t len, struct kv_jwt *out, struct kv_err *err)
{
    memset(out, 0, sizeof(*out));
    int rc = kv_jws_parse(text, len, &out->jws, err);
    if (rc != 0)
        return rc;
    const struct kv_buf *payload = &out->jws.payload;
    size_t n_failures = kv_wiping_failures();
    if (kv_json_depth(payload->data, payload->len) <= KV_JOSE_DEPTH_MAX)
        out->claims = json_loadb((const char *)payload->data, payload->len,
                                 JSON_REJECT_DUPLICATES, NULL);
    if (kv_wiping_failures() != n_failures)
        rc = KV_E_NOMEM;
    else if (!json_is_object(out->claims))
        rc = bad_claims(err, "has claims that are no JSON object");
    if (rc != 0)
        kv_jwt_free(out);
    return rc;
}

void kv_jwt_free(struct kv_jwt *jwt)
{
    json_decref(jwt->claims);
    jwt->claims = NULL;
    kv_jws_free(&jwt->jws);
}

const char *kv_jwt_text(const struct kv_jwt *jwt, const char *claim)
{
    return json_string_value(json_object_get(jwt->claims, claim));
}

static bool is_text(const json_t *json, const char *text)
{
    const char *value = json_string_value(json);
    return value != NULL && strcmp(value, text) == 0;
}

static bool names_audience(const json_t *aud, const char *audience)
{
    if (is_text(aud, audience))
        return true;
    for (size_t i = 0; i < json_array_size(aud); i++)
        if (is_text(json_array_get(aud, i), audience))
            return true;
    return false;
}

/* RFC 9068 §2.1, with or without the prefix "application/". */
static bool is_access_token(const char *typ)
{
    if (typ != NULL && kv_str_has_prefix(typ, "application/"))
        typ += strlen("application/");
    return typ != NULL && kv_str_equal_nocase(typ, "at+jwt");
}

/* A date into *out, which stays when the claim is absent. */
static int read_date(const json_t *claims, const char *claim, bool may_cut,
                     int64_t *out, struct kv_err *err)
{
    const json_t *value = json_object_get(claims, claim);
    const double seconds = json_number_value(value);
    if (value == NULL)
        return 0;
    if (!(may_cut ? json_is_number(value) : json_is_integer(value)) || seconds < 0 ||
        seconds > (double)DATE_MAX)
        return bad_claims(err, "has a date that is no whole number of seconds");
    *out = (int64_t)seconds;
    return 0;
}

static int check_dates(const json_t *claims, const struct kv_jwt_rules *rules,
                       int64_t now_s, struct kv_err *err)
{
    const bool may_cut = rules->may_cut_dates;
    const int64_t max_s =
        rules->lifetime_max_s != 0 ? rules->lifetime_max_s : KV_JWT_LIFETIME_MAX_S;
    int64_t exp_s = KV_TIME_NONE;
    int64_t nbf_s = KV_TIME_NONE;
    int64_t iat_s = KV_TIME_NONE;
    int rc = 0;
    KV_TRY(read_date(claims, "exp", may_cut, &exp_s, err));
    KV_TRY(read_date(claims, "nbf", may_cut, &nbf_s, err));
    KV_TRY(read_date(claims, "iat", may_cut, &iat_s, err));
    if (exp_s == KV_TIME_NONE)
        return bad_claims(err, "has no end ('exp')");
    if (exp_s <= now_s - KV_JWT_SKEW_S)
        return kv_err_set(err, KV_E_DENIED, "jwt.expired", "the token has expired");
    if ((nbf_s != KV_TIME_NONE && nbf_s > now_s + KV_JWT_SKEW_S) ||
        (iat_s != KV_TIME_NONE && iat_s > now_s + KV_JWT_SKEW_S))
        return kv_err_set(err, KV_E_DENIED, "jwt.not-yet-valid",
                          "the token begins in the future");
    int64_t from_s = iat_s != KV_TIME_NONE   ? iat_s
                     : nbf_s != KV_TIME_NONE ? nbf_s
                                             : now_s - KV_JWT_SKEW_S;
    if (exp_s - from_s > max_s || exp_s < from_s)
        return bad_claims(err,
                          "lives longer than is allowed, or ends before it begins");
out:
    return rc;
}

static int check_claims(const struct kv_jwt *jwt, const struct kv_jwt_rules *rules,
                        int64_t now_s, struct kv_err *err)
{
    if (!is_text(json_object_get(jwt->claims, "iss"), rules->issuer))
        return kv_err_set(err, KV_E_DENIED, "jwt.wrong-issuer",
                          "the token is from another issuer");
    if (!names_audience(json_object_get(jwt->claims, "aud"), rules->audience))
        return kv_err_set(err, KV_E_DENIED, "jwt.wrong-audience",
                          "the token is for somebody else");
    if (rules->wants_at_jwt && !is_access_token(jwt->jws.typ))
        return kv_err_set(err, KV_E_DENIED, "jwt.bad-type",
                          "the token is no access token (typ at+jwt)");
    return check_dates(jwt->claims, rules, now_s, err);
}

int kv_jwt_check_with(const struct kv_jwt *jwt, const struct kv_jwk *key,
                      const struct kv_jwt_rules *rules, int64_t now_s,
                      struct kv_err *err)
{
    int rc = kv_jws_verify(&jwt->jws, key, rules->algs, err);
    return rc != 0 ? rc : check_claims(jwt, rules, now_s, err);
}

int kv_jwt_check(const struct kv_jwt *jwt, const struct kv_jwks *keys,
                 const struct kv_jwt_rules *rules, int64_t now_s, struct kv_err *err)
{
    const struct kv_jwk *key =
        jwt->jws.kid != NULL ? kv_jwks_find(keys, jwt->jws.kid) : NULL;
    if (key == NULL)
        return kv_err_set(err, KV_E_DENIED, "jwt.unknown-key",
                          "the token names no key of its issuer");
    return kv_jwt_check_with(jwt, key, rules, now_s, err);
}
