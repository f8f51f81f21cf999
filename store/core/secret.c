/*
 * Secrets on pages of their own, and an allocator that wipes what it gives back.
 *
 * A private anonymous mapping per secret keeps malloc's free lists, core dumps and
 * forked children away from it. mlock may hit RLIMIT_MEMLOCK: the secret then works
 * unlocked and says so, the caller decides. The madvise calls cannot fail on a
 * kernel that this project supports; elsewhere (an emulated kernel) the secret is
 * still wiped on free.
 */
#include "store/core/secret.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SECRET_MAX ((size_t)1024 * 1024)

static size_t mapped_len(size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (len + page - 1) / page * page;
}

int kv_secret_init(struct kv_secret *secret, size_t len)
{
    *secret = (struct kv_secret){0};
    if (len == 0)
        return KV_E_INVALID;
    if (len > SECRET_MAX)
        return KV_E_TOO_BIG;
    size_t size = mapped_len(len);
    void *data =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return KV_E_NOMEM;
    (void)madvise(data, size, MADV_DONTDUMP);   /* see the head comment */
    (void)madvise(data, size, MADV_WIPEONFORK); /* see the head comment */
    secret->is_locked = mlock(data, size) == 0;
    secret->data = data;
    secret->len = len;
    return 0;
}

int kv_secret_init_from(struct kv_secret *secret, const void *data, size_t len)
{
    int rc = kv_secret_init(secret, len);
    if (rc == 0)
        memcpy(secret->data, data, len);
    return rc;
}

void kv_secret_free(struct kv_secret *secret)
{
    if (secret == NULL || secret->data == NULL)
        return;
    size_t size = mapped_len(secret->len);
    kv_wipe(secret->data, size);
    int rc = munmap(secret->data, size);
    KV_ASSERT(rc == 0);
    *secret = (struct kv_secret){0};
}

void kv_wipe(void *data, size_t len)
{
    if (len > 0)
        explicit_bzero(data, len);
}

bool kv_equal_ct(const void *a, const void *b, size_t len)
{
    return len == 0 || CRYPTO_memcmp(a, b, len) == 0;
}

static atomic_size_t n_failures;

static void *counted(void *block)
{
    if (block == NULL)
        (void)atomic_fetch_add(&n_failures, 1);
    return block;
}

size_t kv_wiping_failures(void)
{
    return atomic_load(&n_failures);
}

void *kv_wiping_malloc(size_t size)
{
    return counted(malloc(size));
}

void *kv_wiping_calloc(size_t n, size_t size)
{
    return counted(calloc(n, size));
}

/* Never realloc(3): it may move the block and leave a copy behind. */
void *kv_wiping_realloc(void *ptr, size_t size)
{
    if (ptr == NULL)
        return kv_wiping_malloc(size);
    if (size == 0) {
        kv_wiping_free(ptr);
        return NULL;
    }
    void *moved = kv_wiping_malloc(size);
    if (moved == NULL)
        return NULL;
    size_t old_size = malloc_usable_size(ptr);
    memcpy(moved, ptr, old_size < size ? old_size : size);
    kv_wiping_free(ptr);
    return moved;
}

void kv_wiping_free(void *ptr)
{
    if (ptr == NULL)
        return;
    explicit_bzero(ptr, malloc_usable_size(ptr));
    free(ptr);
}

static void *crypto_malloc(size_t size, const char *file, int line)
{
    (void)file; /* of the caller, for debugging */
    (void)line;
    return kv_wiping_malloc(size);
}

static void *crypto_realloc(void *ptr, size_t size, const char *file, int line)
{
    (void)file; /* as above */
    (void)line;
    return kv_wiping_realloc(ptr, size);
}

static void crypto_free(void *ptr, const char *file, int line)
{
    (void)file; /* as above */
    (void)line;
    kv_wiping_free(ptr);
}

int kv_wiping_install(void)
{
    const bool is_done =
        CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free) == 1 &&
        OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) == 1;
    return is_done ? 0 : KV_E_INTERNAL;
}
