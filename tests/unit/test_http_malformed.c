/*
 * Fifteen malformed requests, each on a connection of its own, with a second request
 * smuggled behind it where there is room: answered 4xx or closed, never two replies,
 * never a request that reaches the handler, and the server serves on.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/support/http_fixture.h"

TestSuite(http_malformed, .timeout = 20);

#define HOST "Host: v.example\r\n"
#define NEXT "GET /hello HTTP/1.1\r\n" HOST "\r\n"
#define POST "POST /echo HTTP/1.1\r\n" HOST

static const struct {
    const char *why;
    const char *text; /* NULL: a header line of 64 KiB */
} ROWS[] = {
    {"length and coding: two parsers would see two requests",
     POST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" NEXT},
    {"two lengths", POST "Content-Length: 0\r\nContent-Length: 5\r\n\r\n" NEXT},
    {"negative length", POST "Content-Length: -1\r\n\r\n" NEXT},
    {"length of twenty digits",
     POST "Content-Length: 18446744073709551617\r\n\r\nx" NEXT},
    {"bare LF as line end", "GET /hello HTTP/1.1\nHost: v.example\n\n" NEXT},
    {"missing Host", "GET /hello HTTP/1.1\r\n\r\n" NEXT},
    {"two Hosts", "GET /hello HTTP/1.1\r\n" HOST "Host: other\r\n\r\n" NEXT},
    {"space before the colon of Host",
     "GET /hello HTTP/1.1\r\nHost : v.example\r\n\r\n" NEXT},
    {"folded header", "GET /hello HTTP/1.1\r\n" HOST "X-A: b\r\n c\r\n\r\n" NEXT},
    {"unknown coding", POST "Transfer-Encoding: xchunked\r\n\r\n" NEXT},
    {"bad chunk size",
     POST "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n" NEXT},
    {"header line of 64 KiB", NULL},
    {"control byte in the target", "GET /hel\x01lo HTTP/1.1\r\n" HOST "\r\n" NEXT},
    {"head that never ends", "GET /hello HTTP/1.1\r\n" HOST},
    {"body that never ends", POST "Content-Length: 100\r\n\r\nabc"},
};

static struct http_fixture fixture;
static struct http_client client;
static struct http_reply reply;

static void send_row(const char *text)
{
    static char long_line[65536];
    if (text != NULL) {
        cr_assert(http_client_send_str(&client, text));
        return;
    }
    memset(long_line, 'a', sizeof(long_line) - 1);
    cr_assert(http_client_send_str(&client, "GET /hello HTTP/1.1\r\n" HOST "X-A: "));
    (void)http_client_send_str(&client, long_line); /* refused in the middle of it */
    (void)http_client_send_str(&client, "\r\n\r\n" NEXT);
}

Test(http_malformed, each_is_refused_once_and_reaches_no_handler)
{
    const size_t n_rows = sizeof(ROWS) / sizeof(ROWS[0]);
    cr_assert_eq(n_rows, 15);
    http_fixture_init(&fixture);
    fixture.limits.head_timeout_ms = 300;
    fixture.limits.body_timeout_ms = 300;
    http_fixture_start(&fixture);
    for (size_t i = 0; i < n_rows; i++) {
        http_client_open(&client, &fixture);
        send_row(ROWS[i].text);
        reply.status = 400;
        int n = http_client_drain(&client, &reply);
        cr_expect(n == 0 || n == 1, "%s: %d replies", ROWS[i].why, n);
        cr_expect(reply.status >= 400 && reply.status < 500, "%s: %d", ROWS[i].why,
                  reply.status);
        http_client_close(&client);
        cr_expect_eq(fixture.n_requests, i, "%s: reached the handler", ROWS[i].why);
        http_client_open(&client, &fixture);
        cr_assert(http_client_send_str(&client, NEXT));
        cr_assert_eq(http_client_read(&client, &reply, false), 1, "%s", ROWS[i].why);
        cr_expect_eq(reply.status, 200);
        http_client_close(&client);
    }
    http_fixture_stop(&fixture);
}
