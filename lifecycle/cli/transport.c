/*
 * Sockets and TLS for http.c.
 *
 * Names below "localhost" mean this machine (RFC 6761 §6.3) although plain glibc does
 * not resolve them, so they are not looked up. TLS trusts the one CA it is given, or
 * the system's when it is given none; the host name is always checked.
 */
#include "lifecycle/cli/transport.h"

#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "store/core/str.h"

void kv_transport_init(struct kv_transport *transport)
{
    *transport = (struct kv_transport){.fd = -1};
}

void kv_transport_fini(struct kv_transport *transport)
{
    kv_transport_disconnect(transport);
    SSL_CTX_free(transport->tls);
    transport->tls = NULL;
}

int kv_transport_set_unix(struct kv_transport *transport, const char *path,
                          struct kv_err *err)
{
    if (kv_str_copy(transport->path, sizeof(transport->path), path) != 0)
        return kv_err_set(err, KV_E_INVALID, "cli.bad-api",
                          "the path of the API's socket is longer than %zu bytes",
                          sizeof(transport->path) - 1);
    return 0;
}

int kv_transport_set_tls(struct kv_transport *transport, const char *ca,
                         struct kv_err *err)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (tls == NULL)
        return KV_E_NOMEM;
    int ok = SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) == 1 ? 1 : 0;
    if (ok == 1)
        ok = ca != NULL ? SSL_CTX_load_verify_file(tls, ca)
                        : SSL_CTX_set_default_verify_paths(tls);
    ERR_clear_error();
    if (ok != 1) {
        SSL_CTX_free(tls);
        (void)kv_err_set(err, KV_E_IO, "cli.bad-ca",
                         "%s is no file of CA certificates in PEM",
                         ca != NULL ? ca : "the system's trust store");
        kv_err_hint(err, "set KEYVAULT_CA to the CA file; keyvaultd --dev DIR writes "
                         "DIR/ca.pem");
        return KV_E_IO;
    }
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    transport->tls = tls;
    return 0;
}

bool kv_transport_is_connected(const struct kv_transport *transport)
{
    return transport->fd >= 0;
}

void kv_transport_disconnect(struct kv_transport *transport)
{
    SSL_free(transport->ssl);
    transport->ssl = NULL;
    if (transport->fd >= 0)
        (void)close(transport->fd);
    transport->fd = -1;
}

static int unreachable(int errno_value, const char *where, struct kv_err *err)
{
    if (errno_value == EACCES || errno_value == EPERM) {
        (void)kv_err_set(err, KV_E_DENIED, "cli.socket-denied",
                         "this user may not open %s", where);
        kv_err_hint(err, "run it as the user that started keyvaultd, or as a member of "
                         "keyvault-admin");
        return KV_E_DENIED;
    }
    (void)kv_err_set(err, KV_E_UNAVAILABLE, "cli.unreachable",
                     "the API cannot be reached at %s: %s", where,
                     strerror(errno_value));
    kv_err_hint(err,
                "is keyvaultd running? Is KEYVAULT_API right? keyvault doctor looks");
    return KV_E_UNAVAILABLE;
}

static int set_waits(int fd)
{
    struct timeval wait = {.tv_sec = KV_TRANSPORT_WAIT_S};
    return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) |
           setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
}

static int connect_unix(struct kv_transport *transport, struct kv_err *err)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, transport->path, strlen(transport->path));
    transport->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (transport->fd < 0 || set_waits(transport->fd) != 0 ||
        connect(transport->fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        return unreachable(errno, transport->path, err);
    return 0;
}

static bool is_below_localhost(const char *host)
{
    size_t len = strlen(host);
    return strcasecmp(host, "localhost") == 0 ||
           (len > 10 && strcasecmp(host + len - 10, ".localhost") == 0);
}

/* Host without the brackets of a numeric IPv6 address. */
static void bare_host(const char *host, char *out, size_t out_size)
{
    size_t len = strlen(host);
    if (len > 2 && host[0] == '[' && host[len - 1] == ']')
        kv_str_cut(out, out_size, host + 1, len - 2);
    else
        kv_str_cut(out, out_size, host, len);
}

static int connect_tcp(struct kv_transport *transport, const char *host,
                       const char *port, struct kv_err *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int failed =
        getaddrinfo(is_below_localhost(host) ? "127.0.0.1" : host, port, &hints, &list);
    if (failed != 0) {
        (void)kv_err_set(err, KV_E_UNAVAILABLE, "cli.unreachable",
                         "the host %s is not known: %s", host, gai_strerror(failed));
        return KV_E_UNAVAILABLE;
    }
    int last = ECONNREFUSED;
    for (struct addrinfo *a = list; a != NULL && transport->fd < 0; a = a->ai_next) {
        int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && set_waits(fd) == 0 &&
            connect(fd, a->ai_addr, a->ai_addrlen) == 0) {
            transport->fd = fd;
        } else {
            last = errno;
            if (fd >= 0)
                (void)close(fd);
        }
    }
    freeaddrinfo(list);
    return transport->fd >= 0 ? 0 : unreachable(last, host, err);
}

static int tls_failed(const SSL *ssl, const char *host, struct kv_err *err)
{
    long verify = SSL_get_verify_result(ssl);
    unsigned long code = ERR_peek_last_error();
    const char *why = verify != X509_V_OK ? X509_verify_cert_error_string(verify)
                      : code != 0         ? ERR_reason_error_string(code)
                                          : NULL;
    (void)kv_err_set(err, KV_E_INTEGRITY, "cli.tls", "no TLS with %s: %s", host,
                     why != NULL ? why : "the handshake broke off");
    kv_err_hint(err, "KEYVAULT_CA must name the CA that signed the API's certificate");
    ERR_clear_error();
    return KV_E_INTEGRITY;
}

static int start_tls(struct kv_transport *transport, const char *host,
                     struct kv_err *err)
{
    transport->ssl = SSL_new(transport->tls);
    if (transport->ssl == NULL)
        return KV_E_NOMEM;
    X509_VERIFY_PARAM *param = SSL_get0_param(transport->ssl);
    bool is_address = X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    ERR_clear_error();
    if (!is_address && (SSL_set1_host(transport->ssl, host) != 1 ||
                        SSL_set_tlsext_host_name(transport->ssl, host) != 1))
        return KV_E_NOMEM;
    if (SSL_set_fd(transport->ssl, transport->fd) != 1)
        return KV_E_NOMEM;
    return SSL_connect(transport->ssl) == 1 ? 0 : tls_failed(transport->ssl, host, err);
}

int kv_transport_connect(struct kv_transport *transport, const char *host,
                         const char *port, struct kv_err *err)
{
    char bare[256];
    int rc = 0;
    if (kv_transport_is_connected(transport))
        return 0;
    if (transport->path[0] != '\0') {
        rc = connect_unix(transport, err);
    } else {
        bare_host(host, bare, sizeof(bare));
        rc = connect_tcp(transport, bare, port, err);
        if (rc == 0)
            rc = start_tls(transport, bare, err);
    }
    if (rc != 0)
        kv_transport_disconnect(transport);
    return rc;
}

static int io_failed(int errno_value, struct kv_err *err)
{
    if (errno_value == EAGAIN || errno_value == EWOULDBLOCK)
        return kv_err_set(err, KV_E_TIMEOUT, "cli.timeout",
                          "the API gives no answer within %d s", KV_TRANSPORT_WAIT_S);
    return kv_err_set(err, KV_E_UNAVAILABLE, "cli.unreachable",
                      "the connection to the API broke: %s",
                      errno_value != 0 ? strerror(errno_value) : "closed");
}

int kv_transport_write(struct kv_transport *transport, const uint8_t *data, size_t len,
                       struct kv_err *err)
{
    while (len > 0) {
        size_t done = 0;
        errno = 0;
        if (transport->ssl != NULL) {
            if (SSL_write_ex(transport->ssl, data, len, &done) != 1)
                return io_failed(errno, err);
        } else {
            ssize_t n = send(transport->fd, data, len, MSG_NOSIGNAL);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0)
                return io_failed(errno, err);
            done = (size_t)n;
        }
        data += done;
        len -= done;
    }
    return 0;
}

int kv_transport_read(struct kv_transport *transport, uint8_t *out, size_t out_size,
                      size_t *n, struct kv_err *err)
{
    *n = 0;
    errno = 0;
    if (transport->ssl != NULL) {
        if (SSL_read_ex(transport->ssl, out, out_size, n) == 1)
            return 0;
        int why = SSL_get_error(transport->ssl, 0);
        return why == SSL_ERROR_ZERO_RETURN ? 0 : io_failed(errno, err);
    }
    ssize_t got = 0;
    do {
        got = recv(transport->fd, out, out_size, 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && errno == ECONNRESET)
        return 0;
    if (got < 0)
        return io_failed(errno, err);
    *n = (size_t)got;
    return 0;
}
