/*
 * Structured log: a stable event id plus typed fields, never prose at the call.
 *
 *   kv_log(log, KV_LOG_INFO, "cert.issued", KV_S("name", name), KV_I("days", 90));
 *
 * Sinks: text for a terminal, JSON lines, journald's native datagrams. The writer
 * escapes control bytes and caps each string at 256 bytes. Never pass keys,
 * tokens, passphrases, request bodies or whole URIs with a query. Thread-safe:
 * one record is one write(2) or one datagram. `log` may be NULL (silent). A process
 * that logs to a pipe ignores SIGPIPE.
 */
#ifndef KV_STORE_CORE_LOG_H
#define KV_STORE_CORE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "store/core/clock.h"
#include "store/core/err.h"

enum kv_log_level { KV_LOG_ERROR, KV_LOG_WARN, KV_LOG_INFO, KV_LOG_DEBUG };
enum kv_log_format { KV_LOG_TEXT, KV_LOG_JSON, KV_LOG_JOURNALD };

struct kv_log_field {
    const char *name; /* literal, [a-z0-9_]+ */
    const char *text; /* NULL: the number counts */
    int64_t number;
};

/* NULL is written as "". */
static inline const char *kv_log_text(const char *text)
{
    return text != NULL ? text : "";
}

#define KV_S(field_name, value)                                                        \
    ((struct kv_log_field){.name = (field_name), .text = kv_log_text(value)})
#define KV_I(field_name, value)                                                        \
    ((struct kv_log_field){.name = (field_name), .number = (int64_t)(value)})

/* Opaque sink and level; open once per process. */
struct kv_log;

/* Open a log. `program` names the role in each record; `fd` receives TEXT and JSON
 * (borrowed); for JOURNALD `fd` is ignored. Returns 0, KV_E_NOMEM or KV_E_IO. */
int kv_log_open(struct kv_log **out, enum kv_log_format format, enum kv_log_level level,
                int fd, const char *program,
                const struct kv_clock *clock) KV_MUST_CHECK;

/* What suits the process: journald when stderr is the journal ($JOURNAL_STREAM),
 * text on a terminal, JSON lines otherwise. */
enum kv_log_format kv_log_format_auto(int fd);

void kv_log_close(struct kv_log *log);

/* Write one record. */
#define kv_log(log, level, event, ...)                                                 \
    kv_log_write((log), (level), (event), (const struct kv_log_field[]){__VA_ARGS__},  \
                 sizeof((const struct kv_log_field[]){__VA_ARGS__}) /                  \
                     sizeof(struct kv_log_field))
void kv_log_write(struct kv_log *log, enum kv_log_level level, const char *event,
                  const struct kv_log_field *fields, size_t n_fields);

/* Write a failure: id, message, hint and causes become fields. */
void kv_log_err(struct kv_log *log, enum kv_log_level level, const char *event,
                const struct kv_err *err);

#endif
