#include "tests/integration/provider/host.h"

#include <dirent.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/store.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct host_key host_keys[HOST_MAX_KEYS];
int host_n_keys;
_Atomic int host_n_failed;

int host_fail(const char *what)
{
    (void)fprintf(stderr, "%s: pid %d: %s\n", program_invocation_short_name,
                  (int)getpid(), what);
    ERR_print_errors_fp(stderr);
    atomic_fetch_add(&host_n_failed, 1);
    return -1;
}

static EVP_PKEY *load_file(const char *name)
{
    BIO *bio = BIO_new_file(name, "r");
    if (bio == NULL)
        return NULL;
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return pkey;
}

EVP_PKEY *host_load(const char *name)
{
    EVP_PKEY *pkey = NULL;
    if (strncmp(name, "keyvault:", 9) != 0)
        return load_file(name);
    OSSL_STORE_CTX *store = OSSL_STORE_open(name, NULL, NULL, NULL, NULL);
    if (store == NULL)
        return NULL;
    if (OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY) == 1) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        pkey = info == NULL ? NULL : OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    (void)OSSL_STORE_close(store);
    return pkey;
}

static EVP_PKEY *public_of(EVP_PKEY *pkey)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(pkey, &der);
    const unsigned char *at = der;
    EVP_PKEY *public_key = len > 0 ? d2i_PUBKEY(NULL, &at, len) : NULL;
    OPENSSL_free(der);
    return public_key;
}

int host_load_all(int argc, char **argv)
{
    (void)alarm(HOST_TIME_LIMIT_S);
    for (host_n_keys = 0; host_n_keys < argc && host_n_keys < HOST_MAX_KEYS;
         host_n_keys++) {
        struct host_key *key = &host_keys[host_n_keys];
        key->pkey = host_load(argv[host_n_keys]);
        if (key->pkey == NULL)
            return host_fail(argv[host_n_keys]);
        key->public_key = public_of(key->pkey);
        if (key->public_key == NULL)
            return host_fail("no public key");
        if (EVP_PKEY_eq(key->pkey, key->public_key) != 1 ||
            EVP_PKEY_eq(key->public_key, key->pkey) != 1)
            return host_fail("the key does not equal its public key");
        if (ERR_peek_error() != 0)
            return host_fail("loading left an error on the queue");
    }
    return 0;
}

void host_free_all(void)
{
    for (int k = 0; k < host_n_keys; k++) {
        EVP_PKEY_free(host_keys[k].pkey);
        EVP_PKEY_free(host_keys[k].public_key);
        host_keys[k] = (struct host_key){.pkey = NULL};
    }
    host_n_keys = 0;
}

static const char *digest_of(EVP_PKEY *pkey)
{
    return EVP_PKEY_is_a(pkey, "ED25519") ? NULL : "SHA256";
}

int host_sign_raw(EVP_PKEY *pkey, unsigned char *sig, size_t *len, const void *tbs,
                  size_t tbs_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int ok = ctx != NULL &&
             EVP_DigestSignInit_ex(ctx, NULL, digest_of(pkey), NULL, NULL, pkey,
                                   NULL) == 1 &&
             EVP_DigestSign(ctx, sig, len, tbs, tbs_len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

int host_verify(int k, const unsigned char *sig, size_t len, const void *tbs,
                size_t tbs_len)
{
    EVP_PKEY *public_key = host_keys[k].public_key;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int ok = EVP_DigestVerifyInit_ex(ctx, NULL, digest_of(public_key), NULL, NULL,
                                     public_key, NULL) == 1 &&
             EVP_DigestVerify(ctx, sig, len, tbs, tbs_len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok ? 0 : -1;
}

int host_sign(int k, unsigned number)
{
    unsigned char sig[1024];
    size_t len = sizeof(sig);
    char message[64];
    int n =
        snprintf(message, sizeof(message), "message %u of %d", number, (int)getpid());
    if (!host_sign_raw(host_keys[k].pkey, sig, &len, message, (size_t)n))
        return host_fail("signing failed");
    if (ERR_peek_error() != 0)
        return host_fail("a successful signature left an error on the queue");
    if (host_verify(k, sig, len, message, (size_t)n) != 0)
        return host_fail("the signature does not verify");
    return 0;
}

int host_sign_refused(int k, const char *what, const char *cure)
{
    unsigned char sig[1024];
    size_t len = sizeof(sig);
    const char *data = NULL;
    int flags = 0;
    if (host_sign_raw(host_keys[k].pkey, sig, &len, "message", 7))
        return host_fail("signing succeeded");
    unsigned long code = ERR_get_error_all(NULL, NULL, NULL, &data, &flags);
    if (code == 0 || strstr(data, what) == NULL ||
        (cure != NULL && strstr(data, cure) == NULL)) {
        (void)fprintf(stderr, "%s\n", data);
        return host_fail("another error than expected");
    }
    if (ERR_reason_error_string(code) == NULL)
        return host_fail("the error has no reason string");
    return ERR_peek_error() == 0 ? 0 : host_fail("there are more errors on the queue");
}

int host_sign_all(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        for (int k = 0; k < host_n_keys; k++) {
            if (host_sign(k, i) != 0)
                return -1;
        }
    }
    return 0;
}

pid_t host_fork(int (*run)(void *arg), void *arg)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    host_n_failed = 0;
    (void)alarm(HOST_TIME_LIMIT_S); /* not inherited */
    int rc = run(arg);
    _exit(rc != 0 || host_n_failed != 0);
}

int host_wait(pid_t pid)
{
    int status = 0;
    if (pid > 0 && waitpid(pid, &status, 0) == pid && status == 0)
        return 0;
    (void)fprintf(stderr, "%s: child %d: status %x\n", program_invocation_short_name,
                  (int)pid, (unsigned)status);
    return host_fail("a child failed");
}

int host_n_fds(void)
{
    int n = -1; /* the one that counts */
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return host_fail("/proc/self/fd");
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        n += entry->d_name[0] != '.';
    (void)closedir(dir);
    return n;
}

long host_memory_kib(void)
{
    long pages = -1;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*s %ld", &pages) != 1)
        (void)host_fail("/proc/self/statm");
    if (file != NULL)
        (void)fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

int host_rounds(int n)
{
    const char *full = getenv("KEYVAULT_TEST_FULL");
    return full != NULL && strcmp(full, "1") == 0 ? 20 * n : n;
}

int host_main(int argc, char **argv, const struct host_case *cases, size_t n_cases)
{
    for (size_t i = 0; argc > 1 && i < n_cases; i++) {
        if (strcmp(cases[i].name, argv[1]) != 0)
            continue;
        if (host_load_all(argc - 2, argv + 2) != 0)
            return 1;
        int rc = cases[i].run();
        host_free_all();
        if (ERR_peek_error() != 0)
            rc = host_fail("an error was left on the queue");
        return rc != 0 || host_n_failed != 0;
    }
    (void)fprintf(stderr, "usage: %s CASE URI-OR-FILE...\n",
                  program_invocation_short_name);
    return 2;
}
