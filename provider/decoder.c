/*
 * DECODER: files that carry a reference instead of a key. This is how programs that
 * know nothing of STORE (nginx, HAProxy, PostgreSQL, Python...) load vault keys.
 *
 *   PEM "KEYVAULT KEY URI" -> DER, structure KeyvaultKeyUri -> RSA | EC | ED25519
 *
 * The PEM step takes exactly one block from the file, and returns success without an
 * object for a label that is not ours, so that a key behind a CERTIFICATE block is
 * found. The DER steps run one key type after another; the type stands in the file,
 * so only the right one may have to ask the daemon.
 */
#include "provider/pkey.h"

#include <openssl/core_object.h>
#include <openssl/pem.h>
#include <string.h>

#define STRUCTURE "KeyvaultKeyUri" /* as in provider.c's algorithm names */

static void *decoder_new(void *provctx)
{
    return provctx; /* there is no state */
}

static void decoder_free(void *ctx)
{
    (void)ctx;
}

static int does_selection(void *provctx, int selection)
{
    (void)provctx;
    (void)selection;
    return 1;
}

static int emit_der(unsigned char *der, size_t len, OSSL_CALLBACK *data_cb, void *arg)
{
    int type = OSSL_OBJECT_PKEY;
    char structure[] = STRUCTURE;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE, structure,
                                         0),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA, der, len),
        OSSL_PARAM_construct_end(),
    };
    return data_cb(params, arg);
}

static int pem_decode(void *ctx, OSSL_CORE_BIO *in, int selection,
                      OSSL_CALLBACK *data_cb, void *data_cbarg,
                      OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    struct kv_prov *prov = ctx;
    char *label = NULL;
    char *header = NULL;
    unsigned char *der = NULL;
    long len = 0;
    int ok = 1; /* nothing of ours: carry on */
    (void)selection;
    (void)pw_cb;
    (void)pw_cbarg;
    BIO *bio = BIO_new_from_core_bio(prov->libctx, in);
    if (bio == NULL)
        return 0;
    kv_reason_mark(&prov->core);
    int got = PEM_read_bio(bio, &label, &header, &der, &len);
    kv_reason_drop(&prov->core);
    if (got > 0 && strcmp(label, KV_KEYREF_PEM_LABEL) == 0)
        ok = emit_der(der, (size_t)len, data_cb, data_cbarg);
    OPENSSL_free(label);
    OPENSSL_free(header);
    OPENSSL_clear_free(der, (size_t)len); /* may be a private key of the host */
    BIO_free(bio);
    return ok;
}

/* Read everything there is, at most one byte more than a reference may have. */
static int read_der(struct kv_prov *prov, OSSL_CORE_BIO *in, struct kv_buf *out)
{
    BIO *bio = BIO_new_from_core_bio(prov->libctx, in);
    if (bio == NULL)
        return KV_E_NOMEM;
    uint8_t chunk[512];
    int n = 0;
    while ((n = BIO_read(bio, chunk, sizeof(chunk))) > 0) {
        if (kv_buf_append(out, chunk, (size_t)n) != 0)
            break;
    }
    BIO_free(bio);
    return kv_buf_status(out);
}

/* Whether this step is the one for the reference: by its type, or if the file does
 * not say it, by asking what the key is. */
static int decode_ref(struct kv_prov *prov, const struct kv_keyref *ref, int selection,
                      enum kv_pkey_type type, struct kv_pkey **key, struct kv_err *err)
{
    *key = NULL;
    if (ref->key_type[0] != '\0' && kv_pkey_type_by_name(ref->key_type) != (int)type)
        return 0;
    bool is_private =
        selection == 0 || (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0;
    int rc = kv_pkey_from_keyref(prov, ref, is_private, key, err);
    if (rc == 0 && (*key)->type != type) {
        kv_pkey_unref(*key);
        *key = NULL;
    }
    return rc;
}

static int der_decode(struct kv_prov *prov, OSSL_CORE_BIO *in, int selection,
                      enum kv_pkey_type type, OSSL_CALLBACK *data_cb, void *arg)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_keyref ref;
    struct kv_pkey *key = NULL;
    struct kv_buf der;
    char uri[KV_URI_MAX + 1] = "";
    int rc = 0;
    kv_buf_init(&der, KV_KEYREF_DER_MAX);
    KV_TRY(read_der(prov, in, &der));
    KV_TRY(kv_keyref_decode(der.data, der.len, &ref, &err));
    KV_TRY(kv_uri_format(&ref.uri, uri, sizeof(uri)));
    KV_TRY(decode_ref(prov, &ref, selection, type, &key, &err));
out:
    kv_buf_free(&der);
    if (err.code != 0 && uri[0] != '\0')
        kv_reason_raise_about(&prov->core, &err, uri);
    else if (err.code != 0)
        kv_reason_raise_err(&prov->core, &err);
    if (rc != 0)
        return 0;
    return key == NULL ? 1 : kv_pkey_take_emit(key, data_cb, arg);
}

#define DER_DECODER(alg, type)                                                         \
    static int alg##_decode(void *ctx, OSSL_CORE_BIO *in, int selection,               \
                            OSSL_CALLBACK *data_cb, void *data_cbarg,                  \
                            OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)           \
    {                                                                                  \
        (void)pw_cb;                                                                   \
        (void)pw_cbarg;                                                                \
        return der_decode(ctx, in, selection, type, data_cb, data_cbarg);              \
    }                                                                                  \
    DECODER_TABLE(alg)

#define DECODER_TABLE(alg)                                                             \
    const OSSL_DISPATCH kv_decoder_##alg[] = {                                         \
        KV_DISPATCH(OSSL_FUNC_DECODER_NEWCTX, OSSL_FUNC_decoder_newctx, decoder_new),  \
        KV_DISPATCH(OSSL_FUNC_DECODER_FREECTX, OSSL_FUNC_decoder_freectx,              \
                    decoder_free),                                                     \
        KV_DISPATCH(OSSL_FUNC_DECODER_DOES_SELECTION,                                  \
                    OSSL_FUNC_decoder_does_selection, does_selection),                 \
        KV_DISPATCH(OSSL_FUNC_DECODER_DECODE, OSSL_FUNC_decoder_decode, alg##_decode), \
        KV_DISPATCH_END}

DECODER_TABLE(pem);
DER_DECODER(rsa, KV_PKEY_RSA);
DER_DECODER(ec, KV_PKEY_EC);
DER_DECODER(ed25519, KV_PKEY_ED25519);
