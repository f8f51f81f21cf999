/*
 * Secret bytes: locked, kept out of core dumps and of children, wiped on free.
 *
 * A kv_secret owns whole pages of its own (mmap, mlock where the limit allows,
 * MADV_DONTDUMP, MADV_WIPEONFORK); use it for keys that live long. Short-lived
 * secret text travels in secret kv_bufs. Nothing here prints.
 */
#ifndef KV_STORE_CORE_SECRET_H
#define KV_STORE_CORE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/core/err.h"

struct kv_secret {
    uint8_t *data;
    size_t len;
    bool is_locked; /* mlock succeeded */
};

/* Allocate `len` zero bytes (1 to 1 MiB). Returns 0, KV_E_INVALID for none,
 * KV_E_TOO_BIG or KV_E_NOMEM. */
int kv_secret_init(struct kv_secret *secret, size_t len) KV_MUST_CHECK;

/* Allocate and copy. */
int kv_secret_init_from(struct kv_secret *secret, const void *data,
                        size_t len) KV_MUST_CHECK;

/* Wipe and unmap; accepts a zeroed struct and a second call. */
void kv_secret_free(struct kv_secret *secret);

/* Overwrite memory so that the compiler cannot drop it. */
void kv_wipe(void *data, size_t len);

/* Compare in time that depends on `len` only. */
bool kv_equal_ct(const void *a, const void *b, size_t len);

/* malloc family whose free wipes the whole block: handed to jansson, OpenSSL and
 * libuv in processes that see secrets in requests. */
void *kv_wiping_malloc(size_t size);
void *kv_wiping_calloc(size_t n, size_t size);
void *kv_wiping_realloc(void *ptr, size_t size);
void kv_wiping_free(void *ptr);

/* How many allocations of these functions have failed so far, in any thread. For
 * callers of libraries that lose bytes without a word (jansson cuts tokens) or blame
 * the input: compare before and after. */
size_t kv_wiping_failures(void);

/* Give libcrypto that allocator, and keep it from reading a configuration file: an
 * openssl.cnf that loads the vault's own module would make the process call itself.
 * The first statement of a main that sees keys or secrets. KV_E_INTERNAL when
 * libcrypto has allocated before. */
int kv_wiping_install(void) KV_MUST_CHECK;

#endif
