/*
 * The three spellings of a log record. Private to store/core and its tests: log.c
 * writes what this makes. Pure, any thread.
 */
#ifndef KV_STORE_CORE_LOG_FORMAT_H
#define KV_STORE_CORE_LOG_FORMAT_H

#include "store/core/buf.h"
#include "store/core/log.h"

#define KV_LOG_TEXT_MAX 256 /* bytes of one string field */

struct kv_log_record {
    enum kv_log_level level;
    const char *program;
    const char *event;
    int64_t time_s; /* Unix seconds */
    const struct kv_log_field *fields;
    size_t n_fields;
    size_t text_max; /* longer strings are cut */
};

/* Append the record with its end of line (TEXT, JSON) or as one datagram of the
 * journal's native protocol. Returns 0 or the buffer's failure. */
int kv_log_format(enum kv_log_format format, const struct kv_log_record *record,
                  struct kv_buf *out) KV_MUST_CHECK;

#endif
