/*
 * Who is at the other end: kernel credentials of a Unix peer, the numeric address of a
 * TCP peer, and the key under which connections of one source are counted.
 */
#include "lifecycle/http/internal.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static int find_unix(struct kv_http_conn *conn)
{
    uv_os_fd_t fd = -1;
    struct ucred cred;
    socklen_t len = sizeof(cred);
    if (uv_fileno(&conn->io.handle, &fd) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
        return KV_E_IO;
    conn->peer.uid = cred.uid;
    conn->peer.gid = cred.gid;
    conn->peer.pid = cred.pid;
    (void)snprintf(conn->peer.address, sizeof(conn->peer.address), "unix");
    conn->peer_key.bytes[0] = 'u';
    memcpy(conn->peer_key.bytes + 4, &cred.uid, sizeof(cred.uid));
    return 0;
}

static void key_v4(struct kv_http_conn *conn, const void *address)
{
    conn->peer_key.bytes[0] = '4';
    memcpy(conn->peer_key.bytes + 4, address, 4);
    (void)inet_ntop(AF_INET, address, conn->peer.address, sizeof(conn->peer.address));
}

static int find_tcp(struct kv_http_conn *conn)
{
    struct sockaddr_storage address = {0};
    int len = sizeof(address);
    if (uv_tcp_getpeername(&conn->io.tcp, (struct sockaddr *)&address, &len) != 0)
        return KV_E_IO;
    if (address.ss_family == AF_INET) {
        key_v4(conn, &((const struct sockaddr_in *)&address)->sin_addr);
        return 0;
    }
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)&address)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(v6)) {
        key_v4(conn, v6->s6_addr + 12);
        return 0;
    }
    /* One host owns a /64 at least: its addresses count together. */
    conn->peer_key.bytes[0] = '6';
    memcpy(conn->peer_key.bytes + 4, v6->s6_addr, 8);
    (void)inet_ntop(AF_INET6, v6, conn->peer.address, sizeof(conn->peer.address));
    return 0;
}

int kv_http_peer_find(struct kv_http_conn *conn)
{
    return conn->peer.is_unix ? find_unix(conn) : find_tcp(conn);
}

bool kv_http_peer_hung_up(const struct kv_http_conn *conn)
{
    uv_os_fd_t fd = -1;
    if (uv_fileno(&conn->io.handle, &fd) != 0)
        return true;
    struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
    return poll(&pollfd, 1, 0) > 0 && (pollfd.revents & (POLLHUP | POLLERR)) != 0;
}
