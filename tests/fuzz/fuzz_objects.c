/*
 * What a program gets for a URI, or by using a key file, from a daemon that sends any
 * bytes: the first byte chooses what is done, the rest is the daemon's answer to each
 * connection. A load gives a key, a certificate, a name or an error; it comes to an
 * end; what was given can be used for what it is; nothing is left on the error queue
 * beside a success.
 */
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "store/core/clock.h"
#include "tests/support/script_daemon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

extern OSSL_provider_init_fn OSSL_provider_init;

/* Each input finds the module as new: what it remembers of a silent daemon is old. */
static int64_t advanced_ms;
int64_t __real_kv_monotonic_ms(const struct kv_clock *clock);
int64_t __wrap_kv_monotonic_ms(const struct kv_clock *clock);
int64_t __wrap_kv_monotonic_ms(const struct kv_clock *clock)
{
    return __real_kv_monotonic_ms(clock) + advanced_ms;
}

static OSSL_LIB_CTX *open_module(void)
{
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();
    KV_ASSERT(setenv("KEYVAULT_KEYS_SOCKET", script_daemon_start(), 1) == 0);
    KV_ASSERT(OSSL_PROVIDER_add_builtin(libctx, "keyvault", OSSL_provider_init));
    KV_ASSERT(OSSL_PROVIDER_load(libctx, "default") != NULL);
    KV_ASSERT(OSSL_PROVIDER_load(libctx, "keyvault") != NULL);
    return libctx;
}

static void use_key(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    unsigned char sig[2048];
    size_t sig_len = sizeof(sig);
    OSSL_PARAM *params = NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    KV_ASSERT(EVP_PKEY_get_bits(key) > 0 && i2d_PUBKEY(key, NULL) > 0);
    KV_ASSERT(EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &params) != 1);
    KV_ASSERT(EVP_PKEY_todata(key, EVP_PKEY_PUBLIC_KEY, &params) == 1);
    OSSL_PARAM_free(params);
    ERR_clear_error();
    if (EVP_DigestSignInit_ex(ctx, NULL, NULL, libctx, NULL, key, NULL) == 1 &&
        (size_t)EVP_PKEY_get_size(key) <= sizeof(sig)) {
        const int ok = EVP_DigestSign(ctx, sig, &sig_len, sig, 5);
        KV_ASSERT(ok != 1 || sig_len <= (size_t)EVP_PKEY_get_size(key));
        KV_ASSERT((ok == 1) == (ERR_peek_error() == 0));
    }
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
}

static void use(OSSL_LIB_CTX *libctx, const OSSL_STORE_INFO *info)
{
    switch (OSSL_STORE_INFO_get_type(info)) {
    case OSSL_STORE_INFO_PKEY:
        use_key(libctx, OSSL_STORE_INFO_get0_PKEY(info));
        break;
    case OSSL_STORE_INFO_PUBKEY:
        KV_ASSERT(EVP_PKEY_get_bits(OSSL_STORE_INFO_get0_PUBKEY(info)) > 0);
        break;
    case OSSL_STORE_INFO_CERT:
        KV_ASSERT(i2d_X509(OSSL_STORE_INFO_get0_CERT(info), NULL) > 0);
        break;
    case OSSL_STORE_INFO_NAME:
        KV_ASSERT(strncmp(OSSL_STORE_INFO_get0_NAME(info), "keyvault:", 9) == 0);
        break;
    default:
        KV_ASSERT(false);
    }
}

static const struct {
    const char *uri;
    int expect;
} rows[] = {
    {"keyvault:///keys/web", OSSL_STORE_INFO_PKEY},
    {"keyvault:///keys/web", OSSL_STORE_INFO_PUBKEY},
    {"keyvault:///certificates/web", OSSL_STORE_INFO_CERT},
    {"keyvault:web", 0},
    {"keyvault:///keys/", 0},
    {"keyvault:///certificates/", OSSL_STORE_INFO_CERT},
    {"keyvault:", OSSL_STORE_INFO_PKEY},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static OSSL_LIB_CTX *libctx;
    if (len == 0 || len > 100000)
        return 0;
    if (libctx == NULL)
        libctx = open_module();
    advanced_ms += 3600000;
    const size_t i = data[0] % (sizeof(rows) / sizeof(rows[0]));
    script_daemon_answer(data + 1, len - 1);
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(rows[i].uri, libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    KV_ASSERT(store != NULL);
    if (rows[i].expect != 0)
        KV_ASSERT(OSSL_STORE_expect(store, rows[i].expect) == 1);
    for (unsigned n = 0; !OSSL_STORE_eof(store) && !OSSL_STORE_error(store); n++) {
        KV_ASSERT(n < 100000);
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info == NULL)
            continue;
        KV_ASSERT(ERR_peek_error() == 0);
        use(libctx, info);
        OSSL_STORE_INFO_free(info);
    }
    (void)OSSL_STORE_close(store);
    ERR_clear_error();
    (void)script_daemon_hang_up();
    return 0;
}
