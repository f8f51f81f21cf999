/*
 * Request bodies: whatever comes, it is one JSON object within the limits or a refusal
 * with an id; members read as what they are; attributes and private keys come out
 * whole or not at all.
 */
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/api/keys.h"
#include "store/core/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_refusal(int rc, const struct kv_err *err)
{
    KV_ASSERT(rc == KV_E_INVALID || rc == KV_E_TOO_BIG);
    KV_ASSERT(err->code == rc);
    KV_ASSERT(kv_str_has_prefix(err->id, "api."));
    KV_ASSERT(err->message[0] != '\0');
}

static void read_members(const json_t *body)
{
    static const char *const fields[] = {"value", "alg", "kty", "attributes", "a"};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const char *text = NULL;
        bool flag = false;
        int64_t number = 0;
        const json_t *object = NULL;
        struct kv_buf bytes;
        struct kv_err err = KV_ERR_INIT;
        kv_buf_init(&bytes, 64);
        unsigned n_types = 0;
        n_types += kv_json_string(body, fields[i], KV_REQUIRED, &text, NULL) == 0;
        n_types += kv_json_object(body, fields[i], KV_REQUIRED, &object, NULL) == 0;
        KV_ASSERT(n_types <= 1);
        KV_ASSERT(text == NULL || kv_utf8_count(text) <= strlen(text));
        if (kv_json_bool(body, fields[i], &flag, NULL) != 0 || flag)
            KV_ASSERT(json_object_get(body, fields[i]) != NULL);
        if (kv_json_integer(body, fields[i], &number, NULL) != 0 || number != 0)
            KV_ASSERT(json_object_get(body, fields[i]) != NULL);
        int rc = kv_json_bytes(body, fields[i], KV_REQUIRED, &bytes, &err);
        if (rc != 0)
            check_refusal(rc, &err);
        KV_ASSERT(bytes.len <= 64);
        kv_buf_free(&bytes);
    }
}

static bool is_date(int64_t at_s)
{
    return at_s == KV_TIME_NONE || (at_s >= 0 && at_s <= INT64_C(253402300799));
}

static void read_attrs(const json_t *body)
{
    struct kv_call_attrs attrs = {
        .is_enabled = true, .nbf_s = KV_TIME_NONE, .exp_s = KV_TIME_NONE};
    struct kv_err err = KV_ERR_INIT;
    int rc = kv_json_attrs(body, &attrs, &err);
    if (rc != 0) {
        check_refusal(rc, &err);
        KV_ASSERT(attrs.is_enabled && attrs.nbf_s == KV_TIME_NONE &&
                  attrs.exp_s == KV_TIME_NONE && attrs.tags == NULL);
        return;
    }
    KV_ASSERT(is_date(attrs.nbf_s) && is_date(attrs.exp_s));
    KV_ASSERT(attrs.nbf_s == KV_TIME_NONE || attrs.exp_s == KV_TIME_NONE ||
              attrs.nbf_s <= attrs.exp_s);
    KV_ASSERT(json_object_size(attrs.tags) <= KV_TAGS_MAX);
}

static void read_key(const json_t *jwk)
{
    struct kv_role_key_new request;
    struct kv_buf material;
    struct kv_err err = KV_ERR_INIT;
    memset(&request, 0, sizeof(request));
    kv_buf_init_secret(&material, KV_IMPORT_MAX);
    int rc = kv_jwk_read_private(jwk, &request, &material, &err);
    if (rc != 0) {
        check_refusal(rc, &err);
    } else {
        struct kv_wire wire;
        kv_wire_init(&wire, material.data, material.len);
        size_t n = request.import == KV_IMPORT_RSA  ? 8
                   : request.import == KV_IMPORT_EC ? 3
                                                    : 2;
        for (size_t i = 0; i < n; i++)
            KV_ASSERT(kv_wire_bytes(&wire, 1024).len > 0);
        KV_ASSERT(kv_wire_end(&wire) == 0);
    }
    kv_buf_free(&material);
    for (uint8_t kty = KV_KTY_RSA; kty <= KV_KTY_OKP; kty++) {
        uint32_t ops = 0;
        err = KV_ERR_INIT;
        rc = kv_jwk_read_ops(jwk, kty, &ops, &err);
        if (rc != 0)
            check_refusal(rc, &err);
        else
            KV_ASSERT(ops != 0 && (ops & ~kv_key_ops_possible(kty)) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    json_t *body = NULL;
    struct kv_err err = KV_ERR_INIT;
    int rc = kv_json_parse(data, len, &body, &err);
    if (rc != 0) {
        check_refusal(rc, &err);
        KV_ASSERT(body == NULL);
        return 0;
    }
    KV_ASSERT(json_is_object(body));
    read_members(body);
    read_attrs(body);
    read_key(body);
    const json_t *key = json_object_get(body, "key");
    if (json_is_object(key))
        read_key(key);
    json_decref(body);
    return 0;
}
