/*
 * Montgomery multiplication in the words of C11, so that any machine can do it:
 *
 *   t = (a R) m R^-1 = a m    one word of m after the other, each time made divisible
 *                             by 2^32 with a multiple of n, and divided
 *   t < 2n                    so one subtraction, always done and perhaps not kept
 */
#include "store/keyring/scalar.h"

#include <string.h>

#include "store/core/secret.h"

#define LEN_MIN 16
#define WORD_BITS 32

int kv_scalar_order_init(struct kv_scalar_order *order, const uint8_t *bytes,
                         size_t len)
{
    *order = (struct kv_scalar_order){.len = (unsigned)len};
    if (len < LEN_MIN || len > KV_SCALAR_MAX_LEN || bytes[0] == 0 ||
        (bytes[len - 1] & 1) == 0)
        return KV_E_INVALID;
    order->n_words = (unsigned)(len + 3) / 4;
    kv_scalar_read(&order->n, order, bytes, len);
    /* Newton: each step doubles the bits that are right, of which an odd number has
     * three to begin with. */
    const uint32_t n = order->n.word[0];
    uint32_t inverse = n;
    for (int i = 0; i < 4; i++)
        inverse *= 2 - n * inverse;
    order->n_neg_inv = 0 - inverse;
    return 0;
}

void kv_scalar_read(struct kv_scalar *out, const struct kv_scalar_order *order,
                    const uint8_t *bytes, size_t len)
{
    KV_ASSERT(len <= order->len);
    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < len; i++)
        out->word[i / 4] |= (uint32_t)bytes[len - 1 - i] << (8 * (i % 4));
}

void kv_scalar_put(const struct kv_scalar *scalar, const struct kv_scalar_order *order,
                   uint8_t *bytes)
{
    for (size_t i = 0; i < order->len; i++)
        bytes[order->len - 1 - i] = (uint8_t)(scalar->word[i / 4] >> (8 * (i % 4)));
}

/* t = t - n if that is not negative; t has one word more than n. */
static void reduce_once(uint32_t *t, const struct kv_scalar_order *order)
{
    uint32_t less[KV_SCALAR_WORDS + 1];
    uint64_t borrow = 0;
    const unsigned n_words = order->n_words;
    for (unsigned i = 0; i <= n_words; i++) {
        const uint64_t n_word = i < n_words ? order->n.word[i] : 0;
        const uint64_t diff = (uint64_t)t[i] - n_word - borrow;
        less[i] = (uint32_t)diff;
        borrow = diff >> 63;
    }
    const uint32_t keep = 0 - (uint32_t)borrow; /* all ones: t was less than n */
    for (unsigned i = 0; i <= n_words; i++)
        t[i] = (t[i] & keep) | (less[i] & ~keep);
    kv_wipe(less, sizeof(less));
}

/* t = t + a b; the carry goes into the two words behind. */
static void add_product(uint32_t *t, uint32_t a, const uint32_t *b, unsigned n_words)
{
    uint64_t carry = 0;
    for (unsigned i = 0; i < n_words; i++) {
        const uint64_t sum = (uint64_t)a * b[i] + t[i] + carry;
        t[i] = (uint32_t)sum;
        carry = sum >> WORD_BITS;
    }
    for (unsigned i = n_words; i < n_words + 2; i++) {
        const uint64_t sum = (uint64_t)t[i] + carry;
        t[i] = (uint32_t)sum;
        carry = sum >> WORD_BITS;
    }
}

void kv_scalar_mul_add(struct kv_scalar *out, const struct kv_scalar_order *order,
                       const struct kv_scalar *a_r, const struct kv_scalar *m,
                       const struct kv_scalar *b)
{
    uint32_t t[KV_SCALAR_WORDS + 2] = {0};
    uint64_t carry = 0;
    const unsigned n_words = order->n_words;
    for (unsigned i = 0; i < n_words; i++) {
        add_product(t, m->word[i], a_r->word, n_words);
        add_product(t, t[0] * order->n_neg_inv, order->n.word, n_words);
        memmove(t, t + 1, (n_words + 1) * sizeof(t[0])); /* t[0] is zero */
        t[n_words + 1] = 0;
    }
    reduce_once(t, order);
    for (unsigned i = 0; i < n_words; i++) {
        const uint64_t sum = (uint64_t)t[i] + b->word[i] + carry;
        t[i] = (uint32_t)sum;
        carry = sum >> WORD_BITS;
    }
    t[n_words] = (uint32_t)carry;
    reduce_once(t, order);
    memset(out, 0, sizeof(*out));
    memcpy(out->word, t, n_words * sizeof(t[0]));
    kv_wipe(t, sizeof(t));
}

bool kv_scalar_is_zero(const struct kv_scalar *scalar,
                       const struct kv_scalar_order *order)
{
    uint32_t any = 0;
    for (unsigned i = 0; i < order->n_words; i++)
        any |= scalar->word[i];
    return any == 0;
}
