/* Chains: any order comes out leaf first, what is written is read again, and bytes
 * that are no certificate are told by their place. */
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>

#include "lifecycle/certs/chain.h"
#include "lifecycle/certs/x500.h"
#include "tests/support/chain_maker.h"
#include "tests/support/fault.h"

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

Test(chain, the_subject_is_text)
{
    struct kv_buf text;
    struct chain_made nameless = chain_make(
        &(struct chain_maker){.type = "ED25519", .sans = "DNS:a.example"}, NULL);
    kv_buf_init(&text, KV_X500_TEXT_MAX);
    cr_assert_eq(kv_cert_subject(chain_made_der(&made[0]), &text), 0);
    cr_expect_str_eq(kv_buf_cstr(&text), "CN=web.example.com");
    kv_buf_reset(&text);
    cr_expect_eq(kv_cert_subject(chain_made_der(&nameless), &text), 0);
    cr_expect_eq(text.len, 0);
    cr_expect_eq(kv_cert_subject(chain_made_spki(&made[0]), &text), KV_E_INVALID);
    kv_buf_free(&text);
    chain_made_free(&nameless);
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

Test(chain, an_issuer_is_found_by_its_key_when_two_have_its_name)
{
    struct chain_made twin = chain_make(
        &(struct chain_maker){.type = "P-256", .subject = "Intermediate"}, NULL);
    struct kv_chain chain = {.n = 3,
                             .der = {chain_made_der(&twin), chain_made_der(&made[0]),
                                     chain_made_der(&made[1])}};
    cr_assert_eq(kv_chain_order(&chain, chain_made_spki(&made[0]), NULL), 0);
    cr_expect_eq(chain.der[0].data, made[0].der);
    cr_expect_eq(chain.der[1].data, made[1].der);
    cr_expect_eq(chain.der[2].data, twin.der);
    chain_made_free(&twin);
}

Test(chain, what_belongs_to_no_chain_keeps_its_place_behind)
{
    struct kv_chain chain = {.n = KV_CHAIN_MAX};
    struct chain_made other[KV_CHAIN_MAX - 2];
    for (size_t i = 0; i < KV_CHAIN_MAX - 2; i++) {
        other[i] = chain_make(
            &(struct chain_maker){.type = "ED25519", .subject = "Other"}, NULL);
        chain.der[i + 1] = chain_made_der(&other[i]);
    }
    chain.der[0] = chain_made_der(&made[1]);
    chain.der[KV_CHAIN_MAX - 1] = chain_made_der(&made[0]);
    cr_assert_eq(kv_chain_order(&chain, chain_made_spki(&made[0]), NULL), 0);
    cr_expect_eq(chain.der[0].data, made[0].der);
    cr_expect_eq(chain.der[1].data, made[1].der);
    for (size_t i = 0; i < KV_CHAIN_MAX - 2; i++) {
        cr_expect_eq(chain.der[i + 2].data, other[i].der, "place %zu", i + 2);
        chain_made_free(&other[i]);
    }
}

static void expect_refused(struct kv_chain *chain, const char *id, const char *text)
{
    struct kv_chain before = *chain;
    struct kv_err err = KV_ERR_INIT;
    cr_expect_eq(kv_chain_order(chain, chain_made_spki(&made[0]), &err), KV_E_INVALID);
    cr_expect_str_eq(err.id, id);
    cr_expect_not_null(strstr(err.message, text), "%s", err.message);
    cr_expect_eq(memcmp(&before, chain, sizeof(before)), 0, "nothing has moved");
}

Test(chain, without_the_leaf_there_is_no_chain)
{
    struct kv_chain chain = in_order((const size_t[]){1, 2, 1});
    expect_refused(&chain, "chain.no-leaf", "none of the 3");
    chain.n = 0;
    expect_refused(&chain, "chain.bad-certificate", "this one has 0");
    chain.n = KV_CHAIN_MAX + 1;
    expect_refused(&chain, "chain.bad-certificate", "this one has 11");
}

Test(chain, what_is_no_certificate_is_told_by_its_place)
{
    static uint8_t huge[KV_CERT_DER_MAX + 1] = {0x30, 0x82, 0x3f, 0xfd};
    uint8_t *more = malloc(made[1].der_len + 1);
    cr_assert_not_null(more);
    memcpy(more, made[1].der, made[1].der_len);
    more[made[1].der_len] = 0;
    const struct kv_bytes bad[] = {
        {NULL, 0},
        {(const uint8_t *)"garbage", 7},
        {made[1].der, made[1].der_len - 1},
        {more, made[1].der_len + 1},
        {huge, sizeof(huge)},
        {made[1].spki, made[1].spki_len},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct kv_cert_facts facts;
        struct kv_err err = KV_ERR_INIT;
        struct kv_chain chain = in_order((const size_t[]){0, 1, 2});
        chain.der[1] = bad[i];
        expect_refused(&chain, "chain.bad-certificate", "certificate 2 ");
        cr_expect_eq(kv_cert_facts(bad[i], &facts, &err), KV_E_INVALID);
        cr_expect_str_eq(err.id, "chain.bad-certificate");
        struct kv_buf out;
        kv_buf_init(&out, 65536);
        cr_expect_eq(kv_chain_pfx(&chain, &out), KV_E_INVALID);
        cr_expect_eq(out.len, 0);
        kv_buf_free(&out);
    }
    free(more);
}

Test(chain, files_and_json_respect_the_buffers_ceiling)
{
    struct kv_chain chain = in_order((const size_t[]){0, 1, 2});
    struct kv_chain again;
    struct kv_buf out;
    json_t *array = kv_chain_write(&chain);
    kv_buf_init(&out, 600);
    cr_expect_eq(kv_chain_pem(&chain, &out), KV_E_TOO_BIG);
    kv_buf_reset(&out);
    cr_expect_eq(kv_chain_pfx(&chain, &out), KV_E_TOO_BIG);
    kv_buf_reset(&out);
    cr_expect_eq(kv_chain_read(array, &out, &again), KV_E_TOO_BIG);
    cr_expect_eq(out.len, 0);
    cr_expect_eq(again.n, 0);
    kv_buf_free(&out);
    json_decref(array);
}

Test(chain, json_that_is_no_chain_is_an_integrity_error)
{
    struct kv_buf store;
    char *huge = malloc(24000);
    cr_assert_not_null(huge);
    memset(huge, 'A', 24000);
    json_t *const bad[] = {
        json_null(),
        json_string("MA=="),
        json_array(),
        json_pack("[i]", 1),
        json_pack("[s]", ""),
        json_pack("[s]", "not base64"),
        json_pack("[s,n]", "MAA="),
        json_pack("[s%]", huge, (size_t)24000),
        json_pack("[sssssssssss]", "MAA=", "MAA=", "MAA=", "MAA=", "MAA=", "MAA=",
                  "MAA=", "MAA=", "MAA=", "MAA=", "MAA="),
    };
    kv_buf_init(&store, (size_t)KV_CHAIN_MAX * KV_CERT_DER_MAX);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct kv_chain chain;
        cr_assert(i == 0 || bad[i] != NULL);
        cr_expect_eq(kv_chain_read(bad[i], &store, &chain), KV_E_INTEGRITY, "%zu", i);
        cr_expect_eq(chain.n, 0);
        cr_expect_eq(store.len, 0);
        json_decref(bad[i]);
    }
    kv_buf_free(&store);
    free(huge);
}

/* All that is done with a chain; whatever fails leaves the buffer as it was. */
static bool use_once(struct kv_buf *out)
{
    struct kv_chain chain = in_order((const size_t[]){2, 0, 1});
    struct kv_chain again;
    struct kv_cert_facts facts;
    json_t *array = kv_chain_write(&chain);
    bool ok = kv_cert_facts(chain.der[0], &facts, NULL) == 0;
    ok = kv_chain_order(&chain, chain_made_spki(&made[0]), NULL) == 0 && ok;
    if (kv_chain_pem(&chain, out) != 0)
        cr_expect_eq(out->len, 0);
    ok = out->len > 0 && ok;
    kv_buf_free(out);
    if (kv_chain_pfx(&chain, out) != 0)
        cr_expect_eq(out->len, 0);
    ok = out->len > 0 && ok;
    kv_buf_free(out);
    if (array != NULL && kv_chain_read(array, out, &again) != 0)
        cr_expect_eq(out->len, 0);
    ok = out->len > 0 && ok;
    kv_buf_free(out);
    json_decref(array);
    return ok;
}

Test(chain, without_memory_everything_fails_as_a_whole, .timeout = 90)
{
    for (int libcrypto = 0; libcrypto < 2; libcrypto++) {
        struct kv_buf out;
        long n = 1;
        kv_buf_init(&out, 65536);
        cr_assert(fault_use_libcrypto(libcrypto == 1));
        cr_assert(use_once(&out));
        for (; fault_round(n); n += libcrypto == 1 ? 37 : 1) {
            bool ok = use_once(&out);
            cr_expect(ok || fault_was_hit(), "%ld", n);
            cr_expect_eq(ERR_peek_error(), 0, "%ld", n);
        }
        cr_expect_geq(n, 4, "%ld", n);
    }
    (void)fault_use_libcrypto(false);
}
