/*
 * Unix listening sockets by path and by abstract name. libuv of Debian 12 binds no
 * abstract names, so both are made here and watched with uv_poll.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "store/keyring/channel.h"

#define BACKLOG 1024

static int fail(struct kv_err *err, int fd, const char *name)
{
    const int saved = errno;
    if (fd >= 0)
        close(fd);
    (void)kv_err_errno(err, saved, "channel.bind-failed", name);
    return -1;
}

int kv_listen_unix(const char *name, mode_t mode, struct kv_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t len = strlen(name);
    if (len == 0 || len >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return fail(err, -1, name);
    }
    memcpy(address.sun_path, name, len);
    socklen_t address_len = sizeof(address);
    const bool is_abstract = name[0] == '@';
    if (is_abstract) {
        address.sun_path[0] = '\0';
        address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    } else {
        struct stat st;
        if (lstat(name, &st) == 0 && S_ISSOCK(st.st_mode) && unlink(name) != 0)
            return fail(err, -1, name);
    }
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(err, -1, name);
    /* Nobody connects between bind and chmod: the socket does not listen yet. */
    if (bind(fd, (const struct sockaddr *)&address, address_len) != 0 ||
        (!is_abstract && chmod(name, mode) != 0) || listen(fd, BACKLOG) != 0)
        return fail(err, fd, name);
    return fd;
}

int kv_accept_unix(int listen_fd, struct kv_peer *peer)
{
    const int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return -1;
    struct ucred cred;
    socklen_t len = sizeof(cred);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0) {
        const int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    *peer = (struct kv_peer){.uid = cred.uid, .gid = cred.gid, .pid = cred.pid};
    return fd;
}
