/*
 * The parser: a line scanner of our own in front, llhttp behind it.
 *
 *   bytes -> scanner (head only) -> whole head -> llhttp -> kv_http_parser_check_head
 *         -> llhttp (body)       -> body buffer
 *
 * The scanner refuses what llhttp lets pass (space before the colon, folded lines,
 * bare CR or LF, control bytes) and finds the end of the head, so that llhttp sees a
 * head in one piece and every field is one span of the head buffer. Trailers and chunk
 * extensions are refused: no client of the vault sends them and they only help an
 * attacker to make two parsers disagree.
 */
#include "lifecycle/http/parse.h"

#include <string.h>

/* Framing that a chunked body may cost beyond its bytes: head_max_bytes plus this
 * many bytes for each byte of content. */
#define CHUNK_COST 8

static struct kv_http_parser *parser_of(const llhttp_t *llhttp)
{
    return llhttp->data;
}

static int bad(struct kv_http_parser *parser, int status, const char *reason)
{
    if (parser->bad_status == 0) {
        parser->bad_status = status;
        parser->bad_reason = reason;
    }
    return -1;
}

/* ---- llhttp callbacks; spans may come in pieces, all inside the head buffer ---- */

static void span_add(const struct kv_http_parser *parser, size_t *at, size_t *len,
                     const char *data, size_t n)
{
    size_t begin = (size_t)(data - (const char *)parser->head.data);
    if (*len == 0)
        *at = begin;
    *len = begin + n - *at;
}

static int on_url(llhttp_t *llhttp, const char *data, size_t n)
{
    struct kv_http_parser *parser = parser_of(llhttp);
    span_add(parser, &parser->target_at, &parser->target_len, data, n);
    return 0;
}

static int on_field(llhttp_t *llhttp, const char *data, size_t n)
{
    struct kv_http_parser *parser = parser_of(llhttp);
    if (parser->is_head_done)
        return bad(parser, 400, "trailer");
    size_t i = parser->n_fields;
    if (i >= parser->limits.headers_max)
        return bad(parser, 431, "too many headers");
    span_add(parser, &parser->name_at[i], &parser->name_len[i], data, n);
    return 0;
}

static int on_value(llhttp_t *llhttp, const char *data, size_t n)
{
    struct kv_http_parser *parser = parser_of(llhttp);
    size_t i = parser->n_fields;
    if (parser->is_head_done || i >= parser->limits.headers_max)
        return bad(parser, 400, "trailer");
    if (n > 0)
        span_add(parser, &parser->value_at[i], &parser->value_len[i], data, n);
    return 0;
}

static int on_value_complete(llhttp_t *llhttp)
{
    parser_of(llhttp)->n_fields++;
    return 0;
}

static int on_headers_complete(llhttp_t *llhttp)
{
    struct kv_http_parser *parser = parser_of(llhttp);
    parser->is_head_done = true;
    parser->is_keep_alive = llhttp_should_keep_alive(llhttp) == 1;
    return 0;
}

/* Is the framing in front of `at`, a place in the piece at hand, within bounds? It is
 * asked where framing ends, so that the answer does not depend on how bytes are cut. */
static int check_framing(struct kv_http_parser *parser, const char *at)
{
    uint64_t framing =
        parser->wire_bytes + (uint64_t)(at - parser->piece) - parser->body_bytes;
    uint64_t ceiling = parser->limits.head_max_bytes + parser->body_bytes * CHUNK_COST;
    return framing <= ceiling ? 0 : bad(parser, 400, "chunk framing too long");
}

static int on_body(llhttp_t *llhttp, const char *data, size_t n)
{
    struct kv_http_parser *parser = parser_of(llhttp);
    if (check_framing(parser, data) != 0)
        return -1;
    parser->body_bytes += n;
    if (parser->is_discarding)
        return 0;
    int rc = kv_buf_append(&parser->body, data, n);
    if (rc == KV_E_TOO_BIG)
        return bad(parser, 413, "body too long");
    return rc == 0 ? 0 : bad(parser, 503, "out of memory");
}

static int on_extension(llhttp_t *llhttp, const char *data, size_t n)
{
    (void)data;
    (void)n;
    return bad(parser_of(llhttp), 400, "chunk extension");
}

static int on_message_complete(llhttp_t *llhttp)
{
    parser_of(llhttp)->is_done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t SETTINGS = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_chunk_extension_name = on_extension,
    .on_chunk_extension_value = on_extension,
    .on_message_complete = on_message_complete,
};

/* ---- life ---- */

void kv_http_parser_init(struct kv_http_parser *parser,
                         const struct kv_http_parser_limits *limits)
{
    memset(parser, 0, sizeof(*parser));
    parser->limits = *limits;
    if (parser->limits.headers_max > KV_HTTP_HEADERS_MAX)
        parser->limits.headers_max = KV_HTTP_HEADERS_MAX;
    llhttp_init(&parser->llhttp, HTTP_REQUEST, &SETTINGS);
    parser->llhttp.data = parser;
    kv_buf_init_secret(&parser->head, limits->head_max_bytes);
    kv_buf_init_secret(&parser->body, limits->body_max_bytes);
}

void kv_http_parser_fini(struct kv_http_parser *parser)
{
    kv_buf_free(&parser->head);
    kv_buf_free(&parser->body);
    memset(parser, 0, sizeof(*parser));
}

/* ---- the line scanner ---- */

static bool is_token_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* A line has ended with CR LF. */
static int scan_line_end(struct kv_http_parser *parser)
{
    switch (parser->scan) {
    case KV_HTTP_SCAN_START:
        /* RFC 9112 §2.2: an empty line before the request line is ignored, once. */
        if (parser->scan_skipped)
            return bad(parser, 400, "empty lines before the request");
        parser->scan_skipped = true;
        return 0;
    case KV_HTTP_SCAN_LINE:
        parser->scan = KV_HTTP_SCAN_END;
        return 0;
    case KV_HTTP_SCAN_NAME:
        return bad(parser, 400, "header without colon");
    case KV_HTTP_SCAN_REQUEST:
    case KV_HTTP_SCAN_VALUE:
        parser->scan = KV_HTTP_SCAN_LINE;
        return 0;
    case KV_HTTP_SCAN_END:
        break;
    }
    return bad(parser, 400, "bytes behind the head");
}

static int scan_name_byte(struct kv_http_parser *parser, uint8_t c)
{
    if (c == ':' && parser->scan == KV_HTTP_SCAN_NAME) {
        parser->scan = KV_HTTP_SCAN_VALUE;
        return 0;
    }
    if (c == ' ' || c == '\t')
        return bad(parser, 400,
                   parser->scan == KV_HTTP_SCAN_LINE ? "folded header line"
                                                     : "space before the colon");
    if (!is_token_byte(c))
        return bad(parser, 400, "bad byte in a header name");
    if (parser->scan == KV_HTTP_SCAN_LINE) {
        if (++parser->scan_n_fields > parser->limits.headers_max)
            return bad(parser, 431, "too many headers");
        parser->scan = KV_HTTP_SCAN_NAME;
    }
    return 0;
}

static int scan_byte(struct kv_http_parser *parser, uint8_t c)
{
    if (parser->scan_cr) {
        parser->scan_cr = false;
        return c == '\n' ? scan_line_end(parser) : bad(parser, 400, "bare CR");
    }
    if (c == '\r') {
        parser->scan_cr = true;
        return 0;
    }
    if (c == '\n')
        return bad(parser, 400, "bare LF");
    switch (parser->scan) {
    case KV_HTTP_SCAN_START:
        if (!is_token_byte(c))
            return bad(parser, 400, "bad method");
        parser->scan = KV_HTTP_SCAN_REQUEST;
        return 0;
    case KV_HTTP_SCAN_REQUEST:
        return c >= ' ' && c < 0x7f ? 0 : bad(parser, 400, "bad byte in the target");
    case KV_HTTP_SCAN_LINE:
    case KV_HTTP_SCAN_NAME:
        return scan_name_byte(parser, c);
    case KV_HTTP_SCAN_VALUE:
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return bad(parser, 400, "control byte in a header");
        return 0;
    case KV_HTTP_SCAN_END:
        break;
    }
    return bad(parser, 400, "bytes behind the head");
}

/* ---- feeding ---- */

/* Tell an unknown method and an unknown version from plain nonsense. */
static int head_error(struct kv_http_parser *parser, llhttp_errno_t error)
{
    if (error == HPE_INVALID_METHOD) {
        const char *space = memchr(parser->head.data, ' ', parser->head.len);
        if (space != NULL && space[1] == '/')
            return bad(parser, 501, "unknown method");
    }
    /* llhttp waits for more of the HTTP/2 preface, which looks like a head. */
    if (error == HPE_INVALID_VERSION || llhttp_get_method(&parser->llhttp) == HTTP_PRI)
        return bad(parser, 505, "HTTP version");
    return bad(parser, 400, "malformed head");
}

/* The head is complete: one piece for llhttp, then the checks behind it. */
static int finish_head(struct kv_http_parser *parser)
{
    const char *data = (const char *)parser->head.data;
    llhttp_errno_t error = llhttp_execute(&parser->llhttp, data, parser->head.len);
    if (!parser->is_head_done)
        return head_error(parser, error);
    int status = kv_http_parser_check_head(parser);
    if (status != 0)
        return bad(parser, status, parser->bad_reason);
    if (error == HPE_PAUSED)
        return parser->is_done ? 0 : bad(parser, 400, "malformed head");
    return error == HPE_OK ? 0 : head_error(parser, error);
}

static enum kv_http_step feed_head(struct kv_http_parser *parser, const uint8_t *data,
                                   size_t len, size_t *used)
{
    size_t n = 0;
    size_t room = parser->limits.head_max_bytes - parser->head.len;
    size_t kept_from = 0;
    while (n < len && parser->scan != KV_HTTP_SCAN_END) {
        if (n - kept_from >= room) {
            (void)bad(parser, 431, "head too long");
            return KV_HTTP_BAD;
        }
        if (scan_byte(parser, data[n]) != 0)
            return KV_HTTP_BAD;
        n++;
        if (parser->scan == KV_HTTP_SCAN_START)
            kept_from = n; /* the ignored empty line is not kept */
    }
    *used = n;
    if (kv_buf_append(&parser->head, data + kept_from, n - kept_from) != 0) {
        (void)bad(parser, 503, "out of memory");
        return KV_HTTP_BAD;
    }
    if (parser->scan != KV_HTTP_SCAN_END)
        return KV_HTTP_MORE;
    return finish_head(parser) == 0 ? KV_HTTP_HEAD : KV_HTTP_BAD;
}

static enum kv_http_step feed_body(struct kv_http_parser *parser, const char *data,
                                   size_t len, size_t *used)
{
    parser->piece = data;
    llhttp_errno_t error = llhttp_execute(&parser->llhttp, data, len);
    bool is_end = parser->bad_status == 0 && parser->is_done && error == HPE_PAUSED;
    if (!is_end && error != HPE_OK) {
        (void)bad(parser, 400, "malformed body");
        return KV_HTTP_BAD;
    }
    const char *end = is_end ? llhttp_get_error_pos(&parser->llhttp) : data + len;
    if (check_framing(parser, end) != 0)
        return KV_HTTP_BAD;
    *used = (size_t)(end - data);
    parser->wire_bytes += *used;
    return is_end ? KV_HTTP_DONE : KV_HTTP_MORE;
}

enum kv_http_step kv_http_parser_feed(struct kv_http_parser *parser, const void *data,
                                      size_t len, size_t *used)
{
    *used = 0;
    if (parser->bad_status != 0)
        return KV_HTTP_BAD;
    if (parser->is_done)
        return KV_HTTP_DONE;
    if (len == 0)
        return KV_HTTP_MORE;
    return parser->is_head_done ? feed_body(parser, data, len, used)
                                : feed_head(parser, data, len, used);
}
