/* Chains: any order comes out leaf first, what is written is read again, and bytes
 * that are no certificate are told by their place. */
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>

#include "lifecycle/certs/chain.h"
#include "tests/support/chain_maker.h"

#define N 3 /* leaf, intermediate, root */

static struct chain_made made[N];

static void setup_with(const char *const types[N])
{
    made[2] =
        chain_make(&(struct chain_maker){.type = types[2], .subject = "Root"}, NULL);
    made[1] = chain_make(
        &(struct chain_maker){.type = types[1], .subject = "Intermediate"}, &made[2]);
    made[0] = chain_make(
        &(struct chain_maker){.type = types[0], .subject = "web.example.com"},
        &made[1]);
}

static void teardown(void)
{
    for (size_t i = 0; i < N; i++)
        chain_made_free(&made[i]);
    cr_expect_eq(ERR_peek_error(), 0, "the error queue is left clean");
}

static void setup(void)
{
    setup_with((const char *const[]){"P-256", "P-256", "P-256"});
}

TestSuite(chain, .timeout = 30, .init = setup, .fini = teardown);

static struct kv_chain in_order(const size_t places[N])
{
    struct kv_chain chain = {.n = N};

    for (size_t i = 0; i < N; i++)
        chain.der[i] = chain_made_der(&made[places[i]]);
    return chain;
}

static void expect_ordered(const struct kv_chain *chain)
{
    cr_assert_eq(chain->n, N);
    for (size_t i = 0; i < N; i++)
        cr_expect_eq(chain->der[i].data, made[i].der, "place %zu", i);
}

Test(chain, facts_are_those_of_the_certificate)
{
    uint8_t sha1[20];
    struct kv_cert_facts facts;
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_cert_facts(chain_made_der(&made[0]), &facts, &err), 0);
    cr_expect_eq(facts.nbf_s, CHAIN_MAKER_NOW_S - 86400);
    cr_expect_eq(facts.exp_s, CHAIN_MAKER_NOW_S + 90 * 86400);
    cr_assert_eq(X509_digest(made[0].cert, EVP_sha1(), sha1, NULL), 1);
    cr_expect_eq(memcmp(facts.sha1, sha1, sizeof(sha1)), 0);
}

Test(chain, every_order_comes_out_leaf_first)
{
    static const size_t orders[][N] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                       {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const char *const types[][N] = {{"P-256", "P-256", "P-256"},
                                           {"RSA", "P-384", "RSA"},
                                           {"ED25519", "ED25519", "ED25519"}};
    for (size_t t = 0; t < 3; t++) {
        for (size_t i = 0; i < N; i++)
            chain_made_free(&made[i]);
        setup_with(types[t]);
        for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
            struct kv_chain chain = in_order(orders[i]);
            struct kv_err err = KV_ERR_INIT;
            cr_assert_eq(kv_chain_order(&chain, chain_made_spki(&made[0]), &err), 0,
                         "%s", err.message);
            expect_ordered(&chain);
        }
    }
}

Test(chain, json_is_read_again)
{
    struct kv_chain chain = in_order((const size_t[]){0, 1, 2});
    struct kv_chain again;
    struct kv_buf store;
    kv_buf_init(&store, (size_t)KV_CHAIN_MAX * KV_CERT_DER_MAX);
    cr_assert_eq(kv_buf_append_str(&store, "before"), 0);
    json_t *array = kv_chain_write(&chain);
    cr_assert_eq(kv_chain_read(array, &store, &again), 0);
    cr_assert_eq(again.n, N);
    for (size_t i = 0; i < N; i++) {
        cr_assert_eq(again.der[i].len, made[i].der_len);
        cr_expect_eq(memcmp(again.der[i].data, made[i].der, made[i].der_len), 0);
    }
    cr_expect_eq(memcmp(store.data, "before", 6), 0);
    json_decref(array);
    kv_buf_free(&store);
}

Test(chain, a_pfx_without_key_opens_without_password)
{
    static const char *const passwords[] = {"", NULL};
    struct kv_chain chain = in_order((const size_t[]){0, 1, 2});
    struct kv_buf out;
    kv_buf_init(&out, 65536);
    cr_assert_eq(kv_chain_pfx(&chain, &out), 0);
    for (size_t i = 0; i < 2; i++) {
        const uint8_t *at = out.data;
        EVP_PKEY *key = NULL;
        X509 *leaf = NULL;
        STACK_OF(X509) *rest = NULL;
        PKCS12 *pfx = d2i_PKCS12(NULL, &at, (long)out.len);
        cr_assert_eq(PKCS12_parse(pfx, passwords[i], &key, &leaf, &rest), 1);
        cr_expect_null(key);
        cr_expect_null(leaf);
        cr_assert_eq(sk_X509_num(rest), N);
        for (int n = 0; n < N; n++)
            cr_expect_eq(X509_cmp(sk_X509_value(rest, n), made[n].cert), 0);
        sk_X509_pop_free(rest, X509_free);
        PKCS12_free(pfx);
    }
    ERR_clear_error(); /* libcrypto tries NULL and "" in turn */
    kv_buf_free(&out);
}

Test(chain, pem_is_read_again)
{
    struct kv_chain chain = in_order((const size_t[]){0, 1, 2});
    struct kv_buf out;
    kv_buf_init(&out, 65536);
    cr_assert_eq(kv_chain_pem(&chain, &out), 0);
    BIO *bio = BIO_new_mem_buf(out.data, (int)out.len);
    for (size_t i = 0; i < N; i++) {
        X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        cr_assert_not_null(cert);
        cr_expect_eq(X509_cmp(cert, made[i].cert), 0);
        X509_free(cert);
    }
    cr_expect_eq(BIO_pending(bio), 0);
    BIO_free(bio);
    kv_buf_free(&out);
}
