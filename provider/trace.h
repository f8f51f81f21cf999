/*
 * The trace: one line for each request, for whoever looks into a program's use of keys.
 * Off unless KEYVAULT_TRACE or the setting `trace` names a file.
 *
 *   2026-11-24T08:00:00.123456Z 812 815 SIGN keyvault://default/keys/web/4a0c... 153 ok
 *   time (UTC)                  pid tid verb  URI                       microseconds id
 *
 * The last word is `ok` or the error's id. Neither data nor secrets, and it never makes
 * a request fail: what cannot be written is not. Any thread, and after fork() the child
 * goes on with the same file.
 */
#ifndef KV_PROVIDER_TRACE_H
#define KV_PROVIDER_TRACE_H

#include <stdint.h>

struct kv_trace;

/* Open `path` for appending, made with mode 0600 when it is not there; only a regular
 * file of our own user that is no symbolic link. NULL when `path` is, or when that
 * cannot be done: then nothing is traced. */
struct kv_trace *kv_trace_new(const char *path);
void kv_trace_free(struct kv_trace *trace);

/* Monotonic microseconds, the begin of a request. */
int64_t kv_trace_begin_us(void);

struct kv_trace_entry {
    const char *verb; /* "SIGN" */
    const char *uri;
    int64_t begin_us;
    const char *result; /* NULL: ok */
};

/* Write one line; leaves errno as it was. */
void kv_trace_write(struct kv_trace *trace, const struct kv_trace_entry *entry);

#endif
