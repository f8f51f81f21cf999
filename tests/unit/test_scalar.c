/*
 * Arithmetic modulo the orders of all curves, against libcrypto's.
 */
#include "store/keyring/scalar.h"

#include <criterion/criterion.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#include <string.h>

TestSuite(scalar, .timeout = 60);

static const int curves[] = {NID_X9_62_prime256v1, NID_secp384r1, NID_secp521r1,
                             NID_secp256k1};
enum { N_CURVES = 4, N_RANDOM = 500 };

struct field {
    struct kv_scalar_order order;
    BIGNUM *n;
    BIGNUM *r; /* R modulo n */
    BN_CTX *ctx;
};

static void field_init(struct field *field, int curve)
{
    uint8_t bytes[KV_SCALAR_MAX_LEN];
    EC_GROUP *group = EC_GROUP_new_by_curve_name(curve);
    field->ctx = BN_CTX_new();
    field->n = BN_dup(EC_GROUP_get0_order(group));
    field->r = BN_new();
    const int len = BN_bn2bin(field->n, bytes);
    cr_assert_eq(kv_scalar_order_init(&field->order, bytes, (size_t)len), 0);
    cr_assert_eq(BN_set_bit(field->r, (int)field->order.n_words * 32), 1);
    cr_assert_eq(BN_mod(field->r, field->r, field->n, field->ctx), 1);
    EC_GROUP_free(group);
}

static void field_fini(struct field *field)
{
    BN_free(field->n);
    BN_free(field->r);
    BN_CTX_free(field->ctx);
}

static struct kv_scalar scalar_of(const struct field *field, const BIGNUM *number)
{
    struct kv_scalar scalar;
    uint8_t bytes[KV_SCALAR_MAX_LEN];
    cr_assert_eq(BN_bn2binpad(number, bytes, (int)field->order.len),
                 (int)field->order.len);
    kv_scalar_read(&scalar, &field->order, bytes, field->order.len);
    return scalar;
}

static void check(struct field *field, const BIGNUM *a, const BIGNUM *m,
                  const BIGNUM *b)
{
    struct kv_scalar result;
    uint8_t bytes[KV_SCALAR_MAX_LEN];
    BIGNUM *expected = BN_new();
    BIGNUM *a_r = BN_new();
    cr_assert(BN_mod_mul(a_r, a, field->r, field->n, field->ctx) &&
              BN_mod_mul(expected, a, m, field->n, field->ctx) &&
              BN_mod_add(expected, expected, b, field->n, field->ctx));
    const struct kv_scalar sa = scalar_of(field, a_r);
    const struct kv_scalar sm = scalar_of(field, m);
    const struct kv_scalar sb = scalar_of(field, b);
    kv_scalar_mul_add(&result, &field->order, &sa, &sm, &sb);
    kv_scalar_put(&result, &field->order, bytes);
    BIGNUM *got = BN_bin2bn(bytes, (int)field->order.len, NULL);
    cr_expect_eq(BN_cmp(got, expected), 0);
    cr_expect_eq(kv_scalar_is_zero(&result, &field->order), BN_is_zero(expected));
    BN_free(expected);
    BN_free(a_r);
    BN_free(got);
}

/* 0, 1, n - 1, and for `m`, which need not be below n, all ones. */
static void edges(const struct field *field, BIGNUM *edge[4])
{
    for (int i = 0; i < 4; i++)
        edge[i] = BN_new();
    cr_assert(BN_one(edge[1]) && BN_sub(edge[2], field->n, edge[1]) &&
              BN_set_bit(edge[3], (int)field->order.len * 8) &&
              BN_sub_word(edge[3], 1));
}

Test(scalar, edges_agree_with_libcrypto)
{
    for (int i = 0; i < N_CURVES; i++) {
        struct field field;
        BIGNUM *edge[4];
        field_init(&field, curves[i]);
        edges(&field, edge);
        for (int at = 0; at < 3 * 4 * 3; at++)
            check(&field, edge[at % 3], edge[at / 3 % 4], edge[at / 12]);
        for (int j = 0; j < 4; j++)
            BN_free(edge[j]);
        field_fini(&field);
    }
}

Test(scalar, random_numbers_agree_with_libcrypto)
{
    for (int i = 0; i < N_CURVES; i++) {
        struct field field;
        BIGNUM *a = BN_new();
        BIGNUM *m = BN_new();
        BIGNUM *b = BN_new();
        field_init(&field, curves[i]);
        for (int at = 0; at < N_RANDOM; at++) {
            cr_assert(BN_rand_range(a, field.n) && BN_rand_range(b, field.n) &&
                      BN_rand(m, (int)field.order.len * 8, BN_RAND_TOP_ANY,
                              BN_RAND_BOTTOM_ANY));
            check(&field, a, m, b);
        }
        BN_free(a);
        BN_free(m);
        BN_free(b);
        field_fini(&field);
    }
}

Test(scalar, a_result_of_zero_is_told)
{
    struct field field;
    BIGNUM *one = BN_new();
    BIGNUM *b = BN_new();
    field_init(&field, curves[0]);
    cr_assert(BN_one(one) && BN_sub(b, field.n, one));
    check(&field, one, one, b); /* 1 * 1 + (n - 1) = n */
    BN_free(one);
    BN_free(b);
    field_fini(&field);
}

Test(scalar, short_bytes_are_small_numbers)
{
    struct field field;
    struct kv_scalar scalar;
    uint8_t bytes[KV_SCALAR_MAX_LEN];
    field_init(&field, curves[2]);
    kv_scalar_read(&scalar, &field.order, (const uint8_t *)"\1\2\3\4\5", 5);
    cr_expect_eq(scalar.word[0], 0x02030405);
    cr_expect_eq(scalar.word[1], 1);
    kv_scalar_put(&scalar, &field.order, bytes);
    cr_expect_eq(memcmp(bytes + field.order.len - 6, "\0\1\2\3\4\5", 6), 0);
    field_fini(&field);
}

Test(scalar, moduli_that_cannot_be_orders_are_refused)
{
    struct kv_scalar_order order;
    uint8_t bytes[KV_SCALAR_MAX_LEN + 1];
    memset(bytes, 0xff, sizeof(bytes));
    cr_expect_eq(kv_scalar_order_init(&order, bytes, KV_SCALAR_MAX_LEN), 0);
    cr_expect_eq(kv_scalar_order_init(&order, bytes, sizeof(bytes)), KV_E_INVALID);
    cr_expect_eq(kv_scalar_order_init(&order, bytes, 15), KV_E_INVALID);
    bytes[31] = 0xfe; /* even */
    cr_expect_eq(kv_scalar_order_init(&order, bytes, 32), KV_E_INVALID);
    bytes[31] = 0xff;
    bytes[0] = 0; /* shorter than it says */
    cr_expect_eq(kv_scalar_order_init(&order, bytes, 32), KV_E_INVALID);
}
