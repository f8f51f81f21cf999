#include "tests/support/evp_check.h"

#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/store.h>
#include <string.h>

struct provider_fixture evp_fixture;

const char *const evp_check_names[EVP_CHECK_N_NAMES] = {"rsa",  "p256",  "p384",
                                                        "p521", "p256k", "ed25519"};

void evp_check_open(void)
{
    provider_fixture_open(&evp_fixture, NULL);
}

void evp_check_close(void)
{
    provider_fixture_close(&evp_fixture);
}

static void name_uri(char uri[64], const char *name)
{
    (void)snprintf(uri, 64, "keyvault:///keys/%s", name);
}

EVP_PKEY *evp_check_private(const char *name)
{
    char uri[64];
    name_uri(uri, name);
    EVP_PKEY *key = provider_fixture_key(&evp_fixture, uri);
    cr_assert_not_null(key, "%s", uri);
    return key;
}

static OSSL_STORE_INFO *load_one(const char *uri, int expect)
{
    fake_keyring_prepare(evp_fixture.keyring, uri);
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(uri, evp_fixture.libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    cr_assert_not_null(store, "%s", uri);
    cr_assert_eq(OSSL_STORE_expect(store, expect), 1);
    OSSL_STORE_INFO *info = OSSL_STORE_load(store);
    cr_assert_not_null(info, "%s", uri);
    cr_assert_eq(OSSL_STORE_INFO_get_type(info), expect, "%s", uri);
    (void)OSSL_STORE_close(store);
    return info;
}

EVP_PKEY *evp_check_public(const char *name)
{
    char uri[64];
    name_uri(uri, name);
    OSSL_STORE_INFO *info = load_one(uri, OSSL_STORE_INFO_PUBKEY);
    EVP_PKEY *key = OSSL_STORE_INFO_get1_PUBKEY(info);
    OSSL_STORE_INFO_free(info);
    return key;
}

EVP_PKEY *evp_check_software(const char *name)
{
    char uri[64];
    name_uri(uri, name);
    EVP_PKEY *key = fake_keyring_software(evp_fixture.keyring, uri);
    cr_assert_not_null(key, "%s", uri);
    return key;
}

X509 *evp_check_certificate(const char *name, OSSL_LIB_CTX *libctx)
{
    char uri[64];
    unsigned char *der = NULL;
    (void)snprintf(uri, sizeof(uri), "keyvault:///certificates/%s", name);
    OSSL_STORE_INFO *info = load_one(uri, OSSL_STORE_INFO_CERT);
    int len = i2d_X509(OSSL_STORE_INFO_get0_CERT(info), &der);
    OSSL_STORE_INFO_free(info);
    const unsigned char *at = der;
    X509 *cert = X509_new_ex(libctx, NULL);
    cr_assert_not_null(d2i_X509(&cert, &at, len), "%s", uri);
    OPENSSL_free(der);
    return cert;
}

void evp_check_keyref(const char *name, EVP_PKEY *key, struct kv_keyref *ref)
{
    unsigned char digest[32];
    *ref = (struct kv_keyref){.uri = {.collection = KV_URI_KEYS}};
    (void)snprintf(ref->uri.name, sizeof(ref->uri.name), "%s", name);
    if (key == NULL)
        return;
    unsigned char *at = ref->spki;
    const int len = i2d_PUBKEY(key, NULL);
    cr_assert(len > 0 && len <= KV_KEYREF_SPKI_MAX, "%s", name);
    ref->spki_len = (size_t)i2d_PUBKEY(key, &at);
    cr_assert_eq(EVP_Q_digest(NULL, "SHA256", NULL, name, strlen(name), digest, NULL),
                 1);
    ref->uri.has_version = true;
    memcpy(ref->uri.version, digest, KV_ID_LEN);
    (void)snprintf(ref->key_type, sizeof(ref->key_type), "%s",
                   EVP_PKEY_is_a(key, "RSA")  ? "RSA"
                   : EVP_PKEY_is_a(key, "EC") ? "EC"
                                              : "ED25519");
}

size_t evp_check_pem(const struct kv_keyref *ref, char *out, size_t size)
{
    struct kv_buf pem;
    kv_buf_init(&pem, 8192);
    cr_assert_eq(kv_keyref_encode_pem(ref, &pem, NULL), 0);
    cr_assert_lt(pem.len, size);
    const size_t len = pem.len;
    memcpy(out, pem.data, len);
    out[len] = '\0';
    kv_buf_free(&pem);
    return len;
}

const char *evp_check_digest(const char *name)
{
    return strcmp(name, "ed25519") == 0 ? NULL : "SHA256";
}

unsigned evp_check_frames(void)
{
    return fake_keyring_counts(evp_fixture.keyring)->requests;
}

void evp_check_clean(const char *what)
{
    const char *file = "";
    const char *data = "";
    int line = 0;
    int flags = 0;
    unsigned long code = ERR_peek_error_all(&file, &line, NULL, &data, &flags);
    cr_expect_eq(code, 0, "%s left: %s:%d %s, %s", what, file, line,
                 ERR_reason_error_string(code) != NULL ? ERR_reason_error_string(code)
                                                       : "",
                 (flags & ERR_TXT_STRING) != 0 ? data : "");
    ERR_clear_error();
}

void evp_check_refused(const char *what, const char *reason, const char *data)
{
    const char *found_data = "";
    int flags = 0;
    bool is_found = false;
    unsigned long code = 0;
    while ((code = ERR_get_error_all(NULL, NULL, NULL, &found_data, &flags)) != 0) {
        const char *found = ERR_reason_error_string(code);
        if (found == NULL || strcmp(ERR_lib_error_string(code), "keyvault") != 0)
            continue;
        is_found = is_found || ((reason == NULL || strstr(found, reason) != NULL) &&
                                (data == NULL || strstr(found_data, data) != NULL));
    }
    cr_expect(is_found, "%s: no entry of ours says %s, %s", what,
              reason != NULL ? reason : "anything", data != NULL ? data : "anything");
}
