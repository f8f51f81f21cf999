/*
 * Cryptographic operations: JSON algorithm names against the keyring's schemes.
 *
 *   load key (type, size) -> check algorithm and lengths -> keyring -> encode
 *
 * Whether a key may do it (key_ops, enabled, dates) is the keyring's decision alone.
 * ECDSA signatures are r||s of fixed length on the wire (RFC 7518 §3.4), DER inside.
 */
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/api/keys.h"
#include "lifecycle/auth/ecdsa.h"
#include "store/core/b64.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define VALUE_MAX KV_SIGN_INPUT_MAX

static const struct algorithm {
    const char *name;
    uint8_t kty;
    uint8_t curve;
    uint8_t scheme; /* enum kv_sig or enum kv_enc */
    uint8_t md;
    size_t half_len; /* ECDSA: bytes of r and of s */
} signatures[] =
    {
        {"RS256", KV_KTY_RSA, 0, KV_SIG_PKCS1, KV_MD_SHA256, 0},
        {"RS384", KV_KTY_RSA, 0, KV_SIG_PKCS1, KV_MD_SHA384, 0},
        {"RS512", KV_KTY_RSA, 0, KV_SIG_PKCS1, KV_MD_SHA512, 0},
        {"PS256", KV_KTY_RSA, 0, KV_SIG_PSS, KV_MD_SHA256, 0},
        {"PS384", KV_KTY_RSA, 0, KV_SIG_PSS, KV_MD_SHA384, 0},
        {"PS512", KV_KTY_RSA, 0, KV_SIG_PSS, KV_MD_SHA512, 0},
        {"ES256", KV_KTY_EC, KV_CURVE_P256, KV_SIG_ECDSA, KV_MD_SHA256, 32},
        {"ES384", KV_KTY_EC, KV_CURVE_P384, KV_SIG_ECDSA, KV_MD_SHA384, 48},
        {"ES512", KV_KTY_EC, KV_CURVE_P521, KV_SIG_ECDSA, KV_MD_SHA512, 66},
        {"ES256K", KV_KTY_EC, KV_CURVE_P256K, KV_SIG_ECDSA, KV_MD_SHA256, 32},
        {"EdDSA", KV_KTY_OKP, KV_CURVE_ED25519, KV_SIG_EDDSA, KV_MD_NONE, 0},
        {NULL, 0, 0, 0, 0, 0},
},
  encryptions[] = {
      {"RSA-OAEP", KV_KTY_RSA, 0, KV_ENC_OAEP, KV_MD_SHA1, 0},
      {"RSA-OAEP-256", KV_KTY_RSA, 0, KV_ENC_OAEP, KV_MD_SHA256, 0},
      {"RSA1_5", KV_KTY_RSA, 0, KV_ENC_RSA1_5, KV_MD_NONE, 0},
      {NULL, 0, 0, 0, 0, 0},
};

struct operation {
    uint16_t verb;
    uint32_t op;
    const struct algorithm *table;
    const struct algorithm *algorithm;
    const char *input_field; /* "value", for verify "digest" */
    struct kv_buf input;
    struct kv_buf signature; /* verify: as DER when ECDSA; empty: it cannot be one */
    json_t *kid;
};

static void operation_free(void *data)
{
    struct operation *operation = data;
    kv_buf_free(&operation->input);
    kv_buf_free(&operation->signature);
    json_decref(operation->kid);
    kv_wiping_free(operation);
}

static bool fits(const struct algorithm *algorithm, const struct kv_key_info *info)
{
    return algorithm->kty == info->kty &&
           (algorithm->curve == 0 || algorithm->curve == info->curve);
}

static int find_algorithm(struct operation *operation, const char *name,
                          const struct kv_key_info *info, struct kv_err *err)
{
    char supported[96] = "";
    struct kv_buf names;
    kv_buf_init(&names, sizeof(supported));
    for (const struct algorithm *at = operation->table; at->name != NULL; at++) {
        if (!fits(at, info))
            continue;
        if (strcmp(at->name, name) == 0)
            operation->algorithm = at;
        (void)kv_buf_appendf(&names, "%s%s", names.len > 0 ? ", " : "", at->name);
    }
    kv_str_cut(supported, sizeof(supported), (const char *)names.data, names.len);
    kv_buf_free(&names);
    if (operation->algorithm != NULL)
        return 0;
    return kv_err_set(err, KV_E_INVALID, "api.bad-algorithm",
                      "the member 'alg' names no algorithm that this key of type %s "
                      "supports for this operation: %s",
                      kv_kty_name(info->kty),
                      supported[0] != '\0' ? supported : "none");
}

/* --- requests -----------------------------------------------------------------------
 */

static int check_digest(const struct operation *operation, struct kv_err *err)
{
    size_t len = kv_md_len(operation->algorithm->md);
    if (operation->table != signatures || len == 0 || operation->input.len == len)
        return 0;
    return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                      "the member '%s' must be a digest of %zu bytes for %s",
                      operation->input_field, len, operation->algorithm->name);
}

static int read_signature(struct operation *operation, const json_t *body,
                          struct kv_err *err)
{
    struct kv_buf raw;
    size_t half_len = operation->algorithm->half_len;
    kv_buf_init(&raw, VALUE_MAX);
    int rc = 0;
    KV_TRY(kv_json_bytes(body, "value", KV_REQUIRED, &raw, err));
    if (half_len != 0 && raw.len == 2 * half_len)
        rc = kv_ecdsa_to_der(raw.data, half_len, &operation->signature);
    else if (half_len == 0)
        rc = kv_buf_append(&operation->signature, raw.data, raw.len);
out:
    kv_buf_free(&raw);
    return rc;
}

static int read_request(struct operation *operation, const json_t *body,
                        const struct kv_key_info *info, struct kv_err *err)
{
    static const char *const aes_only[] = {"iv", "aad", "tag"};
    const char *name = NULL;
    int rc = 0;
    KV_TRY(kv_json_string(body, "alg", KV_REQUIRED, &name, err));
    KV_TRY(find_algorithm(operation, name, info, err));
    for (size_t i = 0; i < sizeof(aes_only) / sizeof(aes_only[0]); i++) {
        const json_t *value = json_object_get(body, aes_only[i]);
        if (value != NULL && !json_is_null(value))
            return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                              "the member '%s' is not used with %s", aes_only[i], name);
    }
    KV_TRY(kv_json_bytes(body, operation->input_field, KV_REQUIRED, &operation->input,
                         err));
    KV_TRY(check_digest(operation, err));
    if (operation->verb == KV_ROLE_KEY_VERIFY)
        KV_TRY(read_signature(operation, body, err));
out:
    return rc;
}

static void write_request(const struct operation *operation,
                          const struct kv_object *key, struct kv_buf *payload)
{
    const struct algorithm *algorithm = operation->algorithm;
    const struct kv_bytes input = {operation->input.data, operation->input.len};
    struct kv_role_use use = {.op = operation->op};
    kv_row_ident(&key->row, &use.ident);
    use.row = (struct kv_bytes){key->row.sealed, key->row.sealed_len};
    kv_role_use_put(payload, &use);
    if (operation->table == signatures) {
        bool is_pss = algorithm->scheme == KV_SIG_PSS;
        struct kv_msg_sign msg = {
            .sig = algorithm->scheme,
            .md = algorithm->md,
            .mgf1_md = is_pss ? algorithm->md : KV_MD_NONE,
            .salt_len = is_pss ? (uint16_t)kv_md_len(algorithm->md) : 0,
            .input = input,
        };
        kv_msg_sign_put(payload, &msg);
    } else {
        struct kv_msg_decrypt msg = {.enc = algorithm->scheme,
                                     .md = algorithm->md,
                                     .mgf1_md = algorithm->md,
                                     .input = input};
        kv_msg_decrypt_put(payload, &msg);
    }
    if (operation->verb == KV_ROLE_KEY_VERIFY)
        kv_wire_put_bytes(payload, operation->signature.data, operation->signature.len);
}

/* --- replies ------------------------------------------------------------------------
 */

static json_t *take_kid(struct operation *operation)
{
    json_t *kid = operation->kid;
    operation->kid = NULL;
    return kid;
}

static void reply_value(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct operation *operation = call->data;
    struct kv_buf raw;
    struct kv_buf text;
    const char *value = NULL;
    kv_buf_init_secret(&raw, KV_FRAME_MAX);
    kv_buf_init_secret(&text, 2 * (size_t)KV_FRAME_MAX);
    int rc = 0;
    if (operation->algorithm->half_len != 0)
        KV_TRY(kv_ecdsa_from_der(task->payload, operation->algorithm->half_len, &raw));
    else
        KV_TRY(kv_buf_append(&raw, task->payload.data, task->payload.len));
    KV_TRY(kv_b64_encode(KV_B64_URL, raw.data, raw.len, &text));
    value = kv_buf_cstr(&text);
    if (value == NULL)
        rc = KV_E_NOMEM;
out:
    if (rc != 0)
        kv_task_fail(task, rc, NULL);
    else
        kv_call_reply(
            call, 200,
            json_pack("{s:o,s:s}", "kid", take_kid(operation), "value", value));
    kv_buf_free(&raw);
    kv_buf_free(&text);
}

static void reply_verdict(struct kv_task *task)
{
    bool is_valid = task->payload.len == 1 && task->payload.data[0] == 1;
    kv_call_reply(kv_call_of(task), 200, json_pack("{s:b}", "value", is_valid));
}

static void got_key(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct operation *operation = call->data;
    struct kv_object *key = &task->object;
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf payload;
    int rc = kv_call_throttle_key(call, &key->info, &err);
    if (rc == 0)
        rc = read_request(operation, call->body, &key->info, &err);
    if (rc != 0) {
        kv_task_fail(task, rc, &err);
        return;
    }
    operation->kid = kv_call_id(call, "keys", key->row.key.name, key->row.key.version);
    kv_buf_init_secret(&payload, KV_FRAME_MAX_ROLE);
    write_request(operation, key, &payload);
    kv_task_keyring(task, operation->verb, &payload,
                    operation->verb == KV_ROLE_KEY_VERIFY ? reply_verdict
                                                          : reply_value);
}

static void start(struct kv_call *call, uint16_t verb, uint32_t op)
{
    bool is_sign = verb == KV_ROLE_KEY_SIGN || verb == KV_ROLE_KEY_VERIFY;
    struct operation *operation = kv_wiping_calloc(1, sizeof(*operation));
    if (operation == NULL) {
        kv_task_fail(&call->task, KV_E_NOMEM, NULL);
        return;
    }
    operation->verb = verb;
    operation->op = op;
    operation->table = is_sign ? signatures : encryptions;
    operation->input_field = verb == KV_ROLE_KEY_VERIFY ? "digest" : "value";
    kv_buf_init_secret(&operation->input, VALUE_MAX);
    kv_buf_init(&operation->signature, VALUE_MAX + 64);
    call->data = operation;
    call->data_free = operation_free;
    kv_task_load(&call->task, KV_KIND_KEY, call->name, call->version, got_key);
}

void kv_keys_sign(struct kv_call *call)
{
    start(call, KV_ROLE_KEY_SIGN, KV_OP_SIGN);
}

void kv_keys_verify(struct kv_call *call)
{
    start(call, KV_ROLE_KEY_VERIFY, KV_OP_VERIFY);
}

void kv_keys_encrypt(struct kv_call *call)
{
    start(call, KV_ROLE_KEY_ENCRYPT, KV_OP_ENCRYPT);
}

void kv_keys_decrypt(struct kv_call *call)
{
    start(call, KV_ROLE_KEY_DECRYPT, KV_OP_DECRYPT);
}

void kv_keys_wrap(struct kv_call *call)
{
    start(call, KV_ROLE_KEY_ENCRYPT, KV_OP_WRAP);
}

void kv_keys_unwrap(struct kv_call *call)
{
    start(call, KV_ROLE_KEY_DECRYPT, KV_OP_UNWRAP);
}
