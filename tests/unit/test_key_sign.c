/* Signatures of every key type and scheme, checked against plain EVP calls on the
 * public key alone, and each way a request can be wrong. */
#include <pthread.h>
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "store/keyring/keys.h"

static const struct {
    uint8_t kty;
    uint8_t curve;
    uint16_t bits;
} types[] = {
    {KV_KTY_RSA, 0, 2048},          {KV_KTY_EC, KV_CURVE_P256, 0},
    {KV_KTY_EC, KV_CURVE_P384, 0},  {KV_KTY_EC, KV_CURVE_P521, 0},
    {KV_KTY_EC, KV_CURVE_P256K, 0}, {KV_KTY_OKP, KV_CURVE_ED25519, 0},
};
enum { RSA2048, P256, P384, P521, P256K, ED, N_TYPES };

static const struct {
    uint8_t md;
    size_t len;
    const char *name;
} mds[] = {
    {KV_MD_SHA1, 20, "SHA1"},         {KV_MD_SHA224, 28, "SHA224"},
    {KV_MD_SHA256, 32, "SHA256"},     {KV_MD_SHA384, 48, "SHA384"},
    {KV_MD_SHA512, 64, "SHA512"},     {KV_MD_SHA3_256, 32, "SHA3-256"},
    {KV_MD_SHA3_384, 48, "SHA3-384"}, {KV_MD_SHA3_512, 64, "SHA3-512"},
};
#define N_MDS (sizeof(mds) / sizeof(mds[0]))

static struct kv_key *key[N_TYPES];
static uint8_t digest[64];

static void setup(void)
{
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_keys_init(&err), 0, "%s", err.message);
    for (size_t i = 0; i < N_TYPES; i++)
        cr_assert_eq(
            kv_key_generate(types[i].kty, types[i].curve, types[i].bits, &key[i], &err),
            0);
    for (size_t i = 0; i < sizeof(digest); i++)
        digest[i] = (uint8_t)(i * 7 + 1);
}

static void teardown(void)
{
    for (size_t i = 0; i < N_TYPES; i++)
        kv_key_unref(key[i]);
    kv_keys_fini();
}

TestSuite(key_sign, .timeout = 20, .init = setup, .fini = teardown);

/* Whether the default library accepts the signature under the SPKI. */
static bool evp_accepts(struct kv_key *of, const struct kv_msg_sign *msg,
                        const char *md, const struct kv_buf *sig)
{
    struct kv_bytes spki = kv_key_spki(of);
    const uint8_t *at = spki.data;
    EVP_PKEY *pub = d2i_PUBKEY(NULL, &at, (long)spki.len);
    cr_assert_not_null(pub);
    bool ok = false;
    if (msg->sig == KV_SIG_EDDSA) {
        EVP_MD_CTX *mctx = EVP_MD_CTX_new();
        ok = EVP_DigestVerifyInit(mctx, NULL, NULL, NULL, pub) == 1 &&
             EVP_DigestVerify(mctx, sig->data, sig->len, msg->input.data,
                              msg->input.len) == 1;
        EVP_MD_CTX_free(mctx);
    } else {
        EVP_PKEY_CTX *pctx = EVP_PKEY_CTX_new(pub, NULL);
        cr_assert_eq(EVP_PKEY_verify_init(pctx), 1);
        if (msg->sig == KV_SIG_PSS) {
            cr_assert_eq(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING), 1);
            cr_assert_eq(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, msg->salt_len), 1);
        }
        cr_assert_eq(EVP_PKEY_CTX_set_signature_md(pctx, EVP_get_digestbyname(md)), 1);
        if (msg->sig == KV_SIG_PSS && msg->mgf1_md == KV_MD_SHA1)
            cr_assert_eq(EVP_PKEY_CTX_set_rsa_mgf1_md(pctx, EVP_sha1()), 1);
        ok = EVP_PKEY_verify(pctx, sig->data, sig->len, msg->input.data,
                             msg->input.len) == 1;
        EVP_PKEY_CTX_free(pctx);
    }
    EVP_PKEY_free(pub);
    return ok;
}

/* Sign twice on one slot (the second time from the cache) and check every way. */
static void sign_and_check(struct kv_key *with, struct kv_msg_sign *msg, const char *md)
{
    for (int round = 0; round < 2; round++) {
        struct kv_err err = KV_ERR_INIT;
        struct kv_buf sig;
        bool is_valid = false;
        kv_buf_init(&sig, 1024);
        cr_assert_eq(kv_key_sign(with, 5, msg, &sig, &err), 0, "%s", err.message);
        cr_expect(evp_accepts(with, msg, md, &sig), "scheme %u md %s", msg->sig, md);
        struct kv_bytes bytes = {.data = sig.data, .len = sig.len};
        cr_assert_eq(kv_key_verify(with, 5, msg, bytes, &is_valid, &err), 0);
        cr_expect(is_valid);
        sig.data[sig.len - 1] ^= 1;
        cr_assert_eq(kv_key_verify(with, 5, msg, bytes, &is_valid, &err), 0);
        cr_expect_not(is_valid, "changed signature");
        sig.data[sig.len - 1] ^= 1;
        bytes.len--;
        cr_assert_eq(kv_key_verify(with, 5, msg, bytes, &is_valid, &err), 0);
        cr_expect_not(is_valid, "cut signature");
        kv_buf_free(&sig);
    }
}

Test(key_sign, rsa_pkcs1_and_pss_with_every_digest)
{
    for (size_t i = 0; i < N_MDS; i++) {
        struct kv_msg_sign msg = {
            .sig = KV_SIG_PKCS1, .md = mds[i].md, .input = {digest, mds[i].len}};
        sign_and_check(key[RSA2048], &msg, mds[i].name);
        msg.sig = KV_SIG_PSS;
        msg.mgf1_md = mds[i].md;
        msg.salt_len = (uint16_t)mds[i].len;
        sign_and_check(key[RSA2048], &msg, mds[i].name);
        msg.salt_len = 0;
        sign_and_check(key[RSA2048], &msg, mds[i].name);
    }
    struct kv_msg_sign mixed = {.sig = KV_SIG_PSS,
                                .md = KV_MD_SHA256,
                                .mgf1_md = KV_MD_SHA1,
                                .salt_len = 20,
                                .input = {digest, 32}};
    sign_and_check(key[RSA2048], &mixed, "SHA256");
}

Test(key_sign, ecdsa_on_every_curve_with_every_digest)
{
    for (size_t k = P256; k <= P256K; k++)
        for (size_t i = 0; i < N_MDS; i++) {
            struct kv_msg_sign msg = {
                .sig = KV_SIG_ECDSA, .md = mds[i].md, .input = {digest, mds[i].len}};
            sign_and_check(key[k], &msg, mds[i].name);
        }
}

Test(key_sign, ed25519_signs_messages_of_any_length)
{
    static const uint8_t message[KV_SIGN_INPUT_MAX] = {1, 2, 3};
    static const size_t lens[] = {0, 1, 64, 1000, KV_SIGN_INPUT_MAX};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct kv_msg_sign msg = {.sig = KV_SIG_EDDSA,
                                  .input = {lens[i] > 0 ? message : NULL, lens[i]}};
        sign_and_check(key[ED], &msg, NULL);
    }
}

Test(key_sign, refuses_what_does_not_fit_the_key)
{
    static const uint8_t long_message[KV_SIGN_INPUT_MAX + 1];
    static const struct {
        const char *why;
        size_t type;
        uint8_t sig;
        uint8_t md;
        uint8_t mgf1_md;
        uint16_t salt_len;
        size_t len;
        const char *id;
    } bad[] = {
        {"no scheme", RSA2048, 0, KV_MD_SHA256, 0, 0, 32, "key.bad-scheme"},
        {"ECDSA with RSA", RSA2048, KV_SIG_ECDSA, KV_MD_SHA256, 0, 0, 32,
         "key.bad-scheme"},
        {"PKCS1 with EC", P256, KV_SIG_PKCS1, KV_MD_SHA256, 0, 0, 32, "key.bad-scheme"},
        {"EdDSA with EC", P256, KV_SIG_EDDSA, 0, 0, 0, 32, "key.bad-scheme"},
        {"ECDSA with Ed25519", ED, KV_SIG_ECDSA, KV_MD_SHA256, 0, 0, 32,
         "key.bad-scheme"},
        {"digest with EdDSA", ED, KV_SIG_EDDSA, KV_MD_SHA512, 0, 0, 64,
         "key.bad-digest"},
        {"EdDSA message too long", ED, KV_SIG_EDDSA, 0, 0, 0, KV_SIGN_INPUT_MAX + 1,
         "key.input-too-big"},
        {"no digest", P256, KV_SIG_ECDSA, 0, 0, 0, 32, "key.bad-digest"},
        {"unknown digest", P256, KV_SIG_ECDSA, 200, 0, 0, 32, "key.bad-digest"},
        {"digest short", RSA2048, KV_SIG_PKCS1, KV_MD_SHA256, 0, 0, 31,
         "key.bad-digest"},
        {"digest long", P256, KV_SIG_ECDSA, KV_MD_SHA256, 0, 0, 33, "key.bad-digest"},
        {"digest empty", P256, KV_SIG_ECDSA, KV_MD_SHA256, 0, 0, 0, "key.bad-digest"},
        {"PSS without MGF1", RSA2048, KV_SIG_PSS, KV_MD_SHA256, 0, 32, 32,
         "key.bad-digest"},
        {"PSS salt too long", RSA2048, KV_SIG_PSS, KV_MD_SHA256, KV_MD_SHA256, 223, 32,
         "key.bad-salt"},
        {"PSS salt absurd", RSA2048, KV_SIG_PSS, KV_MD_SHA256, KV_MD_SHA256, 65535, 32,
         "key.bad-salt"},
        {"salt without PSS", RSA2048, KV_SIG_PKCS1, KV_MD_SHA256, 0, 32, 32,
         "key.bad-scheme"},
        {"MGF1 without PSS", P256, KV_SIG_ECDSA, KV_MD_SHA256, KV_MD_SHA256, 0, 32,
         "key.bad-scheme"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct kv_err err = KV_ERR_INIT;
        struct kv_buf out;
        bool is_valid = true;
        struct kv_msg_sign msg = {.sig = bad[i].sig,
                                  .md = bad[i].md,
                                  .mgf1_md = bad[i].mgf1_md,
                                  .salt_len = bad[i].salt_len,
                                  .input = {long_message, bad[i].len}};
        kv_buf_init(&out, 1024);
        cr_expect_lt(kv_key_sign(key[bad[i].type], 0, &msg, &out, &err), 0, "%s",
                     bad[i].why);
        cr_expect_str_eq(err.id, bad[i].id, "%s", bad[i].why);
        cr_expect_eq(out.len, 0);
        err = KV_ERR_INIT;
        cr_expect_lt(kv_key_verify(key[bad[i].type], 0, &msg,
                                   (struct kv_bytes){long_message, 64}, &is_valid,
                                   &err),
                     0, "%s", bad[i].why);
        cr_expect_str_eq(err.id, bad[i].id, "%s", bad[i].why);
        kv_buf_free(&out);
    }
}

Test(key_sign, largest_salt_that_fits_is_served)
{
    struct kv_msg_sign msg = {.sig = KV_SIG_PSS,
                              .md = KV_MD_SHA256,
                              .mgf1_md = KV_MD_SHA256,
                              .salt_len = 222,
                              .input = {digest, 32}};
    sign_and_check(key[RSA2048], &msg, "SHA256");
}

Test(key_sign, garbage_is_an_invalid_signature_not_an_error)
{
    static const uint8_t garbage[600] = {0x30, 0x82, 0xff};
    static const size_t lens[] = {0, 1, 2, 64, 71, 256, 600};
    struct kv_msg_sign msgs[N_TYPES] = {
        [RSA2048] = {.sig = KV_SIG_PKCS1, .md = KV_MD_SHA256, .input = {digest, 32}},
        [ED] = {.sig = KV_SIG_EDDSA, .input = {digest, 32}},
    };
    for (size_t k = P256; k <= P256K; k++)
        msgs[k] = (struct kv_msg_sign){
            .sig = KV_SIG_ECDSA, .md = KV_MD_SHA256, .input = {digest, 32}};
    for (size_t k = 0; k < N_TYPES; k++)
        for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
            bool is_valid = true;
            struct kv_bytes sig = {lens[i] > 0 ? garbage : NULL, lens[i]};
            cr_assert_eq(kv_key_verify(key[k], 1, &msgs[k], sig, &is_valid, NULL), 0);
            cr_expect_not(is_valid, "key %zu, %zu bytes", k, lens[i]);
        }
}

Test(key_sign, appends_and_respects_the_ceiling)
{
    struct kv_msg_sign msg = {
        .sig = KV_SIG_ECDSA, .md = KV_MD_SHA256, .input = {digest, 32}};
    struct kv_buf out;
    kv_buf_init(&out, 200);
    cr_assert_eq(kv_buf_append(&out, "head", 4), 0);
    cr_assert_eq(kv_key_sign(key[P256], 0, &msg, &out, NULL), 0);
    cr_expect_eq(memcmp(out.data, "head\x30", 5), 0);
    kv_buf_free(&out);
    kv_buf_init(&out, 20);
    cr_expect_eq(kv_key_sign(key[P256], 0, &msg, &out, NULL), KV_E_TOO_BIG);
    cr_expect_eq(out.len, 0);
    kv_buf_free(&out);
}

Test(key_sign, more_schemes_than_the_cache_holds)
{
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < N_MDS; i++) {
            struct kv_msg_sign msg = {
                .sig = KV_SIG_ECDSA, .md = mds[i].md, .input = {digest, mds[i].len}};
            struct kv_buf sig;
            kv_buf_init(&sig, 200);
            cr_assert_eq(kv_key_sign(key[P256], KV_KEY_SLOTS - 1, &msg, &sig, NULL), 0);
            cr_expect(evp_accepts(key[P256], &msg, mds[i].name, &sig));
            kv_buf_free(&sig);
        }
}

struct worker {
    pthread_t thread;
    struct kv_key *with;
    struct kv_msg_sign msg;
    unsigned slot;
    unsigned n_valid;
};

#define N_WORKERS 4
#define N_ROUNDS 100

static void *sign_many(void *arg)
{
    struct worker *worker = arg;
    for (int i = 0; i < N_ROUNDS; i++) {
        struct kv_buf sig;
        bool is_valid = false;
        kv_buf_init(&sig, 1024);
        if (kv_key_sign(worker->with, worker->slot, &worker->msg, &sig, NULL) == 0 &&
            kv_key_verify(worker->with, worker->slot, &worker->msg,
                          (struct kv_bytes){sig.data, sig.len}, &is_valid, NULL) == 0 &&
            is_valid)
            worker->n_valid++;
        kv_buf_free(&sig);
    }
    return NULL;
}

Test(key_sign, threads_share_a_key_each_on_its_slot)
{
    static const size_t shared[] = {RSA2048, P256, ED};
    for (size_t k = 0; k < sizeof(shared) / sizeof(shared[0]); k++) {
        struct worker worker[N_WORKERS] = {0};
        struct kv_msg_sign msg = {.sig = KV_SIG_EDDSA, .input = {digest, 32}};
        if (shared[k] != ED)
            msg.md = KV_MD_SHA256;
        if (shared[k] == RSA2048)
            msg.sig = KV_SIG_PKCS1;
        else if (shared[k] == P256)
            msg.sig = KV_SIG_ECDSA;
        for (unsigned i = 0; i < N_WORKERS; i++) {
            worker[i].with = key[shared[k]];
            worker[i].msg = msg;
            worker[i].slot = i;
            cr_assert_eq(pthread_create(&worker[i].thread, NULL, sign_many, &worker[i]),
                         0);
        }
        for (unsigned i = 0; i < N_WORKERS; i++) {
            cr_assert_eq(pthread_join(worker[i].thread, NULL), 0);
            cr_expect_eq(worker[i].n_valid, N_ROUNDS, "key %zu thread %u", k, i);
        }
    }
}
