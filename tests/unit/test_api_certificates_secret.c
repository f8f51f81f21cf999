/*
 * Certificates come in and go out: imported files in every encoding that clients send,
 * and the secret of a certificate as PEM and as PKCS#12.
 */
#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/certs/internal.h"
#include "store/core/b64.h"
#include "store/keyring/role.h"
#include "tests/support/chain_maker.h"
#include "tests/support/desk.h"

static struct desk desk;
static struct chain_made ca;
static struct chain_made leaf;

static void setup(void)
{
    desk_init(&desk);
    desk.room.clock.now_s = CHAIN_MAKER_NOW_S;
    ca = chain_make(&(struct chain_maker){.type = "P-256", .subject = "ca"}, NULL);
    leaf = chain_make(&(struct chain_maker){.type = "P-256", .subject = "web"}, &ca);
}

static void teardown(void)
{
    chain_made_free(&leaf);
    chain_made_free(&ca);
    desk_fini(&desk);
}

TestSuite(api_certificates_secret, .timeout = 120, .init = setup, .fini = teardown);

#define PEM_TYPE "application/x-pem-file"
#define PFX_TYPE "application/x-pkcs12"

/* --- import ------------------------------------------------------------------------
 */

static json_t *text_of(const struct kv_buf *file)
{
    return json_stringn((const char *)file->data, file->len);
}

static json_t *b64_of(const struct kv_buf *file)
{
    struct kv_buf text;
    kv_buf_init(&text, 1U << 20);
    cr_assert_eq(kv_b64_encode(KV_B64_STD, file->data, file->len, &text), 0);
    json_t *json = text_of(&text);
    kv_buf_free(&text);
    return json;
}

/* Import `value` (taken) under a name; the status. Other members come as JSON text. */
static int import(const char *name, json_t *value, const char *others, json_t **json)
{
    char path[64];
    json_t *body = json_loads(others, 0, NULL);
    cr_assert_not_null(body, "%s", others);
    cr_assert_eq(json_object_set_new(body, "value", value), 0);
    char *text = json_dumps(body, 0);
    (void)snprintf(path, sizeof(path), "/certificates/%s/import", name);
    int status = desk_call(&desk, "POST", path, text, json);
    free(text);
    json_decref(body);
    return status;
}

static void import_pem(const char *name, const char *others)
{
    struct kv_buf file;
    json_t *json = NULL;
    chain_made_pem(&leaf, &ca, &file);
    cr_assert_eq(import(name, text_of(&file), others, &json), 200, "%s",
                 desk_error(json, "message"));
    kv_buf_free(&file);
    json_decref(json);
}

static void expect_imported(json_t *value, const char *others, const char *why)
{
    json_t *json = NULL;
    struct kv_buf cer;
    cr_assert_eq(import("web", value, others, &json), 200, "%s: %s", why,
                 desk_error(json, "message"));
    cr_expect_eq(json_array_size(json_object_get(json, "x5c")), 2, "%s", why);
    kv_buf_init(&cer, KV_CERT_DER_MAX);
    cr_assert_eq(kv_order_b64_get(json, "cer", &cer), 0);
    cr_expect_eq(cer.len, leaf.der_len, "%s", why);
    cr_expect_eq(memcmp(cer.data, leaf.der, leaf.der_len), 0, "%s", why);
    cr_expect_not_null(json_object_get(json, "kid"), "%s", why);
    cr_expect_null(json_object_get(json, "pending"), "%s", why);
    kv_buf_free(&cer);
    json_decref(json);
}

Test(api_certificates_secret, files_come_in_every_encoding_that_clients_send)
{
    struct kv_buf pem;
    struct kv_buf pfx;
    struct kv_buf locked;
    chain_made_pem(&leaf, &ca, &pem);
    chain_made_pfx(&leaf, &ca, NULL, &pfx);
    chain_made_pfx(&leaf, &ca, "p\xc3\xa4ss", &locked);
    expect_imported(text_of(&pem), "{}", "PEM");
    expect_imported(b64_of(&pem), "{}", "PEM in base64");
    expect_imported(b64_of(&pfx), "{}", "PKCS#12");
    expect_imported(b64_of(&pfx), "{\"pwd\":\"\"}", "PKCS#12, empty password");
    expect_imported(b64_of(&pfx), "{\"pwd\":null}", "PKCS#12, no password");
    expect_imported(b64_of(&locked), "{\"pwd\":\"p\xc3\xa4ss\"}", "PKCS#12, locked");
    kv_buf_free(&locked);
    kv_buf_free(&pfx);
    kv_buf_free(&pem);
}

static void expect_refused(json_t *value, const char *others, const char *id,
                           const char *why)
{
    json_t *json = NULL;
    int status = import("bad", value, others, &json);
    cr_expect_eq(status, 400, "%s: %d", why, status);
    cr_expect_str_eq(desk_error(json, "id"), id, "%s: %s", why,
                     desk_error(json, "message"));
    json_decref(json);
    cr_expect_eq(desk_call(&desk, "GET", "/certificates/bad", NULL, NULL), 404, "%s",
                 why);
}

Test(api_certificates_secret, what_is_no_file_is_refused)
{
    struct kv_buf pem;
    struct kv_buf locked;
    char pwd[1200];
    chain_made_pem(&leaf, &ca, &pem);
    chain_made_pfx(&leaf, &ca, "right", &locked);
    (void)snprintf(pwd, sizeof(pwd), "{\"pwd\":\"%01025d\"}", 0);
    expect_refused(json_null(), "{}", "api.missing-field", "no value");
    expect_refused(json_integer(7), "{}", "api.bad-field", "a number");
    expect_refused(json_string(""), "{}", "api.bad-field", "empty");
    expect_refused(json_string("*"), "{}", "api.bad-field", "no base64");
    expect_refused(json_string("AAAA"), "{}", "key.import-bad-pfx", "no PKCS#12");
    expect_refused(text_of(&pem), pwd, "api.bad-field", "a long password");
    expect_refused(text_of(&pem), "{\"pwd\":1}", "api.bad-field", "a password of 1");
    expect_refused(b64_of(&locked), "{\"pwd\":\"wrong\"}", "key.import-bad-password",
                   "a wrong password");
    expect_refused(text_of(&pem), "{\"policy\":7}", "api.bad-field", "no policy");
    expect_refused(text_of(&pem), "{\"policy\":{\"issuer\":{\"name\":\"Nobody\"}}}",
                   "cert.no-issuer", "an issuer that is none");
    expect_refused(text_of(&pem), "{\"preserveCertOrder\":1}", "api.bad-field",
                   "an order of 1");
    kv_buf_free(&locked);
    kv_buf_free(&pem);
}

/* --- the secret --------------------------------------------------------------------
 */

/* The secret of a path, its value and its type. */
static json_t *get_secret(const char *path, const char *type)
{
    json_t *json = NULL;
    int status = desk_call(&desk, "GET", path, NULL, &json);
    cr_assert_eq(status, 200, "%s: %s", path, desk_error(json, "message"));
    cr_expect_str_eq(json_string_value(json_object_get(json, "contentType")), type);
    cr_expect(json_is_true(json_object_get(json, "managed")));
    cr_expect_not_null(json_object_get(json, "kid"));
    return json;
}

static const char *value_of(const json_t *secret)
{
    const char *value = json_string_value(json_object_get(secret, "value"));
    cr_assert_not_null(value);
    return value;
}

static void expect_pem(const char *text, bool has_key, size_t n_certs)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    cr_expect_eq(key != NULL, has_key);
    cr_expect_eq(strncmp(text, has_key ? "-----BEGIN PRIVATE KEY" : "-----BEGIN CERT",
                         has_key ? 22 : 15),
                 0, "%.30s", text);
    if (key != NULL)
        cr_expect_eq(EVP_PKEY_eq(key, leaf.key), 1);
    EVP_PKEY_free(key);
    BIO_free(bio);
    bio = BIO_new_mem_buf(text, -1);
    size_t n = 0;
    X509 *cert = NULL;
    while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (n++ == 0)
            cr_expect_eq(X509_cmp(cert, leaf.cert), 0, "the leaf comes first");
        X509_free(cert);
    }
    cr_expect_eq(n, n_certs);
    BIO_free(bio);
}

static void expect_pfx(const char *text, bool has_key, int n_certs)
{
    struct kv_buf der;
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    STACK_OF(X509) *others = NULL;
    kv_buf_init(&der, 1U << 20);
    cr_assert_eq(kv_b64_decode(KV_B64_STD, text, strlen(text), &der), 0);
    const uint8_t *at = der.data;
    PKCS12 *pfx = d2i_PKCS12(NULL, &at, (long)der.len);
    cr_assert_not_null(pfx);
    cr_assert_eq(PKCS12_parse(pfx, "", &key, &cert, &others), 1);
    cr_expect_eq(key != NULL, has_key);
    if (key != NULL)
        cr_expect_eq(EVP_PKEY_eq(key, leaf.key), 1);
    cr_expect_eq((cert != NULL) + (others != NULL ? sk_X509_num(others) : 0), n_certs);
    sk_X509_pop_free(others, X509_free);
    X509_free(cert);
    EVP_PKEY_free(key);
    PKCS12_free(pfx);
    kv_buf_free(&der);
}

#define POLICY(exportable, type)                                                       \
    "{\"policy\":{\"key_props\":{\"exportable\":" exportable "},"                      \
    "\"secret_props\":{\"contentType\":\"" type "\"}},\"tags\":{\"team\":\"a\"}}"

Test(api_certificates_secret, a_pem_secret_is_key_leaf_and_chain)
{
    import_pem("web", POLICY("true", PEM_TYPE));
    json_t *secret = get_secret("/secrets/web", PEM_TYPE);
    expect_pem(value_of(secret), true, 2);
    cr_expect_str_eq(
        json_string_value(json_object_get(json_object_get(secret, "tags"), "team")),
        "a");
    json_decref(secret);
    secret = get_secret("/secrets/web?outContentType=" PEM_TYPE, PEM_TYPE);
    expect_pem(value_of(secret), true, 2);
    json_decref(secret);
}

Test(api_certificates_secret, a_pfx_secret_has_an_empty_password)
{
    import_pem("web", POLICY("true", PFX_TYPE));
    json_t *secret = get_secret("/secrets/web", PFX_TYPE);
    expect_pfx(value_of(secret), true, 2);
    const char *version =
        strrchr(json_string_value(json_object_get(secret, "id")), '/') + 1;
    char path[128];
    (void)snprintf(path, sizeof(path), "/secrets/web/%s?outContentType=" PEM_TYPE,
                   version);
    json_t *pem = get_secret(path, PEM_TYPE);
    expect_pem(value_of(pem), true, 2);
    json_decref(pem);
    json_decref(secret);
}

Test(api_certificates_secret, a_key_that_may_not_leave_stays)
{
    import_pem("pem", POLICY("false", PEM_TYPE));
    import_pem("pfx", POLICY("false", PFX_TYPE));
    json_t *secret = get_secret("/secrets/pem", PEM_TYPE);
    expect_pem(value_of(secret), false, 2);
    json_decref(secret);
    secret = get_secret("/secrets/pfx", PFX_TYPE);
    expect_pfx(value_of(secret), false, 2);
    json_decref(secret);
    secret = get_secret("/secrets/pfx?outContentType=" PEM_TYPE, PEM_TYPE);
    expect_pem(value_of(secret), false, 2);
    json_decref(secret);
}

static void expect_get_refused(const char *path, int status, const char *code)
{
    json_t *json = NULL;
    cr_expect_eq(desk_call(&desk, "GET", path, NULL, &json), status, "%s", path);
    cr_expect_str_eq(desk_error(json, "code"), code, "%s", path);
    cr_expect_null(json_object_get(json, "value"));
    json_decref(json);
}

Test(api_certificates_secret, other_types_are_refused)
{
    import_pem("pem", POLICY("true", PEM_TYPE));
    import_pem("pfx", POLICY("true", PFX_TYPE));
    expect_get_refused("/secrets/pem?outContentType=" PFX_TYPE, 400, "BadParameter");
    expect_get_refused("/secrets/pfx?outContentType=text/plain", 400, "BadParameter");
    expect_get_refused("/secrets/pfx?outContentType=", 400, "BadParameter");
    expect_get_refused("/secrets/pfx?outContentType=" PEM_TYPE PEM_TYPE PEM_TYPE, 400,
                       "BadParameter");
}

Test(api_certificates_secret, disabled_ones_are_not_read)
{
    import_pem("web", "{\"attributes\":{\"enabled\":false}}");
    expect_get_refused("/secrets/web", 403, "Forbidden");
}

Test(api_certificates_secret, with_its_certificate_key_and_secret_end)
{
    static const char sign[] = "{\"alg\":\"ES256\",\"value\":"
                               "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}";
    static const char verify[] =
        "{\"alg\":\"ES256\","
        "\"digest\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
        "\"value\":"
        "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "AAAAAAAAAAAAAAAA\"}";
    import_pem("web", "{}");
    json_decref(desk_must(&desk, 200, "PUT", "/secrets/own",
                          "{\"value\":\"v\",\"attributes\":{\"exp\":1}}"));
    json_decref(desk_must(&desk, 200, "POST", "/keys/own/create",
                          "{\"kty\":\"EC\",\"attributes\":{\"exp\":1}}"));
    json_t *got = desk_must(&desk, 200, "GET", "/certificates/web", NULL);
    desk.room.clock.now_s =
        json_integer_value(json_object_get(json_object_get(got, "attributes"), "exp")) -
        1;
    json_decref(got);
    json_decref(desk_must(&desk, 200, "GET", "/secrets/web", NULL));
    json_decref(desk_must(&desk, 200, "POST", "/keys/web//sign", sign));
    desk.room.clock.now_s++;
    got = NULL;
    cr_expect_eq(desk_call(&desk, "GET", "/secrets/web", NULL, &got), 403);
    cr_expect_str_eq(desk_error(got, "id"), "api.secret-expired");
    cr_expect_not_null(
        strstr(desk_error(got, "message"), "certificate web expired on"));
    cr_expect_str_eq(
        json_string_value(json_object_get(
            json_object_get(json_object_get(got, "error"), "innererror"), "code")),
        "SecretExpired");
    json_decref(got);
    desk_fails(&desk, 403, "key.expired", "POST", "/keys/web//sign", sign);
    desk_fails(&desk, 403, "key.expired", "POST", "/keys/web//verify", verify);
    json_decref(desk_must(&desk, 200, "GET", "/certificates/web", NULL));
    json_decref(desk_must(&desk, 200, "GET", "/keys/web", NULL));
    json_decref(desk_must(&desk, 200, "GET", "/secrets/own", NULL));
    json_decref(desk_must(&desk, 200, "POST", "/keys/own//verify", verify));
    desk_fails(&desk, 403, "key.expired", "POST", "/keys/own//sign", sign);
}

Test(api_certificates_secret, names_of_certificates_are_not_written_as_others)
{
    static const char *const bodies[][3] = {
        {"PUT", "/secrets/web", "{\"value\":\"v\"}"},
        {"POST", "/keys/web/create", "{\"kty\":\"EC\"}"},
    };
    import_pem("web", "{}");
    for (size_t i = 0; i < 2; i++) {
        json_t *json = NULL;
        cr_expect_eq(desk_call(&desk, bodies[i][0], bodies[i][1], bodies[i][2], &json),
                     403);
        cr_expect_str_eq(desk_error(json, "id"), "api.managed");
        json_decref(json);
    }
}
