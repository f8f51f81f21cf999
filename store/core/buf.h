/*
 * Growing byte buffers with a ceiling from birth.
 *
 * The owner calls kv_buf_init with the largest size the buffer may ever have and
 * kv_buf_free at the end. A failed append makes the buffer sticky-failed: later
 * appends do nothing, kv_buf_status tells. So a writer appends many fields and
 * checks once. A secret buffer wipes what it outgrows and what it frees.
 */
#ifndef KV_STORE_CORE_BUF_H
#define KV_STORE_CORE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/core/err.h"

struct kv_buf {
    uint8_t *data; /* read-only for users, `len` bytes; NULL while empty */
    size_t len;
    size_t cap;
    size_t max_len;
    int failed; /* 0, KV_E_TOO_BIG or KV_E_NOMEM */
    bool is_secret;
};

/* Make an empty buffer that never holds more than `max_len` bytes. */
void kv_buf_init(struct kv_buf *buf, size_t max_len);

/* The same, and every byte it gives up is wiped. */
void kv_buf_init_secret(struct kv_buf *buf, size_t max_len);

/* Release the memory (wiped if secret); the buffer may be used again. */
void kv_buf_free(struct kv_buf *buf);

/* Forget the content, keep the memory; clears the sticky failure. Wipes if secret. */
void kv_buf_reset(struct kv_buf *buf);

/* Append `len` bytes. Returns 0, KV_E_TOO_BIG or KV_E_NOMEM; on failure the
 * content is what it was. */
int kv_buf_append(struct kv_buf *buf, const void *data, size_t len);

/* Append a NUL-terminated string without its NUL. */
int kv_buf_append_str(struct kv_buf *buf, const char *text);

/* Append formatted text. Not for secrets: libc keeps copies. */
int kv_buf_appendf(struct kv_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Append `len` zero bytes and return where they start; NULL on failure. The
 * pointer is good until the next append. */
uint8_t *kv_buf_extend(struct kv_buf *buf, size_t len);

/* Drop `len` bytes from the front (`len` <= buf->len). */
void kv_buf_consume(struct kv_buf *buf, size_t len);

/* Cut the content to `len` bytes (`len` <= buf->len). */
void kv_buf_truncate(struct kv_buf *buf, size_t len);

/* 0, or why an append failed. */
int kv_buf_status(const struct kv_buf *buf);

/* The content with a NUL behind it (not counted in len); NULL on failure. */
const char *kv_buf_cstr(struct kv_buf *buf);

/* Give the content away (caller frees with free(), wipes if secret); the buffer
 * is empty afterwards. NULL when it is empty or an append has failed. */
uint8_t *kv_buf_take(struct kv_buf *buf, size_t *len);

#endif
