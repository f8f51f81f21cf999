/*
 * Small questions about text: lengths, case, numbers, hexadecimal.
 * ASCII only where it says so; locale never matters. No allocation.
 */
#ifndef KV_STORE_CORE_STR_H
#define KV_STORE_CORE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/core/err.h"

/* Copy `text` with its NUL into `out`; KV_E_TOO_BIG (out = "") if it does not fit. */
int kv_str_copy(char *out, size_t out_size, const char *text) KV_MUST_CHECK;

/* Copy at most out_size - 1 bytes, always terminated, never half a UTF-8 character;
 * for messages only. */
void kv_str_cut(char *out, size_t out_size, const char *text, size_t len);

/* Lower-case ASCII letters in place. */
void kv_str_fold(char *text);

/* ASCII case-insensitive equality. */
bool kv_str_equal_nocase(const char *a, const char *b);

bool kv_str_has_prefix(const char *text, const char *prefix);

/* Parse a whole decimal number within [min, max]; no sign unless min < 0, no
 * space, no leading zeros other than "0". KV_E_INVALID otherwise. */
int kv_str_to_i64(const char *text, int64_t min, int64_t max,
                  int64_t *out) KV_MUST_CHECK;

/* Write 2 * len lower-case hexadecimal digits and a NUL. */
void kv_hex_encode(char *out, const void *data, size_t len);

/* Read 2 * len lower-case digits (what follows them is not looked at);
 * KV_E_INVALID at anything else, a NUL included. */
int kv_hex_decode(uint8_t *out, size_t len, const char *text) KV_MUST_CHECK;

/* Bytes of the well-formed UTF-8 character at the front; 0 when there is none or it
 * is a NUL. */
size_t kv_utf8_char_len(const char *text, size_t len);

/* Whether the bytes are well-formed UTF-8 (RFC 3629) without NUL. */
bool kv_utf8_is_valid(const char *text, size_t len);

#endif
