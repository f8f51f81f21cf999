/*
 * One program as servers are: it loads keys, signs, forks while its threads sign, and
 * its children sign with their own threads, also after their descriptors were closed
 * and reused, and after chroot. Every signature is verified with the public key.
 *
 *   fork_threads [--calm] URI-OR-FILE...    OPENSSL_CONF activates default and keyvault
 *
 * --calm lets the threads end before each fork: the allocator of AddressSanitizer does
 * not survive a fork among busy threads. Prints what failed; exit status 0 when nothing
 * did.
 */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/store.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_KEYS 8
#define N_THREADS 8
#define N_CHILDREN 4
#define N_ROUNDS 25
#define TIME_LIMIT_S 60

static EVP_PKEY *keys[MAX_KEYS];
static EVP_PKEY *public_keys[MAX_KEYS];
static int n_keys;
static _Atomic int n_failed;

static int fail(const char *what)
{
    (void)fprintf(stderr, "fork_threads: pid %d: %s\n", (int)getpid(), what);
    ERR_print_errors_fp(stderr);
    atomic_fetch_add(&n_failed, 1);
    return -1;
}

/* As libssl signs: a fresh context each time. */
static int sign_once(int k, unsigned number)
{
    unsigned char sig[1024];
    size_t len = sizeof(sig);
    char message[64];
    int n =
        snprintf(message, sizeof(message), "message %u of %d", number, (int)getpid());
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const char *md = EVP_PKEY_is_a(keys[k], "ED25519") ? NULL : "SHA256";
    int ok = EVP_DigestSignInit_ex(ctx, NULL, md, NULL, NULL, keys[k], NULL) == 1 &&
             EVP_DigestSign(ctx, sig, &len, (unsigned char *)message, (size_t)n) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok)
        return fail("signing failed");
    if (ERR_peek_error() != 0)
        return fail("a successful signature left an error on the queue");
    ctx = EVP_MD_CTX_new();
    ok =
        EVP_DigestVerifyInit_ex(ctx, NULL, md, NULL, NULL, public_keys[k], NULL) == 1 &&
        EVP_DigestVerify(ctx, sig, len, (unsigned char *)message, (size_t)n) == 1;
    EVP_MD_CTX_free(ctx);
    return ok ? 0 : fail("the signature does not verify");
}

static void *sign_many(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < N_ROUNDS; i++) {
        for (int k = 0; k < n_keys; k++) {
            if (sign_once(k, i) != 0)
                return NULL;
        }
    }
    return NULL;
}

static void start_threads(pthread_t threads[N_THREADS])
{
    for (int i = 0; i < N_THREADS; i++) {
        if (pthread_create(&threads[i], NULL, sign_many, NULL) != 0)
            abort();
    }
}

static void join_threads(pthread_t threads[N_THREADS])
{
    for (int i = 0; i < N_THREADS; i++)
        (void)pthread_join(threads[i], NULL);
}

/* A daemon closes what it does not know; the numbers then belong to its own files. */
static void reuse_descriptors(int pairs[8][2])
{
    for (int fd = 3; fd < 256; fd++)
        (void)close(fd);
    for (int i = 0; i < 8; i++) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]) != 0)
            abort();
    }
}

static void expect_silence(int pairs[8][2])
{
    char byte;
    for (int i = 0; i < 8; i++) {
        for (int end = 0; end < 2; end++) {
            if (recv(pairs[i][end], &byte, 1, MSG_DONTWAIT) >= 0)
                (void)fail("the module wrote to or closed a foreign socket");
        }
    }
}

static int child(int number)
{
    pthread_t threads[N_THREADS];
    int pairs[8][2];
    n_failed = 0;
    (void)alarm(TIME_LIMIT_S);
    if (number == 1)
        reuse_descriptors(pairs);
    if (number == 2) { /* a grandchild inherits what its parent inherited */
        pid_t pid = fork();
        if (pid == 0)
            _exit(sign_once(0, 1) == 0 ? 0 : 1);
        int status = 0;
        if (waitpid(pid, &status, 0) != pid || status != 0)
            (void)fail("the grandchild failed");
    }
    if (number == 3 && geteuid() == 0) { /* as HAProxy does */
        if (chroot("/proc/self/fdinfo") != 0 || chdir("/") != 0)
            (void)fail("chroot");
    }
    start_threads(threads);
    join_threads(threads);
    if (number == 1)
        expect_silence(pairs);
    return n_failed != 0;
}

static EVP_PKEY *load(const char *name)
{
    EVP_PKEY *pkey = NULL;
    if (strncmp(name, "keyvault:", 9) != 0) {
        BIO *bio = BIO_new_file(name, "r");
        pkey = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
        BIO_free(bio);
        return pkey;
    }
    OSSL_STORE_CTX *store = OSSL_STORE_open(name, NULL, NULL, NULL, NULL);
    if (store == NULL || OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY) != 1)
        return NULL;
    OSSL_STORE_INFO *info = OSSL_STORE_load(store);
    pkey = info == NULL ? NULL : OSSL_STORE_INFO_get1_PKEY(info);
    OSSL_STORE_INFO_free(info);
    (void)OSSL_STORE_close(store);
    return pkey;
}

static int load_all(int argc, char **argv)
{
    for (n_keys = 0; n_keys < argc - 1 && n_keys < MAX_KEYS; n_keys++) {
        unsigned char *der = NULL;
        keys[n_keys] = load(argv[n_keys + 1]);
        if (keys[n_keys] == NULL)
            return fail(argv[n_keys + 1]);
        int len = i2d_PUBKEY(keys[n_keys], &der);
        const unsigned char *at = der;
        public_keys[n_keys] = d2i_PUBKEY(NULL, &at, len);
        OPENSSL_free(der);
        if (public_keys[n_keys] == NULL)
            return fail("no public key");
        if (EVP_PKEY_eq(keys[n_keys], public_keys[n_keys]) != 1 ||
            EVP_PKEY_eq(public_keys[n_keys], keys[n_keys]) != 1)
            return fail("the key does not equal its public key");
    }
    return n_keys > 0 ? 0 : fail("usage: fork_threads URI-OR-FILE...");
}

int main(int argc, char **argv)
{
    pthread_t threads[N_THREADS];
    pid_t pids[N_CHILDREN];
    bool is_calm = argc > 1 && strcmp(argv[1], "--calm") == 0;
    (void)alarm(TIME_LIMIT_S); /* a deadlock is a failure */
    if (load_all(argc - is_calm, argv + is_calm) != 0 || sign_once(0, 0) != 0)
        return 1;
    start_threads(threads); /* some of them sign at the moment of each fork */
    if (is_calm)
        join_threads(threads);
    for (int i = 0; i < N_CHILDREN; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            _exit(child(i));
    }
    if (!is_calm)
        join_threads(threads);
    for (int i = 0; i < N_CHILDREN; i++) {
        int status = 0;
        if (waitpid(pids[i], &status, 0) != pids[i] || status != 0) {
            (void)fprintf(stderr, "fork_threads: child %d: status %x\n", i, status);
            (void)fail("a child failed");
        }
    }
    for (int i = 0; i < n_keys; i++) {
        EVP_PKEY_free(keys[i]);
        EVP_PKEY_free(public_keys[i]);
    }
    return n_failed != 0;
}
