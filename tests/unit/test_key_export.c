/* Export: what is written opens again with the vault's own import and with plain
 * libcrypto, and nothing is written whose halves do not belong together. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

#include "store/keyring/key_internal.h"
#include "tests/support/fixture.h"

static struct kv_key *key;
static struct kv_key_certs certs;

static void setup(void)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf file;
    cr_assert_eq(kv_keys_init(&err), 0, "%s", err.message);
    fixture_read("keys/root-leaf-key.pem", &file);
    struct kv_role_key_new request = {.import = KV_IMPORT_PEM,
                                      .material = fixture_bytes(&file)};
    cr_assert_eq(kv_key_import(&request, &key, &certs, &err), 0, "%s", err.message);
    cr_assert_eq(certs.n, 2);
    kv_buf_free(&file);
}

static void teardown(void)
{
    kv_key_certs_free(&certs);
    kv_key_unref(key);
    kv_keys_fini();
}

TestSuite(key_export, .timeout = 20, .init = setup, .fini = teardown);

static struct kv_bytes text(const char *value)
{
    return (struct kv_bytes){.data = (const uint8_t *)value, .len = strlen(value)};
}

static struct kv_role_export message(uint8_t format, const char *password)
{
    struct kv_role_export msg = {
        .format = format, .password = text(password), .n_certs = 2};
    msg.cert[0] = fixture_bytes(&certs.der[0]);
    msg.cert[1] = fixture_bytes(&certs.der[1]);
    return msg;
}

static void expect_round_trip(uint8_t format, uint8_t import, const char *password)
{
    struct kv_buf out;
    struct kv_key *again = NULL;
    struct kv_key_certs found = {.n = 0};
    struct kv_err err = KV_ERR_INIT;
    kv_buf_init_secret(&out, KV_IMPORT_MAX);
    struct kv_role_export msg = message(format, password);
    cr_assert_eq(kv_key_export(key, &msg, &out, &err), 0, "%s", err.message);
    struct kv_role_key_new request = {
        .import = import, .password = text(password), .material = fixture_bytes(&out)};
    cr_assert_eq(kv_key_import(&request, &again, &found, &err), 0, "%s", err.message);
    cr_expect_eq(
        memcmp(kv_key_spki(key).data, kv_key_spki(again).data, kv_key_spki(key).len),
        0);
    cr_assert_eq(found.n, 2);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(found.der[i].len, certs.der[i].len);
        cr_expect_eq(memcmp(found.der[i].data, certs.der[i].data, certs.der[i].len), 0);
    }
    kv_key_certs_free(&found);
    kv_key_unref(again);
    kv_buf_free(&out);
}

Test(key_export, round_trips)
{
    expect_round_trip(KV_EXPORT_PFX, KV_IMPORT_PFX, "");
    expect_round_trip(KV_EXPORT_PFX, KV_IMPORT_PFX, "p\xc3\xa4ss");
    expect_round_trip(KV_EXPORT_PEM, KV_IMPORT_PEM, "");
    expect_round_trip(KV_EXPORT_PEM, KV_IMPORT_PEM, "secret");
}

Test(key_export, plain_libcrypto_opens_the_pfx)
{
    static const char *const passwords[] = {"", "secret"};
    for (size_t i = 0; i < 2; i++) {
        struct kv_buf out;
        EVP_PKEY *pkey = NULL;
        X509 *leaf = NULL;
        STACK_OF(X509) *rest = NULL;
        kv_buf_init_secret(&out, KV_IMPORT_MAX);
        struct kv_role_export msg = message(KV_EXPORT_PFX, passwords[i]);
        cr_assert_eq(kv_key_export(key, &msg, &out, NULL), 0);
        const uint8_t *at = out.data;
        PKCS12 *pfx = d2i_PKCS12(NULL, &at, (long)out.len);
        cr_assert_not_null(pfx);
        cr_assert_eq(PKCS12_parse(pfx, passwords[i], &pkey, &leaf, &rest), 1);
        cr_expect_not_null(leaf);
        cr_expect_eq(X509_check_private_key(leaf, pkey), 1);
        cr_expect_eq(sk_X509_num(rest), 1);
        PKCS12_free(pfx);
        EVP_PKEY_free(pkey);
        X509_free(leaf);
        sk_X509_pop_free(rest, X509_free);
        kv_buf_free(&out);
    }
}

Test(key_export, pfx_uses_the_ciphers_that_are_promised)
{
    struct kv_buf out;
    const X509_ALGOR *mac = NULL;
    const ASN1_OBJECT *oid = NULL;
    const ASN1_INTEGER *iterations = NULL;
    kv_buf_init_secret(&out, KV_IMPORT_MAX);
    struct kv_role_export msg = message(KV_EXPORT_PFX, "secret");
    cr_assert_eq(kv_key_export(key, &msg, &out, NULL), 0);
    const uint8_t *at = out.data;
    PKCS12 *pfx = d2i_PKCS12(NULL, &at, (long)out.len);
    PKCS12_get0_mac(NULL, &mac, NULL, &iterations, pfx);
    X509_ALGOR_get0(&oid, NULL, NULL, mac);
    cr_expect_eq(OBJ_obj2nid(oid), NID_sha256);
    cr_expect_eq(ASN1_INTEGER_get(iterations), 100000);
    /* aes256-CBC and hmacWithSHA256 as DER object identifiers. */
    static const uint8_t aes[] = {0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a};
    static const uint8_t prf[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09};
    cr_expect_not_null(memmem(out.data, out.len, aes, sizeof(aes)));
    cr_expect_not_null(memmem(out.data, out.len, prf, sizeof(prf)));
    PKCS12_free(pfx);
    kv_buf_free(&out);
}

Test(key_export, pem_equals_what_openssl_writes)
{
    struct kv_buf out;
    kv_buf_init_secret(&out, KV_IMPORT_MAX);
    struct kv_role_export msg = message(KV_EXPORT_PEM, "");
    cr_assert_eq(kv_key_export(key, &msg, &out, NULL), 0);
    BIO *bio = BIO_new(BIO_s_mem());
    cr_assert_eq(PEM_write_bio_PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL),
                 1);
    for (unsigned i = 0; i < 2; i++) {
        X509 *cert = kv_key_read_cert(fixture_bytes(&certs.der[i]));
        cr_assert_eq(PEM_write_bio_X509(bio, cert), 1);
        X509_free(cert);
    }
    char *expected = NULL;
    long len = BIO_get_mem_data(bio, &expected);
    cr_assert_eq((size_t)len, out.len);
    cr_expect_eq(memcmp(expected, out.data, out.len), 0);
    BIO_free(bio);
    kv_buf_free(&out);
}

Test(key_export, key_without_certificates)
{
    static const uint8_t formats[][2] = {{KV_EXPORT_PFX, KV_IMPORT_PFX},
                                         {KV_EXPORT_PEM, KV_IMPORT_PEM}};
    for (size_t i = 0; i < 2; i++) {
        struct kv_buf out;
        struct kv_key *again = NULL;
        struct kv_key_certs found = {.n = 0};
        kv_buf_init_secret(&out, KV_IMPORT_MAX);
        struct kv_role_export msg = {.format = formats[i][0]};
        cr_assert_eq(kv_key_export(key, &msg, &out, NULL), 0);
        struct kv_role_key_new request = {.import = formats[i][1],
                                          .material = fixture_bytes(&out)};
        cr_assert_eq(kv_key_import(&request, &again, &found, NULL), 0);
        cr_expect_eq(found.n, 0);
        kv_key_unref(again);
        kv_buf_free(&out);
    }
}

Test(key_export, refuses_what_does_not_belong_together)
{
    static char long_password[KV_PASSWORD_MAX + 2];
    static const uint8_t nul[] = {'a', 0};
    memset(long_password, 'p', KV_PASSWORD_MAX + 1);
    struct kv_role_export swapped = message(KV_EXPORT_PFX, "");
    swapped.cert[0] = fixture_bytes(&certs.der[1]);
    struct kv_role_export cut = message(KV_EXPORT_PEM, "");
    cut.cert[1].len--;
    struct kv_role_export format = message(7, "");
    struct kv_role_export too_long = message(KV_EXPORT_PFX, long_password);
    struct kv_role_export with_nul = message(KV_EXPORT_PFX, "");
    with_nul.password = (struct kv_bytes){nul, sizeof(nul)};
    const struct {
        const char *why;
        const struct kv_role_export *msg;
        const char *id;
    } rows[] = {
        {"leaf of another key", &swapped, "key.export-cert-mismatch"},
        {"cut certificate", &cut, "key.export-bad-cert"},
        {"no such format", &format, "key.export-bad-format"},
        {"long password", &too_long, "key.export-bad-password"},
        {"password with NUL", &with_nul, "key.export-bad-password"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_buf out;
        struct kv_err err = KV_ERR_INIT;
        kv_buf_init_secret(&out, KV_IMPORT_MAX);
        cr_expect_lt(kv_key_export(key, rows[i].msg, &out, &err), 0, "%s", rows[i].why);
        cr_expect_str_eq(err.id, rows[i].id, "%s: %s", rows[i].why, err.message);
        cr_expect_eq(out.len, 0);
        kv_buf_free(&out);
    }
}

Test(key_export, leaves_nothing_behind_when_the_buffer_is_full)
{
    static const uint8_t formats[] = {KV_EXPORT_PFX, KV_EXPORT_PEM};
    for (size_t i = 0; i < 2; i++)
        for (size_t room = 0; room < 1200; room += 97) {
            struct kv_buf out;
            kv_buf_init_secret(&out, room);
            struct kv_role_export msg = message(formats[i], "");
            cr_expect_lt(kv_key_export(key, &msg, &out, NULL), 0);
            cr_expect_eq(out.len, 0);
            kv_buf_free(&out);
        }
}
