/*
 * Soft keys: the private library context, the life of a kv_key, and its way in and
 * out of sealed rows.
 *
 * Everything is fetched once, at init, from a context that reads no configuration:
 * an openssl.cnf that activates the keyvault provider would make the keyring call
 * itself. What a slot caches is one struct with four contexts, made on first use by
 * the one thread that owns the slot; so the hot path takes no lock and allocates
 * nothing.
 */
#include "store/keyring/keys.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/provider.h>
#include <openssl/x509.h>

#include "store/core/secret.h"
#include "store/keyring/key_internal.h"
#include "store/keyring/nonce.h"
#include "store/keyring/usage.h"

#define PKCS8_MAX 8192

static struct {
    OSSL_LIB_CTX *libctx;
    OSSL_PROVIDER *provider_default;
    OSSL_PROVIDER *provider_legacy; /* may be absent: then old PFX is refused */
    EVP_MAC *hmac;
    EVP_MD *md[KV_MD_SHA3_512 + 1];
} keys;

static const char *const md_names[KV_MD_SHA3_512 + 1] = {
    [KV_MD_SHA1] = "SHA1",         [KV_MD_SHA224] = "SHA2-224",
    [KV_MD_SHA256] = "SHA2-256",   [KV_MD_SHA384] = "SHA2-384",
    [KV_MD_SHA512] = "SHA2-512",   [KV_MD_SHA3_256] = "SHA3-256",
    [KV_MD_SHA3_384] = "SHA3-384", [KV_MD_SHA3_512] = "SHA3-512",
};

static const struct {
    const char *group;
    uint16_t bits;
} curves[KV_CURVE_ED25519 + 1] = {
    [KV_CURVE_P256] = {"prime256v1", 256}, [KV_CURVE_P384] = {"secp384r1", 384},
    [KV_CURVE_P521] = {"secp521r1", 521},  [KV_CURVE_P256K] = {"secp256k1", 256},
    [KV_CURVE_ED25519] = {"ED25519", 256},
};

int kv_keys_init(struct kv_err *err)
{
    if (keys.libctx != NULL)
        return 0;
    bool ok = OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) == 1;
    keys.libctx = OSSL_LIB_CTX_new();
    ok = ok && keys.libctx != NULL;
    if (ok) {
        keys.provider_default = OSSL_PROVIDER_load(keys.libctx, "default");
        keys.provider_legacy = OSSL_PROVIDER_load(keys.libctx, "legacy");
        keys.hmac = EVP_MAC_fetch(keys.libctx, "HMAC", NULL);
        ok = keys.provider_default != NULL && keys.hmac != NULL;
    }
    for (size_t i = KV_MD_SHA1; ok && i <= KV_MD_SHA3_512; i++) {
        keys.md[i] = EVP_MD_fetch(keys.libctx, md_names[i], NULL);
        ok = keys.md[i] != NULL;
    }
    ERR_clear_error();
    if (ok)
        return 0;
    kv_keys_fini();
    return kv_err_set(err, KV_E_CRYPTO, "keys.init",
                      "libcrypto's default provider cannot be loaded");
}

void kv_keys_fini(void)
{
    for (size_t i = 0; i <= KV_MD_SHA3_512; i++)
        EVP_MD_free(keys.md[i]);
    EVP_MAC_free(keys.hmac);
    if (keys.provider_legacy != NULL)
        (void)OSSL_PROVIDER_unload(keys.provider_legacy); /* nothing left to do */
    if (keys.provider_default != NULL)
        (void)OSSL_PROVIDER_unload(keys.provider_default); /* nothing left to do */
    OSSL_LIB_CTX_free(keys.libctx);
    memset(&keys, 0, sizeof(keys));
}

OSSL_LIB_CTX *kv_keys_libctx(void)
{
    KV_ASSERT(keys.libctx != NULL);
    return keys.libctx;
}

const EVP_MD *kv_keys_md(uint8_t md)
{
    return md <= KV_MD_SHA3_512 ? keys.md[md] : NULL;
}

EVP_MAC *kv_keys_hmac(void)
{
    return keys.hmac;
}

const char *kv_key_group_name(uint8_t curve)
{
    return curve <= KV_CURVE_ED25519 ? curves[curve].group : NULL;
}

uint16_t kv_key_curve_bits(uint8_t curve)
{
    return curve <= KV_CURVE_ED25519 ? curves[curve].bits : 0;
}

/* Fill in what an RSA key is, and the hash of d that implicit rejection needs. */
static int describe_rsa(struct kv_key *key, struct kv_err *err)
{
    int bits = EVP_PKEY_get_bits(key->pkey);
    if (bits < 2048)
        return kv_err_set(err, KV_E_INVALID, "key.import-weak",
                          "RSA modulus n has %d bits; at least 2048 are required",
                          bits);
    if (bits != 2048 && bits != 3072 && bits != 4096)
        return kv_err_set(err, KV_E_INVALID, "key.import-bad-size",
                          "RSA modulus n has %d bits; expected 2048, 3072 or 4096",
                          bits);
    key->kty = KV_KTY_RSA;
    key->bits = (uint16_t)bits;

    uint8_t text[KV_RSA_MAX_BYTES];
    BIGNUM *d = NULL;
    int len = bits / 8;
    bool ok = EVP_PKEY_get_bn_param(key->pkey, OSSL_PKEY_PARAM_RSA_D, &d) == 1 &&
              BN_bn2binpad(d, text, len) == len &&
              EVP_Digest(text, (size_t)len, key->d_hash, NULL, keys.md[KV_MD_SHA256],
                         NULL) == 1;
    kv_wipe(text, sizeof(text));
    BN_clear_free(d);
    if (ok)
        return 0;
    return kv_err_set(err, KV_E_INVALID, "key.import-missing-field",
                      "RSA private exponent d is missing or longer than n");
}

static int describe_ec(struct kv_key *key, struct kv_err *err)
{
    char group[64] = "";
    int is_explicit = 0;
    size_t len = 0;
    (void)EVP_PKEY_get_int_param(key->pkey, /* absent means named */
                                 OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                                 &is_explicit);
    if (is_explicit == 1)
        return kv_err_set(err, KV_E_UNSUPPORTED, "key.import-bad-curve",
                          "EC key spells its curve out; only named curves are served");
    if (EVP_PKEY_get_group_name(key->pkey, group, sizeof(group), &len) == 1)
        for (unsigned i = KV_CURVE_P256; i <= KV_CURVE_P256K; i++)
            if (strcmp(group, curves[i].group) == 0)
                key->curve = (uint8_t)i;
    if (key->curve == KV_CURVE_NONE)
        return kv_err_set(err, KV_E_UNSUPPORTED, "key.import-bad-curve",
                          "EC curve \"%s\" is not served; expected P-256, P-384, "
                          "P-521 or P-256K",
                          group);
    (void)EVP_PKEY_set_utf8_string_param(/* one spelling of the SPKI */
                                         key->pkey,
                                         OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
                                         "uncompressed");
    key->kty = KV_KTY_EC;
    key->bits = curves[key->curve].bits;
    return 0;
}

static int describe(struct kv_key *key, struct kv_err *err)
{
    if (EVP_PKEY_is_a(key->pkey, "RSA"))
        return describe_rsa(key, err);
    if (EVP_PKEY_is_a(key->pkey, "EC"))
        return describe_ec(key, err);
    if (EVP_PKEY_is_a(key->pkey, "ED25519")) {
        key->kty = KV_KTY_OKP;
        key->curve = KV_CURVE_ED25519;
        key->bits = curves[KV_CURVE_ED25519].bits;
        return 0;
    }
    const char *name = EVP_PKEY_get0_type_name(key->pkey);
    return kv_err_set(err, KV_E_UNSUPPORTED, "key.import-unsupported",
                      "keys of type %s are not served; expected RSA, EC or Ed25519",
                      name != NULL ? name : "unknown");
}

int kv_key_take(EVP_PKEY *pkey, struct kv_key **out, struct kv_err *err)
{
    int rc = 0;
    uint8_t *spki = NULL;
    int spki_len = 0;
    struct kv_key *key = calloc(1, sizeof(*key));
    if (key == NULL) {
        EVP_PKEY_free(pkey);
        return KV_E_NOMEM;
    }
    key->n_refs = 1;
    key->pkey = pkey;
    kv_buf_init(&key->spki, KV_SPKI_MAX);
    KV_TRY(describe(key, err));
    spki_len = i2d_PUBKEY(pkey, &spki);
    if (spki_len <= 0) {
        rc = kv_err_set(err, KV_E_INVALID, "key.import-missing-field",
                        "the key has no public part");
        goto out;
    }
    KV_TRY(kv_buf_append(&key->spki, spki, (size_t)spki_len));
    *out = kv_key_ref(key);
out:
    OPENSSL_free(spki);
    kv_key_unref(key);
    ERR_clear_error();
    return rc;
}

int kv_key_generate(uint8_t kty, uint8_t curve, uint16_t bits, struct kv_key **out,
                    struct kv_err *err)
{
    EVP_PKEY *pkey = NULL;
    if (kty == KV_KTY_RSA && (bits == 2048 || bits == 3072 || bits == 4096))
        pkey = EVP_PKEY_Q_keygen(keys.libctx, NULL, "RSA", (size_t)bits);
    else if (kty == KV_KTY_EC && curve >= KV_CURVE_P256 && curve <= KV_CURVE_P256K)
        pkey = EVP_PKEY_Q_keygen(keys.libctx, NULL, "EC", curves[curve].group);
    else if (kty == KV_KTY_OKP && curve == KV_CURVE_ED25519)
        pkey = EVP_PKEY_Q_keygen(keys.libctx, NULL, "ED25519");
    else
        return kv_err_set(err, KV_E_INVALID, "key.bad-type",
                          "no such key type: kty %u, curve %u, %u bits", kty, curve,
                          bits);
    ERR_clear_error();
    if (pkey == NULL)
        return kv_err_set(err, KV_E_CRYPTO, "key.generate-failed",
                          "libcrypto could not generate the key");
    return kv_key_take(pkey, out, err);
}

int kv_key_to_pkcs8(const struct kv_key *key, struct kv_buf *out)
{
    KV_ASSERT(out->is_secret);
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key->pkey);
    int len = info != NULL ? i2d_PKCS8_PRIV_KEY_INFO(info, NULL) : -1;
    uint8_t *at = len > 0 ? kv_buf_extend(out, (size_t)len) : NULL;
    if (at != NULL)
        (void)i2d_PKCS8_PRIV_KEY_INFO(info, &at); /* its length is known */
    PKCS8_PRIV_KEY_INFO_free(info);
    ERR_clear_error();
    if (len <= 0)
        return KV_E_CRYPTO;
    return at != NULL ? 0 : kv_buf_status(out);
}

/* libcrypto derives the public part of DSA and DH keys while it reads them, at a cost
 * that the file chooses: types that are not served are refused unread. */
static int check_algorithm(const PKCS8_PRIV_KEY_INFO *info, struct kv_err *err)
{
    char name[80] = "";
    const ASN1_OBJECT *oid = NULL;
    (void)PKCS8_pkey_get0(&oid, NULL, NULL, NULL, info); /* always 1 */
    switch (OBJ_obj2nid(oid)) {
    case NID_rsaEncryption:
    case NID_X9_62_id_ecPublicKey:
    case NID_ED25519:
        return 0;
    default:
        (void)OBJ_obj2txt(name, sizeof(name), oid, 0); /* "" if it has no text */
        return kv_err_set(err, KV_E_UNSUPPORTED, "key.import-unsupported",
                          "keys of type %s are not served; expected RSA, EC or "
                          "Ed25519",
                          name);
    }
}

int kv_key_from_pkcs8(struct kv_bytes der, struct kv_key **out, struct kv_err *err)
{
    int rc = 0;
    EVP_PKEY *pkey = NULL;
    const uint8_t *at = der.data;
    if (der.len > 0 && der.len <= PKCS8_MAX) {
        PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)der.len);
        bool is_whole = info != NULL && at == der.data + der.len;
        rc = is_whole ? check_algorithm(info, err) : 0;
        if (is_whole && rc == 0)
            pkey = EVP_PKCS82PKEY_ex(info, keys.libctx, NULL);
        PKCS8_PRIV_KEY_INFO_free(info);
    }
    ERR_clear_error();
    if (rc != 0)
        return rc;
    if (pkey == NULL)
        return kv_err_set(err, KV_E_INVALID, "key.import-bad-der",
                          "the PKCS#8 bytes hold no private key that can be read");
    return kv_key_take(pkey, out, err);
}

struct kv_key *kv_key_ref(struct kv_key *key)
{
    atomic_fetch_add_explicit(&key->n_refs, 1, memory_order_relaxed);
    return key;
}

static void op_free(struct kv_key_op *op)
{
    EVP_PKEY_CTX_free(op->pctx);
    EVP_MD_CTX_free(op->mctx);
    *op = (struct kv_key_op){.tag = 0};
}

void kv_key_unref(struct kv_key *key)
{
    if (key == NULL)
        return;
    if (atomic_fetch_sub_explicit(&key->n_refs, 1, memory_order_acq_rel) != 1)
        return;
    kv_nonce_retire(key);
    for (size_t i = 0; i < KV_KEY_SLOTS; i++) {
        for (size_t j = 0; key->slot[i] != NULL && j < KV_KEY_OPS; j++)
            op_free(&key->slot[i]->op[j]);
        free(key->slot[i]);
    }
    EVP_PKEY_free(key->pkey);
    kv_usage_unref(key->usage);
    kv_buf_free(&key->spki);
    kv_wipe(key, sizeof(*key));
    free(key);
}

struct kv_key_op *kv_key_op_find(struct kv_key *key, unsigned slot, uint64_t tag)
{
    KV_ASSERT(slot < KV_KEY_SLOTS && tag != 0);
    struct kv_key_slot *at = key->slot[slot];
    for (size_t i = 0; at != NULL && i < KV_KEY_OPS; i++)
        if (at->op[i].tag == tag)
            return &at->op[i];
    return NULL;
}

struct kv_key_op *kv_key_op_put(struct kv_key *key, unsigned slot, struct kv_key_op op)
{
    KV_ASSERT(slot < KV_KEY_SLOTS && op.tag != 0);
    if (key->slot[slot] == NULL)
        key->slot[slot] = calloc(1, sizeof(*key->slot[slot]));
    struct kv_key_slot *at = key->slot[slot];
    if (at == NULL) {
        op_free(&op);
        return NULL;
    }
    struct kv_key_op *place = &at->op[at->next];
    at->next = (at->next + 1) % KV_KEY_OPS;
    op_free(place);
    *place = op;
    return place;
}

void kv_key_set_usage(struct kv_key *key, struct kv_usage *usage)
{
    kv_usage_unref(key->usage);
    key->usage = usage;
}

struct kv_usage *kv_key_usage(const struct kv_key *key)
{
    return key->usage;
}

uint8_t kv_key_kty(const struct kv_key *key)
{
    return key->kty;
}

uint8_t kv_key_curve(const struct kv_key *key)
{
    return key->curve;
}

uint16_t kv_key_bits(const struct kv_key *key)
{
    return key->bits;
}

struct kv_bytes kv_key_spki(const struct kv_key *key)
{
    return (struct kv_bytes){.data = key->spki.data, .len = key->spki.len};
}

bool kv_key_is_slow(const struct kv_key *key)
{
    return key->kty == KV_KTY_RSA && key->bits > 2048;
}
