/*
 * libcrypto reads the file, the parameters of the key are written as base64url.
 *
 * The numbers are secret: they pass through secret buffers and through libraries
 * whose allocators wipe. RSA numbers have no leading zeros, EC numbers have the full
 * length of the field (RFC 7518 §6.2.1.2, §6.3.1.1).
 */
#include "lifecycle/cli/pem.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

#include "store/core/b64.h"
#include "store/core/secret.h"

#define NUMBER_MAX 1024 /* bytes: RSA keys up to 8192 bits */

static const struct curve {
    const char *jwk;
    const char *group;
    size_t len;
} curves[] = {
    {"P-256", SN_X9_62_prime256v1, 32},
    {"P-384", SN_secp384r1, 48},
    {"P-521", SN_secp521r1, 66},
    {"P-256K", SN_secp256k1, 32},
};
#define N_CURVES (sizeof(curves) / sizeof(curves[0]))

/* --- reading -----------------------------------------------------------------------
 */

struct passphrase {
    const struct kv_buf *password;
    bool was_asked;
};

static int on_passphrase(char *out, int size, int is_for_writing, void *arg)
{
    struct passphrase *passphrase = arg;
    (void)is_for_writing;
    passphrase->was_asked = true;
    const struct kv_buf *password = passphrase->password;
    if (password == NULL || size < 0 || password->len > (size_t)size)
        return -1;
    if (password->len > 0)
        memcpy(out, password->data, password->len);
    return (int)password->len;
}

static bool is_pem(const struct kv_buf *file)
{
    return file->len > 11 && memmem(file->data, file->len, "-----BEGIN ", 11) != NULL;
}

static EVP_PKEY *read_der(BIO *bio, struct passphrase *passphrase)
{
    EVP_PKEY *key = NULL;
    OSSL_DECODER_CTX *decoder = OSSL_DECODER_CTX_new_for_pkey(
        &key, "DER", NULL, NULL, EVP_PKEY_KEYPAIR, NULL, NULL);
    if (decoder != NULL &&
        OSSL_DECODER_CTX_set_pem_password_cb(decoder, on_passphrase, passphrase) == 1)
        (void)OSSL_DECODER_from_bio(decoder, bio);
    OSSL_DECODER_CTX_free(decoder);
    return key;
}

int kv_pem_load_key(const struct kv_buf *file, const struct kv_buf *password,
                    EVP_PKEY **out, struct kv_err *err)
{
    struct passphrase passphrase = {.password = password};
    BIO *bio = file->len > 0 ? BIO_new_mem_buf(file->data, (int)file->len) : NULL;
    EVP_PKEY *key = NULL;
    if (bio != NULL && is_pem(file))
        key = PEM_read_bio_PrivateKey(bio, NULL, on_passphrase, &passphrase);
    else if (bio != NULL)
        key = read_der(bio, &passphrase);
    BIO_free(bio);
    ERR_clear_error();
    if (key != NULL) {
        *out = key;
        return 0;
    }
    if (passphrase.was_asked && password == NULL)
        return kv_err_set(err, KV_E_INVALID, "pem.needs-password",
                          "the private key is encrypted");
    if (passphrase.was_asked)
        return kv_err_set(err, KV_E_INVALID, "pem.wrong-password",
                          "the password does not open the private key");
    (void)kv_err_set(err, KV_E_INVALID, "pem.no-key",
                     "the file holds no private key in PEM or DER");
    kv_err_hint(err, "openssl pkey -in FILE -noout -text shows whether it is one");
    return KV_E_INVALID;
}

/* --- writing -----------------------------------------------------------------------
 */

static int set_bytes(json_t *jwk, const char *member, const uint8_t *data, size_t len)
{
    struct kv_buf text;
    kv_buf_init_secret(&text, 4 * (size_t)NUMBER_MAX);
    int rc = kv_b64_encode(KV_B64_URL, data, len, &text);
    if (rc == 0 &&
        json_object_set_new(jwk, member,
                            json_stringn((const char *)text.data, text.len)) != 0)
        rc = KV_E_NOMEM;
    kv_buf_free(&text);
    return rc;
}

/* Set a number of the key; `len` 0: as long as it needs. */
static int set_number(json_t *jwk, const char *member, const EVP_PKEY *key,
                      const char *param, size_t len)
{
    uint8_t bytes[NUMBER_MAX];
    BIGNUM *number = NULL;
    int rc = KV_E_INVALID;
    if (EVP_PKEY_get_bn_param(key, param, &number) == 1) {
        if (len == 0)
            len = (size_t)BN_num_bytes(number);
        if (len > 0 && len <= sizeof(bytes) &&
            BN_bn2binpad(number, bytes, (int)len) == (int)len)
            rc = set_bytes(jwk, member, bytes, len);
    }
    kv_wipe(bytes, sizeof(bytes));
    BN_clear_free(number);
    return rc;
}

static int set_rsa(json_t *jwk, const EVP_PKEY *key)
{
    static const struct {
        const char *member;
        const char *param;
    } numbers[] = {
        {"n", OSSL_PKEY_PARAM_RSA_N},          {"e", OSSL_PKEY_PARAM_RSA_E},
        {"d", OSSL_PKEY_PARAM_RSA_D},          {"p", OSSL_PKEY_PARAM_RSA_FACTOR1},
        {"q", OSSL_PKEY_PARAM_RSA_FACTOR2},    {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
        {"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2}, {"qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1},
    };
    int rc = json_object_set_new(jwk, "kty", json_string("RSA")) == 0 ? 0 : KV_E_NOMEM;
    for (size_t i = 0; rc == 0 && i < sizeof(numbers) / sizeof(numbers[0]); i++)
        rc = set_number(jwk, numbers[i].member, key, numbers[i].param, 0);
    return rc;
}

static const struct curve *curve_of(const EVP_PKEY *key)
{
    char group[64] = "";
    if (EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) != 1)
        return NULL;
    for (size_t i = 0; i < N_CURVES; i++) {
        if (OBJ_sn2nid(curves[i].group) == OBJ_txt2nid(group))
            return &curves[i];
    }
    return NULL;
}

static int set_ec(json_t *jwk, const EVP_PKEY *key)
{
    const struct curve *curve = curve_of(key);
    int rc = 0;
    if (curve == NULL)
        return KV_E_UNSUPPORTED;
    if (json_object_set_new(jwk, "kty", json_string("EC")) != 0 ||
        json_object_set_new(jwk, "crv", json_string(curve->jwk)) != 0)
        return KV_E_NOMEM;
    KV_TRY(set_number(jwk, "x", key, OSSL_PKEY_PARAM_EC_PUB_X, curve->len));
    KV_TRY(set_number(jwk, "y", key, OSSL_PKEY_PARAM_EC_PUB_Y, curve->len));
    KV_TRY(set_number(jwk, "d", key, OSSL_PKEY_PARAM_PRIV_KEY, curve->len));
out:
    return rc;
}

static int set_ed25519(json_t *jwk, const EVP_PKEY *key)
{
    uint8_t x[32];
    uint8_t d[32];
    size_t x_len = sizeof(x);
    size_t d_len = sizeof(d);
    int rc = KV_E_INVALID;
    if (EVP_PKEY_get_raw_public_key(key, x, &x_len) == 1 &&
        EVP_PKEY_get_raw_private_key(key, d, &d_len) == 1) {
        KV_TRY(set_bytes(jwk, "x", x, x_len));
        KV_TRY(set_bytes(jwk, "d", d, d_len));
        if (json_object_set_new(jwk, "kty", json_string("OKP")) != 0 ||
            json_object_set_new(jwk, "crv", json_string("Ed25519")) != 0)
            rc = KV_E_NOMEM;
    }
out:
    kv_wipe(d, sizeof(d));
    return rc;
}

int kv_pem_to_jwk(EVP_PKEY *key, json_t **out, struct kv_err *err)
{
    json_t *jwk = json_object();
    int rc = KV_E_UNSUPPORTED;
    if (jwk == NULL)
        return KV_E_NOMEM;
    if (EVP_PKEY_is_a(key, "RSA"))
        rc = set_rsa(jwk, key);
    else if (EVP_PKEY_is_a(key, "EC"))
        rc = set_ec(jwk, key);
    else if (EVP_PKEY_is_a(key, "ED25519"))
        rc = set_ed25519(jwk, key);
    ERR_clear_error();
    if (rc == 0) {
        *out = jwk;
        return 0;
    }
    json_decref(jwk);
    if (rc == KV_E_NOMEM)
        return rc;
    const char *type = EVP_PKEY_get0_type_name(key);
    (void)kv_err_set(err, KV_E_UNSUPPORTED, "pem.unsupported-key",
                     "a key of this kind (%s, %d bits) cannot be kept in a vault",
                     type != NULL ? type : "unknown", EVP_PKEY_get_bits(key));
    kv_err_hint(err, "use RSA, EC on P-256, P-384, P-521 or secp256k1, or Ed25519");
    return KV_E_UNSUPPORTED;
}

/* --- public keys -------------------------------------------------------------------
 */

static int get_bytes(const json_t *jwk, const char *member, struct kv_buf *out)
{
    const char *text = json_string_value(json_object_get(jwk, member));
    if (text == NULL)
        return KV_E_INVALID;
    return kv_b64_decode(KV_B64_URL, text, strlen(text), out);
}

static EVP_PKEY *build(const char *type, OSSL_PARAM_BLD *builder)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (params != NULL && ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1)
        (void)EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return key;
}

static EVP_PKEY *rsa_from_jwk(const struct kv_buf *n, const struct kv_buf *e)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    BIGNUM *n_number = BN_bin2bn(n->data, (int)n->len, NULL);
    BIGNUM *e_number = BN_bin2bn(e->data, (int)e->len, NULL);
    if (builder != NULL && n_number != NULL && e_number != NULL &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n_number) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e_number) == 1)
        key = build("RSA", builder);
    BN_free(e_number);
    BN_free(n_number);
    OSSL_PARAM_BLD_free(builder);
    return key;
}

static EVP_PKEY *ec_from_jwk(const char *crv, const struct kv_buf *x,
                             const struct kv_buf *y)
{
    uint8_t point[1 + 2 * 66];
    EVP_PKEY *key = NULL;
    for (size_t i = 0; i < N_CURVES; i++) {
        const struct curve *curve = &curves[i];
        if (strcmp(crv, curve->jwk) != 0 || x->len != curve->len ||
            y->len != curve->len)
            continue;
        point[0] = 4; /* uncompressed */
        memcpy(point + 1, x->data, x->len);
        memcpy(point + 1 + x->len, y->data, y->len);
        OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
        if (builder != NULL &&
            OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME,
                                            curve->group, 0) == 1 &&
            OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point,
                                             1 + 2 * curve->len) == 1)
            key = build("EC", builder);
        OSSL_PARAM_BLD_free(builder);
    }
    return key;
}

static EVP_PKEY *key_from_jwk(const json_t *jwk)
{
    const char *kty = json_string_value(json_object_get(jwk, "kty"));
    const char *crv = json_string_value(json_object_get(jwk, "crv"));
    bool is_rsa = kty != NULL && strncmp(kty, "RSA", 3) == 0;
    struct kv_buf first;
    struct kv_buf second;
    kv_buf_init(&first, NUMBER_MAX);
    kv_buf_init(&second, NUMBER_MAX);
    EVP_PKEY *key = NULL;
    if (get_bytes(jwk, is_rsa ? "n" : "x", &first) != 0) {
        /* no public key in it */
    } else if (is_rsa && get_bytes(jwk, "e", &second) == 0) {
        key = rsa_from_jwk(&first, &second);
    } else if (crv != NULL && strcmp(crv, "Ed25519") == 0) {
        key =
            EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, first.data, first.len);
    } else if (crv != NULL && get_bytes(jwk, "y", &second) == 0) {
        key = ec_from_jwk(crv, &first, &second);
    }
    kv_buf_free(&second);
    kv_buf_free(&first);
    return key;
}

int kv_pem_jwk_spki(const json_t *jwk, struct kv_buf *out, struct kv_err *err)
{
    EVP_PKEY *key = key_from_jwk(jwk);
    uint8_t *der = NULL;
    int len = key != NULL ? i2d_PUBKEY(key, &der) : -1;
    int rc = len > 0 ? kv_buf_append(out, der, (size_t)len)
                     : kv_err_set(err, KV_E_INVALID, "pem.bad-jwk",
                                  "the public key in the API's answer cannot be read");
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return rc;
}
