/*
 * The server runs in its own thread with its own loop; the test's thread is the
 * client and talks through sockets only. Deadlines of the client are 5 seconds.
 */
#include "tests/support/http_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "store/core/secret.h"

uint8_t http_fixture_pattern(size_t at)
{
    return (uint8_t)((at * 31 + (at >> 8) * 7) & 0xff);
}

/* ---- the handler ---- */

static void answer(struct kv_http_request *request, int status, const void *body,
                   size_t len)
{
    struct kv_http_reply reply = {
        .status = status, .content_type = "text/plain", .body = body, .body_len = len};
    kv_http_reply(request, &reply);
}

static void answer_big(struct kv_http_request *request)
{
    size_t n = strtoul(kv_http_query(request), NULL, 10);
    uint8_t *body = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        body[i] = http_fixture_pattern(i);
    answer(request, 200, body, n);
    free(body);
}

static void answer_info(struct kv_http_request *request)
{
    char text[512];
    size_t body_len = 0;
    (void)kv_http_body(request, &body_len);
    const struct kv_http_peer *peer = kv_http_peer(request);
    int n = snprintf(
        text, sizeof(text), "%s %s %s uid=%d pid=%d body=%zu address=%s cert=%d",
        kv_http_method(request), kv_http_path(request), kv_http_query(request),
        peer->is_unix ? (int)peer->uid : -1, peer->is_unix ? (int)peer->pid : -1,
        body_len, peer->address, peer->certificate != NULL);
    cr_assert_eq(kv_http_reply_header(request, "X-Extra", "one"), 0);
    cr_assert_eq(kv_http_reply_header(request, "X-Bad", "a\r\nb: c"), KV_E_INVALID);
    answer(request, 200, text, (size_t)n);
}

struct later {
    uv_timer_t timer;
    struct kv_http_request *request;
};

static void later_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void later_due(uv_timer_t *timer)
{
    struct later *later = timer->data;
    answer(later->request, 200, "later", 5);
    uv_close((uv_handle_t *)timer, later_closed);
}

static void answer_later(struct http_fixture *fixture, struct kv_http_request *request)
{
    struct later *later = calloc(1, sizeof(*later));
    later->request = request;
    later->timer.data = later;
    uv_timer_init(&fixture->loop, &later->timer);
    uv_timer_start(&later->timer, later_due, strtoul(kv_http_query(request), NULL, 10),
                   0);
}

static void on_gone(void *arg, struct kv_http_request *request)
{
    struct http_fixture *fixture = arg;
    cr_assert_str_eq(kv_http_path(request), "/hang");
    fixture->n_gone++;
}

static void on_request(void *arg, struct kv_http_request *request)
{
    struct http_fixture *fixture = arg;
    const char *path = kv_http_path(request);
    fixture->n_requests++;
    size_t body_len = 0;
    uint8_t *body = kv_http_body(request, &body_len);
    if (strcmp(path, "/hello") == 0)
        answer(request, 200, "hello", 5);
    else if (strcmp(path, "/echo") == 0)
        answer(request, 200, body, body_len);
    else if (strcmp(path, "/big") == 0)
        answer_big(request);
    else if (strcmp(path, "/info") == 0)
        answer_info(request);
    else if (strcmp(path, "/later") == 0)
        answer_later(fixture, request);
    else if (strcmp(path, "/hang") == 0)
        kv_http_on_gone(request, on_gone, fixture);
    else if (strcmp(path, "/empty") == 0)
        kv_http_reply(request, &(struct kv_http_reply){.status = 204});
    else if (strcmp(path, "/swap") == 0) {
        kv_http_server_set_tls(fixture->server, fixture->next_tls);
        answer(request, 200, "swapped", 7);
    } else if (strcmp(path, "/close") == 0)
        kv_http_reply(request, &(struct kv_http_reply){.status = 200,
                                                       .content_type = "text/plain",
                                                       .body = "bye",
                                                       .body_len = 3,
                                                       .must_close = true});
    else
        answer(request, 404, "no", 2);
}

static int on_head(void *arg, struct kv_http_request *request)
{
    struct http_fixture *fixture = arg;
    fixture->n_heads++;
    if (strcmp(kv_http_path(request), "/deny") != 0)
        return 0;
    answer(request, 401, "denied", 6);
    return 1;
}

static const char *on_error(void *arg, int status, struct kv_buf *body)
{
    (void)arg;
    cr_assert_eq(kv_buf_appendf(body, "error %d", status), 0);
    return "text/plain";
}

/* ---- life ---- */

void http_fixture_init(struct http_fixture *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    fixture->limits = KV_HTTP_LIMITS_DEFAULT;
    fixture->drain_ms = 2000;
    fixture->loop_close = -1;
}

static void on_stopped(void *arg)
{
    struct http_fixture *fixture = arg;
    fixture->n_stopped++;
}

static void on_stop(uv_async_t *async)
{
    struct http_fixture *fixture = async->data;
    if (uv_is_closing((uv_handle_t *)async))
        return;
    uv_close((uv_handle_t *)async, NULL);
    kv_http_server_stop(fixture->server, fixture->drain_ms, on_stopped, fixture);
}

static void run(void *arg)
{
    struct http_fixture *fixture = arg;
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    fixture->loop_close = uv_loop_close(&fixture->loop);
}

void http_fixture_start(struct http_fixture *fixture)
{
    struct kv_err err = KV_ERR_INIT;
    strcpy(fixture->dir, "/tmp/kv-http-XXXXXX");
    cr_assert_not_null(mkdtemp(fixture->dir));
    (void)snprintf(fixture->path, sizeof(fixture->path), "%s/s", fixture->dir);
    cr_assert_eq(uv_loop_init(&fixture->loop), 0);
    cr_assert_eq(uv_async_init(&fixture->loop, &fixture->stop, on_stop), 0);
    fixture->stop.data = fixture;
    struct kv_http_handler handler = {.on_head = on_head,
                                      .on_request = on_request,
                                      .on_error = on_error,
                                      .arg = fixture};
    cr_assert_eq(kv_http_server_new(&fixture->server, &fixture->loop, &handler,
                                    &fixture->limits, NULL),
                 0);
    cr_assert_eq(kv_http_listen_unix(fixture->server, fixture->path, 0600, &err), 0,
                 "%s", err.message);
    if (fixture->has_tls) {
        fixture->tls = http_fixture_tls(fixture->is_rsa, "v.example");
        if (fixture->tune_tls != NULL)
            fixture->tune_tls(fixture->tls);
        cr_assert_eq(
            kv_http_listen_tls(fixture->server, "127.0.0.1", 0, fixture->tls, &err), 0,
            "%s", err.message);
        fixture->port = kv_http_server_port(fixture->server);
    }
    cr_assert_eq(uv_thread_create(&fixture->thread, run, fixture), 0);
}

void http_fixture_begin_stop(struct http_fixture *fixture)
{
    cr_assert_eq(uv_async_send(&fixture->stop), 0);
}

void http_fixture_stop(struct http_fixture *fixture)
{
    if (fixture->n_stopped == 0)
        (void)uv_async_send(&fixture->stop);
    cr_assert_eq(uv_thread_join(&fixture->thread), 0);
    cr_expect_eq(fixture->loop_close, 0, "every handle is closed");
    cr_expect_eq(fixture->n_stopped, 1, "the end is told once");
    cr_expect_neq(access(fixture->path, F_OK), 0, "the socket file is gone");
    cr_expect_eq(rmdir(fixture->dir), 0);
    SSL_CTX_free(fixture->tls);
    SSL_CTX_free(fixture->next_tls);
}

SSL_CTX *http_fixture_tls(bool is_rsa, const char *name)
{
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    SSL_CTX *ctx = NULL;
    struct kv_err err = KV_ERR_INIT;
    http_fixture_cert(is_rsa, name, &key, &cert);
    STACK_OF(X509) *chain = sk_X509_new_null();
    sk_X509_push(chain, cert);
    cr_assert_eq(kv_http_tls_ctx(&ctx, key, chain, &err), 0, "%s", err.message);
    sk_X509_free(chain);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ctx;
}

void http_fixture_cert(bool is_rsa, const char *name, EVP_PKEY **key, X509 **cert)
{
    *key = is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    *cert = X509_new();
    cr_assert(*key != NULL && *cert != NULL);
    X509_set_version(*cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(*cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(*cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(*cert), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(*cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(*cert, X509_get_subject_name(*cert));
    X509_set_pubkey(*cert, *key);
    cr_assert_gt(X509_sign(*cert, *key, EVP_sha256()), 0);
}

/* ---- the client ---- */

static void set_timeouts(int fd)
{
    struct timeval wait = {.tv_sec = 5};
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)), 0);
}

void http_client_open(struct http_client *client, const struct http_fixture *fixture)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, fixture->path);
    client->ssl = NULL;
    client->len = 0;
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(client->fd, 0);
    set_timeouts(client->fd);
    cr_assert_eq(connect(client->fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

void http_client_open_tcp(struct http_client *client,
                          const struct http_fixture *fixture)
{
    struct sockaddr_in address;
    cr_assert_eq(uv_ip4_addr("127.0.0.1", fixture->port, &address), 0);
    client->ssl = NULL;
    client->len = 0;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(client->fd, 0);
    set_timeouts(client->fd);
    cr_assert_eq(connect(client->fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

void http_client_close(struct http_client *client)
{
    SSL_free(client->ssl);
    client->ssl = NULL;
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

bool http_client_send(struct http_client *client, const void *data, size_t len)
{
    size_t sent = 0;
    if (client->ssl != NULL)
        return SSL_write_ex(client->ssl, data, len, &sent) == 1 && sent == len;
    while (sent < len) {
        ssize_t n =
            send(client->fd, (const char *)data + sent, len - sent, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        sent += (size_t)n;
    }
    return true;
}

bool http_client_send_str(struct http_client *client, const char *text)
{
    return http_client_send(client, text, strlen(text));
}

/* Receive more: bytes, 0 at the end (a reset counts), -1 when nothing comes. */
static ssize_t receive(struct http_client *client, void *room, size_t size)
{
    if (client->ssl != NULL) {
        size_t n = 0;
        ERR_clear_error();
        int result = SSL_read_ex(client->ssl, room, size, &n);
        if (result == 1)
            return (ssize_t)n;
        return SSL_get_error(client->ssl, result) == SSL_ERROR_WANT_READ ? -1 : 0;
    }
    ssize_t n = recv(client->fd, room, size, 0);
    if (n < 0)
        return errno == EAGAIN ? -1 : 0;
    return n;
}

static void take(struct http_client *client, size_t n)
{
    memmove(client->buf, client->buf + n, client->len - n);
    client->len -= n;
}

/* Take `n` body bytes, compare them with the pattern, keep the beginning. */
static int read_body(struct http_client *client, struct http_reply *reply)
{
    size_t got = 0;
    reply->is_pattern = true;
    for (;;) {
        size_t n = reply->body_len - got;
        n = n < client->len ? n : client->len;
        for (size_t i = 0; i < n; i++, got++) {
            if ((uint8_t)client->buf[i] != http_fixture_pattern(got))
                reply->is_pattern = false;
            if (got < sizeof(reply->body) - 1)
                reply->body[got] = client->buf[i];
        }
        take(client, n);
        if (got == reply->body_len)
            return 1;
        ssize_t more = receive(client, client->buf, sizeof(client->buf));
        if (more <= 0)
            return (int)more;
        client->len = (size_t)more;
    }
}

int http_client_read(struct http_client *client, struct http_reply *reply,
                     bool is_to_head)
{
    memset(reply, 0, sizeof(*reply));
    char *end = NULL;
    while ((end = memmem(client->buf, client->len, "\r\n\r\n", 4)) == NULL) {
        cr_assert_lt(client->len, sizeof(reply->head), "the head of a reply is short");
        ssize_t n = receive(client, client->buf + client->len,
                            sizeof(client->buf) - client->len);
        if (n <= 0)
            return (int)n;
        client->len += (size_t)n;
    }
    size_t head_len = (size_t)(end - client->buf) + 4;
    cr_assert_lt(head_len, sizeof(reply->head));
    memcpy(reply->head, client->buf, head_len);
    take(client, head_len);
    cr_assert_eq(sscanf(reply->head, "HTTP/1.1 %d ", &reply->status), 1, "%s",
                 reply->head);
    const char *length = strstr(reply->head, "\r\nContent-Length: ");
    if (length != NULL)
        reply->body_len = strtoul(length + 18, NULL, 10);
    return is_to_head ? 1 : read_body(client, reply);
}

int http_client_drain(struct http_client *client, struct http_reply *last)
{
    int n_replies = 0;
    struct http_reply reply;
    for (;;) {
        int rc = http_client_read(client, &reply, false);
        if (rc < 0)
            return -1;
        if (rc == 0)
            return n_replies;
        *last = reply;
        n_replies++;
    }
}

void http_client_expect(struct http_client *client, struct http_reply *reply,
                        const char *request, int status, const char *body)
{
    cr_assert(http_client_send_str(client, request));
    cr_assert_eq(http_client_read(client, reply, false), 1, "%s", request);
    cr_expect_eq(reply->status, status, "%s: %d", request, reply->status);
    cr_expect_str_eq(reply->body, body, "%s", request);
}

double http_fixture_now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void http_fixture_wait_for(const atomic_uint *counter, unsigned value)
{
    double until = http_fixture_now_s() + 5;
    while (*counter != value && http_fixture_now_s() < until)
        poll(NULL, 0, 5);
    cr_expect_eq(*counter, value);
}
