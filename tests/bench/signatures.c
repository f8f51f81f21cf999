/*
 * signatures: how fast one private key signs through EVP, the way libssl does it: a
 * fresh EVP_MD_CTX for each signature of a 130-byte message (a TLS 1.3
 * CertificateVerify input), SHA-256, PSS for RSA.
 *
 *   signatures [--seconds S] [--pause-us U] [--cpu PID]... KEY
 *
 * KEY is a PEM file, anything OSSL_STORE opens, or engine:NAME:ID as nginx writes it.
 * With a pause the caller sleeps before each signature, like a server that has other
 * things to do, and the pause is not part of the latency.
 *
 * Prints one line: rate (1/s), p50_us, p99_us, p999_us, max_us, cpu_us (own processor
 * time per signature), other_cpu_us (of the named processes). Fails when a signature
 * leaves something on OpenSSL's error queue. Providers come from OPENSSL_CONF.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* engines are what the peer offers */
#include <getopt.h>
#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/measure.h"

#define ENGINE_PREFIX "engine:"

static EVP_PKEY *load_from_store(const char *uri)
{
    EVP_PKEY *key = NULL;
    OSSL_STORE_CTX *store = OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);
    if (store == NULL || OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY) != 1)
        goto out;
    while (key == NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info != NULL && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
            key = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
out:
    (void)OSSL_STORE_close(store); /* NULL is fine */
    return key;
}

static EVP_PKEY *load_from_engine(const char *spec)
{
    char name[32];
    const char *colon = strchr(spec, ':');
    if (colon == NULL || (size_t)(colon - spec) >= sizeof(name))
        return NULL;
    memcpy(name, spec, (size_t)(colon - spec));
    name[colon - spec] = '\0';
    ENGINE_load_dynamic();
    ENGINE *engine = ENGINE_by_id(name);
    if (engine == NULL || ENGINE_init(engine) != 1)
        return NULL;
    return ENGINE_load_private_key(engine, colon + 1, NULL, NULL);
}

static EVP_PKEY *load(const char *name)
{
    EVP_PKEY *key = strncmp(name, ENGINE_PREFIX, strlen(ENGINE_PREFIX)) == 0
                        ? load_from_engine(name + strlen(ENGINE_PREFIX))
                        : load_from_store(name);
    if (key == NULL)
        ERR_print_errors_fp(stderr);
    ERR_clear_error(); /* from here on the queue is watched */
    return key;
}

static bool sign_once(EVP_PKEY *key)
{
    static const unsigned char message[130] = {0x20};
    unsigned char signature[1024];
    size_t len = sizeof(signature);
    EVP_PKEY_CTX *params = NULL;
    const char *digest = EVP_PKEY_is_a(key, "ED25519") ? NULL : "SHA256";
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL &&
              EVP_DigestSignInit_ex(ctx, &params, digest, NULL, NULL, key, NULL) == 1;
    if (ok && EVP_PKEY_is_a(key, "RSA"))
        ok = EVP_PKEY_CTX_set_rsa_padding(params, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(params, RSA_PSS_SALTLEN_DIGEST) == 1;
    ok = ok && EVP_DigestSign(ctx, signature, &len, message, sizeof(message)) == 1;
    EVP_MD_CTX_free(ctx);
    return ok && ERR_peek_error() == 0;
}

static bool run(EVP_PKEY *key, double seconds, long pause_us,
                struct kv_bench_samples *samples)
{
    const struct timespec pause = {.tv_sec = pause_us / 1000000,
                                   .tv_nsec = pause_us % 1000000 * 1000};
    const uint64_t until = kv_bench_now_ns() + (uint64_t)(seconds * 1e9);
    for (uint64_t at = kv_bench_now_ns(); at < until;) {
        if (pause_us > 0) {
            (void)nanosleep(&pause, NULL); /* shorter is no harm */
            at = kv_bench_now_ns();
        }
        if (!sign_once(key))
            return false;
        const uint64_t end = kv_bench_now_ns();
        if (!kv_bench_samples_add(samples, end - at))
            return true;
        at = end;
    }
    return true;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seconds", required_argument, NULL, 's'},
                                            {"pause-us", required_argument, NULL, 'u'},
                                            {"cpu", required_argument, NULL, 'P'},
                                            {NULL, 0, NULL, 0}};
    struct kv_bench_samples samples;
    struct kv_bench_pids pids = {.n = 0};
    double seconds = 2;
    long pause_us = 0;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 's')
            seconds = strtod(optarg, NULL);
        else if (o == 'u')
            pause_us = strtol(optarg, NULL, 10);
        else if (o != 'P' || !kv_bench_pids_add(&pids, optarg))
            return 2;
    }
    if (optind != argc - 1 || !kv_bench_samples_init(&samples))
        return 2;
    EVP_PKEY *key = load(argv[optind]);
    if (key == NULL || !sign_once(key)) {
        (void)fprintf(stderr, "signatures: cannot sign with %s\n", argv[optind]);
        return 1;
    }
    const uint64_t start = kv_bench_now_ns();
    const uint64_t own_cpu = kv_bench_own_cpu_ns();
    const uint64_t other_cpu = kv_bench_pids_cpu_ns(&pids);
    const bool ok = run(key, seconds, pause_us, &samples);
    const double own_ns = (double)(kv_bench_own_cpu_ns() - own_cpu);
    const double other_ns = (double)(kv_bench_pids_cpu_ns(&pids) - other_cpu);
    const double n = (double)samples.n;
    if (!ok || samples.n == 0) {
        ERR_print_errors_fp(stderr);
        (void)fprintf(stderr, "signatures: a signature failed or left an error\n");
        return 1;
    }
    (void)printf("rate %.1f ", n * 1e9 / (double)(kv_bench_now_ns() - start));
    kv_bench_samples_print(&samples);
    (void)printf("cpu_us %.2f other_cpu_us %.2f\n", own_ns / 1e3 / n,
                 other_ns / 1e3 / n);
    kv_bench_samples_free(&samples);
    EVP_PKEY_free(key);
    return 0;
}
