/*
 * The end of a host: whatever way it ends, with keys alive and threads at work, it ends
 * with the status that it chose.
 *
 *   exits CASE URI-OR-FILE...
 */
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/provider/host.h"

#define N_THREADS 8

static int live_keys(void)
{
    if (host_sign_all(2) != 0)
        return -1;
    exit(0);
}

static int unused_keys(void)
{
    exit(0);
}

static int at_once(void)
{
    if (host_sign_all(2) != 0)
        return -1;
    _exit(0);
}

static int quickly(void)
{
    if (host_sign_all(2) != 0)
        return -1;
    quick_exit(0);
}

static void *sign_for_ever(void *arg)
{
    unsigned char sig[1024];
    (void)arg;
    for (;;) { /* errors are to be expected at the end */
        size_t len = sizeof(sig);
        (void)host_sign_raw(host_keys[0].pkey, sig, &len, "message", 7);
    }
    return NULL;
}

static void start_threads(void *(*run)(void *arg))
{
    for (int i = 0; i < N_THREADS; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, run, NULL) != 0)
            abort();
    }
    (void)usleep(20000);
}

static void *end_from_thread(void *arg)
{
    (void)arg;
    (void)host_sign_all(1);
    exit(host_n_failed != 0);
}

/* Nobody else is at work: libcrypto itself does not survive that. */
static int from_thread(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, end_from_thread, NULL) != 0)
        abort();
    for (;;)
        (void)pause();
}

/* The main thread ends, others go on. */
static int main_thread_first(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, end_from_thread, NULL) != 0)
        abort();
    pthread_exit(NULL);
}

/* Threads that still sign when the process ends without cleaning up. */
static int busy_at_once(void)
{
    start_threads(sign_for_ever);
    _exit(0);
}

static void sign_on_the_way_out(void)
{
    unsigned char sig[1024];
    size_t len = sizeof(sig);
    if (host_sign_raw(host_keys[0].pkey, sig, &len, "message", 7))
        return;
    ERR_print_errors_fp(stderr);
    _exit(3);
}

/* Registered after libcrypto's own handler, so it runs before: all still works. (After
 * it, libcrypto crashes with any key.) */
static int handler_before_cleanup(void)
{
    if (host_sign_all(1) != 0 || atexit(sign_on_the_way_out) != 0)
        return -1;
    exit(0);
}

static int explicit_cleanup(void)
{
    if (host_sign_all(1) != 0)
        return -1;
    host_free_all();
    OPENSSL_cleanup();
    _exit(0);
}

/* Keys that were never freed when libcrypto cleans up. */
static int cleanup_with_live_keys(void)
{
    if (host_sign_all(1) != 0)
        return -1;
    OPENSSL_cleanup();
    exit(0);
}

/* A child ends in order while its parent has threads at work. */
static int exit_in_order(void *arg)
{
    (void)arg;
    if (host_sign_all(1) != 0)
        return -1;
    exit(0);
}

static int child_of_busy_parent(void)
{
    start_threads(sign_for_ever);
    for (int i = 0; i < 8; i++)
        (void)host_wait(host_fork(exit_in_order, NULL));
    _exit(host_n_failed != 0);
}

int main(int argc, char **argv)
{
    static const struct host_case cases[] = {
        {"live-keys", live_keys},
        {"unused-keys", unused_keys},
        {"at-once", at_once},
        {"quickly", quickly},
        {"from-thread", from_thread},
        {"main-thread-first", main_thread_first},
        {"busy-at-once", busy_at_once},
        {"handler-before-cleanup", handler_before_cleanup},
        {"explicit-cleanup", explicit_cleanup},
        {"cleanup-with-live-keys", cleanup_with_live_keys},
        {"child-of-busy-parent", child_of_busy_parent},
        {"no-atexit", live_keys},
    };
    if (argc > 1 && strcmp(argv[1], "no-atexit") == 0)
        (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
    return host_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
