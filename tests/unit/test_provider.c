#include <criterion/criterion.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <string.h>

#include "provider/provider.h"
#include "tests/support/provider_fixture.h"

static struct provider_fixture fixture;

static void setup(void)
{
    provider_fixture_open(&fixture, NULL);
}

static void teardown(void)
{
    provider_fixture_close(&fixture);
}

TestSuite(provider, .timeout = 20, .init = setup, .fini = teardown);

static const char *const key_names[] = {"rsa",  "p256",  "p384",
                                        "p521", "p256k", "ed25519"};
#define N_KEY_NAMES (sizeof(key_names) / sizeof(key_names[0]))

static EVP_PKEY *load(const char *name)
{
    char uri[128];
    (void)snprintf(uri, sizeof(uri), "keyvault:///keys/%s", name);
    EVP_PKEY *key = provider_fixture_key(&fixture, uri);
    cr_assert_not_null(key, "%s", uri);
    return key;
}

Test(provider, loading_does_no_io)
{
    cr_assert_eq(fake_keyring_counts(fixture.keyring)->connections, 0);
}

Test(provider, has_name_version_and_status)
{
    OSSL_PROVIDER *prov = OSSL_PROVIDER_load(fixture.libctx, "keyvault");
    const char *name = NULL;
    const char *version = NULL;
    int status = 0;
    OSSL_PARAM params[] = {OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_NAME, &name, 0),
                           OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_VERSION, &version, 0),
                           OSSL_PARAM_int(OSSL_PROV_PARAM_STATUS, &status),
                           OSSL_PARAM_END};
    cr_assert_eq(OSSL_PROVIDER_get_params(prov, params), 1);
    cr_assert_str_eq(name, "keyvault");
    cr_assert_str_eq(version, KV_VERSION);
    cr_assert_eq(status, 1);
    OSSL_PROVIDER_unload(prov);
}

/* --- keys --- */

static void (*find_function(const OSSL_DISPATCH *table, int id))(void)
{
    for (; table->function_id != 0; table++) {
        if (table->function_id == id)
            return table->function;
    }
    return NULL;
}

Test(provider, load_refuses_a_reference_of_another_type)
{
    OSSL_FUNC_keymgmt_load_fn *load_ec = (OSSL_FUNC_keymgmt_load_fn *)find_function(
        kv_keymgmt_ec, OSSL_FUNC_KEYMGMT_LOAD);
    OSSL_FUNC_keymgmt_load_fn *load_rsa = (OSSL_FUNC_keymgmt_load_fn *)find_function(
        kv_keymgmt_rsa, OSSL_FUNC_KEYMGMT_LOAD);
    OSSL_FUNC_keymgmt_new_fn *new_rsa = (OSSL_FUNC_keymgmt_new_fn *)find_function(
        kv_keymgmt_rsa, OSSL_FUNC_KEYMGMT_NEW);
    OSSL_FUNC_keymgmt_free_fn *free_key = (OSSL_FUNC_keymgmt_free_fn *)find_function(
        kv_keymgmt_rsa, OSSL_FUNC_KEYMGMT_FREE);
    static struct kv_prov prov;
    void *slot = new_rsa(&prov);
    void *key = slot;
    cr_expect_null(load_ec(&slot, sizeof(slot)));
    cr_expect_null(load_rsa(&slot, sizeof(slot) - 1));
    cr_expect_null(load_rsa(NULL, sizeof(slot)));
    cr_expect_eq(slot, key, "a refused reference stays with its owner");
    cr_expect_eq(load_rsa(&slot, sizeof(slot)), key);
    cr_expect_null(slot, "a loaded reference changes hands");
    cr_expect_null(load_rsa(&slot, sizeof(slot)));
    free_key(key);
}

Test(provider, store_offers_no_export_object)
{
    cr_expect_null(find_function(kv_store_functions, OSSL_FUNC_STORE_EXPORT_OBJECT));
}

Test(provider, parameters_copy_and_public_point_is_set)
{
    EVP_PKEY *key = load("p384");
    EVP_PKEY *peer_file = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");
    unsigned char *point = NULL;
    size_t len = EVP_PKEY_get1_encoded_public_key(peer_file, &point);
    EVP_PKEY *peer = EVP_PKEY_new();
    cr_assert_gt(len, 0);
    cr_assert_eq(EVP_PKEY_copy_parameters(peer, key), 1);
    cr_expect_eq(EVP_PKEY_missing_parameters(peer), 0);
    cr_assert_eq(EVP_PKEY_set1_encoded_public_key(peer, point, len), 1);
    cr_expect_eq(EVP_PKEY_eq(peer, peer_file), 1);
    cr_expect_eq(EVP_PKEY_eq(peer, key), 0, "the vault key was not changed");
    cr_expect_eq(EVP_PKEY_set1_encoded_public_key(key, point, len), 0, "nor can it be");
    OPENSSL_free(point);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(peer_file);
    EVP_PKEY_free(key);
}

/* --- signing --- */

Test(provider, every_key_signs)
{
    for (size_t i = 0; i < N_KEY_NAMES; i++) {
        unsigned char sig[1024];
        size_t len = sizeof(sig);
        EVP_PKEY *key = load(key_names[i]);
        cr_expect_eq(provider_fixture_sign(key, sig, &len), 1, "%s", key_names[i]);
        cr_expect_eq(provider_fixture_verify(key, sig, len), 1, "%s", key_names[i]);
        cr_expect_eq(ERR_peek_error(), 0, "%s leaves the queue clean", key_names[i]);
        EVP_PKEY_free(key);
    }
}

Test(provider, premaster_has_48_bytes_whatever_comes)
{
    EVP_PKEY *key = load("rsa");
    unsigned char junk[256] = {1, 2, 3};
    unsigned char out[256];
    size_t len = sizeof(out);
    unsigned int version = 0x0303;
    OSSL_PARAM params[] = {
        OSSL_PARAM_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, &version),
        OSSL_PARAM_END};
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(fixture.libctx, key, NULL);
    cr_assert_eq(EVP_PKEY_decrypt_init(ctx), 1);
    cr_assert_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_WITH_TLS_PADDING), 1);
    cr_assert_eq(EVP_PKEY_CTX_set_params(ctx, params), 1);
    cr_expect_eq(EVP_PKEY_decrypt(ctx, out, &len, junk, sizeof(junk)), 1);
    cr_expect_eq(len, 48);
    cr_expect_leq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING), 0);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
}

/* --- two library contexts --- */

Test(provider, two_contexts_live_side_by_side)
{
    struct provider_fixture second;
    provider_fixture_open(&second, NULL);
    EVP_PKEY *a = load("p256");
    EVP_PKEY *b = provider_fixture_key(&second, "keyvault:///keys/p256");
    unsigned char sig[128];
    size_t len = sizeof(sig);
    cr_assert_not_null(b);
    cr_expect_eq(EVP_PKEY_eq(a, b), 0);
    EVP_PKEY_free(b);
    provider_fixture_close(&second);
    cr_expect_eq(provider_fixture_sign(a, sig, &len), 1);
    EVP_PKEY_free(a);
}
