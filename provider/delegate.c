/*
 * The default provider does what needs no secret. When keyvault is preferred by
 * property, libcrypto parses every certificate's key into our KEYMGMT; asking a daemon
 * to verify all of them would be slow and would tell it whom the program talks to.
 */
#include "provider/delegate.h"

struct kv_delegate {
    EVP_PKEY_CTX *pctx; /* owned unless md_ctx owns it */
    EVP_MD_CTX *md_ctx; /* DIGEST_VERIFY only */
};

static int start(struct kv_delegate *delegate, enum kv_delegate_op op,
                 const OSSL_PARAM params[])
{
    switch (op) {
    case KV_DELEGATE_VERIFY:
        return EVP_PKEY_verify_init_ex(delegate->pctx, params);
    case KV_DELEGATE_VERIFY_RECOVER:
        return EVP_PKEY_verify_recover_init_ex(delegate->pctx, params);
    case KV_DELEGATE_ENCRYPT:
        return EVP_PKEY_encrypt_init_ex(delegate->pctx, params);
    case KV_DELEGATE_DIGEST_VERIFY:
        break;
    }
    return 0;
}

struct kv_delegate *kv_delegate_new(const struct kv_pkey *key, enum kv_delegate_op op,
                                    const char *md_name, const OSSL_PARAM params[])
{
    if (key == NULL || key->pub == NULL)
        return NULL;
    struct kv_delegate *delegate = OPENSSL_zalloc(sizeof(*delegate));
    if (delegate == NULL)
        return NULL;
    int ok = 0;
    if (op == KV_DELEGATE_DIGEST_VERIFY) {
        delegate->md_ctx = EVP_MD_CTX_new();
        ok = delegate->md_ctx != NULL &&
             EVP_DigestVerifyInit_ex(delegate->md_ctx, &delegate->pctx, md_name,
                                     key->prov->libctx, NULL, key->pub, params) > 0;
    } else {
        delegate->pctx = EVP_PKEY_CTX_new_from_pkey(key->prov->libctx, key->pub, NULL);
        ok = delegate->pctx != NULL && start(delegate, op, params) > 0;
    }
    if (ok)
        return delegate;
    kv_delegate_free(delegate);
    return NULL;
}

void kv_delegate_free(struct kv_delegate *delegate)
{
    if (delegate == NULL)
        return;
    if (delegate->md_ctx != NULL)
        EVP_MD_CTX_free(delegate->md_ctx);
    else
        EVP_PKEY_CTX_free(delegate->pctx);
    OPENSSL_free(delegate);
}

struct kv_delegate *kv_delegate_dup(const struct kv_delegate *delegate)
{
    struct kv_delegate *copy = OPENSSL_zalloc(sizeof(*copy));
    if (copy == NULL)
        return NULL;
    if (delegate->md_ctx == NULL) {
        copy->pctx = EVP_PKEY_CTX_dup(delegate->pctx);
    } else {
        copy->md_ctx = EVP_MD_CTX_new();
        if (copy->md_ctx != NULL &&
            EVP_MD_CTX_copy_ex(copy->md_ctx, delegate->md_ctx) > 0)
            copy->pctx = EVP_MD_CTX_get_pkey_ctx(copy->md_ctx);
    }
    if (copy->pctx != NULL)
        return copy;
    kv_delegate_free(copy);
    return NULL;
}

int kv_delegate_set_params(struct kv_delegate *delegate, const OSSL_PARAM params[])
{
    return EVP_PKEY_CTX_set_params(delegate->pctx, params);
}

int kv_delegate_get_params(struct kv_delegate *delegate, OSSL_PARAM params[])
{
    return EVP_PKEY_CTX_get_params(delegate->pctx, params);
}

int kv_delegate_verify(struct kv_delegate *delegate, const unsigned char *sig,
                       size_t sig_len, const unsigned char *tbs, size_t tbs_len)
{
    return EVP_PKEY_verify(delegate->pctx, sig, sig_len, tbs, tbs_len);
}

int kv_delegate_verify_recover(struct kv_delegate *delegate, unsigned char *out,
                               size_t *out_len, const unsigned char *sig,
                               size_t sig_len)
{
    return EVP_PKEY_verify_recover(delegate->pctx, out, out_len, sig, sig_len);
}

int kv_delegate_encrypt(struct kv_delegate *delegate, unsigned char *out,
                        size_t *out_len, const unsigned char *in, size_t in_len)
{
    return EVP_PKEY_encrypt(delegate->pctx, out, out_len, in, in_len);
}

int kv_delegate_update(struct kv_delegate *delegate, const unsigned char *data,
                       size_t len)
{
    return EVP_DigestVerifyUpdate(delegate->md_ctx, data, len);
}

int kv_delegate_final(struct kv_delegate *delegate, const unsigned char *sig,
                      size_t sig_len)
{
    return EVP_DigestVerifyFinal(delegate->md_ctx, sig, sig_len);
}

int kv_delegate_digest_verify(struct kv_delegate *delegate, const unsigned char *sig,
                              size_t sig_len, const unsigned char *tbs, size_t tbs_len)
{
    return EVP_DigestVerify(delegate->md_ctx, sig, sig_len, tbs, tbs_len);
}
