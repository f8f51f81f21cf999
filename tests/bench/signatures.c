/*
 * signatures: how fast one private key signs through EVP, the way libssl does it: a
 * fresh EVP_MD_CTX for each signature of a 130-byte message (a TLS 1.3
 * CertificateVerify input), SHA-256, PSS for RSA.
 *
 *   signatures KEY [SECONDS]       KEY: a PEM file or anything OSSL_STORE opens
 *
 * Prints one line: rate (1/s), p50_us, p99_us, p999_us, max_us, cpu_us (own processor
 * time per signature). Providers come from OPENSSL_CONF, as for every program.
 */
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MAX_SAMPLES ((size_t)1 << 21)

static uint64_t time_ns(clockid_t clock)
{
    struct timespec ts;

    (void)clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static EVP_PKEY *load(const char *uri)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);
    EVP_PKEY *key = NULL;

    if (store == NULL || OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY) != 1)
        goto out;
    while (key == NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info != NULL && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
            key = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
out:
    (void)OSSL_STORE_close(store);
    return key;
}

static int sign_once(EVP_PKEY *key)
{
    static const unsigned char message[130] = {0x20};
    unsigned char signature[1024];
    size_t len = sizeof(signature);
    EVP_PKEY_CTX *params = NULL;
    int is_eddsa = EVP_PKEY_is_a(key, "ED25519");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int rc =
        ctx != NULL && EVP_DigestSignInit_ex(ctx, &params, is_eddsa ? NULL : "SHA256",
                                             NULL, NULL, key, NULL) == 1;

    if (rc && EVP_PKEY_is_a(key, "RSA"))
        rc = EVP_PKEY_CTX_set_rsa_padding(params, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(params, RSA_PSS_SALTLEN_DIGEST) == 1;
    rc = rc && EVP_DigestSign(ctx, signature, &len, message, sizeof(message)) == 1;
    EVP_MD_CTX_free(ctx);
    return rc ? 0 : -1;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 2;
    EVP_PKEY *key = argc > 1 ? load(argv[1]) : NULL;
    uint32_t *sample = calloc(MAX_SAMPLES, sizeof(*sample));
    size_t n = 0;

    if (key == NULL || sample == NULL || sign_once(key) != 0) {
        (void)fprintf(stderr, "signatures: cannot sign with this key\n");
        free(sample);
        EVP_PKEY_free(key);
        return 1;
    }
    uint64_t start = time_ns(CLOCK_MONOTONIC);
    uint64_t until = start + (uint64_t)(seconds * 1e9);
    uint64_t cpu = time_ns(CLOCK_PROCESS_CPUTIME_ID);
    for (uint64_t at = start; at < until && n < MAX_SAMPLES;) {
        if (sign_once(key) != 0)
            return 1;
        uint64_t end = time_ns(CLOCK_MONOTONIC);
        sample[n++] = (uint32_t)(end - at);
        at = end;
    }
    cpu = time_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    double elapsed = (double)(time_ns(CLOCK_MONOTONIC) - start) / 1e9;
    qsort(sample, n, sizeof(*sample), compare);
    (void)printf("rate %.1f p50_us %.1f p99_us %.1f p999_us %.1f max_us %.1f "
                 "cpu_us %.1f\n",
                 (double)n / elapsed, sample[n / 2] / 1e3, sample[n * 99 / 100] / 1e3,
                 sample[n * 999 / 1000] / 1e3, sample[n - 1] / 1e3,
                 (double)cpu / 1e3 / (double)n);
    free(sample);
    EVP_PKEY_free(key);
    return 0;
}
