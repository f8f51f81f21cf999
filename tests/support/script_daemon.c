#include "tests/support/script_daemon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_CONNECTIONS 16
#define MAX_ANSWER 100000

static char dir[32];
static char address[64];
static int listener = -1;
static struct {
    int client;
    int end; /* the daemon's */
    size_t done;
} connections[MAX_CONNECTIONS];
static unsigned n_connections;
static const uint8_t *answer;
static size_t answer_len;

int __real_connect(int fd, const struct sockaddr *addr, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t len);
ssize_t __real_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);

int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    if (n_connections == MAX_CONNECTIONS) {
        errno = ECONNREFUSED; /* who comes back for ever gets nothing */
        return -1;
    }
    int rc = __real_connect(fd, addr, len);
    if (rc != 0 || listener < 0)
        return rc;
    int end = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (end < 0)
        abort();
    connections[n_connections].client = fd;
    connections[n_connections].end = end;
    connections[n_connections++].done = 0;
    return 0;
}

/* As much as says of itself that it is one frame, else all that is left. */
static size_t next_piece(const uint8_t *at, size_t len)
{
    size_t said = len;
    if (len >= 4)
        said = 4 + ((size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 |
                    (size_t)at[3] << 24);
    return said < len ? said : len;
}

/* The request is on its way: the reply comes at once. */
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
    ssize_t sent = __real_send(fd, data, len, flags);
    for (unsigned i = n_connections; i > 0; i--) {
        if (connections[i - 1].client != fd)
            continue;
        size_t *done = &connections[i - 1].done;
        size_t piece = next_piece(answer + *done, answer_len - *done);
        (void)__real_send(connections[i - 1].end, answer + *done, piece,
                          MSG_NOSIGNAL | MSG_DONTWAIT); /* it fits */
        *done += piece;
        if (*done == answer_len)
            (void)shutdown(connections[i - 1].end, SHUT_WR);
        break;
    }
    return sent;
}

static void clean_up(void)
{
    (void)unlink(address);
    (void)rmdir(dir);
}

const char *script_daemon_start(void)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    const int room = MAX_ANSWER * 4;
    (void)snprintf(dir, sizeof(dir), "/tmp/kv-script.XXXXXX");
    if (mkdtemp(dir) == NULL || atexit(clean_up) != 0)
        abort();
    (void)snprintf(address, sizeof(address), "%s/keys.sock", dir);
    (void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", address);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 ||
        setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)) != 0 ||
        bind(listener, (struct sockaddr *)&sun, sizeof(sun)) != 0 ||
        listen(listener, MAX_CONNECTIONS) != 0)
        abort();
    return address;
}

void script_daemon_answer(const uint8_t *data, size_t len)
{
    answer = data;
    answer_len = len < MAX_ANSWER ? len : MAX_ANSWER;
}

unsigned script_daemon_hang_up(void)
{
    const unsigned n = n_connections;
    while (n_connections > 0)
        (void)close(connections[--n_connections].end);
    return n;
}
