/* Import of DER, PEM and JWK fields: every form that is served, and each way in
 * which material can be wrong, with its own id. */
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "store/keyring/key_internal.h"
#include "tests/support/fixture.h"

static void setup(void)
{
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_keys_init(&err), 0, "%s", err.message);
}

TestSuite(key_import, .timeout = 20, .init = setup, .fini = kv_keys_fini);

static const struct {
    const char *file;
    uint8_t import;
    const char *password;
    uint8_t kty;
    uint8_t curve;
    uint16_t bits;
    unsigned n_certs;
} good[] = {
    {"rsa2048.pem", KV_IMPORT_PEM, NULL, KV_KTY_RSA, 0, 2048, 0},
    {"rsa2048.p8.der", KV_IMPORT_DER, NULL, KV_KTY_RSA, 0, 2048, 0},
    {"rsa2048.p1.der", KV_IMPORT_DER, NULL, KV_KTY_RSA, 0, 2048, 0},
    {"prime256v1.pem", KV_IMPORT_PEM, NULL, KV_KTY_EC, KV_CURVE_P256, 256, 0},
    {"prime256v1.sec1.der", KV_IMPORT_DER, NULL, KV_KTY_EC, KV_CURVE_P256, 256, 0},
    {"prime256v1.sec1.pem", KV_IMPORT_PEM, NULL, KV_KTY_EC, KV_CURVE_P256, 256, 0},
    {"prime256v1.nopub.der", KV_IMPORT_DER, NULL, KV_KTY_EC, KV_CURVE_P256, 256, 0},
    {"prime256v1.compressed.pem", KV_IMPORT_PEM, NULL, KV_KTY_EC, KV_CURVE_P256, 256,
     0},
    {"secp384r1.pem", KV_IMPORT_PEM, NULL, KV_KTY_EC, KV_CURVE_P384, 384, 0},
    {"secp521r1.pem", KV_IMPORT_PEM, NULL, KV_KTY_EC, KV_CURVE_P521, 521, 0},
    {"secp256k1.pem", KV_IMPORT_PEM, NULL, KV_KTY_EC, KV_CURVE_P256K, 256, 0},
    {"ed25519.pem", KV_IMPORT_PEM, NULL, KV_KTY_OKP, KV_CURVE_ED25519, 256, 0},
    {"enc-aes.pem", KV_IMPORT_PEM, "secret", KV_KTY_EC, KV_CURVE_P256, 256, 0},
    {"enc-aes.der", KV_IMPORT_DER, "secret", KV_KTY_EC, KV_CURVE_P256, 256, 0},
    {"enc-des3.pem", KV_IMPORT_PEM, "secret", KV_KTY_EC, KV_CURVE_P256, 256, 0},
    {"enc-pbe3des.pem", KV_IMPORT_PEM, "secret", KV_KTY_EC, KV_CURVE_P256, 256, 0},
    {"enc-scrypt.pem", KV_IMPORT_PEM, "secret", KV_KTY_EC, KV_CURVE_P256, 256, 0},
    {"root-leaf-key.pem", KV_IMPORT_PEM, NULL, KV_KTY_EC, KV_CURVE_P256, 256, 2},
};

static const struct {
    const char *file;
    uint8_t import;
    const char *password;
    const char *id;
} bad[] = {
    {"rsa1024.pem", KV_IMPORT_PEM, NULL, "key.import-weak"},
    {"rsa2560.pem", KV_IMPORT_PEM, NULL, "key.import-bad-size"},
    {"rsa-multiprime.pem", KV_IMPORT_PEM, NULL, "key.import-unsupported"},
    {"rsa-pss.pem", KV_IMPORT_PEM, NULL, "key.import-unsupported"},
    {"ed448.pem", KV_IMPORT_PEM, NULL, "key.import-unsupported"},
    {"secp224r1.pem", KV_IMPORT_PEM, NULL, "key.import-bad-curve"},
    {"prime256v1.explicit.pem", KV_IMPORT_PEM, NULL, "key.import-bad-curve"},
    {"rsa2048.oldenc.pem", KV_IMPORT_PEM, "secret", "key.import-unsupported"},
    {"enc-aes.pem", KV_IMPORT_PEM, NULL, "key.import-bad-password"},
    {"enc-aes.pem", KV_IMPORT_PEM, "Secret", "key.import-bad-password"},
    {"enc-scrypt.pem", KV_IMPORT_PEM, "x", "key.import-bad-password"},
    {"enc-iterations.pem", KV_IMPORT_PEM, "secret", "key.import-work-factor"},
    {"rsa2048-cert.pem", KV_IMPORT_PEM, NULL, "key.import-no-key"},
    {"rsa2048.pem", KV_IMPORT_DER, NULL, "key.import-bad-der"},
    {"rsa2048.p8.der", KV_IMPORT_PEM, NULL, "key.import-no-key"},
    {"aes.pfx", KV_IMPORT_DER, "secret", "key.import-bad-der"},
    {"rsa2048.pem", KV_IMPORT_PFX, NULL, "key.import-bad-pfx"},
    {"rsa2048.pem", KV_IMPORT_NONE, NULL, "key.import-bad-form"},
    {"rsa2048.pem", 99, NULL, "key.import-bad-form"},
};

static struct kv_bytes text(const char *value)
{
    return (struct kv_bytes){.data = (const uint8_t *)value,
                             .len = value != NULL ? strlen(value) : 0};
}

static void read_file(const char *file, struct kv_buf *buf)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "keys/%s", file);
    fixture_read(path, buf);
}

Test(key_import, reads_every_served_form)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct kv_buf file;
        struct kv_key *key = NULL;
        struct kv_key_certs certs = {.n = 0};
        struct kv_err err = KV_ERR_INIT;
        read_file(good[i].file, &file);
        struct kv_role_key_new request = {.import = good[i].import,
                                          .kty = good[i].kty,
                                          .curve = good[i].curve,
                                          .password = text(good[i].password),
                                          .material = fixture_bytes(&file)};
        cr_assert_eq(kv_key_import(&request, &key, &certs, &err), 0, "%s: %s %s",
                     good[i].file, err.id, err.message);
        cr_expect_eq(kv_key_kty(key), good[i].kty, "%s", good[i].file);
        cr_expect_eq(kv_key_curve(key), good[i].curve, "%s", good[i].file);
        cr_expect_eq(kv_key_bits(key), good[i].bits, "%s", good[i].file);
        cr_expect_eq(certs.n, good[i].n_certs, "%s", good[i].file);
        kv_key_certs_free(&certs);
        kv_key_unref(key);
        kv_buf_free(&file);
    }
}

Test(key_import, spellings_of_one_key_have_one_spki)
{
    static const size_t rows[] = {3, 4, 5, 6, 7, 12, 13, 14, 15, 16};
    struct kv_key *first = NULL;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_buf file;
        struct kv_key *key = NULL;
        read_file(good[rows[i]].file, &file);
        struct kv_role_key_new request = {.import = good[rows[i]].import,
                                          .password = text(good[rows[i]].password),
                                          .material = fixture_bytes(&file)};
        cr_assert_eq(kv_key_import(&request, &key, NULL, NULL), 0);
        if (first == NULL)
            first = kv_key_ref(key);
        cr_assert_eq(kv_key_spki(key).len, kv_key_spki(first).len, "%s",
                     good[rows[i]].file);
        cr_expect_eq(memcmp(kv_key_spki(key).data, kv_key_spki(first).data,
                            kv_key_spki(key).len),
                     0, "%s", good[rows[i]].file);
        kv_key_unref(key);
        kv_buf_free(&file);
    }
    kv_key_unref(first);
}

Test(key_import, refuses_what_is_not_served)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct kv_buf file;
        struct kv_key *key = NULL;
        struct kv_key_certs certs = {.n = 0};
        struct kv_err err = KV_ERR_INIT;
        read_file(bad[i].file, &file);
        struct kv_role_key_new request = {.import = bad[i].import,
                                          .password = text(bad[i].password),
                                          .material = fixture_bytes(&file)};
        cr_expect_lt(kv_key_import(&request, &key, &certs, &err), 0, "%s", bad[i].file);
        cr_expect_str_eq(err.id, bad[i].id, "%s: %s", bad[i].file, err.message);
        cr_expect_null(key);
        cr_expect_eq(certs.n, 0);
        kv_buf_free(&file);
    }
}

Test(key_import, leaf_comes_first)
{
    struct kv_buf file;
    struct kv_key *key = NULL;
    struct kv_key_certs certs = {.n = 0};
    read_file("root-leaf-key.pem", &file);
    struct kv_role_key_new request = {.import = KV_IMPORT_PEM,
                                      .material = fixture_bytes(&file)};
    cr_assert_eq(kv_key_import(&request, &key, &certs, NULL), 0);
    cr_assert_eq(certs.n, 2);
    cr_expect(kv_key_fits_cert(key, fixture_bytes(&certs.der[0])));
    cr_expect_not(kv_key_fits_cert(key, fixture_bytes(&certs.der[1])));
    kv_key_certs_free(&certs);
    kv_key_unref(key);
    kv_buf_free(&file);
}

/* Import PEM text that is put together from fixtures. */
static void expect_pem(const char *const *files, const char *id)
{
    struct kv_buf all;
    struct kv_key *key = NULL;
    struct kv_err err = KV_ERR_INIT;
    kv_buf_init(&all, 1048576);
    for (size_t i = 0; files[i] != NULL; i++) {
        struct kv_buf one;
        read_file(files[i], &one);
        cr_assert_eq(kv_buf_append(&all, one.data, one.len), 0);
        kv_buf_free(&one);
    }
    struct kv_role_key_new request = {.import = KV_IMPORT_PEM,
                                      .material = fixture_bytes(&all)};
    cr_expect_lt(kv_key_import(&request, &key, NULL, &err), 0);
    cr_expect_str_eq(err.id, id, "%s", err.message);
    cr_expect_null(key);
    kv_buf_free(&all);
}

Test(key_import, refuses_pem_that_is_put_together_wrongly)
{
    static const char cert[] = "rsa2048-cert.pem";
    expect_pem((const char *const[]){"rsa2048.pem", "prime256v1.pem", NULL},
               "key.import-many-keys");
    expect_pem((const char *const[]){"prime256v1.pem", cert, NULL},
               "key.import-cert-mismatch");
    expect_pem((const char *const[]){"rsa2048.pem", cert, cert, cert, cert, cert, cert,
                                     cert, cert, cert, cert, cert, NULL},
               "key.import-many-certs");
}

Test(key_import, refuses_pem_text_that_is_damaged)
{
    static const struct {
        const char *text;
        const char *id;
    } rows[] = {
        {"-----BEGIN PRIVATE KEY-----\nMIIB\n", "key.import-bad-pem"},
        {"-----BEGIN PRIVATE KEY-----\n????\n-----END PRIVATE KEY-----\n",
         "key.import-bad-pem"},
        {"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
         "key.import-bad-der"},
        {"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
         "key.import-bad-cert"},
        {"-----BEGIN OPENSSH PRIVATE KEY-----\nMAA=\n-----END OPENSSH PRIVATE "
         "KEY-----\n",
         "key.import-unsupported"},
        {"-----BEGIN DH PARAMETERS-----\nMAA=\n-----END DH PARAMETERS-----\n",
         "key.import-no-key"},
        {"no PEM at all", "key.import-no-key"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_key *key = NULL;
        struct kv_err err = KV_ERR_INIT;
        struct kv_role_key_new request = {.import = KV_IMPORT_PEM,
                                          .material = text(rows[i].text)};
        cr_expect_lt(kv_key_import(&request, &key, NULL, &err), 0, "row %zu", i);
        cr_expect_str_eq(err.id, rows[i].id, "row %zu: %s", i, err.message);
        cr_expect_null(key);
    }
}

Test(key_import, stops_after_64_pem_blocks)
{
    struct kv_buf all;
    struct kv_key *key = NULL;
    struct kv_err err = KV_ERR_INIT;
    kv_buf_init(&all, 100000);
    for (int i = 0; i < 64; i++)
        cr_assert_eq(kv_buf_append_str(&all, "-----BEGIN X-----\nMAA=\n-----END "
                                             "X-----\n"),
                     0);
    struct kv_role_key_new request = {.import = KV_IMPORT_PEM,
                                      .material = fixture_bytes(&all)};
    cr_expect_lt(kv_key_import(&request, &key, NULL, &err), 0);
    cr_expect_str_eq(err.id, "key.import-bad-pem");
    kv_buf_free(&all);
}

Test(key_import, refuses_der_that_is_cut_or_followed)
{
    struct kv_buf file;
    read_file("prime256v1.sec1.der", &file);
    size_t len = file.len;
    cr_assert_eq(kv_buf_append(&file, "x", 1), 0);
    for (size_t n = 1; n <= len + 1; n++) {
        struct kv_key *key = NULL;
        struct kv_err err = KV_ERR_INIT;
        struct kv_role_key_new request = {.import = KV_IMPORT_DER,
                                          .material = {file.data, n}};
        if (n == len)
            continue;
        cr_expect_lt(kv_key_import(&request, &key, NULL, &err), 0, "%zu bytes", n);
        cr_expect_str_eq(err.id, "key.import-bad-der");
        cr_expect_null(key);
    }
    kv_buf_free(&file);
}

Test(key_import, refuses_limits_of_material_and_password)
{
    static uint8_t big[KV_IMPORT_MAX + 1];
    static const uint8_t nul[] = {'a', 0, 'b'};
    static const struct {
        struct kv_bytes material;
        struct kv_bytes password;
        const char *id;
    } rows[] = {
        {{NULL, 0}, {NULL, 0}, "key.import-no-key"},
        {{big, sizeof(big)}, {NULL, 0}, "key.import-too-big"},
        {{big, 10}, {big, KV_PASSWORD_MAX + 1}, "key.import-bad-password"},
        {{big, 10}, {nul, sizeof(nul)}, "key.import-bad-password"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_key *key = NULL;
        struct kv_err err = KV_ERR_INIT;
        struct kv_role_key_new request = {.import = KV_IMPORT_DER,
                                          .material = rows[i].material,
                                          .password = rows[i].password};
        cr_expect_lt(kv_key_import(&request, &key, NULL, &err), 0);
        cr_expect_str_eq(err.id, rows[i].id, "row %zu", i);
    }
}

Test(key_import, scrypt_cost_is_judged_before_it_is_paid)
{
    struct kv_buf file;
    struct kv_key *key = NULL;
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf der;
    static const uint8_t cost[] = {0x02, 0x02, 0x40, 0x00, 0x02, 0x01, 0x08};
    read_file("enc-scrypt.pem", &file);
    kv_buf_init(&der, 4096);
    EVP_ENCODE_CTX *ctx = EVP_ENCODE_CTX_new();
    uint8_t *at = kv_buf_extend(&der, 1024);
    int len = 0;
    const char *body = strchr(kv_buf_cstr(&file), '\n') + 1;
    EVP_DecodeInit(ctx);
    cr_assert_geq(EVP_DecodeUpdate(ctx, at, &len, (const uint8_t *)body,
                                   (int)(strstr(body, "-----") - body)),
                  0);
    EVP_ENCODE_CTX_free(ctx);
    uint8_t *found = memmem(at, (size_t)len, cost, sizeof(cost));
    cr_assert_not_null(found);
    found[6] = 0x7f;
    struct kv_role_key_new request = {.import = KV_IMPORT_DER,
                                      .password = text("secret"),
                                      .material = {at, (size_t)len}};
    cr_expect_lt(kv_key_import(&request, &key, NULL, &err), 0);
    cr_expect_str_eq(err.id, "key.import-work-factor", "%s", err.message);
    kv_buf_free(&der);
    kv_buf_free(&file);
}

Test(key_import, request_must_fit_the_material)
{
    static const struct {
        uint8_t kty;
        uint8_t curve;
        uint16_t bits;
    } rows[] = {{KV_KTY_RSA, 0, 0}, {0, KV_CURVE_P384, 0}, {KV_KTY_EC, 0, 521}};
    struct kv_buf file;
    read_file("prime256v1.pem", &file);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_key *key = NULL;
        struct kv_err err = KV_ERR_INIT;
        struct kv_role_key_new request = {.import = KV_IMPORT_PEM,
                                          .kty = rows[i].kty,
                                          .curve = rows[i].curve,
                                          .bits = rows[i].bits,
                                          .material = fixture_bytes(&file)};
        cr_expect_lt(kv_key_import(&request, &key, NULL, &err), 0);
        cr_expect_str_eq(err.id, "key.import-wrong-type", "row %zu", i);
    }
    kv_buf_free(&file);
}

/* PKCS#8 of a DSA key whose numbers have `len` bytes: to read it would cost an
 * exponentiation of that size. */
static struct kv_buf dsa_pkcs8(size_t len)
{
    static const uint8_t head[] = {0x02, 0x82};
    static const uint8_t q_and_g[] = {0x02, 1, 3, 0x02, 1, 3};
    struct kv_buf number;
    struct kv_buf out;
    uint8_t *params = OPENSSL_malloc(len + 100);
    uint8_t *secret = OPENSSL_malloc(len + 100);
    uint8_t *at = params;
    kv_buf_init(&number, len + 4);
    kv_buf_init(&out, 3 * len);
    cr_assert_eq(kv_buf_append(&number, head, 2), 0);
    cr_assert_eq(kv_buf_append(
                     &number, (const uint8_t[2]){(uint8_t)(len >> 8), (uint8_t)len}, 2),
                 0);
    memset(kv_buf_extend(&number, len), 0x7f, len);
    ASN1_put_object(&at, 1, (int)(number.len + sizeof(q_and_g)), V_ASN1_SEQUENCE, 0);
    memcpy(at, number.data, number.len);
    memcpy(at + number.len, q_and_g, sizeof(q_and_g));
    at += number.len + sizeof(q_and_g);
    memcpy(secret, number.data, number.len);
    ASN1_STRING *sequence = ASN1_STRING_new();
    PKCS8_PRIV_KEY_INFO *info = PKCS8_PRIV_KEY_INFO_new();
    cr_assert_eq(ASN1_STRING_set(sequence, params, (int)(at - params)), 1);
    cr_assert_eq(PKCS8_pkey_set0(info, OBJ_nid2obj(NID_dsa), 0, V_ASN1_SEQUENCE,
                                 sequence, secret, (int)number.len),
                 1);
    uint8_t *to = kv_buf_extend(&out, (size_t)i2d_PKCS8_PRIV_KEY_INFO(info, NULL));
    (void)i2d_PKCS8_PRIV_KEY_INFO(info, &to);
    PKCS8_PRIV_KEY_INFO_free(info);
    OPENSSL_free(params);
    kv_buf_free(&number);
    return out;
}

Test(key_import, reads_no_key_of_a_foreign_type)
{
    struct kv_buf file = dsa_pkcs8(3800);
    struct kv_key *key = NULL;
    struct kv_err err = KV_ERR_INIT;
    struct kv_role_key_new request = {.import = KV_IMPORT_DER,
                                      .material = fixture_bytes(&file)};
    clock_t begin = clock();
    cr_expect_eq(kv_key_import(&request, &key, NULL, &err), KV_E_UNSUPPORTED);
    double spent_s = (double)(clock() - begin) / CLOCKS_PER_SEC;
    cr_expect_str_eq(err.id, "key.import-unsupported", "%s", err.message);
    cr_expect_lt(spent_s, 0.5, "%.1f s", spent_s);
    kv_buf_free(&file);
}
