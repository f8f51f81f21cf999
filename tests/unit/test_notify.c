/* One datagram to the socket that systemd names, by path or by abstract name. */
#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "store/keyring/notify.h"

TestSuite(notify, .timeout = 20);

/* Listen at `name`; a leading '@' means the abstract one. */
static int listen_at(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, name, strlen(name));
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(
        bind(fd, (const struct sockaddr *)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
        0);
    return fd;
}

static void expect_message(int fd)
{
    char text[64] = "";
    cr_expect_eq(recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT), 7);
    cr_expect_str_eq(text, "READY=1");
    close(fd);
}

Test(notify, tells_the_socket_of_the_environment)
{
    char path[] = "/tmp/kv-notify-XXXXXX";
    char name[64];
    cr_assert_not_null(mkdtemp(path));
    (void)snprintf(name, sizeof(name), "%s/s", path);
    int fd = listen_at(name);
    cr_assert_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
    cr_expect_eq(kv_notify("READY=1", NULL), 0);
    expect_message(fd);
    cr_assert_eq(unlink(name), 0);
    cr_assert_eq(rmdir(path), 0);

    (void)snprintf(name, sizeof(name), "@kv-notify-%d", getpid());
    fd = listen_at(name);
    cr_assert_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
    cr_expect_eq(kv_notify("READY=1", NULL), 0);
    expect_message(fd);
}

Test(notify, nobody_asked_is_no_failure)
{
    cr_assert_eq(unsetenv("NOTIFY_SOCKET"), 0);
    cr_expect_eq(kv_notify("READY=1", NULL), 0);
    cr_assert_eq(setenv("NOTIFY_SOCKET", "", 1), 0);
    cr_expect_eq(kv_notify("READY=1", NULL), 0);
}

Test(notify, a_name_that_is_none_or_leads_nowhere_is_told)
{
    static char longest[200];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[0] = '/';
    const struct {
        const char *name;
        int rc;
    } rows[] = {{"vsock:2:1", KV_E_INVALID},
                {longest, KV_E_INVALID},
                {"/nonexistent/socket", KV_E_IO}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_err err = KV_ERR_INIT;
        cr_assert_eq(setenv("NOTIFY_SOCKET", rows[i].name, 1), 0);
        cr_expect_eq(kv_notify("READY=1", &err), rows[i].rc, "row %zu", i);
        cr_expect_str_eq(err.id, "notify.failed");
    }
}
