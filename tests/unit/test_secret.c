/*
 * Secrets: pages with the promised flags, gone after fork and free; the allocator
 * that wipes.
 */
#include "store/core/secret.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(secret, .timeout = 20);

Test(secret, begins_as_zeros_and_checks_its_size)
{
    struct kv_secret secret;
    cr_expect_eq(kv_secret_init(&secret, 0), KV_E_INVALID);
    cr_expect_eq(kv_secret_init(&secret, 1024 * 1024 + 1), KV_E_TOO_BIG);
    cr_expect_null(secret.data);
    cr_assert_eq(kv_secret_init(&secret, 1024 * 1024), 0);
    cr_expect_eq(secret.len, 1024 * 1024);
    for (size_t i = 0; i < secret.len; i++)
        cr_assert_eq(secret.data[i], 0);
    kv_secret_free(&secret);
}

Test(secret, may_be_freed_twice_and_when_zeroed)
{
    struct kv_secret secret;
    cr_assert_eq(kv_secret_init_from(&secret, "key", 3), 0);
    cr_expect_arr_eq(secret.data, "key", 3);
    kv_secret_free(&secret);
    cr_expect_null(secret.data);
    cr_expect_eq(secret.len, 0);
    kv_secret_free(&secret);
    kv_secret_free(NULL);
}

/* The VmFlags line of the mapping that holds `address`. */
static void read_flags(const void *address, char *out, size_t out_size)
{
    char line[512];
    bool is_inside = false;
    FILE *file = fopen("/proc/self/smaps", "r");
    cr_assert_not_null(file);
    out[0] = '\0';
    while (fgets(line, sizeof(line), file) != NULL) {
        char *end = NULL;
        unsigned long low = strtoul(line, &end, 16);
        if (*end == '-' && end != line) {
            unsigned long high = strtoul(end + 1, NULL, 16);
            is_inside = (uintptr_t)address >= low && (uintptr_t)address < high;
        } else if (is_inside && strncmp(line, "VmFlags:", 8) == 0) {
            (void)snprintf(out, out_size, "%s", line);
        }
    }
    (void)fclose(file); /* read only */
}

Test(secret, stays_out_of_dumps_and_children)
{
    struct kv_secret secret;
    cr_assert_eq(kv_secret_init_from(&secret, "key", 3), 0);
    char flags[512];
    read_flags(secret.data, flags, sizeof(flags));
    if (flags[0] == '\0') {
        kv_secret_free(&secret);
        cr_skip_test("this kernel shows no VmFlags");
    }
    cr_expect_not_null(strstr(flags, " dd"), "dump: %s", flags);
    cr_expect_not_null(strstr(flags, " wf"), "fork: %s", flags);
#ifndef KV_SANITIZED /* ASan answers mlock without locking */
    cr_expect_eq(strstr(flags, " lo") != NULL, secret.is_locked, "lock: %s", flags);
#endif
    kv_secret_free(&secret);
}

Test(secret, is_zero_in_a_child)
{
    struct kv_secret secret;
    cr_assert_eq(kv_secret_init_from(&secret, "key", 3), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        _exit(memcmp(secret.data, "\0\0\0", 3) == 0 ? 0 : 1);
    int status = -1;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0);
    cr_expect_arr_eq(secret.data, "key", 3, "the parent keeps it");
    kv_secret_free(&secret);
}

Test(secret, leaves_no_page_behind)
{
    struct kv_secret secret;
    cr_assert_eq(kv_secret_init_from(&secret, "key", 3), 0);
    void *page = secret.data;
    kv_secret_free(&secret);
    unsigned char resident;
    cr_expect_eq(mincore(page, 1, &resident), -1);
    cr_expect_eq(errno, ENOMEM, "not mapped any more");
}

Test(secret, wipes_and_compares)
{
    char a[8] = "abcdefg";
    char b[8] = "abcdefg";
    cr_expect(kv_equal_ct(a, b, 8));
    b[7] = 1;
    cr_expect(kv_equal_ct(a, b, 7));
    cr_expect_not(kv_equal_ct(a, b, 8));
    cr_expect(kv_equal_ct(NULL, NULL, 0));
    kv_wipe(a, 4);
    cr_expect_arr_eq(a, "\0\0\0\0efg", 8);
    kv_wipe(NULL, 0);
}

Test(secret, wiping_allocator_behaves_like_malloc)
{
    uint8_t *data = kv_wiping_calloc(10, 10);
    cr_assert_not_null(data);
    for (size_t i = 0; i < 100; i++)
        cr_assert_eq(data[i], 0);
    memset(data, 0x5A, 100);
    data = kv_wiping_realloc(data, 5000);
    cr_assert_not_null(data);
    for (size_t i = 0; i < 100; i++)
        cr_assert_eq(data[i], 0x5A);
    data = kv_wiping_realloc(data, 10);
    cr_assert_not_null(data);
    for (size_t i = 0; i < 10; i++)
        cr_assert_eq(data[i], 0x5A);
    cr_expect_null(kv_wiping_realloc(data, 0));
    void *fresh = kv_wiping_realloc(NULL, 10);
    cr_expect_not_null(fresh);
    kv_wiping_free(fresh);
    kv_wiping_free(NULL);
}

#ifndef KV_SANITIZED
/* ASan ends the process at such a request. */
Test(secret, wiping_allocator_refuses_what_wraps)
{
    volatile size_t half = SIZE_MAX / 2;
    size_t n_failures = kv_wiping_failures();
    cr_expect_null(kv_wiping_calloc(half, 3));
    cr_expect_eq(kv_wiping_failures(), n_failures + 1);
    uint8_t *data = kv_wiping_malloc(16);
    cr_assert_not_null(data);
    data[0] = 7;
    cr_expect_null(kv_wiping_realloc(data, half + 1));
    cr_expect_eq(data[0], 7, "a failed realloc keeps the block");
    kv_wiping_free(data);
}

static bool is_zero(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] != 0)
            return false;
    }
    return true;
}

/* Looks at freed memory on purpose. The allocator's bookkeeping overwrites the
 * first bytes of a free block, and its last ones when it joins a neighbour. */
Test(secret, wiping_allocator_leaves_nothing)
{
    mallopt(M_PERTURB, 0); /* or libc would do the wiping */
    void *volatile guard = NULL;
    uint8_t *data = kv_wiping_malloc(1000);
    cr_assert_not_null(data);
    memset(data, 0x5A, 1000);
    uintptr_t old = (uintptr_t)data;
    guard = malloc(32);
    data = kv_wiping_realloc(data, 4000);
    cr_expect(is_zero((const uint8_t *)old + 32, 960), "moved block");
    old = (uintptr_t)data;
    memset(data, 0x5A, 4000);
    void *volatile guard_2 = malloc(32);
    kv_wiping_free(data);
    cr_expect(is_zero((const uint8_t *)old + 32, 3960), "freed block");
    free(guard);
    free(guard_2);
}
#endif
