/*
 * Handles secrets that memcheck takes for uninitialised memory: it then reports
 * every branch and every memory access that depends on them. constant_time.sh
 * counts the reports; the only one allowed is the final verdict of a decoder.
 */
#include "store/core/b64.h"
#include "store/core/secret.h"

#include <stdio.h>
#include <stdlib.h>

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

int main(void)
{
    uint8_t *secret = malloc(SECRET_LEN); /* left uninitialised on purpose */
    if (secret == NULL)
        return 1;
    int rc = round_trip(KV_B64_URL, secret);
    kv_wiping_free(secret);
    (void)printf("done: %s\n", kv_code_name(rc));
    return rc == 0 ? 0 : 1;
}
