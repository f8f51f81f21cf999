/*
 * What a request leaves in the memory of the process: nothing of its headers or body,
 * as soon as its reply is taken, while the connection stays open. The client is a
 * child, so that every copy found is the server's; a planted copy must be found.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/core/secret.h"
#include "tests/support/http_fixture.h"

TestSuite(http_residue, .timeout = 20);

enum { MARK = 40, CHUNK = 65536 };

/* The marks are never whole in this process: each byte is made when it is needed. */
static char mark_byte(int which, size_t i)
{
    return (char)('A' + (i * 7 + i / 3 + (size_t)which * 11) % 26);
}

static size_t count_in(const char *data, size_t len, int which)
{
    size_t n_found = 0;
    for (size_t at = 0; at + MARK <= len; at++) {
        size_t i = 0;
        while (i < MARK && data[at + i] == mark_byte(which, i))
            i++;
        n_found += i == MARK;
    }
    return n_found;
}

static size_t scan_range(int mem, unsigned long from, unsigned long to, int which)
{
    static char chunk[CHUNK + MARK];
    size_t n_found = 0;
    for (unsigned long at = from; at < to; at += CHUNK) {
        size_t want = to - at < sizeof(chunk) ? to - at : sizeof(chunk);
        ssize_t n = pread(mem, chunk, want, (off_t)at);
        if (n > 0)
            n_found += count_in(chunk, (size_t)n, which);
        kv_wipe(chunk, sizeof(chunk)); /* or it would be found itself */
    }
    return n_found;
}

/* Copies of a mark in all writable memory of this process. */
static size_t scan(int which)
{
    char line[512];
    size_t n_found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    cr_assert(maps != NULL && mem >= 0);
    while (fgets(line, sizeof(line), maps) != NULL) {
        unsigned long from = 0;
        unsigned long to = 0;
        char access[8] = "";
        if (sscanf(line, "%lx-%lx %7s", &from, &to, access) == 3 && access[0] == 'r' &&
            access[1] == 'w' && to - from < (256UL << 20))
            n_found += scan_range(mem, from, to, which);
    }
    close(mem);
    fclose(maps);
    return n_found;
}

/* The same after the server had a moment to see its last write done. */
static size_t scan_settled(int which)
{
    size_t n_found = scan(which);
    for (int i = 0; i < 50 && n_found > 0; i++) {
        poll(NULL, 0, 10);
        n_found = scan(which);
    }
    return n_found;
}

/* In the child: send the marks, take the reply, tell, wait for leave to end. */
static void be_client(int from_parent, int to_parent, bool use_tls)
{
    static struct http_fixture server;
    static struct http_client client;
    static struct http_reply reply;
    static char text[512];
    char marks[2][MARK + 1] = {{0}, {0}};
    char byte = 'x';
    if (read(from_parent, &server, sizeof(server)) != (ssize_t)sizeof(server))
        _exit(1);
    for (int which = 0; which < 2; which++)
        for (size_t i = 0; i < MARK; i++)
            marks[which][i] = mark_byte(which, i);
    if (use_tls) {
        http_client_open_tcp(&client, &server);
        SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
        client.ssl = SSL_new(ctx);
        if (SSL_set_fd(client.ssl, client.fd) != 1 || SSL_connect(client.ssl) != 1)
            _exit(2);
    } else {
        http_client_open(&client, &server);
    }
    (void)snprintf(
        text, sizeof(text),
        "POST /echo HTTP/1.1\r\nHost: v.example\r\nAuthorization: Bearer %s\r\n"
        "Content-Length: %d\r\n\r\n%s",
        marks[0], MARK, marks[1]);
    if (!http_client_send_str(&client, text) ||
        http_client_read(&client, &reply, false) != 1 ||
        strcmp(reply.body, marks[1]) != 0)
        _exit(3);
    if (write(to_parent, &byte, 1) != 1 || read(from_parent, &byte, 1) != 1)
        _exit(4);
    _exit(0);
}

static void exchange_and_scan(bool use_tls)
{
    static struct http_fixture fixture;
    int down[2];
    int up[2];
    char byte = 0;
    int status = 0;
    cr_assert(pipe(down) == 0 && pipe(up) == 0);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0)
        be_client(down[0], up[1], use_tls);
    http_fixture_init(&fixture);
    fixture.has_tls = use_tls;
    http_fixture_start(&fixture);
    cr_assert_eq(write(down[1], &fixture, sizeof(fixture)), (ssize_t)sizeof(fixture));
    close(up[1]);
    cr_assert_eq(read(up[0], &byte, 1), 1, "the exchange worked");
    cr_expect_eq(scan_settled(0), 0, "nothing is left of the token");
    cr_expect_eq(scan_settled(1), 0, "nothing is left of the body");
    char *planted = malloc(MARK);
    for (size_t i = 0; i < MARK; i++)
        planted[i] = mark_byte(1, i);
    cr_expect_eq(scan(1), 1, "a planted copy is found");
    kv_wipe(planted, MARK);
    free(planted);
    cr_assert_eq(write(down[1], &byte, 1), 1);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
    http_fixture_stop(&fixture);
    close(down[0]);
    close(down[1]);
    close(up[0]);
}

Test(http_residue, plain_requests_leave_nothing)
{
    exchange_and_scan(false);
}

Test(http_residue, tls_requests_leave_nothing)
{
    exchange_and_scan(true);
}
