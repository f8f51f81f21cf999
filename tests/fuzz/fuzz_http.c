/*
 * HTTP request parser: the first byte says how the rest is cut. However it is cut, the
 * same requests come out, or the same refusal; what is accepted keeps the promises of
 * the parser (a path, one host, a body of the announced length).
 */
#include "lifecycle/http/parse.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define REQUESTS_MAX 8

struct outcome {
    enum kv_http_step step;
    int status;
    size_t consumed;
    size_t body_len;
    size_t n_fields;
};

static const struct kv_http_parser_limits LIMITS = {
    .head_max_bytes = 512, .headers_max = 8, .body_max_bytes = 256};

static void check_accepted(const struct kv_http_parser *parser)
{
    static const char *const once[] = {"host", "content-length", "transfer-encoding",
                                       "authorization"};
    KV_ASSERT(parser->path[0] == '/');
    KV_ASSERT(strpbrk(parser->path, " \r\n\t?#") == NULL);
    KV_ASSERT(strlen(parser->path) + strlen(parser->query) < LIMITS.head_max_bytes);
    KV_ASSERT(parser->n_fields <= LIMITS.headers_max);
    KV_ASSERT(parser->body.len <= LIMITS.body_max_bytes);
    KV_ASSERT(parser->is_chunked || parser->body.len == parser->body_announced);
    for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++) {
        size_t n = 0;
        for (size_t k = 0; k < parser->n_fields; k++)
            n += strcmp(parser->fields[k].name, once[i]) == 0;
        KV_ASSERT(n <= 1);
    }
    for (size_t k = 0; k < parser->n_fields; k++)
        KV_ASSERT(strpbrk(parser->fields[k].value, "\r\n") == NULL);
}

/* One request from the front of `data`, in pieces that `cut` decides (0: whole). */
static struct outcome parse(const uint8_t *data, size_t len, uint32_t cut)
{
    struct kv_http_parser parser;
    struct outcome out = {.step = KV_HTTP_MORE};
    bool has_head = false;
    kv_http_parser_init(&parser, &LIMITS);
    while (out.step == KV_HTTP_HEAD ||
           (out.step == KV_HTTP_MORE && out.consumed < len)) {
        size_t n = len - out.consumed;
        if (cut != 0) {
            cut = cut * 1103515245U + 12345U;
            size_t piece = 1 + (cut >> 16) % 13;
            n = piece < n ? piece : n;
        }
        uint8_t *copy = malloc(n == 0 ? 1 : n); /* exact: reads behind it are seen */
        KV_ASSERT(copy != NULL);
        if (n > 0)
            memcpy(copy, data + out.consumed, n);
        size_t used = 0;
        out.step = kv_http_parser_feed(&parser, copy, n, &used);
        free(copy);
        KV_ASSERT(used <= n);
        KV_ASSERT(out.step != KV_HTTP_MORE || used == n);
        KV_ASSERT(out.step != KV_HTTP_HEAD || !has_head);
        has_head = has_head || out.step == KV_HTTP_HEAD;
        out.consumed += used;
        if (out.step == KV_HTTP_MORE && n == 0)
            break;
    }
    if (out.step == KV_HTTP_DONE)
        check_accepted(&parser);
    if (out.step == KV_HTTP_BAD) {
        KV_ASSERT(parser.bad_status >= 400 && parser.bad_status < 600);
        KV_ASSERT(parser.bad_reason != NULL);
        out.consumed = 0; /* the connection ends: how far it came does not matter */
    }
    out.status = parser.bad_status;
    out.body_len = parser.body.len;
    out.n_fields = out.step == KV_HTTP_DONE ? parser.n_fields : 0;
    kv_http_parser_fini(&parser);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2)
        return 0;
    uint32_t cut = 1U + data[0];
    data++;
    len--;
    for (size_t i = 0; i < REQUESTS_MAX && len > 0; i++) {
        struct outcome whole = parse(data, len, 0);
        struct outcome pieces = parse(data, len, cut);
        KV_ASSERT(whole.step == pieces.step);
        KV_ASSERT(whole.status == pieces.status);
        KV_ASSERT(whole.consumed == pieces.consumed);
        KV_ASSERT(whole.n_fields == pieces.n_fields);
        KV_ASSERT(whole.step != KV_HTTP_DONE || whole.body_len == pieces.body_len);
        if (whole.step != KV_HTTP_DONE)
            break;
        data += whole.consumed;
        len -= whole.consumed;
    }
    return 0;
}
