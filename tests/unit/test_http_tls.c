/*
 * The server over TLS against OpenSSL's client: versions, ciphers, ALPN, big bodies
 * both ways, records cut anywhere, hang-ups, and what must be refused.
 */
#include <criterion/criterion.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/http_fixture.h"

TestSuite(http_tls, .timeout = 20);

#define HOST "Host: v.example\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

static struct http_fixture fixture;
static struct http_client client;
static struct http_reply reply;

static void begin(void)
{
    http_fixture_init(&fixture);
    fixture.has_tls = true;
}

/* Connect and shake hands; 1 or what SSL_connect said. Takes `ctx`. */
static int shake_hands(SSL_CTX *ctx)
{
    http_client_open_tcp(&client, &fixture);
    client.ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    cr_assert_not_null(client.ssl);
    cr_assert_eq(SSL_set_fd(client.ssl, client.fd), 1);
    ERR_clear_error();
    return SSL_connect(client.ssl);
}

static SSL_CTX *client_ctx(int version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    cr_assert_not_null(ctx);
    if (version != 0) {
        SSL_CTX_set_security_level(ctx, 0);
        cr_assert_eq(SSL_CTX_set_min_proto_version(ctx, version), 1);
        cr_assert_eq(SSL_CTX_set_max_proto_version(ctx, version), 1);
    }
    return ctx;
}

static void end(void)
{
    http_client_close(&client);
    http_fixture_stop(&fixture);
}

static void serve_version(int version)
{
    begin();
    http_fixture_start(&fixture);
    cr_assert_eq(shake_hands(client_ctx(version)), 1);
    cr_expect_eq(SSL_version(client.ssl), version);
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    http_client_expect(&client, &reply, GET("/info"), 200,
                       "GET /info  uid=-1 pid=-1 body=0 address=127.0.0.1 cert=0");
    http_client_expect(&client, &reply,
                       "PUT /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc",
                       200, "abc");
    http_client_expect(&client, &reply, GET("/later?50"), 200, "later");
    http_client_expect(&client, &reply, GET("/close"), 200, "bye");
    cr_expect_eq(http_client_read(&client, &reply, false), 0);
    cr_expect(SSL_get_shutdown(client.ssl) & SSL_RECEIVED_SHUTDOWN,
              "the end is authenticated by close_notify");
    end();
}

Test(http_tls, serves_tls_1_3)
{
    serve_version(TLS1_3_VERSION);
}

Test(http_tls, serves_tls_1_2)
{
    serve_version(TLS1_2_VERSION);
}

Test(http_tls, refuses_older_versions)
{
    begin();
    http_fixture_start(&fixture);
    static const int versions[] = {TLS1_1_VERSION, TLS1_VERSION};
    for (size_t i = 0; i < 2; i++) {
        cr_expect_neq(shake_hands(client_ctx(versions[i])), 1);
        http_client_close(&client);
    }
    cr_assert_eq(shake_hands(client_ctx(0)), 1);
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    end();
}

/* Every listed cipher of TLS 1.2 alone; the first `n_good` are served. */
static void offer_ciphers(bool is_rsa, const char *const *lists, size_t n,
                          size_t n_good)
{
    begin();
    fixture.is_rsa = is_rsa;
    http_fixture_start(&fixture);
    for (size_t i = 0; i < n; i++) {
        SSL_CTX *ctx = client_ctx(TLS1_2_VERSION);
        cr_assert_eq(SSL_CTX_set_cipher_list(ctx, lists[i]), 1, "%s", lists[i]);
        cr_expect_eq(shake_hands(ctx) == 1, i < n_good, "%s", lists[i]);
        http_client_close(&client);
    }
    http_fixture_stop(&fixture);
}

Test(http_tls, refuses_ciphers_without_forward_secrecy_or_aead)
{
    static const char *const ec[] = {
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-SHA256",
        "ECDHE-ECDSA-AES256-SHA",
        "aNULL:@SECLEVEL=0",
    };
    offer_ciphers(false, ec, sizeof(ec) / sizeof(ec[0]), 2);
    static const char *const rsa[] = {
        "ECDHE-RSA-AES256-GCM-SHA384", "AES256-GCM-SHA384", "DHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-SHA384",     "AES128-SHA",
    };
    offer_ciphers(true, rsa, sizeof(rsa) / sizeof(rsa[0]), 1);
}

Test(http_tls, shows_the_client_certificate_when_one_was_asked_for)
{
    begin();
    fixture.tune_tls = kv_http_tls_ask_certificate;
    http_fixture_start(&fixture);
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    http_fixture_cert(false, "client", &key, &cert);
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        SSL_CTX *ctx = client_ctx(versions[i]);
        cr_assert_eq(SSL_CTX_use_cert_and_key(ctx, cert, key, NULL, 1), 1);
        cr_assert_eq(shake_hands(ctx), 1);
        http_client_expect(&client, &reply, GET("/info"), 200,
                           "GET /info  uid=-1 pid=-1 body=0 address=127.0.0.1 cert=1");
        http_client_close(&client);
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    http_fixture_stop(&fixture);
}

static void expect_name(const char *name)
{
    char text[64];
    X509 *cert = SSL_get0_peer_certificate(client.ssl);
    cr_assert_not_null(cert);
    (void)X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, text,
                                    sizeof(text));
    cr_expect_str_eq(text, name);
}

Test(http_tls, gives_new_connections_a_renewed_certificate)
{
    begin();
    fixture.next_tls = http_fixture_tls(true, "renewed");
    http_fixture_start(&fixture);
    cr_assert_eq(shake_hands(client_ctx(0)), 1);
    expect_name("v.example");
    http_client_expect(&client, &reply, GET("/swap"), 200, "swapped");
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    http_client_close(&client);
    cr_assert_eq(shake_hands(client_ctx(0)), 1);
    expect_name("renewed");
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    end();
}

Test(http_tls, ends_an_idle_connection_with_close_notify)
{
    begin();
    fixture.limits.idle_timeout_ms = 150;
    http_fixture_start(&fixture);
    cr_assert_eq(shake_hands(client_ctx(0)), 1);
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    cr_expect_eq(http_client_read(&client, &reply, false), 0);
    cr_expect(SSL_get_shutdown(client.ssl) & SSL_RECEIVED_SHUTDOWN);
    end();
}

static int listen_on(const char *host, uint16_t port, struct kv_err *err)
{
    uv_loop_t loop;
    struct kv_http_server *server = NULL;
    struct kv_http_handler handler = {.arg = NULL};
    SSL_CTX *ctx = http_fixture_tls(false, "v.example");
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(kv_http_server_new(&server, &loop, &handler, NULL, NULL), 0);
    *err = KV_ERR_INIT;
    int rc = kv_http_listen_tls(server, host, port, ctx, err);
    if (rc == 0)
        cr_expect_neq(kv_http_server_port(server), 0);
    kv_http_server_stop(server, 0, NULL, NULL);
    cr_expect_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_expect_eq(uv_loop_close(&loop), 0);
    SSL_CTX_free(ctx);
    return rc;
}

Test(http_tls, says_why_it_cannot_listen)
{
    struct kv_err err;
    begin();
    http_fixture_start(&fixture);
    cr_expect_eq(listen_on("localhost", 0, &err), KV_E_INVALID);
    cr_expect_str_eq(err.id, "http.bad-address");
    cr_expect_eq(listen_on("127.0.0.1", fixture.port, &err), KV_E_IO);
    cr_expect_str_eq(err.id, "http.listen");
    cr_expect_not_null(strstr(err.message, "127.0.0.1"), "%s", err.message);
    cr_expect_eq(listen_on("127.0.0.1", 0, &err), 0);
    http_fixture_stop(&fixture);
}

Test(http_tls, speaks_http_1_1_by_alpn_and_nothing_else)
{
    begin();
    http_fixture_start(&fixture);
    SSL_CTX *ctx = client_ctx(0);
    static const unsigned char both[] = "\x02h2\x08http/1.1";
    cr_assert_eq(SSL_CTX_set_alpn_protos(ctx, both, sizeof(both) - 1), 0);
    cr_assert_eq(shake_hands(ctx), 1);
    const unsigned char *chosen = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(client.ssl, &chosen, &len);
    cr_assert_eq(len, 8);
    cr_expect_arr_eq(chosen, "http/1.1", 8);
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    http_client_close(&client);
    ctx = client_ctx(0);
    cr_assert_eq(SSL_CTX_set_alpn_protos(ctx, both, 3), 0);
    cr_expect_neq(shake_hands(ctx), 1, "h2 only");
    end();
}

Test(http_tls, resumes_no_session)
{
    begin();
    http_fixture_start(&fixture);
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(shake_hands(client_ctx(versions[i])), 1);
        http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
        SSL_SESSION *session = SSL_get1_session(client.ssl);
        cr_expect_not(SSL_SESSION_has_ticket(session));
        http_client_close(&client);
        http_client_open_tcp(&client, &fixture);
        SSL_CTX *ctx = client_ctx(versions[i]);
        client.ssl = SSL_new(ctx);
        SSL_CTX_free(ctx);
        (void)SSL_set_session(client.ssl, session); /* refused when not resumable */
        SSL_SESSION_free(session);
        cr_assert_eq(SSL_set_fd(client.ssl, client.fd), 1);
        cr_assert_eq(SSL_connect(client.ssl), 1);
        cr_expect_not(SSL_session_reused(client.ssl));
        http_client_close(&client);
    }
    http_fixture_stop(&fixture);
}

Test(http_tls, refuses_renegotiation)
{
    begin();
    http_fixture_start(&fixture);
    cr_assert_eq(shake_hands(client_ctx(TLS1_2_VERSION)), 1);
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    cr_assert_eq(SSL_renegotiate(client.ssl), 1);
    cr_expect_neq(SSL_do_handshake(client.ssl), 1);
    http_client_close(&client);
    cr_assert_eq(shake_hands(client_ctx(0)), 1);
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    end();
}

Test(http_tls, survives_key_updates)
{
    begin();
    http_fixture_start(&fixture);
    cr_assert_eq(shake_hands(client_ctx(TLS1_3_VERSION)), 1);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    }
    end();
}

Test(http_tls, drops_a_peer_that_takes_no_answers_to_key_updates)
{
    int n = 0;
    int small = 2048;
    begin();
    fixture.limits.idle_timeout_ms = 60000;
    http_fixture_start(&fixture);
    cr_assert_eq(shake_hands(client_ctx(TLS1_3_VERSION)), 1);
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    cr_assert_eq(setsockopt(client.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)),
                 0);
    while (n < 300000 && SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED) == 1 &&
           SSL_do_handshake(client.ssl) == 1)
        n++;
    cr_expect_lt(n, 300000, "the server collects answers without end");
    end();
}

Test(http_tls, carries_big_bodies_both_ways)
{
    static uint8_t body[262144];
    begin();
    http_fixture_start(&fixture);
    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = http_fixture_pattern(i);
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(shake_hands(client_ctx(versions[i])), 1);
        cr_assert(http_client_send_str(&client, "POST /echo HTTP/1.1\r\n" HOST
                                                "Content-Length: 262144\r\n\r\n"));
        cr_assert(http_client_send(&client, body, sizeof(body)));
        cr_assert_eq(http_client_read(&client, &reply, false), 1);
        cr_expect_eq(reply.body_len, sizeof(body));
        cr_expect(reply.is_pattern);
        cr_assert(http_client_send_str(&client, GET("/big?5000000")));
        poll(NULL, 0, 100);
        cr_assert_eq(http_client_read(&client, &reply, false), 1);
        cr_expect_eq(reply.body_len, 5000000);
        cr_expect(reply.is_pattern);
        http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
        http_client_close(&client);
    }
    http_fixture_stop(&fixture);
}

Test(http_tls, answers_pipelined_requests_in_order)
{
    begin();
    http_fixture_start(&fixture);
    cr_assert_eq(shake_hands(client_ctx(0)), 1);
    cr_assert(http_client_send_str(&client, GET("/later?60") GET("/hello")));
    cr_assert(http_client_send_str(&client, GET("/close") GET("/hello")));
    static const char *const bodies[] = {"later", "hello", "bye"};
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(http_client_read(&client, &reply, false), 1);
        cr_expect_str_eq(reply.body, bodies[i]);
    }
    cr_expect_eq(http_client_drain(&client, &reply), 0);
    cr_expect_eq(fixture.n_requests, 3);
    end();
}

/* Move what a memory-BIO client has to say to the socket, one byte at a time. */
static void trickle(BIO *from_client)
{
    char byte = 0;
    while (BIO_read(from_client, &byte, 1) == 1)
        cr_assert_eq(send(client.fd, &byte, 1, MSG_NOSIGNAL), 1);
}

Test(http_tls, takes_records_byte_by_byte)
{
    begin();
    http_fixture_start(&fixture);
    http_client_open_tcp(&client, &fixture);
    SSL_CTX *ctx = client_ctx(0);
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem());
    BIO *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);
    char block[4096];
    while (SSL_do_handshake(ssl) != 1) {
        trickle(out);
        ssize_t n = recv(client.fd, block, sizeof(block), 0);
        cr_assert_gt(n, 0);
        cr_assert_eq(BIO_write(in, block, (int)n), (int)n);
    }
    cr_assert_gt(SSL_write(ssl, GET("/hello"), sizeof(GET("/hello")) - 1), 0);
    trickle(out);
    int got = 0;
    while ((got = SSL_read(ssl, block, sizeof(block) - 1)) <= 0) {
        char cipher[4096];
        ssize_t n = recv(client.fd, cipher, sizeof(cipher), 0);
        cr_assert_gt(n, 0);
        cr_assert_eq(BIO_write(in, cipher, (int)n), (int)n);
    }
    cr_expect_eq(strncmp(block, "HTTP/1.1 200 OK\r\n", 17), 0);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    end();
}

Test(http_tls, closes_on_what_is_not_tls)
{
    begin();
    http_fixture_start(&fixture);
    static const char *const texts[] = {GET("/hello"), "\x16\x03\x01\x40\x01xxxxxxxx",
                                        "\x80\x2e\x01\x03\x01"};
    for (size_t i = 0; i < 3; i++) {
        char block[256];
        http_client_open_tcp(&client, &fixture);
        cr_assert(http_client_send_str(&client, texts[i]));
        cr_assert_eq(shutdown(client.fd, SHUT_WR), 0);
        ssize_t n = recv(client.fd, block, sizeof(block), 0);
        while (n > 0)
            n = recv(client.fd, block, sizeof(block), 0);
        cr_expect_eq(n, 0, "row %zu: closed in order", i);
        http_client_close(&client);
    }
    cr_expect_eq(fixture.n_requests, 0);
    http_fixture_stop(&fixture);
}

Test(http_tls, cuts_a_slow_handshake_and_a_silent_peer_off)
{
    begin();
    fixture.limits.head_timeout_ms = 200;
    http_fixture_start(&fixture);
    struct timespec start;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    http_client_open_tcp(&client, &fixture);
    cr_assert(http_client_send(&client, "\x16\x03\x01", 3));
    char byte = 0;
    cr_expect_leq(recv(client.fd, &byte, 1, 0), 0);
    http_client_close(&client);
    cr_assert_eq(shake_hands(client_ctx(0)), 1);
    cr_expect_eq(http_client_read(&client, &reply, false), 0, "no request in time");
    clock_gettime(CLOCK_MONOTONIC, &now);
    cr_expect_lt(now.tv_sec - start.tv_sec, 2);
    end();
}

Test(http_tls, tells_the_handler_that_the_peer_is_gone)
{
    begin();
    http_fixture_start(&fixture);
    cr_assert_eq(shake_hands(client_ctx(0)), 1);
    cr_assert(http_client_send_str(&client, GET("/hang")));
    for (int i = 0; i < 200 && fixture.n_requests == 0; i++)
        poll(NULL, 0, 10);
    cr_assert_eq(fixture.n_requests, 1);
    http_client_close(&client);
    for (int i = 0; i < 200 && fixture.n_gone == 0; i++)
        poll(NULL, 0, 10);
    cr_expect_eq(fixture.n_gone, 1);
    http_fixture_stop(&fixture);
}

Test(http_tls, delivers_a_refusal_to_a_client_that_is_still_sending)
{
    static uint8_t body[200000];
    begin();
    http_fixture_start(&fixture);
    cr_assert_eq(shake_hands(client_ctx(0)), 1);
    cr_assert(http_client_send_str(&client, "POST /echo HTTP/1.1\r\n" HOST
                                            "Content-Length: 300000\r\n\r\n"));
    (void)http_client_send(&client, body, sizeof(body));
    cr_assert_eq(http_client_read(&client, &reply, false), 1);
    cr_expect_eq(reply.status, 413);
    end();
}

Test(http_tls, refuses_a_certificate_that_is_not_of_the_key)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY *other = NULL;
    X509 *cert = NULL;
    X509 *other_cert = NULL;
    SSL_CTX *ctx = NULL;
    struct kv_err err = KV_ERR_INIT;
    http_fixture_cert(false, "v.example", &key, &cert);
    http_fixture_cert(false, "v.example", &other, &other_cert);
    STACK_OF(X509) *chain = sk_X509_new_null();
    cr_expect_eq(kv_http_tls_ctx(&ctx, key, chain, &err), KV_E_INVALID, "empty chain");
    cr_expect_eq(kv_http_tls_ctx(&ctx, key, NULL, NULL), KV_E_INVALID, "no chain");
    sk_X509_push(chain, other_cert);
    err = KV_ERR_INIT;
    cr_expect_eq(kv_http_tls_ctx(&ctx, key, chain, &err), KV_E_CRYPTO);
    cr_expect_str_eq(err.id, "http.tls-setup");
    cr_expect_null(ctx);
    cr_expect_eq(kv_http_tls_ctx(&ctx, other, chain, NULL), 0);
    SSL_CTX_free(ctx);
    sk_X509_free(chain);
    X509_free(cert);
    X509_free(other_cert);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}

Test(http_tls, a_flood_of_the_port_leaves_room_on_the_unix_socket)
{
    struct http_client flood[10];
    const struct timespec pause = {.tv_nsec = 100000000};
    begin();
    fixture.limits.connections_max = KV_HTTP_RESERVE_DIVISOR;
    http_fixture_start(&fixture);
    for (size_t i = 0; i < 10; i++)
        http_client_open_tcp(&flood[i], &fixture);
    (void)nanosleep(&pause, NULL); /* all that can be are accepted */
    http_client_open(&client, &fixture);
    http_client_expect(&client, &reply, GET("/hello"), 200, "hello");
    for (size_t i = 0; i < 10; i++)
        http_client_close(&flood[i]);
    end();
}
