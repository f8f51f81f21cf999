/*
 * The DER reader: one function that measures an element, and thin steps around it.
 * Bounds are checked here and nowhere else.
 */
#include "store/keyring/der.h"

#include <string.h>

/* Read the length octets behind the tag. Returns the header's size, 0 if malformed. */
static size_t read_length(const uint8_t *at, size_t left, size_t *len)
{
    if (left < 2)
        return 0;
    if (at[1] < 0x80) {
        *len = at[1];
        return 2;
    }
    size_t n = at[1] & 0x7fU;
    if (n == 0 || n > 4 || left < 2 + n || at[2] == 0)
        return 0;
    size_t value = 0;
    for (size_t i = 0; i < n; i++)
        value = value << 8 | at[2 + i];
    if (value < 0x80)
        return 0;
    *len = value;
    return 2 + n;
}

void kv_der_init(struct kv_der *der, struct kv_bytes in)
{
    *der = (struct kv_der){.at = in.data, .left = in.len};
}

uint8_t kv_der_peek(const struct kv_der *der)
{
    return der->failed || der->left == 0 ? 0 : der->at[0];
}

bool kv_der_next(struct kv_der *der, struct kv_der_item *item)
{
    memset(item, 0, sizeof(*item));
    size_t len = 0;
    size_t head = der->failed ? 0 : read_length(der->at, der->left, &len);
    if (head == 0 || len > der->left - head || (der->at[0] & 0x1f) == 0x1f) {
        der->failed = true;
        return false;
    }
    item->tag = der->at[0];
    item->body = (struct kv_bytes){.data = der->at + head, .len = len};
    item->whole = (struct kv_bytes){.data = der->at, .len = head + len};
    der->at += head + len;
    der->left -= head + len;
    return true;
}

bool kv_der_take(struct kv_der *der, uint8_t tag, struct kv_der_item *item)
{
    if (kv_der_peek(der) == tag)
        return kv_der_next(der, item);
    memset(item, 0, sizeof(*item));
    der->failed = true;
    return false;
}

int kv_der_end(const struct kv_der *der)
{
    return der->failed || der->left != 0 ? KV_E_INVALID : 0;
}
