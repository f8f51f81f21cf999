/*
 * What libcrypto frees is wiped, once kv_wiping_install has run. A program of its own:
 * Criterion's libraries use libcrypto before a test begins, and then it is too late.
 */
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/core/secret.h"

#define LEN 1000
#define MARK 0x5A

static int fail(const char *what)
{
    (void)fprintf(stderr, "libcrypto_wipes: %s\n", what);
    return EXIT_FAILURE;
}

/* How many marks are left at an address that was freed: looked at on purpose. The
 * allocator's own bookkeeping overwrites the first bytes of a free block. */
static size_t count_marks(uintptr_t address)
{
#ifdef KV_SANITIZED
    (void)address; /* the sanitizer would end the process */
    return 0;
#else
    const volatile uint8_t *at = (const uint8_t *)address;
    size_t n = 0;
    for (size_t i = 32; i < LEN; i++)
        n += at[i] == MARK;
    return n;
#endif
}

int main(void)
{
    (void)mallopt(M_PERTURB, 0); /* or libc would do the wiping */
    if (kv_wiping_install() != 0)
        return fail("the allocator was not installed");
    uint8_t *data = OPENSSL_malloc(LEN);
    void *guard = malloc(32); /* keeps the block from joining the top of the heap */
    if (data == NULL || guard == NULL)
        return fail("out of memory");
    memset(data, MARK, LEN);
    uintptr_t old = (uintptr_t)data;
    data = OPENSSL_realloc(data, (size_t)4 * LEN);
    if (data == NULL || data[LEN - 1] != MARK)
        return fail("realloc lost the content");
    if (count_marks(old) != 0)
        return fail("a block that moved was not wiped");
    memset(data, MARK, LEN);
    old = (uintptr_t)data;
    void *guard_2 = malloc(32);
    OPENSSL_free(data);
    if (count_marks(old) != 0)
        return fail("a freed block was not wiped");
    free(guard);
    free(guard_2);
    return EXIT_SUCCESS;
}
