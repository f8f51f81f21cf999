/*
 * The server over a Unix socket with raw bytes: order, limits, deadlines, caps, gone
 * peers, the orderly end. Every test ends by checking that the loop closed clean.
 */
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/support/http_fixture.h"

TestSuite(http_server, .timeout = 20);

#define HOST "Host: v.example\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

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

/* The server closes without another reply. */
static void expect_closed(void)
{
    struct http_reply other;
    int n = http_client_drain(&client, &other);
    cr_expect_eq(n, 0, "%d replies more, the last %d", n, other.status);
}

Test(http_server, keeps_a_connection_alive)
{
    http_fixture_init(&fixture);
    begin();
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    cr_expect_not_null(strstr(reply.head, "\r\nConnection: keep-alive\r\n"));
    cr_expect_not_null(strstr(reply.head, "\r\nDate: "));
    cr_expect_not_null(strstr(reply.head, "\r\nStrict-Transport-Security: max-age="));
    cr_expect_not_null(strstr(reply.head, "\r\nX-Content-Type-Options: nosniff\r\n"));
    cr_expect_not_null(strstr(reply.head, "\r\nCache-Control: no-cache\r\n"));
    cr_expect_not_null(strstr(reply.head, "\r\nPragma: no-cache\r\n"));
    cr_expect_not_null(strstr(reply.head, "\r\nExpires: -1\r\n"));
    cr_expect_not_null(strstr(reply.head, "\r\nContent-Type: text/plain\r\n"));
    http_client_expect(&client, &reply,
                       "PUT /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc",
                       200, "abc");
    http_client_expect(&client, &reply,
                       "POST /echo HTTP/1.1\r\n" HOST
                       "Transfer-Encoding: chunked\r\n\r\n"
                       "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
                       200, "abc");
    http_client_expect(&client, &reply, GET("/nowhere"), 404, "no");
    cr_assert(http_client_send_str(&client, GET("/empty")));
    cr_assert_eq(http_client_read(&client, &reply, false), 1);
    cr_expect_eq(reply.status, 204);
    cr_expect_null(strstr(reply.head, "Content-Length"));
    cr_assert(http_client_send_str(&client, "HEAD /hello HTTP/1.1\r\n" HOST "\r\n"));
    cr_assert_eq(http_client_read(&client, &reply, true), 1);
    cr_expect_not_null(strstr(reply.head, "\r\nContent-Length: 5\r\n"));
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    end();
}

Test(http_server, tells_who_is_connected)
{
    char body[256];
    http_fixture_init(&fixture);
    begin();
    (void)snprintf(body, sizeof(body),
                   "GET /info a=%%20b uid=%d pid=%d body=0 address=unix cert=0",
                   (int)getuid(), (int)getpid());
    http_client_expect(&client, &reply, GET("/info?a=%20b"), 200, body);
    cr_expect_not_null(strstr(reply.head, "\r\nX-Extra: one\r\n"));
    cr_expect_null(strstr(reply.head, "X-Bad"),
                   "a header with a line break is refused");
    struct stat st;
    cr_assert_eq(stat(fixture.path, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
    end();
}

Test(http_server, answers_pipelined_requests_in_order)
{
    http_fixture_init(&fixture);
    begin();
    cr_assert(http_client_send_str(
        &client, GET("/later?60") "POST /echo HTTP/1.1\r\n" HOST
                                  "Content-Length: 3\r\n\r\nabc" GET("/hello")
                                      GET("/close") GET("/hello")));
    static const char *const bodies[] = {"later", "abc", "hello", "bye"};
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(http_client_read(&client, &reply, false), 1);
        cr_expect_str_eq(reply.body, bodies[i]);
    }
    cr_expect_not_null(strstr(reply.head, "\r\nConnection: close\r\n"));
    expect_closed();
    cr_expect_eq(fixture.n_requests, 4, "what follows a close is not run");
    end();
}

Test(http_server, answers_many_pipelined_requests_once_each)
{
    enum { N = 2000 };
    http_fixture_init(&fixture);
    begin();
    pid_t sender = fork();
    if (sender == 0) {
        for (int i = 0; i < N; i++)
            if (!http_client_send_str(&client, "POST /echo HTTP/1.1\r\n" HOST
                                               "Content-Length: 64\r\n\r\n"
                                               "0123456789abcdef0123456789abcdef"
                                               "0123456789abcdef0123456789abcdef"))
                _exit(1);
        _exit(shutdown(client.fd, SHUT_WR) == 0 ? 0 : 1);
    }
    cr_expect_eq(http_client_drain(&client, &reply), N);
    cr_expect_eq(fixture.n_requests, N);
    end();
}

Test(http_server, takes_a_request_byte_by_byte)
{
    static const char text[] =
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked"
        "\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    http_fixture_init(&fixture);
    begin();
    for (size_t i = 0; i < sizeof(text) - 1; i++)
        cr_assert(http_client_send(&client, text + i, 1));
    cr_assert_eq(http_client_read(&client, &reply, false), 1);
    cr_expect_str_eq(reply.body, "hello");
    end();
}

Test(http_server, serves_a_client_that_ends_its_side_first)
{
    http_fixture_init(&fixture);
    begin();
    cr_assert(http_client_send_str(&client, GET("/later?100") GET("/hello")));
    cr_assert_eq(shutdown(client.fd, SHUT_WR), 0);
    cr_expect_eq(http_client_drain(&client, &reply), 2);
    cr_expect_str_eq(reply.body, "hello");
    end();
}

Test(http_server, says_continue_when_asked)
{
    http_fixture_init(&fixture);
    begin();
    http_client_expect(&client, &reply,
                       "POST /echo HTTP/1.1\r\n" HOST
                       "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n",
                       100, "");
    http_client_expect(&client, &reply, "ok", 200, "ok");
    http_client_expect(&client, &reply,
                       "POST /deny HTTP/1.1\r\n" HOST
                       "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n",
                       401, "denied");
    expect_closed();
    end();
}

Test(http_server, skips_a_small_body_after_an_early_reply)
{
    http_fixture_init(&fixture);
    begin();
    http_client_expect(&client, &reply,
                       "POST /deny HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\n", 401,
                       "denied");
    cr_expect_not_null(strstr(reply.head, "\r\nConnection: keep-alive\r\n"));
    http_client_expect(&client, &reply, "GET " GET("/hello"), 200, "hello");
    http_client_expect(&client, &reply,
                       "POST /deny HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 401,
                       "denied");
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    http_client_expect(&client, &reply,
                       "POST /deny HTTP/1.1\r\n" HOST "Content-Length: 100000\r\n\r\n",
                       401, "denied");
    expect_closed();
    cr_expect_eq(fixture.n_requests, 2);
    end();
}

Test(http_server, delivers_a_refusal_to_a_client_that_is_still_sending)
{
    http_fixture_init(&fixture);
    begin();
    cr_assert(http_client_send_str(&client, "POST /echo HTTP/1.1\r\n" HOST
                                            "Content-Length: 300000\r\n\r\n"));
    static char block[200000];
    (void)http_client_send(&client, block, sizeof(block));
    cr_assert_eq(http_client_read(&client, &reply, false), 1);
    cr_expect_eq(reply.status, 413);
    cr_expect_str_eq(reply.body, "error 413");
    cr_assert_eq(shutdown(client.fd, SHUT_WR), 0);
    expect_closed();
    end();
}

Test(http_server, takes_the_largest_body_and_no_more)
{
    static char block[262145];
    char head[128];
    http_fixture_init(&fixture);
    begin();
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (char)http_fixture_pattern(i);
    (void)snprintf(head, sizeof(head),
                   "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 262144\r\n\r\n");
    cr_assert(http_client_send_str(&client, head));
    cr_assert(http_client_send(&client, block, 262144));
    cr_assert_eq(http_client_read(&client, &reply, false), 1);
    cr_expect_eq(reply.status, 200);
    cr_expect_eq(reply.body_len, 262144);
    cr_expect(reply.is_pattern);
    http_client_expect(&client, &reply,
                       "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 262145\r\n\r\n",
                       413, "error 413");
    end();
}

Test(http_server, sends_a_large_reply_to_a_slow_reader)
{
    http_fixture_init(&fixture);
    begin();
    cr_assert(http_client_send_str(&client, GET("/big?8000000")));
    poll(NULL, 0, 100);
    cr_assert_eq(http_client_read(&client, &reply, false), 1);
    cr_expect_eq(reply.body_len, 8000000);
    cr_expect(reply.is_pattern);
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    end();
}

Test(http_server, closes_rather_than_send_an_endless_reply)
{
    http_fixture_init(&fixture);
    begin();
    cr_assert(http_client_send_str(&client, GET("/big?25165824")));
    cr_assert_eq(http_client_read(&client, &reply, false), 1);
    cr_expect_eq(reply.body_len, 25165824);
    cr_assert(http_client_send_str(&client, GET("/big?25165825")));
    expect_closed();
    end();
}

/* ---- deadlines ---- */

static void short_deadlines(void)
{
    http_fixture_init(&fixture);
    fixture.limits.head_timeout_ms = 200;
    fixture.limits.body_timeout_ms = 200;
    fixture.limits.idle_timeout_ms = 200;
    fixture.limits.write_timeout_ms = 200;
}

/* Send one byte each 20 ms until the server answers; how long that took. */
static double drip(const char *byte)
{
    double start = http_fixture_now_s();
    struct pollfd pollfd = {.fd = client.fd, .events = POLLIN};
    while (poll(&pollfd, 1, 20) == 0 && http_fixture_now_s() - start < 5)
        (void)http_client_send_str(&client, byte);
    return http_fixture_now_s() - start;
}

Test(http_server, cuts_a_slow_head_off)
{
    short_deadlines();
    begin();
    cr_assert(http_client_send_str(&client, "GET / HTTP/1.1\r\nX-Slow: "));
    cr_expect_lt(drip("a"), 1.0);
    cr_assert_eq(http_client_read(&client, &reply, false), 1);
    cr_expect_eq(reply.status, 408);
    expect_closed();
    end();
}

Test(http_server, cuts_a_slow_body_off)
{
    short_deadlines();
    begin();
    cr_assert(http_client_send_str(&client, "POST /echo HTTP/1.1\r\n" HOST
                                            "Content-Length: 100000\r\n\r\n"));
    cr_expect_lt(drip("a"), 1.0);
    cr_assert_eq(http_client_read(&client, &reply, false), 1);
    cr_expect_eq(reply.status, 408);
    expect_closed();
    cr_expect_eq(fixture.n_requests, 0);
    end();
}

Test(http_server, closes_silent_connections)
{
    short_deadlines();
    begin();
    double start = http_fixture_now_s();
    expect_closed();
    cr_expect_lt(http_fixture_now_s() - start, 1.0, "never said a word");
    http_client_close(&client);
    http_client_open(&client, &fixture);
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    start = http_fixture_now_s();
    expect_closed();
    cr_expect_lt(http_fixture_now_s() - start, 1.0, "idle after a reply");
    end();
}

Test(http_server, gives_up_on_a_peer_that_does_not_read)
{
    short_deadlines();
    begin();
    cr_assert(http_client_send_str(&client, GET("/big?8000000")));
    poll(NULL, 0, 700);
    cr_expect_neq(http_client_read(&client, &reply, false), 1);
    end();
}

Test(http_server, lets_a_handler_take_longer_than_any_deadline)
{
    short_deadlines();
    begin();
    http_client_expect(&client, &reply, GET("/later?500"), 200, "later");
    end();
}

/* ---- caps ---- */

Test(http_server, closes_connections_over_the_cap_of_one_peer)
{
    struct http_client others[3];
    http_fixture_init(&fixture);
    fixture.limits.per_peer_max = 2;
    begin();
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    for (int i = 0; i < 3; i++)
        http_client_open(&others[i], &fixture);
    cr_assert(http_client_send_str(&others[0], GET("/hello")));
    cr_expect_eq(http_client_read(&others[0], &reply, false), 1);
    cr_expect_eq(http_client_read(&others[1], &reply, false), 0);
    cr_expect_eq(http_client_read(&others[2], &reply, false), 0);
    for (int i = 0; i < 3; i++)
        http_client_close(&others[i]);
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    end();
}

Test(http_server, makes_connections_over_the_total_wait)
{
    struct http_client other;
    http_fixture_init(&fixture);
    fixture.limits.connections_max = 1;
    begin();
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    http_client_open(&other, &fixture);
    cr_assert(http_client_send_str(&other, GET("/hello")));
    struct pollfd pollfd = {.fd = other.fd, .events = POLLIN};
    cr_expect_eq(poll(&pollfd, 1, 200), 0, "not served while the other is open");
    http_client_close(&client);
    cr_expect_eq(http_client_read(&other, &reply, false), 1, "served afterwards");
    cr_expect_str_eq(reply.body, "hello");
    http_client_close(&other);
    http_client_open(&client, &fixture);
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    end();
}

/* ---- hang-ups and the end ---- */

Test(http_server, tells_the_handler_that_the_peer_is_gone)
{
    http_fixture_init(&fixture);
    begin();
    cr_assert(http_client_send_str(&client, GET("/hang")));
    http_fixture_wait_for(&fixture.n_requests, 1);
    http_client_close(&client);
    http_fixture_wait_for(&fixture.n_gone, 1);
    end();
}

Test(http_server, drops_a_late_reply_to_a_gone_peer)
{
    http_fixture_init(&fixture);
    begin();
    cr_assert(http_client_send_str(&client, GET("/later?200")));
    http_fixture_wait_for(&fixture.n_requests, 1);
    http_client_close(&client);
    http_client_open(&client, &fixture);
    http_client_expect(&client, &reply, GET("/later?300"), 200, "later");
    end();
}

Test(http_server, survives_a_peer_that_leaves_during_a_reply)
{
    http_fixture_init(&fixture);
    begin();
    for (int i = 0; i < 20; i++) {
        cr_assert(http_client_send_str(&client, GET("/big?2000000")));
        cr_assert_gt(recv(client.fd, client.buf, 1000, 0), 0);
        http_client_close(&client);
        http_client_open(&client, &fixture);
    }
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    end();
}

Test(http_server, finishes_running_requests_when_stopped)
{
    struct http_client idle;
    http_fixture_init(&fixture);
    begin();
    http_client_open(&idle, &fixture);
    cr_assert(http_client_send_str(&client, GET("/later?200") GET("/hello")));
    http_fixture_wait_for(&fixture.n_requests, 1);
    http_fixture_begin_stop(&fixture);
    cr_expect_eq(http_client_drain(&idle, &reply), 0);
    cr_expect_eq(http_client_drain(&client, &reply), 1);
    cr_expect_str_eq(reply.body, "later");
    cr_expect_not_null(strstr(reply.head, "\r\nConnection: close\r\n"));
    http_client_close(&idle);
    end();
}

Test(http_server, stops_in_time_whatever_runs)
{
    struct http_client half;
    http_fixture_init(&fixture);
    fixture.drain_ms = 100;
    begin();
    http_client_open(&half, &fixture);
    cr_assert(http_client_send_str(&half, "GET / HT"));
    cr_assert(http_client_send_str(&client, GET("/hang")));
    http_fixture_wait_for(&fixture.n_requests, 1);
    double start = http_fixture_now_s();
    http_fixture_begin_stop(&fixture);
    cr_expect_eq(http_client_drain(&client, &reply), 0);
    cr_expect_eq(http_client_drain(&half, &reply), 0);
    http_fixture_wait_for(&fixture.n_stopped, 1);
    cr_expect_lt(http_fixture_now_s() - start, 1.0);
    cr_expect_eq(fixture.n_gone, 1);
    http_client_close(&half);
    end();
}

Test(http_server, may_be_stopped_while_a_reply_is_owed)
{
    http_fixture_init(&fixture);
    fixture.drain_ms = 50;
    begin();
    cr_assert(http_client_send_str(&client, GET("/later?400")));
    http_fixture_wait_for(&fixture.n_requests, 1);
    http_fixture_begin_stop(&fixture);
    http_fixture_wait_for(&fixture.n_stopped, 1);
    end();
}

/* ---- the socket file ---- */

static int listen_again(struct kv_err *err)
{
    uv_loop_t loop;
    struct kv_http_server *server = NULL;
    struct kv_http_handler handler = {.arg = NULL};
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(kv_http_server_new(&server, &loop, &handler, NULL, NULL), 0);
    *err = KV_ERR_INIT;
    int rc = kv_http_listen_unix(server, fixture.path, 0640, err);
    struct stat st;
    if (rc == 0) {
        cr_expect_eq(stat(fixture.path, &st), 0);
        cr_expect_eq(st.st_mode & 0777, 0640);
    }
    kv_http_server_stop(server, 0, NULL, NULL);
    cr_expect_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_expect_eq(uv_loop_close(&loop), 0);
    return rc;
}

Test(http_server, replaces_a_dead_socket_file_only)
{
    struct kv_err err;
    http_fixture_init(&fixture);
    begin();
    cr_expect_eq(listen_again(&err), KV_E_EXISTS, "a live server");
    cr_expect_str_eq(err.id, "http.socket-taken");
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");

    (void)snprintf(fixture.path, sizeof(fixture.path), "%s/dead", fixture.dir);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, fixture.path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    cr_expect_eq(listen_again(&err), 0, "%s", err.message);
    cr_expect_neq(access(fixture.path, F_OK), 0, "removed at the end");

    FILE *file = fopen(fixture.path, "w");
    cr_assert_not_null(file);
    fclose(file);
    cr_expect_eq(listen_again(&err), KV_E_EXISTS, "no socket at all");
    cr_expect_eq(access(fixture.path, F_OK), 0, "left alone");
    unlink(fixture.path);
    (void)snprintf(fixture.path, sizeof(fixture.path), "@abstract");
    cr_expect_eq(listen_again(&err), KV_E_INVALID);
    (void)snprintf(fixture.path, sizeof(fixture.path), "%s/none/s", fixture.dir);
    cr_expect_eq(listen_again(&err), KV_E_IO);
    (void)snprintf(fixture.path, sizeof(fixture.path), "%s/s", fixture.dir);
    end();
}
