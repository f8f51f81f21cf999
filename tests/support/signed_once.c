#include "tests/support/signed_once.h"

#include <stdlib.h>
#include <string.h>

void kv_signed_once_init(struct kv_signed_once *once, size_t max)
{
    *once = (struct kv_signed_once){.max = max};
    once->r = calloc(max, sizeof(*once->r));
    if (once->r == NULL)
        abort();
}

void kv_signed_once_free(struct kv_signed_once *once)
{
    free(once->r);
    *once = (struct kv_signed_once){.n = 0};
}

/* SEQUENCE { r INTEGER, s INTEGER }, shorter than 256 bytes. */
bool kv_signed_r(uint8_t r[KV_SIGNED_R_LEN], const uint8_t *sig, size_t len)
{
    size_t at = len > 1 && sig[1] == 0x81 ? 3 : 2;
    if (len < at + 2 || sig[0] != 0x30 || sig[at - 1] != len - at || sig[at] != 0x02)
        return false;
    const size_t r_len = sig[at + 1];
    at += 2;
    if (r_len == 0 || at + r_len > len)
        return false;
    memset(r, 0, KV_SIGNED_R_LEN);
    for (size_t i = 0; i < r_len && i < KV_SIGNED_R_LEN; i++)
        r[KV_SIGNED_R_LEN - 1 - i] = sig[at + r_len - 1 - i];
    return true;
}

bool kv_signed_once_add(struct kv_signed_once *once, const uint8_t *sig, size_t len)
{
    if (once->n == once->max || !kv_signed_r(once->r[once->n], sig, len))
        return false;
    once->n++;
    return true;
}

void kv_signed_once_join(struct kv_signed_once *once,
                         const struct kv_signed_once *other)
{
    if (once->n + other->n > once->max)
        abort();
    memcpy(once->r[once->n], other->r, other->n * sizeof(*other->r));
    once->n += other->n;
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, KV_SIGNED_R_LEN);
}

size_t kv_signed_once_duplicates(struct kv_signed_once *once)
{
    size_t n_duplicates = 0;
    qsort(once->r, once->n, sizeof(*once->r), compare);
    for (size_t i = 1; i < once->n; i++)
        n_duplicates += compare(once->r[i - 1], once->r[i]) == 0;
    return n_duplicates;
}
