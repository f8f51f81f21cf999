/*
 * Listening sockets: TCP (TLS) and Unix.
 *
 * A Unix socket file is replaced only when nobody answers on it, is created with no
 * more permissions than asked for (the mode is set on the descriptor before bind), and
 * is removed at the end only if it is still the one we made. When the server is full,
 * the listener leaves the next connection unaccepted, which makes libuv stop polling.
 */
#include "lifecycle/http/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 511
#define RETRY_MS 100

static void on_listener_closed(uv_handle_t *handle)
{
    struct kv_http_listener *listener = handle->data;
    struct kv_http_server *server = listener->server;
    free(listener->path);
    free(listener);
    server->n_handles--;
    kv_http_server_check_stopped(server);
}

/* Remove the socket file if it is still ours. */
static void remove_path(const struct kv_http_listener *listener)
{
    struct stat st;
    if (listener->path != NULL && lstat(listener->path, &st) == 0 &&
        st.st_dev == listener->dev && st.st_ino == listener->ino)
        (void)unlink(listener->path); /* a file left behind is replaced next time */
}

void kv_http_listener_close(struct kv_http_listener *listener)
{
    remove_path(listener);
    uv_close(&listener->io.handle, on_listener_closed);
}

/* The network never takes the last connections: an administrator on the Unix socket
 * gets in while somebody floods the port. */
static bool is_full(const struct kv_http_listener *listener)
{
    const struct kv_http_server *server = listener->server;
    const unsigned max = server->limits.connections_max;
    const unsigned reserve = listener->is_unix ? 0 : max / KV_HTTP_RESERVE_DIVISOR;
    return server->n_conns >= max - reserve;
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct kv_http_listener *listener = stream->data;
    struct kv_http_server *server = listener->server;
    if (status < 0) {
        if (kv_http_server_may_warn(server))
            kv_log(server->log, KV_LOG_WARN, "http.accept-failed",
                   KV_S("error", uv_err_name(status)));
        return;
    }
    if (is_full(listener)) {
        listener->is_waiting = true;
        return;
    }
    kv_http_conn_accept(listener);
}

void kv_http_listen_resume(struct kv_http_server *server)
{
    for (struct kv_http_listener *l = server->listeners; l != NULL; l = l->next) {
        if (l->is_waiting && !is_full(l)) {
            l->is_waiting = false;
            kv_http_conn_accept(l);
        }
    }
}

static void on_retry(uv_timer_t *timer)
{
    kv_http_listen_resume(timer->data);
}

void kv_http_listen_retry(struct kv_http_server *server)
{
    if (!server->is_stopping)
        (void)uv_timer_start(&server->timer, on_retry, RETRY_MS, 0);
}

static struct kv_http_listener *listener_new(struct kv_http_server *server)
{
    struct kv_http_listener *listener = calloc(1, sizeof(*listener));
    if (listener != NULL)
        listener->server = server;
    return listener;
}

/* The handle is initialised: from here on it is freed by its close callback. */
static void listener_opened(struct kv_http_listener *listener)
{
    listener->io.handle.data = listener;
    listener->server->n_handles++;
}

static int listener_start(struct kv_http_listener *listener, struct kv_err *err)
{
    struct kv_http_server *server = listener->server;
    int status = uv_listen(&listener->io.stream, BACKLOG, on_connection);
    if (status != 0)
        return kv_err_errno(err, -status, "http.listen", "listen");
    listener->next = server->listeners;
    server->listeners = listener;
    return 0;
}

static int port_of(const uv_tcp_t *tcp, uint16_t *port)
{
    struct sockaddr_storage address = {0};
    int len = sizeof(address);
    if (uv_tcp_getsockname(tcp, (struct sockaddr *)&address, &len) != 0)
        return KV_E_IO;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
    *port = ntohs(address.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
    return 0;
}

int kv_http_listen_tls(struct kv_http_server *server, const char *host, uint16_t port,
                       SSL_CTX *ctx, struct kv_err *err)
{
    struct sockaddr_storage address = {0};
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)&address) != 0 &&
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)&address) != 0)
        return kv_err_set(err, KV_E_INVALID, "http.bad-address",
                          "listen address '%s' is not a numeric IP address", host);
    struct kv_http_listener *listener = listener_new(server);
    if (listener == NULL)
        return KV_E_NOMEM;
    KV_ASSERT(uv_tcp_init(server->loop, &listener->io.tcp) == 0);
    listener_opened(listener);
    int rc = 0;
    int status = uv_tcp_bind(&listener->io.tcp, (struct sockaddr *)&address, 0);
    if (status != 0) {
        rc = kv_err_errno(err, -status, "http.listen", "bind");
        goto out;
    }
    KV_TRY(listener_start(listener, err));
    kv_http_server_set_tls(server, ctx);
    if (server->port == 0)
        (void)port_of(&listener->io.tcp, &server->port); /* stays 0: not listening */
    kv_log(server->log, KV_LOG_INFO, "http.listening", KV_S("host", host),
           KV_I("port", server->port));
out:
    if (rc != 0) {
        kv_err_context(err, "HTTPS on %s port %u", host, port);
        uv_close(&listener->io.handle, on_listener_closed);
    }
    return rc;
}

/* Make room for our socket file: remove a dead one, refuse anything else. */
static int clear_path(const struct sockaddr_un *address, struct kv_err *err)
{
    const char *path = address->sun_path;
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : kv_err_errno(err, errno, "http.listen", path);
    if (!S_ISSOCK(st.st_mode))
        return kv_err_set(err, KV_E_EXISTS, "http.socket-taken",
                          "'%s' exists and is not a socket", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return kv_err_errno(err, errno, "http.listen", "socket");
    int status = connect(fd, (const struct sockaddr *)address, sizeof(*address));
    int error = status == 0 ? 0 : errno;
    (void)close(fd); /* nothing was written to it */
    if (error == 0 || error == EAGAIN)
        return kv_err_set(err, KV_E_EXISTS, "http.socket-taken",
                          "another process is listening on '%s'", path);
    if (error != ECONNREFUSED && error != ENOENT)
        return kv_err_errno(err, error, "http.listen", path);
    if (unlink(path) != 0 && errno != ENOENT)
        return kv_err_errno(err, errno, "http.listen", path);
    return 0;
}

static int bind_unix(struct kv_http_listener *listener,
                     const struct sockaddr_un *address, mode_t mode, struct kv_err *err)
{
    struct stat st;
    int rc = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || fchmod(fd, mode & 0600) != 0 ||
        bind(fd, (const struct sockaddr *)address, sizeof(*address)) != 0) {
        rc = kv_err_errno(err, errno, "http.listen", address->sun_path);
        goto out;
    }
    listener->path = strdup(address->sun_path);
    if (listener->path == NULL) {
        (void)unlink(address->sun_path); /* ours, and nobody listens on it */
        rc = KV_E_NOMEM;
        goto out;
    }
    if (lstat(listener->path, &st) == 0) {
        listener->dev = st.st_dev;
        listener->ino = st.st_ino;
    }
    int status = uv_pipe_open(&listener->io.pipe, fd);
    if (status != 0) {
        rc = kv_err_errno(err, -status, "http.listen", "open");
        goto out;
    }
    fd = -1; /* the handle's now */
    KV_TRY(listener_start(listener, err));
out:
    if (fd >= 0)
        (void)close(fd); /* unused on failure */
    return rc;
}

int kv_http_listen_unix(struct kv_http_server *server, const char *path, mode_t mode,
                        struct kv_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || path[0] == '@' || len >= sizeof(address.sun_path))
        return kv_err_set(
            err, KV_E_INVALID, "http.bad-socket-path",
            "socket path '%s' is empty, abstract or longer than %zu bytes", path,
            sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, path, len);
    int rc = clear_path(&address, err);
    if (rc != 0)
        return rc;
    struct kv_http_listener *listener = listener_new(server);
    if (listener == NULL)
        return KV_E_NOMEM;
    listener->is_unix = true;
    KV_ASSERT(uv_pipe_init(server->loop, &listener->io.pipe, 0) == 0);
    listener_opened(listener);
    rc = bind_unix(listener, &address, mode, err);
    if (rc != 0) {
        kv_http_listener_close(listener);
        return rc;
    }
    if (chmod(path, mode) != 0) {
        rc = kv_err_errno(err, errno, "http.listen", path);
        server->listeners = listener->next;
        kv_http_listener_close(listener);
        return rc;
    }
    kv_log(server->log, KV_LOG_INFO, "http.listening", KV_S("path", path));
    return 0;
}
