/*
 * Text of a vault key, for `openssl pkey -text` and its like: where it is, what it is,
 * and its public part. The default provider's text encoder would ask for a private
 * export; text of public keys is left to it.
 *
 * Encoders of PrivateKeyInfo exist to refuse with a reason: without them a program
 * that tries to save the private key fails and says nothing.
 */
#include "provider/pkey.h"

#include <openssl/bio.h>

#include "store/core/str.h"

static void *encoder_new(void *provctx)
{
    return provctx; /* there is no state */
}

static void encoder_free(void *ctx)
{
    (void)ctx;
}

static int does_selection(void *ctx, int selection)
{
    (void)ctx;
    return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0;
}

static int print(BIO *bio, const struct kv_pkey *key)
{
    char version[KV_VERSION_TEXT_LEN + 1];
    kv_hex_encode(version, key->version, KV_ID_LEN);
    return BIO_printf(bio,
                      "Keyvault %s Private-Key: (%d bit, stays in the vault, not "
                      "exportable)\n"
                      "URI: %s\n"
                      "Version: %s\n",
                      kv_pkey_type_name(key->type), kv_pkey_bits(key), key->uri,
                      version) > 0 &&
           EVP_PKEY_print_public(bio, key->pub, 0, NULL) > 0;
}

static int encode(void *ctx, OSSL_CORE_BIO *out, const void *keydata,
                  const OSSL_PARAM key_abstract[], int selection,
                  OSSL_PASSPHRASE_CALLBACK *cb, void *cbarg)
{
    const struct kv_prov *prov = ctx;
    const struct kv_pkey *key = keydata;
    (void)selection;
    (void)cb;
    (void)cbarg;
    if (key_abstract != NULL || key == NULL || !key->is_private)
        return 0;
    BIO *bio = BIO_new_from_core_bio(prov->libctx, out);
    if (bio == NULL)
        return 0;
    int ok = print(bio, key);
    BIO_free(bio);
    return ok;
}

static int refuse(void *ctx, OSSL_CORE_BIO *out, const void *keydata,
                  const OSSL_PARAM key_abstract[], int selection,
                  OSSL_PASSPHRASE_CALLBACK *cb, void *cbarg)
{
    const struct kv_prov *prov = ctx;
    (void)out;
    (void)keydata;
    (void)key_abstract;
    (void)selection;
    (void)cb;
    (void)cbarg;
    kv_reason_raise(&prov->core, KV_REASON_NOT_EXPORTABLE,
                    "keyvault: save a reference instead, with `keyvault key uri-pem "
                    "NAME`, or the public part (-pubout)");
    return 0;
}

const OSSL_DISPATCH kv_encoder_private[] = {
    KV_DISPATCH(OSSL_FUNC_ENCODER_NEWCTX, OSSL_FUNC_encoder_newctx, encoder_new),
    KV_DISPATCH(OSSL_FUNC_ENCODER_FREECTX, OSSL_FUNC_encoder_freectx, encoder_free),
    KV_DISPATCH(OSSL_FUNC_ENCODER_DOES_SELECTION, OSSL_FUNC_encoder_does_selection,
                does_selection),
    KV_DISPATCH(OSSL_FUNC_ENCODER_ENCODE, OSSL_FUNC_encoder_encode, refuse),
    KV_DISPATCH_END};

#define ENCODER_TABLE(alg)                                                             \
    const OSSL_DISPATCH kv_encoder_##alg##_text[] = {                                  \
        KV_DISPATCH(OSSL_FUNC_ENCODER_NEWCTX, OSSL_FUNC_encoder_newctx, encoder_new),  \
        KV_DISPATCH(OSSL_FUNC_ENCODER_FREECTX, OSSL_FUNC_encoder_freectx,              \
                    encoder_free),                                                     \
        KV_DISPATCH(OSSL_FUNC_ENCODER_DOES_SELECTION,                                  \
                    OSSL_FUNC_encoder_does_selection, does_selection),                 \
        KV_DISPATCH(OSSL_FUNC_ENCODER_ENCODE, OSSL_FUNC_encoder_encode, encode),       \
        KV_DISPATCH_END}

ENCODER_TABLE(rsa);
ENCODER_TABLE(ec);
ENCODER_TABLE(ed25519);
