#include "provider/conn.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/core/clock.h"
#include "tests/support/fake_keyring.h"

TestSuite(conn, .timeout = 20);

struct world {
    char dir[64];
    struct kv_conn_target target;
    struct fake_keyring *keyring;
    struct kv_conn conn;
};

static void open_world(struct world *world, enum fake_mode mode)
{
    (void)snprintf(world->dir, sizeof(world->dir), "/tmp/kv-conn.XXXXXX");
    cr_assert_not_null(mkdtemp(world->dir));
    world->target = (struct kv_conn_target){.server_uid = KV_CONN_ANY_SAFE_UID,
                                            .connect_timeout_ms = 300,
                                            .deadline_ms = INT64_MAX,
                                            .reply_timeout_ms = 300};
    (void)snprintf(world->target.address, sizeof(world->target.address), "%s/keys.sock",
                   world->dir);
    world->keyring = fake_keyring_start(world->target.address, NULL, mode);
    cr_assert_not_null(world->keyring);
    kv_conn_init(&world->conn);
}

static void close_world(struct world *world)
{
    kv_conn_close(&world->conn);
    fake_keyring_stop(world->keyring);
    (void)rmdir(world->dir);
}

static int ask(struct world *world, struct kv_frame *reply, struct kv_err *err)
{
    struct kv_msg_uri msg = {.uri = "keyvault:///keys/p256"};
    size_t begin = kv_conn_begin(&world->conn, KV_VERB_OPEN);
    kv_msg_uri_put(&world->conn.out, &msg);
    kv_frame_end(&world->conn.out, begin);
    return kv_conn_exchange(&world->conn, &world->target, reply, err);
}

Test(conn, asks_and_is_answered)
{
    struct world world;
    struct kv_frame reply;
    struct kv_msg_key key;
    open_world(&world, FAKE_GOOD);
    cr_assert_eq(kv_conn_open(&world.conn, &world.target, NULL), 0);
    cr_expect_eq(world.conn.server_uid, getuid());
    cr_expect_eq(world.conn.server_pid, getpid());
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(ask(&world, &reply, NULL), 0);
        cr_assert_eq(reply.status, 0);
        cr_assert_eq(kv_msg_key_get(reply.payload, &key), 0);
        cr_expect_eq(key.curve, KV_CURVE_P256);
    }
    close_world(&world);
}

Test(conn, wrong_uid_is_refused_before_a_byte_is_sent)
{
    struct world world;
    struct kv_err err = KV_ERR_INIT;
    open_world(&world, FAKE_GOOD);
    world.target.server_uid = (int64_t)getuid() + 1;
    cr_assert_eq(kv_conn_open(&world.conn, &world.target, &err), KV_E_DENIED);
    cr_expect_str_eq(err.id, "client.wrong-server");
    cr_expect_not_null(strstr(err.hint, "server-uid"));
    cr_expect_eq(world.conn.fd, -1);
    cr_expect_eq(fake_keyring_counts(world.keyring)->requests, 0);
    close_world(&world);
}

Test(conn, missing_socket_names_path_and_cure)
{
    struct world world;
    struct kv_err err = KV_ERR_INIT;
    open_world(&world, FAKE_GOOD);
    (void)snprintf(world.target.address, sizeof(world.target.address), "%s/none",
                   world.dir);
    cr_assert_eq(kv_conn_open(&world.conn, &world.target, &err), KV_E_UNAVAILABLE);
    cr_expect_not_null(strstr(err.message, world.target.address));
    cr_expect_not_null(strstr(err.hint, "keyvaultd"));
    close_world(&world);
}

static const struct hostile {
    enum fake_mode mode;
    int open_rc;
    int ask_rc;
    const char *id;
} hostile[] = {
    {FAKE_HANG_HELLO, KV_E_TIMEOUT, 0, "client.timeout"},
    {FAKE_HANG, 0, KV_E_TIMEOUT, "client.timeout"},
    {FAKE_CLOSE, 0, KV_E_UNAVAILABLE, "client.lost"},
    {FAKE_TRUNCATE, 0, KV_E_UNAVAILABLE, "client.lost"},
    {FAKE_OVERSIZE, 0, KV_E_INVALID, "client.bad-reply"},
    {FAKE_WRONG_ID, 0, KV_E_INVALID, "client.bad-reply"},
    {FAKE_DRIP, 0, KV_E_TIMEOUT, "client.timeout"},
    {FAKE_OTHER_VERSION, KV_E_UNSUPPORTED, 0, "client.version"},
    {FAKE_BAD_HELLO, KV_E_INVALID, 0, "client.bad-reply"},
    {FAKE_EARLY, 0, KV_E_INVALID, "client.bad-reply"},
    {FAKE_SHORT_LENGTH, 0, KV_E_INVALID, "client.bad-reply"},
    {FAKE_WRONG_VERB, 0, KV_E_INVALID, "client.bad-reply"},
    {FAKE_NO_FLAG, 0, KV_E_INVALID, "client.bad-reply"},
    {FAKE_POSITIVE_STATUS, 0, KV_E_INVALID, "client.bad-reply"},
    {FAKE_TRAILING, 0, KV_E_INVALID, "client.bad-reply"},
};
#define N_HOSTILE (sizeof(hostile) / sizeof(hostile[0]))

ParameterizedTestParameters(conn, hostile_servers_end_in_time)
{
    static size_t rows[N_HOSTILE];
    for (size_t i = 0; i < N_HOSTILE; i++)
        rows[i] = i;
    return cr_make_param_array(size_t, rows, N_HOSTILE);
}

ParameterizedTest(size_t *row, conn, hostile_servers_end_in_time, .timeout = 20)
{
    const struct hostile *h = &hostile[*row];
    struct world world;
    struct kv_frame reply;
    struct kv_err err = KV_ERR_INIT;
    open_world(&world, h->mode);
    int64_t start_ms = kv_monotonic_ms(kv_clock_system());
    cr_assert_eq(kv_conn_open(&world.conn, &world.target, &err), h->open_rc, "%s",
                 h->id);
    if (h->open_rc == 0)
        cr_expect_eq(ask(&world, &reply, &err), h->ask_rc, "%s", h->id);
    cr_expect_str_eq(err.id, h->id);
    cr_expect_lt(kv_monotonic_ms(kv_clock_system()) - start_ms, 2500, "%s", h->id);
    close_world(&world);
}

Test(conn, a_full_backlog_ends_in_time)
{
    struct world world;
    struct kv_err err = KV_ERR_INIT;
    open_world(&world, FAKE_GOOD);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr sun = {.sa_family = AF_UNIX};
    socklen_t len = sizeof(sa_family_t);
    char name[128];
    struct sockaddr_storage bound;
    socklen_t bound_len = sizeof(bound);
    cr_assert_eq(bind(fd, &sun, len), 0); /* the kernel chooses an abstract name */
    cr_assert_eq(listen(fd, 0), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&bound, &bound_len), 0);
    size_t name_len = bound_len - sizeof(sa_family_t);
    memcpy(name, (char *)&bound + sizeof(sa_family_t), name_len);
    name[0] = '@';
    name[name_len] = '\0';
    (void)snprintf(world.target.address, sizeof(world.target.address), "%s", name);
    int first = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(first, (struct sockaddr *)&bound, bound_len), 0);
    int rc = kv_conn_open(&world.conn, &world.target, &err);
    cr_expect_eq(rc, KV_E_TIMEOUT, "%d %s", rc, err.message);
    (void)close(first);
    (void)close(fd);
    close_world(&world);
}

Test(conn, a_request_that_does_not_fit_is_not_sent)
{
    static uint8_t big[KV_FRAME_MAX];
    struct world world;
    struct kv_frame reply;
    struct kv_err err = KV_ERR_INIT;
    open_world(&world, FAKE_GOOD);
    cr_assert_eq(kv_conn_open(&world.conn, &world.target, NULL), 0);
    size_t begin = kv_conn_begin(&world.conn, KV_VERB_SIGN);
    kv_wire_put_bytes(&world.conn.out, big, sizeof(big));
    kv_frame_end(&world.conn.out, begin);
    cr_expect_eq(kv_conn_exchange(&world.conn, &world.target, &reply, &err),
                 KV_E_TOO_BIG);
    cr_expect_eq(fake_keyring_counts(world.keyring)->requests, 0);
    close_world(&world);
}

Test(conn, the_callers_deadline_ends_what_the_settings_would_allow)
{
    struct world world;
    struct kv_frame reply;
    struct kv_err err = KV_ERR_INIT;
    open_world(&world, FAKE_HANG);
    world.target.reply_timeout_ms = 10000;
    world.target.connect_timeout_ms = 10000;
    cr_assert_eq(kv_conn_open(&world.conn, &world.target, NULL), 0);
    const int64_t start_ms = kv_monotonic_ms(kv_clock_system());
    world.target.deadline_ms = start_ms + 200;
    cr_expect_eq(ask(&world, &reply, &err), KV_E_TIMEOUT);
    kv_conn_close(&world.conn);
    fake_keyring_set_mode(world.keyring, FAKE_HANG_HELLO);
    world.target.deadline_ms = kv_monotonic_ms(kv_clock_system()) + 200;
    cr_expect_eq(kv_conn_open(&world.conn, &world.target, &err), KV_E_TIMEOUT);
    cr_expect_lt(kv_monotonic_ms(kv_clock_system()) - start_ms, 3000);
    close_world(&world);
}

/* Run in a child, where the fake keyring's threads take no descriptor. */
static int open_without_standard_files(struct world *world)
{
    struct kv_frame reply;
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        (void)close(fd);
    if (kv_conn_open(&world->conn, &world->target, NULL) != 0)
        return 1;
    if (world->conn.fd <= STDERR_FILENO || fcntl(world->conn.fd, F_GETFD) != FD_CLOEXEC)
        return 2;
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            return 3;
    }
    return ask(world, &reply, NULL) == 0 ? 0 : 4;
}

/* A daemon often runs without standard files; what it prints must not be sent. */
Test(conn, a_connection_is_no_standard_file)
{
    struct world world;
    int status = -1;
    open_world(&world, FAKE_GOOD);
    pid_t pid = fork();
    if (pid == 0)
        _exit(open_without_standard_files(&world));
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0, "child: %x", (unsigned)status);
    close_world(&world);
}
