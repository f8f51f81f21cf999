/*
 * PKCS#1 v1.5 unpadding in constant time, with implicit rejection.
 *
 *   block of k bytes:  00 02 | at least 8 bytes, none zero | 00 | message
 *
 * The private operation runs without padding inside this process (libcrypto blinds
 * it); what follows here works on masks: 0 is false, all ones is true. Synthetic
 * message and length come from HMAC-SHA256 keyed by SHA-256(d) over the ciphertext,
 * expanded with the labels "message" and "length"; 128 candidates make the length
 * uniform enough that none in range is a matter of 2^-128. The message is moved to
 * the front by a ladder of masked shifts, so that no address depends on it.
 *
 * tests/bench/unpad_timing.c measures what this file promises.
 */
#include "store/keyring/rsa_unpad.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include "store/core/secret.h"
#include "store/keyring/key_internal.h"

#define N_LENGTH_BYTES 256 /* 128 candidates of two bytes */
#define PADDING_MIN 8
#define HMAC_LEN 32

/* Hide from the compiler that a mask has two values only. */
static uint32_t opaque(uint32_t value)
{
    __asm__("" : "+r"(value));
    return value;
}

/* All ones when the top bit is set. */
static uint32_t mask_of_top_bit(uint32_t value)
{
    return opaque(0U - (value >> 31));
}

static uint32_t is_zero(uint32_t value)
{
    return mask_of_top_bit(~value & (value - 1));
}

static uint32_t is_equal(uint32_t a, uint32_t b)
{
    return is_zero(a ^ b);
}

/* a < b, both below 2^31. */
static uint32_t is_less(uint32_t a, uint32_t b)
{
    return mask_of_top_bit(a - b);
}

static uint32_t choose(uint32_t mask, uint32_t yes, uint32_t no)
{
    return (opaque(mask) & yes) | (opaque(~mask) & no);
}

static uint8_t choose_byte(uint32_t mask, uint8_t yes, uint8_t no)
{
    return (uint8_t)choose(mask, yes, no);
}

static bool hmac_start(EVP_MAC_CTX *ctx, const uint8_t *key, size_t key_len)
{
    char name[] = "SHA2-256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_init(ctx, key, key_len, params) == 1;
}

int kv_rsa_kdk(const uint8_t d_hash[32], struct kv_bytes ciphertext, size_t k,
               uint8_t kdk[KV_RSA_KDK_LEN])
{
    static const uint8_t zeros[KV_RSA_MAX_BYTES];
    if (ciphertext.len > k || k > KV_RSA_MAX_BYTES)
        return KV_E_CRYPTO;
    size_t len = 0;
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(kv_keys_hmac());
    bool ok = ctx != NULL && hmac_start(ctx, d_hash, KV_KEY_D_HASH_LEN) &&
              EVP_MAC_update(ctx, zeros, k - ciphertext.len) == 1 &&
              EVP_MAC_update(ctx, ciphertext.data, ciphertext.len) == 1 &&
              EVP_MAC_final(ctx, kdk, &len, KV_RSA_KDK_LEN) == 1;
    EVP_MAC_CTX_free(ctx);
    ERR_clear_error();
    return ok ? 0 : KV_E_CRYPTO;
}

/* Expand `kdk`: blocks HMAC(kdk, i as u16 | label | bits of the output as u16), big-
 * endian, joined and cut to `len`. */
static bool expand(EVP_MAC_CTX *ctx, const uint8_t kdk[KV_RSA_KDK_LEN],
                   const char *label, uint8_t *out, size_t len)
{
    uint8_t block[HMAC_LEN];
    const uint8_t bits[2] = {(uint8_t)(len * 8 >> 8), (uint8_t)(len * 8)};
    bool ok = true;
    for (size_t at = 0, i = 0; ok && at < len; at += HMAC_LEN, i++) {
        const uint8_t counter[2] = {(uint8_t)(i >> 8), (uint8_t)i};
        size_t block_len = 0;
        size_t part = len - at < HMAC_LEN ? len - at : HMAC_LEN;
        ok = hmac_start(ctx, kdk, KV_RSA_KDK_LEN) &&
             EVP_MAC_update(ctx, counter, sizeof(counter)) == 1 &&
             EVP_MAC_update(ctx, (const uint8_t *)label, strlen(label)) == 1 &&
             EVP_MAC_update(ctx, bits, sizeof(bits)) == 1 &&
             EVP_MAC_final(ctx, block, &block_len, sizeof(block)) == 1;
        memcpy(out + at, block, part);
    }
    kv_wipe(block, sizeof(block));
    return ok;
}

/* The last candidate below k - 10, each first cut to the bits that k - 10 has. */
static uint32_t synthetic_length(const uint8_t candidates[N_LENGTH_BYTES], size_t k)
{
    uint32_t limit = (uint32_t)k - 2 - PADDING_MIN;
    uint32_t bits = limit;
    bits |= bits >> 1;
    bits |= bits >> 2;
    bits |= bits >> 4;
    bits |= bits >> 8;
    uint32_t len = 0;
    for (size_t i = 0; i < N_LENGTH_BYTES; i += 2) {
        uint32_t candidate = ((uint32_t)candidates[i] << 8 | candidates[i + 1]) & bits;
        len = choose(is_less(candidate, limit), candidate, len);
    }
    return len;
}

/* Whether the block is well padded, and where its message begins if it is. */
static uint32_t find_message(const uint8_t *em, size_t k, uint32_t *begin)
{
    uint32_t is_good = is_zero(em[0]) & is_equal(em[1], 2);
    uint32_t found = 0;
    uint32_t zero_at = 0;
    for (size_t i = 2; i < k; i++) {
        uint32_t is_first = ~found & is_zero(em[i]);
        zero_at = choose(is_first, (uint32_t)i, zero_at);
        found |= is_first;
    }
    is_good &= found & ~is_less(zero_at, 2 + PADDING_MIN);
    *begin = zero_at + 1;
    return is_good;
}

/* Move the content from offset `shift` to the front, one masked step per bit. */
static void shift_down(uint8_t *em, size_t k, uint32_t shift)
{
    for (uint32_t step = 1; step <= KV_RSA_MAX_BYTES; step <<= 1) {
        uint32_t mask = ~is_zero(shift & step);
        for (size_t i = 0; i < k; i++) {
            uint8_t from = i + step < k ? em[i + step] : 0;
            em[i] = choose_byte(mask, from, em[i]);
        }
    }
}

int kv_rsa_unpad_implicit(uint8_t *em, size_t k, const uint8_t kdk[KV_RSA_KDK_LEN],
                          size_t *len)
{
    uint8_t synthetic[KV_RSA_MAX_BYTES];
    uint8_t candidates[N_LENGTH_BYTES];
    uint32_t begin = 0;
    KV_ASSERT(k > 2 + PADDING_MIN && k <= KV_RSA_MAX_BYTES);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(kv_keys_hmac());
    bool ok = ctx != NULL && expand(ctx, kdk, "message", synthetic, k) &&
              expand(ctx, kdk, "length", candidates, sizeof(candidates));
    EVP_MAC_CTX_free(ctx);
    ERR_clear_error();
    if (ok) {
        uint32_t is_good = find_message(em, k, &begin);
        uint32_t other = (uint32_t)k - synthetic_length(candidates, k);
        begin = choose(is_good, begin, other);
        for (size_t i = 0; i < k; i++)
            em[i] = choose_byte(is_good, em[i], synthetic[i]);
        shift_down(em, k, begin);
        *len = k - begin;
    }
    kv_wipe(synthetic, sizeof(synthetic));
    kv_wipe(candidates, sizeof(candidates));
    return ok ? 0 : KV_E_CRYPTO;
}

void kv_rsa_unpad_tls(const uint8_t *em, size_t k, uint16_t version,
                      uint16_t negotiated, uint8_t premaster[KV_TLS_PREMASTER_LEN])
{
    KV_ASSERT(k > 2 + PADDING_MIN + KV_TLS_PREMASTER_LEN);
    const uint8_t *secret = em + k - KV_TLS_PREMASTER_LEN;
    uint32_t is_good = is_zero(em[0]) & is_equal(em[1], 2);
    for (const uint8_t *at = em + 2; at < secret - 1; at++)
        is_good &= ~is_zero(*at);
    is_good &= is_zero(secret[-1]);
    uint32_t inside = (uint32_t)secret[0] << 8 | secret[1];
    uint32_t is_accepted = is_equal(inside, version);
    is_accepted |= is_equal(inside, negotiated) & ~is_zero(negotiated);
    is_good &= is_accepted;
    for (size_t i = 0; i < KV_TLS_PREMASTER_LEN; i++)
        premaster[i] = choose_byte(is_good, secret[i], premaster[i]);
}

/* The bare private operation: `k` bytes into `em`. Fails for what is public only. */
static bool decrypt_raw(struct kv_key *key, unsigned slot, struct kv_bytes ciphertext,
                        uint8_t *em)
{
    const uint64_t tag = (uint64_t)KV_KEY_OP_RAW << 48;
    size_t k = key->bits / 8U;
    size_t len = k;
    if (ciphertext.len != k)
        return false;
    struct kv_key_op *op = kv_key_op_find(key, slot, tag);
    if (op == NULL) {
        struct kv_key_op made = {.tag = tag};
        made.pctx = EVP_PKEY_CTX_new_from_pkey(kv_keys_libctx(), key->pkey, NULL);
        if (made.pctx == NULL || EVP_PKEY_decrypt_init(made.pctx) != 1 ||
            EVP_PKEY_CTX_set_rsa_padding(made.pctx, RSA_NO_PADDING) != 1) {
            EVP_PKEY_CTX_free(made.pctx);
            return false;
        }
        op = kv_key_op_put(key, slot, made);
    }
    return op != NULL &&
           EVP_PKEY_decrypt(op->pctx, em, &len, ciphertext.data, k) == 1 && len == k;
}

int kv_rsa_decrypt_pkcs1(struct kv_key *key, unsigned slot, struct kv_bytes ciphertext,
                         struct kv_buf *out, struct kv_err *err)
{
    uint8_t em[KV_RSA_MAX_BYTES];
    uint8_t kdk[KV_RSA_KDK_LEN];
    size_t k = key->bits / 8U;
    size_t len = 0;
    int rc = KV_E_CRYPTO;
    if (decrypt_raw(key, slot, ciphertext, em))
        rc = kv_rsa_kdk(key->d_hash, ciphertext, k, kdk);
    if (rc == 0)
        rc = kv_rsa_unpad_implicit(em, k, kdk, &len);
    if (rc == 0)
        rc = kv_buf_append(out, em, len);
    else
        (void)kv_err_set(err, rc, "key.decrypt-failed", "decryption failed");
    kv_wipe(em, sizeof(em));
    kv_wipe(kdk, sizeof(kdk));
    ERR_clear_error();
    return rc;
}

int kv_rsa_decrypt_tls(struct kv_key *key, unsigned slot,
                       const struct kv_msg_decrypt *msg, struct kv_buf *out,
                       struct kv_err *err)
{
    uint8_t em[KV_RSA_MAX_BYTES];
    uint8_t premaster[KV_TLS_PREMASTER_LEN];
    if (RAND_priv_bytes_ex(kv_keys_libctx(), premaster, sizeof(premaster), 0) != 1) {
        ERR_clear_error();
        return kv_err_set(err, KV_E_CRYPTO, "key.decrypt-failed", "decryption failed");
    }
    if (decrypt_raw(key, slot, msg->input, em))
        kv_rsa_unpad_tls(em, key->bits / 8U, msg->tls_client_version,
                         msg->tls_negotiated_version, premaster);
    int rc = kv_buf_append(out, premaster, sizeof(premaster));
    kv_wipe(em, sizeof(em));
    kv_wipe(premaster, sizeof(premaster));
    ERR_clear_error();
    return rc;
}
