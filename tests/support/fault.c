/*
 * The counter behind the wrapped allocators. A failing call returns NULL with ENOMEM,
 * as glibc does; everything else goes through unchanged.
 */
#include "tests/support/fault.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stddef.h>
#include <stdlib.h>

void *__real_malloc(size_t size);             /* NOLINT: the linker's name */
void *__real_calloc(size_t n, size_t size);   /* NOLINT: the linker's name */
void *__real_realloc(void *old, size_t size); /* NOLINT: the linker's name */
char *__real_strdup(const char *text);        /* NOLINT: the linker's name */
void *__wrap_malloc(size_t size);             /* NOLINT: the linker's name */
void *__wrap_calloc(size_t n, size_t size);   /* NOLINT: the linker's name */
void *__wrap_realloc(void *old, size_t size); /* NOLINT: the linker's name */
char *__wrap_strdup(const char *text);        /* NOLINT: the linker's name */

static long left;
static bool is_hit;
static bool is_paused;

static bool must_fail(void)
{
    if (is_paused || left == 0 || --left > 0)
        return false;
    is_hit = true;
    errno = ENOMEM;
    return true;
}

void fault_arm(long n)
{
    left = n;
    is_hit = false;
}

void fault_pause(bool is_paused_now)
{
    is_paused = is_paused_now;
}

bool fault_was_hit(void)
{
    return is_hit;
}

bool fault_round(long n)
{
    bool goes_on = n == 1 || is_hit;
    fault_arm(goes_on ? n : 0);
    return goes_on;
}

void *__wrap_malloc(size_t size) /* NOLINT: the linker's name */
{
    return must_fail() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) /* NOLINT: the linker's name */
{
    return must_fail() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size) /* NOLINT: the linker's name */
{
    return must_fail() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text) /* NOLINT: the linker's name */
{
    return must_fail() ? NULL : __real_strdup(text);
}

static bool counts_libcrypto;

static void *crypto_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return counts_libcrypto && must_fail() ? NULL : __real_malloc(size);
}

static void *crypto_realloc(void *old, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return counts_libcrypto && must_fail() ? NULL : __real_realloc(old, size);
}

static void crypto_free(void *data, const char *file, int line)
{
    (void)file;
    (void)line;
    free(data);
}

static bool is_installed;

/* Before any constructor: the test library uses libcrypto in one of them, and after
 * libcrypto's first allocation it is too late. */
static void install(void)
{
    is_installed =
        CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free) == 1;
}

static void (*const install_early)(void)
    __attribute__((section(".preinit_array"), used)) = install;

bool fault_use_libcrypto(bool on)
{
    counts_libcrypto = on;
    return is_installed;
}
