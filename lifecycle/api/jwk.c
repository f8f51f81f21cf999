/*
 * JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037) against the keyring's binary forms.
 *
 * Going out only public members exist: they are taken from the SubjectPublicKeyInfo.
 * Coming in, private numbers are decoded into one secret buffer and nothing else.
 */
#include "lifecycle/api/keys.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>

#include "lifecycle/api/internal.h"
#include "store/core/b64.h"

#define NUMBER_MAX 1024 /* bytes of one number; RSA 4096 has 512 */

static const struct {
    const char *name;
    uint32_t op;
} op_names[] = {
    {"encrypt", KV_OP_ENCRYPT},   {"decrypt", KV_OP_DECRYPT},
    {"sign", KV_OP_SIGN},         {"verify", KV_OP_VERIFY},
    {"wrapKey", KV_OP_WRAP},      {"unwrapKey", KV_OP_UNWRAP},
    {"import", KV_OP_IMPORT},     {"export", KV_OP_EXPORT},
    {"deriveBits", KV_OP_DERIVE},
};

/* Bytes of one coordinate or of the key, by enum kv_curve. */
static const size_t curve_len[] = {0, 32, 48, 66, 32, 32};

uint32_t kv_jwk_op(const char *name)
{
    for (size_t i = 0; i < sizeof(op_names) / sizeof(op_names[0]); i++)
        if (strcmp(name, op_names[i].name) == 0)
            return op_names[i].op;
    return 0;
}

json_t *kv_jwk_ops(uint32_t ops)
{
    json_t *array = json_array();
    for (size_t i = 0; i < sizeof(op_names) / sizeof(op_names[0]); i++)
        if ((ops & op_names[i].op) != 0)
            (void)json_array_append_new(array, json_string(op_names[i].name));
    return array;
}

uint32_t kv_key_ops_possible(uint8_t kty)
{
    uint32_t common = KV_OP_SIGN | KV_OP_VERIFY | KV_OP_IMPORT | KV_OP_EXPORT;
    if (kty == KV_KTY_RSA)
        return common | KV_OP_ENCRYPT | KV_OP_DECRYPT | KV_OP_WRAP | KV_OP_UNWRAP;
    return kty == KV_KTY_EC ? common | KV_OP_DERIVE : common;
}

uint32_t kv_key_ops_default(uint8_t kty)
{
    uint32_t ops = KV_OP_SIGN | KV_OP_VERIFY;
    if (kty == KV_KTY_RSA)
        ops |= KV_OP_ENCRYPT | KV_OP_DECRYPT | KV_OP_WRAP | KV_OP_UNWRAP;
    return ops;
}

int kv_jwk_read_ops(const json_t *object, uint8_t kty, uint32_t *ops,
                    struct kv_err *err)
{
    const json_t *array = json_object_get(object, "key_ops");
    size_t i = 0;
    json_t *item = NULL;
    uint32_t read = 0;
    if (array != NULL && !json_is_null(array) && !json_is_array(array))
        return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                          "the member 'key_ops' must be an array");
    json_array_foreach((json_t *)array, i, item)
    {
        const char *name = json_string_value(item);
        uint32_t op = name != NULL ? kv_jwk_op(name) : 0;
        if (op == 0)
            return kv_err_set(err, KV_E_INVALID, "api.bad-key-ops",
                              "the member 'key_ops' has an entry that is no key "
                              "operation");
        if ((op & kv_key_ops_possible(kty)) == 0)
            return kv_err_set(err, KV_E_INVALID, "api.bad-key-ops",
                              "the operation '%s' is not possible with a key of type "
                              "%s: supported are %s",
                              name, kv_kty_name(kty),
                              kty == KV_KTY_RSA  ? "encrypt, decrypt, sign, verify, "
                                                   "wrapKey, unwrapKey"
                              : kty == KV_KTY_EC ? "sign, verify, deriveBits"
                                                 : "sign, verify");
        read |= op;
    }
    *ops = read != 0 ? read : kv_key_ops_default(kty);
    return 0;
}

/* --- going out ----------------------------------------------------------------------
 */

static json_t *base64url(const uint8_t *data, size_t len)
{
    struct kv_buf text;
    kv_buf_init(&text, 2048);
    int rc = kv_b64_encode(KV_B64_URL, data, len, &text);
    const char *cstr = rc == 0 ? kv_buf_cstr(&text) : NULL;
    json_t *json = cstr != NULL ? json_string(cstr) : NULL;
    kv_buf_free(&text);
    return json;
}

/* A number of the key as base64url; `len` 0: as short as it is. */
static json_t *number(const EVP_PKEY *pkey, const char *name, size_t len)
{
    BIGNUM *bn = NULL;
    uint8_t bytes[NUMBER_MAX];
    json_t *json = NULL;
    if (EVP_PKEY_get_bn_param(pkey, name, &bn) != 1)
        return NULL;
    if (len == 0)
        len = (size_t)BN_num_bytes(bn);
    if (len <= sizeof(bytes) && BN_bn2binpad(bn, bytes, (int)len) == (int)len)
        json = base64url(bytes, len);
    BN_free(bn);
    return json;
}

static json_t *public_members(const EVP_PKEY *pkey, const struct kv_key_info *info)
{
    uint8_t raw[64];
    size_t raw_len = sizeof(raw);
    const char *crv = kv_curve_name(info->curve);
    if (info->kty == KV_KTY_RSA)
        return json_pack("{s:o,s:o}", "n", number(pkey, OSSL_PKEY_PARAM_RSA_N, 0), "e",
                         number(pkey, OSSL_PKEY_PARAM_RSA_E, 0));
    if (info->kty == KV_KTY_EC) {
        size_t len = curve_len[info->curve];
        return json_pack("{s:s,s:o,s:o}", "crv", crv, "x",
                         number(pkey, OSSL_PKEY_PARAM_EC_PUB_X, len), "y",
                         number(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, len));
    }
    if (EVP_PKEY_get_raw_public_key(pkey, raw, &raw_len) != 1)
        return NULL;
    return json_pack("{s:s,s:o}", "crv", crv, "x", base64url(raw, raw_len));
}

json_t *kv_jwk_public(const struct kv_key_info *info)
{
    const uint8_t *der = info->spki.data;
    if (info->kty == KV_KTY_EC &&
        (info->curve < KV_CURVE_P256 || info->curve > KV_CURVE_P256K))
        return NULL;
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &der, (long)info->spki.len);
    json_t *members = pkey != NULL ? public_members(pkey, info) : NULL;
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    if (members == NULL)
        return NULL;
    json_t *jwk = json_pack("{s:s,s:o}", "kty", kv_kty_name(info->kty), "key_ops",
                            kv_jwk_ops(info->attrs.ops));
    if (jwk == NULL || json_object_update(jwk, members) != 0) {
        json_decref(jwk);
        jwk = NULL;
    }
    json_decref(members);
    return jwk;
}

/* --- coming in ----------------------------------------------------------------------
 */

static int append_number(const json_t *jwk, const char *field, size_t len,
                         struct kv_buf *material, struct kv_err *err)
{
    struct kv_buf bytes;
    kv_buf_init_secret(&bytes, NUMBER_MAX);
    int rc = 0;
    KV_TRY(kv_json_bytes(jwk, field, KV_REQUIRED, &bytes, err));
    if (bytes.len == 0 || (len != 0 && bytes.len != len)) {
        rc = kv_err_set(err, KV_E_INVALID, "api.bad-field",
                        "the member '%s' of the key has a wrong length", field);
        goto out;
    }
    kv_wire_put_bytes(material, bytes.data, bytes.len);
    rc = kv_buf_status(material);
out:
    kv_buf_free(&bytes);
    return rc;
}

static int append_numbers(const json_t *jwk, const char *const *fields, size_t len,
                          struct kv_buf *material, struct kv_err *err)
{
    for (; *fields != NULL; fields++) {
        int rc = append_number(jwk, *fields, len, material, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int read_curve(const json_t *jwk, uint8_t kty, uint8_t *curve,
                      struct kv_err *err)
{
    const char *crv = NULL;
    int rc = kv_json_string(jwk, "crv", KV_REQUIRED, &crv, err);
    if (rc != 0)
        return rc;
    *curve = kv_curve_by_name(crv);
    bool is_ed = *curve == KV_CURVE_ED25519;
    if (*curve == KV_CURVE_NONE || is_ed != (kty == KV_KTY_OKP))
        return kv_err_set(
            err, KV_E_INVALID, "api.bad-field", "the member 'crv' must be %s",
            kty == KV_KTY_OKP ? "Ed25519" : "P-256, P-384, P-521 or P-256K");
    return 0;
}

/* RSA numbers may come with leading zeros or, from some tools, without: any length. */
int kv_jwk_read_private(const json_t *jwk, struct kv_role_key_new *request,
                        struct kv_buf *material, struct kv_err *err)
{
    static const char *const rsa[] = {"n", "e", "d", "p", "q", "dp", "dq", "qi", NULL};
    static const char *const ec[] = {"x", "y", "d", NULL};
    static const char *const okp[] = {"x", "d", NULL};
    const char *kty = NULL;
    int rc = kv_json_string(jwk, "kty", KV_REQUIRED, &kty, err);
    if (rc != 0)
        return rc;
    request->kty = kv_kty_by_name(kty);
    if (request->kty == 0)
        return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                          "the member 'kty' must be RSA, EC or OKP");
    if (request->kty == KV_KTY_RSA) {
        request->import = KV_IMPORT_RSA;
        return append_numbers(jwk, rsa, 0, material, err);
    }
    rc = read_curve(jwk, request->kty, &request->curve, err);
    if (rc != 0)
        return rc;
    bool is_ec = request->kty == KV_KTY_EC;
    request->import = is_ec ? KV_IMPORT_EC : KV_IMPORT_OKP;
    return append_numbers(jwk, is_ec ? ec : okp, curve_len[request->curve], material,
                          err);
}
