/*
 * Merging over the REST API: what a chain from outside completes, and what it may
 * change of the order. tests/sdk/merge.mjs has the refusals.
 */
#include <criterion/criterion.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/core/b64.h"
#include "tests/support/desk.h"

static struct desk desk;

static void setup(void)
{
    desk_init(&desk);
}

static void teardown(void)
{
    desk_fini(&desk);
}

TestSuite(api_merge, .timeout = 60, .init = setup, .fini = teardown);

/* A certificate for the request of an operation, signed by a key of no name. */
static json_t *sign(const json_t *operation)
{
    const char *text = json_string_value(json_object_get(operation, "csr"));
    struct kv_buf der;
    struct kv_buf out;
    kv_buf_init(&der, 65536);
    kv_buf_init(&out, 65536);
    cr_assert_eq(kv_b64_decode(KV_B64_STD, text, strlen(text), &der), 0);
    const uint8_t *at = der.data;
    X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)der.len);
    X509 *cert = X509_new();
    EVP_PKEY *ca = EVP_EC_gen("P-256");
    time_t now = (time_t)kv_now_s(desk.service.clock);
    cr_assert(request != NULL && cert != NULL && ca != NULL);
    cr_assert(X509_set_version(cert, 2));
    cr_assert(ASN1_INTEGER_set(X509_get_serialNumber(cert), 7));
    cr_assert(X509_NAME_add_entry_by_txt(X509_get_issuer_name(cert), "CN", MBSTRING_ASC,
                                         (const uint8_t *)"outside", -1, -1, 0));
    cr_assert(X509_set_subject_name(cert, X509_REQ_get_subject_name(request)));
    cr_assert(X509_set_pubkey(cert, X509_REQ_get0_pubkey(request)));
    cr_assert(X509_time_adj(X509_getm_notBefore(cert), -60, &now));
    cr_assert(X509_time_adj(X509_getm_notAfter(cert), 86400, &now));
    cr_assert(X509_sign(cert, ca, EVP_sha256()));
    uint8_t *leaf = NULL;
    int len = i2d_X509(cert, &leaf);
    cr_assert_gt(len, 0);
    cr_assert_eq(kv_b64_encode(KV_B64_STD, leaf, (size_t)len, &out), 0);
    json_t *json = json_stringn((const char *)out.data, out.len);
    OPENSSL_free(leaf);
    X509_REQ_free(request);
    X509_free(cert);
    EVP_PKEY_free(ca);
    kv_buf_free(&der);
    kv_buf_free(&out);
    return json;
}

static json_t *merge(int status, const char *path, json_t *leaf, const char *rest)
{
    char *text = json_dumps(leaf, JSON_ENCODE_ANY);
    char *body = NULL;
    cr_assert_gt(asprintf(&body, "{\"x5c\":[%s]%s}", text, rest), 0);
    json_t *json = desk_must(&desk, status, "POST", path, body);
    free(text);
    free(body);
    return json;
}

#define UNKNOWN                                                                        \
    "{\"tags\":{\"a\":\"1\"},\"policy\":{\"issuer\":{\"name\":\"Unknown\"},"           \
    "\"key_props\":{\"kty\":\"EC\",\"crv\":\"P-256\"},"                                \
    "\"x509_props\":{\"subject\":\"CN=c\"}}}"

Test(api_merge, the_order_waits_and_is_completed)
{
    json_t *operation =
        desk_must(&desk, 202, "POST", "/certificates/c/create", UNKNOWN);
    json_t *leaf = sign(operation);
    json_t *made = merge(201, "/certificates/c/pending/merge", leaf, "");
    cr_expect(json_equal(json_object_get(made, "cer"), leaf));
    cr_expect_str_eq(
        json_string_value(json_object_get(json_object_get(made, "tags"), "a")), "1");
    json_decref(desk_must(&desk, 200, "GET", "/keys/c", NULL));
    json_decref(desk_must(&desk, 200, "GET", "/secrets/c", NULL));
    json_decref(merge(400, "/certificates/c/pending/merge", leaf, ""));
    json_decref(operation);
    json_decref(leaf);
    json_decref(made);
}

Test(api_merge, the_request_may_bring_tags_and_attributes)
{
    json_t *operation =
        desk_must(&desk, 202, "POST", "/certificates/c/create", UNKNOWN);
    json_t *leaf = sign(operation);
    json_t *made = merge(201, "/certificates/c/pending/merge", leaf,
                         ",\"tags\":{\"b\":\"2\"},\"attributes\":{\"enabled\":false}");
    const json_t *tags = json_object_get(made, "tags");
    cr_expect_eq(json_object_size(tags), 1);
    cr_expect_str_eq(json_string_value(json_object_get(tags, "b")), "2");
    cr_expect(
        json_is_false(json_object_get(json_object_get(made, "attributes"), "enabled")));
    json_t *key = desk_must(&desk, 200, "GET", "/keys/c", NULL);
    cr_expect(
        json_is_false(json_object_get(json_object_get(key, "attributes"), "enabled")));
    json_decref(operation);
    json_decref(leaf);
    json_decref(made);
    json_decref(key);
}

Test(api_merge, an_issuer_of_its_own_takes_no_chain_from_outside)
{
    json_t *operation = desk_must(&desk, 202, "POST", "/certificates/c/create",
                                  "{\"policy\":{\"issuer\":{\"name\":\"Self\"},"
                                  "\"x509_props\":{\"subject\":\"CN=c\"}}}");
    json_t *leaf = sign(operation);
    json_t *refused = merge(403, "/certificates/c/pending/merge", leaf, "");
    cr_expect_str_eq(desk_error(refused, "id"), "cert.not-merged");
    json_decref(operation);
    json_decref(leaf);
    json_decref(refused);
}
