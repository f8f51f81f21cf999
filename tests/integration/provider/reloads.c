/*
 * Loading and unloading: providers, library contexts and keys in every order that
 * OpenSSL permits. KEYVAULT_KEYS_SOCKET and OPENSSL_MODULES say where things are.
 *
 *   reloads CASE URI-OR-FILE
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/provider/host.h"

#define N_CONTEXTS 4

static const char *key_name;

/* A library context of its own, with the default provider and keyvault. */
struct world {
    OSSL_LIB_CTX *libctx;
    OSSL_PROVIDER *fallback;
    OSSL_PROVIDER *keyvault;
};

static int load_providers(struct world *world)
{
    world->fallback = OSSL_PROVIDER_load(world->libctx, "default");
    world->keyvault = OSSL_PROVIDER_load(world->libctx, "keyvault");
    if (world->fallback == NULL || world->keyvault == NULL)
        return host_fail("a provider does not load");
    return 0;
}

static int unload_providers(struct world *world)
{
    if (OSSL_PROVIDER_unload(world->keyvault) != 1 ||
        OSSL_PROVIDER_unload(world->fallback) != 1)
        return host_fail("a provider does not unload");
    return 0;
}

static int open_world(struct world *world)
{
    world->libctx = OSSL_LIB_CTX_new();
    return world->libctx == NULL ? host_fail("no context") : load_providers(world);
}

static int close_world(struct world *world)
{
    int rc = unload_providers(world);
    OSSL_LIB_CTX_free(world->libctx);
    return rc;
}

static EVP_PKEY *load_key(OSSL_LIB_CTX *libctx)
{
    EVP_PKEY *pkey = NULL;
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(key_name, libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    if (store != NULL && OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY) == 1) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        pkey = info == NULL ? NULL : OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    (void)OSSL_STORE_close(store);
    if (pkey == NULL)
        (void)host_fail("the key does not load");
    return pkey;
}

static int sign_with(OSSL_LIB_CTX *libctx, EVP_PKEY *pkey)
{
    unsigned char sig[1024];
    size_t len = sizeof(sig);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int ok =
        EVP_DigestSignInit_ex(ctx, NULL, "SHA256", libctx, NULL, pkey, NULL) == 1 &&
        EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"message", 7) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok || ERR_peek_error() != 0)
        return host_fail("signing failed or left an error");
    return 0;
}

static int use_once(OSSL_LIB_CTX *libctx)
{
    EVP_PKEY *pkey = load_key(libctx);
    int rc = pkey == NULL ? -1 : sign_with(libctx, pkey);
    EVP_PKEY_free(pkey);
    return rc;
}

static bool is_mapped(void)
{
    char line[512];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL)
        found = found || strstr(line, "keyvault.so") != NULL;
    if (maps != NULL)
        (void)fclose(maps);
    return found;
}

/* Repeat a step; after a tenth of it nothing may grow any more. */
static int repeat(int (*step)(void *arg), void *arg, int n)
{
    int n_fds = 0;
    long memory_kib = 0;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((unsigned)sched_getcpu(), &one); /* there is a connection for each CPU */
    if (sched_setaffinity(0, sizeof(one), &one) != 0)
        return host_fail("sched_setaffinity");
    for (int i = 0; i < n; i++) {
        if (i == n / 10) {
            n_fds = host_n_fds();
            memory_kib = host_memory_kib();
        }
        if (step(arg) != 0)
            return -1;
    }
    (void)fprintf(stderr, "%d times: %ld KiB and %d descriptors more\n", n,
                  host_memory_kib() - memory_kib, host_n_fds() - n_fds);
    if (host_n_fds() != n_fds)
        return host_fail("descriptors are left open");
    if (host_memory_kib() > memory_kib + 1024)
        return host_fail("memory grows");
    return 0;
}

static int reload_providers(void *arg)
{
    struct world *world = arg;
    if (load_providers(world) != 0 || use_once(world->libctx) != 0)
        return -1;
    return unload_providers(world);
}

/* The module is loaded and unloaded in one context. */
static int providers(void)
{
    struct world world = {.libctx = OSSL_LIB_CTX_new()};
    int rc = repeat(reload_providers, &world, host_rounds(1000));
    OSSL_LIB_CTX_free(world.libctx);
    return rc != 0 || is_mapped() ? rc : host_fail("the module was unmapped");
}

static int renew_context(void *arg)
{
    struct world world;
    (void)arg;
    if (open_world(&world) != 0 || use_once(world.libctx) != 0)
        return -1;
    return close_world(&world);
}

static int contexts(void)
{
    return repeat(renew_context, NULL, host_rounds(200));
}

static int load_and_free(void *arg)
{
    const struct world *world = arg;
    return use_once(world->libctx);
}

/* 10,000 loads are the subject of the EVP tests; these sign as well. */
static int keys(void)
{
    struct world world;
    if (open_world(&world) != 0)
        return -1;
    int rc = repeat(load_and_free, &world, host_rounds(1000));
    return close_world(&world) != 0 ? -1 : rc;
}

/* A key keeps the module alive after everybody else has let go of it. */
static int key_outlives_provider(void)
{
    struct world world;
    if (open_world(&world) != 0)
        return -1;
    EVP_PKEY *pkey = load_key(world.libctx);
    EVP_MD_CTX *half = EVP_MD_CTX_new();
    if (EVP_DigestSignInit_ex(half, NULL, "SHA256", world.libctx, NULL, pkey, NULL) !=
            1 ||
        EVP_DigestSignUpdate(half, "mess", 4) != 1)
        return host_fail("cannot begin");
    if (unload_providers(&world) != 0)
        return -1;
    unsigned char sig[1024];
    size_t len = sizeof(sig);
    if (EVP_DigestSignUpdate(half, "age", 3) != 1 ||
        EVP_DigestSignFinal(half, sig, &len) != 1)
        return host_fail("an operation in progress was disturbed");
    EVP_MD_CTX_free(half);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    if (load_providers(&world) != 0 || use_once(world.libctx) != 0)
        return -1;
    return close_world(&world);
}

static void *live(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++) {
        if (renew_context(NULL) != 0)
            break;
    }
    return NULL;
}

static int contexts_in_threads(void)
{
    pthread_t threads[N_CONTEXTS];
    for (int i = 0; i < N_CONTEXTS; i++) {
        if (pthread_create(&threads[i], NULL, live, NULL) != 0)
            abort();
    }
    for (int i = 0; i < N_CONTEXTS; i++)
        (void)pthread_join(threads[i], NULL);
    return 0;
}

/* Several at once, ended in another order than made; a child of each works as well. */
static int use_in_child(void *arg)
{
    const struct world *worlds = arg;
    for (int i = 0; i < N_CONTEXTS; i++) {
        if (use_once(worlds[i].libctx) != 0)
            return -1;
    }
    return 0;
}

static int several_contexts(void)
{
    static const int order[N_CONTEXTS] = {2, 0, 3, 1};
    struct world worlds[N_CONTEXTS];
    EVP_PKEY *pkeys[N_CONTEXTS];
    for (int i = 0; i < N_CONTEXTS; i++) {
        if (open_world(&worlds[i]) != 0)
            return -1;
        pkeys[i] = load_key(worlds[i].libctx);
    }
    for (int i = 0; i < 5 * N_CONTEXTS; i++) {
        int at = order[i % N_CONTEXTS];
        if (sign_with(worlds[at].libctx, pkeys[at]) != 0)
            return -1;
    }
    (void)host_wait(host_fork(use_in_child, worlds));
    for (int i = 0; i < N_CONTEXTS; i++) {
        int at = order[i];
        EVP_PKEY_free(pkeys[at]);
        if (close_world(&worlds[at]) != 0)
            return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct host_case cases[] = {
        {"providers", providers},
        {"contexts", contexts},
        {"keys", keys},
        {"key-outlives-provider", key_outlives_provider},
        {"contexts-in-threads", contexts_in_threads},
        {"several-contexts", several_contexts},
    };
    if (argc != 3)
        return host_main(1, argv, cases, 0);
    key_name = argv[2];
    return host_main(2, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
