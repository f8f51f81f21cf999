/*
 * systemd's notification is one datagram to a Unix socket (sd_notify(3)); linking
 * libsystemd into the key process for that would cost more than it gives.
 */
#include "store/keyring/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int kv_notify(const char *state, struct kv_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *name = getenv("NOTIFY_SOCKET");
    if (name == NULL || name[0] == '\0')
        return 0;
    const size_t len = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || len >= sizeof(address.sun_path))
        return kv_err_set(err, KV_E_INVALID, "notify.failed",
                          "$NOTIFY_SOCKET is not the name of a socket");
    memcpy(address.sun_path, name, len);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    const socklen_t address_len =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int rc = 0;
    if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL,
                         (const struct sockaddr *)&address, address_len) < 0)
        rc = kv_err_errno(err, errno, "notify.failed", name);
    if (fd >= 0)
        close(fd);
    return rc;
}
