/*
 * The request parser as a function over bytes: what it accepts, what it refuses with
 * which status, and that neither depends on where the bytes are cut.
 */
#include "lifecycle/http/parse.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(http_parse, .timeout = 20);

#define HOST "Host: v.example\r\n"
#define GET "GET /keys/a?x=1 HTTP/1.1\r\n" HOST
#define POST "POST / HTTP/1.1\r\n" HOST

static const struct kv_http_parser_limits LIMITS = {
    .head_max_bytes = 1024, .headers_max = 8, .body_max_bytes = 64};

/* Feed `data` in pieces of at most `piece` bytes until the request is done or
 * refused. Each piece is a heap block of its exact size, for the sanitizers. */
static enum kv_http_step feed(struct kv_http_parser *parser, const char *data,
                              size_t len, size_t piece, size_t *consumed)
{
    enum kv_http_step step = KV_HTTP_MORE;
    size_t n_heads = 0;
    *consumed = 0;
    while (*consumed < len || step == KV_HTTP_HEAD) {
        size_t n = len - *consumed < piece ? len - *consumed : piece;
        char *copy = malloc(n == 0 ? 1 : n);
        cr_assert_not_null(copy);
        memcpy(copy, data + *consumed, n);
        size_t used = 0;
        step = kv_http_parser_feed(parser, copy, n, &used);
        free(copy);
        cr_assert_leq(used, n);
        *consumed += used;
        if (step == KV_HTTP_HEAD)
            cr_assert_eq(++n_heads, 1, "the head is complete once");
        if (step == KV_HTTP_MORE)
            cr_assert_eq(used, n, "all is used when more is needed");
        if (step == KV_HTTP_DONE)
            cr_assert_eq(n_heads, 1, "the head comes before the end");
        if (step == KV_HTTP_DONE || step == KV_HTTP_BAD)
            return step;
        if (n == 0 && step == KV_HTTP_MORE)
            return step;
    }
    return step;
}

struct row {
    const char *why;
    const char *text;
    size_t len; /* 0: strlen */
    int status; /* 0: accepted */
};
#define TEXT(literal) literal, sizeof(literal) - 1

static const struct row ROWS[] = {
    {"plain GET", TEXT(GET "\r\n"), 0},
    {"one empty line before the request line is ignored", TEXT("\r\n" GET "\r\n"), 0},
    {"HTTP/1.0 needs no Host", TEXT("GET / HTTP/1.0\r\n\r\n"), 0},
    {"list headers may come twice", TEXT(GET "Accept: a\r\nAccept: b\r\n\r\n"), 0},
    {"empty value", TEXT(GET "X-Empty:\r\n\r\n"), 0},
    {"value bytes above 0x7f are opaque", TEXT(GET "X-Name: \xc3\xa9\r\n\r\n"), 0},
    {"body of zero bytes", TEXT(POST "Content-Length: 0\r\n\r\n"), 0},
    {"body", TEXT(POST "Content-Length: 5\r\n\r\nhello"), 0},
    {"chunks",
     TEXT(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
     0},
    {"coding names have no case",
     TEXT(POST "transfer-encoding: Chunked\r\n\r\n0\r\n\r\n"), 0},
    {"expectation", TEXT(POST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx"), 0},
    {"known host forms", TEXT("GET / HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n\r\n"), 0},

    {"space before the colon of Host", TEXT("GET / HTTP/1.1\r\nHost : v\r\n\r\n"), 400},
    {"tab before the colon", TEXT(GET "X-A\t: v\r\n\r\n"), 400},
    {"folded line", TEXT(GET "X-A: b\r\n c\r\n\r\n"), 400},
    {"folded first header", TEXT("GET / HTTP/1.1\r\n Host: v\r\n\r\n"), 400},
    {"header without colon", TEXT(GET "nonsense\r\n\r\n"), 400},
    {"empty header name", TEXT(GET ": v\r\n\r\n"), 400},
    {"missing Host", TEXT("GET / HTTP/1.1\r\n\r\n"), 400},
    {"two Hosts", TEXT(GET HOST "\r\n"), 400},
    {"empty Host", TEXT("GET / HTTP/1.1\r\nHost:\r\n\r\n"), 400},
    {"Host with a path", TEXT("GET / HTTP/1.1\r\nHost: v/x\r\n\r\n"), 400},
    {"two Authorizations", TEXT(GET "Authorization: a\r\nAuthorization: b\r\n\r\n"),
     400},
    {"length and coding",
     TEXT(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
     400},
    {"coding and length",
     TEXT(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
     400},
    {"two equal lengths", TEXT(POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
     400},
    {"two different lengths",
     TEXT(POST "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy"), 400},
    {"list of lengths", TEXT(POST "Content-Length: 1, 1\r\n\r\nx"), 400},
    {"negative length", TEXT(POST "Content-Length: -1\r\n\r\n"), 400},
    {"signed length", TEXT(POST "Content-Length: +1\r\n\r\nx"), 400},
    {"hexadecimal length", TEXT(POST "Content-Length: 0x1\r\n\r\nx"), 400},
    {"empty length", TEXT(POST "Content-Length:\r\n\r\n"), 400},
    {"length of 20 digits", TEXT(POST "Content-Length: 99999999999999999999\r\n\r\n"),
     400},
    {"length over the ceiling", TEXT(POST "Content-Length: 65\r\n\r\n"), 413},
    {"chunks over the ceiling",
     TEXT(POST "Transfer-Encoding: chunked\r\n\r\n41\r\n"
               "0123456789012345678901234567890123456789012345678901234567890123456"),
     413},
    {"bare LF ends the request line", TEXT("GET / HTTP/1.1\nHost: v\r\n\r\n"), 400},
    {"bare LF ends a header", TEXT("GET / HTTP/1.1\r\nHost: v\n\r\n"), 400},
    {"bare LF ends the head", TEXT(GET "\n"), 400},
    {"bare CR in a value", TEXT(GET "X-A: a\rb\r\n\r\n"), 400},
    {"CR instead of CR LF", TEXT("GET / HTTP/1.1\rHost: v\r\r"), 400},
    {"two empty lines first", TEXT("\r\n\r\n" GET "\r\n"), 400},
    {"unknown coding", TEXT(POST "Transfer-Encoding: gzip\r\n\r\n"), 400},
    {"coding before chunked", TEXT(POST "Transfer-Encoding: gzip, chunked\r\n\r\n"),
     400},
    {"coding after chunked", TEXT(POST "Transfer-Encoding: chunked, gzip\r\n\r\n"),
     400},
    {"chunked twice", TEXT(POST "Transfer-Encoding: chunked, chunked\r\n\r\n"), 400},
    {"two coding headers",
     TEXT(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n"), 400},
    {"disguised coding", TEXT(POST "Transfer-Encoding: \"chunked\"\r\n\r\n"), 400},
    {"vertical tab in the coding", TEXT(POST "Transfer-Encoding: \vchunked\r\n\r\n"),
     400},
    {"coding in HTTP/1.0",
     TEXT("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400},
    {"chunk size is no number", TEXT(POST "Transfer-Encoding: chunked\r\n\r\nx\r\n"),
     400},
    {"negative chunk size", TEXT(POST "Transfer-Encoding: chunked\r\n\r\n-1\r\n"), 400},
    {"chunk size of 17 digits",
     TEXT(POST "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n"), 400},
    {"bare LF behind the chunk size",
     TEXT(POST "Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n"), 400},
    {"bare LF behind the chunk",
     TEXT(POST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\n0\r\n\r\n"), 400},
    {"chunk longer than its size",
     TEXT(POST "Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n"), 400},
    {"chunk extension",
     TEXT(POST "Transfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\n\r\n"), 400},
    {"trailer", TEXT(POST "Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\n\r\n"),
     400},
    {"absolute target", TEXT("GET http://v/ HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"asterisk target", TEXT("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"fragment in the target", TEXT("GET /#x HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"NUL in the target", TEXT("GET /\0x HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"tab in the target", TEXT("GET /\tx HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"space in the target", TEXT("GET /a b HTTP/1.1\r\n" HOST "\r\n"), 400},
    {"byte above 0x7f in the target", TEXT("GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n"),
     400},
    {"NUL in a header value", TEXT(GET "X-A: a\0b\r\n\r\n"), 400},
    {"DEL in a header value", TEXT(GET "X-A: a\x7f\r\n\r\n"), 400},
    {"NUL in a header name", TEXT(GET "X\0A: a\r\n\r\n"), 400},
    {"CONNECT", TEXT("CONNECT v:443 HTTP/1.1\r\n" HOST "\r\n"), 405},
    {"TRACE", TEXT("TRACE / HTTP/1.1\r\n" HOST "\r\n"), 405},
    {"method of a protocol we do not serve",
     TEXT("PROPFIND / HTTP/1.1\r\n" HOST "\r\n"), 405},
    {"unknown method", TEXT("BREW / HTTP/1.1\r\n" HOST "\r\n"), 501},
    {"lower case method", TEXT("get / HTTP/1.1\r\n" HOST "\r\n"), 501},
    {"upgrade", TEXT(GET "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"), 400},
    {"other expectation", TEXT(POST "Expect: tea\r\nContent-Length: 1\r\n\r\nx"), 417},
    {"HTTP/2 preface", TEXT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505},
    {"HTTP/1.2", TEXT("GET / HTTP/1.2\r\n" HOST "\r\n"), 505},
    {"HTTP/0.9", TEXT("GET /\r\n\r\n"), 505},
    {"no protocol name", TEXT("GET / FTP/1.1\r\n" HOST "\r\n"), 400},
    {"TLS hello on the plain socket", TEXT("\x16\x03\x01\x02\x00\x01"), 400},
    {"nine headers",
     TEXT(GET "A1: 1\r\nA2: 2\r\nA3: 3\r\nA4: 4\r\nA5: 5\r\nA6: 6\r\nA7: 7\r\nA8: 8\r\n"
              "\r\n"),
     431},
};

static void check_row(const struct row *row, size_t piece)
{
    struct kv_http_parser parser;
    size_t consumed = 0;
    kv_http_parser_init(&parser, &LIMITS);
    enum kv_http_step step = feed(&parser, row->text, row->len, piece, &consumed);
    if (row->status == 0) {
        cr_expect_eq(step, KV_HTTP_DONE, "%s, cut at %zu: step %d, %d %s", row->why,
                     piece, step, parser.bad_status, parser.bad_reason);
        cr_expect_eq(consumed, row->len, "%s: used to the end", row->why);
    } else {
        cr_expect_eq(step, KV_HTTP_BAD, "%s, cut at %zu: step %d", row->why, piece,
                     step);
        cr_expect_eq(parser.bad_status, row->status, "%s, cut at %zu: %d %s", row->why,
                     piece, parser.bad_status, parser.bad_reason);
        size_t used = 1;
        cr_expect_eq(kv_http_parser_feed(&parser, "x", 1, &used), KV_HTTP_BAD);
        cr_expect_eq(used, 0);
    }
    kv_http_parser_fini(&parser);
}

Test(http_parse, decides_alike_wherever_the_bytes_are_cut)
{
    static const size_t pieces[] = {1, 2, 3, 7, 1 << 20};
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++)
        for (size_t k = 0; k < sizeof(pieces) / sizeof(pieces[0]); k++)
            check_row(&ROWS[i], pieces[k]);
}

Test(http_parse, gives_method_path_query_headers_and_body)
{
    static const char text[] = "PUT /secrets/a%20b//?api%2Dversion=7&x HTTP/1.1\r\n"
                               "hOsT: V.example:8443\r\n"
                               "X-Spaces: \t a b \t\r\n"
                               "Accept: one\r\n"
                               "Accept: two\r\n"
                               "Content-Length: 5\r\n\r\nhello";
    struct kv_http_parser parser;
    size_t consumed = 0;
    kv_http_parser_init(&parser, &LIMITS);
    cr_assert_eq(feed(&parser, text, sizeof(text) - 1, 9, &consumed), KV_HTTP_DONE);
    cr_expect_str_eq(parser.method, "PUT");
    cr_expect_str_eq(parser.path, "/secrets/a%20b//");
    cr_expect_str_eq(parser.query, "api%2Dversion=7&x");
    cr_expect_eq(parser.n_fields, 5);
    cr_expect_str_eq(kv_http_parser_header(&parser, "host"), "V.example:8443");
    cr_expect_str_eq(kv_http_parser_header(&parser, "x-spaces"), "a b");
    cr_expect_str_eq(kv_http_parser_header(&parser, "accept"), "one");
    cr_expect_null(kv_http_parser_header(&parser, "authorization"));
    cr_expect_eq(parser.body.len, 5);
    cr_expect_arr_eq(parser.body.data, "hello", 5);
    cr_expect(parser.is_keep_alive);
    cr_expect_not(parser.is_chunked);
    kv_http_parser_fini(&parser);
}

Test(http_parse, joins_chunks_and_stops_behind_the_last)
{
    static const char text[] =
        POST "Transfer-Encoding: chunked\r\n\r\n"
             "3\r\nhel\r\n02\r\nlo\r\n0\r\n\r\nGET /next HTTP/1.1\r\n";
    size_t next = (size_t)(strstr(text, "GET /next") - text);
    for (size_t piece = 1; piece < sizeof(text); piece++) {
        struct kv_http_parser parser;
        size_t consumed = 0;
        kv_http_parser_init(&parser, &LIMITS);
        cr_assert_eq(feed(&parser, text, sizeof(text) - 1, piece, &consumed),
                     KV_HTTP_DONE);
        cr_expect_eq(consumed, next, "cut at %zu", piece);
        cr_expect_eq(parser.body.len, 5);
        cr_expect_arr_eq(parser.body.data, "hello", 5);
        kv_http_parser_fini(&parser);
    }
}

Test(http_parse, leaves_pipelined_bytes_alone)
{
    static const char *const texts[] = {
        GET "\r\n",
        POST "Content-Length: 5\r\n\r\nhello",
        GET "Connection: close\r\n\r\n",
    };
    for (size_t i = 0; i < 3; i++) {
        char both[512];
        int n = snprintf(both, sizeof(both), "%s%s", texts[i], GET "\r\n");
        for (size_t piece = 1; piece < (size_t)n; piece++) {
            struct kv_http_parser parser;
            size_t consumed = 0;
            kv_http_parser_init(&parser, &LIMITS);
            cr_assert_eq(feed(&parser, both, (size_t)n, piece, &consumed),
                         KV_HTTP_DONE);
            cr_expect_eq(consumed, strlen(texts[i]), "row %zu cut at %zu", i, piece);
            cr_expect_eq(parser.is_keep_alive, i != 2);
            kv_http_parser_fini(&parser);
        }
    }
}

Test(http_parse, refuses_a_head_one_byte_too_long)
{
    for (size_t extra = 0; extra < 2; extra++) {
        char text[2048];
        int n = snprintf(text, sizeof(text), GET "X-Long: ");
        size_t fill = LIMITS.head_max_bytes - (size_t)n - 4 + extra;
        memset(text + n, 'a', fill);
        memcpy(text + (size_t)n + fill, "\r\n\r\n", 4);
        size_t len = (size_t)n + fill + 4;
        for (size_t piece = 1; piece < 2000; piece += 333) {
            struct kv_http_parser parser;
            size_t consumed = 0;
            kv_http_parser_init(&parser, &LIMITS);
            enum kv_http_step step = feed(&parser, text, len, piece, &consumed);
            cr_expect_eq(step, extra == 0 ? KV_HTTP_DONE : KV_HTTP_BAD);
            cr_expect_eq(parser.bad_status, extra == 0 ? 0 : 431);
            kv_http_parser_fini(&parser);
        }
    }
}

Test(http_parse, bounds_the_framing_of_chunks)
{
    static const char head[] = POST "Transfer-Encoding: chunked\r\n\r\n";
    struct kv_http_parser parser;
    size_t consumed = 0;
    kv_http_parser_init(&parser, &LIMITS);
    cr_assert_eq(feed(&parser, head, sizeof(head) - 1, 4096, &consumed), KV_HTTP_MORE);
    char zeros[512];
    memset(zeros, '0', sizeof(zeros));
    enum kv_http_step step = KV_HTTP_MORE;
    size_t n = 0;
    while (step == KV_HTTP_MORE && n < 100) {
        size_t used = 0;
        step = kv_http_parser_feed(&parser, zeros, sizeof(zeros), &used);
        n++;
    }
    cr_expect_eq(step, KV_HTTP_BAD, "a chunk size of endless zeros ends");
    cr_expect_eq(parser.bad_status, 400);
    cr_expect_leq(n, 4);
    kv_http_parser_fini(&parser);
}

Test(http_parse, throws_a_body_away_on_request)
{
    static const char text[] = POST "Content-Length: 5\r\n\r\nhello";
    struct kv_http_parser parser;
    size_t head = sizeof(text) - 1 - 5;
    size_t used = 0;
    kv_http_parser_init(&parser, &LIMITS);
    cr_assert_eq(kv_http_parser_feed(&parser, text, head, &used), KV_HTTP_HEAD);
    cr_expect(parser.has_body);
    cr_expect_eq(parser.body_announced, 5);
    parser.is_discarding = true;
    cr_expect_eq(kv_http_parser_feed(&parser, text + head, 5, &used), KV_HTTP_DONE);
    cr_expect_eq(parser.body.len, 0);
    kv_http_parser_fini(&parser);
}
