/*
 * KEYMGMT for RSA, EC and ED25519.
 *
 * Names are the stock ones, because libssl picks the certificate slot and CMS the
 * object identifier from them. What must hold (each is a test):
 *  - EXPORT with the private part selected fails for a vault key. If it handed out the
 *    public part alone, libcrypto would move the key to the default provider and try
 *    to sign there.
 *  - HAS answers for NULL key data; MATCH ignores the private bit.
 *  - IMPORT refuses a private key. Wherever keyvault comes first, libcrypto offers it
 *    every private key that a program holds; refused, the default provider gets it.
 */
#include "provider/keygen.h"

#include <string.h>

#define PUBLIC_PARTS                                                                   \
    (OSSL_KEYMGMT_SELECT_PUBLIC_KEY | OSSL_KEYMGMT_SELECT_ALL_PARAMETERS)

static void *new_rsa(void *provctx)
{
    return kv_pkey_new(provctx, KV_PKEY_RSA);
}

static void *new_ec(void *provctx)
{
    return kv_pkey_new(provctx, KV_PKEY_EC);
}

static void *new_ed25519(void *provctx)
{
    return kv_pkey_new(provctx, KV_PKEY_ED25519);
}

static void key_free(void *keydata)
{
    kv_pkey_unref(keydata);
}

/* Whoever offered the reference frees the key if it is still inside afterwards. */
static void *load(const void *reference, size_t reference_sz, enum kv_pkey_type type)
{
    struct kv_pkey_reference *slot = (struct kv_pkey_reference *)(uintptr_t)reference;
    if (slot == NULL || reference_sz != sizeof(*slot) || slot->key == NULL ||
        slot->key->type != type)
        return NULL;
    struct kv_pkey *key = slot->key;
    slot->key = NULL;
    return key;
}

static void *load_rsa(const void *reference, size_t reference_sz)
{
    return load(reference, reference_sz, KV_PKEY_RSA);
}

static void *load_ec(const void *reference, size_t reference_sz)
{
    return load(reference, reference_sz, KV_PKEY_EC);
}

static void *load_ed25519(const void *reference, size_t reference_sz)
{
    return load(reference, reference_sz, KV_PKEY_ED25519);
}

/* Whether the public EVP_PKEY has a public key and not bare parameters. */
static bool has_public(const struct kv_pkey *key)
{
    size_t len = 0;
    if (key->pub == NULL)
        return false;
    if (key->is_private || key->type == KV_PKEY_RSA)
        return true;
    kv_reason_mark(&key->prov->core);
    bool has = EVP_PKEY_get_octet_string_param(key->pub, OSSL_PKEY_PARAM_PUB_KEY, NULL,
                                               0, &len) == 1 &&
               len > 0;
    kv_reason_drop(&key->prov->core);
    return has;
}

static int key_has(const void *keydata, int selection)
{
    const struct kv_pkey *key = keydata;
    if (key == NULL)
        return 0;
    if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 && !key->is_private &&
        !key->is_temporary)
        return 0;
    if ((selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 && !has_public(key))
        return 0;
    if ((selection & OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS) != 0 &&
        key->type == KV_PKEY_EC && key->pub == NULL)
        return 0;
    return 1;
}

static int key_match(const void *keydata1, const void *keydata2, int selection)
{
    const struct kv_pkey *a = keydata1;
    const struct kv_pkey *b = keydata2;
    if (a == NULL || b == NULL || a->pub == NULL || b->pub == NULL)
        return 0;
    kv_reason_mark(&a->prov->core);
    int is_same = (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0
                      ? EVP_PKEY_eq(a->pub, b->pub)
                      : EVP_PKEY_parameters_eq(a->pub, b->pub);
    kv_reason_drop(&a->prov->core);
    return is_same == 1;
}

static void *key_dup(const void *keydata, int selection)
{
    return kv_pkey_dup((struct kv_pkey *)(uintptr_t)keydata, selection);
}

static int key_validate(const void *keydata, int selection, int checktype)
{
    const struct kv_pkey *key = keydata;
    (void)checktype; /* the daemon keeps private and public part consistent */
    if (!key_has(key, selection) || key->pub == NULL)
        return 0;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(key->prov->libctx, key->pub, NULL);
    int is_valid = ctx != NULL && EVP_PKEY_public_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    return is_valid;
}

static int key_get_params(void *keydata, OSSL_PARAM params[])
{
    struct kv_pkey *key = keydata;
    if (key == NULL || key->pub == NULL)
        return 0;
    return EVP_PKEY_get_params(key->pub, params);
}

static bool has_private_part(const OSSL_PARAM params[])
{
    return OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PRIV_KEY) != NULL ||
           OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_RSA_D) != NULL;
}

static int key_import(void *keydata, int selection, const OSSL_PARAM params[])
{
    struct kv_pkey *key = keydata;
    EVP_PKEY *pub = NULL;
    if (key == NULL || key->pub != NULL || key->is_private)
        return 0;
    if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 &&
        has_private_part(params)) {
        kv_reason_raise(&key->prov->core, KV_REASON_NOT_IN_VAULT,
                        "keyvault: list the default provider before keyvault and do "
                        "not prefer provider=keyvault, see keyvault-provider(7); bring "
                        "the key into the vault with `keyvault key import NAME`; or "
                        "give its public part, as the peer of a key agreement");
        return 0;
    }
    int public_selection = (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0
                               ? EVP_PKEY_PUBLIC_KEY
                               : EVP_PKEY_KEY_PARAMETERS;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(key->prov->libctx,
                                                   kv_pkey_type_name(key->type), NULL);
    /* With a public selection the default provider leaves private values aside. */
    if (ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_fromdata(ctx, &pub, public_selection,
                          (OSSL_PARAM *)(uintptr_t)params) == 1)
        key->pub = pub;
    EVP_PKEY_CTX_free(ctx);
    if (key->pub == NULL || has_public(key) ||
        OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PRIV_KEY) == NULL)
        return key->pub != NULL;
    kv_reason_raise(
        &key->prov->core, KV_REASON_UNSUPPORTED,
        "keyvault: a private key without its public part is not taken; make "
        "it the vault's with `keyvault key import`");
    EVP_PKEY_free(key->pub);
    key->pub = NULL;
    return 0;
}

/* A private part is refused in silence: libcrypto tries this on its way to our own
 * operations, and servers log whatever is left on the queue. */
static int key_export(void *keydata, int selection, OSSL_CALLBACK *param_cb,
                      void *cbarg)
{
    struct kv_pkey *key = keydata;
    if (key == NULL || key->pub == NULL ||
        ((key->is_private || key->is_temporary) &&
         (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0))
        return 0;
    if ((selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0)
        selection |= OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS;
    return EVP_PKEY_export(key->pub, selection & PUBLIC_PARTS, param_cb, cbarg);
}

static const OSSL_PARAM *rsa_types(int selection)
{
    static const OSSL_PARAM types[] = {OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
                                       OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
                                       OSSL_PARAM_END};
    return (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0 ? types : NULL;
}

static const OSSL_PARAM *ec_types(int selection)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0), OSSL_PARAM_END};
    return (selection &
            (OSSL_KEYMGMT_SELECT_KEYPAIR | OSSL_KEYMGMT_SELECT_ALL_PARAMETERS)) != 0
               ? types
               : NULL;
}

static const OSSL_PARAM *ed25519_types(int selection)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0), OSSL_PARAM_END};
    return (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0 ? types : NULL;
}

#define COMMON_GETTABLE                                                                \
    OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),                                        \
        OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),                           \
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL)

static const OSSL_PARAM *rsa_gettable(void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        COMMON_GETTABLE,
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0), OSSL_PARAM_END};
    (void)provctx;
    return gettable;
}

static const OSSL_PARAM *ec_gettable(void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        COMMON_GETTABLE,
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_PUB_X, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_PUB_Y, NULL, 0),
        OSSL_PARAM_END};
    (void)provctx;
    return gettable;
}

static const OSSL_PARAM *ed25519_gettable(void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        COMMON_GETTABLE,
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0), OSSL_PARAM_END};
    (void)provctx;
    return gettable;
}

/* CMS builds the sender's ephemeral key from bare parameters and its encoded point. */
static int ec_set_params(void *keydata, const OSSL_PARAM params[])
{
    struct kv_pkey *key = keydata;
    if (params == NULL || params[0].key == NULL)
        return 1;
    if (key == NULL || key->pub == NULL)
        return 0;
    if (!key->is_private)
        return EVP_PKEY_set_params(key->pub, (OSSL_PARAM *)(uintptr_t)params);
    /* ec(1) sets how a private key would be written; a vault key never is. All else
     * would change a key that is shared. */
    for (; params->key != NULL; params++) {
        if (strcmp(params->key, OSSL_PKEY_PARAM_EC_INCLUDE_PUBLIC) != 0)
            return 0;
    }
    return 1;
}

static const OSSL_PARAM *ec_settable(void *provctx)
{
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_EC_INCLUDE_PUBLIC, NULL), OSSL_PARAM_END};
    (void)provctx;
    return settable;
}

static const char *rsa_operation(int operation_id)
{
    (void)operation_id;
    return "RSA";
}

static const char *ec_operation(int operation_id)
{
    if (operation_id == OSSL_OP_SIGNATURE)
        return "ECDSA";
    if (operation_id == OSSL_OP_KEYEXCH)
        return "ECDH";
    return "EC";
}

static const char *ed25519_operation(int operation_id)
{
    (void)operation_id;
    return "ED25519";
}

#define KEYMGMT_TABLE(alg, keygen, extra)                                              \
    const OSSL_DISPATCH kv_keymgmt_##alg[] = {                                         \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_NEW, OSSL_FUNC_keymgmt_new, new_##alg),          \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_GEN_INIT, OSSL_FUNC_keymgmt_gen_init, keygen),   \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_GEN, OSSL_FUNC_keymgmt_gen, kv_keygen_run),      \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_GEN_CLEANUP, OSSL_FUNC_keymgmt_gen_cleanup,      \
                    kv_keygen_cleanup),                                                \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_LOAD, OSSL_FUNC_keymgmt_load, load_##alg),       \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_FREE, OSSL_FUNC_keymgmt_free, key_free),         \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_GET_PARAMS, OSSL_FUNC_keymgmt_get_params,        \
                    key_get_params),                                                   \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS,                                 \
                    OSSL_FUNC_keymgmt_gettable_params, alg##_gettable),                \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME,                            \
                    OSSL_FUNC_keymgmt_query_operation_name, alg##_operation),          \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_HAS, OSSL_FUNC_keymgmt_has, key_has),            \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_VALIDATE, OSSL_FUNC_keymgmt_validate,            \
                    key_validate),                                                     \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_MATCH, OSSL_FUNC_keymgmt_match, key_match),      \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_IMPORT, OSSL_FUNC_keymgmt_import, key_import),   \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, OSSL_FUNC_keymgmt_import_types,    \
                    alg##_types),                                                      \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_EXPORT, OSSL_FUNC_keymgmt_export, key_export),   \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_EXPORT_TYPES, OSSL_FUNC_keymgmt_export_types,    \
                    alg##_types),                                                      \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_DUP, OSSL_FUNC_keymgmt_dup, key_dup),            \
        extra KV_DISPATCH_END}

#define NOTHING
#define EC_ONLY                                                                        \
    KV_DISPATCH(OSSL_FUNC_KEYMGMT_GEN_SET_TEMPLATE,                                    \
                OSSL_FUNC_keymgmt_gen_set_template, kv_keygen_set_template),           \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_GEN_SET_PARAMS,                                  \
                    OSSL_FUNC_keymgmt_gen_set_params, kv_keygen_set_params),           \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS,                             \
                    OSSL_FUNC_keymgmt_gen_settable_params, kv_keygen_settable),        \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_SET_PARAMS, OSSL_FUNC_keymgmt_set_params,        \
                    ec_set_params),                                                    \
        KV_DISPATCH(OSSL_FUNC_KEYMGMT_SETTABLE_PARAMS,                                 \
                    OSSL_FUNC_keymgmt_settable_params, ec_settable),

KEYMGMT_TABLE(rsa, kv_keygen_refuse_init, NOTHING);
KEYMGMT_TABLE(ec, kv_keygen_ec_init, EC_ONLY);
KEYMGMT_TABLE(ed25519, kv_keygen_refuse_init, NOTHING);
