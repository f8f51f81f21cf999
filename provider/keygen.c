/*
 * The private names of groups: libssl reads them from our capabilities as "internal"
 * names and hands them back, unread, to the key generation that we register for EC. Any
 * other name of a curve comes from a program that wants a key to keep.
 */
#include "provider/keygen.h"

#include <openssl/prov_ssl.h>
#include <string.h>

#include "store/core/str.h"

#define PREFIX "keyvault-tls-"

struct group {
    const char *tls_name; /* RFC 8422, or as the default provider calls it */
    const char *internal_name;
    unsigned id; /* IANA, TLS Supported Groups */
    unsigned security_bits;
    int max_tls; /* 0: no limit */
};

/* A group has one row for each name by which programs set it; libssl reports the first.
 */
static const struct group groups[] = {
    {"secp256r1", PREFIX "P-256", 23, 128, 0},
    {"prime256v1", PREFIX "P-256", 23, 128, 0},
    {"P-256", PREFIX "P-256", 23, 128, 0},
    {"secp384r1", PREFIX "P-384", 24, 192, 0},
    {"P-384", PREFIX "P-384", 24, 192, 0},
    {"secp521r1", PREFIX "P-521", 25, 256, 0},
    {"P-521", PREFIX "P-521", 25, 256, 0},
    {"secp256k1", PREFIX "secp256k1", 22, 128, TLS1_2_VERSION},
    {"brainpoolP256r1", PREFIX "brainpoolP256r1", 26, 128, TLS1_2_VERSION},
    {"brainpoolP384r1", PREFIX "brainpoolP384r1", 27, 192, TLS1_2_VERSION},
    {"brainpoolP512r1", PREFIX "brainpoolP512r1", 28, 256, TLS1_2_VERSION},
};

static OSSL_PARAM text(const char *key, const char *value)
{
    return OSSL_PARAM_construct_utf8_string(key, (char *)(uintptr_t)value, 0);
}

static int offer(const struct group *group, OSSL_CALLBACK *cb, void *arg)
{
    unsigned id = group->id;
    unsigned security_bits = group->security_bits;
    int min_tls = TLS1_VERSION;
    int max_tls = group->max_tls;
    int min_dtls = DTLS1_VERSION;
    int max_dtls = group->max_tls == 0 ? 0 : DTLS1_2_VERSION;
    const OSSL_PARAM params[] = {
        text(OSSL_CAPABILITY_TLS_GROUP_NAME, group->tls_name),
        text(OSSL_CAPABILITY_TLS_GROUP_NAME_INTERNAL, group->internal_name),
        text(OSSL_CAPABILITY_TLS_GROUP_ALG, "EC"),
        OSSL_PARAM_construct_uint(OSSL_CAPABILITY_TLS_GROUP_ID, &id),
        OSSL_PARAM_construct_uint(OSSL_CAPABILITY_TLS_GROUP_SECURITY_BITS,
                                  &security_bits),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MIN_TLS, &min_tls),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MAX_TLS, &max_tls),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MIN_DTLS, &min_dtls),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MAX_DTLS, &max_dtls),
        OSSL_PARAM_construct_end(),
    };
    return cb(params, arg);
}

int kv_keygen_capabilities(void *provctx, const char *capability, OSSL_CALLBACK *cb,
                           void *arg)
{
    (void)provctx;
    if (OPENSSL_strcasecmp(capability, "TLS-GROUP") != 0)
        return 0;
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        if (!offer(&groups[i], cb, arg))
            return 0;
    }
    return 1;
}

struct keygen {
    struct kv_prov *prov;
    bool is_key;    /* not bare parameters */
    char curve[32]; /* as OpenSSL calls it; empty while none is set */
};

static void raise_refusal(const struct kv_prov *prov)
{
    kv_reason_raise(&prov->core, KV_REASON_NO_GENERATION,
                    "keyvault: make the key with `keyvault key create NAME`; if the "
                    "program wants a key of its own, list the default provider before "
                    "keyvault and do not prefer provider=keyvault, see "
                    "keyvault-provider(7)");
}

void *kv_keygen_refuse_init(void *provctx, int selection, const OSSL_PARAM params[])
{
    (void)selection;
    (void)params;
    raise_refusal(provctx);
    return NULL;
}

void *kv_keygen_ec_init(void *provctx, int selection, const OSSL_PARAM params[])
{
    struct keygen *gen = OPENSSL_zalloc(sizeof(*gen));
    if (gen == NULL)
        return NULL;
    gen->prov = provctx;
    gen->is_key = (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0;
    if (kv_keygen_set_params(gen, params))
        return gen;
    kv_keygen_cleanup(gen);
    return NULL;
}

const OSSL_PARAM *kv_keygen_settable(void *genctx, void *provctx)
{
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0), OSSL_PARAM_END};
    (void)genctx;
    (void)provctx;
    return settable;
}

int kv_keygen_set_params(void *genctx, const OSSL_PARAM params[])
{
    struct keygen *gen = genctx;
    const char *name = NULL;
    if (params == NULL)
        return 1;
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_GROUP_NAME);
    if (p == NULL)
        return 1;
    if (!OSSL_PARAM_get_utf8_string_ptr(p, &name) || name == NULL)
        return 0;
    if (strncmp(name, PREFIX, sizeof(PREFIX) - 1) != 0) {
        raise_refusal(gen->prov);
        return 0;
    }
    return kv_str_copy(gen->curve, sizeof(gen->curve), name + sizeof(PREFIX) - 1) == 0;
}

/* libssl answers the peer's temporary key with one on the same curve. */
int kv_keygen_set_template(void *genctx, void *vkey)
{
    struct keygen *gen = genctx;
    const struct kv_pkey *key = vkey;
    size_t len = 0;
    if (key == NULL || key->pub == NULL || !key->is_tls) {
        raise_refusal(gen->prov);
        return 0;
    }
    return EVP_PKEY_get_group_name(key->pub, gen->curve, sizeof(gen->curve), &len);
}

static EVP_PKEY *generate(const struct keygen *gen)
{
    EVP_PKEY *made = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(gen->prov->libctx, "EC", NULL);
    int ok = ctx != NULL && (gen->is_key ? EVP_PKEY_keygen_init(ctx)
                                         : EVP_PKEY_paramgen_init(ctx)) > 0;
    if (ok && EVP_PKEY_CTX_set_group_name(ctx, gen->curve) > 0)
        (void)EVP_PKEY_generate(ctx, &made);
    EVP_PKEY_CTX_free(ctx);
    return made;
}

void *kv_keygen_run(void *genctx, OSSL_CALLBACK *on_progress, void *arg)
{
    const struct keygen *gen = genctx;
    (void)on_progress; /* EC keys take no time */
    (void)arg;
    if (gen->curve[0] == '\0') {
        raise_refusal(gen->prov);
        return NULL;
    }
    struct kv_pkey *key = kv_pkey_new(gen->prov, KV_PKEY_EC);
    if (key == NULL)
        return NULL;
    key->pub = generate(gen);
    key->is_tls = true;
    key->is_temporary = gen->is_key;
    if (key->pub != NULL)
        return key;
    kv_pkey_unref(key);
    return NULL;
}

void kv_keygen_cleanup(void *genctx)
{
    OPENSSL_free(genctx);
}
