/*
 * Making nonces with libcrypto, finishing signatures without it.
 *
 * The inverse is taken of k times a random number, by exponentiation in constant time:
 * what it could show of itself is not k. Everything secret lives in one BN_CTX, which
 * libcrypto wipes when it is freed, and on the stack, which is overwritten.
 */
#include "store/keyring/nonce_make.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#include "store/core/secret.h"
#include "store/keyring/protocol.h"

#define FRESH_LEN 32
#define STACK_USED ((size_t)32 * 1024) /* by libcrypto, and more */
#define TRIES 16

struct curve {
    struct kv_scalar_order order;
    EC_GROUP *group;
    BN_MONT_CTX *mont;
    BIGNUM *exponent; /* n - 2: x^(n - 2) = 1/x */
    BIGNUM *to_r;     /* makes x into x R by one Montgomery multiplication */
};

struct kv_nonce_maker {
    OSSL_LIB_CTX *libctx;
    OSSL_PROVIDER *provider;
    const struct kv_rand *rand;
    struct curve curve[KV_CURVE_P256K + 1];
};

/* The numbers of one nonce, all of one context. */
struct numbers {
    BN_CTX *ctx;
    EC_POINT *point;
    BIGNUM *d;
    BIGNUM *k;
    BIGNUM *r;
    BIGNUM *blind;
    BIGNUM *inverse;
    BIGNUM *t;
};

/*
 * In place of libcrypto's own, which calls it for each random number it draws: there it
 * takes a lock of the whole process. A thread that runs when no other does may hold
 * that lock for seconds before it is let go on, and every signature waits for it.
 * Nothing here sets another method, so there is nothing to look up.
 */
__attribute__((visibility("default"), weak)) /* tests have methods of their own */
const RAND_METHOD *
RAND_get_rand_method(void)
{
    return NULL; /* none: the generators of the library context */
}

static const int nids[KV_CURVE_P256K + 1] = {
    [KV_CURVE_P256] = NID_X9_62_prime256v1,
    [KV_CURVE_P384] = NID_secp384r1,
    [KV_CURVE_P521] = NID_secp521r1,
    [KV_CURVE_P256K] = NID_secp256k1,
};

static bool curve_init(struct curve *curve, int nid, OSSL_LIB_CTX *libctx)
{
    uint8_t bytes[KV_SCALAR_MAX_LEN];
    BN_CTX *ctx = BN_CTX_new_ex(libctx);
    curve->group = EC_GROUP_new_by_curve_name_ex(libctx, NULL, nid);
    curve->mont = BN_MONT_CTX_new();
    curve->exponent = BN_new();
    curve->to_r = BN_new();
    bool ok = ctx != NULL && curve->group != NULL && curve->mont != NULL &&
              curve->exponent != NULL && curve->to_r != NULL;
    const BIGNUM *n = ok ? EC_GROUP_get0_order(curve->group) : NULL;
    const int len = ok ? BN_bn2bin(n, bytes) : 0;
    ok = ok && kv_scalar_order_init(&curve->order, bytes, (size_t)len) == 0 &&
         BN_MONT_CTX_set(curve->mont, n, ctx) == 1 &&
         BN_copy(curve->exponent, n) != NULL && BN_sub_word(curve->exponent, 2) == 1 &&
         BN_set_bit(curve->to_r, (int)curve->order.n_words * 32) == 1 &&
         BN_nnmod(curve->to_r, curve->to_r, n, ctx) == 1 &&
         BN_to_montgomery(curve->to_r, curve->to_r, curve->mont, ctx) == 1;
    BN_CTX_free(ctx);
    return ok;
}

int kv_nonce_maker_new(struct kv_nonce_maker **out, const struct kv_rand *rand)
{
    struct kv_nonce_maker *maker = calloc(1, sizeof(*maker));
    if (maker == NULL)
        return KV_E_NOMEM;
    maker->rand = rand;
    maker->libctx = OSSL_LIB_CTX_new();
    if (maker->libctx != NULL)
        maker->provider = OSSL_PROVIDER_load(maker->libctx, "default");
    bool ok = maker->provider != NULL;
    for (unsigned i = KV_CURVE_P256; ok && i <= KV_CURVE_P256K; i++)
        ok = curve_init(&maker->curve[i], nids[i], maker->libctx);
    ERR_clear_error();
    if (!ok) {
        kv_nonce_maker_free(maker);
        return KV_E_CRYPTO;
    }
    *out = maker;
    return 0;
}

void kv_nonce_maker_free(struct kv_nonce_maker *maker)
{
    if (maker == NULL)
        return;
    for (unsigned i = 0; i <= KV_CURVE_P256K; i++) {
        EC_GROUP_free(maker->curve[i].group);
        BN_MONT_CTX_free(maker->curve[i].mont);
        BN_free(maker->curve[i].exponent);
        BN_free(maker->curve[i].to_r);
    }
    if (maker->provider != NULL)
        (void)OSSL_PROVIDER_unload(maker->provider); /* nothing left to do */
    OSSL_LIB_CTX_free(maker->libctx);
    free(maker);
}

const struct kv_scalar_order *kv_nonce_order(const struct kv_nonce_maker *maker,
                                             uint8_t curve)
{
    if (curve < KV_CURVE_P256 || curve > KV_CURVE_P256K)
        return NULL;
    return &maker->curve[curve].order;
}

static bool numbers_init(struct numbers *numbers, const struct curve *curve,
                         OSSL_LIB_CTX *libctx)
{
    *numbers = (struct numbers){.ctx = BN_CTX_new_ex(libctx)};
    if (numbers->ctx == NULL)
        return false;
    BN_CTX_start(numbers->ctx);
    numbers->point = EC_POINT_new(curve->group);
    numbers->d = BN_CTX_get(numbers->ctx);
    numbers->k = BN_CTX_get(numbers->ctx);
    numbers->r = BN_CTX_get(numbers->ctx);
    numbers->blind = BN_CTX_get(numbers->ctx);
    numbers->inverse = BN_CTX_get(numbers->ctx);
    numbers->t = BN_CTX_get(numbers->ctx); /* NULL if one of them is */
    if (numbers->point == NULL || numbers->t == NULL)
        return false;
    BN_set_flags(numbers->d, BN_FLG_CONSTTIME);
    BN_set_flags(numbers->k, BN_FLG_CONSTTIME);
    BN_set_flags(numbers->blind, BN_FLG_CONSTTIME);
    BN_set_flags(numbers->t, BN_FLG_CONSTTIME);
    return true;
}

static void numbers_fini(struct numbers *numbers)
{
    EC_POINT_clear_free(numbers->point);
    if (numbers->ctx != NULL)
        BN_CTX_end(numbers->ctx);
    BN_CTX_free(numbers->ctx); /* wipes every number it ever lent */
}

/* k, and r from it. */
static bool choose(struct numbers *numbers, const struct curve *curve,
                   const struct kv_rand *rand)
{
    uint8_t fresh[FRESH_LEN];
    const BIGNUM *n = EC_GROUP_get0_order(curve->group);
    bool ok = kv_rand_fill(rand, fresh, sizeof(fresh)) == 0 &&
              BN_generate_dsa_nonce(numbers->k, n, numbers->d, fresh, sizeof(fresh),
                                    numbers->ctx) == 1 &&
              !BN_is_zero(numbers->k) &&
              EC_POINT_mul(curve->group, numbers->point, numbers->k, NULL, NULL,
                           numbers->ctx) == 1 &&
              EC_POINT_get_affine_coordinates(curve->group, numbers->point, numbers->r,
                                              NULL, numbers->ctx) == 1 &&
              BN_nnmod(numbers->r, numbers->r, n, numbers->ctx) == 1 &&
              !BN_is_zero(numbers->r);
    kv_wipe(fresh, sizeof(fresh));
    return ok;
}

/* 1/k, by way of 1/(k blind R). */
static bool invert(struct numbers *numbers, const struct curve *curve)
{
    const BIGNUM *n = EC_GROUP_get0_order(curve->group);
    int tries = 0;
    do {
        if (BN_priv_rand_range_ex(numbers->blind, n, 0, numbers->ctx) != 1)
            return false;
    } while (BN_is_zero(numbers->blind) && ++tries < TRIES);
    return BN_mod_mul_montgomery(numbers->t, numbers->k, numbers->blind, curve->mont,
                                 numbers->ctx) == 1 &&
           BN_mod_exp_mont_consttime(numbers->inverse, numbers->t, curve->exponent, n,
                                     numbers->ctx, curve->mont) == 1 &&
           BN_mod_mul_montgomery(numbers->inverse, numbers->inverse, numbers->blind,
                                 curve->mont, numbers->ctx) == 1;
}

static bool put(struct kv_scalar *out, const struct curve *curve, const BIGNUM *number)
{
    uint8_t bytes[KV_SCALAR_MAX_LEN];
    const int len = (int)curve->order.len;
    const bool ok = BN_bn2binpad(number, bytes, len) == len;
    if (ok)
        kv_scalar_read(out, &curve->order, bytes, (size_t)len);
    kv_wipe(bytes, sizeof(bytes));
    return ok;
}

/* a R, then b = (1/k) r d: the factors go through Montgomery's form and come out of it.
 */
static bool multiply(struct numbers *numbers, const struct curve *curve,
                     struct kv_nonce *out)
{
    BIGNUM *t = numbers->t;
    BN_CTX *ctx = numbers->ctx;
    const int len = (int)curve->order.len;
    return BN_mod_mul_montgomery(t, numbers->inverse, curve->to_r, curve->mont, ctx) ==
               1 &&
           put(&out->a_r, curve, t) && BN_bn2binpad(numbers->r, out->r, len) == len &&
           BN_to_montgomery(t, numbers->r, curve->mont, ctx) == 1 &&
           BN_mod_mul_montgomery(t, t, numbers->inverse, curve->mont, ctx) == 1 &&
           BN_to_montgomery(t, t, curve->mont, ctx) == 1 &&
           BN_mod_mul_montgomery(t, t, numbers->d, curve->mont, ctx) == 1 &&
           put(&out->b, curve, t);
}

/* Out of line, so that what it and libcrypto leave on the stack lies below the caller.
 */
static __attribute__((noinline)) int make(const struct kv_nonce_maker *maker,
                                          const struct curve *curve, const uint8_t *d,
                                          struct kv_nonce *out)
{
    struct numbers numbers;
    const bool ok = numbers_init(&numbers, curve, maker->libctx) &&
                    BN_bin2bn(d, (int)curve->order.len, numbers.d) != NULL &&
                    choose(&numbers, curve, maker->rand) && invert(&numbers, curve) &&
                    multiply(&numbers, curve, out);
    numbers_fini(&numbers);
    return ok ? 0 : KV_E_CRYPTO;
}

static __attribute__((noinline)) void wipe_stack(void)
{
    uint8_t below[STACK_USED];
    kv_wipe(below, sizeof(below));
}

int kv_nonce_make(const struct kv_nonce_maker *maker, uint8_t curve, const uint8_t *d,
                  struct kv_nonce *out)
{
    KV_ASSERT(curve >= KV_CURVE_P256 && curve <= KV_CURVE_P256K);
    const int rc = make(maker, &maker->curve[curve], d, out);
    wipe_stack();
    ERR_clear_error();
    if (rc != 0)
        kv_wipe(out, sizeof(*out));
    return rc;
}

/* One INTEGER of DER; the numbers of a signature are public. */
static uint8_t *put_integer(uint8_t *at, const uint8_t *bytes, size_t len)
{
    while (len > 1 && bytes[0] == 0) {
        bytes++;
        len--;
    }
    const size_t pad = bytes[0] >> 7;
    *at++ = 0x02;
    *at++ = (uint8_t)(len + pad);
    if (pad != 0)
        *at++ = 0;
    memcpy(at, bytes, len);
    return at + len;
}

int kv_nonce_finish(const struct kv_nonce *nonce, const struct kv_scalar_order *order,
                    struct kv_bytes digest, uint8_t *sig, size_t *sig_len)
{
    struct kv_scalar m;
    struct kv_scalar s;
    uint8_t s_bytes[KV_SCALAR_MAX_LEN];
    uint8_t body[2 * (KV_SCALAR_MAX_LEN + 3)];
    kv_scalar_read(&m, order, digest.data,
                   digest.len < order->len ? digest.len : order->len);
    kv_scalar_mul_add(&s, order, &nonce->a_r, &m, &nonce->b);
    if (kv_scalar_is_zero(&s, order))
        return KV_E_CRYPTO;
    kv_scalar_put(&s, order, s_bytes);
    uint8_t *end = put_integer(body, nonce->r, order->len);
    end = put_integer(end, s_bytes, order->len);
    const size_t len = (size_t)(end - body);
    *sig++ = 0x30;
    if (len > 127)
        *sig++ = 0x81;
    *sig++ = (uint8_t)len;
    memcpy(sig, body, len);
    *sig_len = len + (len > 127 ? 3 : 2);
    return 0;
}
