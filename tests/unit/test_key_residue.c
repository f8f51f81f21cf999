/*
 * What keys leave in the memory of the process once they are gone: nothing. libcrypto
 * parses and writes with buffers of its own, which it frees as they are; a copy that
 * is planted must be found.
 */
#include <criterion/criterion.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>

#include "store/core/secret.h"
#include "store/keyring/key_internal.h"
#include "tests/support/fixture.h"
#include "tests/support/residue.h"

static void setup(void)
{
    cr_assert_eq(kv_keys_init(NULL), 0);
}

TestSuite(key_residue, .timeout = 20, .init = setup, .fini = kv_keys_fini);

/* The first prime of the key. */
static void learn_mark(const struct kv_key *key)
{
    uint8_t bytes[128];
    BIGNUM *p = NULL;
    cr_assert_eq(EVP_PKEY_get_bn_param(key->pkey, OSSL_PKEY_PARAM_RSA_FACTOR1, &p), 1);
    cr_assert_eq(BN_bn2binpad(p, bytes, sizeof(bytes)), (int)sizeof(bytes));
    kv_residue_reset();
    kv_residue_learn(bytes, sizeof(bytes), 40);
    kv_wipe(bytes, sizeof(bytes));
    BN_clear_free(p);
}

static const struct {
    const char *file;
    uint8_t import;
} files[] = {
    {"keys/aes.pfx", KV_IMPORT_PFX},        {"keys/legacy-rc2.pfx", KV_IMPORT_PFX},
    {"keys/plain-all.pfx", KV_IMPORT_PFX},  {"keys/rsa2048.p8.der", KV_IMPORT_DER},
    {"keys/rsa2048.p1.der", KV_IMPORT_DER}, {"keys/rsa2048.pem", KV_IMPORT_PEM},
};

static void import_use_and_drop(size_t row, bool learn)
{
    struct kv_buf file;
    struct kv_buf out;
    struct kv_key *key = NULL;
    static const uint8_t password[] = "secret";
    static const uint8_t digest[32];
    fixture_read(files[row].file, &file);
    struct kv_role_key_new request = {.import = files[row].import,
                                      .password = {password, 6},
                                      .material = fixture_bytes(&file)};
    cr_assert_eq(kv_key_import(&request, &key, NULL, NULL), 0);
    if (learn)
        learn_mark(key);
    kv_buf_init_secret(&out, 100000);
    struct kv_msg_sign sign = {
        .sig = KV_SIG_PKCS1, .md = KV_MD_SHA256, .input = {digest, sizeof(digest)}};
    cr_expect_eq(kv_key_sign(key, 0, &sign, &out, NULL), 0);
    cr_expect_eq(kv_key_to_pkcs8(key, &out), 0);
    for (uint8_t format = KV_EXPORT_PFX; format <= KV_EXPORT_PEM; format++) {
        struct kv_role_export export = {.format = format, .password = {password, 6}};
        cr_expect_eq(kv_key_export(key, &export, &out, NULL), 0);
    }
    kv_buf_free(&out);
    cr_expect_gt(kv_residue_count(), 0, "%s: the key lives", files[row].file);
    kv_key_unref(key);
    kv_wipe(file.data, file.cap); /* some of them hold the key as it is */
    kv_buf_free(&file);
}

Test(key_residue, keys_that_are_gone_leave_nothing)
{
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        import_use_and_drop(i, true);
        cr_expect_eq(kv_residue_count(), 0, "%s", files[i].file);
    }
    uint8_t *planted = kv_residue_plant();
    cr_expect_eq(kv_residue_count(), 1, "a planted copy is found");
    kv_residue_pull(planted);
}
