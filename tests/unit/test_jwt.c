/*
 * Tokens against the rules of their issuer: each rule has its row.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/auth/jwt.h"
#include "tests/support/jws_maker.h"

TestSuite(jwt, .timeout = 60);

#define NOW INT64_C(1800000000)
#define ISSUER "https://issuer.example/v2.0"
#define AUDIENCE "https://vault.example"
#define HEADER "{\"alg\":\"ES256\",\"kid\":\"k1\",\"typ\":\"JWT\"}"

static struct kv_jwks keys;

static void load_keys(void)
{
    json_t *set =
        json_pack("{s:[o,o]}", "keys", jws_maker_jwk(jws_maker_key("P-256"), "k1"),
                  jws_maker_jwk(jws_maker_key("RSA"), "k2"));
    char *text = json_dumps(set, 0);
    kv_jwks_free(&keys);
    cr_assert_eq(kv_jwks_parse(text, strlen(text), &keys, NULL), 0);
    free(text);
    json_decref(set);
}

static const char *verdict_of(const char *text, const struct kv_jwt_rules *rules)
{
    static struct kv_err err;
    struct kv_jwt jwt;
    err = KV_ERR_INIT;
    if (kv_jwt_parse(text, strlen(text), &jwt, &err) == 0) {
        int rc = kv_jwt_check(&jwt, &keys, rules, NOW, &err);
        cr_assert_eq(rc == 0, err.code == 0);
        kv_jwt_free(&jwt);
    }
    return err.id;
}

static const struct kv_jwt_rules usual = {.issuer = ISSUER,
                                          .audience = AUDIENCE,
                                          .algs = KV_JOSE_BIT(KV_JOSE_ES256) |
                                                  KV_JOSE_BIT(KV_JOSE_RS256)};

static const char *verdict(const char *header, const char *claims)
{
    load_keys();
    char *text = jws_maker_sign(jws_maker_key("P-256"), "ES256", header, claims);
    const char *id = verdict_of(text, &usual);
    free(text);
    return id;
}

#define ISS "\"iss\":\"" ISSUER "\","
#define AUD "\"aud\":\"" AUDIENCE "\","

static const struct {
    const char *claims;
    const char *id;
} rows[] = {
    {"{" ISS AUD "\"exp\":1800000600}", ""},
    {"{" ISS AUD "\"exp\":1800000600,\"nbf\":1800000000,\"iat\":1800000000}", ""},
    {"{" ISS "\"aud\":[\"x\",\"" AUDIENCE "\"],\"exp\":1800000600}", ""},
    /* issuer and audience, exactly */
    {"{" AUD "\"exp\":1800000600}", "jwt.wrong-issuer"},
    {"{\"iss\":\"" ISSUER "/\"," AUD "\"exp\":1800000600}", "jwt.wrong-issuer"},
    {"{\"iss\":\"HTTPS://issuer.example/v2.0\"," AUD "\"exp\":1800000600}",
     "jwt.wrong-issuer"},
    {"{\"iss\":[\"" ISSUER "\"]," AUD "\"exp\":1800000600}", "jwt.wrong-issuer"},
    {"{" ISS "\"exp\":1800000600}", "jwt.wrong-audience"},
    {"{" ISS "\"aud\":\"https://vault.example/\",\"exp\":1800000600}",
     "jwt.wrong-audience"},
    {"{" ISS "\"aud\":\"https://vault.example.evil\",\"exp\":1800000600}",
     "jwt.wrong-audience"},
    {"{" ISS "\"aud\":[],\"exp\":1800000600}", "jwt.wrong-audience"},
    {"{" ISS "\"aud\":[[\"" AUDIENCE "\"]],\"exp\":1800000600}", "jwt.wrong-audience"},
    {"{" ISS "\"aud\":null,\"exp\":1800000600}", "jwt.wrong-audience"},
    /* the end */
    {"{" ISS AUD "\"nbf\":1800000000}", "jwt.bad-claims"},
    {"{" ISS AUD "\"exp\":1799999941}", ""},
    {"{" ISS AUD "\"exp\":1799999940}", "jwt.expired"},
    {"{" ISS AUD "\"exp\":0}", "jwt.expired"},
    {"{" ISS AUD "\"exp\":-1}", "jwt.bad-claims"},
    {"{" ISS AUD "\"exp\":\"1800000600\"}", "jwt.bad-claims"},
    {"{" ISS AUD "\"exp\":1800000600.0}", "jwt.bad-claims"},
    {"{" ISS AUD "\"exp\":null}", "jwt.bad-claims"},
    {"{" ISS AUD "\"exp\":99999999999999}", "jwt.bad-claims"},
    {"{" ISS AUD "\"exp\":9223372036854775807}", "jwt.bad-claims"},
    /* the beginning */
    {"{" ISS AUD "\"exp\":1800000600,\"nbf\":1800000060}", ""},
    {"{" ISS AUD "\"exp\":1800000600,\"nbf\":1800000061}", "jwt.not-yet-valid"},
    {"{" ISS AUD "\"exp\":1800000600,\"iat\":1800000060}", ""},
    {"{" ISS AUD "\"exp\":1800000600,\"iat\":1800000061}", "jwt.not-yet-valid"},
    {"{" ISS AUD "\"exp\":1800000600,\"nbf\":\"x\"}", "jwt.bad-claims"},
    {"{" ISS AUD "\"exp\":1800000600,\"iat\":[]}", "jwt.bad-claims"},
    {"{" ISS AUD "\"exp\":1800000000,\"iat\":1800000001}", "jwt.bad-claims"},
    /* the length */
    {"{" ISS AUD "\"exp\":1800086400,\"iat\":1800000000}", ""},
    {"{" ISS AUD "\"exp\":1800086401,\"iat\":1800000000}", "jwt.bad-claims"},
    {"{" ISS AUD "\"exp\":1800000600,\"iat\":1799913000}", "jwt.bad-claims"},
    {"{" ISS AUD "\"exp\":1800086401,\"nbf\":1800000000}", "jwt.bad-claims"},
    {"{" ISS AUD "\"exp\":1800086340}", ""},
    {"{" ISS AUD "\"exp\":1800086341}", "jwt.bad-claims"},
    /* what claims are at all */
    {"[]", "jwt.bad-claims"},
    {"x", "jwt.bad-claims"},
    {"{" ISS AUD "\"exp\":1800000600,\"exp\":1800000600}", "jwt.bad-claims"},
    {"{" ISS ISS AUD "\"exp\":1800000600}", "jwt.bad-claims"},
    {"{" ISS AUD "\"exp\":1800000600,\"a\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}",
     "jwt.bad-claims"},
};

Test(jwt, dates_are_cut_where_the_rules_say_so)
{
    static const struct {
        const char *claims;
        const char *id;
    } dates[] = {
        {"{" ISS AUD "\"exp\":1800000600.75,\"iat\":1800000000.25}", ""},
        {"{" ISS AUD "\"exp\":1799999940.9}", "jwt.expired"},
        {"{" ISS AUD "\"exp\":-0.5}", "jwt.bad-claims"},
        {"{" ISS AUD "\"exp\":1e300}", "jwt.bad-claims"},
        {"{" ISS AUD "\"exp\":\"1800000600.5\"}", "jwt.bad-claims"},
    };
    struct kv_jwt_rules rules = usual;
    rules.may_cut_dates = true;
    load_keys();
    for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
        char *text =
            jws_maker_sign(jws_maker_key("P-256"), "ES256", HEADER, dates[i].claims);
        cr_assert_str_eq(verdict_of(text, &rules), dates[i].id, "%s", dates[i].claims);
        free(text);
    }
}

Test(jwt, some_tokens_live_for_minutes_only)
{
    struct kv_jwt_rules rules = usual;
    rules.lifetime_max_s = 600;
    load_keys();
    char *text = jws_maker_sign(jws_maker_key("P-256"), "ES256", HEADER,
                                "{" ISS AUD "\"exp\":1800000600,\"iat\":1800000000}");
    cr_assert_str_eq(verdict_of(text, &rules), "");
    free(text);
    text = jws_maker_sign(jws_maker_key("P-256"), "ES256", HEADER,
                          "{" ISS AUD "\"exp\":1800000601,\"iat\":1800000000}");
    cr_assert_str_eq(verdict_of(text, &rules), "jwt.bad-claims");
    free(text);
}

Test(jwt, claims_are_what_they_must_be)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_assert_str_eq(verdict(HEADER, rows[i].claims), rows[i].id, "%s",
                         rows[i].claims);
}

#define GOOD rows[0].claims

Test(jwt, the_kid_names_a_key_of_the_issuer)
{
    cr_assert_str_eq(verdict("{\"alg\":\"ES256\"}", GOOD), "jwt.unknown-key");
    cr_assert_str_eq(verdict("{\"alg\":\"ES256\",\"kid\":\"k3\"}", GOOD),
                     "jwt.unknown-key");
    cr_assert_str_eq(verdict("{\"alg\":\"ES256\",\"kid\":\"K1\"}", GOOD),
                     "jwt.unknown-key");
    cr_assert_str_eq(verdict("{\"alg\":\"ES256\",\"kid\":\"k2\"}", GOOD),
                     "jose.bad-algorithm", "an RSA key");
    cr_assert_str_eq(verdict("{\"alg\":\"RS256\",\"kid\":\"k1\"}", GOOD),
                     "jose.bad-algorithm");
}

Test(jwt, the_signature_is_judged_before_the_claims)
{
    load_keys();
    char *text = jws_maker_sign(jws_maker_other_key("P-256"), "ES256", HEADER, "{}");
    cr_assert_str_eq(verdict_of(text, &usual), "jose.bad-signature");
    free(text);
}

Test(jwt, an_algorithm_that_the_issuer_does_not_use_is_refused)
{
    load_keys();
    char *text = jws_maker_sign(jws_maker_key("RSA"), "PS256",
                                "{\"alg\":\"PS256\",\"kid\":\"k2\"}", GOOD);
    cr_assert_str_eq(verdict_of(text, &usual), "jose.bad-algorithm");
    struct kv_jwt_rules more = usual;
    more.algs |= KV_JOSE_BIT(KV_JOSE_PS256);
    cr_assert_str_eq(verdict_of(text, &more), "");
    free(text);
}

Test(jwt, some_issuers_mark_their_access_tokens)
{
    static const struct {
        const char *typ;
        bool is_good;
    } types[] = {{"at+jwt", true},      {"application/at+jwt", true},
                 {"AT+JWT", true},      {"JWT", false},
                 {"id+jwt", false},     {"at+jwtx", false},
                 {"text/at+jwt", false}};
    struct kv_jwt_rules strict = usual;
    strict.wants_at_jwt = true;
    load_keys();
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        char header[128];
        (void)snprintf(header, sizeof(header),
                       "{\"alg\":\"ES256\",\"kid\":\"k1\",\"typ\":\"%s\"}",
                       types[i].typ);
        char *text = jws_maker_sign(jws_maker_key("P-256"), "ES256", header, GOOD);
        cr_assert_str_eq(verdict_of(text, &strict),
                         types[i].is_good ? "" : "jwt.bad-type", "%s", types[i].typ);
        cr_assert_str_eq(verdict_of(text, &usual), "");
        free(text);
    }
    char *text = jws_maker_sign(jws_maker_key("P-256"), "ES256",
                                "{\"alg\":\"ES256\",\"kid\":\"k1\"}", GOOD);
    cr_assert_str_eq(verdict_of(text, &strict), "jwt.bad-type");
    free(text);
}

Test(jwt, claims_are_read_as_text_or_not_at_all)
{
    struct kv_jwt jwt;
    char *text = jws_maker_sign(jws_maker_key("P-256"), "ES256", HEADER,
                                "{\"a\":\"b\",\"c\":1}");
    cr_assert_eq(kv_jwt_parse(text, strlen(text), &jwt, NULL), 0);
    cr_assert_str_eq(kv_jwt_text(&jwt, "a"), "b");
    cr_assert_null(kv_jwt_text(&jwt, "c"));
    cr_assert_null(kv_jwt_text(&jwt, "d"));
    kv_jwt_free(&jwt);
    free(text);
}
