#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <openssl/x509.h>
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

#define PROPQ "provider=keyvault"

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

/* --- libcrypto silently drops an algorithm whose functions are incomplete --- */

Test(provider, every_algorithm_is_accepted)
{
    static const char *const types[] = {"RSA", "EC", "ED25519"};
    static const char *const sigs[] = {"RSA", "ECDSA", "ED25519"};
    for (size_t i = 0; i < 3; i++) {
        EVP_KEYMGMT *keymgmt = EVP_KEYMGMT_fetch(fixture.libctx, types[i], PROPQ);
        cr_expect_not_null(keymgmt, "keymgmt %s", types[i]);
        EVP_KEYMGMT_free(keymgmt);
        EVP_SIGNATURE *sig = EVP_SIGNATURE_fetch(fixture.libctx, sigs[i], PROPQ);
        cr_expect_not_null(sig, "signature %s", sigs[i]);
        EVP_SIGNATURE_free(sig);
        OSSL_DECODER *decoder =
            OSSL_DECODER_fetch(fixture.libctx, types[i], PROPQ ",input=der");
        cr_expect_not_null(decoder, "decoder %s", types[i]);
        OSSL_DECODER_free(decoder);
        OSSL_ENCODER *encoder =
            OSSL_ENCODER_fetch(fixture.libctx, types[i], PROPQ ",output=text");
        cr_expect_not_null(encoder, "encoder %s", types[i]);
        OSSL_ENCODER_free(encoder);
    }
    EVP_ASYM_CIPHER *cipher = EVP_ASYM_CIPHER_fetch(fixture.libctx, "RSA", PROPQ);
    cr_expect_not_null(cipher);
    EVP_ASYM_CIPHER_free(cipher);
    EVP_KEYEXCH *exchange = EVP_KEYEXCH_fetch(fixture.libctx, "ECDH", PROPQ);
    cr_expect_not_null(exchange);
    EVP_KEYEXCH_free(exchange);
    OSSL_STORE_LOADER *loader =
        OSSL_STORE_LOADER_fetch(fixture.libctx, "keyvault", PROPQ);
    cr_expect_not_null(loader);
    OSSL_STORE_LOADER_free(loader);
    OSSL_DECODER *pem = OSSL_DECODER_fetch(fixture.libctx, "DER", PROPQ ",input=pem");
    cr_expect_not_null(pem);
    OSSL_DECODER_free(pem);
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

static int count_params(const OSSL_PARAM params[], void *arg)
{
    int *n_private = arg;
    for (; params->key != NULL; params++) {
        if (strcmp(params->key, OSSL_PKEY_PARAM_PRIV_KEY) == 0 ||
            strcmp(params->key, OSSL_PKEY_PARAM_RSA_D) == 0)
            ++*n_private;
    }
    return 1;
}

ParameterizedTestParameters(provider, key_properties)
{
    static size_t rows[N_KEY_NAMES];
    for (size_t i = 0; i < N_KEY_NAMES; i++)
        rows[i] = i;
    return cr_make_param_array(size_t, rows, N_KEY_NAMES);
}

ParameterizedTest(size_t *row, provider, key_properties, .timeout = 20)
{
    EVP_PKEY *key = load(key_names[*row]);
    EVP_PKEY *public_key = provider_fixture_public(key);
    int n_private = 0;
    cr_assert_not_null(public_key);

    cr_expect_eq(EVP_PKEY_export(key, EVP_PKEY_KEYPAIR, count_params, &n_private), 0,
                 "the private part is never exported");
    cr_expect_eq(
        EVP_PKEY_export(key, OSSL_KEYMGMT_SELECT_PRIVATE_KEY, count_params, &n_private),
        0);
    cr_expect_eq(
        EVP_PKEY_export(key, OSSL_KEYMGMT_SELECT_ALL, count_params, &n_private), 0);
    cr_expect_eq(ERR_peek_error(), 0, "a refused export leaves no error behind");
    cr_expect_eq(EVP_PKEY_export(key, EVP_PKEY_PUBLIC_KEY, count_params, &n_private),
                 1);
    cr_expect_eq(n_private, 0);

    cr_expect_eq(EVP_PKEY_eq(key, public_key), 1);
    cr_expect_eq(EVP_PKEY_eq(public_key, key), 1);
    EVP_PKEY *other = load(*row == 1 ? "web" : "p256");
    cr_expect_neq(EVP_PKEY_eq(key, other), *row == 1 ? 1 : 2);
    if (*row != 1)
        cr_expect_neq(EVP_PKEY_eq(key, other), 1);
    EVP_PKEY *copy = EVP_PKEY_dup(key);
    cr_assert_not_null(copy);
    cr_expect_eq(EVP_PKEY_eq(copy, key), 1);

    cr_expect_eq(EVP_PKEY_get_bits(key), EVP_PKEY_get_bits(public_key));
    cr_expect_eq(EVP_PKEY_get_security_bits(key),
                 EVP_PKEY_get_security_bits(public_key));
    cr_expect_eq(EVP_PKEY_get_size(key), EVP_PKEY_get_size(public_key));
    char ours[64] = "";
    char theirs[64] = "";
    cr_expect_eq(EVP_PKEY_get_group_name(key, ours, sizeof(ours), NULL),
                 EVP_PKEY_get_group_name(public_key, theirs, sizeof(theirs), NULL));
    cr_expect_str_eq(ours, theirs);
    cr_expect_eq(EVP_PKEY_get_default_digest_name(key, ours, sizeof(ours)),
                 EVP_PKEY_get_default_digest_name(public_key, theirs, sizeof(theirs)));
    cr_expect_str_eq(ours, theirs);
    EVP_PKEY_free(other);
    EVP_PKEY_free(copy);
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(key);
}

static void (*find_function(const OSSL_DISPATCH *table, int id))(void)
{
    for (; table->function_id != 0; table++) {
        if (table->function_id == id)
            return table->function;
    }
    return NULL;
}

Test(provider, has_answers_for_no_key)
{
    const OSSL_DISPATCH *const tables[] = {kv_keymgmt_rsa, kv_keymgmt_ec,
                                           kv_keymgmt_ed25519};
    for (size_t i = 0; i < 3; i++) {
        OSSL_FUNC_keymgmt_has_fn *has =
            (OSSL_FUNC_keymgmt_has_fn *)find_function(tables[i], OSSL_FUNC_KEYMGMT_HAS);
        cr_assert_not_null(has);
        cr_expect_eq(has(NULL, OSSL_KEYMGMT_SELECT_ALL), 0);
    }
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
    void *slot = new_rsa(NULL);
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

Test(provider, import_keeps_no_private_part)
{
    EVP_PKEY *file = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    OSSL_PARAM *params = NULL;
    EVP_PKEY *imported = NULL;
    cr_assert_eq(EVP_PKEY_todata(file, EVP_PKEY_KEYPAIR, &params), 1);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(fixture.libctx, "EC", PROPQ);
    cr_assert_eq(EVP_PKEY_fromdata_init(ctx), 1);
    cr_assert_eq(EVP_PKEY_fromdata(ctx, &imported, EVP_PKEY_KEYPAIR, params), 1);
    BIGNUM *priv = NULL;
    cr_expect_eq(EVP_PKEY_get_bn_param(imported, OSSL_PKEY_PARAM_PRIV_KEY, &priv), 0);
    cr_expect_eq(EVP_PKEY_eq(imported, file), 1);
    unsigned char sig[128];
    size_t len = sizeof(sig);
    ERR_clear_error();
    cr_expect_eq(provider_fixture_sign(imported, sig, &len), 0,
                 "a public key does not sign");
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(imported);
    EVP_PKEY_free(file);
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

Test(provider, generation_is_refused_with_a_hint)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(fixture.libctx, "EC", PROPQ);
    const char *data = NULL;
    int flags = 0;
    cr_assert_not_null(ctx);
    ERR_clear_error();
    cr_expect_leq(EVP_PKEY_keygen_init(ctx), 0);
    unsigned long code = ERR_peek_error_all(NULL, NULL, NULL, &data, &flags);
    cr_assert_neq(code, 0);
    cr_expect_not_null(strstr(data, "keyvault key create"));
    cr_expect_not_null(strstr(ERR_reason_error_string(code), "made by the vault"));
    EVP_PKEY_CTX_free(ctx);
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

Test(provider, size_is_known_without_asking)
{
    EVP_PKEY *key = load("rsa");
    unsigned before = fake_keyring_counts(fixture.keyring)->requests;
    size_t len = 0;
    cr_expect_eq(provider_fixture_sign(key, NULL, &len), 1);
    cr_expect_eq(len, 256);
    cr_expect_eq(fake_keyring_counts(fixture.keyring)->requests, before);
    EVP_PKEY_free(key);
}

Test(provider, a_buffer_too_small_is_an_error)
{
    EVP_PKEY *key = load("rsa");
    unsigned char sig[256];
    size_t len = 255;
    cr_expect_eq(provider_fixture_sign(key, sig, &len), 0);
    EVP_PKEY_free(key);
}

Test(provider, a_copy_of_the_context_finishes)
{
    EVP_PKEY *key = load("p256");
    unsigned char sig[2][128];
    size_t len[2] = {128, 128};
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    cr_assert_eq(
        EVP_DigestSignInit_ex(ctx, NULL, "SHA256", fixture.libctx, NULL, key, NULL), 1);
    cr_assert_eq(EVP_DigestSignUpdate(ctx, "hel", 3), 1);
    cr_assert_eq(EVP_MD_CTX_copy_ex(copy, ctx), 1);
    cr_assert_eq(EVP_DigestSignUpdate(copy, "lo", 2), 1);
    cr_assert_eq(EVP_DigestSignUpdate(ctx, "lo", 2), 1);
    cr_assert_eq(EVP_DigestSignFinal(copy, sig[0], &len[0]), 1);
    EVP_MD_CTX_free(copy);
    cr_assert_eq(EVP_DigestSignFinal(ctx, sig[1], &len[1]), 1);
    EVP_MD_CTX_free(ctx);
    cr_expect_eq(provider_fixture_verify(key, sig[0], len[0]), 1);
    cr_expect_eq(provider_fixture_verify(key, sig[1], len[1]), 1);
    EVP_PKEY_free(key);
}

Test(provider, a_context_serves_again)
{
    EVP_PKEY *key = load("p256");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    for (int i = 0; i < 3; i++) {
        unsigned char sig[128];
        size_t len = sizeof(sig);
        cr_assert_eq(
            EVP_DigestSignInit_ex(ctx, NULL, NULL, fixture.libctx, NULL, key, NULL), 1);
        cr_assert_eq(EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"hello", 5),
                     1);
        cr_expect_eq(provider_fixture_verify(key, sig, len), 1);
    }
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
}

Test(provider, verification_asks_nobody)
{
    EVP_PKEY *key = load("rsa");
    unsigned char sig[256];
    size_t len = sizeof(sig);
    cr_assert_eq(provider_fixture_sign(key, sig, &len), 1);
    unsigned before = fake_keyring_counts(fixture.keyring)->requests;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    cr_assert_eq(
        EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", fixture.libctx, PROPQ, key, NULL),
        1);
    cr_expect_eq(EVP_DigestVerify(ctx, sig, len, (const unsigned char *)"hello", 5), 1);
    sig[7] ^= 1;
    cr_assert_eq(
        EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", fixture.libctx, PROPQ, key, NULL),
        1);
    cr_expect_eq(EVP_DigestVerify(ctx, sig, len, (const unsigned char *)"hello", 5), 0);
    cr_expect_eq(fake_keyring_counts(fixture.keyring)->requests, before);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
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

/* --- key files --- */

static size_t write_pem(EVP_PKEY *key, bool is_pinned, const char *name, char *out,
                        size_t size)
{
    struct kv_keyref ref = {.uri = {.collection = KV_URI_KEYS}};
    struct kv_buf pem;
    (void)snprintf(ref.uri.name, sizeof(ref.uri.name), "%s", name);
    if (is_pinned) {
        unsigned char digest[32];
        unsigned char *at = ref.spki;
        cr_assert_eq(
            EVP_Q_digest(NULL, "SHA256", NULL, name, strlen(name), digest, NULL), 1);
        ref.uri.has_version = true;
        memcpy(ref.uri.version, digest, KV_ID_LEN);
        ref.spki_len = (size_t)i2d_PUBKEY(key, &at);
        (void)snprintf(ref.key_type, sizeof(ref.key_type), "%s",
                       EVP_PKEY_is_a(key, "RSA")  ? "RSA"
                       : EVP_PKEY_is_a(key, "EC") ? "EC"
                                                  : "ED25519");
    }
    kv_buf_init(&pem, 8192);
    cr_assert_eq(kv_keyref_encode_pem(&ref, &pem, NULL), 0);
    cr_assert_leq(pem.len, size);
    size_t len = pem.len;
    memcpy(out, pem.data, len);
    kv_buf_free(&pem);
    return len;
}

Test(provider, a_pinned_file_loads_without_the_daemon)
{
    char pem[8192];
    EVP_PKEY *key = load("p384");
    size_t len = write_pem(key, true, "p384", pem, sizeof(pem));
    unsigned before = fake_keyring_counts(fixture.keyring)->requests;
    EVP_PKEY *again = provider_fixture_pem(&fixture, pem, len);
    cr_assert_not_null(again);
    cr_expect_eq(fake_keyring_counts(fixture.keyring)->requests, before);
    cr_expect_eq(EVP_PKEY_eq(again, key), 1);
    unsigned char sig[128];
    size_t sig_len = sizeof(sig);
    cr_expect_eq(provider_fixture_sign(again, sig, &sig_len), 1);
    cr_expect_eq(provider_fixture_verify(key, sig, sig_len), 1);
    EVP_PKEY_free(again);
    EVP_PKEY_free(key);
}

Test(provider, a_following_file_asks_once_per_load)
{
    char pem[8192];
    EVP_PKEY *key = load("ed25519");
    size_t len = write_pem(key, false, "ed25519", pem, sizeof(pem));
    EVP_PKEY *again = provider_fixture_pem(&fixture, pem, len);
    cr_assert_not_null(again);
    cr_expect_eq(EVP_PKEY_eq(again, key), 1);
    EVP_PKEY_free(again);
    EVP_PKEY_free(key);
}

Test(provider, a_pinned_file_with_another_key_does_not_sign)
{
    char pem[8192];
    unsigned char sig[128];
    size_t sig_len = sizeof(sig);
    EVP_PKEY *file = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    size_t len = write_pem(file, true, "p256", pem, sizeof(pem));
    EVP_PKEY *key = provider_fixture_pem(&fixture, pem, len);
    cr_assert_not_null(key);
    ERR_clear_error();
    cr_expect_eq(provider_fixture_sign(key, sig, &sig_len), 0);
    cr_expect_eq(fake_keyring_counts(fixture.keyring)->signs, 0);
    EVP_PKEY_free(key);
    EVP_PKEY_free(file);
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
