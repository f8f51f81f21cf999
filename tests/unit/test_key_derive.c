/* ECDH: both sides agree, plain EVP agrees, hostile peers are refused. */
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "store/keyring/keys.h"

static void setup(void)
{
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_keys_init(&err), 0, "%s", err.message);
}

TestSuite(key_derive, .timeout = 20, .init = setup, .fini = kv_keys_fini);

static const struct {
    uint8_t curve;
    size_t len;
    const char *group;
} curves[] = {
    {KV_CURVE_P256, 32, "prime256v1"},
    {KV_CURVE_P384, 48, "secp384r1"},
    {KV_CURVE_P521, 66, "secp521r1"},
    {KV_CURVE_P256K, 32, "secp256k1"},
};
#define N_CURVES (sizeof(curves) / sizeof(curves[0]))

static struct kv_key *generate(uint8_t kty, uint8_t curve)
{
    struct kv_key *key = NULL;
    cr_assert_eq(kv_key_generate(kty, curve, kty == KV_KTY_RSA ? 2048 : 0, &key, NULL),
                 0);
    return key;
}

Test(key_derive, both_sides_agree_on_every_curve)
{
    for (size_t i = 0; i < N_CURVES; i++) {
        struct kv_key *a = generate(KV_KTY_EC, curves[i].curve);
        struct kv_key *b = generate(KV_KTY_EC, curves[i].curve);
        struct kv_msg_derive to_b = {.peer_spki = kv_key_spki(b)};
        struct kv_msg_derive to_a = {.peer_spki = kv_key_spki(a)};
        struct kv_buf one;
        struct kv_buf two;
        kv_buf_init_secret(&one, 200);
        kv_buf_init_secret(&two, 200);
        cr_assert_eq(kv_key_derive(a, 0, &to_b, &one, NULL), 0);
        cr_assert_eq(kv_key_derive(b, 0, &to_a, &two, NULL), 0);
        cr_assert_eq(one.len, curves[i].len);
        cr_assert_eq(two.len, curves[i].len);
        cr_expect_eq(memcmp(one.data, two.data, one.len), 0);
        /* Again on the cached context. */
        cr_assert_eq(kv_key_derive(a, 0, &to_b, &one, NULL), 0);
        cr_assert_eq(one.len, 2 * curves[i].len);
        cr_expect_eq(memcmp(one.data + two.len, two.data, two.len), 0);
        kv_buf_free(&one);
        kv_buf_free(&two);
        kv_key_unref(a);
        kv_key_unref(b);
    }
}

Test(key_derive, agrees_with_plain_evp)
{
    for (size_t i = 0; i < N_CURVES; i++) {
        struct kv_key *ours = generate(KV_KTY_EC, curves[i].curve);
        EVP_PKEY *theirs = EVP_PKEY_Q_keygen(NULL, NULL, "EC", curves[i].group);
        uint8_t *spki = NULL;
        int spki_len = i2d_PUBKEY(theirs, &spki);
        struct kv_buf out;
        kv_buf_init_secret(&out, 200);
        struct kv_msg_derive msg = {.peer_spki = {spki, (size_t)spki_len}};
        cr_assert_eq(kv_key_derive(ours, 7, &msg, &out, NULL), 0);

        uint8_t shared[66];
        size_t len = sizeof(shared);
        struct kv_bytes pub = kv_key_spki(ours);
        const uint8_t *at = pub.data;
        EVP_PKEY *peer = d2i_PUBKEY(NULL, &at, (long)pub.len);
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(theirs, NULL);
        cr_assert_eq(EVP_PKEY_derive_init(ctx), 1);
        cr_assert_eq(EVP_PKEY_derive_set_peer(ctx, peer), 1);
        cr_assert_eq(EVP_PKEY_derive(ctx, shared, &len), 1);
        cr_assert_eq(len, out.len);
        cr_expect_eq(memcmp(shared, out.data, len), 0);
        EVP_PKEY_CTX_free(ctx);
        EVP_PKEY_free(peer);
        EVP_PKEY_free(theirs);
        OPENSSL_free(spki);
        kv_buf_free(&out);
        kv_key_unref(ours);
    }
}

static void expect_refused(struct kv_key *key, struct kv_bytes spki, const char *why)
{
    struct kv_buf out;
    struct kv_err err = KV_ERR_INIT;
    kv_buf_init_secret(&out, 200);
    struct kv_msg_derive msg = {.peer_spki = spki};
    cr_expect_eq(kv_key_derive(key, 0, &msg, &out, &err), KV_E_INVALID, "%s", why);
    cr_expect_str_eq(err.id, "key.bad-peer", "%s", why);
    cr_expect_eq(out.len, 0);
    kv_buf_free(&out);
}

Test(key_derive, refuses_hostile_peers)
{
    struct kv_key *key = generate(KV_KTY_EC, KV_CURVE_P256);
    struct kv_key *peer = generate(KV_KTY_EC, KV_CURVE_P256);
    struct kv_key *other_curve = generate(KV_KTY_EC, KV_CURVE_P256K);
    struct kv_key *rsa = generate(KV_KTY_RSA, 0);
    struct kv_key *ed = generate(KV_KTY_OKP, KV_CURVE_ED25519);
    uint8_t spki[KV_SPKI_MAX + 1] = {0};
    struct kv_bytes good = kv_key_spki(peer);
    memcpy(spki, good.data, good.len);

    expect_refused(key, (struct kv_bytes){NULL, 0}, "empty");
    expect_refused(key, kv_key_spki(other_curve), "other curve");
    expect_refused(key, kv_key_spki(rsa), "RSA");
    expect_refused(key, kv_key_spki(ed), "Ed25519");
    expect_refused(key, (struct kv_bytes){spki, good.len + 1}, "trailing byte");
    expect_refused(key, (struct kv_bytes){spki, KV_SPKI_MAX + 1}, "too long");
    for (size_t n = 1; n < good.len; n++)
        expect_refused(key, (struct kv_bytes){spki, n}, "cut");
    spki[good.len - 1] ^= 1;
    expect_refused(key, (struct kv_bytes){spki, good.len}, "point off the curve");
    memset(spki + good.len - 64, 0, 64);
    expect_refused(key, (struct kv_bytes){spki, good.len}, "zero point");
    memset(spki + good.len - 64, 0xff, 64);
    expect_refused(key, (struct kv_bytes){spki, good.len}, "coordinates above p");

    kv_key_unref(key);
    kv_key_unref(peer);
    kv_key_unref(other_curve);
    kv_key_unref(rsa);
    kv_key_unref(ed);
}

Test(key_derive, only_ec_keys_derive)
{
    struct kv_key *peer = generate(KV_KTY_EC, KV_CURVE_P256);
    struct kv_key *wrong[] = {generate(KV_KTY_RSA, 0),
                              generate(KV_KTY_OKP, KV_CURVE_ED25519)};
    for (size_t i = 0; i < 2; i++) {
        struct kv_buf out;
        struct kv_err err = KV_ERR_INIT;
        kv_buf_init_secret(&out, 200);
        struct kv_msg_derive msg = {.peer_spki = kv_key_spki(peer)};
        cr_expect_eq(kv_key_derive(wrong[i], 0, &msg, &out, &err), KV_E_INVALID);
        cr_expect_str_eq(err.id, "key.bad-scheme");
        kv_buf_free(&out);
        kv_key_unref(wrong[i]);
    }
    kv_key_unref(peer);
}
