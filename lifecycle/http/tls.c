/*
 * TLS: the house rules for contexts, and a session over two memory BIOs.
 *
 * Ciphertext from the socket goes into the read BIO, what OpenSSL wants to send is
 * taken from the write BIO; the session never sees a descriptor. Sessions are not
 * resumed (no tickets, no cache): a client certificate is checked on every connection
 * and no ticket key has to be kept or rotated.
 */
#include "lifecycle/http/internal.h"

#include <openssl/err.h>
#include <string.h>

#define RECORD_BYTES 16384

static const char CIPHERS_1_2[] = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!PSK";
static const char GROUPS[] = "X25519:P-256:P-384";

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *arg)
{
    (void)ssl;
    (void)arg;
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen = NULL;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool ctx_set_up(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    return SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
           SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ctx, CIPHERS_1_2) == 1 &&
           SSL_CTX_set1_groups_list(ctx, GROUPS) == 1;
}

/* Who issued it does not matter: callers are known by their key. */
static int accept_any(X509_STORE_CTX *store, void *arg)
{
    (void)store;
    (void)arg;
    return 1;
}

void kv_http_tls_ask_certificate(SSL_CTX *ctx)
{
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, accept_any, NULL);
}

static int crypto_error(struct kv_err *err, const char *what)
{
    char text[160];
    ERR_error_string_n(ERR_peek_last_error(), text, sizeof(text));
    ERR_clear_error();
    return kv_err_set(err, KV_E_CRYPTO, "http.tls-setup", "%s: %s", what, text);
}

int kv_http_tls_ctx(SSL_CTX **out, EVP_PKEY *key, STACK_OF(X509) * chain,
                    struct kv_err *err)
{
    int n = chain != NULL ? sk_X509_num(chain) : 0;
    if (n < 1)
        return kv_err_set(err, KV_E_INVALID, "http.tls-setup",
                          "the server certificate is missing");
    int rc = 0;
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    STACK_OF(X509) *rest = sk_X509_dup(chain);
    if (ctx == NULL || rest == NULL) {
        rc = KV_E_NOMEM;
        goto out;
    }
    X509 *leaf = sk_X509_shift(rest);
    if (!ctx_set_up(ctx)) {
        rc = crypto_error(err, "TLS settings");
        goto out;
    }
    if (SSL_CTX_use_cert_and_key(ctx, leaf, key, rest, 1) != 1) {
        rc = crypto_error(err, "server certificate and key");
        goto out;
    }
    *out = ctx;
    ctx = NULL;
out:
    sk_X509_free(rest);
    SSL_CTX_free(ctx);
    return rc;
}

int kv_http_tls_start(struct kv_http_conn *conn, SSL_CTX *ctx)
{
    BIO *in = BIO_new(BIO_s_mem());
    BIO *out = BIO_new(BIO_s_mem());
    conn->ssl = SSL_new(ctx);
    if (conn->ssl == NULL || in == NULL || out == NULL) {
        BIO_free(in);
        BIO_free(out);
        ERR_clear_error();
        return KV_E_NOMEM;
    }
    SSL_set_bio(conn->ssl, in, out);
    SSL_set_accept_state(conn->ssl);
    return 0;
}

/* Sort the outcome of an SSL call: 0 needs more input, KV_E_STATE clean end of the
 * peer, KV_E_CRYPTO failed. */
static int sort_result(struct kv_http_conn *conn, int result)
{
    switch (SSL_get_error(conn->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return KV_E_STATE;
    default:
        conn->is_tls_dead = true;
        kv_log(conn->server->log, KV_LOG_DEBUG, "http.tls-failed",
               KV_S("peer", conn->peer.address),
               KV_S("reason", ERR_reason_error_string(ERR_peek_last_error())));
        ERR_clear_error();
        return KV_E_CRYPTO;
    }
}

int kv_http_tls_handshake(struct kv_http_conn *conn)
{
    ERR_clear_error();
    int result = SSL_do_handshake(conn->ssl);
    if (result != 1)
        return sort_result(conn, result);
    conn->peer.certificate = SSL_get0_peer_certificate(conn->ssl);
    return 1;
}

int kv_http_tls_put(struct kv_http_conn *conn, const uint8_t *data, size_t len)
{
    size_t written = 0;
    if (BIO_write_ex(SSL_get_rbio(conn->ssl), data, len, &written) != 1 ||
        written != len) {
        ERR_clear_error();
        return KV_E_NOMEM;
    }
    return 0;
}

int kv_http_tls_read(struct kv_http_conn *conn)
{
    size_t before = conn->in.len;
    uint8_t *room = kv_buf_extend(&conn->in, RECORD_BYTES);
    if (room == NULL)
        return KV_E_NOMEM;
    size_t n = 0;
    ERR_clear_error();
    int result = SSL_read_ex(conn->ssl, room, RECORD_BYTES, &n);
    kv_buf_truncate(&conn->in, before + (result == 1 ? n : 0));
    if (result == 1)
        return 1;
    int rc = sort_result(conn, result);
    if (rc == KV_E_STATE) {
        conn->is_eof = true;
        rc = 0;
    }
    return rc;
}

/* Move ciphertext from the write BIO to the wire buffer. */
static int take_ciphertext(struct kv_http_conn *conn)
{
    BIO *bio = SSL_get_wbio(conn->ssl);
    size_t pending = BIO_ctrl_pending(bio);
    if (pending == 0)
        return 0;
    uint8_t *room = kv_buf_extend(&conn->wire, pending);
    size_t n = 0;
    if (room == NULL || BIO_read_ex(bio, room, pending, &n) != 1 || n != pending)
        return KV_E_NOMEM;
    return 0;
}

int kv_http_tls_write(struct kv_http_conn *conn)
{
    int rc = take_ciphertext(conn);
    while (rc == 0 && conn->out_sent < conn->out.len &&
           conn->wire.len < KV_HTTP_SLICE_BYTES && !conn->is_tls_dead) {
        size_t left = conn->out.len - conn->out_sent;
        size_t n = 0;
        ERR_clear_error();
        int result = SSL_write_ex(conn->ssl, conn->out.data + conn->out_sent,
                                  left < RECORD_BYTES ? left : RECORD_BYTES, &n);
        if (result != 1) {
            conn->is_tls_dead = true;
            ERR_clear_error();
            return KV_E_CRYPTO;
        }
        conn->out_sent += n;
        rc = take_ciphertext(conn);
    }
    return rc;
}

size_t kv_http_tls_pending(const struct kv_http_conn *conn)
{
    return conn->ssl != NULL ? BIO_ctrl_pending(SSL_get_rbio(conn->ssl)) : 0;
}

size_t kv_http_tls_unsent(const struct kv_http_conn *conn)
{
    return conn->ssl != NULL ? BIO_ctrl_pending(SSL_get_wbio(conn->ssl)) : 0;
}

void kv_http_tls_end(struct kv_http_conn *conn)
{
    if (conn->is_tls_dead || !SSL_is_init_finished(conn->ssl))
        return;
    ERR_clear_error();
    (void)SSL_shutdown(conn->ssl); /* sends close_notify; the peer's is not awaited */
    ERR_clear_error();
}
