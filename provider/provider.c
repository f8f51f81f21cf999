/*
 * The module's one entry, OSSL_provider_init, and what the core asks of it: the
 * algorithms that exist, the module's name and version, reason strings, teardown.
 *
 * Every OpenSSL program on the machine loads what the system's openssl.cnf names, so
 * initialisation reads its settings, allocates, and does nothing else: no socket is
 * opened before a vault key is used, and a daemon that is down disturbs nobody.
 */
#include "provider/keygen.h"

#include <limits.h>
#include <openssl/bio.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "store/core/str.h"

#define DEFAULT_SOCKET "/run/keyvault/keys.sock"
#define DEFAULT_CONNECT_TIMEOUT_MS 2000
#define DEFAULT_REPLY_TIMEOUT_MS 5000
#define MAX_TIMEOUT_MS 600000
#define PROPERTY "provider=keyvault"

static const OSSL_ALGORITHM keymgmts[] = {
    {"RSA:rsaEncryption:1.2.840.113549.1.1.1", PROPERTY, kv_keymgmt_rsa,
     "RSA keys of the vault"},
    {"EC:id-ecPublicKey:1.2.840.10045.2.1", PROPERTY, kv_keymgmt_ec,
     "EC keys of the vault"},
    {"ED25519:1.3.101.112", PROPERTY, kv_keymgmt_ed25519, "Ed25519 keys of the vault"},
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM signatures[] = {
    {"RSA:rsaEncryption:1.2.840.113549.1.1.1", PROPERTY, kv_sig_rsa,
     "RSA signatures by the vault"},
    {"ECDSA", PROPERTY, kv_sig_ecdsa, "ECDSA signatures by the vault"},
    {"ED25519:1.3.101.112", PROPERTY, kv_sig_eddsa, "Ed25519 signatures by the vault"},
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM asym_ciphers[] = {
    {"RSA:rsaEncryption:1.2.840.113549.1.1.1", PROPERTY, kv_asym_rsa,
     "RSA decryption by the vault"},
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM keyexchs[] = {
    {"ECDH", PROPERTY, kv_keyexch_ecdh, "ECDH by the vault"},
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM stores[] = {
    {"keyvault", PROPERTY, kv_store_functions, "keys and certificates of the vault"},
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM decoders[] = {
    {"DER", PROPERTY ",input=pem", kv_decoder_pem, "KEYVAULT KEY URI files"},
    {"RSA", PROPERTY ",input=der,structure=KeyvaultKeyUri", kv_decoder_rsa,
     "references to RSA keys"},
    {"EC", PROPERTY ",input=der,structure=KeyvaultKeyUri", kv_decoder_ec,
     "references to EC keys"},
    {"ED25519", PROPERTY ",input=der,structure=KeyvaultKeyUri", kv_decoder_ed25519,
     "references to Ed25519 keys"},
    {NULL, NULL, NULL, NULL},
};
#define REFUSED(name, output)                                                          \
    {                                                                                  \
        name, PROPERTY ",output=" output ",structure=PrivateKeyInfo",                  \
            kv_encoder_private, "vault keys are not exportable"                        \
    }
static const OSSL_ALGORITHM encoders[] = {
    REFUSED("RSA", "pem"),
    REFUSED("RSA", "der"),
    REFUSED("EC", "pem"),
    REFUSED("EC", "der"),
    REFUSED("ED25519", "pem"),
    REFUSED("ED25519", "der"),
    {"RSA", PROPERTY ",output=text", kv_encoder_rsa_text, "vault keys as text"},
    {"EC", PROPERTY ",output=text", kv_encoder_ec_text, "vault keys as text"},
    {"ED25519", PROPERTY ",output=text", kv_encoder_ed25519_text, "vault keys as text"},
    {NULL, NULL, NULL, NULL},
};

static const OSSL_ALGORITHM *query_operation(void *provctx, int operation_id,
                                             int *no_cache)
{
    (void)provctx;
    *no_cache = 0;
    switch (operation_id) {
    case OSSL_OP_KEYMGMT:
        return keymgmts;
    case OSSL_OP_SIGNATURE:
        return signatures;
    case OSSL_OP_ASYM_CIPHER:
        return asym_ciphers;
    case OSSL_OP_KEYEXCH:
        return keyexchs;
    case OSSL_OP_STORE:
        return stores;
    case OSSL_OP_DECODER:
        return decoders;
    case OSSL_OP_ENCODER:
        return encoders;
    default: /* the core asks for every operation that it knows */
        return NULL;
    }
}

static const OSSL_PARAM *gettable_params(void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_NAME, NULL, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_VERSION, NULL, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_BUILDINFO, NULL, 0),
        OSSL_PARAM_int(OSSL_PROV_PARAM_STATUS, NULL), OSSL_PARAM_END};
    (void)provctx;
    return gettable;
}

static int get_params(void *provctx, OSSL_PARAM params[])
{
    (void)provctx;
    OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_NAME);
    if (p != NULL && !OSSL_PARAM_set_utf8_ptr(p, "keyvault"))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_VERSION);
    if (p != NULL && !OSSL_PARAM_set_utf8_ptr(p, KV_VERSION))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_BUILDINFO);
    if (p != NULL && !OSSL_PARAM_set_utf8_ptr(p, KV_VERSION))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_STATUS);
    return p == NULL || OSSL_PARAM_set_int(p, 1);
}

static const OSSL_ITEM *get_reason_strings(void *provctx)
{
    (void)provctx;
    return kv_reason_strings();
}

static void teardown(void *provctx)
{
    struct kv_prov *prov = provctx;
    for (size_t i = 0; i < KV_PROV_N_MD; i++)
        EVP_MD_free(atomic_load(&prov->md[i]));
    kv_client_free(prov->client);
    kv_trace_free(prov->trace);
    OSSL_LIB_CTX_free(prov->libctx);
    OPENSSL_free(prov);
}

static const OSSL_DISPATCH provider_functions[] = {
    KV_DISPATCH(OSSL_FUNC_PROVIDER_TEARDOWN, OSSL_FUNC_provider_teardown, teardown),
    KV_DISPATCH(OSSL_FUNC_PROVIDER_GETTABLE_PARAMS, OSSL_FUNC_provider_gettable_params,
                gettable_params),
    KV_DISPATCH(OSSL_FUNC_PROVIDER_GET_PARAMS, OSSL_FUNC_provider_get_params,
                get_params),
    KV_DISPATCH(OSSL_FUNC_PROVIDER_QUERY_OPERATION, OSSL_FUNC_provider_query_operation,
                query_operation),
    KV_DISPATCH(OSSL_FUNC_PROVIDER_GET_CAPABILITIES,
                OSSL_FUNC_provider_get_capabilities, kv_keygen_capabilities),
    KV_DISPATCH(OSSL_FUNC_PROVIDER_GET_REASON_STRINGS,
                OSSL_FUNC_provider_get_reason_strings, get_reason_strings),
    KV_DISPATCH_END};

const EVP_MD *kv_prov_md(struct kv_prov *prov, uint8_t md)
{
    const char *name = kv_md_name(md);
    if (name == NULL || md == KV_MD_NONE || md >= KV_PROV_N_MD)
        return NULL;
    EVP_MD *found = atomic_load_explicit(&prov->md[md], memory_order_acquire);
    if (found != NULL)
        return found;
    EVP_MD *fetched = EVP_MD_fetch(prov->libctx, name, NULL);
    if (fetched == NULL)
        return NULL;
    if (atomic_compare_exchange_strong(&prov->md[md], &found, fetched))
        return fetched;
    EVP_MD_free(fetched); /* another thread was first */
    return found;
}

uint8_t kv_prov_md_by_name(struct kv_prov *prov, const char *name)
{
    for (uint8_t md = KV_MD_NONE + 1; md < KV_PROV_N_MD; md++) {
        const char *common = kv_md_name(md);
        if (common != NULL && OPENSSL_strcasecmp(common, name) == 0)
            return md;
    }
    for (uint8_t md = KV_MD_NONE + 1; md < KV_PROV_N_MD; md++) {
        const EVP_MD *known = kv_prov_md(prov, md);
        if (known != NULL && EVP_MD_is_a(known, name))
            return md;
    }
    return KV_MD_NONE;
}

/* A fact of the process, so a static: libcrypto has begun to clean up. */
static _Atomic bool is_stopped;
static pthread_once_t stop_hook_once = PTHREAD_ONCE_INIT;

static void on_stop(void)
{
    atomic_store(&is_stopped, true);
}

static void install_stop_hook(void)
{
    (void)OPENSSL_atexit(on_stop); /* without it only such hosts are worse off */
}

void kv_prov_hold(struct kv_prov *prov)
{
    if (prov->up_ref != NULL && prov->free_ref != NULL)
        (void)prov->up_ref(prov->core.handle, 0); /* cannot fail: it counts */
}

void kv_prov_release(struct kv_prov *prov)
{
    if (prov->up_ref != NULL && prov->free_ref != NULL && !atomic_load(&is_stopped))
        prov->free_ref(prov->core.handle, 0);
}

/* What the core offers us. */
struct core {
    struct kv_reason_core reason;
    OSSL_FUNC_core_get_params_fn *get_params;
    OSSL_FUNC_provider_up_ref_fn *up_ref;
    OSSL_FUNC_provider_free_fn *free_ref;
};

static void read_core(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                      struct core *core)
{
    core->reason.handle = handle;
    for (; in->function_id != 0; in++) {
        switch (in->function_id) {
        case OSSL_FUNC_CORE_GET_PARAMS:
            core->get_params = OSSL_FUNC_core_get_params(in);
            break;
        case OSSL_FUNC_CORE_NEW_ERROR:
            core->reason.new_error = OSSL_FUNC_core_new_error(in);
            break;
        case OSSL_FUNC_CORE_SET_ERROR_DEBUG:
            core->reason.set_error_debug = OSSL_FUNC_core_set_error_debug(in);
            break;
        case OSSL_FUNC_CORE_VSET_ERROR:
            core->reason.vset_error = OSSL_FUNC_core_vset_error(in);
            break;
        case OSSL_FUNC_CORE_SET_ERROR_MARK:
            core->reason.set_mark = OSSL_FUNC_core_set_error_mark(in);
            break;
        case OSSL_FUNC_CORE_POP_ERROR_TO_MARK:
            core->reason.pop_to_mark = OSSL_FUNC_core_pop_error_to_mark(in);
            break;
        case OSSL_FUNC_PROVIDER_UP_REF:
            core->up_ref = OSSL_FUNC_provider_up_ref(in);
            break;
        case OSSL_FUNC_PROVIDER_FREE:
            core->free_ref = OSSL_FUNC_provider_free(in);
            break;
        default: /* not needed */
            break;
        }
    }
}

/* A setting that cannot be used is not replaced by one that the operator did not
 * choose; nor does it make initialisation fail, for most programs would say nothing.
 * Every use of a vault key reports it. */
static void refuse(struct kv_client_config *config, const char *key, const char *value)
{
    if (config->bad_setting[0] == '\0')
        (void)BIO_snprintf(config->bad_setting, sizeof(config->bad_setting),
                           "%s = %.100s is not usable; see keyvault-provider(7)", key,
                           value);
}

static void set_uid(struct kv_client_config *config, const char *text)
{
    if (text != NULL && kv_str_to_i64(text, 0, UINT_MAX - 1, &config->server_uid) != 0)
        refuse(config, "server-uid", text);
}

static void set_timeout(struct kv_client_config *config, const char *key,
                        const char *text, int64_t *out)
{
    if (text != NULL && kv_str_to_i64(text, 1, MAX_TIMEOUT_MS, out) != 0)
        refuse(config, key, text);
}

static void set_switch(struct kv_client_config *config, const char *key,
                       const char *text, bool *out)
{
    if (text == NULL)
        return;
    *out = strcmp(text, "on") == 0;
    if (!*out && strcmp(text, "off") != 0)
        refuse(config, key, text);
}

static void set_address(struct kv_client_config *config, const char *key,
                        const char *text, char out[KV_CONN_ADDRESS_MAX])
{
    if (text != NULL && ((text[0] != '/' && text[0] != '@') || text[1] == '\0' ||
                         kv_str_copy(out, KV_CONN_ADDRESS_MAX, text) != 0))
        refuse(config, key, text);
}

/* Settings come from the provider's section of openssl.cnf in one call, and from two
 * environment variables; all are copied, so that workers need neither. */
static bool read_config(const struct core *core, struct kv_client_config *config,
                        const char **trace)
{
    const char *socket = NULL;
    const char *abstract = NULL;
    const char *uid = NULL;
    const char *connect_ms = NULL;
    const char *reply_ms = NULL;
    const char *async = NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_ptr("socket", &socket, 0),
        OSSL_PARAM_utf8_ptr("abstract-socket", &abstract, 0),
        OSSL_PARAM_utf8_ptr("server-uid", &uid, 0),
        OSSL_PARAM_utf8_ptr("connect-timeout-ms", &connect_ms, 0),
        OSSL_PARAM_utf8_ptr("reply-timeout-ms", &reply_ms, 0),
        OSSL_PARAM_utf8_ptr("async", &async, 0),
        OSSL_PARAM_utf8_ptr("trace", trace, 0),
        OSSL_PARAM_END,
    };
    if (core->get_params != NULL && !core->get_params(core->reason.handle, params))
        return false;
    *config = (struct kv_client_config){
        .socket = DEFAULT_SOCKET,
        .server_uid = KV_CONN_ANY_SAFE_UID,
        .connect_timeout_ms = DEFAULT_CONNECT_TIMEOUT_MS,
        .reply_timeout_ms = DEFAULT_REPLY_TIMEOUT_MS,
    };
    set_address(config, "socket", socket, config->socket);
    set_address(config, "KEYVAULT_KEYS_SOCKET", secure_getenv("KEYVAULT_KEYS_SOCKET"),
                config->socket);
    set_address(config, "abstract-socket", abstract, config->abstract_socket);
    set_uid(config, uid);
    set_timeout(config, "connect-timeout-ms", connect_ms, &config->connect_timeout_ms);
    set_timeout(config, "reply-timeout-ms", reply_ms, &config->reply_timeout_ms);
    set_switch(config, "async", async, &config->is_async);
    const char *variable = secure_getenv("KEYVAULT_TRACE");
    if (variable != NULL && variable[0] != '\0')
        *trace = variable;
    return true;
}

__attribute__((visibility("default"))) int
OSSL_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                   const OSSL_DISPATCH **out, void **provctx)
{
    struct core core = {.get_params = NULL};
    struct kv_client_config config;
    const char *trace = NULL;
    read_core(handle, in, &core);
    if (!read_config(&core, &config, &trace))
        return 0;
    struct kv_prov *prov = OPENSSL_zalloc(sizeof(*prov));
    if (prov == NULL)
        return 0;
    (void)pthread_once(&stop_hook_once, install_stop_hook);
    prov->core = core.reason;
    prov->trace = kv_trace_new(trace);
    config.trace = prov->trace;
    prov->up_ref = core.up_ref;
    prov->free_ref = core.free_ref;
    /* Without a configuration file the default provider serves it at first use. */
    prov->libctx = OSSL_LIB_CTX_new_from_dispatch(handle, in);
    if (prov->libctx == NULL || kv_client_new(&config, &prov->client) != 0) {
        teardown(prov);
        return 0;
    }
    *out = provider_functions;
    *provctx = prov;
    return 1;
}
