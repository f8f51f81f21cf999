/*
 * Signatures and keys: what verifies, and everything that must not.
 */
#include <criterion/criterion.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/auth/jose.h"
#include "tests/support/jws_maker.h"

static void teardown(void)
{
    cr_assert_eq(ERR_peek_error(), 0UL, "the error queue is left clean");
}

TestSuite(jose, .timeout = 60, .fini = teardown);

static const struct {
    const char *alg;
    const char *key;
} pairs[] = {
    {"RS256", "RSA"},   {"RS384", "RSA"},     {"RS512", "RSA"},   {"PS256", "RSA"},
    {"PS384", "RSA"},   {"PS512", "RSA"},     {"ES256", "P-256"}, {"ES384", "P-384"},
    {"ES512", "P-521"}, {"EdDSA", "Ed25519"},
};
#define N_PAIRS (sizeof(pairs) / sizeof(pairs[0]))

static int parse(const char *text, struct kv_jws *jws, struct kv_err *err)
{
    return kv_jws_parse(text, strlen(text), jws, err);
}

/* Verify text with a key; the error's id, "" for none. */
static const char *verdict(const char *text, EVP_PKEY *pkey, kv_jose_algs algs)
{
    static struct kv_err err;
    struct kv_jws jws;
    struct kv_jwk jwk;
    err = KV_ERR_INIT;
    if (parse(text, &jws, &err) != 0)
        return err.id;
    cr_assert_eq(kv_jwk_from_key(pkey, &jwk, &err), 0, "%s", err.message);
    int rc = kv_jws_verify(&jws, &jwk, algs, &err);
    cr_assert_eq(rc == 0, err.code == 0);
    kv_jwk_free(&jwk);
    kv_jws_free(&jws);
    return err.id;
}

static char *token(size_t i)
{
    char header[64];
    (void)snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", pairs[i].alg);
    return jws_maker_sign(jws_maker_key(pairs[i].key), pairs[i].alg, header,
                          "{\"a\":1}");
}

Test(jose, each_algorithm_verifies_with_its_key_and_no_other)
{
    for (size_t i = 0; i < N_PAIRS; i++) {
        char *text = token(i);
        cr_assert_str_eq(verdict(text, jws_maker_key(pairs[i].key), KV_JOSE_ANY), "",
                         "%s", pairs[i].alg);
        cr_assert_str_eq(verdict(text, jws_maker_other_key(pairs[i].key), KV_JOSE_ANY),
                         "jose.bad-signature", "%s", pairs[i].alg);
        for (size_t k = 0; k < N_PAIRS; k++)
            if (strcmp(pairs[k].key, pairs[i].key) != 0)
                cr_assert_str_eq(
                    verdict(text, jws_maker_key(pairs[k].key), KV_JOSE_ANY),
                    "jose.bad-algorithm", "%s with %s", pairs[i].alg, pairs[k].key);
        free(text);
    }
}

Test(jose, an_issuer_allows_what_it_allows)
{
    for (size_t i = 0; i < N_PAIRS; i++) {
        char *text = token(i);
        kv_jose_algs own = KV_JOSE_BIT(kv_jose_alg_find(pairs[i].alg));
        EVP_PKEY *key = jws_maker_key(pairs[i].key);
        cr_assert_str_eq(verdict(text, key, own), "");
        cr_assert_str_eq(verdict(text, key, KV_JOSE_ANY & ~own), "jose.bad-algorithm");
        cr_assert_str_eq(verdict(text, key, 0), "jose.bad-algorithm");
        free(text);
    }
}

Test(jose, a_signature_of_one_scheme_is_none_of_another)
{
    EVP_PKEY *key = jws_maker_key("RSA");
    for (size_t i = 0; i < 6; i++) {
        for (size_t k = 0; k < 6; k++) {
            char header[64];
            (void)snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", pairs[i].alg);
            char *text = jws_maker_sign(key, pairs[k].alg, header, "{}");
            cr_assert_str_eq(verdict(text, key, KV_JOSE_ANY),
                             i == k ? "" : "jose.bad-signature", "%s as %s",
                             pairs[k].alg, pairs[i].alg);
            free(text);
        }
    }
}

Test(jose, every_flipped_bit_is_noticed)
{
    char *text = token(6);
    EVP_PKEY *key = jws_maker_key("P-256");
    for (size_t i = 0; text[i] != '\0'; i++) {
        char before = text[i];
        text[i] = before == 'A' ? 'B' : 'A';
        cr_assert_str_neq(verdict(text, key, KV_JOSE_ANY), "", "byte %zu", i);
        text[i] = before;
    }
    cr_assert_str_eq(verdict(text, key, KV_JOSE_ANY), "");
    free(text);
}

static const struct {
    const char *header;
    const char *id;
} headers[] = {
    {"{\"alg\":\"ES256\",\"kid\":\"a\",\"typ\":\"JWT\"}", ""},
    {"{\"alg\":\"ES256\",\"jwk\":{},\"jku\":\"https://x\",\"x5c\":[],\"x5u\":1}", ""},
    {"{\"alg\":\"ES256\",\"unknown\":[{}]}", ""},
    {"{}", "jose.bad-algorithm"},
    {"{\"alg\":1}", "jose.bad-algorithm"},
    {"{\"alg\":null}", "jose.bad-algorithm"},
    {"{\"alg\":\"none\"}", "jose.bad-algorithm"},
    {"{\"alg\":\"None\"}", "jose.bad-algorithm"},
    {"{\"alg\":\"es256\"}", "jose.bad-algorithm"},
    {"{\"alg\":\"ES256 \"}", "jose.bad-algorithm"},
    {"{\"alg\":\"ES256K\"}", "jose.bad-algorithm"},
    {"{\"alg\":\"HS256\"}", "jose.bad-algorithm"},
    {"{\"alg\":\"HS384\"}", "jose.bad-algorithm"},
    {"{\"alg\":\"HS512\"}", "jose.bad-algorithm"},
    {"{\"alg\":\"\"}", "jose.bad-algorithm"},
    {"{\"alg\":\"ES256\",\"crit\":[\"exp\"]}", "jose.bad-header"},
    {"{\"alg\":\"ES256\",\"crit\":[]}", "jose.bad-header"},
    {"{\"alg\":\"ES256\",\"crit\":null}", "jose.bad-header"},
    {"{\"alg\":\"ES256\",\"b64\":true}", "jose.bad-header"},
    {"{\"alg\":\"ES256\",\"b64\":false}", "jose.bad-header"},
    {"{\"alg\":\"ES256\",\"kid\":1}", "jose.bad-header"},
    {"{\"alg\":\"ES256\",\"kid\":\"\"}", "jose.bad-header"},
    {"{\"alg\":\"ES256\",\"kid\":null}", "jose.bad-header"},
    {"{\"alg\":\"ES256\",\"typ\":[]}", "jose.bad-header"},
    {"{\"alg\":\"ES256\",\"x5t#S256\":{}}", "jose.bad-header"},
    {"{\"alg\":\"ES256\",\"alg\":\"ES256\"}", "jose.malformed"},
    {"{\"alg\":\"none\",\"alg\":\"ES256\"}", "jose.malformed"},
    {"{\"alg\":\"ES256\",\"a\":{\"b\":1,\"b\":2}}", "jose.malformed"},
    {"[\"ES256\"]", "jose.malformed"},
    {"\"ES256\"", "jose.malformed"},
    {"{\"alg\":\"ES256\"", "jose.malformed"},
    {"{\"alg\":\"ES256\"}x", "jose.malformed"},
    {"{\"alg\":\"ES256\xff\"}", "jose.malformed"},
    {"{\"alg\":\"ES256\",\"kid\":\"a\\u0000b\"}", "jose.malformed"},
    {"{\"alg\":\"ES256\",\"a\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}", "jose.malformed"},
};

Test(jose, headers_are_what_they_must_be)
{
    EVP_PKEY *key = jws_maker_key("P-256");
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        char *text = jws_maker_sign(key, "ES256", headers[i].header, "{}");
        cr_assert_str_eq(verdict(text, key, KV_JOSE_ANY), headers[i].id, "%s",
                         headers[i].header);
        free(text);
    }
}

Test(jose, there_are_three_parts_and_each_has_one_spelling)
{
    struct kv_jws jws;
    char *good = token(6);
    char text[4096];
    static const char *const shapes[] = {"",    ".",   "..",  "...", "a",
                                         "a.b", "a..", "..a", ".a.", "e30.e30.e30.e30"};
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        cr_assert_neq(parse(shapes[i], &jws, NULL), 0, "%s", shapes[i]);
    static const char *const tails[] = {".", ".e30", "=", "==", " ", "\n", "+", "%"};
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        struct kv_err err = KV_ERR_INIT;
        (void)snprintf(text, sizeof(text), "%s%s", good, tails[i]);
        cr_assert_eq(parse(text, &jws, &err), KV_E_INVALID, "'%s'", tails[i]);
        cr_assert_str_eq(err.id, "jose.malformed");
        (void)snprintf(text, sizeof(text), "%s%s", tails[i], good);
        cr_assert_eq(parse(text, &jws, NULL), KV_E_INVALID, "'%s' in front", tails[i]);
    }
    /* 64 bytes end in a character of which two bits count */
    size_t last = strlen(good) - 1;
    (void)snprintf(text, sizeof(text), "%s", good);
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    int n_spellings = 0;
    for (const char *c = alphabet; *c != '\0'; c++) {
        text[last] = *c;
        if (parse(text, &jws, NULL) == 0) {
            n_spellings++;
            kv_jws_free(&jws);
        }
    }
    cr_assert_eq(n_spellings, 4, "four values of two bits, one spelling each");
    free(good);
}

Test(jose, tokens_have_a_ceiling)
{
    struct kv_jws jws;
    struct kv_err err = KV_ERR_INIT;
    static char payload[KV_JOSE_TOKEN_MAX];
    memset(payload, 'a', sizeof(payload) - 1);
    char *text =
        jws_maker_sign(jws_maker_key("P-256"), "ES256", "{\"alg\":\"ES256\"}", payload);
    cr_assert_eq(parse(text, &jws, &err), KV_E_INVALID);
    cr_assert_str_eq(err.id, "jose.malformed");
    free(text);
    payload[12000] = '\0';
    text =
        jws_maker_sign(jws_maker_key("P-256"), "ES256", "{\"alg\":\"ES256\"}", payload);
    cr_assert_eq(parse(text, &jws, NULL), 0);
    cr_assert_eq(jws.payload.len, 12000);
    kv_jws_free(&jws);
    free(text);
}

/* Replace the signature part. */
static char *with_signature(const char *token_text, const uint8_t *raw, size_t len)
{
    char *tail = jws_maker_b64((const char *)raw, len);
    size_t head_len = (size_t)(strrchr(token_text, '.') - token_text);
    char *text = malloc(head_len + strlen(tail) + 2);
    (void)sprintf(text, "%.*s.%s", (int)head_len, token_text, tail);
    free(tail);
    return text;
}

Test(jose, ecdsa_signatures_have_exactly_the_length_of_their_curve)
{
    static uint8_t raw[600];
    char *good = token(6);
    EVP_PKEY *key = jws_maker_key("P-256");
    struct kv_jws jws;
    cr_assert_eq(parse(good, &jws, NULL), 0);
    for (size_t len = 1; len < sizeof(raw); len++) {
        memset(raw, 0, sizeof(raw));
        size_t n = len < 64 ? len : 64;
        memcpy(raw, jws.signature.data, n);
        char *text = with_signature(good, raw, len);
        cr_assert_str_eq(verdict(text, key, KV_JOSE_ANY),
                         len == 64 ? "" : "jose.bad-signature", "%zu", len);
        free(text);
    }
    memset(raw, 0, sizeof(raw));
    char *zero = with_signature(good, raw, 64);
    cr_assert_str_eq(verdict(zero, key, KV_JOSE_ANY), "jose.bad-signature",
                     "r = s = 0");
    free(zero);
    kv_jws_free(&jws);
    free(good);
}

/* --- keys ------------------------------------------------------------------------ */

static const char *key_verdict(const json_t *json, struct kv_jwk *out)
{
    static struct kv_err err;
    err = KV_ERR_INIT;
    int rc = kv_jwk_parse(json, out, &err);
    cr_assert_eq(rc == 0, out->key != NULL);
    return err.id;
}

Test(jose, keys_come_in_and_verify)
{
    for (size_t i = 0; i < N_PAIRS; i++) {
        struct kv_jwk jwk;
        struct kv_jws jws;
        struct kv_err err = KV_ERR_INIT;
        json_t *json = jws_maker_jwk(jws_maker_key(pairs[i].key), "k");
        cr_assert_str_eq(key_verdict(json, &jwk), "", "%s", pairs[i].key);
        cr_assert_str_eq(jwk.kid, "k");
        char *text = token(i);
        cr_assert_eq(parse(text, &jws, NULL), 0);
        cr_assert_eq(kv_jws_verify(&jws, &jwk, KV_JOSE_ANY, &err), 0, "%s: %s",
                     pairs[i].alg, err.message);
        kv_jws_free(&jws);
        kv_jwk_free(&jwk);
        json_decref(json);
        free(text);
    }
}

static const struct {
    const char *type;
    const char *member;
    const char *value; /* JSON; NULL: taken out */
    const char *id;
} changes[] = {
    {"P-256", "use", "\"sig\"", ""},
    {"P-256", "use", "\"enc\"", "jose.bad-key"},
    {"P-256", "use", "1", "jose.bad-key"},
    {"P-256", "key_ops", "[\"verify\"]", ""},
    {"P-256", "key_ops", "[\"sign\",\"verify\"]", ""},
    {"P-256", "key_ops", "[\"encrypt\"]", "jose.bad-key"},
    {"P-256", "key_ops", "[]", "jose.bad-key"},
    {"P-256", "key_ops", "\"verify\"", "jose.bad-key"},
    {"P-256", "alg", "\"ES256\"", ""},
    {"P-256", "alg", "\"ES384\"", "jose.bad-key"},
    {"P-256", "alg", "\"RS256\"", "jose.bad-key"},
    {"P-256", "alg", "\"HS256\"", "jose.bad-key"},
    {"P-256", "alg", "1", "jose.bad-key"},
    {"P-256", "crv", "\"P-384\"", "jose.bad-key"},
    {"P-256", "crv", "\"P-256K\"", "jose.bad-key"},
    {"P-256", "crv", NULL, "jose.bad-key"},
    {"P-256", "x", NULL, "jose.bad-key"},
    {"P-256", "x", "\"AAAA\"", "jose.bad-key"},
    {"P-256", "y", "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"", "jose.bad-key"},
    {"P-256", "d", "\"AAAA\"", "jose.bad-key"},
    {"P-256", "kty", "\"oct\"", "jose.bad-key"},
    {"P-256", "kty", "\"RSA\"", "jose.bad-key"},
    {"P-256", "kty", "\"ec\"", "jose.bad-key"},
    {"P-256", "kty", NULL, "jose.bad-key"},
    {"P-256", "kid", "1", "jose.bad-key"},
    {"P-256", "x5c", "[\"MIIB\"]", ""},
    {"RSA", "alg", "\"PS384\"", ""},
    {"RSA", "alg", "\"ES256\"", "jose.bad-key"},
    {"RSA", "e", "\"AQ\"", "jose.bad-key"},
    {"RSA", "e", "\"Ag\"", "jose.bad-key"},
    {"RSA", "e", "\"Aw\"", ""},
    {"RSA", "e", "\"AAEAAQ\"", "jose.bad-key"},
    {"RSA", "e", "\"AQABAQABAQABAQ\"", "jose.bad-key"},
    {"RSA", "e", "\"AQAB=\"", "jose.bad-key"},
    {"RSA", "e", NULL, "jose.bad-key"},
    {"RSA", "n", "\"AQAB\"", "jose.bad-key"},
    {"RSA", "n", NULL, "jose.bad-key"},
    {"Ed25519", "crv", "\"Ed448\"", "jose.bad-key"},
    {"Ed25519", "crv", "\"X25519\"", "jose.bad-key"},
    {"Ed25519", "x", "\"AAAA\"", "jose.bad-key"},
};

Test(jose, keys_are_what_they_must_be)
{
    struct kv_jwk jwk;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        json_t *json = jws_maker_jwk(jws_maker_key(changes[i].type), "k");
        if (changes[i].value == NULL)
            json_object_del(json, changes[i].member);
        else
            json_object_set_new(json, changes[i].member,
                                json_loads(changes[i].value, JSON_DECODE_ANY, NULL));
        cr_assert_str_eq(key_verdict(json, &jwk), changes[i].id, "%s %s %s",
                         changes[i].type, changes[i].member,
                         changes[i].value != NULL ? changes[i].value : "absent");
        kv_jwk_free(&jwk);
        json_decref(json);
    }
    json_t *small = jws_maker_jwk(jws_maker_key("RSA1024"), "k");
    cr_assert_str_eq(key_verdict(small, &jwk), "jose.bad-key", "1024 bits");
    json_decref(small);
    cr_assert_str_eq(key_verdict(NULL, &jwk), "jose.bad-key");
    cr_assert_neq(kv_jwk_from_key(jws_maker_key("P-256K"), &jwk, NULL), 0);
    cr_assert_neq(kv_jwk_from_key(jws_maker_key("RSA1024"), &jwk, NULL), 0);
}

Test(jose, a_key_for_one_algorithm_verifies_no_other)
{
    struct kv_jwk jwk;
    json_t *json = jws_maker_jwk(jws_maker_key("RSA"), "k");
    json_object_set_new(json, "alg", json_string("PS512"));
    cr_assert_str_eq(key_verdict(json, &jwk), "");
    for (size_t i = 0; i < 6; i++) {
        struct kv_jws jws;
        char *text = token(i);
        cr_assert_eq(parse(text, &jws, NULL), 0);
        cr_assert_eq(kv_jws_verify(&jws, &jwk, KV_JOSE_ANY, NULL) == 0,
                     strcmp(pairs[i].alg, "PS512") == 0, "%s", pairs[i].alg);
        kv_jws_free(&jws);
        free(text);
    }
    kv_jwk_free(&jwk);
    json_decref(json);
}

static int read_set(json_t *set, struct kv_jwks *out, struct kv_err *err)
{
    char *text = json_dumps(set, JSON_COMPACT);
    int rc = kv_jwks_parse(text, strlen(text), out, err);
    free(text);
    json_decref(set);
    return rc;
}

Test(jose, a_set_leaves_out_what_nobody_can_use)
{
    static struct kv_jwks jwks;
    json_t *unknown = json_pack("{s:s,s:s}", "kty", "XYZ", "kid", "x");
    json_t *symmetric = json_pack("{s:s,s:s,s:s}", "kty", "oct", "kid", "s", "k", "AA");
    json_t *set = json_pack("{s:[o,o,o,o,o,o]}", "keys", unknown, symmetric,
                            jws_maker_jwk(jws_maker_key("RSA"), "r"),
                            jws_maker_jwk(jws_maker_key("RSA1024"), "small"),
                            jws_maker_jwk(jws_maker_key("P-256"), "e"),
                            jws_maker_jwk(jws_maker_key("P-384"), NULL));
    cr_assert_eq(read_set(set, &jwks, NULL), 0);
    cr_assert_eq(jwks.n, 2);
    cr_assert_not_null(kv_jwks_find(&jwks, "r"));
    cr_assert_not_null(kv_jwks_find(&jwks, "e"));
    cr_assert_null(kv_jwks_find(&jwks, "s"));
    cr_assert_null(kv_jwks_find(&jwks, ""));
    cr_assert_null(kv_jwks_find(&jwks, "R"), "kids are exact");
    kv_jwks_free(&jwks);
}

Test(jose, sets_that_are_none)
{
    static struct kv_jwks jwks;
    struct kv_err err = KV_ERR_INIT;
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "{\"keys\":{}}",
        "{\"keys\":1}",
        "{\"keys\":[],\"keys\":[]}",
        "{\"keys\":[]",
        "null",
        "{\"keys\":[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        err = KV_ERR_INIT;
        cr_assert_eq(kv_jwks_parse(texts[i], strlen(texts[i]), &jwks, &err),
                     KV_E_INVALID, "%s", texts[i]);
        cr_assert_str_eq(err.id, "jose.bad-keys");
        cr_assert_eq(jwks.n, 0);
    }
    cr_assert_eq(kv_jwks_parse("{\"keys\":[]}", 11, &jwks, NULL), 0);
    json_t *twice =
        json_pack("{s:[o,o]}", "keys", jws_maker_jwk(jws_maker_key("RSA"), "k"),
                  jws_maker_jwk(jws_maker_key("P-256"), "k"));
    err = KV_ERR_INIT;
    cr_assert_eq(read_set(twice, &jwks, &err), KV_E_INVALID);
    cr_assert_str_eq(err.id, "jose.bad-keys");
    json_t *keys = json_array();
    for (int i = 0; i <= KV_JWKS_KEYS_MAX; i++)
        json_array_append_new(keys, json_object());
    cr_assert_eq(read_set(json_pack("{s:o}", "keys", keys), &jwks, NULL), KV_E_INVALID);
    char *large = calloc(1, KV_JWKS_BYTES_MAX + 1);
    cr_assert_eq(kv_jwks_parse(large, KV_JWKS_BYTES_MAX + 1, &jwks, NULL),
                 KV_E_INVALID);
    free(large);
}

/* --- our own --------------------------------------------------------------------- */

Test(jose, what_we_put_together_verifies_with_the_key_that_we_publish)
{
    char kid[KV_JOSE_KID_MAX + 1];
    uint8_t der[128];
    size_t der_len = sizeof(der);
    struct kv_buf text;
    struct kv_jwk jwk;
    struct kv_jws jws;
    json_t *published = NULL;
    EVP_PKEY *key = jws_maker_key("P-256");
    cr_assert_eq(kv_jwk_write_es256(key, kid, &published), 0);
    cr_assert_eq(strlen(kid), 43);
    cr_assert_str_eq(key_verdict(published, &jwk), "");
    cr_assert_str_eq(jwk.kid, kid);
    json_t *header = json_pack("{s:s,s:s}", "alg", "ES256", "kid", kid);
    json_t *payload = json_pack("{s:s}", "text",
                                "gr\xc3\xb6\xc3\x9f"
                                "e");
    kv_buf_init(&text, KV_JOSE_TOKEN_MAX);
    cr_assert_eq(kv_jws_begin(header, payload, &text), 0);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    cr_assert_eq(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, key, NULL), 1);
    cr_assert_eq(EVP_DigestSign(ctx, der, &der_len, text.data, text.len), 1);
    EVP_MD_CTX_free(ctx);
    cr_assert_eq(kv_jws_end("x", 1, 32, &text), KV_E_INTERNAL);
    cr_assert_eq(kv_jws_end(der, der_len, 32, &text), 0);
    cr_assert_eq(kv_jws_parse((char *)text.data, text.len, &jws, NULL), 0);
    cr_assert_str_eq(jws.kid, kid);
    cr_assert_eq(kv_jws_verify(&jws, &jwk, KV_JOSE_BIT(KV_JOSE_ES256), NULL), 0);
    kv_jws_free(&jws);
    kv_jwk_free(&jwk);
    json_decref(published);
    json_decref(header);
    json_decref(payload);
    kv_buf_free(&text);
}

Test(jose, the_thumbprint_is_that_of_the_standard)
{
    /* RFC 7638 §3: the digest of the needed members in order, without white space */
    char kid[KV_JOSE_KID_MAX + 1];
    json_t *jwk = NULL;
    uint8_t hash[32];
    size_t len = 0;
    char text[256];
    cr_assert_eq(kv_jwk_write_es256(jws_maker_key("P-256"), kid, &jwk), 0);
    (void)snprintf(text, sizeof(text),
                   "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}",
                   json_string_value(json_object_get(jwk, "x")),
                   json_string_value(json_object_get(jwk, "y")));
    cr_assert_eq(EVP_Q_digest(NULL, "SHA256", NULL, text, strlen(text), hash, &len), 1);
    char *encoded = jws_maker_b64((char *)hash, len);
    cr_assert_str_eq(kid, encoded);
    free(encoded);
    json_decref(jwk);
}

Test(jose, depth_counts_brackets_outside_of_strings)
{
    static const struct {
        const char *text;
        unsigned depth;
    } rows[] = {{"", 0},     {"1", 0},      {"{}", 1},         {"[[]]", 2},
                {"[][]", 1}, {"\"[[\"", 0}, {"\"\\\"[\"[", 1}, {"]]][", 1}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_assert_eq(kv_json_depth((const uint8_t *)rows[i].text, strlen(rows[i].text)),
                     rows[i].depth, "%s", rows[i].text);
}
