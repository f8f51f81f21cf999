/* Signing through EVP as programs do it: in one piece, in pieces, with copies of the
 * context, again and again; with the sizes that programs ask for first. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

#include "tests/support/evp_check.h"

TestSuite(evp_sign, .timeout = 60, .init = evp_check_open, .fini = evp_check_close);

static struct criterion_test_params every_name(void)
{
    static size_t rows[EVP_CHECK_N_NAMES];
    for (size_t i = 0; i < EVP_CHECK_N_NAMES; i++)
        rows[i] = i;
    return cr_make_param_array(size_t, rows, EVP_CHECK_N_NAMES);
}

static bool is_streamed(const char *name)
{
    return strcmp(name, "ed25519") != 0;
}

static const char *const digests[] = {"SHA1",   "SHA224",   "SHA256",   "SHA384",
                                      "SHA512", "SHA3-256", "SHA3-384", "SHA3-512"};
#define N_DIGESTS (sizeof(digests) / sizeof(digests[0]))

static EVP_MD_CTX *begin(EVP_PKEY *key, const char *digest, EVP_PKEY_CTX **pctx)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    cr_assert_eq(
        EVP_DigestSignInit_ex(ctx, pctx, digest, evp_fixture.libctx, NULL, key, NULL),
        1, "%s", digest != NULL ? digest : "no digest");
    return ctx;
}

/* In software, with the key's public part. */
static int verify(EVP_PKEY *file, const char *digest, const unsigned char *sig,
                  size_t len, const void *text, size_t text_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int ok = EVP_DigestVerifyInit_ex(ctx, NULL, digest, NULL, NULL, file, NULL) == 1 &&
             EVP_DigestVerify(ctx, sig, len, text, text_len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

/* --- what is signed --- */

ParameterizedTestParameters(evp_sign, every_digest_in_one_piece_and_in_pieces)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_sign, every_digest_in_one_piece_and_in_pieces,
                  .timeout = 60)
{
    const char *name = evp_check_names[*row];
    EVP_PKEY *key = evp_check_private(name);
    EVP_PKEY *file = evp_check_software(name);
    for (size_t i = 0; i < (is_streamed(name) ? N_DIGESTS : 1); i++) {
        const char *digest = is_streamed(name) ? digests[i] : NULL;
        unsigned char sig[600];
        size_t len = sizeof(sig);
        EVP_MD_CTX *ctx = begin(key, digest, NULL);
        cr_assert_eq(
            EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"one two", 7), 1,
            "%s %s", name, digest);
        cr_expect_eq(verify(file, digest, sig, len, "one two", 7), 1, "%s %s", name,
                     digest);
        EVP_MD_CTX_free(ctx);
        if (!is_streamed(name))
            continue;
        ctx = begin(key, digest, NULL);
        len = sizeof(sig);
        cr_assert_eq(EVP_DigestSignUpdate(ctx, "one", 3), 1);
        cr_assert_eq(EVP_DigestSignUpdate(ctx, NULL, 0), 1, "a piece of no bytes");
        cr_assert_eq(EVP_DigestSignUpdate(ctx, " two", 4), 1);
        cr_assert_eq(EVP_DigestSignFinal(ctx, sig, &len), 1);
        cr_expect_eq(verify(file, digest, sig, len, "one two", 7), 1, "%s %s", name,
                     digest);
        evp_check_clean("a signature");
        EVP_MD_CTX_free(ctx);
    }
    EVP_PKEY_free(file);
    EVP_PKEY_free(key);
}

ParameterizedTestParameters(evp_sign, messages_of_no_and_of_many_bytes)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_sign, messages_of_no_and_of_many_bytes,
                  .timeout = 60)
{
    static unsigned char text[1 << 20];
    const char *name = evp_check_names[*row];
    const size_t most = is_streamed(name) ? sizeof(text) : KV_SIGN_INPUT_MAX;
    unsigned char sig[600];
    EVP_PKEY *key = evp_check_private(name);
    EVP_PKEY *file = evp_check_software(name);
    memset(text, 'x', sizeof(text));
    for (int i = 0; i < 2; i++) {
        const size_t text_len = i == 0 ? 0 : most;
        size_t len = sizeof(sig);
        EVP_MD_CTX *ctx = begin(key, evp_check_digest(name), NULL);
        cr_assert_eq(
            EVP_DigestSign(ctx, sig, &len, text_len == 0 ? NULL : text, text_len), 1,
            "%s, %zu bytes", name, text_len);
        cr_expect_eq(verify(file, evp_check_digest(name), sig, len, text, text_len), 1,
                     "%s, %zu bytes", name, text_len);
        evp_check_clean("a signature");
        EVP_MD_CTX_free(ctx);
    }
    EVP_PKEY_free(file);
    EVP_PKEY_free(key);
}

Test(evp_sign, ed25519_says_what_is_too_long)
{
    static unsigned char text[KV_SIGN_INPUT_MAX + 1];
    unsigned char sig[64];
    size_t len = sizeof(sig);
    EVP_PKEY *key = evp_check_private("ed25519");
    const unsigned before = evp_check_frames();
    EVP_MD_CTX *ctx = begin(key, NULL, NULL);
    cr_expect_eq(EVP_DigestSign(ctx, sig, &len, text, sizeof(text)), 0);
    evp_check_refused("a long message", "out of range", "32768 bytes");
    cr_expect_eq(evp_check_frames(), before);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
}

Test(evp_sign, digests_that_are_not_offered_are_refused)
{
    static const struct {
        const char *name;
        const char *digest;
    } rows[] = {{"rsa", "MD5"},       {"p256", "MD5"},       {"rsa", "SHA512-256"},
                {"rsa", "RIPEMD160"}, {"ed25519", "SHA256"}, {"p256", "no such digest"},
                {"rsa", "SHAKE256"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        EVP_PKEY *key = evp_check_private(rows[i].name);
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        cr_expect_leq(EVP_DigestSignInit_ex(ctx, NULL, rows[i].digest,
                                            evp_fixture.libctx, NULL, key, NULL),
                      0, "%s %s", rows[i].name, rows[i].digest);
        if (strcmp(rows[i].digest, "no such digest") != 0) /* libcrypto says it */
            evp_check_refused(rows[i].digest, NULL, rows[i].digest);
        ERR_clear_error();
        EVP_MD_CTX_free(ctx);
        EVP_PKEY_free(key);
    }
}

Test(evp_sign, no_digest_name_means_the_default)
{
    static const char *const names[] = {"rsa", "p256", "p521"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        unsigned char sig[600];
        size_t len = sizeof(sig);
        EVP_PKEY *key = evp_check_private(names[i]);
        EVP_PKEY *file = evp_check_software(names[i]);
        EVP_MD_CTX *ctx = begin(key, NULL, NULL);
        cr_assert_eq(EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"x", 1), 1);
        cr_expect_eq(verify(file, "SHA256", sig, len, "x", 1), 1, "%s", names[i]);
        evp_check_clean("a signature");
        EVP_MD_CTX_free(ctx);
        EVP_PKEY_free(file);
        EVP_PKEY_free(key);
    }
}

/* --- contexts --- */

ParameterizedTestParameters(evp_sign, a_copy_in_the_middle_of_a_stream)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_sign, a_copy_in_the_middle_of_a_stream,
                  .timeout = 60)
{
    const char *name = evp_check_names[*row];
    unsigned char sig[2][600];
    size_t len[2] = {600, 600};
    EVP_PKEY *key = evp_check_private(name);
    EVP_PKEY *file = evp_check_software(name);
    EVP_MD_CTX *ctx = begin(key, evp_check_digest(name), NULL);
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    if (!is_streamed(name)) {
        cr_assert_eq(EVP_MD_CTX_copy_ex(copy, ctx), 1);
        EVP_MD_CTX_free(ctx);
        cr_assert_eq(
            EVP_DigestSign(copy, sig[0], &len[0], (const unsigned char *)"ab", 2), 1);
        cr_expect_eq(verify(file, NULL, sig[0], len[0], "ab", 2), 1);
    } else {
        cr_assert_eq(EVP_DigestSignUpdate(ctx, "a", 1), 1);
        cr_assert_eq(EVP_MD_CTX_copy_ex(copy, ctx), 1);
        cr_assert_eq(EVP_DigestSignUpdate(ctx, "b", 1), 1);
        cr_assert_eq(EVP_DigestSignUpdate(copy, "c", 1), 1);
        cr_assert_eq(EVP_DigestSignFinal(ctx, sig[0], &len[0]), 1);
        EVP_MD_CTX_free(ctx);
        cr_assert_eq(EVP_DigestSignFinal(copy, sig[1], &len[1]), 1);
        cr_expect_eq(verify(file, "SHA256", sig[0], len[0], "ab", 2), 1, "%s", name);
        cr_expect_eq(verify(file, "SHA256", sig[1], len[1], "ac", 2), 1, "%s", name);
    }
    evp_check_clean("signing with copies");
    EVP_MD_CTX_free(copy);
    EVP_PKEY_free(file);
    EVP_PKEY_free(key);
}

Test(evp_sign, final_may_be_asked_for_twice_and_the_stream_goes_on)
{
    unsigned char sig[600];
    size_t len = sizeof(sig);
    EVP_PKEY *key = evp_check_private("rsa");
    EVP_PKEY *file = evp_check_software("rsa");
    EVP_MD_CTX *ctx = begin(key, "SHA256", NULL);
    cr_assert_eq(EVP_DigestSignUpdate(ctx, "a", 1), 1);
    cr_assert_eq(EVP_DigestSignFinal(ctx, sig, &len), 1);
    cr_expect_eq(verify(file, "SHA256", sig, len, "a", 1), 1);
    cr_assert_eq(EVP_DigestSignUpdate(ctx, "b", 1), 1);
    cr_assert_eq(EVP_DigestSignFinal(ctx, sig, &len), 1);
    cr_expect_eq(verify(file, "SHA256", sig, len, "ab", 2), 1);
    evp_check_clean("signing twice");
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(file);
    EVP_PKEY_free(key);
}

Test(evp_sign, a_context_begins_anew_with_or_without_naming_the_key)
{
    unsigned char sig[600];
    EVP_PKEY *key = evp_check_private("p384");
    EVP_PKEY *file = evp_check_software("p384");
    EVP_MD_CTX *ctx = begin(key, "SHA384", NULL);
    for (int i = 0; i < 4; i++) {
        const bool is_named = i % 2 != 0;
        size_t len = sizeof(sig);
        cr_assert_eq(EVP_DigestSignUpdate(ctx, "forgotten", 9), 1);
        cr_assert_eq(EVP_DigestSignInit_ex(ctx, NULL, is_named ? "SHA512" : NULL,
                                           evp_fixture.libctx, NULL,
                                           is_named ? key : NULL, NULL),
                     1);
        cr_assert_eq(EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"a", 1), 1);
        cr_expect_eq(verify(file, i == 0 ? "SHA384" : "SHA512", sig, len, "a", 1), 1,
                     "round %d: without a name the digest stays", i);
    }
    evp_check_clean("signing again");
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(file);
    EVP_PKEY_free(key);
}

Test(evp_sign, a_context_begun_anew_forgets_its_padding)
{
    unsigned char sig[600];
    size_t len = sizeof(sig);
    EVP_PKEY_CTX *pctx = NULL;
    EVP_PKEY *key = evp_check_private("rsa");
    EVP_PKEY *file = evp_check_software("rsa");
    EVP_MD_CTX *ctx = begin(key, "SHA256", &pctx);
    cr_assert_eq(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING), 1);
    cr_assert_eq(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST), 1);
    cr_assert_eq(
        EVP_DigestSignInit_ex(ctx, NULL, NULL, evp_fixture.libctx, NULL, NULL, NULL),
        1);
    cr_assert_eq(EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"a", 1), 1);
    cr_expect_eq(verify(file, "SHA256", sig, len, "a", 1), 1,
                 "PKCS#1 v1.5, as with the default provider");
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(file);
    EVP_PKEY_free(key);
}

Test(evp_sign, one_context_turns_from_signing_to_verifying)
{
    for (size_t i = 0; i < EVP_CHECK_N_NAMES; i++) {
        const char *name = evp_check_names[i];
        unsigned char sig[600];
        size_t len = sizeof(sig);
        EVP_PKEY *key = evp_check_private(name);
        EVP_MD_CTX *ctx = begin(key, evp_check_digest(name), NULL);
        cr_assert_eq(EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"a", 1), 1);
        cr_assert_eq(EVP_DigestVerifyInit_ex(ctx, NULL, evp_check_digest(name),
                                             evp_fixture.libctx, EVP_CHECK_PROPQ, key,
                                             NULL),
                     1, "%s", name);
        cr_expect_eq(EVP_DigestVerify(ctx, sig, len, (const unsigned char *)"a", 1), 1,
                     "%s", name);
        evp_check_clean("a verification");
        EVP_MD_CTX_free(ctx);
        EVP_PKEY_free(key);
    }
}

/* --- sizes and buffers --- */

/* The largest signature of each key, in bytes. */
static size_t largest(const char *name)
{
    EVP_PKEY *file = evp_check_software(name);
    const size_t size = (size_t)EVP_PKEY_get_size(file);
    EVP_PKEY_free(file);
    return size;
}

ParameterizedTestParameters(evp_sign, sizes_are_known_without_asking)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_sign, sizes_are_known_without_asking, .timeout = 60)
{
    const char *name = evp_check_names[*row];
    const size_t size = largest(name);
    size_t len = 0;
    EVP_PKEY *key = evp_check_private(name);
    const unsigned before = evp_check_frames();
    EVP_MD_CTX *ctx = begin(key, evp_check_digest(name), NULL);
    cr_expect_eq(EVP_DigestSign(ctx, NULL, &len, (const unsigned char *)"a", 1), 1);
    cr_expect_eq(len, size, "%s", name);
    if (is_streamed(name)) {
        len = 0;
        cr_expect_eq(EVP_DigestSignUpdate(ctx, "a", 1), 1);
        cr_expect_eq(EVP_DigestSignFinal(ctx, NULL, &len), 1);
        cr_expect_eq(len, size, "%s", name);
        EVP_PKEY_CTX *pctx = EVP_PKEY_CTX_new_from_pkey(evp_fixture.libctx, key, NULL);
        cr_assert_eq(EVP_PKEY_sign_init(pctx), 1);
        len = 0;
        cr_expect_eq(EVP_PKEY_sign(pctx, NULL, &len, (const unsigned char *)"", 0), 1);
        cr_expect_eq(len, size, "%s", name);
        EVP_PKEY_CTX_free(pctx);
    }
    evp_check_clean("asking for a size");
    cr_expect_eq(evp_check_frames(), before, "%s", name);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
}

ParameterizedTestParameters(evp_sign, a_small_buffer_is_refused_before_asking)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_sign, a_small_buffer_is_refused_before_asking,
                  .timeout = 60)
{
    const char *name = evp_check_names[*row];
    const size_t size = largest(name);
    unsigned char sig[600];
    EVP_PKEY *key = evp_check_private(name);
    const unsigned before = evp_check_frames();
    for (size_t room = 0; room < size; room += room < 2 ? 1 : size - 3) {
        size_t len = room;
        memset(sig, 0xa5, sizeof(sig));
        EVP_MD_CTX *ctx = begin(key, evp_check_digest(name), NULL);
        cr_expect_eq(EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"a", 1), 0,
                     "%s, %zu", name, room);
        evp_check_refused(name, "buffer too small", NULL);
        cr_expect_eq(sig[room], 0xa5);
        EVP_MD_CTX_free(ctx);
    }
    cr_expect_eq(evp_check_frames(), before, "%s", name);
    size_t len = size;
    cr_expect_eq(provider_fixture_sign(key, sig, &len), 1, "%s: the exact size", name);
    evp_check_clean("a signature");
    EVP_PKEY_free(key);
}

/* --- EVP_PKEY_sign: the caller has hashed --- */

static int sign_ready(EVP_PKEY *key, const char *digest, const unsigned char *input,
                      size_t input_len, unsigned char *sig, size_t *len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(evp_fixture.libctx, key, NULL);
    cr_assert_eq(EVP_PKEY_sign_init(ctx), 1);
    if (digest != NULL) {
        OSSL_PARAM params[] = {
            OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST,
                                             (char *)(uintptr_t)digest, 0),
            OSSL_PARAM_construct_end()};
        cr_assert_eq(EVP_PKEY_CTX_set_params(ctx, params), 1, "%s", digest);
    }
    int ok = EVP_PKEY_sign(ctx, sig, len, input, input_len);
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static size_t hash(const char *digest, unsigned char *out)
{
    size_t len = 0;
    cr_assert_eq(EVP_Q_digest(NULL, digest, NULL, "text", 4, out, &len), 1, "%s",
                 digest);
    return len;
}

Test(evp_sign, a_ready_digest_with_its_name)
{
    for (size_t n = 0; n < EVP_CHECK_N_NAMES - 1; n++) {
        const char *name = evp_check_names[n];
        EVP_PKEY *key = evp_check_private(name);
        EVP_PKEY *file = evp_check_software(name);
        for (size_t i = 0; i < N_DIGESTS; i++) {
            unsigned char sig[600];
            unsigned char digest[EVP_MAX_MD_SIZE];
            size_t len = sizeof(sig);
            const size_t digest_len = hash(digests[i], digest);
            cr_assert_eq(sign_ready(key, digests[i], digest, digest_len, sig, &len), 1,
                         "%s %s", name, digests[i]);
            evp_check_clean("a signature");
            cr_expect_eq(verify(file, digests[i], sig, len, "text", 4), 1, "%s %s",
                         name, digests[i]);
            len = sizeof(sig);
            cr_expect_neq(
                sign_ready(key, digests[i], digest, digest_len - 1, sig, &len), 1,
                "%s %s: too short", name, digests[i]);
            evp_check_refused(digests[i], NULL, NULL);
        }
        EVP_PKEY_free(file);
        EVP_PKEY_free(key);
    }
}

Test(evp_sign, ecdsa_signs_a_ready_digest_without_its_name)
{
    static const struct {
        const char *digest;
        size_t len;
    } rows[] = {
        {"SHA1", 20}, {"SHA224", 28}, {"SHA256", 32}, {"SHA384", 48}, {"SHA512", 64}};
    EVP_PKEY *key = evp_check_private("p256");
    EVP_PKEY *file = evp_check_software("p256");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned char sig[600];
        unsigned char digest[EVP_MAX_MD_SIZE];
        size_t len = sizeof(sig);
        cr_assert_eq(hash(rows[i].digest, digest), rows[i].len);
        cr_assert_eq(sign_ready(key, NULL, digest, rows[i].len, sig, &len), 1, "%s",
                     rows[i].digest);
        cr_expect_eq(verify(file, rows[i].digest, sig, len, "text", 4), 1, "%s",
                     rows[i].digest);
        evp_check_clean("a signature");
        len = sizeof(sig);
        cr_expect_neq(sign_ready(key, NULL, digest, rows[i].len - 1, sig, &len), 1);
        evp_check_refused("31 bytes", NULL, "digest of 20, 28, 32, 48 or 64 bytes");
    }
    EVP_PKEY_free(file);
    EVP_PKEY_free(key);
}

/* DigestInfo of SHA-256 (RFC 8017 §9.2), and what only looks like it. */
static const unsigned char info_head[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60,
                                          0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
                                          0x01, 0x05, 0x00, 0x04, 0x20};

Test(evp_sign, rsa_signs_a_ready_block_that_is_a_digest_info)
{
    unsigned char block[sizeof(info_head) + 32];
    unsigned char sig[600];
    size_t len = sizeof(sig);
    EVP_PKEY *key = evp_check_private("rsa");
    EVP_PKEY *file = evp_check_software("rsa");
    memcpy(block, info_head, sizeof(info_head));
    cr_assert_eq(hash("SHA256", block + sizeof(info_head)), 32u);
    cr_assert_eq(sign_ready(key, NULL, block, sizeof(block), sig, &len), 1);
    cr_expect_eq(verify(file, "SHA256", sig, len, "text", 4), 1);
    evp_check_clean("a signature");
    EVP_PKEY_free(file);
    EVP_PKEY_free(key);
}

Test(evp_sign, rsa_signs_no_other_block)
{
    /* BER, or a parameter that is not NULL: the signature would be of other bytes. */
    static const unsigned char no_null[] = {0x30, 0x2f, 0x30, 0x0b, 0x06, 0x09,
                                            0x60, 0x86, 0x48, 0x01, 0x65, 0x03,
                                            0x04, 0x02, 0x01, 0x04, 0x20};
    static const unsigned char long_form[] = {0x30, 0x81, 0x31, 0x30, 0x0d, 0x06, 0x09,
                                              0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
                                              0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
    static const struct {
        const unsigned char *head;
        size_t head_len;
        size_t tail_len;
    } rows[] = {{info_head, sizeof(info_head), 33},
                {info_head, sizeof(info_head), 31},
                {info_head, sizeof(info_head), 0},
                {no_null, sizeof(no_null), 32},
                {long_form, sizeof(long_form), 32},
                {info_head, 0, 32},
                {info_head, 0, 36},
                {info_head, 0, 0},
                {info_head, 0, 245}};
    EVP_PKEY *key = evp_check_private("rsa");
    const unsigned before = evp_check_frames();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned char block[300] = {0};
        unsigned char sig[600];
        size_t len = sizeof(sig);
        memcpy(block, rows[i].head, rows[i].head_len);
        cr_expect_neq(sign_ready(key, NULL, block, rows[i].head_len + rows[i].tail_len,
                                 sig, &len),
                      1, "row %zu", i);
        evp_check_refused("a block", "not offered", "-pkeyopt digest:sha256");
    }
    cr_expect_eq(evp_check_frames(), before, "no block is sent");
    EVP_PKEY_free(key);
}

/* --- verification with the vault's own key --- */

ParameterizedTestParameters(evp_sign, verification_by_our_own_tables_asks_nobody)
{
    return every_name();
}

ParameterizedTest(size_t *row, evp_sign, verification_by_our_own_tables_asks_nobody,
                  .timeout = 60)
{
    const char *name = evp_check_names[*row];
    unsigned char sig[600];
    size_t len = sizeof(sig);
    EVP_PKEY *key = evp_check_private(name);
    cr_assert_eq(provider_fixture_sign(key, sig, &len), 1);
    const unsigned before = evp_check_frames();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    for (int i = 0; i < 3; i++) {
        const int expected = i < 2;
        cr_assert_eq(EVP_DigestVerifyInit_ex(ctx, NULL, evp_check_digest(name),
                                             evp_fixture.libctx, EVP_CHECK_PROPQ, key,
                                             NULL),
                     1);
        if (i == 2)
            sig[len / 2] ^= 0x10;
        if (i == 1 && is_streamed(name)) {
            EVP_MD_CTX *copy = EVP_MD_CTX_new();
            cr_assert_eq(EVP_DigestVerifyUpdate(ctx, "hel", 3), 1);
            cr_assert_eq(EVP_MD_CTX_copy_ex(copy, ctx), 1);
            cr_assert_eq(EVP_DigestVerifyUpdate(copy, "lo", 2), 1);
            cr_expect_eq(EVP_DigestVerifyFinal(copy, sig, len), 1, "%s", name);
            EVP_MD_CTX_free(copy);
        } else {
            cr_expect_eq(
                EVP_DigestVerify(ctx, sig, len, (const unsigned char *)"hello", 5) == 1,
                expected, "%s", name);
        }
        if (expected)
            evp_check_clean("a verification");
    }
    ERR_clear_error();
    EVP_MD_CTX_free(ctx);
    cr_expect_eq(evp_check_frames(), before);
    EVP_PKEY_free(key);
}

Test(evp_sign, a_ready_digest_is_verified_and_recovered)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned char sig[600];
    unsigned char out[600];
    size_t len = sizeof(sig);
    size_t out_len = sizeof(out);
    EVP_PKEY *key = evp_check_private("rsa");
    const size_t digest_len = hash("SHA256", digest);
    cr_assert_eq(sign_ready(key, "SHA256", digest, digest_len, sig, &len), 1);
    const unsigned before = evp_check_frames();
    EVP_PKEY_CTX *ctx =
        EVP_PKEY_CTX_new_from_pkey(evp_fixture.libctx, key, EVP_CHECK_PROPQ);
    cr_assert_eq(EVP_PKEY_verify_init(ctx), 1);
    cr_assert_eq(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()), 1);
    cr_expect_eq(EVP_PKEY_verify(ctx, sig, len, digest, digest_len), 1);
    cr_assert_eq(EVP_PKEY_verify_recover_init(ctx), 1);
    cr_assert_eq(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()), 1);
    cr_assert_eq(EVP_PKEY_verify_recover(ctx, NULL, &out_len, sig, len), 1);
    cr_assert_leq(out_len, sizeof(out));
    cr_assert_eq(EVP_PKEY_verify_recover(ctx, out, &out_len, sig, len), 1);
    cr_expect_eq(out_len, digest_len);
    cr_expect_eq(memcmp(out, digest, digest_len), 0);
    evp_check_clean("recovering a digest");
    cr_expect_eq(evp_check_frames(), before);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
}
