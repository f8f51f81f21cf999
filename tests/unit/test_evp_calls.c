/* The dispatch tables: libcrypto takes every algorithm that we list, under each of its
 * names, and every function bears the empty arguments that libcrypto passes. */
#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <string.h>

#include "provider/provider.h"
#include "tests/support/evp_check.h"

static OSSL_PROVIDER *module;

static void setup(void)
{
    evp_check_open();
    module = OSSL_PROVIDER_load(evp_fixture.libctx, "keyvault");
    cr_assert_not_null(module);
}

static void teardown(void)
{
    (void)OSSL_PROVIDER_unload(module);
    evp_check_close();
}

TestSuite(evp_calls, .timeout = 60, .init = setup, .fini = teardown);

/* --- libcrypto silently drops an algorithm whose functions are incomplete --- */

static bool fetch(int operation, const char *name, const char *properties)
{
    OSSL_LIB_CTX *libctx = evp_fixture.libctx;
    switch (operation) {
    case OSSL_OP_KEYMGMT: {
        EVP_KEYMGMT *found = EVP_KEYMGMT_fetch(libctx, name, properties);
        EVP_KEYMGMT_free(found);
        return found != NULL;
    }
    case OSSL_OP_SIGNATURE: {
        EVP_SIGNATURE *found = EVP_SIGNATURE_fetch(libctx, name, properties);
        EVP_SIGNATURE_free(found);
        return found != NULL;
    }
    case OSSL_OP_ASYM_CIPHER: {
        EVP_ASYM_CIPHER *found = EVP_ASYM_CIPHER_fetch(libctx, name, properties);
        EVP_ASYM_CIPHER_free(found);
        return found != NULL;
    }
    case OSSL_OP_KEYEXCH: {
        EVP_KEYEXCH *found = EVP_KEYEXCH_fetch(libctx, name, properties);
        EVP_KEYEXCH_free(found);
        return found != NULL;
    }
    case OSSL_OP_STORE: {
        OSSL_STORE_LOADER *found = OSSL_STORE_LOADER_fetch(libctx, name, properties);
        OSSL_STORE_LOADER_free(found);
        return found != NULL;
    }
    case OSSL_OP_DECODER: {
        OSSL_DECODER *found = OSSL_DECODER_fetch(libctx, name, properties);
        OSSL_DECODER_free(found);
        return found != NULL;
    }
    case OSSL_OP_ENCODER: {
        OSSL_ENCODER *found = OSSL_ENCODER_fetch(libctx, name, properties);
        OSSL_ENCODER_free(found);
        return found != NULL;
    }
    default:
        return false;
    }
}

static unsigned expect_fetched(int operation, const OSSL_ALGORITHM *algorithm)
{
    char names[128];
    unsigned n = 0;
    (void)snprintf(names, sizeof(names), "%s", algorithm->algorithm_names);
    char *save = NULL;
    for (char *name = strtok_r(names, ":", &save); name != NULL;
         name = strtok_r(NULL, ":", &save)) {
        cr_expect(fetch(operation, name, algorithm->property_definition),
                  "operation %d, %s, %s", operation, name,
                  algorithm->property_definition);
        n++;
    }
    return n;
}

Test(evp_calls, every_listed_algorithm_is_taken_under_each_name)
{
    static const struct {
        int operation;
        unsigned n;
    } rows[] = {{OSSL_OP_KEYMGMT, 8}, {OSSL_OP_SIGNATURE, 6}, {OSSL_OP_ASYM_CIPHER, 3},
                {OSSL_OP_KEYEXCH, 1}, {OSSL_OP_STORE, 1},     {OSSL_OP_DECODER, 4},
                {OSSL_OP_ENCODER, 9}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int no_cache = 1;
        unsigned n = 0;
        const OSSL_ALGORITHM *algorithm =
            OSSL_PROVIDER_query_operation(module, rows[i].operation, &no_cache);
        cr_assert_not_null(algorithm, "operation %d", rows[i].operation);
        cr_expect_eq(no_cache, 0, "a list that never changes");
        for (; algorithm->algorithm_names != NULL; algorithm++)
            n += expect_fetched(rows[i].operation, algorithm);
        cr_expect_eq(n, rows[i].n, "operation %d", rows[i].operation);
    }
    evp_check_clean("fetching everything");
}

Test(evp_calls, nothing_is_listed_that_is_not_a_matter_of_keys)
{
    static const int operations[] = {OSSL_OP_DIGEST, OSSL_OP_CIPHER, OSSL_OP_MAC,
                                     OSSL_OP_KDF,    OSSL_OP_RAND,   OSSL_OP_KEM};
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        int no_cache = 0;
        cr_expect_null(OSSL_PROVIDER_query_operation(module, operations[i], &no_cache));
    }
}

/* --- empty arguments --- */

static void (*find(const OSSL_DISPATCH *table, int id))(void)
{
    for (; table->function_id != 0; table++) {
        if (table->function_id == id)
            return table->function;
    }
    return NULL;
}

#define FIND(table, type, ID) ((OSSL_FUNC_##type##_fn *)find(table, OSSL_FUNC_##ID))

static void *provctx(void)
{
    return OSSL_PROVIDER_get0_provider_ctx(module);
}

static const OSSL_PARAM none[] = {OSSL_PARAM_END};

Test(evp_calls, key_management_bears_empty_arguments)
{
    const OSSL_DISPATCH *const tables[] = {kv_keymgmt_rsa, kv_keymgmt_ec,
                                           kv_keymgmt_ed25519};
    for (size_t i = 0; i < 3; i++) {
        const OSSL_DISPATCH *t = tables[i];
        OSSL_PARAM empty[] = {OSSL_PARAM_END};
        void *key = FIND(t, keymgmt_new, KEYMGMT_NEW)(provctx());
        cr_assert_not_null(key);
        cr_expect_eq(FIND(t, keymgmt_has, KEYMGMT_HAS)(NULL, OSSL_KEYMGMT_SELECT_ALL),
                     0);
        cr_expect_eq(
            FIND(t, keymgmt_has, KEYMGMT_HAS)(key, OSSL_KEYMGMT_SELECT_PUBLIC_KEY), 0);
        cr_expect_eq(FIND(t, keymgmt_match,
                          KEYMGMT_MATCH)(key, NULL, OSSL_KEYMGMT_SELECT_PUBLIC_KEY),
                     0);
        cr_expect_eq(FIND(t, keymgmt_match,
                          KEYMGMT_MATCH)(key, key, OSSL_KEYMGMT_SELECT_PUBLIC_KEY),
                     0, "two empty keys");
        cr_expect_eq(FIND(t, keymgmt_export,
                          KEYMGMT_EXPORT)(key, OSSL_KEYMGMT_SELECT_ALL, NULL, NULL),
                     0);
        cr_expect_eq(FIND(t, keymgmt_get_params, KEYMGMT_GET_PARAMS)(key, empty), 0);
        cr_expect_eq(FIND(t, keymgmt_get_params, KEYMGMT_GET_PARAMS)(NULL, empty), 0);
        cr_expect_eq(FIND(t, keymgmt_validate,
                          KEYMGMT_VALIDATE)(key, OSSL_KEYMGMT_SELECT_PUBLIC_KEY, 0),
                     0);
        cr_expect_eq(FIND(t, keymgmt_import,
                          KEYMGMT_IMPORT)(key, OSSL_KEYMGMT_SELECT_PUBLIC_KEY, none),
                     0);
        void *copy = FIND(t, keymgmt_dup, KEYMGMT_DUP)(key, OSSL_KEYMGMT_SELECT_ALL);
        cr_expect_not_null(copy, "an empty key's copy is empty");
        FIND(t, keymgmt_free, KEYMGMT_FREE)(copy);
        FIND(t, keymgmt_free, KEYMGMT_FREE)(key);
        FIND(t, keymgmt_free, KEYMGMT_FREE)(NULL);
        cr_expect_null(FIND(t, keymgmt_load, KEYMGMT_LOAD)(NULL, 0));
    }
    OSSL_FUNC_keymgmt_set_params_fn *set =
        FIND(kv_keymgmt_ec, keymgmt_set_params, KEYMGMT_SET_PARAMS);
    void *key = FIND(kv_keymgmt_ec, keymgmt_new, KEYMGMT_NEW)(provctx());
    cr_expect_eq(set(key, NULL), 1);
    cr_expect_eq(set(key, none), 1);
    FIND(kv_keymgmt_ec, keymgmt_free, KEYMGMT_FREE)(key);
    ERR_clear_error();
}

/* Before any key is there. */
static void try_signing(const OSSL_DISPATCH *t, void *ctx)
{
    unsigned char sig[8];
    size_t len = sizeof(sig);
    if (FIND(t, signature_sign_init, SIGNATURE_SIGN_INIT) != NULL) {
        cr_expect_eq(FIND(t, signature_sign_init, SIGNATURE_SIGN_INIT)(ctx, NULL, NULL),
                     0);
        cr_expect_eq(
            FIND(t, signature_sign, SIGNATURE_SIGN)(ctx, NULL, &len, 0, NULL, 0), 0);
        cr_expect_eq(
            FIND(t, signature_verify_init, SIGNATURE_VERIFY_INIT)(ctx, NULL, NULL), 0);
        cr_expect_eq(
            FIND(t, signature_verify, SIGNATURE_VERIFY)(ctx, sig, len, NULL, 0), 0);
        cr_expect_eq(FIND(t, signature_digest_sign_update,
                          SIGNATURE_DIGEST_SIGN_UPDATE)(ctx, NULL, 0),
                     0);
        cr_expect_eq(FIND(t, signature_digest_sign_final,
                          SIGNATURE_DIGEST_SIGN_FINAL)(ctx, NULL, &len, 0),
                     0);
        cr_expect_eq(FIND(t, signature_digest_verify_update,
                          SIGNATURE_DIGEST_VERIFY_UPDATE)(ctx, NULL, 0),
                     0);
        cr_expect_eq(FIND(t, signature_digest_verify_final,
                          SIGNATURE_DIGEST_VERIFY_FINAL)(ctx, sig, len),
                     0);
        cr_expect_null(FIND(t, signature_gettable_ctx_md_params,
                            SIGNATURE_GETTABLE_CTX_MD_PARAMS)(ctx));
        cr_expect_null(FIND(t, signature_settable_ctx_md_params,
                            SIGNATURE_SETTABLE_CTX_MD_PARAMS)(ctx));
        cr_expect_eq(
            FIND(t, signature_set_ctx_params, SIGNATURE_SET_CTX_PARAMS)(ctx, NULL), 1);
    }
    cr_expect_eq(FIND(t, signature_digest_sign_init,
                      SIGNATURE_DIGEST_SIGN_INIT)(ctx, NULL, NULL, NULL),
                 0);
    cr_expect_eq(FIND(t, signature_digest_sign, SIGNATURE_DIGEST_SIGN)(ctx, NULL, &len,
                                                                       0, NULL, 0),
                 0);
    cr_expect_eq(FIND(t, signature_digest_verify_init,
                      SIGNATURE_DIGEST_VERIFY_INIT)(ctx, NULL, NULL, NULL),
                 0);
    cr_expect_eq(FIND(t, signature_digest_verify,
                      SIGNATURE_DIGEST_VERIFY)(ctx, sig, len, NULL, 0),
                 0);
    cr_expect_eq(FIND(t, signature_get_ctx_params, SIGNATURE_GET_CTX_PARAMS)(ctx, NULL),
                 1);
}

Test(evp_calls, signatures_bear_empty_arguments)
{
    const OSSL_DISPATCH *const tables[] = {kv_sig_rsa, kv_sig_ecdsa, kv_sig_eddsa};
    for (size_t i = 0; i < 3; i++) {
        const OSSL_DISPATCH *t = tables[i];
        void *ctx = FIND(t, signature_newctx, SIGNATURE_NEWCTX)(provctx(), NULL);
        cr_assert_not_null(ctx);
        try_signing(t, ctx);
        void *copy = FIND(t, signature_dupctx, SIGNATURE_DUPCTX)(ctx);
        cr_assert_not_null(copy);
        FIND(t, signature_freectx, SIGNATURE_FREECTX)(ctx);
        try_signing(t, copy);
        FIND(t, signature_freectx, SIGNATURE_FREECTX)(copy);
        FIND(t, signature_freectx, SIGNATURE_FREECTX)(NULL);
        cr_expect_not_null(FIND(t, signature_gettable_ctx_params,
                                SIGNATURE_GETTABLE_CTX_PARAMS)(NULL, provctx()));
    }
    ERR_clear_error();
    cr_expect_eq(evp_check_frames(), 0u);
}

Test(evp_calls, ciphers_and_exchanges_bear_empty_arguments)
{
    unsigned char bytes[8] = {0};
    size_t len = sizeof(bytes);
    const OSSL_DISPATCH *t = kv_asym_rsa;
    void *ctx = FIND(t, asym_cipher_newctx, ASYM_CIPHER_NEWCTX)(provctx());
    cr_assert_not_null(ctx);
    cr_expect_eq(
        FIND(t, asym_cipher_decrypt_init, ASYM_CIPHER_DECRYPT_INIT)(ctx, NULL, NULL),
        0);
    cr_expect_eq(
        FIND(t, asym_cipher_decrypt, ASYM_CIPHER_DECRYPT)(ctx, NULL, &len, 0, bytes, 8),
        0);
    cr_expect_eq(
        FIND(t, asym_cipher_encrypt_init, ASYM_CIPHER_ENCRYPT_INIT)(ctx, NULL, NULL),
        0);
    cr_expect_eq(
        FIND(t, asym_cipher_encrypt, ASYM_CIPHER_ENCRYPT)(ctx, NULL, &len, 0, bytes, 8),
        0);
    cr_expect_eq(
        FIND(t, asym_cipher_set_ctx_params, ASYM_CIPHER_SET_CTX_PARAMS)(ctx, NULL), 1);
    cr_expect_eq(
        FIND(t, asym_cipher_get_ctx_params, ASYM_CIPHER_GET_CTX_PARAMS)(ctx, NULL), 1);
    void *copy = FIND(t, asym_cipher_dupctx, ASYM_CIPHER_DUPCTX)(ctx);
    cr_expect_not_null(copy);
    FIND(t, asym_cipher_freectx, ASYM_CIPHER_FREECTX)(copy);
    FIND(t, asym_cipher_freectx, ASYM_CIPHER_FREECTX)(ctx);
    FIND(t, asym_cipher_freectx, ASYM_CIPHER_FREECTX)(NULL);

    t = kv_keyexch_ecdh;
    ctx = FIND(t, keyexch_newctx, KEYEXCH_NEWCTX)(provctx());
    cr_assert_not_null(ctx);
    cr_expect_eq(FIND(t, keyexch_init, KEYEXCH_INIT)(ctx, NULL, NULL), 0);
    cr_expect_eq(FIND(t, keyexch_set_peer, KEYEXCH_SET_PEER)(ctx, NULL), 0);
    cr_expect_eq(FIND(t, keyexch_derive, KEYEXCH_DERIVE)(ctx, NULL, &len, 0), 0);
    cr_expect_eq(FIND(t, keyexch_set_ctx_params, KEYEXCH_SET_CTX_PARAMS)(ctx, NULL), 1);
    copy = FIND(t, keyexch_dupctx, KEYEXCH_DUPCTX)(ctx);
    cr_expect_not_null(copy);
    FIND(t, keyexch_freectx, KEYEXCH_FREECTX)(copy);
    FIND(t, keyexch_freectx, KEYEXCH_FREECTX)(ctx);
    FIND(t, keyexch_freectx, KEYEXCH_FREECTX)(NULL);
    ERR_clear_error();
    cr_expect_eq(evp_check_frames(), 0u);
}

Test(evp_calls, a_key_of_another_type_begins_nothing)
{
    EVP_PKEY *rsa = evp_check_private("rsa");
    EVP_PKEY *ec = evp_check_private("p256");
    EVP_PKEY *ed25519 = evp_check_private("ed25519");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(evp_fixture.libctx, ec, NULL);
    cr_expect_leq(EVP_PKEY_decrypt_init(ctx), 0);
    cr_expect_leq(EVP_PKEY_encrypt_init(ctx), 0);
    EVP_PKEY_CTX_free(ctx);
    ctx = EVP_PKEY_CTX_new_from_pkey(evp_fixture.libctx, rsa, NULL);
    cr_expect_leq(EVP_PKEY_derive_init(ctx), 0);
    EVP_PKEY_CTX_free(ctx);
    ctx = EVP_PKEY_CTX_new_from_pkey(evp_fixture.libctx, ed25519, NULL);
    cr_expect_leq(EVP_PKEY_derive_init(ctx), 0);
    cr_expect_leq(EVP_PKEY_decrypt_init(ctx), 0);
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    EVP_PKEY_free(ed25519);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(rsa);
}
