/*
 * One nonce: what it signs is good, and what it is made from.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* the stand-in for libcrypto's generator */

#include "store/keyring/nonce_make.h"

#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <string.h>

#include "store/keyring/key_internal.h"

static struct kv_nonce_maker *maker;
static uint8_t fresh = 1; /* what the stand-in for fresh bytes gives; 0: fails */
static uint8_t drbg = 1;  /* what the stand-in for libcrypto's generator gives */

/* As nonce_make.c has it, but for the stand-in. */
static const RAND_METHOD *stand_in; /* NULL: none */
__attribute__((visibility("default"))) const RAND_METHOD *RAND_get_rand_method(void)
{
    return stand_in;
}

static int fill_fresh(void *ctx, void *out, size_t len)
{
    (void)ctx;
    memset(out, fresh, len);
    return fresh == 0 ? KV_E_CRYPTO : 0;
}

static int fill_drbg(unsigned char *out, int len)
{
    memset(out, drbg, (size_t)len);
    return 1;
}

static void setup(void)
{
    static const struct kv_rand rand = {.fill = fill_fresh};
    cr_assert_eq(kv_keys_init(NULL), 0);
    cr_assert_eq(kv_nonce_maker_new(&maker, &rand), 0);
}

static void teardown(void)
{
    kv_nonce_maker_free(maker);
    kv_keys_fini();
}

TestSuite(nonce_make, .timeout = 60, .init = setup, .fini = teardown);

static const struct {
    uint8_t md;
    size_t len;
} digests[] = {{KV_MD_SHA1, 20},
               {KV_MD_SHA224, 28},
               {KV_MD_SHA256, 32},
               {KV_MD_SHA384, 48},
               {KV_MD_SHA512, 64}};

static void read_d(const struct kv_key *key, uint8_t *d)
{
    BIGNUM *number = NULL;
    const int len = (int)kv_nonce_order(maker, kv_key_curve(key))->len;
    cr_assert_eq(EVP_PKEY_get_bn_param(key->pkey, OSSL_PKEY_PARAM_PRIV_KEY, &number),
                 1);
    cr_assert_eq(BN_bn2binpad(number, d, len), len);
    BN_clear_free(number);
}

static void sign_and_verify(struct kv_key *key, const uint8_t *d, size_t which,
                            uint8_t fill)
{
    struct kv_nonce nonce;
    uint8_t digest[64];
    uint8_t sig[KV_ECDSA_DER_MAX];
    size_t sig_len = 0;
    bool is_valid = false;
    memset(digest, fill, sizeof(digest));
    struct kv_msg_sign msg = {.sig = KV_SIG_ECDSA,
                              .md = digests[which].md,
                              .input = {digest, digests[which].len}};
    const uint8_t curve = kv_key_curve(key);
    cr_assert_eq(kv_nonce_make(maker, curve, d, &nonce), 0);
    cr_assert_eq(
        kv_nonce_finish(&nonce, kv_nonce_order(maker, curve), msg.input, sig, &sig_len),
        0);
    cr_assert_leq(sig_len, (size_t)EVP_PKEY_get_size(key->pkey));
    cr_assert_eq(
        kv_key_verify(key, 0, &msg, (struct kv_bytes){sig, sig_len}, &is_valid, NULL),
        0);
    cr_expect(is_valid, "curve %u, digest of %zu bytes", curve, msg.input.len);
}

Test(nonce_make, signatures_of_every_curve_and_digest_are_good)
{
    for (uint8_t curve = KV_CURVE_P256; curve <= KV_CURVE_P256K; curve++) {
        struct kv_key *key = NULL;
        uint8_t d[KV_SCALAR_MAX_LEN];
        cr_assert_eq(kv_key_generate(KV_KTY_EC, curve, 0, &key, NULL), 0);
        read_d(key, d);
        for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
            sign_and_verify(key, d, i, 0x00);
            sign_and_verify(key, d, i, 0xff); /* more than the order */
            sign_and_verify(key, d, i, 0x5c);
        }
        kv_key_unref(key);
    }
    cr_expect_eq(ERR_peek_error(), 0);
}

Test(nonce_make, small_numbers_have_short_der)
{
    struct kv_key *key = NULL;
    uint8_t d[KV_SCALAR_MAX_LEN];
    cr_assert_eq(kv_key_generate(KV_KTY_EC, KV_CURVE_P256, 0, &key, NULL), 0);
    read_d(key, d);
    for (int i = 0; i < 2000; i++) /* one in 256 has a zero in front, half a pad */
        sign_and_verify(key, d, 2, (uint8_t)i);
    kv_key_unref(key);
}

Test(nonce_make, curves_without_ecdsa_have_no_order)
{
    cr_expect_null(kv_nonce_order(maker, KV_CURVE_NONE));
    cr_expect_null(kv_nonce_order(maker, KV_CURVE_ED25519));
    cr_expect_null(kv_nonce_order(maker, 255));
}

static void make_with(uint8_t curve, uint8_t d_byte, uint8_t fresh_byte,
                      uint8_t drbg_byte, struct kv_nonce *out)
{
    uint8_t d[KV_SCALAR_MAX_LEN] = {0};
    memset(d + 1, d_byte, sizeof(d) - 1);
    fresh = fresh_byte;
    drbg = drbg_byte;
    cr_assert_eq(kv_nonce_make(maker, curve, d, out), 0);
}

/* With every source of chance standing still, each of them in turn makes another k. */
Test(nonce_make, key_and_fresh_bytes_and_generator_each_make_another_nonce)
{
    RAND_METHOD still = {.bytes = fill_drbg, .pseudorand = fill_drbg};
    stand_in = &still;
    for (uint8_t curve = KV_CURVE_P256; curve <= KV_CURVE_P256K; curve++) {
        struct kv_nonce first;
        struct kv_nonce other;
        make_with(curve, 1, 1, 1, &first);
        make_with(curve, 1, 1, 1, &other);
        cr_expect_eq(memcmp(&first, &other, sizeof(first)), 0, "nothing else counts");
        make_with(curve, 2, 1, 1, &other);
        cr_expect_neq(memcmp(first.r, other.r, sizeof(first.r)), 0, "the key");
        make_with(curve, 1, 2, 1, &other);
        cr_expect_neq(memcmp(first.r, other.r, sizeof(first.r)), 0, "fresh bytes");
        make_with(curve, 1, 1, 2, &other);
        cr_expect_neq(memcmp(first.r, other.r, sizeof(first.r)), 0, "the generator");
    }
    stand_in = NULL;
}

Test(nonce_make, without_fresh_bytes_there_is_none)
{
    struct kv_nonce nonce;
    static const struct kv_nonce zero;
    uint8_t d[KV_SCALAR_MAX_LEN] = {0, 1};
    memset(&nonce, 1, sizeof(nonce));
    fresh = 0;
    cr_expect_eq(kv_nonce_make(maker, KV_CURVE_P256, d, &nonce), KV_E_CRYPTO);
    cr_expect_eq(memcmp(&nonce, &zero, sizeof(nonce)), 0);
    cr_expect_eq(ERR_peek_error(), 0);
}

Test(nonce_make, the_digest_with_which_s_is_zero_is_refused)
{
    struct kv_nonce nonce;
    size_t sig_len = 0;
    uint8_t sig[KV_ECDSA_DER_MAX];
    const struct kv_scalar_order *order = kv_nonce_order(maker, KV_CURVE_P256);
    memset(&nonce, 0, sizeof(nonce)); /* s = 0 m + 0 */
    cr_expect_eq(
        kv_nonce_finish(&nonce, order, (struct kv_bytes){sig, 0}, sig, &sig_len),
        KV_E_CRYPTO);
    nonce.b.word[0] = 1;
    nonce.r[31] = 0x80;
    cr_expect_eq(
        kv_nonce_finish(&nonce, order, (struct kv_bytes){sig, 0}, sig, &sig_len), 0);
    static const uint8_t der[] = {0x30, 7, 2, 2, 0, 0x80, 2, 1, 1};
    cr_expect_eq(sig_len, sizeof(der));
    cr_expect_eq(memcmp(sig, der, sizeof(der)), 0);
}
