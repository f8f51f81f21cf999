/*
 * Requests whose body may be longer than that of others: which, how long, and how many.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/support/http_fixture.h"

TestSuite(http_long, .timeout = 20);

#define HOST "Host: v.example\r\n"

static struct http_fixture fixture;
static struct http_client client;
static struct http_reply reply;

static void begin(void)
{
    http_fixture_start(&fixture);
    http_client_open(&client, &fixture);
}

static void end(void)
{
    http_client_close(&client);
    http_fixture_stop(&fixture);
}

static bool is_echo(const char *method, const char *path)
{
    return strcmp(method, "POST") == 0 && strcmp(path, "/echo") == 0;
}

static void long_bodies(void)
{
    http_fixture_init(&fixture);
    fixture.limits.body_max_bytes = 1000;
    fixture.limits.is_long = is_echo;
    fixture.limits.long_body_max_bytes = 300000;
    fixture.limits.long_bodies_max = 1;
}

#define LONG_ECHO "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 300000\r\n\r\n"

Test(http_long, lets_some_requests_have_a_long_body)
{
    static char block[300000];
    long_bodies();
    begin();
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (char)http_fixture_pattern(i);
    cr_assert(http_client_send_str(&client, LONG_ECHO));
    cr_assert(http_client_send(&client, block, sizeof(block)));
    cr_assert_eq(http_client_read(&client, &reply, false), 1);
    cr_expect_eq(reply.status, 200);
    cr_expect_eq(reply.body_len, sizeof(block));
    cr_expect(reply.is_pattern);
    http_client_expect(&client, &reply,
                       "POST /hello HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n",
                       413, "error 413");
    http_client_close(&client);
    http_client_open(&client, &fixture);
    http_client_expect(&client, &reply,
                       "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 300001\r\n\r\n",
                       413, "error 413");
    end();
}

Test(http_long, takes_few_long_bodies_at_a_time)
{
    static char block[300000];
    static struct http_client other;
    long_bodies();
    begin();
    http_client_open(&other, &fixture);
    cr_assert(http_client_send_str(&other, LONG_ECHO));
    http_fixture_wait_for(&fixture.n_heads, 1);
    http_client_expect(&client, &reply, LONG_ECHO, 503, "error 503");
    cr_assert(http_client_send(&other, block, sizeof(block)));
    cr_assert_eq(http_client_read(&other, &reply, false), 1);
    cr_expect_eq(reply.status, 200);

    cr_assert(http_client_send_str(&other, LONG_ECHO));
    http_fixture_wait_for(&fixture.n_heads, 3);
    http_client_close(&other); /* in the middle of it */
    unsigned status = 503;
    for (int i = 0; i < 100 && status == 503; i++) {
        http_client_close(&client);
        http_client_open(&client, &fixture);
        cr_assert(http_client_send_str(&client, LONG_ECHO));
        (void)http_client_send(&client, block, sizeof(block));
        cr_assert_eq(http_client_read(&client, &reply, false), 1);
        status = (unsigned)reply.status;
    }
    cr_expect_eq(status, 200, "a place is free again");
    end();
}
