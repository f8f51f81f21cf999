/*
 * The primitives under sealing: HKDF-SHA256 and AES key wrap with padding, fetched
 * from the default provider with explicit properties. They run at start and once per
 * vault key, so they fetch each time and keep nothing.
 */
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "store/keyring/seal.h"

#define PROPERTIES "provider=default"

int kv_hkdf(struct kv_bytes key, struct kv_bytes salt, struct kv_bytes info,
            uint8_t *out, size_t out_len)
{
    int rc = KV_E_CRYPTO;
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", PROPERTIES);
    EVP_KDF_CTX *ctx = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)key.data,
                                          key.len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)info.data,
                                          info.len),
        OSSL_PARAM_construct_end(),
        OSSL_PARAM_construct_end(),
    };
    if (salt.len > 0)
        params[3] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT,
                                                      (void *)salt.data, salt.len);
    if (ctx != NULL && EVP_KDF_derive(ctx, out, out_len, params) == 1)
        rc = 0;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    ERR_clear_error();
    return rc;
}

/* Room for the result: the padded length and two blocks more. */
static int wrap_cipher(const uint8_t key[32], struct kv_bytes in, bool is_wrapping,
                       struct kv_buf *out)
{
    int rc = KV_E_CRYPTO;
    const size_t start = out->len;
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-WRAP-PAD", PROPERTIES);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t *at = NULL;
    int len = 0;
    int tail = 0;
    if (cipher == NULL || ctx == NULL || in.len > INT_MAX - 32)
        goto out;
    at = kv_buf_extend(out, in.len + 32);
    if (at == NULL) {
        rc = kv_buf_status(out);
        goto out;
    }
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (EVP_CipherInit_ex2(ctx, cipher, key, NULL, is_wrapping ? 1 : 0, NULL) != 1)
        goto out;
    if (EVP_CipherUpdate(ctx, at, &len, in.data, (int)in.len) != 1 || len <= 0 ||
        EVP_CipherFinal_ex(ctx, at + len, &tail) != 1) {
        rc = is_wrapping ? KV_E_CRYPTO : KV_E_INTEGRITY;
        goto out;
    }
    kv_buf_truncate(out, start + (size_t)len + (size_t)tail);
    rc = 0;
out:
    if (rc != 0 && at != NULL) {
        kv_wipe(at, in.len + 32);
        kv_buf_truncate(out, start);
    }
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    ERR_clear_error();
    return rc;
}

int kv_key_wrap(const uint8_t key[32], struct kv_bytes plain, struct kv_buf *out)
{
    return wrap_cipher(key, plain, true, out);
}

int kv_key_unwrap(const uint8_t key[32], struct kv_bytes wrapped, struct kv_buf *out)
{
    if (wrapped.len < 16 || wrapped.len % 8 != 0)
        return KV_E_INTEGRITY;
    return wrap_cipher(key, wrapped, false, out);
}
