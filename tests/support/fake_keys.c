/*
 * Keys of the fake keyring, on libcrypto's default provider in a library context of
 * their own, so that a program under test may load keyvault.so in the same process.
 */
#include "tests/support/fake_keys.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static OSSL_LIB_CTX *libctx;

static const struct fake_key templates[FAKE_N_KEYS] = {
    {.name = "rsa", .kty = KV_KTY_RSA, .desc = "RSA 2048 key", .rsa_bits = 2048},
    {.name = "p256", .kty = KV_KTY_EC, .curve = KV_CURVE_P256, .group = "P-256"},
    {.name = "p384", .kty = KV_KTY_EC, .curve = KV_CURVE_P384, .group = "P-384"},
    {.name = "p521", .kty = KV_KTY_EC, .curve = KV_CURVE_P521, .group = "P-521"},
    {.name = "p256k", .kty = KV_KTY_EC, .curve = KV_CURVE_P256K, .group = "secp256k1"},
    {.name = "ed25519", .kty = KV_KTY_OKP, .curve = KV_CURVE_ED25519},
    {.name = "web", .kty = KV_KTY_EC, .curve = KV_CURVE_P256, .group = "P-256"},
    {.name = "rsa3072",
     .kty = KV_KTY_RSA,
     .desc = "RSA 3072 key",
     .rsa_bits = 3072,
     .is_optional = true},
    {.name = "rsa4096",
     .kty = KV_KTY_RSA,
     .desc = "RSA 4096 key",
     .rsa_bits = 4096,
     .is_optional = true},
};

static EVP_PKEY *generate(const struct fake_key *key)
{
    if (key->kty == KV_KTY_RSA)
        return EVP_PKEY_Q_keygen(libctx, NULL, "RSA", (size_t)key->rsa_bits);
    if (key->kty == KV_KTY_EC)
        return EVP_PKEY_Q_keygen(libctx, NULL, "EC", key->group);
    return EVP_PKEY_Q_keygen(libctx, NULL, "ED25519");
}

static EVP_PKEY *load_or_make(const struct fake_key *key, const char *state_dir)
{
    char path[512];
    EVP_PKEY *pkey = NULL;
    if (state_dir == NULL)
        return generate(key);
    (void)snprintf(path, sizeof(path), "%s/%s.pem", state_dir, key->name);
    BIO *in = BIO_new_file(path, "r");
    if (in != NULL) {
        pkey = PEM_read_bio_PrivateKey_ex(in, NULL, NULL, NULL, libctx, NULL);
        BIO_free(in);
        return pkey;
    }
    pkey = generate(key);
    BIO *out = BIO_new_file(path, "w");
    if (out == NULL ||
        !PEM_write_bio_PKCS8PrivateKey(out, pkey, NULL, NULL, 0, NULL, NULL)) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    BIO_free(out);
    return pkey;
}

static X509 *make_cert(const char *cn, EVP_PKEY *subject, const char *issuer_cn,
                       EVP_PKEY *issuer, int is_ca)
{
    X509 *cert = X509_new_ex(libctx, NULL);
    X509_NAME *name = X509_NAME_new();
    X509_NAME *issuer_name = X509_NAME_new();
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    int ok = X509_set_version(cert, X509_VERSION_3) &&
             ASN1_INTEGER_set(X509_get_serialNumber(cert), is_ca ? 1 : 2) &&
             X509_gmtime_adj(X509_getm_notBefore(cert), -3600) != NULL &&
             X509_gmtime_adj(X509_getm_notAfter(cert), 86400) != NULL &&
             X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                        (const unsigned char *)cn, -1, -1, 0) &&
             X509_NAME_add_entry_by_txt(issuer_name, "CN", MBSTRING_UTF8,
                                        (const unsigned char *)issuer_cn, -1, -1, 0) &&
             X509_set_subject_name(cert, name) &&
             X509_set_issuer_name(cert, issuer_name) && X509_set_pubkey(cert, subject);
    X509_EXTENSION *san =
        X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, "DNS:localhost");
    X509_EXTENSION *basic = X509V3_EXT_conf_nid(
        NULL, &ctx, NID_basic_constraints, is_ca ? "critical,CA:TRUE" : "CA:FALSE");
    ok = ok && X509_add_ext(cert, san, -1) && X509_add_ext(cert, basic, -1) &&
         X509_sign(cert, issuer,
                   EVP_PKEY_is_a(issuer, "ED25519") ? NULL : EVP_sha256()) > 0;
    X509_EXTENSION_free(san);
    X509_EXTENSION_free(basic);
    X509_NAME_free(name);
    X509_NAME_free(issuer_name);
    if (!ok) {
        X509_free(cert);
        return NULL;
    }
    return cert;
}

static int keep_cert(struct fake_key *key, X509 *cert)
{
    unsigned char *der = NULL;
    int len = cert == NULL ? -1 : i2d_X509(cert, &der);
    X509_free(cert);
    if (len <= 0)
        return -1;
    key->cert[key->n_certs] = der;
    key->cert_len[key->n_certs++] = (size_t)len;
    return 0;
}

static int make_certs(struct fake_key *key)
{
    int is_web = strcmp(key->name, "web") == 0;
    if (!is_web)
        return keep_cert(key, make_cert(key->name, key->pkey, key->name, key->pkey, 1));
    EVP_PKEY *ca = EVP_PKEY_Q_keygen(libctx, NULL, "EC", "P-256");
    int rc = keep_cert(key, make_cert("localhost", key->pkey, "Fake CA", ca, 0));
    if (rc == 0)
        rc = keep_cert(key, make_cert("Fake CA", ca, "Fake CA", ca, 1));
    EVP_PKEY_free(ca);
    return rc;
}

int fake_key_make(struct fake_key *key, const char *state_dir)
{
    if (key->pkey != NULL)
        return 0;
    key->pkey = load_or_make(key, state_dir);
    if (key->pkey == NULL)
        return -1;
    int len = i2d_PUBKEY(key->pkey, &key->spki);
    if (len <= 0 || make_certs(key) != 0)
        return -1;
    key->spki_len = (size_t)len;
    return 0;
}

/* A large key takes long to make: tests that want it bring it. */
static bool is_missing(const struct fake_key *key, const char *state_dir)
{
    char path[512];
    if (!key->is_optional)
        return false;
    if (state_dir == NULL)
        return true;
    (void)snprintf(path, sizeof(path), "%s/%s.pem", state_dir, key->name);
    return access(path, R_OK) != 0;
}

int fake_keys_load(const char *state_dir, struct fake_key keys[FAKE_N_KEYS])
{
    if (libctx == NULL)
        libctx = OSSL_LIB_CTX_new();
    for (size_t i = 0; i < FAKE_N_KEYS; i++) {
        struct fake_key *key = &keys[i];
        uint8_t digest[32];
        *key = templates[i];
        if (key->desc == NULL)
            key->desc = key->group != NULL ? "EC key" : "Ed25519 key";
        if (!EVP_Q_digest(libctx, "SHA256", NULL, key->name, strlen(key->name), digest,
                          NULL))
            return -1;
        memcpy(key->version, digest, KV_ID_LEN);
        key->is_absent = is_missing(key, state_dir);
        if (state_dir != NULL && !key->is_absent && fake_key_make(key, state_dir) != 0)
            return -1;
    }
    return 0;
}

void fake_keys_free(struct fake_key keys[FAKE_N_KEYS])
{
    for (size_t i = 0; i < FAKE_N_KEYS; i++) {
        EVP_PKEY_free(keys[i].pkey);
        OPENSSL_free(keys[i].spki);
        for (unsigned c = 0; c < keys[i].n_certs; c++)
            OPENSSL_free(keys[i].cert[c]);
    }
    memset(keys, 0, FAKE_N_KEYS * sizeof(keys[0]));
}

static int sign_eddsa(const struct fake_key *key, const struct kv_msg_sign *msg,
                      struct kv_buf *out)
{
    uint8_t sig[64];
    size_t len = sizeof(sig);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int ok = EVP_DigestSignInit_ex(ctx, NULL, NULL, libctx, NULL, key->pkey, NULL) &&
             EVP_DigestSign(ctx, sig, &len, msg->input.data, msg->input.len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok ? kv_buf_append(out, sig, len) : KV_E_CRYPTO;
}

static int sign_params(EVP_PKEY_CTX *ctx, const struct kv_msg_sign *msg)
{
    EVP_MD *md = EVP_MD_fetch(libctx, kv_md_name(msg->md), NULL);
    EVP_MD *mgf1 = NULL;
    int ok = md != NULL && EVP_PKEY_CTX_set_signature_md(ctx, md) > 0;
    if (ok && msg->sig == KV_SIG_PKCS1)
        ok = EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) > 0;
    if (ok && msg->sig == KV_SIG_PSS) {
        mgf1 = EVP_MD_fetch(libctx, kv_md_name(msg->mgf1_md), NULL);
        ok = mgf1 != NULL &&
             EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, msg->salt_len) > 0 &&
             EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, mgf1) > 0;
    }
    EVP_MD_free(md);
    EVP_MD_free(mgf1);
    return ok;
}

int fake_key_sign(const struct fake_key *key, const struct kv_msg_sign *msg,
                  struct kv_buf *out)
{
    if (msg->sig == KV_SIG_EDDSA)
        return key->kty == KV_KTY_OKP ? sign_eddsa(key, msg, out) : KV_E_INVALID;
    uint8_t sig[512];
    size_t len = sizeof(sig);
    if (msg->input.len != kv_md_len(msg->md) ||
        (msg->sig == KV_SIG_ECDSA) != (key->kty == KV_KTY_EC))
        return KV_E_INVALID;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key->pkey, NULL);
    int ok = ctx != NULL && EVP_PKEY_sign_init(ctx) == 1 && sign_params(ctx, msg) &&
             EVP_PKEY_sign(ctx, sig, &len, msg->input.data, msg->input.len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok ? kv_buf_append(out, sig, len) : KV_E_CRYPTO;
}

static int decrypt_params(EVP_PKEY_CTX *ctx, const struct kv_msg_decrypt *msg)
{
    if (msg->enc == KV_ENC_RSA1_5)
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) > 0;
    if (msg->enc == KV_ENC_TLS) {
        unsigned int client = msg->tls_client_version;
        unsigned int negotiated = msg->tls_negotiated_version;
        OSSL_PARAM params[] = {OSSL_PARAM_uint("tls-client-version", &client),
                               OSSL_PARAM_uint("tls-negotiated-version", &negotiated),
                               OSSL_PARAM_END};
        if (negotiated == 0)
            params[1] = (OSSL_PARAM)OSSL_PARAM_END;
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_WITH_TLS_PADDING) > 0 &&
               EVP_PKEY_CTX_set_params(ctx, params) > 0;
    }
    int ok = EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) > 0 &&
             EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, kv_md_name(msg->md), NULL) > 0 &&
             EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, kv_md_name(msg->mgf1_md), NULL) > 0;
    if (ok && msg->label.len > 0)
        ok = EVP_PKEY_CTX_set0_rsa_oaep_label(
                 ctx, OPENSSL_memdup(msg->label.data, msg->label.len),
                 (int)msg->label.len) > 0;
    return ok;
}

int fake_key_decrypt(const struct fake_key *key, const struct kv_msg_decrypt *msg,
                     struct kv_buf *out)
{
    uint8_t plain[512];
    size_t len = sizeof(plain);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key->pkey, NULL);
    int ok = key->kty == KV_KTY_RSA && ctx != NULL && EVP_PKEY_decrypt_init(ctx) == 1 &&
             decrypt_params(ctx, msg) &&
             EVP_PKEY_decrypt(ctx, plain, &len, msg->input.data, msg->input.len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok ? kv_buf_append(out, plain, len) : KV_E_CRYPTO;
}

int fake_key_derive(const struct fake_key *key, const struct kv_msg_derive *msg,
                    struct kv_buf *out)
{
    uint8_t secret[80];
    size_t len = sizeof(secret);
    const unsigned char *at = msg->peer_spki.data;
    EVP_PKEY *peer = d2i_PUBKEY_ex(NULL, &at, (long)msg->peer_spki.len, libctx, NULL);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key->pkey, NULL);
    int ok = key->kty == KV_KTY_EC && peer != NULL && ctx != NULL &&
             EVP_PKEY_derive_init(ctx) == 1 &&
             EVP_PKEY_derive_set_peer(ctx, peer) == 1 &&
             EVP_PKEY_derive(ctx, secret, &len) == 1;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    return ok ? kv_buf_append(out, secret, len) : KV_E_CRYPTO;
}
