/*
 * From bytes to one request: our strict glue around llhttp.
 *
 * A parser holds one request at a time and does no I/O: feed it bytes cut anywhere,
 * it says how many it used and what to do next. Head and body live in secret buffers
 * that the parser owns; kv_http_parser_fini wipes them. Strings are NUL-terminated
 * inside the head buffer and live as long as it does.
 */
#ifndef KV_LIFECYCLE_HTTP_PARSE_H
#define KV_LIFECYCLE_HTTP_PARSE_H

#include <llhttp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/core/buf.h"

#define KV_HTTP_HEADERS_MAX 64

/* What llhttp and the checks behind it need of the limits. */
struct kv_http_parser_limits {
    size_t head_max_bytes;
    size_t headers_max; /* at most KV_HTTP_HEADERS_MAX counts */
    size_t body_max_bytes;
    bool (*is_long)(const char *method, const char *path); /* NULL: none */
    size_t long_body_max_bytes;
};

enum kv_http_step {
    KV_HTTP_MORE, /* all bytes used; more are needed */
    KV_HTTP_HEAD, /* the head is complete and checked; feed the rest for the body */
    KV_HTTP_DONE, /* the request is complete */
    KV_HTTP_BAD,  /* refused: see bad_status and bad_reason; feed no more */
};

/* Where the line scanner stands in the head. */
enum kv_http_scan {
    KV_HTTP_SCAN_START, /* before the first byte of the request line */
    KV_HTTP_SCAN_REQUEST,
    KV_HTTP_SCAN_LINE, /* at the first byte of a header line */
    KV_HTTP_SCAN_NAME,
    KV_HTTP_SCAN_VALUE,
    KV_HTTP_SCAN_END, /* the empty line has ended */
};

struct kv_http_field {
    const char *name; /* lower case */
    const char *value;
};

struct kv_http_parser {
    /* results, read-only for users */
    const char *method;
    const char *path;
    const char *query;
    struct kv_http_field fields[KV_HTTP_HEADERS_MAX];
    size_t n_fields;
    struct kv_buf body;
    bool is_head_done;
    bool is_done;
    bool has_body; /* a body was announced */
    bool is_long;  /* one that may be longer than others */
    bool is_chunked;
    uint64_t body_announced; /* Content-Length; 0 when chunked */
    bool wants_continue;     /* Expect: 100-continue */
    bool is_keep_alive;      /* what the client allows */
    bool is_discarding;      /* set by the user: drop the rest of the body */
    int bad_status;
    const char *bad_reason; /* static text for the log */
    /* private */
    llhttp_t llhttp;
    struct kv_http_parser_limits limits;
    struct kv_buf head;
    enum kv_http_scan scan;
    bool scan_cr;
    bool scan_skipped; /* the one empty line before a request line was seen */
    size_t scan_n_fields;
    size_t target_at;
    size_t target_len;
    size_t name_at[KV_HTTP_HEADERS_MAX];
    size_t name_len[KV_HTTP_HEADERS_MAX];
    size_t value_at[KV_HTTP_HEADERS_MAX];
    size_t value_len[KV_HTTP_HEADERS_MAX];
    const char *piece;   /* of the body, while llhttp works on it */
    uint64_t wire_bytes; /* of the body before that piece, framing included */
    uint64_t body_bytes; /* content among them and in the piece so far */
};

/* Make a parser ready for one request. Never moved in memory afterwards. */
void kv_http_parser_init(struct kv_http_parser *parser,
                         const struct kv_http_parser_limits *limits);

/* Wipe and release. */
void kv_http_parser_fini(struct kv_http_parser *parser);

/* Take bytes; `used` tells how many were consumed (all of them with MORE). After
 * HEAD or MORE call again with the rest; the bytes left after DONE belong to the next
 * request and its parser. HEAD comes exactly once before DONE, also for a request
 * without body. */
enum kv_http_step kv_http_parser_feed(struct kv_http_parser *parser, const void *data,
                                      size_t len, size_t *used) KV_MUST_CHECK;

/* Value of a header by lower-case name, NULL when absent. */
const char *kv_http_parser_header(const struct kv_http_parser *parser,
                                  const char *name);

/* Check a complete head that llhttp accepted: version, method, target, Host, lengths,
 * duplicates, Expect, Upgrade; fills the results. Returns 0 or the status to refuse
 * with, `bad_reason` set. Called by kv_http_parser_feed. */
int kv_http_parser_check_head(struct kv_http_parser *parser);

#endif
