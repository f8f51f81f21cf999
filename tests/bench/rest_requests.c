/*
 * rest_requests: one request of the REST API again and again on one connection, the
 * next when the reply is there.
 *
 *   rest_requests (--unix PATH | --port P --ca FILE --token TOKEN)
 *                 [--host NAME] [--body TEXT] [--seconds S] [--cpu PID]... METHOD
 * TARGET
 *
 * Prints one line: rate (1/s), p50_us, p99_us, p999_us, max_us, cpu_us (own processor
 * time per request), other_cpu_us (of the named processes). Fails when a reply is not
 * 200.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/bench/measure.h"

#define REQUEST_MAX 65536
#define REPLY_MAX 65536

struct options {
    const char *socket;
    const char *ca;
    const char *token;
    const char *host;
    const char *body;
    const char *method;
    const char *target;
    unsigned port;
    double seconds;
    struct kv_bench_pids pids;
};

struct client {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
    char request[REQUEST_MAX];
    size_t request_len;
    char reply[REPLY_MAX];
};

static int connect_to(const struct options *options)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in remote = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)options->port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const bool is_local = options->socket != NULL;
    const struct sockaddr *address =
        is_local ? (const struct sockaddr *)&local : (const struct sockaddr *)&remote;
    if (is_local)
        (void)snprintf(local.sun_path, sizeof(local.sun_path), "%s", options->socket);
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 &&
        connect(fd, address, is_local ? sizeof(local) : sizeof(remote)) != 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

static bool start_tls(struct client *client, const struct options *options)
{
    client->ctx = SSL_CTX_new(TLS_client_method());
    if (client->ctx == NULL || SSL_CTX_load_verify_file(client->ctx, options->ca) != 1)
        return false;
    SSL_CTX_set_verify(client->ctx, SSL_VERIFY_PEER, NULL);
    client->ssl = SSL_new(client->ctx);
    return client->ssl != NULL && SSL_set1_host(client->ssl, options->host) == 1 &&
           SSL_set_tlsext_host_name(client->ssl, options->host) == 1 &&
           SSL_set_fd(client->ssl, client->fd) == 1 && SSL_connect(client->ssl) == 1;
}

static bool make_request(struct client *client, const struct options *options)
{
    const char *body = options->body != NULL ? options->body : "";
    const int n =
        snprintf(client->request, sizeof(client->request),
                 "%s %s HTTP/1.1\r\nHost: %s\r\n%s%s%s"
                 "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                 options->method, options->target, options->host,
                 options->token != NULL ? "Authorization: Bearer " : "",
                 options->token != NULL ? options->token : "",
                 options->token != NULL ? "\r\n" : "", strlen(body), body);
    client->request_len = (size_t)n;
    return n > 0 && (size_t)n < sizeof(client->request);
}

static bool send_all(struct client *client)
{
    const int len = (int)client->request_len;
    if (client->ssl != NULL)
        return SSL_write(client->ssl, client->request, len) == len;
    return write(client->fd, client->request, client->request_len) == len;
}

static long receive(struct client *client, size_t have)
{
    char *at = client->reply + have;
    const size_t room = sizeof(client->reply) - 1 - have;
    return client->ssl != NULL ? SSL_read(client->ssl, at, (int)room)
                               : (long)read(client->fd, at, room);
}

/* Whether the bytes so far are a whole reply. */
static bool is_whole(const char *reply, size_t have)
{
    const char *end = strstr(reply, "\r\n\r\n");
    const char *length = strcasestr(reply, "\r\ncontent-length:");
    if (end == NULL)
        return false;
    const size_t body = length != NULL && length < end
                            ? strtoul(length + strlen("\r\ncontent-length:"), NULL, 10)
                            : 0;
    return have >= (size_t)(end - reply) + 4 + body;
}

static bool exchange(struct client *client)
{
    size_t have = 0;
    if (!send_all(client))
        return false;
    client->reply[0] = '\0';
    while (!is_whole(client->reply, have)) {
        const long n = receive(client, have);
        if (n <= 0)
            return false;
        have += (size_t)n;
        client->reply[have] = '\0';
    }
    return strncmp(client->reply, "HTTP/1.1 200 ", strlen("HTTP/1.1 200 ")) == 0;
}

static bool run(struct client *client, double seconds, struct kv_bench_samples *samples)
{
    const uint64_t until = kv_bench_now_ns() + (uint64_t)(seconds * 1e9);
    for (uint64_t at = kv_bench_now_ns(); at < until;) {
        if (!exchange(client))
            return false;
        const uint64_t end = kv_bench_now_ns();
        if (!kv_bench_samples_add(samples, end - at))
            break;
        at = end;
    }
    return samples->n > 0;
}

static bool read_options(int argc, char **argv, struct options *out)
{
    static const struct option options[] = {{"unix", required_argument, NULL, 'u'},
                                            {"port", required_argument, NULL, 'p'},
                                            {"ca", required_argument, NULL, 'c'},
                                            {"token", required_argument, NULL, 't'},
                                            {"host", required_argument, NULL, 'h'},
                                            {"body", required_argument, NULL, 'b'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"cpu", required_argument, NULL, 'P'},
                                            {NULL, 0, NULL, 0}};
    *out = (struct options){.host = "default.vault.localhost", .seconds = 2};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case 'u':
            out->socket = optarg;
            break;
        case 'p':
            out->port = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'c':
            out->ca = optarg;
            break;
        case 't':
            out->token = optarg;
            break;
        case 'h':
            out->host = optarg;
            break;
        case 'b':
            out->body = optarg;
            break;
        case 's':
            out->seconds = strtod(optarg, NULL);
            break;
        default:
            if (o != 'P' || !kv_bench_pids_add(&out->pids, optarg))
                return false;
        }
    }
    if (optind != argc - 2 ||
        (out->socket == NULL && (out->port == 0 || out->ca == NULL)))
        return false;
    out->method = argv[optind];
    out->target = argv[optind + 1];
    return true;
}

static int fail(const struct client *client, const char *what)
{
    (void)fprintf(stderr, "rest_requests: %s: %.300s\n", what, client->reply);
    return 1;
}

int main(int argc, char **argv)
{
    static struct client client;
    struct options options;
    struct kv_bench_samples samples;
    if (!read_options(argc, argv, &options) || !kv_bench_samples_init(&samples))
        return 2;
    client.fd = connect_to(&options);
    if (client.fd < 0 || !make_request(&client, &options) ||
        (options.socket == NULL && !start_tls(&client, &options)))
        return fail(&client, "cannot connect");
    if (!exchange(&client))
        return fail(&client, "the first request failed");
    const uint64_t start = kv_bench_now_ns();
    const uint64_t own_cpu = kv_bench_own_cpu_ns();
    const uint64_t other_cpu = kv_bench_pids_cpu_ns(&options.pids);
    if (!run(&client, options.seconds, &samples))
        return fail(&client, "a request failed");
    const double own_ns = (double)(kv_bench_own_cpu_ns() - own_cpu);
    const double other_ns = (double)(kv_bench_pids_cpu_ns(&options.pids) - other_cpu);
    const double n = (double)samples.n;
    (void)printf("rate %.1f ", n * 1e9 / (double)(kv_bench_now_ns() - start));
    kv_bench_samples_print(&samples);
    (void)printf("cpu_us %.2f other_cpu_us %.2f\n", own_ns / 1e3 / n,
                 other_ns / 1e3 / n);
    kv_bench_samples_free(&samples);
    SSL_free(client.ssl);
    SSL_CTX_free(client.ctx);
    (void)close(client.fd);
    return 0;
}
