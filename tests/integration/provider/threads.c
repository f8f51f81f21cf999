/*
 * Threads of a host: many at once, all at the very first use, with small stacks, coming
 * and going.
 *
 *   threads CASE URI-OR-FILE...
 */
#include <limits.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/provider/host.h"

#define MAX_THREADS 32

static pthread_barrier_t barrier;

static void run_threads(int n, size_t stack_size, void *(*run)(void *arg), void *arg)
{
    pthread_t threads[MAX_THREADS];
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0 ||
        (stack_size > 0 && pthread_attr_setstacksize(&attr, stack_size) != 0))
        abort();
    for (int i = 0; i < n; i++) {
        if (pthread_create(&threads[i], &attr, run, arg) != 0)
            abort();
    }
    for (int i = 0; i < n; i++)
        (void)pthread_join(threads[i], NULL);
    (void)pthread_attr_destroy(&attr);
}

static void *sign_some(void *arg)
{
    (void)host_sign_all(*(unsigned *)arg);
    return NULL;
}

static int many(void)
{
    unsigned n = 10;
    run_threads(8, 0, sign_some, &n);
    run_threads(MAX_THREADS, 0, sign_some, &n);
    return 0;
}

static void *sign_after_barrier(void *arg)
{
    (void)pthread_barrier_wait(&barrier);
    return sign_some(arg);
}

/* Connection, twin and digests are all made at the first use, here by all at once. */
static int first_use(void)
{
    unsigned n = 1;
    if (pthread_barrier_init(&barrier, NULL, MAX_THREADS) != 0)
        abort();
    run_threads(MAX_THREADS, 0, sign_after_barrier, &n);
    (void)pthread_barrier_destroy(&barrier);
    return 0;
}

/* A thread that has ended leaves neither descriptor nor memory. */
static int come_and_go(void)
{
    unsigned n = 1;
    for (int i = 0; i < 10; i++)
        run_threads(8, 0, sign_some, &n);
    const int n_fds = host_n_fds();
    const long memory_kib = host_memory_kib();
    for (int i = 0; i < 100; i++)
        run_threads(8, 0, sign_some, &n);
    if (host_n_fds() > n_fds + 8) /* one per entry of the pool at most */
        return host_fail("descriptors grow with the number of threads");
    if (host_memory_kib() > memory_kib + 4096)
        return host_fail("memory grows with the number of threads");
    return 0;
}

/* The least that POSIX allows; a Go or JVM host may not give more. */
static int small_stack(void)
{
    unsigned n = 2;
    size_t size = (size_t)PTHREAD_STACK_MIN;
    run_threads(8, size < 16384 ? 16384 : size, sign_some, &n);
    return 0;
}

static int decrypt(const struct host_key *key)
{
    unsigned char sealed[512];
    unsigned char opened[512];
    size_t sealed_len = sizeof(sealed);
    size_t opened_len = sizeof(opened);
    EVP_PKEY_CTX *in = EVP_PKEY_CTX_new(key->public_key, NULL);
    EVP_PKEY_CTX *out = EVP_PKEY_CTX_new(key->pkey, NULL);
    int ok = EVP_PKEY_encrypt_init(in) == 1 &&
             EVP_PKEY_CTX_set_rsa_padding(in, RSA_PKCS1_OAEP_PADDING) == 1 &&
             EVP_PKEY_encrypt(in, sealed, &sealed_len, (const unsigned char *)"secret",
                              6) == 1 &&
             EVP_PKEY_decrypt_init(out) == 1 &&
             EVP_PKEY_CTX_set_rsa_padding(out, RSA_PKCS1_OAEP_PADDING) == 1 &&
             EVP_PKEY_decrypt(out, opened, &opened_len, sealed, sealed_len) == 1 &&
             opened_len == 6 && memcmp(opened, "secret", 6) == 0;
    EVP_PKEY_CTX_free(in);
    EVP_PKEY_CTX_free(out);
    return ok ? 0 : host_fail("decryption");
}

/* The public part alone, as a peer sends it. */
static EVP_PKEY *public_part(EVP_PKEY *key)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    const unsigned char *at = der;
    EVP_PKEY *part = len > 0 ? d2i_PUBKEY(NULL, &at, len) : NULL;
    OPENSSL_free(der);
    return part;
}

static int derive(const struct host_key *key, EVP_PKEY *peer)
{
    unsigned char ours[128];
    unsigned char theirs[128];
    size_t our_len = sizeof(ours);
    size_t their_len = sizeof(theirs);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key->pkey, NULL);
    EVP_PKEY_CTX *peer_ctx = EVP_PKEY_CTX_new(peer, NULL);
    EVP_PKEY *peer_part = public_part(peer);
    int ok = EVP_PKEY_derive_init(ctx) == 1 &&
             EVP_PKEY_derive_set_peer(ctx, peer_part) == 1 &&
             EVP_PKEY_derive(ctx, ours, &our_len) == 1 &&
             EVP_PKEY_derive_init(peer_ctx) == 1 &&
             EVP_PKEY_derive_set_peer(peer_ctx, key->public_key) == 1 &&
             EVP_PKEY_derive(peer_ctx, theirs, &their_len) == 1 &&
             our_len == their_len && memcmp(ours, theirs, our_len) == 0;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_CTX_free(peer_ctx);
    EVP_PKEY_free(peer_part);
    return ok ? 0 : host_fail("derivation");
}

static void *use_every_way(void *arg)
{
    EVP_PKEY *peer = EVP_EC_gen("P-256");
    (void)arg;
    for (int i = 0; i < 10; i++) {
        for (int k = 0; k < host_n_keys; k++) {
            (void)host_sign(k, (unsigned)i);
            if (EVP_PKEY_is_a(host_keys[k].pkey, "RSA"))
                (void)decrypt(&host_keys[k]);
            else if (EVP_PKEY_is_a(host_keys[k].pkey, "EC"))
                (void)derive(&host_keys[k], peer);
        }
    }
    EVP_PKEY_free(peer);
    if (ERR_peek_error() != 0)
        (void)host_fail("an error was left on a thread's queue");
    return NULL;
}

/* Keys: P-256, RSA and Ed25519. */
static int every_way(void)
{
    run_threads(8, 0, use_every_way, NULL);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct host_case cases[] = {
        {"many", many},
        {"first-use", first_use},
        {"come-and-go", come_and_go},
        {"small-stack", small_stack},
        {"every-way", every_way},
    };
    return host_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
