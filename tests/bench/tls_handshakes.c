/*
 * tls_handshakes: how many full TLS handshakes a server starts per second.
 *
 * On a machine with few cores a complete client costs twice what the server does and
 * mostly measures itself. So one real handshake is made first, to learn how many
 * records the server's first flight has (hello, certificate, signature); then the
 * recorded ClientHello is sent again and again, the first flight is read, and the
 * connection is reset. The server has then done its key exchange and its signature.
 *
 *   tls_handshakes --port P [--seconds S] [--connections C] [--tls12] [--cpu PID]...
 *
 * Prints one line: rate (1/s), errors, p50_us, p99_us, p999_us, max_us, cpu_us
 * (processor time of the named processes per handshake). Exit status 0, or 1 when a
 * handshake failed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/measure.h"

#define MAX_CONNECTIONS 256

struct connection {
    int fd;
    bool has_sent;
    unsigned n_records;
    size_t header_len; /* bytes of a record header seen so far */
    uint8_t header[5];
    size_t body_left;
    uint64_t start_ns;
};

struct bench {
    struct sockaddr_in address;
    uint8_t hello[2048];
    size_t hello_len;
    unsigned flight_records;
    int epoll;
    struct connection connection[MAX_CONNECTIONS];
    struct kv_bench_samples samples;
    uint64_t n_errors;
};

/* Count the records that complete within `len` bytes. */
static void count_records(struct connection *c, const uint8_t *data, size_t len)
{
    while (len > 0) {
        if (c->header_len < 5) {
            c->header[c->header_len++] = *data++;
            len--;
            if (c->header_len == 5)
                c->body_left = (size_t)c->header[3] << 8 | c->header[4];
            continue;
        }
        size_t n = len < c->body_left ? len : c->body_left;
        c->body_left -= n;
        data += n;
        len -= n;
        if (c->body_left == 0) {
            c->n_records++;
            c->header_len = 0;
        }
    }
}

/* Make one real handshake byte by byte; learn the ClientHello and the first flight. */
static int learn(struct bench *bench, bool is_tls12)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = ctx ? SSL_new(ctx) : NULL;
    BIO *in = BIO_new(BIO_s_mem());
    BIO *out = BIO_new(BIO_s_mem());
    struct connection c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    int rc = -1;

    if (ssl == NULL || in == NULL || out == NULL || c.fd < 0)
        goto out;
    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);
    int version = is_tls12 ? TLS1_2_VERSION : TLS1_3_VERSION;
    if (SSL_set_min_proto_version(ssl, version) != 1 ||
        SSL_set_max_proto_version(ssl, version) != 1)
        goto out;
    (void)SSL_do_handshake(ssl);
    int n = BIO_read(out, bench->hello, sizeof(bench->hello));
    if (n <= 0 || connect(c.fd, (const struct sockaddr *)&bench->address,
                          sizeof(bench->address)) != 0)
        goto out;
    bench->hello_len = (size_t)n;
    if (write(c.fd, bench->hello, bench->hello_len) != n)
        goto out;
    while (BIO_ctrl_pending(out) == 0) {
        uint8_t byte;
        if (read(c.fd, &byte, 1) != 1)
            goto out;
        count_records(&c, &byte, 1);
        (void)BIO_write(in, &byte, 1);
        if (c.header_len == 0)
            (void)SSL_do_handshake(ssl);
    }
    bench->flight_records = c.n_records;
    rc = 0;
out:
    if (c.fd >= 0)
        (void)close(c.fd);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    return rc;
}

static int open_connection(struct bench *bench, struct connection *c)
{
    struct linger reset = {.l_onoff = 1};
    int on = 1;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};

    *c = (struct connection){
        .fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
        .start_ns = kv_bench_now_ns()};
    if (c->fd < 0)
        return -1;
    (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(c->fd, (const struct sockaddr *)&bench->address,
                sizeof(bench->address)) != 0 &&
        errno != EINPROGRESS)
        return -1;
    return epoll_ctl(bench->epoll, EPOLL_CTL_ADD, c->fd, &event);
}

static int next_connection(struct bench *bench, struct connection *c, bool is_error)
{
    (void)close(c->fd);
    if (is_error)
        bench->n_errors++;
    else
        (void)kv_bench_samples_add(&bench->samples, kv_bench_now_ns() - c->start_ns);
    return open_connection(bench, c);
}

static int on_event(struct bench *bench, struct connection *c, uint32_t events)
{
    static uint8_t data[32768];

    if ((events & EPOLLOUT) != 0 && !c->has_sent) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        ssize_t n = write(c->fd, bench->hello, bench->hello_len);
        if (n != (ssize_t)bench->hello_len)
            return next_connection(bench, c, true);
        c->has_sent = true;
        (void)epoll_ctl(bench->epoll, EPOLL_CTL_MOD, c->fd, &event);
    }
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) == 0)
        return 0;
    ssize_t n = read(c->fd, data, sizeof(data));
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0)
        return next_connection(bench, c, true);
    count_records(c, data, (size_t)n);
    if (c->n_records >= bench->flight_records)
        return next_connection(bench, c, false);
    return 0;
}

static int run(struct bench *bench, unsigned n_connections, double seconds)
{
    struct epoll_event event[64];
    uint64_t until = kv_bench_now_ns() + (uint64_t)(seconds * 1e9);

    bench->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < n_connections; i++)
        if (open_connection(bench, &bench->connection[i]) != 0)
            return -1;
    while (kv_bench_now_ns() < until) {
        int n = epoll_wait(bench->epoll, event, 64, 100);
        for (int i = 0; i < n; i++)
            if (on_event(bench, event[i].data.ptr, event[i].events) != 0)
                return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},
        {"seconds", required_argument, NULL, 's'},
        {"connections", required_argument, NULL, 'c'},
        {"tls12", no_argument, NULL, '2'},
        {"cpu", required_argument, NULL, 'P'},
        {NULL, 0, NULL, 0}};
    static struct bench bench;
    struct kv_bench_pids pids = {.n = 0};
    double seconds = 2;
    unsigned n_connections = 8;
    bool is_tls12 = false;

    bench.address.sin_family = AF_INET;
    bench.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'p')
            bench.address.sin_port = htons((uint16_t)strtoul(optarg, NULL, 10));
        else if (o == 's')
            seconds = strtod(optarg, NULL);
        else if (o == 'c')
            n_connections = (unsigned)strtoul(optarg, NULL, 10);
        else if (o == '2')
            is_tls12 = true;
        else if (o != 'P' || !kv_bench_pids_add(&pids, optarg))
            return 2;
    }
    if (n_connections == 0 || n_connections > MAX_CONNECTIONS ||
        !kv_bench_samples_init(&bench.samples))
        return 2;
    if (learn(&bench, is_tls12) != 0) {
        (void)fprintf(stderr, "tls_handshakes: no handshake with this server\n");
        return 1;
    }
    const uint64_t cpu = kv_bench_pids_cpu_ns(&pids);
    const bool ok = run(&bench, n_connections, seconds) == 0 && bench.samples.n > 0;
    const double cpu_ns = (double)(kv_bench_pids_cpu_ns(&pids) - cpu);
    if (!ok)
        return 1;
    const double n = (double)bench.samples.n;
    (void)printf("rate %.1f errors %llu ", n / seconds,
                 (unsigned long long)bench.n_errors);
    kv_bench_samples_print(&bench.samples);
    (void)printf("cpu_us %.1f\n", cpu_ns / 1e3 / n);
    kv_bench_samples_free(&bench.samples);
    return bench.n_errors != 0;
}
