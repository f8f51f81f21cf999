/*
 * What a prepared nonce leaves in the memory of the process once it has signed:
 * nothing. From the signature and the private key the test computes k and its inverse,
 * and looks for both.
 */
#include <criterion/criterion.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/obj_mac.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/core/secret.h"
#include "store/keyring/key_internal.h"
#include "store/keyring/nonce_internal.h"
#include "tests/support/residue.h"
#include "tests/support/signed_once.h"

enum { WAIT_TRIES = 20000, WAIT_US = 1000, AT = 5, STACK_LEN = 65536 };

static const uint8_t digest[32] = {1, 2, 3};

static void setup(void)
{
    const struct kv_nonces_config config = {
        .clock = kv_clock_system(), .rand = kv_rand_kernel(), .n_slots = 1};
    cr_assert_eq(kv_keys_init(NULL), 0);
    cr_assert_eq(kv_nonces_start(&config, NULL), 0);
}

static void teardown(void)
{
    kv_nonces_stop();
    kv_keys_fini();
}

TestSuite(nonce_residue, .timeout = 100, .init = setup, .fini = teardown);

static void sign(struct kv_key *key, struct kv_buf *out)
{
    const struct kv_msg_sign msg = {
        .sig = KV_SIG_ECDSA, .md = KV_MD_SHA256, .input = {digest, sizeof(digest)}};
    kv_buf_reset(out);
    cr_assert_eq(kv_key_sign(key, 0, &msg, out, NULL), 0);
}

static struct kv_nonce_place *place_of(const struct kv_key *key)
{
    return &kv_nonce_places()[atomic_load(&key->nonce_id) % KV_NONCE_KEYS];
}

/* Sign until it is done with a nonce that lay ready before. */
static void sign_prepared(struct kv_key *key, struct kv_buf *out)
{
    bool is_prepared = false;
    static uint8_t ready[KV_NONCE_PER_KEY][KV_SCALAR_MAX_LEN];
    const size_t len = ((size_t)kv_key_bits(key) + 7) / 8;
    for (int i = 0; i < WAIT_TRIES && !is_prepared; i++) {
        uint8_t r[KV_SIGNED_R_LEN];
        for (unsigned j = 0; j < KV_NONCE_PER_KEY && kv_nonce_count(key) > 0; j++)
            memcpy(ready[j], place_of(key)->record[j].nonce.r, KV_SCALAR_MAX_LEN);
        sign(key, out);
        cr_assert(kv_signed_r(r, out->data, out->len));
        for (unsigned j = 0; j < KV_NONCE_PER_KEY; j++)
            is_prepared |= memcmp(ready[j] + len - sizeof(r), r, sizeof(r)) == 0;
        usleep(WAIT_US);
    }
    cr_assert(is_prepared);
}

static void learn(const BIGNUM *number, const BIGNUM *order)
{
    uint8_t bytes[KV_SCALAR_MAX_LEN];
    const int len = BN_num_bytes(order);
    cr_assert_eq(BN_bn2binpad(number, bytes, len), len);
    kv_residue_learn(bytes, (size_t)len, 0);
    if (len > AT + KV_RESIDUE_MARK)
        kv_residue_learn(bytes, (size_t)len, AT);
    kv_wipe(bytes, sizeof(bytes));
}

/* Whether r is x(kG): in a child, whose memory is not looked at. */
static bool is_nonce_of(const struct kv_key *key, const BIGNUM *k, const BIGNUM *r)
{
    int status = -1;
    const pid_t pid = fork();
    if (pid == 0) {
        static const int nids[] = {0, NID_X9_62_prime256v1, NID_secp384r1,
                                   NID_secp521r1, NID_secp256k1};
        EC_GROUP *group = EC_GROUP_new_by_curve_name(nids[kv_key_curve(key)]);
        EC_POINT *point = EC_POINT_new(group);
        BIGNUM *x = BN_new();
        const bool is_it =
            EC_POINT_mul(group, point, k, NULL, NULL, NULL) == 1 &&
            EC_POINT_get_affine_coordinates(group, point, x, NULL, NULL) == 1 &&
            BN_nnmod(x, x, EC_GROUP_get0_order(group), BN_CTX_new()) == 1 &&
            BN_cmp(x, r) == 0;
        _exit(is_it ? 0 : 1);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status == 0;
}

/* k = (m + r d) / s, and 1 / k. */
static __attribute__((noinline)) void compute(const struct kv_key *key,
                                              const struct kv_buf *sig)
{
    const unsigned char *at = sig->data;
    ECDSA_SIG *parsed = d2i_ECDSA_SIG(NULL, &at, (long)sig->len);
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *order = NULL;
    BIGNUM *d = NULL;
    BIGNUM *m = BN_bin2bn(digest, sizeof(digest), NULL);
    BIGNUM *k = BN_new();
    BIGNUM *inverse = BN_new();
    cr_assert(EVP_PKEY_get_bn_param(key->pkey, OSSL_PKEY_PARAM_PRIV_KEY, &d) &&
              EVP_PKEY_get_bn_param(key->pkey, OSSL_PKEY_PARAM_EC_ORDER, &order));
    cr_assert(BN_mod_mul(k, ECDSA_SIG_get0_r(parsed), d, order, ctx) &&
              BN_mod_add(k, k, m, order, ctx) &&
              BN_mod_inverse(inverse, ECDSA_SIG_get0_s(parsed), order, ctx) &&
              BN_mod_mul(k, k, inverse, order, ctx) &&
              BN_mod_inverse(inverse, k, order, ctx));
    cr_assert(is_nonce_of(key, k, ECDSA_SIG_get0_r(parsed)));
    kv_residue_reset();
    learn(k, order);
    learn(inverse, order);
    BN_clear_free(k);
    BN_clear_free(inverse);
    BN_clear_free(d);
    BN_free(m);
    BN_free(order);
    BN_CTX_free(ctx);
    ECDSA_SIG_free(parsed);
}

static __attribute__((noinline)) void wipe_stack(void)
{
    uint8_t below[STACK_LEN];
    kv_wipe(below, sizeof(below));
}

/* A thread that makes one nonce, signs with it and waits, its stack untouched. */
struct maker {
    const struct kv_key *key;
    struct kv_buf sig;
    pthread_barrier_t is_made;
    pthread_barrier_t may_end;
};

static void make_and_sign(struct maker *maker)
{
    struct kv_nonce nonce;
    struct kv_nonce_maker *made = NULL;
    BIGNUM *number = NULL;
    uint8_t d[KV_SCALAR_MAX_LEN];
    size_t sig_len = 0;
    const uint8_t curve = kv_key_curve(maker->key);
    cr_assert_eq(kv_nonce_maker_new(&made, kv_rand_kernel()), 0);
    const struct kv_scalar_order *order = kv_nonce_order(made, curve);
    cr_assert_eq(
        EVP_PKEY_get_bn_param(maker->key->pkey, OSSL_PKEY_PARAM_PRIV_KEY, &number), 1);
    cr_assert_eq(BN_bn2binpad(number, d, (int)order->len), (int)order->len);
    BN_clear_free(number);
    cr_assert_eq(kv_nonce_make(made, curve, d, &nonce), 0);
    uint8_t *sig = kv_buf_extend(&maker->sig, KV_ECDSA_DER_MAX);
    cr_assert_eq(kv_nonce_finish(&nonce, order,
                                 (struct kv_bytes){digest, sizeof(digest)}, sig,
                                 &sig_len),
                 0);
    kv_buf_truncate(&maker->sig, sig_len);
    kv_wipe(&nonce, sizeof(nonce));
    kv_wipe(d, sizeof(d));
    kv_nonce_maker_free(made);
}

static void *maker_main(void *arg)
{
    struct maker *maker = arg;
    make_and_sign(maker);
    (void)pthread_barrier_wait(&maker->is_made);
    (void)pthread_barrier_wait(&maker->may_end);
    return NULL;
}

Test(nonce_residue, making_one_leaves_nothing_on_heap_or_stack)
{
    for (uint8_t curve = KV_CURVE_P256; curve <= KV_CURVE_P256K; curve++) {
        pthread_t thread;
        struct kv_key *key = NULL;
        cr_assert_eq(kv_key_generate(KV_KTY_EC, curve, 0, &key, NULL), 0);
        struct maker maker = {.key = key};
        kv_buf_init_secret(&maker.sig, 1000);
        cr_assert_eq(pthread_barrier_init(&maker.is_made, NULL, 2), 0);
        cr_assert_eq(pthread_barrier_init(&maker.may_end, NULL, 2), 0);
        cr_assert_eq(pthread_create(&thread, NULL, maker_main, &maker), 0);
        (void)pthread_barrier_wait(&maker.is_made);
        compute(key, &maker.sig);
        wipe_stack();
        cr_expect_eq(kv_residue_count(), 0, "curve %u: %zu copies", curve,
                     kv_residue_count());
        (void)pthread_barrier_wait(&maker.may_end);
        cr_assert_eq(pthread_join(thread, NULL), 0);
        kv_buf_free(&maker.sig);
        kv_key_unref(key);
    }
}

Test(nonce_residue, nonces_that_have_signed_leave_nothing)
{
    for (uint8_t curve = KV_CURVE_P256; curve <= KV_CURVE_P256K; curve++) {
        struct kv_buf sig;
        struct kv_key *key = NULL;
        cr_assert_eq(kv_key_generate(KV_KTY_EC, curve, 0, &key, NULL), 0);
        kv_buf_init_secret(&sig, 1000);
        sign_prepared(key, &sig);
        compute(key, &sig);
        wipe_stack();
        cr_expect_eq(kv_residue_count(), 0, "curve %u", curve);
        kv_buf_free(&sig);
        kv_key_unref(key);
    }
    uint8_t *planted = kv_residue_plant();
    cr_expect_eq(kv_residue_count(), 1, "a planted copy is found");
    kv_residue_pull(planted);
}

/* The record that lies ready is found, and no other; after the signature it is not. */
Test(nonce_residue, what_lies_ready_is_there_once_and_then_gone)
{
    struct kv_buf sig;
    struct kv_key *key = NULL;
    uint8_t bytes[sizeof(struct kv_scalar)];
    kv_buf_init_secret(&sig, 1000);
    cr_assert_eq(kv_key_generate(KV_KTY_EC, KV_CURVE_P384, 0, &key, NULL), 0);
    for (int i = 0; i < 3; i++)
        sign(key, &sig);
    for (int i = 0; i < WAIT_TRIES && kv_nonce_count(key) < 2; i++)
        usleep(WAIT_US);
    const struct kv_nonce_reader *reader = &place_of(key)->reader[0];
    const struct kv_nonce_record *next = &place_of(key)->record[reader->at];
    cr_assert_eq(atomic_load(&next->state), KV_NONCE_READY);
    memcpy(bytes, &next->nonce.a_r, sizeof(bytes));
    kv_residue_reset();
    kv_residue_learn(bytes, sizeof(bytes), 0);
    memcpy(bytes, &next->nonce.b, sizeof(bytes));
    kv_residue_learn(bytes, sizeof(bytes), 0);
    kv_wipe(bytes, sizeof(bytes));
    cr_expect_eq(kv_residue_count(), 2, "both numbers, once each");
    sign(key, &sig);
    cr_expect_eq(kv_residue_count(), 0);
    kv_buf_free(&sig);
    kv_key_unref(key);
}
