/*
 * One error object on the caller's stack, filled from the inside out.
 *
 * The function that knows the cause fills code, id and message; every outer layer
 * may only put words in front. Texts are cut at a UTF-8 boundary, never allocated,
 * so that an error can be reported when memory is what is missing. They quote input:
 * what is no UTF-8 or steers a terminal becomes '?', or no peer could read the text.
 */
#include "store/core/err.h"

#include "store/core/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct code_row {
    const char *name;
    const char *text;
};

/* Indexed by -code. */
static const struct code_row code_rows[] = {
    [-KV_OK] = {"ok", "success"},
    [-KV_E_NOMEM] = {"no-memory", "out of memory"},
    [-KV_E_INVALID] = {"invalid", "invalid input"},
    [-KV_E_TOO_BIG] = {"too-big", "input is too long"},
    [-KV_E_NOT_FOUND] = {"not-found", "not found"},
    [-KV_E_DENIED] = {"denied", "permission denied"},
    [-KV_E_CONFLICT] = {"conflict", "changed by somebody else meanwhile"},
    [-KV_E_EXISTS] = {"exists", "already exists"},
    [-KV_E_INTEGRITY] = {"integrity", "integrity check failed"},
    [-KV_E_SEALED] = {"sealed", "vault is sealed"},
    [-KV_E_UNAVAILABLE] = {"unavailable", "peer cannot be reached"},
    [-KV_E_TIMEOUT] = {"timeout", "timed out"},
    [-KV_E_IO] = {"io", "input or output failed"},
    [-KV_E_FULL] = {"full", "no space or quota left"},
    [-KV_E_UNSUPPORTED] = {"unsupported", "not supported here"},
    [-KV_E_CRYPTO] = {"crypto", "cryptographic operation failed"},
    [-KV_E_STATE] = {"state", "not allowed in the present state"},
    [-KV_E_UNKNOWN] = {"unknown", "outcome unknown"},
    [-KV_E_BUSY] = {"busy", "busy, try again"},
    [-KV_E_INTERNAL] = {"internal", "internal error"},
};

static const struct code_row other_code = {"other", "unlisted error"};

static const struct code_row *find_code(int code)
{
    int last = (int)(sizeof(code_rows) / sizeof(code_rows[0])) - 1;
    if (code > 0 || code < -last)
        return &other_code;
    return &code_rows[-code];
}

/* Format into a text of `KV_ERR_TEXT_MAX` bytes, cut between characters. */
static void set_text(char out[KV_ERR_TEXT_MAX], const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void set_text(char out[KV_ERR_TEXT_MAX], const char *format, va_list args)
{
    char whole[2 * KV_ERR_TEXT_MAX + 2];
    int n = vsnprintf(whole, sizeof(whole), format, args);
    if (n < 0)
        whole[0] = '\0';
    size_t len = strlen(whole);
    for (size_t at = 0, step = 0; at < len; at += step) {
        step = kv_utf8_char_len(whole + at, len - at);
        uint8_t c = (uint8_t)whole[at];
        if (step == 0 || c < 0x20 || c == 0x7f) {
            step = 1;
            whole[at] = '?';
        }
    }
    kv_str_cut(out, KV_ERR_TEXT_MAX, whole, len);
}

int kv_err_set(struct kv_err *err, int code, const char *id, const char *format, ...)
{
    if (err == NULL || err->code != 0)
        return code;
    err->code = code;
    kv_str_cut(err->id, sizeof(err->id), id, strlen(id));
    va_list args;
    va_start(args, format);
    set_text(err->message, format, args);
    va_end(args);
    return code;
}

void kv_err_hint(struct kv_err *err, const char *format, ...)
{
    if (err == NULL || err->code == 0 || err->hint[0] != '\0')
        return;
    va_list args;
    va_start(args, format);
    set_text(err->hint, format, args);
    va_end(args);
}

void kv_err_context(struct kv_err *err, const char *format, ...)
{
    if (err == NULL || err->code == 0)
        return;
    char prefix[KV_ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    set_text(prefix, format, args);
    va_end(args);

    char whole[2 * KV_ERR_TEXT_MAX + 2];
    (void)snprintf(whole, sizeof(whole), "%s: %s", prefix, err->message);
    kv_str_cut(err->message, sizeof(err->message), whole, strlen(whole));
}

void kv_err_cause_add(struct kv_err *err, const char *id, const char *format, ...)
{
    if (err == NULL || err->code == 0 || err->n_causes >= KV_ERR_MAX_CAUSES)
        return;
    struct kv_err_cause *cause = &err->causes[err->n_causes++];
    kv_str_cut(cause->id, sizeof(cause->id), id, strlen(id));
    va_list args;
    va_start(args, format);
    set_text(cause->message, format, args);
    va_end(args);
}

int kv_err_errno(struct kv_err *err, int errno_value, const char *id, const char *what)
{
    char buffer[128];
    const char *text = strerror_r(errno_value, buffer, sizeof(buffer));
    bool is_full = errno_value == ENOSPC || errno_value == EDQUOT;
    return kv_err_set(err, is_full ? KV_E_FULL : KV_E_IO, id, "%s: %s", what, text);
}

const char *kv_code_text(int code)
{
    return find_code(code)->text;
}

const char *kv_code_name(int code)
{
    return find_code(code)->name;
}

void kv_assert_failed(const char *expr, const char *file, int line)
{
    (void)fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expr);
    abort();
}
