/* Listening sockets by path and by abstract name, and who the kernel says came. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/keyring/channel.h"
#include "tests/support/channel_client.h"

TestSuite(listen, .timeout = 20);

static char dir[64];
static char path[96];

static void setup(void)
{
    (void)strcpy(dir, "/tmp/kv-listen-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/s", dir);
}

static void teardown(void)
{
    (void)unlink(path); /* a test may have none */
    cr_assert_eq(rmdir(dir), 0);
}

static void accept_self(int listen_fd, const char *name)
{
    struct kv_channel_client client;
    struct kv_peer peer = {.uid = 12345};
    cr_assert_lt(kv_accept_unix(listen_fd, &peer), 0, "nobody waits");
    cr_assert_eq(errno, EAGAIN);
    cr_assert_eq(kv_channel_client_open(&client, name), 0);
    const int fd = kv_accept_unix(listen_fd, &peer);
    cr_assert_geq(fd, 0);
    cr_expect_eq(peer.uid, geteuid());
    cr_expect_eq(peer.gid, getegid());
    cr_expect_eq(peer.pid, getpid());
    cr_expect_neq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    cr_expect_neq(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    close(fd);
    kv_channel_client_close(&client);
}

Test(listen, path_with_its_mode_replaces_an_old_socket, .init = setup, .fini = teardown)
{
    struct stat st;
    for (int i = 0; i < 2; i++) {
        const int fd = kv_listen_unix(path, 0660, NULL);
        cr_assert_geq(fd, 0, "round %d", i);
        cr_assert_eq(lstat(path, &st), 0);
        cr_expect(S_ISSOCK(st.st_mode));
        cr_expect_eq(st.st_mode & 07777, 0660);
        accept_self(fd, path);
        close(fd); /* its name stays, as after a crash */
    }
}

Test(listen, anything_else_of_that_name_is_kept, .init = setup, .fini = teardown)
{
    struct kv_err err = KV_ERR_INIT;
    const int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(file, 0);
    cr_assert_eq(write(file, "x", 1), 1);
    close(file);
    cr_expect_lt(kv_listen_unix(path, 0660, &err), 0);
    cr_expect_str_eq(err.id, "channel.bind-failed");
    struct stat st;
    cr_assert_eq(lstat(path, &st), 0);
    cr_expect(S_ISREG(st.st_mode) && st.st_size == 1);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(symlink("/etc/passwd", path), 0);
    cr_expect_lt(kv_listen_unix(path, 0660, NULL), 0, "a link is not followed");
}

Test(listen, abstract_name_belongs_to_the_first)
{
    char name[64];
    struct kv_err err = KV_ERR_INIT;
    (void)snprintf(name, sizeof(name), "@kv-listen-%d", getpid());
    const int fd = kv_listen_unix(name, 0, NULL);
    cr_assert_geq(fd, 0);
    accept_self(fd, name);
    cr_expect_lt(kv_listen_unix(name, 0, &err), 0);
    cr_expect_str_eq(err.id, "channel.bind-failed");
    close(fd);
}

Test(listen, names_have_a_length)
{
    static char longest[200];
    struct kv_err err = KV_ERR_INIT;
    memset(longest, 'x', sizeof(longest) - 1);
    cr_expect_lt(kv_listen_unix(longest, 0600, &err), 0);
    cr_expect_str_eq(err.id, "channel.bind-failed");
    cr_expect_lt(kv_listen_unix("", 0600, NULL), 0);
    cr_expect_lt(kv_listen_unix("/nonexistent/s", 0600, NULL), 0);
}
