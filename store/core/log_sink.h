/*
 * A log with every choice open, the journal's socket too. Private to store/core and
 * its tests; everybody else calls kv_log_open.
 */
#ifndef KV_STORE_CORE_LOG_SINK_H
#define KV_STORE_CORE_LOG_SINK_H

#include "store/core/log.h"

struct kv_log_sink {
    enum kv_log_format format;
    enum kv_log_level level;
    int fd;              /* TEXT and JSON; borrowed */
    const char *program; /* copied */
    const struct kv_clock *clock;
    const char *journal_path; /* JOURNALD: a datagram socket */
};

/* Open a log. Returns 0, KV_E_NOMEM or KV_E_IO. */
int kv_log_open_sink(struct kv_log **out, const struct kv_log_sink *sink) KV_MUST_CHECK;

#endif
