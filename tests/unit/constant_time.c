/*
 * Handles secrets that memcheck takes for uninitialised memory: it then reports
 * every branch and every memory access that depends on them. constant_time.sh
 * counts the reports; the only one allowed is the final verdict of a decoder.
 */
#include "store/core/b64.h"
#include "store/core/secret.h"
#include "store/keyring/scalar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_LEN 101

/* There and back; the decoder's verdict on a well-formed text is one report. */
static int round_trip(enum kv_b64_kind kind, const uint8_t *secret)
{
    int rc;
    struct kv_buf text;
    struct kv_buf bytes;
    kv_buf_init_secret(&text, 1000);
    kv_buf_init_secret(&bytes, 1000);
    KV_TRY(kv_b64_encode(kind, secret, SECRET_LEN, &text));
    KV_TRY(kv_b64_decode(kind, (const char *)text.data, text.len, &bytes));
    rc = bytes.len == SECRET_LEN ? 0 : KV_E_INTERNAL;
out:
    kv_buf_free(&text);
    kv_buf_free(&bytes);
    return rc;
}

/* The last step of a signature with a prepared nonce, in numbers as long as P-521's: no
 * report. What is secret are the nonce's inverse and its product with the key. */
static int end_signature(const uint8_t *secret)
{
    struct kv_scalar_order order;
    struct kv_scalar inverse;
    struct kv_scalar product;
    struct kv_scalar digest;
    uint8_t n[KV_SCALAR_MAX_LEN];
    uint8_t s[KV_SCALAR_MAX_LEN];
    memset(n, 0xff, sizeof(n));
    int rc = kv_scalar_order_init(&order, n, sizeof(n));
    if (rc != 0)
        return rc;
    kv_scalar_read(&inverse, &order, secret, KV_SCALAR_MAX_LEN);
    kv_scalar_read(&product, &order, secret + 1, KV_SCALAR_MAX_LEN);
    kv_scalar_read(&digest, &order, n, sizeof(n));
    kv_scalar_mul_add(&product, &order, &inverse, &digest, &product);
    kv_scalar_put(&product, &order, s);
    return 0;
}

int main(void)
{
    uint8_t *secret = malloc(SECRET_LEN); /* left uninitialised on purpose */
    if (secret == NULL)
        return 1;
    int rc = round_trip(KV_B64_URL, secret);
    if (rc == 0)
        rc = end_signature(secret);
    kv_wiping_free(secret);
    (void)printf("done: %s\n", kv_code_name(rc));
    return rc == 0 ? 0 : 1;
}
