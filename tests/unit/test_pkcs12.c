/* PFX: every usual cipher opens, costs are judged before they are paid, and damaged
 * or odd files are refused with their own id. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

#include "store/keyring/key_internal.h"
#include "store/keyring/pbe.h"
#include "tests/support/fixture.h"

static void setup(void)
{
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_keys_init(&err), 0, "%s", err.message);
}

TestSuite(pkcs12, .timeout = 20, .init = setup, .fini = kv_keys_fini);

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

static int import_pfx(struct kv_bytes pfx, const char *password, struct kv_key **key,
                      struct kv_key_certs *certs, struct kv_err *err)
{
    struct kv_role_key_new request = {
        .import = KV_IMPORT_PFX, .password = text(password), .material = pfx};
    return kv_key_import(&request, key, certs, err);
}

static void expect_refused(struct kv_bytes pfx, const char *password, const char *id,
                           const char *why)
{
    struct kv_key *key = NULL;
    struct kv_key_certs certs = {.n = 0};
    struct kv_err err = KV_ERR_INIT;
    cr_expect_lt(import_pfx(pfx, password, &key, &certs, &err), 0, "%s", why);
    cr_expect_str_eq(err.id, id, "%s: got %s, %s", why, err.id, err.message);
    cr_expect_null(key);
    cr_expect_eq(certs.n, 0);
}

static const struct {
    const char *file;
    const char *password;
    uint8_t kty;
    unsigned n_certs;
} good[] = {
    {"aes.pfx", "secret", KV_KTY_RSA, 2},
    {"aes-empty.pfx", NULL, KV_KTY_RSA, 2},
    {"aes-empty.pfx", "", KV_KTY_RSA, 2},
    {"legacy-rc2.pfx", "secret", KV_KTY_RSA, 2},
    {"legacy-3des.pfx", "secret", KV_KTY_RSA, 2},
    {"rc2-128.pfx", "secret", KV_KTY_RSA, 2},
    {"plain-certs.pfx", "secret", KV_KTY_RSA, 2},
    {"plain-all.pfx", "secret", KV_KTY_RSA, 2},
    {"sha512.pfx", "p\xc3\xa4ssword", KV_KTY_RSA, 2},
    {"ed25519.pfx", "secret", KV_KTY_OKP, 1},
};

Test(pkcs12, opens_every_usual_cipher)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct kv_buf file;
        struct kv_key *key = NULL;
        struct kv_key_certs certs = {.n = 0};
        struct kv_err err = KV_ERR_INIT;
        read_file(good[i].file, &file);
        cr_assert_eq(
            import_pfx(fixture_bytes(&file), good[i].password, &key, &certs, &err), 0,
            "%s: %s %s", good[i].file, err.id, err.message);
        cr_expect_eq(kv_key_kty(key), good[i].kty);
        cr_expect_eq(certs.n, good[i].n_certs, "%s", good[i].file);
        cr_expect(kv_key_fits_cert(key, fixture_bytes(&certs.der[0])));
        kv_key_certs_free(&certs);
        kv_key_unref(key);
        kv_buf_free(&file);
    }
}

Test(pkcs12, refuses_what_is_not_served)
{
    static const struct {
        const char *file;
        const char *password;
        const char *id;
    } rows[] = {
        {"aes.pfx", "Secret", "key.import-bad-password"},
        {"aes.pfx", NULL, "key.import-bad-password"},
        {"aes-empty.pfx", "secret", "key.import-bad-password"},
        {"legacy-rc2.pfx", "x", "key.import-bad-password"},
        {"no-mac.pfx", "secret", "key.import-pfx-no-mac"},
        {"no-key.pfx", "secret", "key.import-no-key"},
        {"rc4.pfx", "secret", "key.import-unsupported"},
        {"rsa2048.p8.der", "secret", "key.import-bad-pfx"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_buf file;
        read_file(rows[i].file, &file);
        expect_refused(fixture_bytes(&file), rows[i].password, rows[i].id,
                       rows[i].file);
        kv_buf_free(&file);
    }
}

static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* 1,000,001 iterations in the MAC or in the bags, then patched to the largest count
 * of the same length: refused before a single one is done. */
Test(pkcs12, iteration_counts_are_judged_before_they_are_paid)
{
    static const char *const files[] = {"iterations.pfx", "iterations-bags.pfx"};
    static const uint8_t count[] = {0x02, 0x03, 0x0f, 0x42, 0x41};
    for (size_t i = 0; i < 2; i++) {
        struct kv_buf file;
        read_file(files[i], &file);
        double before = cpu_s();
        expect_refused(fixture_bytes(&file), "secret", "key.import-work-factor",
                       files[i]);
        /* The MAC is the last part of the file; the bags come before it and are
         * under its protection, so only the MAC's own count can be patched. */
        uint8_t *last = NULL;
        for (uint8_t *at = file.data;
             (at = memmem(at, file.len - (size_t)(at - file.data), count,
                          sizeof(count))) != NULL;
             at++)
            last = at;
        cr_assert_not_null(last);
        if (i == 0) {
            memset(last + 2, 0x7f, 3);
            expect_refused(fixture_bytes(&file), "secret", "key.import-work-factor",
                           "patched MAC");
            last[2] = 0x80;
            expect_refused(fixture_bytes(&file), "secret", "key.import-work-factor",
                           "negative MAC count");
        }
        cr_expect_lt(cpu_s() - before, 0.5, "%s took work", files[i]);
        kv_buf_free(&file);
    }
}

Test(pkcs12, refuses_every_truncation_and_a_trailing_byte)
{
    struct kv_buf file;
    read_file("ed25519.pfx", &file);
    for (size_t n = 1; n < file.len; n++)
        expect_refused((struct kv_bytes){file.data, n}, "secret", "key.import-bad-pfx",
                       "cut");
    cr_assert_eq(kv_buf_append(&file, "x", 1), 0);
    expect_refused(fixture_bytes(&file), "secret", "key.import-bad-pfx", "followed");
    kv_buf_free(&file);
}

Test(pkcs12, every_flipped_byte_is_noticed_or_harmless)
{
    struct kv_buf file;
    struct kv_key *original = NULL;
    read_file("plain-all.pfx", &file);
    cr_assert_eq(import_pfx(fixture_bytes(&file), "secret", &original, NULL, NULL), 0);
    for (size_t i = 0; i < file.len; i += 3) {
        struct kv_key *key = NULL;
        file.data[i] ^= 0x11;
        if (import_pfx(fixture_bytes(&file), "secret", &key, NULL, NULL) == 0) {
            cr_assert_eq(kv_key_spki(key).len, kv_key_spki(original).len);
            cr_expect_eq(memcmp(kv_key_spki(key).data, kv_key_spki(original).data,
                                kv_key_spki(key).len),
                         0, "byte %zu", i);
        }
        file.data[i] ^= 0x11;
        kv_key_unref(key);
    }
    kv_key_unref(original);
    kv_buf_free(&file);
}

static int mac_iterations = 100;
static int bag_iterations = 100;

/* A PFX that is built here: `n_keys` keys, `n_secrets` secret bags; a password of
 * NULL is the spelling without any. */
static void build(unsigned n_keys, unsigned n_secrets, const char *password,
                  struct kv_buf *out)
{
    STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
    STACK_OF(PKCS7) *safes = NULL;
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "prime256v1");
    for (unsigned i = 0; i < n_keys; i++)
        cr_assert_not_null(
            PKCS12_add_key(&bags, pkey, 0, bag_iterations, NID_aes_128_cbc, password));
    for (unsigned i = 0; i < n_secrets; i++)
        cr_assert_not_null(
            PKCS12_add_secret(&bags, NID_pkcs7_data, (const uint8_t *)"s", 1));
    cr_assert_eq(PKCS12_add_safe(&safes, bags, -1, 0, NULL), 1);
    PKCS12 *pfx = PKCS12_add_safes(safes, 0);
    cr_assert_eq(
        PKCS12_set_mac(pfx, password, -1, NULL, 0, mac_iterations, EVP_sha256()), 1);
    kv_buf_init(out, KV_IMPORT_MAX);
    uint8_t *at = kv_buf_extend(out, (size_t)i2d_PKCS12(pfx, NULL));
    cr_assert_gt(i2d_PKCS12(pfx, &at), 0);
    PKCS12_free(pfx);
    sk_PKCS7_pop_free(safes, PKCS7_free);
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    EVP_PKEY_free(pkey);
}

Test(pkcs12, counts_keys_and_bags)
{
    static const struct {
        const char *why;
        unsigned n_keys;
        unsigned n_secrets;
        const char *id;
    } rows[] = {
        {"one key", 1, 0, NULL},
        {"64 bags", 1, 63, NULL},
        {"65 bags", 1, 64, "key.import-many-bags"},
        {"two keys", 2, 0, "key.import-many-keys"},
        {"no key", 0, 3, "key.import-no-key"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_buf pfx;
        struct kv_key *key = NULL;
        build(rows[i].n_keys, rows[i].n_secrets, "secret", &pfx);
        if (rows[i].id != NULL)
            expect_refused(fixture_bytes(&pfx), "secret", rows[i].id, rows[i].why);
        else
            cr_expect_eq(import_pfx(fixture_bytes(&pfx), "secret", &key, NULL, NULL), 0,
                         "%s", rows[i].why);
        kv_key_unref(key);
        kv_buf_free(&pfx);
    }
}

Test(pkcs12, both_spellings_of_no_password_open)
{
    static const char *const spellings[] = {NULL, ""};
    for (size_t i = 0; i < 2; i++) {
        struct kv_buf pfx;
        struct kv_key *key = NULL;
        struct kv_err err = KV_ERR_INIT;
        build(1, 0, spellings[i], &pfx);
        cr_expect_eq(import_pfx(fixture_bytes(&pfx), NULL, &key, NULL, &err), 0,
                     "spelling %zu: %s", i, err.message);
        kv_key_unref(key);
        kv_buf_free(&pfx);
    }
}

/* A file without a password is tried in both spellings, and each try is paid for. */
Test(pkcs12, a_second_try_is_paid_for, .timeout = 60)
{
    static const struct {
        const char *spelling;
        int iterations;
        bool ok;
    } rows[] = {
        {"", KV_PBE_BUDGET - 100, true},
        {NULL, KV_PBE_BUDGET / 2 - 100, true},
        {NULL, KV_PBE_BUDGET / 2 + 1, false},
        {"", KV_PBE_BUDGET + 1, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_buf pfx;
        struct kv_key *key = NULL;
        struct kv_err err = KV_ERR_INIT;
        mac_iterations = rows[i].iterations;
        build(1, 0, rows[i].spelling, &pfx);
        const int rc = import_pfx(fixture_bytes(&pfx), NULL, &key, NULL, &err);
        cr_expect_eq(rc == 0, rows[i].ok, "row %zu: %s", i, err.message);
        if (!rows[i].ok)
            cr_expect_str_eq(err.id, "key.import-work-factor");
        kv_key_unref(key);
        kv_buf_free(&pfx);
    }
}

Test(pkcs12, all_parts_of_a_file_share_one_budget)
{
    static const struct {
        int mac;
        int bag;
        bool ok;
    } rows[] = {
        {1000, KV_PBE_BUDGET - 1000, true},
        {1001, KV_PBE_BUDGET - 1000, false},
        {KV_PBE_BUDGET, 1, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_buf pfx;
        struct kv_key *key = NULL;
        struct kv_err err = KV_ERR_INIT;
        mac_iterations = rows[i].mac;
        bag_iterations = rows[i].bag;
        build(1, 0, "secret", &pfx);
        const int rc = import_pfx(fixture_bytes(&pfx), "secret", &key, NULL, &err);
        cr_expect_eq(rc == 0, rows[i].ok, "row %zu: %s", i, err.message);
        if (!rows[i].ok)
            cr_expect_str_eq(err.id, "key.import-work-factor");
        kv_key_unref(key);
        kv_buf_free(&pfx);
    }
}

/* A wrong password and a damaged file look the same, wherever it is noticed. */
Test(pkcs12, wrong_passwords_have_one_text)
{
    static const struct {
        const char *file;
        uint8_t import;
    } rows[] = {
        {"aes.pfx", KV_IMPORT_PFX},
        {"legacy-rc2.pfx", KV_IMPORT_PFX},
        {"legacy-3des.pfx", KV_IMPORT_PFX},
        {"enc-des3.pem", KV_IMPORT_PEM},
    };
    static const char *const wrong[] = {NULL, "x", "secret "};
    char first[KV_ERR_TEXT_MAX] = "";
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_buf file;
        read_file(rows[i].file, &file);
        for (size_t k = 0; k < sizeof(wrong) / sizeof(wrong[0]); k++) {
            struct kv_key *key = NULL;
            struct kv_err err = KV_ERR_INIT;
            const struct kv_role_key_new request = {.import = rows[i].import,
                                                    .password = text(wrong[k]),
                                                    .material = fixture_bytes(&file)};
            cr_expect_eq(kv_key_import(&request, &key, NULL, &err), KV_E_INVALID);
            cr_expect_str_eq(err.id, "key.import-bad-password", "%s", rows[i].file);
            if (first[0] == '\0')
                memcpy(first, err.message, sizeof(first));
            cr_expect_str_eq(err.message, first, "%s", rows[i].file);
            cr_expect_str_eq(err.hint, "");
            cr_expect_eq(ERR_peek_error(), 0);
        }
        kv_buf_free(&file);
    }
}
