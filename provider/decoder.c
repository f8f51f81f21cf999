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
#include "provider/pem.h"
#include "provider/pkey.h"

#include <openssl/core_object.h>
#include <string.h>

#include "store/core/secret.h"

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

static int emit_der(struct kv_buf *der, OSSL_CALLBACK *data_cb, void *arg)
{
    int type = OSSL_OBJECT_PKEY;
    char structure[] = STRUCTURE;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE, structure,
                                         0),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA, der->data, der->len),
        OSSL_PARAM_construct_end(),
    };
    return data_cb(params, arg);
}

/* What stands under our label must be a reference: nobody else can say what is wrong
 * with it. */
static int pem_decode(void *ctx, OSSL_CORE_BIO *in, int selection,
                      OSSL_CALLBACK *data_cb, void *data_cbarg,
                      OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    struct kv_prov *prov = ctx;
    struct kv_err err = KV_ERR_INIT;
    struct kv_keyref ref;
    struct kv_buf der;
    int ok = 1; /* nothing of ours: carry on */
    (void)selection;
    (void)pw_cb;
    (void)pw_cbarg;
    BIO *bio = BIO_new_from_core_bio(prov->libctx, in);
    if (bio == NULL)
        return 0;
    kv_buf_init(&der, KV_KEYREF_DER_MAX);
    int rc = kv_pem_read(bio, &der, &err);
    if (rc > 0)
        rc = kv_keyref_decode(der.data, der.len, &ref, &err) == 0 ? 1 : err.code;
    if (rc > 0)
        ok = emit_der(&der, data_cb, data_cbarg);
    BIO_free(bio);
    kv_buf_free(&der);
    if (rc >= 0)
        return ok;
    kv_reason_raise_err(&prov->core, &err);
    return 0;
}

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
    kv_wipe(chunk, sizeof(chunk));
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

static int fail(const struct kv_prov *prov, const struct kv_keyref *ref,
                const struct kv_err *err)
{
    char uri[KV_URI_MAX + 1];
    if (kv_uri_format(&ref->uri, uri, sizeof(uri)) == 0)
        kv_reason_raise_about(&prov->core, err, uri);
    else
        kv_reason_raise_err(&prov->core, err);
    return 0;
}

/* Every DER key that the host loads comes here too: what is no reference is left to
 * others, for a failure would end their turn. */
static int der_decode(struct kv_prov *prov, OSSL_CORE_BIO *in, int selection,
                      enum kv_pkey_type type, OSSL_CALLBACK *data_cb, void *arg)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_keyref ref;
    struct kv_pkey *key = NULL;
    struct kv_buf der;
    kv_buf_init_secret(&der, KV_KEYREF_DER_MAX);
    bool is_ours = read_der(prov, in, &der) == 0 &&
                   kv_keyref_decode(der.data, der.len, &ref, NULL) == 0;
    kv_buf_free(&der);
    if (!is_ours)
        return 1;
    int rc = decode_ref(prov, &ref, selection, type, &key, &err);
    if (rc != 0)
        return fail(prov, &ref, &err);
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
